//! The front matter of a lab's `lab.md`.

use serde::{Deserialize, Serialize};

use crate::{Family, report::Inapplicable};

/// Who a lab is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Has trained a network once.
    Beginner,
    /// Has shipped one.
    Intermediate,
    /// Reads papers.
    Advanced,
}

/// A control that every lab has, unless it means nothing there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Common {
    /// Where it runs.
    Device,
    /// What its random choices follow from.
    Seed,
}

impl Common {
    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Seed => "seed",
        }
    }
}

/// TOML front matter (between `+++` lines) of `lab.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabMeta {
    /// Title as readers see it.
    pub title: String,
    /// One sentence: what the reader will find out.
    pub summary: String,
    /// Minutes a reader needs.
    pub minutes: u32,
    /// Who it is for.
    pub level: Level,
    /// After its first run it runs again by itself whenever a control changes; for labs that take a blink.
    #[serde(default)]
    pub live: bool,
    /// Controls that mean nothing here and are not shown: the seed where nothing is drawn by chance, the device too where
    /// nothing is timed.
    #[serde(default)]
    pub without: Vec<Common>,
    /// Metric families its report must contain.
    pub families: Vec<Family>,
    /// Families that do not apply, each with the reason.
    #[serde(default)]
    pub inapplicable: Vec<Inapplicable>,
    /// Assets it reads, by manifest name; only these are offered to it.
    #[serde(default)]
    pub assets: Vec<String>,
    /// What the reader may foretell before a run: one to three questions.
    #[serde(default)]
    pub predict: Vec<Prediction>,
}

/// A question to the reader before a run, which a metric of the report answers: a number, or one of several choices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// Id of the metric that answers it.
    pub metric: String,
    /// The question, in Markdown.
    pub question: String,
    /// The setting that it is about, as in a link (`sparsity=0.95&unit=filters`); without one, the lab as it stands.
    #[serde(default)]
    pub setting: String,
    /// Bounds of a number, in the metric's unit.
    pub min: Option<f64>,
    /// See `min`.
    pub max: Option<f64>,
    /// Instead of bounds: what the reader may choose from, from the least value of the metric to the largest.
    #[serde(default)]
    pub choices: Vec<PredictedChoice>,
    /// One sentence on why it came out so, said after the run. `{metric}` and `{metric.baseline}` stand for the run's own numbers.
    pub because: String,
}

/// One answer to choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictedChoice {
    /// What the reader reads.
    pub label: String,
    /// It is right up to, but not including, this value of the metric; the last choice has none.
    pub to: Option<f64>,
}

impl LabMeta {
    /// Splits `lab.md` into its front matter and the text after it; `None` where the `+++` fences are missing.
    #[must_use]
    pub fn split(lab_md: &str) -> Option<(&str, &str)> {
        let rest = lab_md.strip_prefix("+++\n")?;
        let (front, body) = rest.split_once("\n+++\n")?;
        Some((front, body))
    }
}
