//! Every weight multiplied, zero or not; and every weight looked at first.

use wide::f32x4;

use super::{Format, strip::along_batch};

// ANCHOR: naive
/// `y = W x`, as it stands in a textbook: what every format is tested against.
pub fn multiply_naive(weights: &[f32], columns: usize, x: &[f32], y: &mut [f32], n: usize) {
    for (row, y) in weights.chunks_exact(columns).zip(y.chunks_exact_mut(n)) {
        for (i, y) in y.iter_mut().enumerate() {
            *y = row.iter().enumerate().map(|(column, w)| w * x[column * n + i]).sum();
        }
    }
}
// ANCHOR_END: naive

/// All weights, zeros too. For one input four rows share each load of `x`; for a batch a tile of four rows by eight inputs
/// stays in registers.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    columns: usize,
    weights: Vec<f32>,
}

impl Dense {
    /// `weights` `[rows, columns]`.
    #[must_use]
    pub fn new(weights: &[f32], columns: usize) -> Self {
        Self { columns, weights: weights.to_vec() }
    }
}

/// Rows of a tile.
const TILE: usize = 4;

impl Format for Dense {
    fn rows(&self) -> usize {
        self.weights.len() / self.columns
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn bytes(&self) -> usize {
        size_of_val(self.weights.as_slice())
    }

    fn stored(&self) -> usize {
        self.weights.len()
    }

    fn multiply(&self, x: &[f32], y: &mut [f32], n: usize) {
        let columns = self.columns;
        let (w, w_rest) = self.weights.split_at(self.rows() / TILE * TILE * columns);
        let (y, y_rest) = y.split_at_mut(w.len() / columns * n);
        for (rows, y) in w.chunks_exact(TILE * columns).zip(y.chunks_exact_mut(TILE * n)) {
            let rows: [&[f32]; TILE] = std::array::from_fn(|r| &rows[r * columns..][..columns]);
            if n == 1 {
                y.copy_from_slice(&dots(rows, x));
            } else {
                tiles(rows, x, n, y);
            }
        }
        for (row, y) in w_rest.chunks_exact(columns).zip(y_rest.chunks_exact_mut(n)) {
            along_batch(row.iter().copied().zip(0..), x, n, y);
        }
    }
}

/// Four rows times one input.
fn dots(rows: [&[f32]; TILE], x: &[f32]) -> [f32; TILE] {
    let mut sums = [[f32x4::ZERO; 2]; TILE];
    let (pairs, rest) = x.as_chunks::<8>();
    for (i, x) in pairs.iter().enumerate() {
        let x = [f32x4::new([x[0], x[1], x[2], x[3]]), f32x4::new([x[4], x[5], x[6], x[7]])];
        for (sums, row) in sums.iter_mut().zip(rows) {
            let w = row[8 * i..][..8].as_chunks::<4>().0;
            sums[0] += f32x4::new(w[0]) * x[0];
            sums[1] += f32x4::new(w[1]) * x[1];
        }
    }
    let tail = x.len() - rest.len();
    std::array::from_fn(|r| {
        let rest: f32 = rows[r][tail..].iter().zip(rest).map(|(w, x)| w * x).sum();
        (sums[r][0] + sums[r][1]).reduce_add() + rest
    })
}

/// Four rows times a batch.
fn tiles(rows: [&[f32]; TILE], x: &[f32], n: usize, y: &mut [f32]) {
    let mut at = 0;
    while at + 8 <= n {
        let mut sums = [[f32x4::ZERO; 2]; TILE];
        for (column, x) in x.chunks_exact(n).enumerate() {
            let x = x[at..][..8].as_chunks::<4>().0;
            let x = [f32x4::new(x[0]), f32x4::new(x[1])];
            for (sums, row) in sums.iter_mut().zip(rows) {
                let w = f32x4::splat(row[column]);
                sums[0] += w * x[0];
                sums[1] += w * x[1];
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            y[r * n + at..][..4].copy_from_slice(&sums[0].to_array());
            y[r * n + at + 4..][..4].copy_from_slice(&sums[1].to_array());
        }
        at += 8;
    }
    for (r, row) in rows.into_iter().enumerate() {
        for at in at..n {
            y[r * n + at] = row.iter().zip(x.chunks_exact(n)).map(|(w, x)| w * x[at]).sum();
        }
    }
}

/// The same weights, each asked first whether it is zero: the way that suggests itself.
#[derive(Debug, Clone, PartialEq)]
pub struct SkipZeros(pub Dense);

impl Format for SkipZeros {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn columns(&self) -> usize {
        self.0.columns
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn stored(&self) -> usize {
        self.0.stored()
    }

    // ANCHOR: skip_zeros
    fn multiply(&self, x: &[f32], y: &mut [f32], n: usize) {
        for (row, y) in self.0.weights.chunks_exact(self.0.columns).zip(y.chunks_exact_mut(n)) {
            if n > 1 {
                // A decision serves the whole batch.
                let kept = row.iter().copied().zip(0..).filter(|(w, _)| *w != 0.0);
                along_batch(kept, x, n, y);
                continue;
            }
            let mut sum = 0.0;
            for (w, x) in row.iter().zip(x) {
                // Opaque, or the compiler, which knows that adding zero changes little, would remove the branch.
                if std::hint::black_box(*w) != 0.0 {
                    sum += w * x;
                }
            }
            y[0] = sum;
        }
    }
    // ANCHOR_END: skip_zeros
}
