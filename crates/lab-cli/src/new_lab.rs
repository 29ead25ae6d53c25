//! `new-lab`: a small lab that is real, complete, and passes all tests: a start to write over.

use std::{path::Path, process::Command};

use anyhow::Context as _;
use lab_api::RESERVED;

use crate::{Problem, folder, registry, registry::type_name};

const MOD_RS: &str = include_str!("../template/mod.rs.txt");
const LAB_MD: &str = include_str!("../template/lab.md");

/// Words that cannot be a module, or are files of `labs/src` already.
const TAKEN: [&str; 44] = [
    "as", "async", "await", "box", "break", "const", "continue", "crate", "do", "dyn", "else", "enum", "extern",
    "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut",
    "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "use", "where",
    "while", "registry", "lib",
];

/// Writes `labs/src/<name>/`, lists it in the registry, and runs it once for its reference.
///
/// # Errors
/// [`Problem::Input`] for a name that cannot be; [`Problem::Failure`] when the new lab does not compile or run.
pub fn new_lab(root: &Path, name: &str) -> Result<(), Problem> {
    let labs: Vec<&str> = labs::registry::ALL.iter().map(|entry| entry.id).collect();
    check_name(name, &labs).map_err(Problem::Input)?;
    let folder = folder(name);
    let at = root.join("labs/src").join(&folder);
    if at.exists() {
        return Err(Problem::Input(format!("labs/src/{folder} exists already: choose another name or delete it.")));
    }
    write(&at, name)?;
    registry(root, false)?;
    eprintln!("Wrote labs/src/{folder}; compiling it to make its reference.");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--package", "lab-cli", "--", "reference", name])
        .current_dir(root)
        .status()
        .context("cargo cannot be started")?;
    if !status.success() {
        return Err(Problem::Failure(format!(
            "labs/src/{folder} was written, but `cargo xtask reference {name}` failed."
        )));
    }
    println!("labs/src/{folder} is a lab that runs: change mod.rs and lab.md, then `cargo xtask reference {name}`.");
    println!("A chapter shows it with {{{{#lab {name}}}}}.");
    Ok(())
}

fn write(at: &Path, name: &str) -> anyhow::Result<()> {
    let folder = folder(name);
    let words = name.replace('-', " ");
    let title = words[..1].to_uppercase() + &words[1..];
    let fill = |text: &str| {
        text.replace("@ID@", name)
            .replace("@FOLDER@", &folder)
            .replace("@TYPE@", &type_name(&folder))
            .replace("@TITLE@", &title)
    };
    std::fs::create_dir_all(at).with_context(|| format!("{} cannot be made", at.display()))?;
    std::fs::write(at.join("mod.rs"), fill(MOD_RS))?;
    std::fs::write(at.join("lab.md"), fill(LAB_MD))?;
    // `reference` writes the real one; until then the registry needs a file to include.
    std::fs::write(at.join("params.json"), "[]\n")?;
    Ok(())
}

/// Why a name cannot be a lab's, in one sentence.
fn check_name(name: &str, labs: &[&str]) -> Result<(), String> {
    let words: Vec<&str> = name.split('-').collect();
    let plain = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !words.iter().all(|word| plain(word)) {
        let near: Vec<String> = name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        let hint = if near.is_empty() { String::new() } else { format!(", for example “{}”", near.join("-")) };
        return Err(format!("“{name}” is not made of lower-case words joined by hyphens{hint}."));
    }
    let numbered = |word: &&&str| word.starts_with(|c: char| c.is_ascii_digit());
    if words.iter().find(numbered).is_some() {
        return Err(format!("“{name}” carries a number: order lives in SUMMARY.md alone, so name what the lab shows."));
    }
    if labs.contains(&name) {
        return Err(format!("there is a lab named “{name}” already."));
    }
    if TAKEN.contains(&name) || RESERVED.contains(&name) {
        return Err(format!("“{name}” is a word of Rust or of our links: choose another."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_with_a_reason() {
        let why = |name: &str| check_name(name, &["pruning"]).expect_err(name);
        assert!(why("Weight Sharing").contains("“weight-sharing”"));
        assert!(why("../evil").contains("lower-case"));
        assert!(why("").contains("lower-case"));
        for numbered in ["01-intro", "lab-2", "3d"] {
            assert!(why(numbered).contains("carries a number"), "{numbered}");
        }
        assert!(why("pruning").contains("already"));
        assert!(why("move").contains("word of Rust") && why("seed").contains("links"));
        assert_eq!(check_name("weight-sharing", &["pruning"]), Ok(()));
        assert_eq!(check_name("int8-gemm", &[]), Ok(()));
    }

    #[test]
    fn the_template_is_filled() {
        let folder = tempfile::tempdir().expect("temporary folder");
        write(folder.path(), "weight-sharing").expect("written");
        let code = std::fs::read_to_string(folder.path().join("mod.rs")).expect("there");
        let words = std::fs::read_to_string(folder.path().join("lab.md")).expect("there");
        assert!(code.contains("pub struct WeightSharing;") && code.contains("\"weight-sharing\""));
        assert!(words.contains("title = \"Weight sharing\""));
        assert!(!code.contains('@') && !words.contains('@'));
    }
}
