//! The choices of post-training quantization, in the terms of the arithmetic.

use super::{Calibration, HALF, Scheme};

// ANCHOR: settings
/// How a network is quantized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Bits of a weight: 2 to 8, or 16 for half precision, which has no grid and leaves activations as they are.
    pub bits: u32,
    /// Where the grid lies.
    pub scheme: Scheme,
    /// Which weights share a scale.
    pub granularity: Granularity,
    /// How a weight finds its code.
    pub rounding: Rounding,
    /// What happens to activations.
    pub activations: Activations,
}

/// Which weights share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// All of a matrix.
    Tensor,
    /// Those of one output channel, which is one row.
    Channel,
    /// This many consecutive ones of a row; the last group of a row may be shorter.
    Group(usize),
}
// ANCHOR_END: settings

impl Granularity {
    /// Columns of a row that share a scale.
    #[must_use]
    pub fn group_size(self, columns: usize) -> usize {
        match self {
            Self::Group(size) => size.clamp(1, columns.max(1)),
            Self::Tensor | Self::Channel => columns.max(1),
        }
    }
}

/// How a weight finds its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// The nearest one, each weight for itself.
    Nearest,
    /// Column by column, each column's error made up for by the columns still to come ([`gptq`](super::gptq)).
    Gptq,
}

/// What happens to activations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activations {
    /// They stay as they are.
    Fp32,
    /// 8 bits; the range is found beforehand from examples and then fixed.
    Static(Calibration),
    /// 8 bits; the range of every image (every row of a batch) is measured when it comes.
    Dynamic,
}

impl Settings {
    /// Round to nearest, FP32 activations.
    #[must_use]
    pub fn weight_only(bits: u32, scheme: Scheme, granularity: Granularity) -> Self {
        Self { bits, scheme, granularity, rounding: Rounding::Nearest, activations: Activations::Fp32 }
    }

    /// Whether errors are compensated: half precision has no levels to choose between.
    #[must_use]
    pub fn compensates(&self) -> bool {
        self.rounding == Rounding::Gptq && self.bits != HALF
    }
}
