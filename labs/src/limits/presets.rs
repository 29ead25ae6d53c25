//! Devices and models that can be chosen by name.

use serde::{Deserialize, Serialize};

/// A model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Llama 3 8B
    ///
    /// 8.03 billion weights; 32 layers with 8 heads of keys and values, 128 KiB a token.
    #[serde(rename = "llama3-8b")]
    Llama3Small,
    /// Llama 3 70B
    ///
    /// 70.6 billion weights; 80 layers with 8 heads of keys and values, 320 KiB a token.
    #[serde(rename = "llama3-70b")]
    Llama3Large,
    /// Llama 2 7B
    ///
    /// 6.74 billion weights; 32 layers with 32 heads of keys and values, 512 KiB a token.
    #[serde(rename = "llama2-7b")]
    Llama2,
    /// This book's language model
    ///
    /// 2.1 million weights; 4 layers with 2 heads of keys and values, 1 KiB a token.
    Book,
    /// Own
    Own,
}

impl Model {
    /// All of them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 5] = [Self::Llama3Small, Self::Llama3Large, Self::Llama2, Self::Book, Self::Own];

    /// Weights, and bytes of a token's keys and values in 16 bits; `None` for an own one.
    pub(super) fn sizes(self) -> Option<(f64, f64)> {
        let state = |layers: f64, heads: f64, size: f64| 2.0 * layers * heads * size * 2.0;
        match self {
            Self::Llama3Small => Some((8.03e9, state(32.0, 8.0, 128.0))),
            Self::Llama3Large => Some((70.6e9, state(80.0, 8.0, 128.0))),
            Self::Llama2 => Some((6.74e9, state(32.0, 32.0, 128.0))),
            Self::Book => Some((2_115_264.0, state(4.0, 2.0, 32.0))),
            Self::Own => None,
        }
    }
}

/// A device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// H100
    ///
    /// 989 TFLOP/s in 16 bits without sparsity, 3.35 TB/s, 80 GB.
    H100,
    /// TPU v5e
    ///
    /// 197 TFLOP/s in 16 bits, 0.81 TB/s, 16 GB.
    TpuV5e,
    /// TPU v6e
    ///
    /// 920 TFLOP/s in 16 bits, 1.6 TB/s, 32 GB.
    TpuV6e,
    /// RTX 4090
    ///
    /// 165 TFLOP/s in 16 bits without sparsity, summed in 32; 1.008 TB/s, 24 GB.
    Rtx4090,
    /// Laptop: Apple M4
    ///
    /// 2.9 TFLOP/s in FP32 and 100 GB/s, both measured on its GPU; 16 GB.
    M4,
    /// Own
    Own,
}

impl Device {
    /// All of them.
    #[cfg(any(test, feature = "schema"))]
    pub(super) const ALL: [Self; 6] = [Self::H100, Self::TpuV5e, Self::TpuV6e, Self::Rtx4090, Self::M4, Self::Own];

    /// Its name.
    #[cfg(feature = "schema")]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::H100 => "H100",
            Self::TpuV5e => "TPU v5e",
            Self::TpuV6e => "TPU v6e",
            Self::Rtx4090 => "RTX 4090",
            Self::M4 => "Apple M4",
            Self::Own => "own",
        }
    }

    /// Operations and bytes per second, and bytes of memory; `None` for an own one. H100 and TPU: Austin et al. (2025), "How to Scale
    /// Your Model"; RTX 4090: its data sheet; M4: Hübner et al. (2025), arXiv:2502.05317.
    pub(super) fn rates(self) -> Option<(f64, f64, f64)> {
        match self {
            Self::H100 => Some((989e12, 3.35e12, 80e9)),
            Self::TpuV5e => Some((197e12, 0.81e12, 16e9)),
            Self::TpuV6e => Some((920e12, 1.6e12, 32e9)),
            Self::Rtx4090 => Some((165.2e12, 1.008e12, 24e9)),
            Self::M4 => Some((2.9e12, 0.1e12, 16e9)),
            Self::Own => None,
        }
    }
}

/// Bits of a stored number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Bits {
    /// 16 bits
    #[serde(rename = "16")]
    Sixteen,
    /// 8 bits
    #[serde(rename = "8")]
    Eight,
    /// 8.5 bits: 8 and a scale
    ///
    /// As files and caches store them, 16 bits of scale for each 32 numbers (Q8_0 in llama.cpp).
    #[serde(rename = "8.5")]
    EightAndScale,
    /// 4.89 bits: Q4_K_M
    ///
    /// What a file of that name takes for each weight of Llama 3.1 8B.
    #[serde(rename = "4.89")]
    FourMixed,
    /// 4.5 bits: 4 and a scale
    ///
    /// 16 bits of scale for each 32 numbers (Q4_0 in llama.cpp).
    #[serde(rename = "4.5")]
    FourAndScale,
    /// 4 bits
    #[serde(rename = "4")]
    Four,
}

impl Bits {
    pub(super) fn bits(self) -> f64 {
        match self {
            Self::Sixteen => 16.0,
            Self::Eight => 8.0,
            Self::EightAndScale => 8.5,
            Self::FourMixed => 4.89,
            Self::FourAndScale => 4.5,
            Self::Four => 4.0,
        }
    }
}
