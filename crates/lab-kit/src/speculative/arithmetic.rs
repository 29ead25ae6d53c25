//! What a round yields and costs, in plain steps of the model.

/// Tokens of a round of `gamma` proposals, each of which is accepted with probability `alpha` whatever became of the others:
/// `(1 − α^(γ+1)) / (1 − α)` (Leviathan et al., arXiv:2211.17192, equation 1).
#[must_use]
pub fn expected_tokens(alpha: f64, gamma: usize) -> f64 {
    // The sum, so that α = 1 needs no case of its own.
    (0..=gamma).map(|i| alpha.powi(i32::try_from(i).unwrap_or(i32::MAX))).sum()
}

/// Tokens a second over those of plain decoding. A share `proposes` of the rounds has proposals, which cost `draft` plain steps
/// for each of `gamma` tokens; the pass that checks them costs `pass` plain steps. The other rounds are plain steps.
#[must_use]
pub fn speedup((alpha, proposes): (f64, f64), gamma: usize, draft: f64, pass: f64) -> f64 {
    let tokens = proposes * expected_tokens(alpha, gamma) + 1.0 - proposes;
    let cost = proposes * (gamma as f64 * draft + pass) + 1.0 - proposes;
    tokens / cost.max(f64::MIN_POSITIVE)
}

/// The number of proposals, up to `most`, that is fastest, and its speed-up; 0 and 1 where none pays. `pass(k)` is the cost of a
/// pass of `k` tokens in plain steps.
pub fn best_gamma(accepted: (f64, f64), draft: f64, most: usize, pass: impl Fn(usize) -> f64) -> (usize, f64) {
    (1..=most).fold((0, 1.0), |best, gamma| {
        let found = speedup(accepted, gamma, draft, pass(gamma + 1));
        if found > best.1 { (gamma, found) } else { best }
    })
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn tokens_of_a_round_agree_with_a_simulation_and_with_the_closed_form() {
        let mut rng = crate::rng(0, "chain");
        for (alpha, gamma) in [(0.3, 1), (0.6, 4), (0.8, 8)] {
            let mut tokens = 0_usize;
            let rounds = 100_000;
            for _ in 0..rounds {
                tokens += 1 + (0..gamma).take_while(|_| rng.random::<f64>() < alpha).count();
            }
            let expected = expected_tokens(alpha, gamma);
            let closed = (1.0 - alpha.powi(i32::try_from(gamma + 1).expect("small"))) / (1.0 - alpha);
            assert!((expected - closed).abs() < 1e-12);
            assert!((tokens as f64 / f64::from(rounds) / expected - 1.0).abs() < 0.01);
        }
        assert_eq!((expected_tokens(0.0, 5), expected_tokens(1.0, 5), expected_tokens(0.5, 0)), (1.0, 6.0, 1.0));
    }

    #[test]
    fn free_checking_pays_from_the_price_of_the_draft_on() {
        let best = |alpha, draft, pass: f64| best_gamma((alpha, 1.0), draft, 12, |_| pass);
        // Leviathan et al., corollary 3.9: where a pass costs one step, some γ pays if and only if α > c.
        assert!(best(0.31, 0.3, 1.0).0 > 0 && best(0.29, 0.3, 1.0) == (0, 1.0));
        // Where checking one token costs 0.38 more, α must be so much higher for γ = 1.
        assert!(speedup((0.67, 1.0), 1, 0.3, 1.38) < 1.0 && speedup((0.69, 1.0), 1, 0.3, 1.38) > 1.0);
        // A draft that is always right and free: γ + 1 tokens for one pass.
        assert!((speedup((1.0, 1.0), 4, 0.0, 2.5) - 2.0).abs() < 1e-12);
        // Never proposing changes nothing.
        assert!((speedup((0.9, 0.0), 4, 0.3, 2.5) - 1.0).abs() < 1e-12);
        // A pass that costs as many steps as it has tokens never pays.
        assert_eq!(best_gamma((0.9, 1.0), 0.01, 12, |k| k as f64), (0, 1.0));
    }
}
