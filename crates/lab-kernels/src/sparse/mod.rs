//! Matrices most of whose weights are zero: how they are stored, multiplied, and made so.
//!
//! Shapes, the same everywhere: weights `[rows, columns]` row-major; inputs `x` `[columns, n]` and outputs `y` `[rows, n]`,
//! so that the `n` inputs of a batch lie side by side and a vector unit can run along them (Elsen et al., 2020,
//! arXiv:1911.09723). Sums take their products in a fixed order, so that results repeat.

mod bitmask;
mod blocks;
mod bytes;
mod csr;
mod dense;
mod pattern;
mod strip;
mod two_four;

use lab_api::LabError;

pub use bitmask::Bitmask;
pub use blocks::{ColumnBlocks, RowBlocks, SIDE};
pub use bytes::{bitmask_bytes, blocks_bytes, csr_bytes, mask_entropy_bits, two_four_bytes};
pub use csr::{Csr, UnrolledCsr};
pub use dense::{Dense, SkipZeros, multiply_naive};
pub use pattern::{Pattern, Sharing, keep};
pub use two_four::Packed24;

/// A matrix in one of the formats.
pub trait Format {
    /// Outputs.
    fn rows(&self) -> usize;
    /// Inputs.
    fn columns(&self) -> usize;
    /// Bytes of its buffers as they lie in memory.
    fn bytes(&self) -> usize;
    /// Weights that it stores, zeros that a pattern makes it store among them.
    fn stored(&self) -> usize;
    /// `y = W x` with `x` `[columns, n]` and `y` `[rows, n]`; what `y` held is lost.
    fn multiply(&self, x: &[f32], y: &mut [f32], n: usize);
}

/// The width of a matrix as its formats store column numbers.
fn narrow(columns: usize) -> Result<(), LabError> {
    if columns == 0 || columns > 1 << 16 {
        let why = format!("column numbers are stored in 16 bits, so a matrix may be 1 to 65,536 wide, not {columns}");
        return Err(LabError::Refused { why });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
