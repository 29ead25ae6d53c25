//! Bytes that the engine holds, counted where they are asked for: in the global allocator.
//!
//! A program declares the allocator (`lab-engine` and `lab-cli` do), its [`Host`](crate::Host) reads it, and a lab asks
//! its [`Context`].

use std::{
    alloc::System,
    sync::atomic::{AtomicUsize, Ordering},
};

use burn::tensor::Device;
use cap::Cap;
use lab_api::LabError;
use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait as _};

use crate::Context;

/// The system's allocator, counted twice: by `cap`, which knows how much is held now, and by `peakmem_alloc`, which knows
/// the most held since it was told to forget. Both pass `realloc` and `alloc_zeroed` on, so that growing a vector costs
/// no copy more than it did.
pub type CountingAllocator = Cap<&'static PeakMemAlloc<System>>;

/// Bytes held when the peak was last reset.
static AT_RESET: AtomicUsize = AtomicUsize::new(0);

/// The allocator to declare, once in a program, as a static of type [`CountingAllocator`] under `#[global_allocator]`.
#[must_use]
pub const fn counting_allocator() -> CountingAllocator {
    Cap::new(&INSTRUMENTED_SYSTEM, usize::MAX)
}

/// What an allocator has given out: bytes asked for, without its own overhead, in all threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryReading {
    /// Held now.
    pub current_bytes: usize,
    /// The most held at once since the peak was reset.
    pub peak_bytes: usize,
}

/// Reads the declared allocator.
#[must_use]
pub fn memory_reading(allocator: &CountingAllocator) -> MemoryReading {
    let current_bytes = allocator.allocated();
    let peak_bytes = AT_RESET.load(Ordering::Relaxed) + INSTRUMENTED_SYSTEM.get_peak_memory();
    // Another thread may have been served between the two readings.
    MemoryReading { current_bytes, peak_bytes: peak_bytes.max(current_bytes) }
}

/// Forgets the peak: what is held now is the new one.
pub fn reset_peak(allocator: &CountingAllocator) {
    INSTRUMENTED_SYSTEM.reset_peak_memory();
    AT_RESET.store(allocator.allocated(), Ordering::Relaxed);
}

/// What a call gives, and the most bytes of engine memory it held at once beyond those held before it; `None` where the
/// host does not count. May be nested.
///
/// # Errors
/// What the call returns.
pub async fn peak_bytes<T>(
    cx: &Context,
    call: impl AsyncFnOnce() -> Result<T, LabError>,
) -> Result<(T, Option<usize>), LabError> {
    let before = cx.begin_peak();
    let result = call().await;
    let peak = cx.end_peak(before);
    Ok((result?, peak))
}

/// Bytes that live tensors take on the device, and bytes that its allocator keeps reserved for them and for later ones;
/// `None` where the device does not say. The CPU's tensors are engine memory: [`Context::memory`] counts those.
#[must_use]
pub fn device_memory(device: &Device) -> Option<(u64, u64)> {
    device.memory_pool_usage().map(|usage| (usage.bytes_in_use, usage.bytes_reserved))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::testing::{FakeClock, alone_in_memory, context, ready};

    /// Far more than the other tests of this process take at the same time. It is never written to, so the machine need
    /// not have it.
    const LARGE: usize = 256 << 20;

    #[test]
    fn the_peak_of_a_call_is_what_it_held_at_once() {
        let _alone = alone_in_memory();
        let cx = context(Rc::new(FakeClock::new(0.1)));
        let before = cx.memory().expect("counted").current_bytes;
        let (kept, peak) = ready(peak_bytes(&cx, async || {
            let kept = Vec::<u8>::with_capacity(LARGE);
            // Two at once, twice: the peak is 3, not 5.
            for _ in 0..2 {
                drop(std::hint::black_box((Vec::<u8>::with_capacity(LARGE), Vec::<u8>::with_capacity(LARGE))));
                cx.checkpoint().await?;
            }
            Ok(kept)
        }))
        .expect("runs");
        let peak = peak.expect("counted") as f64 / LARGE as f64;
        assert!((2.9..3.4).contains(&peak), "{peak}");
        let held = cx.memory().expect("counted").current_bytes as f64 - before as f64;
        assert!((held / LARGE as f64 - 1.0).abs() < 0.4, "{held}");
        drop(kept);

        // Nested: the inner one sees its own, and does not make the outer one forget.
        let (inner, outer) = ready(peak_bytes(&cx, async || {
            drop(std::hint::black_box(Vec::<u8>::with_capacity(2 * LARGE)));
            let inner = peak_bytes(&cx, async || {
                drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
                Ok(())
            });
            Ok(inner.await?.1)
        }))
        .expect("runs");
        let inner = inner.expect("counted") as f64 / LARGE as f64;
        let outer = outer.expect("counted") as f64 / LARGE as f64;
        assert!((0.9..1.4).contains(&inner), "{inner}");
        assert!((1.9..2.4).contains(&outer), "{outer}");

        // Growth in place counts what is added; a failure is passed on.
        let grown = ready(peak_bytes(&cx, async || {
            let mut grown = Vec::<u8>::with_capacity(LARGE);
            grown.reserve_exact(2 * LARGE);
            Err::<(), _>(LabError::Cancelled)
        }));
        assert_eq!(grown, Err(LabError::Cancelled));
    }

    #[test]
    fn a_host_that_does_not_count_gives_no_number() {
        struct Blind(FakeClock);
        impl crate::Host for Blind {
            fn fetch(&self, asset: lab_api::AssetRef) -> crate::LocalBoxFuture<'_, Result<Vec<u8>, String>> {
                self.0.fetch(asset)
            }
            fn now_ms(&self) -> f64 {
                self.0.now_ms()
            }
            fn yield_now(&self) -> crate::LocalBoxFuture<'_, ()> {
                self.0.yield_now()
            }
            fn cancelled(&self) -> bool {
                self.0.cancelled()
            }
            fn progress(&self, _stage: &str, _fraction: f64) {}
            fn publish(&self, _report: &lab_api::Report) {}
            fn info(&self) -> crate::HostInfo {
                self.0.info()
            }
        }
        let cx = context(Rc::new(Blind(FakeClock::new(0.1))));
        assert_eq!(cx.memory(), None);
        assert_eq!(ready(peak_bytes(&cx, async || Ok(7))), Ok((7, None)));
        assert_eq!(device_memory(&cx.device), None);
    }
}
