use super::*;

fn told(text: &str) -> Vec<String> {
    let reporter = Reporter::default();
    report(&Source::new("f", 1, text), &reporter);
    reporter.finish().map_or_else(Vec::new, |all| all.0.iter().map(ToString::to_string).collect())
}

#[test]
fn names_of_chapters_are_plain_words() {
    let said = |name: &str| {
        let reporter = Reporter::default();
        let summary = format!("# Summary\n\n- [{name}](a.md)\n");
        names([name].into_iter(), &summary, "SUMMARY.md", &reporter);
        reporter.finish().map_or_else(String::new, |all| all.to_string())
    };
    for name in ["The $\\xi$ rule", "$x$", "A $$y$$ B", "Shell: ${HOME}", "a\tb"] {
        assert!(said(name).starts_with("SUMMARY.md:3: a name in SUMMARY.md"), "{name}: {}", said(name));
    }
    for name in
        ["Paths such as C:\\users", "It costs $5 and $6", "ξ and µ", "Don't say \"never\"", "a `code` b", "x < y & z"]
    {
        assert_eq!(said(name), "", "{name}");
    }
}

#[test]
fn a_bar_that_would_cost_a_cell_is_told() {
    let table = |row: &str| told(&format!("| a | b |\n|---|---|\n{row}\n"));
    for row in [
        "| $|x|$ | norm |",
        "| `p | q` | code |",
        "| a | b | c |",
        "a | b | c",
        "| $p(x|y)$ | conditional |",
        "| `a || b` | or |",
        "| $\\{x | x > 0\\}$ | set |",
        "| 1 | 2 || 3 |",
        "| <code>a|b</code> | html |",
        "| \\\\| a | b |",
    ] {
        let found = table(row);
        assert_eq!(found.len(), 1, "{row}: {found:?}");
        assert!(found[0].starts_with("f:3: this row has ") && found[0].contains(row.trim()), "{found:?}");
    }
    for row in ["| `p \\| q` | code |", "| $\\lvert x \\rvert$ | norm |", "| a |", "a | b", "| a | b |  ", "| | |"] {
        assert_eq!(table(row), Vec::<String>::new(), "{row}");
    }
    assert_eq!(told("> | a | b |\n> |---|---|\n> | 1 | 2 | 3 |\n").len(), 1);
    assert_eq!(told("| $|x|$ | b |\n|---|---|\n| 1 | 2 |\n").len(), 1, "a head of four cells over two columns");
}

#[test]
fn each_column_has_a_head_with_words() {
    for head in ["| | b |", "| a |  |", "| $n = 4$ | b |", "| **$n$** | b |", "| <br> | b |"] {
        let found = told(&format!("{head}\n|---|---|\n| 1 | 2 |\n"));
        assert_eq!(found.len(), 1, "{head}: {found:?}");
        assert!(found[0].starts_with("f:1: a column of this table has a head without words"), "{found:?}");
    }
    for head in ["| a | b |", "| `n` | % |", "| $n$ workers | *b* |", "| {{#value x.y}} | b |"] {
        assert_eq!(told(&format!("{head}\n|---|---|\n| | 2 |\n")), Vec::<String>::new(), "{head}");
    }
}

#[test]
fn a_norm_in_a_table_and_rows_without_a_rule_are_told() {
    for text in ["| a | b |\n|---|---|\n| $\\|w\\|_2$ | norm |\n", "| $P(a \\| b)$ given |\n|---|\n| 1 |\n"] {
        let found = told(text);
        assert!(found.len() == 1 && found[0].contains("\\lVert x \\rVert"), "{text}: {found:?}");
    }
    for text in [
        "| a | b |\n| 1 | 2 |\n",
        "| a | b |\n\n|---|---|\n| 1 | 2 |\n",
        "| a | b |\n|===|===|\n| 1 | 2 |\n",
        "+---+---+\n| a | b |\n+---+---+\n",
        "> | a |\n> | b |\n",
    ] {
        let found = told(text);
        assert!(found.len() == 1 && found[0].contains("this is no table"), "{text}: {found:?}");
    }
    for text in ["$\\|w\\|_2$ is a norm.\n", "|x| is small\n|y| is not.\n", "| one row |\n"] {
        assert_eq!(told(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn habits_of_other_tools_are_told() {
    for text in [
        "See \\\\(a+b\\\\) here.\n",
        "\\\\[ \\alpha = b \\\\]\n",
        "A^[a note within the line] b.\n",
        "Take $ x $ here.\n",
        "Take $x_i $ here.\n",
        "Take $a = b$5 here.\n",
        "Then \\alpha is small.\n",
        "the \\frac{a}{b} of it\n",
        "x and \\sum_i\n",
        "in \\mathbb{R}\n",
        "\\item one\n",
        "\\LaTeX is\n",
        "\\LaTeX\\ is\n",
        "\\textsc{Abc}\n",
        "\\includegraphics[width=1cm]{x.png}\n",
        "\\caption{Words}\n",
        "``quoted'' words\n",
        "<p>Costs \\(x\\)</p>\n",
        "\\begin{itemize}\n\\item a \\alpha\n\\end{itemize}\n",
    ] {
        assert_eq!(told(text).len(), 1, "{text}: {:?}", told(text));
    }
    for text in [
        "C:\\temp\\new and D:\\text\\alpha\n",
        "Costs $5 and $ 6, or $3 = $8.\n",
        "Let $a$ = 3 and $b$, or $a$ is x_1 and $b$.\n",
        "`\\alpha` and \\\\alpha\n",
        "A \\new \\user \\* \\_ word\n",
        "x^2 and [^1]\n\n[^1]: N.\n",
        "```\n\\frac{a}{b} \\(x\\) ^[n]\n```\n",
    ] {
        assert_eq!(told(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_bar_in_a_sentence_is_no_table() {
    for text in [
        "We write $p(x|y)$ and a | b.\n",
        "a | b\n\n---\n",
        "Text\n---\nmore | text\n",
        "```\n| a | b | c |\n|-|-|\n```\n",
    ] {
        assert_eq!(told(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn notes_that_lead_nowhere_and_notes_that_nobody_reads_are_told() {
    assert_eq!(told("A[^1].\n\n[^1]: Note.\n"), Vec::<String>::new());
    assert!(told("A[^gone].\n")[0].contains("f:1: there is no such note on the page"));
    assert!(told("A[^nots].\n\nB[^note]\n\n[^note]: N.\n")[0].contains("did you mean “[^note]”"));
    assert!(told("A.\n\n[^unused]: N.\n")[0].starts_with("f:3: nothing refers to this note"));
    assert!(told("A[^1].\n\n[^1]: N.\n\n[^1]: M.\n")[0].contains("twice"));
    for text in ["`[^a]`\n", "\\[^a]\n", "```\n[^a-z]\n```\n", "$[^2]$\n", "[^up](x.md)\n"] {
        assert_eq!(told(text), Vec::<String>::new(), "{text}");
    }
    // Notes that only each other refer to.
    assert!(told("A.\n\n[^self]: See[^self].\n")[0].contains("nothing refers to this note"));
    assert_eq!(told("A.\n\n[^p]: See[^q].\n\n[^q]: See[^p].\n").len(), 2);
    // A note within a note.
    assert_eq!(told("A[^1].\n\n[^1]: See[^2].\n\n[^2]: There.\n"), Vec::<String>::new());
}

#[test]
fn formulas_in_foreign_brackets_are_told() {
    for text in [
        "So \\(a+b\\) holds.\n",
        "\\[ a = b \\]\n",
        "\\[\n\\frac{a}{b}\n\\]\n",
        "\\begin{align} a &= b \\end{align}\n",
        "\\begin{equation*}\nx\n\\end{equation*}\n",
        "- item \\(x\\)\n",
        "> \\(x\\)\n",
    ] {
        assert_eq!(told(text).len(), 1, "{text}: {:?}", told(text));
    }
    for text in [
        "`\\(a\\)`\n",
        "\\[not a link\\]\n",
        "$\\begin{pmatrix} 1 \\end{pmatrix}$\n",
        "A \\( alone.\n",
        "```tex\n\\begin{align}\n```\n",
    ] {
        assert_eq!(told(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn formulas_in_raw_html_are_told() {
    for text in [
        "<div>$q$ in a raw block</div>\n",
        "<div>\n$q = 1$\n</div>\n",
        "<p>costs $$x$$</p>\n",
        "<table><tr><td>$a_1$</td></tr></table>\n",
    ] {
        assert_eq!(told(text).len(), 1, "{text}: {:?}", told(text));
    }
    for text in [
        "<div>\n\n$q$\n\n</div>\n",
        "<div>$5 and $6</div>\n",
        "<!-- $q$ -->\n",
        "<pre>\n$q$\n</pre>\n",
        "<div title=\"$q$\">x</div>\n",
        "a <b>$q$</b>\n",
    ] {
        assert_eq!(told(text), Vec::<String>::new(), "{text}");
    }
}
