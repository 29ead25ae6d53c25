//! One chapter on its way from Markdown with directives to Markdown with HTML.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use pulldown_cmark::Event;

use crate::{
    book::Book,
    catalogue,
    html::{escape, one_line},
    inline::{self, Zones, labels_in},
    labels::{Kind, Label, normal},
    outline::{Block, BlockKind, Given, outline},
    problem::near,
    quiz::Quiz,
    source::{Edit, Source, apply, html_options},
    svg,
};

/// Callouts by the word in the source: class, heading.
const CALLOUTS: [(&str, &str, &str); 13] = [
    ("TACTICS", "tactics", "Tactics"),
    ("STRATEGY", "strategy", "Strategy"),
    ("PREDICT", "predict", "Predict"),
    ("NOTE", "note", "Note"),
    ("WARNING", "warning", "Warning"),
    ("EXAMPLE", "example", "Example"),
    ("TIP", "tip", "Tip"),
    ("DEFINITION", "definition", "Definition"),
    ("PITFALL", "pitfall", "Pitfall"),
    ("SUMMARY", "summary", "Summary"),
    ("PREREQUISITES", "prerequisites", "Prerequisites"),
    ("EXERCISE", "exercise", "Exercise"),
    ("ANSWER", "answer", "Answer"),
];

/// Stands where the bibliography will: it is known only when every chapter is done.
pub(crate) const BIBLIOGRAPHY_MARK: &str = "<div data-textbook=\"bibliography\"></div>";

/// A chapter being made.
pub(crate) struct Page<'a> {
    pub(crate) book: &'a Book<'a>,
    pub(crate) chapter: usize,
    pub(crate) terms: RefCell<BTreeSet<String>>,
    pub(crate) cite_counts: RefCell<BTreeMap<String, u32>>,
    scopes: Cell<u32>,
    questions: Cell<usize>,
}

impl<'a> Page<'a> {
    pub(crate) fn new(book: &'a Book<'a>, chapter: usize) -> Self {
        Self {
            book,
            chapter,
            terms: RefCell::default(),
            cite_counts: RefCell::default(),
            scopes: Cell::new(0),
            questions: Cell::new(0),
        }
    }

    /// The chapter as mdBook's renderer takes it.
    pub(crate) fn render(&self) -> String {
        let chapter = &self.book.register.chapters[self.chapter];
        self.transform(&chapter.source, &chapter.blocks, Some(&chapter.numbers))
    }

    fn transform(&self, source: &Source, blocks: &[Block], numbers: Option<&[Option<String>]>) -> String {
        let zones = Zones::new(blocks);
        let mut edits = inline::edits(self, source, &zones, numbers.is_some());
        for (i, block) in blocks.iter().enumerate() {
            let number = numbers.and_then(|all| all.get(i)?.as_deref());
            if numbers.is_none() && block.label.is_some() && !matches!(block.kind, BlockKind::Heading { .. }) {
                let label = block.label.as_deref().unwrap_or_default();
                source.report(
                    self.book.reporter,
                    block.range.start,
                    "labels stand in chapters only",
                    &format!("#{label}"),
                    None,
                );
            }
            self.block(source, block, number, numbers.is_some(), &mut edits);
        }
        apply(&source.text, edits)
    }

    /// Markdown of a file as HTML of its own, on one line.
    pub(crate) fn fragment(&self, text: &str, file: &str, line: usize) -> String {
        let source = Source::new(file, line, text);
        let blocks = outline(&source, self.book.reporter);
        let markdown = self.transform(&source, &blocks, None);
        let mut html = String::new();
        pulldown_cmark::html::push_html(&mut html, pulldown_cmark::Parser::new_ext(&markdown, html_options()));
        one_line(&html)
    }

    /// Markdown within a line (a caption, an option) as HTML.
    pub(crate) fn inline(&self, text: &str, file: &str, line: usize) -> String {
        let html = self.fragment(text.trim(), file, line);
        let inner = html.strip_prefix("<p>").and_then(|rest| rest.strip_suffix("</p>"));
        inner.filter(|inner| !inner.contains("<p>")).unwrap_or(&html).to_owned()
    }

    /// The words of some Markdown, for attributes: references as their words, formulas as TeX.
    pub(crate) fn plain(&self, text: &str) -> String {
        let source = Source::new("", 1, text);
        let mut words = String::new();
        for (event, _) in &source.events {
            match event {
                Event::Text(text) | Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                    words.push_str(text)
                }
                Event::SoftBreak | Event::HardBreak => words.push(' '),
                _ => {}
            }
        }
        let words = inline::with_reference_words(&words, &self.book.register.labels);
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What hovering over a reference shows.
    pub(crate) fn title_of(&self, label: &str, target: &Label) -> String {
        match target.kind {
            Kind::Lab => {
                let id = label.trim_start_matches("lab-");
                self.book.places.labs.title(id).unwrap_or_else(|| id.to_owned())
            }
            Kind::Equation => target.title.clone(),
            _ if target.title.is_empty() => label.to_owned(),
            _ => self.plain(&target.title),
        }
    }

    /// An edit that puts a block of HTML in place of a block, whatever it stands in.
    fn block_edit(&self, source: &Source, block: &Block, in_callout: bool, html: &str) -> Edit {
        let prefix = container_prefix(source.before_on_line(block.range.start), in_callout);
        Edit { range: block.range.clone(), text: format!("{html}\n{}", prefix.trim_end()) }
    }

    fn block(&self, source: &Source, block: &Block, number: Option<&str>, is_chapter: bool, edits: &mut Vec<Edit>) {
        let at = block.range.start;
        let report = |message: &str, text: &str, nearest: Option<String>| {
            source.report(self.book.reporter, at, message, text, nearest);
        };
        let in_callout = self.in_callout(source, at);
        let mut put = |html: &str| edits.push(self.block_edit(source, block, in_callout, html));
        match &block.kind {
            BlockKind::Heading { words_at, id, given, .. } => {
                if is_chapter {
                    heading(source, block, *words_at, id, *given, number, edits);
                }
            }
            BlockKind::Figure { caption, path, attrs } => {
                let words = &source.text[caption.clone()];
                let Some(alt) =
                    attrs.pairs.get("fig-alt").or_else(|| attrs.pairs.get("alt")).filter(|alt| !alt.trim().is_empty())
                else {
                    return report("a figure needs fig-alt=\"...\", its text alternative", path, None);
                };
                for key in attrs.pairs.keys().filter(|key| !["fig-alt", "alt"].contains(&key.as_str())) {
                    report("no attribute of a figure", key, near(key, ["fig-alt"]));
                }
                match self.picture(path, alt, block.label.as_deref()) {
                    Ok(picture) => {
                        let caption = self.caption(Kind::Figure, number, words, source, caption.start);
                        let wide = if attrs.has_class("wide") { " wide" } else { "" };
                        put(&format!("<figure class=\"figure{wide}\"{}>{picture}{caption}</figure>", id_attr(block)));
                    }
                    Err((message, nearest)) => report(&message, path, nearest),
                }
            }
            BlockKind::Table { table, caption } => {
                let words = self.caption(Kind::Table, number, &source.text[caption.clone()], source, caption.start);
                let open = format!("<figure class=\"table\"{}>{words}\n\n", id_attr(block));
                edits.push(Edit { range: table.start..table.start, text: open });
                edits.push(Edit { range: table.end..block.range.end, text: "\n\n</figure>\n".into() });
            }
            BlockKind::Equation { tex } => match self.book.caches.formulas.render(tex, true) {
                Ok(mathml) => {
                    let html = equation(&mathml, block, number);
                    let alone = source.before_on_line(at).trim_matches([' ', '>', '\t']).is_empty()
                        && source.text[block.range.end..].lines().next().unwrap_or_default().trim().is_empty();
                    if alone {
                        put(&html);
                    } else {
                        report("a displayed formula stands on lines of its own", tex, None);
                    }
                }
                Err(message) => report(&message, tex.trim(), None),
            },
            BlockKind::Math { tex } => match self.book.caches.formulas.render(tex, false) {
                Ok(mathml) => edits.push(Edit { range: block.range.clone(), text: crate::html::inline_safe(&mathml) }),
                Err(message) => report(&message, &format!("${tex}$"), None),
            },
            BlockKind::Fence { language, attrs, code } => {
                if let Some(html) = self.fence(source, block, language, attrs, code, number) {
                    put(&html);
                }
            }
            BlockKind::Directive { name, args, tail } => {
                match self.directive(source, block, name, args, tail.pairs.get("cap").map(String::as_str), number) {
                    Ok(Some(html)) => put(&html),
                    // Not a block's directive: dealt with where inline directives are.
                    Ok(None) => edits.extend(
                        inline::edits(
                            self,
                            &Source::new(&source.file, source.line(at), &source.text[block.range.clone()]),
                            &Zones::new(&[]),
                            false,
                        )
                        .into_iter()
                        .map(|edit| Edit { range: edit.range.start + at..edit.range.end + at, text: edit.text }),
                    ),
                    Err((message, nearest)) => report(&message, args, nearest),
                }
            }
            BlockKind::Callout { kind, title, head_end } => self.callout(source, block, kind, title, *head_end, edits),
            BlockKind::Link { to } => {
                if let Err((message, nearest)) = self.check_link(to) {
                    report(&message, to, nearest);
                }
            }
            BlockKind::Picture { path } => {
                if let Err((message, nearest)) = self.file(path) {
                    report(&message, path, nearest);
                }
            }
        }
    }

    fn in_callout(&self, source: &Source, at: usize) -> bool {
        // Blocks are few; callouts fewer.
        source.before_on_line(at).trim_start().starts_with('>') && source.quote_is_callout(at)
    }

    pub(crate) fn caption(&self, kind: Kind, number: Option<&str>, words: &str, source: &Source, at: usize) -> String {
        let words = self.inline(words, &source.file, source.line(at));
        match number {
            Some(number) => {
                let gap = if words.is_empty() { "" } else { " " };
                format!(
                    "<figcaption><span class=\"caption-label\">{} {number}</span>{gap}{words}</figcaption>",
                    kind.word()
                )
            }
            None if words.is_empty() => String::new(),
            None => format!("<figcaption>{words}</figcaption>"),
        }
    }

    /// A local file of `src`, by the path a chapter names.
    fn file(&self, path: &str) -> Result<std::path::PathBuf, (String, Option<String>)> {
        if path.contains("://") || path.starts_with("//") {
            return Err(("a page loads nothing from elsewhere: put the file into src/".into(), None));
        }
        let folder = self.book.register.chapters[self.chapter].path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let inside = normal(&format!("{folder}/{path}"));
        let full = self.book.places.src.join(&inside);
        if full.is_file() {
            return Ok(full);
        }
        let beside = full.parent().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let names: Vec<String> = beside.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let wanted = inside.rsplit('/').next().unwrap_or(&inside);
        Err(("there is no such file".into(), near(wanted, names.iter().map(String::as_str))))
    }

    fn picture(&self, path: &str, alt: &str, label: Option<&str>) -> Result<String, (String, Option<String>)> {
        let file = self.file(path)?;
        if path.ends_with(".svg") {
            let text = std::fs::read_to_string(&file).map_err(|error| (error.to_string(), None))?;
            return svg::embed(&text, &self.scope(label), alt).map_err(|message| (message, None));
        }
        let size = imagesize::size(&file)
            .map_err(|error| (format!("the size of this picture cannot be read ({error})"), None))?;
        let (width, height) = (size.width, size.height);
        let (src, alt) = (escape(path), escape(alt));
        Ok(format!(
            "<img src=\"{src}\" alt=\"{alt}\" width=\"{width}\" height=\"{height}\" loading=\"lazy\" decoding=\"async\">"
        ))
    }

    /// A prefix for ids that no other picture of the page has.
    pub(crate) fn scope(&self, label: Option<&str>) -> String {
        self.scopes.set(self.scopes.get() + 1);
        label.map_or_else(|| format!("pic{}", self.scopes.get()), str::to_owned)
    }

    pub(crate) fn quiz(&self, source: &Source, block: &Block, code: &str) -> Option<String> {
        let line = source.line(block.range.start);
        let quiz = match Quiz::parse(code) {
            Ok(quiz) => quiz,
            Err(mistake) => {
                let text = code.lines().nth(mistake.line).unwrap_or_default();
                let at = source.text[block.range.clone()]
                    .split_inclusive('\n')
                    .take(mistake.line + 1)
                    .map(str::len)
                    .sum::<usize>();
                source.report(self.book.reporter, block.range.start + at, &mistake.message, text, None);
                return None;
            }
        };
        if !self.book.quizzes.borrow_mut().insert(quiz.id.clone()) {
            source.report(
                self.book.reporter,
                block.range.start,
                "this quiz id stands twice in the book",
                &quiz.id,
                None,
            );
        }
        self.questions.set(self.questions.get() + 1);
        let inline = |text: &str| self.inline(text, &source.file, line);
        let block_html = |text: &str| self.fragment(text, &source.file, line);
        Some(quiz.html(self.questions.get(), &inline, &block_html))
    }

    /// A directive that makes a paragraph; `None` where it is one that stands within a line.
    fn directive(
        &self,
        source: &Source,
        block: &Block,
        name: &str,
        args: &str,
        caption: Option<&str>,
        number: Option<&str>,
    ) -> Result<Option<String>, (String, Option<String>)> {
        let to = |label: &str, words: &str| self.link_to(label, words);
        let html = match name {
            "lab" => self.lab_section(args, number)?,
            "code" => self.code(source, block, args, caption, number)?,
            "diff" => self.diff(source, block, args, caption, number)?,
            "bibliography" => BIBLIOGRAPHY_MARK.to_owned(),
            "glossary" => self.glossary_list(),
            "methods" => {
                self.check_catalogue()?;
                let methods = self
                    .book
                    .catalogue
                    .filter(args)
                    .map_err(|(part, message, near)| (format!("{message} ({part})"), near))?;
                catalogue::table(&methods, &to)
            }
            "path" => {
                self.check_catalogue()?;
                let paths = &self.book.catalogue.paths;
                let Some(path) = paths.iter().find(|path| path.id == args) else {
                    return Err((
                        "there is no such learning path".into(),
                        near(args, paths.iter().map(|path| path.id.as_str())),
                    ));
                };
                catalogue::path(path, &self.book.catalogue, &to)
            }
            _ => return Ok(None),
        };
        Ok(Some(html))
    }

    /// What the catalogue says exists must exist.
    fn check_catalogue(&self) -> Result<(), (String, Option<String>)> {
        for method in &self.book.catalogue.methods {
            let lab = method.lab.as_ref().map(|lab| format!("lab-{lab}"));
            for label in method.chapter.iter().chain(&lab) {
                if !self.book.register.labels.contains_key(label) {
                    let near = self.book.register.nearest(label);
                    return Err((
                        format!(
                            "book/data/methods.toml: the method “{}” names @{label}, which the book lacks",
                            method.id
                        ),
                        near,
                    ));
                }
            }
        }
        Ok(())
    }

    fn link_to(&self, label: &str, words: &str) -> Option<String> {
        let target = self.book.register.labels.get(label)?;
        let href = self.book.register.address(self.chapter, target.chapter, &target.anchor);
        let title = escape(&self.title_of(label, target));
        Some(format!("<a href=\"{href}\" title=\"{title}\">{}</a>", escape(words)))
    }

    fn glossary_list(&self) -> String {
        let mut keys: Vec<(String, &String)> =
            self.book.glossary.terms.keys().map(|key| (self.book.glossary.title(key), key)).collect();
        keys.sort_by_key(|(title, _)| title.to_lowercase());
        let items: Vec<String> = keys
            .into_iter()
            .map(|(title, key)| {
                let definition =
                    self.book.glossary.terms.get(key).map(|term| term.definition.as_str()).unwrap_or_default();
                let definition = self.inline(definition, &format!("{}/glossary.toml", self.book.places.data_name), 1);
                format!("<div><dt id=\"term-{key}\">{}</dt><dd>{definition}</dd></div>", escape(&title))
            })
            .collect();
        format!("<dl class=\"glossary\">{}</dl>", items.concat())
    }

    fn callout(
        &self,
        source: &Source,
        block: &Block,
        kind: &str,
        title: &std::ops::Range<usize>,
        head_end: usize,
        edits: &mut Vec<Edit>,
    ) {
        let at = block.range.start;
        let Some((_, class, name)) = CALLOUTS.iter().find(|(word, ..)| *word == kind) else {
            let nearest = near(kind, CALLOUTS.iter().map(|(word, ..)| *word)).map(|word| format!("[!{word}]"));
            return source.report(self.book.reporter, at, "there is no such callout", &format!("[!{kind}]"), nearest);
        };
        let before = source.before_on_line(at);
        if before.contains('>') {
            return source.report(
                self.book.reporter,
                at,
                "a callout cannot stand in a quotation or in another callout",
                &format!("[!{kind}]"),
                None,
            );
        }
        let text = &source.text[block.range.clone()];
        if let Some(part) = ["tactics", "strategy"].into_iter().find(|part| part == class) {
            let across = labels_in(text).into_iter().filter_map(|label| self.book.register.labels.get(label));
            let mut across = across.map(|label| self.book.register.chapters[label.chapter].part());
            if !across.any(|other| other == part) {
                let message = format!("this callout needs a reference (@sec-…) to a chapter of {part}/");
                source.report(self.book.reporter, at, &message, &format!("[!{kind}]"), None);
            }
        }
        if text[head_end - at..].lines().all(|line| line.trim_matches([' ', '>', '\t']).is_empty()) {
            source.report(self.book.reporter, at, "this callout is empty", &format!("[!{kind}]"), None);
        }
        let words = self.inline(&source.text[title.clone()], &source.file, source.line(title.start));
        let gap = if words.is_empty() { "" } else { " " };
        let head = format!("<span class=\"callout-kind\">{name}</span>{gap}{words}");
        let (open, close) = if *class == "answer" {
            (
                format!("<details class=\"callout callout-answer\"><summary class=\"callout-title\">{head}</summary>"),
                "</details>",
            )
        } else {
            (
                format!(
                    "<aside class=\"callout callout-{class}\" role=\"note\" aria-label=\"{name}\"><p class=\"callout-title\">{head}</p>"
                ),
                "</aside>",
            )
        };
        let indent = container_prefix(before, false);
        edits.push(Edit { range: at..head_end, text: format!("{open}\n") });
        let mut line_start = head_end;
        for line in source.text[head_end..block.range.end].split_inclusive('\n') {
            let blank = line.len() - line.trim_start_matches([' ', '\t']).len();
            if line_start > head_end && line[blank..].starts_with('>') {
                let quote = line_start + blank;
                let wide = usize::from(line[blank + 1..].starts_with(' '));
                edits.push(Edit { range: quote..quote + 1 + wide, text: String::new() });
            }
            line_start += line.len();
        }
        edits.push(Edit { range: block.range.end..block.range.end, text: format!("\n\n{indent}{close}\n") });
    }

    fn check_link(&self, to: &str) -> Result<(), (String, Option<String>)> {
        let has_scheme = to
            .split_once(':')
            .is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c)));
        if has_scheme || to.starts_with("//") {
            return Ok(());
        }
        let register = self.book.register;
        let own = &register.chapters[self.chapter];
        let (path, anchor) = to.split_once('#').unwrap_or((to, ""));
        let path = path.split('?').next().unwrap_or_default();
        let target = if path.is_empty() {
            own
        } else {
            let folder = own.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let mut wanted = normal(&format!("{folder}/{path}"));
            if let Some(stem) = wanted.strip_suffix(".html") {
                wanted = format!("{stem}.md");
            }
            match register.chapters.iter().find(|chapter| chapter.path == wanted) {
                Some(chapter) => chapter,
                None if !wanted.ends_with(".md") && self.book.places.src.join(&wanted).exists() => return Ok(()),
                None => {
                    let near = near(&wanted, register.chapters.iter().map(|chapter| chapter.path.as_str()));
                    return Err(("this link leads to no chapter of the book".into(), near));
                }
            }
        };
        if anchor.is_empty()
            || target.anchors.contains(anchor)
            || anchor.starts_with("term-")
            || anchor.starts_with("ref-")
        {
            return Ok(());
        }
        let near = near(anchor, target.anchors.iter().map(String::as_str)).map(|near| format!("#{near}"));
        Err((format!("{} has no such anchor", target.path), near))
    }
}

fn id_attr(block: &Block) -> String {
    block.label.as_ref().map_or_else(String::new, |label| format!(" id=\"{label}\""))
}

/// What a following line of the same container begins with.
fn container_prefix(before: &str, in_callout: bool) -> String {
    let keep = |c: char| if c == '>' && !in_callout { '>' } else { ' ' };
    let prefix: String = before.chars().map(|c| if c == '\t' { '\t' } else { keep(c) }).collect();
    // In a callout the quotation marks are taken away, with one space each.
    if in_callout { prefix.get(2..).unwrap_or_default().to_owned() } else { prefix }
}

fn heading(
    source: &Source,
    block: &Block,
    words_at: usize,
    id: &str,
    given: Given,
    number: Option<&str>,
    edits: &mut Vec<Edit>,
) {
    if let Some(number) = number {
        edits
            .push(Edit { range: words_at..words_at, text: format!("<span class=\"heading-number\">{number}</span> ") });
    }
    let line = source.text[block.range.clone()].lines().next().unwrap_or_default();
    let end = block.range.start + line.trim_end().len();
    match given {
        Given::Id => {}
        Given::Nothing => edits.push(Edit { range: end..end, text: format!(" {{#{id}}}") }),
        Given::Others => edits.push(Edit { range: end - 1..end, text: format!(" #{id}}}") }),
    }
}

fn equation(mathml: &str, block: &Block, number: Option<&str>) -> String {
    let name = number.map_or_else(|| "Formula".to_owned(), |number| format!("Equation {number}"));
    let shown = number.map_or_else(String::new, |number| format!("<span class=\"equation-number\">({number})</span>"));
    format!(
        "<div class=\"equation\"{}><div class=\"equation-scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{name}\">{}</div>{shown}</div>",
        id_attr(block),
        one_line(mathml)
    )
}
