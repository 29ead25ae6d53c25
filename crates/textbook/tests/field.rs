//! Inputs of our own of the kinds that reports from the field name: what would be lost in silence is told, what is right is set.

mod common;

use std::path::Path;

use mdbook_preprocessor::book::{Book, BookItem};
use textbook::{Problem, Textbook};

/// A copy of the fixture, to be written into.
fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    common::copy(&common::fixture(), folder.path());
    folder
}

/// The book with this text as one of its chapters.
fn with_chapter(textbook: &Textbook, root: &Path, text: &str) -> Result<Book, Vec<Problem>> {
    std::fs::write(root.join("book/src/tactics/inert.md"), text).expect("writes");
    common::preprocess(root, textbook)
}

fn chapter(book: &Book, name: &str) -> String {
    let found = book.iter().find_map(|item| match item {
        BookItem::Chapter(chapter) if chapter.source_path.as_ref().is_some_and(|path| path.ends_with(name)) => {
            Some(chapter.content.clone())
        }
        _ => None,
    });
    found.expect("a chapter of this name")
}

/// What is written, on which line the complaint is, and what it says.
const TOLD: &[(&str, usize, &str)] = &[
    // Commands, environments and brackets of LaTeX.
    ("$\\mathop{x^2}_i$\n", 1, "an operator is a word, and “^” in “x^2” is none"),
    ("\nCosts $\\text{20 \\euro}$.\n", 2, "\\euro within \\text is not read: write $\\euro$ there"),
    ("Let $\\argmax_k p_k$.\n", 1, "write \\operatorname*{arg\\,max}"),
    ("$\\KL(p)$\n", 1, "write \\operatorname{KL}"),
    ("In $\\R^n$.\n", 1, "write \\mathbb{R}"),
    ("$x^2^3$\n", 1, "superscript twice"),
    ("$\\text{50% off}$\n", 1, "does not parse"),
    ("\\begin{cases} 1 \\end{cases}\n", 1, "an environment stands within a formula"),
    ("- An item with\n  \\begin{equation}x\\end{equation}\n", 2, "an environment stands within a formula"),
    ("Over \\(a +\nb\\) lines.\n", 1, "write a formula as $…$"),
    ("> \\[ \\sum_i w_i \\]\n", 1, "between lines of $$"),
    ("So \\textbf{bold} it is.\n", 1, "write **…**"),
    ("\n- An \\emph{item}\n", 2, "write *…*"),
    ("See \\ref{fig:x}.\n", 1, "@fig-…"),
    ("As \\citet{jacob2018} say.\n", 1, "write [@key] or @key"),
    ("Words\\footnote{A note.}\n", 1, "[^name]"),
    // Aligned maths.
    ("$$\na &= b \\\\\nc &= d\n$$\n", 1, "alignment not allowed"),
    ("$$\na = b \\\\ c = d\n$$\n", 1, "new line command not allowed"),
    ("$$\n\\begin{align*} a &= b\n$$\n", 1, "closed with `\\end{align*}`"),
    ("$$\n\\begin{aligned} a &= b \\tag{1} \\end{aligned}\n$$\n", 1, "write a label after the formula"),
    // Formulas in HTML.
    ("<figure><figcaption>$\\sigma$</figcaption></figure>\n", 1, "within raw HTML is not read"),
    ("<details>\n<summary>$x^2$ costs</summary>\n\nWords.\n\n</details>\n", 2, "within raw HTML is not read"),
    // Rows of tables.
    ("- | a | b |\n  |---|---|\n  | 1 | 2 | 3 |\n", 3, "this row has 3 cells and its head 2"),
    ("| p |\n|---|\n| $P(a|b)$ |\n", 3, "this row has 2 cells and its head 1"),
    ("| n | w |\n|---|---|\n| $||x||_2$ | norm |\n", 3, "this row has 6 cells and its head 2"),
    ("| `a|b` |\n|---|\n| 1 |\n", 1, "this is no table"),
    ("Words.\n\n| a | b |\n|---|\n| 1 | 2 |\n", 3, "its head has 2 cells and the line below it 1"),
    ("| a | b |\n|---|---|\n| $\\|w\\|_2$ | norm |\n", 3, "in a table \\| is one bar"),
    ("| a | b |\n| 1 | 2 |\n", 1, "below its head stands a line such as"),
    // Dollars and brackets of other tools.
    ("See \\\\(a+b\\\\) here.\n", 1, "\\\\( and \\\\[ are brackets here"),
    ("So $`a+b`$ here.\n", 1, "would print its backticks"),
    ("Take $ x_i $ here.\n", 1, "no space stands within its dollars"),
    ("Then \\alpha is small.\n", 1, "a command of LaTeX is printed as it stands"),
    ("$a \\cancel{b + c}$\n", 1, "through one sign"),
    ("$\\sideset{}{^*}\\sum$\n", 1, "\\sideset is not read"),
    // Notes.
    ("A^[a note within the line] b.\n", 1, "a note within the line"),
    ("| a |\n|---|\n| x[^lost] |\n", 3, "there is no such note"),
    ("## Title[^h]\n", 1, "there is no such note"),
    ("A[^n].\n\n    [^n]: Indented, so code.\n", 1, "there is no such note"),
    ("A[^gone away].\n", 1, "there is no such note"),
    ("A.\n\n[^self]: See[^self].\n", 3, "nothing refers to this note"),
    // Headings and ids.
    ("## …\n", 1, "a heading without letters"),
    ("\n### 🚀\n", 2, "a heading without letters"),
    ("## `=>`\n", 1, "a heading without letters"),
    ("::\n==\n", 1, "a heading without letters"),
    ("## Tip\n", 1, "the id “tip” is one of the page itself"),
    ("## The rest {#content}\n", 1, "the id “content” is one of the page itself"),
    ("## Help, title\n", 1, "{#sec-help-title}"),
    (
        "## Quiz fresh\n\n```quiz\nid = \"fresh\"\nquestion = \"?\"\nanswer = 1\ntolerance = 0\nfeedback = \"f\"\nwrong = \"w\"\n```\n",
        1,
        "the page makes the id “quiz-fresh” itself",
    ),
    ("## {#sec-blank}\n", 1, "a heading without words"),
    ("Words <a id='contents'></a>.\n", 1, "one of the page itself"),
    ("\n<div class=\"x\" id=help>\n\n</div>\n", 2, "one of the page itself"),
];

/// What is written, and what readers get.
const SET: &[(&str, &str)] = &[
    (
        "$$\n\\begin{align} a &= b \\\\ c &= d \\end{align}\n$$\n",
        "</mtr><mtr><mtd><mi>c</mi></mtd><mtd><mo>=</mo><mi>d</mi>",
    ),
    (
        "$$\n\\begin{alignat}{2} a &= b & c &= d \\end{alignat}\n$$\n",
        "<mtd><mi>c</mi></mtd><mtd><mo>=</mo><mi>d</mi></mtd></mtr>",
    ),
    ("$$\n\\operatorname*{ess\\,sup}_{x} f\n$$\n", "<munder><mi>ess\u{2009}sup</mi>"),
    ("$\\operatorname{top-k}(x)$\n", "<mi>top&#45;k</mi>"),
    ("$x \\not\\in A$\n", "<mo>\u{2208}\u{338}</mo>"),
    ("$5\\%$\n", "<mn>5</mn><mi>%</mi>"),
    ("$\\text{a}_\\text{b}$\n", "<msub><mtext>a</mtext><mtext>b</mtext></msub>"),
    ("| a |\n|---|\n| $\\{x \\mid y\\}$ |\n", "<mo>∣</mo>"),
    ("$10\\ \\text{ms}$\n", "<mn>10</mn><mtext>&nbsp;</mtext><mtext>ms</mtext>"),
    ("$\\bigl| x$\n", "stretchy=\"true\" minsize=\"1.2em\""),
    ("A[^p].\n\n[^p]: See[^q].\n\n[^q]: There.\n", "[^q]: There."),
    ("A[^two words].\n\n[^two words]: A note.\n", "A[^two words]."),
    ("Costs $5 and $6 a day.\n", "Costs $5 and $6 a day."),
    ("Write `\\textbf{x}` or \\\\textbf{x}.\n", "`\\textbf{x}` or \\\\textbf{x}"),
    ("## Größe: 8 Bit\n", "{#größe-8-bit}"),
];

#[test]
fn what_would_be_lost_in_silence_is_told_with_its_line() {
    let project = project();
    let textbook = Textbook::new(project.path());
    let mut wrong = Vec::new();
    for (text, line, words) in TOLD {
        let found = with_chapter(&textbook, project.path(), text).err().unwrap_or_default();
        let is_told = found.len() == 1
            && found[0].file == "book/src/tactics/inert.md"
            && found[0].line == *line
            && found[0].to_string().contains(words);
        if !is_told {
            let all: Vec<String> = found.iter().map(ToString::to_string).collect();
            wrong.push(format!("{text:?} (line {line}, “{words}”) gave {all:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_right_is_set_as_it_was_meant() {
    let project = project();
    let textbook = Textbook::new(project.path());
    let mut wrong = Vec::new();
    for (text, html) in SET {
        match with_chapter(&textbook, project.path(), text) {
            Ok(book) if chapter(&book, "inert.md").contains(html) => {}
            Ok(book) => wrong.push(format!("{text:?} became {}", chapter(&book, "inert.md"))),
            Err(found) => wrong.push(format!("{text:?} gave {found:#?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_of_chapters_are_words_or_told() {
    let project = project();
    let file = project.path().join("book/src/SUMMARY.md");
    let summary = std::fs::read_to_string(&file).expect("reads");
    let line = 1 + summary.lines().position(|line| line.contains("(tactics/inert.md)")).expect("the chapter");
    let textbook = Textbook::new(project.path());
    for (name, is_told) in [
        ("Cost of $O(n^2)$ attention", true),
        ("$x$", true),
        ("Both $$a$$ and b", true),
        ("A ${name} in a script", true),
        ("Costs $5 and $6", false),
        ("C:\\temp\\new", false),
        ("It's </script> \"quoted\"", false),
        ("`code` and 'ticks'", false),
        ("模型 & Größe", false),
        ("100 % \\u0041 {{ name }}", false),
    ] {
        let lines: Vec<String> = summary
            .lines()
            .enumerate()
            .map(|(i, text)| if i + 1 == line { format!("- [{name}](tactics/inert.md)") } else { text.to_owned() })
            .collect();
        std::fs::write(&file, lines.join("\n")).expect("writes");
        let found = with_chapter(&textbook, project.path(), "# T\n").err().unwrap_or_default();
        assert_eq!(found.len(), usize::from(is_told), "{name}: {found:#?}");
        for problem in found {
            assert_eq!((problem.file.as_str(), problem.line), ("book/src/SUMMARY.md", line), "{name}: {problem}");
            assert!(problem.message.contains("a name in SUMMARY.md"), "{name}: {problem}");
        }
    }
}

/// Entries with the key `new`, and what is told of them: once, and of no other entry.
const ODD: &[(&str, &[&str])] = &[
    ("author = {Doe, Jane}, title = {T}, year = {in press}", &["“year” of “new”", "leave it out"]),
    ("author = {Doe, Jane}, title = {T}, year = {c. 1999}", &["“year” of “new”", "write year = {1999}"]),
    ("author = {Doe, Jane}, title = {T}, year = {'21}", &["“year” of “new”", "write year = {2021}"]),
    ("author = {Doe, Jane}, title = {T}, date = {2021-13-01}", &["“date” of “new”", "2021-13-01"]),
    ("author = {Doe, Jane}, title = {T}, month = mai, year = 2020", &["“new”", "\"mai\"", "put words between braces"]),
    ("author = {Doe, Jane} title = {T}, year = 2020", &["“new” does not parse", "comma"]),
    ("author = {Doe, Jane}, title = \"A \"quoted\" title\", year = 2020", &["“new” does not parse", "quote"]),
    ("author = {Doe, Jane}, title = {On $O(n of things}, year = 2020", &["“new” does not parse"]),
    ("author = {Doe, Jane}, title = {CO\\textsubscript{2}}, year = 2020", &["“title” of “new”", "\\textsubscript"]),
    ("author = {Doe, Jane}, title = {A \\underline{b}}, year = 2020", &["“title” of “new”", "\\underline"]),
    (
        "author = {Doe, Jane; Roe, Richard}, title = {T}, year = 2020",
        &["“author” of “new”", "by “and”", "Doe, Jane; Roe"],
    ),
    ("author = {Jane Doe, Richard Roe, Max Poe}, title = {T}, year = 2020", &["“author” of “new”", "by “and”"]),
    ("author = {}, title = {T}, year = 2020", &["“author” of “new” is empty"]),
    ("author = {Doe, Jane and}, title = {T}, year = 2020", &["“author” of “new”", "nobody beside it"]),
    ("author = {Doe, Jane and Roe, Max, and Poe, Ann}, title = {T}, year = 2020", &["“author” of “new”", "Roe, Max,"]),
    ("author = {Doe, Jane and Meta AI}, title = {T}, year = 2020", &["“author” of “new” names a body", "{Meta AI}"]),
    ("author = {others}, title = {T}, year = 2020", &["“author” of “new” names nobody"]),
    ("author = {Doe, Jane}, title = {T}, year = {２０２０}", &["“year” of “new”", "write year = {2021}"]),
    ("author = {Doe, Jane}, title = {A \\(x\\) b}, year = 2020", &["“title” of “new”", "\\("]),
    ("author = {Doe, Jane}, title = {T}, year = 2020, doi = {not a doi}", &["“doi” of “new” is no DOI", "10.1000/182"]),
    (
        "author = {Doe, Jane}, title = {T}, year = 2020, eprint = {ab-1}, eprinttype = {nosuch}",
        &["“eprint” of “new”", "(nosuch)", "write its address"],
    ),
    (
        "author = {Doe, Jane}, title = {T}, year = 2020, howpublished = {\\url{https://example.org}}",
        &["“howpublished” of “new”", "a field of its own"],
    ),
    (
        "author = {Doe, Jane}, title = {T}, year = 2020, url = {example.org/x}",
        &["“url” of “new”", "https://example.org/x"],
    ),
];

/// Entries, what a sentence says of them, and what stands in the list.
const GOOD: &[(&str, &str, &str)] = &[
    (
        "@misc{new, author = {Doe, Jane and et al.}, title = {T}, year = 2001}",
        "Doe et al. (2001)",
        "Doe, J. et al. (2001)",
    ),
    ("@misc{new, author = {Doe, Jane and others}, title = {T}}", "Doe et al. (no date)", "Doe, J. et al. (no date)"),
    (
        "@online{new, author = {{The PyTorch Team}}, title = {Docs}, url = {https://example.org/a_b}}",
        "The PyTorch Team (no date)",
        "https://example.org/a_b",
    ),
    (
        "@online{new, title = {A page of nobody}, url = {https://example.org/a}}",
        "A page of nobody (no date)",
        "(no date)",
    ),
    (
        "@misc{new, author = {{Meta AI} and {Mistral AI}}, title = {T}, year = 2020}",
        "Meta AI and Mistral AI (2020)",
        "Meta AI and Mistral AI (2020)",
    ),
    (
        "@misc{new, author = {M{\\\"u}ller, J{\\o}rn and \\c{C}elik, B.}, title = {R{\\'e}sum{\\'e} \\& 50\\%}, year = 2020}",
        "Müller and Çelik (2020)",
        "Résumé & 50%",
    ),
    (
        "@book{new, editor = {Doe, Jane}, title = {T}, publisher = {P}, year = 2001}",
        "Doe (2001)",
        "Doe, J. (ed.) (2001)",
    ),
    ("@misc{new, author = {Doe, Jane}, title = {T}, date = {2003-05/2004-06}}", "Doe (2004)", "(2004)"),
    ("@misc{new, author = {Doe, Jane}, title = {T}, date = {1850~}}", "Doe (1850)", "(1850)"),
    (
        "@misc{new, author = {Doe, Jane}, title = {T}, year = 2003, eprint = {https://arxiv.org/abs/2101.00001}, archivePrefix = {arXiv}}",
        "Doe (2003)",
        "<a href=\"https://arxiv.org/abs/2101.00001\">arXiv:2101.00001</a>",
    ),
    (
        "@misc{new, author = {Doe, Jane}, title = {T}, year = 2003, eprint = {cs/0112017}, archivePrefix = {arXiv}}",
        "Doe (2003)",
        "https://arxiv.org/abs/cs/0112017",
    ),
    (
        "@misc{new, author = {Doe, Jane}, title = {T}, year = 2003, doi = {https://doi.org/10.1000/xyz_1}}",
        "Doe (2003)",
        "<a href=\"https://doi.org/10.1000/xyz_1\">",
    ),
    (
        "@article{new, author = {Doe, Jane}, title = {$\\ell_1$ and ``more'' than~one}, journal = {J}, year = 2003}",
        "Doe (2003)",
        "<mi>ℓ</mi><mn>1</mn></msub></math> and “more” than\u{a0}one",
    ),
    (
        "@misc{new, author = {Doe, Jane}, title = {When p < 0.05: Vec<T>}, year = 2003}",
        "Doe (2003)",
        "p &lt; 0.05: Vec&lt;T&gt;",
    ),
    ("@misc{new, title = {Only words, no names}, year = 2003}", "“Only words, no names” (2003)", "(2003)"),
    (
        "@misc{new, author = {Doe, Jane}, title = {T}, year = 2003, eprint = {hal-01}, eprinttype = {HAL}}",
        "Doe (2003)",
        "https://hal.science/hal-01",
    ),
    (
        "@incollection{new, author = {von Neumann, John and de la Cruz, Ana}, title = {T}, booktitle = {B}, year = 2003}",
        "von Neumann and de la Cruz (2003)",
        "von Neumann, J. and de la Cruz, A.",
    ),
    (
        "@misc{new, author = {{AT\\&T} and {A and B Company}}, title = {T}, year = 2003}",
        "AT&amp;T and A and B Company (2003)",
        "AT&T and A and B Company (2003)",
    ),
    (
        "@misc{new, author = {King, Jr., Martin Luther}, title = {T}, year = 1963}",
        "King (1963)",
        "King, M.L., Jr. (1963)",
    ),
];

#[test]
fn an_odd_entry_is_told_once_and_the_others_stay() {
    let project = project();
    let file = project.path().join("book/data/bibliography.bib");
    let good = std::fs::read_to_string(&file).expect("reads");
    let line = good.lines().count() + 2;
    let mut wrong = Vec::new();
    for (fields, words) in ODD {
        std::fs::write(&file, format!("{good}\n@misc{{new, {fields}}}\n")).expect("writes");
        let textbook = Textbook::new(project.path());
        let text = "As @new and @jacob2018 show, once more [-@new].\n";
        let found = with_chapter(&textbook, project.path(), text).err().unwrap_or_default();
        let all: Vec<String> = found.iter().map(ToString::to_string).collect();
        let place = format!("book/data/bibliography.bib:{line}: ");
        if all.len() != 1 || !all[0].starts_with(&place) || !words.iter().all(|word| all[0].contains(word)) {
            wrong.push(format!("{fields} ({words:?}) gave {all:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_entry_comes_out_as_it_was_meant() {
    let project = project();
    let file = project.path().join("book/data/bibliography.bib");
    let good = std::fs::read_to_string(&file).expect("reads");
    let mut wrong = Vec::new();
    for (entry, prose, listed) in GOOD {
        std::fs::write(&file, format!("{good}\n{entry}\n")).expect("writes");
        let textbook = Textbook::new(project.path());
        match with_chapter(&textbook, project.path(), "As @new shows, and once more [-@new].\n") {
            Ok(book) => {
                let plain = |html: String| html.replace("&#46;", ".").replace("&#40;", "(").replace("&#41;", ")");
                let (text, list) = (plain(chapter(&book, "inert.md")), chapter(&book, "bibliography.md"));
                let item = list.split("id=\"ref-new\"").nth(1).and_then(|rest| rest.split("bib-backlinks").next());
                let year = prose.rsplit_once(" (").map_or("", |(_, year)| year.trim_end_matches(')'));
                let is_right = text.contains(&format!(">{prose}</a>"))
                    && text.contains(&format!(">{year}</a>)"))
                    && item.is_some_and(|item| item.contains(listed));
                if !is_right {
                    wrong.push(format!("{entry}\n  in prose: {text}\n  in the list: {item:?}"));
                }
            }
            Err(found) => wrong.push(format!("{entry} gave {found:#?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_answer_is_shown_as_its_author_wrote_it() {
    let project = project();
    let textbook = Textbook::new(project.path());
    for (written, value) in [
        ("6.02e23", 6.02e23),
        ("1.60e-19", 1.6e-19),
        ("1152921504606846977.0", 1_152_921_504_606_846_976.0),
        ("0.10", 0.1),
        ("2.50", 2.5),
        ("-4.0", -4.0),
        ("1E6", 1e6),
        ("-1.5e-3", -0.0015),
        ("0.0", 0.0),
        ("12345678.875", 12_345_678.875),
    ] {
        let quiz = format!(
            "```quiz\nid = \"shown\"\nquestion = \"?\"\nanswer = {written}\ntolerance = 2.0e-20\nunit = \"J\"\nfeedback = \"f\"\nwrong = \"w\"\n```\n"
        );
        let book =
            with_chapter(&textbook, project.path(), &quiz).unwrap_or_else(|found| panic!("{written}: {found:#?}"));
        let html = chapter(&book, "inert.md");
        assert!(html.contains(&format!("Right: {written} J (± 2.0e-20)")), "{written}: {html}");
        let compared = html.split("data-answer=\"").nth(1).and_then(|rest| rest.split('"').next());
        assert_eq!(compared.and_then(|number| number.parse::<f64>().ok()), Some(value), "{written}: {html}");
    }
}
