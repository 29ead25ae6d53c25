//! The time that workers of their own would take: the order of events as it was, with times of work and of messages put in.

use std::collections::VecDeque;

use super::{Event, Work};

/// What a message takes: a fixed time, and time for each byte.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wire {
    /// Milliseconds of an empty message.
    pub latency_ms: f64,
    /// Bytes in a millisecond.
    pub bytes_per_ms: f64,
}

/// Something that took time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// At this worker.
    pub rank: usize,
    /// From, in milliseconds.
    pub start: f64,
    /// To.
    pub end: f64,
    /// What was computed; `None`: it waited for a message.
    pub work: Option<Work>,
}

/// What happened when.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// In the order of events.
    pub spans: Vec<Span>,
    /// When the last worker was done, in milliseconds.
    pub end_ms: f64,
}

// ANCHOR: replay
/// Puts times into what happened. A worker sends and receives one message at a time, both at once; it computes while its message
/// is under way, but it waits for what it receives. `ms` says what work on so many tokens takes.
#[must_use]
pub fn replay(events: &[Event], ranks: usize, wire: Wire, ms: impl Fn(Work, usize) -> f64) -> Timeline {
    let [mut clock, mut out, mut entry] = [const { Vec::new() }; 3];
    for times in [&mut clock, &mut out, &mut entry] {
        times.resize(ranks, 0.0_f64);
    }
    let mut arrivals = vec![VecDeque::new(); ranks * ranks];
    let mut spans = Vec::new();
    for event in events {
        let (rank, end, work) = match *event {
            Event::Send { from, to, bytes } => {
                let takes = bytes as f64 / wire.bytes_per_ms;
                let starts = clock[from].max(out[from]).max(entry[to]);
                (out[from], entry[to]) = (starts + takes, starts + takes);
                arrivals[from * ranks + to].push_back(starts + takes + wire.latency_ms);
                continue;
            }
            Event::Receive { at, from } => {
                let arrival = arrivals[from * ranks + at].pop_front().unwrap_or(0.0);
                (at, arrival.max(clock[at]), None)
            }
            Event::Work { at, work, tokens } => (at, clock[at] + ms(work, tokens), Some(work)),
        };
        if end > clock[rank] {
            spans.push(Span { rank, start: clock[rank], end, work });
        }
        clock[rank] = end;
    }
    Timeline { spans, end_ms: clock.into_iter().fold(0.0, f64::max) }
}
// ANCHOR_END: replay

/// Latency and bandwidth from messages of several sizes `(bytes, ms)`, by least squares; `None` where sizes or times do not tell.
#[must_use]
pub fn fit_wire(messages: &[(f64, f64)]) -> Option<Wire> {
    let n = messages.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| messages.iter().map(of).sum::<f64>() / n;
    // Each size counts by its own time, or the longest message would decide about the latency.
    let weight = |m: &(f64, f64)| 1.0 / (m.1 * m.1).max(1e-18);
    let all = mean(&weight);
    let (x, y) = (mean(&|m| weight(m) * m.0) / all, mean(&|m| weight(m) * m.1) / all);
    let slope =
        mean(&|m| weight(m) * (m.0 - x) * (m.1 - y)) / mean(&|m| weight(m) * (m.0 - x).powi(2)).max(f64::MIN_POSITIVE);
    (slope > 0.0 && slope.is_finite()).then(|| Wire { latency_ms: (y - slope * x).max(0.0), bytes_per_ms: 1.0 / slope })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: Wire = Wire { latency_ms: 1.0, bytes_per_ms: 100.0 };

    #[test]
    fn times_are_those_on_paper() {
        let send = |from, to| Event::Send { from, to, bytes: 200 };
        let work = |at| Event::Work { at, work: Work::Forward(0), tokens: 3 };
        // Worker 0 computes 3 ms and sends for 2 ms; 1 ms later worker 1 has it, computes, and sends it back.
        let events = [
            work(0),
            send(0, 1),
            Event::Receive { at: 1, from: 0 },
            work(1),
            send(1, 0),
            Event::Receive { at: 0, from: 1 },
        ];
        let found = replay(&events, 2, WIRE, |_, tokens| tokens as f64);
        assert_eq!(found.end_ms, 12.0);
        let ends: Vec<(usize, f64, bool)> = found.spans.iter().map(|s| (s.rank, s.end, s.work.is_some())).collect();
        assert_eq!(ends, [(0, 3.0, true), (1, 6.0, false), (1, 9.0, true), (0, 12.0, false)]);
        // Two senders share the receiver's entry.
        let both = [send(1, 0), send(2, 0), Event::Receive { at: 0, from: 1 }, Event::Receive { at: 0, from: 2 }];
        assert_eq!(replay(&both, 3, WIRE, |_, _| 0.0).end_ms, 5.0);
    }

    #[test]
    fn a_fit_finds_what_was_put_in() {
        let of = |bytes: f64| (bytes, WIRE.latency_ms + bytes / WIRE.bytes_per_ms);
        let found = fit_wire(&[of(4.0), of(400.0), of(4000.0), of(40_000.0)]).expect("tells");
        assert!((found.latency_ms - 1.0).abs() < 1e-9 && (found.bytes_per_ms - 100.0).abs() < 1e-6, "{found:?}");
        assert_eq!(fit_wire(&[(10.0, 1.0), (10.0, 1.0)]), None);
        assert_eq!(fit_wire(&[]), None);
    }
}
