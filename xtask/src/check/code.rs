//! Invariants that only the sources show: no lab knows another, no experiment touches the page, no script stands inline.

use std::path::{Component, Path};

use proc_macro2::{TokenStream, TokenTree};

use crate::step::Steps;
use crate::workspace::{Workspace, files_under, has_extension};

/// The package of all labs, and the module of it in which each lab is a module.
const LABS: (&str, &str) = ("labs", "registry");

pub(super) fn check(workspace: &Workspace, _: &mut Steps) -> anyhow::Result<Vec<String>> {
    let labs = workspace.root.join("labs/src");
    let mut lab_names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&labs)?.flatten().filter(|entry| entry.path().is_dir()) {
        lab_names.push(entry.file_name().to_string_lossy().into_owned());
    }
    let mut failures = Vec::new();
    for folder in [
        labs.clone(),
        workspace.root.join("crates/lab-kit/src"),
        workspace.root.join("crates/lab-layers/src"),
        workspace.root.join("crates/lab-kernels/src"),
        workspace.root.join("crates/lab-data/src"),
    ] {
        for file in files_under(&folder).iter().filter(|file| has_extension(file, "rs")) {
            let name = workspace.name_of(file).display().to_string();
            let code: TokenStream = match std::fs::read_to_string(file)?.parse() {
                Ok(code) => code,
                Err(error) => {
                    failures.push(format!("{name} is not Rust ({error}); `cargo check` says more."));
                    continue;
                }
            };
            failures.extend(touches_the_page(&name, code.clone()));
            if let Ok(inside) = file.strip_prefix(&labs) {
                failures.extend(knows_another_lab(&name, inside, code, &lab_names));
            }
        }
    }
    for folder in ["crates", "labs", "site/ui", "xtask"] {
        for file in files_under(&workspace.root.join(folder)).iter().filter(|file| has_extension(file, "rs")) {
            let name = workspace.name_of(file).display().to_string();
            failures.extend(examples(&name, &std::fs::read_to_string(file)?));
        }
    }
    for file in files_under(&workspace.root.join("site")).iter().filter(|file| is_template(file)) {
        let name = workspace.name_of(file).display().to_string();
        failures.extend(inline_scripts(&name, &std::fs::read_to_string(file)?));
    }
    Ok(failures)
}

/// Examples in doc comments: `cargo xtask test` does not look for them.
fn examples(name: &str, text: &str) -> Vec<String> {
    let is_doc = |line: &str| ["///", "//!"].iter().any(|mark| line.trim_start().starts_with(mark));
    let fences = text.lines().enumerate().filter(|(_, line)| is_doc(line) && line.contains("```"));
    let sentence = |(at, _): (usize, &str)| {
        format!("{name}:{}: code in a doc comment is never run; say it in words, or make it a test.", at + 1)
    };
    fences.step_by(2).map(sentence).collect()
}

fn is_template(file: &Path) -> bool {
    has_extension(file, "html") || has_extension(file, "hbs")
}

/// Names and literals with their lines; what comments say does not count.
fn words(code: TokenStream) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for token in code {
        match token {
            TokenTree::Group(group) => words.extend(self::words(group.stream())),
            TokenTree::Ident(word) => words.push((word.span().start().line, word.to_string())),
            TokenTree::Literal(text) => words.push((text.span().start().line, text.to_string())),
            TokenTree::Punct(_) => {}
        }
    }
    words
}

fn touches_the_page(file: &str, code: TokenStream) -> Vec<String> {
    let of_the_page = |word: &String| ["web_sys", "js_sys", "wasm_bindgen", "gloo"].contains(&word.as_str());
    let found = words(code).into_iter().filter(|(_, word)| of_the_page(word));
    found
        .map(|(line, word)| {
            format!(
                "{file}:{line} uses {word}, but an experiment touches no page and runs natively too; go through `Context` of lab-kit."
            )
        })
        .collect()
}

/// Paths of a lab's file (`inside` is its place in `labs/src`) that lead out of the lab's own module, and files of another
/// lab that it takes in by their names. A file that is no lab's may do both.
fn knows_another_lab(file: &str, inside: &Path, code: TokenStream, labs: &[String]) -> Vec<String> {
    let module = module_of(inside);
    let Some(own) = module.first().filter(|own| labs.iter().any(|lab| lab == *own)) else { return Vec::new() };
    let is_other = |name: &str| name != own && labs.iter().any(|lab| lab == name);
    let (package, registry) = LABS;
    let module: Vec<&str> = [registry].into_iter().chain(module.iter().map(String::as_str)).collect();
    let mut found = Vec::new();
    for source_paths::Named { line, path } in source_paths::named(code.clone(), package, &module) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            [first, second, ..] if *first == registry && second == own => {}
            [first, second, ..] if *first == registry && is_other(second) => found.push(format!(
                "{file}:{line} uses the lab {second}, but no lab knows another; move what both need into lab-kit."
            )),
            _ => {
                let path: String = path.iter().map(|name| format!("::{name}")).collect();
                found.push(format!(
                    "{file}:{line} reaches for crate{path}, through which other labs can be had, but no lab knows another; stay below crate::{registry}::{own}."
                ));
            }
        }
    }
    for (line, text) in words(code).into_iter().filter(|(_, word)| word.contains("../")) {
        let place = resolved(inside.parent().unwrap_or(inside), text.trim_matches(['r', '#', '"']));
        if let Some(other) = place.first().filter(|first| is_other(first)) {
            found.push(format!(
                "{file}:{line} takes a file of the lab {other} ({text}), but no lab knows another; move what both need into lab-kit."
            ));
        }
    }
    found.dedup();
    found
}

/// The module of a file below `labs/src`, as modules usually lie in files: `qat/mod.rs` is `qat`, `qat/arms.rs` is `qat::arms`.
fn module_of(inside: &Path) -> Vec<String> {
    let mut names = resolved(Path::new(""), &inside.with_extension("").to_string_lossy());
    if names.last().is_some_and(|last| last == "mod") {
        names.pop();
    }
    names
}

/// The parts of `path` as seen from `folder`, without detours.
fn resolved(folder: &Path, path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for part in folder.join(path).components() {
        match part {
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts
}

/// `<script>` with content; data blocks (`type="application/json"`) and `src` are fine.
fn inline_scripts(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices("<script") {
            let tag = &line[at..line[at..].find('>').map_or(line.len(), |end| at + end)];
            if !tag.contains("src=") && !tag.contains("application/json") && !tag.contains("application/ld+json") {
                let number = number + 1;
                found.push(format!(
                    "{file}:{number} holds an inline script, which the page's security policy forbids; move it into a file of site/js."
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> TokenStream {
        text.parse().expect("Rust")
    }

    #[test]
    fn an_example_in_a_doc_comment_is_found_once() {
        let fence = "/// ```";
        let found = examples("a.rs", &format!("//! Words.\n{fence}\n/// f();\n{fence}\n// ```\nlet a = \"```\";\n"));
        assert!(found.len() == 1 && found[0].starts_with("a.rs:2: "), "{found:?}");
    }

    #[test]
    fn an_experiment_that_touches_the_page_is_found() {
        let found = touches_the_page("a.rs", code("// web_sys is mentioned\nfn f() { web_sys::window(); }\n"));
        assert!(found.len() == 1 && found[0].starts_with("a.rs:2 uses web_sys"), "{found:?}");
        assert!(touches_the_page("a.rs", code("let my_web_sys_like = \"gloo // js_sys\";")).is_empty());
    }

    /// What is found in a file of the lab `quantization`, where there are also `pruning` and `quantized_lm`.
    fn found_in(inside: &str, text: &str) -> Vec<String> {
        let labs = ["quantization", "pruning", "quantized_lm"].map(String::from);
        knows_another_lab("a.rs", Path::new(inside), code(text), &labs)
    }

    #[test]
    fn a_lab_that_knows_another_is_found_however_it_names_it() {
        // Each of these compiles in the labs' package.
        for (inside, text) in [
            ("quantization/mod.rs", "use crate::registry::pruning::mask;"),
            ("quantization/mod.rs", "use super::pruning;"),
            ("quantization/mod.rs", "use super::{quantization::grid as own, pruning::{mask, Mask as Other}};"),
            ("quantization/mod.rs", "mod tests { use super::super::pruning::*; }"),
            ("quantization/mod.rs", "mod tests {\n mod deeper { type A = super::super::super::pruning::Mask; } }"),
            ("quantization/grid.rs", "use super::super::{pruning};"),
            ("quantization/grid.rs", "use crate::{registry::{pruning::mask}};"),
            ("quantization/grid/fine.rs", "fn f() { super::super::super::pruning::mask(); }"),
            ("quantization/grid.rs", "fn f() -> u8 { <crate::registry::pruning::Mask as Into<u8>>::into(todo!()) }"),
            ("quantization/grid.rs", "fn f() { dbg!(self::super::super::pruning::mask()) }"),
            ("quantization/grid.rs", "macro_rules! m { () => { $crate::registry::pruning::mask() }; }"),
            ("quantization/grid.rs", "pub(crate) use crate :: /* here */ registry :: r#pruning as other;"),
        ] {
            let found = found_in(inside, text);
            assert!(found.len() == 1 && found[0].contains("uses the lab pruning"), "{inside}: {text}: {found:?}");
        }
        let found =
            found_in("quantization/grid.rs", "\n\nuse crate::{\n registry::quantization::x,\n registry::pruning,\n};");
        assert!(found.len() == 1 && found[0].starts_with("a.rs:5 uses the lab pruning"), "{found:?}");
    }

    #[test]
    fn what_leads_to_all_labs_is_found_too() {
        for (inside, text) in [
            ("quantization/mod.rs", "use super::*;"),
            ("quantization/mod.rs", "use super as all; type A = all::pruning::Mask;"),
            ("quantization/grid.rs", "use crate::registry; fn f() { registry::pruning::mask() }"),
            ("quantization/grid.rs", "use crate::registry::{self as all};"),
            ("quantization/grid.rs", "use {crate as whole};"),
            ("quantization/grid.rs", "use crate::*;"),
        ] {
            let found = found_in(inside, text);
            assert!(found.len() == 1 && found[0].contains("through which other labs"), "{inside}: {text}: {found:?}");
        }
    }

    #[test]
    fn a_lab_that_takes_a_file_of_another_is_found() {
        for text in
            ["#[path = \"../pruning/mask.rs\"] mod mask;", "const A: &str = include_str!(r\"../pruning/params.json\");"]
        {
            let found = found_in("quantization/mod.rs", text);
            assert!(found.len() == 1 && found[0].contains("a file of the lab pruning"), "{text}: {found:?}");
        }
        assert!(found_in("quantization/mod.rs", "include_str!(\"../../../assets/pruning/a\")").is_empty());
        assert!(found_in("quantization/grid/fine.rs", "include_str!(\"../params.json\")").is_empty());
    }

    #[test]
    fn a_lab_may_know_itself_and_what_others_are_called() {
        for (inside, text) in [
            ("quantization/mod.rs", "use crate::registry::quantization::x;"),
            ("quantization/mod.rs", "use self::grid::Grid; mod tests { use super::*; }"),
            ("quantization/grid.rs", "use super::{Params, pruning};"),
            ("quantization/grid.rs", "pub(super) struct A(pub(crate) u8); pub(in crate::registry) fn f() {}"),
            ("quantization/grid.rs", "fn f(&self) { self.pruning(); let pruning = 1; }"),
            ("quantization/grid.rs", "use lab_kit::{pruning, registry::pruning as other}; use ::burn::pruning;"),
            ("quantization/grid.rs", "// crate::registry::pruning\nconst A: &str = \"crate::registry::pruning\";"),
            ("registry.rs", "pub mod pruning; use crate::registry::pruning::Pruning;"),
        ] {
            assert_eq!(found_in(inside, text), [""; 0], "{inside}: {text}");
        }
    }

    #[test]
    fn inline_scripts_are_found_and_data_blocks_are_not() {
        assert_eq!(inline_scripts("a.hbs", "<p>\n<script>alert(1)</script>").len(), 1);
        assert_eq!(inline_scripts("a.hbs", "<script type=\"module\">x</script>").len(), 1);
        assert!(inline_scripts("a.hbs", "<script type=\"application/json\">{}</script>").is_empty());
        assert!(inline_scripts("a.hbs", "<script type=\"module\" src=\"a.js\"></script>").is_empty());
    }
}
