//! A policy that learns which choices are rewarded.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// One softmax over the choices of each slot, learned by REINFORCE (Williams, 1992) as Zoph and Le (2017, arXiv:1611.01578) used it
/// for networks; there a recurrent network gave the logits.
#[derive(Debug, Clone)]
pub struct SlotPolicy {
    /// Logits by slot and choice.
    pub logits: Vec<Vec<f64>>,
    /// Mean reward so far, of which newer ones weigh more.
    baseline: Option<f64>,
    rate: f64,
}

/// Share of the baseline that stays at each reward.
const KEEP: f64 = 0.9;

impl SlotPolicy {
    /// Even at first.
    #[must_use]
    pub fn new(slots: usize, choices: usize, rate: f64) -> Self {
        Self { logits: vec![vec![0.0; choices]; slots], baseline: None, rate }
    }

    /// Probability of each choice of a slot.
    #[must_use]
    pub fn shares(&self, slot: usize) -> Vec<f64> {
        let largest = self.logits[slot].iter().copied().fold(f64::MIN, f64::max);
        let powers: Vec<f64> = self.logits[slot].iter().map(|x| (x - largest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|x| x / sum).collect()
    }

    /// A choice for each slot.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let one = |slot| {
            let (mut left, shares) = (rng.random_range(0.0..1.0), self.shares(slot));
            let passes = |share: &f64| {
                left -= share;
                left <= 0.0
            };
            shares.iter().position(passes).unwrap_or(shares.len() - 1)
        };
        (0..self.logits.len()).map(one).collect()
    }

    // ANCHOR: reinforce
    /// The gradient of the logarithm of the probability of what was chosen, by slot and choice.
    #[must_use]
    pub fn slope(&self, chosen: &[usize]) -> Vec<Vec<f64>> {
        let of = |(slot, choice): (usize, &usize)| {
            let mut slope: Vec<f64> = self.shares(slot).iter().map(|share| -share).collect();
            slope[*choice] += 1.0;
            slope
        };
        chosen.iter().enumerate().map(of).collect()
    }

    /// Makes what was chosen likelier if its reward is above the mean so far, and less likely below.
    pub fn learn(&mut self, chosen: &[usize], reward: f64) {
        let before = self.baseline.unwrap_or(reward);
        self.baseline = Some(KEEP * before + (1.0 - KEEP) * reward);
        let by = self.rate * (reward - before);
        let slopes = self.slope(chosen);
        for (logits, slope) in self.logits.iter_mut().zip(slopes) {
            logits.iter_mut().zip(slope).for_each(|(x, slope)| *x += by * slope);
        }
    }
    // ANCHOR_END: reinforce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    /// All choices of three slots of three, with their probabilities.
    fn all(policy: &SlotPolicy) -> Vec<(Vec<usize>, f64)> {
        let code = |i: usize| vec![i % 3, i / 3 % 3, i / 9];
        let share = |chosen: &[usize]| chosen.iter().enumerate().map(|(slot, c)| policy.shares(slot)[*c]).product();
        (0..27).map(code).map(|chosen| (chosen.clone(), share(&chosen))).collect()
    }

    fn policy() -> SlotPolicy {
        let mut policy = SlotPolicy::new(3, 3, 0.1);
        policy.logits = vec![vec![0.3, -0.2, 0.9], vec![0.0, 1.1, -0.4], vec![0.5, 0.5, -1.0]];
        policy
    }

    #[test]
    fn the_expected_gradient_is_that_of_the_expected_reward() {
        let reward = |chosen: &[usize]| (chosen[0] * 2 + chosen[1] * chosen[2]) as f64;
        let expected = |policy: &SlotPolicy| all(policy).iter().map(|(c, share)| share * reward(c)).sum::<f64>();
        let policy = policy();
        for slot in 0..3 {
            for choice in 0..3 {
                let found: f64 =
                    all(&policy).iter().map(|(c, share)| share * reward(c) * policy.slope(c)[slot][choice]).sum();
                let moved = |by: f64| {
                    let mut other = policy.clone();
                    other.logits[slot][choice] += by;
                    expected(&other)
                };
                let right = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((found - right).abs() < 1e-6, "{slot} {choice}: {found} {right}");
                let constant: f64 = all(&policy).iter().map(|(c, share)| share * policy.slope(c)[slot][choice]).sum();
                assert!(constant.abs() < 1e-12);
            }
        }
    }

    #[test]
    fn draws_follow_the_shares_and_rewards_change_them() {
        let (mut policy, mut rng) = (policy(), rng(0, "draws"));
        let drawn: Vec<Vec<usize>> = (0..20_000).map(|_| policy.draw(&mut rng)).collect();
        for slot in 0..3 {
            for choice in 0..3 {
                let seen = drawn.iter().filter(|c| c[slot] == choice).count() as f64 / 20_000.0;
                assert!((seen - policy.shares(slot)[choice]).abs() < 0.02);
            }
        }
        let before = policy.shares(0)[1];
        policy.learn(&[0, 0, 0], 1.0);
        assert_eq!(policy.shares(0)[1], before, "the first reward is its own baseline");
        policy.learn(&[1, 0, 0], 2.0);
        assert!(policy.shares(0)[1] > before);
    }
}
