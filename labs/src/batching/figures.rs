//! Lanes of requests, the knees of the policies, and what steps take.

use lab_api::{Axis, Cell, Chart, ChartBody, Series, Span, Table};
use lab_kit::{serving::Log, stats::median};

use super::{
    Policy,
    server::{Measured, ROWS},
    summary::{Knee, name},
};

/// Lanes that a chart shows.
const LANES: usize = 16;

/// One lane for each request: waiting, reading, writing.
pub(super) fn gantt(id: &str, policy: Policy, log: &Log) -> Chart {
    let (mut lanes, mut spans) = (Vec::new(), Vec::new());
    for (lane, trace) in log.traces.iter().take(LANES).enumerate() {
        lanes.push(format!("{}", lane + 1));
        let (Some(first), Some(last)) = (trace.tokens_ms.first(), trace.tokens_ms.last()) else { continue };
        let parts = [
            ("waits", trace.arrival_ms, trace.begin_ms),
            ("is read", trace.begin_ms, *first),
            ("is answered", *first, *last),
        ];
        for (colour, (label, start, end)) in parts.into_iter().enumerate() {
            if end > start {
                spans.push(Span { lane, start, end, label: label.into(), colour });
            }
        }
    }
    Chart {
        id: id.into(),
        title: format!("Who waits for whom? {}", name(policy)),
        caption: "One lane for each request, from its arrival to its last token: it waits, its prompt is read, its answer is written. Really served.".into(),
        x: Axis::linear("Time (ms)"),
        y: Axis::linear("Request"),
        body: ChartBody::Gantt { lanes, spans },
    }
}

/// The wait against the load, policy by policy.
pub(super) fn knees(knees: &[Knee]) -> Chart {
    let series = |knee: &Knee| Series { name: knee.0.into(), points: knee.1.clone(), band: vec![] };
    Chart {
        id: "knees".into(),
        title: "How much load can each policy bear?".into(),
        caption: "Time to the first token that 99 of 100 requests do not exceed, against the load. Each point has many requests, on a time line with the times of steps measured here. A line ends where requests come faster than they are served.".into(),
        x: Axis::linear("Load (requests/s)"),
        y: Axis::log("Time to the first token, 99 of 100 (ms)"),
        body: ChartBody::Line { series: knees.iter().map(series).collect() },
    }
}

/// Tokens a second against sequences in a step.
pub(super) fn steps(measured: &Measured) -> Chart {
    let rate = |i: usize| 1e3 * ROWS[i] as f64 / median(&measured.rows[i]).max(f64::MIN_POSITIVE);
    let points: Vec<[f64; 2]> = (0..ROWS.len()).map(|i| [ROWS[i] as f64, rate(i)]).collect();
    let ideal = ROWS.map(|rows| [rows as f64, rows as f64 * rate(0)]).to_vec();
    let series = |name: &str, points| Series { name: name.into(), points, band: vec![] };
    Chart {
        id: "steps".into(),
        title: "What does company bring?".into(),
        caption:
            "Tokens a second of all sequences of a step together. If company were free, the upper line would hold."
                .into(),
        x: Axis::log("Sequences in a step"),
        y: Axis::log("Tokens a second"),
        body: ChartBody::Line { series: vec![series("If company were free", ideal), series("Measured", points)] },
    }
}

/// What was timed.
pub(super) fn costs(measured: &Measured) -> Table {
    let costs = &measured.costs;
    let row = |what: String, ms: f64| vec![Cell::from(what), Cell::from(ms)];
    let mut rows = Vec::new();
    for (count, ms) in &costs.decode {
        rows.push(row(format!("writes for {count}, {} tokens in each", costs.contexts[0]), ms[0]));
        rows.push(row(format!("writes for {count}, {} tokens in each", costs.contexts[1]), ms[1]));
    }
    rows.extend(costs.prefill.iter().skip(1).map(|(tokens, ms)| row(format!("reads {tokens} tokens"), *ms)));
    rows.push(row("spared by doing both in one step".into(), costs.shared_ms));
    rows.push(row("added by 1,000 pairs with tokens read earlier".into(), 1e3 * costs.past_ms));
    Table {
        id: "costs".into(),
        title: "What a step takes".into(),
        columns: vec!["A step that".into(), "ms".into()],
        rows,
    }
}
