//! The language model and its draft, trained on the corpus.

use std::path::Path;

use anyhow::Context as _;
use asset_manifest::{record, toml_edit};
use lab_api::LabError;
use lab_kit::{
    burn::tensor::Device,
    data::{Corpus, Part, hex},
    language::{Sliding, text_loss, windows_to_tensors},
    measure::quality::{Estimate, bits_per_character},
    models::{LanguageModel, Sampling, StateDict, Transformer, generate},
    rng,
    tokenizer::Tokenizer,
    training::{Recipe, Windows, cross_entropy},
    weights::Precision,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{TrainOptions, runner::Runner};
use crate::Problem;

/// Windows per step.
const BATCH: usize = 4;
/// How the text is judged that no training saw.
const SLIDING: Sliding = Sliding { window: 256, stride: 128, batch: 8 };
/// Bits per character by which a second judgement may differ: other hardware sums in another order.
const DRIFT: f64 = 0.002;
/// What samples begin with.
const PROMPT: &str = "The borrow checker";

/// Trains a language model and records it.
pub(super) fn language(root: &Path, which: &LanguageModel, options: &TrainOptions) -> Result<(), Problem> {
    let tokenizer = Tokenizer::read(&asset(root, Tokenizer::ASSET)?)?;
    if tokenizer.vocabulary() != which.config.vocabulary {
        return Err(Problem::Failure(format!(
            "the tokenizer has {} tokens, the model {}",
            tokenizer.vocabulary(),
            which.config.vocabulary
        )));
    }
    if options.check {
        return check(root, which, &tokenizer);
    }
    let packed = asset(root, Part::Train.asset())?;
    let text = Corpus::read(Part::Train, &packed)?.text;
    let tokens = tokenizer.encode(&text);
    eprintln!(
        "{} characters are {} tokens; the model has {} parameters.",
        text.len(),
        tokens.len(),
        which.config.parameters()
    );
    let recipe = recipe(options);
    let data = hex(&Sha256::digest(&packed));
    let runner = Runner {
        root,
        options,
        recipe: recipe.clone(),
        settings: format!("{:?} {BATCH} {data} {}", which.config, hex(&Sha256::digest(tokenizer.write().as_bytes()))),
        items_per_step: BATCH * which.config.context,
        items: "tokens",
    };
    let device = Device::flex().autodiff();
    let start = which.config.init(&mut rng(options.seed, "weights"));
    let start = Transformer::new(&which.config, &start, which.asset, &device)?;
    let mut windows = Windows::new(tokens, which.config.context, BATCH, options.seed);
    if windows.is_empty() {
        return Err(Problem::Failure("the corpus is shorter than one window".into()));
    }
    let loss = |model: &Transformer, step: usize| {
        let (inputs, targets) = windows_to_tensors(&windows.rows(step), &device);
        Ok(cross_entropy(model.forward(inputs).flatten::<2>(0, 1), targets)) // [B, T, V] to [B · T, V]
    };
    let (model, steps) = runner.run(start, &device, loss)?;
    let weights = pollster::block_on(model.weights())?;
    let command = super::command(options);
    // Judged is what is shipped: the halves.
    let bytes = weights.to_safetensors(Precision::Fp16, &command)?;
    let judged = judge(root, which, &bytes, &tokenizer)?;
    if options.trial {
        return Ok(());
    }
    let trained = if steps == recipe.steps {
        String::new()
    } else {
        format!(" (stopped after {steps} of {} steps)", recipe.steps)
    };
    let seed = i64::try_from(options.seed).context("the seed is too large")?;
    std::fs::create_dir_all(root.join("assets/language")).context("assets/language cannot be made")?;
    let title = format!(
        "Language model in Llama's layout, {} parameters, trained on {:.1} million tokens{trained}, in FP16",
        which.config.parameters(),
        1e-6 * (steps * BATCH * which.config.context) as f64
    );
    record(
        root,
        which.asset,
        &bytes,
        &[
            ("title", toml_edit::value(title)),
            ("source", toml_edit::value(format!("trained from {} ({data})", Part::Train.asset()))),
            ("licence", toml_edit::value("MIT OR Apache-2.0 (weights; as the corpus)")),
            ("command", toml_edit::value(command)),
            ("seed", toml_edit::value(seed)),
            ("steps", toml_edit::value(i64::try_from(steps).context("too many steps")?)),
            ("bits_per_character", toml_edit::value(rounded(judged.bits.value))),
            ("bits_per_character_low", toml_edit::value(rounded(judged.bits.interval.low))),
            ("bits_per_character_high", toml_edit::value(rounded(judged.bits.interval.high))),
            ("better_than_5_gram_by", toml_edit::value(rounded(judged.margin.value))),
            ("better_than_5_gram_by_low", toml_edit::value(rounded(judged.margin.interval.low))),
            ("better_than_5_gram_by_high", toml_edit::value(rounded(judged.margin.interval.high))),
            ("perplexity_per_token", toml_edit::value(rounded(judged.perplexity))),
        ],
    )?;
    println!("Wrote assets/{} ({} bytes) and its entry in assets/manifest.toml.", which.asset, bytes.len());
    Ok(())
}

/// How fast and how long to learn, unless the options say otherwise.
fn recipe(options: &TrainOptions) -> Recipe {
    let draft = options.name == "draft";
    let usual = Recipe {
        steps: if draft { 6000 } else { 3700 },
        warmup_steps: 100,
        learning_rate: if draft { 6e-3 } else { 3e-3 },
        ..Recipe::default()
    };
    let steps = options.steps.unwrap_or(usual.steps);
    Recipe {
        steps,
        warmup_steps: usual.warmup_steps.min(steps / 5),
        learning_rate: options.learning_rate.unwrap_or(usual.learning_rate),
        ..usual
    }
}

/// How well weights do on the text that no training saw, in bits per character; intervals draw documents.
struct Judged {
    bits: Estimate,
    /// What the 5-gram model needs on top: above 0 when the language model is the better one.
    margin: Estimate,
    perplexity: f64,
}

fn judge(root: &Path, which: &LanguageModel, weights: &[u8], tokenizer: &Tokenizer) -> Result<Judged, Problem> {
    let device = Device::flex();
    let weights = StateDict::from_safetensors(which.asset, weights)?;
    let model = Transformer::new(&which.config, &weights, which.asset, &device)?;
    let corpus = Corpus::read(Part::Test, &asset(root, Part::Test.asset())?)?;
    let tokens = tokenizer.encode(&corpus.text);
    let loss = pollster::block_on(text_loss(&model, &tokens, SLIDING, &device, async |_| Ok(())))?;
    // The first token has nothing before it: all are equally likely.
    let first = (which.config.vocabulary as f64).ln();
    let nats: Vec<f64> = [first].into_iter().chain(loss.nats.iter().map(|nats| f64::from(*nats))).collect();
    let characters: Vec<usize> = tokens.iter().map(|token| tokenizer.bytes_of(*token)).collect();
    let documents = corpus.document_of(characters.iter().copied());
    let mut draws = rng(0, "documents");
    let bits = bits_per_character(&nats, &characters, &documents, 0.95, &mut draws)?;

    let mut by_document = vec![(0, 0.0); corpus.documents().count()];
    for ((document, characters), nats) in documents.into_iter().zip(characters).zip(nats) {
        by_document[document].0 += characters;
        by_document[document].1 += nats;
    }
    let baseline: Baseline = serde_json::from_slice(&asset(root, "corpus/baseline.json")?)
        .context("assets/corpus/baseline.json is no baseline; `cargo xtask data ngram` makes it anew")?;
    let other = &baseline.tokens_characters_and_bits_by_document;
    if !by_document.iter().map(|(characters, _)| characters).eq(other.iter().map(|(characters, _)| characters)) {
        return Err(Problem::Failure(
            "the baseline was judged on another text; `cargo xtask data ngram` judges it anew.".into(),
        ));
    }
    let (characters, margins): (Vec<usize>, Vec<f64>) = by_document
        .iter()
        .zip(other)
        .map(|((characters, nats), (_, bits))| (*characters, bits * std::f64::consts::LN_2 - nats))
        .unzip();
    let groups: Vec<usize> = (0..characters.len()).collect();
    let margin = bits_per_character(&margins, &characters, &groups, 0.95, &mut draws)?;
    let perplexity = loss.perplexity();
    println!(
        "On {} characters that no training saw: {:.4} bits per character ({:.4} to {:.4}), perplexity {perplexity:.2} per token.",
        corpus.text.len(),
        bits.value,
        bits.interval.low,
        bits.interval.high
    );
    println!(
        "The 5-gram model needs {:.4} more ({:.4} to {:.4}; intervals of 95 %, {} documents drawn).",
        margin.value,
        margin.interval.low,
        margin.interval.high,
        groups.len()
    );
    println!("“{}”", sample(&model, tokenizer, &device)?);
    Ok(Judged { bits, margin, perplexity })
}

/// What the 5-gram model with Kneser-Ney smoothing reached on the same tokens.
#[derive(Deserialize)]
struct Baseline {
    tokens_characters_and_bits_by_document: Vec<(usize, f64)>,
}

/// A sample, always from the same seed: not the best of several.
fn sample(model: &Transformer, tokenizer: &Tokenizer, device: &Device) -> Result<String, LabError> {
    let prompt = tokenizer.encode(PROMPT);
    let sampling = Sampling { temperature: 0.8, top_k: Some(40) };
    let mut rng = rng(0, "sample");
    let written = pollster::block_on(generate(model, (&prompt, 120), &sampling, &mut rng, device, async |_| Ok(())))?;
    Ok(format!("{PROMPT}{}", tokenizer.decode(&written)))
}

/// Judges what is shipped, and compares with what the manifest says of it.
fn check(root: &Path, which: &LanguageModel, tokenizer: &Tokenizer) -> Result<(), Problem> {
    let judged = judge(root, which, &asset(root, which.asset)?, tokenizer)?;
    super::compare(root, which.asset, "bits_per_character", judged.bits.value, DRIFT)
}

fn asset(root: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(root.join("assets").join(name)).with_context(|| format!("assets/{name} cannot be read"))
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
