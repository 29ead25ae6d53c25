//! What a queue between loader and trainer can do.

use lab_kernels::augment::Dice;

// ANCHOR: formula
/// Steps a second where loading a batch takes `load_ms` and training on it `train_ms`: with `workers` loaders beside the trainer on so
/// many cores, each batch used `echo` times. No worker means that the trainer loads.
#[must_use]
pub fn steps_per_second(load_ms: f64, train_ms: f64, workers: u32, cores: u32, echo: u32) -> f64 {
    let (load_ms, cores) = (load_ms / f64::from(echo.max(1)), f64::from(cores.max(1)));
    let ms = match workers {
        0 => load_ms + train_ms,
        w => train_ms.max(load_ms / f64::from(w)).max((load_ms + train_ms) / cores),
    };
    1e3 / ms.max(1e-9)
}
// ANCHOR_END: formula

/// Share of the time in which the trainer works, where both times are exponential: one loader, a queue of `depth`, and `ratio` of
/// training over loading (the M/M/1/K queue).
#[must_use]
pub fn exponential_queue(ratio: f64, depth: u32) -> f64 {
    if (ratio - 1.0).abs() < 1e-9 {
        return f64::from(depth + 1) / f64::from(depth + 2);
    }
    1.0 - (1.0 - ratio) / (1.0 - ratio.powi(depth as i32 + 2))
}

/// How times scatter around their mean of 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Not at all.
    None,
    /// As a sum of four exponential ones (gamma).
    Mild,
    /// Exponentially.
    Exponential,
    /// One in a hundred takes twenty times as long as the others.
    Rare,
}

impl Jitter {
    /// One time.
    fn draw(self, dice: &mut Dice) -> f64 {
        let mut exponential = || -dice.unit().ln();
        match self {
            Self::None => 1.0,
            Self::Mild => (0..4).map(|_| exponential()).sum::<f64>() / 4.0,
            Self::Exponential => exponential(),
            Self::Rare => (if dice.below(100) == 0 { 20.0 } else { 1.0 }) / 1.19,
        }
    }
}

// ANCHOR: simulate
/// Plays `batches` through a queue and gives the share of time in which the trainer works, and how many made batches wait on average.
/// `load` and `train` are mean times; both scatter by `jitter`, but rare slow reads are the loader's alone.
#[must_use]
pub fn simulate_queue(
    load: f64,
    train: f64,
    workers: usize,
    depth: usize,
    jitter: Jitter,
    batches: usize,
) -> (f64, f64) {
    let mut dice = Dice::new(0, batches as u64, 1);
    let steady = if jitter == Jitter::Rare { Jitter::None } else { jitter };
    let mut free = vec![0.0_f64; workers.max(1)];
    // When each of the last `depth` batches was taken.
    let mut taken = std::collections::VecDeque::from(vec![0.0; depth.max(1)]);
    let (mut trainer, mut busy, mut waited) = (0.0_f64, 0.0, 0.0);
    for _ in 0..batches {
        let room = taken.pop_front().unwrap_or(0.0);
        let worker = (0..free.len()).min_by(|a, b| free[*a].total_cmp(&free[*b])).unwrap_or(0);
        let ready = free[worker].max(room) + load * jitter.draw(&mut dice);
        free[worker] = ready;
        let start = trainer.max(ready);
        waited += start - ready;
        taken.push_back(start);
        let time = train * steady.draw(&mut dice);
        busy += time;
        trainer = start + time;
    }
    (busy / trainer.max(1e-12), waited / trainer.max(1e-12))
}
// ANCHOR_END: simulate

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_two_cores() {
        let rows = [
            (0.023, [2028.0, 2128.0, 2128.0, 2128.0, 2128.0]),
            (0.43, [1111.0, 2128.0, 2128.0, 2128.0, 2128.0]),
            (0.67, [877.0, 1493.0, 1754.0, 1754.0, 2128.0]),
            (1.08, [645.0, 926.0, 1290.0, 1290.0, 1852.0]),
        ];
        for (load, expected) in rows {
            let of = |workers, cores| steps_per_second(load, 0.47, workers, cores, 1).round();
            assert_eq!([of(0, 2), of(1, 2), of(2, 2), of(3, 2), of(2, 4)], expected, "{load}");
        }
        // Used three times each, a batch that takes 2.3 steps keeps the trainer busy.
        assert!((steps_per_second(2.3, 1.0, 1, 4, 3) - 1000.0).abs() < 1e-9);
        assert!((steps_per_second(3.0, 2.0, 2, 4, 1) - 500.0).abs() < 1e-9);
    }

    #[test]
    fn simulation_and_formula_agree_where_times_are_exponential() {
        let expected = [
            (0.8, [0.590, 0.661, 0.729, 0.776]),
            (1.0, [0.667, 0.750, 0.833, 0.900]),
            (1.25, [0.738, 0.827, 0.911, 0.970]),
        ];
        for (ratio, by_depth) in expected {
            for (depth, expected) in [1_u32, 2, 4, 8].into_iter().zip(by_depth) {
                assert!((exponential_queue(ratio, depth) - expected).abs() < 6e-4, "{ratio} {depth}");
                let (found, _) = simulate_queue(1.0, ratio, 1, depth as usize, Jitter::Exponential, 400_000);
                assert!((found - expected).abs() < 4e-3, "{ratio} {depth}: {found} {expected}");
            }
        }
    }

    #[test]
    fn batches_wait_by_littles_law() {
        // Rate times mean wait is what waits: here from the chain of states, 0 to depth of them waiting.
        for depth in [1, 4, 8] {
            let (_, waiting) = simulate_queue(1.0, 1.0, 1, depth, Jitter::Exponential, 400_000);
            // All states from 0 to depth + 1 batches at the trainer are as likely; one of them is in work.
            let expected = (0..=depth).sum::<usize>() as f64 / (depth + 2) as f64;
            assert!((waiting / expected - 1.0).abs() < 0.03, "{depth}: {waiting} {expected}");
        }
    }

    #[test]
    fn depth_absorbs_jitter_and_never_a_deficit() {
        let at = |load, depth, jitter| simulate_queue(load, 1.0, 1, depth, jitter, 20_000).0;
        for depth in [1, 16] {
            assert!(at(1.0, depth, Jitter::None) > 0.999);
            assert!((at(2.0, depth, Jitter::None) - 0.5).abs() < 1e-3);
        }
        assert!(at(1.0, 16, Jitter::Exponential) - at(1.0, 1, Jitter::Exponential) > 0.2);
        // A stall of many steps needs a queue as long as the stall.
        assert!(at(0.8, 2, Jitter::Rare) < 0.92 && at(0.8, 32, Jitter::Rare) > 0.98);
        // Two workers with a queue of one are one worker.
        let two = |depth| simulate_queue(1.6, 1.0, 2, depth, Jitter::None, 20_000).0;
        assert!((two(1) - 0.625).abs() < 0.01 && two(2) > 0.99, "{} {}", two(1), two(2));
    }
}
