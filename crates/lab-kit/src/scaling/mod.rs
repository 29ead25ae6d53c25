//! Scaling laws: from a handful of training runs to the size of the next network, and how far to trust the answer.
//!
//! `N` weights read `D` tokens and reach a loss `L`; a training takes about `C = 6 N D` floating-point operations (Kaplan et
//! al., 2020, arXiv:2001.08361). Three ways lead from runs to an allocation: a straight line in logarithms, the minimum of
//! each curve of equal compute, and one surface through all runs (Hoffmann et al., 2022, arXiv:2203.15556).

mod data;
mod fit;
mod isoflop;
mod law;
#[cfg(test)]
mod tests;

pub use data::{DataLimited, effective, repetition_constant};
pub use fit::{Fitted, STARTS, fit, fit_from, log_prediction, objective, resample, start};
pub use isoflop::{Edge, Minimum, PowerLaw, isoflop_minimum, power_law};
pub use law::{Allocation, Law, Run, recount, serve_aware};
