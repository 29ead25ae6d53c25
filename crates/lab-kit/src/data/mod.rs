//! Data sets.

mod digits;
mod images;

pub use digits::{Digits, folds};
pub use images::Images;
pub use lab_data::{Corpus, Family, Glyphs, Part, Split, hex};
