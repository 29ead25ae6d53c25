//! Timing many variants in turn.

use lab_api::LabError;

use super::{
    gate,
    time::{Sampling, span_ms},
};
use crate::Context;

/// Milliseconds per call of each of `variants`, a sample of each in every round: whatever slows the machine down for a while
/// meets all variants, and two samples of one round may be compared. `call(i)` runs variant `i` once. A sample repeats its
/// call until it spans what [`samples`](super::samples) asks for. A round in which the page was hidden is dropped and taken again,
/// `rounds` times at most.
///
/// # Errors
/// What the checkpoints between samples return.
pub async fn in_turns(
    cx: &Context,
    variants: usize,
    rounds: usize,
    mut call: impl FnMut(usize),
) -> Result<Vec<Vec<f64>>, LabError> {
    turns(cx, variants, rounds, &mut call).await
}

/// Once for all who measure: what it adds to a call is a nanosecond.
async fn turns(
    cx: &Context,
    variants: usize,
    rounds: usize,
    call: &mut dyn FnMut(usize),
) -> Result<Vec<Vec<f64>>, LabError> {
    let span = span_ms(cx);
    let mut times = |variant: usize, repeat: usize| {
        let start = cx.now_ms();
        (0..repeat).for_each(|_| call(variant));
        cx.now_ms() - start
    };
    let mut repeats = Vec::with_capacity(variants);
    for variant in 0..variants {
        // The first call warms up.
        times(variant, 1);
        cx.checkpoint().await?;
        let (mut repeat, mut sampling) = (1, Sampling::begin(cx, 0.0, rounds));
        // Seen twice, or a pause of the machine would pass for the time of a short call.
        let mut full = false;
        loop {
            let spent = times(variant, repeat);
            if !sampling.counts(0).await? {
                continue;
            }
            if (full && spent >= 0.5 * span) || repeat >= 1 << 20 {
                break;
            }
            full = spent >= span;
            if !full {
                // From a fifth of the span on the rest is a matter of proportion.
                let part = spent > 0.2 * span;
                repeat = if part { (repeat as f64 * 1.1 * span / spent).ceil() as usize } else { 2 * repeat };
            }
        }
        repeats.push(repeat);
    }
    let mut found = vec![Vec::with_capacity(rounds); variants];
    let (mut round, mut sampling) = (0, Sampling::begin(cx, 0.0, rounds));
    while round < rounds {
        for at in 0..variants {
            // Every other round backwards, so that no variant always comes after the same one.
            let variant = if round % 2 == 0 { at } else { variants - 1 - at };
            found[variant].push(times(variant, repeats[variant]) / repeats[variant] as f64);
            cx.checkpoint().await?;
        }
        if sampling.counts(variants).await? {
            round += 1;
        } else {
            found.iter_mut().for_each(|samples| samples.truncate(round));
        }
    }
    gate::pass(cx, &found.iter().map(Vec::as_slice).collect::<Vec<_>>());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;
    use crate::{
        stats::median,
        testing::{FakeClock, context, ready},
    };

    #[test]
    fn each_variant_gets_its_time_under_a_coarse_clock_and_a_machine_that_slows_down() {
        let clock = Rc::new(FakeClock::new(0.1));
        let cx = context(clock.clone());
        let load = Cell::new(1.0);
        let call = |variant: usize| {
            load.set(load.get() * 1.000_02);
            clock.pass(load.get() * [0.01, 0.3, 2.0][variant]);
        };
        let found = ready(in_turns(&cx, 3, 7, call)).expect("the clock goes on");
        assert!(found.iter().all(|samples| samples.len() == 7));
        for (variant, expected) in [(1, 30.0), (2, 200.0)] {
            let ratios: Vec<f64> = found[variant].iter().zip(&found[0]).map(|(a, b)| a / b).collect();
            assert!((median(&ratios) / expected - 1.0).abs() < 0.1, "{ratios:?}");
        }
    }

    #[test]
    fn a_pause_of_the_machine_does_not_pass_for_the_time_of_a_call() {
        let clock = Rc::new(FakeClock::new(0.1));
        let cx = context(clock.clone());
        let calls = Cell::new(0);
        let call = |_: usize| {
            calls.set(calls.get() + 1);
            clock.pass(if calls.get() == 3 { 60.0 } else { 0.002 });
        };
        let found = ready(in_turns(&cx, 1, 7, call)).expect("the clock goes on");
        assert!(found[0].iter().all(|sample| (sample / 0.002 - 1.0).abs() < 0.05), "{found:?}");
    }

    #[test]
    fn a_round_in_which_the_page_was_hidden_is_taken_again() {
        let clock = Rc::new(FakeClock::new(0.1));
        let cx = context(clock.clone());
        let calls = Cell::new(0);
        let call = |variant: usize| {
            calls.set(calls.get() + 1);
            if calls.get() == 30 {
                clock.hide(150.0);
            }
            clock.pass([20.0, 40.0][variant] * if clock.is_hidden() { 3.0 } else { 1.0 });
        };
        let found = ready(in_turns(&cx, 2, 20, call)).expect("the clock goes on");
        assert!(found.iter().all(|samples| samples.len() == 20));
        for (samples, ms) in found.iter().zip([20.0, 40.0]) {
            assert!(samples.iter().all(|sample| (sample / ms - 1.0).abs() < 0.02), "{samples:?}");
        }
        let note = cx.hidden_note().expect("something was dropped");
        assert!(note.starts_with("2 samples were dropped") || note.starts_with("4 samples were dropped"), "{note}");
    }

    #[test]
    fn rounds_end_in_a_page_that_stays_hidden() {
        let clock = Rc::new(FakeClock::new(0.1));
        let cx = context(clock.clone());
        clock.hide(f64::INFINITY);
        let found = ready(in_turns(&cx, 2, 5, |_| clock.pass(20.0))).expect("the clock goes on");
        assert!(found.iter().all(|samples| samples.len() == 5));
        assert!(cx.hidden_note().is_some_and(|note| note.starts_with("10 samples") && note.contains("stayed hidden")));
    }

    #[test]
    fn cancel_is_heard() {
        let clock = Rc::new(FakeClock::new(0.1));
        let cx = context(clock.clone());
        clock.cancel();
        assert_eq!(ready(in_turns(&cx, 1, 5, |_| clock.pass(1.0))), Err(LabError::Cancelled));
    }
}
