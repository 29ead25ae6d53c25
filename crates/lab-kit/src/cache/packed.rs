//! Rows of keys or values as integers in words.

use half::f16;

use super::{Axis, Grid};

/// Tokens whose channels share a grid.
pub const BLOCK: usize = 32;

/// Rows of `width` numbers, packed. Minimum and step of a grid are kept in half precision, and codes are found against
/// what they have become there.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedRows {
    grid: Grid,
    width: usize,
    rows: usize,
    words: Vec<u32>,
    /// Minimum and step: one pair a row, or one a channel and block.
    grids: Vec<[f16; 2]>,
}

impl PackedRows {
    /// No rows yet.
    #[must_use]
    pub fn new(grid: Grid, width: usize) -> Self {
        Self { grid, width, rows: 0, words: Vec::new(), grids: Vec::new() }
    }

    /// Rows in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of codes, minima and steps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * self.words.len() + 4 * self.grids.len()
    }

    fn words_per_row(&self) -> usize {
        (self.width * self.grid.bits).div_ceil(32)
    }

    // ANCHOR: push
    /// Takes rows over, `[rows, width]`: with a grid for each channel whole blocks, or the last block shares with nobody.
    pub fn push(&mut self, rows: &[f32]) {
        let (width, top) = (self.width, levels(self.grid.bits));
        let together = if self.grid.in_blocks() { BLOCK } else { 1 };
        for block in rows.chunks(together * width) {
            let first = self.grids.len();
            match self.grid {
                Grid { bits: 16.., .. } => {}
                Grid { axis: Axis::Token, .. } => self.grids.push(grid(block.iter().copied(), top)),
                Grid { axis: Axis::Channel, .. } => {
                    self.grids.extend((0..width).map(|c| grid(block.iter().skip(c).step_by(width).copied(), top)));
                }
            }
            for row in block.chunks(width) {
                let start = self.words.len();
                self.words.resize(start + self.words_per_row(), 0);
                for (c, x) in row.iter().enumerate() {
                    let code = match self.grid {
                        Grid { bits: 32, .. } => x.to_bits(),
                        Grid { bits: 16, .. } => u32::from(f16::from_f32(*x).to_bits()),
                        Grid { axis, .. } => {
                            code(*x, self.grids[first + if axis == Axis::Channel { c } else { 0 }], top)
                        }
                    };
                    let bit = c * self.grid.bits;
                    self.words[start + bit / 32] |= code << (bit % 32);
                    // A code of three bits may reach into the next word.
                    if bit % 32 + self.grid.bits > 32 {
                        self.words[start + bit / 32 + 1] |= code >> (32 - bit % 32);
                    }
                }
                self.rows += 1;
            }
        }
    }
    // ANCHOR_END: push

    /// Takes one row out; those behind it move up. Only where no block shares a grid.
    pub fn remove(&mut self, row: usize) {
        if row >= self.rows || self.grid.in_blocks() {
            return;
        }
        let n = self.words_per_row();
        self.words.drain(row * n..(row + 1) * n);
        if row < self.grids.len() {
            self.grids.remove(row);
        }
        self.rows -= 1;
    }

    // ANCHOR: rows
    /// Rows `first..`, as near as the grid has them, `[rows, width]`. A block's grids are widened once for all its rows.
    pub fn rows(&self, first: usize, out: &mut [f32]) {
        let n = self.words_per_row();
        let (mut block, mut wide) = (usize::MAX, Vec::new());
        let words = self.words[first * n..].chunks_exact(n);
        for (row, (out, words)) in (first..).zip(out.chunks_exact_mut(self.width).zip(words)) {
            match self.grid {
                Grid { bits: 32, .. } => out.iter_mut().zip(words).for_each(|(x, word)| *x = f32::from_bits(*word)),
                Grid { bits: 16, .. } => {
                    let halves = words.iter().flat_map(|word| [*word as u16, (*word >> 16) as u16]);
                    out.iter_mut().zip(halves).for_each(|(x, half)| *x = f16::from_bits(half).to_f32());
                }
                Grid { bits, axis: Axis::Token } => {
                    let [least, step] = self.grids[row].map(f16::to_f32);
                    unpack(words, bits, out);
                    out.iter_mut().for_each(|x| *x = least + step * *x);
                }
                Grid { bits, axis: Axis::Channel } => {
                    if block != row / BLOCK {
                        block = row / BLOCK;
                        let grids = &self.grids[block * self.width..(block + 1) * self.width];
                        wide = grids.iter().map(|grid| grid.map(f16::to_f32)).collect();
                    }
                    unpack(words, bits, out);
                    out.iter_mut().zip(&wide).for_each(|(x, [least, step])| *x = least + step * *x);
                }
            }
        }
    }
    // ANCHOR_END: rows
}

/// The codes of a row, as floats.
fn unpack(words: &[u32], bits: usize, out: &mut [f32]) {
    match bits {
        1 => unpack_even::<1>(words, out),
        2 => unpack_even::<2>(words, out),
        4 => unpack_even::<4>(words, out),
        8 => unpack_even::<8>(words, out),
        _ => {
            let mask = (1_u32 << bits) - 1;
            for (i, x) in out.iter_mut().enumerate() {
                let (word, shift) = (i * bits / 32, i * bits % 32);
                let high = if shift + bits > 32 { words[word + 1] << (32 - shift) } else { 0 };
                *x = ((words[word] >> shift | high) & mask) as f32;
            }
        }
    }
}

/// The same where no code reaches into a second word: with the width known, the loop over a word unrolls.
fn unpack_even<const BITS: usize>(words: &[u32], out: &mut [f32]) {
    let code = |word: u32, i: usize| (word >> (i * BITS) & ((1 << BITS) - 1)) as f32;
    let mut whole = out.chunks_exact_mut(32 / BITS);
    for (part, word) in whole.by_ref().zip(words) {
        part.iter_mut().enumerate().for_each(|(i, x)| *x = code(*word, i));
    }
    let last = words.last().copied().unwrap_or(0);
    whole.into_remainder().iter_mut().enumerate().for_each(|(i, x)| *x = code(last, i));
}

/// The largest code.
fn levels(bits: usize) -> f32 {
    if bits < 16 { ((1_u32 << bits) - 1) as f32 } else { 1.0 }
}

/// Minimum and step of the grid from the smallest to the largest of these, as half precision has them.
fn grid(values: impl Iterator<Item = f32>, top: f32) -> [f16; 2] {
    let ends = values.fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], x| [low.min(x), high.max(x)]);
    [f16::from_f32(ends[0]), f16::from_f32((ends[1] - ends[0]) / top)]
}

fn code(x: f32, grid: [f16; 2], top: f32) -> u32 {
    let [least, step] = grid.map(f16::to_f32);
    if step > 0.0 { ((x - least) / step).round().clamp(0.0, top) as u32 } else { 0 }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    fn through(grid: Grid, width: usize, rows: &[f32]) -> (PackedRows, Vec<f32>) {
        let mut packed = PackedRows::new(grid, width);
        packed.push(rows);
        let mut out = vec![0.0; rows.len()];
        out.chunks_mut(width).enumerate().for_each(|(i, row)| packed.rows(i, row));
        (packed, out)
    }

    #[test]
    fn a_worked_example_at_two_bits() {
        // Four tokens of four channels, of which the last is loud.
        let rows = [0.1, -0.2, 0.3, 4.0, 0.0, 0.2, -0.1, 4.4, -0.3, 0.1, 0.2, 3.6, 0.2, -0.1, 0.1, 4.2].map(|x: f32| x);
        let error = |axis: Axis| {
            let (_, out) = through(Grid { bits: 2, axis }, 4, &rows);
            let squares: f32 = out.iter().zip(&rows).map(|(a, b)| (a - b).powi(2)).sum();
            (squares / 16.0, out)
        };
        let ((token, by_token), (channel, by_channel)) = (error(Axis::Token), error(Axis::Channel));
        // By hand with exact minima and steps; halves move them in the fourth digit.
        assert!((token - 0.061_250).abs() < 3e-4, "{token}");
        assert!((channel - 0.002_222).abs() < 3e-5, "{channel}");
        for (ours, by_hand) in by_token.iter().zip([-0.2, -0.2, -0.2, 4.0]) {
            assert!((ours - by_hand).abs() < 4e-3, "{by_token:?}");
        }
        for (ours, by_hand) in by_channel.iter().step_by(4).zip([0.033_333, 0.033_333, -0.3, 0.2]) {
            assert!((ours - by_hand).abs() < 1e-3, "{by_channel:?}");
        }
    }

    #[test]
    fn every_width_is_as_near_as_half_a_step_and_takes_the_bytes_it_should() {
        let mut rng = crate::rng(0, "rows");
        let rows: Vec<f32> = (0..64 * 32).map(|_| rng.random_range(-2.0..3.0)).collect();
        for bits in [1, 2, 3, 4, 8] {
            for axis in [Axis::Token, Axis::Channel] {
                let (packed, out) = through(Grid { bits, axis }, 32, &rows);
                let step = 5.0 / levels(bits);
                let worst = out.iter().zip(&rows).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                // Half a step, and what halves round of minimum and step.
                assert!(worst <= 0.5 * step + 0.006, "{bits} bits, {axis:?}: {worst}");
                assert_eq!(packed.bytes(), 64 * 32 * bits / 8 + 64 * 4);
            }
        }
        for (bits, bound) in [(16, 1.1e-3), (32, 0.0)] {
            let (packed, out) = through(Grid { bits, axis: Axis::Token }, 32, &rows);
            assert!(out.iter().zip(&rows).all(|(a, b)| (a - b).abs() <= bound));
            assert_eq!(packed.bytes(), 64 * 32 * bits / 8);
        }
    }

    #[test]
    fn a_row_that_leaves_takes_only_itself_along() {
        let rows: Vec<f32> = (0..5 * 6).map(|i| ((i * 7) % 11) as f32).collect();
        let (mut packed, out) = through(Grid { bits: 3, axis: Axis::Token }, 6, &rows);
        packed.remove(1);
        let mut row = [0.0; 6];
        for (now, before) in [0, 2, 3, 4].into_iter().enumerate() {
            packed.rows(now, &mut row);
            assert_eq!(row, out[before * 6..before * 6 + 6]);
        }
        assert_eq!(packed.len(), 4);
    }
}
