//! The language model in FP32 and packed: counted and timed.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::tensor::{Int, Tensor},
    choices::Width,
    measure::{
        Pair, Work as Count,
        counter::{SHORTEST_WINDOW_S, Zone, joules_between, read_zones},
        samples, side_by_side,
    },
    mlp::read,
    models::{KvCache, LanguageModel, StateDict, Transformer, TransformerConfig, pack, packed_bytes},
    quant::{Granularity, Inputs, PackedMatrix, PackedWeight, Scheme, Settings},
    training::{Recipe, Trainer, cross_entropy},
    weights::Precision,
};

use super::Work;

/// Tokens of a prompt, and of the cache that a step attends over.
pub(super) const PROMPT: usize = 128;
/// Requests whose joules are compared.
const BATCHES: [usize; 3] = [1, 4, 16];
/// How long requests may be timed before larger numbers of them are left out, in milliseconds.
const PATIENCE_MS: f64 = 5000.0;
const GROUP: usize = 32;

/// Both models.
pub(super) struct Subject {
    config: TransformerConfig,
    weights: StateDict,
    models: [Transformer; 2],
    /// Bytes of weights that a token reads, FP32 and packed.
    read_bytes: [usize; 2],
}

/// What was counted and timed, per token.
pub(super) struct Run {
    /// Milliseconds, FP32 and packed, turn by turn.
    pub(super) pair: Pair,
    /// Operations and bytes.
    pub(super) counts: [Count; 2],
    /// Tokens of a step: what counts and times are divided by.
    pub(super) tokens: usize,
    /// Joules of a token as the machine's own counters saw it, where there are any.
    pub(super) counted: Option<[f64; 2]>,
}

/// Milliseconds of a token for a number of requests, FP32 and packed.
pub(super) struct Batch {
    pub(super) requests: usize,
    pub(super) ms_per_token: [f64; 2],
}

/// A model with a prompt in its cache.
struct Session<'a> {
    model: &'a Transformer,
    cache: KvCache,
    tokens: Tensor<2, Int>,
    from: usize,
}

impl<'a> Session<'a> {
    fn new(model: &'a Transformer, work: Work, batch: usize, cx: &Context) -> Result<Self, LabError> {
        let mut cache = KvCache::new(model.config(), batch, PROMPT, &cx.device)?;
        let vocabulary = u32::try_from(model.config().vocabulary).unwrap_or(1);
        let row = |b: u32| -> Vec<u32> { (0..PROMPT as u32).map(|i| (i * 7 + 31 * b + 3) % vocabulary).collect() };
        let rows: Vec<Vec<u32>> = (0..batch as u32).map(row).collect();
        let all: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let from = match work {
            Work::Decode => PROMPT - 1,
            Work::Prefill => 0,
        };
        if from > 0 {
            let before: Vec<&[u32]> = all.iter().map(|row| &row[..from]).collect();
            model.next(model.tokens(&before, &cx.device)?, &mut cache)?;
        }
        let now: Vec<&[u32]> = all.iter().map(|row| &row[from..]).collect();
        Ok(Self { model, cache, tokens: model.tokens(&now, &cx.device)?, from })
    }

    async fn step(&mut self) -> Result<(), LabError> {
        self.cache.truncate(self.from);
        let logits = self.model.next(self.tokens.clone(), &mut self.cache)?;
        read(logits.narrow(1, 0, 1)).await.map(|logit| drop(std::hint::black_box(logit)))
    }
}

impl Subject {
    pub(super) async fn load(bits: Width, cx: &Context) -> Result<Self, LabError> {
        let LanguageModel { asset, config } = LanguageModel::full();
        let weights = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
        cx.checkpoint().await?;
        let fp32 = Transformer::new(&config, &weights, asset, &cx.device)?;
        let settings = Settings::weight_only(bits.bits(), Scheme::Symmetric, Granularity::Group(GROUP));
        let (matrices, rest) =
            pack(&weights, |_, weight| PackedMatrix::quantize(&weight.values, weight.shape[1], &settings))?;
        cx.checkpoint().await?;
        let embedding = matrices.get("model.embed_tokens.weight").map_or(0, PackedMatrix::bytes);
        let packed_read = packed_bytes(&matrices, &rest) - embedding;
        let place = |_: &str, matrix| PackedWeight::new(matrix, Inputs::Float, &cx.device);
        let packed = Transformer::packed(&config, matrices, &rest, (asset, place), &cx.device)?;
        let row = config.channels * size_of::<f32>();
        let plain_read = config.weight_bytes(Precision::Fp32) - config.vocabulary * row;
        Ok(Self { config, weights, models: [fp32, packed], read_bytes: [plain_read, packed_read] })
    }

    /// Operations and bytes of a step for `batch` requests.
    fn counts(&self, work: Work, batch: usize) -> [Count; 2] {
        let (config, new) = (&self.config, tokens_of(work, 1));
        let row = config.channels * size_of::<f32>();
        let spared = 2 * (new - 1) * config.channels * config.vocabulary;
        let flops = batch as u64 * (config.flops(new, PROMPT) - spared as u64);
        let state = batch * (PROMPT * config.cache_bytes_per_token(Precision::Fp32) + new * row);
        self.read_bytes.map(|weights| Count { flops, bytes: (weights + state) as u64 })
    }

    pub(super) async fn time(&self, work: Work, batch: usize, cx: &Context) -> Result<Run, LabError> {
        let [plain, packed] = &self.models;
        let (mut one, mut other) = (Session::new(plain, work, batch, cx)?, Session::new(packed, work, batch, cx)?);
        let pair = side_by_side(cx, 600.0, async || one.step().await, async || other.step().await).await?;
        let tokens = tokens_of(work, batch);
        let per_token = |ms: Vec<f64>| ms.iter().map(|ms| ms / tokens as f64).collect();
        let counted = match (counted(&mut one, cx).await?, counted(&mut other, cx).await?) {
            (Some(plain), Some(packed)) => Some([plain, packed].map(|joules| joules / tokens as f64)),
            _ => None,
        };
        let pair = Pair { first: per_token(pair.first), second: per_token(pair.second) };
        Ok(Run { pair, counts: self.counts(work, batch), tokens, counted })
    }

    /// Decode for more and more requests, until that has taken [`PATIENCE_MS`]: a slow device shows fewer.
    pub(super) async fn batches(&self, cx: &Context) -> Result<Vec<Batch>, LabError> {
        let (mut found, start) = (Vec::new(), cx.now_ms());
        for requests in BATCHES {
            if found.len() > 1 && cx.now_ms() - start > PATIENCE_MS {
                break;
            }
            let mut ms_per_token = [0.0; 2];
            for (ms, model) in ms_per_token.iter_mut().zip(&self.models) {
                let mut session = Session::new(model, Work::Decode, requests, cx)?;
                let times = samples(cx, 60.0, async || session.step().await).await?;
                *ms = lab_kit::stats::median(&times) / requests as f64;
            }
            found.push(Batch { requests, ms_per_token });
        }
        Ok(found)
    }

    /// Milliseconds of training for each token: forward, backward and the update, on a sequence of 128 tokens.
    pub(super) async fn training_ms_per_token(&self, cx: &Context) -> Result<Vec<f64>, LabError> {
        let device = cx.device.clone().autodiff();
        let model = Transformer::new(&self.config, &self.weights, "the language model", &device)?;
        // One to warm up.
        let recipe = Recipe { steps: 5, warmup_steps: 0, learning_rate: 1e-5, ..Recipe::default() };
        let mut trainer = Trainer::new(model, recipe)?;
        let vocabulary = u32::try_from(self.config.vocabulary).unwrap_or(1);
        let row: Vec<u32> = (0..PROMPT as u32).map(|i| (i * 11 + 5) % vocabulary).collect();
        let mut targets = row.clone();
        targets.rotate_left(1);
        let (mut ms, mut last) = (Vec::new(), cx.now_ms());
        let loss = |model: &Transformer, _: usize| -> Result<Tensor<1>, LabError> {
            let logits = model.forward(model.tokens(&[&row], &device)?);
            let [b, t, v] = logits.dims();
            Ok(cross_entropy(logits.reshape([b * t, v]), model.tokens(&[&targets], &device)?.reshape([b * t])))
        };
        trainer
            .run(
                || cx.now_ms(),
                loss,
                async |_, progress| {
                    let now = cx.now_ms();
                    if progress.step > 1 {
                        ms.push((now - last) / PROMPT as f64);
                    }
                    cx.checkpoint().await?;
                    last = cx.now_ms();
                    Ok(())
                },
            )
            .await?;
        Ok(ms)
    }

    /// Goes on working, for whoever watches a meter.
    pub(super) async fn load_for(&self, minutes: u32, work: Work, batch: usize, cx: &Context) -> Result<(), LabError> {
        let mut session = Session::new(&self.models[1], work, batch, cx)?;
        let (start, whole) = (cx.now_ms(), 60e3 * f64::from(minutes));
        loop {
            let spent = cx.now_ms() - start;
            if spent >= whole {
                return Ok(());
            }
            cx.progress("Steady load: read your meter", spent / whole);
            session.step().await?;
            cx.checkpoint().await?;
        }
    }
}

fn tokens_of(work: Work, batch: usize) -> usize {
    match work {
        Work::Decode => batch,
        Work::Prefill => batch * PROMPT,
    }
}

/// Joules of a step by the machine's counters, over a window that they can resolve.
async fn counted(session: &mut Session<'_>, cx: &Context) -> Result<Option<f64>, LabError> {
    let before: Vec<Zone> = read_zones();
    if before.is_empty() {
        return Ok(None);
    }
    let (start, mut steps) = (cx.now_ms(), 0.0);
    while cx.now_ms() - start < 3e3 * SHORTEST_WINDOW_S {
        session.step().await?;
        steps += 1.0;
        cx.checkpoint().await?;
    }
    let seconds = 1e-3 * (cx.now_ms() - start);
    Ok(Some(joules_between(&before, &read_zones(), seconds)? / steps))
}
