//! The arithmetic: weights, their grid, and what becomes of each. All of quantization is `lab_kit::quant`.

use std::ops::RangeInclusive;

use lab_kit::quant::{
    Calibration, Granularity, Grid, PackedMatrix, Scheme, Settings, fit_range, signal_and_noise, sqnr_db,
};
use rand::Rng;

use super::{Params, Placement, Range};

/// Widths at which the error is told.
pub(super) const BITS: RangeInclusive<u32> = 2..=8;
/// Weights on the line, the outlier included.
const COUNT: usize = 24;

/// Weights near a bell curve of standard deviation 1, the last one of the size asked for. A sum of twelve uniform
/// numbers is close enough to a normal one, and the same on every platform.
pub(super) fn weights(outlier: f32, rng: &mut impl Rng) -> Vec<f32> {
    let mut weights: Vec<f32> =
        (1..COUNT).map(|_| (0..12).map(|_| rng.random_range(-0.5_f32..0.5)).sum::<f32>()).collect();
    weights.push(outlier);
    weights
}

// ANCHOR: grid
/// The grid of `bits` bits that the reader asks for. By hand the reach stays as it is set at the chosen width: twice the
/// levels, half the step.
pub(super) fn grid(params: &Params, bits: u32, weights: &[f32]) -> Grid {
    let scheme = params.scheme.into();
    match params.range {
        Range::MinMax => fit_range(Calibration::MinMax, scheme, bits, weights),
        Range::Mse => fit_range(Calibration::Mse, scheme, bits, weights),
        Range::Hand => by_hand(params, bits),
    }
}
// ANCHOR_END: grid

fn by_hand(params: &Params, bits: u32) -> Grid {
    let codes = |bits: u32| f32::from(((1_u16 << bits) - 1) as u8);
    let (steps, wanted) = (codes(params.bits), codes(bits));
    // What a grid of this width has for ends; scale and zero point are the reader's.
    let shape = Grid::fit(params.scheme.into(), bits, -1.0, 1.0);
    let zero_point = match params.scheme {
        Placement::Symmetric => shape.zero_point,
        Placement::Affine => (f32::from(params.zero_point).min(steps) / steps * wanted).round() as u8,
    };
    let scale = params.scale as f32;
    let scale = match params.scheme {
        Placement::Symmetric => scale * (steps - 1.0) / (wanted - 1.0),
        Placement::Affine => scale * steps / wanted,
    };
    Grid { scale, zero_point, ..shape }
}

/// Weights on their grid.
pub(super) struct Snap {
    pub(super) weights: Vec<f32>,
    pub(super) grid: Grid,
    bits: u32,
    scheme: Scheme,
}

impl Snap {
    pub(super) fn of(weights: &[f32], grid: Grid, bits: u32, scheme: Scheme) -> Self {
        Self { weights: weights.to_vec(), grid, bits, scheme }
    }

    /// The value of the level that each weight takes.
    pub(super) fn rounded(&self) -> impl Iterator<Item = f32> {
        self.weights.iter().map(|weight| self.grid.value(self.grid.code(*weight)))
    }

    /// Signal-to-quantization-noise ratio in decibels.
    pub(super) fn sqnr_db(&self) -> f64 {
        let (signal, noise) = signal_and_noise(&self.weights, &self.rounded().collect::<Vec<f32>>());
        sqnr_db(signal, noise)
    }

    /// Whether a weight lies beyond the outermost level by more than rounding explains: half a step.
    pub(super) fn is_clipped(&self, weight: f32) -> bool {
        let (low, high) = (self.grid.value(self.grid.lowest), self.grid.value(self.grid.highest));
        // Weights that the grid was fitted to may miss half a step by the last bit.
        let slack = 0.501 * self.grid.scale;
        weight < low - slack || weight > high + slack
    }

    /// How many weights are clipped.
    pub(super) fn clipped_count(&self) -> usize {
        self.weights.iter().filter(|weight| self.is_clipped(**weight)).count()
    }

    /// The largest difference between a weight and its level, in steps.
    pub(super) fn largest_error_steps(&self) -> f64 {
        let errors = self.weights.iter().zip(self.rounded()).map(|(weight, level)| (weight - level).abs());
        f64::from(errors.fold(0.0, f32::max) / self.grid.scale)
    }

    /// Bytes of the packed weights with scale and zero point: the length of the buffers.
    pub(super) fn bytes(&self) -> usize {
        let settings = Settings::weight_only(self.bits, self.scheme, Granularity::Tensor);
        PackedMatrix::with_grids(&self.weights, self.weights.len(), &settings, &[self.grid]).bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hand(scheme: Placement, bits: u32, scale: f64, zero_point: u8) -> Params {
        Params { bits, scheme, range: Range::Hand, scale, zero_point, outlier: 3.0 }
    }

    #[test]
    fn by_hand_the_grid_is_what_was_set_and_keeps_its_reach_at_other_widths() {
        let params = hand(Placement::Affine, 3, 0.5, 2);
        let grid = by_hand(&params, 3);
        assert_eq!((grid.scale, grid.zero_point, grid.lowest, grid.highest), (0.5, 2, 0, 7));
        let wide = by_hand(&params, 6);
        assert_eq!((wide.zero_point, wide.highest), (18, 63));
        assert!((wide.scale * 63.0 - 3.5).abs() < 1e-6);
        let symmetric = by_hand(&hand(Placement::Symmetric, 3, 0.5, 0), 4);
        assert_eq!((symmetric.zero_point, symmetric.lowest), (8, 1));
        assert!((symmetric.scale * 7.0 - 1.5).abs() < 1e-6);
        // A zero point that these bits do not have is held at the last code.
        assert_eq!(by_hand(&hand(Placement::Affine, 2, 0.5, 31), 2).zero_point, 3);
    }

    #[test]
    fn clipping_begins_half_a_step_beyond_the_last_level() {
        let grid = Grid { scale: 1.0, zero_point: 4, lowest: 1, highest: 7 };
        let snap = Snap::of(&[3.4, 3.6, -3.6, 9.0, 0.2], grid, 3, Scheme::Symmetric);
        assert_eq!(snap.clipped_count(), 3);
        assert_eq!(snap.largest_error_steps(), 6.0);
        assert_eq!(snap.rounded().collect::<Vec<f32>>(), [3.0, 3.0, -3.0, 3.0, 0.0]);
        // Fifteen bits of codes, four bytes of scale.
        assert_eq!(snap.bytes(), 2 + 4);
    }

    #[test]
    fn min_max_clips_nothing_and_least_error_no_more_than_it_gains() {
        let weights = weights(12.0, &mut lab_kit::rng(3, "weights"));
        for scheme in [Placement::Symmetric, Placement::Affine] {
            for bits in BITS {
                let snap = |range| {
                    let params = Params { range, ..hand(scheme, bits, 1.0, 0) };
                    Snap::of(&weights, grid(&params, bits, &weights), bits, scheme.into())
                };
                assert_eq!(snap(Range::MinMax).clipped_count(), 0, "{scheme:?} {bits}");
                assert!(snap(Range::Mse).sqnr_db() >= snap(Range::MinMax).sqnr_db() - 1e-9);
            }
        }
    }
}
