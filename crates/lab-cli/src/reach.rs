//! What a lab reaches of the crates below it: the modules whose paths it names, those that these name, and so on. A result can
//! only change when one of them does.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use source_paths::{TokenStream, Written, written};

/// The crates that are followed, with the names under which Rust knows them.
const CRATES: [(&str, &str); 4] = [
    ("lab_kit", "crates/lab-kit/src"),
    ("lab_layers", "crates/lab-layers/src"),
    ("lab_kernels", "crates/lab-kernels/src"),
    ("lab_data", "crates/lab-data/src"),
];
/// Kernels of the other device: references are made on the CPU.
const OTHER_DEVICE: &str = "gpu";

/// A module by its crate's name and its path in it.
type Place = (usize, Vec<String>);

/// One file of a crate.
struct Module {
    /// Its code, as [`code_of`] leaves it, without the lines that only say what other modules are called.
    code: String,
    paths: Vec<Written>,
    /// Names of the types that it defines.
    defines: BTreeSet<String>,
    /// Names in the heads of its `impl` blocks: methods of a type may stand in another module than the type.
    implements: BTreeSet<String>,
}

/// The sources of the followed crates.
pub(crate) struct Sources(BTreeMap<Place, Module>);

impl Sources {
    /// Reads them.
    ///
    /// # Errors
    /// A source cannot be read, or is not Rust.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut modules = BTreeMap::new();
        for (number, (_, folder)) in CRATES.iter().enumerate() {
            let folder = root.join(folder);
            for file in rust_files(&folder)? {
                let path = module_of(file.strip_prefix(&folder).unwrap_or(&file));
                if path.first().is_none_or(|first| first != OTHER_DEVICE) {
                    modules.insert((number, path.clone()), Module::read(&file, &path)?);
                }
            }
        }
        Ok(Self(modules))
    }

    /// The code that these files of a lab reach, module by module, each with its name.
    ///
    /// # Errors
    /// A file cannot be read, or is not Rust.
    pub(crate) fn reached_by(&self, files: &[PathBuf]) -> anyhow::Result<Vec<(String, &str)>> {
        let mut found = BTreeSet::new();
        for file in files {
            for path in Module::read(file, &[])?.paths {
                // A lab's own modules are all among the files; only what lies below it is looked for.
                if let Some(number) = path.path.first().and_then(|first| followed(first)) {
                    self.land(number, &path.path[1..], &mut found);
                }
            }
        }
        Ok(found
            .iter()
            .map(|(number, path)| (name(*number, path), self.0[&(*number, path.clone())].code.as_str()))
            .collect())
    }

    /// Follows an absolute path of a crate to where its item is defined.
    fn land(&self, number: usize, path: &[String], found: &mut BTreeSet<Place>) {
        let Some(length) = (0..=path.len()).rev().find(|n| self.0.contains_key(&(number, path[..*n].to_vec()))) else {
            return;
        };
        let place = (number, path[..length].to_vec());
        let module = &self.0[&place];
        let item = path.get(length).map(String::as_str);
        let offered = |written: &&Written| {
            let name = written.offered_as.as_deref();
            name.is_some() && (item.is_none_or(|item| item == "*") || name == item || name == Some("*"))
        };
        let mut named = false;
        for written in module.paths.iter().filter(offered) {
            named |= written.offered_as.as_deref() == item;
            self.follow(number, written, &path[length.min(path.len())..], found);
        }
        if !named {
            self.include(place, found);
        }
    }

    /// Follows a path as it is written; what lies behind it in the path that led here comes along.
    fn follow(&self, number: usize, written: &Written, behind: &[String], found: &mut BTreeSet<Place>) {
        let first = written.path.first().map_or("", String::as_str);
        let mut whole = written.path.clone();
        if whole.last().is_some_and(|last| last == "*") {
            whole.pop();
            whole.extend(behind.iter().take(1).cloned());
        }
        whole.extend(behind.iter().skip(1).cloned());
        let from_here = Written { path: whole.clone(), ..written.clone() };
        if let Some(named) = from_here.from_root("crate") {
            self.land(number, &named.path, found);
        } else if let Some(other) = followed(first) {
            self.land(other, &whole[1..], found);
        } else {
            let child = [&written.module[..], &whole[..]].concat();
            if self.0.contains_key(&(number, child[..=written.module.len()].to_vec())) {
                self.land(number, &child, found);
            }
        }
    }

    /// Takes a module in, and all that it uses.
    fn include(&self, place: Place, found: &mut BTreeSet<Place>) {
        if !found.insert(place.clone()) {
            return;
        }
        let module = &self.0[&place];
        for written in module.paths.iter().filter(|written| written.offered_as.is_none()) {
            self.follow(place.0, written, &[], found);
        }
        let elsewhere = |(other, candidate): (&Place, &Module)| {
            (other.0 == place.0 && !candidate.implements.is_disjoint(&module.defines)).then(|| other.clone())
        };
        let more: Vec<Place> = self.0.iter().filter_map(elsewhere).collect();
        more.into_iter().for_each(|place| self.include(place, found));
    }
}

impl Module {
    fn read(file: &Path, path: &[String]) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let lines = code_lines(&text);
        let tokens: TokenStream = lines
            .join("\n")
            .parse()
            .map_err(|error| anyhow::anyhow!("{} is not Rust ({error}); `cargo check` says more", file.display()))?;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let names = |starts: &[&str], whole: bool| -> BTreeSet<String> {
            let heads = lines.iter().filter_map(|line| {
                let line = line.trim_start();
                let line = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
                starts.iter().find_map(|start| line.strip_prefix(start))
            });
            let words = heads.flat_map(|head| {
                let words = head.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
                words.take(if whole { usize::MAX } else { 1 }).map(str::to_owned)
            });
            words.collect()
        };
        Ok(Self {
            paths: written(tokens, &path),
            defines: names(&["struct ", "enum "], false),
            implements: names(&["impl ", "impl<"], true),
            code: without_declarations(&lines),
        })
    }
}

fn followed(name: &str) -> Option<usize> {
    CRATES.iter().position(|(known, _)| *known == name)
}

fn name(number: usize, path: &[String]) -> String {
    std::iter::once(CRATES[number].0).chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join("::")
}

/// `a/b.rs` and `a/b/mod.rs` are the module `a::b`, `lib.rs` is the root.
fn module_of(file: &Path) -> Vec<String> {
    let mut path: Vec<String> =
        file.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| last == "mod" || last == "lib") {
        path.pop();
    }
    path
}

/// Every Rust file under a folder, in order.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = item?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The lines of a source, as rustfmt writes it, that can change a number: comments and items that only tests see are left out.
pub(crate) fn code_lines(text: &str) -> Vec<&str> {
    let mut lines = text.lines();
    let mut code = Vec::new();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            // A declaration ends on its line, a module or function with a brace at the left margin.
            lines.by_ref().find(|line| *line == "}" || (!line.starts_with(' ') && line.ends_with(';')));
        } else if !line.trim_start().starts_with("//") {
            code.push(line);
        }
    }
    code
}

/// Code without line breaks, which rustfmt moves.
pub(crate) fn joined<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    lines.into_iter().flat_map(str::split_whitespace).collect()
}

/// What a module computes: without `mod a;` and `use a::B;`, so that a new neighbour changes nothing.
fn without_declarations(lines: &[&str]) -> String {
    let mut kept = Vec::new();
    let mut lines = lines.iter().copied();
    while let Some(line) = lines.next() {
        let head = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
        if head.starts_with("use ") || (head.starts_with("mod ") && head.ends_with(';')) {
            if !line.ends_with(';') {
                lines.by_ref().find(|line| line.ends_with(';'));
            }
        } else {
            kept.push(line);
        }
    }
    joined(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(lab: &str, files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().expect("in a folder")).expect("created");
            std::fs::write(&file, text).expect("written");
            file
        };
        for (_, crate_folder) in CRATES {
            write(&format!("{crate_folder}/lib.rs"), "");
        }
        for (name, text) in files {
            write(&format!("crates/{name}"), text);
        }
        let lab = write("labs/src/a/mod.rs", lab);
        let sources = Sources::read(folder.path()).expect("readable");
        sources.reached_by(&[lab]).expect("Rust").into_iter().map(|(name, _)| name).collect()
    }

    const KIT: [(&str, &str); 8] = [
        (
            "lab-kit/src/lib.rs",
            "pub mod quant;\npub mod stats;\npub mod train;\nmod context;\npub use context::Context;\npub use lab_data::tokenizer;\n",
        ),
        ("lab-kit/src/context.rs", "pub struct Context;\n"),
        ("lab-kit/src/stats.rs", "pub fn median() {}\n"),
        ("lab-kit/src/train.rs", "use crate::stats::median;\npub fn train() { median() }\n"),
        (
            "lab-kit/src/quant/mod.rs",
            "mod grid;\nmod gptq;\npub use grid::Grid;\npub use gptq::{gptq, Hessian};\npub fn sqnr() { super::stats::median() }\n",
        ),
        ("lab-kit/src/quant/grid.rs", "pub struct Grid;\n"),
        ("lab-kit/src/quant/gptq.rs", "use super::Grid;\nimpl Grid {\n}\npub struct Hessian;\npub fn gptq() {}\n"),
        ("lab-data/src/tokenizer.rs", "pub struct Tokenizer;\n"),
    ];

    #[test]
    fn only_what_is_named_is_reached_and_what_that_names() {
        assert_eq!(reached("use lab_kit::Context;", &KIT), ["lab_kit::context"]);
        assert_eq!(reached("use lab_kit::{stats::median};", &KIT), ["lab_kit::stats"]);
        assert_eq!(reached("fn f() { lab_kit::train::train() }", &KIT), ["lab_kit::stats", "lab_kit::train"]);
        // The module's own function, not what it offers of others.
        assert_eq!(reached("use lab_kit::quant::sqnr;", &KIT), ["lab_kit::quant", "lab_kit::stats"]);
        // A type comes with the methods that stand elsewhere.
        assert_eq!(reached("use lab_kit::quant::Grid;", &KIT), ["lab_kit::quant::gptq", "lab_kit::quant::grid"]);
        // All of a module, by its name or by a star.
        for all in ["use lab_kit::quant;", "use lab_kit::quant::*;"] {
            let all = reached(all, &KIT);
            assert_eq!(all, ["lab_kit::quant", "lab_kit::quant::gptq", "lab_kit::quant::grid", "lab_kit::stats"]);
        }
        assert_eq!(reached("use lab_kit::tokenizer::Tokenizer;", &KIT), ["lab_data::tokenizer"]);
        // Tests and comments reach nothing.
        assert!(reached("// lab_kit::stats\n#[cfg(test)]\nmod tests {\n    use lab_kit::stats;\n}\n", &KIT).is_empty());
    }

    #[test]
    fn a_new_neighbour_changes_no_module() {
        let before = ["pub mod a;", "use x::{", "    y,", "};", "fn f() {}"];
        let after = ["pub mod a;", "pub mod b;", "pub use b::B;", "use x::y;", "fn f() {}"];
        assert_eq!(without_declarations(&before), without_declarations(&after));
        assert_ne!(without_declarations(&before), without_declarations(&["fn f() { 1 }"]));
    }
}
