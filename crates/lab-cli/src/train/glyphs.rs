//! The classifiers of glyphs: a teacher, and a small network.

use std::path::Path;

use anyhow::Context as _;
use asset_manifest::{record, toml_edit};
use lab_api::LabError;
use lab_kit::{
    burn::tensor::{Device, Int, Tensor, TensorData},
    data::{Glyphs, Split, hex},
    measure::quality::{Estimate, accuracy_by_group},
    mlp::read,
    models::{Cnn, GlyphClassifier, StateDict},
    rng,
    train::argmax,
    training::{Order, Recipe, cross_entropy},
    weights::Precision,
};
use sha2::{Digest, Sha256};

use super::{TrainOptions, runner::Runner};
use crate::Problem;

/// Images per step.
const BATCH: usize = 64;
/// Passes over the images, unless the options say otherwise: with more the teacher learns them by heart.
const EPOCHS: usize = 8;
/// Images judged at once.
const JUDGED: usize = 256;
/// Points by which a second judgement may differ: other hardware sums in another order.
const DRIFT_PERCENT: f64 = 0.2;

/// Trains both classifiers and records them.
pub(super) fn glyphs(root: &Path, options: &TrainOptions) -> Result<(), Problem> {
    let packed = std::fs::read(root.join("assets").join(Glyphs::ASSET)).context("the glyphs cannot be read")?;
    let data = Glyphs::read(&packed)?;
    for (name, which) in [("teacher", GlyphClassifier::teacher()), ("small", GlyphClassifier::small())] {
        if options.check {
            check(root, &which, &data)?;
        } else {
            one(root, name, &which, (&data, &hex(&Sha256::digest(&packed))), options)?;
        }
    }
    Ok(())
}

fn one(
    root: &Path,
    name: &str,
    which: &GlyphClassifier,
    (data, checksum): (&Glyphs, &str),
    options: &TrainOptions,
) -> Result<(), Problem> {
    let seen = data.indices(Split::Train);
    let mut order = Order::new(seen.len(), BATCH, options.seed);
    let steps = options.steps.unwrap_or(EPOCHS * order.steps());
    let recipe = Recipe {
        steps,
        warmup_steps: 50.min(steps / 5),
        learning_rate: options.learning_rate.unwrap_or(3e-3),
        ..Recipe::default()
    };
    let runner = Runner {
        root,
        options,
        recipe: recipe.clone(),
        settings: format!("{name} {:?} {BATCH} {checksum}", which.config),
        items_per_step: BATCH,
        items: "images",
    };
    println!("The {name} network has {} parameters.", which.config.parameters());
    let device = Device::flex().autodiff();
    let start = which.config.init(&mut rng(options.seed, &format!("weights {name}")));
    let start = Cnn::new(&which.config, &start, which.asset, &device)?;
    let loss = |model: &Cnn, step: usize| {
        let batch: Vec<usize> = order.indices(step).iter().map(|i| seen[*i]).collect();
        let labels: Vec<i32> = data.labels_of(&batch).into_iter().map(i32::from).collect();
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [batch.len()]), &device);
        Ok(cross_entropy(model.forward(images(data, &batch, &device)), labels))
    };
    let (model, steps) = runner.run(start, &device, loss)?;
    let weights = pollster::block_on(StateDict::of(&model))?;
    let command = super::command(options);
    // Judged is what is shipped: the halves.
    let bytes = weights.to_safetensors(Precision::Fp16, &command)?;
    let Estimate { value, interval } = judge(which, &bytes, data)?;
    if options.trial {
        return Ok(());
    }
    let title = format!(
        "Classifier of glyphs, {} parameters in {} convolutions and one linear layer, in FP16",
        which.config.parameters(),
        which.config.channels.len()
    );
    let percent = |share: f64| toml_edit::value((share * 1e4).round() / 1e2);
    record(
        root,
        which.asset,
        &bytes,
        &[
            ("title", toml_edit::value(title)),
            ("source", toml_edit::value(format!("trained from {} ({checksum})", Glyphs::ASSET))),
            ("licence", toml_edit::value("MIT OR Apache-2.0 (weights; the fonts' licences stand at the data)")),
            ("command", toml_edit::value(command)),
            ("seed", toml_edit::value(i64::try_from(options.seed).context("the seed is too large")?)),
            ("steps", toml_edit::value(i64::try_from(steps).context("too many steps")?)),
            ("accuracy_percent_unseen_families", percent(value)),
            ("accuracy_percent_low", percent(interval.low)),
            ("accuracy_percent_high", percent(interval.high)),
        ],
    )?;
    println!("Wrote assets/{} ({} bytes) and its entry in assets/manifest.toml.", which.asset, bytes.len());
    Ok(())
}

/// Accuracy on families that no training saw, its interval drawn by family.
fn judge(which: &GlyphClassifier, weights: &[u8], data: &Glyphs) -> Result<Estimate, Problem> {
    let device = Device::flex();
    let weights = StateDict::from_safetensors(which.asset, weights)?;
    let model = Cnn::new(&which.config, &weights, which.asset, &device)?;
    let unseen = data.indices(Split::Test);
    let answers = pollster::block_on(answers(&model, data, &unseen, &device))?;
    let families: Vec<usize> = unseen.iter().map(|i| data.family_of(*i)).collect();
    let estimate = accuracy_by_group(&answers, &data.labels_of(&unseen), &families, 0.95, &mut rng(0, "families"))?;
    println!(
        "{:.2} % of {} images of unseen families are right ({:.2} to {:.2} %, bootstrapped by family).",
        100.0 * estimate.value,
        unseen.len(),
        100.0 * estimate.interval.low,
        100.0 * estimate.interval.high
    );
    Ok(estimate)
}

async fn answers(model: &Cnn, data: &Glyphs, indices: &[usize], device: &Device) -> Result<Vec<u8>, LabError> {
    let mut answers = Vec::with_capacity(indices.len());
    for batch in indices.chunks(JUDGED) {
        let logits = model.forward(images(data, batch, device));
        let [_, classes] = logits.dims();
        answers.extend(argmax(&read(logits).await?, classes));
    }
    Ok(answers)
}

/// `[B, 256]`.
fn images(data: &Glyphs, indices: &[usize], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(data.gather(indices), [indices.len(), Glyphs::PIXELS]), device)
}

/// Judges what is shipped, and compares with what the manifest says of it.
fn check(root: &Path, which: &GlyphClassifier, data: &Glyphs) -> Result<(), Problem> {
    let bytes = std::fs::read(root.join("assets").join(which.asset)).context("no weights are shipped")?;
    let found = 100.0 * judge(which, &bytes, data)?.value;
    super::compare(root, which.asset, "accuracy_percent_unseen_families", found, DRIFT_PERCENT)
}
