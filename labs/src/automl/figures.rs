//! Charts and tables.

use lab_api::{Axis, Cell, Chart, ChartBody, Series, Table};
use lab_kit::{
    data::Glyphs,
    search::{Log, rank_of},
};

use super::{
    Params,
    policy::{BITS, Model, Policy},
    space::Config,
    training::Bench,
    training_run::{Fresh, Searched, mean},
};
use lab_kit::order::Ordered as _;

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

/// THE picture. `curves` are right answers at each rung, `reached` the rungs that each trial came to in the search. What was cut is
/// one line that goes back to where all begin after each trial.
pub(super) fn cut(curves: &[Vec<f64>], reached: &[usize], rungs: usize) -> Chart {
    let start = [0.0, 100.0 / Glyphs::CLASSES.len() as f64];
    let path = |curve: &[f64], end: usize| -> Vec<[f64; 2]> {
        let marks = curve.iter().take(end).enumerate().filter(|(_, right)| right.is_finite());
        std::iter::once(start).chain(marks.map(|(rung, right)| [(rung + 1) as f64, *right])).collect()
    };
    let mut gone = Vec::new();
    for (curve, end) in curves.iter().zip(reached).filter(|(_, end)| **end < rungs) {
        let there = path(curve, *end);
        gone.extend(there.iter().copied());
        gone.extend(there.iter().rev().skip(1).copied());
    }
    let mut series = vec![line("Cut", if gone.is_empty() { vec![start] } else { gone })];
    let ended = |i: usize| curves[i].len() == rungs;
    let last: Vec<f64> = (0..curves.len()).map(|i| if ended(i) { -curves[i][rungs - 1] } else { f64::NAN }).collect();
    let mut order: Vec<usize> = (0..curves.len()).filter(|i| last[*i].is_finite()).collect();
    order.ordered_by_key(&|i| rank_of(&last, *i));
    if let Some(best) = order.iter().find(|i| reached[**i] == rungs) {
        series.push(line("Winner of the search", path(&curves[*best], rungs)));
        // What would have won, if it was cut.
        let before = order.iter().take_while(|i| *i != best).take(3).enumerate();
        let words = ["Best of all, cut", "Second of all, cut", "Third of all, cut"];
        for (place, i) in before {
            series.push(line(words[place], path(&curves[*i], rungs)));
        }
    }
    chart(
        "rungs",
        "What is cut, and what would have won?",
        "Right answers on the families that choose, at each rung; between two rungs a trial trains on as its share of the whole grows. Grey lines end where their trial was cut. Coloured lines go to the end.",
        (
            Axis { min: Some(0.0), ..Axis::linear("Rungs passed") },
            Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Right (%)") },
        ),
        ChartBody::Line { series },
    )
}

pub(super) fn rungs(bench: &Bench<'_>, params: &Params, log: &Log) -> Chart {
    let curves: Vec<Vec<f64>> = bench.marks.iter().map(|marks| curve(marks, params)).collect();
    let reached = |trial: usize| {
        let of = log.reached.iter().filter(|one| one.trial == trial).map(|one| one.rung + 1);
        of.max().unwrap_or(0)
    };
    cut(&curves, &(0..curves.len()).map(reached).collect::<Vec<_>>(), params.rungs as usize)
}

/// Right answers at each rung that was passed; at one that was only run through, nothing is known.
fn curve(marks: &[super::training::Mark], params: &Params) -> Vec<f64> {
    let last = marks.last().map_or(0, |mark| mark.at);
    let at = |to: usize| marks.iter().find(|mark| mark.at == to).map_or(f64::NAN, |mark| mark.right);
    params.rungs().into_iter().take_while(|to| *to <= last).map(at).collect()
}

/// The best that was known, by what was spent.
pub(super) fn spent(params: &Params, [found, random]: [&Searched<'_>; 2]) -> Chart {
    let of = |log: &Log| {
        let mut steps: Vec<[f64; 2]> = Vec::new();
        for rung in 0..params.rungs as usize {
            for [at, score] in log.incumbent(rung) {
                steps.push([at, 100.0 - score]);
            }
        }
        steps.ordered_by(&|a, b| a[0].total_cmp(&b[0]));
        let mut best = 0.0;
        steps.retain(|point| {
            let better = point[1] > best;
            best = point[1].max(best);
            better
        });
        steps
    };
    chart(
        "spent",
        "What had each found, and when?",
        "The best score seen so far on the families that choose, at any rung, by what was spent. Whole trainings report late.",
        (
            Axis { min: Some(0.0), ..Axis::linear("Spent (whole trainings)") },
            Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Right (%)") },
        ),
        ChartBody::Line {
            series: vec![line("Random, each to the end", of(&random.log)), line("Your method", of(&found.log))],
        },
    )
}

/// Last scores over the axis that matters most.
pub(super) fn space(found: &Searched<'_>, params: &Params) -> Chart {
    let rungs = params.rungs();
    let of = |rung: usize| {
        let dot = |(i, marks): (usize, &Vec<super::training::Mark>)| {
            let last = marks.last().filter(|mark| mark.at == rungs[rung] && mark.right.is_finite())?;
            Some([found.bench.trials[i].config.rate, last.right])
        };
        let name = format!("Ended at rung {}", rung + 1);
        line(&name, found.bench.marks.iter().enumerate().filter_map(dot).collect())
    };
    chart(
        "space",
        "Which learning rates came far?",
        "Each dot is a trial, at the score it ended with. Where do the dots of the last rung stand, and where those of the first?",
        (Axis::log("Learning rate"), Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Right (%)") }),
        ChartBody::Scatter { series: (0..rungs.len()).map(of).filter(|one| !one.points.is_empty()).collect() },
    )
}

pub(super) fn winners(configs: &[Config], fresh: &[Fresh]) -> Table {
    let names = ["Winner of your method", "Winner of random search", "Untuned"];
    let row = |((config, fresh), name): ((&Config, &Fresh), &&str)| {
        let number = |x: &[f64]| Cell::Number((10.0 * mean(x)).round() / 10.0);
        let text = |words: &str| Cell::Text(words.to_owned());
        vec![text(name), text(&config.words()), number(&fresh.choosing), number(&fresh.judging)]
    };
    table(
        "winners",
        "The winners, trained anew",
        &["Trained anew", "Configuration", "Right, families that choose (%)", "Right, unseen families (%)"],
        configs.iter().zip(fresh).zip(&names).map(row).collect(),
    )
}

/// Widths by layer and kind.
pub(super) fn policy(policy: &Policy, model: &Model) -> Chart {
    let part = |name: &str, at: usize| name.split('.').nth(at).unwrap_or("").to_owned();
    let layer = |name: &str| part(name, 2);
    let (mut rows, mut columns) = (Vec::<String>::new(), Vec::<String>::new());
    for name in &model.names {
        let (l, k) = (layer(name), part(name, 4));
        if !rows.contains(&l) {
            rows.push(l);
        }
        if !columns.contains(&k) {
            columns.push(k);
        }
    }
    let mut values = vec![vec![0.0; columns.len()]; rows.len()];
    for (name, width) in model.names.iter().zip(policy) {
        let place = (rows.iter().position(|r| *r == layer(name)), columns.iter().position(|c| *c == part(name, 4)));
        if let (Some(r), Some(c)) = place {
            values[r][c] = f64::from(BITS[*width]);
        }
    }
    chart(
        "policy",
        "Who gets the bits?",
        "Bits of each matrix in the policy that was found, by layer (down) and kind (across).",
        (Axis::linear("Matrix"), Axis::linear("Layer")),
        ChartBody::Heatmap { rows, columns, values },
    )
}
