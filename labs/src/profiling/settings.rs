//! What a reader may change.

use lab_api::{BadParam, LabError};
use lab_kit::profile::{Depth, Part};
use serde::{Deserialize, Serialize};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Phase
    ///
    /// What the model does while you watch.
    pub phase: Phase,
    /// Tokens
    ///
    /// Length of the prompt; in decode, how many tokens the new one looks at, itself included.
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 256), extend("x-unit" = "tokens", "x-step" = 16)))]
    pub tokens: u32,
    /// How closely
    ///
    /// Where the clock is read.
    pub granularity: Granularity,
    /// Where operations are timed
    pub method: Method,
    /// Take away
    ///
    /// What the second model does without. The first is an optimization; the others break the model to see what the part really took.
    pub change: Change,
    /// Clock
    ///
    /// Steps of the clock that the spans are read from. A coarser one shows what a browser's does.
    pub clock: Clock,
    /// Count
    ///
    /// What a program's counter calls the work of a pass.
    pub counting: Counting,
    /// Passes
    ///
    /// Passes that are watched; 0 goes by the time they take.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 4000), extend("x-step" = 10)))]
    pub passes: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            phase: Phase::Prefill,
            tokens: 128,
            granularity: Granularity::Operation,
            method: Method::InSitu,
            change: Change::LastLogits,
            clock: Clock::Own,
            counting: Counting::Flops,
            passes: 0,
        }
    }
}

impl Params {
    /// What the ranges of the controls cannot say.
    pub(super) fn check(&self, cpu: bool) -> Result<(), LabError> {
        let why = match (self.method, self.granularity) {
            (Method::Alone, _) if !cpu => {
                "on a GPU an operation alone is timed with the waiting for its result, which takes longer than it: time operations where they stand"
            }
            (Method::Alone, Granularity::Operation) | (Method::InSitu, _) => return Ok(()),
            _ => "only single operations can be timed alone: watch every operation",
        };
        Err(LabError::BadParam(BadParam { name: "method".into(), why: why.into() }))
    }
}

/// What the model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Prefill
    ///
    /// It reads a prompt at once.
    Prefill,
    /// Decode
    ///
    /// It reads one token, with a cache of those before.
    Decode,
}

/// Where the clock is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// Around the pass
    Pass,
    /// Around every block
    Block,
    /// Around every layer
    ///
    /// In a block: norms, attention, feed-forward network, sums.
    Layer,
    /// Around every operation
    Operation,
}

impl Granularity {
    pub(super) fn depth(self) -> Depth {
        match self {
            Self::Pass => Depth::Pass,
            Self::Block => Depth::Block,
            Self::Layer => Depth::Layer,
            Self::Operation => Depth::Operation,
        }
    }
}

/// Where operations are timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Where they stand
    ///
    /// Inside real passes.
    InSitu,
    /// Alone as well
    ///
    /// Each is also repeated by itself, on inputs of the same shapes. On the CPU only.
    Alone,
}

/// What the second model does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Nothing
    None,
    /// Logits of all tokens but the last
    ///
    /// A real optimization: whoever continues a prompt needs the last row alone.
    LastLogits,
    /// Norms
    WithoutNorms,
    /// Rotary positions
    WithoutRope,
    /// Softmax
    WithoutSoftmax,
    /// SiLU
    WithoutSilu,
}

impl Change {
    /// Those that take something away.
    #[cfg(feature = "schema")]
    pub(super) const ALL: [Self; 5] =
        [Self::LastLogits, Self::WithoutNorms, Self::WithoutRope, Self::WithoutSoftmax, Self::WithoutSilu];

    /// The parts that do not run.
    pub(super) fn parts(self) -> fn(Part) -> bool {
        match self {
            Self::None | Self::LastLogits => |_| false,
            Self::WithoutNorms => |part| matches!(part, Part::Norm | Part::LastNorm),
            Self::WithoutRope => |part| matches!(part, Part::TurnQuery | Part::TurnKey),
            Self::WithoutSoftmax => |part| part == Part::Softmax,
            Self::WithoutSilu => |part| part == Part::Silu,
        }
    }

    /// What is taken away, in words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::LastLogits => "logits of all tokens but the last",
            Self::WithoutNorms => "norms",
            Self::WithoutRope => "rotary positions",
            Self::WithoutSoftmax => "softmax",
            Self::WithoutSilu => "SiLU",
        }
    }
}

/// Steps of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// This device's own
    Own,
    /// Steps of 0.1 ms
    ///
    /// As in Chromium.
    Tenth,
    /// Steps of 1 ms
    ///
    /// As in Firefox and Safari.
    One,
}

impl Clock {
    /// Milliseconds; 0 leaves it as it is.
    pub(super) fn step_ms(self) -> f64 {
        match self {
            Self::Own => 0.0,
            Self::Tenth => 0.1,
            Self::One => 1.0,
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Counting {
    /// Every operation
    Flops,
    /// Multiply-adds of products
    ///
    /// Half of their operations.
    Macs,
    /// Operations of products
    ProductsOnly,
}
