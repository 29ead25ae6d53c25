//! What linear attention keeps of a trained model, which of its layers need more, what a state of fixed size can hold, and from which
//! length on it is faster here.

mod figures;
mod looks;
mod source;
#[cfg(feature = "schema")]
mod study;
mod summary;
mod swaps;
#[cfg(test)]
mod tests;
mod timing;
mod training;
mod ways;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{Context, Lab};
use serde::{Deserialize, Serialize};

use source::Source;
use swaps::Swaps;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// In the place of softmax
    pub method: Method,
    /// In these layers
    ///
    /// Of the language model's four.
    pub layers: Layers,
    /// Other layers
    pub rest: Rest,
    /// Random or learned features
    #[cfg_attr(feature = "schema", schemars(range(min = 8, max = 1024), extend("x-step" = 8)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["performer", "sines", "learned"]})))]
    pub features: u32,
    /// Rows at right angles
    ///
    /// Random features in blocks that are orthogonal, instead of independent ones.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["performer", "sines"]})))]
    pub orthogonal: bool,
    /// A draw for each head
    ///
    /// Instead of the same random rows for all heads of all layers.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["performer", "sines"]})))]
    pub redraw: bool,
    /// Window
    ///
    /// Keys that a query sees, where attention is cut to a window; also the number of the strongest keys that are kept.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 128), extend("x-unit" = "tokens")))]
    pub window: u32,
    /// Slots of Linformer
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 64)))]
    pub rank: u32,
    /// Kept of the past at each token
    #[cfg_attr(feature = "schema", schemars(range(min = 0.5, max = 1.0), extend("x-step" = 0.01)))]
    pub decay: f64,
    /// Strength of the delta rule
    ///
    /// The share by which the state's answer is moved towards a value.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0), extend("x-step" = 0.05)))]
    pub beta: f64,
    /// Pairs to remember
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 32), extend("x-unit" = "pairs")))]
    pub pairs: u32,
    /// Longest text that is timed
    #[cfg_attr(feature = "schema", schemars(range(min = 64, max = 8192), extend("x-unit" = "tokens", "x-step" = 64)))]
    pub length: u32,
    /// Chunk
    ///
    /// Tokens that meet each other directly; what came before them is read in the state.
    #[cfg_attr(feature = "schema", schemars(range(min = 8, max = 256), extend("x-unit" = "tokens", "x-step" = 8)))]
    pub chunk: u32,
    /// Also train
    ///
    /// Takes seconds to a minute.
    pub train: Training,
    /// Steps
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 1000), extend("x-unit" = "steps", "x-step" = 10)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "train", "is": ["recall", "images"]})))]
    pub steps: u32,
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
    /// What mixes tokens.
    Method {
        /// Nothing: the mean of the past
        Uniform = "uniform",
        /// Kernel, elu + 1
        Elu = "elu",
        /// Kernel, ReLU
        Relu = "relu",
        /// Kernel, Taylor of second order
        Taylor = "taylor",
        /// Performer, positive random features
        Performer = "performer",
        /// Random sines and cosines
        Sines = "sines",
        /// Features that learn to imitate (trains for some seconds)
        Learned = "learned",
        /// Kernel that fades
        Decay = "decay",
        /// Delta rule
        Delta = "delta",
        /// Delta rule that fades
        GatedDelta = "gated_delta",
        /// Window
        Window = "window",
        /// Only the strongest keys
        Top = "top",
        /// Linformer, averages of the whole text
        Linformer = "linformer",
    }
}

choice! {
    /// Of four.
    Layers {
        /// All
        All = "all",
        /// The first two
        FirstTwo = "first_two",
        /// The last two
        LastTwo = "last_two",
        /// The first
        First = "first",
        /// The last
        Last = "last",
    }
}

choice! {
    /// The others.
    Rest {
        /// As trained
        Softmax = "softmax",
        /// Window
        Window = "window",
    }
}

choice! {
    /// What is trained.
    Training {
        /// Nothing
        None = "none",
        /// Recall: softmax and your method
        Recall = "recall",
        /// Glyphs: softmax and Linformer
        Images = "images",
    }
}

impl Layers {
    /// Whether a layer of four belongs to it.
    fn holds(self, layer: usize) -> bool {
        match self {
            Self::All => true,
            Self::FirstTwo => layer < 2,
            Self::LastTwo => layer >= 2,
            Self::First => layer == 0,
            Self::Last => layer == 3,
        }
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            method: Method::Performer,
            layers: Layers::All,
            rest: Rest::Softmax,
            features: 64,
            orthogonal: true,
            redraw: false,
            window: 16,
            rank: 8,
            decay: 0.9,
            beta: 1.0,
            pairs: 16,
            length: 2048,
            chunk: 64,
            train: Training::None,
            steps: 250,
        }
    }
}

impl Params {
    /// A run that only shows that everything works.
    fn is_short(&self) -> bool {
        self.length < 128
    }

    fn check(&self) -> Result<(), LabError> {
        if self.train == Training::Recall && training::mixer(self).is_none() {
            let why =
                "recall is trained for elu, decay, delta and gated_delta; choose one of them, or train nothing".into();
            return Err(LabError::BadParam(BadParam { name: "method".into(), why }));
        }
        if self.train == Training::Recall && self.pairs > 16 {
            let why = "64 tokens hold at most 16 pairs that are asked for once: choose 16 or fewer".into();
            return Err(LabError::BadParam(BadParam { name: "pairs".into(), why }));
        }
        Ok(())
    }
}

/// The lab.
pub struct LinearAttention;

impl Lab for LinearAttention {
    const ID: &'static str = "linear-attention";
    type Params = Params;

    fn smoke() -> Params {
        Params { length: 64, features: 8, pairs: 4, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        params.check()?;
        let mut report = Report::default();
        let held = looks::memory(&params, if params.is_short() { 20 } else { 100 }, cx).await?;
        report.metrics.extend(summary::counted(&params));
        report.metrics.extend(summary::memory(&held));
        report.tables.push(figures::memory(&held));
        cx.publish(&report)?;

        cx.progress("Reading with the model as it is", 0.05);
        let source = Source::load(cx).await?;
        let decoder = source.decoder(cx)?;
        let (count, length) = if params.is_short() { (1, 48) } else { (2, 128) };
        let reading = source.read(&decoder, count, length, cx).await?;
        let arms = ways::arms(&params, &reading, &source, &decoder, cx).await?;
        let looked = looks::look(&reading, &arms, &params, cx).await?;
        report.metrics.extend(summary::looks(&looked, &params));
        report.charts.push(figures::maps(&reading, &arms));
        cx.publish(&report)?;

        let swaps = Swaps::run(&reading, &decoder, &arms, &params, cx).await?;
        let mut numbers = summary::swaps(&swaps, &reading, &params);
        numbers.extend(std::mem::take(&mut report.metrics));
        report.metrics = numbers;
        report.charts.insert(0, figures::grid(&swaps));
        report.notes.extend(summary::notes(&swaps, &params));
        cx.publish(&report)?;

        cx.progress("Timing", 0.6);
        let times = timing::measure(&params, cx).await?;
        report.metrics.extend(summary::times(&times, &params, cx));
        report.charts.push(figures::times(&times));
        cx.publish(&report)?;
        training::run(&mut report, &params, cx).await?;
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
