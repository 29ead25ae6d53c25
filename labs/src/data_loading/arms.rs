//! What is run: stages alone, the same training with more and more workers, and a training to the end.

use lab_api::LabError;
use lab_kit::{
    Context,
    loading::{Alter, Arrange, BatchMaker, BatchSequence, Feed, KeptItems, LoadPlan, LoaderPool, Wanted},
    measure::samples,
    stats::median,
};

use super::{
    Cached, Params, Slow,
    bench::{Bench, Trainer, copied},
};

/// Turns of each number of workers.
pub(super) const ROUNDS: usize = 3;
/// Steps whose time is a sample.
pub(super) const BLOCK: usize = 4;
/// Time for a stage alone, in milliseconds.
const BUDGET: f64 = 40.0;

/// Milliseconds of a batch, part by part.
pub(super) struct Alone {
    /// Unpacking; unpacking and altering, by kind.
    pub(super) stages: Vec<(&'static str, f64)>,
    /// All that the reader's loader does to a batch that nobody has kept.
    pub(super) load: Vec<f64>,
    /// A step of the trainer.
    pub(super) train: Vec<f64>,
}

impl Alone {
    pub(super) fn load_ms(&self) -> f64 {
        median(&self.load)
    }

    pub(super) fn train_ms(&self) -> f64 {
        median(&self.train)
    }
}

/// Times stages and trainer, each alone.
pub(super) async fn alone(params: &Params, bench: &Bench, cx: &Context) -> Result<Alone, LabError> {
    let mut sequence = bench.sequence(Arrange::Full, params.batch, cx.seed);
    let mut stages = Vec::new();
    if bench.test.is_some() {
        let kinds = [
            ("Unpack", Alter::None),
            ("Unpack, shift", Alter::Shift),
            ("Unpack, affine", Alter::Affine),
            ("Unpack, elastic", Alter::Elastic),
            ("Unpack, elastic, affine", Alter::Both),
        ];
        for (name, alter) in kinds {
            let times = stage(&LoadPlan { alter, ..fresh(params, bench, cx) }, &mut sequence, cx).await?;
            stages.push((name, median(&times)));
        }
    }
    let load = stage(&fresh(params, bench, cx), &mut sequence, cx).await?;
    let (_, items) = sequence.batch(0);
    let mut maker = BatchMaker::new(fresh(params, bench, cx));
    let batch = maker.make(&mut Wanted { items: items.clone(), ..Wanted::default() }).map_err(broken)?.0;
    let mut trainer = Trainer::new(bench, 1000, cx.seed);
    let train = samples(cx, 2.0 * BUDGET, async || {
        trainer.step(bench, &batch, &items);
        Ok(())
    })
    .await?;
    Ok(Alone { stages, load, train })
}

fn broken(why: String) -> LabError {
    LabError::Engine { why }
}

/// The reader's plan, with nothing kept and nothing slowed.
fn fresh(params: &Params, bench: &Bench, cx: &Context) -> LoadPlan {
    LoadPlan { kept: KeptItems::Nothing, slow: false, ..bench.plan(params, cx.seed) }
}

async fn stage(plan: &LoadPlan, sequence: &mut BatchSequence, cx: &Context) -> Result<Vec<f64>, LabError> {
    let mut maker = BatchMaker::new(plan.clone());
    let (mut number, mut buffer) = (0, Vec::new());
    samples(cx, BUDGET, async || {
        let (epoch, items) = sequence.batch(number);
        let mut wanted = Wanted { number, epoch, items, buffer: std::mem::take(&mut buffer), ..Wanted::default() };
        buffer = maker.make(&mut wanted).map_err(broken)?.0;
        number += 1;
        Ok(())
    })
    .await
}

/// A training with so many workers, and what was seen of it.
#[derive(Default)]
pub(super) struct Arm {
    pub(super) workers: usize,
    pub(super) losses: Vec<f64>,
    /// Milliseconds of a step, from the end of one to the end of the next; one for each few steps.
    pub(super) step_ms: Vec<f64>,
    /// Waited before a step, in milliseconds.
    pub(super) waits: Vec<f64>,
    /// In training, in milliseconds, and in all.
    pub(super) busy: f64,
    pub(super) elapsed: f64,
    /// Who made what: worker, began, ended.
    pub(super) makes: Vec<(usize, f64, f64)>,
    /// Each step: began to wait, got its batch, ended.
    pub(super) steps: Vec<[f64; 3]>,
    pub(super) flight: usize,
    pub(super) hits: usize,
}

impl Arm {
    /// Steps a second, one for each few steps.
    pub(super) fn rates(&self) -> Vec<f64> {
        self.step_ms.iter().map(|ms| 1e3 / ms.max(1e-9)).collect()
    }

    pub(super) fn utilization(&self) -> f64 {
        100.0 * self.busy / self.elapsed.max(1e-9)
    }
}

/// One training that goes on, turn by turn.
struct Going {
    arm: Arm,
    trainer: Trainer,
    sequence: BatchSequence,
    batch: Vec<f32>,
    items: Vec<u32>,
}

impl Going {
    fn new(params: &Params, bench: &Bench, workers: usize, seed: u64) -> Self {
        Self {
            arm: Arm { workers, ..Arm::default() },
            trainer: Trainer::new(bench, params.steps as usize, seed),
            sequence: bench.sequence(params.arrange(), params.batch, seed),
            batch: Vec::new(),
            items: Vec::new(),
        }
    }

    // ANCHOR: steps
    /// Goes on for so many steps: a fresh batch for each `echo` of them.
    async fn steps(
        &mut self,
        steps: usize,
        params: &Params,
        bench: &Bench,
        pool: &LoaderPool,
        cx: &Context,
    ) -> Result<(), LabError> {
        let (echo, depth) = (params.echo as usize, params.depth as usize);
        // Begins with nothing made, as an epoch does.
        let mut feed = Feed::new(pool, self.arm.workers, depth, copied(params), self.arm.makes.len() as u64);
        let (start, mut breath) = (pool.now_ms(cx), cx.now_ms());
        let (mut last, mut in_block) = (start, 0);
        for _ in 0..steps {
            let began = pool.now_ms(cx);
            if self.arm.losses.len().is_multiple_of(echo) {
                feed.give_back(std::mem::take(&mut self.batch));
                let (made, items) = feed.next(&mut self.sequence, cx).await?;
                self.arm.makes.push((made.worker, made.span[0], made.span[1]));
                self.arm.hits += made.hits as usize;
                (self.batch, self.items) = (made.values, items);
            }
            let got = pool.now_ms(cx);
            let loss = self.trainer.step(bench, &self.batch, &self.items);
            let ended = pool.now_ms(cx);
            self.arm.losses.push(loss);
            self.arm.waits.push(got - began);
            self.arm.busy += ended - got;
            self.arm.steps.push([began, got, ended]);
            in_block += 1;
            if in_block == BLOCK {
                self.arm.step_ms.push((ended - last) / BLOCK as f64);
                (last, in_block) = (ended, 0);
            }
            if cx.now_ms() - breath > 15.0 {
                cx.checkpoint().await?;
                breath = cx.now_ms();
            }
        }
        self.arm.elapsed += pool.now_ms(cx) - start;
        self.arm.flight = self.arm.flight.max(feed.most_in_flight());
        feed.settle(cx).await
    }
    // ANCHOR_END: steps
}

/// The same training with no worker and with 1 to all of the pool's, in turns, so that a busy machine slows all alike.
pub(super) async fn all(params: &Params, bench: &Bench, pool: &LoaderPool, cx: &Context) -> Result<Vec<Arm>, LabError> {
    let workers = (0..=pool.workers()).collect::<Vec<_>>();
    let mut going: Vec<Going> = workers.iter().map(|workers| Going::new(params, bench, *workers, cx.seed)).collect();
    for round in 0..ROUNDS {
        for i in 0..going.len() {
            // Back and forth.
            let which = if round % 2 == 0 { i } else { going.len() - 1 - i };
            let steps = params.steps as usize / ROUNDS;
            going[which].steps(steps, params, bench, pool, cx).await?;
            let done = (round * going.len() + i + 1) as f64 / (ROUNDS * going.len()) as f64;
            cx.progress("Timing workers", 0.2 + 0.25 * done);
        }
    }
    Ok(going.into_iter().map(|one| one.arm).collect())
}

/// The reader's setting, but for what else the reader has done to the data.
pub(super) fn plain(params: &Params) -> Params {
    Params { echo: 1, cache: Cached::None, jitter: Slow::None, ..params.clone() }
}

/// A training to its end, with the reader's workers; right answers in per cent.
pub(super) async fn quality(
    params: &Params,
    arrange: Arrange,
    bench: &Bench,
    cx: &Context,
    done: f64,
) -> Result<f64, LabError> {
    // Workers of its own, whose caches are empty.
    let pool = &bench.pool(params, params.workers as usize, cx).await;
    let mut sequence = bench.sequence(arrange, params.batch, cx.seed);
    let mut trainer = Trainer::new(bench, params.trained as usize, cx.seed);
    let mut feed = Feed::new(pool, params.workers as usize, params.depth as usize, copied(params), 0);
    let (mut batch, mut items) = (Vec::new(), Vec::new());
    let mut breath = cx.now_ms();
    for step in 0..params.trained {
        if step % params.echo == 0 {
            feed.give_back(std::mem::take(&mut batch));
            let (made, which) = feed.next(&mut sequence, cx).await?;
            (batch, items) = (made.values, which);
        }
        trainer.step(bench, &batch, &items);
        if cx.now_ms() - breath > 15.0 {
            cx.progress("Training", done + 0.25 * f64::from(step) / f64::from(params.trained));
            cx.checkpoint().await?;
            breath = cx.now_ms();
        }
    }
    cx.checkpoint().await?;
    Ok(trainer.right(bench))
}
