//! Charts and tables of a run.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Marker, Series, Table};
use lab_kit::formats::{Exponents, Format, Lost, chunked_sum, naive_sum};

use super::{
    LossScale, Params,
    arms::{Judged, Race, adam_bytes},
    language::{Found, Run, STEPS},
    summary::ONES,
};

/// Exponents of the histogram.
const LOWEST: i32 = -44;
const HIGHEST: i32 = 24;
/// Points of a curve.
const POINTS: usize = 40;

fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: Vec::new() }
}

fn chart(id: &str, title: &str, caption: &str, (x, y): (Axis, Axis), body: ChartBody) -> Chart {
    Chart { id: id.into(), title: title.into(), caption: caption.into(), x, y, body }
}

fn table(id: &str, title: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Table { id: id.into(), title: title.into(), columns, rows }
}

/// Four thousand ones in each format.
pub(super) fn sums() -> Table {
    let ones = vec![1.0; ONES];
    let row = |format: Format| {
        let sum = |call: fn(Format, &[f32]) -> f32| Cell::from(f64::from(call(format, &ones)));
        vec![Cell::from(format.name()), sum(naive_sum), sum(chunked_sum)]
    };
    let rows = [Format::Fp32, Format::Fp16, Format::Bf16, Format::E4m3, Format::E5m2].map(row).to_vec();
    table(
        "sums",
        "4,096 ones, added up",
        &["Total kept in", "One after the other", "32 at a time, their totals in FP32"],
        rows,
    )
}

/// How large gradients are, beside the range of FP16; and what a loss scale loses.
pub(super) fn gradients(found: &Found, params: &Params) -> Vec<Chart> {
    let power = if params.scaling == LossScale::None { 0 } else { params.scale_log2 };
    let ridge = |(name, values): &(&'static str, Vec<f32>)| BarSeries {
        name: (*name).into(),
        values: Exponents::of(values, LOWEST, HIGHEST).percent(),
        intervals: Vec::new(),
    };
    let marker = |at: i32, label: &str| Marker { at: f64::from(at), label: label.into() };
    let edges = (LOWEST..=HIGHEST + 1).map(|exponent| f64::from(exponent + power)).collect();
    let shown = [0, 1, 5];
    let ridges = chart(
        "gradients",
        "How large are gradients?",
        "Gradients of the language model times your loss scale, by the power of two below them. FP16 loses all left of the first line. BF16 reaches from -133 to 128.",
        (Axis::linear("Power of two"), Axis::linear("Share of the numbers that are not zero (%)")),
        ChartBody::Histogram {
            edges,
            series: shown.iter().filter_map(|i| found.tensors.get(*i)).map(ridge).collect(),
            markers: vec![marker(-25, "zero in FP16"), marker(-14, "fewer digits"), marker(16, "infinite")],
        },
    );
    let at = |power: i32, values: &[f32]| {
        let lost = Lost::of(values, Format::Fp16, (power as f32).exp2());
        [f64::from(power), 100.0 * (lost.count + lost.overflow)]
    };
    let curve = |(name, values): &(&'static str, Vec<f32>)| {
        // Every eighth number of a large tensor tells as much.
        let some: Vec<f32> = values.iter().copied().step_by(8).collect();
        line(name, (-8..=28).step_by(2).map(|power| at(power, &some)).collect())
    };
    let scales = chart(
        "scales",
        "Which loss scales fit?",
        "Gradients that FP16 makes zero or infinite, by the loss scale.",
        (Axis::linear("Loss scale, as a power of two"), Axis::linear("Share of the numbers that are not zero (%)")),
        ChartBody::Line { series: found.tensors.iter().take(3).map(curve).collect() },
    );
    vec![ridges, scales]
}

/// The tensors in numbers.
pub(super) fn tensors(found: &Found) -> Table {
    let row = |(name, values): &(&'static str, Vec<f32>)| {
        let sizes: Vec<f32> = values.iter().filter(|x| **x != 0.0).map(|x| x.abs().log2()).collect();
        let lost = Lost::of(values, Format::Fp16, 1.0);
        let largest = sizes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let zeros = 100.0 * (values.len() - sizes.len()) as f64 / values.len().max(1) as f64;
        let rounded = |x: f64| Cell::from((x * 10.0).round() / 10.0);
        vec![
            Cell::from(*name),
            rounded(f64::from(lab_kit::stats::percentile(&sizes, 50.0))),
            rounded(f64::from(largest)),
            rounded(zeros),
            rounded(100.0 * lost.count),
            rounded(100.0 * lost.subnormal),
            rounded(f64::from(Lost::largest_scale_log2(values, Format::Fp16))),
        ]
    };
    let columns = [
        "Gradients of",
        "Median, power of two",
        "Largest, power of two",
        "Exactly zero (%)",
        "Lost in FP16 (%)",
        "With fewer digits (%)",
        "Largest loss scale, power of two",
    ];
    let title = format!("Gradients of a mean over {} tokens, without a loss scale", found.tokens);
    table("tensors", &title, &columns, found.tensors.iter().map(row).collect())
}

/// Which weights stand still.
pub(super) fn standing(found: &Found) -> Chart {
    let of = |name: &str, shares: &[f64; STEPS.len()]| {
        line(name, STEPS.iter().zip(shares).map(|(step, share)| [f64::from(*step), 100.0 * share]).collect())
    };
    chart(
        "standing",
        "Which steps are too small?",
        "Weights in the language model's layers that a step of this size leaves where they are.",
        (Axis::log("Step"), Axis::linear("Share of the weights (%)")),
        ChartBody::Line { series: vec![of("FP16", &found.at_rest[1]), of("BF16", &found.at_rest[0])] },
    )
}

/// Losses of the batches, averaged over a few each.
pub(super) fn curves(race: &Race<'_>) -> Chart {
    let series = |arm: &super::arms::Arm| {
        let window = arm.steps.len().div_ceil(POINTS).max(1);
        let point = |(i, steps): (usize, &[lab_kit::formats::Step])| {
            let loss = steps.iter().map(|step| step.loss).sum::<f64>() / steps.len().max(1) as f64;
            loss.is_finite().then_some([(i * window + steps.len()) as f64, loss])
        };
        line(&arm.name, arm.steps.chunks(window).enumerate().filter_map(point).collect())
    };
    chart(
        "curves",
        "Who learns?",
        "Training loss on the same images in the same order. A curve that ends has lost its numbers.",
        (Axis::linear("Step"), Axis::linear("Loss (nats)")),
        ChartBody::Line { series: race.arms.iter().map(series).collect() },
    )
}

/// The arms in numbers.
pub(super) fn arms(race: &Race<'_>, judged: &[Judged]) -> Table {
    let row = |(arm, judged): (&super::arms::Arm, &Judged)| {
        let number = |x: f64| if x.is_finite() { Cell::from(x) } else { Cell::from("none") };
        vec![
            Cell::from(arm.name.as_str()),
            number(adam_bytes(&arm.policy)),
            number(arm.late(|step| step.loss)),
            number(judged.loss),
            number(judged.accuracy),
            number(100.0 * arm.late(|step| step.still)),
            number(100.0 * arm.late(|step| step.lost_logits)),
            number(arm.skipped() as f64),
        ]
    };
    let columns = [
        "Arm",
        "Bytes a weight with Adam",
        "Training loss (nats)",
        "Unseen images (nats)",
        "Right (%)",
        "Weights left unchanged (%)",
        "Logit gradients lost (%)",
        "Steps skipped",
    ];
    table("arms", "Every arm", &columns, race.arms.iter().zip(judged).map(row).collect())
}

/// The language model.
pub(super) fn language(runs: &[Run]) -> Chart {
    chart(
        "language",
        "Does the language model learn?",
        "Loss of each batch; only stored weights are rounded.",
        (Axis::linear("Step"), Axis::linear("Loss (nats)")),
        ChartBody::Line { series: runs.iter().map(|run| line(&run.name, run.losses.clone())).collect() },
    )
}
