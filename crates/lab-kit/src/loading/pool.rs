//! Workers, and the way to them.

use std::cell::{Cell, RefCell};

use lab_api::LabError;

use super::{BatchMaker, LoadPlan, Made, Wanted};
use crate::{Context, LocalBoxFuture};

/// What comes back from a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A batch.
    Made(Made),
    /// It stopped, and makes no more.
    Failed {
        /// Which one, from 1.
        worker: usize,
        /// Epoch, item and cause, as far as they are known.
        why: String,
    },
}

/// A way to workers. Nothing here waits without an end.
pub trait LoaderPort {
    /// How many there are.
    fn workers(&self) -> usize;

    /// Asks a worker, counted from 0, for a batch. One that is gone answers that it failed.
    fn send(&self, worker: usize, wanted: Wanted);

    /// The next answer that is here.
    fn receive(&self) -> Option<Answer>;

    /// Waits for an answer, 20 ms or so at most.
    fn wait(&self) -> LocalBoxFuture<'_, ()>;

    /// The clock that the spans of batches are told by, in milliseconds.
    fn now_ms(&self) -> f64;
}

/// Starts workers for a plan; in words why that is impossible.
pub type Spawner = fn(&LoadPlan, usize) -> LocalBoxFuture<'static, Result<Box<dyn LoaderPort>, String>>;

thread_local! {
    static SPAWNER: Cell<Option<Spawner>> = const { Cell::new(None) };
}

/// Tells this thread how workers are started. An engine does so once; natively threads are started without.
pub fn install(spawner: Option<Spawner>) {
    SPAWNER.set(spawner);
}

/// Workers of one plan; none where none could be started.
pub struct LoaderPool {
    pub(super) port: Option<Box<dyn LoaderPort>>,
    pub(super) maker: RefCell<BatchMaker>,
    pub(super) feeds: Cell<u64>,
    why: Option<String>,
    start_ms: f64,
}

impl LoaderPool {
    /// Starts so many workers. Where that is impossible all batches are made in line, and [`LoaderPool::why`] tells why.
    pub async fn start(plan: &LoadPlan, workers: usize, cx: &Context) -> Self {
        let began = cx.now_ms();
        let (port, why) = match spawn(plan, workers).await {
            Ok(port) => (port, None),
            Err(why) => (None, Some(why)),
        };
        let maker = RefCell::new(BatchMaker::new(plan.clone()));
        Self { port, maker, feeds: Cell::new(0), why, start_ms: cx.now_ms() - began }
    }

    /// Workers on a port that is there already.
    #[must_use]
    pub fn on(port: Box<dyn LoaderPort>, plan: &LoadPlan) -> Self {
        let maker = RefCell::new(BatchMaker::new(plan.clone()));
        Self { port: Some(port), maker, feeds: Cell::new(0), why: None, start_ms: 0.0 }
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.port.as_ref().map_or(0, |port| port.workers())
    }

    /// Why there are fewer than were asked for.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// What starting them took.
    #[must_use]
    pub fn start_ms(&self) -> f64 {
        self.start_ms
    }

    /// The clock of all spans.
    #[must_use]
    pub fn now_ms(&self, cx: &Context) -> f64 {
        self.port.as_ref().map_or_else(|| cx.now_ms(), |port| port.now_ms())
    }

    /// Milliseconds until so many blank numbers have come from the first worker, handed over or copied; `None` without a worker.
    ///
    /// # Errors
    /// As [`Feed::next`](super::Feed::next).
    pub async fn round_trip(&self, blank: u32, copied: bool, cx: &Context) -> Result<Option<f64>, LabError> {
        let Some(port) = &self.port else { return Ok(None) };
        let began = port.now_ms();
        port.send(0, Wanted { number: u64::MAX >> 16, blank, copied, ..Wanted::default() });
        loop {
            match port.receive() {
                Some(Answer::Made(made)) if made.number == u64::MAX >> 16 => return Ok(Some(port.now_ms() - began)),
                Some(Answer::Failed { worker, why }) => return Err(stopped(worker, &why)),
                Some(Answer::Made(_)) => {}
                None => {
                    port.wait().await;
                    silent(port.now_ms() - began)?;
                    if port.now_ms() - began > 15.0 {
                        cx.checkpoint().await?;
                    }
                }
            }
        }
    }
}

/// How long a worker may be silent, in milliseconds.
const SILENCE: f64 = 20_000.0;

/// Refuses to wait for ever.
pub(super) fn silent(ms: f64) -> Result<(), LabError> {
    if ms < SILENCE {
        return Ok(());
    }
    let why = "no worker has answered for 20 seconds: run again, or set “Workers” to 0".into();
    Err(LabError::Engine { why })
}

/// A worker that makes no more.
pub(super) fn stopped(worker: usize, why: &str) -> LabError {
    LabError::Engine { why: format!("worker {worker} of the loader stopped: {why}") }
}

async fn spawn(plan: &LoadPlan, workers: usize) -> Result<Option<Box<dyn LoaderPort>>, String> {
    if workers == 0 {
        return Ok(None);
    }
    if let Some(spawner) = SPAWNER.get() {
        return spawner(plan, workers).await.map(Some);
    }
    #[cfg(not(target_family = "wasm"))]
    return super::threads::Threads::start(workers, || BatchMaker::new(plan.clone()))
        .map(|port| Some(Box::new(port) as _));
    #[cfg(target_family = "wasm")]
    Err("this engine starts none".into())
}
