//! Bad input: each kind of wrong directive stops the build with file, line, text and the nearest valid name.

mod common;

use std::path::Path;

use textbook::{Problem, Textbook};

/// One slip: what is written, on which line the complaint is, and what it holds.
struct Slip {
    text: &'static str,
    line: usize,
    message: &'static str,
    offender: &'static str,
    nearest: Option<&'static str>,
}

const fn slip(
    text: &'static str,
    line: usize,
    message: &'static str,
    offender: &'static str,
    nearest: Option<&'static str>,
) -> Slip {
    Slip { text, line, message, offender, nearest }
}

const QUIZ: &str =
    "[[options]]\ntext = \"a\"\ncorrect = true\nfeedback = \"f\"\n\n[[options]]\ntext = \"b\"\nfeedback = \"g\"\n```\n";

const SLIPS: &[Slip] = &[
    slip("\nSee @sec-referenzes.\n", 2, "no such label", "@sec-referenzes", Some("@sec-references")),
    slip("\nSee @fig-lines.\n", 2, "no such label", "@fig-lines", Some("@fig-line")),
    slip("\nSee [@tbl-bit].\n", 2, "no such label", "@tbl-bit", Some("@tbl-bits")),
    slip("\nSee @lab-nosuch.\n", 2, "no such label", "@lab-nosuch", None),
    slip("\n[Try](?lab=sample-lob).\n", 2, "no such lab", "?lab=sample-lob", Some("sample-lab")),
    slip(
        "\n[Try](?lab=sample-lab&bit=4).\n",
        2,
        "the lab sample-lab refuses bit: ",
        "?lab=sample-lab&bit=4",
        Some("bits"),
    ),
    slip("\n[Try](?lab=sample-lab&bits=5).\n", 2, "refuses bits: ", "?lab=sample-lab&bits=5", Some("bits")),
    slip("\n[Try](?lab=sample-lab&seed=-1).\n", 2, "refuses seed: ", "?lab=sample-lab&seed=-1", None),
    slip("## Twice {#sec-rule}\n", 1, "stands twice (also in book/src/strategy/choosing.md)", "#sec-rule", None),
    slip("$$\nx\n$$ {#fig-wrong}\n", 1, "a label of this kind (equation) begins with “eq-”", "#fig-wrong", None),
    slip("Words {#sec-stray} here.\n", 1, "labels nothing", "{#sec-stray}", None),
    slip("## A {#same}\n\n## B {#same}\n", 3, "id stands twice on the page", "#same", None),
    slip("Known [@jacob2019].\n", 1, "bibliography has no such key", "@jacob2019", Some("@jacob2018")),
    slip("As @jakob2018 says.\n", 1, "bibliography has no such key", "@jakob2018", Some("@jacob2018")),
    slip("As @Zoë1234 says.\n", 1, "bibliography has no such key", "@Zoë1234", None),
    slip("Both [@jacob2018; doe2020a].\n", 1, "names a key with @", "[@jacob2018; doe2020a]", None),
    slip("\n\n$\\nosuch x$\n", 3, "does not parse", "$\\nosuch x$", None),
    slip("$$\n\\frac{a\n$$\n", 1, "not closed, or its braces do not match", "\\frac{a", None),
    slip("$$\n\\frac{a}\n$$\n", 1, "does not parse", "\\frac{a}", None),
    slip("$$\nx\n", 1, "not closed", "x", None),
    slip("Text $$x$$ in a line.\n", 1, "lines of its own", "x", None),
    slip("\n| | |\n|-|-|\n| a | b |\n", 2, "a head without words", "| | |", None),
    slip(
        "| a | b |\n|---|---|\n| $|x|$ | norm |\n",
        3,
        "this row has 4 cells and its head 2",
        "| $|x|$ | norm |",
        None,
    ),
    slip("| a | b |\n|---|---|\n| `p | q` | code |\n", 3, "written \\|", "| `p | q` | code |", None),
    slip("| $|x|$ | b |\n|---|---|\n| 1 | 2 |\n", 1, "this is no table", "| $|x|$ | b |", None),
    slip("A note[^gone].\n", 1, "no such note", "[^gone]", None),
    slip("A note[^nots].\n\nB[^note].\n\n[^note]: N.\n", 1, "no such note", "[^nots]", Some("[^note]")),
    slip("A.\n\n[^unused]: N.\n", 3, "nothing refers to this note", "[^unused]", None),
    slip("LaTeX style \\(a+b\\).\n", 1, "write a formula as $…$", "\\(a+b\\)", None),
    slip("\\[ a = b \\]\n", 1, "between lines of $$", "\\[ a = b \\]", None),
    slip("\\begin{align} a &= b \\end{align}\n", 1, "stands within a formula", "\\begin{align}", None),
    slip("<div>$q$ in a raw block</div>\n", 1, "a formula within raw HTML is not read", "$q$", None),
    slip("## ::\n", 1, "a heading without letters has no address", "## ::", None),
    slip("## Contents\n", 1, "the id “contents” is one of the page itself", "## Contents", None),
    slip("## Help\n", 1, "{#sec-help}", "## Help", None),
    slip("## {#sec-blank}\n", 1, "a heading without words", "## {#sec-blank}", None),
    slip(
        "## Footnote 1\n\nA[^1].\n\n[^1]: N.\n",
        1,
        "the page makes the id “footnote-1” itself",
        "## Footnote 1",
        None,
    ),
    slip("<b id=\"tip\">x</b>\n", 1, "one of the page itself", "id=\"tip\"", None),
    slip("$\\bm{w}$\n", 1, "write \\boldsymbol", "$\\bm{w}$", None),
    slip("$$\n\\operatorname{f_x}\n$$\n", 1, "an operator is a word", "\\operatorname{f_x}", None),
    slip("![c](../figures/line.svg){#fig-other}\n", 1, "needs fig-alt", "../figures/line.svg", None),
    slip(
        "![c](../figures/lin.svg){#fig-other fig-alt=\"a\"}\n",
        1,
        "no such file",
        "../figures/lin.svg",
        Some("line.svg"),
    ),
    slip(
        "![c](https://example.org/x.png){fig-alt=\"a\"}\n",
        1,
        "nothing from elsewhere",
        "https://example.org/x.png",
        None,
    ),
    slip("![c](../../data/secret.png){fig-alt=\"a\"}\n", 1, "leaves book/src", "../../data/secret.png", None),
    slip("![c](/figures/dots.png){fig-alt=\"a\"}\n", 1, "leaves book/src", "/figures/dots.png", None),
    slip("In a line ![c](../../data/secret.png).\n", 1, "leaves book/src", "../../data/secret.png", None),
    slip("[a](../../data/secret.png)\n", 1, "leaves book/src", "../../data/secret.png", None),
    slip("[a](/preface.md)\n", 1, "leaves book/src", "/preface.md", None),
    slip(
        "![c](../figures/line.svg){#fig-other fig-atl=\"a\" fig-alt=\"b\"}\n",
        1,
        "no attribute of a figure",
        "fig-atl",
        Some("fig-alt"),
    ),
    slip("> [!TACTIC] T\n> @sec-references\n", 1, "no such callout", "[!TACTIC]", Some("[!TACTICS]")),
    slip(
        "> [!STRATEGY]\n> No reference.\n",
        1,
        "needs a reference (@sec-…) to a chapter of strategy/",
        "[!STRATEGY]",
        None,
    ),
    slip(
        "> [!STRATEGY]\n> To @sec-references only.\n",
        1,
        "needs a reference (@sec-…) to a chapter of strategy/",
        "[!STRATEGY]",
        None,
    ),
    slip("> [!NOTE] Title\n", 1, "empty", "[!NOTE]", None),
    slip("> [!NOTE] Title  \n", 1, "empty", "[!NOTE]", None),
    slip("> [!NOTE] \t\n>\n", 1, "empty", "[!NOTE]", None),
    slip("> > [!NOTE] Title\n> > words\n", 1, "cannot stand in a quotation", "[!NOTE]", None),
    slip("{{#cod sample_lab/steps.rs}}\n", 1, "no such directive", "{{#cod sample_lab/steps.rs}}", Some("code")),
    slip("In a line {{#lab sample-lab}} is wrong.\n", 1, "stands alone in a paragraph", "{{#lab sample-lab}}", None),
    slip(
        "{{#code sample_lab/step.rs:naive}}\n",
        1,
        "no such file (sample_lab/step.rs)",
        "sample_lab/step.rs:naive",
        Some("sample_lab/steps.rs"),
    ),
    slip(
        "{{#code lab-kit/step.rs}}\n",
        1,
        "no such file (lab-kit/step.rs)",
        "lab-kit/step.rs",
        Some("lab-kit/steps.rs"),
    ),
    slip("{{#code sample_lab/steps.rs:naiv}}\n", 1, "no such anchor (naiv)", "sample_lab/steps.rs:naiv", Some("naive")),
    slip("{{#code sample_lab/bad.rs:open}}\n", 1, "never closed", "sample_lab/bad.rs:open", None),
    slip("{{#code sample_lab/bad.rs:double}}\n", 1, "stands twice", "sample_lab/bad.rs:double", None),
    slip("{{#code ../../secret.rs}}\n", 1, "leaves labs/src", "../../secret.rs", None),
    slip("{{#code /etc/hostname}}\n", 1, "leaves labs/src", "/etc/hostname", None),
    slip("{{#code lab-kit//etc/hostname}}\n", 1, "leaves labs/src", "lab-kit//etc/hostname", None),
    slip(
        "{{#diff sample_lab/steps.rs:naive sample_lab/../../../secret.rs}}\n",
        1,
        "leaves labs/src",
        "sample_lab/../../../secret.rs",
        None,
    ),
    slip("{{#diff sample_lab/steps.rs:naive}}\n", 1, "two addresses", "sample_lab/steps.rs:naive", None),
    slip(
        "{{#diff sample_lab/steps.rs:naive sample_lab/steps.rs:naive}}\n",
        1,
        "are the same",
        "sample_lab/steps.rs:naive",
        None,
    ),
    slip(
        "Here {{#value sample-lab.weight_byte}}.\n",
        1,
        "no such value",
        "sample-lab.weight_byte",
        Some("sample-lab.weight_bytes"),
    ),
    slip(
        "Here {{#value sample-labb.weight_bytes}}.\n",
        1,
        "no such lab",
        "sample-labb.weight_bytes",
        Some("sample-lab"),
    ),
    slip("Here {{#value accuracy}}.\n", 1, "written lab.metric", "accuracy", None),
    slip("{{#chart sample-lab.curv}}\n", 1, "no such chart", "sample-lab.curv", Some("sample-lab.curve")),
    slip("{{#chart sample-lab.study.curve}}\n", 1, "no such chart", "sample-lab.study.curve", None),
    slip("{{#chart curve}}\n", 1, "written lab.chart", "curve", None),
    slip("{{#chart sample-lab.curve #lst-curve}}\n", 1, "begins with “fig-”", "#lst-curve", None),
    slip("{{#lab sample-lap}}\n", 1, "no such lab", "sample-lap", Some("sample-lab")),
    slip("{{#lab broken}}\n", 1, "no reference.json", "broken", None),
    slip("{{#methods aplied=after}}\n", 1, "no attribute of a method (aplied=after)", "aplied=after", Some("applied")),
    slip("{{#methods applied=aftr}}\n", 1, "applied is one of", "applied=aftr", Some("after")),
    slip("{{#path beginer}}\n", 1, "no such learning path", "beginer", Some("beginner")),
    slip("{{#map applied=after}}\n", 1, "{{#map}} shows all of the catalogue", "applied=after", None),
    slip("{{#miniature sample-lob bits}}\n", 1, "there is no such lab", "sample-lob bits", Some("sample-lab")),
    slip("{{#miniature sample-lab bitz}}\n", 1, "the lab has no such control (bitz)", "sample-lab bitz", Some("bits")),
    slip("{{#miniature sample-lab}}\n", 1, "a miniature names the controls", "sample-lab", None),
    slip("{{#guide pears}}\n", 1, "the guide has these parts", "pears", Some("pairs")),
    slip("\n[a](?binds=memry)\n", 2, "no answer to “binds”", "?binds=memry", Some("memory")),
    slip("\n[a](?bind=memory)\n", 2, "asks no question “bind”", "?bind=memory", Some("binds")),
    slip("```rusty\nfn f() {}\n```\n", 1, "no language", "rusty", Some("rust")),
    slip("```rust {cap=\"open}\nfn f() {}\n```\n", 1, "attributes are", "cap=\"open", None),
    slip("```mermaid\nflowchart LR\n A --> B\n```\n", 1, "text alternative", "flowchart LR", None),
    slip("```mermaid\n%% alt: Words.\nflowchart LR\n A --> NeverDrawn\n```\n", 1, "never drawn", "flowchart LR", None),
    slip("```quiz\nid = \"q\"\n\nqestion = \"?\"\n```\n", 4, "unknown field `qestion`", "qestion = \"?\"", None),
    slip("```quiz\nid = \"q\"\nquestion = \"?\"\n```\n", 2, "either [[options]] or an answer", "id = \"q\"", None),
    slip(
        "[a](../strategy/chosing.md)\n",
        1,
        "no chapter of the book",
        "../strategy/chosing.md",
        Some("strategy/choosing.md"),
    ),
    slip(
        "[a](../strategy/choosing.md#sec-rul)\n",
        1,
        "strategy/choosing.md has no such anchor",
        "../strategy/choosing.md#sec-rul",
        Some("#sec-rule"),
    ),
    slip("[a](../glossary.md#term-nosuch)\n", 1, "glossary.md has no such anchor", "../glossary.md#term-nosuch", None),
    slip("[a](#nowhere)\n", 1, "has no such anchor", "#nowhere", None),
];

fn problems(root: &Path, text: &str) -> Vec<Problem> {
    problems_by(&Textbook::new(root), root, text)
}

fn problems_by(textbook: &Textbook, root: &Path, text: &str) -> Vec<Problem> {
    std::fs::write(root.join("book/src/tactics/inert.md"), text).expect("writes");
    common::preprocess(root, textbook).err().unwrap_or_default()
}

fn broken_project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    common::copy(&common::fixture(), folder.path());
    let lab = folder.path().join("labs/src");
    let bad = "// ANCHOR: open\nfn f() {}\n// ANCHOR: double\nx\n// ANCHOR_END: double\n// ANCHOR: double\ny\n// ANCHOR_END: double\n";
    std::fs::write(lab.join("sample_lab/bad.rs"), bad).expect("writes");
    // What lies outside of the folders that chapters take files from, and exists.
    std::fs::write(folder.path().join("secret.rs"), "fn f() {}\n").expect("writes");
    let picture = common::fixture().join("book/src/figures/dots.png");
    std::fs::copy(picture, folder.path().join("book/data/secret.png")).expect("copies");
    std::fs::create_dir(lab.join("broken")).expect("a folder");
    std::fs::copy(lab.join("sample_lab/lab.md"), lab.join("broken/lab.md")).expect("copies");
    folder
}

#[test]
fn each_slip_is_named_with_its_place_and_its_remedy() {
    let project = broken_project();
    // One for all: what it remembers must not hide a later slip.
    let textbook = Textbook::new(project.path());
    let mut wrong = Vec::new();
    for slip in SLIPS {
        let found = problems_by(&textbook, project.path(), slip.text);
        let hit = found.iter().any(|problem| {
            problem.file == "book/src/tactics/inert.md"
                && problem.line == slip.line
                && problem.message.contains(slip.message)
                && problem.text.contains(slip.offender)
                && problem.nearest.as_deref() == slip.nearest
        });
        // One slip, one complaint.
        if !hit || found.len() != 1 {
            let all: Vec<String> = found.iter().map(ToString::to_string).collect();
            wrong.push(format!(
                "{:?} (line {}, “{}”, {:?}) gave {all:#?}",
                slip.text, slip.line, slip.message, slip.nearest
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(problems_by(&textbook, project.path(), "# Right\n"), []);
}

#[test]
fn a_name_in_any_script_is_no_citation() {
    assert_eq!(problems(broken_project().path(), "Ask @Zoë123 or @nosuc日本.\n"), []);
}

#[test]
fn all_problems_of_a_build_come_at_once_and_in_order() {
    let project = broken_project();
    std::fs::write(
        project.path().join("book/src/preface.md"),
        "# P {#sec-preface}\n\n@sec-zzz and $\\nosuch$\n\n$$x$$ {#eq-preface}\n",
    )
    .expect("writes");
    let found = problems(project.path(), &format!("# T\n\n@fig-lin\n\n```quiz\nid = \"x\"\nquestion = \"\"\n{QUIZ}"));
    let lines: Vec<(String, usize)> = found.iter().map(|p| (p.file.clone(), p.line)).collect();
    let preface = "book/src/preface.md".to_owned();
    let inert = "book/src/tactics/inert.md".to_owned();
    assert_eq!(lines, [(preface.clone(), 3), (preface, 3), (inert.clone(), 3), (inert, 6)]);
}

#[test]
fn data_files_are_checked_too() {
    let cases = [
        ("bibliography.bib", "@article{x, title={A\n", "bibliography.bib:"),
        ("glossary.toml", "[a]\nforms = []\ndefinition = \"d\"\n", "glossary.toml:1: the term “a” needs"),
        ("methods.toml", "[[method]]\nid = 1\n", "methods.toml:2: the catalogue does not parse"),
        ("guide.toml", "[[axis]]\nid = 1\n", "guide.toml:2: the guide does not parse"),
        ("guide.toml", "[[technique]]\nid = \"othr\"\n", "guide.toml:2: the catalogue has no method “othr”"),
        ("guide-scenarios.toml", "[[scenario]]\nid = 1\n", "guide-scenarios.toml:2: the scenarios do not parse"),
    ];
    for (file, text, expected) in cases {
        let project = broken_project();
        std::fs::write(project.path().join("book/data").join(file), text).expect("writes");
        let found = problems(project.path(), "# T\n");
        assert!(
            found.iter().any(|p| p.to_string().starts_with(&format!("book/data/{expected}"))),
            "{file}: {found:#?}"
        );
    }
}

/// A year as MathSciNet exports it. Once it was 63 problems: the file was lost, and every citation of the book unknown.
#[test]
fn one_odd_entry_is_one_problem_and_the_others_stay() {
    let project = broken_project();
    let file = project.path().join("book/data/bibliography.bib");
    let good = std::fs::read_to_string(&file).expect("reads");
    let odd = "\n@book{voight2021, author = {Voight, John}, title = {Numbers}, publisher = {P}, year = {[2021] \\copyright 2021}}\n";
    std::fs::write(&file, format!("{good}{odd}")).expect("writes");
    let found = problems(project.path(), "As @voight2021 and @jacob2018 show.\n");
    assert_eq!(found.len(), 1, "{found:#?}");
    let told = found[0].to_string();
    assert!(
        told.starts_with("book/data/bibliography.bib:") && told.contains("the field “year” of “voight2021”"),
        "{told}"
    );
    assert!(told.contains("write year = {2021}") && told.contains("[2021]"), "{told}");
    // A brace that is missing: still one.
    std::fs::write(&file, format!("@misc{{open, title = {{T\n\n{good}")).expect("writes");
    let found = problems(project.path(), "As @open and @jacob2018 show.\n");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].message.contains("the entry “open” does not parse"), "{found:#?}");
}

#[test]
fn a_name_in_the_summary_is_plain_words() {
    let project = broken_project();
    let file = project.path().join("book/src/SUMMARY.md");
    let summary = std::fs::read_to_string(&file).expect("reads");
    let (line, _) =
        summary.lines().enumerate().find(|(_, line)| line.contains("(tactics/inert.md)")).expect("the chapter");
    let named = |name: &str| {
        let lines: Vec<String> = summary
            .lines()
            .enumerate()
            .map(|(i, text)| if i == line { format!("- [{name}](tactics/inert.md)") } else { text.to_owned() })
            .collect();
        std::fs::write(&file, lines.join("\n")).expect("writes");
        problems(project.path(), "# The $\\xi$ rule\n")
    };
    let found = named("The $\\xi$ rule");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].file.as_str(), found[0].line), ("book/src/SUMMARY.md", line + 1), "{found:#?}");
    assert_eq!(named("Paths such as C:\\users"), []);
}

#[test]
fn a_missing_data_file_is_told_by_the_directive_that_needs_it() {
    for file in ["glossary.toml", "methods.toml", "guide.toml"] {
        let project = broken_project();
        std::fs::remove_file(project.path().join("book/data").join(file)).expect("was there");
        let found = problems(project.path(), "# T\n");
        let words = format!("book/data/{file} is missing");
        assert!(found.iter().any(|p| p.message.contains(&words)), "{file}: {found:#?}");
    }
}

#[test]
fn a_citation_without_a_bibliography_page_is_refused() {
    let project = broken_project();
    std::fs::write(project.path().join("book/src/bibliography.md"), "# B\n").expect("writes");
    let found = problems(project.path(), "# T\n");
    assert!(found.iter().any(|p| p.message.contains("no page of the book holds {{#bibliography}}")), "{found:#?}");
}

#[test]
fn the_same_quiz_id_twice_is_refused() {
    let project = broken_project();
    let found = problems(project.path(), &format!("```quiz\nid = \"one\"\nquestion = \"?\"\n\n{QUIZ}"));
    assert!(found.iter().any(|p| p.message.contains("quiz id stands twice") && p.text == "one"), "{found:#?}");
}
