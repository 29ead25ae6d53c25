//! What is measured: a model in FP32 and packed, that is asked for samples.

use std::cell::Cell;

use lab_api::{Interval, LabError};
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    data::{Corpus, Part},
    language::{Sliding, text_loss},
    measure::{Work, quality::bits_per_character},
    mlp::{Mlp, read},
    models::{LanguageModel, StateDict, Transformer, TransformerConfig, pack, packed_bytes},
    quant::{Granularity, Inputs, PackedMatrix, PackedWeight, QuantizedMlp, Scheme, Settings},
    subject,
    tokenizer::Tokenizer,
    train::argmax,
    weights::Precision,
};

use super::{Candidate, Subject};

/// Tokens of a prompt, or glyphs of a strip: the first that a clock can see is taken.
const TOKENS: [usize; 5] = [4, 8, 16, 32, 64];
const GLYPHS: [usize; 6] = [16, 32, 64, 128, 256, 512];
/// Steps of the clock that a query lasts at least, and the milliseconds that suffice with any clock.
const CLOCK_STEPS: f64 = 30.0;
const LEAST_MS: f64 = 1.0;
const ENOUGH_MS: f64 = 6.0;
/// Samples that queries draw from.
const POOL: usize = 64;
/// Calls of the curve of warming up.
const FIRST_CALLS: usize = 50;
/// Tokens of a window that is judged, windows, and characters of the text that suffice for all.
const WINDOW: usize = 128;
const WINDOWS: usize = 6;
const CHARACTERS: usize = 20_000;
const GROUP: usize = 32;
const LEVEL: f64 = 0.95;

enum Net {
    Language(Box<Transformer>),
    Plain(Mlp),
    Packed(QuantizedMlp),
}

/// A model that answers.
pub(super) struct Variant {
    net: Net,
    pub(super) name: &'static str,
    /// Bytes of its weights.
    pub(super) stored_bytes: usize,
    /// Of these, the bytes that every query reads.
    read_bytes: usize,
}

enum Data {
    Language { config: TransformerConfig, tokens: Vec<u32>, tokenizer: Tokenizer },
    Glyphs(subject::Subject),
}

/// FP32 first, then the candidates that differ from it.
pub(super) struct Machine {
    pub(super) variants: Vec<Variant>,
    data: Data,
    /// Tokens of a prompt or glyphs of a strip.
    pub(super) items: usize,
    next: Cell<usize>,
}

/// Accuracy in per cent, or bits per character.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quality {
    pub(super) value: f64,
    pub(super) interval: Interval,
}

impl Machine {
    pub(super) async fn load(subject: Subject, candidates: &[Candidate], cx: &Context) -> Result<Self, LabError> {
        let (data, variants, items) = match subject {
            Subject::Language => {
                let (data, variants) = language(candidates, cx).await?;
                (data, variants, TOKENS[0])
            }
            Subject::Glyphs => {
                let (data, variants) = glyphs(candidates, cx).await?;
                (data, variants, GLYPHS[0])
            }
        };
        Ok(Self { variants, data, items, next: Cell::new(0) })
    }

    /// Which variant is compared with FP32: FP32 itself where there is no other.
    pub(super) fn candidate(&self) -> usize {
        self.variants.len() - 1
    }

    /// What a sample is made of.
    pub(super) fn unit(&self) -> &'static str {
        match self.data {
            Data::Language { .. } => "tokens",
            Data::Glyphs(_) => "glyphs",
        }
    }

    /// Answers one query of so many samples.
    pub(super) async fn query(&self, variant: usize, samples: usize, cx: &Context) -> Result<(), LabError> {
        let from = self.next.get();
        self.next.set((from + samples) % POOL);
        let each = |i: usize| (from + i) % POOL * self.items;
        match (&self.variants[variant].net, &self.data) {
            (Net::Language(model), Data::Language { tokens, .. }) => {
                let rows: Vec<&[u32]> = (0..samples).map(|i| &tokens[each(i)..each(i) + self.items]).collect();
                let logits = model.forward(model.tokens(&rows, &cx.device)?);
                // The answer has been computed when one of its numbers can be read.
                let one = logits.narrow(0, 0, 1).narrow(1, 0, 1).narrow(2, 0, 1).reshape([1, 1]);
                read(one).await.map(|logit| drop(std::hint::black_box(logit)))
            }
            (net, Data::Glyphs(subject)) => {
                let count = samples * self.items;
                let images: Vec<usize> = (0..count).map(|i| (each(0) + i) % subject.images.len()).collect();
                let pixels = subject.images.gather(&images);
                let logits = match net {
                    Net::Plain(model) => {
                        let data = TensorData::new(pixels, [count, subject.images.pixels_each()]);
                        read(model.forward(Tensor::<2>::from_data(data, &cx.device))).await?
                    }
                    Net::Packed(model) => model.forward(&pixels),
                    Net::Language(_) => Vec::new(),
                };
                drop(std::hint::black_box(logits));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Milliseconds of a query of one sample.
    pub(super) async fn timed(&self, variant: usize, cx: &Context) -> Result<f64, LabError> {
        let start = cx.now_ms();
        self.query(variant, 1, cx).await?;
        Ok(cx.now_ms() - start)
    }

    /// The first calls after loading, one by one.
    pub(super) async fn first_calls(&self, cx: &Context) -> Result<Vec<f64>, LabError> {
        let mut all = Vec::with_capacity(FIRST_CALLS);
        for _ in 0..FIRST_CALLS {
            all.push(self.timed(self.candidate(), cx).await?);
            cx.checkpoint().await?;
        }
        Ok(all)
    }

    /// Chooses a sample that the clock can see.
    pub(super) async fn size(&mut self, cx: &Context) -> Result<(), LabError> {
        let sizes: &[usize] = if self.unit() == "tokens" { &TOKENS } else { &GLYPHS };
        let wanted = (CLOCK_STEPS * cx.clock_step_ms()).clamp(LEAST_MS, ENOUGH_MS);
        let mut least = 0.0;
        for items in sizes {
            self.items = *items;
            least = f64::INFINITY;
            for variant in 0..self.variants.len() {
                for _ in 0..4 {
                    least = self.timed(variant, cx).await?.min(least);
                    cx.checkpoint().await?;
                }
            }
            if least >= wanted {
                break;
            }
        }
        if least < 2.0 * cx.clock_step_ms() {
            let why = "a query is shorter than the clock can see, even with the largest sample".into();
            return Err(LabError::Refused { why });
        }
        Ok(())
    }

    /// Operations of a sample and the bytes that it has to move, whatever its size is on this device: that of 16 tokens, or of 16
    /// glyphs.
    pub(super) fn work(&self, variant: usize) -> Work {
        Work { flops: self.flops(16), bytes: self.variants[variant].read_bytes as u64 }
    }

    /// Operations of a sample of so many items.
    pub(super) fn flops(&self, items: usize) -> u64 {
        match &self.data {
            Data::Language { config, .. } => config.flops(items, items),
            Data::Glyphs(subject) => (items * subject.network(0).flops()) as u64,
        }
    }

    pub(super) async fn quality(&self, variant: usize, cx: &Context) -> Result<Quality, LabError> {
        match (&self.variants[variant].net, &self.data) {
            (Net::Language(model), Data::Language { tokens, tokenizer, .. }) => {
                let judged = &tokens[..(WINDOWS * WINDOW + 1).min(tokens.len())];
                let how = Sliding { window: WINDOW, stride: WINDOW, batch: 1 };
                let loss = text_loss(model, judged, how, &cx.device, async |_| cx.checkpoint().await).await?;
                let nats: Vec<f64> = loss.nats.iter().map(|nats| f64::from(*nats)).collect();
                let characters: Vec<usize> = judged[1..].iter().map(|token| tokenizer.bytes_of(*token)).collect();
                let windows: Vec<usize> = (0..nats.len()).map(|i| i / WINDOW).collect();
                let found = bits_per_character(&nats, &characters, &windows, LEVEL, &mut cx.rng("quality"))?;
                Ok(Quality { value: found.value, interval: found.interval })
            }
            (net, Data::Glyphs(subject)) => {
                let answers = match net {
                    Net::Packed(model) => {
                        let logits = subject.judge(std::slice::from_ref(model), cx).await?;
                        argmax(&logits, subject.images.class_count())
                    }
                    _ => subject.baseline(cx).await?.answers,
                };
                let all: Vec<usize> = (0..answers.len()).collect();
                let (value, interval) = subject.accuracy_on(&all, &answers, LEVEL);
                Ok(Quality { value, interval })
            }
            (_, Data::Language { .. }) => Err(LabError::Engine { why: "a classifier does not read text".into() }),
        }
    }
}

fn settings(candidate: Candidate) -> Option<(&'static str, Settings)> {
    let (name, bits) = match candidate {
        Candidate::Itself => return None,
        Candidate::Int8 => ("INT8", 8),
        Candidate::Int4 => ("INT4", 4),
    };
    Some((name, Settings::weight_only(bits, Scheme::Symmetric, Granularity::Group(GROUP))))
}

async fn language(candidates: &[Candidate], cx: &Context) -> Result<(Data, Vec<Variant>), LabError> {
    let LanguageModel { asset, config } = LanguageModel::full();
    let weights = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
    let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
    cx.checkpoint().await?;
    let text = Corpus::read(Part::Test, &cx.asset(Part::Test.asset()).await?)?.text;
    let tokens = tokenizer.encode(&text.chars().take(CHARACTERS).collect::<String>());
    cx.checkpoint().await?;
    if tokens.len() < POOL * TOKENS[TOKENS.len() - 1] {
        return Err(LabError::Refused {
            why: format!("the text has {} tokens, too few for the prompts", tokens.len()),
        });
    }
    let row = config.channels * size_of::<f32>();
    let stored_bytes = config.weight_bytes(Precision::Fp32);
    let mut variants = vec![Variant {
        net: Net::Language(Box::new(Transformer::new(&config, &weights, asset, &cx.device)?)),
        name: "FP32",
        stored_bytes,
        read_bytes: stored_bytes - config.vocabulary * row,
    }];
    for (name, settings) in candidates.iter().filter_map(|candidate| settings(*candidate)) {
        cx.checkpoint().await?;
        let (matrices, rest) =
            pack(&weights, |_, weight| PackedMatrix::quantize(&weight.values, weight.shape[1], &settings))?;
        let stored_bytes = packed_bytes(&matrices, &rest);
        let embedding = matrices.get("model.embed_tokens.weight").map_or(0, PackedMatrix::bytes);
        let place = |_: &str, matrix| PackedWeight::new(matrix, Inputs::Float, &cx.device);
        let net = Net::Language(Box::new(Transformer::packed(&config, matrices, &rest, (asset, place), &cx.device)?));
        variants.push(Variant { net, name, stored_bytes, read_bytes: stored_bytes - embedding });
    }
    Ok((Data::Language { config, tokens, tokenizer }, variants))
}

async fn glyphs(candidates: &[Candidate], cx: &Context) -> Result<(Data, Vec<Variant>), LabError> {
    let subject = subject::Subject::load_glyphs(cx).await?;
    let network = subject.network(0);
    let mut variants = vec![Variant {
        net: Net::Plain(Mlp::new(network, &cx.device)),
        name: "FP32",
        stored_bytes: network.bytes(),
        read_bytes: network.bytes(),
    }];
    for (name, settings) in candidates.iter().filter_map(|candidate| settings(*candidate)) {
        let packed = QuantizedMlp::quantize(network, &settings, &subject.examples[0]);
        let bytes = packed.bytes();
        variants.push(Variant { net: Net::Packed(packed), name, stored_bytes: bytes, read_bytes: bytes });
    }
    Ok((Data::Glyphs(subject), variants))
}
