//! What each part of a pass costs on paper.

use super::Part;
use crate::{measure::Work, models::TransformerConfig};

/// Bytes of a number.
const WIDTH: u64 = 4;

// ANCHOR: work
/// Operations and bytes of one call of a part, when `queries` new tokens attend over `keys` and the output layer sees `rows`.
/// Parts that are made of others have none of their own.
///
/// Not counted: indices, addresses, the making of tensors. A norm of n numbers takes n squares, n - 1 sums, a mean, an epsilon
/// and a root, n divisions, n products: `4n + 2`. SiLU, `x / (1 + exp(-x))`, takes four. Rotary positions take two products
/// and a sum a number, and a product with the matrix that swaps halves.
#[must_use]
pub fn work(part: Part, config: &TransformerConfig, [queries, keys, rows]: [usize; 3]) -> Work {
    let u = |n: usize| n as u64;
    let (t, s, c, f) = (u(queries), u(keys), u(config.channels), u(config.feed_forward));
    let (h, k, d) = (u(config.heads), u(config.key_value_heads), u(config.head_channels()));
    let moved = |numbers: u64| Work { flops: 0, bytes: WIDTH * 2 * numbers };
    let turned = |heads: u64| {
        Work::matmul(t * heads, d, d, WIDTH)
            + Work { flops: 3 * t * heads * d, bytes: WIDTH * (3 * t * heads * d + 2 * t * d) }
    };
    match part {
        Part::Query | Part::Output => Work::matmul(t, c, c, WIDTH),
        Part::Key | Part::Value => Work::matmul(t, c, k * d, WIDTH),
        Part::Gate | Part::Up => Work::matmul(t, c, f, WIDTH),
        Part::Down => Work::matmul(t, f, c, WIDTH),
        Part::Head => Work::matmul(u(rows), c, u(config.vocabulary), WIDTH),
        // The queries that share a head of keys are one tall matrix; they are scaled first.
        Part::Scores => Work::matmul(h / k * t, d, s, WIDTH) * k + Work::elementwise(h * t * d, 1, 1, WIDTH),
        Part::Mix => Work::matmul(h / k * t, s, d, WIDTH) * k,
        Part::Softmax => Work::softmax(h * t, s, WIDTH),
        Part::Masking if queries > 1 => Work::elementwise(h * t * s, 2, 1, WIDTH),
        Part::Mask if queries > 1 => Work { flops: 0, bytes: WIDTH * t * s },
        Part::TurnQuery => turned(h),
        Part::TurnKey => turned(k),
        Part::Norm | Part::LastNorm => Work { flops: t * (4 * c + 2), bytes: WIDTH * (2 * t * c + c) },
        Part::Silu => Work::elementwise(t * f, 1, 4, WIDTH),
        Part::Product => Work::elementwise(t * f, 2, 1, WIDTH),
        Part::Residual => Work::elementwise(t * c, 2, 1, WIDTH),
        Part::Embed | Part::Join => moved(t * c),
        Part::Keep => moved(2 * t * k * d),
        _ => Work::default(),
    }
}
// ANCHOR_END: work

/// Of those operations the ones of matrix products with weights, of queries with keys and of weights with values: what
/// counters of libraries count. Rotary positions are none: other models turn without a product.
#[must_use]
pub fn products(part: Part, config: &TransformerConfig, sizes: [usize; 3]) -> u64 {
    let [queries, ..] = sizes;
    match part {
        Part::Scores => work(part, config, sizes).flops - (queries * config.channels) as u64,
        Part::Query
        | Part::Key
        | Part::Value
        | Part::Output
        | Part::Mix
        | Part::Gate
        | Part::Up
        | Part::Down
        | Part::Head => work(part, config, sizes).flops,
        _ => 0,
    }
}

/// Bytes of what every operation of a pass over `tokens` puts out, if all of it were kept, as a training keeps it.
#[must_use]
pub fn activation_bytes(config: &TransformerConfig, tokens: usize) -> u64 {
    let (t, c, f) = (tokens as u64, config.channels as u64, config.feed_forward as u64);
    let (kd, pairs) = ((config.key_value_heads * config.head_channels()) as u64, config.heads as u64 * t * t);
    // Norms 2, q, turned q, heads side by side, mixed values, o, down, sums 2; k, turned k, v; scores, masked, weights.
    let layer = 10 * t * c + 3 * t * kd + 4 * t * f + 3 * pairs;
    let around = 2 * t * c + t * config.vocabulary as u64;
    WIDTH * (config.layers as u64 * layer + around)
}

// ANCHOR: hollow
/// A model with as many layers, heads and operations, and next to no numbers in them: what it takes is what starting the
/// operations takes.
#[must_use]
pub fn hollow(config: &TransformerConfig) -> TransformerConfig {
    TransformerConfig { vocabulary: 16, channels: 2 * config.heads, feed_forward: 2, ..config.clone() }
}
// ANCHOR_END: hollow

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{
        models::{KvCache, LanguageModel, Transformer, config_tests::tiny},
        profile::CountProbe,
    };

    /// Operations of a pass: those of each call that really happened.
    fn counted(config: &TransformerConfig, start: usize, t: usize, last: bool) -> (u64, u64, CountProbe) {
        let device = Device::flex();
        let model = Transformer::new(config, &config.init(&mut crate::rng(0, "w")), "a test", &device).expect("fits");
        let tokens = |n: usize| model.tokens(&[&vec![1; n]], &device).expect("valid");
        let mut cache = KvCache::new(config, 1, start + t, &device).expect("fits");
        if start > 0 {
            model.extend(tokens(start), &mut cache).expect("fits");
        }
        let mut probe = CountProbe::default();
        model.probed(tokens(t), Some(&mut cache), last, &mut probe).expect("fits");
        let sizes = [t, start + t, if last { 1 } else { t }];
        let sum = |of: &dyn Fn(Part) -> u64| probe.order.iter().map(|part| of(*part)).sum();
        (sum(&|part| products(part, config, sizes)), sum(&|part| work(part, config, sizes).flops), probe)
    }

    #[test]
    fn products_of_a_pass_are_those_of_the_closed_form() {
        for (heads, key_value_heads, channels, vocabulary) in
            [(4, 2, 16, 17), (3, 1, 18, 10), (1, 1, 6, 5), (6, 6, 24, 33)]
        {
            let config = TransformerConfig { heads, key_value_heads, channels, vocabulary, context: 160, ..tiny() };
            for (start, t) in [(0, 1), (0, 7), (0, 129), (5, 1), (9, 3)] {
                let (products, all, _) = counted(&config, start, t, false);
                assert_eq!(products, config.flops(t, start + t), "{config:?} {start} {t}");
                assert!(all > products);
                // With the last row alone, the output layer has t - 1 rows less to do.
                let spared = 2 * (t - 1) * channels * vocabulary;
                assert_eq!(counted(&config, start, t, true).0 + spared as u64, products);
            }
        }
    }

    #[test]
    fn counts_of_the_shipped_model_are_those_of_the_chapter() {
        let config = LanguageModel::full().config;
        let (products, all, probe) = counted(&config, 0, 128, false);
        assert_eq!(products, 490_733_568 + 50_331_648);
        assert_eq!(config.multiplied_weights(), 1_916_928);
        let rotary: u64 =
            [Part::TurnQuery, Part::TurnKey].map(|part| 4 * work(part, &config, [128, 128, 128]).flops).iter().sum();
        // The product with the matrix that swaps halves, and three operations a number.
        assert_eq!(rotary, 4 * (8 * 128 * 32) * (2 * 32 + 3));
        let rest = all - products - rotary;
        assert!((0.005..0.02).contains(&(rest as f64 / all as f64)), "{rest} of {all}");
        assert_eq!((probe.calls(Part::Block), probe.calls(Part::Norm), probe.calls(Part::Softmax)), (4, 8, 4));
    }

    #[test]
    fn the_published_example_of_attention_without_a_mask() {
        // pytorch/pytorch#195460: q, k and v of (1, 12, 64, 64): 12,582,912 operations.
        let config = TransformerConfig { heads: 12, key_value_heads: 12, channels: 768, context: 64, ..tiny() };
        let attention: u64 = [Part::Scores, Part::Mix].map(|part| products(part, &config, [64, 64, 64])).iter().sum();
        assert_eq!(attention, 12_582_912);
    }

    #[test]
    fn formulas_count_what_plain_loops_do() {
        let config = TransformerConfig { heads: 3, key_value_heads: 1, channels: 18, feed_forward: 5, ..tiny() };
        let (t, s) = (7, 9);
        let mut norm = 0;
        for _ in 0..t {
            (0..18).for_each(|_| norm += 1); // squares
            (1..18).for_each(|_| norm += 1); // their sum
            norm += 3; // mean, epsilon, root
            (0..18).for_each(|_| norm += 2); // over the root, times the weight
        }
        assert_eq!(work(Part::Norm, &config, [t, s, t]).flops, norm);
        let (mut silu, mut rotary, mut masking) = (0, 0, 0);
        for _ in 0..t {
            (0..5).for_each(|_| silu += 4); // negate, exponential, one more, divide
            for _ in 0..3 {
                (0..6).for_each(|_| rotary += 2 * 6 + 3); // a row of the swap; two products and a sum
                (0..s).for_each(|_| masking += 1);
            }
        }
        assert_eq!(work(Part::Silu, &config, [t, s, t]).flops, silu);
        assert_eq!(work(Part::TurnQuery, &config, [t, s, t]).flops, rotary);
        assert_eq!(work(Part::Masking, &config, [t, s, t]).flops, masking);
        assert_eq!(work(Part::Masking, &config, [1, s, 1]).flops, 0, "one token sees everything");
    }
}
