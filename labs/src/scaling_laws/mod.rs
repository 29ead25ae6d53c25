//! Scaling laws, made rather than read: a family of character models at equal operations, the law through them, and a larger
//! training that it foretold.

mod laws;
mod network;
mod report;
#[cfg(feature = "schema")]
mod study;
mod sweep;
mod text;

use lab_api::{LabError, Report};
use lab_kit::{Context, Lab, measure::peak_bytes};
use serde::{Deserialize, Serialize};

use network::Decay;
use sweep::{Sweep, planned};
use text::Text;

/// Places of the held-out text that judge a network.
const JUDGED: usize = 8192;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Budgets
    ///
    /// Operations of one training in each of the three groups.
    pub budgets: Budgets,
    /// Sizes
    ///
    /// Networks at each budget, spread over a factor of ten around the size that earlier runs found best.
    #[cfg_attr(feature = "schema", schemars(range(min = 3, max = 7), extend("x-unit" = "sizes", "x-step" = 1)))]
    pub widths: u32,
    /// Steps
    ///
    /// Of every training, small or large: what a smaller network saves goes into larger batches.
    #[cfg_attr(feature = "schema", schemars(range(min = 40, max = 1000), extend("x-unit" = "steps", "x-step" = 20)))]
    pub steps: u32,
    /// Text
    ///
    /// Different characters that may be foretold. A run that wants more reads them again.
    pub text: Supply,
    /// Learning rate
    ///
    /// How it falls after the warm-up.
    pub schedule: Schedule,
    /// Confirm the forecast
    ///
    /// Train at three times the largest budget: at the size foretold, at half and at twice that size.
    pub confirm: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            budgets: Budgets::Usual,
            widths: 5,
            steps: 300,
            text: Supply::All,
            schedule: Schedule::Matched,
            confirm: true,
        }
    }
}

/// Operations of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Budgets {
    /// 0.1, 0.3 and 0.9 GFLOP
    Small,
    /// 0.3, 0.9 and 2.7 GFLOP
    Usual,
    /// 1, 3 and 9 GFLOP
    Large,
}

impl Budgets {
    /// The smallest; each further one is three times as large.
    fn first(self) -> f64 {
        match self {
            Self::Small => 1e8,
            Self::Usual => 3e8,
            Self::Large => 1e9,
        }
    }
}

/// Different characters to learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Supply {
    /// All 4.4 million
    #[serde(rename = "all")]
    All,
    /// 200,000
    #[serde(rename = "200k")]
    Many,
    /// 50,000
    #[serde(rename = "50k")]
    Some,
    /// 20,000
    #[serde(rename = "20k")]
    Few,
}

impl Supply {
    fn characters(self) -> Option<usize> {
        match self {
            Self::All => None,
            Self::Many => Some(200_000),
            Self::Some => Some(50_000),
            Self::Few => Some(20_000),
        }
    }
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// To zero at the end of the run
    Matched,
    /// As for a run five times as long
    FiveTimes,
    /// Not at all
    Constant,
}

impl Schedule {
    fn decay(self) -> Decay {
        let period = match self {
            Self::Matched => 1.0,
            Self::FiveTimes => 5.0,
            Self::Constant => f64::INFINITY,
        };
        Decay { period }
    }
}

/// The lab.
pub struct ScalingLaws;

impl Lab for ScalingLaws {
    const ID: &'static str = "scaling-laws";
    type Params = Params;

    fn smoke() -> Params {
        Params { budgets: Budgets::Small, widths: 3, steps: 60, confirm: false, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let budgets = [1.0, 3.0, 9.0].map(|times| times * params.budgets.first());
        let plans = planned(&budgets, params.widths as usize, params.steps as usize, params.schedule.decay(), cx.seed);
        cx.publish(&report::beforehand(&plans, params.confirm))?;
        cx.progress("Loading the text", 0.0);
        let text = Text::load(JUDGED, cx).await?;
        let (sweep, peak) = peak_bytes(cx, async || {
            Sweep::run(&plans, params.text.characters(), params.confirm, &text, cx, |report| cx.publish(&report)).await
        })
        .await?;
        cx.progress("Looking for the roof of this device", 0.97);
        let roof = lab_kit::measure::peak_gflops(cx, 80.0).await?;
        let five_gram = lab_kit::five_gram::nats_per_character(cx).await?;
        cx.progress("Done", 1.0);
        Ok(report::of(&sweep, five_gram, roof, peak))
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
