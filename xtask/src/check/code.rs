//! Invariants that only the sources show: no lab knows another, no experiment touches the page, no script stands inline.

use std::path::Path;

use crate::step::Steps;
use crate::workspace::{Workspace, files_under, has_extension};

pub(super) fn check(workspace: &Workspace, _: &mut Steps) -> anyhow::Result<Vec<String>> {
    let labs = workspace.root.join("labs/src");
    let mut lab_names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&labs)?.flatten().filter(|entry| entry.path().is_dir()) {
        lab_names.push(entry.file_name().to_string_lossy().into_owned());
    }
    let mut failures = Vec::new();
    for folder in [labs.clone(), workspace.root.join("crates/lab-kit/src"), workspace.root.join("crates/lab-data/src")]
    {
        for file in files_under(&folder).iter().filter(|file| has_extension(file, "rs")) {
            let name = workspace.name_of(file).display().to_string();
            let text = std::fs::read_to_string(file)?;
            failures.extend(touches_the_page(&name, &text));
            let own = file.strip_prefix(&labs).ok().and_then(|rest| rest.iter().next()).and_then(|lab| lab.to_str());
            if let Some(own) = own.filter(|own| lab_names.iter().any(|lab| lab == own)) {
                failures.extend(knows_another_lab(&name, &text, own, &lab_names));
            }
        }
    }
    for file in files_under(&workspace.root.join("site")).iter().filter(|file| is_template(file)) {
        let name = workspace.name_of(file).display().to_string();
        failures.extend(inline_scripts(&name, &std::fs::read_to_string(file)?));
    }
    Ok(failures)
}

fn is_template(file: &Path) -> bool {
    has_extension(file, "html") || has_extension(file, "hbs")
}

/// Code lines with their numbers; comments say what they like.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
}

/// Whether `word` stands in `line` as a whole path segment.
fn has_word(line: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(inside) && !line[at + word.len()..].starts_with(inside))
}

fn touches_the_page(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in code_lines(text) {
        if let Some(word) = ["web_sys", "js_sys", "wasm_bindgen", "gloo"].iter().find(|word| has_word(line, word)) {
            found.push(format!(
                "{file}:{number} uses {word}, but an experiment touches no page and runs natively too; go through `Context` of lab-kit."
            ));
        }
    }
    found
}

fn knows_another_lab(file: &str, text: &str, own: &str, labs: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in code_lines(text) {
        for other in labs.iter().filter(|lab| *lab != own) {
            let paths = ["crate", "super", "labs"].map(|root| format!("{root}::{other}"));
            if paths.iter().any(|path| has_word(line, path)) {
                found.push(format!(
                    "{file}:{number} uses the lab {other}, but no lab knows another; move what both need into lab-kit."
                ));
            }
        }
    }
    found
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

    #[test]
    fn an_experiment_that_touches_the_page_is_found() {
        let found = touches_the_page("a.rs", "// web_sys is mentioned\nlet w = web_sys::window();\n");
        assert!(found.len() == 1 && found[0].starts_with("a.rs:2 uses web_sys"), "{found:?}");
        assert!(touches_the_page("a.rs", "let my_web_sys_like = 1;").is_empty());
    }

    #[test]
    fn a_lab_that_knows_another_is_found() {
        let labs = ["quantization".to_owned(), "pruning".to_owned()];
        for line in ["use crate::pruning::mask;", "use super::pruning;", "labs::pruning::run()"] {
            assert_eq!(knows_another_lab("a.rs", line, "quantization", &labs).len(), 1, "{line}");
        }
        for line in
            ["use crate::quantization::x;", "use lab_kit::pruning;", "let pruning = 1;", "crate::pruning_like()"]
        {
            assert!(knows_another_lab("a.rs", line, "quantization", &labs).is_empty(), "{line}");
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
