//! Which weights are kept, by a score.

use lab_api::LabError;

/// Where zeros may lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pattern {
    /// Anywhere: this share of the weights, 0 to below 1.
    Free(f64),
    /// Of every `of` neighbours in a row, `keep` are kept.
    NOfM {
        /// Kept in each group.
        keep: usize,
        /// Weights of a group.
        of: usize,
    },
}

/// Among which weights the smallest scores are looked for, when zeros may lie anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Each row loses the same share.
    Row,
    /// The matrix as a whole loses it, wherever.
    Matrix,
}

impl Pattern {
    /// The share of zeros.
    #[must_use]
    pub fn sparsity(self) -> f64 {
        match self {
            Self::Free(sparsity) => sparsity,
            Self::NOfM { keep, of } => 1.0 - keep as f64 / of.max(1) as f64,
        }
    }

    /// Refuses what leaves nothing, or fits no row of this width.
    ///
    /// # Errors
    /// [`LabError::Refused`] naming `what`.
    pub fn check(self, columns: usize, what: &str) -> Result<(), LabError> {
        let refuse = |why: String| Err(LabError::Refused { why });
        match self {
            Self::Free(sparsity) if !(0.0..1.0).contains(&sparsity) => {
                refuse(format!("a sparsity of {sparsity} leaves nothing of {what}, or makes no sense"))
            }
            Self::NOfM { keep, of } if keep == 0 || keep > of || !columns.is_multiple_of(of) => {
                refuse(format!("{keep} of every {of} cannot be kept in the {columns} columns of {what}"))
            }
            _ => Ok(()),
        }
    }
}

/// Marks `drop` places of the smallest scores with false; of equal scores the earlier goes first.
fn drop_smallest(scores: &[f32], drop: usize, kept: &mut [bool]) {
    if drop == 0 {
        return;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let by_score = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]).then(a.cmp(b));
    if drop < order.len() {
        order.select_nth_unstable_by(drop, by_score);
    }
    order[..drop.min(scores.len())].iter().for_each(|i| kept[*i] = false);
}

/// Which weights of `[rows, columns]` are kept: those with the largest scores that the pattern allows. `round(s · n)` of the
/// `n` in each row, or in the matrix, go.
#[must_use]
pub fn keep(scores: &[f32], columns: usize, pattern: Pattern, sharing: Sharing) -> Vec<bool> {
    let mut kept = vec![true; scores.len()];
    let (length, drop) = match (pattern, sharing) {
        (Pattern::Free(sparsity), Sharing::Row) => (columns, (sparsity * columns as f64).round() as usize),
        (Pattern::Free(sparsity), Sharing::Matrix) => (scores.len(), (sparsity * scores.len() as f64).round() as usize),
        (Pattern::NOfM { keep, of }, _) => (of, of - keep),
    };
    for (scores, kept) in scores.chunks(length.max(1)).zip(kept.chunks_mut(length.max(1))) {
        drop_smallest(scores, drop, kept);
    }
    kept
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::rng;

    #[test]
    fn counts_are_exact_and_ties_go_by_place() {
        assert_eq!(keep(&[1.0; 4], 4, Pattern::Free(0.5), Sharing::Row), [false, false, true, true]);
        let mut rng = rng(0, "scores");
        for (rows, columns, sparsity) in [(3, 7, 0.5), (5, 12, 0.9), (4, 8, 0.0), (1, 65, 0.33)] {
            let scores: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(0.0..1.0)).collect();
            let zeros = |kept: &[bool]| kept.iter().filter(|kept| !**kept).count();
            let row = keep(&scores, columns, Pattern::Free(sparsity), Sharing::Row);
            for kept in row.chunks(columns) {
                assert_eq!(zeros(kept), (sparsity * columns as f64).round() as usize);
            }
            let matrix = keep(&scores, columns, Pattern::Free(sparsity), Sharing::Matrix);
            let all = rows * columns;
            assert_eq!(zeros(&matrix), (sparsity * all as f64).round() as usize);
            // Against a full sort.
            let mut order: Vec<usize> = (0..all).collect();
            order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            assert!(order[..zeros(&matrix)].iter().all(|i| !matrix[*i]));
        }
    }

    #[test]
    fn every_group_keeps_its_share() {
        let mut rng = rng(1, "scores");
        let scores: Vec<f32> = (0..4 * 24).map(|_| rng.random_range(0.0..1.0)).collect();
        for (n, m) in [(2, 4), (4, 8), (1, 4), (4, 4)] {
            let kept = keep(&scores, 24, Pattern::NOfM { keep: n, of: m }, Sharing::Row);
            for (kept, scores) in kept.chunks(m).zip(scores.chunks(m)) {
                assert_eq!(kept.iter().filter(|kept| **kept).count(), n);
                let least = kept.iter().zip(scores).filter(|(kept, _)| **kept).map(|(_, s)| *s).fold(1.0, f32::min);
                assert!(kept.iter().zip(scores).all(|(kept, score)| *kept || *score <= least));
            }
        }
    }

    #[test]
    fn what_leaves_nothing_is_refused_by_name() {
        let why = |pattern: Pattern, columns| pattern.check(columns, "q_proj").expect_err("refused").to_string();
        assert!(why(Pattern::Free(1.0), 8).contains("leaves nothing of q_proj"));
        assert!(why(Pattern::Free(f64::NAN), 8).contains("q_proj"));
        assert!(why(Pattern::NOfM { keep: 2, of: 4 }, 6).contains("6 columns of q_proj"));
        assert!(Pattern::NOfM { keep: 5, of: 4 }.check(8, "").is_err());
        assert!(Pattern::NOfM { keep: 2, of: 4 }.check(8, "").is_ok() && Pattern::Free(0.0).check(8, "").is_ok());
    }
}
