//! Which proposed tokens stay, and what is written in the place of the first that does not.

use lab_api::LabError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// What becomes of a proposal. Only [`Rule::Exact`] writes what the model alone would write; the others are mistakes that people
/// make, kept to show that a test finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Accepts `x` with probability `min(1, p(x) / q(x))`; after a rejection draws from what `p` has more than `q`.
    Exact,
    /// The same, but after a rejection draws from `p` itself.
    Unsubtracted,
    /// Accepts `x` where `p(x) >= q(x)`, and never else.
    Threshold,
}

impl Rule {
    /// Probability that a token with these probabilities, the model's and the draft's, is accepted.
    fn accepts(self, p: f64, q: f64) -> f64 {
        match self {
            Self::Exact | Self::Unsubtracted => (p / q.max(f64::MIN_POSITIVE)).min(1.0),
            Self::Threshold => f64::from(u8::from(p >= q)),
        }
    }

    /// What the token is drawn from that stands in the place of a rejected one.
    fn instead(self, p: &[f64], q: &[f64]) -> Vec<f64> {
        match self {
            Self::Unsubtracted => p.to_vec(),
            Self::Exact | Self::Threshold => residual(p, q),
        }
    }
}

/// The distribution `[V]` of the next token: the softmax of logits over the temperature, and at temperature 0 all on the largest
/// logit, of equals the first. The same numbers as [`Sampling::probabilities`](crate::models::Sampling::probabilities) without
/// `top_k`, and no sorting.
///
/// # Errors
/// [`LabError::Refused`] when there is no logit or one is not a number, or the temperature is negative.
pub fn distribution(logits: &[f32], temperature: f64) -> Result<Vec<f64>, LabError> {
    if !(temperature >= 0.0 && temperature.is_finite()) || logits.is_empty() || logits.iter().any(|z| z.is_nan()) {
        let why = format!(
            "{} logits at temperature {temperature}: take numbers, and a temperature of 0 or more",
            logits.len()
        );
        return Err(LabError::Refused { why });
    }
    let best = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
    let mut p = vec![0.0; logits.len()];
    if temperature == 0.0 {
        p[best] = 1.0;
        return Ok(p);
    }
    let largest = f64::from(logits[best]);
    for (p, z) in p.iter_mut().zip(logits) {
        *p = ((f64::from(*z) - largest) / temperature).exp();
    }
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
    Ok(p)
}

/// Draws a token. The generator is asked for exactly one number.
pub fn draw(p: &[f64], rng: &mut ChaCha8Rng) -> u32 {
    let (mut left, mut chosen) = (rng.random::<f64>(), 0);
    for (token, p) in p.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        chosen = token;
        left -= p;
        if left < 0.0 {
            break;
        }
    }
    u32::try_from(chosen).unwrap_or(u32::MAX)
}

/// `Σ min(p, q)`: the probability that a token drawn from `q` is accepted, 1 less the total variation between both.
#[must_use]
pub fn overlap(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p.min(*q)).sum()
}

// ANCHOR: residual
/// `max(0, p − q)`, made to sum to 1: what `p` has more than `q`. Where it has nothing more, nothing is ever rejected, and `p`
/// stands for it.
#[must_use]
pub fn residual(p: &[f64], q: &[f64]) -> Vec<f64> {
    let mut more: Vec<f64> = p.iter().zip(q).map(|(p, q)| (p - q).max(0.0)).collect();
    let sum: f64 = more.iter().sum();
    if sum <= 0.0 {
        return p.to_vec();
    }
    more.iter_mut().for_each(|more| *more /= sum);
    more
}
// ANCHOR_END: residual

// ANCHOR: verify
/// How many of the proposed tokens stay, and the token after them. Row `i` of `q` is what `proposed[i]` was drawn from, row `i`
/// of `p` what the model says in its place; `p` has one row more. The generator is asked for one number for each decision, and
/// one for the token.
pub fn verify(p: &[Vec<f64>], q: &[Vec<f64>], proposed: &[u32], rule: Rule, rng: &mut ChaCha8Rng) -> (usize, u32) {
    for (i, ((p, q), token)) in p.iter().zip(q).zip(proposed).enumerate() {
        let of = |law: &[f64]| law.get(*token as usize).copied().unwrap_or(0.0);
        if rng.random::<f64>() >= rule.accepts(of(p), of(q)) {
            return (i, draw(&rule.instead(p, q), rng));
        }
    }
    (proposed.len(), p.last().map_or(0, |p| draw(p, rng)))
}
// ANCHOR_END: verify

/// The law of the token that a round with one proposal writes first, computed and not drawn: for [`Rule::Exact`] this is `p`.
#[must_use]
pub fn emitted(p: &[f64], q: &[f64], rule: Rule) -> Vec<f64> {
    let kept: Vec<f64> = p.iter().zip(q).map(|(p, q)| q * rule.accepts(*p, *q)).collect();
    let rejected = 1.0 - kept.iter().sum::<f64>();
    kept.iter().zip(rule.instead(p, q)).map(|(kept, instead)| kept + rejected * instead).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{models::Sampling, rng, speculative::chi_square};

    const WRONG: [Rule; 2] = [Rule::Unsubtracted, Rule::Threshold];

    /// Random distributions over five tokens, some with zeros.
    fn law(rng: &mut ChaCha8Rng) -> Vec<f64> {
        let mut p: Vec<f64> = (0..5).map(|_| if rng.random::<f64>() < 0.3 { 0.0 } else { rng.random() }).collect();
        p[rng.random_range(0..5)] += 0.1;
        let sum: f64 = p.iter().sum();
        p.iter_mut().for_each(|p| *p /= sum);
        p
    }

    fn apart(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn the_law_of_the_token_is_the_models_for_every_pair_of_laws() {
        let mut rng = rng(0, "laws");
        let mut wrong = [0; 2];
        for _ in 0..500 {
            let (p, q) = (law(&mut rng), law(&mut rng));
            assert!(apart(&emitted(&p, &q, Rule::Exact), &p) < 1e-12, "{p:?} {q:?}");
            for (count, rule) in wrong.iter_mut().zip(WRONG) {
                let emitted = emitted(&p, &q, rule);
                assert!((emitted.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                *count += usize::from(apart(&emitted, &p) > 1e-3);
            }
        }
        assert!(wrong[0] > 450 && wrong[1] > 0, "the two mistakes are seen: {wrong:?}");
        let (p, apart_from_p) = ([0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]);
        assert_eq!(emitted(&p, &apart_from_p, Rule::Exact), p);
        assert_eq!((overlap(&p, &apart_from_p), overlap(&p, &p)), (0.0, 1.0));
    }

    /// Two tokens: the law of the second depends on the first, in the model and in the draft.
    #[test]
    fn the_joint_law_of_two_tokens_is_the_models() {
        let mut rng = rng(1, "laws");
        for _ in 0..50 {
            let (p1, q1) = (law(&mut rng), law(&mut rng));
            let (p2, q2): (Vec<_>, Vec<_>) = (0..5).map(|_| (law(&mut rng), law(&mut rng))).unzip();
            let kept = |p: f64, q: f64| q * (p / q.max(f64::MIN_POSITIVE)).min(1.0);
            let rejected = 1.0 - overlap(&p1, &q1);
            let instead = residual(&p1, &q1);
            for first in 0..5 {
                // Accepted, then the second proposal is judged; or corrected, and the next round begins behind it.
                let second = emitted(&p2[first], &q2[first], Rule::Exact);
                for (token, second) in second.iter().enumerate() {
                    let joint = kept(p1[first], q1[first]) * second + rejected * instead[first] * p2[first][token];
                    assert!((joint - p1[first] * p2[first][token]).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn what_is_drawn_follows_the_law_and_a_wrong_rule_is_found_out() {
        let mut rng = rng(2, "rounds");
        let (p, q) = (vec![0.4, 0.3, 0.2, 0.1], vec![0.1, 0.2, 0.3, 0.4]);
        let mut p_value = |rule: Rule| {
            let (mut counts, mut accepted) = ([0; 4], 0);
            for _ in 0..20_000 {
                let x = draw(&q, &mut rng);
                let (n, next) = verify(&[p.clone(), p.clone()], std::slice::from_ref(&q), &[x], rule, &mut rng);
                counts[if n == 1 { x } else { next } as usize] += 1;
                accepted += n;
            }
            (chi_square(&counts, &p, 5.0).p_value, f64::from(u32::try_from(accepted).expect("few")) / 20_000.0)
        };
        let (right, share) = p_value(Rule::Exact);
        assert!(right > 1e-3, "{right}");
        // Three standard errors of a share of 0.6.
        assert!((share - overlap(&p, &q)).abs() < 3.0 * (0.6 * 0.4 / 20_000_f64).sqrt(), "{share}");
        for rule in WRONG {
            let (wrong, _) = p_value(rule);
            assert!(wrong < 1e-3, "{rule:?}: {wrong}");
        }
    }

    #[test]
    fn certain_laws_are_compared_and_each_decision_takes_one_number() {
        let one = |at: usize| -> Vec<f64> { (0..3).map(|i| f64::from(u8::from(i == at))).collect() };
        let p = [one(1), one(2), one(0)];
        let verified = |proposed: &[u32]| {
            let q: Vec<Vec<f64>> = proposed.iter().map(|x| one(*x as usize)).collect();
            let (mut used, mut twin) = (rng(3, "v"), rng(3, "v"));
            let found = verify(&p[..=proposed.len()], &q, proposed, Rule::Exact, &mut used);
            // As many decisions as were accepted, one more if a token was rejected, and the token.
            let numbers = found.0 + usize::from(found.0 < proposed.len()) + 1;
            for _ in 0..numbers {
                let _: f64 = twin.random();
            }
            assert_eq!(used, twin, "{proposed:?}");
            found
        };
        assert_eq!(verified(&[1, 2]), (2, 0));
        assert_eq!(verified(&[1, 1]), (1, 2));
        assert_eq!(verified(&[0, 2]), (0, 1));
        assert_eq!(verified(&[]), (0, 1));
    }

    #[test]
    fn a_distribution_is_what_sampling_draws_from() {
        let mut rng = rng(4, "logits");
        for temperature in [0.0, 0.7, 1.0, 1.5] {
            let logits: Vec<f32> = (0..40).map(|_| rng.random_range(-5.0..5.0)).collect();
            let sampling = Sampling { temperature, top_k: None };
            let p = distribution(&logits, temperature).expect("numbers");
            assert!(apart(&p, &sampling.probabilities(&logits).expect("numbers")) < 1e-12);
            let mut twin = rng.clone();
            assert_eq!(draw(&p, &mut rng), sampling.draw(&logits, &mut twin).expect("numbers"));
        }
        assert_eq!(distribution(&[3.0, 3.0], 0.0).expect("numbers"), [1.0, 0.0]);
        assert!(distribution(&[f32::NAN], 1.0).is_err() && distribution(&[], 1.0).is_err());
        assert!(distribution(&[1.0], -1.0).is_err());
    }
}
