//! Sums that forget and sums that overwrite: a state `[n, p]` that is written by a key `[n]` and a value `[p]` and read by a query.

use super::{add, dot};
use lab_kernels::attention::products::{PANEL, add_product, add_transposed, pack, scores};

/// What is done to the state by each token.
#[derive(Debug, Clone, Copy)]
pub struct Gates<'a> {
    /// `[T]`: the share of the state that stays (α). All 1: nothing fades.
    pub keep: &'a [f32],
    /// `[T]`: how much of a value is written (β).
    pub write: &'a [f32],
    /// Whether what the state says for this key is taken out first: the delta rule.
    pub erase: bool,
}

/// Queries and keys `[T, n]`, values `[T, p]`.
#[derive(Debug, Clone, Copy)]
pub struct Memory<'a> {
    /// Queries.
    pub q: &'a [f32],
    /// Keys.
    pub k: &'a [f32],
    /// Values.
    pub v: &'a [f32],
    /// `[n, p]`.
    pub sizes: [usize; 2],
}

// ANCHOR: delta_step
/// Writes `v` under `k` into `s` `[n, p]`: the state's own answer for `k` is moved towards `v` by the share `beta`, which is one
/// step of gradient descent on `|sᵀk - v|² / 2` (Widrow and Hoff, 1960) where `k` has length 1.
pub fn delta_step(s: &mut [f32], k: &[f32], v: &[f32], beta: f32) {
    let p = v.len().max(1);
    let mut missing = v.to_vec();
    for (k, row) in k.iter().zip(s.chunks_exact(p)) {
        add(&mut missing, -k, row);
    }
    for (k, row) in k.iter().zip(s.chunks_exact_mut(p)) {
        add(row, beta * k, &missing);
    }
}
// ANCHOR_END: delta_step

/// Token by token: `S' = α S`, `r = v - S'ᵀk` (or `v`, where nothing is erased), `S = S' + β k rᵀ`, `y = Sᵀq`. With α and the delta
/// rule this is Gated DeltaNet (Yang et al., 2024, arXiv:2412.06464), without the rule gated linear attention with a scalar gate.
/// Gives outputs `[T, p]`; `state` is continued.
#[must_use]
pub fn recur(memory: Memory, gates: Gates, state: &mut [f32]) -> Vec<f32> {
    walk(memory, gates, state, |_| ())
}

fn walk(
    Memory { q, k, v, sizes: [n, p] }: Memory,
    gates: Gates,
    state: &mut [f32],
    mut see: impl FnMut(&[f32]),
) -> Vec<f32> {
    let mut out = vec![0.0; v.len()];
    let rows = q.chunks_exact(n).zip(k.chunks_exact(n)).zip(v.chunks_exact(p)).zip(out.chunks_exact_mut(p));
    for ((((q, k), v), out), (keep, write)) in rows.zip(gates.keep.iter().zip(gates.write)) {
        if *keep != 1.0 {
            state.iter_mut().for_each(|s| *s *= keep);
        }
        if gates.erase {
            delta_step(state, k, v, *write);
        } else {
            k.iter().zip(state.chunks_exact_mut(p)).for_each(|(k, row)| add(row, write * k, v));
        }
        q.iter().zip(state.chunks_exact(p)).for_each(|(q, row)| add(out, *q, row));
        see(state);
    }
    out
}

/// Gradients of [`recur`].
#[derive(Debug, Clone, Default)]
pub struct Gradients {
    /// Of queries `[T, n]`.
    pub q: Vec<f32>,
    /// Of keys `[T, n]`.
    pub k: Vec<f32>,
    /// Of values `[T, p]`.
    pub v: Vec<f32>,
    /// Of what is kept `[T]`.
    pub keep: Vec<f32>,
    /// Of what is written `[T]`.
    pub write: Vec<f32>,
}

/// Gradients of an empty state's [`recur`], where that of the output is `dy` `[T, p]`. All states are kept for it.
#[must_use]
pub fn recur_backward(memory: Memory, gates: Gates, dy: &[f32]) -> Gradients {
    let Memory { q, k, v, sizes: [n, p] } = memory;
    let t = gates.keep.len();
    let mut states = vec![0.0; n * p];
    let _ = walk(memory, gates, &mut vec![0.0; n * p], |state| states.extend_from_slice(state));
    let mut g = Gradients {
        q: vec![0.0; q.len()],
        k: vec![0.0; k.len()],
        v: vec![0.0; v.len()],
        keep: vec![0.0; t],
        write: vec![0.0; t],
    };
    let mut ds = vec![0.0; n * p];
    for i in (0..t).rev() {
        let (before, after) = (&states[i * n * p..][..n * p], &states[(i + 1) * n * p..][..n * p]);
        let (k, v, dy) = (&k[i * n..(i + 1) * n], &v[i * p..(i + 1) * p], &dy[i * p..(i + 1) * p]);
        let (keep, write) = (gates.keep[i], gates.write[i]);
        for (c, (q, ds)) in q[i * n..(i + 1) * n].iter().zip(ds.chunks_exact_mut(p)).enumerate() {
            add(ds, *q, dy);
            g.q[i * n + c] = dot(&after[c * p..(c + 1) * p], dy);
        }
        let mut missing = v.to_vec();
        if gates.erase {
            k.iter().zip(before.chunks_exact(p)).for_each(|(k, row)| add(&mut missing, -k * keep, row));
        }
        let mut dr = vec![0.0; p];
        for (c, (k, ds)) in k.iter().zip(ds.chunks_exact(p)).enumerate() {
            let along = dot(ds, &missing);
            g.write[i] += k * along;
            g.k[i * n + c] = write * along;
            add(&mut dr, write * k, ds);
        }
        if gates.erase {
            for (c, (k, (ds, before))) in k.iter().zip(ds.chunks_exact_mut(p).zip(before.chunks_exact(p))).enumerate() {
                g.k[i * n + c] -= keep * dot(before, &dr);
                add(ds, -k, &dr);
            }
        }
        g.v[i * p..(i + 1) * p].copy_from_slice(&dr);
        g.keep[i] = dot(&ds, before);
        ds.iter_mut().for_each(|x| *x *= keep);
    }
    g
}

// ANCHOR: delta_chunked
/// The delta rule a chunk at a time (Yang et al., 2024, arXiv:2406.06484): what each token of the chunk really writes is found by
/// substitution, row by row, and everything else is a product. `beta` is `[T]`; nothing fades.
#[must_use]
pub fn delta_chunked(
    Memory { q, k, v, sizes: [n, p] }: Memory,
    beta: &[f32],
    chunk: usize,
    state: &mut [f32],
) -> Vec<f32> {
    let (chunk, mut out) = (chunk.max(1), vec![0.0; v.len()]);
    let parts = q.chunks(chunk * n).zip(k.chunks(chunk * n)).zip(v.chunks(chunk * p)).zip(out.chunks_mut(chunk * p));
    for ((((q, k), v), out), beta) in parts.zip(beta.chunks(chunk)) {
        let t = beta.len();
        let (stride, keys) = (t.next_multiple_of(PANEL), pack(k, n));
        let mut table = vec![0.0; t * stride];
        scores(k, n, &keys, 1.0, &mut table, stride);
        let mut told = vec![0.0; t * p];
        add_product(&mut told, k, n, state, p);
        let mut written = vec![0.0; t * p];
        for i in 0..t {
            let (earlier, row) = written.split_at_mut(i * p);
            let row = &mut row[..p];
            row.copy_from_slice(&v[i * p..(i + 1) * p]);
            add(row, -1.0, &told[i * p..(i + 1) * p]);
            earlier.chunks_exact(p).enumerate().for_each(|(j, other)| add(row, -table[i * stride + j], other));
            row.iter_mut().for_each(|r| *r *= beta[i]);
        }
        add_product(out, q, n, state, p);
        scores(q, n, &keys, 1.0, &mut table, stride);
        table.chunks_exact_mut(stride).enumerate().for_each(|(i, row)| row[i + 1..].fill(0.0));
        add_product(out, &table, stride, &written, p);
        add_transposed(state, k, n, &written, p);
    }
    out
}
// ANCHOR_END: delta_chunked
