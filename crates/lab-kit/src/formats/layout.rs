//! The numbers of a format, and rounding to the nearest of them.

/// What becomes of a number beyond the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Infinity, as IEEE has it.
    Infinite,
    /// The largest number: of formats without an infinity.
    Saturating,
}

/// A binary floating-point format that singles hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    /// Stored bits of the fraction.
    pub fraction: u32,
    /// Exponent of the smallest normal number: `2^lowest`.
    pub lowest: i32,
    /// Largest finite number.
    pub largest: f32,
    /// Beyond it.
    pub overflow: Overflow,
}

impl Layout {
    /// Half precision of IEEE 754.
    pub const FP16: Self = Self { fraction: 10, lowest: -14, largest: 65_504.0, overflow: Overflow::Infinite };
    /// Bfloat16: largest `(2 - 2^-7) 2^127`.
    pub const BF16: Self =
        Self { fraction: 7, lowest: -126, largest: f32::from_bits(0x7f7f_0000), overflow: Overflow::Infinite };
    /// FP8 with four bits of exponent.
    pub const E4M3: Self = Self { fraction: 3, lowest: -6, largest: 448.0, overflow: Overflow::Saturating };
    /// FP8 with five bits of exponent.
    pub const E5M2: Self = Self { fraction: 2, lowest: -14, largest: 57_344.0, overflow: Overflow::Infinite };
    /// FP4: 0, 0.5, 1, 1.5, 2, 3, 4, 6.
    pub const E2M1: Self = Self { fraction: 1, lowest: 0, largest: 6.0, overflow: Overflow::Saturating };

    /// Exponent of the smallest number above zero.
    #[must_use]
    pub const fn smallest(&self) -> i32 {
        self.lowest - self.fraction.cast_signed()
    }

    /// What overflow gives.
    fn beyond(&self) -> f32 {
        match self.overflow {
            Overflow::Infinite => f32::INFINITY,
            Overflow::Saturating => self.largest,
        }
    }
}

// ANCHOR: naive
/// The nearest number of the format, ties to even: found from the distance between its neighbours.
#[must_use]
pub fn naive_round(x: f32, layout: &Layout) -> f32 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    let wide = f64::from(x);
    let exponent = (wide.to_bits() >> 52 & 0x7ff) as i32 - 1023; // floor(log2 |x|)
    let gap = 2_f64.powi(exponent.max(layout.lowest) - layout.fraction as i32);
    let y = ((wide / gap).round_ties_even() * gap) as f32;
    if y.abs() > layout.largest { layout.beyond().copysign(x) } else { y }
}
// ANCHOR_END: naive

// ANCHOR: fast
/// The same without a branch: half a gap is added to the bits and the rest cut off; below the smallest normal number an
/// addition to a large one does the rounding.
#[must_use]
#[inline]
pub fn round(x: f32, layout: &Layout) -> f32 {
    let (drop, bits) = (23 - layout.fraction, x.to_bits());
    let half = (1_u32 << (drop - 1)) - 1 + (bits >> drop & 1);
    let normal = f32::from_bits(bits.wrapping_add(half) & (u32::MAX << drop));
    let large = 1.5 * power(layout.smallest() + 23);
    let small = ((x + large) - large).copysign(x);
    let y = if x.abs() < power(layout.lowest) { small } else { normal };
    let y = if y.abs() > layout.largest { layout.beyond().copysign(x) } else { y };
    if x.is_nan() { x } else { y }
}
// ANCHOR_END: fast

/// `2^exponent`, of a normal single.
pub(super) fn power(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127).clamp(1, 254) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use rand::Rng;

    use super::*;

    const ALL: [Layout; 5] = [Layout::FP16, Layout::BF16, Layout::E4M3, Layout::E5M2, Layout::E2M1];

    #[test]
    #[allow(clippy::excessive_precision)]
    fn worked_numbers() {
        let small = |n: i32| 2_f32.powi(n);
        for (layout, x, expected) in [
            (Layout::FP16, 65_504.0, 65_504.0),
            (Layout::FP16, 65_519.99, 65_504.0),
            (Layout::FP16, 65_520.0, f32::INFINITY),
            (Layout::FP16, small(-24), small(-24)),
            (Layout::FP16, small(-25), 0.0),
            (Layout::FP16, 1.0001 * small(-25), small(-24)),
            (Layout::FP16, 6e-8, 5.960_464_5e-8),
            (Layout::FP16, 1e-8, 0.0),
            (Layout::FP16, 1.0 + small(-11), 1.0),
            (Layout::FP16, 1.0 + 3.0 * small(-11), 1.001_953_125),
            (Layout::FP16, 0.1, 0.099_975_585_937_5),
            (Layout::FP16, 1.0 / 3.0, 0.333_251_953_125),
            (Layout::BF16, 1.0 + small(-8), 1.0),
            (Layout::BF16, 1.0 + 3.0 * small(-8), 1.015_625),
            (Layout::BF16, 257.0, 256.0),
            (Layout::BF16, 257.5, 258.0),
            (Layout::BF16, 0.1, 0.100_097_656_25),
            (Layout::BF16, 1.0 / 3.0, 0.333_984_375),
            (Layout::BF16, 0.001, 0.000_999_450_683_593_75),
            (Layout::BF16, 65_504.0, 65_536.0),
            (Layout::E4M3, 0.3, 0.3125),
            (Layout::E4M3, 1.05, 1.0),
            (Layout::E4M3, 17.0, 16.0),
            (Layout::E4M3, 100.0, 96.0),
            (Layout::E4M3, 447.0, 448.0),
            (Layout::E4M3, 465.0, 448.0),
            (Layout::E4M3, small(-9), small(-9)),
            (Layout::E4M3, small(-10), 0.0),
            (Layout::E4M3, 1.01 * small(-10), small(-9)),
            (Layout::E5M2, 0.3, 0.3125),
            (Layout::E5M2, 100.0, 96.0),
            (Layout::E5M2, 447.0, 448.0),
            (Layout::E2M1, 0.25, 0.0),
            (Layout::E2M1, 2.5, 2.0),
            (Layout::E2M1, 5.1, 6.0),
            (Layout::E2M1, -9.0, -6.0),
        ] {
            assert_eq!((naive_round(x, &layout), round(x, &layout)), (expected, expected), "{x} in {layout:?}");
        }
    }

    /// All singles whose lower 11 bits are zero, so that every tie of every format is among them, and random ones.
    fn many() -> impl Iterator<Item = f32> {
        let mut rng = crate::rng(0, "formats");
        let regular = (0..1_u32 << 21).map(|high| f32::from_bits(high << 11));
        regular.chain((0..200_000).map(move |_| f32::from_bits(rng.random())))
    }

    #[test]
    fn the_fast_way_is_the_naive_one_and_that_of_another_library() {
        for x in many() {
            for layout in &ALL {
                let (naive, fast) = (naive_round(x, layout), round(x, layout));
                assert!(naive == fast || (x.is_nan() && naive.is_nan() && fast.is_nan()), "{x:e}: {naive:e} {fast:e}");
                if !x.is_nan() {
                    assert_eq!(round(fast, layout), fast);
                    assert_eq!(round(-x, layout), -fast);
                }
            }
            if !x.is_nan() {
                assert_eq!(round(x, &Layout::FP16), f16::from_f32(x).to_f32(), "{x:e}");
                assert_eq!(round(x, &Layout::BF16), bf16::from_f32(x).to_f32(), "{x:e}");
            }
        }
    }

    #[test]
    fn order_is_kept() {
        let mut values: Vec<f32> = many().filter(|x| !x.is_nan()).step_by(7).collect();
        values.sort_by(f32::total_cmp);
        for layout in &ALL {
            assert!(values.windows(2).all(|pair| round(pair[0], layout) <= round(pair[1], layout)), "{layout:?}");
        }
    }
}
