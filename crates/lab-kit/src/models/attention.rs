//! Causal self-attention with as many heads of keys and values as the config says (MHA, GQA, MQA).

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData, activation::softmax},
};

use super::{Projection, Rope, cache::LayerCache};
use crate::{
    ops::matmul,
    profile::{NoProbe, Part, Probe, span},
};

/// Instead of -∞: large enough to vanish in the softmax, and a number that every shader language can write.
const HIDDEN: f32 = -1e9;

/// One layer's attention.
#[derive(Module, Debug)]
pub struct Attention {
    pub(super) q_proj: Projection,
    pub(super) k_proj: Projection,
    pub(super) v_proj: Projection,
    pub(super) o_proj: Projection,
    /// Keys and values that every token sees, trained to steer a model ([`adapt`](crate::adapters::adapt)).
    pub(super) prefix: Option<Prefix>,
    pub(super) heads: usize,
    pub(super) key_value_heads: usize,
}

/// Rows before the text, `[rows, K · D]` each, without positions.
#[derive(Module, Debug)]
pub(super) struct Prefix {
    pub(super) keys: Param<Tensor<2>>,
    pub(super) values: Param<Tensor<2>>,
}

impl Prefix {
    /// How many rows.
    pub(super) fn rows(&self) -> usize {
        self.keys.val().dims()[0]
    }

    /// Keys and values `[B, K, S, D]` with these rows before them.
    fn before(&self, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let [b, heads, _, d] = k.dims();
        let spread = |rows: &Param<Tensor<2>>| {
            let rows = rows.val();
            let [p, _] = rows.dims();
            rows.reshape([1, p, heads, d]).swap_dims(1, 2).expand([b, heads, p, d])
        };
        (Tensor::cat(vec![spread(&self.keys), k], 2), Tensor::cat(vec![spread(&self.values), v], 2))
    }
}

impl Attention {
    /// `[B, T, C]` to `[B, T, C]`. With a cache the tokens continue what it holds.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        rope: &Rope,
        (mask, start): (Option<Tensor<4>>, usize),
        cache: Option<LayerCache>,
        probe: &mut dyn Probe,
    ) -> (Tensor<3>, Option<LayerCache>) {
        let [b, t, c] = x.dims();
        let d = c / self.heads;
        probe.given(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], &x);
        let split = |y: Tensor<3>, heads: usize| y.reshape([b, t, heads, d]).swap_dims(1, 2); // [B, heads, T, D]
        let q = span(probe, Part::Query, || split(self.q_proj.forward(x.clone()), self.heads));
        let q = if probe.runs(Part::TurnQuery) { span(probe, Part::TurnQuery, || rope.turn(q, start)) } else { q };
        let k = span(probe, Part::Key, || split(self.k_proj.forward(x.clone()), self.key_value_heads));
        let k = if probe.runs(Part::TurnKey) { span(probe, Part::TurnKey, || rope.turn(k, start)) } else { k };
        let v = span(probe, Part::Value, || split(self.v_proj.forward(x), self.key_value_heads));
        let (k, v, cache) = match cache {
            Some(cache) => span(probe, Part::Keep, || {
                let cache = cache.write(start, k, v);
                let (k, v) = cache.read(start + t); // [B, K, S, D]
                (k, v, Some(cache))
            }),
            None => (k, v, None),
        };
        let (k, v) = match &self.prefix {
            Some(prefix) => prefix.before(k, v),
            None => (k, v),
        };
        let y = attend_probed(q, k, v, mask, probe); // [B, H, T, D]
        let y = span(probe, Part::Join, || y.swap_dims(1, 2).reshape([b, t, c]));
        probe.given(&["self_attn.o_proj"], &y);
        (span(probe, Part::Output, || self.o_proj.forward(y)), cache)
    }
}

/// Attention of queries `[B, H, T, D]` over keys and values `[B, K, S, D]`, to which `mask` (`[1, 1, T, S]`) is added.
///
/// The queries that share a head of keys are stacked into one tall matrix, so nothing is repeated.
#[must_use]
pub fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<4>>) -> Tensor<4> {
    attend_probed(q, k, v, mask, &mut NoProbe)
}

// ANCHOR: attend
/// [`attend`] under the eyes of a probe.
fn attend_probed(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: Option<Tensor<4>>,
    probe: &mut dyn Probe,
) -> Tensor<4> {
    let [b, h, t, d] = q.dims();
    let [_, heads, s, _] = k.dims();
    let stacked = h / heads * t;
    let scores = span(probe, Part::Scores, || {
        let q = q.mul_scalar((d as f32).sqrt().recip()).reshape([b, heads, stacked, d]); // [B, K, H/K·T, D]
        matmul(q, k.transpose()).reshape([b, h, t, s]) // [B, H, T, S]
    });
    let scores = match mask {
        Some(mask) => span(probe, Part::Masking, || scores + mask),
        None => scores,
    };
    let weights = if probe.runs(Part::Softmax) { span(probe, Part::Softmax, || softmax(scores, 3)) } else { scores };
    span(probe, Part::Mix, || matmul(weights.reshape([b, heads, stacked, s]), v).reshape([b, h, t, d]))
}
// ANCHOR_END: attend

// ANCHOR: by_head
/// The same, head by head, as the formula says: the twin that [`attend`] is tested against.
#[must_use]
pub fn attend_by_head(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<4>>) -> Tensor<4> {
    let [_, h, _, d] = q.dims();
    let [_, heads, _, _] = k.dims();
    let one = |x: &Tensor<4>, head: usize| x.clone().narrow(1, head, 1);
    let head = |i: usize| {
        let shared = i * heads / h;
        let mut scores = one(&q, i).matmul(one(&k, shared).transpose()).div_scalar((d as f32).sqrt());
        if let Some(mask) = &mask {
            scores = scores + mask.clone();
        }
        softmax(scores, 3).matmul(one(&v, shared)) // [B, 1, T, D]
    };
    Tensor::cat((0..h).map(head).collect(), 1)
}
// ANCHOR_END: by_head

/// What hides the future: `[1, 1, t, start + t]`, 0 where query `i` (at position `start + i`) may look, very negative
/// elsewhere. One query alone sees everything, and needs none.
#[must_use]
pub fn causal_mask(t: usize, start: usize, device: &Device) -> Option<Tensor<4>> {
    if t == 1 {
        return None;
    }
    let s = start + t;
    let hidden = |i: usize, j: usize| if j > start + i { HIDDEN } else { 0.0 };
    let values: Vec<f32> = (0..t).flat_map(|i| (0..s).map(move |j| hidden(i, j))).collect();
    Some(Tensor::from_data(TensorData::new(values, [1, 1, t, s]), device))
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn stacked_heads_equal_single_heads_for_any_grouping() {
        let device = Device::flex();
        let mut rng = crate::rng(0, "attention");
        for heads in [1, 2, 3, 6] {
            let (b, h, t, start, d) = (2, 6, 5, 3, 4);
            let s = start + t;
            let mut draw = |shape: [usize; 4]| {
                let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-2.0..2.0)).collect();
                Tensor::<4>::from_data(TensorData::new(values, shape), &device)
            };
            let (q, k, v) = (draw([b, h, t, d]), draw([b, heads, s, d]), draw([b, heads, s, d]));
            let mask = causal_mask(t, start, &device);
            let fast = attend(q.clone(), k.clone(), v.clone(), mask.clone());
            let naive = attend_by_head(q, k, v, mask);
            let worst = (fast - naive).abs().max().into_scalar::<f32>();
            // Sums of four products and of eight, in another order.
            assert!(worst < 1e-5, "{heads} heads: {worst}");
        }
    }
}
