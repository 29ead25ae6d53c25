//! Charts and tables.

use lab_api::{Axis, Cell, Chart, ChartBody, Series, StackSeries, Table};
use lab_kit::{
    cells::{CellCode, SLOTS, SlotOp},
    data::Glyphs,
    one_shot::{MixedMark, OPERATIONS},
};

use super::truth::{Said, TOP, Truth};

/// Of so many networks, and codes, one is drawn: all of them on each other say no more, and a page with them is slow to come.
const DRAWN: usize = 6;
/// Networks that are named.
const FIRSTS: usize = 8;

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

pub(super) fn text(words: &str) -> Cell {
    Cell::Text(words.to_owned())
}

pub(super) fn one(x: f64) -> Cell {
    Cell::Number((10.0 * x).round() / 10.0)
}

/// THE picture: what a supernet says of each network, over what it is worth.
pub(super) fn scatter(said: &Said, truth: &Truth) -> Chart {
    let top = truth.top(TOP);
    let first = said.order()[0];
    let dot = |i: usize| [truth.right[i], said.of(truth.codes[i])];
    let at = truth.codes.iter().position(|code| *code == first);
    let rest = |i: &usize| !top.contains(i) && Some(*i) != at;
    chart(
        "ranks",
        "Does it know the good ones?",
        "Each dot is a network, every sixth of them: trained alone, across, and with shared weights, up. Over all networks the cloud rises. Now look at the best fifteen alone: does it rise among them?",
        (Axis::linear("Trained alone: right, unseen families (%)"), Axis::linear("Shared weights: right (%)")),
        ChartBody::Scatter {
            series: vec![
                line("Every sixth network", (0..truth.codes.len()).filter(rest).step_by(DRAWN).map(dot).collect()),
                line("Best fifteen", top.iter().filter(|i| Some(**i) != at).map(|i| dot(*i)).collect()),
                line("First by shared weights", at.map(dot).into_iter().collect()),
            ],
        },
    )
}

/// From the worst to the best code of a network.
pub(super) fn twins(said: &Said) -> Chart {
    let code = |index: usize| CellCode::from_index(index);
    let mut points = Vec::new();
    for (index, right) in said.codes.iter().enumerate() {
        let network = code(index).canonical();
        if network != code(index) || network.0[SLOTS - 1] == SlotOp::Skip {
            points.push([said.of(network), right - said.of(network)]);
        }
    }
    chart(
        "twins",
        "Is it one network or several?",
        "Codes with a skip, every sixth of them: each dot is a code, at the mean of all codes that spell its network, and up or down from there. Trained alone they are one network, so all dots would lie at zero.",
        (Axis::linear("Mean of the network's codes: right (%)"), Axis::linear("This code, points above it")),
        ChartBody::Scatter { series: vec![line("Codes", points.into_iter().step_by(DRAWN).collect())] },
    )
}

/// Loss of each step, smoothed; each step is another path.
pub(super) fn losses(all: &[f64]) -> Chart {
    let each = (all.len() / 60).max(1);
    let mean = |(i, part): (usize, &[f64])| [((i + 1) * each) as f64, part.iter().sum::<f64>() / part.len() as f64];
    chart(
        "losses",
        "What does a step cost in loss?",
        "Mean loss of neighbouring steps. Every step trains another path, so the line is rough however long you train.",
        (Axis::linear("Steps"), Axis { min: Some(0.0), ..Axis::linear("Loss (nats)") }),
        ChartBody::Line { series: vec![line("Paths", all.chunks(each).enumerate().map(mean).collect())] },
    )
}

pub(super) fn firsts(said: &Said, truth: &Truth) -> Table {
    let classes = Glyphs::CLASSES.len();
    let row = |(place, code): (usize, &CellCode)| {
        vec![
            Cell::Number((place + 1) as f64),
            text(&code.to_string()),
            one(said.of(*code)),
            one(truth.of(*code).unwrap_or(0.0)),
            Cell::Number(truth.place(*code).unwrap_or(0) as f64),
            Cell::Number(code.flops(classes) as f64),
        ]
    };
    table(
        "firsts",
        "First by shared weights",
        &["Place", "Network", "Shared weights (%)", "Trained alone (%)", "True place", "FLOPs"],
        said.order().iter().take(FIRSTS).enumerate().map(row).collect(),
    )
}

/// Losses of a mixture, and of what is cut out of it.
pub(super) fn gap(marks: &[MixedMark]) -> Chart {
    let of = |value: fn(&MixedMark) -> f64| marks.iter().map(|mark| [mark.step as f64, value(mark)]).collect();
    chart(
        "gap",
        "What does the cut cost?",
        "The loss of the mixture, and that of its strongest path with the same weights, on images that train shares. The distance between the lines is what nobody trained for.",
        (Axis::linear("Steps"), Axis { min: Some(0.0), ..Axis::linear("Loss (nats)") }),
        ChartBody::Line {
            series: vec![line("Mixture", of(|mark| mark.mixture)), line("Strongest path", of(|mark| mark.cut))],
        },
    )
}

/// The shares of each slot over the steps.
pub(super) fn shares(marks: &[MixedMark]) -> Vec<Chart> {
    let one = |slot: usize| {
        let layer = |op: SlotOp| StackSeries {
            name: op.name().into(),
            values: marks.iter().map(|mark| 100.0 * mark.shares[slot * OPERATIONS + op as usize]).collect(),
        };
        let names = ["first", "second", "third", "fourth"];
        chart(
            &format!("slot_{}", slot + 1),
            &format!("Who gets the {} slot?", names[slot]),
            "Shares of the six operations while weights and shares train. They begin even.",
            (Axis::linear("Steps"), Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Share (%)") }),
            ChartBody::StackedArea {
                x: marks.iter().map(|mark| mark.step as f64).collect(),
                series: SlotOp::ALL.into_iter().map(layer).collect(),
            },
        )
    };
    (0..SLOTS).map(one).collect()
}

pub(super) fn last_shares(marks: &[MixedMark]) -> Table {
    let row = |slot: usize| {
        let shares = marks.last().map_or(&[][..], |mark| &mark.shares);
        let share = |op: SlotOp| one(100.0 * shares.get(slot * OPERATIONS + op as usize).copied().unwrap_or(0.0));
        std::iter::once(Cell::Number((slot + 1) as f64)).chain(SlotOp::ALL.map(share)).collect()
    };
    let columns = ["Slot", "skip (%)", "pool (%)", "mix (%)", "pw (%)", "sep (%)", "conv (%)"];
    table("shares", "Shares in the end", &columns, (0..SLOTS).map(row).collect())
}
