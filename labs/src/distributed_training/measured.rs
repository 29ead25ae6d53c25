//! What is timed: the parts of a step on one worker, and a message. What several workers take is simulated from that.

use std::hint::black_box;

use lab_api::LabError;
use lab_kit::tuning::optim::{Adam, adamw};
use lab_kit::{
    Context,
    measure::in_turns,
    peers::{Event, Link, Mail, Timeline, Wire, Work, fit_wire, replay, take_in, to_bytes},
    sharding::Stage,
    stats::median,
};

use super::{
    LinkChoice,
    arms::{LETTERS, Setup},
};

/// Windows that parts are timed with: between them times are taken to grow evenly.
const WINDOWS: [usize; 2] = [1, 8];
/// Numbers of the messages that are timed.
const MESSAGES: [usize; 4] = [16, 1024, 16_384, 131_072];
/// Parts: embedding, layer and head, each forward and backward.
const PARTS: usize = 6;

/// Milliseconds by round.
pub(super) struct Costs {
    /// Part, then windows.
    parts: Vec<Vec<f64>>,
    update: Vec<f64>,
    updated: usize,
    messages: Vec<Vec<f64>>,
    last: usize,
}

impl Costs {
    pub(super) fn rounds(&self) -> usize {
        self.update.len()
    }

    /// Milliseconds of work in a round.
    pub(super) fn ms(&self, round: usize, work: Work, tokens: f64) -> f64 {
        let part = |unit: usize| {
            if unit == 0 {
                0
            } else if unit == self.last {
                2
            } else {
                1
            }
        };
        let part = match work {
            Work::Forward(unit) => part(unit),
            Work::Backward(unit) => 3 + part(unit),
            Work::Update(count) => return self.update[round] * count as f64 / self.updated.max(1) as f64,
        };
        let [few, many] = [0, 1].map(|i| self.parts[2 * part + i][round]);
        let share = (tokens / LETTERS as f64 - WINDOWS[0] as f64) / (WINDOWS[1] - WINDOWS[0]) as f64;
        (few + (many - few) * share).max(0.0)
    }

    /// Milliseconds of all work of one worker that reads so many windows and updates all weights.
    pub(super) fn step(&self, round: usize, windows: f64) -> f64 {
        let tokens = windows * LETTERS as f64;
        let both = |unit| self.ms(round, Work::Forward(unit), tokens) + self.ms(round, Work::Backward(unit), tokens);
        (0..=self.last).map(both).sum::<f64>() + self.ms(round, Work::Update(self.updated), 0.0)
    }

    /// A message within this thread.
    pub(super) fn copy(&self) -> Wire {
        let points: Vec<(f64, f64)> =
            MESSAGES.iter().zip(&self.messages).map(|(count, ms)| (4.0 * *count as f64, median(ms))).collect();
        fit_wire(&points).unwrap_or(Wire { latency_ms: 0.0, bytes_per_ms: 1e6 })
    }

    pub(super) fn wire(&self, link: LinkChoice) -> Wire {
        wire(link).unwrap_or_else(|| self.copy())
    }

    /// A step of workers of their own, whose windows are `times` as many as those of the events.
    pub(super) fn simulate(&self, round: usize, events: &[Event], (n, wire): (usize, Wire), times: f64) -> Timeline {
        replay(events, n, wire, |work, tokens| self.ms(round, work, tokens as f64 * times))
    }
}

/// What is assumed of a link; `None`: what was measured.
pub(super) fn wire(link: LinkChoice) -> Option<Wire> {
    let of = |latency_ms: f64, bytes_per_ms: f64| Some(Wire { latency_ms, bytes_per_ms });
    match link {
        LinkChoice::Copy => None,
        LinkChoice::Node => of(0.005, 450e6),
        LinkChoice::Rack => of(0.05, 1.25e6),
        LinkChoice::Office => of(0.2, 0.125e6),
        LinkChoice::Home => of(10.0, 0.0025e6),
    }
}

pub(super) async fn measure(setup: &Setup<'_>, rounds: usize, cx: &Context) -> Result<Costs, LabError> {
    let (units, sizes) = (&setup.units, setup.units.sizes());
    let last = sizes.len() - 1;
    let (embedding, layer) = (&setup.weights[..sizes[0]], &setup.weights[sizes[0]..sizes[0] + sizes[1]]);
    let head = &setup.weights[setup.weights.len() - sizes[last]..];
    let most = WINDOWS[1] * LETTERS;
    let tokens: Vec<usize> = (0..most).map(|i| (7 * i + i / 5) % units.0.vocabulary).collect();
    let (start, channels) = (units.enter(embedding, &tokens), units.0.channels);
    let trails: Vec<_> = WINDOWS
        .iter()
        .map(|windows| units.layer_forward(0, layer, &mut start[..windows * LETTERS * channels].to_vec(), LETTERS))
        .collect();
    let mut gradient = vec![0.0; sizes.iter().copied().max().unwrap_or(0)];
    let mut parts = in_turns(cx, 2 * PARTS, rounds, |i| {
        let rows = WINDOWS[i % 2] * LETTERS;
        let (own, mut x) = (&tokens[..rows], start[..rows * channels].to_vec());
        match i / 2 {
            0 => drop(black_box(units.enter(embedding, own))),
            1 => drop(black_box(units.layer_forward(0, layer, &mut x, LETTERS))),
            2 => drop(black_box(units.leave(head, x, own))),
            3 => units.enter_backward(own, &x, &mut gradient),
            4 => units.layer_backward((0, &trails[i % 2]), layer, &mut x, &mut gradient[..layer.len()], LETTERS),
            _ => {
                let answers = units.leave(head, x, own);
                drop(black_box(units.leave_backward(head, answers, 1.0, &mut gradient)));
            }
        }
    })
    .await?;
    // The head's way back was timed with its way forth.
    for i in 0..2 {
        let forward = parts[4 + i].clone();
        parts[10 + i].iter_mut().zip(forward).for_each(|(both, forward)| *both = (*both - forward).max(0.0));
    }
    let mut weights = setup.weights.clone();
    let (g, mut m, mut v) = (vec![0.01; weights.len()], vec![0.0; weights.len()], vec![0.0; weights.len()]);
    let update =
        in_turns(cx, 1, rounds, |_| adamw(&mut weights, &g, (&mut m, &mut v), 1, 0.001, &Adam::W)).await?.remove(0);
    let mail = Mail::new(2);
    let ports = mail.ports();
    let (x, mut y) = (vec![0.5; MESSAGES[3]], vec![0.0; MESSAGES[3]]);
    let messages = in_turns(cx, MESSAGES.len(), rounds, |i| {
        ports[0].send(1, to_bytes(&x[..MESSAGES[i]]));
        if let Some(message) = ports[1].take(0) {
            take_in(&mut y, &message);
        }
        drop(mail.take_events());
    })
    .await?;
    Ok(Costs { parts, update, updated: setup.weights.len(), messages, last })
}

/// Operations of a step on so many windows, 6 for each weight and letter, and attention's own.
pub(super) fn flops(setup: &Setup, windows: f64) -> f64 {
    let stack = &setup.units.0;
    let table = 2 * LETTERS * (stack.keys + stack.channels) * stack.layers.len();
    let multiplied = setup.weights.len() - setup.units.sizes()[0];
    windows * LETTERS as f64 * (6 * multiplied + 3 * table) as f64
}

/// Letters that a worker must read in a step so that its arithmetic takes as long as its messages do on this link, latency aside.
pub(super) fn letters_to_hide(setup: &Setup, gflops: f64, wire: Wire, stage: Stage) -> f64 {
    let bytes = lab_kit::sharding::Bytes::FP32;
    let n = setup.workers() as f64;
    lab_kit::sharding::tokens_to_hide(bytes, stage, n, 1e9 * gflops, 1e3 * wire.bytes_per_ms)
}
