//! What stands in the place of softmax attention: swapped into the shipped language model layer by layer, taught to imitate it,
//! and trained on tasks that ask for recall. The loops are [`lab_layers::mixers`].

mod associative;
mod imitate;
mod recall;
mod swap;
#[cfg(test)]
mod tests;

pub use associative::{Rule, associative};
pub use imitate::{Lesson, learn_maps};
pub use lab_layers::mixers::{
    Gates, Map, Memory, State, apply, attend_chunked, attend_quadratic, attend_step,
    block::{Batch, Mixer, Pass, Shape},
    delta_chunked, delta_step, entropy, features_for, kernel_weights, linformer, random_rows, recur, softmax_weights,
    top, total_variation,
};
pub use recall::{Fitted, Recall, fit};
pub use swap::{HeadInputs, Reading, Way};
