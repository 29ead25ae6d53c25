//! Charts and tables of a run.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Series, Table};
use lab_kit::{blocks::count, report::thousands, stats::median};

use super::{
    arms::{CLASSES, Judged, Race},
    measure::{KINDS, Times},
};

/// Points of a curve.
const POINTS: usize = 30;

pub(super) fn chart(id: &str, title: &str, caption: &str, (x, y): (Axis, Axis), body: ChartBody) -> Chart {
    Chart { id: id.into(), title: title.into(), caption: caption.into(), x, y, body }
}

pub(super) fn table(id: &str, title: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Table { id: id.into(), title: title.into(), columns, rows }
}

/// Points `(series, x, y)` as lines, one for each series, in order of appearance.
pub(super) fn grouped(points: &[(&str, f64, f64)]) -> ChartBody {
    let mut series: Vec<Series> = Vec::new();
    for (name, x, y) in points {
        match series.iter_mut().find(|series| series.name == *name) {
            Some(series) => series.points.push([*x, *y]),
            None => series.push(Series { name: (*name).into(), points: vec![[*x, *y]], band: Vec::new() }),
        }
    }
    if series.iter().any(|series| series.points.len() > 1) {
        ChartBody::Line { series }
    } else {
        ChartBody::Scatter { series }
    }
}

pub(super) fn curves(race: &Race<'_>) -> Chart {
    let series = |arm: &super::arms::Arm| {
        let window = arm.losses.len().div_ceil(POINTS).max(1);
        let point = |(i, losses): (usize, &[f64])| {
            [(i * window + losses.len()) as f64, losses.iter().sum::<f64>() / losses.len().max(1) as f64]
        };
        let points = arm.losses.chunks(window).enumerate().map(point).collect();
        Series { name: arm.planned.name.clone(), points, band: Vec::new() }
    };
    chart(
        "curves",
        "Who learns fastest?",
        "Training loss on the same images in the same order.",
        (Axis::linear("Step"), Axis::linear("Loss (nats)")),
        ChartBody::Line { series: race.arms.iter().map(series).collect() },
    )
}

/// Accuracy against work, against time; rates of kinds of layer; shares of work and of time.
pub(super) fn charts(race: &Race<'_>, judged: &[Judged], times: &Times) -> Vec<Chart> {
    let against = |x: &dyn Fn(usize) -> f64| {
        let of = |(i, arm): (usize, &super::arms::Arm)| (arm.planned.series.clone(), x(i), judged[i].accuracy);
        let points: Vec<(String, f64, f64)> = race.arms.iter().enumerate().map(of).collect();
        grouped(&points.iter().map(|(name, x, y)| (name.as_str(), *x, *y)).collect::<Vec<_>>())
    };
    let right = || Axis::linear("Right on unseen fonts (%)");
    let work = chart(
        "work",
        "How much is read for so much arithmetic?",
        "Each point is a trained network. The same points stand in the next chart over another axis.",
        (Axis::log("Multiply-adds for an image, in thousands"), right()),
        against(&|i| 1e-3 * race.arms[i].totals.madds as f64),
    );
    let time = chart(
        "time",
        "How much is read in so much time?",
        "The same networks over the time that one image takes on your processor. Points that stood above each other come apart.",
        (Axis::log("Microseconds for one image"), right()),
        against(&|i| median(&times.us(i)[0])),
    );
    let rates = times.rates();
    let rate = chart(
        "rates",
        "Which layers does a processor like?",
        "Arithmetic per second of single layers: 32 channels to 32 on maps of 16 × 16, and a wide one that comes near to what these loops can do.",
        (Axis::linear("Layer"), Axis::linear("GFLOP/s")),
        ChartBody::Bar {
            categories: KINDS.map(str::to_owned).to_vec(),
            series: vec![BarSeries {
                name: "measured".into(),
                values: rates.iter().map(|rate| median(rate)).collect(),
                intervals: Vec::new(),
            }],
        },
    );
    let shares = times.shares();
    let bars = |name: &str, values: Vec<f64>| BarSeries { name: name.into(), values, intervals: Vec::new() };
    let share = chart(
        "shares",
        "Where does your block spend its work, and where its time?",
        "Layers of your network, timed one by one. Where the second bar is the longer one, time is spent on something other than arithmetic.",
        (Axis::linear("Kind of layer"), Axis::linear("Share (%)")),
        ChartBody::Bar {
            categories: shares.iter().map(|share| share.0.to_owned()).collect(),
            series: vec![
                bars("multiply-adds", shares.iter().map(|share| share.1).collect()),
                bars("time", shares.iter().map(|share| share.2).collect()),
            ],
        },
    );
    vec![work, time, rate, share]
}

/// The networks in numbers.
pub(super) fn arms(race: &Race<'_>, judged: &[Judged], times: &Times) -> Table {
    let rounded = |x: f64| Cell::from((10.0 * x).round() / 10.0);
    let row = |(i, (arm, judged)): (usize, (&super::arms::Arm, &Judged))| {
        let [one, many] = times.us(i);
        vec![
            Cell::from(arm.planned.name.as_str()),
            Cell::from(widths(&arm.planned.shape)),
            Cell::from(thousands(arm.totals.madds)),
            Cell::from(thousands(arm.totals.weights)),
            Cell::from(thousands(arm.totals.activations)),
            Cell::from((1000.0 * arm.late()).round() / 1000.0),
            rounded(judged.accuracy),
            rounded(judged.gap),
            rounded(median(&one)),
            rounded(median(&many)),
        ]
    };
    let columns = [
        "Network",
        "Widths",
        "Multiply-adds",
        "Weights",
        "Activations",
        "Training loss (nats)",
        "Right (%)",
        "Beyond the baseline (points)",
        "One image (µs)",
        "One of 64 (µs)",
    ];
    table("arms", "Every network", &columns, race.arms.iter().zip(judged).enumerate().map(row).collect())
}

/// Channels of the stages, with what else is not one block on 16 × 16.
pub(super) fn widths(shape: &lab_kit::blocks::Shape) -> String {
    let [a, b, c] = shape.widths();
    let mut words = format!("{a}, {b}, {c}");
    if shape.blocks != [1; 3] {
        words += &format!("; {} blocks", shape.blocks.iter().sum::<usize>());
    }
    if shape.side != 16 {
        words += &format!("; {} × {}", shape.side, shape.side);
    }
    words
}

/// The chosen network, layer by layer.
pub(super) fn layers(race: &Race<'_>) -> Table {
    let shape = &race.arms[race.chosen].planned.shape;
    let row = |layer: &lab_kit::blocks::Layer| {
        let channels = layer.conv.map_or(String::new(), |conv| format!("{} → {}", conv.inputs, conv.outputs));
        vec![
            Cell::from(layer.kind.name()),
            Cell::from(channels),
            Cell::from(format!("{} × {}", layer.size[0], layer.size[1])),
            Cell::from(thousands(layer.madds)),
            Cell::from(thousands(layer.weights)),
            Cell::from(thousands(layer.written)),
            Cell::from((100.0 * layer.intensity()).round() / 100.0),
        ]
    };
    let columns =
        ["Layer", "Channels", "Maps", "Multiply-adds", "Weights", "Numbers out", "Operations a byte, one image"];
    let title = format!("Your network, layer by layer: {}", race.arms[race.chosen].planned.name);
    table("layers", &title, &columns, count(&shape.ops(CLASSES), shape.side).iter().map(row).collect())
}
