//! The model, its text, and one pass of it.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::tensor::{Int, Tensor},
    data::{Corpus, Part as CorpusPart},
    measure::Work,
    models::{KvCache, LanguageModel, StateDict, Transformer, TransformerConfig},
    profile::{NoProbe, Part, Probe, hollow, products, work},
    rng,
    tokenizer::Tokenizer,
};

use super::settings::{Params, Phase};

/// What a pass is on paper.
pub(super) struct Plan {
    pub(super) config: TransformerConfig,
    /// New tokens, tokens that they look at, rows of logits.
    pub(super) sizes: [usize; 3],
}

impl Plan {
    pub(super) fn of(params: &Params) -> Result<Self, LabError> {
        let config = LanguageModel::full().config;
        let n = params.tokens as usize;
        if n == 0 || n > config.context {
            let why = format!("1 to {}", config.context);
            return Err(LabError::BadParam(lab_api::BadParam { name: "tokens".into(), why }));
        }
        let sizes = match params.phase {
            Phase::Prefill => [n, n, n],
            Phase::Decode => [1, n, 1],
        };
        Ok(Self { config, sizes })
    }

    /// How often a pass calls an operation.
    pub(super) fn calls(&self, part: Part) -> u64 {
        let layers = self.config.layers as u64;
        match part {
            _ if part.has_parts() => 0,
            Part::Norm | Part::Residual => 2 * layers,
            Part::Keep | Part::Masking | Part::Mask if (part == Part::Keep) != (self.sizes[0] == 1) => 0,
            _ if part.lies_in(Part::Block) => layers,
            _ => 1,
        }
    }

    /// Operations and bytes of all that lies within a part.
    pub(super) fn work(&self, whole: Part) -> Work {
        let inside = Part::ALL.into_iter().filter(|part| part.lies_in(whole));
        inside.map(|part| work(part, &self.config, self.sizes) * self.calls(part)).sum()
    }

    /// Operations of products alone.
    pub(super) fn products(&self) -> u64 {
        Part::ALL.into_iter().map(|part| products(part, &self.config, self.sizes) * self.calls(part)).sum()
    }
}

/// Whether an operation is a product with weights, or one of attention: what counters count.
pub(super) fn is_product(part: Part) -> bool {
    matches!(
        part,
        Part::Query
            | Part::Key
            | Part::Value
            | Part::Output
            | Part::Gate
            | Part::Up
            | Part::Down
            | Part::Head
            | Part::Scores
            | Part::Mix
    )
}

/// What the lab works on.
pub(super) struct Source {
    pub(super) model: Transformer,
    /// The same without numbers to compute.
    pub(super) twin: Transformer,
    /// Text that the model has never seen.
    pub(super) text: Vec<u32>,
}

impl Source {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let LanguageModel { asset, config } = LanguageModel::full();
        let weights = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
        let model = Transformer::new(&config, &weights, asset, &cx.device)?;
        let small = hollow(&config);
        let twin = Transformer::new(&small, &small.init(&mut rng(0, "hollow twin")), "the hollow twin", &cx.device)?;
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        let corpus = Corpus::read(CorpusPart::Test, &cx.asset(CorpusPart::Test.asset()).await?)?;
        let start: String = corpus.text.chars().take(4000).collect();
        let text = tokenizer.encode(&start);
        if text.len() <= config.context {
            let why =
                format!("its first 4,000 characters have {} tokens, and {} are needed", text.len(), config.context + 1);
            return Err(LabError::Asset { name: CorpusPart::Test.asset().into(), why });
        }
        Ok(Self { model, twin, text })
    }

    /// A pass of the model as it is asked for.
    pub(super) fn subject(&self, phase: Phase, tokens: usize, cx: &Context) -> Result<Subject, LabError> {
        Subject::new(&self.model, &self.text[..tokens], phase, cx)
    }

    /// A pass of the twin, with as many operations and as little to do as there can be.
    pub(super) fn hollow(&self, phase: Phase, cx: &Context) -> Result<Subject, LabError> {
        Subject::new(&self.twin, &[1, 2], phase, cx)
    }
}

/// A pass that can be run again and again.
pub(super) struct Subject {
    model: Transformer,
    new: Tensor<2, Int>,
    cache: Option<(KvCache, usize)>,
    /// Whether only the last row of logits is made.
    pub(super) last: bool,
}

impl Subject {
    fn new(model: &Transformer, text: &[u32], phase: Phase, cx: &Context) -> Result<Self, LabError> {
        let model = model.clone();
        let (before, last) = text.split_at(text.len() - 1);
        let (new, cache) = match phase {
            Phase::Prefill => (text, None),
            Phase::Decode => {
                let mut cache = KvCache::new(model.config(), 1, text.len(), &cx.device)?;
                if !before.is_empty() {
                    model.next(model.tokens(&[before], &cx.device)?, &mut cache)?;
                }
                (last, Some((cache, before.len())))
            }
        };
        let new = model.tokens(&[new], &cx.device)?;
        Ok(Self { model, new, cache, last: false })
    }

    /// All logits that it makes, `[1, rows, V]`.
    pub(super) fn logits(&mut self, probe: &mut dyn Probe) -> Result<Tensor<3>, LabError> {
        let cache = self.cache.as_mut().map(|(cache, start)| {
            cache.truncate(*start);
            cache
        });
        self.model.probed(self.new.clone(), cache, self.last, probe)
    }

    /// One number of the last row: who reads it has waited for all.
    pub(super) fn pass(&mut self, probe: &mut dyn Probe) -> Result<Tensor<3>, LabError> {
        let logits = self.logits(probe)?;
        let [_, rows, _] = logits.dims();
        Ok(logits.narrow(1, rows - 1, 1).narrow(2, 0, 1))
    }

    /// The prompt block by block, waiting for the device after each; there is no such way with a cache.
    pub(super) async fn in_blocks(&self) -> Result<(), LabError> {
        let mut x = self.model.embed(self.new.clone());
        for layer in 0..self.model.config().layers {
            wait(&x).await?;
            x = self.model.layer(layer, x).0;
        }
        wait(&x).await?;
        wait(&self.model.readout(x)).await
    }

    /// A pass that nobody watches.
    pub(super) fn plain(&mut self) -> Result<Tensor<3>, LabError> {
        self.pass(&mut NoProbe)
    }
}

async fn wait(x: &Tensor<3>) -> Result<(), LabError> {
    let [_, rows, _] = x.dims();
    lab_kit::mlp::read(x.clone().narrow(1, rows - 1, 1).narrow(2, 0, 1)).await.map(drop)
}
