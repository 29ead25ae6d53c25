//! Linear recurrences `h_t = a_t h_{t-1} + b_t`: step by step, as an associative scan, in chunks; and what state space models make
//! of them.
//!
//! Letters: `T` steps, `n` numbers of a state for each of `p` channels. Rows of several recurrences that run side by side are
//! called lanes.

mod fft;
mod selective;
mod ssd;
#[cfg(test)]
mod tests;

pub use fft::convolve_by_fft;
pub use selective::Selective;
pub use ssd::{Ssd, decays, ssd_chunked, ssd_quadratic, ssd_step};

// ANCHOR: sequential
/// All states of `h_t = a_t h_{t-1} + b_t`, lane by lane: `a` and `b` `[T, lanes]`, `start` `[lanes]`. A product and a sum for each.
#[must_use]
pub fn sequential(a: &[f32], b: &[f32], start: &[f32]) -> Vec<f32> {
    let lanes = start.len().max(1);
    let (mut h, mut all) = (start.to_vec(), Vec::with_capacity(b.len()));
    for (a, b) in a.chunks_exact(lanes).zip(b.chunks_exact(lanes)) {
        h.iter_mut().zip(a.iter().zip(b)).for_each(|(h, (a, b))| *h = a * *h + b);
        all.extend_from_slice(&h);
    }
    all
}
// ANCHOR_END: sequential

// ANCHOR: combine
/// Two steps as one: first `left`, then `right`. Associative, so that steps may be joined in any grouping, and not commutative.
#[must_use]
pub fn combine(left: (f32, f32), right: (f32, f32)) -> (f32, f32) {
    (left.0 * right.0, right.0 * left.1 + right.1)
}
// ANCHOR_END: combine

// ANCHOR: associative
/// The same states by joining neighbours, neighbours of neighbours, and so on (Blelloch, 1990; without his exclusive form, as Brent
/// and Kung, 1982): `2 log T` rounds instead of `T` steps, for a machine that does each round at once. It costs about `2 T` joins of
/// three operations.
#[must_use]
pub fn associative(a: &[f32], b: &[f32], start: &[f32]) -> Vec<f32> {
    let lanes = start.len().max(1);
    let (t, mut a, mut b) = (b.len() / lanes, a.to_vec(), b.to_vec());
    // The start is one more thing that the first step adds.
    b.iter_mut().zip(a.iter().zip(start)).for_each(|(b, (a, start))| *b += a * start);
    let mut reach = 1;
    while reach < t {
        (2 * reach - 1..t).step_by(2 * reach).for_each(|at| join(&mut a, &mut b, [at - reach, at], lanes));
        reach *= 2;
    }
    while reach > 1 {
        reach /= 2;
        (3 * reach - 1..t).step_by(2 * reach).for_each(|at| join(&mut a, &mut b, [at - reach, at], lanes));
    }
    b
}

fn join(a: &mut [f32], b: &mut [f32], [left, right]: [usize; 2], lanes: usize) {
    let ((left_a, a), (left_b, b)) = (a.split_at_mut(right * lanes), b.split_at_mut(right * lanes));
    let left = left_a[left * lanes..].iter().zip(&left_b[left * lanes..]);
    for ((a, b), (left_a, left_b)) in a.iter_mut().zip(b).take(lanes).zip(left) {
        (*a, *b) = combine((*left_a, *left_b), (*a, *b));
    }
}
// ANCHOR_END: associative

/// How often [`associative`] joins two rows, and in how many rounds.
#[must_use]
pub fn joins(t: usize) -> (usize, usize) {
    let (mut count, mut rounds, mut reach) = (0, 0, 1);
    while reach < t {
        (count, rounds) = (count + (2 * reach - 1..t).step_by(2 * reach).count(), rounds + 1);
        reach *= 2;
    }
    while reach > 1 {
        reach /= 2;
        let more = (3 * reach - 1..t).step_by(2 * reach).count();
        (count, rounds) = (count + more, rounds + usize::from(more > 0));
    }
    (count, rounds)
}

// ANCHOR: chunked
/// The same states, a chunk at a time: each chunk runs from zero, as if alone, and what really stood before it is then let fade in.
/// Chunks may run side by side; only their ends must wait for each other.
#[must_use]
pub fn chunked(a: &[f32], b: &[f32], start: &[f32], chunk: usize) -> Vec<f32> {
    let (lanes, mut carry) = (start.len().max(1), start.to_vec());
    let (size, zero, mut all) = (chunk.max(1) * lanes, vec![0.0; start.len()], Vec::with_capacity(b.len()));
    for (a, b) in a.chunks(size).zip(b.chunks(size)) {
        let mut alone = sequential(a, b, &zero);
        for (h, a) in alone.chunks_exact_mut(lanes).zip(a.chunks_exact(lanes)) {
            carry.iter_mut().zip(a).for_each(|(carry, a)| *carry *= a);
            h.iter_mut().zip(&carry).for_each(|(h, carry)| *h += carry);
        }
        carry.copy_from_slice(&alone[alone.len() - lanes..]);
        all.append(&mut alone);
    }
    all
}
// ANCHOR_END: chunked

// ANCHOR: backward
/// Gradients of `a`, `b` and `start`, where that of the states is `dh` `[T, lanes]`: the same recurrence run backwards, with the
/// factors one step later. `h` are the states.
#[must_use]
pub fn scan_backward(a: &[f32], h: &[f32], start: &[f32], dh: &[f32]) -> [Vec<f32>; 3] {
    let lanes = start.len().max(1);
    let (mut da, mut db, mut g) = (vec![0.0; a.len()], dh.to_vec(), vec![0.0; lanes]);
    for at in (0..dh.len()).step_by(lanes).rev() {
        let before = if at == 0 { start } else { &h[at - lanes..at] };
        for i in 0..lanes {
            g[i] += dh[at + i];
            (db[at + i], da[at + i]) = (g[i], g[i] * before[i]);
            g[i] *= a[at + i];
        }
    }
    [da, db, g]
}
// ANCHOR_END: backward
