//! The program that draws diagrams: minutes of compiling for three files that seldom change, so it is linted and tested when they,
//! or the library that it calls, have changed since. `crates/diagram/tested` says what was tested.

use std::fmt::Write as _;

use anyhow::Context as _;

use crate::step::Steps;
use crate::workspace::{Workspace, files_under};

/// What of it was tested last, beside its sources.
const TESTED: &str = "crates/diagram/tested";

/// Whose version matters, of all that stands in the lock file: names that begin so.
const LIBRARIES: &[&str] = &["merman", "dugong", "roughr"];

pub(super) fn check(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<Vec<String>> {
    let now = state(workspace)?;
    let file = workspace.root.join(TESTED);
    if std::fs::read_to_string(&file).is_ok_and(|tested| tested == now) {
        println!("  unchanged since it was tested ({TESTED})");
        return Ok(Vec::new());
    }
    let lints: &[&str] = &["clippy", "--quiet", "--package", "diagram", "--all-targets", "--", "--deny", "warnings"];
    let tests: &[&str] = &["test", "--quiet", "--package", "diagram"];
    let mut failures = Vec::new();
    for (what, words) in [("clippy of the diagrams' program", lints), ("tests of the diagrams' program", tests)] {
        let output = steps.observe(what, &mut workspace.cargo(words), false)?;
        if !output.success {
            failures.push(format!("{}\nThese are {what}; correct crates/diagram.", output.text.trim_end()));
        }
    }
    if failures.is_empty() {
        std::fs::write(&file, now)?;
        println!("  tested; commit {TESTED}");
    }
    Ok(failures)
}

/// Sources with a sum of their bytes, and libraries with their versions, a line each.
fn state(workspace: &Workspace) -> anyhow::Result<String> {
    let mut lines = String::new();
    for file in files_under(&workspace.root.join("crates/diagram")) {
        let name = workspace.name_of(&file).display().to_string();
        if name != TESTED {
            let _ = writeln!(lines, "{name} {:016x}", sum(&std::fs::read(&file)?));
        }
    }
    let lock = std::fs::read_to_string(workspace.root.join("Cargo.lock")).context("Cargo.lock cannot be read")?;
    for (name, version) in locked(&lock) {
        if LIBRARIES.iter().any(|library| name.starts_with(library)) {
            let _ = writeln!(lines, "{name} {version}");
        }
    }
    Ok(lines)
}

/// Names and versions of a lock file.
fn locked(lock: &str) -> Vec<(&str, &str)> {
    lock.split("[[package]]")
        .filter_map(|package| Some((field(package, "name")?, field(package, "version")?)))
        .collect()
}

fn field<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
}

/// FNV-1a: the same on every machine and with every compiler, and no secret hangs on it.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_source_or_library_is_noticed() {
        let root = std::env::temp_dir().join(format!("xtask-diagram-{}", std::process::id()));
        std::fs::create_dir_all(root.join("crates/diagram/src")).expect("temporary folder");
        let workspace = Workspace { root: root.clone(), target: root.clone() };
        let write = |name: &str, text: &str| std::fs::write(root.join(name), text).expect("writes");
        let lock = "[[package]]\nname = \"merman\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.1\"\n";
        write("Cargo.lock", lock);
        write("crates/diagram/src/main.rs", "fn main() {}");
        let first = state(&workspace).expect("readable");
        assert!(first.ends_with("merman 1.0.0\n") && !first.contains("serde"), "{first}");
        write(TESTED, &first);
        assert_eq!(state(&workspace).expect("readable"), first);
        write("Cargo.lock", &lock.replace("1.0.1", "1.0.2"));
        assert_eq!(state(&workspace).expect("readable"), first);
        write("Cargo.lock", &lock.replace("1.0.0", "1.0.9"));
        assert_ne!(state(&workspace).expect("readable"), first);
        write("Cargo.lock", lock);
        write("crates/diagram/src/main.rs", "fn main() { }");
        assert_ne!(state(&workspace).expect("readable"), first);
        std::fs::remove_dir_all(root).expect("temporary folder");
    }

    #[test]
    fn sums_are_those_that_are_published_for_this_function() {
        assert_eq!([sum(b""), sum(b"a")], [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c]);
    }
}
