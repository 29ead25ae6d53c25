//! Products with a matrix that is used again and again: it is laid out once as the innermost loop reads it.

/// Rows and columns of a block of the result, whose sums stay in registers.
const ROWS: usize = 4;
const COLUMNS: usize = 8;
/// Rows whose inputs and outputs stay in the fastest cache while a gradient is summed.
const CHUNK: usize = 64;

/// A matrix `[inner, columns]` in panels of eight columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Panels {
    inner: usize,
    columns: usize,
    data: Vec<f32>,
}

// ANCHOR: panels
impl Panels {
    /// Lays out a matrix whose element `(k, n)` is `matrix[k * inner.1 + n * columns.1]`; `inner.0` and `columns.0` are its
    /// sides.
    #[must_use]
    pub fn pack(matrix: &[f32], inner: (usize, usize), columns: (usize, usize)) -> Self {
        let mut data = vec![0.0; inner.0 * columns.0.next_multiple_of(COLUMNS)];
        for n in 0..columns.0 {
            let from = (n / COLUMNS) * inner.0 * COLUMNS + n % COLUMNS;
            for k in 0..inner.0 {
                data[from + k * COLUMNS] = matrix[k * inner.1 + n * columns.1];
            }
        }
        Self { inner: inner.0, columns: columns.0, data }
    }

    /// `a · self` of so many rows: row `r` of `a` begins at `r * stride`, row `r` of `out` at `r * out_stride`.
    pub fn multiply(&self, (a, stride): (&[f32], usize), rows: usize, (out, out_stride): (&mut [f32], usize)) {
        for (p, panel) in self.data.chunks_exact((self.inner * COLUMNS).max(1)).enumerate() {
            let first = p * COLUMNS;
            let width = COLUMNS.min(self.columns - first);
            for row in (0..rows).step_by(ROWS) {
                // Beyond the last row the last one is computed again, and not kept.
                let line = |r: usize| &a[(row + r).min(rows - 1) * stride..][..self.inner];
                let sums = block([line(0), line(1), line(2), line(3)], panel);
                for (r, sums) in sums.iter().take(rows - row).enumerate() {
                    let at = (row + r) * out_stride + first;
                    out[at..at + width].copy_from_slice(&sums[..width]);
                }
            }
        }
    }
}

/// One block of the result: 32 sums that never leave the registers.
fn block([a, b, c, d]: [&[f32]; ROWS], panel: &[f32]) -> [[f32; COLUMNS]; ROWS] {
    let mut sums = [[0.0; COLUMNS]; ROWS];
    for ((((y, a), b), c), d) in panel.as_chunks::<COLUMNS>().0.iter().zip(a).zip(b).zip(c).zip(d) {
        for (sums, x) in sums.iter_mut().zip([a, b, c, d]) {
            for (sum, y) in sums.iter_mut().zip(y) {
                *sum += x * y;
            }
        }
    }
    sums
}
// ANCHOR_END: panels

/// `out += aᵀ · b`, `[inner, columns]`, over so many rows: what a weight's gradient is. Row `r` of `a` (`inner` numbers) begins
/// at `r * a.1`, row `r` of `b` (`columns` numbers) at `r * b.1`, row `k` of `out` at `k * out.1`.
pub(super) fn outer(
    a: (&[f32], usize),
    b: (&[f32], usize),
    rows: usize,
    (inner, columns): (usize, usize),
    out: (&mut [f32], usize),
) {
    let mut left = vec![0.0; CHUNK * inner.next_multiple_of(ROWS)];
    let mut right = vec![0.0; CHUNK * columns.next_multiple_of(COLUMNS)];
    for begin in (0..rows).step_by(CHUNK) {
        let count = CHUNK.min(rows - begin);
        panels::<ROWS>(&a.0[begin * a.1..], a.1, count, inner, &mut left);
        panels::<COLUMNS>(&b.0[begin * b.1..], b.1, count, columns, &mut right);
        for (j, right) in right.chunks_exact(CHUNK * COLUMNS).enumerate() {
            let width = COLUMNS.min(columns - j * COLUMNS);
            for (i, left) in left.chunks_exact(CHUNK * ROWS).enumerate() {
                let sums = tile(&left.as_chunks::<ROWS>().0[..count], right.as_chunks::<COLUMNS>().0);
                for (r, sums) in sums.iter().take(inner - i * ROWS).enumerate() {
                    let at = (i * ROWS + r) * out.1 + j * COLUMNS;
                    super::add(&mut out.0[at..at + width], &sums[..width]);
                }
            }
        }
    }
}

/// One block of a gradient, over the rows of a chunk.
fn tile(left: &[[f32; ROWS]], right: &[[f32; COLUMNS]]) -> [[f32; COLUMNS]; ROWS] {
    let mut sums = [[0.0; COLUMNS]; ROWS];
    for ([a, b, c, d], y) in left.iter().zip(right) {
        for (sums, x) in sums.iter_mut().zip([a, b, c, d]) {
            for (sum, y) in sums.iter_mut().zip(y) {
                *sum += x * y;
            }
        }
    }
    sums
}

/// `W` columns side by side, row by row.
fn panels<const W: usize>(from: &[f32], stride: usize, rows: usize, columns: usize, to: &mut [f32]) {
    for (p, panel) in to.chunks_exact_mut(CHUNK * W).enumerate() {
        let first = p * W;
        let width = W.min(columns - first);
        for (row, place) in panel.as_chunks_mut::<W>().0.iter_mut().take(rows).enumerate() {
            place[..width].copy_from_slice(&from[row * stride + first..][..width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples::numbers, *};

    #[test]
    fn products_and_their_gradients_are_those_of_three_loops() {
        for (rows, inner, columns) in [(1, 1, 1), (4, 8, 8), (5, 3, 9), (130, 17, 31), (3, 40, 1), (67, 9, 12)] {
            let (a, b) = (numbers(rows * (inner + 2), 1), numbers(inner * columns, 2));
            let mut naive = vec![0.0; rows * columns];
            for (i, sum) in naive.iter_mut().enumerate() {
                for k in 0..inner {
                    *sum += a[i / columns * (inner + 2) + k] * b[k * columns + i % columns];
                }
            }
            let packed = Panels::pack(&b, (inner, columns), (columns, 1));
            let mut out = vec![7.0; rows * (columns + 3)];
            packed.multiply((&a, inner + 2), rows, (&mut out, columns + 3));
            for (row, naive) in naive.chunks_exact(columns).enumerate() {
                assert_eq!(&out[row * (columns + 3)..][..columns], naive, "{rows} {inner} {columns}");
                assert_eq!(out[row * (columns + 3) + columns], 7.0, "beyond its columns nothing is written");
            }
            let mut gradient = vec![1.0; inner * columns];
            outer((&a, inner + 2), (&naive, columns), rows, (inner, columns), (&mut gradient, columns));
            for (i, found) in gradient.iter().enumerate() {
                let sum: f32 =
                    (0..rows).map(|r| a[r * (inner + 2) + i / columns] * naive[r * columns + i % columns]).sum();
                assert!((found - 1.0 - sum).abs() < 1e-3, "{found} {sum}");
            }
        }
    }
}
