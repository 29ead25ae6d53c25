//! Networks that may answer before their end: when an input may leave, who sets the threshold, and how a batch is run.

mod choose;
mod lens;
mod network;
mod rule;
mod run;
mod train;

pub use choose::{
    geometric_shares, temperature, threshold_bounded, threshold_for_error, thresholds_for_budget, tolerable,
};
pub use lens::least_squares;
pub use network::{Cascade, ExitConfig, MultiExit, Staged};
pub use rule::{Confidence, Policy, Verdicts, break_even, cost_in_batch, mean_cost, softmax};
pub use run::{Deciding, Left, classify_batch, classify_one};
pub use train::{Heads, Joint, Lesson, Linears, Standard, soft_cross_entropy};
