//! One training with one rule at one rate.

use lab_api::LabError;
use lab_kit::{
    Context,
    training::Order,
    tuning::{
        Judged, Task,
        optim::{Decay, Optimizer, Rule},
    },
};

/// A training.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(super) rule: Rule,
    pub(super) rate: f64,
    pub(super) seed: u64,
    pub(super) steps: usize,
    pub(super) batch: usize,
    pub(super) decay: Decay,
    /// Whether the rate falls to zero.
    pub(super) falls: bool,
    /// Factor of the loss.
    pub(super) times: f32,
}

/// A piece of a training: its mean loss, and milliseconds of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    pub(super) loss: f64,
    pub(super) steps: usize,
    pub(super) gradient_ms: f64,
    pub(super) update_ms: f64,
}

/// What it led to.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    pub(super) rate: f64,
    /// On what chooses the rate; none where the training was lost.
    pub(super) chosen: Option<Judged>,
    pub(super) weights: Vec<f32>,
    pub(super) stretches: Vec<Stretch>,
}

/// Stretches of a training.
const STRETCHES: usize = 20;
/// Beyond this loss a training is lost.
const LOST: f64 = 100.0;

impl Trained {
    /// What rates are chosen by.
    pub(super) fn score(&self) -> f64 {
        self.chosen.map_or(f64::NAN, |judged| judged.loss)
    }

    /// Training loss of the last fifth.
    pub(super) fn late(&self) -> f64 {
        let last = &self.stretches[self.stretches.len().saturating_sub(STRETCHES / 5)..];
        last.iter().map(|one| one.loss).sum::<f64>() / last.len().max(1) as f64
    }
}

impl Plan {
    /// The rate of a step, counted from 0: up in the first fifteenth, then down or on.
    pub(super) fn rate_at(&self, step: usize) -> f64 {
        let warm = (self.steps / 15).max(1);
        let up = (step + 1) as f64 / warm as f64;
        let down = if self.falls { (self.steps - step) as f64 / (self.steps - warm + 1).max(1) as f64 } else { 1.0 };
        self.rate * up.min(down).min(1.0)
    }

    // ANCHOR: run
    /// Trains; every rule sees the same weights, examples and factors of its rate.
    pub(super) async fn run(
        &self,
        task: &Task,
        now_ms: impl Fn() -> f64,
        mut breathe: impl AsyncFnMut() -> Result<(), LabError>,
    ) -> Result<Trained, LabError> {
        let mut weights = task.init(self.seed);
        let mut optimizer = Optimizer::new(self.rule, self.decay, &task.parts());
        let mut order = Order::new(task.examples(), self.batch, self.seed);
        let (mut stretches, mut lost) = (Vec::new(), false);
        let mut stretch = Stretch { loss: 0.0, steps: 0, gradient_ms: 0.0, update_ms: 0.0 };
        for step in 0..self.steps {
            let which = order.indices(step);
            let began = now_ms();
            let (loss, mut gradient) = task.pass(&weights, which);
            let between = now_ms();
            if optimizer.wants_curvature() {
                let mut drawn = task.drawn(&weights, which, self.seed, step);
                drawn.iter_mut().for_each(|g| *g *= self.times);
                optimizer.curvature(&drawn, which.len());
            }
            if self.times != 1.0 {
                gradient.iter_mut().for_each(|g| *g *= self.times);
            }
            optimizer.step(&mut weights, &gradient, self.rate_at(step));
            stretch.loss += loss;
            stretch.steps += 1;
            stretch.gradient_ms += between - began;
            stretch.update_ms += now_ms() - between;
            lost = !loss.is_finite() || loss > LOST;
            breathe().await?;
            if lost {
                break;
            }
            if (step + 1) * STRETCHES / self.steps > step * STRETCHES / self.steps {
                let each = 1.0 / stretch.steps as f64;
                stretches.push(Stretch {
                    loss: each * stretch.loss,
                    steps: stretch.steps,
                    gradient_ms: each * stretch.gradient_ms,
                    update_ms: each * stretch.update_ms,
                });
                stretch = Stretch { loss: 0.0, steps: 0, gradient_ms: 0.0, update_ms: 0.0 };
            }
        }
        // ANCHOR_END: run
        let chosen = (!lost).then(|| task.judge(&weights, 1)).filter(|judged| judged.loss.is_finite());
        breathe().await?;
        Ok(Trained { rate: self.rate, chosen, weights, stretches })
    }
}

/// What lets the page have its turn, at most every 15 ms.
pub(super) fn breathing(cx: &Context) -> impl AsyncFnMut() -> Result<(), LabError> {
    let mut breath = cx.now_ms();
    async move || {
        if cx.now_ms() - breath > 15.0 {
            cx.checkpoint().await?;
            breath = cx.now_ms();
        }
        Ok(())
    }
}
