//! What a source holds: headings, figures, tables, formulas, listings, directives, callouts, links, with their places.

use std::{collections::BTreeMap, ops::Range, sync::LazyLock};

use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};
use regex::Regex;

use crate::{
    attrs::Attrs,
    html, math,
    problem::{Problem, Reporter},
    slips,
    source::{Source, fence_info},
};

/// One thing in a source that becomes something else, or that others refer to.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// What it replaces.
    pub(crate) range: Range<usize>,
    pub(crate) kind: BlockKind,
    /// `fig-x`, where the author gave one.
    pub(crate) label: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum BlockKind {
    Heading {
        level: u8,
        words: String,
        words_at: usize,
        id: String,
        given: Given,
        numbered: bool,
    },
    Figure {
        caption: Range<usize>,
        path: String,
        attrs: Attrs,
    },
    /// A captioned table; the range is that of table and caption.
    Table {
        table: Range<usize>,
        caption: Range<usize>,
    },
    Equation {
        tex: String,
    },
    Math {
        tex: String,
    },
    Fence {
        language: String,
        attrs: Attrs,
        code: String,
    },
    Directive {
        name: String,
        args: String,
        tail: Attrs,
    },
    Callout {
        kind: String,
        title: Range<usize>,
        head_end: usize,
    },
    Link {
        to: String,
    },
    Picture {
        path: String,
    },
}

/// What a heading's attribute block already holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    Id,
    Others,
    Nothing,
}

/// A directive `{{#name args}}`.
pub(crate) static DIRECTIVE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{\{#([\w-]*)[ \t]*([^\n]*?)[ \t]*\}\}").expect("a constant pattern"));
static BRACES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\s*\{([^{}]*)\}\s*$").expect("a constant pattern"));
static CAPTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)^:[ \t]+(.*?)[ \t]*(?:\{([^{}]*)\})?\s*$").expect("a constant pattern"));
static CALLOUT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^>[ \t]?\[!([\w-]+)\][ \t]*([^\n]*)").expect("a constant pattern"));
/// What may follow the address or the name in `{{#code}}` and `{{#diff}}`: `#lst-x` and a quoted caption.
static TAIL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^(.*?)(?:\s+#([\w-]+))?(?:\s+"([^"]*)")?\s*$"#).expect("a constant pattern"));

impl Source {
    fn problem(&self, at: usize, message: &str, text: &str, nearest: Option<String>) -> Problem {
        let text = text.lines().next().unwrap_or_default().trim().to_owned();
        Problem { file: self.file.clone(), line: self.line(at), message: message.to_owned(), text, nearest }
    }

    /// Reports a problem at an offset of this source.
    pub(crate) fn report(&self, to: &Reporter, at: usize, message: &str, text: &str, nearest: Option<String>) {
        to.report(self.problem(at, message, text, nearest));
    }

    fn attrs(&self, to: &Reporter, at: usize, text: &str) -> Attrs {
        Attrs::parse(text).unwrap_or_else(|part| {
            self.report(to, at, "attributes are #label, .class or key=\"value\"", &part, None);
            Attrs::default()
        })
    }
}

/// Reads a source's blocks, in order of their places.
pub(crate) fn outline(source: &Source, to: &Reporter) -> Vec<Block> {
    slips::report(source, to);
    let mut blocks = Vec::new();
    let mut slugs = BTreeMap::new();
    let events = &source.events;
    let mut last_table = None;
    for (i, (event, range)) in events.iter().enumerate() {
        match event {
            Event::Start(Tag::Heading { .. }) => blocks.push(heading(source, i, &mut slugs)),
            Event::Start(Tag::Paragraph) => paragraph(source, i, &mut last_table, &mut blocks, to),
            Event::Start(Tag::Table(_)) => last_table = Some(range.clone()),
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_))) => blocks.push(fence(source, i, to)),
            Event::Start(Tag::BlockQuote(_)) => blocks.extend(callout(source, range)),
            Event::Start(Tag::Link { dest_url, .. }) => {
                blocks.push(Block {
                    range: range.clone(),
                    kind: BlockKind::Link { to: dest_url.to_string() },
                    label: None,
                });
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                let kind = BlockKind::Picture { path: dest_url.to_string() };
                blocks.push(Block { range: range.clone(), kind, label: None });
            }
            Event::InlineMath(tex) => {
                blocks.push(Block {
                    range: range.clone(),
                    kind: BlockKind::Math { tex: tex.to_string() },
                    label: None,
                });
            }
            Event::DisplayMath(tex) => blocks.push(equation(source, range, tex, to)),
            _ => {}
        }
    }
    blocks.sort_by_key(|block| (block.range.start, std::cmp::Reverse(block.range.end)));
    blocks
}

fn heading(source: &Source, i: usize, slugs: &mut BTreeMap<String, u32>) -> Block {
    let (event, range) = &source.events[i];
    let Event::Start(Tag::Heading { level, id, classes, attrs }) = event else {
        unreachable!("called on headings only");
    };
    let inside = source.events[i + 1..].iter().take_while(|(e, _)| !matches!(e, Event::End(TagEnd::Heading(_))));
    // What the id is made of, and what a title says: a formula as its TeX, and as the letters it shows.
    let (mut words, mut shown) = (String::new(), String::new());
    let mut words_at = range.end;
    for (event, inner) in inside {
        words_at = words_at.min(inner.start);
        match event {
            Event::InlineMath(tex) => {
                words.push_str(tex);
                shown.push_str(&math::words(tex));
            }
            Event::Text(text) | Event::Code(text) => {
                words.push_str(text);
                shown.push_str(text);
            }
            Event::SoftBreak | Event::HardBreak => {
                words.push(' ');
                shown.push(' ');
            }
            _ => {}
        }
    }
    let given = match id {
        Some(_) => Given::Id,
        None if classes.is_empty() && attrs.is_empty() => Given::Nothing,
        None => Given::Others,
    };
    let id = id.as_ref().map_or_else(
        || {
            let slug = html::slug(&words);
            let count = slugs.entry(slug.clone()).or_insert(0);
            *count += 1;
            if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
        },
        ToString::to_string,
    );
    let numbered = !classes.iter().any(|class| &**class == "unnumbered");
    let label = id.starts_with("sec-").then(|| id.clone());
    let kind =
        BlockKind::Heading { level: *level as u8, words: shown.trim().to_owned(), words_at, id, given, numbered };
    Block { range: range.clone(), kind, label }
}

fn trimmed(source: &Source, range: &Range<usize>) -> Range<usize> {
    range.start..range.start + source.text[range.clone()].trim_end().len()
}

fn paragraph(source: &Source, i: usize, last_table: &mut Option<Range<usize>>, blocks: &mut Vec<Block>, to: &Reporter) {
    let range = trimmed(source, &source.events[i].1);
    let text = &source.text[range.clone()];
    if let Some((Event::Start(Tag::Image { dest_url, .. }), image)) = source.events.get(i + 1).map(|(e, r)| (e, r)) {
        let rest = &source.text[image.end..range.end];
        let braces = BRACES.captures(rest);
        if rest.trim().is_empty() || braces.is_some() {
            let attrs = braces.map_or_else(Attrs::default, |b| source.attrs(to, image.end, &b[1]));
            let alt_end = source.text[image.clone()].rfind("](").map_or(image.end, |at| image.start + at);
            let caption = (image.start + 2).min(alt_end)..alt_end;
            let kind = BlockKind::Figure { caption, path: dest_url.to_string(), attrs: attrs.clone() };
            blocks.push(Block { range, kind, label: attrs.id });
            return;
        }
    }
    if text.starts_with(": ")
        && let Some(found) = CAPTION.captures(text)
        && let Some(table) = table_beside(source, &range, last_table)
    {
        let words = found.get(1).map_or(range.clone(), |m| range.start + m.start()..range.start + m.end());
        let attrs = found.get(2).map_or_else(Attrs::default, |m| source.attrs(to, range.start, m.as_str()));
        let whole = table.start..range.end;
        blocks.push(Block { range: whole, kind: BlockKind::Table { table, caption: words }, label: attrs.id });
        return;
    }
    if let Some(found) = DIRECTIVE.captures(text)
        && found.get(0).is_some_and(|all| all.len() == text.len())
        && source.is_live(range.start)
    {
        let name = found[1].to_owned();
        let mut tail = Attrs::default();
        let mut args = found[2].to_owned();
        if matches!(name.as_str(), "code" | "diff" | "miniature" | "chart")
            && let Some(parts) = TAIL.captures(&found[2])
        {
            tail.id = parts.get(2).map(|m| m.as_str().to_owned());
            if let Some(cap) = parts.get(3) {
                tail.pairs.insert("cap".into(), cap.as_str().to_owned());
            }
            args = parts[1].trim().to_owned();
        }
        let label = if name == "lab" { Some(format!("lab-{args}")) } else { tail.id.clone() };
        blocks.push(Block { range, kind: BlockKind::Directive { name, args, tail }, label });
    }
}

/// The table just before a caption. (A caption before its table would be a definition of the paragraph before it.)
fn table_beside(source: &Source, caption: &Range<usize>, last: &mut Option<Range<usize>>) -> Option<Range<usize>> {
    let table = last.take()?;
    source.text[table.end..caption.start].trim().is_empty().then(|| trimmed(source, &table))
}

fn equation(source: &Source, range: &Range<usize>, tex: &str, to: &Reporter) -> Block {
    // The label follows on the same line.
    let rest = &source.text[range.end..];
    let line = rest.lines().next().unwrap_or_default();
    let mut whole = range.clone();
    let mut label = None;
    if line.trim_start().starts_with("{#")
        && let Some(close) = line.find('}')
    {
        let open = line.find('{').unwrap_or(0);
        label = source.attrs(to, range.end, &line[open + 1..close]).id;
        whole.end += close + 1;
    }
    Block { range: whole, kind: BlockKind::Equation { tex: tex.to_owned() }, label }
}

fn fence(source: &Source, i: usize, to: &Reporter) -> Block {
    let (event, range) = &source.events[i];
    let info = match event {
        Event::Start(Tag::CodeBlock(kind)) => fence_info(kind),
        _ => "",
    };
    let code: String = source.events[i + 1..]
        .iter()
        .take_while(|(e, _)| !matches!(e, Event::End(TagEnd::CodeBlock)))
        .filter_map(|(e, _)| if let Event::Text(text) = e { Some(&**text) } else { None })
        .collect();
    let (language, attrs) = match info.split_once('{') {
        Some((language, rest)) => {
            let inside = rest.trim_end().strip_suffix('}');
            if inside.is_none() {
                source.report(to, range.start, "the attributes of this code block are not closed with }", info, None);
            }
            (language.trim(), inside.map_or_else(Attrs::default, |inside| source.attrs(to, range.start, inside)))
        }
        None => (info.trim(), Attrs::default()),
    };
    let language = language.split([',', ' ']).next().unwrap_or_default().to_owned();
    let label = attrs.id.clone();
    Block { range: trimmed(source, range), kind: BlockKind::Fence { language, attrs, code }, label }
}

fn callout(source: &Source, range: &Range<usize>) -> Option<Block> {
    let range = trimmed(source, range);
    let found = CALLOUT.captures(&source.text[range.clone()])?;
    let title = found.get(2).map_or(range.start..range.start, |m| range.start + m.start()..range.start + m.end());
    let head_end = title.end;
    let title = title.start..title.start + source.text[title.clone()].trim_end().len();
    let kind = BlockKind::Callout { kind: found[1].to_owned(), title, head_end };
    Some(Block { range, kind, label: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<String> {
        let reporter = Reporter::default();
        let blocks = outline(&Source::new("f", 1, text), &reporter);
        assert_eq!(reporter.finish(), None);
        let name = |block: &Block| {
            let kind = format!("{:?}", block.kind);
            let kind = kind.split([' ', '(']).next().unwrap_or_default().to_owned();
            block.label.as_ref().map_or(kind.clone(), |label| format!("{kind} {label}"))
        };
        blocks.iter().map(name).collect()
    }

    #[test]
    fn each_kind_is_seen_with_its_label() {
        let text = "# T {#sec-t}\n\n![c](f.svg){#fig-f fig-alt=\"a\"}\n\n|a|b|\n|-|-|\n|1|2|\n\n: cap {#tbl-t}\n\n$$\nx\n$$ {#eq-e}\n\n\
            ```rust {#lst-l cap=\"c\"}\nfn f() {}\n```\n\n{{#lab pruning}}\n\n{{#code a/b.rs:c #lst-m \"Words\"}}\n\n> [!NOTE] T\n> body $y$\n";
        let expected = [
            "Heading sec-t",
            "Figure fig-f",
            "Picture",
            "Table tbl-t",
            "Equation eq-e",
            "Fence lst-l",
            "Directive lab-pruning",
            "Directive lst-m",
            "Callout",
            "Math",
        ];
        assert_eq!(kinds(text), expected);
    }

    #[test]
    fn headings_get_the_ids_that_links_expect() {
        let source = Source::new("f", 1, "# A b!\n\n## A b!\n\n## C {.unnumbered}\n");
        let blocks = outline(&source, &Reporter::default());
        let ids: Vec<_> =
            blocks.iter().map(|b| if let BlockKind::Heading { id, .. } = &b.kind { id.as_str() } else { "" }).collect();
        assert_eq!(ids, ["a-b", "a-b-1", "c"]);
    }
}
