//! The language model with its attention open, and windows of the test text.

use lab_api::LabError;
use lab_kit::{
    Context,
    cache::Decoder,
    data::{Corpus, Part},
    mixing::Reading,
    models::{LanguageModel, StateDict},
    tokenizer::Tokenizer,
};
use rand::Rng;

/// What the lab works on.
pub(super) struct Source {
    model: LanguageModel,
    state: StateDict,
    /// Tokens of the test text.
    tokens: Vec<u32>,
}

impl Source {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let model = LanguageModel::full();
        let state = StateDict::from_safetensors(model.asset, &cx.asset(model.asset).await?)?;
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        cx.checkpoint().await?;
        let corpus = Corpus::read(Part::Test, &cx.asset(Part::Test.asset()).await?)?;
        let tokens = tokenizer.encode(&corpus.text);
        if tokens.len() <= 4096 {
            let why = format!("it has {} tokens, and 4,097 are needed", tokens.len());
            return Err(LabError::Asset { name: Part::Test.asset().into(), why });
        }
        Ok(Self { model, state, tokens })
    }

    pub(super) fn decoder(&self, cx: &Context) -> Result<Decoder, LabError> {
        Decoder::new(&self.model.config, &self.state, &cx.device)
    }

    /// So many windows, evenly spread over the first half of the test text; the seed moves them.
    pub(super) async fn read(
        &self,
        decoder: &Decoder,
        count: usize,
        length: usize,
        cx: &Context,
    ) -> Result<Reading, LabError> {
        let half = self.tokens.len() / 2;
        let each = half.saturating_sub(length + 1) / count.max(1);
        let shift = cx.rng("windows").random_range(0..each.max(1));
        let windows: Vec<&[u32]> = (0..count).map(|i| &self.tokens[i * each + shift..][..length + 1]).collect();
        Reading::new(decoder, &windows, &cx.device, cx).await
    }

    /// So many windows of the second half, to learn from.
    pub(super) async fn lesson(
        &self,
        decoder: &Decoder,
        count: usize,
        length: usize,
        cx: &Context,
    ) -> Result<Reading, LabError> {
        let half = self.tokens.len() / 2;
        let each = half.saturating_sub(length + 1) / count.max(1);
        let windows: Vec<&[u32]> = (0..count).map(|i| &self.tokens[half + i * each..][..length + 1]).collect();
        Reading::new(decoder, &windows, &cx.device, cx).await
    }
}
