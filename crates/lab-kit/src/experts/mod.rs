//! Mixtures of experts: the loops of [`lab_layers::moe`], a task whose quality is counted in bits, and what chance alone says of loads.

mod chance;
mod facts;

pub use chance::{dropped_when_even, experts_read};
pub use facts::{Facts, VALUES};
pub use lab_layers::moe::{
    Assignments, Experts, Gate, Network, Pass, Router, Rules, balance_loss, capacity, dispatch, expert_choice, load,
    sigmoid, softmax, token_choice,
};
