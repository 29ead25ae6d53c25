//! Finding the range of activations from examples.

use super::{Grid, Scheme};
use crate::stats::percentile;

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
}

/// An affine grid of `bits` bits for activations like these.
#[must_use]
pub fn calibrate(how: Calibration, bits: u32, activations: &[f32]) -> Grid {
    let (min, max) = match how {
        Calibration::MinMax => {
            activations.iter().fold((0.0_f32, 0.0_f32), |(min, max), value| (min.min(*value), max.max(*value)))
        }
        Calibration::Percentile { percent } => {
            (percentile(activations, 100.0 - percent), percentile(activations, percent))
        }
    };
    Grid::fit(Scheme::Affine, bits, min, max)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
