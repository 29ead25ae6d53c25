//! `export`: an entry of the Efficiency Olympics as a folder that cargo builds and runs, without the book and without a network.

use std::path::{Path, PathBuf};

use lab_kit::{
    olympics::{Entry, export as forms},
    tokenizer::Tokenizer,
};

use crate::{Problem, RunOptions};

/// The program, as `crates/tiny-run` has it: copied, so that what is exported is what is tested.
const SOURCES: [(&str, &str); 8] = [
    ("main.rs", include_str!("../../tiny-run/src/main.rs")),
    ("lib.rs", include_str!("../../tiny-run/src/lib.rs")),
    ("model.rs", include_str!("../../tiny-run/src/model.rs")),
    ("file.rs", include_str!("../../tiny-run/src/file.rs")),
    ("json.rs", include_str!("../../tiny-run/src/json.rs")),
    ("coder.rs", include_str!("../../tiny-run/src/coder.rs")),
    ("tokens.rs", include_str!("../../tiny-run/src/tokens.rs")),
    ("sha256.rs", include_str!("../../tiny-run/src/sha256.rs")),
];
const CARGO_TOML: &str = include_str!("../template/tiny-run.toml");
const README: &str = include_str!("../template/tiny-run.md");

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
    let files = files(&entry, &tokenizer, options.halves)?;
    let refused = |error: std::io::Error| Problem::Input(format!("{} cannot be written ({error})", options.out.display()));
    std::fs::create_dir_all(options.out.join("src")).map_err(refused)?;
    for (name, bytes) in &files {
        std::fs::write(options.out.join(name), bytes).map_err(refused)?;
    }
    println!("Wrote {} ({} files). There: cargo run --release -- \"The borrow checker\"", options.out.display(), files.len());
    Ok(())
}

/// Everything in the folder.
fn files(entry: &Entry, tokenizer: &[u8], halves: bool) -> Result<Vec<(String, Vec<u8>)>, Problem> {
    let model = if halves { forms::halves(entry, tokenizer)? } else { forms::packed(entry, tokenizer)? };
    let steps = entry.line();
    let form = match (halves, entry.entropy(), entry.stored.coded.is_empty()) {
        (true, ..) => "`model.safetensors` holds the weights as FP16 under Hugging Face's names.",
        (_, true, _) => "`model.safetensors` holds codes as Huffman streams; the program packs them when it starts.",
        (_, _, false) => "`model.safetensors` holds packed codes, which the product unpacks row by row.",
        _ => "`model.safetensors` holds the weights as FP32.",
    };
    let fill = |text: &str| {
        text.replace("@VERSION@", env!("CARGO_PKG_VERSION"))
            .replace("@KIB@", &model.len().div_ceil(1024).to_string())
            .replace("@STEPS@", if steps.is_empty() { "none" } else { &steps })
            .replace("@FORM@", form)
    };
    let mut files = vec![("Cargo.toml".to_owned(), fill(CARGO_TOML)), ("README.md".to_owned(), fill(README))];
    files.extend(SOURCES.iter().map(|(name, text)| (format!("src/{name}"), (*text).to_owned())));
    let mut files: Vec<(String, Vec<u8>)> = files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    files.push(("model.safetensors".to_owned(), model));
    files.push(("tokenizer.json".to_owned(), tokenizer.to_vec()));
    Ok(files)
}
