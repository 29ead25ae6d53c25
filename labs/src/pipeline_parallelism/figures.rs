//! Charts and tables.

use std::ops::Range;

use lab_api::{Axis, Cell, Chart, ChartBody, LabError, Series, Span, Table};
use lab_kit::{
    peers::Wire,
    pipeline::{Half, PipeSlot, zero_bubble},
    stats::median,
};

use super::{
    Params, PipeLink, Schedule, Split,
    arms::{Arm, LAYERS, Ran, Setup},
    measured::{Costs, Stepped},
};

/// Bytes of a megabyte.
pub(super) const MB: f64 = 1e6;

pub(super) fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: vec![] }
}

pub(super) fn chart(id: &str, title: &str, caption: &str, (x, y): (Axis, Axis), body: ChartBody) -> Chart {
    Chart { id: id.into(), title: title.into(), caption: caption.into(), x, y, body }
}

/// Lanes of one order: what each worker does, and where it waits.
pub(super) fn lanes(spans: &mut Vec<Span>, first: usize, slots: &[PipeSlot], updates: &[[f64; 2]], end: f64) {
    let mut free = vec![0.0; updates.len()];
    let mut all: Vec<(usize, f64, f64, String, usize)> = slots
        .iter()
        .map(|slot| {
            let (letter, colour) = match slot.op.half {
                Half::Forward => ('F', 1),
                Half::Backward => ('B', 2),
                Half::Weights => ('W', 4),
            };
            (slot.rank, slot.start, slot.end, format!("{letter}{}", slot.op.micro + 1), colour)
        })
        .collect();
    all.extend(updates.iter().enumerate().map(|(rank, [start, end])| (rank, *start, *end, "update".into(), 3)));
    for (rank, start, stop, label, colour) in all {
        if start > free[rank] + 0.005 * end {
            spans.push(Span { lane: first + rank, start: free[rank], end: start, label: "waits".into(), colour: 0 });
        }
        spans.push(Span { lane: first + rank, start, end: stop, label, colour });
        free[rank] = stop;
    }
}

/// THE picture: two orders over each other on one axis of time.
pub(super) fn steps(both: [(&str, &Stepped); 2]) -> Chart {
    let (mut names, mut spans) = (Vec::new(), Vec::new());
    let end = both.iter().map(|(_, step)| step.end).fold(0.0, f64::max);
    for (name, step) in both {
        lanes(&mut spans, names.len(), &step.line.slots, &step.updates, end);
        names.extend((0..step.updates.len()).map(|rank| format!("{name}: worker {rank}")));
    }
    chart(
        "steps",
        "What happens in one step?",
        "F1 is the way forward of the first micro-batch, B1 its way back. Pale pieces wait. Simulated for workers with a processor each, from layers that were timed on this device. Compare where both orders end, and how many F stand before the first B.",
        (Axis { min: Some(0.0), ..Axis::linear("Time (ms, simulated)") }, Axis::linear("Worker")),
        ChartBody::Gantt { lanes: names, spans },
    )
}

/// The other picture: what each worker holds at its fullest.
pub(super) fn held(all: &[(String, [usize; 3])]) -> Chart {
    let mut spans = Vec::new();
    for (lane, (_, [states, activations, _])) in all.iter().enumerate() {
        let (states, end) = (*states as f64 / MB, (states + activations) as f64 / MB);
        spans.push(Span { lane, start: 0.0, end: states, label: "Weights, gradients, moments".into(), colour: 1 });
        spans.push(Span { lane, start: states, end, label: "Activations".into(), colour: 2 });
    }
    chart(
        "held",
        "What does each worker hold?",
        "The most at once, counted from the worker's own buffers. The first piece is cut by the number of workers. The second one grows with the micro-batches that wait for their way back.",
        (Axis { min: Some(0.0), ..Axis::linear("Held at most (MB)") }, Axis::linear("Worker")),
        ChartBody::Gantt { lanes: all.iter().map(|(name, _)| name.clone()).collect(), spans },
    )
}

pub(super) fn held_of(arms: &[Arm], ran: &[Ran], shown: &[usize]) -> Chart {
    let mut all = Vec::new();
    for at in shown {
        for (rank, held) in ran[*at].held.iter().enumerate() {
            let name = arms[*at].name;
            let words = if *at == 0 { name.to_owned() } else { format!("{name}: worker {rank}") };
            all.push((words, *held));
        }
    }
    held(&all)
}

/// Milliseconds of each unit, by where it is cut.
pub(super) fn cuts(costs: &Costs, workers: usize) -> Chart {
    let (mut names, mut spans) = (Vec::new(), Vec::new());
    for (words, split) in [("Equal layers", Split::EqualLayers), ("By time", Split::ByTime)] {
        for (rank, chunk) in costs.cut(split, workers).into_iter().enumerate() {
            let mut start = 0.0;
            for unit in chunk {
                let end = start + costs.usual(unit).iter().sum::<f64>();
                let (label, colour) = match unit {
                    0 => ("embedding".to_owned(), 3),
                    unit if unit == LAYERS + 1 => ("output layer".to_owned(), 2),
                    unit => (format!("layer {unit}"), 1),
                };
                spans.push(Span { lane: names.len(), start, end, label, colour });
                start = end;
            }
            names.push(format!("{words}: worker {rank}"));
        }
    }
    chart(
        "cuts",
        "Who has how much to do?",
        "Forward and backward of one micro-batch through each layer, timed on this device, dealt out in two ways. The output layer takes as long as some layers do, the embedding next to nothing. The longest row sets the pace of all.",
        (Axis { min: Some(0.0), ..Axis::linear("Time (ms)") }, Axis::linear("Worker")),
        ChartBody::Gantt { lanes: names, spans },
    )
}

/// Speed against the number of micro-batches.
pub(super) fn speeds(costs: &Costs, setup: &Setup, wire: Wire) -> Result<Chart, LabError> {
    let p = setup.workers;
    let counts = [1, 2, 4, 8, 16, 32];
    let mut series =
        vec![line("On paper, equal times", counts.map(|m| [m as f64, (p * m) as f64 / (m + p - 1) as f64]).to_vec())];
    let kinds = [
        ("1F1B, equal times cut", Schedule::OneFOneB, Split::ByTime),
        ("1F1B, equal layers", Schedule::OneFOneB, Split::EqualLayers),
        ("GPipe, equal layers", Schedule::Gpipe, Split::EqualLayers),
        ("One micro-batch at a time", Schedule::Naive, Split::EqualLayers),
    ];
    for (name, schedule, split) in kinds {
        let arm = Arm::of(schedule);
        let cut = costs.cut(split, arm.chunks(p));
        let mut points = Vec::new();
        for m in counts {
            points.push([m as f64, median(&speed(costs, setup, (&arm, &cut), (m, wire))?)]);
        }
        series.push(line(name, points));
    }
    Ok(chart(
        "speeds",
        "How many times as fast as one worker?",
        "Simulated for workers with a processor each. With one micro-batch nothing is won. The line on paper takes all stages for equally long; equal numbers of layers stay below it for ever.",
        (Axis::log("Micro-batches"), Axis { min: Some(0.0), ..Axis::linear("Times one worker") }),
        ChartBody::Line { series },
    ))
}

/// Times one worker's speed, by round.
pub(super) fn speed(
    costs: &Costs,
    setup: &Setup,
    (arm, cut): (&Arm, &[Range<usize>]),
    (micros, wire): (usize, Wire),
) -> Result<Vec<f64>, LabError> {
    let order = arm.order(setup.workers, micros);
    let of = |round| {
        let step = costs.step(round, (&order, cut), wire, setup.message())?;
        Ok(costs.alone(round, micros) / step.end.max(1e-9))
    };
    (0..costs.rounds()).map(of).collect()
}

/// Names of links with words.
pub(super) const LINKS: [(&str, PipeLink); 4] = [
    ("a copy in this thread", PipeLink::Copy),
    ("10 gigabit Ethernet", PipeLink::Rack),
    ("1 ms", PipeLink::Slow),
    ("5 ms", PipeLink::Slower),
];

/// Id and name of an order, and milliseconds of a step.
pub(super) type OrderMs = (&'static str, &'static str, Option<f64>);

/// Milliseconds of a step under every order and link; `None` where an order does not fit.
pub(super) fn orders(costs: &Costs, setup: &Setup, split: Split, link: PipeLink) -> Result<Vec<OrderMs>, LabError> {
    let (p, m, wire) = (setup.workers, setup.micros, costs.wire(link));
    let took = |order, cut: &[Range<usize>]| -> Result<f64, LabError> {
        let of = |round| Ok(costs.step(round, (&order, cut), wire, setup.message())?.end);
        Ok(median(&(0..costs.rounds()).map(of).collect::<Result<Vec<f64>, LabError>>()?))
    };
    let kinds =
        [Schedule::Naive, Schedule::Gpipe, Schedule::OneFOneB, Schedule::Interleaved, Schedule::InterleavedFour];
    let mut all = Vec::new();
    for arm in kinds.map(Arm::of) {
        let ms = if arm.fits(p, m) { Some(took(arm.order(p, m), &costs.cut(split, arm.chunks(p)))?) } else { None };
        all.push((arm.id, arm.name, ms));
    }
    all.push(("zero_bubble", "Zero bubble (ZB-H1)", Some(took(zero_bubble(p, m), &costs.cut(split, p))?)));
    Ok(all)
}

pub(super) fn links(costs: &Costs, setup: &Setup, params: &Params) -> Result<Table, LabError> {
    let mut rows = Vec::new();
    for (words, link) in LINKS {
        let mut row = vec![Cell::from(words)];
        let all = orders(costs, setup, params.split, link)?;
        row.extend(all.into_iter().map(|(_, _, ms)| ms.map_or(Cell::from("does not fit"), Cell::from)));
        rows.push(row);
    }
    let columns = [
        "A message takes",
        "One micro-batch at a time (ms)",
        "GPipe (ms)",
        "1F1B (ms)",
        "Interleaved, 2 chunks (ms)",
        "Interleaved, 4 chunks (ms)",
        "Zero bubble, ZB-H1 (ms)",
    ];
    Ok(Table {
        id: "links".into(),
        title: format!("A step of {} workers on slower links, simulated", setup.workers),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    })
}

/// What was counted, order by order.
pub(super) fn counts(arms: &[Arm], ran: &[Ran]) -> Table {
    let row = |(arm, one): (&Arm, &Ran)| {
        let v = arm.schedule.map_or(1, Schedule::chunks) as f64;
        let of = |part: usize| one.held.iter().map(|held| held[part]).max().unwrap_or(0) as f64;
        vec![
            Cell::from(arm.name),
            Cell::from(of(0)),
            Cell::from(of(1)),
            Cell::from(of(2) / v),
            Cell::from(one.sent.bytes as f64),
            Cell::from(one.sent.messages as f64),
            Cell::from(if one.weights == ran[0].weights { "yes" } else { "no" }),
            Cell::from(one.losses[one.losses.len() - 1]),
        ]
    };
    let columns = [
        "Order",
        "Weights, gradients, moments (bytes)",
        "Activations (bytes)",
        "Of micro-batches",
        "Sent in a step (bytes)",
        "In messages",
        "The very weights of one worker",
        "Loss of the last step (nats)",
    ];
    Table {
        id: "counts".into(),
        title: "Counted: the fullest worker, and the messages of all".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: arms.iter().zip(ran).map(row).collect(),
    }
}
