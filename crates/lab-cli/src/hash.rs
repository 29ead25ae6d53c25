//! What a reference result depends on, as two hashes: of the default run, and of the study.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lab_kit::{LabEntry, data::hex};
use sha2::{Digest, Sha256};

use crate::{
    Manifest, folder,
    reach::{Sources, code_lines, joined, rust_files},
};

/// Crates whose version may change a number.
const NUMERICS: [&str; 10] =
    ["burn", "cubecl", "cubek", "gemm", "half", "macerator", "rand", "safetensors", "statrs", "wide"];

/// Modules of `lab-api` that shape a reference; links and messages cannot change one.
const CONTRACT: [&str; 6] = ["chart.rs", "drawing.rs", "param.rs", "reference.rs", "report.rs", "schema.rs"];

/// What the two halves of a reference depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceHashes {
    /// Of the default run.
    pub default_run: String,
    /// Of the study.
    pub study: String,
}

/// Hashes of the code behind a lab's numbers: the lab, what it reaches of the kit and the data crate, the contract, the
/// versions of the numeric crates and the checksums of its assets. Comments, blank lines, indentation and test modules do not
/// count, nor do modules that the lab does not reach, so that mending words and adding neighbours costs nobody a study. What
/// only the study needs (modules declared under `feature = "schema"`) does not count for the default run.
///
/// # Errors
/// A source cannot be read, or is not Rust.
pub fn source_hashes(root: &Path, entry: &LabEntry) -> anyhow::Result<SourceHashes> {
    let sources = Sources::read(root)?;
    let folder = root.join("labs/src").join(folder(entry.id));
    let all = rust_files(&folder)?;
    let of_study = only_studied(&folder, &all)?;
    let shown: Vec<PathBuf> =
        all.iter().filter(|file| !of_study.iter().any(|own| file.starts_with(own))).cloned().collect();
    Ok(SourceHashes { default_run: hash(root, entry, &sources, &shown)?, study: hash(root, entry, &sources, &all)? })
}

fn hash(root: &Path, entry: &LabEntry, sources: &Sources, files: &[PathBuf]) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    let contract = CONTRACT.map(|module| root.join("crates/lab-api/src").join(module));
    for file in files.iter().chain(&contract) {
        let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/");
        hash.update(name.as_bytes());
        hash.update(joined(code_lines(&text)).as_bytes());
    }
    for (name, code) in sources.reached_by(files)? {
        hash.update(name.as_bytes());
        hash.update(code.as_bytes());
    }
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock cannot be read")?;
    hash.update(versions(&lock).as_bytes());
    for asset in Manifest::read(root)?.offered(entry)? {
        hash.update(asset.sha256.as_bytes());
    }
    Ok(hex(&hash.finalize()))
}

/// Files and folders of modules that are declared under `feature = "schema"`: those of the study.
fn only_studied(folder: &Path, files: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let below = if file.file_name().is_some_and(|name| name == "mod.rs") {
            file.parent().unwrap_or(folder).to_owned()
        } else {
            file.with_extension("")
        };
        for (condition, declaration) in text.lines().zip(text.lines().skip(1)) {
            let name =
                declaration.trim_start_matches("pub ").strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
            if let Some(name) = name.filter(|_| condition == "#[cfg(feature = \"schema\")]") {
                found.extend([below.join(format!("{name}.rs")), below.join(name)]);
            }
        }
    }
    Ok(found)
}

/// Name and version of every numeric crate in the lock file.
fn versions(lock: &str) -> String {
    let numeric = |name: &str| NUMERICS.iter().any(|start| name.trim_matches('"').starts_with(start));
    let mut lines = lock.lines();
    let mut found = String::new();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("name = ")
            && numeric(name)
        {
            found += name;
            found += lines.next().unwrap_or_default();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_do_not_count_and_code_does() {
        let code_of = |text: &str| joined(code_lines(text));
        let one = "//! Words.\nfn a() {\n    1 + 1 // same line\n}\n\n#[cfg(test)]\nmod tests {}\n";
        let other_words = "//! Others.\n\nfn a() {\n  1 + 1 // same line\n}\n";
        assert_eq!(code_of(one), code_of(other_words));
        assert_ne!(code_of(one), code_of(&one.replace("1 + 1", "1 + 2")));
        // What follows a test module counts.
        let first = "#[cfg(test)]\nmod against;\n#[cfg(test)]\npub mod tests {\n    fn t() {\n    }\n}\nfn a() {}\n";
        assert_eq!(code_of(first), "fna(){}");
    }

    #[test]
    fn the_study_alone_is_told_from_what_both_need() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mod.rs");
        std::fs::write(&file, "mod fit;\n#[cfg(feature = \"schema\")]\nmod study;\nmod timing;\n").expect("written");
        let found = only_studied(folder.path(), &[file]).expect("readable");
        assert_eq!(found, [folder.path().join("study.rs"), folder.path().join("study")]);
    }

    #[test]
    fn only_numeric_crates_count() {
        let lock = "name = \"burn-core\"\nversion = \"0.22.1\"\n\nname = \"clap\"\nversion = \"4\"\n";
        assert_eq!(versions(lock), "\"burn-core\"version = \"0.22.1\"");
    }
}
