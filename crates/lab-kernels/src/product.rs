//! The product of two dense matrices, of any stride, from panels that lie as the innermost loop reads them (after Goto and van
//! de Geijn, 2008).

use wide::f32x8;

/// Rows and columns of a block of the result that stays in registers.
const ROWS: usize = 4;
const COLUMNS: usize = 8;

/// A matrix in a slice: element `(r, c)` is `data[r * row + c * column]`.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row: usize,
    column: usize,
}

impl<'a> View<'a> {
    /// `[rows, columns]`, row-major. A slice that is too short counts as rows that are not there.
    #[must_use]
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        let rows = rows.min(data.len() / columns.max(1));
        Self { data, rows, columns, row: columns, column: 1 }
    }

    /// `[columns, rows]` of the same numbers.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row: self.column, column: self.row, ..self }
    }

    /// `W` rows side by side, column by column; rows that are not there are zero.
    fn panels<const W: usize>(self) -> Vec<f32> {
        let mut packed = vec![0.0; self.rows.div_ceil(W) * self.columns * W];
        let each = (self.columns * W).max(1);
        for (panel, out) in packed.chunks_exact_mut(each).enumerate() {
            for j in 0..W.min(self.rows - panel * W) {
                let from = (panel * W + j) * self.row;
                for (c, place) in out[j..].iter_mut().step_by(W).enumerate() {
                    *place = self.data[from + c * self.column];
                }
            }
        }
        packed
    }
}

// ANCHOR: product
/// `a · b`, `[M, N]`, row-major, of `a` `[M, K]` and `b` `[K, N]`. Each element is the sum over K in ascending order, so the
/// bits of a row do not depend on the rows beside it.
#[must_use]
pub fn product(a: View, b: View) -> Vec<f32> {
    let (m, n, k) = (a.rows, b.columns, a.columns.min(b.rows));
    let mut c = vec![0.0; m * n];
    if k == 0 {
        return c;
    }
    let (a, b) = (a.panels::<ROWS>(), b.transposed().panels::<COLUMNS>());
    for (j, right) in b.chunks_exact(k * COLUMNS).enumerate() {
        let columns = COLUMNS.min(n - j * COLUMNS);
        for (i, left) in a.chunks_exact(k * ROWS).enumerate() {
            let block = block(left, right);
            for (r, sums) in block.iter().take(m - i * ROWS).enumerate() {
                let from = (i * ROWS + r) * n + j * COLUMNS;
                c[from..from + columns].copy_from_slice(&sums.to_array()[..columns]);
            }
        }
    }
    c
}

/// One block of the result: 32 sums that never leave the registers.
fn block(left: &[f32], right: &[f32]) -> [f32x8; ROWS] {
    let mut sums = [f32x8::ZERO; ROWS];
    for (x, y) in left.as_chunks::<ROWS>().0.iter().zip(right.as_chunks::<COLUMNS>().0) {
        let y = f32x8::from(*y);
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += f32x8::splat(*x) * y;
        }
    }
    sums
}
// ANCHOR_END: product

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn products_of_all_layouts_are_those_of_three_loops() {
        let mut rng = crate::rng(0, "product");
        for (m, k, n) in [(1, 1, 1), (4, 8, 8), (5, 3, 9), (13, 17, 31), (3, 40, 1), (2, 0, 3)] {
            let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() };
            let (a, b) = (draw(m * k), draw(k * n));
            let mut naive = vec![0.0_f32; m * n];
            for (i, sum) in naive.iter_mut().enumerate() {
                for p in 0..k {
                    *sum += a[i / n * k + p] * b[p * n + i % n];
                }
            }
            let turned = |x: &[f32], rows: usize, columns: usize| -> Vec<f32> {
                (0..columns).flat_map(|c| (0..rows).map(move |r| x[r * columns + c])).collect()
            };
            let (at, bt) = (turned(&a, m, k), turned(&b, k, n));
            let (plain_a, plain_b) = (View::new(&a, m, k), View::new(&b, k, n));
            let (other_a, other_b) = (View::new(&at, k, m).transposed(), View::new(&bt, n, k).transposed());
            if k > 0 {
                for (one, other) in [(plain_a, plain_b), (other_a, plain_b), (plain_a, other_b), (other_a, other_b)] {
                    assert_eq!(product(one, other), naive, "{m} {k} {n}");
                }
            }
        }
        assert_eq!(product(View::new(&[], 2, 0), View::new(&[], 0, 3)).len() % 3, 0);
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let mut rng = crate::rng(1, "product");
        let a: Vec<f32> = (0..7 * 20).map(|_| rng.random_range(-1.0..1.0)).collect();
        let b: Vec<f32> = (0..20 * 11).map(|_| rng.random_range(-1.0..1.0)).collect();
        let all = product(View::new(&a, 7, 20), View::new(&b, 20, 11));
        let last = product(View::new(&a[6 * 20..], 1, 20), View::new(&b, 20, 11));
        assert_eq!(all[6 * 11..], last);
    }
}
