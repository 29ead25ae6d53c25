//! Data parallel training: workers that hold all of a network or their part of it (ZeRO, Rajbhandari et al., 2020, arXiv:1910.02054),
//! what they tell each other in a step, and ways to tell each other less.

mod exchange;
mod formulas;
mod worker;

pub use exchange::{Compressor, Outer, average, largest};
pub use formulas::{Bytes, expected, state_bytes, tokens_to_hide};
pub use lab_layers::mixers::stack::Units;
pub use worker::{Held, Stage, Sum, Worker, fingerprint, together};

#[cfg(test)]
mod tests;
