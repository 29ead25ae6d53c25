//! What stands in the place of softmax attention: swapped into the shipped language model layer by layer, taught to imitate it,
//! and trained on tasks that ask for recall. The loops are [`lab_layers::mixers`].

mod associative;
mod imitate;
mod recall;
mod swap;
mod tasks;
#[cfg(test)]
mod tests;

pub use associative::{Rule, associative};
pub use imitate::{Lesson, learn_maps};
pub use lab_kernels::product::{View, product};
pub use lab_kernels::scan::{
    Selective, Ssd, associative as scan_associative, chunked as scan_chunked, convolve_by_fft, joins,
    sequential as scan_sequential, ssd_chunked, ssd_step,
};
pub use lab_layers::mixers::{
    Gates, Map, Memory, State, apply, attend_chunked, attend_quadratic, attend_step,
    block::{Batch, Mixer, Pass, Shape},
    delta_chunked, delta_step, entropy, features_for, kernel_weights, linformer, random_rows, recur, softmax_weights,
    stack::{Mix, Stack},
    states::{Hold, discretize},
    top, total_variation,
};
pub use recall::{Fitted, Recall, fit, fit_by};
pub use swap::{HeadInputs, Reading, Way};
pub use tasks::Task;
