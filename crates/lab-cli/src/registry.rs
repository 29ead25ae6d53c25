//! `registry`: `labs/src/registry.rs` from the folders beside it.

use std::{fmt::Write as _, path::Path};

use anyhow::Context as _;

use crate::Problem;

const HEAD: &str = "\
//! Every lab of this package. Generated from the folders beside it; `cargo xtask lab registry` writes it anew. Where a
//! deleted lab keeps this from compiling, delete its lines here by hand first.
";

/// Writes the registry, or checks it.
///
/// # Errors
/// [`Problem::Failure`] when it cannot be written, or with `check` when it does not match the folders.
pub fn registry(root: &Path, check: bool) -> Result<(), Problem> {
    let path = root.join("labs/src/registry.rs");
    let wanted = text(&root.join("labs/src"))?;
    if check {
        let found = std::fs::read_to_string(&path).context("labs/src/registry.rs cannot be read")?;
        if found.replace('\r', "") == wanted {
            return Ok(());
        }
        return Err(Problem::Failure(
            "labs/src/registry.rs does not list the folders beside it: run `cargo xtask lab registry`.".into(),
        ));
    }
    std::fs::write(&path, wanted).context("labs/src/registry.rs cannot be written")?;
    Ok(())
}

/// The registry of the labs in a folder: each subfolder with a `mod.rs`, by name.
fn text(labs: &Path) -> anyhow::Result<String> {
    let mut folders = Vec::new();
    for item in std::fs::read_dir(labs).with_context(|| format!("{} cannot be read", labs.display()))? {
        let path = item?.path();
        if path.join("mod.rs").is_file()
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            folders.push(name.to_owned());
        }
    }
    folders.sort();
    let mut text = HEAD.to_owned();
    for folder in &folders {
        let _ = write!(text, "\n#[path = \"{folder}/mod.rs\"]\npub mod {folder};\n");
    }
    text += "\nlab_kit::registry! {\n";
    for folder in &folders {
        let _ = writeln!(text, "    {folder}::{} = \"{folder}\",", type_name(folder));
    }
    Ok(text + "}\n")
}

/// `weight_sharing` to `WeightSharing`: what a lab's type is called.
pub(crate) fn type_name(folder: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    folder.split('_').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_lines_in_order() {
        let labs = tempfile::tempdir().expect("temporary folder");
        for folder in ["kv_cache", "attention", "empty"] {
            std::fs::create_dir(labs.path().join(folder)).expect("made");
        }
        for folder in ["kv_cache", "attention"] {
            std::fs::write(labs.path().join(folder).join("mod.rs"), "").expect("written");
        }
        let text = text(labs.path()).expect("read");
        assert!(text.contains("#[path = \"attention/mod.rs\"]\npub mod attention;\n\n#[path = \"kv_cache/mod.rs\"]"));
        assert!(
            text.ends_with("    attention::Attention = \"attention\",\n    kv_cache::KvCache = \"kv_cache\",\n}\n")
        );
    }
}
