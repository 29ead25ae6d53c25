//! Numbers of a run.

use lab_api::{Family, Kind, Metric, Report};
use lab_kit::{
    Context,
    blocks::{self, count, totals},
    report::{MetricExt, metric},
    stats::{median, median_interval, ratio_interval},
};

use super::{
    arms::{CLASSES, Judged, Race},
    measure::{MANY, Times, twin},
};

const COUNTED: &str = "counted from the shapes of the layers";
/// Why what training decides may differ between devices.
const SPREAD: &str = "sums in another order lead a training elsewhere, as other first weights do";
/// Percentage points: several standard deviations over seeds of a short training.
const ACCURACY: f64 = 8.0;

fn trained(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

/// Share of the multiply-adds of a network that its 1×1 layers take, in per cent.
fn pointwise(race: &Race<'_>, arm: usize) -> f64 {
    let shape = race.arms[arm].planned.shape;
    let layers = count(&shape.ops(CLASSES), shape.side);
    let own: usize = layers.iter().filter(|layer| layer.kind == blocks::Kind::Pointwise).map(|layer| layer.madds).sum();
    100.0 * own as f64 / race.arms[arm].totals.madds.max(1) as f64
}

/// What shapes alone say.
pub(super) fn counted(race: &Race<'_>) -> Vec<Metric> {
    let (base, own) = (race.arms[race.baseline].totals, race.arms[race.chosen].totals);
    let twin = twin(race);
    let at_width = totals(&twin.ops(CLASSES), twin.side).madds;
    let of = |family, id: &str, label: &str, pick: fn(&blocks::Totals) -> usize| {
        metric(family, id, label, pick(&own) as f64, "").lower().baseline(pick(&base) as f64).exact(0.0, COUNTED)
    };
    vec![
        metric(
            Family::Scale,
            "width_work",
            "Multiply-adds that your block saves at equal widths",
            base.madds as f64 / at_width.max(1) as f64,
            "×",
        )
        .higher()
        .baseline(1.0)
        .exact(1e-9, COUNTED)
        .help("The plain network's, over those of a network with the same numbers of channels that is built of your block."),
        of(Family::Scale, "madds", "Multiply-adds for an image", |totals| totals.madds)
            .help("Two operations each. The baseline is the plain network. A network meets a budget as nearly as whole channels let it."),
        of(Family::Memory, "weights", "Weights", |totals| totals.weights),
        of(Family::Memory, "activations", "Numbers between layers, for an image", |totals| totals.activations)
            .help("Outputs of all convolutions but the classifier's: what a training keeps, and what moves through memory."),
        metric(
            Family::Scale,
            "pointwise_share",
            "Share of the multiply-adds in 1×1 layers",
            pointwise(race, race.chosen),
            "%",
        )
        .baseline(pointwise(race, race.baseline))
        .exact(1e-9, COUNTED),
        of(Family::Scale, "layers", "Layers, one after the other", |totals| totals.layers).detail(),
    ]
}

/// Everything else.
pub(super) fn complete(report: &mut Report, race: &Race<'_>, judged: &[Judged], times: &Times, cx: &Context) {
    let (base, own) = (race.baseline, race.chosen);
    let (base_us, own_us) = (times.us(base), times.us(own));
    let mut metrics = vec![
        trained(
            metric(Family::Quality, "accuracy", "Right on unseen fonts", judged[own].accuracy, "%")
                .higher()
                .baseline(judged[base].accuracy)
                .interval(judged[own].interval),
            ACCURACY,
        )
        .help("Every third image of 159 font families that no training saw. The interval draws families."),
        trained(
            metric(Family::Quality, "gap", "The same beyond the baseline", judged[own].gap, "points")
                .higher()
                .interval(judged[own].gap_interval),
            ACCURACY,
        )
        .help("On the same images. The interval covers which fonts were judged, not what another seed would bring."),
        trained(
            metric(Family::Quality, "loss", "Training loss", race.arms[own].late(), "nats")
                .lower()
                .baseline(race.arms[base].late()),
            0.5,
        )
        .detail(),
    ];
    metrics.append(&mut report.metrics);
    let speed = |id: &str, label: &str, slow: &[f64], fast: &[f64]| {
        let ratios: Vec<f64> = slow.iter().zip(fast).map(|(slow, fast)| slow / fast.max(f64::MIN_POSITIVE)).collect();
        metric(Family::Time, id, label, median(slow) / median(fast).max(f64::MIN_POSITIVE), "×")
            .higher()
            .baseline(1.0)
            .interval(ratio_interval(slow, fast, 0.95, &mut cx.rng(id)))
            .measured(ratios)
    };
    metrics.push(
        speed("width_speed", "Time that your block saves at equal widths, one image", &times.one[base], &times.twin[0])
            .help("Compare it with the multiply-adds that it saves."),
    );
    metrics.push(speed("width_speed_many", "The same, 64 images", &times.many[base], &times.twin[1]).detail());
    for (i, id, label) in [(0, "us_one", "One image, alone"), (1, "us_many", "One image of 64")] {
        metrics.push(
            metric(Family::Time, id, label, median(&own_us[i]), "µs")
                .lower()
                .baseline(median(&base_us[i]))
                .interval(median_interval(&own_us[i], 0.95, &mut cx.rng(id)))
                .measured(own_us[i].clone())
                .help("With normalizations folded into the kernels. All networks compute on the processor, whichever device you chose."),
        );
    }
    let rates = times.rates();
    let utilization = |id: &str, label: &str, rate: &[f64], base: f64| {
        metric(Family::Utilization, id, label, median(rate), "GFLOP/s").higher().baseline(base).measured(rate.to_vec())
    };
    metrics.push(
        utilization("depthwise_rate", "Arithmetic of a depthwise layer", &rates[2], median(&rates[0]))
            .help("32 channels on maps of 16 × 16. The baseline is a plain 3×3 layer from 32 to 32 channels."),
    );
    metrics.push(utilization("grouped_rate", "The same in 4 groups", &rates[1], median(&rates[0])).detail());
    metrics.push(utilization("pointwise_rate", "The same, 1×1", &rates[3], median(&rates[0])).detail());
    metrics.push(
        utilization("wide_rate", "Arithmetic of a wide 1×1 layer", &rates[4], median(&rates[0]))
            .detail()
            .help("128 channels to 128: about what these loops can do at best."),
    );
    let whole = |arm: usize| -> Vec<f64> {
        let flops = 2.0 * (MANY * race.arms[arm].totals.madds) as f64;
        times.many[arm].iter().map(|ms| 1e-6 * flops / ms.max(f64::MIN_POSITIVE)).collect()
    };
    metrics
        .push(utilization("rate", "Arithmetic of your network, 64 images", &whole(own), median(&whole(base))).detail());
    let intensity = |arm: usize| {
        let shape = race.arms[arm].planned.shape;
        let layers = count(&shape.ops(CLASSES), shape.side);
        let moved: usize = layers.iter().map(|layer| layer.weights + MANY * (layer.read + layer.written)).sum();
        2.0 * (MANY * race.arms[arm].totals.madds) as f64 / (4 * moved).max(1) as f64
    };
    metrics.push(
        metric(
            Family::Utilization,
            "intensity",
            "Operations for each byte that must move",
            intensity(own),
            "FLOP/byte",
        )
        .higher()
        .baseline(intensity(base))
        .exact(1e-6, COUNTED)
        .detail(),
    );
    report.metrics = metrics;
    let missed = |arm: &super::arms::Arm| {
        let wanted = race.arms[base].totals.madds as f64;
        let miss = 100.0 * (arm.totals.madds as f64 / wanted - 1.0);
        (miss.abs() > 8.0 && race.arms.len() < 5).then(|| (arm.planned.name.clone(), miss))
    };
    for (name, miss) in race.arms.iter().filter_map(missed) {
        report.notes.push(format!("{name}: {miss:+.0} % multiply-adds beside the baseline's."));
    }
}
