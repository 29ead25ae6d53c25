//! Whether both parts of the book lead to each other: a technique that strategy names has a TACTICS callout which leads to one of its
//! pages, and each technique's chapter has a STRATEGY callout. That a callout holds a reference at all is checked where it is read.

use std::{path::Path, sync::LazyLock};

use regex::Regex;

use crate::{
    catalogue::Catalogue,
    overlap::{chapters, named_in, terms},
};

static LABEL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{#([a-z]+-[A-Za-z0-9-]+)[ }]").expect("a constant pattern"));
static REFERENCE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"@([a-z]+-[A-Za-z0-9-]*[A-Za-z0-9])").expect("a constant pattern"));
static LAB: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{\{#lab ([\w-]+)\}\}").expect("a constant pattern"));

/// A technique with a chapter: its name, the label of the chapter, what it is called in running text.
type Technique = (String, String, Vec<Vec<String>>);

/// What is missing, a sentence each, for the project in `root`.
///
/// # Errors
/// A file that cannot be read, or a catalogue that does not parse.
pub fn crosslinks(root: &Path) -> std::io::Result<Vec<String>> {
    let catalogue = std::fs::read_to_string(root.join("book/data/methods.toml"))?;
    let catalogue = Catalogue::parse(&catalogue)
        .map_err(|(line, message)| std::io::Error::other(format!("book/data/methods.toml:{line}: {message}")))?;
    let techniques: Vec<Technique> = catalogue
        .methods
        .iter()
        .filter_map(|method| Some((method.name.clone(), method.chapter.clone()?, terms(&method.id, &method.name))))
        .collect();
    let src = root.join("book/src");
    Ok(missing(&chapters(&src, "strategy")?, &chapters(&src, "tactics")?, &techniques))
}

/// Compares files `(name, text)`. A technique whose chapter is not in tactics is an instrument of strategy and left alone.
fn missing(strategy: &[(String, String)], tactics: &[(String, String)], techniques: &[Technique]) -> Vec<String> {
    let linked: Vec<String> = strategy.iter().flat_map(|(_, text)| references(text, "[!TACTICS]")).collect();
    let mut all = Vec::new();
    for (name, chapter, terms) in techniques {
        let Some((file, _)) = tactics.iter().find(|(_, text)| labels(text).any(|label| label == *chapter)) else {
            continue;
        };
        let folder = format!("{}/", file.trim_end_matches(".md"));
        let of_it = |page: &str| page == file || page.starts_with(&folder);
        let pages: Vec<&str> = tactics.iter().filter(|(page, _)| of_it(page)).map(|(_, text)| text.as_str()).collect();
        let reached = pages.iter().any(|text| labels(text).any(|label| linked.contains(&label)));
        if let Some((named, _)) = strategy.iter().find(|(_, text)| named_in(text, terms))
            && !reached
        {
            all.push(format!(
                "{named} names “{name}”, and no TACTICS callout of the strategy part leads to {file}: add one that refers to its exact section"
            ));
        }
        if !pages.iter().any(|text| text.contains("[!STRATEGY]")) {
            all.push(format!(
                "{file} has no STRATEGY callout: add one that refers to the decision which “{name}” serves"
            ));
        }
    }
    all
}

/// The labels that stand in a text, those of its labs included.
fn labels(text: &str) -> impl Iterator<Item = String> {
    let labs = LAB.captures_iter(text).map(|found| format!("lab-{}", &found[1]));
    LABEL.captures_iter(text).map(|found| found[1].to_owned()).chain(labs)
}

/// What the callouts of a kind refer to.
fn references(text: &str, kind: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("> [!") {
            inside = format!("[!{words}").starts_with(kind);
        } else if !line.starts_with('>') {
            inside = false;
        }
        if inside {
            found.extend(REFERENCE.captures_iter(line).map(|reference| reference[1].to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    fn techniques() -> Vec<Technique> {
        vec![
            ("Pruning".to_owned(), "sec-pruning".to_owned(), terms("pruning", "Pruning")),
            ("Roofline".to_owned(), "sec-limits".to_owned(), terms("roofline", "Roofline")),
        ]
    }

    const STRATEGY: &str = "# A\n\nYou may try pruning first, by the roofline.\n\n";
    const CALLOUT: &str = "> [!TACTICS] How\n> It is in @sec-pruning-filters.\n";
    const BACK: &str = "> [!STRATEGY] Why\n> It is in @sec-rule.\n";

    #[test]
    fn both_directions_are_asked_for_by_name() {
        let pages = [
            file("tactics/pruning.md", &format!("# Pruning {{#sec-pruning}}\n\n{BACK}")),
            file("tactics/pruning/filters.md", "# Filters {#sec-pruning-filters}\n"),
        ];
        let linked = [file("strategy/a.md", &format!("{STRATEGY}{CALLOUT}"))];
        assert_eq!(missing(&linked, &pages, &techniques()), Vec::<String>::new());
        // A reference outside of a callout leads nowhere.
        let plain = [file("strategy/a.md", &format!("{STRATEGY}> [!NOTE] N\n> @sec-pruning-filters.\n\n@sec-pruning"))];
        let found = missing(&plain, &pages, &techniques());
        assert!(
            matches!(&found[..], [one] if one.contains("strategy/a.md") && one.contains("tactics/pruning.md")),
            "{found:?}"
        );
        // What strategy does not name needs no callout there.
        let silent = [file("strategy/a.md", "# A\n\nNothing.\n")];
        assert_eq!(missing(&silent, &pages, &techniques()), Vec::<String>::new());
        let without = [file("tactics/pruning.md", "# Pruning {#sec-pruning}\n"), pages[1].clone()];
        let found = missing(&silent, &without, &techniques());
        assert!(matches!(&found[..], [one] if one.contains("no STRATEGY callout")), "{found:?}");
    }

    #[test]
    fn the_shipped_book_leads_both_ways() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(crosslinks(&root).expect("reads"), Vec::<String>::new());
    }
}
