//! Which path a step trains.

use rand::{Rng, seq::SliceRandom};

/// One operation for each slot, each as likely.
#[must_use]
pub fn uniform_path<const SLOTS: usize>(operations: usize, rng: &mut impl Rng) -> [usize; SLOTS] {
    std::array::from_fn(|_| rng.random_range(0..operations))
}

// ANCHOR: fair
/// A round in which each slot uses each operation exactly once (Chu et al., 2021, arXiv:1907.01845): as many paths as there are
/// operations.
#[must_use]
pub fn fair_round<const SLOTS: usize>(operations: usize, rng: &mut impl Rng) -> Vec<[usize; SLOTS]> {
    let mut orders: [Vec<usize>; SLOTS] = std::array::from_fn(|_| (0..operations).collect());
    orders.iter_mut().for_each(|order| order.shuffle(rng));
    (0..operations).map(|i| std::array::from_fn(|slot| orders[slot][i])).collect()
}
// ANCHOR_END: fair

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    #[test]
    fn a_round_is_fair_and_draws_are_uniform() {
        let mut rng = rng(0, "paths");
        for _ in 0..20 {
            let round: Vec<[usize; 4]> = fair_round(6, &mut rng);
            for slot in 0..4 {
                let mut used: Vec<usize> = round.iter().map(|path| path[slot]).collect();
                used.sort_unstable();
                assert_eq!(used, [0, 1, 2, 3, 4, 5]);
            }
        }
        let mut counts = [0; 6];
        for _ in 0..6000 {
            let path: [usize; 4] = uniform_path(6, &mut rng);
            path.iter().for_each(|op| counts[*op] += 1);
        }
        assert!(counts.iter().all(|count| (3700..4300).contains(count)), "{counts:?}");
    }
}
