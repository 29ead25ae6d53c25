//! A memory without a training: pairs are written into a state of fixed size, and asked for.

use lab_layers::mixers::delta_step;
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// Values that a key may have.
const VALUES: usize = 64;

/// How a pair is written, and read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Added: linear attention, Hebb's rule.
    Sum,
    /// Added, and everything before fades by this factor (RetNet).
    Decay(f32),
    /// The answer so far is moved towards the value by this share (DeltaNet).
    Delta(f32),
    /// All pairs are kept and weighed by `e^(sharpness · k · k' + slope · age)`: softmax attention, with a bonus for newer pairs.
    Softmax {
        /// What a product of keys is multiplied by.
        sharpness: f32,
        /// Added for each pair that a pair is newer.
        slope: f32,
    },
}

// ANCHOR: associative
/// Share of pairs whose value is found: `pairs` keys of length 1 in `n` dimensions, each written once with a random value, or a second
/// time with another one, which then is asked for. The state answers with the likeliest of 64 values.
#[must_use]
pub fn associative(rule: Rule, n: usize, pairs: usize, twice: bool, trials: usize, rng: &mut ChaCha8Rng) -> f64 {
    let mut right = 0;
    for _ in 0..trials {
        let keys: Vec<Vec<f32>> = (0..pairs).map(|_| unit(n, rng)).collect();
        let mut values: Vec<usize> = (0..pairs).map(|_| rng.random_range(0..VALUES)).collect();
        let mut written: Vec<(usize, usize)> = values.iter().copied().enumerate().collect();
        if twice {
            let mut order: Vec<usize> = (0..pairs).collect();
            order.shuffle(rng);
            for i in order {
                values[i] = (values[i] + rng.random_range(1..VALUES)) % VALUES;
                written.push((i, values[i]));
            }
        }
        right += found(rule, n, &keys, &written).iter().zip(&values).filter(|(a, b)| a == b).count();
    }
    right as f64 / (trials * pairs).max(1) as f64
}
// ANCHOR_END: associative

/// What each key is answered with.
fn found(rule: Rule, n: usize, keys: &[Vec<f32>], written: &[(usize, usize)]) -> Vec<usize> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let mut state = vec![0.0; n * VALUES];
    for (key, value) in written {
        match rule {
            Rule::Softmax { .. } => {}
            Rule::Delta(beta) => {
                let mut one = vec![0.0; VALUES];
                one[*value] = 1.0;
                delta_step(&mut state, &keys[*key], &one, beta);
            }
            Rule::Sum | Rule::Decay(_) => {
                if let Rule::Decay(keep) = rule {
                    state.iter_mut().for_each(|s| *s *= keep);
                }
                keys[*key].iter().zip(state.chunks_exact_mut(VALUES)).for_each(|(k, row)| row[*value] += k);
            }
        }
    }
    let answer = |key: &Vec<f32>| {
        let mut scores = vec![0.0_f32; VALUES];
        if let Rule::Softmax { sharpness, slope } = rule {
            let exponent =
                |(age, (other, _)): (usize, &(usize, usize))| sharpness * dot(key, &keys[*other]) + slope * age as f32;
            let all: Vec<f32> = written.iter().enumerate().map(exponent).collect();
            let most = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            all.iter().zip(written).for_each(|(e, (_, value))| scores[*value] += (e - most).exp());
        } else {
            key.iter()
                .zip(state.chunks_exact(VALUES))
                .for_each(|(k, row)| scores.iter_mut().zip(row).for_each(|(s, r)| *s += k * r));
        }
        scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i)
    };
    keys.iter().map(answer).collect()
}

/// A direction, each as likely.
fn unit(n: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let row = lab_layers::mixers::random_rows(1, n, false, rng);
    let length = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
    row.iter().map(|x| x / length).collect()
}
