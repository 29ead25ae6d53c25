//! The roofs of a device, measured: its best rate of arithmetic and of moving bytes.

use burn::tensor::{Tensor, TensorData};
use lab_api::LabError;

use super::{Work, time::span_ms};
use crate::{Context, mlp::read};

/// Width of the square matrices that [`peak_gflops`] multiplies.
const PEAK_WIDTH: usize = 256;

/// The best rate of FP32 matrix multiplication seen on this device, in 10⁹ floating-point operations per second: a roof
/// that a real kernel reached here, not a number from a data sheet. Takes about `budget_ms`.
///
/// # Errors
/// [`LabError::Device`] when the device fails, [`LabError::Cancelled`].
pub async fn peak_gflops(cx: &Context, budget_ms: f64) -> Result<f64, LabError> {
    let width = PEAK_WIDTH;
    let values = (0..width * width).map(|i| (i % 13) as f32 * 1e-3).collect::<Vec<f32>>();
    let a = Tensor::<2>::from_data(TensorData::new(values, [width, width]), &cx.device);
    let seconds = best_seconds(cx, budget_ms, async |length| {
        // Chained, so that nothing can be left out.
        let mut product = a.clone();
        for _ in 0..length {
            product = product.matmul(a.clone());
        }
        read(product.slice([0..1, 0..1])).await.map(drop)
    })
    .await?;
    let width = width as u64;
    Ok(Work::matmul(width, width, width, 4).gflops(seconds))
}

/// Bytes of each of the two buffers of a bandwidth that only memory can give: well above most caches. A server's last
/// cache may be larger still.
pub const IN_MEMORY_BYTES: usize = 64 << 20;
/// Bytes of each of the two buffers of a bandwidth that a core's own caches can give.
pub const IN_CACHE_BYTES: usize = 128 << 10;

/// How fast this device moves bytes, in 10⁹ bytes per second: the best rate seen of `x = x + y` in place, which reads two
/// buffers of `buffer_bytes` and writes one (after STREAM, McCalpin 1995, without the read that writing to a third buffer
/// brings along). Takes about `budget_ms`, more where one pass takes longer.
///
/// On a GPU, small buffers measure how fast kernels are launched, not a cache.
///
/// # Errors
/// [`LabError::Device`] when the device fails or lacks the memory, [`LabError::Cancelled`].
pub async fn bandwidth(cx: &Context, buffer_bytes: usize, budget_ms: f64) -> Result<f64, LabError> {
    let count = (buffer_bytes / size_of::<f32>()).max(1);
    let mut x = Tensor::<1>::ones([count], &cx.device);
    let y = Tensor::<1>::ones([count], &cx.device) * 1e-3;
    let seconds = best_seconds(cx, budget_ms, async |length| {
        for _ in 0..length {
            // The only handle on x is given away, so Burn writes into its buffer.
            x = std::mem::replace(&mut x, y.clone()).add(y.clone());
        }
        read(x.clone().narrow(0, 0, 1)).await.map(drop)
    })
    .await?;
    Ok(Work::elementwise(count as u64, 2, 1, 4).gb_per_s(seconds))
}

/// Fewest seconds per link of a chain, over tries for about `budget_ms`; chains are as long as the clock needs.
async fn best_seconds(
    cx: &Context,
    budget_ms: f64,
    mut chain: impl AsyncFnMut(usize) -> Result<(), LabError>,
) -> Result<f64, LabError> {
    let mut timed = async |length: usize| -> Result<f64, LabError> {
        let start = cx.now_ms();
        chain(length).await?;
        Ok(cx.now_ms() - start)
    };
    // Warms up.
    timed(1).await?;
    let mut length = 1;
    while timed(length).await? < span_ms(cx).max(2.0) && length < 1 << 16 {
        length *= 2;
        cx.checkpoint().await?;
    }
    let (start, mut best) = (cx.now_ms(), f64::INFINITY);
    for tries in 0..20 {
        if tries >= 3 && cx.now_ms() - start > budget_ms {
            break;
        }
        best = best.min(timed(length).await?);
        cx.checkpoint().await?;
    }
    Ok(best * 1e-3 / length as f64)
}

/// Rates of moving bytes, in 10⁹ bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bandwidth {
    /// From and to memory ([`IN_MEMORY_BYTES`]).
    pub memory_gb_per_s: f64,
    /// Within the caches ([`IN_CACHE_BYTES`]).
    pub cache_gb_per_s: f64,
}

impl Bandwidth {
    /// Measures both in about twice `budget_ms`.
    ///
    /// # Errors
    /// As [`bandwidth`].
    pub async fn measure(cx: &Context, budget_ms: f64) -> Result<Self, LabError> {
        Ok(Self {
            memory_gb_per_s: bandwidth(cx, IN_MEMORY_BYTES, budget_ms).await?,
            cache_gb_per_s: bandwidth(cx, IN_CACHE_BYTES, budget_ms).await?,
        })
    }
}

/// The roofline of a device (Williams, Waterman and Patterson, 2009): no kernel is faster than arithmetic allows, nor
/// than the bytes it moves allow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Best rate of arithmetic, 10⁹ operations per second.
    pub peak_gflops: f64,
    /// Best rate of moving bytes, 10⁹ bytes per second.
    pub peak_gb_per_s: f64,
}

impl Roofline {
    /// Measures both roofs, memory's bandwidth for the second, in about twice `budget_ms`.
    ///
    /// # Errors
    /// As [`peak_gflops`] and [`bandwidth`].
    pub async fn measure(cx: &Context, budget_ms: f64) -> Result<Self, LabError> {
        Ok(Self {
            peak_gflops: peak_gflops(cx, budget_ms).await?,
            peak_gb_per_s: bandwidth(cx, IN_MEMORY_BYTES, budget_ms).await?,
        })
    }

    /// The rate that `intensity` operations per byte allow, in 10⁹ operations per second.
    #[must_use]
    pub fn attainable(&self, intensity: f64) -> f64 {
        self.peak_gflops.min(self.peak_gb_per_s * intensity)
    }

    /// Operations per byte from which on arithmetic is the limit.
    #[must_use]
    pub fn ridge(&self) -> f64 {
        self.peak_gflops / self.peak_gb_per_s.max(f64::MIN_POSITIVE)
    }

    /// Share of the attainable rate that work done in `seconds` reaches. Above 1 where its data stay in a cache that is
    /// faster than the memory of the roof.
    #[must_use]
    pub fn share_of_roof(&self, work: Work, seconds: f64) -> f64 {
        work.gflops(seconds) / self.attainable(work.intensity()).max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::testing::{FakeClock, alone_in_memory, context, ready};

    #[test]
    fn a_roof_of_round_numbers() {
        let roof = Roofline { peak_gflops: 100.0, peak_gb_per_s: 20.0 };
        assert_eq!((roof.attainable(2.0), roof.attainable(5.0), roof.attainable(50.0)), (40.0, 100.0, 100.0));
        assert_eq!(roof.ridge(), 5.0);
        // 2 operations a byte in 1 s at 10 GFLOP/s: a quarter of the 40 that 20 GB/s allow.
        let work = Work { flops: 10_000_000_000, bytes: 5_000_000_000 };
        assert!((roof.share_of_roof(work, 1.0) - 0.25).abs() < 1e-12);
        let dense = Work { flops: 10_000_000_000, bytes: 1_000_000_000 };
        assert!((roof.share_of_roof(dense, 0.1) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_clock_decides_the_rate() {
        // Each matrix product takes 1 ms of the fake clock, so its rate is known: 2 * 256³ operations in a millisecond.
        let clock = Rc::new(FakeClock::new(0.1));
        let cx = context(clock.clone());
        let seconds = ready(best_seconds(&cx, 50.0, async |length| {
            clock.pass(length as f64);
            Ok(())
        }));
        assert!((seconds.expect("runs") / 1e-3 - 1.0).abs() < 0.05);
    }

    #[test]
    fn this_machine_has_roofs_and_its_cache_is_no_slower_than_its_memory() {
        let _alone = alone_in_memory();
        let cx = context(Rc::new(FakeClock::real()));
        let peak = ready(peak_gflops(&cx, 20.0)).expect("measured");
        let Bandwidth { memory_gb_per_s, cache_gb_per_s } = ready(Bandwidth::measure(&cx, 20.0)).expect("measured");
        // Wide bounds: from a small board to a large server, and to a machine busy with other tests.
        assert!((0.05..1e5).contains(&peak), "{peak} GFLOP/s");
        assert!((0.05..1e4).contains(&memory_gb_per_s), "{memory_gb_per_s} GB/s");
        assert!(cache_gb_per_s > 0.5 * memory_gb_per_s, "{cache_gb_per_s} and {memory_gb_per_s} GB/s");
    }

    #[test]
    fn the_sum_is_written_in_place() {
        let _alone = alone_in_memory();
        // Otherwise more bytes would move than are counted: the chain may not hold a third buffer.
        let cx = context(Rc::new(FakeClock::real()));
        let buffer = 256 << 20;
        let (_, peak) = ready(super::super::peak_bytes(&cx, async || bandwidth(&cx, buffer, 1.0).await)).expect("runs");
        let buffers = peak.expect("counted") as f64 / buffer as f64;
        assert!(buffers < 2.6, "{buffers} buffers were held at once");
    }
}
