//! Losses of a language model that learns another's distribution of the next token, for a batch of tokens at once, and what
//! is kept of such distributions where all of them are too many.

use burn::tensor::{Tensor, activation::log_softmax};
use rand::Rng;

use super::Divergence;

// ANCHOR: token
/// The mean divergence `[1]` between the teacher's distributions `[N, V]`, each of which sums to 1, and those of the
/// student's logits `[N, V]`, at a temperature to which the teacher's were softened already.
///
/// For a loss `L(q)` of `q = softmax(z)` the gradient by the logits is `q (g - sum q g)` with `g = dL/dq`, so that `g` is all
/// in which the losses differ. As in the [labels' loss](crate::training::cross_entropy) it is computed beside the value.
#[must_use]
pub fn token_loss(kind: Divergence, student: Tensor<2>, teacher: Tensor<2>, temperature: f64) -> Tensor<1> {
    let [n, _] = student.dims();
    let log_q = log_softmax(student.clone().inner().div_scalar(temperature), 1); // [N, V]
    let (p, q) = (teacher, log_q.clone().exp());
    let log_p = p.clone().clamp_min(TINY).log();
    // The value, as a sum over all tokens, and dL/dq up to what is the same for all of a row.
    let (value, g) = match kind {
        Divergence::Forward => {
            let value = (p.clone() * (log_p - log_q)).sum();
            (value, (p / q.clone().clamp_min(TINY)).neg())
        }
        Divergence::Reverse => {
            let ratio = log_q - log_p;
            ((q.clone() * ratio.clone()).sum(), ratio)
        }
        Divergence::Between(beta) => {
            let m = p.clone().mul_scalar(beta) + q.clone().mul_scalar(1.0 - beta);
            let log_m = m.clamp_min(TINY).log();
            let of_p = (p * (log_p - log_m.clone())).sum();
            let ratio = log_q - log_m;
            let of_q = (q.clone() * ratio.clone()).sum();
            (of_p.mul_scalar(beta) + of_q.mul_scalar(1.0 - beta), ratio.mul_scalar(1.0 - beta))
        }
        Divergence::Variation => {
            let difference = q.clone() - p;
            (difference.clone().abs().sum().mul_scalar(0.5), difference.sign().mul_scalar(0.5))
        }
    };
    let mean = (q.clone() * g.clone()).sum_dim(1); // [N, 1]
    let gradient = (q * (g - mean)).mul_scalar(temperature / n as f64);
    let value = value.mul_scalar(temperature * temperature / n as f64);
    // The derivative of this sum by the logits is `gradient`; its value is taken out again.
    let carrier = (student * gradient).sum();
    let difference = value - carrier.clone().inner();
    carrier + difference
}
// ANCHOR_END: token

/// Probabilities below it count as it: its logarithm is finite in single precision.
const TINY: f64 = 1e-30;

/// What becomes of the tokens that are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// They count as impossible: the likeliest are divided by their sum. Biased.
    Dropped,
    /// Together they keep the probability that they had: one more class, “another token”. See [`complete`].
    Bucket,
    /// So many tokens are drawn from the teacher instead of taking the likeliest; each counts as often as it came. Right on
    /// average (Anshumann et al., arXiv:2503.16870).
    Drawn,
}

// ANCHOR: shorten
/// At most `count` tokens of one distribution, with their shares, by falling probability (by number, where drawn).
#[must_use]
pub fn shorten(p: &[f32], count: usize, tail: Tail, rng: &mut impl Rng) -> Vec<(u16, f32)> {
    let count = count.max(1);
    let number = |k: usize| u16::try_from(k).unwrap_or(u16::MAX);
    if tail == Tail::Drawn {
        let mut hits = vec![0_u32; p.len()];
        for _ in 0..count {
            let mut left = rng.random::<f32>() * p.iter().sum::<f32>();
            let token = p.iter().position(|share| {
                left -= share;
                left < 0.0
            });
            hits[token.unwrap_or(p.len() - 1)] += 1;
        }
        let drawn = hits.into_iter().enumerate().filter(|(_, hits)| *hits > 0);
        return drawn.map(|(k, hits)| (number(k), hits as f32 / count as f32)).collect();
    }
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
    order.truncate(count);
    let sum: f32 = if tail == Tail::Dropped { order.iter().map(|k| p[*k]).sum() } else { 1.0 };
    order.into_iter().map(|k| (number(k), p[k] / sum.max(f32::MIN_POSITIVE))).collect()
}

/// Distributions `[N, V]` of which only some tokens are known: what is missing to 1 goes to the others, shared out as the
/// student `[N, V]` would. A divergence to the result is the one in which all others are a single class.
#[must_use]
pub fn complete(known: Tensor<2>, student: Tensor<2>, temperature: f64) -> Tensor<2> {
    let q = log_softmax(student.inner().div_scalar(temperature), 1).exp();
    let others = q * known.clone().equal_elem(0.0).float(); // [N, V]
    let rest = known.clone().sum_dim(1).neg().add_scalar(1.0).clamp_min(0.0); // [N, 1]
    let share = rest / others.clone().sum_dim(1).clamp_min(1e-9);
    known + others * share
}
// ANCHOR_END: shorten

/// Bytes of a token's answer in a table: a number and a share of two bytes each for those that are kept, or all shares and no
/// numbers where that is shorter.
#[must_use]
pub fn answer_bytes(kept: usize, vocabulary: usize) -> usize {
    (4 * kept).min(2 * vocabulary)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::distill::{acceptance, divergence, softmax};

    const KINDS: [Divergence; 5] = [
        Divergence::Forward,
        Divergence::Reverse,
        Divergence::Between(0.5),
        Divergence::Between(0.1),
        Divergence::Variation,
    ];

    fn rows(rng: &mut impl Rng, count: usize, classes: usize) -> Vec<Vec<f64>> {
        (0..count).map(|_| (0..classes).map(|_| rng.random_range(-3.0..3.0)).collect()).collect()
    }

    fn tensor(rows: &[Vec<f64>], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = rows.iter().flatten().map(|x| *x as f32).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), rows[0].len()]), device)
    }

    /// Loss and gradient of a batch on the CPU.
    fn batch(kind: Divergence, student: &[Vec<f64>], teacher: &[Vec<f64>], t: f64, bucket: bool) -> (f64, Vec<f64>) {
        let device = Device::flex();
        let z = tensor(student, &device.clone().autodiff()).require_grad();
        let mut p = tensor(teacher, &device);
        if bucket {
            p = complete(p, z.clone(), t);
        }
        let loss = token_loss(kind, z.clone(), p, t);
        let gradients = loss.backward();
        let gradient = z.grad(&gradients).expect("it was asked for").into_data().try_to_vec::<f32>().expect("singles");
        (f64::from(loss.into_scalar::<f32>()), gradient.into_iter().map(f64::from).collect())
    }

    /// The mean of plain divergences, times the square of the temperature.
    fn naive(kind: Divergence, student: &[Vec<f64>], teacher: &[Vec<f64>], t: f64) -> f64 {
        let each = student.iter().zip(teacher).map(|(z, p)| divergence(kind, p, &softmax(z, t)));
        t * t * each.sum::<f64>() / student.len() as f64
    }

    #[test]
    fn each_loss_equals_its_definition_and_its_gradient_equals_finite_differences() {
        let mut rng = crate::rng(0, "token");
        for (n, v, t) in [(1, 2, 1.0), (4, 7, 1.0), (3, 33, 2.5), (2, 5, 0.5)] {
            let student = rows(&mut rng, n, v);
            let teacher: Vec<Vec<f64>> = rows(&mut rng, n, v).iter().map(|z| softmax(z, t)).collect();
            for kind in KINDS {
                let (loss, gradient) = batch(kind, &student, &teacher, t, false);
                let expected = naive(kind, &student, &teacher, t);
                assert!((loss - expected).abs() < 1e-5 * (1.0 + expected), "{kind:?} {loss} {expected}");
                for (at, found) in gradient.iter().enumerate() {
                    let moved = |by: f64| {
                        let mut student = student.clone();
                        student[at / v][at % v] += by;
                        naive(kind, &student, &teacher, t)
                    };
                    let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    assert!((slope - found).abs() < 2e-5, "{kind:?} {slope} {found}");
                }
            }
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_jax_optax_and_scipy() {
        // Float64: optax 0.2.8 losses.kl_divergence, SciPy 1.17 rel_entr and jensenshannon squared, JAX 0.10 value_and_grad.
        let teacher: Vec<Vec<f64>> = [[2.0, 0.5, -1.0, 0.0], [0.3, -0.7, 1.9, 0.1]].map(|z| softmax(&z, 1.0)).to_vec();
        let student = [vec![1.0, 1.0, -0.5, 0.2], vec![0.0, 0.4, 0.6, -1.2]];
        let known = [
            (
                Divergence::Forward,
                0.267_291_3,
                [
                    -0.167_956_4,
                    0.107_871_2,
                    0.024_069_3,
                    0.036_015_8,
                    0.038_307_6,
                    0.135_859_8,
                    -0.149_461_6,
                    -0.024_705_8,
                ],
            ),
            (
                Divergence::Reverse,
                0.338_209_7,
                [-0.166_191_4, 0.114_449, 0.025_537, 0.026_205_3, 0.000_815_9, 0.227_489_4, -0.195_92, -0.032_385_4],
            ),
            (
                Divergence::Between(0.5),
                0.071_078_4,
                [
                    -0.040_057_8,
                    0.026_439_7,
                    0.005_899_5,
                    0.007_718_5,
                    0.006_709,
                    0.038_348_6,
                    -0.038_666_1,
                    -0.006_391_5,
                ],
            ),
            (
                Divergence::Variation,
                0.342_123_8,
                [
                    -0.117_085_6,
                    0.070_008,
                    0.015_620_9,
                    0.031_456_6,
                    0.049_844_2,
                    0.074_358_8,
                    -0.106_584_7,
                    -0.017_618_3,
                ],
            ),
        ];
        for (kind, value, slopes) in known {
            let (loss, gradient) = batch(kind, &student, &teacher, 1.0, false);
            assert!((loss - value).abs() < 1e-6, "{kind:?} {loss}");
            assert!(gradient.iter().zip(slopes).all(|(a, b)| (a - b).abs() < 1e-6), "{kind:?} {gradient:?}");
        }
    }

    #[test]
    fn forward_gradient_is_the_difference_and_nothing_is_learned_from_oneself() {
        let mut rng = crate::rng(1, "token");
        let student = rows(&mut rng, 1, 6);
        let (p, q) = (softmax(&rows(&mut rng, 1, 6)[0], 1.0), softmax(&student[0], 1.0));
        let (_, gradient) = batch(Divergence::Forward, &student, std::slice::from_ref(&p), 1.0, false);
        for k in 0..6 {
            assert!((gradient[k] - (q[k] - p[k])).abs() < 1e-6);
        }
        // A teacher without doubt: the labels' loss, and reverse KL stays finite only by its floor.
        let sure = vec![0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        let (loss, _) = batch(Divergence::Forward, &student, &[sure], 1.0, false);
        assert!((loss + q[2].ln()).abs() < 1e-5);
        for kind in KINDS {
            let (loss, gradient) = batch(kind, &student, std::slice::from_ref(&q), 1.0, false);
            // Total variation has a kink where both are equal: the side on which rounding puts them decides its gradient.
            let flat = kind == Divergence::Variation || gradient.iter().all(|g| g.abs() < 1e-5);
            assert!(loss.abs() < 1e-5 && flat, "{kind:?} {loss} {gradient:?}");
        }
        let (loss, _) = batch(Divergence::Variation, &student, std::slice::from_ref(&p), 1.0, false);
        assert!((1.0 - loss - acceptance(&p, &q)).abs() < 1e-6);
    }

    #[test]
    fn shortened_answers_keep_their_mass() {
        let mut rng = crate::rng(2, "token");
        let p: Vec<f32> = softmax(&rows(&mut rng, 1, 40)[0], 0.7).into_iter().map(|p| p as f32).collect();
        let sum = |kept: &[(u16, f32)]| kept.iter().map(|(_, share)| *share).sum::<f32>();
        for count in [1, 5, 40, 99] {
            let dropped = shorten(&p, count, Tail::Dropped, &mut rng);
            let bucket = shorten(&p, count, Tail::Bucket, &mut rng);
            let drawn = shorten(&p, count, Tail::Drawn, &mut rng);
            assert!((sum(&dropped) - 1.0).abs() < 1e-5 && (sum(&drawn) - 1.0).abs() < 1e-5);
            assert_eq!((dropped.len(), bucket.len()), (count.min(40), count.min(40)));
            assert!(drawn.len() <= count);
            // The likeliest, as they are; no other is likelier.
            let least = bucket.iter().map(|(_, share)| *share).fold(1.0, f32::min);
            assert!(bucket.iter().all(|(k, share)| p[usize::from(*k)] == *share));
            assert_eq!(p.iter().filter(|share| **share > least).count(), bucket.len() - 1);
        }
        assert!((sum(&shorten(&p, 40, Tail::Bucket, &mut rng)) - 1.0).abs() < 1e-5);
        // On average the drawn ones are the distribution; the likeliest alone never are.
        let mut mean = vec![0.0_f32; 40];
        for _ in 0..2000 {
            shorten(&p, 8, Tail::Drawn, &mut rng).iter().for_each(|(k, share)| mean[usize::from(*k)] += share / 2000.0);
        }
        // 16,000 draws: four standard deviations of a share are below 0.016.
        assert!(mean.iter().zip(&p).all(|(mean, p)| (mean - p).abs() < 0.016), "{mean:?}");
        let biased = shorten(&p, 8, Tail::Dropped, &mut rng);
        assert!(biased[0].1 > 1.05 * p[usize::from(biased[0].0)]);
        assert_eq!([1, 16, 512, 1024].map(|kept| answer_bytes(kept, 1024)), [4, 64, 2048, 2048]);
    }

    #[test]
    fn the_bucket_is_one_more_class() {
        let mut rng = crate::rng(3, "token");
        let (student, full) = (rows(&mut rng, 1, 9), softmax(&rows(&mut rng, 1, 9)[0], 1.0));
        let p: Vec<f32> = full.iter().map(|p| *p as f32).collect();
        let mut known = vec![0.0; 9];
        for (k, share) in shorten(&p, 3, Tail::Bucket, &mut rng) {
            known[usize::from(k)] = f64::from(share);
        }
        // By hand: the kept classes and the sum of all others.
        let merged = |all: &[f64]| {
            let mut few: Vec<f64> = (0..9).filter(|k| known[*k] > 0.0).map(|k| all[k]).collect();
            few.push((0..9).filter(|k| known[*k] == 0.0).map(|k| all[k]).sum());
            few
        };
        for kind in KINDS {
            let of = |student: &[f64]| divergence(kind, &merged(&full), &merged(&softmax(student, 1.0)));
            let (loss, gradient) = batch(kind, &student, std::slice::from_ref(&known), 1.0, true);
            assert!((loss - of(&student[0])).abs() < 1e-5, "{kind:?}");
            for k in 0..9 {
                let moved = |by: f64| {
                    let mut student = student[0].clone();
                    student[k] += by;
                    of(&student)
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((slope - gradient[k]).abs() < 2e-5, "{kind:?} {slope} {}", gradient[k]);
            }
        }
    }
}
