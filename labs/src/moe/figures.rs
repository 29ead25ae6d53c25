//! Charts and tables.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Series, Table};
use lab_kit::{report::thousands, stats::median};

use super::{
    task::Task,
    timing::{NAMES, Times},
    training::Trained,
};

pub(super) fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: Vec::new() }
}

pub(super) fn chart(id: &str, title: &str, caption: &str, (x, y): (Axis, Axis), body: ChartBody) -> Chart {
    Chart { id: id.into(), title: title.into(), caption: caption.into(), x, y, body }
}

pub(super) fn table(id: &str, title: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Table { id: id.into(), title: title.into(), columns, rows }
}

/// What quality is, in words.
pub(super) fn measure(task: &Task) -> &'static str {
    if task.stores() { "Bits stored" } else { "Loss on unseen text (nats)" }
}

/// Quality against arithmetic, one dot a network.
pub(super) fn quality(all: &[Trained], task: &Task) -> Chart {
    let dot = |one: &Trained| {
        let name = format!("{} ({} weights)", one.arm.name, thousands(one.weights));
        line(&name, vec![[one.products as f64, task.quality(one.loss)]])
    };
    chart(
        "quality",
        "What does arithmetic buy?",
        "Each dot is a trained network. The experts stand where the small dense layer stands, left; how high do they reach towards the dense layer of their size, right?",
        (Axis::log("Multiplications of the layer for a token"), Axis::linear(measure(task))),
        ChartBody::Scatter { series: all.iter().map(dot).collect() },
    )
}

/// The same against what is held in memory.
pub(super) fn storage(all: &[Trained], task: &Task) -> Chart {
    let dot = |one: &Trained| line(&one.arm.name, vec![[one.weights as f64, task.quality(one.loss)]]);
    chart(
        "storage",
        "And what do weights buy?",
        "The same dots over the weights of the layer. Where those of equal size stand at one height, it is storage that counts, and not arithmetic.",
        (Axis::log("Weights of the layer"), Axis::linear(measure(task))),
        ChartBody::Scatter { series: all.iter().map(dot).collect() },
    )
}

/// The busiest expert over training.
pub(super) fn loads(all: &[Trained]) -> Chart {
    let of = |one: &Trained| line(&one.arm.name, one.stretches.iter().map(|s| [s.until as f64, s.busiest]).collect());
    chart(
        "load",
        "Do loads collapse?",
        "Tokens of the busiest expert, in mean loads: 1 is even, and the number of experts is one expert for all.",
        (Axis::linear("Steps"), Axis { min: Some(0.0), ..Axis::linear("Busiest expert (mean loads)") }),
        ChartBody::Line { series: all.iter().filter(|one| one.arm.routes()).map(of).collect() },
    )
}

/// Shares of the experts, of all that route.
pub(super) fn shares(all: &[Trained]) -> Chart {
    let routed = || all.iter().filter(|one| one.arm.routes());
    let most = routed().map(|one| one.shares.len()).max().unwrap_or(0);
    let of = |one: &Trained| BarSeries { name: one.arm.name.clone(), values: one.shares.clone(), intervals: vec![] };
    chart(
        "shares",
        "Who works?",
        "Share of the tokens that each expert gets after training. Even would be bars of one height; what stands above its capacity is dropped where there is one.",
        (Axis::linear("Expert"), Axis::linear("Tokens (%)")),
        ChartBody::Bar {
            categories: (1..=most).map(|i| i.to_string()).collect(),
            series: routed().filter(|one| one.shares.len() == most).map(of).collect(),
        },
    )
}

/// Who goes where.
pub(super) fn map(one: &Trained, task: &Task) -> Chart {
    chart(
        "map",
        "Who goes to which expert?",
        &format!(
            "{}: of each {}, the share that each expert gets, in per cent. A row with one bright cell is a token that always takes the same way.",
            one.arm.name,
            if task.stores() { "second name" } else { "frequent token" }
        ),
        (Axis::linear("Expert"), Axis::linear(if task.stores() { "Second name" } else { "Last token" })),
        ChartBody::Heatmap {
            rows: task.shown.iter().map(|(_, name)| name.clone()).collect(),
            columns: (1..=one.shares.len()).map(|i| i.to_string()).collect(),
            values: one.map.clone(),
        },
    )
}

/// Time of a layer by tokens.
pub(super) fn times(times: &Times) -> Chart {
    let of = |(way, name): (usize, &&str)| {
        line(name, times.batches.iter().map(|n| [*n as f64, median(times.of(way, *n)).max(1e-6)]).collect())
    };
    chart(
        "times",
        "What does a dispatched layer take?",
        "Median time of one layer, forward, on this device. Experts should lie on the lower of the two dense lines; how far above it are they, and from how many tokens on?",
        (Axis::log("Tokens at once"), Axis::log("Milliseconds")),
        ChartBody::Line { series: NAMES.iter().enumerate().map(of).collect() },
    )
}
