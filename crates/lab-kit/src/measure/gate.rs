//! Whether a device tells a variant from itself: the A/A gate of every comparison of times, at no further call.
//!
//! Variants take turns in alternating order, so the samples of one fall into two groups that nothing but chance may tell apart:
//! those of even turns and those of odd ones. Where their ranks do (Mann and Whitney, 1947), what ran before matters, or another
//! program did, and smaller differences between two variants say nothing.

use crate::{Context, stats::median};

/// Samples of a variant from which on the groups are compared.
const ENOUGH: usize = 16;
/// Standard errors that chance passes once in a thousand times.
const CHANCE: f64 = 3.29;
/// Differences below this share are nobody's concern, however sure they are.
pub(crate) const NOTICEABLE: f64 = 0.02;

/// By what share the even samples differ from the odd ones: 0 where chance does as much; `None` where they are too few to tell.
fn difference_from_itself(samples: &[f64]) -> Option<f64> {
    if samples.len() < ENOUGH {
        return None;
    }
    let group = |odd: usize| samples.iter().copied().skip(odd).step_by(2).collect::<Vec<f64>>();
    let (even, odd) = (group(0), group(1));
    let (m, n) = (even.len() as f64, odd.len() as f64);
    // Pairs that the even group wins, ties counting half: m n / 2 but for chance.
    let wins: f64 = even
        .iter()
        .flat_map(|a| {
            odd.iter().map(move |b| {
                if a > b {
                    1.0
                } else if a < b {
                    0.0
                } else {
                    0.5
                }
            })
        })
        .sum();
    let sigma = (m * n * (m + n + 1.0) / 12.0).sqrt();
    let apart = (wins - m * n / 2.0).abs() > CHANCE * sigma;
    let [one, other] = [median(&even), median(&odd)];
    Some(if apart { one.max(other) / one.min(other).max(f64::MIN_POSITIVE) - 1.0 } else { 0.0 })
}

/// Puts the samples of variants that took turns before the gate; what it finds stands in the report's notes.
pub(super) fn pass(cx: &Context, variants: &[&[f64]]) {
    for found in variants.iter().filter_map(|samples| difference_from_itself(samples)) {
        cx.count_gate(found);
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::{
        context::rng,
        measure::side_by_side,
        testing::{FakeClock, context, ready},
    };

    #[test]
    fn chance_alone_passes() {
        let mut rng = rng(0, "gate");
        // One in a thousand may fail; ties (a coarse clock) and few samples do not.
        let failed = (0..500)
            .filter(|_| {
                let samples: Vec<f64> = (0..41).map(|_| rng.random_range(0.8..1.2)).collect();
                difference_from_itself(&samples) != Some(0.0)
            })
            .count();
        assert!(failed <= 3, "{failed} of 500");
        assert_eq!(difference_from_itself(&[1.0; 41]), Some(0.0));
        assert_eq!(difference_from_itself(&[1.0, 2.0, 1.0, 2.0]), None);
    }

    #[test]
    fn what_every_other_turn_takes_longer_is_seen() {
        let mut rng = rng(1, "gate");
        let samples: Vec<f64> =
            (0..41).map(|i| rng.random_range(0.97..1.03) * if i % 2 == 0 { 1.1 } else { 1.0 }).collect();
        let found = difference_from_itself(&samples).expect("enough");
        assert!((0.06..0.14).contains(&found), "{found}");
    }

    #[test]
    fn a_run_tells_it_in_its_notes() {
        let clock = std::rc::Rc::new(FakeClock::new(0.1));
        let cx = context(clock.clone());
        let last = std::cell::Cell::new(0);
        // The first variant takes a tenth longer after the second: it finds the cache cold.
        let call = |variant: u8, ms: f64| {
            clock.pass(if variant == 1 && last.replace(variant) == 2 { 1.1 * ms } else { ms });
            last.set(variant);
            Ok(())
        };
        // As long as a sample, so that the first call of one is the whole of it.
        ready(side_by_side(&cx, 4000.0, async || call(1, 30.0), async || call(2, 30.0))).expect("runs");
        let note = cx.gate_note().expect("the gate is not passed");
        assert!(note.starts_with("In 1 of 2 checks") && note.contains("10 %"), "{note}");
        let quiet = context(clock.clone());
        ready(side_by_side(&quiet, 4000.0, async || call(3, 30.0), async || call(4, 30.0))).expect("runs");
        assert_eq!(quiet.gate_note(), None);
    }
}
