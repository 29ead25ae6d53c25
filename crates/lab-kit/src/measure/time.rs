//! Timing one variant, or two side by side, under clocks as coarse as a browser's.

use lab_api::{Interval, LabError};
use rand_chacha::ChaCha8Rng;

use super::gate;
use crate::{
    Context, LocalBoxFuture,
    stats::{median, ratio_interval},
};

/// Milliseconds per call of two variants. `first[i]` and `second[i]` were measured one right after the other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pair {
    /// Of the first variant.
    pub first: Vec<f64>,
    /// Of the second.
    pub second: Vec<f64>,
}

impl Pair {
    /// Median of the first over median of the second, with its interval: the speed-up of the second.
    #[must_use]
    pub fn ratio(&self, level: f64, rng: &mut ChaCha8Rng) -> (f64, Interval) {
        let ratio = median(&self.first) / median(&self.second).max(f64::MIN_POSITIVE);
        (ratio, ratio_interval(&self.first, &self.second, level, rng))
    }

    /// The ratio turn by turn: what [`ratio`](Self::ratio) is the middle of.
    #[must_use]
    pub fn ratios(&self) -> Vec<f64> {
        self.first.iter().zip(&self.second).map(|(first, second)| first / second.max(f64::MIN_POSITIVE)).collect()
    }
}

/// Fewest and most samples of each variant.
const SAMPLES: std::ops::RangeInclusive<usize> = 5..=41;
/// Steps of the clock that a sample spans at least, so that a step more or less is 1 % of it: with fewer, all samples snap to
/// the same two or three values, and their interval shrinks to a point that is not the truth.
const CLOCK_STEPS: f64 = 100.0;

/// How long a sample lasts at least, in milliseconds.
pub(super) fn span_ms(cx: &Context) -> f64 {
    (CLOCK_STEPS * cx.clock_step_ms()).max(0.2)
}

/// A measurement that goes on: what it may still spend, and whether what was just taken counts.
///
/// What was taken while the page was hidden does not count and is taken again, as often as it may be taken anyway: a run in
/// a page that stays hidden ends too. Apart from the functions that measure, of which every lab compiles its own.
pub(super) struct Sampling<'a> {
    cx: &'a Context,
    budget_ms: f64,
    start_ms: f64,
    turn_ms: f64,
    again: usize,
}

impl<'a> Sampling<'a> {
    /// Begins to sample for about `budget_ms`; at most `again` turns are taken again.
    pub(super) fn begin(cx: &'a Context, budget_ms: f64, again: usize) -> Self {
        // That the page was hidden before does no harm.
        cx.was_hidden();
        let now = cx.now_ms();
        Self { cx, budget_ms, start_ms: now, turn_ms: now, again }
    }

    /// Whether another sample is wanted: 5 at least, then until the budget is spent, 41 at most.
    fn wants(&mut self, have: usize) -> bool {
        self.turn_ms = self.cx.now_ms();
        let spent_ms = self.turn_ms - self.start_ms;
        have < *SAMPLES.start() || (have < *SAMPLES.end() && spent_ms <= self.budget_ms)
    }

    /// Lets the host breathe, and says whether the turn just taken counts, which gave so many samples.
    pub(super) async fn counts(&mut self, samples: usize) -> Result<bool, LabError> {
        self.cx.checkpoint().await?;
        if !self.cx.was_hidden() {
            return Ok(true);
        }
        let dropped = self.again > 0;
        self.cx.count_hidden(samples, dropped);
        if dropped {
            self.again -= 1;
            // What was dropped is not charged to the budget.
            self.start_ms += self.cx.now_ms() - self.turn_ms;
        }
        Ok(!dropped)
    }
}

/// What is timed, so that the functions that time it are compiled once and not for each variant of each lab. The box that holds a
/// call costs it some 50 ns.
trait Call {
    fn call(&mut self) -> LocalBoxFuture<'_, Result<(), LabError>>;
}

impl<F: AsyncFnMut() -> Result<(), LabError>> Call for F {
    fn call(&mut self) -> LocalBoxFuture<'_, Result<(), LabError>> {
        Box::pin(self())
    }
}

/// Times one variant: milliseconds per call, 5 to 41 samples in about `budget_ms`. The first call warms up and does not
/// count; a sample repeats its call until it spans at least 100 steps of the clock, and 0.2 ms. What was taken while the page was
/// hidden is dropped and taken again, 41 times at most, and told in the report's notes. Take the
/// [`median`] of the samples, and [`median_interval`](crate::stats::median_interval) for its interval.
///
/// # Errors
/// What the variant and the checkpoints between samples return.
pub async fn samples(
    cx: &Context,
    budget_ms: f64,
    mut call: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Vec<f64>, LabError> {
    samples_of(cx, budget_ms, &mut call).await
}

async fn samples_of(cx: &Context, budget_ms: f64, call: &mut dyn Call) -> Result<Vec<f64>, LabError> {
    let repeat = repetitions(cx, span_ms(cx), call).await?;
    let (mut samples, mut sampling) = (Vec::new(), Sampling::begin(cx, budget_ms, *SAMPLES.end()));
    while sampling.wants(samples.len()) {
        let ms = sample(cx, repeat, call).await?;
        if sampling.counts(1).await? {
            samples.push(ms);
        }
    }
    Ok(samples)
}

/// Times two variants, turn by turn and in alternating order, so that a machine that warms up or slows down treats both
/// alike. Each is sampled as by [`samples`]; of a turn in which the page was hidden both samples are dropped. What the A/A gate
/// finds (a variant that differs from itself) stands in the report's notes.
///
/// # Errors
/// What the variants and the checkpoints between samples return.
pub async fn side_by_side(
    cx: &Context,
    budget_ms: f64,
    mut first: impl AsyncFnMut() -> Result<(), LabError>,
    mut second: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Pair, LabError> {
    pair_of(cx, budget_ms, &mut first, &mut second).await
}

async fn pair_of(cx: &Context, budget_ms: f64, first: &mut dyn Call, second: &mut dyn Call) -> Result<Pair, LabError> {
    let repeat_first = repetitions(cx, span_ms(cx), first).await?;
    let repeat_second = repetitions(cx, span_ms(cx), second).await?;
    let (mut pair, mut sampling) = (Pair::default(), Sampling::begin(cx, budget_ms, *SAMPLES.end()));
    while sampling.wants(pair.first.len()) {
        let (one, other);
        if pair.first.len() % 2 == 0 {
            one = sample(cx, repeat_first, first).await?;
            other = sample(cx, repeat_second, second).await?;
        } else {
            other = sample(cx, repeat_second, second).await?;
            one = sample(cx, repeat_first, first).await?;
        }
        if sampling.counts(2).await? {
            pair.first.push(one);
            pair.second.push(other);
        }
    }
    gate::pass(cx, &[&pair.first, &pair.second]);
    Ok(pair)
}

/// Times one variant against itself (an A/A test): the ratio of the two must be 1 within its interval, or the method,
/// the clock or a busy machine fools whoever compares two variants by [`side_by_side`].
///
/// # Errors
/// As [`side_by_side`].
pub async fn against_itself(
    cx: &Context,
    budget_ms: f64,
    mut call: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Pair, LabError> {
    let repeat = repetitions(cx, span_ms(cx), &mut call).await?;
    let (mut pair, mut sampling) = (Pair::default(), Sampling::begin(cx, budget_ms, *SAMPLES.end()));
    while sampling.wants(pair.first.len()) {
        let (one, other) = (sample(cx, repeat, &mut call).await?, sample(cx, repeat, &mut call).await?);
        // The same turns as between two variants.
        let (first, second) = if pair.first.len() % 2 == 0 { (one, other) } else { (other, one) };
        if sampling.counts(2).await? {
            pair.first.push(first);
            pair.second.push(second);
        }
    }
    Ok(pair)
}

async fn sample(cx: &Context, repeat: usize, call: &mut dyn Call) -> Result<f64, LabError> {
    Ok(batch(cx, repeat, call).await? / repeat as f64)
}

/// Calls that fill `span` milliseconds, found by doubling; the first call warms up and does not count. Where half as many
/// took less than a quarter of that, the machine has paused: it is tried again, or a pause would pass for the time of a short
/// call, and samples of it would last no step of the clock.
async fn repetitions(cx: &Context, span: f64, call: &mut dyn Call) -> Result<usize, LabError> {
    let (mut repeat, mut before) = (1, batch(cx, 1, call).await?);
    cx.checkpoint().await?;
    let mut sampling = Sampling::begin(cx, 0.0, *SAMPLES.end());
    loop {
        let took = batch(cx, repeat, call).await?;
        // No samples yet; but calls that a hidden page slows down would be repeated too seldom.
        if !sampling.counts(0).await? {
            continue;
        }
        if (took >= span && before >= 0.25 * span) || repeat >= 1 << 16 {
            return Ok(repeat);
        }
        if took < span {
            repeat *= 2;
        }
        before = took;
    }
}

/// Milliseconds of so many calls in a row.
async fn batch(cx: &Context, repeat: usize, call: &mut dyn Call) -> Result<f64, LabError> {
    let start = cx.now_ms();
    for _ in 0..repeat {
        call.call().await?;
    }
    Ok(cx.now_ms() - start)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{
        context::rng,
        stats::median_interval,
        testing::{FakeClock, context, ready},
    };

    /// A context whose clock shows whole multiples of `step_ms`, and the clock.
    fn with_clock(step_ms: f64) -> (Context, std::rc::Rc<FakeClock>) {
        let clock = std::rc::Rc::new(FakeClock::new(step_ms));
        (context(clock.clone()), clock)
    }

    #[test]
    fn coarse_clocks_do_not_bend_the_estimate() {
        // Steps of 0.1 ms (Chromium), 1 ms (Firefox) and 5 ms; calls far shorter, as long, and longer than a step.
        for step_ms in [0.1, 1.0, 5.0] {
            for call_ms in [0.013, 0.37, 1.0, 7.3] {
                let (cx, clock) = with_clock(step_ms);
                assert!((cx.clock_step_ms() - step_ms).abs() < 1e-9, "{}", cx.clock_step_ms());
                let found = ready(samples(&cx, 300.0, async || {
                    clock.pass(call_ms);
                    Ok(())
                }));
                let found = found.expect("the clock goes on");
                // One step in 100 would be 1 % for a single sample; reading the clock itself takes a microsecond.
                let error = median(&found) / call_ms - 1.0;
                assert!(error.abs() < 0.03, "{call_ms} ms by steps of {step_ms} ms: off by {:.1} %", 100.0 * error);
                assert!(found.len() >= 5);
            }
        }
    }

    #[test]
    fn a_pause_of_the_machine_does_not_pass_for_the_time_of_a_call() {
        let (cx, clock) = with_clock(0.1);
        let calls = Cell::new(0);
        let found = ready(samples(&cx, 100.0, async || {
            calls.set(calls.get() + 1);
            clock.pass(if calls.get() == 2 { 50.0 } else { 0.01 });
            Ok(())
        }));
        let found = found.expect("the clock goes on");
        assert!(found.iter().all(|ms| (0.008..0.02).contains(ms)), "{found:?}");
    }

    #[test]
    fn two_variants_are_told_apart_under_a_coarse_clock_and_a_machine_that_slows_down() {
        let (cx, clock) = with_clock(1.0);
        let load = Cell::new(1.0);
        let work = |ms: f64| {
            load.set(load.get() * 1.0005);
            clock.pass(ms * load.get());
            Ok(())
        };
        let pair = ready(side_by_side(&cx, 4000.0, async || work(0.9), async || work(0.3))).expect("runs");
        let (ratio, interval) = pair.ratio(0.95, &mut rng(0, "t"));
        assert!((ratio - 3.0).abs() < 0.3, "{ratio}");
        assert!(interval.low <= ratio && ratio <= interval.high && interval.low > 2.0, "{interval:?}");
    }

    #[test]
    fn a_variant_against_itself_is_not_faster_than_itself() {
        // Noise of 20 %, drawn anew for every call; 200 such tests, of which 5 % may fail by chance.
        let (cx, clock) = with_clock(0.1);
        let (mut noise, mut picks) = (rng(1, "noise"), rng(2, "picks"));
        let mut covered = 0;
        for _ in 0..200 {
            let pair = ready(against_itself(&cx, 40.0, async || {
                clock.pass(rand::Rng::random_range(&mut noise, 0.9..1.1));
                Ok(())
            }));
            let (_, interval) = pair.expect("runs").ratio(0.95, &mut picks);
            covered += usize::from(interval.low <= 1.0 && 1.0 <= interval.high);
        }
        assert!((180..=200).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn the_real_clock_and_real_work() {
        let cx = context(std::rc::Rc::new(FakeClock::real()));
        let mut sum = 0.0_f64;
        let found = ready(samples(&cx, 30.0, async || {
            for i in 0..1000 {
                sum += std::hint::black_box(f64::from(i)).sqrt();
            }
            Ok(())
        }));
        let found = found.expect("runs");
        let interval = median_interval(&found, 0.95, &mut rng(0, "t"));
        assert!(sum > 0.0 && interval.low > 0.0 && interval.low <= interval.high);
    }

    /// A call of 1 ms, of 10 ms while the page is hidden.
    async fn slowed(clock: &FakeClock) -> Result<(), LabError> {
        clock.pass(if clock.is_hidden() { 10.0 } else { 1.0 });
        Ok(())
    }

    #[test]
    fn samples_of_a_hidden_page_are_dropped_taken_again_and_told() {
        let (cx, clock) = with_clock(0.1);
        let calls = Cell::new(0);
        let found = ready(samples(&cx, 300.0, async || {
            calls.set(calls.get() + 1);
            // Among the samples; a sample is of 16 calls.
            if calls.get() == 100 {
                clock.hide(400.0);
            }
            slowed(&clock).await
        }));
        let found = found.expect("the clock goes on");
        assert!(found.iter().all(|ms| (ms - 1.0).abs() < 0.02), "{found:?}");
        // The budget is spent on what counts.
        assert!(found.len() >= 15, "{found:?}");
        let note = cx.hidden_note().expect("something was dropped");
        assert!(note.starts_with("3 samples were dropped and taken again") || note.starts_with("4 samples"), "{note}");
        assert!(!note.contains("stayed"), "{note}");
    }

    #[test]
    fn calls_are_repeated_as_often_in_a_page_that_was_hidden_at_first() {
        let (cx, clock) = with_clock(1.0);
        clock.hide(200.0);
        let calls = Cell::new(0);
        let found = ready(samples(&cx, 1000.0, async || {
            calls.set(calls.get() + 1);
            slowed(&clock).await
        }));
        let found = found.expect("the clock goes on");
        assert!(found.iter().all(|ms| (ms - 1.0).abs() < 0.02), "{found:?}");
        assert_eq!(cx.hidden_note(), None, "no sample was dropped yet");
        assert!(calls.get() / found.len() >= 100, "{} calls for {} samples", calls.get(), found.len());
    }

    #[test]
    fn pairs_lose_the_whole_turn() {
        for (i, hide_at) in [90, 117, 133].into_iter().enumerate() {
            let (cx, clock) = with_clock(0.1);
            let calls = Cell::new(0);
            let step = async || {
                calls.set(calls.get() + 1);
                if calls.get() == hide_at {
                    clock.hide(30.0);
                }
                slowed(&clock).await
            };
            let pair = if i == 0 {
                ready(against_itself(&cx, 300.0, step))
            } else {
                ready(side_by_side(&cx, 300.0, step, step))
            };
            let pair = pair.expect("the clock goes on");
            assert_eq!(pair.first.len(), pair.second.len());
            assert!(pair.first.iter().chain(&pair.second).all(|ms| (ms - 1.0).abs() < 0.02), "{pair:?}");
            let note = cx.hidden_note().expect("something was dropped");
            assert!(note.starts_with("2 samples") || note.starts_with("4 samples"), "{note}");
        }
    }

    #[test]
    fn measuring_ends_in_a_page_that_stays_hidden_and_says_so() {
        let (cx, clock) = with_clock(0.1);
        clock.hide(f64::INFINITY);
        let found = ready(samples(&cx, 100.0, async || slowed(&clock).await)).expect("the clock goes on");
        assert!(found.len() >= 5 && found.iter().all(|ms| *ms > 9.0), "{found:?}");
        let note = cx.hidden_note().expect("something was dropped");
        assert!(note.starts_with("41 samples were dropped") && note.contains("times may be too long"), "{note}");
    }

    #[test]
    fn in_view_nothing_is_dropped() {
        let (cx, clock) = with_clock(0.1);
        clock.hide(0.0);
        ready(samples(&cx, 100.0, async || slowed(&clock).await)).expect("the clock goes on");
        assert_eq!(cx.hidden_note(), None);
    }

    #[test]
    fn cancel_is_heard_between_samples() {
        let (cx, clock) = with_clock(0.1);
        clock.cancel();
        let result = ready(samples(&cx, 10.0, async || {
            clock.pass(0.1);
            Ok(())
        }));
        assert_eq!(result, Err(LabError::Cancelled));
    }
}
