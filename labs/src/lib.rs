//! Every lab of the book, one folder each. No lab knows another: what two need lives in `lab-kit`.
//!
//! Without features this crate holds no code; `run` adds the experiments, `webgpu` the GPU, `schema` what authors need.

#[cfg(feature = "run")]
pub mod registry;
