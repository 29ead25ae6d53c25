//! No chapter, lab or folder carries a number in its name: order lives in SUMMARY.md alone. And no file names the machine
//! it was written on.

use std::path::Path;

use anyhow::Context as _;

use crate::step::Steps;
use crate::workspace::Workspace;

pub(crate) fn check(workspace: &Workspace, _: &mut Steps) -> anyhow::Result<Vec<String>> {
    let output = workspace
        .program("git", &["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("git cannot be started; `cargo xtask doctor` says how to get it")?;
    anyhow::ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let home = std::env::var("HOME").unwrap_or_default();
    let mut private = vec![workspace.root.display().to_string()];
    // In containers the home folder may be `/root`, which stands in many an honest path; with the slash it does not.
    private.extend((home.len() > 1).then(|| format!("{home}/")));
    private.extend(HOMES.iter().map(|home| (*home).to_owned()));
    let mut failures = Vec::new();
    for name in listing.lines() {
        failures.extend(misnamed(name));
        if let Ok(text) = std::fs::read_to_string(workspace.root.join(name)) {
            failures.extend(machine_paths(name, &text, &private));
        }
    }
    failures.dedup();
    Ok(failures)
}

/// Where people's folders lie; spelled in pieces so that this file passes its own check.
const HOMES: [&str; 3] = [concat!("/ho", "me/"), concat!("/Use", "rs/"), concat!("C:\\Use", "rs\\")];

/// A chapter, lab or folder whose name carries a number.
fn misnamed(file: &str) -> Vec<String> {
    let path = Path::new(file);
    let ordered = ["book/", "labs/", "crates/", "site/", "xtask/"].iter().any(|folder| file.starts_with(folder));
    // The number of an answer, not of a place: servers look for the page by it.
    if !ordered || file == "book/src/404.md" {
        return Vec::new();
    }
    let is_chapter = path.extension().is_some_and(|extension| extension == "md");
    let folders = path.parent().into_iter().flat_map(Path::iter);
    let names = folders.chain(is_chapter.then(|| path.file_stem()).flatten());
    let numbered = names.filter_map(|name| numbered(name.to_str()?));
    numbered.map(|why| format!("{file}: {why}.")).collect()
}

/// Why a name is refused, if it numbers what it names: `3-pruning`, `03pruning`, `chapter-3`; `int8-kernels` is fine.
pub(crate) fn numbered(name: &str) -> Option<String> {
    let digits = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
    let starts = name.starts_with(|c: char| c.is_ascii_digit());
    let counts = name.split(['-', '_', '.', ' ']).any(digits);
    (starts || counts)
        .then(|| format!("“{name}” carries a number, but order lives in SUMMARY.md alone; choose a name without one"))
}

/// Lines that name a folder of somebody's machine.
fn machine_paths(file: &str, text: &str, private: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(path) = private.iter().find(|path| line.contains(path.as_str())) {
            let line = number + 1;
            found.push(format!(
                "{file}:{line} names a folder of one machine (“{path}”); use a path relative to the checkout."
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_names_are_found_wherever_order_could_hide() {
        for bad in ["book/src/tactics/03-pruning.md", "labs/src/2_pruning/mod.rs", "book/src/part-1/pruning.md"] {
            assert_eq!(misnamed(bad).len(), 1, "{bad}");
        }
        for good in ["book/src/tactics/pruning.md", "labs/src/int8/mod.rs", "assets/digits/v1.csv", "book/src/a.b.svg"]
        {
            assert_eq!(misnamed(good), [""; 0], "{good}");
        }
    }

    #[test]
    fn a_path_of_the_machine_is_found_with_its_line() {
        let private = ["/src/book".to_owned(), HOMES[0].to_owned()];
        let found = machine_paths("a.md", &format!("fine\nsee {}ann/x\n", HOMES[0]), &private);
        assert!(found.len() == 1 && found[0].starts_with("a.md:2"), "{found:?}");
        assert!(machine_paths("a.md", "book/src/a.md", &private).is_empty());
    }
}
