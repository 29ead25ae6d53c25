//! What readers choose in more than one lab: parameters with the words of their controls, and what they mean in the terms of
//! the arithmetic.

use serde::{Deserialize, Serialize};

use crate::quant::{Granularity, HALF, Rounding, Scheme};

/// Width of packed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Width {
    /// 16 bits (FP16)
    ///
    /// Half-precision floats: no grid, no scales, and activations stay FP32.
    #[serde(rename = "16")]
    Sixteen,
    /// 8 bits
    #[serde(rename = "8")]
    Eight,
    /// 4 bits
    #[serde(rename = "4")]
    Four,
    /// 3 bits
    #[serde(rename = "3")]
    Three,
    /// 2 bits
    #[serde(rename = "2")]
    Two,
}

impl Width {
    /// From wide to narrow.
    pub const ALL: [Self; 5] = [Self::Sixteen, Self::Eight, Self::Four, Self::Three, Self::Two];

    /// Bits of a weight.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::Sixteen => HALF,
            Self::Eight => 8,
            Self::Four => 4,
            Self::Three => 3,
            Self::Two => 2,
        }
    }
}

/// Where the representable values lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Symmetric
    ///
    /// As far below zero as above.
    Symmetric,
    /// Affine
    ///
    /// From the smallest to the largest weight, with a zero point to store.
    Affine,
}

impl From<Placement> for Scheme {
    fn from(placement: Placement) -> Self {
        match placement {
            Placement::Symmetric => Self::Symmetric,
            Placement::Affine => Self::Affine,
        }
    }
}

/// How many weights share one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Per tensor
    ///
    /// One scale for a whole matrix.
    Tensor,
    /// Per channel
    ///
    /// One scale for each row: each output of a layer, each token of an embedding.
    Channel,
    /// Per group
    ///
    /// One scale for each group of consecutive weights of a row.
    Group,
}

impl Share {
    /// With groups of this many weights, where it is groups.
    #[must_use]
    pub fn granularity(self, group_size: u32) -> Granularity {
        match self {
            Self::Tensor => Granularity::Tensor,
            Self::Channel => Granularity::Channel,
            Self::Group => Granularity::Group(group_size as usize),
        }
    }
}

/// The same where groups make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CoarseShare {
    /// Per tensor
    ///
    /// One scale for a whole layer.
    Tensor,
    /// Per channel
    ///
    /// One scale for each output channel.
    Channel,
}

impl From<CoarseShare> for Granularity {
    fn from(share: CoarseShare) -> Self {
        match share {
            CoarseShare::Tensor => Self::Tensor,
            CoarseShare::Channel => Self::Channel,
        }
    }
}

/// How a weight finds its integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Nearness {
    /// To nearest
    ///
    /// Each weight for itself.
    Nearest,
    /// GPTQ
    ///
    /// Column by column: what one loses, the next ones correct, judged by what flows through the layer when the network sees examples that it is not judged by.
    Gptq,
}

impl From<Nearness> for Rounding {
    fn from(nearness: Nearness) -> Self {
        match nearness {
            Nearness::Nearest => Self::Nearest,
            Nearness::Gptq => Self::Gptq,
        }
    }
}

/// A classifier and the images that judge it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Dataset {
    /// Digits
    ///
    /// Five networks, 64-128-128-10, on 1,797 handwritten digits, each judged by the fifth it has not seen.
    Digits,
    /// Glyphs
    ///
    /// One network, 256-128-128-47, on letters and digits of many fonts, judged by font families it has never seen: a harder task.
    Glyphs,
}
