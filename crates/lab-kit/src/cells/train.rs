//! A candidate in training.

use lab_api::LabError;
use lab_layers::{
    cells::CellNet,
    optim::{Adam, adamw},
};

use crate::{
    Context,
    data::Images,
    rng,
    train::half_cosine,
    training::Order,
    tuning::{Learned, Task},
};

/// Learning rate of the first step; it falls to zero along a half cosine.
pub const CELL_RATE: f64 = 8e-3;
/// One family of so many chooses; as [`Task`] has it.
#[cfg(any(test, feature = "schema"))]
const CHOOSING: usize = 8;
/// Images of a step.
const BATCH: usize = 64;

/// Images to train on, to choose by, and to judge by; no font family stands in two of them.
///
/// # Errors
/// Where the data set cannot be read.
pub async fn cell_images(cx: &Context) -> Result<[Images; 3], LabError> {
    match Task::load(Learned::Glyphs, 16, cx).await? {
        Task::Glyphs(_, images) => Ok(*images),
        Task::Tokens(..) => Err(LabError::Engine { why: "the images are a text".into() }),
    }
}

/// The same three parts of glyphs that are at hand.
#[cfg(any(test, feature = "schema"))]
#[must_use]
pub fn cell_parts(glyphs: &crate::data::Glyphs) -> [Images; 3] {
    use crate::data::Split;
    let (chosen, taught): (Vec<usize>, Vec<usize>) =
        glyphs.indices(Split::Train).into_iter().partition(|i| glyphs.family_of(*i).is_multiple_of(CHOOSING));
    [taught, chosen, glyphs.indices(Split::Test)].map(|which| Images::of_glyphs(glyphs, &which))
}

/// A training from scratch, of so many steps. Weights and order of the images come from one seed.
#[derive(Debug, Clone)]
pub struct CellTraining {
    /// The network.
    pub net: CellNet,
    /// Its weights, stem first.
    pub weights: Vec<f32>,
    /// Mean loss of each step's batch so far, in nats.
    pub losses: Vec<f64>,
    moments: [Vec<f32>; 2],
    order: Order,
    steps: usize,
}

impl CellTraining {
    /// Before the first step.
    #[must_use]
    pub fn new(net: CellNet, steps: usize, examples: usize, seed: u64) -> Self {
        let weights = net.init(&mut rng(seed, "weights"));
        let zeros = || vec![0.0; weights.len()];
        let moments = [zeros(), zeros()];
        Self {
            net,
            moments,
            weights,
            losses: Vec::new(),
            order: Order::new(examples, BATCH, seed),
            steps: steps.max(1),
        }
    }

    // ANCHOR: step
    /// One step. Nothing happens after the last.
    pub fn step(&mut self, images: &Images) {
        let step = self.losses.len();
        if step >= self.steps {
            return;
        }
        let which = self.order.indices(step);
        let labels: Vec<u8> = which.iter().map(|i| images.labels[*i]).collect();
        let pass = self.net.pass(&self.weights, &images.gather(which), &labels);
        let rate = CELL_RATE * half_cosine(step as f64 / self.steps as f64);
        let [m, v] = &mut self.moments;
        adamw(&mut self.weights, &pass.gradient, (m, v), step as u32 + 1, rate, &Adam::W);
        self.losses.push(pass.loss);
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

    /// Right answers, in per cent; 0 where the network was lost.
    #[must_use]
    pub fn right(&self, images: &Images) -> f64 {
        let (loss, share) = self.net.judge(&self.weights, &images.pixels, &images.labels);
        if loss.is_finite() { 100.0 * share } else { 0.0 }
    }
}
