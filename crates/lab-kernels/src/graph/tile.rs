//! Products of matrices in tiles of several shapes, strip by strip, so that something may follow while a strip is in the cache.

use std::array;

use wide::f32x8;

/// A matrix in a slice: element `(r, c)` is `data[r * row + c * column]`.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a> {
    /// The numbers, from the first element on.
    pub data: &'a [f32],
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub columns: usize,
    /// From a row to the next.
    pub row: usize,
    /// From a column to the next.
    pub column: usize,
}

impl Strided<'_> {
    /// `[columns, rows]` of the same numbers.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row: self.column, column: self.row, ..self }
    }
}

/// Rows and columns of a tile that stays in registers. The first is the usual one.
pub const TILES: [[usize; 2]; 8] = [[4, 8], [2, 8], [1, 32], [2, 16], [4, 16], [8, 8], [6, 16], [8, 16]];

/// Puts `[K, N]` into panels of `width` columns, each `[K, width]`; columns that are not there are zero.
pub fn pack(matrix: Strided, width: usize, packed: &mut Vec<f32>) {
    let (k, n) = (matrix.rows, matrix.columns);
    packed.clear();
    packed.resize(n.div_ceil(width) * k * width, 0.0);
    for (panel, out) in packed.chunks_exact_mut((k * width).max(1)).enumerate() {
        let first = panel * width;
        for (r, line) in out.chunks_exact_mut(width).enumerate() {
            let from = r * matrix.row + first * matrix.column;
            for (c, place) in line.iter_mut().take(n - first).enumerate() {
                *place = matrix.data[from + c * matrix.column];
            }
        }
    }
}

// ANCHOR: strip
/// Rows `[rows, N]` of a product, from packed rows (panels `[K, tile rows]`) and packed columns (panels `[K, tile columns]`). Each
/// element is the sum over K in ascending order, whatever the tile.
pub fn strip(a: &[f32], b: &[f32], [k, n]: [usize; 2], tile: usize, out: &mut [f32]) {
    match tile {
        1 => tiled::<2, 1>(a, b, k, n, out),
        2 => tiled::<1, 4>(a, b, k, n, out),
        3 => tiled::<2, 2>(a, b, k, n, out),
        4 => tiled::<4, 2>(a, b, k, n, out),
        5 => tiled::<8, 1>(a, b, k, n, out),
        6 => tiled::<6, 2>(a, b, k, n, out),
        7 => tiled::<8, 2>(a, b, k, n, out),
        _ => tiled::<4, 1>(a, b, k, n, out),
    }
}

/// A tile of `R` rows and `V` vectors of eight columns.
fn tiled<const R: usize, const V: usize>(a: &[f32], b: &[f32], k: usize, n: usize, out: &mut [f32]) {
    if k == 0 || n == 0 {
        return out.fill(0.0);
    }
    for (j, right) in b.chunks_exact(k * 8 * V).enumerate() {
        let columns = (8 * V).min(n - j * 8 * V);
        for (i, left) in a.chunks_exact(k * R).enumerate() {
            let mut sums = [[f32x8::ZERO; V]; R];
            for (x, y) in left.as_chunks::<R>().0.iter().zip(right.as_chunks::<8>().0.as_chunks::<V>().0) {
                let y: [f32x8; V] = array::from_fn(|v| f32x8::from(y[v]));
                for (sums, x) in sums.iter_mut().zip(x) {
                    for (sum, y) in sums.iter_mut().zip(y) {
                        *sum += f32x8::splat(*x) * y;
                    }
                }
            }
            for (row, sums) in out[i * R * n..].chunks_exact_mut(n).zip(&sums) {
                let place = &mut row[j * 8 * V..j * 8 * V + columns];
                for (place, sum) in place.chunks_mut(8).zip(sums) {
                    place.copy_from_slice(&sum.to_array()[..place.len()]);
                }
            }
        }
    }
}
// ANCHOR_END: strip

/// The same for rows too few to be worth packing: `a` `[M, K]`, `b` `[K, N]`, in the same order of sums.
pub fn few_rows(a: Strided, b: Strided, out: &mut [f32]) {
    let (k, n) = (a.columns, b.columns);
    out.fill(0.0);
    for (r, out) in out.chunks_exact_mut(n.max(1)).take(a.rows).enumerate() {
        let x = |p: usize| a.data[r * a.row + p * a.column];
        if b.column == 1 {
            let line = |p: usize| &b.data[p * b.row..][..n];
            let mut p = 0;
            while p + 4 <= k {
                let ([x0, x1, x2, x3], [y0, y1, y2, y3]) =
                    (array::from_fn(|i| x(p + i)), array::from_fn(|i| line(p + i)));
                for (i, out) in out.iter_mut().enumerate() {
                    *out = (((*out + x0 * y0[i]) + x1 * y1[i]) + x2 * y2[i]) + x3 * y3[i];
                }
                p += 4;
            }
            for p in p..k {
                let x = x(p);
                out.iter_mut().zip(line(p)).for_each(|(out, y)| *out += x * y);
            }
        } else {
            for (c, out) in out.iter_mut().enumerate() {
                *out = (0..k).fold(0.0, |sum, p| sum + x(p) * b.data[p * b.row + c * b.column]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn every_tile_gives_the_bits_of_three_loops() {
        let mut rng = crate::rng(0, "tiles");
        for (m, k, n) in [(1, 5, 3), (3, 8, 40), (5, 3, 9), (32, 17, 31), (19, 6, 8)] {
            let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() };
            // A lies transposed, B as a part of wider rows.
            let (a, b) = (draw(m * k), draw(k * (n + 3)));
            let left = Strided { data: &a, rows: k, columns: m, row: m, column: 1 }.transposed();
            let right = Strided { data: &b, rows: k, columns: n, row: n + 3, column: 1 };
            let mut naive = vec![0.0_f32; m * n];
            for (i, sum) in naive.iter_mut().enumerate() {
                for p in 0..k {
                    *sum += a[p * m + i / n] * b[p * (n + 3) + i % n];
                }
            }
            let mut found = vec![f32::NAN; m * n];
            few_rows(left, right, &mut found);
            assert_eq!(found, naive);
            let turned: Vec<f32> = (0..k * n).map(|i| b[i % k * (n + 3) + i / k]).collect();
            few_rows(left, Strided { data: &turned, rows: n, columns: k, row: k, column: 1 }.transposed(), &mut found);
            assert_eq!(found, naive);
            for (tile, [rows, columns]) in TILES.into_iter().enumerate() {
                let (mut x, mut y, mut found) = (Vec::new(), Vec::new(), vec![f32::NAN; m * n]);
                pack(left.transposed(), rows, &mut x);
                pack(right, columns, &mut y);
                strip(&x, &y, [k, n], tile, &mut found);
                assert_eq!(found, naive, "{m} {k} {n}, tile {tile}");
            }
        }
    }
}
