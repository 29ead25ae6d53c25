//! A training that takes its rates from a list, can be stopped at any step, and can be branched off there.

use lab_api::LabError;
use lab_kit::{
    Context,
    training::Order,
    tuning::{
        Judged, Task,
        optim::{self, Adam, ScheduleFree, adamw, momentum},
    },
};

/// How weights follow gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moves {
    Adam,
    Momentum,
    Free,
}

/// A training.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(super) moves: Moves,
    /// One for each step; beyond them the rate is zero.
    pub(super) rates: Vec<f64>,
    /// Momentum of each step; empty where it stays.
    pub(super) momenta: Vec<f64>,
    pub(super) batch: usize,
    pub(super) seed: u64,
    /// What the running average keeps at each step.
    pub(super) keep: f64,
    /// Steps of a point of the curve.
    pub(super) every: usize,
}

/// Decay of weights, times the rate.
const DECAY: f64 = 0.05;
const MOMENTUM: f64 = 0.9;
/// Beyond this loss a training is lost.
const LOST: f64 = 100.0;

/// Everything that a training needs to go on.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(super) weights: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    /// Running average of the weights.
    pub(super) average: Vec<f32>,
    pub(super) free: Option<ScheduleFree>,
    pub(super) step: usize,
}

impl State {
    pub(super) fn new(weights: Vec<f32>, moves: Moves) -> Self {
        let n = weights.len();
        let [first, second] = match moves {
            Moves::Adam => [n, n],
            Moves::Momentum => [n, 0],
            Moves::Free => [0, 0],
        };
        let free = (moves == Moves::Free).then(|| ScheduleFree::new(&weights, MOMENTUM));
        Self { average: weights.clone(), first: vec![0.0; first], second: vec![0.0; second], free, weights, step: 0 }
    }

    /// Bytes beside the weights: of the rule, and of the running average.
    pub(super) fn bytes(&self) -> [usize; 2] {
        let rule = match &self.free {
            // One of its buffers is the weights themselves.
            Some(free) => free.bytes() - 4 * self.weights.len(),
            None => 4 * (self.first.len() + self.second.len()),
        };
        [rule, 4 * self.average.len()]
    }
}

/// What is seen of a step: the length of the gradient, the length of the update over that of the weights, and the cosines between
/// this update and the one before, and between this gradient and the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Dynamics {
    pub(super) gradient: f64,
    pub(super) update: f64,
    pub(super) cosine: f64,
    pub(super) turn: f64,
}

/// A training under way.
#[derive(Clone)]
pub(crate) struct Training<'a> {
    task: &'a Task,
    pub(super) plan: Plan,
    order: Order,
    pub(super) state: State,
    /// Steps and mean training loss of the steps before.
    pub(super) curve: Vec<[f64; 2]>,
    piece: (f64, usize),
    pub(super) lost: bool,
    /// The last update and the last gradient, if somebody looks, and what is seen of each step.
    watched: Option<[Vec<f32>; 2]>,
    pub(super) dynamics: Vec<Dynamics>,
}

impl<'a> Training<'a> {
    pub(super) fn new(task: &'a Task, plan: Plan) -> Self {
        let state = State::new(task.init(plan.seed), plan.moves);
        let order = Order::new(task.examples(), plan.batch, plan.seed);
        let (curve, dynamics) = (Vec::new(), Vec::new());
        Self { task, plan, order, state, curve, piece: (0.0, 0), lost: false, watched: None, dynamics }
    }

    /// The same, looking at each update.
    pub(super) fn watch(mut self) -> Self {
        self.watched = Some(Default::default());
        self
    }

    // ANCHOR: branch
    /// A branch: goes on from here with other rates, and leaves this one as it is.
    pub(super) fn branch(&self, rates: Vec<f64>) -> Self {
        let mut branch = self.clone();
        branch.plan.rates = rates;
        branch
    }
    // ANCHOR_END: branch

    // ANCHOR: until
    /// Trains up to a step.
    pub(super) async fn until(
        &mut self,
        end: usize,
        mut breathe: impl AsyncFnMut() -> Result<(), LabError>,
    ) -> Result<(), LabError> {
        while self.state.step < end && !self.lost {
            self.step();
            breathe().await?;
        }
        Ok(())
    }

    fn step(&mut self) {
        let Self { task, plan, state, .. } = self;
        let step = state.step;
        let rate = plan.rates.get(step).copied().unwrap_or(0.0);
        let beta_1 = plan.momenta.get(step).copied().unwrap_or(MOMENTUM);
        let set = Adam { beta_1, decay: DECAY, ..Adam::W };
        let which = self.order.indices(step);
        let before = self.watched.is_some().then(|| state.weights.clone());
        let point = state.free.as_ref().map(ScheduleFree::point);
        let (loss, gradient) = task.pass(point.as_ref().unwrap_or(&state.weights), which);
        let State { weights, first, second, average, free, .. } = state;
        match (plan.moves, free, point) {
            (Moves::Free, Some(free), Some(point)) => {
                free.step(&point, &gradient, rate, Some(&set));
                weights.copy_from_slice(free.answer());
            }
            (Moves::Momentum, ..) => {
                let keep = (1.0 - rate * DECAY) as f32;
                weights.iter_mut().for_each(|w| *w *= keep);
                momentum(weights, &gradient, first, rate, beta_1, false);
            }
            _ => adamw(weights, &gradient, (first, second), step as u32 + 1, rate, &set),
        }
        optim::average(average, weights, plan.keep);
        state.step += 1;
        self.lost = !loss.is_finite() || loss > LOST;
        // ANCHOR_END: until
        self.piece = (self.piece.0 + loss, self.piece.1 + 1);
        if (step + 1).is_multiple_of(plan.every) && !self.lost {
            self.curve.push([(step + 1) as f64, self.piece.0 / self.piece.1 as f64]);
            self.piece = (0.0, 0);
        }
        if let (Some(before), Some(last)) = (before, &mut self.watched) {
            let update: Vec<f32> = self.state.weights.iter().zip(&before).map(|(w, b)| w - b).collect();
            self.dynamics.push(Dynamics {
                gradient: length(&gradient),
                update: length(&update) / length(&before).max(1e-30),
                cosine: cosine(&update, &last[0]),
                turn: cosine(&gradient, &last[1]),
            });
            *last = [update, gradient];
        }
    }

    /// How good the weights are, on what chooses (1) or judges (2); none of a training that was lost.
    pub(super) fn judge(&self, on: usize) -> Option<Judged> {
        self.judge_of(&self.state.weights, on)
    }

    /// The same of the running average.
    pub(super) fn judge_average(&self, on: usize) -> Option<Judged> {
        self.judge_of(&self.state.average, on)
    }

    fn judge_of(&self, weights: &[f32], on: usize) -> Option<Judged> {
        (!self.lost).then(|| self.task.judge(weights, on)).filter(|judged| judged.loss.is_finite())
    }

    /// Training loss of the last fifth.
    pub(super) fn late(&self) -> f64 {
        let last = &self.curve[self.curve.len() - self.curve.len().div_ceil(5)..];
        last.iter().map(|point| point[1]).sum::<f64>() / last.len().max(1) as f64
    }
}

/// Cosine of two directions; 0 where there is no first one.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    dot(a, b) / (length(a) * length(b)).max(1e-30)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn length(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
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
