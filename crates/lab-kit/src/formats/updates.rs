//! Small steps of weights that are kept in few bits.

use super::{
    Format,
    layout::{Layout, power, round},
};

/// How weights are kept between steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// In FP32; a rounded copy multiplies (Micikevicius et al., 2018, arXiv:1710.03740).
    Master,
    /// Rounded to the nearest after each step.
    Rounded,
    /// Rounded up or down at random, so that the mean is right (Gupta et al., 2015, arXiv:1502.02551).
    Stochastic,
    /// Rounded, and what rounding lost is kept in the same format and added to the next step (Kahan, 1965; for weights
    /// Zamirai et al., 2020, arXiv:2010.06192).
    Kahan,
}

/// 32 bits that depend on a step and a place alone: the same on every device, in any order.
#[must_use]
#[inline]
pub fn random_bits(step: u32, place: u32) -> u32 {
    let mut x = place.wrapping_mul(0x9e37_79b9) ^ step.wrapping_mul(0x85eb_ca6b).wrapping_add(0x27d4_eb2f);
    x = (x ^ x >> 16).wrapping_mul(0x7feb_352d);
    x = (x ^ x >> 15).wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

// ANCHOR: stochastic
/// One of the two neighbours in the format, the nearer the likelier: random bits are added below those that stay.
#[must_use]
#[inline]
pub fn round_at_random(x: f32, layout: &Layout, random: u32) -> f32 {
    let drop = 23 - layout.fraction;
    let below = (1_u32 << drop) - 1;
    let y = if layout.lowest > -126 && x.abs() < power(layout.lowest) {
        let gap = power(layout.smallest());
        (x / gap + (random >> 8) as f32 * power(-24)).floor() * gap
    } else {
        f32::from_bits(x.to_bits().wrapping_add(random & below) & !below)
    };
    // What is out of range or no number is treated as by rounding to nearest.
    if y.abs() > layout.largest || !x.is_finite() { round(x, layout) } else { y }
}
// ANCHOR_END: stochastic

// ANCHOR: kahan
/// `weight - update`, rounded; `lost` takes what rounding lost and is given back the next time.
pub fn kahan(format: Format, weight: &mut f32, lost: &mut f32, update: f32) {
    let Some(layout) = format.layout() else {
        *weight -= update;
        return;
    };
    let change = -update - *lost;
    let next = round(*weight + change, &layout);
    *lost = round((next - *weight) - change, &layout);
    *weight = next;
}
// ANCHOR_END: kahan

/// Share of the weights that a step of this size leaves where they are, each moved towards zero or away from it with equal
/// odds: 0 to 1.
#[must_use]
pub fn at_rest(format: Format, weights: &[f32], step: f32) -> f64 {
    let Some(layout) = format.layout() else { return 0.0 };
    let still = |w: &f32, step: f32| {
        let w = round(*w, &layout);
        u32::from(round(w + step, &layout) == w)
    };
    let count: u64 = weights.iter().map(|w| u64::from(still(w, step) + still(w, -step))).sum();
    count as f64 / (2 * weights.len().max(1)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(count: u32, call: impl Fn(u32) -> f32) -> f64 {
        (0..count).map(|i| f64::from(call(i))).sum::<f64>() / f64::from(count)
    }

    #[test]
    fn rounding_at_random_is_right_on_average_and_rounding_to_nearest_is_not() {
        let (x, gap, count) = (1.001_f32, 0.007_812_5, 100_000);
        let p = f64::from(x - 1.0) / gap;
        let error = 4.0 * gap * (p * (1.0 - p) / f64::from(count)).sqrt();
        let random = |x: f32, layout| mean(count, |i| round_at_random(x, &layout, random_bits(3, i)));
        assert!((random(x, Layout::BF16) - f64::from(x)).abs() < error);
        assert!((random(-x, Layout::BF16) + f64::from(x)).abs() < error);
        assert!((mean(count, |_| round(x, &Layout::BF16)) - f64::from(x)).abs() > error);
        // Below the smallest normal number, between 2 and 3 gaps.
        let small = 2.25 * 2_f32.powi(-24);
        let error = 4.0 * 2_f64.powi(-24) * (0.1875 / f64::from(count)).sqrt();
        assert!((random(small, Layout::FP16) - f64::from(small)).abs() < error);
        assert_eq!(round_at_random(448.0, &Layout::E4M3, u32::MAX), 448.0);
        assert_eq!(round_at_random(f32::INFINITY, &Layout::BF16, 5), f32::INFINITY);
        // Numbers of the format stay.
        assert!((0..1000).all(|i| round_at_random(-0.3125, &Layout::E4M3, random_bits(1, i)) == -0.3125));
    }

    #[test]
    fn a_thousand_small_steps() {
        // Each is far below half a gap at 1.
        let update = -1e-3;
        let (mut nearest, mut random, mut compensated, mut lost) = (1.0_f32, 1.0_f32, 1.0_f32, 0.0);
        for step in 0..1000 {
            nearest = round(nearest - update, &Layout::BF16);
            random = round_at_random(random - update, &Layout::BF16, random_bits(step, 0));
            kahan(Format::Bf16, &mut compensated, &mut lost, update);
        }
        assert_eq!(nearest, 1.0);
        assert!((random - 2.0).abs() < 0.3 && (compensated - 2.0).abs() < 0.02, "{random} {compensated}");
    }

    #[test]
    fn norm_weights_at_one_never_move() {
        // BF16 just above 1 has gaps of 1/128, just below of 1/256: a step under 1/512 leaves 1 where it is.
        assert_eq!(at_rest(Format::Bf16, &[1.0], 6e-4), 1.0);
        assert_eq!(at_rest(Format::Bf16, &[1.0], 1.0 / 256.0), 0.5);
        assert_eq!(at_rest(Format::Fp16, &[1.0], 6e-4), 0.0);
        assert_eq!(at_rest(Format::Fp32, &[1.0], 1e-9), 0.0);
    }
}
