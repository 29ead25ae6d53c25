//! The chain, the schedules it is run by, and what each run holds and takes.

use lab_api::LabError;
use lab_kit::{
    Context,
    measure::{in_turns, peak_bytes},
    recompute::{Action, Chain, Noise, cost, placed, revolved, square_root, trace, uniform},
};
use rand::Rng;

use super::{Params, figures, lowest};

/// Steps of the comparison of two trainings, the part of the batch they take, and what they repeat.
const STEPS: usize = 20;
const PART: usize = 8;
const BATCHES: usize = 4;
/// Each step moves each matrix by this share of its length.
const SHARE: f32 = 0.02;

/// A chain, a batch, and what it should answer.
pub(super) struct Subject {
    pub(super) chain: Chain,
    pub(super) rows: usize,
    pub(super) bytes: Vec<usize>,
    pub(super) operations: Vec<f64>,
    x: Vec<f32>,
    target: Vec<f32>,
}

/// A way to do the step.
pub(super) struct Arm {
    pub(super) name: String,
    pub(super) words: String,
    pub(super) schedule: Vec<Action>,
    /// Bytes of activations at the peak, by the formula.
    pub(super) model: usize,
    /// Work of forward runs beyond one pass over the chain, in passes.
    pub(super) extra: f64,
    /// Pieces of the batch.
    pub(super) parts: usize,
}

/// What a run of an arm showed.
pub(super) struct Found {
    pub(super) gradients: Vec<Vec<f32>>,
    /// Most bytes held at once, where the host counts.
    pub(super) peak: Option<usize>,
    /// Bytes held after each action.
    pub(super) held: Vec<usize>,
}

impl Arm {
    pub(super) fn placed(name: &str, subject: &Subject, keep: &[bool], early: bool) -> Self {
        Self::of(name, figures::list(keep), subject, placed(keep, early))
    }

    pub(super) fn revolved(name: &str, subject: &Subject, slots: usize) -> Self {
        let words = if slots == 1 { "the input alone".into() } else { format!("{slots} at a time") };
        Self::of(name, words, subject, revolved(subject.chain.layers(), slots))
    }

    fn of(name: &str, words: String, subject: &Subject, schedule: Vec<Action>) -> Self {
        let found = trace(&schedule, &subject.bytes, &subject.operations);
        let model = subject.activations(&schedule);
        let extra = found.forward / subject.forward() - 1.0;
        Self { name: name.into(), words, schedule, model, extra, parts: 1 }
    }
}

impl Subject {
    pub(super) fn draw(params: &Params, cx: &Context) -> Self {
        let chain = Chain::new(&params.widths(), &mut cx.rng("weights"));
        let rows = params.batch as usize;
        let (x, target) = batch(&chain, rows, cx, "batch");
        let (bytes, operations) = (chain.bytes(rows), chain.operations(rows));
        Self { chain, rows, bytes, operations, x, target }
    }

    /// Bytes of what each layer reads.
    pub(super) fn inputs(&self) -> &[usize] {
        &self.bytes[..self.chain.layers()]
    }

    /// Bytes of all of them.
    pub(super) fn all(&self) -> usize {
        self.inputs().iter().sum()
    }

    /// Operations of a forward pass.
    pub(super) fn forward(&self) -> f64 {
        self.operations.iter().sum()
    }

    pub(super) fn cost(&self, keep: &[bool]) -> (usize, f64) {
        cost(keep, self.inputs(), &self.operations)
    }

    pub(super) fn least(&self) -> Vec<bool> {
        lowest(self.inputs(), &self.operations)
    }

    /// Most bytes of activations that the schedule holds while a layer goes backward, without any gradient.
    fn activations(&self, schedule: &[Action]) -> usize {
        let mut held = self.bytes[0];
        let mut most = 0;
        for action in schedule {
            match *action {
                Action::Forward(layer) => held += self.bytes[layer + 1],
                Action::Drop(activation) => held -= self.bytes[activation],
                Action::Loss => held -= self.bytes[self.chain.layers()],
                Action::Backward(layer) => {
                    most = most.max(held);
                    held -= self.bytes[layer];
                }
            }
        }
        most
    }

    /// One step, its gradients added to those given.
    pub(super) fn step(&self, arm: &Arm, noise: Noise, gradients: &mut [Vec<f32>], mut watch: impl FnMut()) {
        let rows = self.rows.div_ceil(arm.parts);
        let widths = &self.chain.widths;
        let parts = self.x.chunks(rows * widths[0]).zip(self.target.chunks(rows * widths[widths.len() - 1]));
        for (x, target) in parts {
            // Schedules are made here, and tests run each of them.
            let _ = self.chain.step((x, target, self.rows), &arm.schedule, noise, gradients, &mut watch);
        }
    }

    /// Every arm once, its bytes counted.
    pub(super) async fn measure(&self, arms: &[Arm], noise: Noise, cx: &Context) -> Result<Vec<Found>, LabError> {
        let mut all = Vec::new();
        for arm in arms {
            let mut gradients = self.chain.zeros();
            let mut held = Vec::with_capacity(arm.parts * arm.schedule.len());
            let now = || cx.memory().map(|reading| reading.current_bytes);
            let before = now();
            let ((), peak) = peak_bytes(cx, async || {
                self.step(arm, noise, &mut gradients, || {
                    held.extend(now().zip(before).map(|(now, before)| now.saturating_sub(before)));
                });
                Ok(())
            })
            .await?;
            all.push(Found { gradients, peak, held });
            cx.checkpoint().await?;
        }
        Ok(all)
    }

    /// Milliseconds of a step of the twin, the chosen arm and the last one, in turn.
    pub(super) async fn times(
        &self,
        arms: &[Arm],
        noise: Noise,
        rounds: usize,
        cx: &Context,
    ) -> Result<Vec<Vec<f64>>, LabError> {
        let timed = [0, 1, arms.len() - 1];
        let mut gradients = self.chain.zeros();
        in_turns(cx, timed.len(), rounds, |which| self.step(&arms[timed[which]], noise, &mut gradients, || ())).await
    }

    /// Losses of trainings from the same weights on the same small batches in the same order.
    pub(super) async fn train(&self, arms: &[Arm], params: &Params, cx: &Context) -> Result<Vec<Vec<f64>>, LabError> {
        let rows = (self.rows / PART).max(16);
        let batches: Vec<_> = ["one", "two", "three", "four"][..BATCHES]
            .iter()
            .map(|purpose| batch(&self.chain, rows, cx, purpose))
            .collect();
        let mut curves = Vec::new();
        for arm in arms {
            let mut chain = self.chain.clone();
            let mut losses = Vec::new();
            for step in 0..STEPS {
                let (x, target) = &batches[step % BATCHES];
                let mut gradients = chain.zeros();
                let noise = params.noise(step as u32);
                let loss = chain.step((x, target, rows), &arm.schedule, noise, &mut gradients, || ());
                losses.extend(loss);
                chain.descend(&gradients, SHARE);
                cx.checkpoint().await?;
            }
            curves.push(losses);
        }
        Ok(curves)
    }
}

/// Rows at random, and what a layer that is to be found answers to them.
fn batch(chain: &Chain, rows: usize, cx: &Context, purpose: &str) -> (Vec<f32>, Vec<f32>) {
    let widths = &chain.widths;
    let mut rng = cx.rng(purpose);
    let x: Vec<f32> = (0..rows * widths[0]).map(|_| rng.random_range(-1.732..1.732)).collect();
    let target = Chain::new(&[widths[0], widths[widths.len() - 1]], &mut cx.rng("target")).outputs(&x);
    (x, target)
}

/// The twin that keeps all, the chosen arm, those it is compared with, and last the batch in pieces.
pub(super) fn all(subject: &Subject, chosen: Arm, early: bool) -> Vec<Arm> {
    let layers = subject.chain.layers();
    let keep_all = placed(&uniform(layers, 1), false);
    let twin = Arm::of("Keep all", "all".into(), subject, keep_all.clone());
    // As few pieces as fit where the chosen arm fits, two at least.
    let peak = |schedule: &[Action]| trace(schedule, &subject.bytes, &subject.operations).peak;
    let (allowed, whole) = (peak(&chosen.schedule), peak(&keep_all));
    let parts = (2..=subject.rows / 8).find(|parts| whole.div_ceil(*parts) <= allowed).unwrap_or(2);
    let pieces = Arm {
        parts,
        model: subject.all() / parts,
        ..Arm::of(&format!("Batch in {parts} pieces"), "all".into(), subject, keep_all)
    };
    let placed = |name: &str, keep: &[bool]| Arm::placed(name, subject, keep, early);
    vec![
        twin,
        chosen,
        placed("Every layer", &vec![true; layers]),
        placed("One in the middle", &uniform(layers, 2)),
        placed("√n segments", &square_root(layers)),
        placed("Lowest peak", &subject.least()),
        Arm::revolved("Revolve, 3 slots", subject, 3),
        Arm::revolved("From the input each time", subject, 1),
        pieces,
    ]
}
