//! Quantization on plain numbers: grids of evenly spaced values, integers packed to the bit, calibration, and products of them.

mod bits;
mod calibrate;
mod direct;
mod entropy;
mod grid;
pub mod kernel;
pub mod naive;
mod packed;
mod settings;

pub use bits::{pack, packed_len, unpack_into};
pub use calibrate::{Calibration, calibrate, fit_range, min_max, mse_range, squared_error};
pub use entropy::entropy_range;
pub use grid::{Grid, Scheme};
pub use packed::{HALF, PackedMatrix, fit_grids};
pub use settings::{Activations, Granularity, Rounding, Settings};

/// Signal-to-quantization-noise ratio in decibels, from the sum of squared values and of squared errors. Values that
/// came through unharmed, zeros among them, count as 200 dB, beyond what FP32 resolves, since infinity is no number to draw.
#[must_use]
pub fn sqnr_db(signal: f64, noise: f64) -> f64 {
    if noise <= 0.0 {
        return UNHARMED_DB;
    }
    (10.0 * (signal / noise).log10()).clamp(-UNHARMED_DB, UNHARMED_DB)
}

/// What [`sqnr_db`] says of values without error.
const UNHARMED_DB: f64 = 200.0;

/// Sum of squares of `values`, and of their differences from `approximations`.
#[must_use]
pub fn signal_and_noise(values: &[f32], approximations: &[f32]) -> (f64, f64) {
    values.iter().zip(approximations).fold((0.0, 0.0), |(signal, noise), (value, approximation)| {
        let (value, approximation) = (f64::from(*value), f64::from(*approximation));
        (signal + value * value, noise + (value - approximation) * (value - approximation))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decibels_of_the_ratio_and_of_its_ends() {
        assert_eq!(sqnr_db(100.0, 1.0), 20.0);
        assert_eq!([sqnr_db(1.0, 0.0), sqnr_db(0.0, 0.0), sqnr_db(1e300, 1e-300)], [200.0; 3]);
        assert_eq!(sqnr_db(0.0, 1.0), -200.0);
    }
}
