//! What a step through the rounding costs, against one in FP32.

use lab_api::{Axis, Chart, ChartBody, DeviceKind, Family, Interval, LabError, Metric, Series};
use lab_kit::{
    Context,
    fit::{Trainable, batch, optimizer, step},
    measure::{Pair, peak_bytes, peak_gflops, side_by_side},
    mlp::{Mlp, read},
    report::{MetricExt, metric, thousands},
    stats::{median, median_interval},
    subject::Subject,
    train::Training,
};

use super::{
    arms::{Arm, Outcome},
    fit::Plain,
};

/// Confidence of every interval.
const LEVEL: f64 = 0.95;
/// Images of a step. The second is what the lab trains with.
const BATCHES: [usize; 3] = [16, 64, 256];
/// Which of them.
const TRAINED_WITH: usize = 1;

/// Times of steps.
pub(super) struct Timing {
    /// For each batch milliseconds per step, quantization-aware (first) and FP32 (second).
    pairs: Vec<Pair>,
    /// Operations of one step with one image.
    operations: f64,
    /// Best FP32 matrix multiplication of the device, 10⁹ operations per second.
    peak: f64,
    /// The most that a step of the trained batch holds of the engine's memory, quantization-aware and FP32, where tensors
    /// are in it and the host counts.
    held_bytes: Option<[usize; 2]>,
}

/// Times both on the same images.
pub(super) async fn measure(subject: &Subject, arm: &Arm, how: &Training, cx: &Context) -> Result<Timing, LabError> {
    let (all, images) = subject.training(0);
    let (mut pairs, mut held_bytes) = (Vec::new(), None);
    for size in BATCHES {
        let data = batch(all, &images[..size.min(images.len())], cx);
        let mut aware = Stepper::new(arm.start(subject, 0, cx), how);
        let mut plain = Stepper::new(Plain(Mlp::new(subject.network(0), &cx.device.clone().autodiff())), how);
        let budget_ms = if size == BATCHES[TRAINED_WITH] { 400.0 } else { 200.0 };
        pairs.push(
            side_by_side(cx, budget_ms, async || aware.step(&data).await, async || plain.step(&data).await).await?,
        );
        if size == BATCHES[TRAINED_WITH] && cx.device_info.kind == DeviceKind::Cpu {
            let ((), first) = peak_bytes(cx, async || aware.step(&data).await).await?;
            let ((), second) = peak_bytes(cx, async || plain.step(&data).await).await?;
            held_bytes = first.zip(second).map(|(first, second)| [first, second]);
        }
    }
    let peak = peak_gflops(cx, 150.0).await?;
    // Forward one product, backward two: by the weights and by the inputs.
    let operations = 3.0 * subject.network(0).flops() as f64;
    Ok(Timing { pairs, operations, peak, held_bytes })
}

/// A network that can be stepped again and again.
struct Stepper<T> {
    /// Taken out for the time of a step.
    network: Option<T>,
    optimizer: lab_kit::burn::optim::ModuleOptimizer,
}

type Data = (lab_kit::burn::tensor::Tensor<2>, lab_kit::burn::tensor::Tensor<1, lab_kit::burn::tensor::Int>);

impl<T: Trainable> Stepper<T> {
    fn new(network: T, how: &Training) -> Self {
        Self { network: Some(network), optimizer: optimizer(how) }
    }

    /// One step, and its loss read back, so that the device is done with it. Too small to leave the network it started as.
    async fn step(&mut self, data: &Data) -> Result<(), LabError> {
        let Some(network) = self.network.take() else { return Ok(()) };
        let (network, loss) = step(network, &mut self.optimizer, data.clone(), 1e-6);
        self.network = Some(network);
        read(loss).await.map(drop)
    }
}

impl Timing {
    /// Median ratio of a batch, with its interval.
    fn ratio(&self, i: usize, cx: &Context) -> (f64, Interval) {
        self.pairs[i].ratio(LEVEL, &mut cx.rng("step ratio"))
    }

    /// Share of the roof that a step of the trained batch reaches, per cent.
    fn share(&self, ms: f64) -> f64 {
        let rate = self.operations * BATCHES[TRAINED_WITH] as f64 / ms.max(f64::MIN_POSITIVE) * 1e-6;
        100.0 * rate / self.peak.max(f64::MIN_POSITIVE)
    }

    /// Step times, their ratio, training time, utilization.
    pub(super) fn metrics(&self, subject: &Subject, aware: &Outcome, cx: &Context) -> Vec<Metric> {
        let Pair { first, second } = &self.pairs[TRAINED_WITH];
        let (ratio, interval) = self.ratio(TRAINED_WITH, cx);
        let largest = BATCHES.len() - 1;
        let (wide_ratio, wide_interval) = self.ratio(largest, cx);
        let images = thousands(subject.training(0).1.len());
        let mut metrics = vec![
            metric(Family::Time, "step_time", "One training step, 64 images", median(first), "ms")
                .lower()
                .baseline(median(second))
                .interval(median_interval(first, LEVEL, &mut cx.rng("step time")))
                .measured(first.clone())
                .help("Through the rounding, forward, backward and update; the baseline is the same step in FP32."),
            metric(Family::Time, "step_ratio", "Cost of the rounding", ratio, "×")
                .lower()
                .baseline(1.0)
                .interval(interval)
                .measured(self.pairs[TRAINED_WITH].ratios())
                .help("Time of a quantization-aware step over one in FP32, measured turn by turn."),
            metric(Family::Time, "training_time", "Training one network", median(&aware.seconds), "s")
                .detail()
                .lower()
                .baseline(0.0)
                .measured(aware.seconds.clone())
                .help("All epochs of QAT, with the checks after each epoch; rounding afterwards trains nothing."),
            metric(Family::Scale, "step_ratio_wide", "Cost of the rounding, 256 images", wide_ratio, "×")
                .detail()
                .lower()
                .baseline(1.0)
                .interval(wide_interval)
                .measured(self.pairs[largest].ratios())
                .help(&format!(
                    "Weights are rounded once in a step, however many of the {images} training images it holds."
                )),
            metric(Family::Utilization, "utilization", "Utilization in training", self.share(median(first)), "%")
                .detail()
                .higher()
                .baseline(self.share(median(second)))
                .measured(first.iter().map(|ms| self.share(*ms)).collect())
                .help(
                    "Operations of the matrix products per second, against this device's best matrix multiplication.",
                ),
        ];
        metrics.extend(self.held_bytes.map(|[aware, plain]| {
            metric(Family::Memory, "held_bytes", "Held by a training step", aware as f64, "bytes").detail()
                .lower()
                .baseline(plain as f64)
                .measured(vec![aware as f64])
                .help(
                    "The most that one step held at once beyond the network, its moments and 64 images, counted by the engine's \
                     allocator. Training for few bits takes more than training in FP32: it saves memory when the network is \
                     used, not when it is made.",
                )
        }));
        metrics
    }

    /// Ratio against batch.
    pub(super) fn chart(&self, cx: &Context) -> Chart {
        let all: Vec<(f64, (f64, Interval))> =
            BATCHES.iter().enumerate().map(|(i, size)| (*size as f64, self.ratio(i, cx))).collect();
        Chart {
            id: "overhead".into(),
            title: "What does a step through the rounding cost?".into(),
            caption: "Time of a quantization-aware step over a step in FP32, on this device. The band is the 95 % \
                      interval."
                .into(),
            x: Axis::log("Images in a step"),
            y: Axis { min: Some(0.0), ..Axis::linear("Time (× FP32)") },
            body: ChartBody::Line {
                series: vec![
                    Series {
                        name: "FP32".into(),
                        points: all.iter().map(|(size, _)| [*size, 1.0]).collect(),
                        band: vec![],
                    },
                    Series {
                        name: "QAT".into(),
                        points: all.iter().map(|(size, (ratio, _))| [*size, *ratio]).collect(),
                        band: all.iter().map(|(_, (_, interval))| [interval.low, interval.high]).collect(),
                    },
                ],
            },
        }
    }

    /// What the times of this very run call for.
    pub(super) fn notes(&self, cx: &Context) -> Vec<String> {
        let (ratio, interval) = self.ratio(TRAINED_WITH, cx);
        if interval.high < 1.0 {
            return vec![format!("A step through the rounding takes {ratio:.2} of the time of one in FP32 here.")];
        }
        if interval.low <= 1.0 {
            return vec!["A step through the rounding and one in FP32 cannot be told apart in time here.".into()];
        }
        vec![format!(
            "A step through the rounding takes {ratio:.1} times as long as one in FP32. The matrix products are the same; \
             the rest is rounding, element by element, which a network this small does not hide."
        )]
    }
}
