//! Quantization: grids, packed integers and their products (`lab_kernels::quant`), rounding that knows the data, networks.

#[cfg(test)]
mod against_torch;
pub mod fake;
mod gptq;
pub(crate) mod linalg;
mod network;
pub mod outlier;
mod placed;
pub mod remedy;

pub use gptq::{GroupGrids, Hessian, Spread, gptq};
pub use lab_kernels::quant::{
    Activations, Calibration, Granularity, Grid, HALF, PackedMatrix, Rounding, Scheme, Settings, calibrate,
    entropy_range, fit_grids, fit_range, kernel, min_max, mse_range, naive, pack, packed_len, signal_and_noise,
    sqnr_db, squared_error, unpack_into,
};
pub use network::{InputGrid, QuantizedLayer, QuantizedMlp};
pub use placed::{Inputs, PackedWeight};
pub use remedy::{Remedy, Treatment};
