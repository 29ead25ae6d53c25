//! Load that waits for the answer and load that does not, and the highest one that keeps a bound.

use lab_api::LabError;
use rand_chacha::ChaCha8Rng;

use crate::{
    Context,
    serving::{Arrivals, Lengths, draw, lindley, quantile},
};

/// Between two checkpoints of a wait, in milliseconds.
const BREATH_MS: f64 = 5.0;

/// When a query should have been sent, when it was, and when its answer was there; in milliseconds from the start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Served {
    /// The time in the schedule.
    pub scheduled_ms: f64,
    /// The server began with it.
    pub sent_ms: f64,
    /// The answer was there.
    pub done_ms: f64,
}

impl Served {
    /// What the user waits for, who came by the schedule.
    #[must_use]
    pub fn latency_ms(&self) -> f64 {
        self.done_ms - self.scheduled_ms
    }

    /// What a client sees that could not send earlier, because it waited for the answer before: coordinated omission.
    #[must_use]
    pub fn from_sent_ms(&self) -> f64 {
        self.done_ms - self.sent_ms
    }
}

/// Times of a Poisson process: `count` of them, `rate` in a second, in milliseconds.
#[must_use]
pub fn poisson(count: usize, rate: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let lengths = Lengths { prompt: (1.0, 1, 1), output: (1.0, 1, 1), spread: 0.0 };
    draw(count, rate, Arrivals::Poisson, &lengths, rng).iter().map(|request| request.arrival_ms).collect()
}

// ANCHOR: closed_loop
/// The next query when the last is done, until `count` are done and `span_ms` have passed: milliseconds of each.
///
/// # Errors
/// What the call and the checkpoints return.
pub async fn closed_loop(
    cx: &Context,
    count: usize,
    span_ms: f64,
    mut call: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Vec<f64>, LabError> {
    let (mut latencies, begin) = (Vec::with_capacity(count), cx.now_ms());
    while latencies.len() < count || cx.now_ms() - begin < span_ms {
        let start = cx.now_ms();
        call().await?;
        latencies.push(cx.now_ms() - start);
        cx.checkpoint().await?;
    }
    Ok(latencies)
}
// ANCHOR_END: closed_loop

// ANCHOR: open_loop
/// Queries by a schedule of ascending times, in milliseconds: who comes while another is served waits, and its wait counts. One
/// thread suffices. Between queries the loop watches the clock and breathes every 5 ms, since a browser's timer would wake
/// it 4 ms late.
///
/// # Errors
/// What the call and the checkpoints return.
pub async fn open_loop(
    cx: &Context,
    schedule: &[f64],
    mut call: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Vec<Served>, LabError> {
    let begin = cx.now_ms();
    let (mut all, mut breath) = (Vec::with_capacity(schedule.len()), 0.0);
    for scheduled_ms in schedule.iter().copied() {
        let mut sent_ms = cx.now_ms() - begin;
        while sent_ms < scheduled_ms {
            if sent_ms - breath > BREATH_MS {
                cx.checkpoint().await?;
                breath = sent_ms;
            }
            sent_ms = cx.now_ms() - begin;
        }
        call().await?;
        let done_ms = cx.now_ms() - begin;
        all.push(Served { scheduled_ms, sent_ms, done_ms });
        if done_ms - breath > BREATH_MS {
            cx.checkpoint().await?;
            breath = done_ms;
        }
    }
    Ok(all)
}
// ANCHOR_END: open_loop

/// Times from arrival to answer at one server that serves in order.
#[must_use]
pub fn response_times(arrivals: &[f64], service: &[f64]) -> Vec<f64> {
    lindley(arrivals, service).iter().zip(service).map(|(wait, service)| wait + service).collect()
}

// ANCHOR: peak_load
/// The highest load, as a share of what one server can bear, at which a share `p` of the answers comes within `bound`. `arrivals`
/// are those of a load of 1, for as many queries as there are service times: spread out for smaller loads, so that all loads
/// meet the same chance. 0 where even an empty house is too slow.
#[must_use]
pub fn peak_load(arrivals: &[f64], service: &[f64], bound: f64, p: f64) -> f64 {
    let keeps = |load: f64| {
        let spread: Vec<f64> = arrivals.iter().map(|time| time / load).collect();
        quantile(&response_times(&spread, service), p) <= bound
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..12 {
        let middle = f64::midpoint(low, high);
        if keeps(middle) { low = middle } else { high = middle }
    }
    low
}
// ANCHOR_END: peak_load

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use rand::Rng;

    use super::*;
    use crate::{
        rng,
        serving::pollaczek_khinchine,
        stats::median,
        testing::{FakeClock, context, ready},
    };

    /// 60,000 queries of 4.5 ms, spread by 8 %.
    fn service(rng: &mut ChaCha8Rng) -> Vec<f64> {
        (0..60_000).map(|_| 4.5 * (1.0 + 0.08 * 1.732 * rng.random_range(-1.0..1.0))).collect()
    }

    #[test]
    fn the_recursion_is_what_happens_event_by_event() {
        let mut rng = rng(0, "events");
        let service: Vec<f64> = (0..500).map(|_| rng.random_range(0.5..1.5)).collect();
        let arrivals = poisson(500, 900.0, &mut rng);
        // The naive twin walks through time: at each event somebody arrives or somebody leaves.
        let (mut waiting, mut next, mut busy_until, mut done) =
            (std::collections::VecDeque::new(), 0, None, vec![0.0; 500]);
        while next < 500 || busy_until.is_some() {
            let leaves = busy_until.map_or(f64::INFINITY, |(time, _)| time);
            let comes = arrivals.get(next).copied().unwrap_or(f64::INFINITY);
            let now = leaves.min(comes);
            if leaves <= comes {
                let (time, who): (f64, usize) = busy_until.take().expect("somebody leaves");
                done[who] = time;
            } else {
                waiting.push_back(next);
                next += 1;
            }
            if busy_until.is_none() {
                busy_until = waiting.pop_front().map(|who: usize| (now + service[who], who));
            }
        }
        for (i, response) in response_times(&arrivals, &service).iter().enumerate() {
            assert!((arrivals[i] + response - done[i]).abs() < 1e-9);
        }
    }

    #[test]
    fn waits_are_those_of_the_theory() {
        let mut rng = rng(0, "theory");
        let service = service(&mut rng);
        let arrivals = poisson(60_000, 1e3 * 0.7 / 4.5, &mut rng);
        let mean = lindley(&arrivals, &service).iter().sum::<f64>() / 6e4;
        let known = pollaczek_khinchine(0.7 / 4.5, &service).expect("stable");
        assert!((mean / known - 1.0).abs() < 0.05, "{mean} against {known}");
        // M/M/1: P(response > x) = exp(-(mu - lambda) x); mu 1, lambda 0.6.
        let service: Vec<f64> = (0..60_000).map(|_| -(1.0 - rng.random::<f64>()).ln()).collect();
        let times = response_times(&poisson(60_000, 600.0, &mut rng), &service);
        for x in [1.0, 3.0, 6.0] {
            let share = times.iter().filter(|time| **time > x).count() as f64 / 6e4;
            assert!((share - (-0.4_f64 * x).exp()).abs() < 0.03, "{x}: {share}");
        }
        // Slower than they are served, at equal distances: nobody waits. Faster: the queue grows on and on.
        let regular = |gap: f64| (0..100).map(|i| f64::from(i) * gap).collect::<Vec<f64>>();
        assert!(response_times(&regular(2.0), &[1.5; 100]).iter().all(|time| (time - 1.5).abs() < 1e-9));
        let late = response_times(&regular(1.0), &[1.5; 100]);
        assert!((late[99] - (1.5 + 99.0 * 0.5)).abs() < 1e-9);
    }

    #[test]
    fn a_bound_leaves_a_part_of_the_capacity() {
        let mut rng = rng(0, "peak");
        let service = service(&mut rng);
        let arrivals = poisson(60_000, 1e3 / 4.5, &mut rng);
        for (bound, share) in [(10.0, 0.16), (15.0, 0.36), (30.0, 0.67)] {
            let load = peak_load(&arrivals, &service, bound, 0.99);
            assert!((load - share).abs() < 0.03, "{bound} ms: {load}");
        }
        assert_eq!(peak_load(&arrivals, &service, 1.0, 0.99), 0.0);
        assert_eq!(peak_load(&[], &[], 1.0, 0.99), 1.0 - 0.5_f64.powi(12));
    }

    #[test]
    fn a_stall_hides_from_who_waits_for_the_answer() {
        // Calls of 4.5 ms; the machine stalls once, for 200 ms, after one second. Load 0.7, two seconds.
        let clock = Rc::new(FakeClock::new(0.1));
        let cx = context(clock.clone());
        let (stalled, start) = (Cell::new(false), Cell::new(0.0));
        let call = async || {
            clock.pass(4.5);
            if !stalled.get() && cx.now_ms() - start.get() > 1000.0 {
                stalled.set(true);
                clock.pass(200.0);
            }
            Ok(())
        };
        let (mut from_schedule, mut from_sent) = (Vec::new(), Vec::new());
        for seed in 0..20 {
            stalled.set(false);
            start.set(cx.now_ms());
            let schedule = poisson(310, 155.0, &mut rng(seed, "schedule"));
            let all = ready(open_loop(&cx, &schedule, call)).expect("runs");
            from_schedule.push(quantile(&all.iter().map(Served::latency_ms).collect::<Vec<_>>(), 0.9));
            let service: Vec<f64> = all.iter().map(Served::from_sent_ms).collect();
            from_sent.push(quantile(&service, 0.9));
            // What the live loop saw is what the recursion makes of the same service times.
            let told = response_times(&schedule, &service);
            assert!(all.iter().zip(&told).all(|(served, told)| (served.latency_ms() - told).abs() < 1.0 + 0.05 * told));
        }
        let (from_schedule, from_sent) = (median(&from_schedule), median(&from_sent));
        // The same in another language: 156 ms.
        assert!(
            (from_sent - 4.5).abs() < 0.5 && (140.0..175.0).contains(&from_schedule),
            "{from_sent} {from_schedule}"
        );
        stalled.set(false);
        start.set(cx.now_ms());
        let closed = ready(closed_loop(&cx, 400, 0.0, call)).expect("runs");
        assert!((quantile(&closed, 0.99) - 4.5).abs() < 0.5 && closed.iter().any(|ms| *ms > 200.0));
        clock.cancel();
        assert_eq!(ready(open_loop(&cx, &[50.0], call)), Err(LabError::Cancelled));
    }
}
