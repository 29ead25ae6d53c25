//! The loss of a student: its teacher's softened answers, the labels, or a mixture of both.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, activation::log_softmax};

use super::softmax;

// ANCHOR: naive
/// The loss of one image: `student` and `teacher` are its logits, one for each class (Hinton, Vinyals and Dean,
/// arXiv:1503.02531, section 2). Exponentials of large logits overflow here.
#[must_use]
pub fn naive_loss(student: &[f64], teacher: &[f64], label: usize, temperature: f64, weight: f64) -> f64 {
    let softened = |logits: &[f64], temperature: f64| -> Vec<f64> {
        let powers: Vec<f64> = logits.iter().map(|z| (z / temperature).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|power| power / sum).collect()
    };
    let (p, q) = (softened(teacher, temperature), softened(student, temperature));
    let soft: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
    let hard = -softened(student, 1.0)[label].ln();
    (1.0 - weight) * hard + weight * temperature * temperature * soft
}
// ANCHOR_END: naive

// ANCHOR: batch
/// The mean loss `[1]` of a batch: logits of the student and of the teacher, both `[B, K]`, and labels `[B]`. `weight` is the
/// share of the soft part, from 0 (labels alone) to 1.
///
/// Value and gradient are computed in closed form, from logarithms, so that no exponential overflows and no operation is
/// recorded. The mean is over the batch: a mean over classes as well would make the soft part K times too small.
#[must_use]
pub fn distillation_loss(
    student: Tensor<2>,
    teacher: Tensor<2>,
    labels: Tensor<1, Int>,
    temperature: f64,
    weight: f64,
) -> Tensor<1> {
    let [b, k] = student.dims();
    let z = student.clone().inner();
    let device = z.device();
    let mut value = Tensor::<1>::zeros([1], &device);
    let mut gradient = Tensor::<2>::zeros([b, k], &device);
    if weight > 0.0 {
        let log_p = log_softmax(teacher.inner().div_scalar(temperature), 1); // [B, K]
        let log_q = log_softmax(z.clone().div_scalar(temperature), 1);
        let (p, q) = (log_p.clone().exp(), log_q.clone().exp());
        let kl = (p.clone() * (log_p - log_q)).sum(); // summed over the batch
        value = value + kl.mul_scalar(weight * temperature * temperature / b as f64);
        gradient = gradient + (q - p).mul_scalar(weight * temperature / b as f64);
    }
    if weight < 1.0 {
        let share = (1.0 - weight) / b as f64;
        let targets = labels.inner().reshape([b, 1]);
        let log_q = log_softmax(z, 1);
        value = value + log_q.clone().gather(1, targets.clone()).sum().mul_scalar(-share);
        let hit = Tensor::full([b, 1], -share, &device);
        gradient = gradient + log_q.exp().mul_scalar(share).scatter(1, targets, hit, IndexingUpdateOp::Add);
    }
    // The derivative of this sum by the logits is `gradient`; its value is taken out again.
    let carrier = (student * gradient).sum();
    let difference = value - carrier.clone().inner();
    carrier + difference
}
// ANCHOR_END: batch

// ANCHOR: decoupled
/// The soft part of one image in two (Zhao et al., arXiv:2203.08679): the divergence between “the right class or another”
/// of teacher and student, and that among the other classes. With weights 1 and `1 - p[label]` they add up to the whole;
/// the second weight is what takes the others away where a teacher is sure.
#[must_use]
pub fn decoupled(student: &[f64], teacher: &[f64], label: usize, temperature: f64) -> (f64, f64) {
    let (p, q) = (softmax(teacher, temperature), softmax(student, temperature));
    let term = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    let rest = |all: &[f64]| all.iter().enumerate().filter(|(k, _)| *k != label).map(|(_, p)| p).sum::<f64>();
    let (p_rest, q_rest) = (rest(&p), rest(&q));
    let target = term(p[label], q[label]) + term(p_rest, q_rest);
    let others = (0..p.len()).filter(|k| *k != label).map(|k| term(p[k] / p_rest, q[k] / q_rest)).sum();
    (target, others)
}
// ANCHOR_END: decoupled

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use rand::Rng;

    use super::*;
    use crate::ops;

    /// Loss and gradient of a batch on the CPU.
    fn batch(student: &[Vec<f64>], teacher: &[Vec<f64>], labels: &[usize], t: f64, a: f64) -> (f64, Vec<f64>) {
        let device = Device::flex().autodiff();
        let shape = [student.len(), student[0].len()];
        let tensor = |rows: &[Vec<f64>]| {
            let values: Vec<f32> = rows.concat().iter().map(|z| *z as f32).collect();
            Tensor::<2>::from_data(TensorData::new(values, shape), &device)
        };
        let logits = tensor(student).require_grad();
        let labels: Vec<i32> = labels.iter().map(|l| i32::try_from(*l).expect("small")).collect();
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [shape[0]]), &device);
        // Twice the loss, so that a factor from above counts.
        let loss = distillation_loss(logits.clone(), tensor(teacher), labels, t, a);
        let gradients = loss.clone().mul_scalar(2.0).backward();
        let gradient = logits.grad(&gradients).expect("it was asked for");
        let gradient = gradient.into_data().try_to_vec::<f32>().expect("singles");
        (f64::from(loss.into_scalar::<f32>()), gradient.iter().map(|g| f64::from(*g) / 2.0).collect())
    }

    fn rows(rng: &mut impl Rng, count: usize, classes: usize, spread: f64) -> Vec<Vec<f64>> {
        (0..count).map(|_| (0..classes).map(|_| rng.random_range(-spread..spread)).collect()).collect()
    }

    #[test]
    fn the_row_that_the_chapter_works_out() {
        let (teacher, student) = ([3.0, 1.0, 0.0], [2.0, 2.0, 0.0]);
        // PyTorch 2.9: kl_div(log_softmax(z_s / 2), softmax(z_t / 2), reduction="batchmean") * 4.
        assert!((naive_loss(&student, &teacher, 0, 2.0, 1.0) - 0.385_120).abs() < 1e-5);
        let (loss, gradient) = batch(&[student.to_vec()], &[teacher.to_vec()], &[0], 2.0, 1.0);
        assert!((loss - 0.385_120).abs() < 1e-5, "{loss}");
        for (found, expected) in gradient.iter().zip([-0.412_426, 0.382_190, 0.030_236]) {
            assert!((found - expected).abs() < 1e-5, "{gradient:?}");
        }
    }

    #[test]
    fn the_batch_equals_its_rows_and_the_gradient_equals_finite_differences() {
        let mut rng = crate::rng(0, "distillation");
        for (b, k, t, a) in [(1, 2, 0.5, 1.0), (7, 5, 4.0, 0.3), (5, 47, 10.0, 0.9), (3, 3, 1.0, 0.0)] {
            let (student, teacher) = (rows(&mut rng, b, k, 4.0), rows(&mut rng, b, k, 4.0));
            let labels: Vec<usize> = (0..b).map(|i| i % k).collect();
            let mean = |student: &[Vec<f64>]| {
                let each = (0..b).map(|i| naive_loss(&student[i], &teacher[i], labels[i], t, a));
                each.sum::<f64>() / b as f64
            };
            let (loss, gradient) = batch(&student, &teacher, &labels, t, a);
            assert!((loss - mean(&student)).abs() < 1e-4 * (1.0 + loss.abs()), "{loss} {}", mean(&student));
            for (at, found) in gradient.iter().enumerate() {
                let moved = |by: f64| {
                    let mut student = student.clone();
                    student[at / k][at % k] += by;
                    mean(&student)
                };
                let slope = (moved(1e-4) - moved(-1e-4)) / 2e-4;
                assert!((slope - found).abs() < 1e-5, "{slope} {found}");
            }
        }
    }

    #[test]
    fn what_the_formula_promises_holds() {
        let mut rng = crate::rng(1, "distillation");
        let (student, teacher) = (rows(&mut rng, 4, 6, 3.0), rows(&mut rng, 4, 6, 3.0));
        let labels = [0, 5, 2, 2];
        // Weight 0 is cross-entropy; a teacher without doubt at T = 1 is it as well.
        let device = Device::flex();
        let logits: Vec<f32> = student.concat().iter().map(|z| *z as f32).collect();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(vec![0_i32, 5, 2, 2], [4]), &device);
        let ce = ops::cross_entropy(Tensor::from_data(TensorData::new(logits, [4, 6]), &device), targets);
        let ce = f64::from(ce.into_scalar::<f32>());
        assert!((batch(&student, &teacher, &labels, 3.0, 0.0).0 - ce).abs() < 1e-6);
        let sure: Vec<Vec<f64>> =
            labels.iter().map(|l| (0..6).map(|k| if k == *l { 80.0 } else { 0.0 }).collect()).collect();
        assert!((batch(&student, &sure, &labels, 1.0, 1.0).0 - ce).abs() < 1e-5);
        // Nothing to learn from oneself; a constant added to all logits of a row changes nothing.
        let (own, slopes) = batch(&student, &student, &labels, 4.0, 1.0);
        assert!(own.abs() < 1e-6 && slopes.iter().all(|g| g.abs() < 1e-7));
        let raised: Vec<Vec<f64>> = teacher.iter().map(|row| row.iter().map(|z| z + 7.0).collect()).collect();
        let (plain, shifted) =
            (batch(&student, &teacher, &labels, 2.0, 0.5), batch(&student, &raised, &labels, 2.0, 0.5));
        assert!((plain.0 - shifted.0).abs() < 1e-5 && plain.0 > 0.0);
        // Logits of 200 overflow the naive exponentials in single precision, not the logarithms.
        let wild = vec![vec![200.0, -200.0, 0.0, 1.0, 2.0, 3.0]; 4];
        assert!(batch(&wild, &teacher, &labels, 1.0, 0.5).0.is_finite());
    }

    #[test]
    fn a_very_high_temperature_matches_logits() {
        let (student, teacher) = ([1.0, -2.0, 1.0], [3.0, -1.0, -2.0]);
        let (_, gradient) = batch(&[student.to_vec()], &[teacher.to_vec()], &[0], 1e3, 1.0);
        // Hinton et al., section 2.1: (z_s - z_t) / K for logits that are centred. Single precision at T = 1,000 leaves 1e-3.
        for k in 0..3 {
            let limit = (student[k] - teacher[k]) / 3.0;
            assert!((gradient[k] - limit).abs() < 5e-3 * limit.abs(), "{} {limit}", gradient[k]);
        }
    }

    #[test]
    fn the_two_parts_add_up_to_the_whole() {
        let mut rng = crate::rng(2, "distillation");
        for t in [0.7, 1.0, 4.0] {
            let (student, teacher) = (&rows(&mut rng, 1, 9, 3.0)[0], &rows(&mut rng, 1, 9, 3.0)[0]);
            let (target, others) = decoupled(student, teacher, 4, t);
            let whole = naive_loss(student, teacher, 4, t, 1.0) / (t * t);
            let p = softmax(teacher, t);
            assert!((target + (1.0 - p[4]) * others - whole).abs() < 1e-9);
            assert!(target >= 0.0 && others > 0.0);
        }
    }
}
