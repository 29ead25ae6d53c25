//! Where the time and the memory of a forward pass go: probes in the model, what their spans mean under a coarse clock, what
//! every part costs on paper, and what a share of the time promises.
//!
//! [`Transformer::probed`](crate::models::Transformer::probed) calls a [`Probe`] on the way; a model that nobody watches carries
//! [`NoProbe`].

pub mod alone;
mod amdahl;
mod part;
mod probe;
#[cfg(all(not(target_family = "wasm"), any(test, feature = "schema")))]
pub mod sampling;
mod spans;
mod tree;
mod work;

pub use amdahl::{amdahl, bound, quadratic};
pub use part::{Depth, Part};
pub(crate) use probe::span;
pub use probe::{CountProbe, MemoryProbe, NoProbe, Probe, SpanProbe, Without};
pub use spans::{Profile, Spent, mean_interval, profile, time_once};
pub use tree::{Event, Times, self_times};
pub use work::{activation_bytes, hollow, products, work};
