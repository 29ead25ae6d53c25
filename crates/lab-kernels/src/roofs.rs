//! Kernels that are made to reach a roof: much arithmetic on few bytes, few operations on many bytes, and one that walks from
//! one to the other. Plain Rust on the CPU, for one core, in vectors of 128 bits: the same program natively and in a browser.

use std::hint::black_box;

use wide::f32x4;

/// Numbers of a vector.
const LANES: usize = 4;
/// Vectors that one pass of [`polynomial`] keeps in registers. Each waits for its own last result only, so that many are under
/// way at once; with two for the constants they fill 14 of the 16 registers that WASM engines and SSE have.
const IN_FLIGHT: usize = 12;

/// Numbers of the buffer of [`polynomial`] are taken in blocks of so many.
pub const POLYNOMIAL_BLOCK: usize = LANES * IN_FLIGHT;

// ANCHOR: polynomial
/// `x = x * a + b`, `k` times for each element: `2 k` operations on 4 bytes read and 4 written. What is left over beyond
/// whole blocks of [`POLYNOMIAL_BLOCK`] stays as it is.
pub fn polynomial(values: &mut [f32], k: usize, a: f32, b: f32) {
    let (a, b) = (f32x4::splat(a), f32x4::splat(b));
    let (vectors, _) = values.as_chunks_mut::<LANES>();
    let (blocks, _) = vectors.as_chunks_mut::<IN_FLIGHT>();
    for block in blocks {
        let mut x = block.map(f32x4::new);
        for _ in 0..k {
            for x in &mut x {
                *x = *x * a + b;
            }
        }
        *block = x.map(f32x4::to_array);
    }
}
// ANCHOR_END: polynomial

/// Bytes that move when a kernel passes over memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// Adds up one buffer: reads it.
    Sum,
    /// Copies one buffer into another: reads one, writes one. Where a store first fetches the line that it overwrites, half
    /// as many bytes again move than are counted here.
    Copy,
    /// `x = x + y` in place: reads two, writes one.
    Update,
}

impl Pass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sum, Self::Copy, Self::Update];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum (read)",
            Self::Copy => "copy (read, write)",
            Self::Update => "update (read twice, write)",
        }
    }

    /// Buffers it touches.
    #[must_use]
    pub fn buffers(self) -> usize {
        match self {
            Self::Sum => 1,
            Self::Copy | Self::Update => 2,
        }
    }

    /// Bytes moved for each element of 4 bytes.
    #[must_use]
    pub fn bytes_per_element(self) -> u64 {
        match self {
            Self::Sum => 4,
            Self::Copy => 8,
            Self::Update => 12,
        }
    }

    /// Operations for each element.
    #[must_use]
    pub fn flops_per_element(self) -> u64 {
        match self {
            Self::Sum | Self::Update => 1,
            Self::Copy => 0,
        }
    }

    /// Passes over the buffers once. The compiler may not know what they hold, nor that nobody looks at the result: without
    /// that it would move the work out of the loop that is timed.
    pub fn run(self, x: &mut [f32], y: &[f32]) -> f32 {
        let (x, y) = (black_box(x), black_box(y));
        match self {
            Self::Sum => black_box(sum(x)),
            Self::Copy => {
                let count = x.len().min(y.len());
                x[..count].copy_from_slice(&y[..count]);
                black_box(x.first().copied().unwrap_or(0.0))
            }
            Self::Update => {
                x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
                black_box(x.first().copied().unwrap_or(0.0))
            }
        }
    }
}

/// The sum of a buffer in eight vectors, so that no addition waits for the one before.
fn sum(values: &[f32]) -> f32 {
    let (parts, rest) = values.as_chunks::<32>();
    let mut sums = [f32x4::splat(0.0); 8];
    for part in parts {
        let (vectors, _) = part.as_chunks::<LANES>();
        for (sum, vector) in sums.iter_mut().zip(vectors) {
            *sum += f32x4::new(*vector);
        }
    }
    sums.iter().map(|sum| sum.reduce_add()).sum::<f32>() + rest.iter().sum::<f32>()
}

// ANCHOR: naive_columns
/// `y = W x` for every column: `weight` is `[rows, inner]`, `x` `[columns, inner]`, `y` `[columns, rows]`. Three loops; the
/// whole matrix is read anew for each column.
pub fn naive_columns(weight: &[f32], inner: usize, x: &[f32], y: &mut [f32]) {
    let rows = weight.len() / inner.max(1);
    for (x, y) in x.chunks_exact(inner.max(1)).zip(y.chunks_exact_mut(rows.max(1))) {
        for (row, y) in weight.chunks_exact(inner.max(1)).zip(y) {
            *y = row.iter().zip(x).map(|(w, x)| w * x).sum();
        }
    }
}
// ANCHOR_END: naive_columns

// ANCHOR: columns
/// The same with every weight read from memory once, for all columns: four rows at a time stay in the nearest cache while
/// the columns pass over them, two by two.
pub fn columns(weight: &[f32], inner: usize, x: &[f32], y: &mut [f32]) {
    let (inner, rows) = (inner.max(1), weight.len() / inner.max(1));
    let count = x.len() / inner;
    let row = |r: usize| &weight[r * inner..(r + 1) * inner];
    let column = |c: usize| &x[c * inner..(c + 1) * inner];
    let mut r = 0;
    while r < rows {
        let taken = if r + 4 <= rows { 4 } else { 1 };
        let mut c = 0;
        while c < count {
            let pair = c + 2 <= count;
            match (taken, pair) {
                (4, true) => place(&block([0, 1, 2, 3].map(|i| row(r + i)), [column(c), column(c + 1)]), r, c, rows, y),
                (4, false) => place(&block([0, 1, 2, 3].map(|i| row(r + i)), [column(c)]), r, c, rows, y),
                (_, true) => place(&block([row(r)], [column(c), column(c + 1)]), r, c, rows, y),
                (_, false) => place(&block([row(r)], [column(c)]), r, c, rows, y),
            }
            c += if pair { 2 } else { 1 };
        }
        r += taken;
    }
}

/// Products of `R` rows with `B` columns, each a sum in vectors of its own.
fn block<const R: usize, const B: usize>(rows: [&[f32]; R], columns: [&[f32]; B]) -> [[f32; B]; R] {
    let mut sums = [[f32x4::splat(0.0); B]; R];
    let (parts, columns) =
        (rows.map(|row| row.as_chunks::<LANES>()), columns.map(|column| column.as_chunks::<LANES>()));
    // All of one length, which spares the loop its checks.
    let length = parts[0].0.len();
    let (w, x) = (parts.map(|part| &part.0[..length]), columns.map(|column| &column.0[..length]));
    for i in 0..length {
        let x = x.map(|x| f32x4::new(x[i]));
        for (sums, w) in sums.iter_mut().zip(w) {
            let w = f32x4::new(w[i]);
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum += w * x;
            }
        }
    }
    // What is left where the length is no multiple of a vector's.
    let rest = |r: usize, b: usize| parts[r].1.iter().zip(columns[b].1).map(|(w, x)| w * x).sum::<f32>();
    std::array::from_fn(|r| std::array::from_fn(|b| sums[r][b].reduce_add() + rest(r, b)))
}
// ANCHOR_END: columns

/// Writes the results of rows from `r` and columns from `c` where they belong.
fn place<const R: usize, const B: usize>(results: &[[f32; B]; R], r: usize, c: usize, rows: usize, y: &mut [f32]) {
    for (i, results) in results.iter().enumerate() {
        for (j, result) in results.iter().enumerate() {
            y[(c + j) * rows + r + i] = *result;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::Rng;

    use super::*;

    #[test]
    fn a_polynomial_is_horners_rule_in_double_precision() {
        for k in [1, 2, 7, 64] {
            let start: Vec<f32> = (0..3 * POLYNOMIAL_BLOCK + 5).map(|i| i as f32 * 0.01 - 0.7).collect();
            let mut values = start.clone();
            polynomial(&mut values, k, 0.97, 0.013);
            for (i, (found, start)) in values.iter().zip(&start).enumerate() {
                let whole = i < 3 * POLYNOMIAL_BLOCK;
                let (a, b) = (f64::from(0.97_f32), f64::from(0.013_f32));
                let expected = (0..if whole { k } else { 0 }).fold(f64::from(*start), |x, _| x * a + b);
                let off = (f64::from(*found) - expected).abs();
                assert!(off <= 1e-5 * (1.0 + expected.abs()), "{found}, not {expected}, at {i} for {k}");
            }
        }
    }

    #[test]
    fn passes_do_what_they_count() {
        let y: Vec<f32> = (0..67).map(|i| i as f32).collect();
        let mut x = vec![1.0; 67];
        assert_eq!(Pass::Sum.run(&mut x, &[]), 67.0);
        Pass::Update.run(&mut x, &y);
        assert!(x.iter().zip(&y).all(|(x, y)| *x == y + 1.0));
        Pass::Copy.run(&mut x, &y);
        assert_eq!(x, y);
        // Operands read and results written, 4 bytes each.
        assert_eq!(Pass::ALL.map(Pass::bytes_per_element), [4, 8, 12]);
    }

    proptest! {
        #[test]
        fn columns_are_the_naive_product(rows in 1_usize..11, inner in 1_usize..21, count in 1_usize..6, seed in 0_u64..1000) {
            let mut rng = crate::rng(seed, "matrices");
            let mut draw = |n: usize| (0..n).map(|_| rng.random_range(-1.0..1.0_f32)).collect::<Vec<f32>>();
            let (weight, x) = (draw(rows * inner), draw(count * inner));
            let (mut naive, mut fast) = (vec![f32::NAN; count * rows], vec![f32::NAN; count * rows]);
            naive_columns(&weight, inner, &x, &mut naive);
            columns(&weight, inner, &x, &mut fast);
            for (naive, fast) in naive.iter().zip(&fast) {
                prop_assert!((naive - fast).abs() < 1e-4, "{} {}", naive, fast);
            }
        }
    }
}
