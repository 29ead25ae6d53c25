//! Whole blocks of sixteen weights, kept or dropped together: one number finds all sixteen.

use lab_api::LabError;
use wide::f32x4;

use super::{Format, narrow, strip::along_batch};

/// Weights of a block.
pub const SIDE: usize = 16;

/// Blocks of 1 × 16: sixteen neighbouring inputs of one output. `numbers` counts blocks along the row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowBlocks {
    width: usize,
    starts: Vec<u32>,
    numbers: Vec<u16>,
    values: Vec<[f32; SIDE]>,
}

impl RowBlocks {
    /// Keeps each block of `weights` `[rows, columns]` that holds anything but zeros. The last block of a row is filled up with
    /// zeros.
    ///
    /// # Errors
    /// [`LabError::Refused`] for a width of zero or above 65,536.
    pub fn new(weights: &[f32], columns: usize) -> Result<Self, LabError> {
        narrow(columns)?;
        let mut blocks = Self { width: columns, starts: vec![0], numbers: Vec::new(), values: Vec::new() };
        for row in weights.chunks_exact(columns) {
            for (number, part) in (0_u16..).zip(row.chunks(SIDE)).filter(|(_, part)| part.iter().any(|w| *w != 0.0)) {
                let mut block = [0.0; SIDE];
                block[..part.len()].copy_from_slice(part);
                blocks.numbers.push(number);
                blocks.values.push(block);
            }
            blocks.starts.push(blocks.values.len() as u32);
        }
        Ok(blocks)
    }
}

impl Format for RowBlocks {
    // ANCHOR: row_blocks
    fn multiply(&self, x: &[f32], y: &mut [f32], n: usize) {
        for (ends, y) in self.starts.windows(2).zip(y.chunks_exact_mut(n)) {
            let row = ends[0] as usize..ends[1] as usize;
            let blocks = self.values[row.clone()].iter().zip(&self.numbers[row]);
            if n > 1 {
                // The last block may reach beyond the row, with zeros that must not be looked up.
                let inside = |(block, number): (&[f32; SIDE], &u16)| {
                    let (block, first) = (*block, SIDE * usize::from(*number));
                    block.into_iter().zip(first..self.width)
                };
                along_batch(blocks.flat_map(inside), x, n, y);
                continue;
            }
            let (mut sums, mut rest) = ([f32x4::ZERO; 4], 0.0);
            for (block, number) in blocks {
                let x = &x[SIDE * usize::from(*number)..];
                if let Some(x) = x.first_chunk::<SIDE>() {
                    let (w, x) = (block.as_chunks::<4>().0, x.as_chunks::<4>().0);
                    for i in 0..4 {
                        sums[i] += f32x4::new(w[i]) * f32x4::new(x[i]);
                    }
                } else {
                    rest += block.iter().zip(x).map(|(w, x)| w * x).sum::<f32>();
                }
            }
            y[0] = ((sums[0] + sums[1]) + (sums[2] + sums[3])).reduce_add() + rest;
        }
    }
    // ANCHOR_END: row_blocks

    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn columns(&self) -> usize {
        self.width
    }

    fn bytes(&self) -> usize {
        size_of_val(self.starts.as_slice()) + size_of_val(self.numbers.as_slice()) + size_of_val(self.values.as_slice())
    }

    fn stored(&self) -> usize {
        SIDE * self.values.len()
    }
}

/// Blocks of 16 × 1: sixteen neighbouring outputs of one input. Rows are taken in groups of sixteen, the last filled up with
/// zeros; the blocks of group `g` are those from `starts[g]` to `starts[g + 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnBlocks {
    rows: usize,
    width: usize,
    starts: Vec<u32>,
    columns: Vec<u16>,
    values: Vec<[f32; SIDE]>,
}

impl ColumnBlocks {
    /// Keeps each block of `weights` `[rows, columns]` that holds anything but zeros.
    ///
    /// # Errors
    /// [`LabError::Refused`] for a width of zero or above 65,536.
    pub fn new(weights: &[f32], columns: usize) -> Result<Self, LabError> {
        narrow(columns)?;
        let rows = weights.len() / columns;
        let mut blocks = Self { rows, width: columns, starts: vec![0], columns: Vec::new(), values: Vec::new() };
        for group in weights.chunks(SIDE * columns) {
            for (column, number) in (0..columns).zip(0_u16..=u16::MAX) {
                let mut block = [0.0; SIDE];
                block.iter_mut().zip(group.chunks_exact(columns)).for_each(|(w, row)| *w = row[column]);
                if block.iter().any(|w| *w != 0.0) {
                    blocks.columns.push(number);
                    blocks.values.push(block);
                }
            }
            blocks.starts.push(blocks.values.len() as u32);
        }
        Ok(blocks)
    }
}

impl Format for ColumnBlocks {
    // ANCHOR: column_blocks
    fn multiply(&self, x: &[f32], y: &mut [f32], n: usize) {
        for (ends, y) in self.starts.windows(2).zip(y.chunks_mut(SIDE * n)) {
            let group = ends[0] as usize..ends[1] as usize;
            let blocks = self.values[group.clone()].iter().zip(&self.columns[group]);
            if n > 1 {
                for (i, y) in y.chunks_exact_mut(n).enumerate() {
                    along_batch(blocks.clone().map(|(block, column)| (block[i], usize::from(*column))), x, n, y);
                }
                continue;
            }
            // One input, sixteen outputs in four vectors: no sum across lanes at the end.
            let mut sums = [f32x4::ZERO; 4];
            for (block, column) in blocks {
                let (w, x) = (block.as_chunks::<4>().0, f32x4::splat(x[usize::from(*column)]));
                for i in 0..4 {
                    sums[i] += f32x4::new(w[i]) * x;
                }
            }
            let sums: [[f32; 4]; 4] = sums.map(f32x4::to_array);
            y.iter_mut().zip(sums.as_flattened()).for_each(|(y, sum)| *y = *sum);
        }
    }
    // ANCHOR_END: column_blocks

    fn rows(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.width
    }

    fn bytes(&self) -> usize {
        size_of_val(self.starts.as_slice()) + size_of_val(self.columns.as_slice()) + size_of_val(self.values.as_slice())
    }

    fn stored(&self) -> usize {
        SIDE * self.values.len()
    }
}
