//! Speculative decoding: a cheap drafter proposes tokens, the model checks them all in one pass, and the law of the text stays
//! the model's own (Leviathan et al., arXiv:2211.17192; Chen et al., arXiv:2302.01318).

mod arithmetic;
mod chi_square;
mod draft;
mod rule;
mod session;

pub use arithmetic::{best_gamma, expected_tokens, speedup};
pub use chi_square::{ChiSquare, chi_square};
pub use draft::{Drafter, ModelDrafter, Ngrams, Proposal, look_up};
pub use rule::{Rule, distribution, draw, emitted, overlap, residual, verify};
pub use session::{How, Round, Session};
