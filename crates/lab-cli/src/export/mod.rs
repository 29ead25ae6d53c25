//! `export`: an entry of the Efficiency Olympics as a folder that cargo builds and runs, without the book and without a network.

mod folder;

use std::path::{Path, PathBuf};

use lab_kit::tokenizer::Tokenizer;

use crate::Problem;

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
