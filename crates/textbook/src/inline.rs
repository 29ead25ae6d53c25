//! What stands within a line: references, citations, values, terms.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    ops::Range,
    sync::LazyLock,
};

use pulldown_cmark::{Event, Tag, TagEnd};
use regex::{Captures, Regex};

use crate::{
    bibliography::{self, Cited, Work},
    book::CitedAt,
    html::{escape, inline_safe, text_of},
    labels::{Kind, Label},
    outline::{Block, BlockKind, DIRECTIVE},
    page::Page,
    problem::near,
    source::{Edit, Source},
};

static BRACKETS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\[([^\[\]]*@[^\[\]]*)\]").expect("a constant pattern"));
static BARE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"@([A-Za-z][\w:+-]*\w|[A-Za-z])").expect("a constant pattern"));
/// The same with the strokes and points of DBLP's keys.
static KEY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"@([A-Za-z][\w:+./-]*\w|[A-Za-z])").expect("a constant pattern"));
/// What looks like mathematics and is not: an unclosed formula, or one whose braces do not match.
static DOLLARS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\$|\$\\[A-Za-z]").expect("a constant pattern"));
static STRAY: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{#[A-Za-z][^{}\n]*\}").expect("a constant pattern"));

/// Directives that make a paragraph of their own.
pub(crate) const BLOCK_DIRECTIVES: [&str; 13] = [
    "lab",
    "chart",
    "miniature",
    "code",
    "diff",
    "bibliography",
    "glossary",
    "methods",
    "map",
    "path",
    "paths",
    "guide",
    "overlap",
];

/// Ranges that blocks have taken over, and ranges in which no link may stand.
pub(crate) struct Zones {
    taken: Vec<Range<usize>>,
    plain: Vec<Range<usize>>,
    headings: Vec<Range<usize>>,
}

fn within(ranges: &[Range<usize>], at: usize) -> bool {
    ranges.iter().any(|range| range.contains(&at))
}

impl Zones {
    pub(crate) fn new(blocks: &[Block]) -> Self {
        let mut zones = Self { taken: Vec::new(), plain: Vec::new(), headings: Vec::new() };
        for block in blocks {
            match &block.kind {
                BlockKind::Table { table, .. } => {
                    // The caption with its colon and braces.
                    zones.taken.push(table.end..block.range.end);
                }
                BlockKind::Callout { head_end, .. } => zones.taken.push(block.range.start..*head_end),
                BlockKind::Heading { .. } => {
                    zones.headings.push(block.range.clone());
                    zones.plain.push(block.range.clone());
                }
                BlockKind::Link { .. } => zones.plain.push(block.range.clone()),
                BlockKind::Math { .. } | BlockKind::Picture { .. } => {}
                _ => zones.taken.push(block.range.clone()),
            }
        }
        zones
    }

    fn is_taken(&self, at: usize) -> bool {
        within(&self.taken, at)
    }
}

/// Edits for everything inline in a source.
pub(crate) fn edits(page: &Page<'_>, source: &Source, zones: &Zones, terms: bool) -> Vec<Edit> {
    let mut edits = Vec::new();
    let text = source.text.as_str();
    for found in DIRECTIVE.captures_iter(text) {
        let all = found.get(0).map_or(0..0, |m| m.range());
        if zones.is_taken(all.start) || !source.is_live(all.start) {
            continue;
        }
        edits.push(Edit { text: directive(page, source, all.start, &found[1], &found[2]), range: all });
    }
    let mut done: Vec<Range<usize>> = edits.iter().map(|edit| edit.range.clone()).collect();
    for found in BRACKETS.captures_iter(text) {
        let all = found.get(0).map_or(0..0, |m| m.range());
        // A colon makes a definition of a link only at the beginning of a line; elsewhere it is punctuation.
        let before = text[..all.start].rsplit('\n').next().unwrap_or_default();
        let defines = text[all.end..].starts_with(':') && before.trim().is_empty();
        let is_link = defines || text[all.end..].starts_with(['(', '[']) || text[..all.start].ends_with('!');
        if is_link || zones.is_taken(all.start) || !source.is_live(all.start) || within(&done, all.start) {
            continue;
        }
        let linked = !within(&zones.plain, all.start);
        if let Some(html) = brackets(page, source, all.start, &found[1], linked) {
            done.push(all.clone());
            edits.push(Edit { range: all, text: html });
        }
    }
    for found in KEY.captures_iter(text) {
        let all = found.get(0).map_or(0..0, |m| m.range());
        let glued = text[..all.start].ends_with(|c: char| c.is_alphanumeric() || "./_-@".contains(c));
        if glued || zones.is_taken(all.start) || !source.is_live(all.start) || within(&done, all.start) {
            continue;
        }
        let linked = !within(&zones.plain, all.start);
        // Keys of DBLP hold strokes and points, which elsewhere end a key.
        let long = &found[1];
        let key = if page.book.bibliography.names(long) {
            long
        } else {
            &long[..long.find(['.', '/']).unwrap_or(long.len())]
        };
        let key = key.trim_end_matches(['-', ':', '+']);
        if let Some(html) = bare(page, source, all.start, key, linked) {
            edits.push(Edit { range: all.start..all.start + 1 + key.len(), text: html });
        }
    }
    for found in STRAY.find_iter(text) {
        let at = found.start();
        let in_braces = text[..at].ends_with('{');
        if !in_braces && !zones.is_taken(at) && !within(&zones.headings, at) && source.is_live(at) && !within(&done, at)
        {
            source.report(page.book.reporter, at, "this label labels nothing", found.as_str(), None);
        }
    }
    if let Some(found) = DOLLARS.find_iter(text).find(|m| source.is_live(m.start()) && !zones.is_taken(m.start())) {
        let line = text[found.start()..].lines().find(|line| line.trim() != "$$").unwrap_or_default();
        source.report(
            page.book.reporter,
            found.start(),
            "this formula is not closed, or its braces do not match",
            line,
            None,
        );
    }
    if terms {
        edits.extend(term_edits(page, source, zones, &done));
    }
    edits
}

fn directive(page: &Page<'_>, source: &Source, at: usize, name: &str, args: &str) -> String {
    let whole = format!("{{{{#{name} {args}}}}}");
    if name == "value" {
        return match page.value(args) {
            Ok(html) => inline_safe(&html),
            Err((message, nearest)) => {
                source.report(page.book.reporter, at, &message, args, nearest);
                String::new()
            }
        };
    }
    if BLOCK_DIRECTIVES.contains(&name) {
        source.report(page.book.reporter, at, "this directive stands alone in a paragraph", &whole, None);
    } else {
        let nearest = near(name, BLOCK_DIRECTIVES.into_iter().chain(["value"]));
        source.report(page.book.reporter, at, "there is no such directive", &whole, nearest);
    }
    String::new()
}

fn brackets(page: &Page<'_>, source: &Source, at: usize, inside: &str, linked: bool) -> Option<String> {
    let Some(all) = bibliography::citations(inside) else {
        // `[mail me @ home]` is text; `[@a; b]` is a slip.
        if inside.trim_start().starts_with('@') {
            source.report(
                page.book.reporter,
                at,
                "each part of a citation names a key with @",
                &format!("[{inside}]"),
                None,
            );
        }
        return None;
    };
    if all.iter().any(|cited| {
        !cited.before.is_empty()
            && cited.before.ends_with(|c: char| c.is_alphanumeric())
            && inside.contains(&format!("{}@", cited.before))
    }) {
        return None; // an address such as a@b
    }
    if all.iter().all(|cited| Kind::of(&cited.key).is_some() && cited.key.contains('-')) {
        let links: Vec<String> = all.iter().map(|cited| page.reference(source, at, &cited.key, linked)).collect();
        return Some(links.join("; "));
    }
    let mut parts = Vec::new();
    for cited in &all {
        parts.push(page.citation(source, at, cited, linked)?);
    }
    Some(format!("<span class=\"citation\">({})</span>", parts.join("; ")))
}

fn bare(page: &Page<'_>, source: &Source, at: usize, key: &str, linked: bool) -> Option<String> {
    if Kind::of(key).is_some() && key.contains('-') {
        return Some(page.reference(source, at, key, linked));
    }
    if page.book.bibliography.names(key) {
        return page.narrative(source, at, key, linked);
    }
    // A word with a year at its end can only be a citation.
    let year = key.trim_end_matches(|c: char| c.is_ascii_lowercase());
    if year.len() > 4 && year.as_bytes().last_chunk::<4>().is_some_and(|last| last.iter().all(u8::is_ascii_digit)) {
        page.unknown_key(source, at, key);
    }
    None
}

fn term_edits(page: &Page<'_>, source: &Source, zones: &Zones, done: &[Range<usize>]) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut off = 0_i32;
    for (event, range) in &source.events {
        match event {
            Event::Start(
                Tag::Heading { .. }
                | Tag::Link { .. }
                | Tag::Image { .. }
                | Tag::CodeBlock(_)
                | Tag::FootnoteDefinition(_),
            ) => off += 1,
            Event::End(
                TagEnd::Heading(_) | TagEnd::Link | TagEnd::Image | TagEnd::CodeBlock | TagEnd::FootnoteDefinition,
            ) => off -= 1,
            Event::Text(_) if off == 0 => {
                let text = &source.text[range.clone()];
                for (start, end, key) in page.book.glossary.find(text) {
                    let at = range.start + start;
                    if zones.is_taken(at) || !source.is_live(at) || within(done, at) || !page.first_use(key) {
                        continue;
                    }
                    if let Some(html) = page.term(key, &text[start..end]) {
                        edits.push(Edit { range: at..range.start + end, text: inline_safe(&html) });
                    }
                }
            }
            _ => {}
        }
    }
    edits
}

impl Page<'_> {
    /// A reference as a link, or as words where no link may stand.
    pub(crate) fn reference(&self, source: &Source, at: usize, label: &str, linked: bool) -> String {
        let register = self.book.register;
        let Some(target) = register.labels.get(label) else {
            let nearest = register.nearest(label);
            source.report(self.book.reporter, at, "there is no such label", &format!("@{label}"), nearest);
            return String::new();
        };
        let words = inline_safe(&escape(&target.words()));
        if !linked {
            return words;
        }
        let anchor = if target.is_chapter && target.chapter != self.chapter { "" } else { &target.anchor };
        let href = register.address(self.chapter, target.chapter, anchor);
        let title = escape(&self.title_of(label, target));
        format!(
            "<a class=\"ref ref-{}\" href=\"{href}\" title=\"{}\">{words}</a>",
            target.kind.prefix(),
            title.replace('|', "&#124;")
        )
    }

    fn cite(&self, source: &Source, at: usize, key: &str) -> Option<(String, String, String, &Work)> {
        let Some(work) = self.book.works.get(key) else {
            self.unknown_key(source, at, key);
            return None;
        };
        let Some(page) = self.book.bibliography_page else {
            source.report(
                self.book.reporter,
                at,
                "no page of the book holds {{#bibliography}}",
                &format!("@{key}"),
                None,
            );
            return None;
        };
        let mut counts = self.cite_counts.borrow_mut();
        let count = counts.entry(key.to_owned()).or_insert(0);
        *count += 1;
        let anchor = format!("cite-{key}-{count}");
        let place = CitedAt { chapter: self.chapter, anchor: anchor.clone() };
        self.book.cited.borrow_mut().entry(key.to_owned()).or_default().push(place);
        let href = self.book.register.address(self.chapter, page, &format!("ref-{key}"));
        Some((anchor, href, escape(&text_of(&work.full)).replace('|', "&#124;"), work))
    }

    pub(crate) fn unknown_key(&self, source: &Source, at: usize, key: &str) {
        // What is wrong with the entry, or with the file, is told already.
        if self.book.bibliography.names(key) || !self.book.bibliography.is_whole {
            return;
        }
        let nearest = near(key, self.book.bibliography.keys()).map(|key| format!("@{key}"));
        source.report(self.book.reporter, at, "the bibliography has no such key", &format!("@{key}"), nearest);
    }

    /// One work within the brackets of a citation.
    fn citation(&self, source: &Source, at: usize, cited: &Cited, linked: bool) -> Option<String> {
        let (anchor, href, title, work) = self.cite(source, at, &cited.key)?;
        let short = work.year().filter(|_| cited.year_only).unwrap_or(&work.short);
        let mut out = String::new();
        if !cited.before.is_empty() {
            let _ = write!(out, "{} ", inline_safe(&escape(&cited.before)));
        }
        let short = inline_safe(&escape(short));
        if linked {
            let _ = write!(out, "<a class=\"cite\" id=\"{anchor}\" href=\"{href}\" title=\"{title}\">{short}</a>");
        } else {
            let _ = write!(out, "<span id=\"{anchor}\">{short}</span>");
        }
        if !cited.locator.is_empty() {
            let _ = write!(out, ", {}", inline_safe(&escape(&cited.locator)));
        }
        Some(out)
    }

    /// A work as part of a sentence: `Jacob et al. (2018)`.
    fn narrative(&self, source: &Source, at: usize, key: &str, linked: bool) -> Option<String> {
        let (anchor, href, title, work) = self.cite(source, at, key)?;
        let words = inline_safe(&escape(&work.in_prose()));
        let link = format!("<a class=\"cite\" id=\"{anchor}\" href=\"{href}\" title=\"{title}\">{words}</a>");
        Some(if linked { link } else { format!("<span id=\"{anchor}\">{words}</span>") })
    }

    fn first_use(&self, key: &str) -> bool {
        self.terms.borrow_mut().insert(key.to_owned())
    }

    fn term(&self, key: &str, words: &str) -> Option<String> {
        let page = self.book.glossary_page?;
        if page == self.chapter {
            return None;
        }
        let definition = self.book.glossary.terms.get(key).map(|term| self.plain(&term.definition)).unwrap_or_default();
        let href = self.book.register.address(self.chapter, page, &format!("term-{key}"));
        Some(format!("<a class=\"term\" href=\"{href}\" title=\"{}\">{}</a>", escape(&definition), escape(words)))
    }
}

/// Text with the words of references in place of their labels.
pub(crate) fn with_reference_words(text: &str, labels: &BTreeMap<String, Label>) -> String {
    let words = BARE.replace_all(text, |found: &Captures<'_>| {
        labels.get(&found[1]).map_or_else(|| found[0].to_owned(), Label::words)
    });
    words.into_owned()
}

/// The labels that some text refers to.
pub(crate) fn labels_in(text: &str) -> BTreeSet<&str> {
    let names = BARE.captures_iter(text).filter_map(|found| found.get(1)).map(|m| m.as_str());
    names.filter(|name| Kind::of(name).is_some() && name.contains('-')).collect()
}
