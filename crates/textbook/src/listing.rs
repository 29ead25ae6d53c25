//! Code in the page: fences, quoted source of labs, differences between two versions; and diagrams, which are fences too.

use std::{fmt::Write as _, ops::Range};

use similar::{ChangeTag, TextDiff};

use crate::{
    anchors,
    attrs::Attrs,
    diagram,
    highlight::{is_language, languages},
    html::{escape, pre_lines},
    labels::{Kind, slashes},
    labs::{FOLDER, Labs, SHARED},
    outline::Block,
    page::{Page, id_attr},
    problem::near,
    source::Source,
    svg,
};

type Refused = (String, Option<String>);

impl Page<'_> {
    pub(crate) fn fence(
        &self,
        source: &Source,
        block: &Block,
        language: &str,
        attrs: &Attrs,
        code: &str,
        number: Option<&str>,
    ) -> Option<String> {
        match language {
            "quiz" => return self.quiz(source, block, code),
            "mermaid" => return self.diagram(source, block, attrs, code, number),
            _ => {}
        }
        if !is_language(language) {
            let nearest = near(language, languages().chain(["quiz", "mermaid"]));
            source.report(self.book.reporter, block.range.start, "no language of a code block", language, nearest);
            return None;
        }
        self.check_pairs(source, block, attrs);
        let caption = attrs.pairs.get("cap").map_or("", String::as_str);
        let caption = self.caption(Kind::Listing, number, caption, source, block.range.start);
        Some(self.listing(block.label.as_deref(), language, code, &caption))
    }

    fn check_pairs(&self, source: &Source, block: &Block, attrs: &Attrs) {
        for key in attrs.pairs.keys().filter(|key| *key != "cap") {
            source.report(
                self.book.reporter,
                block.range.start,
                "no attribute of a code block",
                key,
                near(key, ["cap"]),
            );
        }
    }

    fn listing(&self, label: Option<&str>, language: &str, code: &str, caption: &str) -> String {
        let lines = self.book.caches.highlighter.lines(language, code);
        let mut body = String::new();
        for (text, line) in code.lines().zip(lines.iter()) {
            body.push_str(&match long(text) {
                Some(class) => format!("<span class=\"{class}\">{line}\n</span>"),
                None => format!("{line}\n"),
            });
        }
        let id = id_attr(label);
        let language = if language.is_empty() { "text" } else { language };
        format!(
            "<figure class=\"listing\"{id}>{caption}<pre class=\"code\" data-lang=\"{language}\" tabindex=\"0\"><code>{}</code></pre></figure>",
            pre_lines(body.strip_suffix('\n').unwrap_or(&body))
        )
    }

    fn diagram(
        &self,
        source: &Source,
        block: &Block,
        attrs: &Attrs,
        code: &str,
        number: Option<&str>,
    ) -> Option<String> {
        let at = block.range.start;
        self.check_pairs(source, block, attrs);
        let Some(alt) = diagram::alternative(code) else {
            let text = code.lines().find(|line| !line.trim().is_empty()).unwrap_or("mermaid");
            source.report(
                self.book.reporter,
                at,
                "a diagram needs its text alternative: first line %% alt: ...",
                text,
                None,
            );
            return None;
        };
        let drawn = self.book.places.diagrams.picture(code);
        let embedded = drawn.and_then(|svg| svg::embed(&svg, &self.scope(block.label.as_deref()), &alt));
        let picture = match embedded {
            Ok(picture) => picture,
            Err(message) => {
                let drawing = diagram::drawing(code);
                source.report(self.book.reporter, at, &message, drawing.lines().next().unwrap_or_default(), None);
                return None;
            }
        };
        let caption = attrs.pairs.get("cap").map_or("", String::as_str);
        let caption = self.caption(Kind::Figure, number, caption, source, at);
        let id = id_attr(block.label.as_deref());
        let wide = if attrs.has_class("wide") { " wide" } else { "" };
        Some(format!(
            "<figure class=\"figure diagram{wide}\"{id}><div class=\"diagram-scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Diagram\">{picture}</div>{caption}</figure>"
        ))
    }

    pub(crate) fn code(
        &self,
        source: &Source,
        block: &Block,
        address: &str,
        caption: Option<&str>,
        number: Option<&str>,
    ) -> Result<String, Refused> {
        let code = self.quoted(address)?;
        let caption = self.quoted_caption(source, &block.range, caption, number, &[address]);
        Ok(self.listing(block.label.as_deref(), language_of(address), &code, &caption))
    }

    pub(crate) fn diff(
        &self,
        source: &Source,
        block: &Block,
        addresses: &str,
        caption: Option<&str>,
        number: Option<&str>,
    ) -> Result<String, Refused> {
        let both: Vec<&str> = addresses.split_whitespace().collect();
        let [old, new] = both.as_slice() else {
            return Err(("{{#diff}} takes two addresses".into(), None));
        };
        let (old_code, new_code) = (self.quoted(old)?, self.quoted(new)?);
        if old_code == new_code {
            return Err(("both sides of this difference are the same".into(), None));
        }
        let highlighter = &self.book.caches.highlighter;
        let old_lines = highlighter.lines(language_of(old), &old_code);
        let new_lines = highlighter.lines(language_of(new), &new_code);
        let mut body = String::new();
        for change in TextDiff::from_lines(&old_code, &new_code).iter_all_changes() {
            let (class, sign, word, line) = match change.tag() {
                ChangeTag::Delete => {
                    ("removed", "\u{2212}", "removed: ", change.old_index().and_then(|i| old_lines.get(i)))
                }
                ChangeTag::Insert => ("added", "+", "added: ", change.new_index().and_then(|i| new_lines.get(i))),
                ChangeTag::Equal => ("same", " ", "", change.new_index().and_then(|i| new_lines.get(i))),
            };
            let spoken =
                if word.is_empty() { String::new() } else { format!("<span class=\"visually-hidden\">{word}</span>") };
            let long = long(change.value()).map_or_else(String::new, |class| format!(" {class}"));
            let _ = write!(
                body,
                "<span class=\"line line-{class}{long}\"><span class=\"sign\" aria-hidden=\"true\">{sign}</span>{spoken}{}&#10;</span>",
                line.map_or("", String::as_str)
            );
        }
        let caption = self.quoted_caption(source, &block.range, caption, number, &[old, new]);
        let id = id_attr(block.label.as_deref());
        let language = language_of(new);
        Ok(format!(
            "<figure class=\"listing diff\"{id}>{caption}<pre class=\"code diff\" data-lang=\"{language}\" tabindex=\"0\"><code>{body}</code></pre></figure>"
        ))
    }

    fn quoted_caption(
        &self,
        source: &Source,
        range: &Range<usize>,
        caption: Option<&str>,
        number: Option<&str>,
        from: &[&str],
    ) -> String {
        let words = self.inline(caption.unwrap_or_default(), &source.file, source.line(range.start));
        let label =
            number.map_or_else(String::new, |number| format!("<span class=\"caption-label\">Listing {number}</span> "));
        let mut files: Vec<&str> = Vec::new();
        let file = |address: &str| address.split(':').next().unwrap_or_default().to_owned();
        for (i, address) in from.iter().enumerate() {
            // Of two parts of one file the second is what it came to.
            if !from[i + 1..].iter().any(|later| file(later) == file(address)) {
                files.push(address);
            }
        }
        let files: Vec<String> = files.iter().map(|address| self.source_of(address)).collect();
        let gap = if words.is_empty() { "" } else { " " };
        format!("<figcaption>{label}{words}{gap}<span class=\"listing-source\">{}</span></figcaption>", files.join(" "))
    }

    /// The file of an address: where a part is quoted, as a link to the whole.
    fn source_of(&self, address: &str) -> String {
        let (file, anchor) = address.split_once(':').unwrap_or((address, ""));
        let labs = &self.book.places.labs;
        let text = Labs::quoted(file).and_then(|path| std::fs::read_to_string(labs.root.join(path)).ok());
        let lines = text.and_then(|text| anchors::place(&text, anchor));
        match lines {
            Some(lines) => self.file_link(&shown(file), lines),
            None => format!("<code>{}</code>", escape(&shown(file))),
        }
    }

    /// A link to the page of a source file, which the site builder writes for each `data-file` that it meets.
    pub(crate) fn file_link(&self, file: &str, (first, last): (usize, usize)) -> String {
        let (up, file) = (self.book.register.up(self.chapter), escape(file));
        format!(
            "<a class=\"source-file\" href=\"{up}code/{file}.html#L{first}\" data-file=\"{file}\" data-lines=\"{first}-{last}\" title=\"Open the whole file\"><code>{file}</code></a>"
        )
    }

    /// The code at `lab/file.rs:anchor`.
    fn quoted(&self, address: &str) -> Result<String, Refused> {
        let (file, anchor) = address.split_once(':').map_or((address, None), |(file, anchor)| (file, Some(anchor)));
        let labs = &self.book.places.labs;
        let Some(path) = Labs::quoted(file) else {
            let shared = SHARED.map(|(begins, folder)| format!("{begins}... for one of {folder}")).join(", ");
            let why = format!("the address leaves {FOLDER} ({address}): name a file below it, or {shared}");
            return Err((why, None));
        };
        let Ok(text) = std::fs::read_to_string(labs.root.join(path)) else {
            return Err((
                format!("there is no such file ({file})"),
                near(file, labs.files().iter().map(String::as_str)),
            ));
        };
        let Some(anchor) = anchor else { return Ok(anchors::whole(&text)) };
        let parts = anchors::parts(&text);
        match parts.get(anchor) {
            Some(Ok(code)) => Ok(code.clone()),
            Some(Err(message)) => Err((format!("{message} ({}: {anchor})", shown(file)), None)),
            None => Err((
                format!("{} has no such anchor ({anchor})", shown(file)),
                near(anchor, parts.keys().map(String::as_str)),
            )),
        }
    }
}

/// A quoted file from the project's root.
fn shown(file: &str) -> String {
    Labs::quoted(file).map_or_else(|| file.to_owned(), |path| slashes(&path))
}

/// The class of a line that a page may have to break: it goes on further in than it began (`site/styles/code.css`).
fn long(line: &str) -> Option<String> {
    const FITS: usize = 64;
    const INDENT: usize = 4;
    const DEEPEST: usize = 8;
    let line = line.trim_end();
    let depth = (line.len() - line.trim_start().len()) / INDENT;
    (line.chars().count() > FITS).then(|| format!("long in-{}", depth.min(DEEPEST)))
}

pub(crate) fn language_of(address: &str) -> &'static str {
    let file = address.split(':').next().unwrap_or(address);
    match file.rsplit('.').next() {
        Some("rs") => "rust",
        Some("py") => "python",
        Some("wgsl") => "wgsl",
        Some("toml") => "toml",
        Some("json") => "json",
        _ => "text",
    }
}
