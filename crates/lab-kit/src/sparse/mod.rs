//! Matrices most of whose weights are zero: how they are stored and multiplied (`lab_kernels::sparse`), and made so.

mod prune;

pub use lab_kernels::sparse::{
    Bitmask, ColumnBlocks, Csr, Dense, Format, Packed24, Pattern, RowBlocks, SIDE, Sharing, SkipZeros, UnrolledCsr,
    bitmask_bytes, blocks_bytes, csr_bytes, keep, mask_entropy_bits, multiply_naive, two_four_bytes,
};
pub use prune::{Rounding, SparseGpt, Swept, wanda_scores};
