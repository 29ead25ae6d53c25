//! A trained language model, pruned without training: which weights go, what calibration and updating bring, what really
//! smaller models cost, and what all that weighs.

mod calibrate;
mod figures;
mod judge;
mod model;
mod prune;
mod smaller;
mod speed;
#[cfg(feature = "schema")]
mod study;
mod summary;

use lab_api::{LabError, Report};
use lab_kit::{
    Context, Lab,
    sparse::{Pattern, Sharing},
};
use serde::{Deserialize, Serialize};

use judge::Judged;
use model::Source;
use prune::{How, Kept, Score};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Method
    ///
    /// Which weights go.
    pub method: Method,
    /// Pattern
    ///
    /// Where zeros may lie.
    pub pattern: Where,
    /// Sparsity
    ///
    /// Share of the weights of all 28 matrices in the layers that go; embedding and output layer stay dense.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.9), extend("x-step" = 0.05)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "pattern", "is": ["free"]})))]
    pub sparsity: f64,
    /// Compared within
    ///
    /// Among which weights the smallest scores are looked for.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "pattern", "is": ["free"]})))]
    pub group: Group,
    /// Update
    ///
    /// Whether SparseGPT changes the weights that stay, so that they make up for those that go.
    pub update: bool,
    /// Calibration text
    ///
    /// What the model reads to show what flows through its matrices.
    pub calibration: Text,
    /// Calibration windows
    ///
    /// Stretches of 128 tokens.
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 64), extend("x-unit" = "windows", "x-step" = 2)))]
    pub windows: u32,
    /// Numbers that stay
    ///
    /// Width of the weights that are kept. Below FP32 they are rounded in the same sweep that prunes them.
    pub bits: Bits,
    /// Without layer
    ///
    /// Removes one of the four layers, really, before anything is pruned.
    pub drop_layer: Drop,
    /// Feed-forward units kept
    ///
    /// Removes the others, really, before anything is pruned: those whose output is smallest on the calibration text.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.25, max = 1.0), extend("x-step" = 0.25)))]
    pub ffn_kept: f64,
    /// Test text
    ///
    /// Windows of 256 tokens that no step has seen. More of them narrow the intervals.
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 48), extend("x-unit" = "windows", "x-step" = 2)))]
    pub text: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            method: Method::All,
            pattern: Where::Free,
            sparsity: 0.5,
            group: Group::Row,
            update: true,
            calibration: Text::Corpus,
            windows: 8,
            bits: Bits::Fp32,
            drop_layer: Drop::None,
            ffn_kept: 1.0,
            text: 8,
        }
    }
}

/// How weights are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Magnitude, Wanda and SparseGPT
    ///
    /// Three models, side by side.
    All,
    /// Random
    Random,
    /// Magnitude
    ///
    /// The smallest weights go. Needs no text.
    Magnitude,
    /// Wanda
    ///
    /// The smallest products of a weight's size and the length of its input go.
    Wanda,
    /// SparseGPT
    ///
    /// Those go whose loss the other weights of their row can best make up for.
    SparseGpt,
}

/// Where zeros may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Where {
    /// Anywhere
    #[serde(rename = "free")]
    Free,
    /// Two of every four stay
    #[serde(rename = "2:4")]
    TwoOfFour,
    /// Four of every eight stay
    #[serde(rename = "4:8")]
    FourOfEight,
    /// One of every four stays
    #[serde(rename = "1:4")]
    OneOfFour,
}

/// Among which weights the smallest are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Each row
    ///
    /// Every output loses the same share of its weights.
    Row,
    /// Each matrix
    ///
    /// Some rows may lose more than others.
    Layer,
}

/// What the model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Text {
    /// Text like the test's
    ///
    /// The validation part: technical English, neither trained on nor judged by.
    Corpus,
    /// Its tokens, shuffled
    ShuffledTokens,
    /// Random tokens
    RandomTokens,
}

/// Width of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Bits {
    /// FP32, stored as FP16
    #[serde(rename = "16")]
    Fp32,
    /// 8 bits
    #[serde(rename = "8")]
    Eight,
    /// 4 bits
    #[serde(rename = "4")]
    Four,
    /// 3 bits
    #[serde(rename = "3")]
    Three,
}

/// Which layer is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Drop {
    /// None
    #[serde(rename = "none")]
    None,
    /// The first
    #[serde(rename = "1")]
    First,
    /// The second
    #[serde(rename = "2")]
    Second,
    /// The third
    #[serde(rename = "3")]
    Third,
    /// The fourth
    #[serde(rename = "4")]
    Fourth,
}

impl Drop {
    fn layer(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::First => Some(0),
            Self::Second => Some(1),
            Self::Third => Some(2),
            Self::Fourth => Some(3),
        }
    }
}

impl Params {
    fn how(&self, score: Score) -> How {
        How {
            score,
            pattern: match self.pattern {
                Where::Free => Pattern::Free(self.sparsity),
                Where::TwoOfFour => Pattern::NOfM { keep: 2, of: 4 },
                Where::FourOfEight => Pattern::NOfM { keep: 4, of: 8 },
                Where::OneOfFour => Pattern::NOfM { keep: 1, of: 4 },
            },
            sharing: match self.group {
                Group::Row => Sharing::Row,
                Group::Layer => Sharing::Matrix,
            },
            update: self.update && score == Score::SparseGpt,
            kept: match self.bits {
                Bits::Fp32 => Kept::Float,
                Bits::Eight => Kept::Bits(8),
                Bits::Four => Kept::Bits(4),
                Bits::Three => Kept::Bits(3),
            },
        }
    }

    fn scores(&self) -> Vec<Score> {
        match self.method {
            Method::All => vec![Score::Magnitude, Score::Wanda, Score::SparseGpt],
            Method::Random => vec![Score::Random],
            Method::Magnitude => vec![Score::Magnitude],
            Method::Wanda => vec![Score::Wanda],
            Method::SparseGpt => vec![Score::SparseGpt],
        }
    }
}

/// The lab.
pub struct PrunedLm;

impl Lab for PrunedLm {
    const ID: &'static str = "pruned-lm";
    type Params = Params;

    fn smoke() -> Params {
        Params { method: Method::Magnitude, windows: 2, text: 2, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        cx.progress("Loading the language model and its text", 0.0);
        let source = Source::load(cx).await?;
        let calibration = source.calibration(params.calibration, params.windows as usize, cx).await?;
        let windows = source.windows(params.text as usize);
        let mut report = Report::default();

        cx.progress("Reading the text with the dense model", 0.05);
        let dense = source.dense.model(cx)?;
        let before = Judged::of(&dense, &source, &windows, cx).await?;

        let mut smaller = source.dense.clone();
        if let Some(layer) = params.drop_layer.layer() {
            smaller = smaller.without_layer(layer)?;
        }
        if params.ffn_kept < 1.0 {
            cx.progress("Looking for the smallest feed-forward units", 0.1);
            smaller = smaller.narrowed(params.ffn_kept, smaller::Units::Activation, &calibration, cx).await?;
        }

        let (mut arms, scores) = (Vec::new(), params.scores());
        for (done, score) in scores.iter().enumerate() {
            let at = 0.15 + 0.65 * done as f64 / scores.len() as f64;
            cx.progress(&format!("Pruning: {}", score.words()), at);
            let pruned = prune::prune(&smaller, &params.how(*score), &calibration, cx).await?;
            cx.progress(&format!("Reading the text: {}", score.words()), at + 0.4 / scores.len() as f64);
            let after = Judged::of(&pruned.model.model(cx)?, &source, &windows, cx).await?;
            report.metrics.extend(judge::metrics(*score, &before, &after, cx)?);
            arms.push((*score, pruned, after));
            cx.publish(&report)?;
        }
        let Some((_, pruned, _)) = arms.last() else {
            return Err(LabError::Engine { why: "no method was chosen".into() });
        };
        report.metrics.extend(summary::memory(&source.dense, &pruned.model, &params.how(arms[0].0)));
        report.charts.push(figures::losses(&before, &arms));
        report.charts.extend(figures::norms(&arms));
        report.tables.push(figures::matrices(&arms));
        cx.publish(&report)?;

        cx.progress("Timing both models", 0.85);
        let speed = speed::Speed::measure((&source.dense, &pruned.model), windows[0], cx).await?;
        report.metrics.extend(speed.metrics(cx));
        report.notes.extend(summary::note(&before, &arms, &speed, cx));
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
