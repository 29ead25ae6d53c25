//! Timing many variants in turn.

use lab_api::LabError;

use super::time::span_ms;
use crate::Context;

/// Milliseconds per call of each of `variants`, a sample of each in every round: whatever slows the machine down for a while
/// meets all variants, and two samples of one round may be compared. `call(i)` runs variant `i` once. A sample repeats its
/// call until it spans what [`samples`](super::samples) asks for.
///
/// # Errors
/// What the checkpoints between samples return.
pub async fn in_turns(
    cx: &Context,
    variants: usize,
    rounds: usize,
    mut call: impl FnMut(usize),
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
        let mut repeat = 1;
        loop {
            cx.checkpoint().await?;
            let spent = times(variant, repeat);
            if spent >= span || repeat >= 1 << 20 {
                break;
            }
            // From a fifth of the span on the rest is a matter of proportion.
            repeat = if spent > 0.2 * span { (repeat as f64 * 1.1 * span / spent).ceil() as usize } else { 2 * repeat };
        }
        repeats.push(repeat);
    }
    let mut found = vec![Vec::with_capacity(rounds); variants];
    for round in 0..rounds {
        for at in 0..variants {
            // Every other round backwards, so that no variant always comes after the same one.
            let variant = if round % 2 == 0 { at } else { variants - 1 - at };
            found[variant].push(times(variant, repeats[variant]) / repeats[variant] as f64);
            cx.checkpoint().await?;
        }
    }
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
    fn cancel_is_heard() {
        let clock = Rc::new(FakeClock::new(0.1));
        let cx = context(clock.clone());
        clock.cancel();
        assert_eq!(ready(in_turns(&cx, 1, 5, |_| clock.pass(1.0))), Err(LabError::Cancelled));
    }
}
