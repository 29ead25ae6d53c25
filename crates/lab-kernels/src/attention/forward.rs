//! The forward pass in four ways.

use super::{
    Head, Inputs, Sight, Traffic,
    products::{PANEL, add_product, exponentials, largest, pack, scores},
};

/// What a way gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// `[T, D]`.
    pub values: Vec<f32>,
    /// `[T]`: the logarithm of the sum of exponentials of each row of scores, from which a weight can be made again; -∞ where a
    /// query sees no key.
    pub log_sum: Vec<f32>,
}

impl Output {
    fn new(head: Head) -> Self {
        Self { values: vec![0.0; head.queries * head.channels], log_sum: vec![f32::NEG_INFINITY; head.queries] }
    }
}

/// How attention is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Queries of a tile.
    pub rows: usize,
    /// Keys of a tile, rounded up to a multiple of eight.
    pub columns: usize,
    /// Whether tiles that no query of them sees are left out.
    pub skip: bool,
}

impl Blocks {
    /// Queries and keys of a tile, no larger than the head needs.
    pub(super) fn within(self, head: Head) -> [usize; 2] {
        let columns = self.columns.clamp(1, head.keys.max(1)).next_multiple_of(PANEL);
        [self.rows.clamp(1, head.queries.max(1)), columns]
    }
}

/// Softmax over the part of a row that is seen, zeros elsewhere; gives the logarithm of its sum.
fn softmax(row: &mut [f32], seen: std::ops::Range<usize>) -> f32 {
    row[..seen.start].fill(0.0);
    row[seen.end..].fill(0.0);
    let row = &mut row[seen];
    let max = largest(row);
    let sum = exponentials(row, max);
    row.iter_mut().for_each(|weight| *weight /= sum);
    max + sum.ln()
}

// ANCHOR: eager
/// As an eager framework does it, operation by operation, each with a table `[T, S]` of its own: scores, what of them is seen,
/// weights. Two of the tables are alive at once.
#[must_use]
pub fn eager(Inputs { q, k, v }: Inputs, head: Head, sight: Sight) -> Output {
    let (stride, keys) = (head.keys.next_multiple_of(PANEL), pack(k, head.channels));
    let mut output = Output::new(head);
    let mut all = vec![0.0; head.queries * stride];
    scores(q, head.channels, &keys, head.scale(), &mut all, stride);
    let mut seen = vec![f32::NEG_INFINITY; head.queries * stride];
    for (i, (to, from)) in seen.chunks_exact_mut(stride).zip(all.chunks_exact(stride)).enumerate() {
        let range = sight.range(i, head);
        to[range.clone()].copy_from_slice(&from[range]);
    }
    drop(all);
    let mut weights = seen.clone();
    for (i, row) in weights.chunks_exact_mut(stride).enumerate() {
        output.log_sum[i] = softmax(row, sight.range(i, head));
    }
    drop(seen);
    add_product(&mut output.values, &weights, stride, v, head.channels);
    output
}
// ANCHOR_END: eager

// ANCHOR: one_table
/// The same in one table that is overwritten: all scores, then all weights.
#[must_use]
pub fn one_table(inputs: Inputs, head: Head, sight: Sight, traffic: &mut Traffic) -> Output {
    let mut output = Output::new(head);
    let table = weights(inputs, head, sight, &mut output.log_sum);
    add_product(&mut output.values, &table, head.keys.next_multiple_of(PANEL), inputs.v, head.channels);
    let (inputs, table) = (head.channels * (head.queries + 2 * head.keys), head.queries * head.keys);
    traffic.read(inputs + 2 * table);
    traffic.write(output.values.len() + 2 * table);
    output
}
// ANCHOR_END: one_table

/// The weights of all pairs `[T, S]`, rows padded to whole panels.
pub(super) fn weights(Inputs { q, k, .. }: Inputs, head: Head, sight: Sight, log_sum: &mut [f32]) -> Vec<f32> {
    let stride = head.keys.next_multiple_of(PANEL);
    let mut table = vec![0.0; head.queries * stride];
    scores(q, head.channels, &pack(k, head.channels), head.scale(), &mut table, stride);
    for (i, row) in table.chunks_exact_mut(stride).enumerate() {
        log_sum[i] = softmax(row, sight.range(i, head));
    }
    table
}

// ANCHOR: chunked
/// A chunk of queries at a time against all keys that they see, with the ordinary softmax: the table has `rows` rows.
#[must_use]
pub fn chunked(Inputs { q, k, v }: Inputs, head: Head, sight: Sight, Blocks { rows, skip, .. }: Blocks) -> Output {
    let (d, rows) = (head.channels, rows.max(1));
    let (stride, keys) = (head.keys.next_multiple_of(PANEL), pack(k, d));
    let mut output = Output::new(head);
    let mut table = vec![0.0; rows.min(head.queries) * stride];
    for (chunk, (q, out)) in q.chunks(rows * d).zip(output.values.chunks_mut(rows * d)).enumerate() {
        let first = chunk * rows;
        let count = q.len() / d;
        let seen = if skip { sight.of_block(first..first + count, head) } else { 0..head.keys };
        let (from, to) = (seen.start / PANEL * PANEL, seen.end.next_multiple_of(PANEL));
        let width = to - from;
        if width == 0 {
            continue;
        }
        let table = &mut table[..count * width];
        scores(q, d, &keys[from * d..to * d], head.scale(), table, width);
        for (i, row) in table.chunks_exact_mut(width).enumerate() {
            let range = sight.range(first + i, head);
            let seen = range.start.clamp(from, to) - from..range.end.clamp(from, to) - from;
            output.log_sum[first + i] = softmax(row, seen);
        }
        add_product(out, table, width, &v[from * d..to.min(head.keys) * d], d);
    }
    output
}
// ANCHOR_END: chunked

// ANCHOR: tiled
/// A tile of queries meets the keys tile by tile. Each query keeps the largest score so far, the sum of exponentials and the
/// weighted values, and whenever a larger score comes up, sum and values are rescaled (FlashAttention, arXiv:2205.14135).
#[must_use]
pub fn tiled(inputs: Inputs, head: Head, sight: Sight, blocks: Blocks, traffic: &mut Traffic) -> Output {
    let Inputs { q, k, v } = inputs;
    let (d, [rows, columns]) = (head.channels, blocks.within(head));
    let keys = pack(k, d);
    let mut output = Output::new(head);
    let mut tile = vec![0.0; rows * columns];
    let (mut max, mut sum) = (vec![0.0; rows], vec![0.0; rows]);
    for (block, (q, out)) in q.chunks(rows * d).zip(output.values.chunks_mut(rows * d)).enumerate() {
        let first = block * rows;
        let count = q.len() / d;
        traffic.read(q.len());
        max[..count].fill(f32::NEG_INFINITY);
        sum[..count].fill(0.0);
        let seen = if blocks.skip { sight.of_block(first..first + count, head) } else { 0..head.keys };
        for from in (seen.start / columns * columns..seen.end).step_by(columns) {
            let to = (from + columns).min(head.keys);
            traffic.read(2 * (to - from) * d);
            let width = (to - from).next_multiple_of(PANEL);
            let tile = &mut tile[..count * width];
            scores(q, d, &keys[from * d..(from + width) * d], head.scale(), tile, width);
            for (i, row) in tile.chunks_exact_mut(width).enumerate() {
                let range = sight.range(first + i, head);
                let seen = range.start.clamp(from, to) - from..range.end.clamp(from, to) - from;
                let factor = fold(row, seen, &mut max[i], &mut sum[i]);
                if factor != 1.0 {
                    out[i * d..(i + 1) * d].iter_mut().for_each(|value| *value *= factor);
                }
            }
            add_product(out, tile, width, &v[from * d..to * d], d);
        }
        for (i, out) in out.chunks_exact_mut(d).enumerate() {
            if sum[i] > 0.0 {
                out.iter_mut().for_each(|value| *value /= sum[i]);
                output.log_sum[first + i] = max[i] + sum[i].ln();
            }
        }
        traffic.write(out.len());
    }
    output
}
// ANCHOR_END: tiled

// ANCHOR: fold
/// One more tile of a row: its scores become weights relative to the largest score so far, `max` and `sum` take it in. Gives
/// the factor by which what was gathered before is to be rescaled.
fn fold(row: &mut [f32], seen: std::ops::Range<usize>, max: &mut f32, sum: &mut f32) -> f32 {
    row[..seen.start].fill(0.0);
    row[seen.end..].fill(0.0);
    if seen.is_empty() {
        return 1.0;
    }
    let row = &mut row[seen];
    let larger = max.max(largest(row));
    let factor = (*max - larger).exp(); // 0 for the first tile, where max is -∞
    *sum = *sum * factor + exponentials(row, larger);
    *max = larger;
    factor
}
// ANCHOR_END: fold
