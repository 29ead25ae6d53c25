//! Which block reads the most glyphs for a given number of multiply-adds, and which for a given number of microseconds: small
//! networks of one plan and many kinds of block, all made to meet the same budget and trained side by side.

mod arms;
mod figures;
mod measure;
#[cfg(feature = "schema")]
mod study;
mod summary;
#[cfg(test)]
mod tests;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{
    Context, Lab,
    blocks::{Family, Options},
};
use serde::{Deserialize, Serialize};

use arms::{Race, Task};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// View
    pub view: View,
    /// Block
    ///
    /// Your choice, held against plain convolutions.
    pub family: Block,
    /// Beside them
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "view", "is": ["blocks"]})))]
    pub beside: Beside,
    /// All have the same
    ///
    /// What the plain network sets and the others meet by their width.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "view", "is": ["blocks"]})))]
    pub equal: Equal,
    /// Size
    ///
    /// Multiply-adds of the plain network for one image, in thousands. The view of sizes also takes twice, four and eight times as many, up to 800.
    #[cfg_attr(feature = "schema", schemars(range(min = 50, max = 800), extend("x-unit" = "thousand", "x-step" = 10)))]
    pub size: u32,
    /// Side of the windows
    pub window: Window,
    /// Groups
    ///
    /// Of grouped convolutions and of the shuffle unit: 1, 2, 4 or 8.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8), extend("x-step" = 1)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "family", "is": ["grouped", "shuffle_unit"]})))]
    pub groups: u32,
    /// Interleave channels
    ///
    /// After a grouped convolution.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "family", "is": ["grouped", "shuffle_unit"]})))]
    pub shuffle: bool,
    /// Expansion
    ///
    /// How many times the inverted bottleneck widens.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8), extend("x-unit" = "times", "x-step" = 1)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "family", "is": ["inverted"]})))]
    pub expansion: u32,
    /// Linear projection
    ///
    /// The inverted bottleneck narrows without a ReLU.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "family", "is": ["inverted"]})))]
    pub linear_projection: bool,
    /// Squeeze and excitation
    ///
    /// At the end of each block of your choice.
    pub squeeze_excite: bool,
    /// Blocks of each stage
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 3), extend("x-step" = 1)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "view", "is": ["blocks", "sizes"]})))]
    pub depth: u32,
    /// Grow by a factor of
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 4), extend("x-unit" = "times", "x-step" = 1)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "view", "is": ["scaling"]})))]
    pub factor: u32,
    /// Learning rate
    ///
    /// Of the first step. It falls to zero.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.001, max = 0.1), extend("x-step" = 0.001)))]
    pub learning_rate: f64,
    /// Steps
    ///
    /// Of 32 images each.
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 2000), extend("x-unit" = "steps", "x-step" = 10)))]
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
    /// What is compared.
    View {
        /// Blocks at one size
        Blocks = "blocks",
        /// Blocks at several sizes
        ///
        /// Takes several times as long.
        Sizes = "sizes",
        /// Ways to grow one block
        Scaling = "scaling",
    }
}

choice! {
    /// The kinds of block.
    Block {
        /// Plain
        Plain = "plain",
        /// Depthwise-separable
        Separable = "separable",
        /// Inverted bottleneck
        Inverted = "inverted",
        /// Fire
        Fire = "fire",
        /// Grouped
        Grouped = "grouped",
        /// Shuffle unit
        ShuffleUnit = "shuffle_unit",
        /// Row, then column
        Spatial = "spatial",
        /// Bottleneck
        Bottleneck = "bottleneck",
        /// Depthwise alone
        Depthwise = "depthwise",
    }
}

choice! {
    /// Who else runs.
    Beside {
        /// One more kind of block
        Few = "few",
        /// All kinds of block
        All = "all",
        /// Your block with its switches turned
        Switches = "switches",
    }
}

choice! {
    /// What is equal.
    Equal {
        /// Multiply-adds
        Madds = "multiply_adds",
        /// Widths
        Width = "width",
        /// Weights
        Weights = "weights",
    }
}

choice! {
    /// Windows.
    Window {
        /// 3 × 3
        Three = "3",
        /// 5 × 5
        Five = "5",
    }
}

impl Block {
    fn family(self) -> Family {
        match self {
            Self::Plain => Family::Plain,
            Self::Separable => Family::Separable,
            Self::Inverted => Family::Inverted,
            Self::Fire => Family::Fire,
            Self::Grouped => Family::Grouped,
            Self::ShuffleUnit => Family::ShuffleUnit,
            Self::Spatial => Family::Spatial,
            Self::Bottleneck => Family::Bottleneck,
            Self::Depthwise => Family::Depthwise,
        }
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            view: View::Blocks,
            family: Block::Separable,
            beside: Beside::Few,
            equal: Equal::Madds,
            size: 100,
            window: Window::Three,
            groups: 4,
            shuffle: true,
            expansion: 4,
            linear_projection: true,
            squeeze_excite: false,
            depth: 1,
            factor: 2,
            learning_rate: 0.03,
            steps: 100,
        }
    }
}

impl Params {
    fn options(&self) -> Options {
        Options {
            kernel: if self.window == Window::Five { 5 } else { 3 },
            expansion: self.expansion as usize,
            groups: self.groups as usize,
            shuffle: self.shuffle,
            excite: self.squeeze_excite,
            linear: self.linear_projection,
        }
    }

    fn check(&self) -> Result<(), LabError> {
        let wrong = |name: &str, why: String| Err(LabError::BadParam(BadParam { name: name.into(), why }));
        if !8_u32.is_multiple_of(self.groups.max(1)) {
            let why =
                format!("{} groups do not divide the 8 channels of the first layer; take 1, 2, 4 or 8", self.groups);
            return wrong("groups", why);
        }
        if self.view == View::Scaling && self.size * self.factor > 800 {
            let why = format!(
                "{} × {} thousand multiply-adds are more than 800; take a smaller size",
                self.factor, self.size
            );
            return wrong("size", why);
        }
        Ok(())
    }
}

/// The lab.
pub struct EfficientArchitectures;

impl Lab for EfficientArchitectures {
    const ID: &'static str = "efficient-architectures";
    type Params = Params;

    fn smoke() -> Params {
        Params { size: 50, steps: 20, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        params.check()?;
        let task = Task::load(cx).await?;
        let mut race = Race::new(arms::plan(&params)?, &task, cx)?;
        let mut report = Report { metrics: summary::counted(&race), ..Report::default() };
        report.tables.push(figures::layers(&race));
        cx.publish(&report)?;

        let steps = params.steps as usize;
        let mut breath = cx.now_ms();
        for step in 0..steps {
            race.advance(step, steps, params.learning_rate)?;
            if cx.now_ms() - breath > 15.0 {
                cx.checkpoint().await?;
                cx.progress("All learn, step by step", 0.05 + 0.6 * step as f64 / steps as f64);
                breath = cx.now_ms();
            }
            if step % steps.div_ceil(4) == steps.div_ceil(4) - 1 {
                let mut so_far = report.clone();
                so_far.charts.push(figures::curves(&race));
                cx.publish(&so_far)?;
            }
        }
        cx.progress("Unseen fonts", 0.68);
        let judged = race.judge(arms::EVERY, cx).await?;
        cx.progress("Timing", 0.75);
        let times = measure::Times::of(&race, &judged, cx).await?;
        summary::complete(&mut report, &race, &judged, &times, cx);
        report.charts = figures::charts(&race, &judged, &times);
        report.charts.push(figures::curves(&race));
        report.tables.insert(0, figures::arms(&race, &judged, &times));
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
