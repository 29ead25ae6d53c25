//! Four numbers at once, and an exponential of additions and multiplications alone: the same bits on every machine.

use wide::{f32x4, i32x4};

/// 1.5 · 2²³: added to a small number, it leaves the nearest integer in the lowest bits.
const MAGIC: f32 = 12_582_912.0;
/// ln 2 in two parts, of which the first has few bits.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Beyond these, 2ⁿ is no ordinary float.
const ENDS: [f32; 2] = [-87.0, 88.0];
/// 1 / 6!, 1 / 5!, ... 1 / 0!
const TAYLOR: [f32; 7] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

/// eˣ of four numbers; beyond -87 and 88 that of the border. Off by two units of the last place at most.
#[inline(always)]
pub(super) fn exp4(x: f32x4) -> f32x4 {
    let x = x.fast_max(f32x4::splat(ENDS[0])).fast_min(f32x4::splat(ENDS[1]));
    let shifted = x * f32x4::splat(std::f32::consts::LOG2_E) + f32x4::splat(MAGIC);
    let n = shifted - f32x4::splat(MAGIC);
    let r = x - n * f32x4::splat(LN_2[0]) - n * f32x4::splat(LN_2[1]);
    let mut p = f32x4::splat(TAYLOR[0]);
    for c in &TAYLOR[1..] {
        p = p * r + f32x4::splat(*c);
    }
    let (p, shifted): (i32x4, i32x4) = (bytemuck::cast(p), bytemuck::cast(shifted));
    bytemuck::cast(p + (shifted << 23))
}

// ANCHOR: exp
/// The same of one number, bit by bit: a chain of some twenty steps, each of which waits for the one before.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    let x = if x > ENDS[0] { x } else { ENDS[0] };
    let x = if x < ENDS[1] { x } else { ENDS[1] };
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let p = TAYLOR[1..].iter().fold(TAYLOR[0], |p, c| p * r + c);
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}
// ANCHOR_END: exp

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(super) fn sigmoid(x: f32x4) -> f32x4 {
    f32x4::ONE / (f32x4::ONE + exp4(-x))
}

/// tanh x = 1 - 2 / (1 + e²ˣ).
#[inline(always)]
pub(super) fn tanh(x: f32x4) -> f32x4 {
    f32x4::ONE - f32x4::splat(2.0) / (f32x4::ONE + exp4(x + x))
}

/// Up to four numbers, zeros behind them.
#[inline(always)]
pub(super) fn part(x: &[f32]) -> f32x4 {
    let mut four = [0.0; 4];
    four[..x.len()].copy_from_slice(x);
    f32x4::new(four)
}

/// The sum of `of(x)`, sixteen sums side by side, always in the same order.
#[inline(always)]
pub(super) fn sum(x: &[f32], of: impl Fn(f32x4) -> f32x4) -> f32 {
    let (blocks, rest) = x.as_chunks::<16>();
    let mut sums = [f32x4::ZERO; 4];
    for block in blocks {
        for (sum, four) in sums.iter_mut().zip(block.as_chunks::<4>().0) {
            *sum += of(f32x4::new(*four));
        }
    }
    let tail: f32 = rest.iter().map(|x| of(f32x4::splat(*x)).to_array()[0]).sum();
    let all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    all.to_array().iter().sum::<f32>() + tail
}

/// The largest.
#[inline(always)]
pub(super) fn largest(x: &[f32]) -> f32 {
    let (blocks, rest) = x.as_chunks::<16>();
    let mut most = [f32x4::splat(f32::NEG_INFINITY); 4];
    for block in blocks {
        for (most, four) in most.iter_mut().zip(block.as_chunks::<4>().0) {
            *most = most.fast_max(f32x4::new(*four));
        }
    }
    let most = most[0].fast_max(most[1]).fast_max(most[2].fast_max(most[3]));
    most.to_array().iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}
