//! Who goes to which expert, with which weight, and how evenly.

/// What the output of a chosen expert is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Its probability among all experts (Switch, arXiv:2101.03961).
    Probability,
    /// Its probability over the same number without gradient: 1 over the choices, while the router still learns.
    Straight,
    /// Its share among the chosen ones (Mixtral, arXiv:2401.04088). With a single choice that is 1, and nothing reaches the router.
    Renormalized,
    /// The sigmoid of its logit, over the sum of the chosen ones where there are several (DeepSeek-V3, arXiv:2412.19437).
    Sigmoid,
    /// 1 over the choices; the router has no part in it.
    Even,
}

/// Pairs of a token and an expert, each with its gate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assignments {
    /// Tokens.
    pub token: Vec<u32>,
    /// Experts, one for each.
    pub expert: Vec<u32>,
    /// Gates, one for each.
    pub gate: Vec<f32>,
}

impl Assignments {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.token.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.token.is_empty()
    }
}

/// Probabilities of each row of logits `[N, E]`.
#[must_use]
pub fn softmax(logits: &[f32], experts: usize) -> Vec<f32> {
    let mut all = logits.to_vec();
    for row in all.chunks_exact_mut(experts.max(1)) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|z| *z = (*z - largest).exp());
        let by = row.iter().sum::<f32>().recip();
        row.iter_mut().for_each(|p| *p *= by);
    }
    all
}

/// `1 / (1 + e^-z)` of each.
#[must_use]
pub fn sigmoid(logits: &[f32]) -> Vec<f32> {
    logits.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect()
}

// ANCHOR: route
/// The `k` experts of the largest score plus bias in each row of `[N, E]`, best first; of equal ones the lower number.
#[must_use]
pub fn top_k(scores: &[f32], experts: usize, k: usize, bias: &[f32]) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(scores.len() / experts.max(1) * k);
    for row in scores.chunks_exact(experts.max(1)) {
        let first = chosen.len();
        for _ in 0..k.min(experts) {
            let (mut best, mut largest) = (None, f32::NEG_INFINITY);
            for (i, score) in row.iter().enumerate() {
                let score = score + bias.get(i).copied().unwrap_or(0.0);
                if !chosen[first..].contains(&(i as u32)) && (best.is_none() || score > largest) {
                    (best, largest) = (Some(i as u32), score);
                }
            }
            chosen.extend(best);
        }
    }
    chosen
}

/// Every token chooses. `scores` `[N, E]` are probabilities, or sigmoids for [`Gate::Sigmoid`]; `bias` sways the choice and never
/// the gate.
#[must_use]
pub fn token_choice(scores: &[f32], experts: usize, k: usize, bias: &[f32], gate: Gate) -> Assignments {
    let k = k.min(experts).max(1);
    let expert = top_k(scores, experts, k, bias);
    let mut all = Assignments { token: (0..expert.len()).map(|i| (i / k) as u32).collect(), expert, gate: Vec::new() };
    for (row, chosen) in scores.chunks_exact(experts.max(1)).zip(all.expert.chunks_exact(k)) {
        let sum: f32 = chosen.iter().map(|i| row[*i as usize]).sum();
        for i in chosen {
            all.gate.push(match gate {
                Gate::Probability => row[*i as usize],
                Gate::Sigmoid if k == 1 => row[*i as usize],
                Gate::Renormalized | Gate::Sigmoid => row[*i as usize] / sum.max(1e-20),
                Gate::Straight | Gate::Even => 1.0 / k as f32,
            });
        }
    }
    all
}
// ANCHOR_END: route

/// Every expert chooses its `capacity` tokens of the largest probability (arXiv:2202.09368). Loads are equal; whether a token is
/// chosen depends on all others, those after it included.
#[must_use]
pub fn expert_choice(probabilities: &[f32], experts: usize, capacity: usize) -> Assignments {
    let mut all = Assignments::default();
    let tokens = probabilities.len() / experts.max(1);
    for expert in 0..experts {
        let p = |token: u32| probabilities[token as usize * experts + expert];
        let mut order: Vec<u32> = (0..tokens as u32).collect();
        order.sort_by(|a, b| p(*b).total_cmp(&p(*a)));
        order.truncate(capacity);
        order.sort_unstable();
        all.gate.extend(order.iter().map(|token| p(*token)));
        all.expert.extend(std::iter::repeat_n(expert as u32, order.len()));
        all.token.extend(order);
    }
    all
}

/// What gradients of the gates are worth at the logits `[N, E]`. `scores` are those that [`token_choice`] saw.
#[must_use]
pub fn gate_slopes(scores: &[f32], experts: usize, all: &Assignments, slopes: &[f32], gate: Gate) -> Vec<f32> {
    let mut out = vec![0.0; scores.len()];
    if gate == Gate::Even {
        return out;
    }
    let mut first = 0;
    while first < all.len() {
        // The choices of one token lie side by side, but where experts choose: there each gate is a probability of its own.
        let token = all.token[first];
        let count = all.token[first..].iter().take_while(|t| **t == token).count();
        let at = first..first + count;
        let mean: f32 = all.gate[at.clone()].iter().zip(&slopes[at.clone()]).map(|(g, d)| g * d).sum();
        for i in at {
            let (g, place) = (all.gate[i], token as usize * experts + all.expert[i] as usize);
            out[place] += match gate {
                Gate::Sigmoid if count == 1 => g * (1.0 - g) * slopes[i],
                Gate::Sigmoid => g * (1.0 - scores[place]) * (slopes[i] - mean),
                Gate::Renormalized => g * (slopes[i] - mean),
                // Both are a constant times the derivative of the logarithm of p: no division by a p that may be zero.
                _ => g * slopes[i],
            };
        }
        first += count;
    }
    if gate != Gate::Sigmoid {
        through_softmax(&mut out, scores, experts);
    }
    out
}

/// Gradients by ln p, in place, to gradients by the logits.
pub(super) fn through_softmax(slopes: &mut [f32], probabilities: &[f32], experts: usize) {
    for (row, p) in slopes.chunks_exact_mut(experts).zip(probabilities.chunks_exact(experts)) {
        let sum: f32 = row.iter().sum();
        row.iter_mut().zip(p).for_each(|(d, p)| *d -= p * sum);
    }
}

/// Assignments of each expert.
#[must_use]
pub fn load(experts: usize, chosen: &[u32]) -> Vec<u32> {
    let mut load = vec![0; experts];
    chosen.iter().for_each(|i| load[*i as usize] += 1);
    load
}

/// Mean probability of each expert over all tokens.
#[must_use]
pub fn mean_probabilities(probabilities: &[f32], experts: usize) -> Vec<f32> {
    let mut mean = vec![0.0; experts];
    for row in probabilities.chunks_exact(experts.max(1)) {
        mean.iter_mut().zip(row).for_each(|(mean, p)| *mean += p);
    }
    let by = experts as f32 / probabilities.len().max(1) as f32;
    mean.iter_mut().for_each(|mean| *mean *= by);
    mean
}

// ANCHOR: balance
/// The auxiliary loss, `E Σ fᵢ Pᵢ` (GShard, arXiv:2006.16668; Switch): `f` is each expert's share of the assignments, before any is
/// dropped, `P` its mean probability over *all* tokens and experts. 1 when all is even, E when all is with one.
#[must_use]
pub fn balance_loss(probabilities: &[f32], chosen: &[u32], experts: usize) -> f32 {
    let share = experts as f32 / chosen.len().max(1) as f32;
    let (load, mean) = (load(experts, chosen), mean_probabilities(probabilities, experts));
    load.iter().zip(mean).map(|(load, p)| share * *load as f32 * p).sum()
}

/// Balance without a loss (arXiv:2408.15664): who had less than the mean is preferred a little more at the next step.
pub fn nudge(bias: &mut [f32], load: &[u32], rate: f32) {
    let mean = load.iter().sum::<u32>() as f32 / load.len().max(1) as f32;
    for (b, load) in bias.iter_mut().zip(load) {
        let short = mean - *load as f32;
        *b += if short == 0.0 { 0.0 } else { rate * short.signum() };
    }
}
// ANCHOR_END: balance

/// The mean square of each row's log of summed exponentials: keeps logits small (ST-MoE, arXiv:2202.08906). Unlike probabilities it
/// notices a constant that is added to all logits.
#[must_use]
pub fn z_loss(logits: &[f32], experts: usize) -> f32 {
    let rows = logits.chunks_exact(experts.max(1));
    let count = rows.len().max(1) as f32;
    rows.map(|row| log_sum(row).powi(2)).sum::<f32>() / count
}

/// `ln Σ e^z`.
pub(super) fn log_sum(row: &[f32]) -> f32 {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    largest + row.iter().map(|z| (z - largest).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four tokens, three experts, worked by hand.
    const LOGITS: [f32; 12] = [0.5, -0.2, 0.1, 0.3, 0.8, -0.4, 0.8, 0.6, -0.3, 0.7, -1.2, 0.6];

    fn near(a: &[f32], b: &[f32], by: f32) {
        assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < by), "{a:?} {b:?}");
    }

    #[test]
    fn the_worked_example_holds() {
        let p = softmax(&LOGITS, 3);
        near(&p[..6], &[0.461_488, 0.229_168, 0.309_344, 0.317_934, 0.524_185, 0.157_881], 1e-5);
        let one = token_choice(&p, 3, 1, &[], Gate::Probability);
        assert_eq!(one.expert, [0, 1, 0, 0]);
        near(&[balance_loss(&p, &one.expert, 3)], &[1.199_912], 1e-5);
        near(&mean_probabilities(&p, 3), &[0.432_738, 0.301_669, 0.265_593], 1e-5);
        let two = token_choice(&p, 3, 2, &[], Gate::Renormalized);
        assert_eq!(two.expert, [0, 2, 1, 0, 0, 1, 0, 2]);
        let gates = [0.598_688, 0.401_312, 0.622_459, 0.377_541, 0.549_834, 0.450_166, 0.524_979, 0.475_021];
        near(&two.gate, &gates, 1e-5);
        near(&[balance_loss(&p, &two.expert, 3), z_loss(&LOGITS, 3)], &[1.074_553, 2.045_334], 1e-5);
    }

    #[test]
    fn the_auxiliary_loss_is_one_when_even_and_e_at_collapse_and_may_lie_below_one() {
        near(&[balance_loss(&[0.25; 16], &[0, 1, 2, 3], 4)], &[1.0], 1e-6);
        near(&[balance_loss(&[1.0, 0.0, 0.0, 1.0, 0.0, 0.0], &[0, 0], 3)], &[3.0], 1e-6);
        near(&[balance_loss(&[0.51, 0.49, 0.51, 0.49, 0.0, 1.0], &[0, 0, 1], 2)], &[0.893_333], 1e-5);
        let moved: Vec<f32> = LOGITS.iter().map(|z| z + 5.0).collect();
        near(&softmax(&moved, 3), &softmax(&LOGITS, 3), 1e-6);
        assert!((z_loss(&moved, 3) - z_loss(&LOGITS, 3)).abs() > 20.0);
        assert!(softmax(&[80.0, -80.0, 0.0], 3).iter().all(|p| p.is_finite()));
    }

    #[test]
    fn ties_go_to_the_lower_number_and_a_bias_sways_the_choice_alone() {
        assert_eq!(top_k(&[1.0; 6], 3, 2, &[]), [0, 1, 0, 1]);
        assert_eq!(top_k(&[0.1, 0.3, 0.2], 3, 9, &[]), [1, 2, 0]);
        let swayed = token_choice(&[0.6, 0.3, 0.1], 3, 1, &[0.0, 0.0, 0.9], Gate::Probability);
        assert_eq!((swayed.expert[0], swayed.gate[0]), (2, 0.1));
    }

    #[test]
    fn a_bias_that_is_moved_too_far_swings() {
        let (scores, mut bias) = (sigmoid(&LOGITS), vec![0.0; 3]);
        let mut seen = Vec::new();
        for _ in 0..4 {
            let load = load(3, &top_k(&scores, 3, 1, &bias));
            nudge(&mut bias, &load, 0.1);
            seen.push(load);
        }
        assert_eq!(seen[..2], [vec![3, 1, 0], vec![0, 2, 2]]);
        assert_eq!(seen[2..], seen[..2]);
    }

    #[test]
    fn experts_that_choose_are_full_and_look_ahead() {
        let p = softmax(&LOGITS, 3);
        let all = expert_choice(&p, 3, 2);
        assert_eq!(load(3, &all.expert), [2, 2, 2]);
        // The first three tokens alone: other choices, because the fourth is gone.
        let before = expert_choice(&p[..9], 3, 2);
        let of = |all: &Assignments, token| {
            (0..all.len()).filter(|i| all.token[*i] == token).map(|i| all.expert[i]).collect::<Vec<_>>()
        };
        assert_ne!((0..3).map(|t| of(&all, t)).collect::<Vec<_>>(), (0..3).map(|t| of(&before, t)).collect::<Vec<_>>());
    }

    #[test]
    fn slopes_of_all_gates_agree_with_differences() {
        let weights: Vec<f32> = (0..8).map(|i| 0.3 * i as f32 - 1.0).collect();
        for (gate, k) in [
            (Gate::Probability, 1),
            (Gate::Probability, 2),
            (Gate::Renormalized, 2),
            (Gate::Sigmoid, 1),
            (Gate::Sigmoid, 2),
            (Gate::Even, 2),
        ] {
            let scores = |z: &[f32]| if gate == Gate::Sigmoid { sigmoid(z) } else { softmax(z, 3) };
            let value = |z: &[f32]| {
                let all = token_choice(&scores(z), 3, k, &[], gate);
                all.gate.iter().zip(&weights).map(|(g, w)| g * w).sum::<f32>()
            };
            let s = scores(&LOGITS);
            let all = token_choice(&s, 3, k, &[], gate);
            let found = gate_slopes(&s, 3, &all, &weights[..all.len()], gate);
            for i in 0..12 {
                let at = |by: f32| {
                    let mut z = LOGITS;
                    z[i] += by;
                    value(&z)
                };
                let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
                assert!((slope - found[i]).abs() < 2e-3, "{gate:?} {k} {i}: {slope} {}", found[i]);
            }
        }
    }

    #[test]
    fn a_single_renormalized_choice_teaches_the_router_nothing_and_a_straight_one_does() {
        let p = softmax(&LOGITS, 3);
        for (gate, silent) in [(Gate::Renormalized, true), (Gate::Straight, false)] {
            let all = token_choice(&p, 3, 1, &[], gate);
            assert!(all.gate.iter().all(|g| (g - 1.0).abs() < 1e-6));
            let slopes = gate_slopes(&p, 3, &all, &[1.0, -2.0, 0.5, 3.0], gate);
            assert_eq!(slopes.iter().all(|d| d.abs() < 1e-6), silent, "{gate:?}");
        }
    }
}
