//! The backward pass: with the weights kept from the forward pass, and with the weights made again tile by tile.

use super::{
    Blocks, Head, Inputs, Output, Sight, Traffic,
    forward::{tiled, weights},
    products::{PANEL, add_product, add_transposed, pack, scores},
};

/// Gradients of queries `[T, D]`, keys and values `[S, D]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// Of the queries.
    pub q: Vec<f32>,
    /// Of the keys.
    pub k: Vec<f32>,
    /// Of the values.
    pub v: Vec<f32>,
}

impl Gradients {
    fn new(head: Head) -> Self {
        let (queries, keys) = (head.queries * head.channels, head.keys * head.channels);
        Self { q: vec![0.0; queries], k: vec![0.0; keys], v: vec![0.0; keys] }
    }

    fn scaled(mut self, scale: f32) -> Self {
        self.q.iter_mut().chain(&mut self.k).for_each(|x| *x *= scale);
        self
    }
}

/// `Σ dO ∘ O` of each row: what the softmax takes off every weight's gradient.
fn deltas(output: &[f32], d_output: &[f32], d: usize) -> Vec<f32> {
    let rows = output.chunks_exact(d.max(1)).zip(d_output.chunks_exact(d.max(1)));
    rows.map(|(o, d_o)| o.iter().zip(d_o).map(|(o, d_o)| o * d_o).sum()).collect()
}

// ANCHOR: saved
/// Forward and backward with the table of weights kept in between, and a second one for its gradient.
#[must_use]
pub fn saved(inputs: Inputs, head: Head, sight: Sight, d_output: &[f32]) -> (Output, Gradients) {
    let (d, stride) = (head.channels, head.keys.next_multiple_of(PANEL));
    let mut output = Output { values: vec![0.0; head.queries * d], log_sum: vec![0.0; head.queries] };
    let p = weights(inputs, head, sight, &mut output.log_sum);
    add_product(&mut output.values, &p, stride, inputs.v, d);

    let mut gradients = Gradients::new(head);
    add_transposed(&mut gradients.v, &p, stride, d_output, d); // dV = Pᵀ dO
    let mut dx = vec![0.0; p.len()];
    scores(d_output, d, &pack(inputs.v, d), 1.0, &mut dx, stride); // dP = dO Vᵀ
    let rows = dx.chunks_exact_mut(stride).zip(p.chunks_exact(stride));
    for ((dx, p), delta) in rows.zip(deltas(&output.values, d_output, d)) {
        dx.iter_mut().zip(p).for_each(|(dx, p)| *dx = p * (*dx - delta)); // dX = P ∘ (dP - Δ)
    }
    add_product(&mut gradients.q, &dx, stride, inputs.k, d); // dQ = dX K / √D
    add_transposed(&mut gradients.k, &dx, stride, inputs.q, d); // dK = dXᵀ Q / √D
    (output, gradients.scaled(head.scale()))
}
// ANCHOR_END: saved

// ANCHOR: recomputed
/// Forward and backward without any table: each tile of weights is made again from its scores and the logarithm of its row's
/// sum. One product more, and no second softmax.
#[must_use]
pub fn recomputed(inputs: Inputs, head: Head, sight: Sight, blocks: Blocks, d_output: &[f32]) -> (Output, Gradients) {
    let output = tiled(inputs, head, sight, blocks, &mut Traffic::default());
    let (d, [rows, columns]) = (head.channels, blocks.within(head));
    let (keys, values) = (pack(inputs.k, d), pack(inputs.v, d));
    let delta = deltas(&output.values, d_output, d);
    let (mut p, mut dx) = (vec![0.0; rows * columns], vec![0.0; rows * columns]);
    let mut gradients = Gradients::new(head);
    for from in (0..head.keys).step_by(columns) {
        let to = (from + columns).min(head.keys);
        let width = (to - from).next_multiple_of(PANEL);
        let panels = from * d..(from + width) * d;
        for first in (0..head.queries).step_by(rows) {
            let last = (first + rows).min(head.queries);
            let seen = sight.of_block(first..last, head);
            if blocks.skip && (seen.end <= from || seen.start >= to) {
                continue;
            }
            let (q, d_o) = (&inputs.q[first * d..last * d], &d_output[first * d..last * d]);
            let (p, dx) = (&mut p[..(last - first) * width], &mut dx[..(last - first) * width]);
            scores(q, d, &keys[panels.clone()], head.scale(), p, width);
            for (i, row) in p.chunks_exact_mut(width).enumerate() {
                let range = sight.range(first + i, head);
                let seen = range.start.clamp(from, to) - from..range.end.clamp(from, to) - from;
                again(row, seen, output.log_sum[first + i]); // P = e^(X - L)
            }
            add_transposed(&mut gradients.v[from * d..to * d], p, width, d_o, d);
            scores(d_o, d, &values[panels.clone()], 1.0, dx, width);
            for ((dx, p), delta) in dx.chunks_exact_mut(width).zip(p.chunks_exact(width)).zip(&delta[first..last]) {
                dx.iter_mut().zip(p).for_each(|(dx, p)| *dx = p * (*dx - delta));
            }
            add_product(&mut gradients.q[first * d..last * d], dx, width, &inputs.k[from * d..to * d], d);
            add_transposed(&mut gradients.k[from * d..to * d], dx, width, q, d);
        }
    }
    (output, gradients.scaled(head.scale()))
}
// ANCHOR_END: recomputed

/// The weights of a row of scores whose sum's logarithm is known; zeros where nothing is seen.
fn again(row: &mut [f32], seen: std::ops::Range<usize>, log_sum: f32) {
    row[..seen.start].fill(0.0);
    row[seen.end..].fill(0.0);
    super::products::exponentials(&mut row[seen], log_sum);
}
