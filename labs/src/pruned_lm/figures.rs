//! Tables and charts of a run.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Series, Table};

use super::{
    calibrate::Flow,
    judge::Judged,
    prune::{Pruned, Score},
};
use lab_kit::order::Ordered as _;

type Arm = (Score, Pruned, Judged);

/// Loss of the dense model and of each pruned one.
pub(super) fn losses(before: &Judged, arms: &[Arm]) -> Chart {
    let named = arms.iter().map(|(score, _, judged)| (score.words().to_owned(), judged.mean()));
    let (categories, values) = std::iter::once(("dense".to_owned(), before.mean())).chain(named).unzip();
    Chart {
        id: "losses".into(),
        title: "What do the zeros cost?".into(),
        caption: "Mean negative logarithm of the probability of the next token, on text that no step has seen.".into(),
        x: Axis::linear("Method"),
        y: Axis::linear("Loss (nats a token)"),
        body: ChartBody::Bar { categories, series: vec![BarSeries { name: "Loss".into(), values, intervals: vec![] }] },
    }
}

/// The lengths of the channels of every input, sorted, as shares of the middle one: where Wanda has something to see.
pub(super) fn norms(arms: &[Arm]) -> Option<Chart> {
    let flows = arms.iter().map(|(_, pruned, _)| &pruned.flows).find(|flows| !flows.is_empty())?;
    let kinds = [
        ("q_proj", "Before attention"),
        ("o_proj", "After attention"),
        ("gate_proj", "Before gate and up"),
        ("down_proj", "Before down"),
    ];
    // Of each kind the layer in which one channel stands out most.
    let line = |(matrix, words): (&str, &str)| {
        let own = flows.iter().filter(|flow| flow.names.iter().any(|name| name.contains(matrix)));
        let flow = own.max_by(|a, b| stands_out(a).total_cmp(&stands_out(b)))?;
        let mut sorted = flow.norms.clone();
        sorted.ordered_by(&|a, b| b.total_cmp(a));
        let middle = sorted[sorted.len() / 2].max(f64::MIN_POSITIVE);
        let count = sorted.len() as f64;
        let points = sorted.iter().enumerate().map(|(i, norm)| [100.0 * (i as f64 + 0.5) / count, norm / middle]);
        Some(Series { name: words.into(), points: points.collect(), band: vec![] })
    };
    Some(Chart {
        id: "norms".into(),
        title: "Which inputs stand out?".into(),
        caption: "Length of each input channel over the calibration text, largest first, over the middle one; of each kind of \
                  matrix the layer in which a channel stands out most. Where the line is flat, Wanda's score is magnitude."
            .into(),
        x: Axis::linear("Channels (%), largest first"),
        y: Axis::log("Length over the middle one"),
        body: ChartBody::Line { series: kinds.into_iter().filter_map(line).collect() },
    })
}

/// The largest length of a channel over the middle one.
pub(super) fn stands_out(flow: &Flow) -> f64 {
    let mut sorted = flow.norms.clone();
    sorted.sort_by(f64::total_cmp);
    sorted.last().map_or(1.0, |most| most / sorted[sorted.len() / 2].max(f64::MIN_POSITIVE))
}

/// What became of each matrix.
pub(super) fn matrices(arms: &[Arm]) -> Table {
    let mut columns = vec!["Matrix".to_owned(), "Shape".to_owned()];
    for (score, pruned, _) in arms {
        columns.push(format!("Zeros (%), {}", score.words()));
        if !pruned.errors.is_empty() {
            columns.push(format!("Output error (%), {}", score.words()));
        }
    }
    let mut rows = Vec::new();
    if let Some((_, first, _)) = arms.first() {
        for name in first.model.prunable() {
            let Some(weight) = first.model.state.get(&name) else { continue };
            let short = name.trim_start_matches("model.").trim_end_matches(".weight");
            let mut row = vec![Cell::from(short), Cell::from(format!("{} × {}", weight.shape[0], weight.shape[1]))];
            for (_, pruned, _) in arms {
                let values = pruned.model.state.get(&name).map_or(&[][..], |weight| &weight.values);
                let zeros = values.iter().filter(|w| **w == 0.0).count() as f64;
                row.push(Cell::from(100.0 * zeros / values.len().max(1) as f64));
                if !pruned.errors.is_empty() {
                    let error = pruned.errors.iter().find(|(known, _)| *known == name);
                    row.push(error.map_or_else(|| Cell::from(""), |(_, share)| Cell::from(100.0 * share)));
                }
            }
            rows.push(row);
        }
    }
    Table { id: "matrices".into(), title: "What became of each matrix".into(), columns, rows }
}
