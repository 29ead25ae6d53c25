//! Finding a range from examples.

use super::{Grid, Scheme, entropy::entropy_range};
use crate::percentile;

// ANCHOR: calibration
/// How much of what the examples showed the grid must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Calibration {
    /// All of it: the smallest to the largest value.
    MinMax,
    /// All but the outermost `100 - percent` per cent on either side, which are clipped. Fewer outliers, finer steps.
    Percentile {
        /// 50 to 100.
        percent: f64,
    },
    /// The range with the least squared error over the examples (Choukroun et al., 2019, arXiv:1902.06822), found by
    /// [`mse_range`].
    Mse,
    /// The range whose quantized histogram is closest to the original in relative entropy (Migacz, "8-bit Inference
    /// with TensorRT", GTC 2017), found by [`entropy_range`].
    Entropy,
}
// ANCHOR_END: calibration

/// An affine grid of `bits` bits for activations like these.
#[must_use]
pub fn calibrate(how: Calibration, bits: u32, activations: &[f32]) -> Grid {
    fit_range(how, Scheme::Affine, bits, activations)
}

/// A grid of `bits` bits for values like these.
#[must_use]
pub fn fit_range(how: Calibration, scheme: Scheme, bits: u32, values: &[f32]) -> Grid {
    let (min, max) = match how {
        Calibration::MinMax => min_max(values),
        Calibration::Percentile { percent } => (percentile(values, 100.0 - percent), percentile(values, percent)),
        Calibration::Mse => mse_range(scheme, bits, values),
        Calibration::Entropy => entropy_range(bits, values),
    };
    Grid::fit(scheme, bits, min, max)
}

/// The smallest and the largest value, and zero.
#[must_use]
pub fn min_max(values: &[f32]) -> (f32, f32) {
    values.iter().fold((0.0_f32, 0.0_f32), |(min, max), value| (min.min(*value), max.max(*value)))
}

/// Ranges tried by the first pass, and by the second one around the best of them.
const TRIES: (u32, u32) = (64, 16);

// ANCHOR: mse_range
/// The part of the range, both ends shrunk alike, whose grid has the least squared error on `values`: a coarse pass
/// over 64 fractions of the whole range, then a fine one around the best. The error is no convex function of the
/// fraction (levels jump past values), so a search that trusts its slope could stop at the wrong valley.
#[must_use]
pub fn mse_range(scheme: Scheme, bits: u32, values: &[f32]) -> (f32, f32) {
    let (min, max) = min_max(values);
    let error = |fraction: f32| squared_error(&Grid::fit(scheme, bits, fraction * min, fraction * max), values);
    let best_of = |fractions: &mut dyn Iterator<Item = f32>| {
        fractions
            .map(|fraction| (fraction, error(fraction)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(1.0, |best| best.0)
    };
    let step = 1.0 / TRIES.0 as f32;
    let coarse = best_of(&mut (1..=TRIES.0).map(|i| i as f32 * step));
    let fine = |i: u32| (coarse + (2.0 * i as f32 / TRIES.1 as f32 - 1.0) * step).clamp(step / 4.0, 1.0);
    let fraction = best_of(&mut (0..=TRIES.1).map(fine));
    (fraction * min, fraction * max)
}

/// Sum of squared differences between values and what the grid makes of them.
#[must_use]
pub fn squared_error(grid: &Grid, values: &[f32]) -> f64 {
    // In steps of the grid, where neither tiny nor huge values leave what FP32 can square. Single precision inside a block,
    // so that vector units can do it; double between blocks, so that nothing is lost.
    let block = |block: &[f32]| {
        let error = |value: &f32| f32::from(grid.centred(*value)) - value / grid.scale;
        f64::from(block.iter().map(error).map(|error| error * error).sum::<f32>())
    };
    f64::from(grid.scale).powi(2) * values.chunks(256).map(block).sum::<f64>()
}
// ANCHOR_END: mse_range

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::rng;

    /// A long tail: cubes of a uniform number.
    fn long_tailed(seed: u64, count: usize) -> Vec<f32> {
        let mut rng = rng(seed, "values");
        (0..count).map(|_| 4.0 * rng.random_range(-1.0_f32..1.0).powi(3)).collect()
    }

    #[test]
    fn a_percentile_clips_the_outlier_that_min_max_keeps() {
        let mut activations: Vec<f32> = (0..1000).map(|i| i as f32 / 1000.0).collect();
        activations.push(100.0);
        let all = calibrate(Calibration::MinMax, 8, &activations);
        assert_eq!(all.code(100.0), 255);
        let most = calibrate(Calibration::Percentile { percent: 99.0 }, 8, &activations);
        assert!(most.scale * 50.0 < all.scale);
        assert_eq!((most.code(100.0), most.code(0.0)), (255, most.zero_point));
    }

    #[test]
    fn the_search_finds_what_ten_thousand_tries_find() {
        for seed in 0..12 {
            let values = long_tailed(seed, 400);
            for scheme in [Scheme::Symmetric, Scheme::Affine] {
                for bits in [2, 3, 4, 8] {
                    let (min, max) = min_max(&values);
                    let brute = (1..=10_000_u32)
                        .map(|i| i as f32 / 1e4)
                        .map(|part| squared_error(&Grid::fit(scheme, bits, part * min, part * max), &values))
                        .fold(f64::INFINITY, f64::min);
                    let found = squared_error(&fit_range(Calibration::Mse, scheme, bits, &values), &values);
                    let whole = squared_error(&fit_range(Calibration::MinMax, scheme, bits, &values), &values);
                    // Between two tried fractions the error may dip a little further.
                    assert!(found <= 1.03 * brute, "{found} {brute} {scheme:?} {bits}");
                    assert!(found <= whole, "{found} {whole} {scheme:?} {bits}");
                }
            }
        }
    }

    #[test]
    fn values_that_lie_on_a_grid_keep_their_range() {
        let values: Vec<f32> = (-7..=7).map(|i| i as f32 * 0.25).collect();
        let grid = fit_range(Calibration::Mse, Scheme::Symmetric, 4, &values);
        assert_eq!((grid.scale, squared_error(&grid, &values)), (0.25, 0.0));
        for how in
            [Calibration::MinMax, Calibration::Mse, Calibration::Entropy, Calibration::Percentile { percent: 99.0 }]
        {
            for nothing in [&[][..], &[0.0; 5], &[f32::NAN]] {
                assert!(calibrate(how, 8, nothing).scale.is_normal(), "{how:?} {nothing:?}");
            }
        }
    }

    #[test]
    fn the_error_scales_with_the_values_however_small_or_large() {
        let values = long_tailed(3, 1000);
        let of = |values: &[f32]| {
            let grid = fit_range(Calibration::MinMax, Scheme::Affine, 8, values);
            let (signal, noise) = (values.iter().map(|x| f64::from(*x).powi(2)).sum(), squared_error(&grid, values));
            crate::quant::sqnr_db(signal, noise)
        };
        let plain = of(&values);
        for factor in [1e-30, 1e-21, 1e21, 4e37] {
            let scaled: Vec<f32> = values.iter().map(|x| x * factor).collect();
            assert!((of(&scaled) - plain).abs() < 0.01, "{factor}: {} {plain}", of(&scaled));
        }
    }

    #[test]
    fn at_two_bits_clipping_beats_reaching_everything() {
        let values = long_tailed(0, 2000);
        let error = |how| squared_error(&fit_range(how, Scheme::Symmetric, 2, &values), &values);
        assert!(error(Calibration::Mse) < 0.6 * error(Calibration::MinMax));
    }
}
