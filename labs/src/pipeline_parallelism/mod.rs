//! A network cut by depth over workers: what each holds, what it waits for, and what crosses the cuts, under several orders of work.

mod arms;
mod figures;
mod measured;
#[cfg(feature = "schema")]
mod study;
mod summary;
#[cfg(test)]
mod tests;
#[cfg(feature = "schema")]
mod threads;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{Context, Lab};
use serde::{Deserialize, Serialize};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Workers
    ///
    /// The network has eight layers to deal out.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8)))]
    pub workers: u32,
    /// Micro-batches
    ///
    /// Pieces of a step's text that follow each other through the workers.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 16)))]
    pub micro_batches: u32,
    /// Windows of text in each
    ///
    /// Of 64 tokens.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 4), extend("x-unit" = "windows")))]
    pub windows: u32,
    /// Order of work
    ///
    /// What is drawn beside GPipe.
    pub schedule: Schedule,
    /// Cut
    pub split: Split,
    /// Compute activations again
    ///
    /// Workers keep only what came over the cut, and compute their layers once more on the way back.
    pub recompute: bool,
    /// Shorten gradients by the length
    pub clip: Clip,
    /// Link
    ///
    /// What a message takes in the simulation.
    pub link: PipeLink,
    /// Steps of training
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10), extend("x-unit" = "steps")))]
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
    /// Who computes what when.
    Schedule {
        /// One micro-batch at a time
        Naive = "naive",
        /// GPipe: all forward, then all backward
        Gpipe = "gpipe",
        /// 1F1B: one forward, one backward
        OneFOneB = "one_f_one_b",
        /// Interleaved 1F1B, 2 chunks a worker
        Interleaved = "interleaved",
        /// Interleaved 1F1B, 4 chunks a worker
        InterleavedFour = "interleaved_four",
    }
}

choice! {
    /// Where the network is cut.
    Split {
        /// Into equal numbers of layers
        EqualLayers = "equal_layers",
        /// Into equal times
        ByTime = "by_time",
    }
}

choice! {
    /// Whose length.
    Clip {
        /// Of all stages together
        Together = "together",
        /// Of each stage alone (a mistake)
        Alone = "alone",
    }
}

choice! {
    /// What a message takes.
    PipeLink {
        /// A copy in this thread, measured
        Copy = "copy",
        /// 10 gigabit Ethernet: 50 µs and 1.25 GB/s
        Rack = "rack",
        /// 1 ms, and 1.25 GB/s
        Slow = "slow",
        /// 5 ms, and 1.25 GB/s
        Slower = "slower",
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            workers: 2,
            micro_batches: 8,
            windows: 1,
            schedule: Schedule::OneFOneB,
            split: Split::EqualLayers,
            recompute: false,
            clip: Clip::Together,
            link: PipeLink::Copy,
            steps: 2,
        }
    }
}

impl Schedule {
    /// Chunks a worker.
    fn chunks(self) -> usize {
        match self {
            Self::Interleaved => 2,
            Self::InterleavedFour => 4,
            _ => 1,
        }
    }
}

impl Params {
    /// What the ranges cannot say.
    fn check(&self) -> Result<(), LabError> {
        let bad = |name: &str, why: String| Err(LabError::BadParam(BadParam { name: name.into(), why }));
        let (p, m, v) = (self.workers as usize, self.micro_batches as usize, self.schedule.chunks());
        if v > 1 && p * v > arms::LAYERS {
            let most = arms::LAYERS / v;
            let why = format!(
                "{} layers make no {} chunks: take {most} workers or fewer, or fewer chunks a worker",
                arms::LAYERS,
                p * v
            );
            return bad("workers", why);
        }
        if v > 1 && !m.is_multiple_of(p) {
            let near =
                if m < p || m % p > p / 2 && m.next_multiple_of(p) <= 16 { m.next_multiple_of(p) } else { m - m % p };
            let why = format!(
                "interleaved orders take micro-batches in groups of {p}, one for each worker: {m} are no multiple of {p}, take {near}"
            );
            return bad("micro_batches", why);
        }
        Ok(())
    }
}

/// The lab.
pub struct PipelineParallelism;

impl Lab for PipelineParallelism {
    const ID: &'static str = "pipeline-parallelism";
    type Params = Params;

    fn smoke() -> Params {
        Params { micro_batches: 2, steps: 1, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        params.check()?;
        cx.progress("Loading", 0.0);
        let text = arms::Text::load(cx).await?;
        let setup = arms::Setup::new(&text, &params, cx.seed);
        cx.progress("Timing layers", 0.05);
        let costs = measured::measure(&setup, 5, cx).await?;
        let mut report = Report::default();
        let arms = arms::arms(&params);
        let cuts: Vec<_> = arms.iter().map(|arm| costs.cut(params.split, arm.chunks(setup.workers))).collect();
        summary::timed(&mut report, &params, (&setup, &costs), (&arms, &cuts), cx)?;
        cx.publish(&report)?;
        let mut ran = Vec::new();
        for (at, (arm, cut)) in arms.iter().zip(&cuts).enumerate() {
            cx.progress(arm.name, 0.3 + 0.65 * at as f64 / arms.len() as f64);
            ran.push(arms::train(&setup, arm, cut, arms::breathing(cx)).await?);
        }
        summary::counted(&mut report, &params, &setup, &arms, &ran);
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
