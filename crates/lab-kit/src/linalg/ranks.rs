//! How many directions each matrix keeps.

/// What choosing a rank needs to know of a matrix `[outputs, inputs]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    /// What each direction is worth, falling.
    pub gains: Vec<f64>,
    /// Rows.
    pub outputs: usize,
    /// Columns.
    pub inputs: usize,
}

/// What becomes of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// It stays as it is: so many directions would store no less.
    Dense,
    /// Two factors of this rank.
    Low(usize),
}

/// Numbers of two factors of this rank.
#[must_use]
pub fn plain_numbers(rank: usize, outputs: usize, inputs: usize) -> usize {
    rank * (outputs + inputs)
}

/// Numbers of two factors of this rank, of which the inner one leaves out a square ([`Gauge`](super::Gauge)).
#[must_use]
pub fn gauge_numbers(rank: usize, outputs: usize, inputs: usize) -> usize {
    rank * (outputs + inputs - rank)
}

/// The rank from which on two factors hold no fewer numbers than the matrix: `outputs · inputs / (outputs + inputs)`.
#[must_use]
pub fn break_even(outputs: usize, inputs: usize) -> f64 {
    (outputs * inputs) as f64 / (outputs + inputs).max(1) as f64
}

// ANCHOR: energy
/// The least rank whose directions hold at least this share of the energy.
#[must_use]
pub fn rank_by_energy(gains: &[f64], share: f64) -> usize {
    let all: f64 = gains.iter().sum();
    let mut sum = 0.0;
    let enough = gains.iter().position(|gain| {
        sum += gain;
        // A share that is met exactly must not fail for the last bit.
        sum >= share * all * (1.0 - 1e-12)
    });
    enough.map_or(gains.len(), |last| last + 1).max(1)
}
// ANCHOR_END: energy

// ANCHOR: budget
/// Ranks that together hold at most `numbers`, chosen one direction at a time: the next one is always that which is worth
/// most for each number it costs, `gain / (outputs + inputs)`. One that no longer fits is passed over for a cheaper one. A
/// matrix that reaches its break-even rank becomes [`Rank::Dense`] and costs what it cost before.
///
/// Gains fall, so without the break-even this is the best choice up to the last step that does not fit.
#[must_use]
pub fn ranks_by_budget(spectra: &[Spectrum], numbers: usize) -> Vec<Rank> {
    let mut ranks = vec![0; spectra.len()];
    let mut left = numbers;
    loop {
        let next = spectra.iter().zip(&ranks).enumerate().filter_map(|(i, (spectrum, rank))| {
            let (outputs, inputs) = (spectrum.outputs, spectrum.inputs);
            // The step to dense costs what is still missing to it.
            let held = plain_numbers(*rank, outputs, inputs).min(outputs * inputs);
            let cost = (outputs + inputs).min(outputs * inputs - held);
            let gain = spectrum.gains.get(*rank)?;
            (cost > 0 && cost <= left).then_some((i, cost, gain / (outputs + inputs) as f64))
        });
        // Of equals the first.
        let best = next.fold(None, |best: Option<(usize, usize, f64)>, one| match best {
            Some(best) if best.2 >= one.2 => Some(best),
            _ => Some(one),
        });
        let Some((i, cost, _)) = best else { break };
        ranks[i] += 1;
        left -= cost;
    }
    let is_dense = |rank: usize, s: &Spectrum| plain_numbers(rank, s.outputs, s.inputs) >= s.outputs * s.inputs;
    let rank = |(rank, s): (&usize, &Spectrum)| if is_dense(*rank, s) { Rank::Dense } else { Rank::Low(*rank) };
    ranks.iter().zip(spectra).map(rank).collect()
}
// ANCHOR_END: budget

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::rng;

    #[test]
    fn energy_counts_squares() {
        // 4, 3, 2, 1: shares 16/30, 25/30, 29/30, 1.
        let gains = [16.0, 9.0, 4.0, 1.0];
        let rank = |share| rank_by_energy(&gains, share);
        assert_eq!([0.5, 0.53, 0.54, 5.0 / 6.0, 0.9, 0.97, 1.0].map(rank), [1, 1, 2, 2, 3, 4, 4]);
        assert_eq!(rank_by_energy(&[0.0, 0.0], 0.9), 1);
    }

    #[test]
    fn counts_are_those_of_the_factors() {
        assert_eq!((plain_numbers(96, 192, 192), gauge_numbers(96, 192, 192)), (36_864, 27_648));
        assert!((break_even(128, 256) - 85.333).abs() < 1e-3 && (break_even(47, 128) - 34.377).abs() < 1e-3);
    }

    fn drawn(seed: u64, alike: bool) -> Vec<Spectrum> {
        let mut rng = rng(seed, "spectra");
        let mut one = || {
            let (outputs, inputs) = if alike { (4, 5) } else { (rng.random_range(2..6), rng.random_range(2..6)) };
            let mut gains: Vec<f64> = (0..outputs.min(inputs)).map(|_| rng.random_range(0.0..10.0)).collect();
            gains.sort_by(|a, b| b.total_cmp(a));
            Spectrum { gains, outputs, inputs }
        };
        vec![one(), one(), one()]
    }

    fn cost(rank: usize, s: &Spectrum) -> usize {
        plain_numbers(rank, s.outputs, s.inputs).min(s.outputs * s.inputs)
    }

    /// Directions that are kept: all of a dense matrix's break-even, as the greedy choice counts.
    fn steps(rank: Rank, s: &Spectrum) -> usize {
        match rank {
            Rank::Low(rank) => rank,
            Rank::Dense => (s.outputs * s.inputs).div_ceil(s.outputs + s.inputs),
        }
    }

    fn worth(ranks: &[usize], spectra: &[Spectrum]) -> f64 {
        ranks.iter().zip(spectra).map(|(rank, s)| s.gains.iter().take(*rank).sum::<f64>()).sum()
    }

    #[test]
    fn a_budget_is_kept_used_up_and_near_the_best_of_all_choices() {
        for seed in 0..60 {
            let alike = seed % 2 == 0;
            let spectra = drawn(seed, alike);
            for numbers in (0..60).step_by(7) {
                let ranks: Vec<usize> =
                    ranks_by_budget(&spectra, numbers).iter().zip(&spectra).map(|(rank, s)| steps(*rank, s)).collect();
                let spent: usize = ranks.iter().zip(&spectra).map(|(rank, s)| cost(*rank, s)).sum();
                assert!(spent <= numbers);
                for (rank, s) in ranks.iter().zip(&spectra) {
                    let dense = s.outputs * s.inputs;
                    let step = (s.outputs + s.inputs).min(dense - cost(*rank, s));
                    assert!(step == 0 || step > numbers - spent || *rank == s.gains.len(), "a step that fits was left");
                }
                let mut best = 0.0_f64;
                let most = |i: usize| {
                    (spectra[i].outputs * spectra[i].inputs).div_ceil(spectra[i].outputs + spectra[i].inputs)
                };
                for a in 0..=most(0) {
                    for b in 0..=most(1) {
                        for c in 0..=most(2) {
                            let all = [a, b, c];
                            if all.iter().zip(&spectra).map(|(r, s)| cost(*r, s)).sum::<usize>() <= numbers {
                                best = best.max(worth(&all, &spectra));
                            }
                        }
                    }
                }
                let found = worth(&ranks, &spectra);
                let largest = spectra.iter().map(|s| s.gains[0]).fold(0.0, f64::max);
                assert!(found <= best + 1e-9 && found >= best - largest - 1e-9, "{found} {best}");
                // The step to dense is cheaper than the others, so that only where none is reached it is all equal.
                if alike && numbers <= 18 {
                    assert!((found - best).abs() < 1e-9, "{found} {best}");
                }
            }
        }
    }

    #[test]
    fn nothing_to_spend_keeps_nothing_and_enough_keeps_all() {
        let spectra = drawn(3, false);
        assert!(ranks_by_budget(&spectra, 0).iter().all(|rank| *rank == Rank::Low(0)));
        let all: usize = spectra.iter().map(|s| s.outputs * s.inputs).sum();
        assert!(ranks_by_budget(&spectra, all).iter().all(|rank| *rank == Rank::Dense));
        assert_eq!(ranks_by_budget(&spectra, 20), ranks_by_budget(&spectra, 20));
    }
}
