//! Everything of this book at once: steps that a reader puts in an order, what they make of a model, and how an entry is scored.

mod coder;
#[cfg(any(test, feature = "schema"))]
pub mod export;
mod steps;
mod stored;

pub use coder::{code_lengths, decode, encode, entropy_bits};
pub use steps::{Step, Subject, check, format_line, parse_line};
pub use stored::{CodedMatrix, Entry, Sizes, Stored};
