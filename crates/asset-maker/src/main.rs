//! `asset-maker`: see `--help`. Started by `cargo xtask data`.

mod bpe;
mod corpus;
mod glyphs;
mod ngram;
mod pack;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// Makes the data sets of the book, or checks them.
#[derive(Parser)]
#[command(name = "cargo xtask data", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The corpus: technical English from the toolchain's documentation. Frozen: made anew only to compare.
    Corpus {
        /// Make nothing: check that the committed files are what the manifest says, and that the parts are apart.
        #[arg(long)]
        check: bool,
        /// Replace the frozen corpus. Everything trained on it has to be trained again.
        #[arg(long, conflicts_with = "check")]
        replace: bool,
    },
    /// The byte-pair tokenizer, learned from the training part of the corpus.
    Tokenizer {
        /// Write nothing: learn it again and compare.
        #[arg(long)]
        check: bool,
    },
    /// The baseline of language models: Kneser-Ney 5-grams over characters and over tokens, in bits per character.
    Ngram {
        /// Write nothing: count again and compare.
        #[arg(long)]
        check: bool,
    },
    /// Letters and digits of free fonts, split by family. Fetches the fonts from Debian's packages.
    Glyphs {
        /// Make nothing: check that the committed file is what the manifest says.
        #[arg(long)]
        check: bool,
        /// Where the packages are kept.
        #[arg(long, default_value = "target/fonts", conflicts_with = "check")]
        fonts: PathBuf,
        /// Draw all families into this PNG, to look at them.
        #[arg(long, conflicts_with = "check")]
        sheet: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match dispatch(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &Command) -> anyhow::Result<()> {
    let root = std::env::current_dir().context("the current folder cannot be read")?;
    anyhow::ensure!(
        root.join("assets/manifest.toml").is_file(),
        "there is no assets/manifest.toml here; run this as `cargo xtask data` inside a checkout of the book"
    );
    let root: &Path = &root;
    match command {
        Command::Corpus { check: true, .. } => corpus::check(root),
        Command::Corpus { replace, .. } => corpus::make(root, *replace),
        Command::Tokenizer { check } => bpe::run(root, *check),
        Command::Ngram { check } => ngram::run(root, *check),
        Command::Glyphs { check: true, .. } => glyphs::check(root),
        Command::Glyphs { fonts, sheet, .. } => glyphs::make(root, fonts, sheet.as_deref()),
    }
}
