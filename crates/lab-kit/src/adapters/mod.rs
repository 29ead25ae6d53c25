//! Parameter-efficient fine-tuning: a trained model stays as it is, and few new numbers beside it learn.
//!
//! [`Adapter`] is what a matrix of a language model may carry, [`adapt`] puts one method into a whole model and freezes the
//! rest, [`merge`], [`Storage`] and [`retained`] say what becomes of an adapter that is written into stored weights, and
//! [`many`] serves several adapters in one batch.

mod attach;
mod freeze;
mod layer;
pub mod many;
mod merge;
mod nf4;
mod storage;

pub use attach::{Method, Setting, Targets, adapt};
pub use freeze::train_only;
pub use layer::{Adapter, Kind};
pub use merge::{backward, delta, merge, merged_weights, retained, rows_of_magnitude};
pub use nf4::{BLOCK, LEVELS, Nf4};
pub use storage::Storage;
