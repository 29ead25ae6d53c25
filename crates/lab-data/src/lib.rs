//! Data sets and the tokenizer, as the files in `assets/` hold them.
//!
//! A crate of its own, because what makes these files (`asset-maker`) has no use for Burn, and what uses them in a
//! browser (`lab-kit`, which re-exports everything here) has none for HTML parsers and font rasterizers.

mod corpus;
mod glyphs;
mod gzip;
mod hex;
pub mod tokenizer;

pub use corpus::{Corpus, Part};
pub use glyphs::{Family, Glyphs, Split};
pub use gzip::gunzip;
pub use hex::hex;
pub use tokenizer::Tokenizer;
