//! Timing the FP32 network on the run's device against the packed one on the processor.

use lab_api::{DeviceKind, Family, Interval, LabError, Metric};
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    measure::{Pair, Work, peak_bytes, peak_gflops, side_by_side},
    mlp::{Mlp, read},
    quant::InputGrid,
    report::{MetricExt, metric},
    stats::{median, median_interval},
    subject::Subject,
};

use super::evaluate::Outcome;

/// Images of one timed call.
const BATCH: usize = 64;
/// Confidence of every interval.
const LEVEL: f64 = 0.95;

/// Times and the roof.
pub(super) struct Speed {
    /// Milliseconds of FP32 (first) and packed (second).
    pair: Pair,
    /// Operations of one call, and the bytes it moves at least: of FP32 and packed.
    work: [Work; 2],
    /// Most engine memory that a call held at once, FP32 and packed, where the host counts it.
    held_bytes: [Option<usize>; 2],
    /// Best FP32 matrix multiplication of the device, 10⁹ operations per second.
    peak: f64,
    /// Whether the packed network multiplies integers.
    integers: bool,
}

/// Times both on the same images.
pub(super) async fn measure(subject: &Subject, outcome: &Outcome, cx: &Context) -> Result<Speed, LabError> {
    let images: Vec<usize> = subject.models.held_out(0).into_iter().take(BATCH).collect();
    let pixels = subject.images.gather(&images);
    let fp32 = Mlp::new(subject.network(0), &cx.device);
    let packed = &outcome.networks[0];
    let data = TensorData::new(pixels.clone(), [images.len(), subject.images.pixels_each()]);
    let input = Tensor::<2>::from_data(data, &cx.device);
    // What is computed must be used, or the compiler may leave it out.
    let mut sink = 0.0_f32;
    let pair = side_by_side(
        cx,
        400.0,
        async || read(fp32.forward(input.clone())).await.map(|logits| drop(std::hint::black_box(logits))),
        async || {
            sink += std::hint::black_box(packed.forward(std::hint::black_box(&pixels)))[0];
            Ok(())
        },
    )
    .await?;
    std::hint::black_box(sink);
    // Buffers that are made once and kept exist by now.
    let (logits, held_fp32) = peak_bytes(cx, async || read(fp32.forward(input.clone())).await).await?;
    let (answers, held_packed) = peak_bytes(cx, async || Ok(packed.forward(&pixels))).await?;
    std::hint::black_box((logits, answers));
    // On the GPU the engine's memory holds no tensor.
    let held_fp32 = held_fp32.filter(|_| cx.device_info.kind == DeviceKind::Cpu);
    cx.progress("Measuring the roof of this device", 0.9);
    let peak = peak_gflops(cx, 150.0).await?;
    let integers = packed.layers.iter().all(|layer| layer.input != InputGrid::Fp32);
    let work = work(subject, outcome, images.len());
    Ok(Speed { pair, work, held_bytes: [held_fp32, held_packed], peak, integers })
}

/// Operations and bytes of one call: FP32 and packed. Both read and write FP32 activations, and add FP32 biases.
fn work(subject: &Subject, outcome: &Outcome, images: usize) -> [Work; 2] {
    let network = subject.network(0);
    let flops = (network.flops() * images) as u64;
    let activations: usize = network.layers.iter().map(|layer| images * (layer.inputs + layer.outputs)).sum();
    let bytes = |network: usize| (network + size_of::<f32>() * activations) as u64;
    [network.bytes(), outcome.networks[0].bytes()].map(|network| Work { flops, bytes: bytes(network) })
}

impl Speed {
    /// Ratio of the medians, FP32 over packed, with its interval.
    fn speedup(&self, cx: &Context) -> (f64, Interval) {
        self.pair.ratio(LEVEL, &mut cx.rng("speed-up"))
    }

    /// 10⁹ operations per second of a call that takes `ms`.
    fn rate(&self, ms: f64) -> f64 {
        self.work[0].gflops(1e-3 * ms)
    }

    /// Latency of both, speed-up, utilization.
    pub(super) fn metrics(&self, cx: &Context) -> Vec<Metric> {
        let Pair { first, second } = &self.pair;
        let (fp32, packed) = (median(first), median(second));
        let (ratio, interval) = self.speedup(cx);
        let share = |ms: f64| 100.0 * self.rate(ms) / self.peak.max(f64::MIN_POSITIVE);
        let [intensity_fp32, intensity] = self.work.map(Work::intensity);
        let mut metrics = vec![
            metric(Family::Time, "latency", "Latency, 64 images", packed, "ms")
                .lower()
                .baseline(fp32)
                .interval(median_interval(second, LEVEL, &mut cx.rng("latency")))
                .measured(second.clone())
                .help("Median time of the packed network for a batch of 64; the baseline is the FP32 network on this device."),
            metric(Family::Time, "latency_fp32", "Latency of FP32, 64 images", fp32, "ms").detail()
                .interval(median_interval(first, LEVEL, &mut cx.rng("latency of FP32")))
                .measured(first.clone())
                .help("The baseline's median again, with its own interval."),
            metric(Family::Time, "speedup", "Speed-up", ratio, "×")
                .higher()
                .baseline(1.0)
                .interval(interval)
                .measured(self.pair.ratios())
                .help("FP32 time over packed time, measured turn by turn; below 1 the packed network is slower."),
            metric(Family::Utilization, "utilization", "Utilization", share(packed), "%").detail()
                .higher()
                .baseline(share(fp32))
                .measured(second.iter().map(|ms| share(*ms)).collect())
                .help("Multiplications and additions per second, against this device's best FP32 matrix multiplication."),
            metric(Family::Utilization, "rate", "Achieved rate", self.rate(packed), "GFLOP/s").detail()
                .higher()
                .baseline(self.rate(fp32))
                .measured(second.iter().map(|ms| self.rate(*ms)).collect())
                .help("Multiplications and additions per second at the median latency."),
            metric(Family::Utilization, "intensity", "Arithmetic intensity", intensity, "FLOP/byte").detail()
                .baseline(intensity_fp32)
                .exact(1e-9, "operations and bytes are counted")
                .help("Operations for each byte of weights, biases and activations that a batch of 64 has to move."),
            metric(Family::Utilization, "peak", "Roof of this device", self.peak, "GFLOP/s").detail()
                .measured(vec![self.peak])
                .help("The best rate that a 256 × 256 FP32 matrix multiplication reached here just now."),
        ];
        if let [fp32, Some(held)] = self.held_bytes {
            let one = metric(Family::Memory, "held_bytes", "Memory of a call, 64 images", held as f64, "bytes")
                .detail()
                .lower()
                .measured(vec![held as f64])
                .help(
                    "The most that one call held at once beyond weights and images, counted by the engine's allocator.",
                );
            metrics.push(Metric { baseline: fp32.map(|bytes| bytes as f64), ..one });
        }
        metrics
    }

    /// What the times of this very run call for.
    pub(super) fn notes(&self, cx: &Context) -> Vec<String> {
        let (_, interval) = self.speedup(cx);
        let cpu = cx.device_info.kind == DeviceKind::Cpu;
        let mut notes = vec![
            match (interval.high < 1.0, interval.low > 1.0) {
                (true, _) if cpu => {
                    "The packed network is slower here. Reasons at hand: unpacking is work added, the FP32 product is a \
                     tuned one, and a network this small stays in the cache, where fewer bytes save no time."
                }
                (true, _) => "The packed network is slower here.",
                (_, true) if cpu && self.integers => {
                    "The packed network is faster here. A reason at hand: its products are of integers, of which an \
                     instruction takes more at a time than of FP32."
                }
                (_, true) => "The packed network is faster here.",
                _ => "The two latencies cannot be told apart here: the interval of the speed-up contains 1.",
            }
            .to_owned(),
        ];
        if cx.device_info.kind == DeviceKind::Webgpu {
            notes.push("FP32 ran on the GPU, the packed network on the processor: the speed-up compares the two devices as well.".to_owned());
        }
        notes
    }
}
