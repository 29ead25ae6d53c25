//! Operations one after the other against several in one pass: chains of elementwise operations, rows with a reduction, updates of
//! parameters, and products with what comes before and after them. Everything in vectors of four, with one exponential for all, so
//! that both sides of a comparison do the same arithmetic and differ in passes alone.

mod chain;
mod dense;
mod ladder;
mod pairs;
mod pass;
mod rows;
#[cfg(test)]
mod tests;
mod vector;

pub use chain::{ChainStep, LANES, blocked, fused, in_place, separate, shared};
pub use dense::{
    StripWeights, by_columns, gelu_fused, gelu_separate, norm_fused, norm_separate, plain_dense, split_dense,
};
pub use ladder::{ProductRung, multiply};
pub use pairs::{
    AdamWSetting, FusionPair, PassCounts, PassRoom, adamw_fused, adamw_separate, swiglu_fused, swiglu_separate,
};
pub use rows::{SoftmaxState, merge, online, rms_norm_fused, rms_norm_separate, softmax_fused, softmax_separate};
pub use vector::exp;
