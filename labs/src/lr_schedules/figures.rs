//! Charts and tables.

use lab_api::{Axis, Cell, Chart, ChartBody, Series, Table};
use lab_kit::tuning::Task;

use super::{
    Params, Tuned,
    anytime::{Anytime, WAYS},
    score,
};
use lab_kit::order::Ordered as _;

pub(super) fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: Vec::new() }
}

pub(super) fn chart(id: &str, words: [&str; 2], (x, y): (Axis, Axis), series: Vec<Series>) -> Chart {
    let [title, caption] = words.map(str::to_owned);
    Chart { id: id.into(), title, caption, x, y, body: ChartBody::Line { series } }
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

/// How far a line through the shown rates may be from the rates, of the highest one: less than its stroke is wide.
const OFF: f64 = 0.005;

/// So many points at most: rates in any order have no line that fewer would draw.
const MOST: usize = 120;

/// Rates over the steps, as few points as draw the same line.
pub(super) fn over_steps(rates: &[f64]) -> Vec<[f64; 2]> {
    let allowed = OFF * rates.iter().copied().fold(0.0, f64::max);
    let mut shown = Vec::new();
    if !rates.is_empty() {
        shown.push([0.0, rates[0]]);
        split(rates, [0, rates.len() - 1], allowed, &mut shown);
    }
    if shown.len() > MOST {
        let every = rates.len().div_ceil(MOST);
        shown = rates.iter().enumerate().step_by(every).map(|(step, rate)| [step as f64, *rate]).collect();
    }
    shown
}

/// Adds the points after the first of `ends`: the last alone, if a line between both is close to all that lies between, else
/// those of both halves, parted where the line is furthest off.
fn split(rates: &[f64], [from, to]: [usize; 2], allowed: f64, shown: &mut Vec<[f64; 2]>) {
    let slope = (rates[to] - rates[from]) / (to - from).max(1) as f64;
    let off = |step: usize| (rates[from] + slope * (step - from) as f64 - rates[step]).abs();
    match (from + 1..to).max_by(|a, b| off(*a).total_cmp(&off(*b))).filter(|step| off(*step) > allowed) {
        Some(furthest) => {
            split(rates, [from, furthest], allowed, shown);
            split(rates, [furthest, to], allowed, shown);
        }
        None if to > from => shown.push([to as f64, rates[to]]),
        None => {}
    }
}

/// Loss by peak, one line for each schedule.
pub(super) fn peaks(lines: Vec<(&str, Vec<[f64; 2]>)>, chance: f64) -> Chart {
    let series = lines.into_iter().map(|(name, mut points)| {
        points.ordered_by(&|a, b| a[0].total_cmp(&b[0]));
        points.iter_mut().for_each(|point| point[1] = if point[1].is_finite() { point[1].min(chance) } else { chance });
        line(name, points)
    });
    chart(
        "peaks",
        [
            "Which peak does each schedule want?",
            "Loss on the examples that choose the peak. Look for the bottom of each line, then compare the lines at any one peak. A training that was lost stands at the loss of a guess.",
        ],
        (Axis::log("Peak of the rate"), Axis::linear("Loss (nats)")),
        series.collect(),
    )
}

/// What the tries say: rates and losses of the best ones side by side, and the loss by peak.
pub(super) fn tuned(all: &[Tuned], params: &Params, task: &Task) -> Vec<Chart> {
    let steps = params.planned();
    let (mut rates, mut losses) = (Vec::new(), Vec::new());
    for one in all {
        let Some((best, _)) = one.best() else { continue };
        rates.push(line(one.arm.name, over_steps(&one.arm.rates(steps, params.warmup(steps), best.peak, 0))));
        losses.push(line(one.arm.name, best.curve.clone()));
    }
    let lines = all.iter().map(|one| {
        let points = one.tries.iter().map(|tried| [tried.peak, score(&tried.chosen)]).collect();
        (one.arm.name, points)
    });
    vec![
        chart(
            "rates",
            ["What does each schedule do?", "The rate, each schedule at its own best peak."],
            (Axis::linear("Steps"), Axis::linear("Learning rate")),
            rates,
        ),
        chart(
            "losses",
            [
                "And what does the loss do?",
                "Training loss of the same runs. Who is ahead half-way, and who at the end? (Schedule-free is measured where its gradient is taken, not where it answers.)",
            ],
            (Axis::linear("Steps"), Axis::linear("Training loss (nats)")),
            losses,
        ),
        peaks(lines.collect(), task.chance()),
    ]
}

/// The trunk with its branches, the answers at each stop, and how successive updates point.
pub(super) fn anytime(found: &Anytime) -> Vec<Chart> {
    let [half, planned, twice] = found.stops;
    let names = [
        "constant".to_owned(),
        format!("cooled down by {half}"),
        format!("cooled down by {planned}"),
        format!("cooled down by {twice}"),
        format!("cosine over {twice}"),
    ];
    let branches = names.iter().zip(&found.curves).map(|(name, curve)| line(name, curve.clone())).collect();
    let right = |way: usize| -> Vec<[f64; 2]> {
        let points = found.stops.iter().zip(&found.judged[way]);
        points.filter_map(|(stop, judged)| Some([*stop as f64, judged.as_ref()?.loss])).collect()
    };
    let answers = WAYS.iter().enumerate().map(|(way, name)| line(name, right(way))).collect();
    let every = (found.stops[2] / 40).max(1);
    let bounce = ["constant", "with its cool-down"].iter().zip(&found.dynamics).map(|(name, seen)| {
        let pieces = seen.chunks(every).enumerate();
        let mean = |piece: &[super::training::Dynamics]| piece.iter().map(|d| d.turn).sum::<f64>() / piece.len() as f64;
        line(name, pieces.map(|(i, piece)| [((i + 1) * every) as f64, mean(piece)]).collect())
    });
    vec![
        chart(
            "branches",
            [
                "What does a cool-down do?",
                "Training loss of one long run at a constant rate. Three branches leave it and let the rate fall. Look how far each drops, and how fast.",
            ],
            (Axis::linear("Steps"), Axis::linear("Training loss (nats)")),
            branches,
        ),
        chart(
            "anytime",
            [
                "What have you got, if you must stop here?",
                "Loss on font families, or text, that nothing has seen, by the step at which the run ends. The cosine that was planned for this length is the mark to reach; each of its points is a run of its own.",
            ],
            (Axis::linear("Steps until the end"), Axis::linear("Loss on unseen (nats)")),
            answers,
        ),
        chart(
            "bounce",
            [
                "Do successive gradients agree?",
                "Cosine between one gradient and the next. Above zero they share a direction: the network stands up a wall. At zero only noise is left.",
            ],
            (Axis::linear("Steps"), Axis::linear("Cosine")),
            bounce.collect(),
        ),
    ]
}
