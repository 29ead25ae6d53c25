//! Charts and tables.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Series, Table};
use lab_kit::{
    cells::{CellCode, CellTimes, SlotOp, cell_incumbents},
    data::Glyphs,
    search::pareto,
};

use super::{
    Params,
    judge::{Log, Trained},
    record::{Record, Scored},
    replay::{Replays, STRATEGIES},
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

pub(super) fn right() -> Axis {
    Axis::linear("Right (%)")
}

/// Networks that nothing beats in cost and errors together, by their place in the record.
pub(super) fn front(record: &Record, cost: impl Fn(CellCode) -> f64) -> Vec<usize> {
    let point = |place: usize| [cost(record.table.entries[place].code), record.truth[place]];
    pareto(&(0..record.truth.len()).map(point).collect::<Vec<_>>())
}

/// Of so many networks one is drawn beside the fronts: 781 dots on each other say no more, and a page with them is slow to come.
const DRAWN: usize = 8;

/// THE picture: networks over FLOPs, and over the time that operations take here. Marked in both is the front by FLOPs.
pub(super) fn scatters(record: &Record, times: &CellTimes) -> Vec<Chart> {
    let flops = |code: CellCode| code.flops(Glyphs::CLASSES.len()) as f64 / 1e3;
    let us = |code: CellCode| times.predict(code);
    let (by_flops, by_time) = (front(record, flops), front(record, us));
    let dots = |cost: &dyn Fn(CellCode) -> f64, places: &[usize]| -> Vec<[f64; 2]> {
        places.iter().map(|place| [cost(record.table.entries[*place].code), 100.0 - record.truth[*place]]).collect()
    };
    let some: Vec<usize> = (0..record.truth.len()).step_by(DRAWN).collect();
    let one = |id: &str, title: &str, caption: &str, x: &str, cost: &dyn Fn(CellCode) -> f64| {
        let series = vec![
            line("Every eighth network", dots(cost, &some)),
            line("Front by FLOPs", dots(cost, &by_flops)),
            line("Front by time", dots(cost, &by_time)),
        ];
        chart(id, title, caption, (Axis::linear(x), right()), ChartBody::Scatter { series })
    };
    vec![
        one(
            "by_flops",
            "Which networks are best for their FLOPs?",
            "Each dot is one of 781 networks, with its recorded right answers after 174 steps; every eighth is drawn. The coloured dots are two fronts of all 781: nothing cheaper is better.",
            "FLOPs of an image (thousands)",
            &flops,
        ),
        one(
            "by_time",
            "And for their time on your device?",
            "The same networks over the time that their operations add up to here. Look where the front by FLOPs has gone.",
            "Predicted time of a batch (µs)",
            &us,
        ),
    ]
}

pub(super) fn operations(times: &CellTimes) -> Table {
    let round = |x: f64| Cell::Number((x * 100.0).round() / 100.0);
    let row = |op: SlotOp| {
        let us = times.of(op);
        let flops = (op.flops() * times.batch) as f64;
        vec![
            Cell::Text(op.name().into()),
            Cell::Number(op.flops() as f64),
            Cell::Number(op.weights() as f64),
            round(us),
            round(flops * 1e-3 / us.max(1e-9)),
        ]
    };
    table(
        "operations",
        "The six operations on this device",
        &["Operation", "FLOPs of an image", "Weights", "Time of a batch (µs)", "Rate (GFLOP/s)"],
        SlotOp::ALL.into_iter().map(row).collect(),
    )
}

/// Regret after each of the first proposals, where the curves fall, and after each fourth one from there.
pub(super) fn regret_points(curve: &[f64]) -> Vec<[f64; 2]> {
    let counted = curve.iter().enumerate().map(|(i, regret)| [(i + 1) as f64, *regret]);
    counted.enumerate().filter(|(i, _)| *i < 8 || (i + 1).is_multiple_of(4)).map(|(_, point)| point).collect()
}

pub(super) fn regrets(replays: &Replays) -> Vec<Chart> {
    let one = |at: usize, id: &str, title: &str, caption: &str| {
        let points = |curve: &[f64]| regret_points(curve);
        let series = STRATEGIES.iter().zip(&replays.curves[at]).map(|(of, curve)| line(of.2, points(curve))).collect();
        let y = Axis { min: Some(0.0), ..Axis::linear("Worse than the best (points)") };
        chart(id, title, caption, (Axis::linear("Networks tried"), y), ChartBody::Line { series })
    };
    vec![
        one(
            1,
            "regret_noisy",
            "What has each strategy found, if trials are noisy?",
            "Mean over searches on the recorded table. A trial shows a network's mean with the noise of its seeds; the curve is what the network that looks best is truly worse than the best there is.",
        ),
        one(
            0,
            "regret",
            "And if a trial told the truth?",
            "The same searches without noise. Compare how far the curves lie apart, and how low they come.",
        ),
    ]
}

/// What orders networks, and how well.
pub(super) fn orders(record: &Record, scored: &Scored) -> Chart {
    let codes: Vec<CellCode> = scored.iter().map(|one| one.0).collect();
    let classes = Glyphs::CLASSES.len();
    let scores: [(&str, f64); 6] = [
        ("Parameters", record.order(&codes, |i| codes[i].parameters(classes) as f64)),
        ("FLOPs", record.order(&codes, |i| codes[i].flops(classes) as f64)),
        ("Gradient", record.order(&codes, |i| scored[i].1.gradient)),
        ("SNIP", record.order(&codes, |i| scored[i].1.snip)),
        ("NASWOT", record.order(&codes, |i| scored[i].1.naswot)),
        ("44 steps", record.order(&codes, |i| record.early(record.place[codes[i].index()]))),
    ];
    chart(
        "orders",
        "What foretells the order of trained networks?",
        "Rank correlation (Spearman) with the record, over networks by chance. The first two bars cost nothing, the next three one batch, the last a quarter of an epoch. What is no higher than FLOPs has told nothing.",
        (Axis::linear("Score"), Axis::linear("Rank correlation")),
        ChartBody::Bar {
            categories: scores.iter().map(|one| one.0.to_owned()).collect(),
            series: vec![BarSeries {
                name: "Order".into(),
                values: scores.iter().map(|one| one.1).collect(),
                intervals: vec![],
            }],
        },
    )
}

pub(super) fn searched(log: &Log, params: &Params) -> Chart {
    let dots = log
        .iter()
        .enumerate()
        .filter(|one| one.1.1.is_finite())
        .map(|(i, one)| [(i + 1) as f64, 100.0 - one.1])
        .collect();
    let best = cell_incumbents(log)
        .into_iter()
        .enumerate()
        .filter_map(|(i, at)| Some([(i + 1) as f64, 100.0 - log[at?].1]))
        .collect();
    chart(
        "searched",
        "What did your search see?",
        &format!(
            "Each dot is a network that was proposed, after {} steps on this device; the other series is the best so far. A dot at the height of an earlier one may be that network again.",
            params.steps()
        ),
        (Axis::linear("Networks tried"), right()),
        ChartBody::Scatter { series: vec![line("Tried", dots), line("Best so far", best)] },
    )
}

pub(super) fn finals(trained: &[Trained], times: &CellTimes) -> Table {
    let round = |x: f64| Cell::Number((x * 10.0).round() / 10.0);
    let row = |one: &Trained| {
        let claimed = one.claimed.map_or(Cell::Text("not tried".into()), |error| round(100.0 - error));
        vec![
            Cell::Text(one.name.into()),
            Cell::Text(one.code.to_string()),
            Cell::Number(one.code.flops(Glyphs::CLASSES.len()) as f64),
            round(times.predict(one.code)),
            claimed,
            round(one.chosen),
            round(one.judged),
        ]
    };
    table(
        "finals",
        "Trained anew, with a seed that no trial had",
        &[
            "Network",
            "Operations",
            "FLOPs",
            "Predicted time (µs)",
            "Right in the search (%)",
            "Right, families that choose (%)",
            "Right, unseen families (%)",
        ],
        trained.iter().map(row).collect(),
    )
}
