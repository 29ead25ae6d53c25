//! Who is trained, and what is kept of it.

use lab_api::LabError;
use lab_kit::{
    Context, LocalBoxFuture,
    accumulate::distance,
    data::{Corpus, Part},
    mixing::{Mix, Stack, Task},
    peers::{Event, Mail, Solo, Traffic, in_turn},
    rng,
    sharding::{Compressor, Held, Outer, Stage, Sum, Units, Worker, average, fingerprint, together},
};

use super::{Exchange, Params};

/// Letters of a window.
pub(super) const LETTERS: usize = 32;
/// Channels of the network, of a key, layers and taps.
const CHANNELS: usize = 64;
const KEYS: usize = 32;
const LAYERS: usize = 6;
const TAPS: usize = 4;
/// Windows that judge in a study; a third of them in a run.
pub(super) const JUDGED: usize = 96;
/// Rate of the outer step, as published for DiLoCo.
pub(super) const OUTER: f64 = 0.7;

/// How a network is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Way {
    /// By one worker that reads all windows.
    One,
    /// By all, in step.
    Sync(Stage, Sum),
    /// By all, alone for so many steps, then with this outer rate and momentum.
    Local(usize, (f64, f64)),
    /// By all, which send this share of gradients; the rest is kept, or not.
    TopK(f64, bool),
    /// By all in step by SGD, all of the gradient or a share of it, whose rest is kept, or not.
    #[cfg_attr(not(feature = "schema"), expect(dead_code, reason = "only the study trains by SGD"))]
    Sgd(Option<(f64, bool)>),
}

/// Texts to learn from and to be judged on.
pub(super) struct Text {
    train: Task,
    test: Task,
}

impl Text {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let mut parts = Vec::new();
        for part in [Part::Train, Part::Test] {
            let text = Corpus::read(part, &cx.asset(part.asset()).await?)?.text.into_bytes();
            if text.len() <= LETTERS {
                let why = format!("it has {} letters, and {} are needed", text.len(), LETTERS + 1);
                return Err(LabError::Asset { name: part.asset().into(), why });
            }
            parts.push(Task::Text { text, tokens: LETTERS });
            cx.checkpoint().await?;
        }
        let [train, test] = [parts.remove(0), parts.remove(0)];
        Ok(Self { train, test })
    }
}

/// What all ways have in common.
pub(super) struct Setup<'a> {
    text: &'a Text,
    pub(super) units: Units,
    pub(super) weights: Vec<f32>,
    pub(super) shares: Vec<usize>,
    pub(super) steps: usize,
    pub(super) rate: f64,
    /// Windows that judge.
    pub(super) judged: usize,
    seed: u64,
}

impl<'a> Setup<'a> {
    pub(super) fn new(text: &'a Text, shares: Vec<usize>, steps: usize, rate: f64, seed: u64) -> Self {
        let stack = Stack {
            channels: CHANNELS,
            keys: KEYS,
            taps: TAPS,
            vocabulary: text.train.vocabulary(),
            outputs: text.train.outputs(),
            layers: vec![Mix::Attention; LAYERS],
        };
        let weights = stack.init(&mut rng(seed, "weights"));
        Self { text, units: Units(stack), weights, shares, steps, rate, judged: JUDGED / 3, seed }
    }

    pub(super) fn workers(&self) -> usize {
        self.shares.len()
    }

    /// Loss of a letter that no training saw, in nats.
    fn judge(&self, weights: &[f32]) -> f64 {
        let (batch, _) = self.text.test.batch(self.judged, &mut rng(self.seed, "judge"));
        self.units.0.pass(weights, &batch, LETTERS, false).loss
    }

    // ANCHOR: means
    /// The gradient of the first step as a mean of the workers' means, and how far it is from the mean over letters.
    pub(super) fn mean_of_means(&self) -> f64 {
        let mut draw = rng(self.seed, "examples");
        let (n, all) = (self.workers() as f32, self.shares.iter().sum::<usize>() as f32);
        let (mut by_worker, mut by_letter) = (vec![0.0; self.weights.len()], vec![0.0; self.weights.len()]);
        for share in &self.shares {
            let (batch, _) = self.text.train.batch(*share, &mut draw);
            let mean = self.units.0.pass(&self.weights, &batch, LETTERS, true).gradient;
            for ((one, other), g) in by_worker.iter_mut().zip(&mut by_letter).zip(mean) {
                *one += g / n;
                *other += g * *share as f32 / all;
            }
        }
        distance(&by_worker, &by_letter).map_or(0.0, |apart| apart.relative)
    }
    // ANCHOR_END: means
}

/// What is kept of a training.
pub(super) struct Ran {
    pub(super) losses: Vec<f64>,
    /// On text that no training saw.
    pub(super) judged: f64,
    /// Of each worker, in all steps.
    pub(super) sent: Vec<Traffic>,
    /// Of the first worker.
    pub(super) peak: Held,
    pub(super) most: [usize; 2],
    /// Bytes of an outer optimizer.
    pub(super) beside: usize,
    /// What happened in the last step.
    pub(super) events: Vec<Event>,
    pub(super) weights: Vec<f32>,
    /// Whether all workers that hold all weights hold the same bits.
    pub(super) agree: bool,
    /// Weights after some steps, and how far the workers' weights are from the first one's.
    pub(super) marks: Vec<Mark>,
}

pub(super) struct Mark {
    pub(super) step: usize,
    pub(super) weights: Vec<f32>,
    pub(super) apart: f64,
}

/// What a run trains, by name; the truth first, then the stages.
pub(super) fn ways(params: &Params) -> Vec<(&'static str, Way)> {
    let mut all = vec![("One worker", Way::One)];
    for (stage, name) in Stage::ALL.into_iter().zip(STAGES) {
        all.push((name, Way::Sync(stage, Sum::Ring)));
    }
    all.push(("Sums at worker 0", Way::Sync(Stage::Ddp, Sum::Gather)));
    all.push(("Sums by arrival", Way::Sync(Stage::Ddp, Sum::Arrival)));
    let (alone, share) = (params.local_steps as usize, params.share / 100.0);
    all.extend(match params.exchange {
        Exchange::Every => None,
        Exchange::Local => Some(("Steps alone, averaged", Way::Local(alone, (1.0, 0.0)))),
        Exchange::Outer => Some(("Steps alone, outer step", Way::Local(alone, (OUTER, params.outer_momentum)))),
        Exchange::Largest => Some(("Largest gradients, rest later", Way::TopK(share, true))),
        Exchange::Forgetful => Some(("Largest gradients, rest forgotten", Way::TopK(share, false))),
    });
    all
}

/// Names of stages, and their ids.
pub(super) const STAGES: [&str; 4] = ["Data parallel", "ZeRO-1", "ZeRO-2", "ZeRO-3"];
pub(super) const IDS: [&str; 4] = ["ddp", "zero1", "zero2", "zero3"];
/// Places among the ways of a run.
pub(super) const ONE: usize = 0;
pub(super) const FIRST: usize = 1;
pub(super) const GATHER: usize = 5;
pub(super) const ARRIVAL: usize = 6;

/// Lets the host breathe from time to time.
pub(super) fn breathing(cx: &Context) -> impl AsyncFnMut() -> Result<(), LabError> {
    let mut last = cx.now_ms();
    async move || {
        if cx.now_ms() - last > 20.0 {
            cx.checkpoint().await?;
            last = cx.now_ms();
        }
        Ok(())
    }
}

/// Trains one way.
pub(super) async fn run(
    setup: &Setup<'_>,
    way: Way,
    mut between: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Ran, LabError> {
    let all: usize = setup.shares.iter().sum();
    let shares = if way == Way::One { vec![all] } else { setup.shares.clone() };
    let n = shares.len();
    let how = if let Way::Sync(stage, sum) = way { (stage, sum) } else { (Stage::Ddp, Sum::Ring) };
    let mut workers: Vec<Worker> =
        (0..n).map(|rank| Worker::new(&setup.units, &setup.weights, how, (rank, n))).collect();
    let mut outers: Vec<Outer> = Vec::new();
    let mut alone = 0;
    match way {
        Way::Sgd(share) => workers.iter_mut().for_each(|worker| {
            worker.plain = true;
            worker.compressor = share.map(|(share, feedback)| Compressor::new(share, feedback));
        }),
        Way::TopK(share, feedback) => {
            workers.iter_mut().for_each(|worker| worker.compressor = Some(Compressor::new(share, feedback)));
        }
        Way::Local(steps, (rate, keep)) => {
            alone = steps;
            outers = workers.iter().map(|worker| Outer::new(worker, rate, keep)).collect();
        }
        _ => {}
    }
    let mail = Mail::new(n);
    let ports = mail.ports();
    let (mut draw, mut losses, mut marks) = (rng(setup.seed, "examples"), Vec::new(), Vec::new());
    for step in 0..setup.steps {
        let (batch, _) = setup.text.train.batch(all, &mut draw);
        let targets: Vec<usize> = batch.targets.iter().map(|(_, class)| *class).collect();
        let (part, warm) = (step as f64 / setup.steps as f64, (setup.steps as f64 / 10.0).max(1.0));
        let rate = setup.rate * ((step + 1) as f64 / warm).min(1.0) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
        drop(mail.take_events());
        let (mut start, mut found) = (0, vec![0.0; n]);
        let mut calls: Vec<LocalBoxFuture<'_, Result<(), LabError>>> = Vec::with_capacity(n);
        for (((worker, port), share), loss) in workers.iter_mut().zip(&ports).zip(&shares).zip(&mut found) {
            let span = start..start + share * LETTERS;
            start = span.end;
            let own = (&batch.tokens[span.clone()], &targets[span]);
            calls.push(Box::pin(async move {
                *loss = if alone > 0 {
                    worker.step(&Solo, own, LETTERS, rate).await?
                } else {
                    worker.step(port, own, LETTERS, rate).await?
                };
                Ok(())
            }));
        }
        in_turn(&mail, calls, &mut between).await?;
        let last = step + 1 == setup.steps;
        if alone > 0 && ((step + 1).is_multiple_of(alone) || last) {
            let calls = workers
                .iter_mut()
                .zip(&mut outers)
                .zip(&ports)
                .map(|((worker, outer), port)| -> LocalBoxFuture<'_, Result<(), LabError>> {
                    Box::pin(average(port, worker, outer))
                })
                .collect();
            in_turn(&mail, calls, &mut between).await?;
        }
        losses.push(found.iter().zip(&shares).map(|(loss, share)| loss * *share as f64 / all as f64).sum());
        if last || (step + 1).is_power_of_two() {
            let weights = together(&workers);
            let far = |worker: &Worker| distance(&worker.weights(), &workers[0].weights()).map_or(0.0, |d| d.relative);
            let apart = if how.0 == Stage::Zero3 { 0.0 } else { workers.iter().map(far).fold(0.0, f64::max) };
            marks.push(Mark { step: step + 1, weights, apart });
        }
    }
    let first = fingerprint(&workers[0].weights());
    let weights = together(&workers);
    Ok(Ran {
        losses,
        judged: setup.judge(&weights),
        sent: mail.sent(),
        peak: workers[0].peak(),
        most: workers[0].most(),
        beside: outers.first().map_or(0, Outer::bytes),
        events: mail.take_events(),
        weights,
        agree: how.0 == Stage::Zero3 || workers.iter().all(|worker| fingerprint(&worker.weights()) == first),
        marks,
    })
}

impl Ran {
    /// The most that any worker sent in a step, on the mean.
    pub(super) fn sent_in_a_step(&self) -> Traffic {
        let most = self.sent.iter().max_by_key(|sent| sent.bytes).copied().unwrap_or_default();
        let steps = self.losses.len().max(1);
        Traffic { messages: most.messages / steps, bytes: most.bytes / steps }
    }

    /// How far its weights are from another's at each mark.
    pub(super) fn from(&self, other: &Self) -> Vec<[f64; 2]> {
        let far = |(a, b): (&Mark, &Mark)| {
            [a.step as f64, distance(&a.weights, &b.weights).map_or(0.0, |apart| apart.relative)]
        };
        self.marks.iter().zip(&other.marks).map(far).collect()
    }
}
