//! The language model, its weights as plain numbers, and the texts.

use lab_api::LabError;
use lab_kit::{
    Context,
    data::{Corpus, Part},
    models::{LanguageModel, StateDict, Transformer, TransformerConfig},
    tokenizer::Tokenizer,
};
use rand::{Rng, seq::SliceRandom};

use super::Text;

/// Tokens of a window that judges: the model's whole context.
pub(super) const WINDOW: usize = 256;
/// Tokens of a window that calibrates.
pub(super) const CALIBRATION: usize = 128;

/// Weights and the sizes that fit them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    pub(super) config: TransformerConfig,
    pub(super) state: StateDict,
}

impl Weights {
    /// The model on the device.
    pub(super) fn model(&self, cx: &Context) -> Result<Transformer, LabError> {
        Transformer::new(&self.config, &self.state, "the pruned model", &cx.device)
    }

    /// Names of the matrices in the layers, which are what is pruned.
    pub(super) fn prunable(&self) -> impl Iterator<Item = String> {
        let matrices = self.config.shapes().into_iter().filter(|(_, shape)| shape.len() == 2);
        matrices.map(|(name, _)| name).filter(|name| name.contains(".layers."))
    }

    /// Their weights, and how many of those are not zero.
    pub(super) fn count(&self) -> (usize, usize) {
        let values = |name: String| self.state.get(&name).map_or(&[][..], |weight| &weight.values).iter();
        self.prunable().flat_map(values).fold((0, 0), |(all, kept), w| (all + 1, kept + usize::from(*w != 0.0)))
    }
}

/// What is pruned and what judges it.
pub(super) struct Source {
    pub(super) dense: Weights,
    pub(super) tokenizer: Tokenizer,
    /// All tokens of the test text.
    tokens: Vec<u32>,
}

impl Source {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let LanguageModel { asset, config } = LanguageModel::full();
        let state = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        cx.checkpoint().await?;
        let tokens = tokens(Part::Test, &tokenizer, cx).await?;
        Ok(Self { dense: Weights { config, state }, tokenizer, tokens })
    }

    /// So many stretches of 257 tokens, evenly spread over the test text: 256 predictions each.
    pub(super) fn windows(&self, count: usize) -> Vec<&[u32]> {
        windows(&self.tokens, count, WINDOW + 1)
    }

    /// So many stretches of 128 tokens to calibrate by. The test text has no part in them.
    pub(super) async fn calibration(&self, which: Text, count: usize, cx: &Context) -> Result<Vec<Vec<u32>>, LabError> {
        let text = tokens(Part::Validation, &self.tokenizer, cx).await?;
        let mut found: Vec<Vec<u32>> = windows(&text, count, CALIBRATION).into_iter().map(<[u32]>::to_vec).collect();
        let mut rng = cx.rng("calibration");
        match which {
            Text::Corpus => {}
            Text::ShuffledTokens => {
                let mut all: Vec<u32> = found.concat();
                all.shuffle(&mut rng);
                found = all.chunks(CALIBRATION).map(<[u32]>::to_vec).collect();
            }
            Text::RandomTokens => {
                let vocabulary = self.dense.config.vocabulary as u32;
                found.iter_mut().flatten().for_each(|token| *token = rng.random_range(0..vocabulary));
            }
        }
        Ok(found)
    }
}

async fn tokens(part: Part, tokenizer: &Tokenizer, cx: &Context) -> Result<Vec<u32>, LabError> {
    let corpus = Corpus::read(part, &cx.asset(part.asset()).await?)?;
    let tokens = tokenizer.encode(&corpus.text);
    if tokens.len() <= WINDOW {
        let why = format!("it has {} tokens, and a window takes {}", tokens.len(), WINDOW + 1);
        return Err(LabError::Asset { name: part.asset().into(), why });
    }
    Ok(tokens)
}

fn windows(tokens: &[u32], count: usize, length: usize) -> Vec<&[u32]> {
    let room = tokens.len().saturating_sub(length);
    (0..count).map(|i| &tokens[i * room / count.max(1)..][..length]).collect()
}
