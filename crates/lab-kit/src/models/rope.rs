//! Rotary positions (Su et al., arXiv:2104.09864), in Hugging Face's convention: channel `i` turns with channel
//! `i + D/2`.

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};

use super::TransformerConfig;
use crate::ops::matmul;

/// Tables for all positions, made once: no sine is computed while tokens are.
#[derive(Module, Debug)]
pub struct Rope {
    /// `[T, D]`.
    cosine: Tensor<2>,
    /// `[T, D]`.
    sine: Tensor<2>,
    /// `[D, D]`: `x · swap` is `(-x₂, x₁)` for `x = (x₁, x₂)`. One small product in the place of two slices, a
    /// negation and a concatenation, forward and backward.
    swap: Tensor<2>,
}

impl Rope {
    /// Tables for the positions 0 to T - 1.
    #[must_use]
    pub fn new(config: &TransformerConfig, device: &Device) -> Self {
        let (positions, width) = (config.context, config.head_channels());
        let half = width / 2;
        let angle = |position: usize, channel: usize| {
            let exponent = 2.0 * (channel % half) as f64 / width as f64;
            position as f64 / config.rope_base.powf(exponent)
        };
        let table = |of: fn(f64) -> f64| {
            let all = (0..positions).flat_map(|p| (0..width).map(move |c| (p, c)));
            let values: Vec<f32> = all.map(|(p, c)| of(angle(p, c)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [positions, width]), device)
        };
        let mut swap = vec![0.0_f32; width * width];
        for i in 0..half {
            swap[(i + half) * width + i] = -1.0;
            swap[i * width + i + half] = 1.0;
        }
        Self {
            cosine: table(f64::cos),
            sine: table(f64::sin),
            swap: Tensor::from_data(TensorData::new(swap, [width, width]), device),
        }
    }

    /// Turns `[B, heads, T, D]`, whose first token stands at position `start`.
    #[must_use]
    pub fn turn(&self, x: Tensor<4>, start: usize) -> Tensor<4> {
        let [_, _, t, _] = x.dims();
        let rows = |table: &Tensor<2>| table.clone().narrow(0, start, t).unsqueeze::<4>(); // [1, 1, T, D]
        let swapped = matmul(x.clone(), self.swap.clone().unsqueeze::<4>());
        x * rows(&self.cosine) + swapped * rows(&self.sine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::config::tests::tiny;

    #[test]
    fn a_score_depends_on_the_distance_of_two_positions_alone() {
        let device = Device::flex();
        let rope = Rope::new(&tiny(), &device);
        let row = |values: [f32; 4]| Tensor::<4>::from_data([[[values]]], &device);
        let score = |p: usize, q: usize| {
            let a = rope.turn(row([0.3, -1.0, 0.7, 0.2]), p);
            let b = rope.turn(row([-0.4, 0.5, 1.1, 0.9]), q);
            (a * b).sum().into_scalar::<f32>()
        };
        for (p, q, shift) in [(0, 3, 5), (7, 2, 8), (4, 4, 11)] {
            // Two products of four terms of about 1, in singles.
            assert!((score(p, q) - score(p + shift, q + shift)).abs() < 1e-5);
        }
        assert!((score(0, 3) - score(0, 4)).abs() > 1e-2);
    }
}
