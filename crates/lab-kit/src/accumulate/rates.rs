//! What becomes of the learning rate when the batch changes.

/// How the rate follows the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateRule {
    /// Not at all.
    Fixed,
    /// In proportion (Goyal et al., 2017, arXiv:1706.02677): for SGD, below the critical batch.
    Linear,
    /// With the square root (Malladi et al., 2022, arXiv:2205.10287): for Adam and RMSprop.
    Root,
}

// ANCHOR: rates
/// The learning rate for batches of `to` examples, if `base` is right for batches of `from`.
#[must_use]
pub fn scaled_rate(base: f64, from: f64, to: f64, rule: RateRule) -> f64 {
    let ratio = to / from;
    base * match rule {
        RateRule::Fixed => 1.0,
        RateRule::Linear => ratio,
        RateRule::Root => ratio.sqrt(),
    }
}

/// The decay of a moving average that forgets as fast as before, counted in examples and not in updates.
#[must_use]
pub fn scaled_beta(beta: f64, from: f64, to: f64) -> f64 {
    beta.powf(to / from)
}
// ANCHOR_END: rates

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_times_the_batch() {
        let rate = |rule| scaled_rate(0.1, 32.0, 512.0, rule);
        assert_eq!(rate(RateRule::Fixed), 0.1);
        assert!((rate(RateRule::Linear) - 1.6).abs() < 1e-12 && (rate(RateRule::Root) - 0.4).abs() < 1e-12);
        // 0.999 halves in 693 updates of one example; of 16 examples each it must in 43.
        let half = |beta: f64| 0.5_f64.ln() / beta.ln();
        assert!((half(scaled_beta(0.999, 1.0, 16.0)) - half(0.999) / 16.0).abs() < 1e-9);
    }
}
