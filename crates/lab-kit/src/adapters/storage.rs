//! In which numbers weights are kept.

use half::{bf16, f16};

use super::Nf4;
use crate::quant::{Grid, Scheme};

/// How the weights of a frozen base, or of a merged one, are stored. Computing is in FP32: each weight is rounded to what the
/// format can hold, and read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Singles: nothing is rounded.
    Fp32,
    /// Halves: eleven bits of fraction.
    Fp16,
    /// Eight bits of fraction and the range of singles.
    Bf16,
    /// Eight bits, a scale for each row.
    Int8,
    /// Four evenly spaced bits, a scale for each row.
    Int4,
    /// Four bits on levels of a bell curve, a scale for each 64 ([`Nf4`]).
    Nf4,
}

impl Storage {
    /// A matrix with rows of `columns`, as it comes back from storage.
    #[must_use]
    pub fn store(self, weights: &[f32], columns: usize) -> Vec<f32> {
        match self {
            Self::Fp32 => weights.to_vec(),
            Self::Fp16 => weights.iter().map(|w| f16::from_f32(*w).to_f32()).collect(),
            Self::Bf16 => weights.iter().map(|w| bf16::from_f32(*w).to_f32()).collect(),
            Self::Int8 | Self::Int4 => {
                let bits = if self == Self::Int8 { 8 } else { 4 };
                let row = |row: &[f32]| {
                    let most = row.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
                    let grid = Grid::fit(Scheme::Symmetric, bits, -most, most);
                    row.iter().map(|w| grid.value(grid.code(*w))).collect::<Vec<f32>>()
                };
                weights.chunks(columns.max(1)).flat_map(row).collect()
            }
            Self::Nf4 => Nf4::encode(weights).decode(),
        }
    }

    /// Bytes of such a matrix.
    #[must_use]
    pub fn bytes(self, rows: usize, columns: usize) -> u64 {
        let count = rows as u64 * columns as u64;
        match self {
            Self::Fp32 => 4 * count,
            Self::Fp16 | Self::Bf16 => 2 * count,
            Self::Int8 => count + 4 * rows as u64,
            Self::Int4 => count.div_ceil(2) + 4 * rows as u64,
            Self::Nf4 => {
                let blocks = count.div_ceil(super::BLOCK as u64);
                count.div_ceil(2) + blocks + 4 * blocks.div_ceil(256)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn what_is_stored_once_is_not_changed_by_storing_it_again() {
        let mut rng = crate::rng(0, "storage");
        let weights: Vec<f32> = (0..3 * 100).map(|_| rng.random_range(-0.3..0.3)).collect();
        for (storage, most) in [
            (Storage::Fp32, 0.0),
            (Storage::Fp16, 0.3 / 2048.0),
            (Storage::Bf16, 0.3 / 256.0),
            (Storage::Int8, 0.3 / 254.0),
            (Storage::Int4, 0.3 / 14.0),
            // Half of the widest gap between levels, and what the rounding of the scale adds.
            (Storage::Nf4, 0.3 * 0.155),
        ] {
            let stored = storage.store(&weights, 100);
            let worst = weights.iter().zip(&stored).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= most * 1.001, "{storage:?}: {worst}");
            let again = storage.store(&stored, 100);
            assert!(stored.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-6), "{storage:?}");
        }
        assert_eq!(Storage::Nf4.bytes(3, 100), Nf4::encode(&weights).bytes() as u64);
        assert_eq!((Storage::Int8.bytes(3, 100), Storage::Int4.bytes(3, 100)), (312, 162));
    }
}
