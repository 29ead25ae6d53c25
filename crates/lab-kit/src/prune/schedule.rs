//! How sparsity grows: in rounds, or along a cubic.

/// Share of the weights that is left after `round` of `rounds` rounds that end at `sparsity`: every round removes the same
/// share of what is left (Han et al., arXiv:1506.02626).
#[must_use]
pub fn kept_after_round(sparsity: f64, round: usize, rounds: usize) -> f64 {
    (1.0 - sparsity).powf(round as f64 / rounds.max(1) as f64)
}

/// Sparsity when the share `done` (0 to 1) of the cutting time is behind: fast at first, while many weights are
/// superfluous, slow at the end (Zhu and Gupta, arXiv:1710.01878).
#[must_use]
pub fn cubic(sparsity: f64, done: f64) -> f64 {
    sparsity * (1.0 - (1.0 - done.clamp(0.0, 1.0)).powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schedules_pass_through_the_values_worked_by_hand() {
        for (done, expected) in
            [(0.0, 0.0), (0.25, 0.520_313), (0.5, 0.7875), (0.75, 0.885_938), (1.0, 0.9), (2.0, 0.9)]
        {
            assert!((cubic(0.9, done) - expected).abs() < 1e-6, "{done}");
        }
        for (round, expected) in [0.630_957, 0.398_107, 0.251_189, 0.158_489, 0.1].into_iter().enumerate() {
            assert!((kept_after_round(0.9, round + 1, 5) - expected).abs() < 1e-6, "{round}");
        }
    }
}
