//! What tests of the kit and of labs share: a host with a clock that can be set, a way to run what never really waits, and
//! the files of `assets/`.

#[cfg(test)]
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{cell::Cell, path::Path, rc::Rc, time::Instant};

use burn::tensor::Device;
use lab_api::{AssetRef, DeviceChoice, Report};
use sha2::{Digest, Sha256};

#[cfg(test)]
use crate::measure::{CountingAllocator, MemoryReading, counting_allocator, memory_reading, reset_peak};
use crate::{Context, Host, HostInfo, LocalBoxFuture, data::hex, open_device};

/// Counts the bytes of this crate's tests, as in the engine. Other crates declare their own.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: CountingAllocator = counting_allocator();

/// Held by a test that measures memory, or takes much of it: the counter is the whole process's, and tests run at once.
#[cfg(test)]
pub(crate) fn alone_in_memory() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed while it held the lock has failed on its own account.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host whose time passes by [`FakeClock::pass`], and whose clock shows whole steps of it.
pub struct FakeClock {
    step_ms: f64,
    true_ms: Cell<f64>,
    start: Option<Instant>,
    cancelled: Cell<bool>,
    /// From when to when the page is hidden, and when that was last asked.
    hidden: Cell<(f64, f64)>,
    asked_ms: Cell<f64>,
}

impl FakeClock {
    /// A clock of this step. Reading it takes a microsecond.
    pub fn new(step_ms: f64) -> Self {
        Self {
            step_ms,
            true_ms: Cell::new(0.0),
            start: None,
            cancelled: Cell::new(false),
            hidden: Cell::new((0.0, 0.0)),
            asked_ms: Cell::new(0.0),
        }
    }

    /// The machine's own clock.
    pub fn real() -> Self {
        Self { start: Some(Instant::now()), ..Self::new(1.0) }
    }

    /// Lets time pass.
    pub fn pass(&self, ms: f64) {
        self.true_ms.set(self.true_ms.get() + ms);
    }

    /// Hides the page from now on, for this long.
    pub fn hide(&self, ms: f64) {
        self.hidden.set((self.true_ms.get(), self.true_ms.get() + ms));
    }

    /// Whether the page is hidden now.
    pub fn is_hidden(&self) -> bool {
        let (from, to) = self.hidden.get();
        (from..to).contains(&self.true_ms.get())
    }

    /// Makes the next checkpoint stop the run.
    pub fn cancel(&self) {
        self.cancelled.set(true);
    }
}

impl Host for FakeClock {
    fn fetch(&self, asset: AssetRef) -> LocalBoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(std::future::ready(shipped(&asset.name)))
    }
    fn now_ms(&self) -> f64 {
        match self.start {
            Some(start) => start.elapsed().as_secs_f64() * 1e3,
            None => {
                self.pass(1e-3);
                (self.true_ms.get() / self.step_ms).floor() * self.step_ms
            }
        }
    }
    fn yield_now(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
    fn cancelled(&self) -> bool {
        self.cancelled.get()
    }
    fn was_hidden(&self) -> bool {
        let (from, to) = self.hidden.get();
        // The time since the last question overlaps with the time out of view.
        self.asked_ms.replace(self.true_ms.get()) < to && from < self.true_ms.get()
    }
    fn progress(&self, _stage: &str, _fraction: f64) {}
    fn publish(&self, _report: &Report) {}
    fn info(&self) -> HostInfo {
        HostInfo { host: "test".into(), platform: String::new(), cores: 1, engine_version: String::new() }
    }
    #[cfg(test)]
    fn memory(&self) -> Option<MemoryReading> {
        Some(memory_reading(&ALLOCATOR))
    }
    #[cfg(test)]
    fn reset_peak(&self) {
        reset_peak(&ALLOCATOR);
    }
}

/// A file of the checkout's `assets/`.
fn shipped(name: &str) -> Result<Vec<u8>, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets").join(name);
    std::fs::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// A context on the CPU with this host, which offers no file.
pub fn context(host: Rc<dyn Host>) -> Context {
    context_with(host, &[])
}

/// A context on the CPU with this host, which offers these files of `assets/`. Seed 0.
///
/// # Panics
/// When a file is not in the checkout.
pub fn context_with(host: Rc<dyn Host>, assets: &[&str]) -> Context {
    let offer = |name: &&str| {
        let bytes = shipped(name).expect("a file of assets/");
        AssetRef::new(name, &hex(&Sha256::digest(&bytes)), bytes.len() as u64)
    };
    let device: (Device, _) = ready(open_device(DeviceChoice::Cpu)).expect("the CPU is always there");
    Context::new(device, 0, assets.iter().map(offer).collect(), host)
}

/// The result of a future that never really waits, as on the CPU: one poll suffices.
///
/// # Panics
/// When it waits after all.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the CPU device waited"),
    }
}
