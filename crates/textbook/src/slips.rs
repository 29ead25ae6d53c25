//! What Markdown passes over in silence: cells that are dropped, notes that are not there, habits from LaTeX and from other tools.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::LazyLock,
};

use pulldown_cmark::{Event, Tag, TagEnd};
use regex::Regex;

use crate::{
    problem::{Problem, Reporter},
    source::Source,
    tex,
};

/// Ids that the page itself uses (`site/theme`, `site/js`): a heading of that id would be two, and links would lead astray.
pub(crate) const RESERVED: [&str; 5] = ["content", "contents", "help", "help-title", "tip"];

static PARENTHESES: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)\\\((.{1,400}?)\\\)").expect("a constant pattern"));
static BRACKETS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)\\\[(.{1,800}?)\\\]").expect("a constant pattern"));
/// What brackets around words never hold, and formulas do.
static TEX: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\\[A-Za-z]|[\^=]|_\{").expect("a constant pattern"));
static ENVIRONMENT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\\begin\s*\{[A-Za-z]+\*?\}").expect("a constant pattern"));
/// mdBook's own brackets of formulas: a backslash before each, which Markdown takes away.
static DOUBLED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)\\\\\(.{1,400}?\\\\\)|\\\\\[.{1,800}?\\\\\]").expect("a constant pattern"));
/// Dollars that Pandoc's rule refuses: beside a space within, or before a digit.
static REFUSED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\$[ \t]+([^$\n]*?[^$\s])[ \t]*\$|\$([^\s$\d][^$\n]*?)[ \t]+\$|\$([^\s$\d](?:[^$\n]*?[^\s$])?)\$\d")
        .expect("a constant pattern")
});
static COMMAND: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\\([A-Za-z]+)\*?\{[^{}\n]*\}").expect("a constant pattern"));
static BARE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\\([A-Za-z]+)").expect("a constant pattern"));
/// Commands without braces that stand in texts of LaTeX; those of formulas are `tex`'s.
const OF_TEXTS: [&str; 11] = [
    "item",
    "LaTeX",
    "TeX",
    "newpage",
    "clearpage",
    "noindent",
    "maketitle",
    "centering",
    "hline",
    "newline",
    "smallskip",
];
static INLINE_NOTE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\^\[[^\]\[\n]+\]").expect("a constant pattern"));
static QUOTES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"``[^`\n]+''").expect("a constant pattern"));
/// The edge of a table that is drawn with crosses.
static GRID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\+[-=:+]{3,}\+$").expect("a constant pattern"));
/// What stands for the commands of LaTeX that people write out of habit.
const INSTEAD: [(&[&str], &str); 10] = [
    (&["textbf"], "**…**"),
    (&["textit", "emph"], "*…*"),
    (&["texttt"], "`…`"),
    (&["eqref", "autoref", "cref", "ref"], "@eq-…, @fig-… or @sec-…"),
    (&["citep", "citet", "cite"], "[@key] or @key"),
    (&["label"], "{#eq-…} after a formula, {#sec-…} after a heading"),
    (&["footnote"], "[^name] here and “[^name]: …” as a paragraph"),
    (&["section", "subsection"], "## before the words of a heading"),
    (&["href", "url"], "[words](address)"),
    (&["includegraphics"], "![caption](file)"),
];
static NOTE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\[\^([^\]\s\[](?:[^\]\n\[]*[^\]\s\[])?)\]").expect("a constant pattern"));
static TAGS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)<!--.*?(-->|$)|<[^<>]*>").expect("a constant pattern"));
static FORMULA: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$\$|\$[^\s$](?:[^$\n]*[^\s$\\])?\$(?:\D|$)").expect("a constant pattern"));
static RULE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$").expect("a constant pattern")
});

/// Reports everything of the kind in a source.
pub(crate) fn report(source: &Source, to: &Reporter) {
    foreign_maths(source, to);
    notes(source, to);
    inline_notes(source, to);
    let mut columns = 0;
    // Where the head of a table begins, while its cells are read, and whether the cell at hand has words.
    let (mut head, mut has_words) = (None, false);
    let mut in_table = false;
    let mut html: Option<usize> = None;
    for (event, range) in &source.events {
        match event {
            Event::Start(Tag::Table(alignments)) => (columns, in_table) = (alignments.len(), true),
            Event::End(TagEnd::Table) => in_table = false,
            Event::InlineMath(_) if in_table => bars(source, range, to),
            Event::Start(Tag::TableRow) => row(source, range, columns, to),
            Event::Start(Tag::TableHead) => head = Some(range.start),
            Event::End(TagEnd::TableHead) => head = None,
            Event::Start(Tag::TableCell) => has_words = false,
            Event::Text(words) | Event::Code(words) => has_words |= !words.trim().is_empty(),
            Event::End(TagEnd::TableCell) if !has_words => head_without_words(source, head, to),
            Event::Start(Tag::Paragraph) => no_table(source, range, to),
            Event::Start(Tag::HtmlBlock) => html = Some(range.start),
            Event::End(TagEnd::HtmlBlock) => {
                if let Some(start) = html.take() {
                    raw_html(source, start..range.end.max(start), to);
                }
            }
            _ => {}
        }
    }
}

/// Names of chapters and parts stand in titles, tooltips and in the script of the contents, where nothing is set: plain words only.
pub(crate) fn names<'a>(names: impl Iterator<Item = &'a str>, summary: &str, file: &str, to: &Reporter) {
    for name in names {
        let is_formula = |event: &Event<'_>| matches!(event, Event::InlineMath(_) | Event::DisplayMath(_));
        let message = if Source::new("", 1, name).events.iter().any(|(event, _)| is_formula(event)) {
            "a name in SUMMARY.md stands where no formula is set: write it in words or letters (ξ)"
        } else if name.contains("${") || name.contains(char::is_control) {
            "a name in SUMMARY.md holds no ${ and no control characters"
        } else {
            continue;
        };
        let line = summary.lines().position(|line| line.contains(name)).map_or(1, |at| at + 1);
        let (file, text) = (file.to_owned(), name.to_owned());
        to.report(Problem { file, line, message: message.to_owned(), text, nearest: None });
    }
}

/// `\( \)`, `\[ \]`, `\begin{}`, commands and dollars where no formula is.
fn foreign_maths(source: &Source, to: &Reporter) {
    let text = source.text.as_str();
    let live = |at: usize| source.is_live(at);
    // What is told once as a whole.
    let mut told: Vec<Range<usize>> = Vec::new();
    for found in PARENTHESES.find_iter(text) {
        if live(found.start()) && !found.as_str().contains("\n\n") {
            let message = "\\( and \\) are brackets here: write a formula as $…$, and brackets without a backslash";
            source.report(to, found.start(), message, found.as_str(), None);
            told.push(found.range());
        }
    }
    for found in BRACKETS.captures_iter(text) {
        let (all, whole) = (found.get(0).map_or(0..0, |m| m.range()), &found[0]);
        if live(all.start) && !whole.contains("\n\n") && TEX.is_match(&found[1]) {
            let message = "\\[ and \\] are brackets here: write a displayed formula between lines of $$";
            source.report(to, all.start, message, whole, None);
            told.push(all);
        }
    }
    for found in DOUBLED.find_iter(text) {
        if live(found.start()) && !found.as_str().contains("\n\n") {
            let message =
                "\\\\( and \\\\[ are brackets here: write a formula as $…$, a displayed one between lines of $$";
            source.report(to, found.start(), message, found.as_str(), None);
            told.push(found.range());
        }
    }
    for found in ENVIRONMENT.find_iter(text) {
        let paragraph = text[found.end()..].find("\n\n").map_or(text.len(), |more| found.end() + more);
        let is_within = told.iter().any(|range| range.contains(&found.start()));
        if live(found.start()) && !is_within {
            let message = "an environment stands within a formula: put $$ on lines before and after it";
            source.report(to, found.start(), message, found.as_str(), None);
            let end = text[found.end()..paragraph].rfind("\\end{").map_or(found.end(), |more| found.end() + more);
            told.push(found.start()..end);
        }
    }
    commands(source, &mut told, to);
    let mut from = 0;
    while let Some(found) = REFUSED.captures_at(text, from) {
        let all = found.get(0).map_or(from..from, |m| m.range());
        from = all.start + 1;
        let inside = (1..4).find_map(|i| found.get(i)).map_or("", |m| m.as_str());
        let is_formula = TEX.is_match(inside) || inside.contains('_') || inside.chars().count() == 1;
        let closing = text[..all.end].rfind('$').unwrap_or(all.start);
        if is_formula && !inside.chars().all(|c| c.is_ascii_digit()) && live(all.start) && live(closing) {
            let message = "this is no formula: no space stands within its dollars, and no digit follows them";
            source.report(to, all.start, message, &found[0], None);
            from = all.end;
        }
    }
    for found in QUOTES.find_iter(text).filter(|found| live(found.start())) {
        source.report(to, found.start(), "quotation marks of LaTeX: write “…”", found.as_str(), None);
    }
}

/// Commands of LaTeX in the text, where they are printed as they stand. A path of Windows is none.
fn commands(source: &Source, told: &mut Vec<Range<usize>>, to: &Reporter) {
    let text = source.text.as_str();
    let begins = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == ':');
    for found in COMMAND.captures_iter(text) {
        let (all, name) = (found.get(0).map_or(0..0, |m| m.range()), &found[1]);
        let is_told = told.iter().any(|range| range.contains(&all.start)) || ["begin", "end"].contains(&name);
        let own = INSTEAD.iter().find(|(names, _)| names.contains(&name)).map(|(_, instead)| *instead);
        if is_told || !source.is_live(all.start) || (own.is_none() && !begins(all.start)) {
            continue;
        }
        let instead = own.unwrap_or("a formula between $, and words without the command");
        let message = format!("a command of LaTeX is printed as it stands here: write {instead}");
        source.report(to, all.start, &message, &found[0], None);
        // What follows belongs to it: `\frac{a}{b}`, `\sqrt{\pi}`.
        told.push(all);
    }
    for found in BARE.captures_iter(text) {
        let (all, name) = (found.get(0).map_or(0..0, |m| m.range()), &found[1]);
        let after = &text[all.end..];
        let goes_on = after.starts_with('{')
            || after.strip_prefix('\\').is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
        let is_told = told.iter().any(|range| range.contains(&all.start));
        if is_told || goes_on || !source.is_live(all.start) || !begins(all.start) {
            continue;
        }
        if OF_TEXTS.contains(&name) || tex::is_of_formulas(name) {
            let message = "a command of LaTeX is printed as it stands here: write a formula between $, and words without the command";
            source.report(to, all.start, message, &found[0], None);
        }
    }
}

/// `\|` is one bar in a table, which protects it there, and two in a formula.
fn bars(source: &Source, range: &Range<usize>, to: &Reporter) {
    let formula = &source.text[range.clone()];
    if formula.contains("\\|") {
        let message =
            "in a table \\| is one bar: write \\lVert x \\rVert for a norm, \\lvert x \\rvert or \\mid for one bar";
        source.report(to, range.start, message, formula, None);
    }
}

/// Notes that are referred to and not there, there and not referred to, or there twice.
fn notes(source: &Source, to: &Reporter) {
    let mut defined: BTreeMap<&str, usize> = BTreeMap::new();
    // Who refers to a note: the text, or a note.
    let mut uses: Vec<(Option<&str>, &str)> = Vec::new();
    let mut within = None;
    let mut references: Vec<&Range<usize>> = Vec::new();
    for (event, range) in &source.events {
        match event {
            Event::Start(Tag::FootnoteDefinition(name)) => {
                within = Some(&**name);
                let twice = defined.insert(name, range.start).is_some();
                if twice {
                    source.report(to, range.start, "this note stands twice on the page", &format!("[^{name}]"), None);
                }
            }
            Event::End(TagEnd::FootnoteDefinition) => within = None,
            Event::FootnoteReference(name) => {
                uses.push((within, &**name));
                references.push(range);
            }
            _ => {}
        }
    }
    // Notes that refer to each other, or to themselves, are not reached from the text.
    let mut used: BTreeSet<&str> = BTreeSet::new();
    loop {
        let is_seen = |by: &Option<&str>| by.is_none_or(|by| used.contains(by));
        let reached: BTreeSet<&str> = uses.iter().filter(|(by, _)| is_seen(by)).map(|(_, name)| *name).collect();
        if reached == used {
            break;
        }
        used = reached;
    }
    for (name, at) in &defined {
        if !used.contains(name) {
            source.report(to, *at, "nothing refers to this note, so nobody would see it", &format!("[^{name}]:"), None);
        }
    }
    for found in NOTE.captures_iter(&source.text) {
        let all = found.get(0).map_or(0..0, |m| m.range());
        let after = &source.text[all.end..];
        let defines =
            after.starts_with(':') && source.before_on_line(all.start).trim_matches([' ', '>', '\t']).is_empty();
        let is_link = after.starts_with(['(', '[']);
        if defines || is_link || !source.is_live(all.start) || references.iter().any(|r| r.contains(&all.start)) {
            continue;
        }
        let near = crate::problem::near(&found[1], defined.keys().copied()).map(|name| format!("[^{name}]"));
        source.report(
            to,
            all.start,
            "there is no such note on the page: write it as a paragraph “[^name]: …”",
            &found[0],
            near,
        );
    }
}

/// A note within the line, as Pandoc has them.
fn inline_notes(source: &Source, to: &Reporter) {
    for found in INLINE_NOTE.find_iter(&source.text) {
        if source.is_live(found.start()) && !source.text[found.end()..].starts_with('(') {
            let message =
                "a note within the line is printed as it stands: write [^name] here and “[^name]: …” as a paragraph";
            source.report(to, found.start(), message, found.as_str(), None);
        }
    }
}

/// Bars that part a row, those within code and formulas included: only a backslash protects one.
fn cells(row: &str) -> usize {
    let row = row.trim();
    let mut bars = Vec::new();
    let mut backslashes = 0;
    for (at, c) in row.char_indices() {
        if c == '|' && backslashes % 2 == 0 {
            bars.push(at);
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
    }
    let outer =
        usize::from(bars.first() == Some(&0)) + usize::from(bars.len() > 1 && bars.last() == Some(&(row.len() - 1)));
    bars.len() + 1 - outer.min(bars.len())
}

/// A bar within code or a formula parts the row, and what is beyond the head's columns is dropped.
fn row(source: &Source, range: &Range<usize>, columns: usize, to: &Reporter) {
    let line = source.text[range.start..].lines().next().unwrap_or_default();
    let found = cells(line);
    if found > columns {
        let message = format!(
            "this row has {found} cells and its head {columns}: a bar within a cell is written \\|, in a formula \\lvert x \\rvert or \\mid"
        );
        source.report(to, range.start, &message, line, None);
    }
}

/// A screen reader says a column's head with each of its cells: an empty one says nothing, and a formula alone has no words.
fn head_without_words(source: &Source, head: Option<usize>, to: &Reporter) {
    let Some(start) = head else { return };
    let line = source.text[start..].lines().next().unwrap_or_default();
    let message = "a column of this table has a head without words: say what stands below it (“passes”, “4 workers”)";
    source.report(to, start, message, line, None);
}

/// Lines that were meant as a table and are none, since head and rule differ.
fn no_table(source: &Source, range: &Range<usize>, to: &Reporter) {
    let text = &source.text[range.clone()];
    let bare = |line: &str| line.trim_start_matches(['>', ' ', '\t']).to_owned();
    let mut at = range.start;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for pair in lines.windows(2) {
        let (head, rule) = (bare(pair[0]), bare(pair[1]));
        if head.contains('|') && rule.contains('|') && RULE.is_match(rule.trim_end()) && source.is_live(at) {
            let (columns, found) = (cells(&rule), cells(&head));
            let message = format!(
                "this is no table: its head has {found} cells and the line below it {columns} (a bar within a cell is written \\|)"
            );
            source.report(to, at, &message, &head, None);
            return;
        }
        at += pair[0].len();
    }
    // Rows without the line below their head, or with another than Markdown's.
    let mut at = range.start;
    let mut rows = Vec::new();
    for line in lines {
        let row = bare(line);
        let row = row.trim_end();
        if GRID.is_match(row) || (row.len() > 2 && row.starts_with('|') && row.ends_with('|')) {
            rows.push((at, row.to_owned()));
        }
        at += line.len();
    }
    if let [(at, row), _, ..] = rows.as_slice()
        && source.is_live(*at)
    {
        let message = "this is no table: below its head stands a line such as |---|---|, and no blank line between";
        source.report(to, *at, message, row, None);
    }
}

/// Formulas within a block of HTML, where nothing is read. (Directives there are inert, as in code.)
fn raw_html(source: &Source, range: Range<usize>, to: &Reporter) {
    let html = &source.text[range.clone()];
    let lower = html.trim_start().to_ascii_lowercase();
    if ["<pre", "<script", "<style", "<textarea", "<!--"].iter().any(|tag| lower.starts_with(tag)) {
        return;
    }
    // Tags and comments as blanks, so that places stay.
    let words = TAGS.replace_all(html, |found: &regex::Captures<'_>| " ".repeat(found[0].len())).into_owned();
    if let Some(found) = FORMULA.find(&words).or_else(|| PARENTHESES.find(&words)).or_else(|| DOUBLED.find(&words)) {
        let message = "a formula within raw HTML is not read: leave a blank line after the tag and before its end";
        source.report(to, range.start + found.start(), message, found.as_str(), None);
    }
}
