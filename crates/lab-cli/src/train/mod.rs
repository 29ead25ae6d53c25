//! `train`: the weights that labs ship with, from their seed.

mod cells;
mod digits;
mod glyph_mlp;
mod glyphs;
mod language;
mod runner;

use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use lab_api::nearest;
use lab_kit::models::LanguageModel;

use crate::Problem;

/// What can be trained.
const NAMES: [&str; 6] = ["digits", "glyphs", "glyph-mlp", "lm", "draft", "cells"];

/// What to train, and how far.
#[derive(Debug, Clone, Args)]
pub struct TrainOptions {
    /// What to train: `digits`, `glyph-mlp` (glyphs, fully connected), `glyphs` (teacher and small network), `lm` (the language model), `draft` (its small twin), `cells` (the table of architecture search).
    pub name: String,
    /// Seed of the initial weights and of the order of the data.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(0..=1 << 53))]
    pub seed: u64,
    /// Write nothing: compare with what is shipped. `digits` is trained again, the others are judged again.
    #[arg(long)]
    pub check: bool,
    /// Write nothing: train, and print how well it went.
    #[arg(long, conflicts_with = "check")]
    pub trial: bool,
    /// Begin anew, even if a training of these settings was stopped half way.
    #[arg(long)]
    pub fresh: bool,
    /// Train no further: ship what the last checkpoint holds.
    #[arg(long, conflicts_with_all = ["check", "fresh"])]
    pub ship_checkpoint: bool,
    /// Other than the usual number of steps.
    #[arg(long)]
    pub steps: Option<usize>,
    /// Other than the usual learning rate.
    #[arg(long)]
    pub learning_rate: Option<f64>,
}

/// Trains what the options name.
///
/// # Errors
/// [`Problem::Input`] for an unknown name; [`Problem::Failure`] when what was trained is not good enough, or differs
/// from what is shipped.
pub fn train(root: &Path, options: &TrainOptions) -> Result<(), Problem> {
    match options.name.as_str() {
        "digits" => digits::digits(root, options),
        "glyphs" => glyphs::glyphs(root, options),
        "glyph-mlp" => glyph_mlp::glyph_mlp(root, options),
        "lm" => language::language(root, &LanguageModel::full(), options),
        "cells" => cells::cells(root, options),
        "draft" => language::language(root, &LanguageModel::draft(), options),
        name => {
            let hint = nearest(name, NAMES).map_or_else(|| ".".to_owned(), |near| format!("; did you mean “{near}”?"));
            Err(Problem::Input(format!(
                "there is nothing named “{name}” to train{hint} What can be trained: {}.",
                NAMES.join(", ")
            )))
        }
    }
}

/// The command that does it again.
fn command(options: &TrainOptions) -> String {
    let mut command = format!("cargo xtask train {}", options.name);
    if options.seed != 0 {
        command += &format!(" --seed {}", options.seed);
    }
    if let Some(steps) = options.steps {
        command += &format!(" --steps {steps}");
    }
    if let Some(rate) = options.learning_rate {
        command += &format!(" --learning-rate {rate}");
    }
    command
}

/// Compares a figure with what the manifest says of an asset.
fn compare(root: &Path, asset: &str, key: &str, found: f64, drift: f64) -> Result<(), Problem> {
    let manifest = std::fs::read_to_string(root.join("assets/manifest.toml")).context("no manifest")?;
    let manifest: toml::Table = toml::from_str(&manifest).context("assets/manifest.toml is no TOML")?;
    let entries = manifest.get("asset").and_then(toml::Value::as_array).into_iter().flatten();
    let mut entries = entries.filter(|entry| entry.get("name").and_then(toml::Value::as_str) == Some(asset));
    let said = entries.next().and_then(|entry| entry.get(key)).and_then(toml::Value::as_float);
    let said = said.with_context(|| format!("the manifest says no {key} of {asset}"))?;
    if (said - found).abs() > drift {
        return Err(Problem::Failure(format!(
            "the manifest says that the {key} of {asset} is {said}, more than {drift} off."
        )));
    }
    println!("The manifest says the same ({said}).");
    Ok(())
}
