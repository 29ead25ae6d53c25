//! The shipped book: no problems, every directive in use.

mod common;

use std::path::Path;

use textbook::Textbook;

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the project's root")
}

#[test]
fn the_book_has_no_problems() {
    let root = root();
    if let Err(problems) = common::preprocess(&root, &Textbook::new(&root).without_drawing()) {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"));
    }
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
    "{{#code ",
    "{{#diff ",
    "{{#value ",
    "{{#methods",
    "{{#path ",
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
