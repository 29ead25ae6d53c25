//! Data sets.

mod digits;

pub use digits::{Digits, folds};
pub use lab_data::{Corpus, Family, Glyphs, Part, Split, hex};
