//! The language model, its weights as plain numbers, and the text that judges.

use lab_api::LabError;
use lab_kit::{
    Context,
    cache::{Decoder, fewer_heads},
    data::{Corpus, Part},
    models::{LanguageModel, StateDict, Transformer, TransformerConfig},
    tokenizer::Tokenizer,
};

use super::Heads;

/// What the lab works on.
pub(super) struct Source {
    pub(super) config: TransformerConfig,
    pub(super) state: StateDict,
    pub(super) tokenizer: Tokenizer,
    /// All tokens of the test text.
    pub(super) tokens: Vec<u32>,
}

impl Source {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let LanguageModel { asset, config } = LanguageModel::full();
        let state = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        cx.checkpoint().await?;
        let corpus = Corpus::read(Part::Test, &cx.asset(Part::Test.asset()).await?)?;
        let tokens = tokenizer.encode(&corpus.text);
        if tokens.len() <= 2048 {
            let why = format!("it has {} tokens, and a text takes up to 1,025", tokens.len());
            return Err(LabError::Asset { name: Part::Test.asset().into(), why });
        }
        Ok(Self { config, state, tokenizer, tokens })
    }

    /// The model as everybody runs it.
    pub(super) fn model(&self, cx: &Context) -> Result<Transformer, LabError> {
        Transformer::new(&self.config, &self.state, "the language model", &cx.device)
    }

    /// The model with its attention open, and so many heads of keys and values.
    pub(super) fn decoder(&self, heads: Heads, cx: &Context) -> Result<Decoder, LabError> {
        if heads == Heads::Two {
            return Decoder::new(&self.config, &self.state, &cx.device);
        }
        let (config, state) = fewer_heads(&self.config, &self.state, 1, heads == Heads::Mean)?;
        Decoder::new(&config, &state, &cx.device)
    }

    /// So many stretches of `length` predictions, evenly spread over the test text.
    pub(super) fn texts(&self, count: usize, length: usize) -> Vec<&[u32]> {
        let room = self.tokens.len().saturating_sub(length + 1);
        (0..count).map(|i| &self.tokens[i * room / count.max(1)..][..length + 1]).collect()
    }
}
