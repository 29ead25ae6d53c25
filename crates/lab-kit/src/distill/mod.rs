//! A small network that learns from the answers of a large one: losses, what two networks have in common, and a training of
//! several students side by side (Hinton, Vinyals and Dean, arXiv:1503.02531).

mod divergence;
mod features;
mod lessons;
mod loss;
mod material;
mod token;

pub use divergence::{Divergence, acceptance, divergence, expected_tokens, softmax};
pub use features::{Hidden, hidden, hint_loss, linear_cka, similarity_loss};
pub use lessons::{Features, Lesson, Lessons, Plan, Pupil, Student, Views, shifted};
pub use loss::{decoupled, distillation_loss, naive_loss};
pub use material::{Material, Source, TEACHER_WIDTHS, class_means, entropy, shuffled_rows, smoothed};
pub use token::{Tail, answer_bytes, complete, shorten, token_loss};
