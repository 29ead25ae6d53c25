//! What a transformer costs, counted from its sizes alone: parameters, floating-point operations, bytes.
//!
//! A multiplication and an addition count as two. Counted are the matrix products, which the model computes in full: of
//! masked scores too. Norms, rotary positions, softmax and activations are left out.

use crate::{models::TransformerConfig, weights::Precision};

impl TransformerConfig {
    /// Numbers in it.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.shapes().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Weights that every token is multiplied with: the matrices but for the embedding, which is looked up; the output
    /// layer counts, tied or not.
    #[must_use]
    pub fn multiplied_weights(&self) -> usize {
        let (c, kv) = (self.channels, self.key_value_heads * self.head_channels());
        self.layers * (2 * c * c + 2 * c * kv + 3 * c * self.feed_forward) + self.vocabulary * c
    }

    /// Operations of `queries` new tokens, each of which attends over `keys` tokens: `flops(1, n)` for one step with
    /// a cache that then holds `n`; `flops(t, t)` for a prompt of `t`.
    #[must_use]
    pub fn flops(&self, queries: usize, keys: usize) -> u64 {
        let attention = 4 * self.layers * self.channels * queries * keys; // scores, and the sum of values
        (2 * self.multiplied_weights() * queries + attention) as u64
    }

    /// Operations of generating token `n` without a cache: everything anew.
    #[must_use]
    pub fn flops_without_cache(&self, n: usize) -> u64 {
        self.flops(n, n)
    }

    /// Operations of a training step on `sequences` of `t` tokens: forward once, backward twice (for activations, for
    /// weights).
    #[must_use]
    pub fn training_flops(&self, sequences: usize, t: usize) -> u64 {
        3 * sequences as u64 * self.flops(t, t)
    }

    /// Bytes of all weights.
    #[must_use]
    pub fn weight_bytes(&self, precision: Precision) -> usize {
        self.parameters() * precision.bytes()
    }

    /// Bytes that one token occupies in the cache.
    #[must_use]
    pub fn cache_bytes_per_token(&self, precision: Precision) -> usize {
        2 * self.layers * self.key_value_heads * self.head_channels() * precision.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::TransformerConfig;

    fn small() -> TransformerConfig {
        TransformerConfig {
            vocabulary: 10,
            channels: 4,
            layers: 1,
            heads: 2,
            key_value_heads: 1,
            feed_forward: 6,
            context: 8,
            rope_base: 10_000.0,
            norm_epsilon: 1e-5,
            tied: false,
        }
    }

    #[test]
    fn counts_agree_with_a_count_by_hand() {
        // Embedding 40, norms 3·4, q 16, k 8, v 8, o 16, feed-forward 3·24, output 40.
        assert_eq!(small().parameters(), 40 + 12 + 48 + 72 + 40);
        assert_eq!(small().multiplied_weights(), 48 + 72 + 40);
        // One token over three: 2 heads · 3 keys · 2 channels, for scores and for values, two operations each.
        assert_eq!(small().flops(1, 3), 2 * 160 + 2 * (12 + 12));
        assert_eq!(small().flops(3, 3), 3 * small().flops(1, 3));
        assert_eq!(small().training_flops(2, 3), 6 * small().flops(3, 3));
        // A key and a value of 2 channels.
        assert_eq!(small().cache_bytes_per_token(Precision::Fp16), 8);
        assert_eq!(small().weight_bytes(Precision::Fp32), 4 * 212);
        assert_eq!(small().init(&mut crate::rng(0, "weights")).parameters(), small().parameters());
        let tied = TransformerConfig { tied: true, ..small() };
        assert_eq!(tied.parameters(), 212 - 40);
        assert_eq!(tied.flops(1, 3), small().flops(1, 3));
    }
}
