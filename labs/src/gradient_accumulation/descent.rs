//! Trainings to a target loss, and the noise scale that their own pieces tell on the way.

use lab_api::LabError;
use lab_kit::{
    accumulate::{Accumulator, Format, NoiseScale, Norm, Optimizer, Rule, scaled_rate},
    rng,
    training::Order,
};

use super::{
    Choice, Params,
    task::{Task, shape},
};

/// Best rates that earlier runs found, by batch: for Adam and for SGD.
pub(super) const TUNED: [(usize, f64, f64); 4] =
    [(8, 2.4e-3, 0.12), (32, 3.4e-3, 0.24), (128, 9.6e-3, 0.48), (512, 1.9e-2, 0.96)];
/// The batch from which rules scale.
pub(super) const BASE: usize = 32;
/// Examples over which the noise scale is averaged.
const MEMORY: f64 = 2560.0;
/// Most examples of a run, where many updates are short and where few are long.
const MOST_STEPS: usize = 4000;
const MOST_EXAMPLES: usize = 120_000;

/// The best rate of an optimizer for a batch, from the table.
pub(super) fn tuned(optimizer: Choice, batch: usize) -> f64 {
    let row = TUNED.iter().min_by_key(|row| row.0.abs_diff(batch)).unwrap_or(&TUNED[1]);
    if optimizer == Choice::Adam { row.1 } else { row.2 }
}

/// A training to a target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descent {
    pub(super) batch: usize,
    pub(super) piece: usize,
    pub(super) rule: Rule,
    pub(super) rate: f64,
    pub(super) target: f64,
}

/// What it took.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    pub(super) batch: usize,
    pub(super) rate: f64,
    /// Updates to the target, between two judgements by interpolation; nothing where it was not reached.
    pub(super) steps: Option<f64>,
    /// Updates done.
    pub(super) done: usize,
    /// Noise scale over the last examples.
    pub(super) noise: Option<f64>,
    pub(super) seconds: f64,
    /// On unseen fonts, in per cent.
    pub(super) accuracy: f64,
    /// Loss after so many updates.
    pub(super) curve: Vec<[f64; 2]>,
}

impl Reached {
    /// Updates until a loss was passed for the first time.
    pub(super) fn until(&self, target: f64) -> Option<f64> {
        let at = self.curve.iter().position(|point| point[1] <= target)?;
        let Some([before, above]) = at.checked_sub(1).map(|i| self.curve[i]) else { return Some(self.curve[at][0]) };
        let [after, below] = self.curve[at];
        let share = (above - target) / (above - below);
        Some((before.max(1.0).ln() * (1.0 - share) + after.ln() * share).exp())
    }
}

impl Descent {
    pub(super) fn planned(batch: usize, params: &Params) -> Self {
        let rate = match params.rate.rule() {
            None => tuned(params.optimizer, batch),
            Some(rule) => scaled_rate(tuned(params.optimizer, BASE), BASE as f64, batch as f64, rule),
        };
        let piece = (params.piece as usize).min(batch / 4).max(1);
        Self { batch, piece, rule: params.optimizer.rule(), rate, target: params.target }
    }

    // ANCHOR: descent
    /// Trains until the loss on the judging images is below the target, at a rate that stays.
    pub(super) async fn run(
        &self,
        task: &Task,
        seed: u64,
        now_ms: impl Fn() -> f64,
        mut breathe: impl AsyncFnMut() -> Result<(), LabError>,
    ) -> Result<Reached, LabError> {
        let shape = shape(Norm::None);
        let mut weights = shape.init(&mut rng(seed, "weights"));
        let mut optimizer = Optimizer::new(self.rule, weights.len());
        let mut order = Order::new(task.train.len(), self.batch, seed);
        let mut meter = NoiseScale::new(1.0 - (self.batch as f64 / MEMORY).min(0.5));
        let mut sum = Accumulator::new(Format::Fp32);
        let (mut curve, mut ms, mut done, mut judge_at) = (Vec::new(), 0.0, 0, 1);
        while done < MOST_STEPS.min(MOST_EXAMPLES / self.batch) {
            let began = now_ms();
            let images = order.indices(done).to_vec();
            let (loss, gradient, norms) = task.in_pieces(&shape, &weights, &images, self.piece, &mut sum);
            meter.see(&norms.pieces, self.piece, norms.whole, self.batch);
            optimizer.step(&mut weights, &gradient, self.rate);
            ms += now_ms() - began;
            done += 1;
            breathe().await?;
            // Diverged, and will not come back.
            if loss.is_nan() || loss > 50.0 {
                break;
            }
            // At every step at first, later at every tenth part of what is behind.
            if done >= judge_at {
                let loss = task.loss(&shape, &weights);
                curve.push([done as f64, loss]);
                judge_at = done + (done / 10).max(1);
                if loss <= self.target {
                    break;
                }
            }
        }
        // ANCHOR_END: descent
        let accuracy = task.accuracy(&shape, &weights);
        breathe().await?;
        let mut reached = Reached {
            batch: self.batch,
            rate: self.rate,
            steps: None,
            done,
            noise: meter.value(),
            seconds: 1e-3 * ms,
            accuracy,
            curve,
        };
        reached.steps = reached.until(self.target);
        Ok(reached)
    }
}
