//! The fully connected classifier of glyphs, which the labs on quantization take apart.

use std::{path::Path, rc::Rc};

use anyhow::Context as _;
use asset_manifest::{record, toml_edit};
use lab_api::DeviceChoice;
use lab_kit::{
    Host,
    data::{Glyphs, Images, Split, hex},
    measure::quality::{Estimate, accuracy_by_group},
    mlp::{Mlp, MlpWeights},
    open_device, rng,
    subject::{GLYPH_MLP_ASSET, GLYPH_MLP_WIDTHS},
    train::{Training, argmax, logits, train as fit},
    weights::{WeightFile, WeightWriter},
};
use sha2::{Digest, Sha256};

use super::TrainOptions;
use crate::{NativeHost, Problem, Show};

/// How far a second judgement may differ, in points: other hardware sums in another order.
const DRIFT_PERCENT: f64 = 0.2;

/// Trains and records it; with `check` judges what is shipped instead.
pub(super) fn glyph_mlp(root: &Path, options: &TrainOptions) -> Result<(), Problem> {
    let packed = std::fs::read(root.join("assets").join(Glyphs::ASSET)).context("the glyphs cannot be read")?;
    let data = Glyphs::read(&packed)?;
    if options.check {
        let bytes = std::fs::read(root.join("assets").join(GLYPH_MLP_ASSET)).context("no weights are shipped")?;
        let shipped = WeightFile::open(GLYPH_MLP_ASSET, &bytes)?.mlp("mlp", &GLYPH_MLP_WIDTHS)?;
        let found = 100.0 * judge(&shipped, &data)?.value;
        return super::compare(root, GLYPH_MLP_ASSET, "accuracy_percent_unseen_families", found, DRIFT_PERCENT);
    }
    let seen = Images::of_glyphs(&data, &data.indices(Split::Train));
    let how = Training { epochs: 20, ..Training::default() };
    let start = MlpWeights::init(&GLYPH_MLP_WIDTHS, &mut rng(options.seed, "weights glyph-mlp"));
    let host = Rc::new(NativeHost::new(root, Show::Progress));
    let model = pollster::block_on(async {
        let (device, _) = open_device(DeviceChoice::Cpu).await?;
        let mut order = rng(options.seed, "order glyph-mlp");
        fit(&start, (&seen.pixels, &seen.labels), &how, &mut order, &device, async |done, total| {
            host.progress("Training the classifier of glyphs", done as f64 / total as f64);
            Ok(())
        })
        .await
    });
    host.finish();
    let model = model?;
    let Estimate { value, interval } = judge(&model, &data)?;
    if options.trial {
        return Ok(());
    }
    let command = super::command(options);
    let mut writer = WeightWriter::default();
    writer.mlp("mlp", &model);
    let bytes = writer.finish(&command)?;
    let percent = |share: f64| toml_edit::value((share * 1e4).round() / 1e2);
    let widths = GLYPH_MLP_WIDTHS.map(|width| width.to_string()).join("-");
    let source = format!("trained from {} ({})", Glyphs::ASSET, hex(&Sha256::digest(&packed)));
    record(
        root,
        GLYPH_MLP_ASSET,
        &bytes,
        &[
            ("title", toml_edit::value(format!("Fully connected classifier of glyphs, {widths}, in FP32"))),
            ("source", toml_edit::value(source)),
            ("licence", toml_edit::value("MIT OR Apache-2.0 (weights; the fonts' licences stand at the data)")),
            ("command", toml_edit::value(command)),
            ("seed", toml_edit::value(i64::try_from(options.seed).context("the seed is too large")?)),
            ("accuracy_percent_unseen_families", percent(value)),
            ("accuracy_percent_low", percent(interval.low)),
            ("accuracy_percent_high", percent(interval.high)),
        ],
    )?;
    println!("Wrote assets/{GLYPH_MLP_ASSET} ({} bytes) and its entry in assets/manifest.toml.", bytes.len());
    Ok(())
}

/// Accuracy on families that no training saw, its interval drawn by family.
fn judge(network: &MlpWeights, data: &Glyphs) -> Result<Estimate, Problem> {
    let unseen = Images::of_glyphs(data, &data.indices(Split::Test));
    let answers = pollster::block_on(async {
        let (device, _) = open_device(DeviceChoice::Cpu).await?;
        let logits = logits(&Mlp::new(network, &device), unseen.pixels.clone(), unseen.pixels_each(), &device).await?;
        Ok::<_, lab_api::LabError>(argmax(&logits, unseen.class_count()))
    })?;
    let estimate = accuracy_by_group(&answers, &unseen.labels, &unseen.groups, 0.95, &mut rng(0, "families"))?;
    println!(
        "{:.2} % of {} images of unseen families are right ({:.2} to {:.2} %, drawn by family).",
        100.0 * estimate.value,
        unseen.len(),
        100.0 * estimate.interval.low,
        100.0 * estimate.interval.high
    );
    Ok(estimate)
}
