//! Every lab of this package. Generated from the folders beside it; `cargo xtask lab registry` writes it anew. Where a
//! deleted lab keeps this from compiling, delete its lines here by hand first.

#[path = "draw/mod.rs"]
pub mod draw;

#[path = "inspect/mod.rs"]
pub mod inspect;

#[path = "levels/mod.rs"]
pub mod levels;

#[path = "lottery/mod.rs"]
pub mod lottery;

#[path = "pruned_lm/mod.rs"]
pub mod pruned_lm;

#[path = "pruning/mod.rs"]
pub mod pruning;

#[path = "qat/mod.rs"]
pub mod qat;

#[path = "quantization/mod.rs"]
pub mod quantization;

#[path = "quantized_lm/mod.rs"]
pub mod quantized_lm;

#[path = "sparse_speed/mod.rs"]
pub mod sparse_speed;

lab_kit::registry! {
    draw::Draw = "draw",
    inspect::Inspect = "inspect",
    levels::Levels = "levels",
    lottery::Lottery = "lottery",
    pruned_lm::PrunedLm = "pruned_lm",
    pruning::Pruning = "pruning",
    qat::Qat = "qat",
    quantization::Quantization = "quantization",
    quantized_lm::QuantizedLm = "quantized_lm",
    sparse_speed::SparseSpeed = "sparse_speed",
}
