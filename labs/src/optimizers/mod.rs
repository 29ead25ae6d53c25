//! Which update rule gets furthest when each has had the same number of tries at its learning rate: loss against rate, bytes of
//! state, and time of a step, on images and on a text.

mod arms;
mod figures;
#[cfg(feature = "schema")]
mod study;
mod summary;
#[cfg(test)]
mod tests;
mod training;

use lab_api::{LabError, Report};
use lab_kit::{
    Context, Lab,
    tuning::{self, Learned, Task, optim::Decay},
};
use serde::{Deserialize, Serialize};

use arms::Arm;
use training::{Plan, Trained};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Compare
    ///
    /// All start from the same weights and read the same examples in the same order.
    pub compare: Compare,
    /// Task
    pub task: Learned,
    /// Tries
    ///
    /// Learning rates that each rule may try, neighbours a factor of 3.16 apart. If the best of any rule lies at the edge, all
    /// get one more.
    #[cfg_attr(feature = "schema", schemars(range(min = 3, max = 9), extend("x-step" = 1)))]
    pub tries: u32,
    /// Steps
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 1000), extend("x-unit" = "steps", "x-step" = 20)))]
    pub steps: u32,
    /// Batch
    ///
    /// Images of a step, or tokens to foretell.
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 2048), extend("x-unit" = "examples", "x-step" = 16)))]
    pub batch: u32,
    /// Width
    ///
    /// Units of each hidden layer.
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 256), extend("x-unit" = "units", "x-step" = 16)))]
    pub width: u32,
    /// Schedule
    ///
    /// After a short warm-up.
    pub schedule: Schedule,
    /// Weight decay
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.5), extend("x-step" = 0.01)))]
    pub weight_decay: f64,
    /// Kind of decay
    pub decay_kind: Pull,
    /// Loss
    ///
    /// Whether the gradient is that of the loss, or of a thousand times the loss.
    pub loss: Times,
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
    Compare {
        /// SGD, AdamW, Lion, Muon
        Families = "families",
        /// SGD, momentum, Nesterov
        Momentum = "momentum",
        /// AdamW, Adafactor, 8-bit Adam
        State = "state",
        /// Four ways to keep Adam in 8 bits
        Codes = "codes",
        /// Adam with other betas, Adafactor
        Betas = "betas",
        /// AdamW, Sophia, Muon, SOAP
        Curvature = "curvature",
        /// Lion, bare signs, three Adafactors
        Controls = "controls",
    }
}

choice! {
    /// Of the rate.
    Schedule {
        /// Falls to zero
        Linear = "linear",
        /// Stays
        Constant = "constant",
    }
}

choice! {
    /// Where the pull to zero enters.
    Pull {
        /// Beside the rule (AdamW)
        Decoupled = "decoupled",
        /// In the gradient (L2)
        Penalty = "penalty",
    }
}

choice! {
    /// Factor of the loss.
    Times {
        /// As it is
        One = "one",
        /// Times a thousand
        Thousand = "thousand",
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            compare: Compare::Families,
            task: Learned::Glyphs,
            tries: 5,
            steps: 100,
            batch: 64,
            width: 64,
            schedule: Schedule::Linear,
            weight_decay: 0.0,
            decay_kind: Pull::Decoupled,
            loss: Times::One,
        }
    }
}

impl Params {
    fn plan(&self, arm: &Arm, rate: f64, seed: u64) -> Plan {
        Plan {
            rule: arm.rule,
            rate,
            seed,
            steps: self.steps as usize,
            batch: self.batch as usize,
            decay: match self.decay_kind {
                Pull::Decoupled => Decay::Decoupled(self.weight_decay),
                Pull::Penalty => Decay::Penalty(self.weight_decay),
            },
            falls: self.schedule == Schedule::Linear,
            times: if self.loss == Times::Thousand { 1000.0 } else { 1.0 },
        }
    }
}

/// A rule with all its tries.
pub(crate) struct Tuned {
    arm: Arm,
    tries: Vec<Trained>,
}

impl Tuned {
    /// Rates and what they led to.
    fn scores(&self) -> Vec<tuning::Try> {
        self.tries.iter().map(|one| (one.rate, one.score())).collect()
    }

    /// The best try, and whether it lies at the edge.
    fn best(&self) -> Option<(&Trained, bool)> {
        tuning::best(&self.scores()).map(|(at, edge)| (&self.tries[at], edge))
    }
}

/// The lab.
pub struct Optimizers;

impl Lab for Optimizers {
    const ID: &'static str = "optimizers";
    type Params = Params;

    fn smoke() -> Params {
        Params { tries: 3, steps: 20, batch: 32, width: 16, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let mut report = Report::default();
        summary::counted(&mut report, &params);
        cx.publish(&report)?;
        cx.progress("Loading", 0.0);
        let task = Task::load(params.task, params.width as usize, cx).await?;
        let mut all: Vec<Tuned> =
            arms::group(params.compare, params.task).map(|arm| Tuned { arm, tries: Vec::new() }).collect();
        let rounds = params.tries as usize;
        for round in 0..=rounds {
            // The last round only if a best one lies at an edge.
            if round == rounds && !all.iter().any(|one| one.best().is_some_and(|best| best.1)) {
                break;
            }
            for one in &mut all {
                let rate = if round == rounds {
                    tuning::next(&one.scores(), arms::RATIO)
                } else {
                    tuning::grid(one.arm.middle, arms::RATIO, rounds).get(round).copied()
                };
                let Some(rate) = rate else { continue };
                cx.progress(
                    &format!("{} at {}", one.arm.name, figures::rate(rate)),
                    0.02 + 0.9 * round as f64 / (rounds + 1) as f64,
                );
                let plan = params.plan(&one.arm, rate, cx.seed);
                one.tries.push(plan.run(&task, || cx.now_ms(), training::breathing(cx)).await?);
            }
            let mut so_far = report.clone();
            so_far.charts.push(figures::rates(&all, &task));
            cx.publish(&so_far)?;
        }
        if all.iter().all(|one| one.best().is_none()) {
            let rates = all.iter().flat_map(|one| &one.tries).map(|one| figures::rate(one.rate));
            let why = format!("no rule survived any of its rates ({})", rates.collect::<Vec<_>>().join(", "));
            return Err(LabError::Refused { why });
        }
        cx.progress("Judging on what no rule has seen", 0.93);
        summary::complete(&mut report, &params, &task, &all, cx).await?;
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
