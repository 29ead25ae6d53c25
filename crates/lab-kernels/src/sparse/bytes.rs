//! What each format takes, counted on paper, for values of any width.

/// Bytes of one weight's worth of row starts.
const START: usize = 4;

/// Compressed sparse rows: a start for each row and one for the end, a column number and a value for each weight.
#[must_use]
pub fn csr_bytes(rows: usize, kept: usize, number_bytes: usize, value_bytes: usize) -> usize {
    START * (rows + 1) + kept * (number_bytes + value_bytes)
}

/// A bit for each place, rows beginning on a word of 64, and the values.
#[must_use]
pub fn bitmask_bytes(rows: usize, columns: usize, kept: usize, value_bytes: usize) -> usize {
    rows * 8 * columns.div_ceil(64) + kept * value_bytes
}

/// Two values of four, and half a byte for their places.
#[must_use]
pub fn two_four_bytes(rows: usize, columns: usize, value_bytes: usize) -> usize {
    rows * (columns / 2 * value_bytes + columns.div_ceil(8))
}

/// Blocks of `side` weights in `strips` rows or groups of rows: a start for each, a 16-bit number for each block.
#[must_use]
pub fn blocks_bytes(strips: usize, blocks: usize, side: usize, value_bytes: usize) -> usize {
    START * (strips + 1) + blocks * (2 + side * value_bytes)
}

/// Bits a place that say which weights are kept, when each is with this chance and regardless of the others: no format can
/// do with less on average (Shannon, 1948).
#[must_use]
pub fn mask_entropy_bits(density: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    term(density) + term(1.0 - density)
}
