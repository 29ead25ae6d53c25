//! Softmax and RMSNorm over rows: a pass for each operation, or all of them while a row is at hand.

use wide::f32x4;

use super::{
    pairs::PassRoom,
    pass::{each, each_of_two, of_rows, rows_largest, rows_sum, unary, with_columns, with_rows},
    vector::{exp, exp4, largest, sum},
};

// ANCHOR: softmax_separate
/// Softmax of each row, operation by operation: five passes.
pub fn softmax_separate(x: &[f32], row: usize, room: &mut PassRoom, y: &mut [f32]) {
    let [a, b, _] = &mut room.numbers;
    let [m, s] = &mut room.rows;
    rows_largest(x, row, m);
    with_rows(x, m, a, |x, m| x - m);
    unary(a, b, exp4);
    rows_sum(b, row, s);
    with_rows(b, s, y, |x, s| x / s);
}
// ANCHOR_END: softmax_separate

// ANCHOR: softmax_fused
/// The same while a row stays in the nearest cache: from memory it is read once, and written once.
pub fn softmax_fused(x: &[f32], row: usize, y: &mut [f32]) {
    for (x, y) in x.chunks(row.max(1)).zip(y.chunks_mut(row.max(1))) {
        let m = f32x4::splat(largest(x));
        each(x, y, |x| exp4(x - m));
        let s = f32x4::splat(sum(y, |y| y));
        y_over(y, s);
    }
}
// ANCHOR_END: softmax_fused

fn y_over(y: &mut [f32], s: f32x4) {
    let (fours, rest) = y.as_chunks_mut::<4>();
    fours.iter_mut().for_each(|y| *y = (f32x4::new(*y) / s).to_array());
    rest.iter_mut().for_each(|y| *y /= s.to_array()[0]);
}

/// What of a row has been seen: its largest number, and the sum of the powers below it.
pub type SoftmaxState = (f32, f32);

// ANCHOR: merge
/// Joins two parts of a row. The empty part is `(-∞, 0)`; two of them must not meet as `-∞ - -∞`.
#[must_use]
pub fn merge(a: SoftmaxState, b: SoftmaxState) -> SoftmaxState {
    let m = a.0.max(b.0);
    if m == f32::NEG_INFINITY {
        return (m, 0.0);
    }
    (m, a.1 * exp(a.0 - m) + b.1 * exp(b.0 - m))
}
// ANCHOR_END: merge

/// Online softmax (Milakov and Gimelshein, arXiv:1805.02867): largest number and sum in one reading, then the results in another.
/// With one lane each number waits for the one before it; eight lanes are eight parts of the row, joined at the end.
pub fn online(x: &[f32], row: usize, lanes: usize, y: &mut [f32]) {
    for (x, y) in x.chunks(row.max(1)).zip(y.chunks_mut(row.max(1))) {
        let (m, s) = if lanes == 1 { one_lane(x) } else { eight_lanes(x) };
        let (m, s) = (f32x4::splat(m), f32x4::splat(s));
        each(x, y, |x| exp4(x - m) / s);
    }
}

// ANCHOR: one_lane
fn one_lane(x: &[f32]) -> SoftmaxState {
    x.iter().fold((f32::NEG_INFINITY, 0.0), |seen, x| merge(seen, (*x, 1.0)))
}
// ANCHOR_END: one_lane

/// Instead of -∞ where nothing has been seen: the difference to itself is a number.
const NOTHING: f32 = -1e30;

// ANCHOR: eight_lanes
fn eight_lanes(x: &[f32]) -> SoftmaxState {
    let (eights, rest) = x.as_chunks::<8>();
    let (mut m, mut s) = ([f32x4::splat(NOTHING); 2], [f32x4::ZERO; 2]);
    for eight in eights {
        for (i, four) in eight.as_chunks::<4>().0.iter().enumerate() {
            let x = f32x4::new(*four);
            let most = m[i].fast_max(x);
            s[i] = s[i] * exp4(m[i] - most) + exp4(x - most);
            m[i] = most;
        }
    }
    let parts = m.into_iter().zip(s).flat_map(|(m, s)| m.to_array().into_iter().zip(s.to_array()));
    // A lane that has seen nothing holds no sum.
    parts.filter(|part| part.1 > 0.0).fold(one_lane(rest), merge)
}
// ANCHOR_END: eight_lanes

/// Factor of a row: one over the root of its mean square.
pub(super) fn factor(x: &[f32], epsilon: f32) -> f32 {
    1.0 / (sum(x, |x| x * x) * (1.0 / x.len().max(1) as f32) + epsilon).sqrt()
}

/// RMSNorm of rows as long as `gamma`, operation by operation: six passes, two of them over a number a row.
pub fn rms_norm_separate(x: &[f32], gamma: &[f32], epsilon: f32, room: &mut PassRoom, y: &mut [f32]) {
    let [a, b, _] = &mut room.numbers;
    let [r, _] = &mut room.rows;
    let row = gamma.len().max(1);
    unary(x, a, |x| x * x);
    rows_sum(a, row, r);
    of_rows(r, |sum| sum * (1.0 / row as f32) + epsilon);
    of_rows(r, |mean| 1.0 / mean.sqrt());
    with_rows(x, r, b, |x, r| x * r);
    with_columns(b, gamma, y, |x, gamma| x * gamma);
}

/// The same row by row.
pub fn rms_norm_fused(x: &[f32], gamma: &[f32], epsilon: f32, y: &mut [f32]) {
    let row = gamma.len().max(1);
    for (x, y) in x.chunks(row).zip(y.chunks_mut(row)) {
        let r = f32x4::splat(factor(x, epsilon));
        each_of_two(x, gamma, y, |x, gamma| x * r * gamma);
    }
}
