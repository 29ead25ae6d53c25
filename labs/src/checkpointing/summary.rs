//! The numbers of a run.

use lab_api::{Family, Metric, Report};
use lab_kit::{
    Context,
    report::{MetricExt, metric, thousands},
    stats::{median, median_interval, ratio_interval},
};

use super::{
    Dropout, Params,
    arms::{Arm, Found, Subject},
};

const LEVEL: f64 = 0.95;
const COUNTED: &str = "counted from the sizes of the layers";
const ROUNDED: &str = "rounding: the same sums in another order, over a gradient of several steps";

/// Times of a training step: of a backward pass for each forward pass, by their operations.
const BACKWARD: f64 = 2.0;

/// What sizes alone say.
pub(super) fn counted(subject: &Subject, arms: &[Arm]) -> Vec<Metric> {
    let [twin, chosen, ..] = arms else { return Vec::new() };
    let layers = subject.chain.layers() as f64;
    let least = subject.cost(&subject.least()).0 as f64;
    vec![
        metric(Family::Memory, "model_bytes", "Activations held at once, by the formula", chosen.model as f64, "bytes")
            .lower()
            .baseline(twin.model as f64)
            .exact(0.0, COUNTED)
            .help("What layers read and their backward pass needs. Gradients come on top."),
        metric(Family::Scale, "extra", "Layers run again", layers * chosen.extra, "layers")
            .lower()
            .baseline(0.0)
            .exact(1e-9, COUNTED)
            .help("In one step; weighed by their work where layers differ."),
        metric(Family::Scale, "least_bytes", "The lowest peak of any placement", least, "bytes")
            .lower()
            .baseline(twin.model as f64)
            .exact(0.0, COUNTED)
            .detail()
            .help("With each segment run again once. Revolve goes below it and runs layers more often."),
        metric(Family::Scale, "predicted_ratio", "Predicted time of a step", predicted(chosen), "×")
            .lower()
            .baseline(1.0)
            .exact(1e-9, COUNTED)
            .detail()
            .help("If a backward pass takes twice as long as a forward pass and bytes cost nothing."),
    ]
}

pub(super) fn predicted(arm: &Arm) -> f64 {
    1.0 + arm.extra / (1.0 + BACKWARD)
}

/// Numbers of a gradient that have other bits, and the largest distance as a share of the largest number.
pub(super) fn apart(one: &[Vec<f32>], other: &[Vec<f32>]) -> (usize, f64) {
    let (mut changed, mut far, mut largest) = (0, 0_f32, f32::MIN_POSITIVE);
    for (a, b) in one.iter().flatten().zip(other.iter().flatten()) {
        changed += usize::from(a.to_bits() != b.to_bits());
        far = far.max((a - b).abs());
        largest = largest.max(a.abs());
    }
    (changed, f64::from(far / largest))
}

/// Bytes and gradients.
pub(super) fn measured(report: &mut Report, subject: &Subject, arms: &[Arm], found: &[Found]) {
    let ([twin, chosen, ..], Some(last), [first, second, ..]) = (found, found.last(), arms) else { return };
    let memory = |id: &str, label: &str, value: f64, baseline: f64| {
        metric(Family::Memory, id, label, value, "bytes").lower().baseline(baseline).measured(vec![value])
    };
    let mut all = Vec::new();
    if let (Some(peak), Some(before)) = (chosen.peak, twin.peak) {
        all.push(
            memory("peak_bytes", "Peak memory of a step, counted", peak as f64, before as f64)
                .help("Everything the step asked for: activations, their gradients, room for products. Weights and their gradients were there before."),
        );
        let rest = |peak: usize, arm: &Arm| peak as f64 - arm.model as f64;
        all.push(
            memory("workspace_bytes", "Counted beyond the formula", rest(peak, second), rest(before, first))
                .detail()
                .help("Two gradients of activations and room for a product: the same whatever is kept, where layers are equal."),
        );
    }
    if let (Some(peak), Some(before)) = (last.peak, twin.peak) {
        all.push(
            memory("accumulated_bytes", "Peak memory, batch in pieces", peak as f64, before as f64)
                .detail()
                .help("Everything is kept, for one piece of the batch after the other."),
        );
    }
    let (changed, far) = apart(&twin.gradients, &chosen.gradients);
    let weights: usize = twin.gradients.iter().map(Vec::len).sum();
    let quality =
        |id: &str, label: &str, value: f64, unit: &str| metric(Family::Quality, id, label, value, unit).lower();
    all.push(
        quality("changed", "Numbers of the gradient that changed", changed as f64, "numbers")
            .baseline(0.0)
            .exact(0.0, "a layer that is run again on the same input does the same operations in the same order")
            .help("Compared bit by bit with the twin that keeps all."),
    );
    all.push(quality("gradient_change", "Largest change of the gradient", far, "").exact(1e-9, "as above").detail());
    all.push(
        quality("accumulated_change", "Largest change, batch in pieces", apart(&twin.gradients, &last.gradients).1, "")
            .exact(1e-5, ROUNDED)
            .detail()
            .help("As a share of the largest gradient: sums over the batch are taken piece by piece."),
    );
    report.metrics.extend(all);
    report.notes.push(format!(
        "{} of {} numbers of the gradient changed. {} of {} layers were run again.",
        thousands(changed),
        thousands(weights),
        (second.extra * subject.chain.layers() as f64 * 10.0).round() / 10.0,
        subject.chain.layers(),
    ));
}

/// What two trainings ended in.
pub(super) fn trained(report: &mut Report, curves: &[Vec<f64>], params: &Params) {
    let [twin, chosen] = curves else { return };
    let change = twin.iter().zip(chosen).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let wrong = params.dropout == Dropout::Redrawn;
    let (first, last) = (twin.first().copied().unwrap_or(0.0), chosen.last().copied().unwrap_or(0.0));
    report.metrics.extend([
        metric(Family::Quality, "loss_change", "Largest change of a loss in 20 steps", change, "")
            .lower()
            .baseline(0.0)
            .exact(if wrong { 1e3 } else { 0.0 }, "equal gradients make equal steps")
            .help("Both train from the same weights on the same small batches in the same order."),
        metric(Family::Quality, "loss", "Loss after 20 steps", last, "")
            .lower()
            .baseline(first)
            .exact(0.05 * first.abs().max(1e-3), "a training amplifies the last bits, in which devices may differ")
            .detail()
            .help("The baseline is the loss of the first step."),
    ]);
}

/// Times, and how well the processor was used.
pub(super) fn timed(report: &mut Report, subject: &Subject, arms: &[Arm], ms: &[Vec<f64>], cx: &Context) {
    let ([_, chosen, ..], [twin, own, pieces]) = (arms, ms) else { return };
    let useful = (1.0 + BACKWARD) * subject.forward();
    // Operations a millisecond are thousands a second.
    let rate = |operations: f64, ms: &[f64]| -> Vec<f64> {
        ms.iter().map(|ms| 1e-6 * operations / ms.max(f64::MIN_POSITIVE)).collect()
    };
    let utilization = |id: &str, label: &str, operations: f64| {
        let samples = rate(operations, own);
        metric(Family::Utilization, id, label, median(&samples), "GFLOP/s")
            .higher()
            .baseline(median(&rate(useful, twin)))
            .measured(samples)
    };
    report.metrics.extend([
        ratio("ratio", "Time of a step against the twin", own, twin, cx)
            .help("The twin keeps everything. Turn by turn."),
        ratio("accumulated_ratio", "Time of a step against the twin, batch in pieces", pieces, twin, cx).detail(),
        metric(Family::Time, "step_ms", "A training step", median(own), "ms")
            .lower()
            .baseline(median(twin))
            .interval(median_interval(own, LEVEL, &mut cx.rng("step")))
            .measured(own.clone())
            .detail(),
        utilization("useful_rate", "Arithmetic that the step needs", useful)
            .help("Without what is done again: the measure that papers call model FLOPs utilization, before it is divided by a peak."),
        utilization("rate", "All arithmetic of the step", useful + chosen.extra * subject.forward())
            .detail()
            .help("With what is done again. It hardly changes: the device is as busy as before, with more to do."),
    ]);
}

/// Time of one over that of the other.
pub(super) fn ratio(id: &str, label: &str, one: &[f64], other: &[f64], cx: &Context) -> Metric {
    let ratios = one.iter().zip(other).map(|(one, other)| one / other.max(f64::MIN_POSITIVE)).collect();
    metric(Family::Time, id, label, median(one) / median(other).max(f64::MIN_POSITIVE), "×")
        .lower()
        .baseline(1.0)
        .interval(ratio_interval(one, other, LEVEL, &mut cx.rng(id)))
        .measured(ratios)
}
