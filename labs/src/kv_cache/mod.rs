//! Writing with a cache of keys and values and without one; and what such a cache may give up: bits, tokens, heads.

mod attention;
mod figures;
mod judge;
mod paging;
mod source;
#[cfg(feature = "schema")]
mod study;
mod summary;
#[cfg(test)]
mod tests;
mod writing;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{
    Context, Lab,
    cache::{self, Axis, Grid, Setting},
};
use serde::{Deserialize, Serialize};

use source::Source;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Prompt
    ///
    /// Tokens that the model is given before it writes.
    #[cfg_attr(feature = "schema", schemars(range(min = 4, max = 128), extend("x-unit" = "tokens", "x-step" = 4)))]
    pub prompt: u32,
    /// New tokens
    ///
    /// How many it writes, with a cache and without one.
    #[cfg_attr(feature = "schema", schemars(range(min = 4, max = 128), extend("x-unit" = "tokens", "x-step" = 4)))]
    pub tokens: u32,
    /// Bits
    ///
    /// Width of the numbers in the cache.
    pub bits: Bits,
    /// Scales
    ///
    /// Which 32 numbers share a minimum and a step.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "bits", "is": ["8", "4", "3", "2", "1"]})))]
    pub grids: Grids,
    /// Newest in FP32
    ///
    /// So many of the newest tokens are not rounded yet.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 128), extend("x-unit" = "tokens", "x-step" = 8)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "bits", "is": ["16", "8", "4", "3", "2", "1"]})))]
    pub residual: u32,
    /// Which tokens stay
    ///
    /// Who leaves when there is no room.
    pub policy: Policy,
    /// Room for
    ///
    /// Tokens that each layer keeps, the newest included.
    #[cfg_attr(feature = "schema", schemars(range(min = 4, max = 256), extend("x-unit" = "tokens", "x-step" = 4)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "policy", "is": ["window", "heavy_hitters", "mean_score", "random"]})))]
    pub budget: u32,
    /// Sinks
    ///
    /// So many of the very first tokens never leave.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 16), extend("x-unit" = "tokens", "x-step" = 1)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "policy", "is": ["window", "heavy_hitters", "mean_score", "random"]})))]
    pub sinks: u32,
    /// Positions
    ///
    /// What keys are rotated by.
    pub positions: Positions,
    /// Heads of keys and values
    ///
    /// Six heads of queries share them.
    pub heads: Heads,
    /// Text
    ///
    /// Tokens of each text that judges. The model was trained on 256.
    #[cfg_attr(feature = "schema", schemars(range(min = 32, max = 1024), extend("x-unit" = "tokens", "x-step" = 32)))]
    pub length: u32,
    /// Texts
    ///
    /// Spread over text that the model has never seen. More of them narrow the intervals.
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 32), extend("x-unit" = "texts", "x-step" = 2)))]
    pub texts: u32,
    /// Rotary base
    ///
    /// The base of the rotary frequencies is multiplied by this, without any training.
    #[cfg_attr(feature = "schema", schemars(range(min = 1.0, max = 16.0), extend("x-unit" = "×", "x-step" = 1)))]
    pub rope_base: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            prompt: 16,
            tokens: 64,
            bits: Bits::Four,
            grids: Grids::Kivi,
            residual: 32,
            policy: Policy::All,
            budget: 64,
            sinks: 0,
            positions: Positions::Original,
            heads: Heads::Two,
            length: 256,
            texts: 4,
            rope_base: 1.0,
        }
    }
}

/// Width of the numbers in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Bits {
    /// FP32
    #[serde(rename = "32")]
    Single,
    /// FP16
    #[serde(rename = "16")]
    Half,
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
    /// 1 bit
    #[serde(rename = "1")]
    One,
}

/// What shares a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Grids {
    /// Keys by channel, values by token
    ///
    /// One channel of 32 tokens for keys, 32 channels of one token for values (KIVI).
    Kivi,
    /// Both by token
    ///
    /// The 32 channels of a head of one token.
    Token,
}

/// Who leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// All of them
    All,
    /// The newest
    ///
    /// A sliding window.
    Window,
    /// Those most attended to
    ///
    /// Half of the room is for the newest, the rest for those that received most attention in sum (H2O).
    HeavyHitters,
    /// Those most attended to, a step
    ///
    /// The same by the mean over the steps that a token has seen.
    MeanScore,
    /// Any
    ///
    /// Half of the room is for the newest, the rest is drawn by lot: the control.
    Random,
}

/// What keys are rotated by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Place in the text
    ///
    /// Keys are stored rotated.
    Original,
    /// Place in the cache
    ///
    /// Counted without gaps. Keys are stored, and rounded, before the rotation.
    InCache,
}

/// Heads of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Heads {
    /// Two, as trained
    Two,
    /// The mean of both
    ///
    /// One head for all queries, as the training of a multi-query model begins. Nothing is trained here.
    Mean,
    /// The first alone
    First,
}

impl Bits {
    fn width(self) -> usize {
        match self {
            Self::Single => 32,
            Self::Half => 16,
            Self::Eight => 8,
            Self::Four => 4,
            Self::Three => 3,
            Self::Two => 2,
            Self::One => 1,
        }
    }
}

impl Params {
    fn setting(&self) -> Result<Setting, LabError> {
        let bad = |name: &str, why: &str| Err(LabError::BadParam(BadParam { name: name.into(), why: why.into() }));
        let bits = self.bits.width();
        let by_channel = bits < 16 && self.grids == Grids::Kivi;
        if self.policy != Policy::All && self.sinks >= self.budget {
            return bad("sinks", "the first tokens would fill all the room: keep fewer of them");
        }
        if self.policy != Policy::All && by_channel {
            return bad(
                "grids",
                "keys that share a grid with 31 other tokens cannot leave alone: take “both by token”, or FP16",
            );
        }
        Ok(Setting {
            keys: Grid { bits, axis: if by_channel { Axis::Channel } else { Axis::Token } },
            values: Grid { bits, axis: Axis::Token },
            residual: self.residual as usize,
            policy: match self.policy {
                Policy::All => cache::Policy::All,
                Policy::Window => cache::Policy::Window,
                Policy::HeavyHitters => cache::Policy::HeavyHitters,
                Policy::MeanScore => cache::Policy::MeanScore,
                Policy::Random => cache::Policy::Random,
            },
            budget: if self.policy == Policy::All { usize::MAX } else { self.budget as usize },
            sinks: self.sinks as usize,
            positions: match self.positions {
                Positions::Original => cache::Positions::Original,
                Positions::InCache => cache::Positions::InCache,
            },
            base: self.rope_base,
        })
    }
}

/// The lab.
pub struct KvCache;

impl Lab for KvCache {
    const ID: &'static str = "kv-cache";
    type Params = Params;

    fn smoke() -> Params {
        Params { prompt: 8, tokens: 8, length: 64, texts: 2, bits: Bits::Eight, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let setting = params.setting()?;
        let mut report = Report::default();
        cx.progress("Loading the language model and its text", 0.0);
        let source = Source::load(cx).await?;
        let (decoder, changed) = (source.decoder(Heads::Two, cx)?, source.decoder(params.heads, cx)?);

        report.metrics.extend(summary::by_formula(&source, &changed, &setting, &params));
        cx.publish(&report)?;

        cx.progress("Writing without a cache, then with one", 0.05);
        let written = writing::Written::new(&source, &params, cx).await?;
        report.metrics.extend(written.metrics(&source, cx));
        report.charts.push(written.chart());
        cx.publish(&report)?;

        cx.progress("Reading the texts with everything kept", 0.4);
        let texts = source.texts(params.texts as usize, params.length as usize);
        let full = judge::judge(&decoder, &[Setting::FULL], &texts, cx).await?;
        cx.progress("Reading the texts with your cache", 0.55);
        let mine = judge::judge(&changed, &[setting], &texts, cx).await?;
        report.metrics.extend(summary::quality(&full, &mine, cx)?);
        report.metrics.extend(summary::memory(&full, &mine));
        report.charts.push(figures::by_position(&full, &mine));
        report.tables.push(summary::larger(&setting));
        cx.publish(&report)?;

        cx.progress("Writing with your cache", 0.7);
        report.charts.extend(figures::texts(&source, &written, (&changed, setting), cx).await?);
        cx.progress("Attention over longer caches", 0.75);
        let attention = attention::measure(&setting, params.length >= 256, cx).await?;
        report.metrics.extend(attention.metrics(cx));
        report.charts.push(attention.chart());
        cx.progress("Sharing a beginning", 0.95);
        report.tables.push(paging::table(&source)?);
        report.notes.push(summary::note(&full, &mine, &written));
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
