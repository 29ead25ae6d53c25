//! Mean times of spans from many passes, under clocks as coarse as a browser's.

use burn::tensor::Tensor;
use lab_api::{Interval, LabError};
use rand::Rng;

use super::{Depth, NoProbe, Part, Probe, SpanProbe, self_times};
use crate::{Context, mlp::read};

/// Fewest and most passes of a profile that goes by its budget.
const PASSES: std::ops::RangeInclusive<usize> = 20..=4000;
/// Groups of passes in a row whose means are the samples.
const BATCHES: usize = 20;
/// Milliseconds between two looks at the reader's Cancel.
const BREATH_MS: f64 = 20.0;

/// What a part took: milliseconds a pass, one mean for each group of passes.
#[derive(Debug, Clone, PartialEq)]
pub struct Spent {
    /// Which.
    pub part: Part,
    /// Calls in a pass.
    pub calls: u64,
    /// Milliseconds a pass.
    pub ms: Vec<f64>,
}

/// Where the time of a pass goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Passes that count.
    pub passes: usize,
    /// Passes left out: something interrupted them.
    pub interrupted: usize,
    /// Milliseconds of a pass under the probe, one mean for each group of passes.
    pub pass_ms: Vec<f64>,
    /// Parts that do not overlap, in the order of a pass.
    pub parts: Vec<Spent>,
}

impl Profile {
    /// Milliseconds a pass of all parts that `pick` picks.
    #[must_use]
    pub fn ms(&self, pick: &dyn Fn(Part) -> bool) -> Vec<f64> {
        let mut sum = vec![0.0; self.pass_ms.len()];
        for spent in self.parts.iter().filter(|spent| pick(spent.part)) {
            sum.iter_mut().zip(&spent.ms).for_each(|(sum, ms)| *sum += ms);
        }
        sum
    }

    /// The same as a share of the pass.
    #[must_use]
    pub fn share(&self, pick: &dyn Fn(Part) -> bool) -> Vec<f64> {
        let over = |(ms, pass): (f64, &f64)| if *pass > 0.0 { ms / pass } else { 0.0 };
        self.ms(pick).into_iter().zip(&self.pass_ms).map(over).collect()
    }

    /// Share of the pass that its parts account for: what is missing lies between them, in the loop and in the probe.
    #[must_use]
    pub fn closure(&self) -> Vec<f64> {
        self.share(&|_| true)
    }
}

/// The mean of a few samples, with its interval at 95 % by Student's t.
#[must_use]
pub fn mean_interval(samples: &[f64]) -> (f64, Interval) {
    let n = samples.len().max(1) as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let square = samples.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
    let degrees = (n - 1.0).max(1.0);
    // Within 0.02 of the quantile from 4 degrees of freedom on.
    let t = 1.96 + 2.5 / degrees + 2.8 / (degrees * degrees);
    let half = t * (square / degrees / n).sqrt();
    (mean, Interval { low: mean - half, high: mean + half, level: 0.95 })
}

/// Spends time without a look at the clock: how many turns a millisecond takes; 0 where no turning moves the clock.
fn turns_per_ms(cx: &Context) -> f64 {
    let (wanted, mut turns) = ((10.0 * cx.clock_step_ms()).max(0.5), 1 << 10);
    loop {
        let start = cx.now_ms();
        spin(turns);
        let took = cx.now_ms() - start;
        if took >= wanted {
            return f64::from(turns) / took;
        }
        if turns >= 1 << 24 {
            return 0.0;
        }
        turns *= 2;
    }
}

fn spin(turns: u32) {
    for turn in 0..turns {
        std::hint::black_box(turn);
    }
}

/// Milliseconds of one call, by one reading of the clock before it and one after: the naive twin of [`profile`].
///
/// # Errors
/// What the pass returns.
// ANCHOR: once
pub async fn time_once(
    cx: &Context,
    pass: &mut dyn FnMut(&mut dyn Probe) -> Result<Tensor<3>, LabError>,
) -> Result<f64, LabError> {
    let start = cx.now_ms();
    read(pass(&mut NoProbe)?).await?;
    Ok(cx.now_ms() - start)
}
// ANCHOR_END: once

/// Runs `pass` under a probe of this depth again and again, and gives the mean of every span with what it scatters.
///
/// A clock of step s shows a span of d < s as 0 or as s. Where the span falls at any place between two steps, it shows s in a
/// share d / s of the passes, so that the mean over many passes is d: the clock needs no finer steps, the passes need random
/// beginnings. Each one waits for up to a step before it begins. `step_ms` coarsens the clock for those who want to see that; 0
/// does not. `passes` of 0 goes by the budget. What `pass` returns is read, so that a device has to have finished.
///
/// # Errors
/// What the pass and the checkpoints return; [`LabError::Device`] where the clock stands still.
// ANCHOR: profile
pub async fn profile(
    cx: &Context,
    (depth, step_ms): (Depth, f64),
    (passes, budget_ms): (usize, f64),
    pass: &mut dyn FnMut(&mut dyn Probe) -> Result<Tensor<3>, LabError>,
) -> Result<Profile, LabError> {
    let step = step_ms.max(cx.clock_step_ms());
    // A step that no operation is shorter than needs no chance.
    let turns = if step > 2e-3 { turns_per_ms(cx) * step } else { 0.0 };
    let mut chance = cx.rng("beginnings of passes");
    let mut probe = SpanProbe::new(cx, depth, step_ms);
    let mut rows: Vec<[f64; Part::ALL.len()]> = Vec::new();
    let mut calls = [0; Part::ALL.len()];
    let (mut start, mut breath, mut warm) = (cx.now_ms(), cx.now_ms(), 2);
    loop {
        spin((chance.random_range(0.0..1.0) * turns) as u32);
        probe.enter(Part::Pass);
        let result = pass(&mut probe)?;
        probe.enter(Part::Read);
        read(result).await?;
        probe.leave(Part::Read);
        probe.leave(Part::Pass);
        let now = cx.now_ms();
        if now - breath > BREATH_MS {
            cx.checkpoint().await?;
            breath = cx.now_ms();
        }
        // The first passes warm up.
        if warm > 0 {
            (warm, start) = (warm - 1, now);
            continue;
        }
        let mut row = [0.0; Part::ALL.len()];
        for (part, times) in self_times(&probe.events)? {
            row[part as usize] = times.total_ms;
            calls[part as usize] = times.calls;
        }
        rows.push(row);
        let enough = if passes > 0 {
            rows.len() >= passes
        } else {
            rows.len() >= *PASSES.end() || (rows.len() >= *PASSES.start() && now - start > budget_ms)
        };
        if enough {
            break;
        }
    }
    if cx.now_ms() <= start {
        return Err(LabError::Device { why: "the clock stands still, so nothing can be timed".into() });
    }
    Ok(reduce(&rows, &calls, depth, step))
}
// ANCHOR_END: profile

/// Means of groups of passes. A pass that took half as long again as the middle one, and a step more, was interrupted.
fn reduce(rows: &[[f64; Part::ALL.len()]], calls: &[u64; Part::ALL.len()], depth: Depth, step: f64) -> Profile {
    let of = |part: Part| part as usize;
    let all: Vec<f64> = rows.iter().map(|row| row[of(Part::Pass)]).collect();
    let limit = 1.5 * crate::stats::median(&all) + step;
    let kept: Vec<&[f64; Part::ALL.len()]> = rows.iter().filter(|row| row[of(Part::Pass)] <= limit).collect();
    let batches = kept.len().clamp(1, BATCHES);
    let means = |part: Part| -> Vec<f64> {
        let batch = |i: usize| &kept[i * kept.len() / batches..(i + 1) * kept.len() / batches];
        (0..batches)
            .map(|i| batch(i).iter().map(|row| row[of(part)]).sum::<f64>() / batch(i).len().max(1) as f64)
            .collect()
    };
    let parts =
        Part::ALL.into_iter().filter(|part| *part != Part::Pass && part.is_leaf_at(depth) && calls[of(*part)] > 0);
    let mut parts: Vec<Spent> = parts.map(|part| Spent { part, calls: calls[of(part)], ms: means(part) }).collect();
    if depth == Depth::Pass {
        parts.push(Spent { part: Part::Pass, calls: 1, ms: means(Part::Pass) });
    }
    Profile { passes: kept.len(), interrupted: rows.len() - kept.len(), pass_ms: means(Part::Pass), parts }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use burn::tensor::Device;
    use rand::Rng;

    use super::*;
    use crate::testing::{FakeClock, context, ready};

    /// A program of three parts that take these milliseconds, and a fixed cost of every look.
    fn program(clock: &FakeClock, ms: [f64; 3], look_ms: f64, probe: &mut dyn Probe) -> Tensor<3> {
        for (part, ms) in [Part::Norm, Part::Softmax, Part::Silu].into_iter().zip(ms) {
            probe.enter(part);
            clock.pass(look_ms + ms);
            probe.leave(part);
            clock.pass(look_ms);
        }
        Tensor::zeros([1, 1, 1], &Device::flex())
    }

    fn shares(step_ms: f64, ms: [f64; 3], passes: usize) -> (Profile, Rc<FakeClock>) {
        let clock = Rc::new(FakeClock::new(step_ms));
        let cx = context(clock.clone());
        let mut chance = crate::rng(3, "when a pass begins");
        let mut pass = |probe: &mut dyn Probe| {
            clock.pass(chance.random_range(0.0..step_ms));
            Ok(program(&clock, ms, 0.0, probe))
        };
        let found = ready(profile(&cx, (Depth::Operation, 0.0), (passes, 0.0), &mut pass)).expect("the clock goes on");
        (found, clock)
    }

    #[test]
    fn shares_of_one_three_six_are_found_under_every_clock() {
        for (step_ms, passes) in [(0.001, 200), (0.1, 4000), (1.0, 4000)] {
            let (found, _) = shares(step_ms, [0.03, 0.09, 0.18], passes);
            for (spent, expected) in found.parts.iter().zip([0.03, 0.09, 0.18]) {
                let (mean, _) = mean_interval(&spent.ms);
                // s · sqrt(f (1 - f) / N), and a microsecond for each look that the fake clock takes.
                let f: f64 = (expected / step_ms).fract();
                let error = step_ms * (f * (1.0 - f) / passes as f64).sqrt();
                assert!((mean - expected).abs() < 3.5 * error + 2.5e-3, "{step_ms}: {:?} {mean}", spent.part);
            }
            assert_eq!(found.parts.iter().map(|spent| spent.calls).sum::<u64>(), 4, "three and the reading");
            // The wait for a random beginning lies in this pass and in no span of it.
            let closure = mean_interval(&found.closure()).0;
            let expected = 0.3 / (0.3 + step_ms / 2.0);
            assert!((closure / expected - 1.0).abs() < 0.05, "{closure}, not {expected}");
        }
    }

    #[test]
    fn five_microseconds_under_a_clock_of_a_hundred() {
        // 2,000 passes: 0.1 · sqrt(0.05 · 0.95 / 2000) = 0.5 µs; the looks themselves add up to two.
        let (found, _) = shares(0.1, [0.005, 0.02, 0.1], 2000);
        let of = |i: usize| 1e3 * mean_interval(&found.parts[i].ms).0;
        assert!((4.0..8.5).contains(&of(0)), "{}", of(0));
        assert!((18.0..24.5).contains(&of(1)) && (97.0..106.0).contains(&of(2)), "{} {}", of(1), of(2));
        // A single reading shows nothing or a whole step, whatever it is that takes 20 microseconds.
        let clock = Rc::new(FakeClock::new(0.1));
        let cx = context(clock.clone());
        let mut pass = |_: &mut dyn Probe| {
            clock.pass(0.02);
            Ok(Tensor::zeros([1, 1, 1], &Device::flex()))
        };
        for _ in 0..50 {
            let ms = ready(time_once(&cx, &mut pass)).expect("runs");
            assert!(ms.abs() < 1e-9 || (ms - 0.1).abs() < 1e-9, "{ms}");
        }
    }

    #[test]
    fn what_a_look_costs_is_what_watching_costs() {
        let clock = Rc::new(FakeClock::new(1e-3));
        let cx = context(clock.clone());
        let time = |look_ms: f64| {
            let mut pass = |probe: &mut dyn Probe| Ok(program(&clock, [0.1, 0.3, 0.6], look_ms, probe));
            let found = ready(profile(&cx, (Depth::Operation, 0.0), (50, 0.0), &mut pass)).expect("runs");
            mean_interval(&found.pass_ms).0
        };
        // Six looks of ten microseconds on a millisecond.
        let ratio = time(0.01) / time(0.0);
        assert!((ratio - 1.06).abs() < 0.003, "{ratio}");
    }

    #[test]
    fn an_interruption_does_not_count_and_a_dead_clock_is_named() {
        let clock = Rc::new(FakeClock::new(1e-3));
        let cx = context(clock.clone());
        let mut turn = 0;
        let mut pass = |probe: &mut dyn Probe| {
            turn += 1;
            Ok(program(&clock, [0.1, 0.3, if turn % 10 == 0 { 40.0 } else { 0.6 }], 0.0, probe))
        };
        let found = ready(profile(&cx, (Depth::Operation, 0.0), (50, 0.0), &mut pass)).expect("runs");
        assert_eq!((found.passes, found.interrupted), (45, 5));
        assert!(mean_interval(&found.pass_ms).0 < 1.1);
        // Its next step is five seconds away.
        let cx = context(Rc::new(FakeClock::new(5e3)));
        let mut pass = |_: &mut dyn Probe| Ok(Tensor::zeros([1, 1, 1], &Device::flex()));
        let why = ready(profile(&cx, (Depth::Pass, 0.0), (3, 0.0), &mut pass)).expect_err("refused").to_string();
        assert!(why.contains("stands still"), "{why}");
    }

    #[test]
    fn means_have_the_intervals_of_students_t() {
        // t of 4 and of 19 degrees of freedom: 2.776 and 2.093.
        for (n, t) in [(5_usize, 2.776), (20, 2.093)] {
            let samples: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let (mean, interval) = mean_interval(&samples);
            let n = n as f64;
            let deviation = ((n * n - 1.0) / 12.0 * n / (n - 1.0)).sqrt();
            assert!(((interval.high - mean) / (deviation / n.sqrt()) - t).abs() < 0.02);
        }
    }
}
