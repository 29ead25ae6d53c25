//! Everything of this book at once: steps that a reader puts in an order, what they make of a model, and how an entry is scored.

mod coder;
mod glyphs;
mod gram;
mod language;
mod naive;
mod score;
mod steps;
mod stored;

pub use coder::{code_lengths, decode, encode, entropy_bits};
pub use glyphs::GlyphMaterial;
pub use gram::EntryGram;
pub use language::{CALIBRATION, LanguageMaterial, spread_windows};
pub use naive::{cached_generate, naive_generate};
pub use score::{all_round, amdahl, gate, in_order, mean_of_ratios, shapley};
pub use steps::{EntryStep, EntrySubject, check, format_line, parse_line};
pub use stored::{CodedMatrix, EntrySizes, ScoredEntry, StoredWeights, text_hash};

// Native only: entries leave by the command line.
#[cfg(any(test, feature = "schema"))]
pub mod export;
