//! The model, the text that teaches and the texts that judge: documentation as it is, and the same in its new habit.

use lab_api::LabError;
use lab_kit::{
    Context,
    adapters::Storage,
    burn::tensor::Device,
    data::{Corpus, Part},
    models::{LanguageModel, StateDict, Transformer, TransformerConfig},
    tokenizer::Tokenizer,
    training::Windows,
};

use super::{Domain, Model, Params};

/// Tokens that a window foretells, in training and in judging.
pub(super) const LENGTH: usize = 64;
/// Characters of the text that teaches, and of the place from which a window that judges is cut.
const TAUGHT: usize = 60_000;
const PLACE: usize = 600;
pub(super) const TOKENIZER: &str = "corpus/tokenizer.json";

/// What is trained, on what, and what judges it.
pub(super) struct Material {
    pub(super) config: TransformerConfig,
    /// Weights as shipped.
    pub(super) weights: StateDict,
    asset: &'static str,
    pub(super) tokenizer: Tokenizer,
    /// Tokens of the new habit that teach.
    text: Vec<u32>,
    /// Windows of the same places of unseen text, as they are and in the new habit.
    pub(super) old: Vec<Vec<u32>>,
    pub(super) new: Vec<Vec<u32>>,
    batch: usize,
}

// ANCHOR: habit
/// The same text in its new habit.
fn habit(domain: Domain, text: &str) -> String {
    match domain {
        Domain::Underscores => text.replace(' ', "_"),
        Domain::Upper => text.to_ascii_uppercase(),
    }
}
// ANCHOR_END: habit

/// A stretch of a text, which begins and ends between characters.
fn stretch(text: &str, from: usize, length: usize) -> &str {
    let boundary = |at: usize| (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[boundary(from.min(text.len()))..boundary((from + length).min(text.len()))]
}

impl Material {
    pub(super) async fn load(params: &Params, cx: &Context) -> Result<Self, LabError> {
        Self::load_with(params, params.windows(), cx).await
    }

    /// The same with so many windows for judging.
    pub(super) async fn load_with(params: &Params, windows: usize, cx: &Context) -> Result<Self, LabError> {
        let LanguageModel { asset, config } = match params.model {
            Model::Full => LanguageModel::full(),
            Model::Draft => LanguageModel::draft(),
        };
        let weights = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
        let tokenizer = Tokenizer::read(&cx.asset(TOKENIZER).await?)?;
        cx.checkpoint().await?;
        let taught = Corpus::read(Part::Validation, &cx.asset(Part::Validation.asset()).await?)?.text;
        let text = tokenizer.encode(&habit(params.domain, stretch(&taught, 0, TAUGHT)));
        cx.checkpoint().await?;
        let test = Corpus::read(Part::Test, &cx.asset(Part::Test.asset()).await?)?.text;
        let batch = params.batch as usize;
        let mut material = Self { config, weights, asset, tokenizer, text, old: Vec::new(), new: Vec::new(), batch };
        material.judged_by(&test, params.domain, windows)?;
        Ok(material)
    }

    /// Cuts so many windows for judging, evenly spread over a text.
    fn judged_by(&mut self, test: &str, domain: Domain, count: usize) -> Result<(), LabError> {
        let room = test.len().saturating_sub(PLACE);
        for number in 0..count {
            let place = stretch(test, number * room / count.max(1), PLACE);
            for (windows, text) in [(&mut self.old, place.to_owned()), (&mut self.new, habit(domain, place))] {
                let mut tokens = self.tokenizer.encode(&text);
                if tokens.len() <= LENGTH {
                    let why = format!("{PLACE} characters of test text make only {} tokens", tokens.len());
                    return Err(LabError::Asset { name: Part::Test.asset().into(), why });
                }
                tokens.truncate(LENGTH + 1);
                windows.push(tokens);
            }
        }
        Ok(())
    }

    /// The order in which the text is read: the same for every arm of a seed.
    pub(super) fn order(&self, cx: &Context) -> Windows {
        Windows::new(self.text.clone(), LENGTH, self.batch, cx.seed)
    }

    /// The model, the matrices of its layers stored so.
    pub(super) fn model(&self, storage: Storage, device: &Device) -> Result<Transformer, LabError> {
        self.loaded(&stored(&self.weights, storage), device)
    }

    /// The model with other weights.
    pub(super) fn loaded(&self, weights: &StateDict, device: &Device) -> Result<Transformer, LabError> {
        Transformer::new(&self.config, weights, self.asset, device)
    }

    /// Bytes of the weights, the matrices of the layers stored so and the rest in `rest` bytes each.
    pub(super) fn bytes(&self, storage: Storage, rest: u64) -> u64 {
        let of = |(name, shape): (String, Vec<usize>)| match shape[..] {
            [rows, columns] if is_stored(&name) => storage.bytes(rows, columns),
            _ => rest * shape.iter().map(|side| *side as u64).product::<u64>(),
        };
        self.config.shapes().into_iter().map(of).sum()
    }
}

/// Whether a weight is one of the matrices in the layers, which alone are stored in fewer bits.
pub(super) fn is_stored(name: &str) -> bool {
    name.ends_with("_proj.weight")
}

/// Weights whose layers went through storage.
pub(super) fn stored(weights: &StateDict, storage: Storage) -> StateDict {
    let mut rounded = weights.clone();
    for (name, weight) in weights.iter().filter(|(name, _)| is_stored(name)) {
        if let Some(place) = rounded.get_mut(name) {
            place.values = storage.store(&weight.values, weight.shape[1]);
        }
    }
    rounded
}
