//! Charts and tables of a run.

use lab_api::{Axis, Cell, Chart, ChartBody, Series, Span as Bar, Table};
use lab_kit::{
    peers::{Event, Work},
    sharding::{Bytes, Held, Stage, state_bytes, tokens_to_hide},
    stats::median,
};

use super::{
    LinkChoice, Model, Params, StageChoice,
    arms::{ARRIVAL, FIRST, ONE, Ran, STAGES, Setup},
    measured::Costs,
};

/// A name, and what was kept of its training.
pub(super) type Named = (&'static str, Ran);

/// Bytes of a megabyte.
const MB: f64 = 1e6;
/// Of a device of the table: operations and bytes a second, about an H100 with 400 gigabits of network.
const DEVICE: (f64, f64) = (989e12, 50e9);

pub(super) fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: vec![] }
}

/// What a stage of the parameters is.
pub(super) fn stage(choice: StageChoice) -> Stage {
    Stage::ALL[choice as usize]
}

/// Weights of a real model.
pub(super) fn weights(model: Model) -> f64 {
    match model {
        Model::Small => 1.5e9,
        Model::Paper => 7.5e9,
        Model::Large => 70e9,
        Model::Gpt3 => 175e9,
        Model::Largest => 405e9,
    }
}

/// THE picture: what one worker holds, piece by piece, and what it sent.
pub(super) fn held(all: &[(String, Held)]) -> Chart {
    let mut spans = Vec::new();
    for (lane, (_, held)) in all.iter().enumerate() {
        let pieces = [
            ("Weights", held.weights),
            ("Gradients", held.gradients),
            ("Moments", held.moments),
            ("Passing through", held.passing),
            ("Activations", held.activations),
        ];
        let mut start = 0.0;
        for (colour, (label, bytes)) in pieces.into_iter().enumerate().filter(|(_, (_, bytes))| *bytes > 0) {
            let end = start + bytes as f64 / MB;
            spans.push(Bar { lane, start, end, label: label.into(), colour: colour + 1 });
            start = end;
        }
    }
    Chart {
        id: "held".into(),
        title: "What does one worker hold, and what does it send?".into(),
        caption: "The most of each kind, counted from the worker's own buffers. From left to right: weights, gradients, moments, a thin piece for what passes through, activations. Beside each name stands what the worker sends in a step. The bars get shorter, the messages of the first three do not get longer; the last piece belongs to the text and is the same for all.".into(),
        x: Axis { min: Some(0.0), ..Axis::linear("Held by one worker (MB)") },
        y: Axis::linear("Stage"),
        body: ChartBody::Gantt { lanes: all.iter().map(|(name, _)| name.clone()).collect(), spans },
    }
}

pub(super) fn held_of_run(ran: &[Named]) -> Chart {
    let of = |(i, (name, one)): (usize, &Named)| {
        let sent = one.sent_in_a_step().bytes as f64 / MB;
        (format!("{}: sends {sent:.2} MB", if i == 0 { "Uncut" } else { name }), one.peak)
    };
    held(&ran[FIRST..FIRST + STAGES.len()].iter().enumerate().map(of).collect::<Vec<_>>())
}

/// How far weights are apart.
pub(super) fn apart(ran: &[Named]) -> Option<Chart> {
    let billionths = |points: Vec<[f64; 2]>| -> Vec<[f64; 2]> {
        points.into_iter().filter(|p| p[1] > 0.0).map(|[x, y]| [x, 1e9 * y]).collect()
    };
    let (one, ring, arrival) = (&ran[ONE].1, &ran[FIRST].1, &ran[ARRIVAL].1);
    let drift = billionths(arrival.marks.iter().map(|mark| [mark.step as f64, mark.apart]).collect());
    let series = vec![
        line("Ring, from one worker with all windows", billionths(ring.from(one))),
        line("Sums by arrival, from one worker", billionths(arrival.from(one))),
        line("Sums by arrival, workers from each other", drift),
    ];
    let series: Vec<Series> = series.into_iter().filter(|series| !series.points.is_empty()).collect();
    (!series.is_empty()).then(|| Chart {
        id: "apart".into(),
        title: "How far are weights apart?".into(),
        caption: "Length of the difference over the length of the weights. All sums here are right to their last bits. With a ring, workers are never apart from each other, so that line does not exist: zero has no place on this axis.".into(),
        x: Axis::log("Steps"),
        y: Axis::log("Apart (billionths of the weights' length)"),
        body: ChartBody::Line { series },
    })
}

/// Share of n times one worker's speed, over windows, by link.
pub(super) fn speeds(costs: &Costs, setup: &Setup, events: &[Event], name: &str) -> Chart {
    let links = [
        ("NVLink", LinkChoice::Node),
        ("10 gigabit Ethernet", LinkChoice::Rack),
        ("Gigabit Ethernet", LinkChoice::Office),
        ("Between homes", LinkChoice::Home),
    ];
    let of = |link: LinkChoice| {
        let point = |windows: f64| {
            let times = windows / setup.shares[0].max(1) as f64;
            let at = |round: usize| {
                let took = costs.simulate(round, events, (setup.workers(), costs.wire(link)), times).end_ms;
                100.0 * costs.step(round, windows) / took.max(1e-9)
            };
            [windows, median(&(0..costs.rounds()).map(at).collect::<Vec<_>>())]
        };
        (0..8).map(|i| point(f64::from(1 << i))).collect::<Vec<_>>()
    };
    Chart {
        id: "speeds".into(),
        title: "How much of the workers is used?".into(),
        caption: format!(
            "Simulated: {name}, {} workers with a processor each, without overlap of messages and arithmetic. Parts of a step were timed on this device, links are assumed. More text for each worker hides a slow link.",
            setup.workers()
        ),
        x: Axis::log("Windows for each worker"),
        y: Axis { min: Some(0.0), ..Axis::linear("Of n times one worker (%)") },
        body: ChartBody::Line { series: links.into_iter().map(|(name, link)| line(name, of(link))).collect() },
    }
}

/// One step, by worker.
pub(super) fn step(costs: &Costs, setup: &Setup, events: &[Event], params: &Params) -> Chart {
    let n = setup.workers();
    let found = costs.simulate(costs.rounds() / 2, events, (n, costs.wire(params.link)), 1.0);
    let mut spans: Vec<Bar> = Vec::new();
    for rank in 0..n {
        for span in found.spans.iter().filter(|span| span.rank == rank) {
            let (label, colour) = match span.work {
                Some(Work::Forward(_)) => ("forward", 1),
                Some(Work::Backward(_)) => ("backward", 2),
                Some(Work::Update(_)) => ("update", 3),
                None => ("waits", 0),
            };
            match spans.last_mut() {
                Some(last) if last.lane == rank && last.colour == colour => last.end = span.end,
                _ => spans.push(Bar { lane: rank, start: span.start, end: span.end, label: label.into(), colour }),
            }
        }
    }
    Chart {
        id: "step".into(),
        title: "What happens in one step?".into(),
        caption: format!(
            "{}: the order is that of the messages that were really sent, the times are simulated for the chosen link. Pale pieces wait for a message.",
            STAGES[params.stage as usize]
        ),
        x: Axis { min: Some(0.0), ..Axis::linear("Time (ms, simulated)") },
        y: Axis::linear("Worker"),
        body: ChartBody::Gantt { lanes: (0..n).map(|rank| format!("Worker {rank}")).collect(), spans },
    }
}

/// Loss of the training text, a few steps averaged.
pub(super) fn losses(ran: &[Named], letters: usize) -> Chart {
    let smooth = |losses: &[f64]| {
        let each = losses.len().div_ceil(40).max(1);
        let parts = losses.chunks(each).enumerate();
        let of = |(i, part): (usize, &[f64])| {
            [((i * each + part.len()) * letters) as f64, part.iter().sum::<f64>() / part.len() as f64]
        };
        parts.map(of).collect()
    };
    let shown = ran.iter().enumerate().filter(|(i, _)| *i <= FIRST || *i > ARRIVAL);
    Chart {
        id: "losses".into(),
        title: "Does it learn the same?".into(),
        caption: "Loss of the training text against the letters that all workers have read. One worker and four in step draw one line.".into(),
        x: Axis::linear("Letters read by all workers"),
        y: Axis::linear("Loss (nats)"),
        body: ChartBody::Line { series: shown.map(|(_, (name, one))| line(name, smooth(&one.losses))).collect() },
    }
}

/// A model of the table on its devices.
pub(super) fn real(params: &Params) -> Table {
    let (count, n) = (weights(params.model), f64::from(params.devices));
    let row = |(stage, name): (Stage, &str)| {
        let held = |bytes| state_bytes(count, bytes, stage, n) / 1e9;
        let sent = tokens_to_hide(Bytes::MIXED, stage, n, 6.0, 1.0) * count / 1e9;
        let tokens = tokens_to_hide(Bytes::MIXED, stage, n, DEVICE.0, DEVICE.1);
        let fits = if held(Bytes::MIXED) < 80.0 { "yes" } else { "no" };
        vec![
            Cell::from(name),
            Cell::from(held(Bytes::MIXED)),
            Cell::from(fits),
            Cell::from(held(Bytes::FP32)),
            Cell::from(sent),
            Cell::from(tokens),
        ]
    };
    let columns = [
        "Stage",
        "States on a device, mixed precision (GB)",
        "Fit beside nothing else in 80 GB",
        "The same in FP32 (GB)",
        "Sent by a device in a step (GB)",
        "Tokens a device to hide it",
    ];
    Table {
        id: "real".into(),
        title: format!("{} billion weights on {} devices", count / 1e9, params.devices),
        columns: columns.map(str::to_owned).to_vec(),
        rows: Stage::ALL.into_iter().zip(STAGES).map(row).collect(),
    }
}

/// What was counted, way by way.
pub(super) fn counts(ran: &[Named]) -> Table {
    let row = |(name, one): &Named| {
        let sent = one.sent_in_a_step();
        vec![
            Cell::from(*name),
            Cell::from((one.most[0] + one.beside) as f64),
            Cell::from(one.most[1] as f64),
            Cell::from(sent.bytes as f64),
            Cell::from(sent.messages as f64),
            Cell::from(if one.agree { "yes" } else { "no" }),
            Cell::from(one.judged),
        ]
    };
    let columns = [
        "Way",
        "States at once (bytes)",
        "With activations (bytes)",
        "Sent in a step by the busiest (bytes)",
        "In messages",
        "All workers hold the same bits",
        "Loss on unseen text (nats)",
    ];
    Table {
        id: "counts".into(),
        title: "Counted on a worker".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: ran.iter().map(row).collect(),
    }
}
