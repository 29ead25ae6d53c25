//! The digit classifiers.

use std::{path::Path, rc::Rc};

use anyhow::Context as _;
use asset_manifest::{record, toml_edit};
use lab_api::{DeviceChoice, LabError};
use lab_kit::{
    CrossValidated, Host,
    data::{Digits, folds, hex},
    mlp::{Mlp, MlpWeights},
    open_device, rng,
    train::{Training, argmax, logits, train as fit},
};
use sha2::{Digest, Sha256};

use super::TrainOptions;
use crate::{NativeHost, Problem, Show};

/// Least cross-validated accuracy that is worth shipping, in per cent.
const LEAST_ACCURACY: f64 = 96.0;
/// How far a training on other hardware may end up from the shipped one, in points: its sums have another order.
const DRIFT: f64 = 0.6;

/// Trains the five networks; with `check` compares instead of writing.
pub(super) fn digits(root: &Path, options: &TrainOptions) -> Result<(), Problem> {
    let seed = options.seed;
    let data = std::fs::read(root.join("assets").join(Digits::ASSET)).context("the digits cannot be read")?;
    let digits = Digits::read(&data)?;
    let host = Rc::new(NativeHost::new(root, Show::Progress));
    let trained = pollster::block_on(cross_validate(&digits, seed, host.as_ref()));
    host.finish();
    let (trained, right) = trained?;
    let accuracy = 100.0 * right as f64 / digits.len() as f64;
    println!("{right} of {} right by 5-fold cross-validation: {accuracy:.2} %", digits.len());

    if options.trial {
        return Ok(());
    }
    if options.check {
        let shipped =
            std::fs::read(root.join("assets").join(CrossValidated::ASSET)).context("no weights are shipped")?;
        let shipped = CrossValidated::read(&shipped, digits.len())?;
        if shipped == trained {
            println!("The shipped weights are these, bit by bit.");
            return Ok(());
        }
        let before = 100.0 * pollster::block_on(judge(&digits, &shipped))? as f64 / digits.len() as f64;
        println!("The shipped weights differ and reach {before:.2} %.");
        return if (before - accuracy).abs() <= DRIFT && shipped.fold == trained.fold {
            Ok(())
        } else {
            Err(Problem::Failure(format!("the two differ by more than {DRIFT} points, or in their folds.")))
        };
    }
    if accuracy < LEAST_ACCURACY {
        return Err(Problem::Failure(format!("{accuracy:.2} % is below {LEAST_ACCURACY} %: nothing was written.")));
    }
    let command = if seed == 0 {
        "cargo xtask train digits".to_owned()
    } else {
        format!("cargo xtask train digits --seed {seed}")
    };
    let bytes = trained.write(&command)?;
    let seed = i64::try_from(seed).context("the seed is too large")?;
    record(
        root,
        CrossValidated::ASSET,
        &bytes,
        &[
            (
                "title",
                "Five 64-128-128-10 digit classifiers, one for each fold of a 5-fold cross-validation, in FP32".into(),
            ),
            ("source", format!("trained from {} ({})", Digits::ASSET, hex(&Sha256::digest(&data)))),
            ("licence", "MIT OR Apache-2.0 (weights); CC BY 4.0 (data they were trained on)".into()),
            ("command", command),
        ]
        .map(|(key, words)| (key, toml_edit::value(words)))
        .into_iter()
        .chain([
            ("seed", toml_edit::value(seed)),
            ("cross_validated_accuracy_percent", toml_edit::value((accuracy * 100.0).round() / 100.0)),
        ])
        .collect::<Vec<_>>(),
    )?;
    println!("Wrote assets/{} ({} bytes) and its entry in assets/manifest.toml.", CrossValidated::ASSET, bytes.len());
    Ok(())
}

/// Five networks, and how many of the images they name right that they have never seen.
async fn cross_validate(digits: &Digits, seed: u64, host: &NativeHost) -> Result<(CrossValidated, usize), LabError> {
    let (device, _) = open_device(DeviceChoice::Cpu).await?;
    let mut trained = CrossValidated { fold: folds(&digits.labels, CrossValidated::FOLDS, seed), models: Vec::new() };
    let how = Training::default();
    for fold in 0..usize::from(CrossValidated::FOLDS) {
        let start = MlpWeights::init(&CrossValidated::WIDTHS, &mut rng(seed, &format!("weights {fold}")));
        let seen = trained.trained_on(fold);
        let labels: Vec<u8> = seen.iter().map(|i| digits.labels[*i]).collect();
        let pixels = digits.gather(&seen);
        let stage = format!("Training network {} of {}", fold + 1, CrossValidated::FOLDS);
        let model = fit(
            &start,
            (&pixels, &labels),
            &how,
            &mut rng(seed, &format!("order {fold}")),
            &device,
            async |done, total| {
                host.progress(&stage, (fold as f64 + done as f64 / total as f64) / f64::from(CrossValidated::FOLDS));
                Ok(())
            },
        )
        .await?;
        trained.models.push(model);
    }
    let right = judge(digits, &trained).await?;
    Ok((trained, right))
}

/// How many images the networks name right, each by the one that has not seen it.
async fn judge(digits: &Digits, networks: &CrossValidated) -> Result<usize, LabError> {
    let (device, _) = open_device(DeviceChoice::Cpu).await?;
    let mut right = 0;
    for (fold, weights) in networks.models.iter().enumerate() {
        let held_out = networks.held_out(fold);
        let logits = logits(&Mlp::new(weights, &device), digits.gather(&held_out), Digits::PIXELS, &device).await?;
        let answers = argmax(&logits, Digits::CLASSES);
        right += held_out.iter().zip(answers).filter(|(i, answer)| digits.labels[**i] == *answer).count();
    }
    Ok(right)
}
