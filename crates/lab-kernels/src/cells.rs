//! Products of grids of 4 by 4 places with 16 channels and small matrices, read where they lie: with one tap a matrix over channels,
//! with nine on a padded grid a convolution. A row of four places by eight channels stays in registers.

use wide::f32x8;

/// Channels of a place, and rows and columns of every matrix.
pub const WIDE: usize = 16;
/// Rows of a grid, and places of a row.
const SIDE: usize = 4;
/// Numbers of a matrix.
const MATRIX: usize = WIDE * WIDE;

/// How the grids lie that a product reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellLayout {
    /// Numbers from one image to the next.
    image: usize,
    /// Numbers from one row to the next.
    row: usize,
    /// Windows of 3 by 3, or one place.
    taps: usize,
}

impl CellLayout {
    /// Grids without a border, `[B, 4, 4, 16]`, under one matrix.
    pub const PLAIN: Self = Self { image: SIDE * SIDE * WIDE, row: SIDE * WIDE, taps: 1 };
    /// Grids with a border of one place, `[B, 6, 6, 16]`, under nine.
    pub const PADDED: Self = Self { image: 36 * WIDE, row: 6 * WIDE, taps: 9 };

    /// Where the first place of row `line` sees tap `tap`, rows counted over all images.
    fn at(self, line: usize, tap: usize) -> usize {
        line / SIDE * self.image + (line % SIDE + tap / 3) * self.row + tap % 3 * WIDE
    }

    // ANCHOR: multiply
    /// `y += Σ over taps of x · w`: grids `y` `[B, 4, 4, 16]`, matrices `w` `[taps, 16, 16]`.
    pub fn multiply(self, x: &[f32], w: &[f32], y: &mut [f32]) {
        for (line, y) in y.chunks_exact_mut(SIDE * WIDE).enumerate() {
            for half in [0, 8] {
                let mut sums = [f32x8::ZERO; SIDE];
                for (tap, w) in w.chunks_exact(MATRIX).take(self.taps).enumerate() {
                    let at = self.at(line, tap);
                    let Some(row) = x.get(at..at + SIDE * WIDE).and_then(|row| row.first_chunk::<{ SIDE * WIDE }>())
                    else {
                        return;
                    };
                    for (c, w) in w.as_chunks::<WIDE>().0.iter().enumerate().take(WIDE) {
                        let w = eight(w, half);
                        for (place, sum) in sums.iter_mut().enumerate() {
                            *sum += f32x8::splat(row[place * WIDE + c]) * w;
                        }
                    }
                }
                for (y, sum) in y.as_chunks_mut::<WIDE>().0.iter_mut().zip(sums) {
                    let sum = sum + eight(y, half);
                    y[half..half + 8].copy_from_slice(&sum.to_array());
                }
            }
        }
    }
    // ANCHOR_END: multiply

    // ANCHOR: outer
    /// `dw += Σ over places of xᵀ · dy`, for each tap: what a gradient of the matrices is.
    pub fn outer(self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        for (tap, dw) in dw.chunks_exact_mut(MATRIX).take(self.taps).enumerate() {
            for (block, dw) in dw.chunks_exact_mut(4 * WIDE).enumerate() {
                for half in [0, 8] {
                    let mut sums = [f32x8::ZERO; 4];
                    for (line, dy) in dy.as_chunks::<{ SIDE * WIDE }>().0.iter().enumerate() {
                        let at = self.at(line, tap) + 4 * block;
                        for (place, dy) in dy.as_chunks::<WIDE>().0.iter().enumerate() {
                            let from = at + place * WIDE;
                            let Some(four) = x.get(from..from + 4).and_then(|four| four.first_chunk::<4>()) else {
                                return;
                            };
                            let dy = eight(dy, half);
                            for (sum, x) in sums.iter_mut().zip(four) {
                                *sum += f32x8::splat(*x) * dy;
                            }
                        }
                    }
                    for (dw, sum) in dw.as_chunks_mut::<WIDE>().0.iter_mut().zip(sums) {
                        let sum = sum + eight(dw, half);
                        dw[half..half + 8].copy_from_slice(&sum.to_array());
                    }
                }
            }
        }
    }
    // ANCHOR_END: outer
}

/// Half of sixteen numbers.
fn eight(row: &[f32; WIDE], half: usize) -> f32x8 {
    let (low, high) = row.split_at(8);
    f32x8::from(*(if half == 0 { low } else { high }).first_chunk::<8>().unwrap_or(&[0.0; 8]))
}

/// Grids `[B, 4, 4, 16]` with a border of zeros, `[B, 6, 6, 16]`.
#[must_use]
pub fn padded(x: &[f32]) -> Vec<f32> {
    let mut all = vec![0.0; x.len() / CellLayout::PLAIN.image * CellLayout::PADDED.image];
    for (line, row) in x.chunks_exact(SIDE * WIDE).enumerate() {
        let at = CellLayout::PADDED.at(line, 4);
        all[at..at + SIDE * WIDE].copy_from_slice(row);
    }
    all
}

/// The matrices that take a gradient back: each transposed, the taps in the reverse order.
#[must_use]
pub fn turned_back(w: &[f32]) -> Vec<f32> {
    let mut all = vec![0.0; w.len()];
    for (from, to) in w.chunks_exact(MATRIX).rev().zip(all.chunks_exact_mut(MATRIX)) {
        for (i, to) in to.iter_mut().enumerate() {
            *to = from[i % WIDE * WIDE + i / WIDE];
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = crate::rng(seed, "cells");
        (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// Every product by loops, in double precision: results, and gradients of the matrices.
    #[test]
    fn products_and_gradients_are_those_of_plain_loops() {
        for (layout, batch) in
            [(CellLayout::PLAIN, 1), (CellLayout::PLAIN, 3), (CellLayout::PADDED, 1), (CellLayout::PADDED, 5)]
        {
            let x = numbers(batch * 256, 1);
            let w = numbers(layout.taps * MATRIX, 2);
            let seen = if layout.taps == 9 { padded(&x) } else { x.clone() };
            let weigh = numbers(batch * 256, 3);
            let (mut y, mut dw) = (vec![0.5; batch * 256], vec![0.25; w.len()]);
            layout.multiply(&seen, &w, &mut y);
            layout.outer(&seen, &weigh, &mut dw);
            let (mut right, mut gradient) = (vec![0.5_f64; y.len()], vec![0.25_f64; w.len()]);
            for place in 0..batch * 16 {
                for tap in 0..layout.taps {
                    let (row, column) = if layout.taps == 9 {
                        (place as i64 / 4 % 4 + tap as i64 / 3 - 1, place as i64 % 4 + tap as i64 % 3 - 1)
                    } else {
                        (place as i64 / 4 % 4, place as i64 % 4)
                    };
                    if !(0..4).contains(&row) || !(0..4).contains(&column) {
                        continue;
                    }
                    let near = place / 16 * 16 + (row * 4 + column) as usize;
                    for i in 0..MATRIX {
                        let (from, to) = (i / WIDE, i % WIDE);
                        let x = f64::from(x[near * WIDE + from]);
                        right[place * WIDE + to] += x * f64::from(w[tap * MATRIX + i]);
                        gradient[tap * MATRIX + i] += x * f64::from(weigh[place * WIDE + to]);
                    }
                }
            }
            let close = |a: &[f32], b: &[f64]| a.iter().zip(b).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-4);
            assert!(close(&y, &right) && close(&dw, &gradient), "{layout:?}");
            // What goes back is the adjoint: both ways to weigh the result agree.
            let mut dx = vec![0.0; x.len()];
            let back = if layout.taps == 9 { padded(&weigh) } else { weigh.clone() };
            layout.multiply(&back, &turned_back(&w), &mut dx);
            let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let forth: Vec<f32> = y.iter().map(|y| y - 0.5).collect();
            assert!((sum(&dx, &x) - sum(&forth, &weigh)).abs() < 1e-2);
        }
    }

    #[test]
    fn a_grid_that_is_too_short_gives_nothing() {
        let mut y = vec![0.0; 256];
        CellLayout::PADDED.multiply(&[1.0; 20], &[1.0; 9 * MATRIX], &mut y);
        assert_eq!(y, vec![0.0; 256]);
    }
}
