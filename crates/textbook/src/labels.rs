//! The register of everything that can be referred to, and its numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

use crate::{
    outline::{Block, BlockKind, Given, outline},
    problem::{Reporter, near},
    slips::RESERVED,
    source::Source,
};

/// What a label names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Section,
    Figure,
    Table,
    Equation,
    Listing,
    Lab,
}

impl Kind {
    const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::Section, "sec", "Section"),
        (Self::Figure, "fig", "Figure"),
        (Self::Table, "tbl", "Table"),
        (Self::Equation, "eq", "Equation"),
        (Self::Listing, "lst", "Listing"),
        (Self::Lab, "lab", "Lab"),
    ];

    pub(crate) fn of(label: &str) -> Option<Self> {
        let prefix = label.split('-').next()?;
        Self::ALL.into_iter().find(|(_, p, _)| *p == prefix).map(|(kind, ..)| kind)
    }

    pub(crate) fn prefix(self) -> &'static str {
        Self::ALL.into_iter().find(|(kind, ..)| *kind == self).map_or("", |(_, prefix, _)| prefix)
    }

    pub(crate) fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(kind, ..)| *kind == self).map_or("", |(.., word)| word)
    }
}

/// A target of references.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) kind: Kind,
    /// `5.2`; none where the chapter has no number.
    pub(crate) number: Option<String>,
    /// Words shown on hover: a heading's words, a caption.
    pub(crate) title: String,
    /// The whole chapter, not a part of it.
    pub(crate) is_chapter: bool,
    /// Index of its chapter.
    pub(crate) chapter: usize,
    /// Id in the page.
    pub(crate) anchor: String,
}

impl Label {
    /// The words of a reference: `Section 5.2`, or the title where there is no number.
    pub(crate) fn words(&self) -> String {
        match (&self.number, self.is_chapter) {
            (Some(number), true) => format!("Chapter\u{a0}{number}"),
            (Some(number), false) => format!("{}\u{a0}{number}", self.kind.word()),
            (None, _) => self.title.clone(),
        }
    }
}

/// A chapter with what it holds.
#[derive(Debug)]
pub(crate) struct Chapter {
    /// Path in `src`, with `/`.
    pub(crate) path: String,
    pub(crate) title: String,
    /// `5` or `5.1`, as in SUMMARY.md.
    pub(crate) number: Option<String>,
    pub(crate) source: Source,
    pub(crate) blocks: Vec<Block>,
    /// The numbers of `blocks`, same order.
    pub(crate) numbers: Vec<Option<String>>,
    /// Ids that links may point to.
    pub(crate) anchors: BTreeSet<String>,
}

impl Chapter {
    /// The id of its title in the page: what browsers keep of a page is kept under it.
    pub(crate) fn title_id(&self) -> Option<&str> {
        self.blocks.iter().find_map(|block| match &block.kind {
            BlockKind::Heading { level: 1, id, .. } => Some(id.as_str()),
            _ => None,
        })
    }

    /// The part it stands in: the first folder of its path.
    pub(crate) fn part(&self) -> &str {
        self.path.split_once('/').map_or("", |(part, _)| part)
    }
}

/// The book as all its chapters see it.
#[derive(Debug, Default)]
pub(crate) struct Register {
    pub(crate) chapters: Vec<Chapter>,
    pub(crate) labels: BTreeMap<String, Label>,
}

impl Register {
    /// Reads a chapter and registers its labels.
    pub(crate) fn add(&mut self, chapter: &mdbook_preprocessor::book::Chapter, source_folder: &str, to: &Reporter) {
        let path = chapter.path.as_deref().map(slashes).unwrap_or_default();
        let on_disk = chapter.source_path.as_deref().map_or_else(|| path.clone(), slashes);
        let source = Source::new(&format!("{source_folder}/{on_disk}"), 1, &chapter.content);
        let blocks = outline(&source, to);
        let has_children = !chapter.sub_items.is_empty();
        let number = chapter.number.as_ref().map(|n| n.iter().map(u32::to_string).collect::<Vec<_>>().join("."));
        let mut counters = Counters::new(number.as_deref(), has_children);
        let index = self.chapters.len();
        let mut anchors = raw_ids(&source);
        for id in anchors.iter().filter(|id| RESERVED.contains(&id.as_str())) {
            let is_it =
                |found: &regex::Captures<'_>| (1..4).any(|i| found.get(i).is_some_and(|name| name.as_str() == id));
            let place = ID.captures_iter(&source.text).find(is_it).and_then(|found| found.get(0));
            let at = place.map_or(0, |place| place.start() + 1);
            source.report(to, at, "this id is one of the page itself: choose another", &format!("id=\"{id}\""), None);
        }
        let made = made_ids(&source, &blocks);
        let mut numbers = Vec::with_capacity(blocks.len());
        let mut title_seen = false;
        for block in &blocks {
            let is_chapter = matches!(block.kind, BlockKind::Heading { level: 1, .. }) && !title_seen;
            title_seen |= is_chapter;
            let own = if is_chapter { number.clone() } else { counters.next(block) };
            numbers.push(own.clone());
            if let BlockKind::Heading { id, given, words, .. } = &block.kind {
                heading_id(&source, block, id, *given, to);
                let line = source.text[block.range.clone()].lines().next().unwrap_or_default();
                if *given == Given::Id && words.is_empty() {
                    source.report(
                        to,
                        block.range.start,
                        "a heading without words: write some before its label",
                        line,
                        None,
                    );
                }
                if made.contains(id) {
                    let message = format!(
                        "the page makes the id “{id}” itself, of a question, a note or a lab: give this heading a label, such as {{#sec-{id}}}"
                    );
                    source.report(to, block.range.start, &message, line, None);
                }
                if !anchors.insert(id.clone()) {
                    source.report(to, block.range.start, "this id stands twice on the page", &format!("#{id}"), None);
                }
            }
            let Some(label) = &block.label else { continue };
            anchors.insert(label.clone());
            let Some(kind) = expected(block) else {
                source.report(to, block.range.start, "nothing that can bear a label", &format!("#{label}"), None);
                continue;
            };
            if Kind::of(label) != Some(kind) {
                let message =
                    format!("a label of this kind ({}) begins with “{}-”", kind.word().to_lowercase(), kind.prefix());
                source.report(to, block.range.start, &message, &format!("#{label}"), None);
                continue;
            }
            let title = title(&source, block);
            let entry = Label { kind, number: own, title, is_chapter, chapter: index, anchor: label.clone() };
            match self.labels.get(label) {
                None => {
                    self.labels.insert(label.clone(), entry);
                }
                Some(first) => {
                    let elsewhere =
                        self.chapters.get(first.chapter).map_or(source.file.as_str(), |c| c.source.file.as_str());
                    let message = format!("this label stands twice (also in {elsewhere})");
                    source.report(to, block.range.start, &message, &format!("#{label}"), None);
                }
            }
        }
        self.chapters.push(Chapter { path, title: chapter.name.clone(), number, source, blocks, numbers, anchors });
    }

    /// The nearest label to an unknown one.
    pub(crate) fn nearest(&self, label: &str) -> Option<String> {
        let same_kind = self.labels.iter().filter(|(_, l)| Kind::of(label) == Some(l.kind));
        near(label, same_kind.map(|(name, _)| name.as_str())).map(|name| format!("@{name}"))
    }

    /// The address of an anchor of one chapter as seen from another.
    pub(crate) fn address(&self, from: usize, to: usize, anchor: &str) -> String {
        if from == to {
            return format!("#{anchor}");
        }
        let hash = if anchor.is_empty() { String::new() } else { format!("#{anchor}") };
        format!("{}{hash}", self.page(from, to))
    }

    /// The address of a chapter's page as written on another, or on its own.
    pub(crate) fn page(&self, from: usize, to: usize) -> String {
        let target = self.chapters.get(to).map_or("", |c| c.path.as_str());
        format!("{}{}.html", self.up(from), target.strip_suffix(".md").unwrap_or(target))
    }

    /// The way from a chapter to the book's root: `../` for each folder.
    pub(crate) fn up(&self, chapter: usize) -> String {
        let depth = self.chapters.get(chapter).map_or(0, |c| c.path.matches('/').count());
        "../".repeat(depth)
    }
}

fn expected(block: &Block) -> Option<Kind> {
    match &block.kind {
        BlockKind::Heading { .. } => Some(Kind::Section),
        BlockKind::Figure { .. } => Some(Kind::Figure),
        BlockKind::Table { .. } => Some(Kind::Table),
        BlockKind::Equation { .. } => Some(Kind::Equation),
        BlockKind::Fence { language, .. } if language == "mermaid" => Some(Kind::Figure),
        BlockKind::Fence { language, .. } if language == "quiz" => None,
        BlockKind::Fence { .. } => Some(Kind::Listing),
        BlockKind::Directive { name, .. } if name == "lab" => Some(Kind::Lab),
        BlockKind::Directive { name, .. } if name == "chart" => Some(Kind::Figure),
        BlockKind::Directive { name, .. } if name == "code" || name == "diff" => Some(Kind::Listing),
        _ => None,
    }
}

fn title(source: &Source, block: &Block) -> String {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match &block.kind {
        BlockKind::Heading { words, .. } => plain(words),
        BlockKind::Figure { caption, .. } | BlockKind::Table { caption, .. } => plain(&source.text[caption.clone()]),
        BlockKind::Equation { tex } => plain(tex),
        BlockKind::Fence { attrs, .. } => attrs.pairs.get("cap").map(|cap| plain(cap)).unwrap_or_default(),
        BlockKind::Directive { args, tail, .. } => tail.pairs.get("cap").map_or_else(|| plain(args), |cap| plain(cap)),
        _ => String::new(),
    }
}

/// An id must lead to the heading, and stay the same when chapters move.
fn heading_id(source: &Source, block: &Block, id: &str, given: Given, to: &Reporter) {
    let line = source.text[block.range.clone()].lines().next().unwrap_or_default();
    if given != Given::Id && !id.chars().any(char::is_alphanumeric) {
        let message = "a heading without letters has no address: give it a label, such as {#sec-name}";
        source.report(to, block.range.start, message, line, None);
    } else if RESERVED.contains(&id) {
        let message =
            format!("the id “{id}” is one of the page itself: give this heading a label, such as {{#sec-{id}}}");
        source.report(to, block.range.start, &message, line, None);
    }
}

static QUIZ_ID: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?m)^id\s*=\s*["']([^"'\n]+)["']"#).expect("a constant pattern"));

/// Ids that are made of what the page holds: its questions, notes, labs and miniatures.
fn made_ids(source: &Source, blocks: &[Block]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for block in blocks {
        match &block.kind {
            BlockKind::Fence { language, code, .. } if language == "quiz" => {
                all.extend(QUIZ_ID.captures(code).map(|found| format!("quiz-{}", &found[1])));
            }
            BlockKind::Directive { name, args, .. } if name == "lab" => {
                all.extend(["", "-title", "-steps", "-controls"].map(|part| format!("lab-{args}{part}")));
            }
            BlockKind::Directive { name, args, .. } if name == "miniature" => {
                let id = args.split_whitespace().next().unwrap_or_default();
                all.extend(["", "-head"].map(|part| format!("mini-{id}{part}")));
            }
            BlockKind::Directive { name, .. } if name == "guide" => all.extend(["guide".to_owned()]),
            _ => {}
        }
    }
    for (event, _) in &source.events {
        if let pulldown_cmark::Event::Start(pulldown_cmark::Tag::FootnoteDefinition(name)) = event {
            all.extend([format!("footnote-{name}"), format!("fr-{name}-1")]);
        }
    }
    all
}

/// An id in HTML, with quotes of either kind or without.
static ID: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"\sid\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>=]+))"#).expect("a constant pattern"));

/// Ids in HTML that authors wrote themselves.
fn raw_ids(source: &Source) -> BTreeSet<String> {
    let html = source.events.iter().filter_map(|(event, range)| match event {
        pulldown_cmark::Event::Html(_) | pulldown_cmark::Event::InlineHtml(_) => Some(&source.text[range.clone()]),
        _ => None,
    });
    let ids = html.flat_map(|text| ID.captures_iter(text));
    ids.filter_map(|found| (1..4).find_map(|i| found.get(i))).map(|id| id.as_str().to_owned()).collect()
}

/// A path with `/` on every system.
pub(crate) fn slashes(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

/// `a/b/../c.md` without its detours.
pub(crate) fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    slashes(&parts.iter().collect::<PathBuf>())
}

/// Numbers of one chapter.
struct Counters<'a> {
    chapter: Option<&'a str>,
    /// Sections of a chapter with chapters below it would share their numbers with those.
    sections: bool,
    section: [u32; 2],
    others: BTreeMap<Kind, u32>,
}

impl<'a> Counters<'a> {
    fn new(chapter: Option<&'a str>, has_children: bool) -> Self {
        Self { chapter, sections: chapter.is_some() && !has_children, section: [0; 2], others: BTreeMap::new() }
    }

    fn next(&mut self, block: &Block) -> Option<String> {
        if let BlockKind::Heading { level, numbered, .. } = &block.kind {
            if !self.sections || !numbered {
                return None;
            }
            let chapter = self.chapter?;
            return match level {
                2 => {
                    self.section = [self.section[0] + 1, 0];
                    Some(format!("{chapter}.{}", self.section[0]))
                }
                3 if self.section[0] > 0 => {
                    self.section[1] += 1;
                    Some(format!("{chapter}.{}.{}", self.section[0], self.section[1]))
                }
                _ => None,
            };
        }
        block.label.as_ref()?;
        let count = self.others.entry(expected(block)?).or_insert(0);
        *count += 1;
        Some(self.chapter.map_or_else(|| count.to_string(), |chapter| format!("{chapter}.{count}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mdbook_preprocessor::book::{Chapter as BookChapter, SectionNumber};

    fn register(texts: &[(&str, Option<u32>, &str)]) -> (Register, Reporter) {
        let (mut register, reporter) = (Register::default(), Reporter::default());
        for (path, number, text) in texts {
            let mut chapter = BookChapter::new("Name", (*text).into(), *path, vec![]);
            chapter.number = number.map(|n| SectionNumber::new(vec![n]));
            register.add(&chapter, "book/src", &reporter);
        }
        (register, reporter)
    }

    #[test]
    fn numbers_follow_the_summary_and_run_through_a_chapter() {
        let text = "# T {#sec-t}\n\n## A {#sec-a}\n\n### B {#sec-b}\n\n## C {#sec-c .unnumbered}\n\n## D {#sec-d}\n\n$$x$$ {#eq-x}\n\n$$y$$\n\n$$z$$ {#eq-z}\n";
        let (register, reporter) =
            register(&[("tactics/t.md", Some(5), text), ("end.md", None, "# End {#sec-end}\n\n$$w$$ {#eq-w}\n")]);
        assert_eq!(reporter.finish(), None);
        let words = |label: &str| register.labels[label].words();
        assert_eq!(words("sec-t"), "Chapter\u{a0}5");
        assert_eq!(words("sec-b"), "Section\u{a0}5.1.1");
        assert_eq!(words("sec-c"), "C");
        assert_eq!(words("sec-d"), "Section\u{a0}5.2");
        assert_eq!(words("eq-z"), "Equation\u{a0}5.2");
        assert_eq!(words("sec-end"), "End");
        assert_eq!(words("eq-w"), "Equation\u{a0}1");
        assert_eq!(register.address(0, 1, "sec-end"), "../end.html#sec-end");
        assert_eq!(register.address(1, 0, "sec-a"), "tactics/t.html#sec-a");
    }

    #[test]
    fn doubles_and_wrong_prefixes_are_reported() {
        let (_, reporter) =
            register(&[("a.md", None, "# T {#sec-t}\n\n$$x$$ {#sec-x}\n"), ("b.md", None, "\n# T {#sec-t}\n")]);
        let all = reporter.finish().expect("problems").to_string();
        assert!(all.contains("book/src/a.md:3: a label of this kind (equation) begins with “eq-”: #sec-x"), "{all}");
        assert!(all.contains("book/src/b.md:2: this label stands twice (also in book/src/a.md): #sec-t"), "{all}");
    }

    #[test]
    fn paths_lose_their_detours() {
        assert_eq!(normal("tactics/../strategy/./x.md"), "strategy/x.md");
    }
}
