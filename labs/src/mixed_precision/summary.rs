//! Numbers and sentences of a run.

use lab_api::{Family, Kind, Metric, Report};
use lab_kit::{
    Context,
    formats::{Format, Lost, Policy, naive_sum},
    models::LanguageModel,
    report::{MetricExt, metric},
    stats::{median, median_interval, ratio_interval},
};

use super::{
    LossScale, Params,
    arms::{Judged, Race, adam_bytes},
    language::{Found, Run, STEPS},
    measure::{Measured, bytes, operations},
};

const COUNTED: &str = "counted from the widths of the numbers";
const SUMS: &str = "sums in another order move a few numbers across the end of the format";
/// Why what training decides may differ between devices.
const SPREAD: &str = "sums in another order lead a training elsewhere, as other first weights do: five standard deviations over the seeds of the study";
/// Ones that are added up.
pub(super) const ONES: usize = 4096;

fn trained(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

/// What widths alone say.
pub(super) fn counted(params: &Params) -> Vec<Metric> {
    let parameters: usize =
        LanguageModel::full().config.shapes().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let state = |policy: &Policy| adam_bytes(policy) * parameters as f64;
    let policy = params.policy();
    let format = params.format.formats()[0];
    vec![
        metric(
            Family::Memory,
            "state_bytes",
            "Weights, gradients and moments of the language model",
            state(&policy),
            "bytes",
        )
        .lower()
        .baseline(state(&Policy::FP32))
        .exact(0.5, COUNTED)
        .help("With Adam and moments in FP32, your way of keeping weights against FP32. Computed."),
        metric(
            Family::Scale,
            "sum_of_ones",
            "4,096 ones, added one by one",
            f64::from(naive_sum(format, &[1.0; ONES])),
            "",
        )
        .baseline(ONES as f64)
        .exact(0.0, "each sum is rounded to the nearest number of the format")
        .detail()
        .help("With the total kept in the format. The networks below add up in FP32."),
    ]
}

/// What the backward pass of the language model says.
pub(super) fn gradients(found: &Found, params: &Params) -> Vec<Metric> {
    let percent = |id: &str, label: &str, value: f64, apart: f64| {
        metric(Family::Scale, id, label, 100.0 * value, "%").exact(apart, SUMS)
    };
    let scale = params.scale();
    let mut all = Vec::new();
    let of = |name: &str| found.tensors.iter().find(|(label, _)| *label == name).map(|found| &found.1);
    if let Some(logits) = of("Logits") {
        let plain = Lost::of(logits, Format::Fp16, 1.0);
        let scaled = Lost::of(logits, Format::Fp16, scale);
        let lost = percent("logits_lost", "Logit gradients that FP16 makes zero", scaled.count, 0.5);
        all.push(
            lost.lower()
                .baseline(100.0 * plain.count)
                .help("Of those that are not zero, at your loss scale. The baseline has none. BF16 loses none at any."),
        );
        all.push(
            percent(
                "logits_lost_squares",
                "The same by squares: what the gradient's length loses",
                plain.squares,
                0.001,
            )
            .detail()
            .help("Without a loss scale."),
        );
        all.push(
            percent("logits_lost_sum", "The same by sizes", plain.sum, 0.1).detail().help("Without a loss scale."),
        );
    }
    if let Some(output) = of("Output matrix") {
        all.push(
            percent(
                "output_lost",
                "Gradients of the output matrix that FP16 makes zero",
                Lost::of(output, Format::Fp16, scale).count,
                0.5,
            )
            .lower()
            .detail(),
        );
    }
    let largest = found.tensors.iter().map(|(_, values)| Lost::largest_scale_log2(values, Format::Fp16)).min();
    all.push(
        metric(
            Family::Scale,
            "largest_scale",
            "Largest loss scale without overflow, as a power of two",
            f64::from(largest.unwrap_or(0)),
            "",
        )
        .exact(0.0, "the largest gradient lies well within its power of two")
        .detail(),
    );
    let place = STEPS.iter().position(|step| *step == 1e-4).unwrap_or(0);
    all.push(
        percent(
            "at_rest",
            "Weights of the language model that a step of 0.0001 leaves unchanged, BF16",
            found.at_rest[0][place],
            1e-6,
        )
        .lower()
        .baseline(100.0 * found.at_rest[1][place])
        .help("Its first steps with Adam move every weight by about the learning rate. The baseline is FP16."),
    );
    all
}

/// What fine-tunings of the language model ended in.
pub(super) fn language(report: &mut Report, runs: &[Run]) {
    let [full, nearest, random] = runs else { return };
    for (id, label, run) in [
        ("language_rounded", "Loss, rounded to nearest", nearest),
        ("language_random", "Loss, rounded at random", random),
    ] {
        report.metrics.push(
            trained(metric(Family::Quality, id, label, run.last(), "nats").lower().baseline(full.last()), 0.3)
                .help("Of the batches of the last quarter of the steps. The baseline keeps weights in FP32."),
        );
        let still = metric(
            Family::Scale,
            &format!("{id}_still"),
            &format!("{label}: weights an average step left unchanged"),
            100.0 * run.still,
            "%",
        );
        report.metrics.push(trained(still, 5.0).detail());
    }
}

/// Everything else.
pub(super) fn complete(
    report: &mut Report,
    params: &Params,
    race: &Race<'_>,
    judged: &[Judged],
    measured: &Measured,
    cx: &Context,
) {
    let (full, arm) = (&race.arms[0], &race.arms[race.chosen]);
    let (baseline, own) = (&judged[0], &judged[race.chosen]);
    // What is no number any more has no place in a report.
    let kept = |value: f64| if value.is_finite() { value } else { FAILED };
    let mut metrics = vec![
        trained(
            metric(Family::Quality, "loss", "Training loss", kept(arm.late(|step| step.loss)), "nats")
                .lower()
                .baseline(full.late(|step| step.loss)),
            LOSS,
        )
        .help("Mean over the last third of the steps. The baseline is FP32 on the same images in the same order."),
        trained(
            metric(Family::Quality, "test_loss", "Loss on unseen images", kept(own.loss), "nats")
                .lower()
                .baseline(baseline.loss),
            LOSS,
        ),
        trained(
            metric(Family::Quality, "accuracy", "Right on unseen images", own.accuracy, "%")
                .higher()
                .baseline(baseline.accuracy)
                .interval(own.interval),
            ACCURACY,
        )
        .help("Of 360 images: a third of a percentage point is one."),
        trained(
            metric(Family::Scale, "still", "Weights that a step left unchanged", 100.0 * arm.late(|step| step.still), "%")
                .baseline(100.0 * full.late(|step| step.still)),
            STILL,
        )
        .help("Of those that it was meant to change, in the last third of the steps. With a master copy, the copy is looked at."),
        trained(
            metric(Family::Scale, "lost", "Logit gradients that became zero in training", 100.0 * arm.late(|step| step.lost_logits), "%")
                .baseline(0.0),
            ACCURACY,
        )
        .detail()
        .help("Mean over the last third of the steps."),
    ];
    metrics.append(&mut report.metrics);
    if let Some([one, other]) = measured.peaks {
        metrics.push(
            metric(Family::Memory, "peak_bytes", "Peak memory of two steps on 1,024 images", other as f64, "bytes")
                .lower()
                .baseline(one as f64)
                .measured(vec![other as f64])
                .help("Counted. Tensors in 16 bits really take two bytes; what is computed with at a time, and the velocity, takes four."),
        );
    }
    let (own_ms, full_ms) = (arm.bundles(), full.bundles());
    metrics.push(
        metric(Family::Time, "step_ms", "A training step", median(&own_ms), "ms")
            .lower()
            .baseline(median(&full_ms))
            .interval(median_interval(&own_ms, 0.95, &mut cx.rng("step")))
            .measured(own_ms.clone())
            .help("Arithmetic is in FP32 for both; rounding comes on top. It says nothing of hardware that computes in 16 bits."),
    );
    let rate =
        |work: f64, ms: &[f64]| -> Vec<f64> { ms.iter().map(|ms| 1e-6 * work / ms.max(f64::MIN_POSITIVE)).collect() };
    let work = super::arms::operations(&race.start);
    let rates = rate(work, &own_ms);
    metrics.push(
        metric(Family::Utilization, "rate", "Arithmetic of a training step", median(&rates), "GFLOP/s")
            .higher()
            .baseline(median(&rate(work, &full_ms)))
            .measured(rates)
            .detail(),
    );
    if let Some(pair) = &measured.products {
        let (ratio, interval) = pair.ratio(0.95, &mut cx.rng("halves"));
        metrics.push(
            metric(Family::Time, "half_speedup", "Product of matrices in FP16, speed-up", ratio, "×")
                .higher()
                .baseline(1.0)
                .interval(interval)
                .measured(pair.ratios())
                .help("The real thing on this device, through Burn: 192 × 192 in FP16 against FP32."),
        );
        let (singles, halves) = (rate(operations(), &pair.first), rate(operations(), &pair.second));
        metrics.push(
            metric(Family::Utilization, "half_rate", "Its arithmetic", median(&halves), "GFLOP/s")
                .higher()
                .baseline(median(&singles))
                .interval(median_interval(&halves, 0.95, &mut cx.rng("rate")))
                .measured(halves)
                .detail(),
        );
    } else {
        report.notes.push("This device has no 16-bit arithmetic, so products of halves were not timed. The numerics above do not need it.".into());
    }
    // Counted, so the same on a device that cannot do it.
    metrics.push(
        metric(Family::Utilization, "half_bytes", "Bytes that it moves at least", bytes(Format::Fp16), "bytes")
            .lower()
            .baseline(bytes(Format::Fp32))
            .exact(0.0, COUNTED)
            .detail(),
    );
    let slower = ratio_interval(&own_ms, &full_ms, 0.95, &mut cx.rng("slower"));
    metrics.push(
        metric(
            Family::Time,
            "slowdown",
            "Slow-down by rounding",
            median(&own_ms) / median(&full_ms).max(f64::MIN_POSITIVE),
            "×",
        )
        .lower()
        .baseline(1.0)
        .interval(slower)
        .measured(own_ms.iter().zip(&full_ms).map(|(a, b)| a / b.max(f64::MIN_POSITIVE)).collect())
        .detail(),
    );
    if params.scaling == LossScale::Dynamic {
        metrics.push(
            trained(metric(Family::Scale, "skipped", "Steps skipped", arm.skipped() as f64, "steps").lower(), 5.0)
                .detail(),
        );
        metrics.push(
            trained(
                metric(
                    Family::Scale,
                    "last_scale",
                    "Loss scale in the end, as a power of two",
                    f64::from(arm.scale().log2()),
                    "",
                ),
                3.0,
            )
            .detail(),
        );
    }
    report.metrics = metrics;
    for other in &race.arms {
        if let Some(step) = other.steps.iter().position(|step| !step.loss.is_finite()) {
            report.notes.push(format!("{}: the loss is no number any more from step {} on.", other.name, step + 1));
        }
    }
    if params.scaling != LossScale::None && arm.policy.gradients == Format::Fp32 {
        report.notes.push("Gradients are in FP32, so the loss scale has no effect.".into());
    }
}

/// In place of a loss that is no number.
const FAILED: f64 = 1e6;
/// Five standard deviations over the seeds of the study, and what few steps of a fresh network may add.
const LOSS: f64 = 0.15;
const ACCURACY: f64 = 8.0;
const STILL: f64 = 5.0;
