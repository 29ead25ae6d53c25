//! Charts and tables.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Series, Table};
use lab_kit::olympics::EntryStep;

use super::{Entered, Params, Timeline, course::Numbers};

pub(super) fn table(id: &str, title: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Table { id: id.into(), title: title.into(), columns, rows }
}

pub(super) fn bars(name: &str, values: Vec<f64>) -> BarSeries {
    BarSeries { name: name.into(), values, intervals: vec![] }
}

/// THE picture: how far the entry has come after each step.
pub(super) fn waterfall(params: &Params, steps: &[EntryStep], line: &[Numbers]) -> Chart {
    let names = std::iter::once("baseline".to_owned()).chain(steps.iter().map(|step| step.words())).collect();
    let first = &line[0];
    let of = |value: fn(&Numbers) -> f64| line.iter().map(|one| value(one).max(1e-3)).collect::<Vec<f64>>();
    let files = line.iter().map(|one| first.file / one.file).collect();
    let each = if params.subject == Entered::Language { "Time of a token" } else { "Time of an image" };
    Chart {
        id: "waterfall".into(),
        title: "What is each step worth?".into(),
        caption: "How many times smaller the file, how many times faster one request and all requests are after each step, on a logarithmic axis: from one step to the next equal heights are equal factors. Find the tallest jump of each colour, and the steps that go down.".into(),
        x: Axis::linear("After the step"),
        y: Axis { min: Some(0.5), ..Axis::log("Times as good as the baseline") },
        body: ChartBody::Bar {
            categories: names,
            series: vec![
                bars("File", files),
                bars(each, of(|one| one.time.times())),
                bars("All requests", of(|one| one.crowd.times())),
            ],
        },
    }
}

/// Quality and its floor.
pub(super) fn quality(params: &Params, steps: &[EntryStep], line: &[Numbers]) -> Chart {
    let floor = params.floor.percent();
    let unit = if params.subject == Entered::Language { "% of the bits" } else { "points" };
    let end = steps.len() as f64;
    let at = |value: fn(&Numbers) -> f64| -> Vec<[f64; 2]> {
        line.iter().enumerate().map(|(i, one)| [i as f64, value(one)]).collect()
    };
    let plain = |name: &str, points| Series { name: name.into(), points, band: vec![] };
    Chart {
        id: "quality".into(),
        title: "What has it cost?".into(),
        caption: "Quality lost after each step, and the upper end of its interval, which has to stay below the floor. Steps that change no weight keep the line flat.".into(),
        x: Axis::linear("Steps taken"),
        y: Axis::linear(&format!("Lost ({unit})")),
        body: ChartBody::Line {
            series: vec![
                plain("Floor", vec![[0.0, floor], [end.max(1.0), floor]]),
                plain("Lost", at(|one| one.loss)),
                plain("Upper end", at(Numbers::upper)),
            ],
        },
    }
}

/// What each step brought, by the chosen reckoning, in doublings.
pub(super) fn brought(params: &Params, steps: &[EntryStep], all: &[[f64; 2]]) -> Chart {
    let (title, caption) = match params.timeline {
        Timeline::InOrder => (
            "What did each step bring, in your order?",
            "Doublings over the step before. The bars of one colour add up to the whole.",
        ),
        Timeline::Alone => (
            "What does each step bring alone?",
            "Doublings over the baseline. They do not add up: what is missing, or too much, is how the steps meddle with each other.",
        ),
        Timeline::Shapley => (
            "What does each step bring on average over all orders?",
            "Doublings, the mean over every order in which the steps could be taken (Shapley). They add up to the whole, and no step is paid for standing first.",
        ),
    };
    let doublings = |which: usize| all.iter().map(|one| one[which] / std::f64::consts::LN_2).collect();
    Chart {
        id: "brought".into(),
        title: title.into(),
        caption: caption.into(),
        x: Axis::linear("Step"),
        y: Axis::linear("Doublings"),
        body: ChartBody::Bar {
            categories: if steps.is_empty() {
                vec!["no step".into()]
            } else {
                steps.iter().map(|step| step.words()).collect()
            },
            series: if steps.is_empty() {
                vec![bars("File", vec![0.0]), bars("Time, one request", vec![0.0])]
            } else {
                vec![bars("File", doublings(0)), bars("Time, one request", doublings(1))]
            },
        },
    }
}
