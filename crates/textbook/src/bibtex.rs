//! The data file of sources, entry by entry: one that cannot be read is told by name, the others stay usable.

use std::{collections::BTreeSet, ops::Range, sync::LazyLock};

use biblatex::{Chunk, Chunks, ParseError, PermissiveType, Spanned, TypeError};
use hayagriva::{
    Entry,
    types::{EntryType, Person, Publisher},
};
use regex::{Captures, Regex};

use crate::math::Formulas;

mod fields;
mod marks;
#[cfg(test)]
mod tests;

use fields::{bare_doi, no_address, no_doi, no_names, on_server};
pub(crate) use marks::Marks;
use marks::{FACES, FORMULA, LESS, MORE, OTHERS};

/// What is wrong in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) line: usize,
    pub(crate) message: String,
    pub(crate) text: String,
}

/// The file as far as it can be read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) entries: Vec<Entry>,
    pub(crate) broken: BTreeSet<String>,
    pub(crate) is_whole: bool,
    pub(crate) marks: Marks,
    pub(crate) published: BTreeSet<String>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// Fields that readers see as words.
const WORDS: [&str; 11] = [
    "title",
    "subtitle",
    "booktitle",
    "journal",
    "journaltitle",
    "publisher",
    "series",
    "institution",
    "organization",
    "school",
    "author",
];
/// Fields that are addresses or notes for tools, in which a backslash is none of TeX.
const NO_TEXT: [&str; 14] = [
    "url",
    "doi",
    "file",
    "eprint",
    "uri",
    "verba",
    "verbb",
    "verbc",
    "pdf",
    "abstract",
    "keywords",
    "note",
    "annotation",
    "urldate",
];

static ENTRY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^[ \t]*@([A-Za-z]+)\s*[{(]\s*([^,\s{}()]*)").expect("a constant pattern"));
static FACE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\\(emph|text[a-z]{2}|mbox|text|uppercase)\s*\{([^{}]*)\}").expect("a constant pattern")
});
static COMMAND: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\\(?:[A-Za-z]+|[()\[\]])").expect("a constant pattern"));
static YEAR: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[0-9]{4}").expect("a constant pattern"));
static ARXIV: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)^(?:arxiv:)?(\d{4}\.\d{4,5}|[a-z.-]+/\d{7})(v\d+)?$").expect("a constant pattern")
});

/// `2305.14314` of `arXiv:2305.14314` and of `https://arxiv.org/abs/2305.14314`.
pub(crate) fn arxiv_id(id: &str) -> &str {
    let address = ["https://", "http://"].iter().find_map(|scheme| id.strip_prefix(scheme));
    if let Some(place) = address.and_then(|rest| rest.trim_start_matches("www.").strip_prefix("arxiv.org/")) {
        return place.trim_start_matches("abs/").trim_start_matches("pdf/").trim_end_matches(".pdf");
    }
    let is_prefix = id.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("arxiv:"));
    if is_prefix { &id[6..] } else { id }
}

/// A part of the file: its text, from which byte of the file it is, and how many bytes of definitions stand before it.
struct Part {
    text: String,
    start: usize,
    before: usize,
}

/// Reads the file.
pub(crate) fn read(text: &str) -> Read {
    let mut out = Read { is_whole: true, ..Read::default() };
    match biblatex::Bibliography::parse(text) {
        Ok(all) => take(all, &Part { text: text.to_owned(), start: 0, before: 0 }, text, &mut out),
        Err(_) => by_parts(text, &mut out),
    }
    out
}

fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count()
}

/// Each entry for itself, from one `@` at the beginning of a line to the next.
fn by_parts(text: &str, out: &mut Read) {
    let starts: Vec<(usize, String, String)> = ENTRY
        .captures_iter(text)
        .map(|found| (found.get(0).map_or(0, |m| m.start()), found[1].to_ascii_lowercase(), found[2].to_owned()))
        .collect();
    let end = |i: usize| starts.get(i + 1).map_or(text.len(), |(at, ..)| *at);
    let definitions: String = starts
        .iter()
        .enumerate()
        .filter(|(_, (_, kind, _))| kind == "string")
        .map(|(i, (at, ..))| &text[*at..end(i)])
        .filter(|definition| biblatex::Bibliography::parse(definition).is_ok())
        .collect();
    let mut seen: Vec<(String, usize)> = Vec::new();
    for (i, (at, kind, key)) in starts.iter().enumerate() {
        if ["comment", "preamble"].contains(&kind.as_str()) {
            continue;
        }
        let own = &text[*at..end(i)];
        let mut mistake = |at: usize, message: String, shown: &str| {
            let shown = shown.lines().next().unwrap_or_default().trim().to_owned();
            out.mistakes.push(Mistake { line: line(text, at), message, text: shown });
        };
        if let Some((_, first)) = seen.iter().find(|(known, _)| known == key && kind != "string") {
            let message = format!("the key “{key}” stands twice: first on line {}", line(text, *first));
            mistake(*at, message, own.trim_start());
            continue;
        }
        seen.push((key.clone(), *at));
        let part = Part { text: format!("{definitions}{own}"), start: *at, before: definitions.len() };
        match biblatex::Bibliography::parse(&part.text) {
            Ok(all) => take(all, &part, text, out),
            Err(ParseError { span, kind: why }) => {
                let place = (*at + span.start.saturating_sub(part.before)).min(text.len());
                // What is never closed is told where it begins, not where the next entry does.
                let place = if place >= end(i) { *at } else { place };
                let shown = text[place..].lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
                let remedy = if why.to_string().contains("abbreviation") {
                    "put words between braces, as in {May}; bare words are abbreviations (jan, feb, or an @string)"
                } else {
                    "look for a brace, comma or quote that is missing"
                };
                mistake(place, format!("the entry “{key}” does not parse ({why}): {remedy}"), shown);
                out.broken.insert(key.clone());
                out.is_whole = false;
            }
        }
    }
}

/// Converts entries, and tells those that cannot be.
fn take(all: biblatex::Bibliography, part: &Part, file: &str, out: &mut Read) {
    let formulas = Formulas::default();
    for mut entry in all {
        let key = entry.key.clone();
        let place = |at: usize| line(file, part.start + at.saturating_sub(part.before));
        let mut tell = |at: usize, message: String, text: &str| {
            out.mistakes.push(Mistake {
                line: place(at),
                message,
                text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            });
        };
        let mut good = true;
        for (field, chunks) in &mut entry.fields {
            if NO_TEXT.contains(&field.as_str()) {
                continue;
            }
            for Spanned { v: chunk, span } in chunks {
                if let (true, Chunk::Normal(text) | Chunk::Verbatim(text)) =
                    (WORDS.contains(&field.as_str()), &mut *chunk)
                {
                    *text = as_set(text);
                }
                if let Err(what) = readable(chunk, &formulas, &mut out.marks) {
                    let raw = part.text.get(span.clone()).unwrap_or_default();
                    tell(span.start, format!("the field “{field}” of “{key}” {what}"), raw);
                    good = false;
                }
            }
        }
        for field in ["author", "editor", "url", "doi"] {
            let Some(chunks) = entry.fields.get(field) else { continue };
            let span =
                chunks.first().map_or(0..0, |first| first.span.start..chunks.last().map_or(0, |last| last.span.end));
            let raw = part.text.get(span.clone()).unwrap_or_default();
            let why = match field {
                "url" => no_address(raw),
                "doi" => no_doi(raw),
                _ => no_names(chunks),
            };
            if let Some(why) = why {
                tell(span.start, format!("the field “{field}” of “{key}” {why}"), raw);
                good = false;
            }
        }
        if let Some(chunks) = entry.fields.get_mut("doi") {
            for Spanned { v: chunk, .. } in chunks {
                if let Chunk::Normal(text) | Chunk::Verbatim(text) = chunk {
                    *text = bare_doi(text).to_owned();
                }
            }
        }
        let has = |field: &str| entry.fields.contains_key(field);
        let on_a_server = has("eprint");
        // Some tools leave out where the number is from; one of this form is of arXiv.
        if on_a_server
            && !["eprinttype", "archiveprefix"].into_iter().any(has)
            && verbatim(entry.fields.get("eprint")).is_some_and(|id| ARXIV.is_match(id.trim()))
        {
            entry.fields.insert("eprinttype".into(), vec![Spanned::new(Chunk::Normal("arxiv".into()), 0..0)]);
        }
        // A work on another server has no address of its own but this one.
        let server = entry.fields.get("eprinttype").or_else(|| entry.fields.get("archiveprefix"));
        let has_address = ["url", "doi"].into_iter().any(|field| entry.fields.contains_key(field));
        if let (true, false, Some(server)) = (on_a_server, has_address, verbatim(server))
            && !server.trim().eq_ignore_ascii_case("arxiv")
        {
            let id = verbatim(entry.fields.get("eprint")).unwrap_or_default();
            if let Some(address) = on_server(server.trim(), id.trim()) {
                entry.fields.insert("url".into(), vec![Spanned::new(Chunk::Verbatim(address), 0..0)]);
            } else {
                let at =
                    entry.fields.get("eprint").and_then(|chunks| chunks.first()).map_or(0, |first| first.span.start);
                let why = format!(
                    "the field “eprint” of “{key}” is of a server that is not known here ({}): write its address, as in url = {{https://…}}",
                    server.trim()
                );
                tell(at, why, &id);
                good = false;
            }
        }
        // “In” without a word after it.
        let stands_in = ["booktitle", "crossref", "maintitle", "eventtitle"];
        if matches!(
            entry.entry_type.to_biblatex(),
            biblatex::EntryType::InProceedings | biblatex::EntryType::InCollection
        ) && !stands_in.into_iter().any(|field| entry.fields.contains_key(field))
        {
            let at = entry.fields.values().flatten().map(|chunk| chunk.span.start).min().unwrap_or_default();
            let why = format!(
                "the entry “{key}” does not say what it stands in: write booktitle = {{…}}, or make it a @misc"
            );
            tell(at, why, &key);
            good = false;
        }
        // A date that is none would be left out without a word.
        let undated = ["date", "year"].into_iter().find_map(|field| Some((field, entry.fields.get(field)?)));
        if let (Ok(PermissiveType::Chunks(_)), Some((field, chunks))) = (entry.date(), undated) {
            let span =
                chunks.first().map_or(0..0, |first| first.span.start..chunks.last().map_or(0, |last| last.span.end));
            let raw = part.text.get(span.clone()).unwrap_or_default();
            tell(
                span.start,
                format!("the field “{field}” of “{key}” cannot be read (no date){}", remedy(field, raw)),
                raw,
            );
            out.broken.insert(key);
            continue;
        }
        match Entry::try_from(&entry) {
            Ok(item) if good => {
                if !on_a_server {
                    out.published.insert(key);
                }
                out.entries.push(finish(item));
            }
            Ok(_) => {
                out.broken.insert(key);
            }
            Err(error) => {
                let (field, span) = field_of(&entry, &error);
                let raw = part.text.get(span.clone()).unwrap_or_default();
                let why =
                    format!("the field “{field}” of “{key}” cannot be read ({}){}", error.kind, remedy(&field, raw));
                tell(span.start, why, raw);
                out.broken.insert(key);
            }
        }
    }
}

/// Quotation marks, ties and signs as readers see them.
fn as_set(text: &str) -> String {
    let text =
        text.replace("``", "“").replace("''", "”").replace('<', &LESS.to_string()).replace('>', &MORE.to_string());
    // A tilde after a backslash is an accent.
    let ties = text.char_indices().map(|(at, c)| if c == '~' && !text[..at].ends_with('\\') { '\u{a0}' } else { c });
    ties.collect()
}

fn verbatim(chunks: Option<&Chunks>) -> Option<String> {
    Some(chunks?.iter().map(|chunk| chunk.v.get()).collect())
}

/// TeX that the reader of the file left as it was: formulas are set, faces marked, the rest is told.
fn readable(chunk: &mut Chunk, formulas: &Formulas, marks: &mut Marks) -> Result<(), String> {
    if let Chunk::Math(tex) = chunk {
        // `H$_2$O`: the sign that it stands at is outside.
        let padded = if tex.trim_start().starts_with(['_', '^']) { format!("{{}}{tex}") } else { tex.clone() };
        let html = formulas.render(&padded, false).map_err(|why| format!("holds a formula: {why}"))?;
        let html = html.replacen("alttext=\"{}", "alttext=\"", 1);
        marks.0.push(html);
        *chunk = Chunk::Verbatim(format!("{}{}{}", FORMULA[0], marks.0.len() - 1, FORMULA[1]));
        return Ok(());
    }
    let (Chunk::Normal(text) | Chunk::Verbatim(text)) = chunk else { return Ok(()) };
    if !text.contains('\\') {
        return Ok(());
    }
    let face = |found: &Captures<'_>| {
        let marks = match &found[1] {
            "emph" | "textit" | "textsl" => Some(0),
            "textbf" => Some(2),
            "texttt" => Some(4),
            "textsc" | "textrm" | "textsf" | "textup" | "textmd" | "text" | "mbox" | "uppercase" => None,
            _ => return found[0].to_owned(),
        };
        marks.map_or_else(|| found[2].to_owned(), |at| format!("{}{}{}", FACES[at].0, &found[2], FACES[at + 1].0))
    };
    while FACE.is_match(text) {
        let next = FACE.replace_all(text, face).into_owned();
        if next == *text {
            break;
        }
        *text = next;
    }
    match COMMAND.find(text) {
        Some(found) if ["\\url", "\\href"].contains(&found.as_str()) => {
            Err(format!("holds {}: write the address into a field of its own, url = {{https://…}}", found.as_str()))
        }
        Some(found) => Err(format!(
            "holds {}, which is not read outside of a formula: write what it stands for, or put it between $",
            found.as_str()
        )),
        None => Ok(()),
    }
}

/// Whether the last name of a list is “et al.”, which the file should call `others`.
fn is_et_al(person: &Person) -> bool {
    let parts = [person.prefix.as_deref(), person.given_name.as_deref(), Some(person.name.as_str())];
    let words = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    ["et al", "et al.", "al. et", "al et"].contains(&words.as_str())
}

/// What the conversion leaves to do.
fn finish(mut item: Entry) -> Entry {
    if let Some(mut authors) = item.authors().map(<[Person]>::to_vec)
        && authors.len() > 1
        && let Some(last) = authors.last_mut()
        && ((last.name == "others" && last.given_name.is_none()) || is_et_al(last))
    {
        last.name = OTHERS.to_string();
        (last.given_name, last.prefix, last.suffix) = (None, None, None);
        item.set_authors(authors);
    }
    // A particle belongs to the family name where that stands alone: “van der Maaten (2008)”, not “Maaten (2008)”.
    if let Some(mut authors) = item.authors().map(<[Person]>::to_vec)
        && authors.iter().any(|author| author.prefix.is_some())
    {
        for author in &mut authors {
            if let Some(particle) = author.prefix.take() {
                let gap = if particle.ends_with(['\'', '’']) { "" } else { " " };
                author.name = format!("{}{gap}{}", particle.trim(), author.name);
            }
        }
        item.set_authors(authors);
    }
    // Of a report, a thesis or a manual the style shows the publisher alone: there that is who stands behind it.
    if matches!(item.entry_type(), EntryType::Report | EntryType::Thesis | EntryType::Reference)
        && item.publisher().is_none()
        && let Some(institution) = item.organization().cloned()
    {
        item.set_publisher(Publisher::new(Some(institution), None));
    }
    item
}

/// The field that an error is about.
fn field_of(entry: &biblatex::Entry, error: &TypeError) -> (String, Range<usize>) {
    let holds = |chunks: &Chunks| {
        let (first, last) = (chunks.first()?, chunks.last()?);
        let all = first.span.start..last.span.end.max(first.span.start + 1);
        (all.contains(&error.span.start) || error.span.start == all.end).then_some(first.span.start..last.span.end)
    };
    let found = entry.fields.iter().find_map(|(name, chunks)| Some((name.clone(), holds(chunks)?)));
    found.unwrap_or_else(|| ("date".to_owned(), error.span.clone()))
}

fn remedy(field: &str, raw: &str) -> String {
    match (field, YEAR.find(raw)) {
        ("year" | "date" | "origdate" | "eventdate", Some(year)) => format!("; write {field} = {{{}}}", year.as_str()),
        ("year" | "date", None) => format!("; write {field} = {{2021}}, or leave it out where there is none"),
        ("month", _) => "; write a number from 1 to 12, or jan to dec without braces".to_owned(),
        _ => String::new(),
    }
}
