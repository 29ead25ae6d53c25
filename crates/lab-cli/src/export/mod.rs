//! `export`: an entry of the Efficiency Olympics as a folder that cargo builds and runs, without the book and without a network.

mod folder;

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use lab_api::{DeviceChoice, LabError, value_text};
use lab_kit::{
    Context, LabEntry,
    data::{Corpus, Part},
    find,
    models::{LanguageModel, StateDict},
    olympics::{CALIBRATION, LanguageMaterial, ScoredEntry, parse_line, spread_windows, text_hash},
    open_device,
    tokenizer::Tokenizer,
};

use crate::{
    Manifest, NativeHost, Problem, RunOptions, Show,
    run::{run_entry, values},
    verify::stated,
};

/// More windows of text than the lab shows to a model, to see what flows through its matrices.
const MOST_WINDOWS: usize = 256;

/// Arguments of `export`.
#[derive(clap::Args, Debug, Clone)]
pub struct ExportOptions {
    /// The lab whose entry is exported: olympics.
    pub id: String,
    /// A parameter of the entry, for example `step_1=four_bits`. May be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE", num_args = 1..)]
    pub set: Vec<String>,
    /// Seed of the generator.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(0..=1 << 53))]
    pub seed: u64,
    /// The folder to make. It must not exist yet, or be empty.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Weights as FP16 under the names of Hugging Face, which any tool loads, instead of packed codes.
    #[arg(long)]
    pub halves: bool,
}

/// Writes the folder.
///
/// # Errors
/// [`Problem::Input`] for another lab, refused parameters, an entry that writes no text, or a folder that is in use;
/// [`Problem::Failure`] where the entry cannot be made.
pub fn export(root: &Path, options: &ExportOptions) -> Result<(), Problem> {
    if options.id != "olympics" {
        let why = format!("“{}” has no entry to export: `export olympics` does", options.id);
        return Err(Problem::Input(why));
    }
    let used = std::fs::read_dir(&options.out).is_ok_and(|mut inside| inside.next().is_some());
    if used || options.out.is_file() {
        let why = format!("{} exists and is not empty: name a new folder", options.out.display());
        return Err(Problem::Input(why));
    }
    let entry = entry(root, options)?;
    let tokenizer = std::fs::read(root.join("assets").join(Tokenizer::ASSET))
        .map_err(|error| Problem::Failure(format!("assets/{} cannot be read ({error})", Tokenizer::ASSET)))?;
    let files = folder::files(&entry, &tokenizer, options.halves)?;
    let refused =
        |error: std::io::Error| Problem::Input(format!("{} cannot be written ({error})", options.out.display()));
    for (name, bytes) in &files {
        let path = options.out.join(name);
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(refused)?;
        std::fs::write(&path, bytes).map_err(refused)?;
    }
    println!(
        "Wrote {} ({} files). There: cargo run --release -- \"The borrow checker\"",
        options.out.display(),
        files.len()
    );
    Ok(())
}

/// The entry that the lab measures with these parameters: the lab says which steps were taken and what tells the weights from all
/// others, and what is made here must be the same.
fn entry(root: &Path, options: &ExportOptions) -> Result<ScoredEntry, Problem> {
    let lab = find(labs::registry::ALL, &options.id)?;
    let asked = RunOptions { id: options.id.clone(), set: options.set.clone(), ..RunOptions::default() };
    let values = values(lab, &asked)?;
    if values.get("subject").map(value_text).as_deref() == Some("classifier") {
        let why = "the exported program writes text: export with subject=language, not the classifier";
        return Err(Problem::Input(why.to_owned()));
    }
    let (manifest, host) = (Manifest::read(root)?, Rc::new(NativeHost::new(root, Show::Progress)));
    let record = run_entry(lab, &values, options.seed, DeviceChoice::Cpu, &manifest, host.clone());
    host.finish();
    let report = record?.report;
    if let Some(verdict) = report.notes.first() {
        println!("{verdict}");
    }
    let card = ["Steps", "Calibration text (SHA-256)", "Weights (SHA-256)"].map(|head| stated(&report, head));
    let [line, text, wanted] = &card;
    let entry = pollster::block_on(make(lab, (line, text), options.seed, &manifest, host))?;
    if entry.stored.fingerprint() != *wanted {
        let why =
            "the weights made for the export are not those that the lab measured: a bug of `export`, please report it";
        return Err(Problem::Failure(why.to_owned()));
    }
    Ok(entry)
}

async fn make(
    lab: &LabEntry,
    (line, shown): (&str, &str),
    seed: u64,
    manifest: &Manifest,
    host: Rc<NativeHost>,
) -> Result<ScoredEntry, LabError> {
    let cx = Context::new(open_device(DeviceChoice::Cpu).await?, seed, manifest.offered(lab)?, host);
    let weights = async |which: LanguageModel| -> Result<StateDict, LabError> {
        StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?)
    };
    let (full, draft) = (weights(LanguageModel::full()).await?, weights(LanguageModel::draft()).await?);
    let tokenizer = Tokenizer::read(&cx.asset(Tokenizer::ASSET).await?)?;
    let corpus = Corpus::read(Part::Validation, &cx.asset(Part::Validation.asset()).await?)?;
    let text = tokenizer.encode(&corpus.text);
    // The card tells by its hash which text the weights were rounded with.
    let mut windows = (1..=MOST_WINDOWS).map(|count| spread_windows(&text, count, CALIBRATION));
    let calibration = windows.find(|windows| text_hash(windows) == shown).unwrap_or_default();
    let material = LanguageMaterial { full, draft, calibration, text };
    let mut entry = ScoredEntry::language(&material);
    for step in parse_line(line)? {
        entry = entry.step_language(step, &material, &cx).await?;
    }
    Ok(entry)
}
