//! What two networks have in common inside, and losses that ask for it.

use burn::{
    nn::Linear,
    tensor::{Tensor, activation::relu},
};

use crate::{
    mlp::Mlp,
    ops::{dense, matmul},
};

/// What a batch makes of a network's last layers.
#[derive(Debug, Clone)]
pub struct Hidden {
    /// What the last layer reads: `[B, C]`, after ReLU.
    pub features: Tensor<2>,
    /// What it answers: `[B, K]`.
    pub logits: Tensor<2>,
}

/// One forward pass that keeps the last hidden layer.
#[must_use]
pub fn hidden(network: &Mlp, pixels: Tensor<2>) -> Hidden {
    let layers = network.layers();
    let last = layers.len().saturating_sub(1);
    let features = layers.iter().take(last).fold(pixels, |x, layer| dense(x, layer, true));
    let logits = layers.last().map_or_else(|| relu(features.clone()), |layer| dense(features.clone(), layer, false));
    Hidden { features, logits }
}

// ANCHOR: hint
/// The hint loss `[1]` (Romero et al., arXiv:1412.6550): a regressor `[C_s, C_t]`, trained along, turns the student's
/// features `[B, C_s]` into the teacher's `[B, C_t]`; the mean squared difference counts.
#[must_use]
pub fn hint_loss(student: Tensor<2>, teacher: Tensor<2>, regressor: &Linear) -> Tensor<1> {
    let difference = dense(student, regressor, false) - teacher;
    (difference.clone() * difference).mean()
}
// ANCHOR_END: hint

// ANCHOR: similarity
/// The similarity-preserving loss `[1]` (Tung and Mori, arXiv:1907.09682): which images of the batch lie close together,
/// as a matrix `[B, B]` whose rows have length one. It needs no regressor, whatever the two widths are.
#[must_use]
pub fn similarity_loss(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    let [b, _] = student.dims();
    let similar = |features: Tensor<2>| {
        let products = matmul(features.clone(), features.transpose()); // [B, B]
        let lengths = (products.clone() * products.clone()).sum_dim(1).add_scalar(1e-12).sqrt(); // [B, 1]
        products / lengths
    };
    let difference = similar(student) - similar(teacher);
    (difference.clone() * difference).sum().div_scalar((b * b) as f64)
}
// ANCHOR_END: similarity

/// Linear centred kernel alignment `[1]` of two sets of features `[N, C]`, `[N, D]` of the same inputs (Kornblith et al.,
/// arXiv:1905.00414): 1 where one is a rotated and scaled copy of the other, near 0 where they share no geometry.
#[must_use]
pub fn linear_cka(x: Tensor<2>, y: Tensor<2>) -> Tensor<1> {
    let centred = |z: Tensor<2>| z.clone() - z.mean_dim(0);
    let product = |a: &Tensor<2>, b: &Tensor<2>| {
        let product = matmul(a.clone().transpose(), b.clone());
        (product.clone() * product).sum()
    };
    let (x, y) = (centred(x), centred(y));
    product(&x, &y) / (product(&x, &x) * product(&y, &y)).sqrt().add_scalar(1e-30)
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        tensor::{Device, TensorData},
    };
    use rand::Rng;

    use super::*;
    use crate::mlp::MlpWeights;

    fn random(rows: usize, columns: usize, purpose: &str, device: &Device) -> Tensor<2> {
        let mut rng = crate::rng(0, purpose);
        let values: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_data(TensorData::new(values, [rows, columns]), device)
    }

    fn number(tensor: Tensor<1>) -> f32 {
        tensor.into_scalar::<f32>()
    }

    /// Turns the first two columns.
    fn turned(x: Tensor<2>) -> Tensor<2> {
        let [rows, columns] = x.dims();
        let (first, second) = (x.clone().slice([0..rows, 0..1]), x.clone().slice([0..rows, 1..2]));
        let (c, s) = (0.6, 0.8);
        let one = first.clone().mul_scalar(c) - second.clone().mul_scalar(s);
        let other = first.mul_scalar(s) + second.mul_scalar(c);
        Tensor::cat(vec![one, other, x.slice([0..rows, 2..columns])], 1)
    }

    #[test]
    fn similarities_ignore_scale_and_rotation_and_nothing_else() {
        let device = Device::flex();
        for (rows, columns, other) in [(1, 3, 4), (17, 6, 5)] {
            let x = random(rows, columns, "x", &device);
            assert!(number(similarity_loss(x.clone().mul_scalar(3.0), x.clone())) < 1e-10);
            assert!(number(similarity_loss(turned(x.clone()), x.clone())) < 1e-10);
            if rows > 1 {
                assert!(number(similarity_loss(x, random(rows, other, "y", &device))) > 1e-3);
            }
        }
        let (x, y) = (random(200, 6, "x", &device), random(200, 6, "y", &device));
        assert!((number(linear_cka(x.clone(), turned(x.clone()).mul_scalar(2.0).add_scalar(1.0))) - 1.0).abs() < 1e-4);
        assert!(number(linear_cka(x, y)) < 0.2);
    }

    #[test]
    fn the_alignment_equals_its_definition() {
        // With kernels K = X Xt, L = Y Yt and the centring matrix H: tr(K H L H) / sqrt(tr(K H K H) tr(L H L H)).
        let device = Device::flex();
        let (n, x, y) = (9, random(9, 3, "x", &device), random(9, 4, "y", &device));
        let kernel = |z: &Tensor<2>| {
            let values = z.clone().matmul(z.clone().transpose()).into_data().try_to_vec::<f32>().expect("singles");
            let at = |i: usize, j: usize| f64::from(values[i * n + j]);
            let row = |i: usize| (0..n).map(|j| at(i, j)).sum::<f64>() / n as f64;
            let all = (0..n).map(row).sum::<f64>() / n as f64;
            (0..n * n).map(|ij| at(ij / n, ij % n) - row(ij / n) - row(ij % n) + all).collect::<Vec<f64>>()
        };
        let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (k, l) = (kernel(&x), kernel(&y));
        let expected = inner(&k, &l) / (inner(&k, &k) * inner(&l, &l)).sqrt();
        assert!((f64::from(number(linear_cka(x, y))) - expected).abs() < 1e-5);
    }

    #[test]
    fn a_regressor_that_copies_has_nothing_to_mend() {
        let device = Device::flex();
        let x = random(5, 4, "x", &device);
        let same = Linear { weight: Param::from_tensor(Tensor::eye(4, &device)), bias: None };
        assert!(number(hint_loss(x.clone(), x.clone(), &same)) < 1e-12);
        assert!((number(hint_loss(x.clone(), x.add_scalar(0.5), &same)) - 0.25).abs() < 1e-6);
    }

    #[test]
    fn the_pass_that_keeps_features_answers_as_the_plain_one() {
        let device = Device::flex();
        let network = Mlp::new(&MlpWeights::init(&[6, 5, 4, 3], &mut crate::rng(0, "weights")), &device);
        let x = random(7, 6, "x", &device);
        let found = hidden(&network, x.clone());
        assert_eq!(found.features.dims(), [7, 4]);
        assert_eq!(found.logits.into_data(), network.forward(x).into_data());
    }
}
