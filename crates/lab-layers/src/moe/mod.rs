//! Mixtures of experts as loops on plain slices: who goes where, what that costs in balance, and a layer that computes only what was
//! chosen, forward and backward by hand.

mod dispatch;
mod experts;
mod network;
mod routing;

pub use dispatch::{Dispatch, capacity, dispatch};
pub use experts::{Experts, Trace};
pub use network::{Network, Pass, Router, Rules};
pub use routing::{
    Assignments, Gate, balance_loss, expert_choice, gate_slopes, load, mean_probabilities, nudge, sigmoid, softmax,
    token_choice, top_k, z_loss,
};
