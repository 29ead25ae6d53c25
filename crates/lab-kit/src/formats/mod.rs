//! Floating-point numbers of 16, 8 and 4 bits, and what a training step needs that keeps its tensors in them: rounding to
//! nearest and at random, compensated updates, scaled losses, sums, and counts of what is lost.

mod blocks;
mod exponents;
mod layout;
mod network;
mod scaler;
mod stored;
mod sums;
mod updates;

pub use exponents::{Exponents, Lost};
pub use layout::{Layout, Overflow, naive_round, round};
pub use network::{Clip, Network, Policy, Scaling, Step};
pub use scaler::{Action, Scaler};
pub use stored::Stored;
pub use sums::{chunked_sum, naive_sum};
pub use updates::{Keep, at_rest, kahan, random_bits, round_at_random};

/// In which numbers a tensor is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Singles: nothing is rounded.
    Fp32,
    /// IEEE halves: 5 bits of exponent, 10 of fraction.
    Fp16,
    /// The upper half of a single: 8 bits of exponent, 7 of fraction.
    Bf16,
    /// 4 bits of exponent, 3 of fraction, no infinity (Micikevicius et al., 2022, arXiv:2209.05433).
    E4m3,
    /// 5 bits of exponent, 2 of fraction: the upper half of an IEEE half (likewise).
    E5m2,
    /// 2 bits of exponent, 1 of fraction; 32 of them share a power of two (OCP Microscaling).
    Mxfp4,
    /// The same; 16 of them share a scale in E4M3, and a tensor one in FP32.
    Nvfp4,
}

impl Format {
    /// The numbers it has, before any shared scale; `None` for singles.
    #[must_use]
    pub fn layout(self) -> Option<Layout> {
        match self {
            Self::Fp32 => None,
            Self::Fp16 => Some(Layout::FP16),
            Self::Bf16 => Some(Layout::BF16),
            Self::E4m3 => Some(Layout::E4M3),
            Self::E5m2 => Some(Layout::E5M2),
            Self::Mxfp4 | Self::Nvfp4 => Some(Layout::E2M1),
        }
    }

    /// The same, but `None` also where numbers share a scale.
    #[must_use]
    pub fn own_layout(self) -> Option<Layout> {
        self.layout().filter(|_| !matches!(self, Self::Mxfp4 | Self::Nvfp4))
    }

    /// Bits of a number, its part of a shared scale included.
    #[must_use]
    pub fn bits(self) -> f64 {
        match self {
            Self::Fp32 => 32.0,
            Self::Fp16 | Self::Bf16 => 16.0,
            Self::E4m3 | Self::E5m2 => 8.0,
            Self::Mxfp4 => 4.0 + 8.0 / blocks::MX as f64,
            Self::Nvfp4 => 4.0 + 8.0 / blocks::NV as f64,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "FP32",
            Self::Fp16 => "FP16",
            Self::Bf16 => "BF16",
            Self::E4m3 => "E4M3",
            Self::E5m2 => "E5M2",
            Self::Mxfp4 => "MXFP4",
            Self::Nvfp4 => "NVFP4",
        }
    }

    /// Rounds each number to the nearest that the format has, ties to even; of the formats with shared scales, consecutive
    /// numbers share one.
    pub fn round_all(self, values: &mut [f32]) {
        match self {
            Self::Mxfp4 => blocks::round_mxfp4(values),
            Self::Nvfp4 => blocks::round_nvfp4(values),
            _ => {
                if let Some(layout) = self.own_layout() {
                    values.iter_mut().for_each(|x| *x = round(*x, &layout));
                }
            }
        }
    }
}
