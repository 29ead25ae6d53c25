//! A batch that does not fit, added up from pieces: whether the gradient is the same, where the sum goes wrong unseen, and
//! whether the large batch was worth having.

mod descent;
mod equality;
mod figures;
mod memory;
#[cfg(feature = "schema")]
mod study;
mod summary;
mod task;
#[cfg(test)]
mod tests;
mod text;
mod twins;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{
    Context, Lab,
    accumulate::{RateRule, Rule},
};
use serde::{Deserialize, Serialize};

use descent::Descent;
use task::Task;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Batch
    ///
    /// Images of one update in the first two experiments: the gradient in pieces, and the two trainings side by side.
    #[cfg_attr(feature = "schema", schemars(range(min = 32, max = 512), extend("x-unit" = "images", "x-step" = 32)))]
    pub batch: u32,
    /// Piece
    ///
    /// Images that go through the network together.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 512), extend("x-unit" = "images", "x-step" = 1)))]
    pub piece: u32,
    /// Loop
    ///
    /// How the training in pieces joins them. The training beside it takes each batch in one piece.
    pub joined: Joined,
    /// Optimizer
    ///
    /// Of all trainings on images.
    pub optimizer: Choice,
    /// Learning rate
    ///
    /// How it follows the batch, from the best rate at 32 images, in the search for the largest useful batch.
    pub rate: Follow,
    /// Target
    ///
    /// Loss on training images that the search trains to.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.5, max = 3.0), extend("x-unit" = "nats", "x-step" = 0.1)))]
    pub target: f64,
    /// Lengths
    ///
    /// Tokens of the sixteen texts that the language model reads.
    pub lengths: Lengths,
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
    /// How pieces are joined.
    Joined {
        /// By examples, as it should be
        Right = "right",
        /// Each piece counts alike
        ///
        /// Shows where the last piece is smaller than the others.
        Means = "means",
        /// Added up, not divided
        Sum = "sum",
        /// Each piece clipped
        ClippedEach = "clipped_each",
        /// Schedule moved on by each piece
        ScheduleEach = "schedule_each",
        /// Weights changed after each piece
        StepEach = "step_each",
        /// Sum kept in BF16
        Bf16 = "bf16",
        /// Right, in a network with batch norm
        BatchNorm = "batch_norm",
    }
}

choice! {
    /// Which optimizer.
    Choice {
        /// Adam
        Adam = "adam",
        /// SGD
        Sgd = "sgd",
    }
}

impl Choice {
    fn rule(self) -> Rule {
        match self {
            Self::Adam => Rule::ADAM,
            Self::Sgd => Rule::Sgd,
        }
    }
}

choice! {
    /// How the rate follows the batch.
    Follow {
        /// The best that earlier runs found
        Tuned = "tuned",
        /// Not at all
        Fixed = "fixed",
        /// In proportion
        Linear = "linear",
        /// With the square root
        Root = "root",
    }
}

impl Follow {
    fn rule(self) -> Option<RateRule> {
        match self {
            Self::Tuned => None,
            Self::Fixed => Some(RateRule::Fixed),
            Self::Linear => Some(RateRule::Linear),
            Self::Root => Some(RateRule::Root),
        }
    }
}

choice! {
    /// Lengths of the texts.
    Lengths {
        /// All 128
        Equal = "equal",
        /// 64 or 128
        Double = "double",
        /// 8 to 128, most of them short
        LongTail = "long_tail",
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            batch: 256,
            piece: 32,
            joined: Joined::Right,
            optimizer: Choice::Adam,
            rate: Follow::Tuned,
            target: 0.9,
            lengths: Lengths::LongTail,
        }
    }
}

impl Params {
    /// A run that only shows that everything works.
    fn is_short(&self) -> bool {
        self.target > 2.0 && self.batch < 128
    }

    /// Batches of the search for the largest useful one.
    fn batches(&self) -> &'static [usize] {
        if self.is_short() { &[8, 32] } else { &[8, 32, 128, 512] }
    }

    fn check(&self) -> Result<(), LabError> {
        let bad = |why: String| Err(LabError::BadParam(BadParam { name: "piece".into(), why }));
        if self.piece > self.batch {
            return bad(format!("a piece of {} images does not fit into a batch of {}", self.piece, self.batch));
        }
        if self.joined == Joined::BatchNorm && self.piece == 1 {
            return bad("batch norm needs two images or more: one has no variance".into());
        }
        Ok(())
    }
}

/// The lab.
pub struct GradientAccumulation;

impl Lab for GradientAccumulation {
    const ID: &'static str = "gradient-accumulation";
    type Params = Params;

    fn smoke() -> Params {
        Params { batch: 64, piece: 16, target: 3.0, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        params.check()?;
        let mut report = Report { metrics: summary::counted(&params), ..Report::default() };
        cx.publish(&report)?;
        cx.progress("Loading images", 0.0);
        let task = Task::load(cx).await?;
        cx.progress("One gradient in pieces", 0.05);
        let rows = equality::run(&task, &params, cx).await?;
        summary::equality(&mut report, &rows);
        cx.publish(&report)?;

        cx.progress("Texts of unequal length", 0.15);
        let texts = text::Texts::load(params.lengths, if params.is_short() { 4 } else { 16 }, cx).await?;
        let joined = texts.joined(cx).await?;
        summary::text(&mut report, &joined);
        cx.publish(&report)?;
        cx.progress("Memory of a batch in pieces", 0.25);
        let peaks = memory::peaks(&texts, params.is_short(), cx).await?;
        summary::memory(&mut report, &peaks);

        cx.progress("Two trainings side by side", 0.3);
        let twins = twins::run(&task, &params, cx).await?;
        summary::twins(&mut report, &twins, &params);
        cx.publish(&report)?;

        let mut reached = Vec::new();
        let batches = params.batches();
        for (done, batch) in batches.iter().enumerate() {
            cx.progress(&format!("Batches of {batch}"), 0.4 + 0.5 * done as f64 / batches.len() as f64);
            let descent = Descent::planned(*batch, &params);
            reached.push(descent.run(&task, cx.seed, || cx.now_ms(), task::breathing(cx)).await?);
            let mut so_far = report.clone();
            so_far.charts.extend(figures::search(&reached, None));
            cx.publish(&so_far)?;
        }
        summary::search(&mut report, &reached, &params);
        cx.progress("Timing", 0.92);
        summary::timing(&mut report, &memory::timed(&task, &params, cx).await?, &params, cx);
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
