//! Trials that stop and go on.

use std::collections::BTreeMap;

use lab_api::LabError;
use lab_kit::{
    Context,
    accumulate::{Norm, Shape},
    data::{Glyphs, Images},
    rng,
    search::{self, Done},
    training::Order,
    tuning::{
        Learned, Task,
        optim::{Adam, Decay, Optimizer, Part, Role, Rule},
        schedule::Schedule,
    },
};
use rand::Rng;

use super::space::{Config, draw};

/// Norm that a gradient is shortened to.
const CLIP: f64 = 1.0;
/// Points that a model of what was good looks at.
const CANDIDATES: usize = 24;
/// Results at a rung from which on it is trusted.
const ENOUGH: usize = 6;
/// Steps that are timed.
const TIMED: usize = 12;

/// The images: to train on, to choose by, to judge by; no font family stands in two of them.
pub(super) async fn images(cx: &Context) -> Result<[Images; 3], LabError> {
    match Task::load(Learned::Glyphs, 16, cx).await? {
        Task::Glyphs(_, images) => Ok(*images),
        Task::Tokens(..) => Err(LabError::Engine { why: "the images are a text".into() }),
    }
}

/// A training that can be paused after any step.
#[derive(Debug, Clone)]
pub(crate) struct Training {
    pub(super) config: Config,
    shape: Shape,
    pub(super) weights: Vec<f32>,
    optimizer: Optimizer,
    order: Order,
    schedule: Schedule,
    pub(super) step: usize,
    seed: u64,
}

impl Training {
    /// Before the first step of `steps`.
    pub(super) fn new(config: Config, steps: usize, examples: usize, seed: u64) -> Self {
        let classes = Glyphs::CLASSES.len();
        let shape = Shape::new(&[Glyphs::PIXELS, config.width, config.width, classes], Norm::None);
        let weights = shape.init(&mut rng(seed, "weights"));
        let part = |rows, columns, role| Part { rows, columns, role };
        let mut parts = Vec::new();
        for (l, pair) in shape.widths().windows(2).enumerate() {
            parts.push(part(pair[1], pair[0], if l < 2 { Role::Hidden } else { Role::Edge }));
            parts.push(part(pair[1], 1, Role::Vector));
        }
        let optimizer = Optimizer::new(Rule::Adam(Adam::W), Decay::Decoupled(config.decay), &parts);
        let (order, schedule) = (Order::new(examples, config.batch, seed), config.schedule(steps));
        Self { config, shape, weights, optimizer, order, schedule, step: 0, seed }
    }

    /// Bytes that are held while it is paused: weights, and what the optimizer remembers of them.
    pub(super) fn bytes(&self) -> usize {
        4 * self.weights.len() + self.optimizer.bytes()
    }

    // ANCHOR: advance
    /// Goes on to a step; nothing happens where it is there already.
    pub(super) async fn until(
        &mut self,
        step: usize,
        images: &Images,
        mut breathe: impl AsyncFnMut() -> Result<(), LabError>,
    ) -> Result<(), LabError> {
        while self.step < step {
            let which = self.order.indices(self.step);
            let mut labels: Vec<u8> = which.iter().map(|i| images.labels[*i]).collect();
            if self.config.replaced > 0.0 {
                let mut rng = rng(self.seed, &format!("labels of step {}", self.step));
                for label in &mut labels {
                    if rng.random_bool(self.config.replaced) {
                        *label = rng.random_range(0..Glyphs::CLASSES.len()) as u8;
                    }
                }
            }
            let mut gradient = self.shape.pass(&self.weights, &images.gather(which), &labels).gradient;
            let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            if norm > CLIP {
                let shrink = (CLIP / norm) as f32;
                gradient.iter_mut().for_each(|g| *g *= shrink);
            }
            self.optimizer.step(&mut self.weights, &gradient, self.schedule.rate(self.step));
            self.step += 1;
            breathe().await?;
        }
        Ok(())
    }
    // ANCHOR_END: advance

    /// Right answers, in per cent; not a number where the network was lost.
    pub(super) fn right(&self, images: &Images) -> f64 {
        let (loss, share) = self.shape.judge(&self.weights, &images.pixels, &images.labels);
        if loss.is_finite() { 100.0 * share } else { f64::NAN }
    }
}

/// What a trial was at a rung.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mark {
    /// Of the whole resource.
    pub(super) at: usize,
    /// Right answers on what chooses, in per cent.
    pub(super) right: f64,
}

/// How the resource is counted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Counts {
    /// In images.
    Images,
    /// In the time that an image of the untuned configuration takes: milliseconds of an image, by batch and width.
    Seconds(BTreeMap<(usize, usize), f64>),
}

/// All trials of a search.
pub(crate) struct Bench<'a> {
    pub(super) images: &'a [Images; 3],
    /// The whole resource of a trial.
    pub(super) whole: usize,
    pub(super) trimmed: bool,
    pub(super) counts: Counts,
    pub(super) seed: u64,
    /// New configurations come from a model of what was good.
    pub(super) models: bool,
    pub(super) points: Vec<Vec<f64>>,
    pub(super) trials: Vec<Training>,
    pub(super) marks: Vec<Vec<Mark>>,
    /// Milliseconds that each trial took.
    pub(super) ms: Vec<f64>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(images: &'a [Images; 3], whole: usize, trimmed: bool, seed: u64) -> Self {
        Self {
            images,
            whole,
            trimmed,
            counts: Counts::Images,
            seed,
            models: false,
            points: vec![],
            trials: vec![],
            marks: vec![],
            ms: vec![],
        }
    }

    /// Steps of a whole training.
    pub(super) fn steps(&self, config: &Config) -> usize {
        let images = match &self.counts {
            Counts::Images => self.whole as f64,
            Counts::Seconds(ms) => {
                let of = |config: &Config| ms.get(&(config.batch, config.width)).copied().unwrap_or(1.0);
                self.whole as f64 * of(&Config::untuned()) / of(config).max(1e-9)
            }
        };
        ((images / config.batch as f64).round() as usize).max(1)
    }

    /// A training of a configuration, with a seed of its own.
    pub(super) fn training(&self, config: Config, seed: u64) -> Training {
        Training::new(config, self.steps(&config), self.images[0].len(), seed)
    }

    /// Draws the point of the next trial: the same for all methods, unless a model proposes it.
    fn propose(&self) -> Vec<f64> {
        let mut rng = rng(self.seed, &format!("trial {}", self.points.len()));
        if !self.models {
            return draw(&mut rng);
        }
        let mut ats: Vec<usize> = self.marks.iter().flatten().map(|mark| mark.at).collect();
        ats.sort_unstable();
        ats.dedup();
        // By the highest rung at which enough was seen.
        let seen = |at: usize| -> Vec<(Vec<f64>, f64)> {
            let of = |(point, marks): (&Vec<f64>, &Vec<Mark>)| {
                marks.iter().find(|mark| mark.at == at).map(|mark| (point.clone(), 100.0 - mark.right))
            };
            self.points.iter().zip(&self.marks).filter_map(of).collect()
        };
        let seen = ats.iter().rev().map(|at| seen(*at)).find(|seen| seen.len() >= ENOUGH).unwrap_or_default();
        let candidates: Vec<Vec<f64>> = (0..CANDIDATES).map(|_| draw(&mut rng)).collect();
        candidates[search::propose(&seen, &candidates)].clone()
    }

    // ANCHOR: bench
    /// Brings a trial to a resource and judges it on the families that choose. It goes on where it was.
    pub(super) async fn advance(&mut self, trial: usize, to: usize, cx: &Context) -> Result<Done, LabError> {
        while self.trials.len() <= trial {
            let point = self.propose();
            self.trials.push(self.training(Config::at(&point, self.trimmed), self.seed));
            self.points.push(point);
            self.marks.push(vec![]);
            self.ms.push(0.0);
        }
        let before = self.marks[trial].last().map_or(0, |mark| mark.at);
        let steps = self.steps(&self.trials[trial].config);
        let step = ((steps * to) as f64 / self.whole as f64).round() as usize;
        let began = cx.now_ms();
        self.trials[trial].until(step.clamp(1, steps), &self.images[0], breathing(cx)).await?;
        self.ms[trial] += cx.now_ms() - began;
        let right = self.trials[trial].right(&self.images[1]);
        self.marks[trial].push(Mark { at: to, right });
        cx.checkpoint().await?;
        Ok(Done { score: 100.0 - right, cost: (to - before) as f64 / self.whole as f64 })
    }
    // ANCHOR_END: bench
}

/// Milliseconds of an image in training, by batch and width.
pub(super) async fn speeds(images: &[Images; 3], cx: &Context) -> Result<BTreeMap<(usize, usize), f64>, LabError> {
    let mut all = BTreeMap::new();
    for batch in super::space::BATCHES {
        for width in super::space::WIDTHS {
            let mut training = Training::new(Config { batch, width, ..Config::untuned() }, 1000, images[0].len(), 0);
            let steps = (TIMED * 64 / batch).max(3);
            training.until(1, &images[0], breathing(cx)).await?;
            let began = cx.now_ms();
            training.until(1 + steps, &images[0], breathing(cx)).await?;
            all.insert((batch, width), (cx.now_ms() - began).max(1e-3) / (steps * batch) as f64);
        }
    }
    Ok(all)
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
