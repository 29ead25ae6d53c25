//! Numbers and sentences of a run.

use lab_api::{Family, Kind as MetricKind, LabError, Metric, Report};
use lab_kit::{
    Context,
    adapters::{Method as Kind, Storage},
    measure::Pair,
    report::{MetricExt, metric, thousands},
    stats::{median, median_interval, ratio_interval},
};

use super::{
    Method, Params,
    arm::Arm,
    judge::{Judged, LEVEL, beyond, interval, mean},
    material::{LENGTH, Material},
    merging::Merged,
};

/// Why what training decides may differ between devices.
const SPREAD: &str = "sums in another order lead a training elsewhere, as another order of the text does: five standard deviations over the seeds of the study";
const COUNTED: &str = "counted from the shapes of weights and adapters";
/// Bytes of a number in the files that the book ships, and of what learns: itself, its gradient and two moments.
const HALF: u64 = 2;
const LEARNS: u64 = 12;

fn trained(metric: Metric, apart: f64) -> Metric {
    Metric { kind: MetricKind::Trained, ..metric.exact(apart, SPREAD) }
}

/// What the arm is called.
pub(super) fn name(params: &Params) -> String {
    match params.method {
        Method::Full => "All weights, at this rate".into(),
        Method::Lora => format!("LoRA, rank {}", params.rank),
        Method::Dora => format!("DoRA, rank {}", params.rank),
        Method::Bias => "Biases".into(),
        Method::Norm => "Norm gains".into(),
        Method::Head => "Output matrix".into(),
        Method::Prompt => format!("Prompt of {} rows", params.rank),
        Method::Prefix => format!("Prefix of {} rows", params.rank),
        Method::Adapter => format!("Bottlenecks of width {}", params.rank),
    }
}

/// Numbers that a method adds to the model.
fn added(arm: &Arm) -> u64 {
    match arm.setting.method {
        Kind::Full | Kind::Norms | Kind::Head => 0,
        _ => arm.numbers as u64,
    }
}

/// Bytes of weights, gradients and moments in training; the base in its storage, all else in FP32.
fn state_bytes(arm: &Arm, material: &Material) -> u64 {
    material.bytes(arm.storage, 4) + 4 * added(arm) + LEARNS * arm.numbers as u64
}

/// What sizes alone say, before anything has learned.
pub(super) fn counted(material: &Material, arms: &[Arm], params: &Params) -> Vec<Metric> {
    let [full, arm] = arms else { return Vec::new() };
    let whole = material.bytes(Storage::Fp16, HALF);
    let file = HALF * arm.numbers as u64;
    let mut all = vec![
        metric(Family::Scale, "trainable", "Numbers that learn", arm.numbers as f64, "numbers")
            .lower()
            .baseline(full.numbers as f64)
            .exact(0.0, COUNTED),
        metric(
            Family::Memory,
            "state_bytes",
            "Weights, gradients and moments",
            state_bytes(arm, material) as f64,
            "bytes",
        )
        .lower()
        .baseline(state_bytes(full, material) as f64)
        .exact(0.0, COUNTED)
        .help("Computed: the base as it is stored, and 16 bytes for each number that learns. Activations come on top."),
        metric(Family::Memory, "file_bytes", "A file of what was learned", file as f64, "bytes")
            .lower()
            .baseline(whole as f64)
            .exact(0.0, COUNTED)
            .detail()
            .help("In FP16; the baseline is the whole model."),
    ];
    if params.method == Method::Lora || params.method == Method::Dora {
        all.push(
            metric(
                Family::Scale,
                "scale",
                "What the product of the factors is multiplied by",
                f64::from(arm.setting.scale),
                "",
            )
            .exact(1e-6, "a quotient of two settings")
            .detail(),
        );
    }
    all
}

/// Operations of a training step on one token: two for each weight forward, two for the gradient of inputs, two for that of
/// a weight that learns. Attention's own products are left out.
fn operations(arm: &Arm, material: &Material) -> f64 {
    let is_product =
        |name: &str, shape: &[usize]| shape.len() == 2 && (material.config.tied || !name.contains("embed"));
    let shapes = material.config.shapes();
    let n: usize =
        shapes.iter().filter(|(name, shape)| is_product(name, shape)).map(|(_, s)| s.iter().product::<usize>()).sum();
    let (n, learns) = (n as f64, arm.numbers as f64);
    match arm.setting.method {
        Kind::Full => 6.0 * n,
        Kind::Head => 2.0 * n + 2.0 * learns,
        Kind::LowRank | Kind::Composed | Kind::Decomposed | Kind::Bottleneck => 4.0 * n + 6.0 * learns,
        _ => 4.0 * n,
    }
}

/// Everything else.
pub(super) fn complete(
    report: &mut Report,
    params: &Params,
    (arms, composed): (&[Arm], Option<&Arm>),
    (before, judged, merged): (&Judged, &[Judged], &Merged),
    (decode, material): (&Option<Pair>, &Material),
    cx: &Context,
) -> Result<(), LabError> {
    let ([full, arm], [twin, own]) = (arms, judged) else { return Ok(()) };
    let loss = |id: &str, label: &str, values: &[f64], before: f64, apart: f64| -> Result<Metric, LabError> {
        let found = metric(Family::Quality, id, label, mean(values), "nats").lower().baseline(before);
        Ok(trained(found.interval(interval(values, id, cx)?), apart))
    };
    let mut metrics = vec![
        loss("new_loss", "Loss on the new text", &own.new, before.new_loss(), NEW)?
            .help("Cross-entropy on unseen text in the new habit, for each token. The baseline is the model before."),
        loss("old_loss", "Loss on the old text", &own.old, before.old_loss(), OLD)?
            .help("On the same text as it was: what grows was forgotten. The baseline is the model before."),
        loss("new_gap", "New text: beyond all weights", &beyond(&own.new, &twin.new), 0.0, NEW)?
            .help("Above zero the twin whose every weight learned is better. Window by window."),
        loss("old_gap", "Old text: beyond all weights", &beyond(&own.old, &twin.old), 0.0, OLD)?
            .help("Above zero this method forgot more than the twin."),
    ];
    if let Some(way) = merged.ways.first() {
        metrics.push(
            loss("merged_loss", "Loss on the new text, merged", &way.judged.new, own.new_loss(), NEW)?
                .help("The change is added to the stored base and the sum is stored anew. The baseline is the model with its adapter beside it."),
        );
        metrics.push(
            trained(
                metric(Family::Quality, "kept", "Share of the change that storing keeps", 100.0 * way.kept, "%"),
                10.0,
            )
            .higher()
            .detail()
            .help("The stored change, projected onto the wanted one."),
        );
        metrics.push(
            trained(metric(Family::Quality, "change", "Size of the change", 100.0 * merged.size, "%"), 10.0)
                .detail()
                .help("Length of the change of all matrices in the layers over that of the matrices."),
        );
    }
    if let Some(way) = merged.ways.get(1) {
        metrics.push(
            loss("merged_original", "The same, onto the weights as shipped", &way.judged.new, own.new_loss(), NEW)?
                .help("The same change, added to weights that lie on no grid, and stored once."),
        );
    }
    metrics.append(&mut report.metrics);
    let ratio = |id: &str, label: &str, one: &[f64], other: &[f64]| {
        let ratios: Vec<f64> = one.iter().zip(other).map(|(one, other)| one / other.max(f64::MIN_POSITIVE)).collect();
        let value = median(one) / median(other).max(f64::MIN_POSITIVE);
        metric(Family::Time, id, label, value, "×")
            .higher()
            .baseline(1.0)
            .interval(ratio_interval(one, other, LEVEL, &mut cx.rng(id)))
            .measured(ratios)
    };
    metrics.push(
        ratio("speedup", "Training step, speed-up", &full.ms, &arm.ms)
            .help("Time of a step of the twin over that of this method, turn by turn."),
    );
    let tokens = (LENGTH * params.batch as usize) as f64;
    let rate = |arm: &Arm, ms: f64| 1e-6 * tokens * operations(arm, material) / ms.max(f64::MIN_POSITIVE);
    metrics.push(
        metric(Family::Time, "step_ms", "A training step", median(&arm.ms), "ms")
            .lower()
            .baseline(median(&full.ms))
            .interval(median_interval(&arm.ms, LEVEL, &mut cx.rng("step")))
            .measured(arm.ms.clone())
            .detail(),
    );
    metrics.push(
        metric(Family::Utilization, "rate", "Arithmetic of a training step", rate(arm, median(&arm.ms)), "GFLOP/s")
            .higher()
            .baseline(rate(full, median(&full.ms)))
            .measured(arm.ms.iter().map(|ms| rate(arm, *ms)).collect())
            .detail()
            .help("Thin products use the device worse than square ones."),
    );
    for (id, label, one, other) in [
        ("peak_bytes", "Peak memory of training", Some(arm), full),
        ("composed_peak", "Peak memory, factors added up first", composed, arm),
    ] {
        if let Some((one, peak, other)) = one.and_then(|one| Some((one, one.peak?, other.peak?))) {
            let found = metric(Family::Memory, id, label, peak as f64, "bytes").lower().baseline(other as f64);
            let found = found.measured(vec![peak as f64]).help(if one.setting.method == Kind::Composed {
                "Of the twin that builds the whole changed matrix at each step; the baseline multiplies by the factors."
            } else {
                "Counted: what weights, gradients, moments and activations held at once in two steps. Weights are computed with in FP32, however the base is stored."
            });
            metrics.push(if one.setting.method == Kind::Composed { found.detail() } else { found });
        }
    }
    if let Some(composed) = composed {
        let found = ratio("factored_speedup", "Speed-up over adding the factors up first", &composed.ms, &arm.ms);
        metrics.push(found.detail());
    }
    if let Some(pair) = decode {
        metrics.push(
            ratio("decode", "Decoding beside the base, slow-down", &pair.second, &pair.first)
                .lower()
                .help("Time of one further token with what was learned beside the base, over that of the base alone. Merged, it would be 1."),
        );
    }
    report.metrics = metrics;
    report.notes.push(format!(
        "{} of {} numbers learned ({:.2} %).",
        thousands(arm.numbers),
        thousands(full.numbers),
        100.0 * arm.numbers as f64 / full.numbers.max(1) as f64
    ));
    Ok(())
}

/// Five standard deviations over the seeds of the study, and what a few steps of a small model may add.
const NEW: f64 = 0.3;
const OLD: f64 = 0.6;
