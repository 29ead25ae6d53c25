//! What a reference result depends on, as one hash.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lab_kit::{LabEntry, data::hex};
use sha2::{Digest, Sha256};

use crate::{Manifest, folder};

/// Crates whose version may change a number.
const NUMERICS: [&str; 10] =
    ["burn", "cubecl", "cubek", "gemm", "half", "macerator", "rand", "safetensors", "statrs", "wide"];

/// Modules of `lab-api` that shape a reference; links and messages cannot change one.
const CONTRACT: [&str; 6] = ["chart.rs", "drawing.rs", "param.rs", "reference.rs", "report.rs", "schema.rs"];

/// Hash of the code behind a lab's numbers: the lab, the kit, the contract, the versions of the numeric crates and the
/// checksums of its assets. Comments, blank lines, indentation and test modules do not count, so that mending words
/// costs nobody a study.
///
/// # Errors
/// A source cannot be read.
pub fn source_hash(root: &Path, entry: &LabEntry) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    let mut files = Vec::new();
    collect(&root.join("labs/src").join(folder(entry.id)), &mut files)?;
    collect(&root.join("crates/lab-kit/src"), &mut files)?;
    collect(&root.join("crates/lab-data/src"), &mut files)?;
    files.extend(CONTRACT.map(|module| root.join("crates/lab-api/src").join(module)));
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        hash.update(name.as_bytes());
        hash.update(code_of(&text).as_bytes());
    }
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock cannot be read")?;
    hash.update(versions(&lock).as_bytes());
    for asset in Manifest::read(root)?.offered(entry)? {
        hash.update(asset.sha256.as_bytes());
    }
    Ok(hex(&hash.finalize()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for item in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = item?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// A source, as rustfmt writes it, without what cannot change a number: comments and items that only tests see.
fn code_of(text: &str) -> String {
    let mut lines = text.lines();
    let mut code = String::new();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            // A declaration ends on its line, a module or function with a brace at the left margin.
            lines.by_ref().find(|line| *line == "}" || (!line.starts_with(' ') && line.ends_with(';')));
        } else if !line.trim_start().starts_with("//") {
            // Line breaks do not count: rustfmt moves them.
            code.extend(line.split_whitespace());
        }
    }
    code
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
        let one = "//! Words.\nfn a() {\n    1 + 1 // same line\n}\n\n#[cfg(test)]\nmod tests {}\n";
        let other_words = "//! Others.\n\nfn a() {\n  1 + 1 // same line\n}\n";
        assert_eq!(code_of(one), code_of(other_words));
        assert_ne!(code_of(one), code_of(&one.replace("1 + 1", "1 + 2")));
        // What follows a test module counts.
        let first = "#[cfg(test)]\nmod against;\n#[cfg(test)]\npub mod tests {\n    fn t() {\n    }\n}\nfn a() {}\n";
        assert_eq!(code_of(first), "fna(){}");
    }

    #[test]
    fn only_numeric_crates_count() {
        let lock = "name = \"burn-core\"\nversion = \"0.22.1\"\n\nname = \"clap\"\nversion = \"4\"\n";
        assert_eq!(versions(lock), "\"burn-core\"version = \"0.22.1\"");
    }
}
