//! The model, everybody who drafts for it, and texts to begin with.

use lab_api::LabError;
use lab_kit::{
    Context,
    data::{Corpus, Part},
    mlp::read,
    models::{LanguageModel, StateDict, Transformer, TransformerConfig, pack, packed_bytes},
    quant::{Granularity, Inputs, PackedMatrix, PackedWeight, Scheme, Settings},
    speculative::{Drafter, How, ModelDrafter, Ngrams, Round, Session, distribution},
    tokenizer::Tokenizer,
    weights::Precision,
};
use rand::{Rng, seq::SliceRandom};

use super::{Text, Who};

/// Tokens of a prompt.
pub(super) const PROMPT: usize = 64;
/// Layers of the model that draft for the rest.
const EARLY: usize = 2;
/// Longest end of the text that is looked up.
const LONGEST: usize = 3;

pub(super) struct Material {
    pub(super) which: LanguageModel,
    pub(super) tokenizer: Tokenizer,
    pub(super) target: Transformer,
    small: Transformer,
    early: Transformer,
    packed: (Transformer, usize),
    ngrams: Ngrams,
    test: Vec<u32>,
}

/// What one prompt became.
pub(super) struct Written {
    pub(super) tokens: Vec<u32>,
    pub(super) rounds: Vec<Round>,
}

impl Material {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let load =
            async |which: &LanguageModel| StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?);
        let (which, draft) = (LanguageModel::full(), LanguageModel::draft());
        let (weights, small) = (load(&which).await?, load(&draft).await?);
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        let mut texts = Vec::new();
        for part in [Part::Validation, Part::Test] {
            texts.push(tokenizer.encode(&Corpus::read(part, &cx.asset(part.asset()).await?)?.text));
            cx.checkpoint().await?;
        }
        let test = texts.pop().unwrap_or_default();
        let ngrams = Ngrams::count(&texts.pop().unwrap_or_default());
        cx.checkpoint().await?;

        let on = |config: &TransformerConfig, weights: &StateDict| {
            Transformer::new(config, weights, which.asset, &cx.device)
        };
        // ANCHOR: early
        // The first layers, and the norm and the output layer that come after the last.
        let mut first = StateDict::default();
        for (name, weight) in weights.iter() {
            let layer =
                name.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
            if layer.is_none_or(|layer| layer < EARLY) {
                first.insert(name, &weight.shape, weight.values.clone())?;
            }
        }
        let early = on(&TransformerConfig { layers: EARLY, ..which.config.clone() }, &first)?;
        // ANCHOR_END: early
        let settings = Settings::weight_only(4, Scheme::Symmetric, Granularity::Group(32));
        let (matrices, rest) =
            pack(&weights, |_, weight| PackedMatrix::quantize(&weight.values, weight.shape[1], &settings))?;
        let bytes = packed_bytes(&matrices, &rest);
        cx.checkpoint().await?;
        let place = |_: &str, matrix| PackedWeight::new(matrix, Inputs::Float, &cx.device);
        let packed = Transformer::packed(&which.config, matrices, &rest, (which.asset, place), &cx.device)?;
        Ok(Self {
            target: on(&which.config, &weights)?,
            small: on(&draft.config, &small)?,
            early,
            packed: (packed, bytes),
            ngrams,
            tokenizer,
            test,
            which,
        })
    }

    /// The model that drafts, where one does.
    pub(super) fn model(&self, who: Who) -> Option<&Transformer> {
        match who {
            Who::Draft => Some(&self.small),
            Who::Early => Some(&self.early),
            Who::Packed => Some(&self.packed.0),
            Who::Lookup | Who::Table | Who::Chance => None,
        }
    }

    /// A drafter with room for so many tokens.
    pub(super) fn drafter(&self, who: Who, capacity: usize, cx: &Context) -> Result<Drafter<'_>, LabError> {
        Ok(match (self.model(who), who) {
            (Some(model), _) => Drafter::Model(ModelDrafter::new(model, capacity, &cx.device)?),
            (_, Who::Table) => Drafter::Table(&self.ngrams),
            (_, Who::Chance) => Drafter::Chance,
            _ => Drafter::Lookup(LONGEST),
        })
    }

    /// Bytes that a drafter adds: weights or tables, and a cache for the model's whole context.
    pub(super) fn added_bytes(&self, who: Who) -> usize {
        let weights = match who {
            Who::Draft => self.small.config().weight_bytes(Precision::Fp32),
            Who::Packed => self.packed.1,
            Who::Table => self.ngrams.bytes(),
            // The layers are the model's own.
            Who::Early | Who::Lookup | Who::Chance => 0,
        };
        let cache = self
            .model(who)
            .map_or(0, |model| model.config().context * model.config().cache_bytes_per_token(Precision::Fp32));
        weights + cache
    }

    /// Operations of a token that a drafter proposes, and of one that the model reads, after so many others.
    pub(super) fn flops(&self, who: Who, tokens: usize) -> [f64; 2] {
        let of = |model: &Transformer| model.config().flops(1, tokens) as f64;
        [self.model(who).map_or(0.0, of), of(&self.target)]
    }

    /// Beginnings, evenly spread over the test text from a place that the seed chooses.
    pub(super) fn prompts(&self, text: Text, count: usize, cx: &Context) -> Vec<Vec<u32>> {
        let mut rng = cx.rng("prompts");
        let room = self.test.len().saturating_sub(PROMPT) / count.max(1);
        let from = rng.random_range(0..room.max(1));
        let prompt = |i: usize| {
            let here = self.test.get(i * room + from..).unwrap_or_default();
            let mut tokens: Vec<u32> = here.iter().copied().take(PROMPT).collect();
            match text {
                Text::Prose => {}
                Text::Repetitive => tokens = tokens[..PROMPT / 4].repeat(4),
                Text::Shuffled => tokens.shuffle(&mut rng),
            }
            tokens
        };
        (0..count).map(prompt).collect()
    }

    /// Continues every prompt; `who` drafts, or nobody.
    pub(super) async fn write(
        &self,
        who: Option<Who>,
        how: How,
        (prompts, tokens): (&[Vec<u32>], usize),
        cx: &Context,
    ) -> Result<Vec<Written>, LabError> {
        let (mut found, mut rng) = (Vec::new(), cx.rng("continue"));
        for prompt in prompts {
            let mut session = self.session(who, how, (prompt, tokens), cx)?;
            let rounds = session.write(tokens, how, &mut rng, async || cx.checkpoint().await).await?;
            found.push(Written { tokens: session.written().to_vec(), rounds });
        }
        Ok(found)
    }

    /// A session that has read its prompt.
    pub(super) fn session(
        &self,
        who: Option<Who>,
        how: How,
        (prompt, tokens): (&[u32], usize),
        cx: &Context,
    ) -> Result<Session<'_>, LabError> {
        let room = tokens + how.gamma;
        let drafter = match who {
            Some(who) => self.drafter(who, prompt.len() + room, cx)?,
            None => Drafter::Nobody,
        };
        Session::new(&self.target, drafter, (prompt, room), &cx.device)
    }

    /// What a model says after each token of a text from `from` on: a distribution for each.
    pub(super) async fn laws(
        model: &Transformer,
        text: &[u32],
        (from, temperature): (usize, f64),
        cx: &Context,
    ) -> Result<Vec<Vec<f64>>, LabError> {
        let logits = model.forward(model.tokens(&[text], &cx.device)?);
        let logits = read(logits.narrow(1, from, text.len() - from)).await?;
        cx.checkpoint().await?;
        logits.chunks(model.config().vocabulary).map(|row| distribution(row, temperature)).collect()
    }

    /// What a drafter would propose next after each token of a text from `from` on, where it proposes anything.
    pub(super) async fn proposals(
        &self,
        who: Who,
        text: &[u32],
        (from, temperature): (usize, f64),
        cx: &Context,
    ) -> Result<Vec<Option<Vec<f64>>>, LabError> {
        if let Some(model) = self.model(who) {
            let laws = Self::laws(model, text, (from, temperature), cx).await?;
            return Ok(laws.into_iter().map(Some).collect());
        }
        let (mut drafter, mut rng) = (self.drafter(who, 1, cx)?, cx.rng("proposals"));
        let mut found = Vec::new();
        for end in from + 1..=text.len() {
            let next = drafter.propose(&text[..end], 1, temperature, self.which.config.vocabulary, &mut rng).await?;
            found.push(next.q.into_iter().next());
        }
        Ok(found)
    }
}
