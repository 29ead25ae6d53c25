//! What a zero is worth in time, and what a narrower matrix is.

use lab_api::{Family, LabError, Metric};
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    fit::Classifier,
    measure::{Pair, peak_gflops, side_by_side},
    mlp::read,
    prune::{Net, Network},
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{Unit, arms::BATCH, material::Material, summary::Arm};

/// Confidence of every interval.
const LEVEL: f64 = 0.95;

/// Milliseconds of 64 images.
pub(super) struct Timing {
    /// Dense (first) and pruned (second), both as the device computes them.
    pruned: Pair,
    /// Dense (first) and the small dense control (second).
    small: Pair,
    /// Operations of 64 images that count: of weights that are not zero; of the dense network.
    useful: [f64; 2],
    peak: f64,
    removed: bool,
}

/// Times the networks of the arms.
pub(super) async fn measure(material: &Material, arms: &[Arm], unit: Unit, cx: &Context) -> Result<Timing, LabError> {
    let images: Vec<usize> = (0..BATCH.min(material.subject.images.len())).collect();
    let pixels =
        TensorData::new(material.subject.images.gather(&images), [images.len(), material.subject.images.pixels_each()]);
    let pixels = Tensor::<2>::from_data(pixels, &cx.device);
    let forward = async |net: &Net| read(net.logits(pixels.clone())).await.map(drop);
    let network = |i: usize| arms.get(i).map_or(&material.network, |arm| &arm.network);
    let (dense, pruned, small) = (network(1).on(&cx.device)?, network(0).on(&cx.device)?, network(3).on(&cx.device)?);
    let operations = |network: &Network| {
        let share = network.non_zero().iter().sum::<usize>() as f64 / network.architecture.weights().max(1) as f64;
        network.architecture.flops() as f64 * share * images.len() as f64
    };
    Ok(Timing {
        pruned: side_by_side(cx, 250.0, async || forward(&dense).await, async || forward(&pruned).await).await?,
        small: side_by_side(cx, 250.0, async || forward(&dense).await, async || forward(&small).await).await?,
        useful: [operations(network(0)), operations(network(1))],
        peak: peak_gflops(cx, 150.0).await?,
        removed: unit == Unit::Filters,
    })
}

impl Timing {
    fn share(&self, operations: f64, ms: f64) -> f64 {
        100.0 * operations / ms.max(f64::MIN_POSITIVE) * 1e-6 / self.peak.max(f64::MIN_POSITIVE)
    }

    pub(super) fn metrics(&self, cx: &Context) -> Vec<Metric> {
        let (speedup, interval) = self.pruned.ratio(LEVEL, &mut cx.rng("pruned ratio"));
        let (narrow, narrow_interval) = self.small.ratio(LEVEL, &mut cx.rng("narrow ratio"));
        let Pair { first, second } = &self.pruned;
        let label = if self.removed { "Speed-up by removed channels" } else { "Speed-up by zeros in dense matrices" };
        vec![
            metric(Family::Time, "time", "64 images, pruned", median(second), "ms")
                .lower()
                .baseline(median(first))
                .interval(median_interval(second, LEVEL, &mut cx.rng("time")))
                .measured(second.clone())
                .detail()
                .help("The forward pass of the pruned network as this device's dense products compute it; the baseline is the dense network."),
            metric(Family::Time, "speedup", label, speedup, "×")
                .higher()
                .baseline(1.0)
                .interval(interval)
                .measured(self.pruned.ratios())
                .help("Time of the dense network over that of the pruned one, turn by turn."),
            metric(Family::Time, "speedup_small", "Speed-up of the narrower network", narrow, "×")
                .higher()
                .baseline(1.0)
                .interval(narrow_interval)
                .measured(self.small.ratios())
                .help("Time of the dense network over that of the small dense control."),
            metric(Family::Utilization, "utilization", "Utilization by weights that count", self.share(self.useful[0], median(second)), "%")
                .higher()
                .baseline(self.share(self.useful[1], median(first)))
                .measured(second.iter().map(|ms| self.share(self.useful[0], *ms)).collect())
                .detail()
                .help("Operations of weights that are not zero, per second, against this device's best matrix multiplication: dense products spend the rest on zeros."),
        ]
    }

    /// What the times of this very run call for.
    pub(super) fn notes(&self, cx: &Context) -> Vec<String> {
        let (speedup, interval) = self.pruned.ratio(LEVEL, &mut cx.rng("pruned ratio"));
        if self.removed {
            return vec![format!("With the channels really removed, 64 images take {:.2} of the time.", 1.0 / speedup)];
        }
        if interval.low <= 1.05 && interval.high >= 0.95 {
            return vec![
                "The zeros save no time here: the dense product multiplies by them like by any other number.".into(),
            ];
        }
        vec![format!("With its zeros the pruned network takes {:.2} of the dense one's time.", 1.0 / speedup)]
    }
}
