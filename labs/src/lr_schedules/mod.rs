//! How the learning rate should move during a training: every schedule at its own best peak, and what one has if the training
//! must stop earlier than planned.

mod anytime;
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
    tuning::{self, Judged, Learned, Task},
};
use serde::{Deserialize, Serialize};

use anytime::Anytime;
use arms::Arm;
use training::Training;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Compare
    ///
    /// All start from the same weights and read the same examples in the same order.
    pub compare: Compare,
    /// Your schedule
    ///
    /// Draw a line from left to right: the height is the rate, the width is the run. It competes with the others. While it is blank, they are alone.
    #[cfg_attr(feature = "schema", schemars(extend("x-drawing" = [28, 28])))]
    pub drawing: String,
    /// Task
    pub task: Learned,
    /// Steps
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 2000), extend("x-unit" = "steps", "x-step" = 20)))]
    pub steps: u32,
    /// Tries
    ///
    /// Peaks that each schedule may try, neighbours a factor of 2 apart. If the best of any lies at the edge, all get one more. With a single try, all have the same peak.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 7), extend("x-step" = 1)))]
    pub tries: u32,
    /// Peak
    ///
    /// The middle of the tries, for AdamW. SGD with momentum takes ten times this.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0005, max = 0.2), extend("x-step" = 0.0005)))]
    pub peak: f64,
    /// Warm-up
    ///
    /// Share of the steps in which the rate rises to its peak.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.3), extend("x-step" = 0.01)))]
    pub warmup: f64,
    /// Floor
    ///
    /// The last rate, as a share of the peak.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.5), extend("x-step" = 0.01)))]
    pub floor: f64,
    /// Cool-down
    ///
    /// Share of the steps in which a rate that was constant falls.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.02, max = 0.5), extend("x-step" = 0.01)))]
    pub cooldown: f64,
    /// Power
    ///
    /// Of the polynomial; 1 is linear.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.5, max = 4.0), extend("x-step" = 0.1)))]
    pub power: f64,
    /// Step factor
    ///
    /// What the step schedule multiplies the rate by, after half of the steps and after three quarters.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.01, max = 1.0), extend("x-step" = 0.01)))]
    pub gamma: f64,
    /// Memory of the average
    ///
    /// Share of the steps over which the running average of the weights reaches back.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.01, max = 0.5), extend("x-step" = 0.01)))]
    pub average: f64,
    /// Stop at
    ///
    /// Share of the planned steps after which every run ends, whatever was planned.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.25, max = 1.0), extend("x-step" = 0.05)))]
    pub stop_at: f64,
    /// Optimizer
    pub optimizer: Optimizer,
    /// Batch
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 512), extend("x-unit" = "examples", "x-step" = 16)))]
    pub batch: u32,
    /// Width
    ///
    /// Units of each hidden layer.
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 256), extend("x-unit" = "units", "x-step" = 16)))]
    pub width: u32,
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
        /// Five that are in use
        Usual = "usual",
        /// Six ways down
        Falls = "falls",
        /// Cool-downs of three forms
        CoolDowns = "cooldowns",
        /// Inverse root, restarts, one-cycle
        Older = "older",
        /// The same rates in another order
        Order = "order",
    }
}

choice! {
    /// What moves the weights.
    Optimizer {
        /// AdamW
        Adamw = "adamw",
        /// SGD with momentum
        Momentum = "momentum",
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            compare: Compare::Usual,
            drawing: String::new(),
            task: Learned::Glyphs,
            steps: 160,
            tries: 4,
            peak: 0.01,
            warmup: 0.05,
            floor: 0.0,
            cooldown: 0.2,
            power: 2.0,
            gamma: 0.1,
            average: 0.15,
            stop_at: 1.0,
            optimizer: Optimizer::Adamw,
            batch: 32,
            width: 64,
        }
    }
}

/// Between neighbouring peaks.
const RATIO: f64 = 2.0;

impl Params {
    /// Steps of warm-up in a run of so many.
    fn warmup(&self, steps: usize) -> usize {
        (self.warmup * steps as f64).round() as usize
    }

    /// Steps that are planned.
    fn planned(&self) -> usize {
        self.steps as usize
    }

    /// Steps that are made.
    fn made(&self) -> usize {
        ((self.stop_at * f64::from(self.steps)).round() as usize).max(1)
    }

    /// What the running average keeps at each step.
    fn keep(&self) -> f64 {
        1.0 - 1.0 / (self.average * f64::from(self.steps)).max(1.0)
    }

    /// The middle of the peaks. Schedule-free is a form of AdamW, whatever moves the others.
    fn middle(&self, free: bool) -> f64 {
        self.peak * if self.optimizer == Optimizer::Momentum && !free { 10.0 } else { 1.0 }
    }

    fn check(&self, arms: &[Arm]) -> Result<(), LabError> {
        let steps = self.planned();
        for arm in arms {
            arm.schedule(steps, self.warmup(steps), self.peak).check()?;
        }
        Ok(())
    }
}

/// One peak, and what it led to.
pub(crate) struct Tried {
    peak: f64,
    /// On what chooses the peak: the last weights, and of a constant rate their running average too. None where the training was
    /// lost.
    chosen: Option<Judged>,
    chosen_average: Option<Judged>,
    weights: Vec<f32>,
    average: Vec<f32>,
    curve: Vec<[f64; 2]>,
    late: f64,
    /// Milliseconds of a step.
    step_ms: f64,
}

/// A schedule with all its tries.
pub(crate) struct Tuned {
    arm: Arm,
    tries: Vec<Tried>,
}

fn score(judged: &Option<Judged>) -> f64 {
    judged.map_or(f64::NAN, |judged| judged.loss)
}

impl Tuned {
    fn scores(&self) -> Vec<tuning::Try> {
        self.tries.iter().map(|one| (one.peak, score(&one.chosen))).collect()
    }

    /// The best try, and whether it lies at the edge.
    fn best(&self) -> Option<(&Tried, bool)> {
        tuning::best(&self.scores()).map(|(at, edge)| (&self.tries[at], edge))
    }

    /// The try whose running average is best.
    fn best_average(&self) -> Option<&Tried> {
        let scores: Vec<tuning::Try> = self.tries.iter().map(|one| (one.peak, score(&one.chosen_average))).collect();
        tuning::best(&scores).map(|(at, _)| &self.tries[at])
    }
}

async fn attempt(arm: &Arm, peak: f64, params: &Params, task: &Task, cx: &Context) -> Result<Tried, LabError> {
    let steps = params.planned();
    let mut training = Training::new(task, arm.plan(params, (steps, params.warmup(steps)), peak, cx.seed));
    let began = cx.now_ms();
    training.until(params.made(), training::breathing(cx)).await?;
    let step_ms = (cx.now_ms() - began) / training.state.step.max(1) as f64;
    let tried = Tried {
        peak,
        chosen: training.judge(1),
        chosen_average: if arm.id == "constant" { training.judge_average(1) } else { None },
        late: training.late(),
        step_ms,
        weights: training.state.weights,
        average: training.state.average,
        curve: training.curve,
    };
    cx.checkpoint().await?;
    Ok(tried)
}

/// The lab.
pub struct LrSchedules;

impl Lab for LrSchedules {
    const ID: &'static str = "lr-schedules";
    type Params = Params;

    fn smoke() -> Params {
        Params { compare: Compare::Order, steps: 20, tries: 1, batch: 32, width: 16, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let arms = arms::group(&params)?;
        params.check(&arms)?;
        let mut report = Report::default();
        summary::counted(&mut report, &params, &arms);
        cx.publish(&report)?;
        cx.progress("Loading", 0.0);
        let task = Task::load(params.task, params.width as usize, cx).await?;
        let mut all: Vec<Tuned> = arms.into_iter().map(|arm| Tuned { arm, tries: Vec::new() }).collect();
        let rounds = params.tries as usize;
        let last = rounds + usize::from(rounds > 1);
        for round in 0..last {
            // The last round only if a best one lies at an edge.
            if round == rounds && !all.iter().any(|one| one.best().is_some_and(|best| best.1)) {
                break;
            }
            for one in &mut all {
                let peak = if round == rounds {
                    tuning::next(&one.scores(), RATIO)
                } else {
                    tuning::grid(params.middle(one.arm.free), RATIO, rounds).get(round).copied()
                };
                let Some(peak) = peak else { continue };
                let words = format!("{} at {}", one.arm.name, figures::rate(peak));
                cx.progress(&words, 0.02 + 0.6 * round as f64 / last as f64);
                let tried = attempt(&one.arm, peak, &params, &task, cx).await?;
                one.tries.push(tried);
            }
            let mut so_far = report.clone();
            so_far.charts = figures::tuned(&all, &params, &task);
            cx.publish(&so_far)?;
        }
        if all.iter().all(|one| one.best().is_none()) {
            let peaks = all.iter().flat_map(|one| &one.tries).map(|one| figures::rate(one.peak));
            let why = format!("no schedule survived any of its peaks ({})", peaks.collect::<Vec<_>>().join(", "));
            return Err(LabError::Refused { why });
        }
        summary::complete(&mut report, &params, &task, &all, cx).await?;
        cx.publish(&report)?;
        let peaks = anytime::Peaks::of(&all, &params);
        let anytime = Anytime::run(&params, &peaks, &task, cx.seed, cx).await?;
        summary::anytime(&mut report, &params, &anytime);
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
