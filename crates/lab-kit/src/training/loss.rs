//! Losses.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, activation::log_softmax};

/// Mean cross-entropy `[1]`, in nats, of logits `[N, V]` against targets `[N]`.
///
/// Its gradient, `(softmax(logits) - one_hot(target)) / N`, is known in closed form. So it is computed beside the value
/// and attached to the logits; recording the dozen operations behind a softmax and going back through each would
/// take several times as many passes over `[N, V]`.
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let [n, _] = logits.dims();
    let share = 1.0 / n as f32;
    let targets = targets.inner().reshape([n, 1]);
    let log_probabilities = log_softmax(logits.clone().inner(), 1); // [N, V]
    let value = log_probabilities.clone().gather(1, targets.clone()).sum().mul_scalar(-share);
    let hit = Tensor::full([n, 1], -share, &log_probabilities.device());
    let gradient = log_probabilities.exp().mul_scalar(share).scatter(1, targets, hit, IndexingUpdateOp::Add);
    // The derivative of this sum by the logits is `gradient`; its value is taken out again.
    let carrier = (logits * gradient).sum();
    let difference = value - carrier.clone().inner();
    carrier + difference
}

#[cfg(test)]
mod tests {
    use burn::{
        nn::loss::CrossEntropyLossConfig,
        tensor::{Device, TensorData},
    };
    use rand::Rng;

    use super::*;

    #[test]
    fn value_and_gradient_equal_those_of_the_recorded_operations() {
        let device = Device::flex().autodiff();
        let mut rng = crate::rng(0, "loss");
        for (n, v) in [(1_usize, 2_i32), (7, 5), (32, 100)] {
            let width = usize::try_from(v).expect("small");
            let values: Vec<f32> = (0..n * width).map(|_| rng.random_range(-6.0..6.0)).collect();
            let targets: Vec<i32> = (0..n).map(|_| rng.random_range(0..v)).collect();
            let run = |naive: bool| {
                let logits =
                    Tensor::<2>::from_data(TensorData::new(values.clone(), [n, width]), &device).require_grad();
                let targets = Tensor::<1, Int>::from_data(TensorData::new(targets.clone(), [n]), &device);
                // Twice the loss, so that a factor from above counts.
                let loss = if naive {
                    CrossEntropyLossConfig::new().init(&device).forward(logits.clone(), targets)
                } else {
                    cross_entropy(logits.clone(), targets)
                };
                let gradients = loss.clone().mul_scalar(2.0).backward();
                let gradient = logits.grad(&gradients).expect("it was asked for");
                (loss.into_scalar::<f32>(), gradient.into_data().try_to_vec::<f32>().expect("singles"))
            };
            let ((fast, fast_gradient), (naive, naive_gradient)) = (run(false), run(true));
            // Sums of up to 100 exponentials, in another order.
            assert!((fast - naive).abs() < 1e-5, "{fast} {naive}");
            for (a, b) in fast_gradient.iter().zip(&naive_gradient) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
    }
}
