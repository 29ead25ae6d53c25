//! A product with what comes before it and after it. Rows go strip by strip, and what follows finds its strip in the cache.

use wide::f32x4;

use super::{
    pairs::PassRoom,
    pass::{binary, count, each, each_of_two, unary, with_columns},
    rows::{factor, rms_norm_separate},
    vector::tanh,
};
use crate::graph::{Strided, pack, strip};

/// Rows of a strip, and columns that [`by_columns`] takes at once.
const STRIP: usize = 32;
const TILE: usize = 64;
/// Columns of a panel, and rows.
const PANEL: usize = 8;
const ROWS: usize = 4;

/// A matrix `[inputs, outputs]`, packed before any run.
#[derive(Debug, Clone)]
pub struct StripWeights {
    packed: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

impl StripWeights {
    /// From rows of `outputs` numbers.
    #[must_use]
    pub fn new(w: &[f32], inputs: usize, outputs: usize) -> Self {
        let mut packed = Vec::new();
        let matrix = Strided { data: w, rows: inputs, columns: outputs, row: outputs, column: 1 };
        pack(matrix, PANEL, &mut packed);
        Self { packed, inputs, outputs }
    }

    // ANCHOR: folded
    /// With the factors of the norm before it: row `i` times `gamma[i]`. Done once; the norm then needs no factors.
    #[must_use]
    pub fn folded(w: &[f32], gamma: &[f32], outputs: usize) -> Self {
        let rows = w.chunks(outputs.max(1)).zip(gamma);
        let all: Vec<f32> = rows.flat_map(|(row, gamma)| row.iter().map(move |w| gamma * w)).collect();
        Self::new(&all, gamma.len(), outputs)
    }
    // ANCHOR_END: folded
}

fn packed_rows(x: &[f32], inputs: usize, packed: &mut Vec<f32>) {
    let rows = Strided { data: x, rows: x.len() / inputs.max(1), columns: inputs, row: inputs, column: 1 };
    pack(rows.transposed(), ROWS, packed);
}

// ANCHOR: product_then
/// `y = x · W`; each strip of rows is handed to `finish` while it is in the cache.
fn product_then(x: &[f32], w: &StripWeights, y: &mut [f32], finish: &mut dyn FnMut(&[f32], &mut [f32])) {
    count(x.len() + y.len());
    let mut packed = Vec::new();
    for (x, y) in x.chunks(STRIP * w.inputs.max(1)).zip(y.chunks_mut(STRIP * w.outputs.max(1))) {
        packed_rows(x, w.inputs, &mut packed);
        strip(&packed, &w.packed, [w.inputs, w.outputs], 0, y);
        finish(x, y);
    }
}
// ANCHOR_END: product_then

fn scale(y: &mut [f32], by: f32) {
    y.iter_mut().for_each(|y| *y *= by);
}

/// RMSNorm in six passes, written to `held`, then the product.
pub fn norm_separate(
    x: &[f32],
    gamma: &[f32],
    epsilon: f32,
    w: &StripWeights,
    room: &mut PassRoom,
    held: &mut [f32],
    y: &mut [f32],
) {
    rms_norm_separate(x, gamma, epsilon, room, held);
    product_then(held, w, y, &mut |_, _| {});
}

// ANCHOR: norm_fused
/// The same with weights that hold the factors ([`StripWeights::folded`]): the product of the raw rows, and the factor of each row behind it.
pub fn norm_fused(x: &[f32], epsilon: f32, w: &StripWeights, y: &mut [f32]) {
    product_then(x, w, y, &mut |x, y| {
        for (x, y) in x.chunks(w.inputs.max(1)).zip(y.chunks_mut(w.outputs.max(1))) {
            scale(y, factor(x, epsilon));
        }
    });
}
// ANCHOR_END: norm_fused

/// Norm and product as a GPU's workgroups do them: 64 columns after 64 columns, each of which reads all of `x` again. As a prologue
/// each normalizes it again; otherwise (with folded weights) the factors come behind.
pub fn by_columns(x: &[f32], prologue: Option<&[f32]>, epsilon: f32, w: &StripWeights, y: &mut [f32]) {
    let (mut packed, mut normed, mut out) = (Vec::new(), vec![0.0; STRIP * w.inputs], vec![0.0; STRIP * TILE]);
    let factors: Vec<f32> = match prologue {
        Some(_) => Vec::new(),
        None => x.chunks(w.inputs.max(1)).map(|x| factor(x, epsilon)).collect(),
    };
    for (tile, panels) in w.packed.chunks((TILE * w.inputs).max(1)).enumerate() {
        let first = tile * TILE;
        let columns = TILE.min(w.outputs - first);
        for (at, x) in x.chunks(STRIP * w.inputs.max(1)).enumerate() {
            let rows = x.len() / w.inputs.max(1);
            let x = match prologue {
                Some(gamma) => {
                    super::rms_norm_fused(x, gamma, epsilon, &mut normed[..x.len()]);
                    &normed[..x.len()]
                }
                None => x,
            };
            packed_rows(x, w.inputs, &mut packed);
            strip(&packed, panels, [w.inputs, columns], 0, &mut out[..rows * columns]);
            for (r, line) in out[..rows * columns].chunks_mut(columns.max(1)).enumerate() {
                let row = at * STRIP + r;
                if let Some(factor) = factors.get(row) {
                    scale(line, *factor);
                }
                y[row * w.outputs + first..][..columns].copy_from_slice(line);
            }
        }
    }
}

const CUBIC: f32 = 0.044_715;
const ROOT: f32 = 0.797_884_6;

/// A product, its bias and GELU in the form with tanh (Hendrycks and Gimpel, arXiv:1606.08415), operation by operation: ten passes.
pub fn gelu_separate(x: &[f32], w: &StripWeights, bias: &[f32], room: &mut PassRoom, y: &mut [f32]) {
    let [a, b, c] = &mut room.numbers;
    let s = f32x4::splat;
    product_then(x, w, y, &mut |_, _| {});
    with_columns(y, bias, a, |y, bias| y + bias);
    unary(a, b, |a| a * a * a);
    unary(b, c, |b| b * s(CUBIC));
    binary(a, c, b, |a, c| a + c);
    unary(b, c, |b| b * s(ROOT));
    unary(c, b, tanh);
    unary(b, c, |b| b + s(1.0));
    binary(a, c, b, |a, c| a * c);
    unary(b, y, |b| b * s(0.5));
}

/// The same as a finish of the product.
pub fn gelu_fused(x: &[f32], w: &StripWeights, bias: &[f32], y: &mut [f32]) {
    let s = f32x4::splat;
    let mut line = vec![0.0; w.outputs];
    product_then(x, w, y, &mut |_, y| {
        for y in y.chunks_mut(w.outputs.max(1)) {
            each_of_two(y, bias, &mut line, |y, bias| {
                let a = y + bias;
                a * (tanh((a + a * a * a * s(CUBIC)) * s(ROOT)) + s(1.0)) * s(0.5)
            });
            y.copy_from_slice(&line);
        }
    });
}

/// A layer with bias and ReLU, all in one, in the plainest loops: `w` `[inputs, outputs]`, not packed.
pub fn plain_dense(x: &[f32], w: &[f32], bias: &[f32], y: &mut [f32]) {
    let (outputs, inputs) = (bias.len().max(1), w.len() / bias.len().max(1));
    for (x, y) in x.chunks(inputs.max(1)).zip(y.chunks_mut(outputs)) {
        y.copy_from_slice(bias);
        for (x, w) in x.iter().zip(w.chunks(outputs)) {
            y.iter_mut().zip(w).for_each(|(y, w)| *y += x * w);
        }
        y.iter_mut().for_each(|y| *y = y.max(0.0));
    }
}

/// The same as a good product, and two passes behind it.
pub fn split_dense(x: &[f32], w: &StripWeights, bias: &[f32], room: &mut PassRoom, y: &mut [f32]) {
    let [a, b, _] = &mut room.numbers;
    product_then(x, w, a, &mut |_, _| {});
    with_columns(a, bias, b, |a, bias| a + bias);
    each(b, y, |b| b.fast_max(f32x4::ZERO));
}
