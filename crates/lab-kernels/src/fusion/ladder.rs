//! The product of two matrices, rung by rung: the order of the loops, tiles, registers, packing. Each element is the sum over the depth
//! in ascending order on every rung, so that all give the same bits.

use wide::f32x4;

use crate::graph::{Strided, TILES, pack, strip};

/// A way to multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductRung {
    /// Three loops, the depth innermost: each number of B is a row away from the one before.
    Depth,
    /// Three loops, columns innermost: everything is read side by side.
    Columns,
    /// The same in tiles of 64, which fit a cache.
    Tiles,
    /// Four rows by eight columns of the result stay in registers.
    Registers,
    /// So do tiles of this place in [`TILES`], from panels that lie as they are read; packing is part of it.
    Packed(usize),
}

/// `c = a · b` of `[m, k]` and `[k, n]`, row by row in memory. `room` holds panels.
pub fn multiply(
    rung: ProductRung,
    a: &[f32],
    b: &[f32],
    [m, k, n]: [usize; 3],
    room: &mut [Vec<f32>; 2],
    c: &mut [f32],
) {
    match rung {
        ProductRung::Depth => depth_innermost(a, b, k, n, c),
        ProductRung::Columns => columns_innermost(a, b, k, n, c),
        ProductRung::Tiles => tiles(a, b, [m, k, n], c),
        ProductRung::Registers => registers(a, b, [m, k, n], c),
        ProductRung::Packed(tile) => {
            let [rows, columns] = TILES[tile.min(TILES.len() - 1)];
            let [x, y] = room;
            let a = Strided { data: a, rows: m, columns: k, row: k, column: 1 };
            pack(a.transposed(), rows, x);
            pack(Strided { data: b, rows: k, columns: n, row: n, column: 1 }, columns, y);
            strip(x, y, [k, n], tile, c);
        }
    }
}

// ANCHOR: depth
fn depth_innermost(a: &[f32], b: &[f32], k: usize, n: usize, c: &mut [f32]) {
    for (a, c) in a.chunks_exact(k).zip(c.chunks_exact_mut(n)) {
        for (j, c) in c.iter_mut().enumerate() {
            *c = a.iter().zip(b[j..].iter().step_by(n)).fold(0.0, |sum, (a, b)| sum + a * b);
        }
    }
}
// ANCHOR_END: depth

// ANCHOR: columns
fn columns_innermost(a: &[f32], b: &[f32], k: usize, n: usize, c: &mut [f32]) {
    c.fill(0.0);
    for (a, c) in a.chunks_exact(k).zip(c.chunks_exact_mut(n)) {
        for (a, b) in a.iter().zip(b.chunks_exact(n)) {
            c.iter_mut().zip(b).for_each(|(c, b)| *c += a * b);
        }
    }
}
// ANCHOR_END: columns

fn tiles(a: &[f32], b: &[f32], [m, k, n]: [usize; 3], c: &mut [f32]) {
    const SIDE: usize = 64;
    c.fill(0.0);
    for j in (0..n).step_by(SIDE) {
        let width = SIDE.min(n - j);
        for p in (0..k).step_by(SIDE) {
            for i in 0..m {
                let c = &mut c[i * n + j..][..width];
                for q in p..(p + SIDE).min(k) {
                    let x = a[i * k + q];
                    c.iter_mut().zip(&b[q * n + j..][..width]).for_each(|(c, b)| *c += x * b);
                }
            }
        }
    }
}

// ANCHOR: registers
fn registers(a: &[f32], b: &[f32], [m, k, n]: [usize; 3], c: &mut [f32]) {
    let (whole_rows, whole_columns) = (m - m % 4, n - n % 8);
    for i in (0..whole_rows).step_by(4) {
        let lines: [&[f32]; 4] = std::array::from_fn(|r| &a[(i + r) * k..][..k]);
        for j in (0..whole_columns).step_by(8) {
            let mut sums = [[f32x4::ZERO; 2]; 4];
            for (p, b) in b.chunks_exact(n).enumerate() {
                let [y, z] = [0, 4].map(|at| f32x4::from(&b[j + at..j + at + 4]));
                for (sums, line) in sums.iter_mut().zip(lines) {
                    let x = f32x4::splat(line[p]);
                    sums[0] += x * y;
                    sums[1] += x * z;
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                let place = &mut c[(i + r) * n + j..][..8];
                place[..4].copy_from_slice(&sums[0].to_array());
                place[4..].copy_from_slice(&sums[1].to_array());
            }
        }
    }
    // What is left at the right and below.
    for i in 0..m {
        for j in if i < whole_rows { whole_columns } else { 0 }..n {
            c[i * n + j] = (0..k).fold(0.0, |sum, p| sum + a[i * k + p] * b[p * n + j]);
        }
    }
}
// ANCHOR_END: registers
