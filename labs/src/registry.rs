//! Every lab of this package. Generated from the folders beside it; `cargo xtask lab registry` writes it anew. Where a
//! deleted lab keeps this from compiling, delete its lines here by hand first.

#[path = "draw/mod.rs"]
pub mod draw;

#[path = "inspect/mod.rs"]
pub mod inspect;

#[path = "levels/mod.rs"]
pub mod levels;

#[path = "low_rank/mod.rs"]
pub mod low_rank;

#[path = "qat/mod.rs"]
pub mod qat;

#[path = "quantization/mod.rs"]
pub mod quantization;

#[path = "quantized_lm/mod.rs"]
pub mod quantized_lm;

lab_kit::registry! {
    draw::Draw = "draw",
    inspect::Inspect = "inspect",
    levels::Levels = "levels",
    low_rank::LowRank = "low_rank",
    qat::Qat = "qat",
    quantization::Quantization = "quantization",
    quantized_lm::QuantizedLm = "quantized_lm",
}
