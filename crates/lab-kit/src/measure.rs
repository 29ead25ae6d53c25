//! Timing two variants side by side, under clocks as coarse as a browser's.

use burn::tensor::{Tensor, TensorData};
use lab_api::LabError;

use crate::{Context, mlp::read};

/// Milliseconds per call of two variants. `first[i]` and `second[i]` were measured one right after the other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pair {
    /// Of the first variant.
    pub first: Vec<f64>,
    /// Of the second.
    pub second: Vec<f64>,
}

/// Fewest and most samples of each variant.
const SAMPLES: std::ops::RangeInclusive<usize> = 5..=41;

/// Times two variants, turn by turn and in alternating order, so that a machine that warms up or slows down treats both
/// alike. A sample repeats its call until it spans at least 20 steps of the clock, and 0.2 ms.
///
/// Stops after 41 pairs, or once `budget_ms` is spent and there are 5.
///
/// # Errors
/// What the variants and the checkpoints between samples return.
pub async fn side_by_side(
    cx: &Context,
    budget_ms: f64,
    mut first: impl AsyncFnMut() -> Result<(), LabError>,
    mut second: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Pair, LabError> {
    let span = (20.0 * cx.clock_step_ms()).max(0.2);
    let repeat_first = repetitions(cx, span, &mut first).await?;
    let repeat_second = repetitions(cx, span, &mut second).await?;
    let mut pair = Pair::default();
    let start = cx.now_ms();
    while pair.first.len() < *SAMPLES.end() {
        if pair.first.len() >= *SAMPLES.start() && cx.now_ms() - start > budget_ms {
            break;
        }
        if pair.first.len() % 2 == 0 {
            pair.first.push(sample(cx, repeat_first, &mut first).await?);
            pair.second.push(sample(cx, repeat_second, &mut second).await?);
        } else {
            pair.second.push(sample(cx, repeat_second, &mut second).await?);
            pair.first.push(sample(cx, repeat_first, &mut first).await?);
        }
        cx.checkpoint().await?;
    }
    Ok(pair)
}

async fn sample(
    cx: &Context,
    repeat: usize,
    call: &mut impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<f64, LabError> {
    let start = cx.now_ms();
    for _ in 0..repeat {
        call().await?;
    }
    Ok((cx.now_ms() - start) / repeat as f64)
}

/// Calls that fill `span` milliseconds, found by doubling; the first call warms up and does not count.
async fn repetitions(
    cx: &Context,
    span: f64,
    call: &mut impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<usize, LabError> {
    call().await?;
    let mut repeat = 1;
    loop {
        cx.checkpoint().await?;
        let start = cx.now_ms();
        for _ in 0..repeat {
            call().await?;
        }
        if cx.now_ms() - start >= span || repeat >= 1 << 16 {
            return Ok(repeat);
        }
        repeat *= 2;
    }
}

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
    // Chained, so that nothing can be left out, and long enough for a coarse clock.
    let chain = async |length: usize| -> Result<f64, LabError> {
        let start = cx.now_ms();
        let mut product = a.clone();
        for _ in 0..length {
            product = product.matmul(a.clone());
        }
        read(product.slice([0..1, 0..1])).await?;
        Ok(cx.now_ms() - start)
    };
    chain(1).await?;
    let mut length = 1;
    while chain(length).await? < (20.0 * cx.clock_step_ms()).max(2.0) && length < 1 << 10 {
        length *= 2;
        cx.checkpoint().await?;
    }
    let (start, mut best) = (cx.now_ms(), f64::INFINITY);
    for tries in 0..20 {
        if tries >= 3 && cx.now_ms() - start > budget_ms {
            break;
        }
        best = best.min(chain(length).await?);
        cx.checkpoint().await?;
    }
    let operations = 2.0 * (width as f64).powi(3) * length as f64;
    Ok(operations / best.max(f64::MIN_POSITIVE) * 1e-6)
}
