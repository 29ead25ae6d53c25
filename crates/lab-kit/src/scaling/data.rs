//! What text is worth that is read more than once.

use super::Law;

// ANCHOR: effective
/// How many fresh tokens `d` tokens are worth when only `u` of them differ (Muennighoff et al., 2023, arXiv:2305.16264,
/// equation 5): each repetition is worth less than the one before, and all of them together at most `u * r_star`.
#[must_use]
pub fn effective(u: f64, d: f64, r_star: f64) -> f64 {
    if d <= u { d } else { u + u * r_star * (1.0 - (-(d / u - 1.0) / r_star).exp()) }
}
// ANCHOR_END: effective

/// The law of [`Law`] where text is short: both the data and the size have a worth that saturates (the same paper,
/// equation 6).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DataLimited {
    /// The law of fresh text.
    pub law: Law,
    /// Decay of repeated text.
    pub r_data: f64,
    /// Decay of weights beyond those that the text is best for.
    pub r_size: f64,
}

impl DataLimited {
    /// The loss of `n` weights that read `d` tokens, of which `u` differ.
    #[must_use]
    pub fn loss(&self, n: f64, d: f64, u: f64) -> f64 {
        let Law { a, b, alpha, beta, .. } = self.law;
        let g = (alpha * a / (beta * b)).powf(1.0 / (alpha + beta));
        // The size for which one epoch of the text is optimal.
        let u_n = ((u * g).powf(beta / alpha) * g).min(n);
        self.law.loss(effective(u_n, n, self.r_size), effective(u, d, self.r_data))
    }
}

/// The decay constant whose [`effective`] data foretells best, in squared nats, what repetition did. `fresh` is the loss of a
/// network that read as many different characters, `repeated` the loss that came of reading `u` of them again, both as
/// `(characters read, loss)` in ascending order. Between fresh points the loss is interpolated in the logarithm.
#[must_use]
pub fn repetition_constant(u: f64, fresh: &[(f64, f64)], repeated: &[(f64, f64)]) -> Option<f64> {
    if fresh.len() < 2 || repeated.is_empty() {
        return None;
    }
    let loss_at = |d: f64| {
        let after = fresh.iter().position(|p| p.0 >= d).unwrap_or(fresh.len() - 1).max(1);
        let (low, high) = (fresh[after - 1], fresh[after]);
        let part = (d / low.0).ln() / (high.0 / low.0).ln();
        low.1 + part.clamp(0.0, 1.0) * (high.1 - low.1)
    };
    let misfit = |r: f64| -> f64 { repeated.iter().map(|p| (loss_at(effective(u, p.0, r)) - p.1).powi(2)).sum() };
    // From 0.05 to 500 in steps of 1 %.
    let candidates = (0..926).map(|i| 0.05 * 1.01_f64.powi(i));
    candidates.map(|r| (misfit(r), r)).min_by(|a, b| a.0.total_cmp(&b.0)).map(|best| best.1)
}
