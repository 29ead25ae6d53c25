//! What can be counted of the rules of language in STYLE.md, page by page. It advises: a page may have its reasons.

use std::{fmt::Write as _, path::Path, sync::LazyLock};

use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};
use regex::Regex;
use serde_json::json;

use crate::{
    overlap::{chapters, plain},
    source::Source,
};

/// *You* and *we* in 1,000 words, at least: of a strategy page and of a tactics page.
const TALK: [(&str, f64); 2] = [("strategy/", 20.0), ("tactics/", 15.0)];
/// Semicolons in 1,000 words, at most.
const SEMICOLONS: f64 = 3.0;
/// Numbers in a sentence, at most.
const NUMBERS: usize = 3;
/// Lines of a listing in running text, at most.
const LISTING: usize = 15;
/// Pages of fewer words are no prose to be counted.
const SHORT: usize = 300;

/// What was counted on a page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PageProse {
    /// File, below `book/src`.
    pub file: String,
    /// Words of its paragraphs and lists; tables, code, formulas and citations apart.
    pub words: usize,
    /// Of these: you, we, and their forms.
    pub talk: usize,
    /// Semicolons.
    pub semicolons: usize,
    /// Sentences of more than three numbers: line, how many, and how the sentence begins.
    pub crowded: Vec<(usize, usize, String)>,
    /// Listings of more than fifteen lines that are not folded: line, and how many.
    pub listings: Vec<(usize, usize)>,
    /// Lines of code before the first lab.
    pub code_before_lab: Option<usize>,
}

impl PageProse {
    /// What lies beyond the rules, each a sentence.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.words >= SHORT {
            let talk = self.per_thousand(self.talk);
            if let Some((_, least)) = TALK.iter().find(|(part, least)| self.file.starts_with(part) && talk < *least) {
                all.push(format!(
                    "you and we stand {talk:.0} times in 1,000 words; {least:.0} or more talk to a reader"
                ));
            }
            let semicolons = self.per_thousand(self.semicolons);
            if semicolons > SEMICOLONS {
                all.push(format!("{semicolons:.0} semicolons in 1,000 words; {SEMICOLONS:.0} are enough"));
            }
        }
        for (line, numbers, start) in &self.crowded {
            all.push(format!("line {line}: {numbers} numbers in one sentence (“{start} …”)"));
        }
        for (line, lines) in &self.listings {
            all.push(format!(
                "line {line}: {lines} lines of code in running text; fold it, or show the lines that matter"
            ));
        }
        if let Some(lines) = self.code_before_lab.filter(|lines| *lines > LISTING) {
            all.push(format!("{lines} lines of code stand before the first lab"));
        }
        all
    }

    #[expect(clippy::cast_precision_loss, reason = "a page has fewer words than a float has digits")]
    fn per_thousand(&self, count: usize) -> f64 {
        if self.words == 0 { 0.0 } else { 1000.0 * count as f64 / self.words as f64 }
    }
}

/// Counts every chapter of both parts of the project in `root`.
///
/// # Errors
/// A file that cannot be read.
pub fn prose(root: &Path) -> std::io::Result<Vec<PageProse>> {
    let mut pages = Vec::new();
    for part in ["strategy", "tactics"] {
        let files = chapters(&root.join("book/src"), part)?;
        pages.extend(files.iter().map(|(file, text)| count(file, text)));
    }
    Ok(pages)
}

/// For people: the counts of each page, and its outliers under them.
#[must_use]
pub fn prose_table(pages: &[PageProse]) -> String {
    let mut out = format!("{:<52} {:>6} {:>8} {:>11} {:>8}\n", "page", "words", "you, we", "semicolons", "crowded");
    for page in pages {
        let (talk, semicolons) = (page.per_thousand(page.talk), page.per_thousand(page.semicolons));
        let crowded = page.crowded.len();
        let _ = writeln!(out, "{:<52} {:>6} {talk:>8.0} {semicolons:>11.1} {crowded:>8}", page.file, page.words);
    }
    for page in pages {
        let advice = page.advice();
        if !advice.is_empty() {
            let _ = writeln!(out, "\n{}", page.file);
        }
        for line in advice {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

/// For programs.
#[must_use]
pub fn prose_json(pages: &[PageProse]) -> String {
    let pages: Vec<_> = pages
        .iter()
        .map(|page| {
            json!({
                "page": page.file,
                "words": page.words,
                "you_we_per_1000": page.per_thousand(page.talk),
                "semicolons_per_1000": page.per_thousand(page.semicolons),
                "crowded_sentences": page.crowded.len(),
                "code_lines_before_lab": page.code_before_lab,
                "advice": page.advice(),
            })
        })
        .collect();
    format!("{:#}\n", json!({ "pages": pages }))
}

static VALUE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{\{#value[^}]*\}\}").expect("a constant pattern"));
static TALKING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)^(you|your|yours|yourself|we|our|ours|us|let's|let’s)$").expect("a constant pattern")
});

fn count(file: &str, text: &str) -> PageProse {
    let source = Source::new("", 1, text);
    let mut page = PageProse { file: file.to_owned(), ..PageProse::default() };
    let lab = text.find("{{#lab ");
    let mut code_before_lab = 0;
    let (mut code, mut folded, mut table) = (None::<String>, 0_usize, false);
    let (mut current, mut start) = (String::new(), 0);
    for (event, range) in &source.events {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                code = Some(match kind {
                    CodeBlockKind::Fenced(info) => info.split([' ', '{']).next().unwrap_or_default().to_owned(),
                    CodeBlockKind::Indented => String::new(),
                });
            }
            Event::End(TagEnd::CodeBlock) => code = None,
            // Questions and diagrams are no code.
            Event::Text(words)
                if code.as_deref().is_some_and(|language| !["quiz", "mermaid", ""].contains(&language)) =>
            {
                let lines = words.lines().count();
                if folded == 0 && lines > LISTING {
                    page.listings.push((source.line(range.start), lines));
                }
                if lab.is_some_and(|lab| range.start < lab) {
                    code_before_lab += lines;
                }
            }
            Event::Text(_) if code.is_some() => {}
            Event::Html(tag) | Event::InlineHtml(tag) => {
                folded += tag.matches("<details").count();
                folded = folded.saturating_sub(tag.matches("</details").count());
            }
            Event::Start(Tag::Table(_)) => table = true,
            Event::End(TagEnd::Table) => {
                table = false;
                current.clear();
            }
            Event::Start(Tag::Paragraph | Tag::Item) => start = range.start,
            Event::Text(words) if !table => current.push_str(words),
            Event::SoftBreak | Event::HardBreak => current.push(' '),
            Event::Code(_) | Event::InlineMath(_) | Event::DisplayMath(_) => current.push_str(" · "),
            Event::End(TagEnd::Heading(_)) => current.clear(),
            Event::End(TagEnd::Paragraph | TagEnd::Item) => {
                paragraph(&std::mem::take(&mut current), source.line(start), &mut page);
            }
            _ => {}
        }
    }
    page.code_before_lab = lab.map(|_| code_before_lab);
    page
}

fn paragraph(text: &str, line: usize, page: &mut PageProse) {
    let text = VALUE.replace_all(text, " 0 ");
    let text = plain(&text);
    page.semicolons += text.matches(';').count();
    for sentence in sentences(&text) {
        let words: Vec<&str> = sentence.split_whitespace().map(|word| word.trim_matches(MARKS)).collect();
        page.words += words.iter().filter(|word| word.chars().any(char::is_alphabetic)).count();
        page.talk += words.iter().filter(|word| TALKING.is_match(word)).count();
        let numbers = words.iter().filter(|word| is_number(word)).count();
        if numbers > NUMBERS {
            let start: Vec<&str> = sentence.split_whitespace().take(6).collect();
            page.crowded.push((line, numbers, start.join(" ")));
        }
    }
}

/// What stands around a word.
const MARKS: [char; 18] = ['.', ',', ';', ':', '!', '?', '(', ')', '[', ']', '"', '“', '”', '‘', '’', '*', '_', '%'];

/// A number as a reader meets it; names such as INT8 and 4-bit are words.
fn is_number(word: &str) -> bool {
    let word = word.trim_start_matches(['−', '-', '+', '±', '~', '$', '€', '≈']);
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.chars().all(|c| c.is_ascii_digit() || [',', '.', '×', '–', '/', '%', ':'].contains(&c))
}

/// A sentence ends with a mark that a space and something other than a small letter follow.
pub(crate) fn sentences(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        if !['.', '!', '?'].contains(&c) {
            continue;
        }
        let rest = text[at + 1..].trim_start_matches(['”', '"', ')', '*', '_', '’']);
        if rest.is_empty() || (rest.starts_with(' ') && !rest.trim_start().starts_with(|c: char| c.is_lowercase())) {
            all.push(&text[start..=at]);
            start = at + 1;
        }
    }
    if start < text.len() {
        all.push(&text[start..]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(words: &str, times: usize) -> String {
        format!("{}\n", words.repeat(times))
    }

    #[test]
    fn numbers_in_a_sentence_are_counted_whoever_computes_them() {
        let page = count(
            "tactics/a.md",
            "# 1 2 3 4 5\n\nIt takes {{#value a.b}} s, 3.5 % of 1,024 bytes, and −7.\n\nINT8 has 4-bit twins: 1, 2 and 3. Four 4 more 5 follow.\n\n| 1 | 2 |\n|--|--|\n| 3 4 5 6 | 7 |\n",
        );
        assert_eq!(page.crowded, [(3, 4, "It takes 0 s, 3.5 %".to_owned())]);
    }

    #[test]
    fn a_page_that_talks_to_nobody_is_told_so_by_its_part() {
        let text = long("Nobody does a thing; then it is done. ", 60);
        let strategy = count("strategy/a.md", &text).advice();
        assert!(strategy.iter().any(|line| line.contains("20 or more")), "{strategy:?}");
        assert!(strategy.iter().any(|line| line.contains("semicolons")), "{strategy:?}");
        let tactics = count("tactics/a.md", &text).advice();
        assert!(tactics.iter().any(|line| line.contains("15 or more")), "{tactics:?}");
        let good = count("strategy/a.md", &long("You round each weight, and we look at what you lose. ", 60));
        assert_eq!(good.advice(), [""; 0]);
        assert_eq!((good.words, good.talk), (660, 180));
    }

    #[test]
    fn long_listings_are_named_unless_they_are_folded() {
        let code = format!("```rust\n{}```\n", "let a = 1;\n".repeat(16));
        let page = count("tactics/a.md", &format!("Words.\n\n{code}\n{{{{#lab quantization}}}}\n\n{code}"));
        assert_eq!(page.listings.len(), 2);
        assert_eq!(page.code_before_lab, Some(16));
        let folded = count("tactics/a.md", &format!("<details>\n\n{code}\n</details>\n"));
        assert_eq!((folded.listings.len(), folded.code_before_lab), (0, None));
    }

    #[test]
    fn sentences_end_where_readers_think() {
        let found = sentences("It is 3.5 m. e.g. this one? (Yes.) \"No.\" And");
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn both_forms_tell_the_same() {
        let pages = [count("tactics/a.md", "We see 1, 2, 3 and 4.\n")];
        assert!(prose_table(&pages).contains("line 1: 4 numbers"), "{}", prose_table(&pages));
        let json: serde_json::Value = serde_json::from_str(&prose_json(&pages)).expect("JSON");
        assert_eq!(json["pages"][0]["crowded_sentences"], 1);
    }
}
