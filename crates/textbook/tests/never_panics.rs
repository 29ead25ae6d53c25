//! Whatever an author writes is a page or a list of problems, never a panic: what directives are made of, in any order.

mod common;

use proptest::prelude::*;
use textbook::Textbook;

/// Pieces of directives, whole and broken, with what bytes and lines do to them: letters of several bytes, spaces at the ends.
const PIECES: &[&str] = &[
    "@",
    "@Zoë123",
    "@nosuc日本",
    "@jacob2018",
    "@sec-rule",
    "[@jacob2018, p. 3]",
    "[see ",
    "; ",
    "]",
    "[",
    "(",
    ")",
    "!",
    "](../figures/dots.png)",
    "{fig-alt=\"ä\"}",
    "{#fig-ü}",
    "{#fig-x fig-alt=\"日\"",
    "}",
    "{",
    "{#sec-é}",
    "{.unnumbered}",
    "# ",
    "\n## ",
    "\n### Größe ",
    "$",
    "$$",
    "$x_ü$",
    "$$\nx\n$$",
    " {#eq-ö}",
    "\\",
    "\\frac{",
    "5$",
    "`",
    "```",
    "\n```rust {",
    "\n```quiz\n",
    "id = \"q\"\n",
    "question = \"?\"\n",
    "answer = 1\n",
    "\n```mermaid\n%% alt: é\n",
    "flowchart LR\n",
    "\n```\n",
    "{{#lab sample-lab}}",
    "{{#lab ../..}}",
    "{{#code sample_lab/steps.rs:naive",
    "{{#code /etc/hostname}}",
    "{{#diff a b}}",
    "{{#value sample-lab.weight_bytes}}",
    "{{#value ",
    "{{#methods applied=",
    "{{#path 日}}",
    "{{#guide}}",
    "{{#guide 日",
    "[a](?binds=日)",
    "{{#",
    "}}",
    "#lst-x \"cap",
    "\"",
    "> ",
    "> [!NOTE]",
    "> [!NOTE] Words  ",
    "> [!PREDICT] é\t",
    "\n> ",
    "\n>\n> ",
    "\n> > ",
    "[!ANSWER] ",
    "- ",
    "\n  - ",
    "1. ",
    "| a | b |\n|---|---|\n| ü | 2 |\n",
    "| | |\n|-|-|\n",
    "\n: Caption {#tbl-x}",
    "\n: ",
    "|",
    "[^1]",
    "\n[^1]: ",
    "<div>",
    "<!--",
    "<b id=\"日\">",
    "-->",
    "[words](?lab=sample-lab&bits=4)",
    "[w](../strategy/choosing.md#sec-rule)",
    "[w](",
    "[x]: ../a.md",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    "\r\n",
    "ü",
    "日本",
    "quantization",
    "\u{a0}",
    "\u{200b}",
    "~~",
    "*",
    "**",
    "_",
    "|--",
    "\\(",
    "\\)",
    "\\[ä^2\\]",
    "\\begin{align}",
    "[^gone]",
    "\n## ::\n",
    "\n## Help\n",
    "<div>$ü$",
    "$\\text{ü $x$}$",
    "$\\operatorname*{ü}_x$",
    "$\\text{$}$",
    "$\\ü$",
    "[-@jacob2018]",
    "@jacob2018/x.é",
    "-",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_page_or_a_list_of_problems(pieces in prop::collection::vec(prop::sample::select(PIECES), 1..14)) {
        thread_local! {
            static PROJECT: (tempfile::TempDir, Textbook) = {
                let folder = tempfile::tempdir().expect("a folder");
                common::copy(&common::fixture(), folder.path());
                let textbook = Textbook::new(folder.path()).without_drawing();
                (folder, textbook)
            };
        }
        PROJECT.with(|(folder, textbook)| {
            let chapter = folder.path().join("book/src/tactics/inert.md");
            std::fs::write(chapter, pieces.concat()).expect("writes");
            let _ = common::preprocess(folder.path(), textbook);
        });
    }
}
