//! The same workers on threads of their own, with the same loop: a link of channels, and a clock at every piece of work. Native alone.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

use lab_api::LabError;
use lab_kit::{
    LocalBoxFuture,
    peers::{Link, Traffic, Wire, Work, fit_wire, ring_pass},
    pipeline::{PipeBatch, PipeOp, PipeOrder, PipeStage, PipeTimes, interleaved, simulate_each},
    stats::median,
    testing::ready,
};

use super::arms::{Arm, Ran, Setup, TOKENS};

/// How long a worker waits for a message before it gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a worker did from when to when, in milliseconds of a clock that all share; `None`: it waited for a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) work: Option<Work>,
    pub(super) start: f64,
    pub(super) end: f64,
}

/// The link of a worker on a thread of its own.
struct ThreadPort {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<Receiver<Vec<u8>>>,
    clock: Instant,
    last: Cell<f64>,
    stamps: RefCell<Vec<Stamp>>,
    sent: Cell<Traffic>,
}

impl ThreadPort {
    fn now(&self) -> f64 {
        self.clock.elapsed().as_secs_f64() * 1e3
    }

    fn stamp(&self, work: Option<Work>) {
        let (start, end) = (self.last.get(), self.now());
        self.stamps.borrow_mut().push(Stamp { work, start, end });
        self.last.set(end);
    }
}

/// Links between so many workers.
fn ports(ranks: usize, clock: Instant) -> Vec<ThreadPort> {
    let mut all: Vec<ThreadPort> = (0..ranks)
        .map(|rank| ThreadPort {
            rank,
            to: Vec::new(),
            from: Vec::new(),
            clock,
            last: Cell::new(0.0),
            stamps: RefCell::default(),
            sent: Cell::default(),
        })
        .collect();
    for from in 0..ranks {
        for port in &mut all {
            let (sender, receiver) = channel();
            port.from.push(receiver);
            // Parked here: the sender's own port takes it below.
            port.to.push(sender);
        }
        let senders: Vec<Sender<Vec<u8>>> = all.iter_mut().filter_map(|port| port.to.pop()).collect();
        all[from].to.splice(0..0, senders);
    }
    all
}

// ANCHOR: thread_link
impl Link for ThreadPort {
    fn rank(&self) -> usize {
        self.rank
    }
    fn ranks(&self) -> usize {
        self.to.len()
    }
    fn send(&self, to: usize, message: Vec<u8>) {
        // Empty messages only keep step.
        if !message.is_empty() {
            let sent = self.sent.get();
            self.sent.set(Traffic { messages: sent.messages + 1, bytes: sent.bytes + message.len() });
        }
        // A peer that is gone is told where something is expected of it.
        drop(self.to[to].send(message));
    }
    fn receive(&self, from: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, LabError>> {
        Box::pin(async move {
            let message = self.from[from].recv_timeout(PATIENCE).map_err(|error| {
                let what = if error == RecvTimeoutError::Timeout { "sent nothing for 20 s" } else { "is gone" };
                LabError::Engine { why: format!("worker {} waits for worker {from}, which {what}", self.rank) }
            });
            self.stamp(None);
            message
        })
    }
    fn mark(&self, work: Work, _: usize) {
        self.stamp(Some(work));
    }
}
// ANCHOR_END: thread_link

/// A training on threads, and the stamps of each worker in each step.
pub(super) struct OnThreads {
    pub(super) ran: Ran,
    pub(super) stamps: Vec<Vec<Vec<Stamp>>>,
}

impl OnThreads {
    /// Milliseconds of each step but the first, from the first beginning to the last end.
    pub(super) fn steps(&self) -> Vec<f64> {
        let of = |step: usize| {
            let all = || self.stamps.iter().flat_map(|worker| &worker[step]);
            let start = all().map(|stamp| stamp.start).fold(f64::INFINITY, f64::min);
            all().map(|stamp| stamp.end).fold(0.0, f64::max) - start
        };
        (1..self.stamps[0].len()).map(of).collect()
    }

    /// The quickest of them, as its place among all steps, and its milliseconds. Another program can make a step slower and never
    /// quicker.
    pub(super) fn quickest(&self) -> (usize, f64) {
        let steps = self.steps();
        let best = (0..steps.len()).min_by(|a, b| steps[*a].total_cmp(&steps[*b])).unwrap_or(0);
        (best + 1, steps[best])
    }

    /// For each step but the first: milliseconds from its beginning to the end of the last way back, as measured, and as the simulator
    /// finds them from what each piece of work took in that very step. What it must get right is who waits for whom, and how long.
    ///
    /// # Errors
    /// An order that cannot be run.
    pub(super) fn replayed(&self, order: &PipeOrder, wire: Wire, bytes: f64) -> Result<Vec<[f64; 2]>, LabError> {
        let mut all = Vec::new();
        for step in 1..self.stamps[0].len() {
            let mut took = Vec::new();
            let (mut start, mut end) = (f64::INFINITY, 0.0_f64);
            for (worker, ops) in self.stamps.iter().zip(&order.ops) {
                start = start.min(worker[step][0].start);
                let pieces = worker[step].iter().filter(|stamp| stamp.work.is_some());
                for (op, stamp) in ops.iter().zip(pieces) {
                    took.push((*op, stamp.end - stamp.start));
                    end = end.max(stamp.end);
                }
            }
            let ms = |op: PipeOp| took.iter().find(|one| one.0 == op).map_or(0.0, |one| one.1);
            all.push([end - start, simulate_each(order, &ms, wire, bytes)?.end]);
        }
        Ok(all)
    }

    /// Share of the time of all workers in which they wait, in each step but the first.
    pub(super) fn waits(&self) -> Vec<f64> {
        let steps = self.steps();
        let of = |(step, took): (usize, &f64)| {
            let work = self.stamps.iter().flat_map(|worker| &worker[step + 1]).filter(|stamp| stamp.work.is_some());
            1.0 - work.map(|stamp| stamp.end - stamp.start).sum::<f64>() / (self.stamps.len() as f64 * took)
        };
        steps.iter().enumerate().map(of).collect()
    }
}

fn failed() -> LabError {
    LabError::Engine { why: "a thread of the study failed".into() }
}

/// Trains on a thread for each worker of an order.
pub(super) fn train(setup: &Setup<'_>, arm: &Arm, cut: &[Range<usize>]) -> Result<OnThreads, LabError> {
    run(setup, &arm.order(setup.workers, setup.micros), cut)
}

/// What a worker ends with: its stage, losses and stamps of its steps, and what it sent.
type Worked<'a> = (PipeStage<'a>, Vec<f64>, Vec<Vec<Stamp>>, Traffic);

fn run(setup: &Setup<'_>, order: &PipeOrder, cut: &[Range<usize>]) -> Result<OnThreads, LabError> {
    let (p, lessons) = (order.ops.len(), setup.lessons());
    let all = ports(p, Instant::now());
    let work = |port: ThreadPort| -> Result<Worked<'_>, LabError> {
        let mut stage = setup.stage(cut, (port.rank, p));
        let (mut losses, mut stamps) = (Vec::new(), Vec::new());
        for ([tokens, targets], rate) in &lessons {
            let batch = PipeBatch { tokens, targets, micros: setup.spans(), t: TOKENS };
            // All begin together.
            ready(ring_pass(&port, Vec::new()))?;
            port.stamps.borrow_mut().clear();
            port.last.set(port.now());
            losses.push(ready(stage.step(&port, &order.ops[port.rank], &batch, *rate))?);
            stamps.push(port.stamps.take());
        }
        Ok((stage, losses, stamps, port.sent.get()))
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = all.into_iter().map(|port| scope.spawn(|| work(port))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| failed())?).collect::<Result<_, LabError>>()
    })?;
    let (mut stages, mut stamps, mut sent, mut losses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (stage, loss, stamp, traffic) in done {
        stages.push(stage);
        stamps.push(stamp);
        sent.push(traffic);
        losses = loss;
    }
    Ok(OnThreads { ran: Ran::of(losses, &stages, &sent), stamps })
}

/// What chunks take on one thread that has them all, in its quickest step: alone, or while another thread does the same.
pub(super) struct Alone {
    /// Milliseconds by chunk.
    pub(super) times: PipeTimes,
    /// Of updating all weights.
    pub(super) update: f64,
    /// Of a step.
    pub(super) step: f64,
}

/// Chunks on one thread, while `copies` threads in all do the same and know nothing of each other.
pub(super) fn alone(setup: &Setup<'_>, cut: &[Range<usize>], copies: usize) -> Result<Alone, LabError> {
    let order = interleaved(1, setup.micros, cut.len());
    let all: Vec<OnThreads> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..copies).map(|_| scope.spawn(|| run(setup, &order, cut))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| failed())?).collect::<Result<_, LabError>>()
    })?;
    let took = |wanted: &dyn Fn(Work) -> bool| {
        let stamps = all.iter().flat_map(|one| &one.stamps[0][one.quickest().0]);
        let times: Vec<f64> =
            stamps.filter(|stamp| stamp.work.is_some_and(wanted)).map(|stamp| stamp.end - stamp.start).collect();
        median(&times)
    };
    let chunks = 0..cut.len();
    Ok(Alone {
        times: PipeTimes {
            forward: chunks.clone().map(|chunk| took(&|work| work == Work::Forward(chunk))).collect(),
            backward: chunks.map(|chunk| took(&|work| work == Work::Backward(chunk))).collect(),
            weights: Vec::new(),
        },
        update: took(&|work| matches!(work, Work::Update(_))),
        step: all.iter().map(|one| one.quickest().1).sum::<f64>() / copies as f64,
    })
}

/// What a message from thread to thread takes: half of there and back, by size.
pub(super) fn wire() -> Result<Wire, LabError> {
    let sizes = [64, 4096, 32_768, 262_144];
    let mut two = ports(2, Instant::now());
    let (other, here) = (two.pop().ok_or_else(failed)?, two.pop().ok_or_else(failed)?);
    std::thread::scope(|scope| {
        let echo = scope.spawn(move || -> Result<(), LabError> {
            for _ in 0..sizes.len() * ROUNDS {
                let message = ready(other.receive(0))?;
                other.send(0, message);
            }
            Ok(())
        });
        let mut points = Vec::new();
        for size in sizes {
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                let start = here.now();
                here.send(1, vec![1; size]);
                drop(ready(here.receive(1))?);
                times.push(0.5 * (here.now() - start));
            }
            points.push((size as f64, median(&times)));
        }
        echo.join().map_err(|_| failed())??;
        Ok(fit_wire(&points).unwrap_or(Wire { latency_ms: points[2].1, bytes_per_ms: 1e6 }))
    })
}

/// Messages of each size.
const ROUNDS: usize = 200;
