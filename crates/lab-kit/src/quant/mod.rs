//! Quantization: grids of evenly spaced values, integers packed to the bit, calibration, and what it costs.

mod bits;
mod calibrate;
mod grid;

pub use bits::{pack, packed_len, unpack, unpack_into};
pub use calibrate::{Calibration, calibrate};
pub use grid::{Grid, Scheme};

/// Signal-to-quantization-noise ratio in decibels, from the sum of squared values and of squared errors. Values that
/// came through unharmed count as 200 dB, beyond what FP32 resolves, since infinity is no number to draw.
#[must_use]
pub fn sqnr_db(signal: f64, noise: f64) -> f64 {
    if signal <= 0.0 {
        return 0.0;
    }
    10.0 * (signal / noise.max(signal * 1e-20)).log10()
}

/// Sum of squares of `values`, and of their differences from `approximations`.
#[must_use]
pub fn signal_and_noise(values: &[f32], approximations: &[f32]) -> (f64, f64) {
    values.iter().zip(approximations).fold((0.0, 0.0), |(signal, noise), (value, approximation)| {
        let (value, approximation) = (f64::from(*value), f64::from(*approximation));
        (signal + value * value, noise + (value - approximation) * (value - approximation))
    })
}
