//! What operations cost on paper: floating-point operations, and bytes that must move at least.
//!
//! Conventions, the same for all: a multiplication, an addition, a subtraction, a division, a comparison and an
//! exponential are one operation each, so a multiply-accumulate is two. Bytes are those of every operand read once and of
//! the result written once, as if caches were perfect: the least a kernel can move, not what a given one moves.

use std::ops::{Add, Mul};

/// Operations and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
}

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// All of them.
    Full,
    /// Its own and the earlier ones; the last query is aligned with the last key.
    Causal,
}

impl Work {
    /// `[rows, inner] x [inner, columns]`, elements of `width` bytes: `2 * rows * inner * columns` operations (the usual
    /// count, which begins every sum at zero).
    #[must_use]
    pub fn matmul(rows: u64, inner: u64, columns: u64, width: u64) -> Self {
        Self { flops: 2 * rows * inner * columns, bytes: width * (rows * inner + inner * columns + rows * columns) }
    }

    /// A fully connected layer on `rows` inputs: [`Work::matmul`], and one addition for each output where it has a bias.
    #[must_use]
    pub fn linear(rows: u64, inputs: u64, outputs: u64, bias: bool, width: u64) -> Self {
        let biases = u64::from(bias) * outputs;
        Self::matmul(rows, inputs, outputs, width) + Self { flops: rows * biases, bytes: width * biases }
    }

    /// `operations` on each of `elements` results, each made from one element of `operands` tensors: 1 and 2 for a sum,
    /// 1 and 1 for ReLU.
    #[must_use]
    pub fn elementwise(elements: u64, operands: u64, operations: u64, width: u64) -> Self {
        Self { flops: operations * elements, bytes: width * (operands + 1) * elements }
    }

    /// Softmax over each of `rows` rows of `columns`, in its stable form: a row takes `n - 1` comparisons for its maximum,
    /// `n` subtractions, `n` exponentials, `n - 1` additions and `n` divisions, `5n - 2` in all.
    #[must_use]
    pub fn softmax(rows: u64, columns: u64, width: u64) -> Self {
        Self { flops: rows * (5 * columns).saturating_sub(2), bytes: width * 2 * rows * columns }
    }

    /// A convolution over `batch` images: `input` and `output` are `[channels, height, width]`, the kernel is
    /// `[height, width]`, `groups` divides both channel counts. Multiplications with padding are counted, since plain
    /// kernels do them.
    #[must_use]
    pub fn conv2d(
        batch: u64,
        input: [u64; 3],
        output: [u64; 3],
        kernel: [u64; 2],
        groups: u64,
        bias: bool,
        width: u64,
    ) -> Self {
        let size = |shape: [u64; 3]| shape.iter().product::<u64>();
        let taps = input[0] / groups.max(1) * kernel[0] * kernel[1];
        let biases = u64::from(bias) * output[0];
        Self {
            flops: batch * size(output) * (2 * taps + u64::from(bias)),
            bytes: width * (batch * (size(input) + size(output)) + output[0] * taps + biases),
        }
    }

    /// Scaled dot-product attention (Vaswani et al., 2017, arXiv:1706.03762) whose scores pass through memory: written by
    /// the product of queries and keys, read and written by the scaling and again by the softmax, read by the product
    /// with the values. `heads` query heads share `key_value_heads` (Ainslie et al., 2023, arXiv:2305.13245); under a
    /// causal mask only the pairs that are seen count.
    #[must_use]
    pub fn attention(
        batch: u64,
        [heads, key_value_heads]: [u64; 2],
        [queries, keys]: [u64; 2],
        head_size: u64,
        mask: Mask,
        width: u64,
    ) -> Self {
        let fused = Self::attention_fused(batch, [heads, key_value_heads], [queries, keys], head_size, mask, width);
        let scores = batch * heads * seen(queries, keys, mask).0;
        fused + Self { flops: 0, bytes: width * 6 * scores }
    }

    /// The same operations where no score leaves the chip (Dao et al., 2022, arXiv:2205.14135): only queries, keys, values
    /// and the result move.
    #[must_use]
    pub fn attention_fused(
        batch: u64,
        [heads, key_value_heads]: [u64; 2],
        [queries, keys]: [u64; 2],
        head_size: u64,
        mask: Mask,
        width: u64,
    ) -> Self {
        let (pairs, rows) = seen(queries, keys, mask);
        // A pair takes two products of 2 * head_size and one operation to scale; the softmax of a row of n takes 5n - 2.
        let flops = pairs * (4 * head_size + 1) + (5 * pairs).saturating_sub(2 * rows);
        let moved = 2 * heads * queries + 2 * key_value_heads * keys;
        Self { flops: batch * heads * flops, bytes: width * batch * head_size * moved }
    }

    /// Operations per byte.
    #[must_use]
    pub fn intensity(self) -> f64 {
        self.flops as f64 / (self.bytes as f64).max(f64::MIN_POSITIVE)
    }

    /// 10⁹ operations per second when it takes this long.
    #[must_use]
    pub fn gflops(self, seconds: f64) -> f64 {
        self.flops as f64 / seconds.max(f64::MIN_POSITIVE) * 1e-9
    }

    /// 10⁹ bytes per second when it takes this long.
    #[must_use]
    pub fn gb_per_s(self, seconds: f64) -> f64 {
        self.bytes as f64 / seconds.max(f64::MIN_POSITIVE) * 1e-9
    }
}

/// Pairs of query and key that are seen, and queries that see any.
fn seen(queries: u64, keys: u64, mask: Mask) -> (u64, u64) {
    match mask {
        Mask::Full => (queries * keys, if keys == 0 { 0 } else { queries }),
        Mask::Causal => {
            // The last query sees all keys, each earlier one a key less.
            let rows = queries.min(keys);
            (rows * keys - rows * rows.saturating_sub(1) / 2, rows)
        }
    }
}

impl Add for Work {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { flops: self.flops + other.flops, bytes: self.bytes + other.bytes }
    }
}

impl Mul<u64> for Work {
    type Output = Self;
    fn mul(self, times: u64) -> Self {
        Self { flops: self.flops * times, bytes: self.bytes * times }
    }
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_by_hand() {
        // 2x3 by 3x4: 8 sums of 3 products; 6 + 12 + 8 numbers of 4 bytes.
        assert_eq!(Work::matmul(2, 3, 4, 4), Work { flops: 48, bytes: 104 });
        // The digit classifier on one image: 64x128 + 128x128 + 128x10 weights, 266 biases.
        let layers = [(64, 128), (128, 128), (128, 10)];
        let digits: Work = layers.iter().map(|(i, o)| Work::linear(1, *i, *o, true, 4)).sum();
        assert_eq!(digits.flops, 2 * 25_856 + 266);
        assert_eq!(digits.bytes, 4 * (25_856 + 266 + (64 + 128) + (128 + 128) + (128 + 10)));
        // Rows of 3: 2 comparisons, 3 subtractions, 3 exponentials, 2 additions, 3 divisions.
        assert_eq!(Work::softmax(2, 3, 2), Work { flops: 26, bytes: 24 });
        assert_eq!(Work::elementwise(10, 2, 1, 4), Work { flops: 10, bytes: 120 });
        // One 3x3 kernel over one 4x4 image without padding: 4 results of 9 products, a bias each.
        let conv = Work::conv2d(1, [1, 4, 4], [1, 2, 2], [3, 3], 1, true, 4);
        assert_eq!(conv, Work { flops: 4 * 19, bytes: 4 * (16 + 4 + 9 + 1) });
        // Depthwise: each of 8 channels has a kernel of its own.
        let depthwise = Work::conv2d(2, [8, 5, 5], [8, 5, 5], [3, 3], 8, false, 4);
        assert_eq!(depthwise, Work { flops: 2 * 8 * 25 * 18, bytes: 4 * (2 * 400 + 72) });
        // Two tokens, one head of size 1, causal: 1 + 2 pairs, each 2 + 2 + 1; softmax of rows of 1 and 2: 3 + 8.
        let causal = Work::attention_fused(1, [1, 1], [2, 2], 1, Mask::Causal, 4);
        assert_eq!(causal, Work { flops: 3 * 5 + 11, bytes: 4 * 8 });
        // One token after 9 others, 4 heads on 2 of size 16: 10 pairs a head.
        let decode = Work::attention(1, [4, 2], [1, 10], 16, Mask::Causal, 2);
        assert_eq!(decode.flops, 4 * (10 * 65 + 48));
        assert_eq!(decode.bytes, 2 * (64 + 2 * 320 + 64) + 2 * 6 * 40);
        assert_eq!((Work::matmul(2, 3, 4, 4) * 3).flops, 144);
    }

    #[test]
    fn rates_and_intensity() {
        let work = Work { flops: 3_000_000_000, bytes: 1_500_000_000 };
        assert!((work.intensity() - 2.0).abs() < 1e-12);
        assert!((work.gflops(0.5) - 6.0).abs() < 1e-12 && (work.gb_per_s(0.5) - 3.0).abs() < 1e-12);
    }

    /// Counts what a plain loop does. `sum` of `n` products is `n` multiplications and `n` additions to zero.
    struct Counter(u64);
    impl Counter {
        fn dot(&mut self, n: u64) {
            (0..n).for_each(|_| self.0 += 2);
        }
    }

    proptest! {
        #[test]
        fn formulas_count_what_plain_loops_do(
            (batch, groups, per_group_in, per_group_out) in (1_u64..3, 1_u64..3, 1_u64..3, 1_u64..3),
            (height, width, kernel_height, kernel_width) in (1_u64..6, 1_u64..6, 1_u64..4, 1_u64..4),
            bias: bool,
        ) {
            let mut counter = Counter(0);
            for _ in 0..batch * groups * per_group_out * height * width {
                for _ in 0..per_group_in * kernel_height * kernel_width {
                    counter.dot(1);
                }
                counter.0 += u64::from(bias);
            }
            let (inputs, outputs) = (groups * per_group_in, groups * per_group_out);
            let kernel = [kernel_height, kernel_width];
            let work = Work::conv2d(batch, [inputs, height, width], [outputs, height, width], kernel, groups, bias, 4);
            prop_assert_eq!(work.flops, counter.0);
            // A 1x1 convolution of one group is a fully connected layer on every pixel.
            let dense = Work::conv2d(batch, [inputs, height, width], [outputs, height, width], [1, 1], 1, bias, 4);
            prop_assert_eq!(dense, Work::linear(batch * height * width, inputs, outputs, bias, 4));
        }

        #[test]
        fn attention_counts_the_pairs_that_are_seen(
            batch in 1_u64..3, shared in 1_u64..3, repeat in 1_u64..4, queries in 1_u64..6, before in 0_u64..5, size in 1_u64..5,
            causal: bool,
        ) {
            let (heads, keys) = (shared * repeat, queries + before);
            let mut counter = Counter(0);
            let mut scores = 0;
            for query in 0..batch * heads * queries {
                let sees = if causal { before + query % queries + 1 } else { keys };
                scores += sees;
                for _ in 0..sees {
                    counter.dot(size); // score
                    counter.0 += 1; // scaled
                }
                counter.0 += (sees - 1) + sees + sees + (sees - 1) + sees; // softmax
                (0..size).for_each(|_| counter.dot(sees)); // weighted sum of the values
            }
            let mask = if causal { Mask::Causal } else { Mask::Full };
            let fused = Work::attention_fused(batch, [heads, shared], [queries, keys], size, mask, 2);
            let plain = Work::attention(batch, [heads, shared], [queries, keys], size, mask, 2);
            prop_assert_eq!((fused.flops, plain.flops), (counter.0, counter.0));
            prop_assert_eq!(plain.bytes - fused.bytes, 2 * 6 * scores);
            prop_assert_eq!(fused.bytes, 2 * batch * size * (2 * heads * queries + 2 * shared * keys));
        }
    }
}
