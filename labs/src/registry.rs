//! Every lab of this package. Generated from the folders beside it; `cargo xtask lab registry` writes it anew. Where a
//! deleted lab keeps this from compiling, delete its lines here by hand first.

#[path = "allocation/mod.rs"]
pub mod allocation;

#[path = "automl/mod.rs"]
pub mod automl;

#[path = "batching/mod.rs"]
pub mod batching;

#[path = "benchmarking/mod.rs"]
pub mod benchmarking;

#[path = "checkpointing/mod.rs"]
pub mod checkpointing;

#[path = "compilers/mod.rs"]
pub mod compilers;

#[path = "dark_knowledge/mod.rs"]
pub mod dark_knowledge;

#[path = "data_loading/mod.rs"]
pub mod data_loading;

#[path = "distillation/mod.rs"]
pub mod distillation;

#[path = "distilled_lm/mod.rs"]
pub mod distilled_lm;

#[path = "distributed_training/mod.rs"]
pub mod distributed_training;

#[path = "draw/mod.rs"]
pub mod draw;

#[path = "early_exit/mod.rs"]
pub mod early_exit;

#[path = "efficient_architectures/mod.rs"]
pub mod efficient_architectures;

#[path = "energy/mod.rs"]
pub mod energy;

#[path = "flash_attention/mod.rs"]
pub mod flash_attention;

#[path = "footprint/mod.rs"]
pub mod footprint;

#[path = "fusion/mod.rs"]
pub mod fusion;

#[path = "gradient_accumulation/mod.rs"]
pub mod gradient_accumulation;

#[path = "inspect/mod.rs"]
pub mod inspect;

#[path = "kv_cache/mod.rs"]
pub mod kv_cache;

#[path = "levels/mod.rs"]
pub mod levels;

#[path = "limits/mod.rs"]
pub mod limits;

#[path = "linear_attention/mod.rs"]
pub mod linear_attention;

#[path = "lora/mod.rs"]
pub mod lora;

#[path = "lottery/mod.rs"]
pub mod lottery;

#[path = "low_rank/mod.rs"]
pub mod low_rank;

#[path = "lr_schedules/mod.rs"]
pub mod lr_schedules;

#[path = "mixed_precision/mod.rs"]
pub mod mixed_precision;

#[path = "moe/mod.rs"]
pub mod moe;

#[path = "nas/mod.rs"]
pub mod nas;

#[path = "olympics/mod.rs"]
pub mod olympics;

#[path = "one_shot_nas/mod.rs"]
pub mod one_shot_nas;

#[path = "optimizers/mod.rs"]
pub mod optimizers;

#[path = "pipeline_parallelism/mod.rs"]
pub mod pipeline_parallelism;

#[path = "profiling/mod.rs"]
pub mod profiling;

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

#[path = "roofline/mod.rs"]
pub mod roofline;

#[path = "scaling_laws/mod.rs"]
pub mod scaling_laws;

#[path = "sparse_speed/mod.rs"]
pub mod sparse_speed;

#[path = "speculative_decoding/mod.rs"]
pub mod speculative_decoding;

#[path = "ssm/mod.rs"]
pub mod ssm;

lab_kit::registry! {
    allocation::Allocation = "allocation",
    automl::Automl = "automl",
    batching::Batching = "batching",
    benchmarking::Benchmarking = "benchmarking",
    checkpointing::Checkpointing = "checkpointing",
    compilers::Compilers = "compilers",
    dark_knowledge::DarkKnowledge = "dark_knowledge",
    data_loading::DataLoading = "data_loading",
    distillation::Distillation = "distillation",
    distilled_lm::DistilledLm = "distilled_lm",
    distributed_training::DistributedTraining = "distributed_training",
    draw::Draw = "draw",
    early_exit::EarlyExit = "early_exit",
    efficient_architectures::EfficientArchitectures = "efficient_architectures",
    energy::Energy = "energy",
    flash_attention::FlashAttention = "flash_attention",
    footprint::Footprint = "footprint",
    fusion::Fusion = "fusion",
    gradient_accumulation::GradientAccumulation = "gradient_accumulation",
    inspect::Inspect = "inspect",
    kv_cache::KvCache = "kv_cache",
    levels::Levels = "levels",
    limits::Limits = "limits",
    linear_attention::LinearAttention = "linear_attention",
    lora::Lora = "lora",
    lottery::Lottery = "lottery",
    low_rank::LowRank = "low_rank",
    lr_schedules::LrSchedules = "lr_schedules",
    mixed_precision::MixedPrecision = "mixed_precision",
    moe::Moe = "moe",
    nas::Nas = "nas",
    olympics::Olympics = "olympics",
    one_shot_nas::OneShotNas = "one_shot_nas",
    optimizers::Optimizers = "optimizers",
    pipeline_parallelism::PipelineParallelism = "pipeline_parallelism",
    profiling::Profiling = "profiling",
    pruned_lm::PrunedLm = "pruned_lm",
    pruning::Pruning = "pruning",
    qat::Qat = "qat",
    quantization::Quantization = "quantization",
    quantized_lm::QuantizedLm = "quantized_lm",
    roofline::Roofline = "roofline",
    scaling_laws::ScalingLaws = "scaling_laws",
    sparse_speed::SparseSpeed = "sparse_speed",
    speculative_decoding::SpeculativeDecoding = "speculative_decoding",
    ssm::Ssm = "ssm",
}
