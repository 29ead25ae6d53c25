//! One factor of fading a token for a whole head: the state space of Mamba-2, in three forms (Dao and Gu, 2024, arXiv:2405.21060).

use crate::attention::products::{PANEL, add_product, add_transposed, pack, scores};

/// What a head reads: `H_t = a_t H_{t-1} + b_t x_tᵀ` with a state `[n, p]`, and `y_t = H_tᵀ c_t`.
#[derive(Debug, Clone, Copy)]
pub struct Ssd<'a> {
    /// `[T]`: the share of the state that stays, `a`.
    pub keep: &'a [f32],
    /// `[T, n]`: what reads, as a query does.
    pub c: &'a [f32],
    /// `[T, n]`: where it is written, as a key says.
    pub b: &'a [f32],
    /// `[T, p]`: what is written, as a value.
    pub x: &'a [f32],
    /// n and p.
    pub sizes: [usize; 2],
}

// ANCHOR: step
/// One token: the state fades, takes it in, and is read into `y` `[p]`.
pub fn ssd_step(state: &mut [f32], keep: f32, [c, b]: [&[f32]; 2], x: &[f32], y: &mut [f32]) {
    y.fill(0.0);
    for ((c, b), row) in c.iter().zip(b).zip(state.chunks_exact_mut(x.len().max(1))) {
        for ((s, x), y) in row.iter_mut().zip(x).zip(y.iter_mut()) {
            *s = keep * *s + b * x;
            *y += c * *s;
        }
    }
}
// ANCHOR_END: step

/// `L` `[T, T]`: how much of what token `j` wrote is left at token `i`, `a_{j+1} ⋯ a_i`. Each row is the row above times one factor;
/// a quotient of products from the beginning would be 0 / 0 on long texts.
#[must_use]
pub fn decays(keep: &[f32]) -> Vec<f32> {
    let t = keep.len();
    let mut all = vec![0.0; t * t];
    for (i, keep) in keep.iter().enumerate() {
        let (above, row) = all.split_at_mut(i * t);
        let above = &above[(i * t).saturating_sub(t)..];
        row[..i].iter_mut().zip(above).for_each(|(left, above)| *left = keep * above);
        row[i] = 1.0;
    }
    all
}

// ANCHOR: quadratic
/// As attention does it: each token meets each earlier one, and the weight `c_i · b_j` fades by all factors between them. No softmax.
#[must_use]
pub fn ssd_quadratic(Ssd { keep, c, b, x, sizes: [n, p] }: Ssd) -> Vec<f32> {
    let (t, left, mut out) = (keep.len(), decays(keep), vec![0.0; x.len()]);
    for (i, (c, y)) in c.chunks_exact(n).zip(out.chunks_exact_mut(p)).enumerate() {
        for (j, (b, x)) in b.chunks_exact(n).zip(x.chunks_exact(p)).enumerate().take(i + 1) {
            let weight = left[i * t + j] * c.iter().zip(b).map(|(c, b)| c * b).sum::<f32>();
            y.iter_mut().zip(x).for_each(|(y, x)| *y += weight * x);
        }
    }
    out
}
// ANCHOR_END: quadratic

// ANCHOR: ssd_chunked
/// The same in chunks: pairs within a chunk, the state for all that came before it. `state` `[n, p]` is continued.
#[must_use]
pub fn ssd_chunked(Ssd { keep, c, b, x, sizes: [n, p] }: Ssd, chunk: usize, state: &mut [f32]) -> Vec<f32> {
    let (chunk, mut out) = (chunk.max(1), vec![0.0; x.len()]);
    let parts = c.chunks(chunk * n).zip(b.chunks(chunk * n)).zip(x.chunks(chunk * p)).zip(out.chunks_mut(chunk * p));
    for ((((c, b), x), out), keep) in parts.zip(keep.chunks(chunk)) {
        let (t, mut left, mut since) = (keep.len(), vec![0.0; keep.len()], 1.0);
        let stride = t.next_multiple_of(PANEL);
        let mut table = vec![0.0; t * stride];
        scores(c, n, &pack(b, n), 1.0, &mut table, stride);
        add_product(out, c, n, state, p); // what came before the chunk
        for (i, (row, y)) in table.chunks_exact_mut(stride).zip(out.chunks_exact_mut(p)).enumerate() {
            since *= keep[i];
            y.iter_mut().for_each(|y| *y *= since);
            left[..i].iter_mut().for_each(|left| *left *= keep[i]);
            left[i] = 1.0;
            row[..=i].iter_mut().zip(&left).for_each(|(weight, left)| *weight *= left);
            row[i + 1..].fill(0.0);
        }
        add_product(out, &table, stride, x, p);
        // What is left at the end of the chunk is what the next one reads.
        let faded: Vec<f32> =
            b.chunks_exact(n).zip(&left).flat_map(|(b, left)| b.iter().map(move |b| left * b)).collect();
        state.iter_mut().for_each(|s| *s *= since);
        add_transposed(state, &faded, n, x, p);
    }
    out
}
// ANCHOR_END: ssd_chunked
