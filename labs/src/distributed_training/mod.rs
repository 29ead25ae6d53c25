//! What workers that train one network must hold and tell each other, counted, and how long that would take, simulated from measured parts.

mod arms;
mod figures;
mod measured;
#[cfg(feature = "schema")]
mod study;
mod summary;
#[cfg(test)]
mod tests;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{Context, Lab};
use serde::{Deserialize, Serialize};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Workers
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8)))]
    pub workers: u32,
    /// Windows of text in a step
    ///
    /// Each of 32 letters.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 16), extend("x-unit" = "windows")))]
    pub windows: u32,
    /// They are
    pub batch: Batch,
    /// Exchange
    ///
    /// What is trained beside the four stages, and compared with them.
    pub exchange: Exchange,
    /// Steps alone
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 64), extend("x-unit" = "steps")))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "exchange", "is": ["local", "outer"]})))]
    pub local_steps: u32,
    /// Momentum of the outer step
    ///
    /// 0.9 is published for DiLoCo, with rounds of hundreds of steps.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.95), extend("x-step" = 0.05)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "exchange", "is": ["outer"]})))]
    pub outer_momentum: f64,
    /// Share that is sent
    #[cfg_attr(feature = "schema", schemars(range(min = 0.1, max = 100.0), extend("x-unit" = "%", "x-step" = 0.1)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "exchange", "is": ["largest", "forgetful"]})))]
    pub share: f64,
    /// Link
    ///
    /// What a message takes in the simulation.
    pub link: LinkChoice,
    /// Stage whose step is drawn
    pub stage: StageChoice,
    /// Steps of training
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 200), extend("x-unit" = "steps")))]
    pub steps: u32,
    /// Learning rate
    #[cfg_attr(feature = "schema", schemars(range(min = 0.001, max = 0.1), extend("x-step" = 0.001)))]
    pub rate: f64,
    /// A real model
    ///
    /// Of the table.
    pub model: Model,
    /// Its devices
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 4096), extend("x-unit" = "devices")))]
    pub devices: u32,
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
    /// What the number of windows counts.
    Batch {
        /// Of each worker
        Each = "each",
        /// Of all workers together
        Total = "total",
    }
}

choice! {
    /// How workers hear of each other.
    Exchange {
        /// Gradients in every step
        Every = "every",
        /// Steps alone, then weights averaged
        Local = "local",
        /// Steps alone, then an outer step (DiLoCo)
        Outer = "outer",
        /// The largest gradients, the rest later
        Largest = "largest",
        /// The largest gradients, the rest forgotten
        Forgetful = "forgetful",
    }
}

choice! {
    /// What a message takes.
    LinkChoice {
        /// A copy in this thread, measured
        Copy = "copy",
        /// NVLink: 5 µs and 450 GB/s
        Node = "node",
        /// 10 gigabit Ethernet: 50 µs and 1.25 GB/s
        Rack = "rack",
        /// Gigabit Ethernet: 0.2 ms and 125 MB/s
        Office = "office",
        /// Between homes: 10 ms and 2.5 MB/s
        Home = "home",
    }
}

choice! {
    /// What is cut.
    StageChoice {
        /// Nothing (data parallel)
        Ddp = "ddp",
        /// Moments (ZeRO-1)
        Zero1 = "zero1",
        /// Gradients too (ZeRO-2)
        Zero2 = "zero2",
        /// Weights too (ZeRO-3, FSDP)
        Zero3 = "zero3",
    }
}

choice! {
    /// Models by their weights.
    Model {
        /// 1.5 billion (GPT-2 XL)
        Small = "small",
        /// 7.5 billion (of the ZeRO paper)
        Paper = "paper",
        /// 70 billion
        Large = "large",
        /// 175 billion (GPT-3)
        Gpt3 = "gpt3",
        /// 405 billion
        Largest = "largest",
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            workers: 4,
            windows: 2,
            batch: Batch::Each,
            exchange: Exchange::Every,
            local_steps: 16,
            outer_momentum: 0.9,
            share: 1.0,
            link: LinkChoice::Rack,
            stage: StageChoice::Zero3,
            steps: 8,
            rate: 0.01,
            model: Model::Paper,
            devices: 64,
        }
    }
}

impl Params {
    /// Windows of each worker.
    fn shares(&self) -> Result<Vec<usize>, LabError> {
        let (n, windows) = (self.workers as usize, self.windows as usize);
        if self.batch == Batch::Each {
            return Ok(vec![windows; n]);
        }
        if windows < n {
            let why = format!(
                "worker {n} would have no text: there are {windows} windows for {n} workers. Take {n} windows or more, or count them for each worker"
            );
            return Err(LabError::BadParam(BadParam { name: "windows".into(), why }));
        }
        Ok((0..n).map(|rank| windows * (rank + 1) / n - windows * rank / n).collect())
    }
}

/// The lab.
pub struct DistributedTraining;

impl Lab for DistributedTraining {
    const ID: &'static str = "distributed-training";
    type Params = Params;

    fn smoke() -> Params {
        Params { workers: 2, windows: 1, steps: 2, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let shares = params.shares()?;
        let mut report = Report::default();
        summary::calculated(&mut report, &params);
        cx.publish(&report)?;
        cx.progress("Loading", 0.0);
        let text = arms::Text::load(cx).await?;
        let setup = arms::Setup::new(&text, shares, params.steps as usize, params.rate, cx.seed);
        let ways = arms::ways(&params);
        let mut ran = Vec::new();
        for (at, (name, way)) in ways.iter().enumerate() {
            cx.progress(name, 0.05 + 0.75 * at as f64 / ways.len() as f64);
            ran.push((*name, arms::run(&setup, *way, arms::breathing(cx)).await?));
        }
        summary::counted(&mut report, &params, &setup, &ran);
        cx.publish(&report)?;
        cx.progress("Timing", 0.8);
        let costs = measured::measure(&setup, 5, cx).await?;
        summary::timed(&mut report, &params, (&setup, &costs), &ran, cx);
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
