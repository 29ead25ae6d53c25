//! The evenly spaced values that a b-bit integer can stand for.

/// Where the grid lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Centred on zero: as many values below as above, and no zero point to store.
    Symmetric,
    /// From the smallest to the largest value, with zero still represented exactly.
    Affine,
}

/// `value = scale * (code - zero_point)` for codes `lowest..=highest` (Jacob et al., 2018, arXiv:1712.05877).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Distance between neighbouring values.
    pub scale: f32,
    /// The code of zero.
    pub zero_point: u8,
    /// Smallest code in use. A symmetric grid leaves the lowest one unused, so that both sides are equal.
    pub lowest: u8,
    /// Largest code.
    pub highest: u8,
}

impl Grid {
    /// The narrowest grid of `bits` bits that reaches from `min` to `max`, and holds zero.
    #[must_use]
    pub fn fit(scheme: Scheme, bits: u32, min: f32, max: f32) -> Self {
        let highest = ((1_u32 << bits.clamp(2, 8)) - 1) as u8;
        let (min, max) = (min.min(0.0), max.max(0.0));
        match scheme {
            Scheme::Symmetric => {
                let middle = highest / 2 + 1;
                let reach = min.abs().max(max);
                let scale = safe(reach / f32::from(highest - middle));
                Self { scale, zero_point: middle, lowest: 1, highest }
            }
            Scheme::Affine => {
                // The span of a range may be more than FP32 reaches, where its ends are not.
                let span = max - min;
                let halved = || 2.0 * ((0.5 * max - 0.5 * min) / f32::from(highest));
                let scale = safe(if span.is_finite() { span / f32::from(highest) } else { halved() });
                let zero_point = (-min / scale).round_ties_even().clamp(0.0, f32::from(highest)) as u8;
                Self { scale, zero_point, lowest: 0, highest }
            }
        }
    }

    /// The code nearest to a value; what lies outside takes the end.
    #[must_use]
    pub fn code(&self, value: f32) -> u8 {
        (i32::from(self.centred(value)) + i32::from(self.zero_point)) as u8
    }

    /// The same, counted from the code of zero: from -255 to 255.
    #[must_use]
    pub fn centred(&self, value: f32) -> i16 {
        // At 1.5 * 2^23 FP32 has no bits left for a fraction: adding it rounds to the nearest whole number, ties to
        // even, and leaves that number in the low bits. Unlike a call to round, vector units of any age can do it.
        const SHIFT: f32 = 12_582_912.0;
        let zero_point = f32::from(self.zero_point);
        let (least, most) = (f32::from(self.lowest) - zero_point, f32::from(self.highest) - zero_point);
        let steps = (value / self.scale).max(least).min(most);
        (steps + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i16
    }

    /// The value of a code.
    #[must_use]
    pub fn value(&self, code: u8) -> f32 {
        self.scale * (f32::from(code) - f32::from(self.zero_point))
    }
}

/// A scale that can be divided by: weights that are all zero get any grid.
fn safe(scale: f32) -> f32 {
    if scale.is_normal() { scale } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn inside_its_reach_a_grid_errs_by_half_a_step(
            bits in 2_u32..=8,
            affine in any::<bool>(),
            values in proptest::collection::vec(-1e3_f32..1e3, 1..50),
        ) {
            let scheme = if affine { Scheme::Affine } else { Scheme::Symmetric };
            let min = values.iter().copied().fold(f32::INFINITY, f32::min);
            let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let grid = Grid::fit(scheme, bits, min, max);
            prop_assert_eq!(grid.value(grid.code(0.0)), 0.0);
            for value in values {
                let error = (grid.value(grid.code(value)) - value).abs();
                // Rounding the zero point moves the affine grid by up to half a step more at its ends.
                let bound = if affine { 1.0 } else { 0.5 } * grid.scale;
                prop_assert!(error <= bound * 1.0001, "{} errs by {} with {:?}", value, error, grid);
            }
        }
    }

    proptest! {
        #[test]
        fn codes_are_those_of_rounding_to_even(value in -20.0_f32..20.0, scale in 0.01_f32..1.0, zero_point in 0_u8..=15) {
            let grid = Grid { scale, zero_point, lowest: 0, highest: 15 };
            let plain = ((value / scale).round_ties_even() + f32::from(zero_point)).clamp(0.0, 15.0) as u8;
            prop_assert_eq!(grid.code(value), plain);
        }
    }

    #[test]
    fn ties_go_to_even_and_strangers_to_an_end() {
        let grid = Grid { scale: 1.0, zero_point: 4, lowest: 0, highest: 15 };
        assert_eq!([0.5, 1.5, -0.5, -1.5, 2.5].map(|value| grid.centred(value)), [0, 2, 0, -2, 2]);
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY].map(|value| grid.code(value)), [15, 0]);
        assert!(grid.code(f32::NAN) <= 15);
    }

    #[test]
    fn known_grids() {
        let int8 = Grid::fit(Scheme::Symmetric, 8, -1.27, 0.5);
        assert_eq!((int8.zero_point, int8.lowest, int8.highest), (128, 1, 255));
        assert!((int8.scale - 0.01).abs() < 1e-7);
        assert_eq!(int8.code(-1.27), 1);
        let ternary = Grid::fit(Scheme::Symmetric, 2, -3.0, 3.0);
        assert_eq!([1, 2, 3].map(|code| ternary.value(code)), [-3.0, 0.0, 3.0]);
        let affine = Grid::fit(Scheme::Affine, 4, -1.0, 14.0);
        assert_eq!((affine.scale, affine.zero_point), (1.0, 1));
        assert_eq!(Grid::fit(Scheme::Symmetric, 4, 0.0, 0.0).code(0.0), 8);
    }
}
