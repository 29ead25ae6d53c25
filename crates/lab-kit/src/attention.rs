//! Attention of one head, computed in several ways on the processor, and in one on a GPU.

use burn::tensor::Tensor;

pub use lab_kernels::attention::{
    Blocks, Exact, Gradients, Head, Inputs, Output, Partial, Sight, Traffic, chunked, eager, exact, exact_gradients,
    merge, one_table, products, recomputed, saved, split, tiled,
};

#[cfg(test)]
mod against_torch;

/// The same on a GPU, by a kernel of ours whose tiles lie in workgroup memory: `[B, H, T, D]` over `[B, H, S, D]`, forward
/// only. `None` where there is no such kernel: on the CPU, or for operands that it does not take.
#[must_use]
pub fn on_gpu(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, causal: bool) -> Option<Tensor<4>> {
    #[cfg(feature = "webgpu")]
    return crate::gpu::attention(q, k, v, causal);
    #[cfg(not(feature = "webgpu"))]
    {
        let _ = (q, k, v, causal);
        None
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};
    use rand::Rng as _;

    use super::*;

    /// The largest distance; a NaN is infinitely far.
    fn apart(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        let distances = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        distances.fold(0.0, |most, next| if next.is_nan() { f32::INFINITY } else { most.max(next) })
    }

    #[test]
    fn the_books_attention_and_its_automatic_gradients_say_the_same() {
        let device = Device::flex().autodiff();
        let head = Head { queries: 13, keys: 29, channels: 8 };
        let mut rng = crate::rng(12, "attention");
        let mut draw = |rows: usize| (0..rows * 8).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        let [q, k, v, d_o] = [draw(13), draw(29), draw(29), draw(13)];
        let tensor = |x: &[f32]| Tensor::<4>::from_data(TensorData::new(x.to_vec(), [1, 1, x.len() / 8, 8]), &device);
        let [tq, tk, tv] = [&q, &k, &v].map(|x| tensor(x).require_grad());
        let mask = crate::models::causal_mask(13, 16, &device);
        let expected = crate::models::attend(tq.clone(), tk.clone(), tv.clone(), mask);
        let gradients = (expected.clone() * tensor(&d_o)).sum().backward();
        let numbers = |x: Tensor<4>| -> Vec<f32> { x.into_data().try_to_vec().expect("floats") };
        let (expected, inputs) = (numbers(expected), Inputs { q: &q, k: &k, v: &v });
        let blocks = Blocks { rows: 4, columns: 8, skip: true };
        // That all ways agree with each other is shown where they are.
        let found = tiled(inputs, head, Sight::CAUSAL, blocks, &mut Traffic::default());
        assert!(apart(&found.values, &expected) < 2e-6);
        let found = recomputed(inputs, head, Sight::CAUSAL, blocks, &d_o).1;
        for (found, tensor) in [(found.q, tq), (found.k, tk), (found.v, tv)] {
            let expected = numbers(tensor.grad(&gradients).expect("differentiated"));
            assert!(apart(&found, &expected) < 5e-6);
        }
    }
}
