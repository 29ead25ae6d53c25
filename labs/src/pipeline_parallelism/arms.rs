//! Who is trained in which order, and what is kept of it.

use std::ops::Range;

use lab_api::LabError;
use lab_kit::{
    Context, LocalBoxFuture,
    data::{Corpus, Part},
    mixing::{Mix, Stack},
    peers::{Mail, Traffic, in_turn},
    pipeline::{PipeBatch, PipeOrder, PipeStage, gpipe, interleaved, joined, naive, one_f_one_b},
    rng,
    sharding::Units,
    tokenizer::Tokenizer,
};
use rand::Rng;

use super::{Clip, Params, Schedule};

/// Tokens of a window.
pub(super) const TOKENS: usize = 64;
/// Channels of the network, of a key, layers and taps.
pub(super) const CHANNELS: usize = 128;
const KEYS: usize = 64;
pub(super) const LAYERS: usize = 8;
const TAPS: usize = 4;
/// Letters of the text that is read.
const LETTERS: usize = 60_000;
const RATE: f64 = 0.003;

/// The text, in tokens.
pub(super) struct Text {
    tokens: Vec<usize>,
    vocabulary: usize,
}

impl Text {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let tokenizer = Tokenizer::read(&cx.asset(Tokenizer::ASSET).await?)?;
        let part = Part::Validation;
        let text = Corpus::read(part, &cx.asset(part.asset()).await?)?.text;
        cx.checkpoint().await?;
        // The corpus is ASCII, so any byte ends a letter.
        let tokens: Vec<usize> =
            tokenizer.encode(&text[..LETTERS.min(text.len())]).into_iter().map(|token| token as usize).collect();
        if tokens.len() <= TOKENS {
            let why = format!("it has {} tokens, and {} are needed", tokens.len(), TOKENS + 1);
            return Err(LabError::Asset { name: part.asset().into(), why });
        }
        Ok(Self { tokens, vocabulary: tokenizer.vocabulary() })
    }

    /// Windows and what follows each of their tokens.
    pub(super) fn draw(&self, windows: usize, rng: &mut impl Rng) -> [Vec<usize>; 2] {
        let mut both = [Vec::new(), Vec::new()];
        for _ in 0..windows {
            let start = rng.random_range(0..self.tokens.len() - TOKENS);
            both[0].extend_from_slice(&self.tokens[start..start + TOKENS]);
            both[1].extend_from_slice(&self.tokens[start + 1..=start + TOKENS]);
        }
        both
    }
}

/// What all orders have in common.
pub(super) struct Setup<'a> {
    pub(super) text: &'a Text,
    pub(super) units: Units,
    pub(super) weights: Vec<f32>,
    pub(super) workers: usize,
    pub(super) micros: usize,
    pub(super) windows: usize,
    pub(super) steps: usize,
    pub(super) recompute: bool,
    pub(super) clips_alone: bool,
    seed: u64,
}

impl<'a> Setup<'a> {
    pub(super) fn new(text: &'a Text, params: &Params, seed: u64) -> Self {
        let stack = Stack {
            channels: CHANNELS,
            keys: KEYS,
            taps: TAPS,
            vocabulary: text.vocabulary,
            outputs: text.vocabulary,
            layers: vec![Mix::Attention; LAYERS],
        };
        let weights = stack.init(&mut rng(seed, "weights"));
        Self {
            text,
            units: Units(stack),
            weights,
            workers: params.workers as usize,
            micros: params.micro_batches as usize,
            windows: params.windows as usize,
            steps: params.steps as usize,
            recompute: params.recompute,
            clips_alone: params.clip == Clip::Alone,
            seed,
        }
    }

    /// Tokens of a micro-batch.
    pub(super) fn rows(&self) -> usize {
        self.windows * TOKENS
    }

    /// Bytes of a message across a cut.
    pub(super) fn message(&self) -> f64 {
        (4 * self.rows() * CHANNELS + 8) as f64
    }

    pub(super) fn spans(&self) -> Vec<Range<usize>> {
        (0..self.micros).map(|i| i * self.rows()..(i + 1) * self.rows()).collect()
    }

    /// The text of each step, and its learning rate.
    pub(super) fn lessons(&self) -> Vec<([Vec<usize>; 2], f64)> {
        let mut draw = rng(self.seed, "examples");
        let warm = (self.steps as f64 / 10.0).max(1.0);
        let of =
            |step| (self.text.draw(self.micros * self.windows, &mut draw), RATE * ((step + 1) as f64 / warm).min(1.0));
        (0..self.steps).map(of).collect()
    }

    /// A worker at its beginning. The single one that others are compared with keeps all activations.
    pub(super) fn stage<'s>(&'s self, cut: &'s [Range<usize>], place: (usize, usize)) -> PipeStage<'s> {
        let mut stage = PipeStage::new(&self.units, &self.weights, cut, place, self.recompute && place.1 > 1);
        stage.clips_alone = self.clips_alone;
        stage
    }
}

/// An order of work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arm {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    /// `None`: one worker that accumulates.
    pub(super) schedule: Option<Schedule>,
}

impl Arm {
    pub(super) const ONE: Self = Self { id: "one", name: "One worker", schedule: None };

    pub(super) fn of(schedule: Schedule) -> Self {
        let (id, name) = match schedule {
            Schedule::Naive => ("naive", "One micro-batch at a time"),
            Schedule::Gpipe => ("gpipe", "GPipe"),
            Schedule::OneFOneB => ("one_f_one_b", "1F1B"),
            Schedule::Interleaved => ("interleaved", "Interleaved, 2 chunks"),
            Schedule::InterleavedFour => ("interleaved_four", "Interleaved, 4 chunks"),
        };
        Self { id, name, schedule: Some(schedule) }
    }

    /// Chunks of the network for so many workers.
    pub(super) fn chunks(&self, workers: usize) -> usize {
        self.schedule.map_or(1, |schedule| workers * schedule.chunks())
    }

    pub(super) fn order(&self, workers: usize, micros: usize) -> PipeOrder {
        match self.schedule {
            None => naive(1, micros),
            Some(Schedule::Naive) => naive(workers, micros),
            Some(Schedule::Gpipe) => gpipe(workers, micros),
            Some(Schedule::OneFOneB) => one_f_one_b(workers, micros),
            Some(schedule) => interleaved(workers, micros, schedule.chunks()),
        }
    }

    /// Whether this network and so many micro-batches can be dealt like that.
    pub(super) fn fits(&self, workers: usize, micros: usize) -> bool {
        let v = self.schedule.map_or(1, Schedule::chunks);
        v == 1 || workers * v <= LAYERS && micros.is_multiple_of(workers)
    }
}

/// What a run trains: the single worker, naive, GPipe and 1F1B, then interleaved orders where they can be.
pub(super) fn arms(params: &Params) -> Vec<Arm> {
    let mut all = vec![Arm::ONE];
    all.extend([Schedule::Naive, Schedule::Gpipe, Schedule::OneFOneB, Schedule::Interleaved].map(Arm::of));
    if params.schedule == Schedule::InterleavedFour {
        all.push(Arm::of(params.schedule));
    }
    all.retain(|arm| arm.fits(params.workers as usize, params.micro_batches as usize));
    all
}

/// What is kept of a training.
pub(super) struct Ran {
    pub(super) losses: Vec<f64>,
    pub(super) weights: Vec<f32>,
    /// By worker: bytes of states, the most bytes of activations, the most chunks that they belong to.
    pub(super) held: Vec<[usize; 3]>,
    /// Of all workers in a step.
    pub(super) sent: Traffic,
}

impl Ran {
    pub(super) fn of(losses: Vec<f64>, stages: &[PipeStage], sent: &[Traffic]) -> Self {
        let steps = losses.len().max(1);
        let held = |stage: &PipeStage| {
            let (bytes, live) = stage.kept_at_most();
            [stage.states(), bytes, live]
        };
        Self {
            losses,
            weights: joined(stages),
            held: stages.iter().map(held).collect(),
            sent: Traffic {
                messages: sent.iter().map(|one| one.messages).sum::<usize>() / steps,
                bytes: sent.iter().map(|one| one.bytes).sum::<usize>() / steps,
            },
        }
    }

    /// The most bytes on any worker.
    pub(super) fn fullest(&self) -> f64 {
        self.held.iter().map(|held| held[0] + held[1]).max().unwrap_or(0) as f64
    }
}

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

/// Trains in one order; workers take turns.
pub(super) async fn train(
    setup: &Setup<'_>,
    arm: &Arm,
    cut: &[Range<usize>],
    mut between: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Ran, LabError> {
    let order = arm.order(setup.workers, setup.micros);
    let p = order.ops.len();
    let mut stages: Vec<PipeStage> = (0..p).map(|rank| setup.stage(cut, (rank, p))).collect();
    let mail = Mail::new(p);
    let (ports, mut losses) = (mail.ports(), Vec::new());
    for ([tokens, targets], rate) in setup.lessons() {
        let batch = PipeBatch { tokens: &tokens, targets: &targets, micros: setup.spans(), t: TOKENS };
        let mut found = vec![0.0; p];
        let mut calls: Vec<LocalBoxFuture<'_, Result<(), LabError>>> = Vec::with_capacity(p);
        for (((stage, port), ops), loss) in stages.iter_mut().zip(&ports).zip(&order.ops).zip(&mut found) {
            let batch = &batch;
            calls.push(Box::pin(async move {
                *loss = stage.step(port, ops, batch, rate).await?;
                Ok(())
            }));
        }
        in_turn(&mail, calls, &mut between).await?;
        drop(mail.take_events());
        losses.push(found[0]);
    }
    Ok(Ran::of(losses, &stages, &mail.sent()))
}
