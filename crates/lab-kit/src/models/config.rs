//! The shape of a decoder-only transformer, and its first weights.

use lab_api::LabError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::StateDict;

/// Sizes of a transformer in the layout of Llama (Touvron et al., arXiv:2302.13971); names as in Hugging Face's
/// `LlamaConfig`, the letters as in the comments on shapes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransformerConfig {
    /// V: how many tokens there are.
    pub vocabulary: usize,
    /// C: channels of the residual stream.
    pub channels: usize,
    /// L: layers.
    pub layers: usize,
    /// H: query heads, each of `channels / heads` (D) channels.
    pub heads: usize,
    /// K: heads of keys and values. As many as `heads`: multi-head attention. 1: multi-query (arXiv:1911.02150).
    /// Between: grouped-query (arXiv:2305.13245).
    pub key_value_heads: usize,
    /// F: width of the feed-forward network.
    pub feed_forward: usize,
    /// T: the longest sequence.
    pub context: usize,
    /// Base of the rotary frequencies (arXiv:2104.09864).
    pub rope_base: f64,
    /// Added to the mean square before its root.
    pub norm_epsilon: f64,
    /// Whether the output layer is the embedding, transposed.
    pub tied: bool,
}

impl TransformerConfig {
    /// D: channels of a head.
    #[must_use]
    pub fn head_channels(&self) -> usize {
        self.channels / self.heads.max(1)
    }

    /// Refuses sizes that make no transformer.
    ///
    /// # Errors
    /// [`LabError::Refused`] with the sizes that contradict each other and the nearest that would do.
    pub fn check(&self) -> Result<(), LabError> {
        let refuse = |why: String| Err(LabError::Refused { why });
        for (size, name) in [
            (self.vocabulary, "vocabulary"),
            (self.channels, "channels"),
            (self.layers, "layers"),
            (self.heads, "heads"),
            (self.key_value_heads, "key_value_heads"),
            (self.feed_forward, "feed_forward"),
            (self.context, "context"),
        ] {
            if size == 0 {
                return refuse(format!("a transformer needs {name} of 1 or more"));
            }
        }
        if !self.channels.is_multiple_of(2 * self.heads) {
            let near = (self.channels.div_ceil(2 * self.heads)) * 2 * self.heads;
            return refuse(format!(
                "{} channels cannot be dealt to {} heads of equal, even width; {near} channels can",
                self.channels, self.heads
            ));
        }
        if !self.heads.is_multiple_of(self.key_value_heads) {
            let near = (1..=self.heads)
                .filter(|heads| self.heads.is_multiple_of(*heads))
                .min_by_key(|heads| heads.abs_diff(self.key_value_heads))
                .unwrap_or(1);
            return refuse(format!(
                "{} query heads cannot share {} heads of keys and values evenly; {near} can",
                self.heads, self.key_value_heads
            ));
        }
        if !(self.rope_base > 1.0 && self.norm_epsilon > 0.0) {
            return refuse("rope_base must be above 1 and norm_epsilon above 0".into());
        }
        Ok(())
    }

    /// Names and shapes of all weights, as in a file of Hugging Face: `[outputs, inputs]`.
    #[must_use]
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (v, c, f) = (self.vocabulary, self.channels, self.feed_forward);
        let kv = self.key_value_heads * self.head_channels();
        let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![v, c])];
        for layer in 0..self.layers {
            let mut add = |name: &str, shape: &[usize]| {
                shapes.push((format!("model.layers.{layer}.{name}.weight"), shape.to_vec()));
            };
            add("input_layernorm", &[c]);
            add("self_attn.q_proj", &[c, c]);
            add("self_attn.k_proj", &[kv, c]);
            add("self_attn.v_proj", &[kv, c]);
            add("self_attn.o_proj", &[c, c]);
            add("post_attention_layernorm", &[c]);
            add("mlp.gate_proj", &[f, c]);
            add("mlp.up_proj", &[f, c]);
            add("mlp.down_proj", &[c, f]);
        }
        shapes.push(("model.norm.weight".to_owned(), vec![c]));
        if !self.tied {
            shapes.push(("lm_head.weight".to_owned(), vec![v, c]));
        }
        shapes
    }

    /// Fresh weights, drawn on the CPU so that every device starts from the same model. Matrices are uniform with standard
    /// deviation `1 / sqrt(inputs)`; those that write into the residual stream are divided by `sqrt(2 L)`, so that its
    /// size does not grow with depth (GPT-2, Radford et al., 2019). Norms are 1. An embedding of its own has standard
    /// deviation 1; an untied output layer starts near zero, so that the first loss is `ln(V)`.
    #[must_use]
    pub fn init(&self, rng: &mut ChaCha8Rng) -> StateDict {
        let mut state = StateDict::default();
        for (name, shape) in self.shapes() {
            let count = shape.iter().product();
            let inputs = shape.last().copied().unwrap_or(1) as f32;
            let deviation = if name.contains("embed_tokens") {
                if self.tied { inputs.sqrt().recip() } else { 1.0 }
            } else if name.contains("lm_head") {
                0.02
            } else if name.contains("o_proj") || name.contains("down_proj") {
                (inputs * 2.0 * self.layers as f32).sqrt().recip()
            } else {
                inputs.sqrt().recip()
            };
            let values = if shape.len() == 1 {
                vec![1.0; count]
            } else {
                // A uniform distribution over ±a has the standard deviation a / sqrt(3).
                let bound = deviation * 3_f32.sqrt();
                (0..count).map(|_| rng.random_range(-bound..bound)).collect()
            };
            // The shape is the product's own, so that this cannot fail.
            let _ = state.insert(&name, &shape, values);
        }
        state
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The tiny model of the fixture.
    pub(crate) fn tiny() -> TransformerConfig {
        TransformerConfig {
            vocabulary: 17,
            channels: 16,
            layers: 2,
            heads: 4,
            key_value_heads: 2,
            feed_forward: 24,
            context: 16,
            rope_base: 10_000.0,
            norm_epsilon: 1e-5,
            tied: false,
        }
    }

    #[test]
    fn sizes_that_contradict_each_other_are_refused_with_a_remedy() {
        assert_eq!(tiny().check(), Ok(()));
        let why = |config: TransformerConfig| config.check().expect_err("refused").to_string();
        assert!(why(TransformerConfig { channels: 18, ..tiny() }).contains("24 channels can"));
        assert!(why(TransformerConfig { heads: 8, channels: 16, key_value_heads: 3, ..tiny() }).contains("; 2 can"));
        assert!(why(TransformerConfig { layers: 0, ..tiny() }).contains("layers of 1 or more"));
        assert!(why(TransformerConfig { norm_epsilon: f64::NAN, ..tiny() }).contains("norm_epsilon"));
    }

    #[test]
    fn first_weights_repeat_and_have_the_sizes_named() {
        let draw = |seed| tiny().init(&mut crate::rng(seed, "weights"));
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        let state = draw(3);
        let weights = &state.get("model.layers.1.mlp.down_proj.weight").expect("there").values;
        let square = weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
        // 384 draws: their mean square is within 15 % of 1 / (24 · 2 · 2).
        assert!((square * 96.0 - 1.0).abs() < 0.15, "{square}");
    }
}
