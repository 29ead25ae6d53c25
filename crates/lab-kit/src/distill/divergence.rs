//! How far two distributions are apart, and what that means for a draft whose words are accepted or not.

/// `softmax(logits / temperature)`, without overflow.
#[must_use]
pub fn softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|z| ((z - highest) / temperature).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// A measure of how far `q`, the student, is from `p`, the teacher.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Divergence {
    /// `KL(p, q)`: dear where the student gives little to what the teacher holds possible.
    Forward,
    /// `KL(q, p)`: dear where the student holds possible what the teacher does not (Gu et al., arXiv:2306.08543).
    Reverse,
    /// `beta KL(p, m) + (1 - beta) KL(q, m)` with `m = beta p + (1 - beta) q` (Agarwal et al., arXiv:2306.13649); the
    /// divergence of Jensen and Shannon at one half.
    Between(f64),
    /// Total variation: half the sum of all differences.
    Variation,
}

// ANCHOR: divergence
/// The divergence of two distributions over the same classes, in nats (of [`Divergence::Variation`]: 0 to 1). Infinite
/// where it divides by a probability of zero.
#[must_use]
pub fn divergence(kind: Divergence, p: &[f64], q: &[f64]) -> f64 {
    let kl = |p: &[f64], q: &[f64]| -> f64 {
        p.iter().zip(q).map(|(p, q)| if *p > 0.0 { p * (p / q).ln() } else { 0.0 }).sum()
    };
    match kind {
        Divergence::Forward => kl(p, q),
        Divergence::Reverse => kl(q, p),
        Divergence::Between(beta) => {
            let middle: Vec<f64> = p.iter().zip(q).map(|(p, q)| beta * p + (1.0 - beta) * q).collect();
            beta * kl(p, &middle) + (1.0 - beta) * kl(q, &middle)
        }
        Divergence::Variation => 0.5 * p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum::<f64>(),
    }
}

/// Share of the words drawn from the draft `q` that speculative sampling accepts, `sum min(p, q)`: one minus the total
/// variation (Leviathan et al., arXiv:2211.17192).
#[must_use]
pub fn acceptance(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p.min(*q)).sum()
}
// ANCHOR_END: divergence

/// Tokens that one look of the large model yields, when each of `guesses` words of the draft is accepted with probability
/// `acceptance` and the first refusal ends the row: `(1 - a^(g + 1)) / (1 - a)` (arXiv:2211.17192, equation 1).
#[must_use]
pub fn expected_tokens(acceptance: f64, guesses: u32) -> f64 {
    (0..=guesses).map(|power| acceptance.powi(i32::try_from(power).unwrap_or(i32::MAX))).sum()
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    fn pair(rng: &mut impl Rng) -> (Vec<f64>, Vec<f64>) {
        let mut row = || softmax(&(0..9).map(|_| rng.random_range(-3.0..3.0)).collect::<Vec<f64>>(), 1.0);
        (row(), row())
    }

    #[test]
    fn divergences_keep_their_bounds_and_limits() {
        let mut rng = crate::rng(0, "divergence");
        for _ in 0..50 {
            let (p, q) = pair(&mut rng);
            let of = |kind| divergence(kind, &p, &q);
            for kind in [Divergence::Forward, Divergence::Reverse, Divergence::Between(0.3), Divergence::Variation] {
                assert!(of(kind) > 0.0);
                assert!(divergence(kind, &p, &p).abs() < 1e-12);
            }
            let half = of(Divergence::Between(0.5));
            assert!(half <= std::f64::consts::LN_2);
            assert!((half - divergence(Divergence::Between(0.5), &q, &p)).abs() < 1e-12);
            // Its ends, divided by beta, are the two one-sided divergences.
            assert!((of(Divergence::Between(1e-6)) / 1e-6 - of(Divergence::Forward)).abs() < 1e-3);
            assert!((of(Divergence::Between(1.0 - 1e-6)) / 1e-6 - of(Divergence::Reverse)).abs() < 1e-3);
            assert!((1.0 - of(Divergence::Variation) - acceptance(&p, &q)).abs() < 1e-12);
        }
        assert!(divergence(Divergence::Forward, &[0.5, 0.5], &[1.0, 0.0]).is_infinite());
        assert!((divergence(Divergence::Reverse, &[0.5, 0.5], &[1.0, 0.0]) - std::f64::consts::LN_2).abs() < 1e-12);
    }

    #[test]
    fn the_sampler_accepts_as_often_as_the_formula_says() {
        let mut rng = crate::rng(1, "divergence");
        let (p, q) = pair(&mut rng);
        let draws = 20_000;
        let accepted = (0..draws)
            .filter(|_| {
                let (mut rest, mut word): (f64, usize) = (rng.random(), 0);
                while word + 1 < q.len() && rest >= q[word] {
                    rest -= q[word];
                    word += 1;
                }
                rng.random::<f64>() < p[word] / q[word]
            })
            .count();
        let interval = crate::stats::proportion(accepted, draws, 0.999);
        let expected = acceptance(&p, &q);
        assert!(interval.low < expected && expected < interval.high, "{interval:?} {expected}");
        // A row of four at 0.6247: the closed form.
        assert!((expected_tokens(0.6247, 4) - (1.0 - 0.6247_f64.powi(5)) / (1.0 - 0.6247)).abs() < 1e-12);
        assert_eq!(expected_tokens(1.0, 4), 5.0);
    }

    #[test]
    fn the_worked_row() {
        let (p, q) = (softmax(&[3.0, 1.0, 0.0], 2.0), softmax(&[2.0, 2.0, 0.0], 2.0));
        for (found, expected) in p.iter().zip([0.628_532, 0.231_224, 0.140_244]) {
            assert!((found - expected).abs() < 1e-6);
        }
        assert!((divergence(Divergence::Forward, &p, &q) - 0.096_280).abs() < 1e-6);
    }
}
