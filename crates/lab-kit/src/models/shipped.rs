//! The models that the book ships.

use super::{CnnConfig, TransformerConfig};

/// A language model of the book: where its weights are, and its sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct LanguageModel {
    /// Name in the asset manifest.
    pub asset: &'static str,
    /// Its sizes.
    pub config: TransformerConfig,
}

impl LanguageModel {
    /// The language model: about 2.1 million parameters, 1,024 tokens, 256 tokens of context, six query heads on two heads
    /// of keys and values.
    #[must_use]
    pub fn full() -> Self {
        Self { asset: "language/lm.safetensors", config: config(192, 4, (6, 2), 576, false) }
    }

    /// The draft: about 0.15 million parameters on the same tokens and the same context, output layer and embedding one.
    #[must_use]
    pub fn draft() -> Self {
        Self { asset: "language/draft.safetensors", config: config(64, 2, (4, 2), 160, true) }
    }
}

fn config(
    channels: usize,
    layers: usize,
    (heads, key_value_heads): (usize, usize),
    feed_forward: usize,
    tied: bool,
) -> TransformerConfig {
    TransformerConfig {
        vocabulary: 1024,
        channels,
        layers,
        heads,
        key_value_heads,
        feed_forward,
        context: 256,
        rope_base: 10_000.0,
        norm_epsilon: 1e-5,
        tied,
    }
}

/// A classifier of glyphs of the book: where its weights are, and its sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlyphClassifier {
    /// Name in the asset manifest.
    pub asset: &'static str,
    /// Its sizes.
    pub config: CnnConfig,
}

impl GlyphClassifier {
    /// The teacher: three blocks of 32, 64 and 128 channels.
    #[must_use]
    pub fn teacher() -> Self {
        Self { asset: "glyphs/teacher.safetensors", config: glyphs(&[32, 64, 128]) }
    }

    /// The small network: two blocks of 8 and 16 channels.
    #[must_use]
    pub fn small() -> Self {
        Self { asset: "glyphs/small.safetensors", config: glyphs(&[8, 16]) }
    }
}

fn glyphs(channels: &[usize]) -> CnnConfig {
    CnnConfig { side: 16, channels: channels.to_vec(), classes: 47 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Precision;

    #[test]
    fn the_shipped_models_have_the_sizes_that_the_book_names() {
        let (full, draft) = (LanguageModel::full().config, LanguageModel::draft().config);
        assert_eq!((full.check(), draft.check()), (Ok(()), Ok(())));
        assert!((2_000_000..2_500_000).contains(&full.parameters()), "{}", full.parameters());
        assert!((100_000..200_000).contains(&draft.parameters()), "{}", draft.parameters());
        assert_eq!((full.vocabulary, full.context), (draft.vocabulary, draft.context));
        let (teacher, small) = (GlyphClassifier::teacher().config, GlyphClassifier::small().config);
        assert_eq!((teacher.check(), small.check()), (Ok(()), Ok(())));
        // 8 MB are the limit of all weights, of which the digit classifiers take half.
        let halves = full.parameters() + draft.parameters() + teacher.parameters() + small.parameters();
        assert!(halves * Precision::Fp16.bytes() < 7_000_000);
    }
}
