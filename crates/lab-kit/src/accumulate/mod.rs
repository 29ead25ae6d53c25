//! Gradients that are added up from pieces of a batch: the sum and its weights, how noisy the gradient is, how large a batch is
//! worth having, and a small network on plain slices whose gradients can be taken apart example by example.

mod buffer;
mod flat;
mod gradients;
pub mod naive;
mod network;
mod noise;
mod optimizer;
mod rates;
mod tradeoff;

pub use buffer::{Accumulator, Format};
pub use flat::flat_gradient;
pub use gradients::{Distance, accumulate, clip, distance, squared_norm};
pub use network::{Norm, Pass, Shape};
pub use noise::{NoiseScale, noise_of_examples, noise_scale};
pub use optimizer::{Optimizer, Rule};
pub use rates::{RateRule, scaled_beta, scaled_rate};
pub use tradeoff::{Tradeoff, fit_tradeoff};
