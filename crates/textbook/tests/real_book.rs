//! The shipped book: no problems, every directive in use.

mod common;

use std::path::Path;

use mdbook_preprocessor::book::BookItem;
use textbook::Textbook;

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the project's root")
}

#[test]
fn the_book_has_no_problems() {
    let root = root();
    let book = common::preprocess(&root, &Textbook::new(&root).without_drawing()).unwrap_or_else(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"));
    });
    // Nor does a formula of it show an entity, or a tag that Markdown takes for text.
    let mut formulas = 0;
    for item in book.iter() {
        let BookItem::Chapter(chapter) = item else { continue };
        for formula in chapter.content.split("<math ").skip(1).filter_map(|rest| rest.split("</math>").next()) {
            formulas += 1;
            let seen = formula.split_once('>').map_or("", |(_, seen)| seen);
            assert!(!seen.contains("&amp;nbsp;") && !seen.contains("\"minsize"), "{}: {formula}", chapter.name);
        }
    }
    assert!(formulas > 500, "only {formulas} formulas");
}

/// What an author may write: each is in use somewhere, so that each is seen in the built book.
const DIRECTIVES: &[&str] = &[
    "{#sec-",
    "{#fig-",
    "{#tbl-",
    "{#eq-",
    "@sec-",
    "@fig-",
    "@tbl-",
    "@eq-",
    "@lst-",
    "@lab-",
    "[@",
    "$$",
    "```mermaid",
    "```quiz",
    "answer = ",
    "[!TACTICS]",
    "[!STRATEGY]",
    "[!PREDICT]",
    "{{#lab ",
    "{{#chart ",
    "{{#code ",
    "{{#diff ",
    "{{#value ",
    "{{#methods",
    "{{#path ",
    "{{#paths}}",
    "{{#map}}",
    "{{#miniature ",
    "{{#guide}}",
    "{{#guide pairs}}",
    "{{#guide scenarios}}",
    "](?binds=",
    "{{#glossary}}",
    "{{#bibliography}}",
];

#[test]
fn every_directive_is_in_use() {
    fn read(folder: &Path, all: &mut String) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                read(&entry.path(), all);
            } else if entry.path().extension().is_some_and(|extension| extension == "md") {
                all.push_str(&std::fs::read_to_string(entry.path()).expect("reads"));
            }
        }
    }
    let mut all = String::new();
    read(&root().join("book/src"), &mut all);
    let unused: Vec<_> = DIRECTIVES.iter().filter(|directive| !all.contains(**directive)).collect();
    assert!(unused.is_empty(), "no chapter uses {unused:?}");
}

#[test]
fn every_picture_of_a_diagram_is_committed_and_in_use() {
    let inventory = textbook::diagram_inventory(&root()).expect("reads");
    assert_eq!(inventory, textbook::DiagramInventory::default());
}

/// The example that authors are given is a chapter that builds.
#[test]
fn the_small_chapter_of_the_directives_page_builds() {
    let guide = std::fs::read_to_string(root().join("docs/directives.md")).expect("reads");
    let start = guide.find("````markdown\n# Rounding").expect("the example") + "````markdown\n".len();
    let end = start + guide[start..].find("\n````\n").expect("its end") + 1;
    let project = tempfile::tempdir().expect("a folder");
    for folder in
        ["book/src", "book/data", "labs/src", "crates/lab-kit/src", "crates/lab-layers/src", "crates/lab-kernels/src"]
    {
        common::copy(&root().join(folder), &project.path().join(folder));
    }
    for file in ["book/book.toml", "assets/manifest.toml"] {
        std::fs::create_dir_all(project.path().join(file).parent().expect("a folder")).expect("makes");
        std::fs::copy(root().join(file), project.path().join(file)).expect("copies");
    }
    let src = project.path().join("book/src");
    let edit = |name: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(src.join(name)).expect("reads");
        assert!(text.contains(from), "{name} has no {from}");
        std::fs::write(src.join(name), text.replacen(from, to, 1)).expect("writes");
    };
    std::fs::write(src.join("tactics/rounding.md"), &guide[start..end]).expect("writes");
    std::fs::write(src.join("figures/rounding.svg"), "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 9 9\"/>")
        .expect("writes");
    edit("SUMMARY.md", "(tactics/quantization.md)", "(tactics/quantization.md)\n- [Rounding](tactics/rounding.md)");
    // A lab stands on one page of the book only.
    edit("tactics/quantization/rounding.md", "{{#lab quantization}}", "");
    let result = common::preprocess(project.path(), &Textbook::new(project.path()).without_drawing());
    let problems: Vec<String> = result.err().into_iter().flatten().map(|problem| problem.to_string()).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
