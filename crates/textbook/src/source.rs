//! A source text, read as mdBook reads it, with the parts in which directives are inert.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};

/// Some Markdown of a file: a chapter, a caption, the words of a lab.
#[derive(Debug)]
pub(crate) struct Source {
    /// File as authors know it.
    pub(crate) file: String,
    /// Line of the file on which `text` begins, from 1.
    pub(crate) first_line: usize,
    pub(crate) text: String,
    pub(crate) events: Vec<(Event<'static>, Range<usize>)>,
    /// Sorted ranges in which nothing is a directive.
    inert: Vec<Range<usize>>,
}

/// mdBook's own options, plus mathematics; without GitHub's admonitions, which callouts replace.
fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_DEFINITION_LIST
        | Options::ENABLE_MATH
}

/// Options for fragments that we render ourselves, as mdBook would.
pub(crate) fn html_options() -> Options {
    (options() | Options::ENABLE_SMART_PUNCTUATION) & !Options::ENABLE_MATH
}

impl Source {
    pub(crate) fn new(file: &str, first_line: usize, text: &str) -> Self {
        let events = parse(text);
        let inert = inert(&events);
        Self { file: file.to_owned(), first_line, text: text.to_owned(), events, inert }
    }

    pub(crate) fn line(&self, at: usize) -> usize {
        let at = at.min(self.text.len());
        self.first_line + self.text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count()
    }

    /// Whether a directive may begin here.
    pub(crate) fn is_live(&self, at: usize) -> bool {
        let after = self.inert.partition_point(|range| range.start <= at);
        let inside = after > 0 && self.inert[after - 1].contains(&at);
        !inside && !self.text[..at].ends_with('\\')
    }

    /// Whether the quotation around `at` is a callout, whose marks are taken away.
    pub(crate) fn quote_is_callout(&self, at: usize) -> bool {
        let quotes = self
            .events
            .iter()
            .filter(|(event, range)| matches!(event, Event::Start(Tag::BlockQuote(_))) && range.contains(&at));
        quotes
            .map(|(_, range)| &self.text[range.clone()])
            .any(|text| text.trim_start_matches(['>', ' ']).starts_with("[!"))
    }

    /// What stands before `at` on its line.
    pub(crate) fn before_on_line(&self, at: usize) -> &str {
        let start = self.text[..at].rfind('\n').map_or(0, |i| i + 1);
        &self.text[start..at]
    }
}

/// Parses; a dollar that Pandoc's rule refuses as a closing one (a digit follows) is hidden from the parser and the text parsed again.
fn parse(text: &str) -> Vec<(Event<'static>, Range<usize>)> {
    let mut shadow: Option<String> = None;
    loop {
        let current = shadow.as_deref().unwrap_or(text);
        let mut refused = Vec::new();
        let mut events = Vec::new();
        for (event, range) in Parser::new_ext(current, options()).into_offset_iter() {
            if matches!(event, Event::InlineMath(_))
                && current.as_bytes().get(range.end).is_some_and(u8::is_ascii_digit)
            {
                refused.push(range.start);
            }
            events.push((event.into_static(), range));
        }
        if refused.is_empty() {
            return events;
        }
        let mut next = current.to_owned();
        for at in refused {
            // One byte for one byte, so that offsets stay true.
            next.replace_range(at..=at, "S");
        }
        shadow = Some(next);
    }
}

fn inert(events: &[(Event<'static>, Range<usize>)]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (i, (event, range)) in events.iter().enumerate() {
        match event {
            Event::Code(_) | Event::Html(_) | Event::InlineHtml(_) | Event::InlineMath(_) | Event::DisplayMath(_) => {
                ranges.push(range.clone());
            }
            Event::Start(Tag::CodeBlock(_) | Tag::Image { .. } | Tag::HtmlBlock) => ranges.push(range.clone()),
            Event::Start(Tag::Link { .. }) => {
                // The words of a link are live, its address is not.
                let words_end = events[i + 1..]
                    .iter()
                    .take_while(|(_, inner)| inner.start >= range.start && inner.end < range.end)
                    .map(|(_, inner)| inner.end)
                    .max()
                    .unwrap_or(range.start);
                ranges.push(words_end..range.end);
            }
            _ => {}
        }
    }
    ranges.sort_by_key(|range| range.start);
    merge(ranges)
}

fn merge(ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The info string of a fenced block.
pub(crate) fn fence_info<'a>(kind: &'a CodeBlockKind<'static>) -> &'a str {
    match kind {
        CodeBlockKind::Fenced(info) => info,
        CodeBlockKind::Indented => "",
    }
}

/// A replacement of a part of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) range: Range<usize>,
    pub(crate) text: String,
}

/// Applies edits; one that lies inside another is dropped, since the outer one has dealt with it. What is only put in at the
/// place where another begins comes before that: the number of a heading that begins with a formula.
pub(crate) fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| (edit.range.start, !edit.range.is_empty(), std::cmp::Reverse(edit.range.end)));
    let mut out = String::with_capacity(text.len() * 2);
    let mut at = 0;
    for edit in edits {
        if edit.range.start < at {
            continue;
        }
        out.push_str(&text[at..edit.range.start]);
        out.push_str(&edit.text);
        at = edit.range.end;
    }
    out.push_str(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formulas(text: &str) -> Vec<String> {
        let source = Source::new("f", 1, text);
        let math = source.events.into_iter().filter(|(e, _)| matches!(e, Event::InlineMath(_) | Event::DisplayMath(_)));
        math.map(|(_, range)| text[range].to_owned()).collect()
    }

    #[test]
    fn dollars_follow_pandocs_rule() {
        assert!(formulas("It costs $5 and $6.").is_empty());
        assert!(formulas("From US$20 to US$30 or $ 4$ or \\$x\\$ or `$x$`.").is_empty());
        assert_eq!(formulas("US$20,000 and US$30, then $a_1*b$ and $c$."), ["$a_1*b$", "$c$"]);
        assert_eq!(formulas("$$\na\n$$"), ["$$\na\n$$"]);
    }

    #[test]
    fn code_and_addresses_are_inert() {
        let text = "a `@sec-x` [w @sec-y](u@sec-z) \\@sec-w\n\n```\n@sec-v\n```\n";
        let source = Source::new("f", 10, text);
        let live: Vec<bool> = text.match_indices('@').map(|(at, _)| source.is_live(at)).collect();
        assert_eq!(live, [false, true, false, false, false]);
        assert_eq!(source.line(text.len()), 15);
    }

    #[test]
    fn outer_edits_win() {
        let edit = |range, text: &str| Edit { range, text: text.into() };
        assert_eq!(apply("abcdef", vec![edit(2..3, "X"), edit(1..4, "-"), edit(5..5, "+")]), "a-e+f");
        assert_eq!(apply("abc", vec![edit(0..2, "X"), edit(0..0, "1 ")]), "1 Xc");
    }
}
