//! Charts and tables.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Series, Table};
use lab_kit::{stats::median, tuning::Task};

use super::{Tuned, training::Trained};
use lab_kit::order::Ordered as _;

pub(super) fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: Vec::new() }
}

pub(super) fn chart(id: &str, title: &str, caption: &str, (x, y): (Axis, Axis), body: ChartBody) -> Chart {
    Chart { id: id.into(), title: title.into(), caption: caption.into(), x, y, body }
}

pub(super) fn bars(name: &str, values: Vec<f64>) -> BarSeries {
    BarSeries { name: name.into(), values, intervals: Vec::new() }
}

pub(super) fn table(id: &str, title: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Table { id: id.into(), title: title.into(), columns, rows }
}

/// A rate in words, to two digits.
pub(super) fn rate(rate: f64) -> String {
    let digits = (1 - rate.log10().floor() as i32).max(0) as usize;
    let text = format!("{rate:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Loss by rate: one U for each rule.
pub(super) fn rates(all: &[Tuned], task: &Task) -> Chart {
    let chance = task.chance();
    let of = |one: &Tuned| {
        let scores = one.scores().into_iter();
        let mut points: Vec<[f64; 2]> =
            scores.map(|(rate, score)| [rate, if score.is_finite() { score.min(chance) } else { chance }]).collect();
        points.ordered_by(&|a, b| a[0].total_cmp(&b[0]));
        line(one.arm.name, points)
    };
    chart(
        "rates",
        "Who wins, and at which rate?",
        "Loss on the examples that choose the rate. Look for the bottom of each curve, then draw a vertical line at any one rate. A training that was lost, or is worse than guessing, stands at the loss of a guess.",
        (Axis::log("Learning rate"), Axis::linear("Loss (nats)")),
        ChartBody::Line { series: all.iter().map(of).collect() },
    )
}

/// Bytes that are remembered of each weight, beside the four of the weight.
pub(super) fn state(names: &[&str], bytes: Vec<f64>) -> Chart {
    chart(
        "state",
        "What does a rule remember?",
        "Counted from the buffers, for the smallest language model of this book. The weight itself takes 4 bytes and its gradient 4 more.",
        (Axis::linear("Rule"), Axis::linear("Bytes for each weight")),
        ChartBody::Bar {
            categories: names.iter().map(|name| (*name).to_owned()).collect(),
            series: vec![bars("state", bytes)],
        },
    )
}

/// Milliseconds of a step, over all tries of a rule.
pub(super) fn times(one: &Tuned) -> [Vec<f64>; 2] {
    let stretches = || one.tries.iter().flat_map(|one| &one.stretches);
    [stretches().map(|s| s.gradient_ms).collect(), stretches().map(|s| s.update_ms).collect()]
}

pub(super) fn step(all: &[Tuned]) -> Chart {
    let of = |which: usize| all.iter().map(|one| median(&times(one)[which])).collect();
    chart(
        "step",
        "What does a step take?",
        "Medians over all trainings. The gradient is the same work for all rules; the update is the rule's own.",
        (Axis::linear("Rule"), Axis::linear("Milliseconds")),
        ChartBody::Bar {
            categories: all.iter().map(|one| one.arm.name.to_owned()).collect(),
            series: vec![bars("gradient", of(0)), bars("update", of(1))],
        },
    )
}

/// Points of a training: seconds, or steps, and the loss of a stretch.
pub(super) fn curve(one: &Trained, by_time: bool) -> Vec<[f64; 2]> {
    let mut at = 0.0;
    let point = |s: &super::training::Stretch| {
        let each = if by_time { 1e-3 * (s.gradient_ms + s.update_ms) } else { 1.0 };
        at += each * s.steps as f64;
        [at, s.loss]
    };
    one.stretches.iter().map(point).collect()
}

/// Loss by time, and by steps, each rule at its best rate.
pub(super) fn races(all: &[Tuned]) -> Vec<Chart> {
    let series = |by_time| {
        let of = |one: &Tuned| one.best().map(|(best, _)| line(one.arm.name, curve(best, by_time)));
        all.iter().filter_map(of).collect::<Vec<_>>()
    };
    let draw = |id, title, caption, x, by_time| {
        let axes = (Axis::linear(x), Axis::linear("Training loss (nats)"));
        chart(id, title, caption, axes, ChartBody::Line { series: series(by_time) })
    };
    vec![
        draw("by_steps", "Who is ahead after the same steps?", "Each rule at its own best rate.", "Steps", false),
        draw(
            "by_time",
            "And after the same seconds?",
            "The same trainings on this device. A rule that thinks longer about a step moves to the right.",
            "Seconds",
            true,
        ),
    ]
}
