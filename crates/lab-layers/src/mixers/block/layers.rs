//! Norm, convolution and softmax with their gradients.

use lab_kernels::product::{View, product};

use crate::mixers::{add, dot, exponentials};

/// Brings each row to a mean square of 1; gives the factors.
pub(in crate::mixers) fn norm(x: &mut [f32], c: usize) -> Vec<f32> {
    let of = |row: &mut [f32]| {
        let factor = (dot(row, row) / c as f32 + 1e-6).sqrt().recip();
        row.iter_mut().for_each(|x| *x *= factor);
        factor
    };
    x.chunks_exact_mut(c).map(of).collect()
}

pub(in crate::mixers) fn norm_backward(y: &[f32], factors: &[f32], dy: &[f32], c: usize) -> Vec<f32> {
    let mut dx = dy.to_vec();
    for ((dx, y), factor) in dx.chunks_exact_mut(c).zip(y.chunks_exact(c)).zip(factors) {
        let along = dot(dx, y) / c as f32;
        dx.iter_mut().zip(y).for_each(|(d, y)| *d = factor * (*d - along * y));
    }
    dx
}

pub(in crate::mixers) fn mean(x: &[f32], c: usize) -> Vec<f32> {
    let mut sum = vec![0.0; c];
    let share = c as f32 / x.len().max(1) as f32;
    x.chunks_exact(c).for_each(|row| add(&mut sum, share, row));
    sum
}

/// Each channel over time: `to[i] = sum of taps[j] · from[i - j]`.
pub(in crate::mixers) fn convolve(to: &mut [f32], from: &[f32], taps: &[f32], wide: usize, count: usize) {
    for (i, row) in to.chunks_exact_mut(wide).enumerate() {
        for j in 0..count.min(i + 1) {
            let (tap, from) = (&taps[j * wide..(j + 1) * wide], &from[(i - j) * wide..(i - j + 1) * wide]);
            row.iter_mut().zip(tap.iter().zip(from)).for_each(|(y, (w, x))| *y += w * x);
        }
    }
}

pub(in crate::mixers) fn convolve_backward(
    dx: &mut [f32],
    x: &[f32],
    dy: &[f32],
    (taps, dtaps): (&[f32], &mut [f32]),
    wide: usize,
    count: usize,
) {
    for (i, dy) in dy.chunks_exact(wide).enumerate() {
        for j in 0..count.min(i + 1) {
            let (tap, at) = (j * wide..(j + 1) * wide, (i - j) * wide..(i - j + 1) * wide);
            dx[at.clone()].iter_mut().zip(taps[tap.clone()].iter().zip(dy)).for_each(|(d, (w, dy))| *d += w * dy);
            dtaps[tap].iter_mut().zip(x[at].iter().zip(dy)).for_each(|(d, (x, dy))| *d += x * dy);
        }
    }
}

/// Weights `[T, S]`.
pub(in crate::mixers) fn softmax(q: &[f32], k: &[f32], n: usize, causal: bool) -> Vec<f32> {
    let (t, s, scale) = (q.len() / n, k.len() / n, (n as f32).sqrt().recip());
    let mut all = product(View::new(q, t, n), View::new(k, s, n).transposed());
    for (i, row) in all.chunks_exact_mut(s).enumerate() {
        let (seen, hidden) = row.split_at_mut(if causal { i + 1 } else { s });
        hidden.fill(0.0);
        let most = seen.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        seen.iter_mut().for_each(|x| *x = scale * (*x - most));
        exponentials(seen);
        let sum: f32 = seen.iter().sum();
        seen.iter_mut().for_each(|x| *x /= sum);
    }
    all
}

pub(in crate::mixers) fn softmax_backward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    weights: &[f32],
    dy: &[f32],
    [n, p]: [usize; 2],
) -> [Vec<f32>; 3] {
    let (t, s, scale) = (q.len() / n, k.len() / n, (n as f32).sqrt().recip());
    let dy = View::new(dy, t, p);
    let mut slope = product(dy, View::new(v, s, p).transposed());
    for (d, w) in slope.chunks_exact_mut(s).zip(weights.chunks_exact(s)) {
        let along = dot(d, w);
        d.iter_mut().zip(w).for_each(|(d, w)| *d = scale * w * (*d - along));
    }
    let slope = View::new(&slope, t, s);
    [
        product(slope, View::new(k, s, n)),
        product(slope.transposed(), View::new(q, t, n)),
        product(View::new(weights, t, s).transposed(), dy),
    ]
}
