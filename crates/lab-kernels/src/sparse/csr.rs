//! Compressed sparse rows: each weight that is left, with the number of its column.

use lab_api::LabError;
use wide::f32x4;

use super::{Format, narrow, strip::along_batch};

// ANCHOR: csr
/// Compressed sparse rows. The entries of row `r` are those from `starts[r]` to `starts[r + 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Csr {
    width: usize,
    starts: Vec<u32>,
    columns: Vec<u16>,
    values: Vec<f32>,
}

impl Csr {
    /// Keeps what is not zero of `weights` `[rows, columns]`; a zero with a minus sign is zero.
    ///
    /// # Errors
    /// [`LabError::Refused`] for a width that 16 bits cannot number.
    pub fn new(weights: &[f32], columns: usize) -> Result<Self, LabError> {
        narrow(columns)?;
        let mut csr = Self { width: columns, starts: vec![0], columns: Vec::new(), values: Vec::new() };
        for row in weights.chunks_exact(columns) {
            for (column, w) in (0_u16..=u16::MAX).zip(row).filter(|(_, w)| **w != 0.0) {
                csr.columns.push(column);
                csr.values.push(*w);
            }
            csr.starts.push(csr.values.len() as u32);
        }
        Ok(csr)
    }

    /// Values of a row, and their columns.
    fn row(&self, start: u32, end: u32) -> (&[f32], &[u16]) {
        (&self.values[start as usize..end as usize], &self.columns[start as usize..end as usize])
    }

    /// `starts`, `columns` and `values`.
    #[must_use]
    pub fn parts(&self) -> (&[u32], &[u16], &[f32]) {
        (&self.starts, &self.columns, &self.values)
    }
}

// ANCHOR_END: csr

impl Format for Csr {
    // ANCHOR: multiply
    fn multiply(&self, x: &[f32], y: &mut [f32], n: usize) {
        for (ends, y) in self.starts.windows(2).zip(y.chunks_exact_mut(n)) {
            let (values, columns) = self.row(ends[0], ends[1]);
            let entries = values.iter().zip(columns).map(|(w, column)| (*w, usize::from(*column)));
            if n == 1 {
                y[0] = entries.map(|(w, column)| w * x[column]).sum();
            } else {
                along_batch(entries, x, n, y);
            }
        }
    }
    // ANCHOR_END: multiply

    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn columns(&self) -> usize {
        self.width
    }

    fn bytes(&self) -> usize {
        size_of_val(self.starts.as_slice()) + size_of_val(self.columns.as_slice()) + size_of_val(self.values.as_slice())
    }

    fn stored(&self) -> usize {
        self.values.len()
    }
}

/// The same entries, four sums at once for a single input: no addition waits for the one before it.
#[derive(Debug, Clone, PartialEq)]
pub struct UnrolledCsr(pub Csr);

impl Format for UnrolledCsr {
    // ANCHOR: unrolled
    fn multiply(&self, x: &[f32], y: &mut [f32], n: usize) {
        if n > 1 {
            return self.0.multiply(x, y, n);
        }
        for (ends, y) in self.0.starts.windows(2).zip(y) {
            let (values, columns) = self.0.row(ends[0], ends[1]);
            let (values, values_rest) = values.as_chunks::<4>();
            let (columns, columns_rest) = columns.as_chunks::<4>();
            let mut sums = f32x4::ZERO;
            for (w, column) in values.iter().zip(columns) {
                // Four loads from four places: what a gather would do.
                sums += f32x4::new(*w) * f32x4::new(column.map(|column| x[usize::from(column)]));
            }
            let rest = values_rest.iter().zip(columns_rest).map(|(w, column)| w * x[usize::from(*column)]);
            *y = sums.reduce_add() + rest.sum::<f32>();
        }
    }
    // ANCHOR_END: unrolled

    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn columns(&self) -> usize {
        self.0.width
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn stored(&self) -> usize {
        self.0.stored()
    }
}
