//! Training of the weights that all paths share: one path a step.

use lab_api::LabError;
use lab_layers::cells::{CellCode, SLOTS};
use rand_chacha::ChaCha8Rng;

use super::{
    path_adam::PathAdam,
    paths::{fair_round, uniform_path},
    supernet::{OPERATIONS, Supernet, code_of_choices, path_shares},
};
use crate::{data::Images, rng, train::half_cosine, training::Order};

/// Learning rate of the first step; it falls to zero along a half cosine. That of networks trained alone.
pub const SHARED_RATE: f64 = 8e-3;
/// Images of a step.
pub const SHARED_BATCH: usize = 64;

/// Who draws the paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathDraw {
    /// Each slot by itself, each operation as likely (Guo et al., 2020, arXiv:1904.00420).
    Uniform,
    /// In rounds of six that use each operation of each slot once; weights move after each path.
    Fair,
    /// The same, and weights move once a round, by the sum of its gradients, as FairNAS has it.
    Collected,
}

/// A supernet in training.
#[derive(Debug, Clone)]
pub struct PathTraining {
    /// Its shapes.
    pub net: Supernet,
    /// Its weights.
    pub weights: Vec<f32>,
    /// Loss of each step, in nats: each of another path.
    pub losses: Vec<f64>,
    /// What it remembers of them.
    pub adam: PathAdam,
    /// One count of steps for all weights, used or not: what plain AdamW does.
    pub one_count: bool,
    draw: PathDraw,
    waiting: Vec<[usize; SLOTS]>,
    sum: Vec<f32>,
    random: ChaCha8Rng,
    order: Order,
    steps: usize,
}

impl PathTraining {
    /// Before the first of so many steps.
    #[must_use]
    pub fn new(net: Supernet, draw: PathDraw, steps: usize, examples: usize, seed: u64) -> Self {
        let weights = net.init(&mut rng(seed, "weights"));
        Self {
            net,
            losses: Vec::with_capacity(steps),
            adam: PathAdam::new(net.parts(), super::Adam::W),
            one_count: false,
            draw,
            waiting: Vec::new(),
            sum: vec![0.0; if draw == PathDraw::Collected { weights.len() } else { 0 }],
            weights,
            random: rng(seed, "paths"),
            order: Order::new(examples, SHARED_BATCH, seed),
            steps,
        }
    }

    fn next_path(&mut self) -> CellCode {
        if self.draw == PathDraw::Uniform {
            return code_of_choices(&uniform_path::<SLOTS>(OPERATIONS, &mut self.random));
        }
        if self.waiting.is_empty() {
            self.waiting = fair_round(OPERATIONS, &mut self.random);
        }
        code_of_choices(&self.waiting.pop().unwrap_or_default())
    }

    // ANCHOR: step
    /// One step: a path, a batch, the gradient of what lies on the path.
    pub fn step(&mut self, images: &Images) {
        let step = self.losses.len();
        let shares = path_shares(self.next_path());
        let which = self.order.indices(step);
        let labels: Vec<u8> = which.iter().map(|i| images.labels[*i]).collect();
        let pass = self.net.pass(&self.weights, &shares, &images.gather(which), &labels);
        self.losses.push(pass.loss);
        let rate = SHARED_RATE * half_cosine(step as f64 / self.steps.max(1) as f64);
        let mut used = self.net.used(&shares);
        if self.one_count {
            used.fill(true);
        }
        if self.draw != PathDraw::Collected {
            self.adam.step(&mut self.weights, &pass.gradient, &used, rate);
            return;
        }
        self.sum.iter_mut().zip(&pass.gradient).for_each(|(sum, g)| *sum += g);
        if self.waiting.is_empty() || self.losses.len() == self.steps {
            used.fill(true);
            self.adam.step(&mut self.weights, &self.sum, &used, rate);
            self.sum.fill(0.0);
        }
    }
    // ANCHOR_END: step

    /// To the end. `breathe` is called after each step.
    ///
    /// # Errors
    /// What `breathe` returns.
    pub async fn finish(
        &mut self,
        images: &Images,
        mut breathe: impl AsyncFnMut() -> Result<(), LabError>,
    ) -> Result<(), LabError> {
        while self.losses.len() < self.steps {
            self.step(images);
            breathe().await?;
        }
        Ok(())
    }
}
