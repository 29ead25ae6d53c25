//! What a state of fixed size can recall, and from which length on it is faster than attention.

mod arms;
mod figures;
#[cfg(feature = "schema")]
mod study;
mod summary;
#[cfg(test)]
mod tests;
mod timing;

use lab_api::{LabError, Report};
use lab_kit::{Context, Lab};
use serde::{Deserialize, Serialize};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Task
    pub task: TaskChoice,
    /// Race
    pub race: Race,
    /// State, numbers a channel
    ///
    /// N: each of the 32 channels remembers so many numbers.
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 64), extend("x-step" = 2)))]
    pub state: u32,
    /// Most pairs
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 16), extend("x-unit" = "pairs")))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "task", "is": ["recall"]})))]
    pub pairs: u32,
    /// Layers
    ///
    /// Of each model; the race of hybrids always takes two.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 2)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "race", "is": ["sizes", "choosing"]})))]
    pub layers: u32,
    /// Short convolution
    ///
    /// Taps over time in front of the mixer, 0 for none.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 8), extend("x-unit" = "taps")))]
    pub convolution: u32,
    /// Steps of training
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 1500), extend("x-unit" = "steps", "x-step" = 10)))]
    pub steps: u32,
    /// Learning rate
    #[cfg_attr(feature = "schema", schemars(range(min = 0.001, max = 0.1), extend("x-step" = 0.001)))]
    pub rate: f64,
    /// Longest text that is timed
    #[cfg_attr(feature = "schema", schemars(range(min = 256, max = 8192), extend("x-unit" = "tokens", "x-step" = 256)))]
    pub longest: u32,
    /// Chunk
    ///
    /// Tokens that meet each other directly; what came before them is read in the state.
    #[cfg_attr(feature = "schema", schemars(range(min = 8, max = 256), extend("x-unit" = "tokens", "x-step" = 8)))]
    pub chunk: u32,
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)* }
    };
}

choice! {
    /// What is learned.
    TaskChoice {
        /// Recall: pairs, then their keys
        Recall = "recall",
        /// Copy four tokens from any place
        Copy = "copy",
        /// Copy four tokens from fixed places
        Fixed = "fixed",
        /// What followed the first time?
        Induction = "induction",
        /// The next letter of a text (loads 1.4 MB)
        Text = "text",
    }
}

choice! {
    /// Who is trained.
    Race {
        /// Attention, fixed, selective, four times the state
        Sizes = "sizes",
        /// What a token may choose
        Choosing = "choosing",
        /// Two layers: one attention among them, or none
        Hybrids = "hybrids",
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            task: TaskChoice::Recall,
            race: Race::Sizes,
            state: 8,
            pairs: 8,
            layers: 1,
            convolution: 4,
            steps: 300,
            rate: 0.03,
            longest: 2048,
            chunk: 32,
        }
    }
}

impl Params {
    /// A run that only shows that everything works.
    fn is_short(&self) -> bool {
        self.steps < 20
    }
}

/// The lab.
pub struct Ssm;

impl Lab for Ssm {
    const ID: &'static str = "ssm";
    type Params = Params;

    fn smoke() -> Params {
        Params { steps: 20, longest: 256, state: 2, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let mut report = Report::default();
        let counted = summary::counted(&params, cx);
        report.charts.push(figures::bytes(params.longest as usize));
        report.tables.push(figures::steps_of_time());
        report.metrics.extend(counted.clone());
        cx.publish(&report)?;

        let task = arms::task(&params, cx).await?;
        let mut raced: Vec<arms::Raced> = Vec::new();
        let arms = arms::arms(&params);
        let count = arms.len();
        for (i, arm) in arms.into_iter().enumerate() {
            cx.progress(&format!("Training: {}", arm.name), 0.05 + 0.7 * i as f64 / count as f64);
            raced.push(arms::train(arm, &task, &params, cx).await?);
            report.metrics = summary::trained(&raced, &params);
            report.metrics.extend(counted.clone());
            cx.publish(&report)?;
        }
        report.charts.insert(0, figures::recall(&raced, &params));
        report.charts.push(figures::losses(&raced));
        cx.publish(&report)?;

        cx.progress("Timing", 0.8);
        let times = timing::measure(&params, cx).await?;
        report.metrics.extend(summary::times(&times, cx));
        let [mixers, model, decode] = figures::times(&times);
        report.charts.insert(1, mixers);
        report.charts.push(model);
        report.charts.push(decode);
        report.notes = summary::notes(&params);
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
