//! Search by gradient: shares of operations that are trained beside the weights, on images of their own.

use lab_api::LabError;
use lab_layers::{
    cells::{CellCode, SlotOp},
    optim::{Adam, adamw},
};
use rand_chacha::ChaCha8Rng;

use super::{
    darts::{ChoiceSlopes, ImageHalf, by_logits, first_order, gumbel, second_order, softmax_shares, strongest_choices},
    path_adam::PathAdam,
    supernet::{CHOICES, OPERATIONS, Supernet, code_of_choices, path_shares},
    training::{SHARED_BATCH, SHARED_RATE},
};
use crate::{data::Images, rng, train::half_cosine, training::Order};

/// Of the logits: as DARTS has its two decays, with a larger rate, since steps are few.
const CHOICE_ADAM: Adam = Adam { beta_1: 0.5, beta_2: 0.999, epsilon: 1e-8, decay: 1e-3 };
const CHOICE_RATE: f64 = 0.02;
/// The same where one path is sampled: steps are cheaper and more.
const SAMPLED_RATE: f64 = 0.004;
/// Temperature of the first step and of the last (Dong and Yang, 2019, arXiv:1910.04465).
const TEMPERATURES: [f64; 2] = [10.0, 0.1];
/// FLOPs that one unit of the cost stands for.
pub const COST_UNIT: f64 = 1e5;

/// What is mixed, and how its shares learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MixedHow {
    /// The supernet.
    pub net: Supernet,
    /// Steps: each moves the shares and then the weights.
    pub steps: usize,
    /// Shares look one step of the weights ahead.
    pub second: bool,
    /// One sampled operation a slot instead of all.
    pub sampled: bool,
    /// Times the expected FLOPs, in units of [`COST_UNIT`], beside the loss.
    pub cost: f64,
}

/// What was seen at a step.
#[derive(Debug, Clone, PartialEq)]
pub struct MixedMark {
    /// Steps behind.
    pub step: usize,
    /// Shares, `[CHOICES]`.
    pub shares: Vec<f64>,
    /// Loss of the mixture, in nats.
    pub mixture: f64,
    /// Loss of what is cut out of it with the same weights: the strongest operation of each slot.
    pub cut: f64,
}

/// A mixture in training.
#[derive(Debug, Clone)]
pub struct MixedTraining {
    /// How.
    pub how: MixedHow,
    /// The weights.
    pub weights: Vec<f32>,
    /// The logits of the shares, `[CHOICES]`.
    pub alpha: Vec<f32>,
    /// Forward and backward passes so far.
    pub passes: usize,
    /// Steps behind.
    pub step: usize,
    adam: PathAdam,
    moments: [Vec<f32>; 2],
    orders: [Order; 2],
    random: ChaCha8Rng,
}

impl MixedTraining {
    /// Before the first step, with even shares. `examples` are those of the two halves.
    #[must_use]
    pub fn new(how: MixedHow, examples: [usize; 2], seed: u64) -> Self {
        Self {
            how,
            weights: how.net.init(&mut rng(seed, "weights")),
            alpha: vec![0.0; CHOICES],
            passes: 0,
            step: 0,
            adam: PathAdam::new(how.net.parts(), Adam::W),
            moments: [vec![0.0; CHOICES], vec![0.0; CHOICES]],
            orders: [0, 1].map(|half| Order::new(examples[half], SHARED_BATCH, seed + half as u64)),
            random: rng(seed, "gumbel"),
        }
    }

    /// Shares of all operations.
    #[must_use]
    pub fn shares(&self) -> Vec<f64> {
        softmax_shares(&self.alpha, OPERATIONS)
    }

    /// The strongest operation of each slot.
    #[must_use]
    pub fn found(&self) -> CellCode {
        code_of_choices(&strongest_choices(&self.shares(), OPERATIONS))
    }

    // ANCHOR: step
    /// One step: the shares by one half of the images, the weights by the other. `halves` train weights, and shares.
    pub fn step(&mut self, halves: &[Images; 2]) {
        let done = self.step as f64 / self.how.steps.max(1) as f64;
        let rate = SHARED_RATE * half_cosine(done);
        let batches = [0, 1].map(|half| {
            let which = self.orders[half].indices(self.step);
            let labels: Vec<u8> = which.iter().map(|i| halves[half].labels[*i]).collect();
            (halves[half].gather(which), labels)
        });
        // Shares as the weights see them, and as the logits do.
        let (net, soft) = (self.how.net, self.soft(done));
        let seen = if self.how.sampled {
            path_shares(code_of_choices(&strongest_choices(&soft.0, OPERATIONS)))
        } else {
            soft.0.clone()
        };
        let mut passes = 0;
        let mut slopes = |weights: &[f32], half: ImageHalf| {
            passes += 1;
            let (pixels, labels) = &batches[half as usize];
            let pass = net.pass(weights, &seen, pixels, labels);
            let choices = by_logits(&soft.0, &pass.shares, OPERATIONS).iter().map(|s| s / soft.1).collect();
            ChoiceSlopes { weights: pass.gradient, choices }
        };
        let by_alpha = if self.how.second {
            second_order(&self.weights, rate, &mut slopes)
        } else {
            first_order(&self.weights, &mut slopes)
        };
        let by_weights = slopes(&self.weights, ImageHalf::Weights).weights;
        self.passes += passes;
        let dear = by_logits(&self.shares(), &costs(), OPERATIONS);
        let by_alpha: Vec<f32> =
            by_alpha.iter().zip(dear).map(|(loss, dear)| (loss + self.how.cost * dear) as f32).collect();
        self.step += 1;
        let [m, v] = &mut self.moments;
        let pace = if self.how.sampled { SAMPLED_RATE } else { CHOICE_RATE };
        adamw(&mut self.alpha, &by_alpha, (m, v), self.step as u32, pace, &CHOICE_ADAM);
        self.adam.step(&mut self.weights, &by_weights, &net.used(&seen), rate);
    }
    // ANCHOR_END: step

    /// Shares that slopes go through, and the temperature that they were divided by.
    fn soft(&mut self, done: f64) -> (Vec<f64>, f64) {
        if !self.how.sampled {
            return (self.shares(), 1.0);
        }
        let temperature = TEMPERATURES[0] + done * (TEMPERATURES[1] - TEMPERATURES[0]);
        (gumbel(&self.alpha, OPERATIONS, temperature, &mut self.random), temperature)
    }

    /// Losses of the mixture and of what is cut out of it, on some images.
    #[must_use]
    pub fn mark(&self, images: &Images) -> MixedMark {
        let judge = |shares: &[f64]| self.how.net.judge(&self.weights, shares, &images.pixels, &images.labels).0;
        let shares = self.shares();
        MixedMark { step: self.step, mixture: judge(&shares), cut: judge(&path_shares(self.found())), shares }
    }

    /// To the end, with a mark at the beginning, after every `every` steps and at the end. `breathe` is called after each step.
    ///
    /// # Errors
    /// What `breathe` returns.
    pub async fn finish(
        &mut self,
        (halves, seen): (&[Images; 2], &Images),
        every: usize,
        mut breathe: impl AsyncFnMut() -> Result<(), LabError>,
    ) -> Result<Vec<MixedMark>, LabError> {
        let mut marks = vec![self.mark(seen)];
        while self.step < self.how.steps {
            self.step(halves);
            if self.step.is_multiple_of(every.max(1)) || self.step == self.how.steps {
                marks.push(self.mark(seen));
            }
            breathe().await?;
        }
        Ok(marks)
    }
}

/// FLOPs of each choice, in units of [`COST_UNIT`].
fn costs() -> Vec<f64> {
    (0..CHOICES).map(|choice| SlotOp::ALL[choice % OPERATIONS].flops() as f64 / COST_UNIT).collect()
}

/// Some of the images.
#[must_use]
pub fn some_of(images: &Images, which: &[usize]) -> Images {
    Images {
        pixels: images.gather(which),
        labels: which.iter().map(|i| images.labels[*i]).collect(),
        groups: which.iter().filter_map(|i| images.groups.get(*i)).copied().collect(),
        side: images.side,
        classes: images.classes,
    }
}

/// Two halves of the images, no font family in both.
#[must_use]
pub fn halves_of(images: &Images) -> [Images; 2] {
    let family = |i: usize| images.groups.get(i).copied().unwrap_or(i);
    // One in eight families chooses and is not here, so their numbers in order are not those of the data set.
    let mut families: Vec<usize> = (0..images.len()).map(family).collect();
    families.sort_unstable();
    families.dedup();
    let half = |i: usize| families.binary_search(&family(i)).unwrap_or_default() % 2;
    [0, 1].map(|wanted| some_of(images, &(0..images.len()).filter(|i| half(*i) == wanted).collect::<Vec<_>>()))
}
