//! One chapter on its way from Markdown with directives to Markdown with HTML.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use pulldown_cmark::Event;

use crate::{
    book::Book,
    catalogue,
    html::{escape, one_line},
    inline::{self, Zones},
    labels::{Kind, Label},
    links::Refused,
    outline::{Block, BlockKind, Given, outline},
    overlap::overlap,
    problem::near,
    quiz::Quiz,
    source::{Edit, Source, apply, html_options},
    svg,
};

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
                        put(&format!(
                            "<figure class=\"figure{wide}\"{}><div class=\"figure-scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Figure\">{picture}</div>{caption}</figure>",
                            id_attr(block.label.as_deref())
                        ));
                    }
                    Err((message, nearest)) => report(&message, path, nearest),
                }
            }
            BlockKind::Table { table, caption } => {
                let words = self.caption(Kind::Table, number, &source.text[caption.clone()], source, caption.start);
                let open = format!("<figure class=\"table\"{}>{words}\n\n", id_attr(block.label.as_deref()));
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
                Ok(mathml) => edits.push(formula_edit(source, &block.range, &crate::html::inline_safe(&mathml))),
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
                match self.setting(to).map(|address| (address, source.text[at..block.range.end].rfind(to))) {
                    None => {
                        if let Err((message, nearest)) = self.check_link(to) {
                            report(&message, to, nearest);
                        }
                    }
                    Some((Err((message, nearest)), _)) => report(&message, to, nearest),
                    Some((Ok(address), Some(offset))) => {
                        let start = at + offset;
                        edits.push(Edit { range: start..start + to.len(), text: address });
                    }
                    Some((Ok(_), None)) => {
                        report("a setting of a lab stands in the link itself: [words](?lab=...)", to, None)
                    }
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
        let refuse = |(message, near): Refused, text: &str| {
            source.report(self.book.reporter, block.range.start, &message, text, near);
        };
        let unit = match self.unit_of_run(&quiz) {
            Ok(unit) => unit,
            Err(refused) => {
                refuse(refused, quiz.metric.as_deref().unwrap_or_default());
                None
            }
        };
        let see = quiz.see.as_deref().and_then(|label| {
            let title = self.book.register.labels.get(label).map(|target| self.title_of(label, target));
            if title.is_none() {
                let near = near(label, self.book.register.labels.keys().map(String::as_str));
                refuse(("“see” names no section".to_owned(), near), label);
            }
            self.link_to(label, &title?)
        });
        Some(quiz.html(self.questions.get(), (unit.as_deref(), see.as_deref()), &inline, &block_html))
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
            "chart" => self.chart(source, block, args, caption, number)?,
            "code" => self.code(source, block, args, caption, number)?,
            "diff" => self.diff(source, block, args, caption, number)?,
            "bibliography" => BIBLIOGRAPHY_MARK.to_owned(),
            "glossary" => self.glossary_list()?,
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
                self.with_steps(|steps| catalogue::path(path, &self.book.catalogue, steps))
            }
            "paths" | "map" if !args.is_empty() => {
                return Err((format!("{{{{#{name}}}}} shows all of the catalogue and takes nothing"), None));
            }
            "paths" => {
                self.check_catalogue()?;
                self.with_steps(|steps| catalogue::paths(&self.book.catalogue, steps))
            }
            "map" => {
                self.check_catalogue()?;
                catalogue::map(&self.book.catalogue, &to)
            }
            "miniature" => self.miniature(args, caption)?,
            "guide" => self.guide(args)?,
            "overlap" => {
                let found = overlap(&self.book.places.labs.root);
                found.map_err(|error| (format!("the parts cannot be compared ({error})"), None))?.html()
            }
            _ => return Ok(None),
        };
        Ok(Some(html))
    }
}

impl Page<'_> {
    /// Gives what learning paths ask of the book.
    fn with_steps(&self, make: impl FnOnce(&catalogue::Steps<'_>) -> String) -> String {
        let register = &self.book.register;
        let title = |label: &str| Some(self.plain(&register.labels.get(label)?.title));
        let page = |label: &str| {
            let chapter = register.labels.get(label)?.chapter;
            register.chapters.get(chapter)?.title_id().map(str::to_owned)
        };
        make(&catalogue::Steps { to: &|label, words| self.link_to(label, words), title: &title, page: &page })
    }
}

/// The id of what bears a label.
pub(crate) fn id_attr(label: Option<&str>) -> String {
    label.map_or_else(String::new, |label| format!(" id=\"{label}\""))
}

/// What a following line of the same container begins with.
pub(crate) fn container_prefix(before: &str, in_callout: bool) -> String {
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
        id_attr(block.label.as_deref()),
        one_line(mathml)
    )
}

/// A formula in a line, kept together with the mark that follows it: browsers may break on either side of a formula, and no
/// line begins with a full stop.
fn formula_edit(source: &Source, range: &Range<usize>, mathml: &str) -> Edit {
    let rest = &source.text[range.end..];
    let after = rest.find(|c: char| !".,;:!?)".contains(c)).unwrap_or(rest.len());
    let (marks, range) = (&rest[..after], range.start..range.end + after);
    let text =
        if marks.is_empty() { mathml.to_owned() } else { format!("<span class=\"glue\">{mathml}{marks}</span>") };
    Edit { range, text }
}
