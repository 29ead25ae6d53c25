//! The same operations, each by itself: on inputs of the same shapes, repeated while nothing else runs.

use burn::{
    module::Param,
    nn::RmsNorm,
    tensor::{
        Device, Tensor, TensorData,
        activation::{silu, softmax},
    },
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Part;
use crate::{
    models::{Rope, TransformerConfig, causal_mask},
    ops::matmul,
};

/// Inputs of every operation of a pass of `queries` tokens that attend over `keys`.
pub struct Alone {
    rope: Rope,
    norm: RmsNorm,
    /// `[T, C]` and the same `[1, T, C]`.
    x: Tensor<2>,
    rows: Tensor<3>,
    /// `[T, F]` and `[1, T, F]`.
    wide: Tensor<2>,
    wide_rows: Tensor<3>,
    /// `[1, H, T, D]`, `[1, K, T, D]`, `[1, K, S, D]`.
    queries: Tensor<4>,
    new_keys: Tensor<4>,
    keys: Tensor<4>,
    /// `[1, H, T, S]`.
    scores: Tensor<4>,
    mask: Option<Tensor<4>>,
    /// `[C, C]`, `[C, K D]`, `[C, F]`, `[F, C]`, `[C, V]`.
    matrices: [Tensor<2>; 5],
    start: usize,
}

impl Alone {
    /// Draws them.
    #[must_use]
    pub fn new(config: &TransformerConfig, [t, s]: [usize; 2], rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let (c, f, d) = (config.channels, config.feed_forward, config.head_channels());
        let (h, k) = (config.heads, config.key_value_heads);
        let mut draw = |rows: usize, columns: usize| {
            let values: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-1.0..1.0)).collect();
            Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), device)
        };
        let (x, wide) = (draw(t, c), draw(t, f));
        let shapes = [(c, c), (c, k * d), (c, f), (f, c), (c, config.vocabulary)];
        Self {
            rope: Rope::new(config, device),
            norm: RmsNorm { gamma: Param::from_tensor(Tensor::ones([c], device)), epsilon: config.norm_epsilon },
            rows: x.clone().unsqueeze(),
            wide_rows: wide.clone().unsqueeze(),
            queries: draw(h * t, d).reshape([1, h, t, d]),
            new_keys: draw(k * t, d).reshape([1, k, t, d]),
            keys: draw(k * s, d).reshape([1, k, s, d]),
            scores: draw(h * t, s).reshape([1, h, t, s]),
            mask: causal_mask(t, s - t, device),
            matrices: shapes.map(|(rows, columns)| draw(rows, columns)),
            start: s - t,
            x,
            wide,
        }
    }

    // ANCHOR: once
    /// Does one operation once, and drops what it gives. Whether there is such an operation to be done alone: the cache is
    /// written in place, and what is made of parts is none.
    pub fn once(&self, part: Part) -> bool {
        let [square, narrow, up, down, head] = &self.matrices;
        let [_, h, t, d] = self.queries.dims();
        let [_, k, s, _] = self.keys.dims();
        let by = |x: &Tensor<2>, matrix: &Tensor<2>| keep(matmul(x.clone(), matrix.clone()));
        match part {
            Part::Query | Part::Output => by(&self.x, square),
            Part::Key | Part::Value => by(&self.x, narrow),
            Part::Gate | Part::Up => by(&self.x, up),
            Part::Down => by(&self.wide, down),
            Part::Head => by(&self.x, head),
            Part::Norm | Part::LastNorm => keep(self.norm.forward(self.rows.clone())),
            Part::TurnQuery => keep(self.rope.turn(self.queries.clone(), self.start)),
            Part::TurnKey => keep(self.rope.turn(self.new_keys.clone(), self.start)),
            Part::Scores => {
                let q = self.queries.clone().mul_scalar((d as f32).sqrt().recip()).reshape([1, k, h / k * t, d]);
                keep(matmul(q, self.keys.clone().transpose()).reshape([1, h, t, s]));
            }
            Part::Masking => match &self.mask {
                Some(mask) => keep(self.scores.clone() + mask.clone()),
                None => return false,
            },
            Part::Softmax => keep(softmax(self.scores.clone(), 3)),
            Part::Mix => {
                keep(
                    matmul(self.scores.clone().reshape([1, k, h / k * t, s]), self.keys.clone()).reshape([1, h, t, d]),
                );
            }
            Part::Join => keep(self.queries.clone().swap_dims(1, 2).reshape([1, t, h * d])),
            Part::Residual => keep(self.rows.clone() + self.rows.clone()),
            Part::Silu => keep(silu(self.wide_rows.clone())),
            Part::Product => keep(self.wide_rows.clone() * self.wide_rows.clone()),
            _ => return false,
        }
        true
    }
    // ANCHOR_END: once
}

fn keep<const D: usize>(y: Tensor<D>) {
    drop(std::hint::black_box(y));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::config_tests::tiny;

    #[test]
    fn every_operation_that_can_be_done_alone_is() {
        for [t, s] in [[1, 9], [5, 5], [3, 8]] {
            let alone = Alone::new(&tiny(), [t, s], &mut crate::rng(0, "alone"), &Device::flex());
            for part in Part::ALL {
                let none = part.has_parts() || matches!(part, Part::Mask | Part::Embed | Part::Keep | Part::Read);
                assert_eq!(alone.once(part), !(none || (part == Part::Masking && t == 1)), "{part:?} {t} {s}");
            }
        }
    }
}
