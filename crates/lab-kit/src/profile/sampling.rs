//! A profiler that looks from outside: a second thread asks now and then what the first is doing. Native only: a page has no
//! second thread that may look.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use lab_api::Interval;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Depth, Part, Probe};
use crate::stats::proportion;

/// Leaves word of the part that runs: one store a span, no clock.
pub struct WordProbe {
    depth: Depth,
    word: Arc<AtomicU32>,
}

impl Probe for WordProbe {
    fn enter(&mut self, part: Part) {
        if part.is_leaf_at(self.depth) {
            self.word.store(part as u32, Ordering::Relaxed);
        }
    }
    fn leave(&mut self, part: Part) {
        if part.is_leaf_at(self.depth) {
            self.word.store(Part::Pass as u32, Ordering::Relaxed);
        }
    }
}

/// Looks at that word about every `period`, at times that chance moves by up to half of it, until `call` is done: how often
/// each part was seen, by its place in [`Part::ALL`]; what ran between the parts is counted for [`Part::Pass`].
// ANCHOR: sampling
pub fn sample<T>(
    depth: Depth,
    period: Duration,
    mut chance: ChaCha8Rng,
    call: impl FnOnce(&mut WordProbe) -> T,
) -> (T, [usize; Part::ALL.len()]) {
    let word = Arc::new(AtomicU32::new(Part::Pass as u32));
    let done = Arc::new(AtomicBool::new(false));
    let watcher = thread::spawn({
        let (word, done) = (Arc::clone(&word), Arc::clone(&done));
        move || {
            let mut seen = [0; Part::ALL.len()];
            while !done.load(Ordering::Relaxed) {
                thread::sleep(period.mul_f64(chance.random_range(0.5..1.5)));
                if let Some(seen) = seen.get_mut(word.load(Ordering::Relaxed) as usize) {
                    *seen += 1;
                }
            }
            seen
        }
    });
    let result = call(&mut WordProbe { depth, word });
    done.store(true, Ordering::Relaxed);
    // The watcher has nothing to fail at.
    (result, watcher.join().unwrap_or([0; Part::ALL.len()]))
}
// ANCHOR_END: sampling

/// The share of looks that met a part, with its interval (Clopper and Pearson, 1934).
#[must_use]
pub fn share(seen: &[usize; Part::ALL.len()], pick: &dyn Fn(Part) -> bool) -> (f64, Interval) {
    let hits = Part::ALL.into_iter().filter(|part| pick(*part)).map(|part| seen[part as usize]).sum();
    let all: usize = seen.iter().sum();
    (hits as f64 / all.max(1) as f64, proportion(hits, all.max(1), 0.95))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn looks_from_outside_find_the_shares_of_busy_loops() {
        let busy = |ms: u64| {
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(100 * ms) {
                std::hint::black_box(0);
            }
        };
        let ((), seen) = sample(Depth::Operation, Duration::from_micros(500), crate::rng(0, "looks"), |probe| {
            for _ in 0..400 {
                for (part, ms) in [(Part::Norm, 1), (Part::Softmax, 3), (Part::Silu, 6)] {
                    probe.enter(part);
                    busy(ms);
                    probe.leave(part);
                }
            }
        });
        for (part, expected) in [(Part::Norm, 0.1), (Part::Softmax, 0.3), (Part::Silu, 0.6)] {
            let (found, interval) = share(&seen, &|seen| seen == part);
            // A busy machine wakes the watcher when it pleases: within its interval, and a tenth.
            assert!(interval.low - 0.1 < expected && expected < interval.high + 0.1, "{part:?}: {found} {interval:?}");
        }
        assert!(seen.iter().sum::<usize>() > 100, "{seen:?}");
    }
}
