//! How certain an exit is, which inputs leave there, and what that costs.

/// What an exit's probabilities say about its certainty: a number from 0 to 1, larger where it is more certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// The largest probability.
    MaxProbability,
    /// The largest probability less the second.
    Margin,
    /// `1 − H / ln K` with the entropy `H` in nats of `K` classes: BranchyNet's rule (arXiv:1709.01686), turned round.
    Entropy,
}

impl Confidence {
    /// Of probabilities that sum to 1. Where one of them is not a number, neither is the result, and nothing leaves.
    #[must_use]
    pub fn of(self, probabilities: &[f32]) -> f32 {
        if probabilities.iter().any(|p| p.is_nan()) {
            return f32::NAN;
        }
        let (mut first, mut second, mut entropy) = (0.0_f32, 0.0_f32, 0.0_f32);
        for p in probabilities.iter().copied() {
            (first, second) = if p > first { (p, first) } else { (first, second.max(p)) };
            entropy -= if p > 0.0 { p * p.ln() } else { 0.0 };
        }
        match self {
            Self::MaxProbability => first,
            Self::Margin => first - second,
            Self::Entropy => 1.0 - entropy / (probabilities.len().max(2) as f32).ln(),
        }
    }
}

/// Probabilities of one row of logits at a temperature; 1 changes nothing, more makes them more alike.
#[must_use]
pub fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut p: Vec<f32> = logits.iter().map(|z| ((z - highest) / temperature).exp()).collect();
    let sum: f32 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
    p
}

/// Who leaves.
#[derive(Debug, Clone, PartialEq)]
pub enum Policy {
    /// Whoever is at least as certain as the exit's threshold; one for each exit but the last, which always answers.
    Thresholds(Vec<f32>),
    /// Whoever got the same answer at so many exits in a row *after* the first (PABEE, arXiv:2006.04152).
    Patience(usize),
}

impl Policy {
    // ANCHOR: leaves
    /// Whether an input leaves at the exit whose answer is the last of `answers`, with this certainty, when there are
    /// `exits` exits. A certainty that is not a number never suffices; the last exit always answers.
    #[must_use]
    pub fn leaves(&self, exits: usize, confidence: f32, answers: &[u8]) -> bool {
        let exit = answers.len().saturating_sub(1);
        exit + 1 >= exits
            || match self {
                Self::Thresholds(all) => all.get(exit).is_some_and(|threshold| confidence >= *threshold),
                Self::Patience(more) => {
                    answers.len() > *more && answers.iter().rev().take(more + 1).all(|a| Some(a) == answers.last())
                }
            }
    }
    // ANCHOR_END: leaves
}

/// What every exit says of every input: what a rule decides by, kept so that any rule can be tried without the network.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdicts {
    /// The class that each exit names, `[exits][inputs]`.
    pub answers: Vec<Vec<u8>>,
    /// How certain it is, likewise.
    pub confidences: Vec<Vec<f32>>,
}

impl Verdicts {
    /// Of logits `[inputs, classes]` of each exit, row-major, and a temperature for each exit (1 where one is missing).
    #[must_use]
    pub fn of(logits: &[Vec<f32>], classes: usize, confidence: Confidence, temperatures: &[f32]) -> Self {
        let certainty = |(exit, rows): (usize, &Vec<f32>)| {
            let temperature = temperatures.get(exit).copied().unwrap_or(1.0);
            rows.chunks_exact(classes).map(|row| confidence.of(&softmax(row, temperature))).collect()
        };
        Self {
            answers: logits.iter().map(|rows| crate::train::argmax(rows, classes)).collect(),
            confidences: logits.iter().enumerate().map(certainty).collect(),
        }
    }

    /// How many exits.
    #[must_use]
    pub fn exits(&self) -> usize {
        self.answers.len()
    }

    /// How many inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.answers.first().map_or(0, Vec::len)
    }

    /// Some of the inputs.
    #[must_use]
    pub fn of_inputs(&self, which: &[usize]) -> Self {
        Self {
            answers: self.answers.iter().map(|all| which.iter().map(|i| all[*i]).collect()).collect(),
            confidences: self.confidences.iter().map(|all| which.iter().map(|i| all[*i]).collect()).collect(),
        }
    }

    /// The exit at which each input leaves.
    #[must_use]
    pub fn leave(&self, policy: &Policy) -> Vec<usize> {
        let exits = self.exits();
        let of = |i: usize| {
            let mut answers = Vec::with_capacity(exits);
            let leaves = |exit: &usize| {
                answers.push(self.answers[*exit][i]);
                policy.leaves(exits, self.confidences[*exit][i], &answers)
            };
            (0..exits).find(leaves).unwrap_or(0)
        };
        (0..self.inputs()).map(of).collect()
    }

    /// The first exit that is right, or the last: what no rule can know.
    #[must_use]
    pub fn first_right(&self, labels: &[u8]) -> Vec<usize> {
        let of = |(i, label): (usize, &u8)| {
            self.answers.iter().position(|all| all[i] == *label).unwrap_or(self.exits().saturating_sub(1))
        };
        labels.iter().enumerate().map(of).collect()
    }

    /// What is answered when each input leaves at this exit.
    #[must_use]
    pub fn answers_at(&self, exits: &[usize]) -> Vec<u8> {
        exits.iter().enumerate().map(|(i, exit)| self.answers[*exit][i]).collect()
    }

    /// Which inputs leave at each exit, as shares of all.
    #[must_use]
    pub fn shares(&self, exits: &[usize]) -> Vec<f64> {
        let mut shares = vec![0.0; self.exits()];
        exits.iter().for_each(|exit| shares[*exit] += 1.0 / exits.len() as f64);
        shares
    }
}

/// Mean cost of an input, when these shares leave at exits that cost so much.
#[must_use]
pub fn mean_cost(shares: &[f64], costs: &[f64]) -> f64 {
    shares.iter().zip(costs).map(|(share, cost)| share * cost).sum()
}

// ANCHOR: in_batch
/// Expected cost of an input in a batch that runs on until its last input has left: with the cumulative shares `F` the
/// batch ends at exit `k` with probability `F[k]^batch − F[k − 1]^batch`.
#[must_use]
pub fn cost_in_batch(shares: &[f64], costs: &[f64], batch: u32) -> f64 {
    let (mut left, mut sum) = (0.0_f64, 0.0);
    for (share, cost) in shares.iter().zip(costs) {
        let before = left.powf(f64::from(batch));
        left = (left + share).min(1.0);
        sum += cost * (left.powf(f64::from(batch)) - before);
    }
    sum
}
// ANCHOR_END: in_batch

/// The share of inputs that must leave for one question to pay, when asking costs `check`, leaving there costs `leave` in
/// all, `check` included, and going to the end `full` without any question. 1 where it never pays.
#[must_use]
pub fn break_even(full: f64, leave: f64, check: f64) -> f64 {
    let saved = (full - leave).max(0.0);
    if saved > 0.0 { check / (check + saved) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn certainty_by_hand() {
        let p = softmax(&[2.0, 1.0, 0.0], 1.0);
        let expected = [0.665_241, 0.244_728, 0.090_031];
        assert!(p.iter().zip(expected).all(|(a, b)| near(f64::from(*a), b)), "{p:?}");
        assert!(near(f64::from(Confidence::MaxProbability.of(&p)), 0.665_241));
        assert!(near(f64::from(Confidence::Margin.of(&p)), 0.420_512));
        // H = 0.832396 nats of at most ln 3.
        assert!(near(f64::from(Confidence::Entropy.of(&p)), 1.0 - 0.832_396 / 3.0_f64.ln()));
        let soft = softmax(&[2.0, 1.0, 0.0], 2.0);
        assert!(soft.iter().zip([0.506_480, 0.307_196, 0.186_324]).all(|(a, b)| near(f64::from(*a), b)), "{soft:?}");
        for kind in [Confidence::MaxProbability, Confidence::Margin, Confidence::Entropy] {
            assert!(kind.of(&[0.9, f32::NAN]).is_nan());
            assert!(near(f64::from(kind.of(&[0.0, 1.0, 0.0])), 1.0));
        }
        let thresholds = Policy::Thresholds(vec![0.0]);
        assert!(
            !thresholds.leaves(2, f32::NAN, &[1])
                && thresholds.leaves(2, 0.0, &[1])
                && thresholds.leaves(2, f32::NAN, &[1, 1])
        );
        let patient = Policy::Patience(1);
        assert!(
            !patient.leaves(3, 1.0, &[4]) && patient.leaves(3, 0.0, &[4, 4]) && !patient.leaves(4, 0.0, &[4, 4, 3])
        );
    }

    #[test]
    fn costs_by_hand() {
        let shares = [0.640, 0.173, 0.187];
        let costs = [97_792.0 / 2_457_088.0, 1_325_568.0 / 2_457_088.0, 2_529_280.0 / 2_457_088.0];
        // Shares 0.64 · 0.0398, 0.173 · 0.5395, 0.187 · 1.0294.
        assert!((mean_cost(&shares, &costs) - 0.3113).abs() < 1e-4, "{}", mean_cost(&shares, &costs));
        // As shares of the pass with both exits.
        let costs = [97_792.0 / 2_529_280.0, 1_325_568.0 / 2_529_280.0, 1.0];
        assert!((mean_cost(&shares, &costs) - 0.3024).abs() < 1e-4);
        for (batch, expected) in [(1, 0.3024), (2, 0.4866), (4, 0.7106), (8, 0.8955), (16, 0.9823), (64, 1.0)] {
            let found = cost_in_batch(&shares, &costs, batch);
            assert!((found - expected).abs() < 1e-4, "{batch}: {found}");
        }
        // A language model of four layers, asked once after layers 1, 2, 3.
        let (layer, head) = (430_080.0, 196_608.0);
        for (after, expected) in [(1.0, 0.132), (2.0, 0.186), (3.0, 0.314)] {
            let found = break_even(4.0 * layer + head, after * layer + head, head);
            assert!((found - expected).abs() < 1e-3, "{after}: {found}");
        }
        assert_eq!(break_even(1.0, 2.0, 0.1), 1.0);
    }

    proptest! {
        #[test]
        fn a_stricter_threshold_never_lets_anybody_leave_earlier(
            rows in prop::collection::vec((0.0_f32..1.0, 0.0_f32..1.0, 0_u8..3, 0_u8..3, 0_u8..3), 1..40),
            low in 0.0_f32..1.0, more in 0.0_f32..0.5,
        ) {
            let verdicts = Verdicts {
                answers: vec![
                    rows.iter().map(|r| r.2).collect(), rows.iter().map(|r| r.3).collect(), rows.iter().map(|r| r.4).collect(),
                ],
                confidences: vec![
                    rows.iter().map(|r| r.0).collect(), rows.iter().map(|r| r.1).collect(), vec![0.0; rows.len()],
                ],
            };
            let at = |t: f32| verdicts.leave(&Policy::Thresholds(vec![t, t]));
            prop_assert!(at(low).iter().zip(at(low + more)).all(|(a, b)| *a <= b));
            prop_assert!(at(0.0).iter().all(|exit| *exit == 0));
            prop_assert!(at(1.5).iter().all(|exit| *exit == 2));
            // Nobody who leaves anywhere is right more often than whoever leaves at the first right exit.
            let labels = vec![1_u8; rows.len()];
            let right = |exits: &[usize]| verdicts.answers_at(exits).iter().filter(|a| **a == 1).count();
            prop_assert!(right(&verdicts.first_right(&labels)) >= right(&at(low)));
            let shares = verdicts.shares(&at(low));
            prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!((cost_in_batch(&shares, &[1.0, 2.0, 4.0], 1) - mean_cost(&shares, &[1.0, 2.0, 4.0])).abs() < 1e-9);
        }
    }
}
