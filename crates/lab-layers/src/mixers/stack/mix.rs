//! Mixers of one example, forward and backward. State spaces are computed as attention without softmax: for short texts the products
//! of matrices are the fast form, and their gradients are products again.

use lab_kernels::{
    product::{View, product},
    scan::decays,
};

use super::{Mix, Stack};
use crate::mixers::{
    block::layers::{convolve, convolve_backward, norm, norm_backward, softmax, softmax_backward},
    dot,
};

/// What a mixer made of one example `[T, p]`, and what its way back needs.
pub(super) struct Mixed {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    pub(super) y: Vec<f32>,
    /// Weights `[T, T]`; none of a fixed kernel.
    table: Vec<f32>,
    /// What brought the outputs to one size.
    sizes: Vec<f32>,
}

/// Gradients of queries, keys and values, then of the logarithm of what is kept and of Δ.
pub(super) struct Slopes {
    pub(super) qkv: [Vec<f32>; 3],
    pub(super) log_keep: Vec<f32>,
    pub(super) delta: Vec<f32>,
}

/// Steps Δ `[T]` and the shares `e^(-A Δ)` that stay, where there are such.
#[derive(Clone, Copy)]
pub(super) struct Steps<'a> {
    pub(super) delta: &'a [f32],
    pub(super) keep: &'a [f32],
}

impl Mixed {
    pub(super) fn new(stack: &Stack, mix: Mix, [q, k, v]: [Vec<f32>; 3], steps: Steps, kernel: &[f32]) -> Self {
        let (n, p) = (stack.keys, stack.channels);
        let t = v.len() / p;
        let (mut table, mut sizes) = (Vec::new(), Vec::new());
        let mut y = vec![0.0; v.len()];
        match mix {
            Mix::Invariant => convolve(&mut y, &v, kernel, p, t),
            Mix::Attention => {
                table = softmax(&q, &k, n, true);
                y = product(View::new(&table, t, t), View::new(&v, t, p));
            }
            _ => {
                table = product(View::new(&q, t, n), View::new(&k, t, n).transposed());
                table.iter_mut().zip(decays(steps.keep)).for_each(|(weight, left)| *weight *= left);
                y = product(View::new(&table, t, t), View::new(&written(&v, steps.delta, p), t, p));
            }
        }
        if mix != Mix::Attention {
            sizes = norm(&mut y, p);
        }
        Self { q, k, v, y, table, sizes }
    }

    // ANCHOR: backward
    pub(super) fn backward(
        &self,
        stack: &Stack,
        mix: Mix,
        dy: &[f32],
        steps: Steps,
        (kernel, dkernel): (&[f32], &mut [f32]),
    ) -> Slopes {
        let (n, p, Self { q, k, v, table, .. }) = (stack.keys, stack.channels, self);
        let t = v.len() / p;
        let mut slopes = Slopes { qkv: [const { Vec::new() }; 3], log_keep: vec![0.0; t], delta: vec![0.0; t] };
        if mix == Mix::Attention {
            slopes.qkv = softmax_backward(q, k, v, table, dy, [n, p]);
            return slopes;
        }
        let dy = norm_backward(&self.y, &self.sizes, dy, p);
        if mix == Mix::Invariant {
            let mut dv = vec![0.0; v.len()];
            convolve_backward(&mut dv, v, &dy, (kernel, dkernel), p, t);
            slopes.qkv[2] = dv;
            return slopes;
        }
        let (x, dy) = (written(v, steps.delta, p), View::new(&dy, t, p));
        let mut dtable = product(dy, View::new(&x, t, p).transposed());
        let mut dx = product(View::new(table, t, t).transposed(), dy);
        // A weight holds e^(s_i - s_j), with s the sum of logarithms so far: its row pulls at s_i, its column at s_j.
        for (i, (d, weight)) in dtable.chunks_exact(t).zip(table.chunks_exact(t)).enumerate() {
            for (j, (d, weight)) in d.iter().zip(weight).enumerate().take(i) {
                slopes.log_keep[i] += d * weight;
                slopes.log_keep[j] -= d * weight;
            }
        }
        // And each logarithm stands in all later sums.
        for i in (0..t.saturating_sub(1)).rev() {
            slopes.log_keep[i] += slopes.log_keep[i + 1];
        }
        dtable.iter_mut().zip(decays(steps.keep)).for_each(|(d, left)| *d *= left);
        let dtable = View::new(&dtable, t, t);
        let dq = product(dtable, View::new(k, t, n));
        let dk = product(dtable.transposed(), View::new(q, t, n));
        for (i, (dx, v)) in dx.chunks_exact_mut(p).zip(v.chunks_exact(p)).enumerate() {
            slopes.delta[i] = dot(dx, v);
            dx.iter_mut().for_each(|d| *d *= steps.delta[i]);
        }
        slopes.qkv = [dq, dk, dx];
        slopes
    }
    // ANCHOR_END: backward
}

/// Values times the step of their token.
fn written(v: &[f32], delta: &[f32], p: usize) -> Vec<f32> {
    v.chunks_exact(p).zip(delta).flat_map(|(row, delta)| row.iter().map(move |v| delta * v)).collect()
}
