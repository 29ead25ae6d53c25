//! The language model in FP32, and the text that judges it.

use lab_api::LabError;
#[cfg(feature = "schema")]
use lab_kit::models::Weight;
use lab_kit::{
    Context,
    data::{Corpus, Part},
    models::{LanguageModel, Site, StateDict, Transformer, TransformerConfig},
    rng,
    tokenizer::Tokenizer,
};
use rand::seq::SliceRandom;

/// Tokens of a window: the model's whole context.
pub(super) const WINDOW: usize = 256;
/// Channels of each normalized input that are made loud: one in a hundred of 192.
const PLANTED: usize = 2;
/// By how much. A power of two, so that the model computes the same to the last bit.
const LOUDER: f32 = 64.0;

/// Weights, tokenizer and held-out text.
pub(super) struct Source {
    which: LanguageModel,
    pub(super) weights: StateDict,
    pub(super) tokenizer: Tokenizer,
    /// All tokens of the test text.
    tokens: Vec<u32>,
}

impl Source {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let which = LanguageModel::full();
        let weights = StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?)?;
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        let corpus = Corpus::read(Part::Test, &cx.asset(Part::Test.asset()).await?)?;
        cx.checkpoint().await?;
        let tokens = tokenizer.encode(&corpus.text);
        if tokens.len() <= WINDOW {
            let why = format!("it has {} tokens, and a window takes {}", tokens.len(), WINDOW + 1);
            return Err(LabError::Asset { name: Part::Test.asset().into(), why });
        }
        Ok(Self { which, weights, tokenizer, tokens })
    }

    /// Makes two channels of every normalized input 64 times as large and what reads them 64 times as small: another model
    /// that computes the same. As in large models, the channels are the same in all layers.
    pub(super) fn plant_outliers(&mut self) -> Result<(), LabError> {
        let mut factors = vec![1.0; self.which.config.channels];
        factors[..PLANTED].fill(LOUDER.recip());
        factors.shuffle(&mut rng(0, "planted outliers"));
        let mut sites = Site::all(&self.which.config).into_iter().filter(Site::is_normed);
        sites.try_for_each(|site| site.rescale(&mut self.weights, &factors))
    }

    /// So many stretches of 257 tokens, evenly spread over the text: 256 predictions each.
    pub(super) fn windows(&self, count: usize) -> Vec<&[u32]> {
        windows(&self.tokens, count)
    }

    pub(super) fn config(&self) -> &TransformerConfig {
        &self.which.config
    }

    /// The file that the weights come from.
    pub(super) fn name(&self) -> &str {
        self.which.asset
    }

    /// Numbers of a tensor.
    pub(super) fn values(&self, name: &str) -> &[f32] {
        self.weights.get(name).map_or(&[], |weight| &weight.values)
    }

    /// The model as it is, computed in FP32.
    pub(super) fn fp32(&self, cx: &Context) -> Result<Transformer, LabError> {
        self.with_weights(&self.weights, cx)
    }

    /// The same with other weights.
    fn with_weights(&self, weights: &StateDict, cx: &Context) -> Result<Transformer, LabError> {
        Transformer::new(&self.which.config, weights, self.which.asset, &cx.device)
    }

    /// The same with every matrix changed by `change`, which gets its name and its weights.
    #[cfg(feature = "schema")]
    pub(super) fn changed(
        &self,
        change: impl Fn(&str, &Weight) -> Vec<f32>,
        cx: &Context,
    ) -> Result<Transformer, LabError> {
        let mut weights = self.weights.clone();
        for (name, weight) in self.weights.iter().filter(|(_, weight)| weight.shape.len() == 2) {
            if let Some(to) = weights.get_mut(name) {
                to.values = change(name, weight);
            }
        }
        self.with_weights(&weights, cx)
    }

    /// Bytes of the model in FP32.
    pub(super) fn fp32_bytes(&self) -> usize {
        self.weights.parameters() * size_of::<f32>()
    }
}

pub(super) fn windows(tokens: &[u32], count: usize) -> Vec<&[u32]> {
    let room = tokens.len().saturating_sub(WINDOW + 1);
    (0..count).map(|i| &tokens[i * room / count.max(1)..][..WINDOW + 1]).collect()
}
