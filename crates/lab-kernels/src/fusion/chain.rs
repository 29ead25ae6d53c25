//! Several elementwise operations, one after the other, in four ways.

use wide::f32x4;

use super::{
    pass::{each, unary_in_place},
    vector::{exp, exp4},
};

/// What is done to each number, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainStep {
    /// `x / 2 + 1/4`: two operations. On numbers of few bits all results are exact.
    Cheap,
    /// `e⁻ˣ`: some twenty operations, each of which waits for the one before.
    Exp,
}

/// Elements that [`fused`] can work on side by side.
pub const LANES: [usize; 5] = [1, 4, 8, 16, 32];

/// A step as code: of one number, and of four.
trait ChainWork: Copy {
    fn one(self, x: f32) -> f32;
    fn four(self, x: f32x4) -> f32x4;
}

#[derive(Clone, Copy)]
struct CheapWork;
#[derive(Clone, Copy)]
struct ExpWork;

impl ChainWork for CheapWork {
    #[inline(always)]
    fn one(self, x: f32) -> f32 {
        x * 0.5 + 0.25
    }
    #[inline(always)]
    fn four(self, x: f32x4) -> f32x4 {
        x * f32x4::splat(0.5) + f32x4::splat(0.25)
    }
}

impl ChainWork for ExpWork {
    #[inline(always)]
    fn one(self, x: f32) -> f32 {
        exp(-x)
    }
    #[inline(always)]
    fn four(self, x: f32x4) -> f32x4 {
        exp4(-x)
    }
}

/// A fresh buffer for the result of each operation, as a library does it. The buffer before it is given back.
#[must_use]
pub fn separate(step: ChainStep, length: usize, x: &[f32]) -> Vec<f32> {
    match step {
        ChainStep::Cheap => fresh(CheapWork, length, x),
        ChainStep::Exp => fresh(ExpWork, length, x),
    }
}

// ANCHOR: separate
fn fresh(work: impl ChainWork, length: usize, x: &[f32]) -> Vec<f32> {
    let mut now: Option<Vec<f32>> = None;
    for _ in 0..length {
        now = Some(pass(work, now.as_deref().unwrap_or(x)));
    }
    now.unwrap_or_else(|| x.to_vec())
}

fn pass(work: impl ChainWork, x: &[f32]) -> Vec<f32> {
    let (fours, rest) = x.as_chunks::<4>();
    let all: Vec<[f32; 4]> = fours.iter().map(|x| work.four(f32x4::new(*x)).to_array()).collect();
    let mut all = all.into_flattened();
    all.extend(rest.iter().map(|x| work.one(*x)));
    all
}
// ANCHOR_END: separate

/// Pass after pass over one buffer.
pub fn in_place(step: ChainStep, length: usize, x: &[f32], y: &mut [f32]) {
    match step {
        ChainStep::Cheap => over(CheapWork, length, x, y),
        ChainStep::Exp => over(ExpWork, length, x, y),
    }
}

fn over(work: impl ChainWork, length: usize, x: &[f32], y: &mut [f32]) {
    if length == 0 {
        return y.copy_from_slice(x);
    }
    each(x, y, |x| work.four(x));
    for _ in 1..length {
        unary_in_place(y, |y| work.four(y));
    }
}

// ANCHOR: blocked
/// The very same passes, over a block of the buffer that stays in the cache, then over the next. Nothing is fused.
pub fn blocked(step: ChainStep, length: usize, block: usize, x: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks(block.max(1)).zip(y.chunks_mut(block.max(1))) {
        in_place(step, length, x, y);
    }
}
// ANCHOR_END: blocked

/// All operations on some elements, then on the next; `lanes` of them side by side (of [`LANES`]; others count as 32).
pub fn fused(step: ChainStep, length: usize, lanes: usize, x: &[f32], y: &mut [f32]) {
    match step {
        ChainStep::Cheap => side_by_side(CheapWork, length, lanes, x, y),
        ChainStep::Exp => side_by_side(ExpWork, length, lanes, x, y),
    }
}

fn side_by_side(work: impl ChainWork, length: usize, lanes: usize, x: &[f32], y: &mut [f32]) {
    match lanes {
        1 => one_by_one(work, length, x, y),
        4 => vectors::<1>(work, length, x, y),
        8 => vectors::<2>(work, length, x, y),
        16 => vectors::<4>(work, length, x, y),
        _ => vectors::<8>(work, length, x, y),
    }
}

// ANCHOR: one_by_one
/// Each element goes through all operations before the next one starts.
fn one_by_one(work: impl ChainWork, length: usize, x: &[f32], y: &mut [f32]) {
    for (x, y) in x.iter().zip(y) {
        let mut now = *x;
        for _ in 0..length {
            now = work.one(now);
        }
        *y = now;
    }
}
// ANCHOR_END: one_by_one

// ANCHOR: vectors
/// The same for `V` vectors of four elements at once: while one waits for its last result, the others have work to do.
fn vectors<const V: usize>(work: impl ChainWork, length: usize, x: &[f32], y: &mut [f32]) {
    let (x, y) = (x.as_chunks::<4>(), y.as_chunks_mut::<4>());
    let (x_blocks, x_rest) = x.0.as_chunks::<V>();
    let (y_blocks, y_rest) = y.0.as_chunks_mut::<V>();
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        let mut now = x.map(f32x4::new);
        for _ in 0..length {
            for now in &mut now {
                *now = work.four(*now);
            }
        }
        *y = now.map(f32x4::to_array);
    }
    one_by_one(work, length, x_rest.as_flattened(), y_rest.as_flattened_mut());
    one_by_one(work, length, x.1, y.1);
}
// ANCHOR_END: vectors

/// A producer of `length` steps with two consumers of one step each, of which the second counts from one half on. `recompute`: each
/// consumer runs the producer again in its own pass; otherwise the result is written to `room` once and read twice.
pub fn shared(step: ChainStep, length: usize, recompute: bool, x: &[f32], room: &mut [f32], [y, z]: [&mut [f32]; 2]) {
    let half = f32x4::splat(0.5);
    if recompute {
        match step {
            ChainStep::Cheap => twice(CheapWork, length, x, [y, z]),
            ChainStep::Exp => twice(ExpWork, length, x, [y, z]),
        }
    } else {
        fused(step, length, 32, x, room);
        each(room, y, |x| x * half);
        each(room, z, |x| x - half);
    }
}

fn twice(work: impl ChainWork, length: usize, x: &[f32], [y, z]: [&mut [f32]; 2]) {
    let half = f32x4::splat(0.5);
    ending::<8>(work, length, x, y, |x| x * half);
    ending::<8>(work, length, x, z, |x| x - half);
}

/// As [`vectors`], with another operation at the end.
fn ending<const V: usize>(
    work: impl ChainWork,
    length: usize,
    x: &[f32],
    y: &mut [f32],
    last: impl Fn(f32x4) -> f32x4,
) {
    let (x, y) = (x.as_chunks::<4>(), y.as_chunks_mut::<4>());
    let (x_blocks, x_rest) = x.0.as_chunks::<V>();
    let (y_blocks, y_rest) = y.0.as_chunks_mut::<V>();
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        let mut now = x.map(f32x4::new);
        for _ in 0..length {
            now.iter_mut().for_each(|now| *now = work.four(*now));
        }
        *y = now.map(|now| last(now).to_array());
    }
    let all = |x: f32x4| last((0..length).fold(x, |x, _| work.four(x)));
    each(x_rest.as_flattened(), y_rest.as_flattened_mut(), all);
    each(x.1, y.1, all);
}
