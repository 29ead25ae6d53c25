//! How much of the strategy part stands in the tactics part as well, word by word.
//!
//! A word of strategy is repeated if it lies in a run of [`SHINGLE`] words, within one paragraph, that also stands in a paragraph of tactics.
//! Code, formulas, citations, references and directives are left out: what two pages cite or quote alike is no repetition of the author's.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    path::Path,
    sync::LazyLock,
};

use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};
use regex::Regex;
use serde_json::json;

use crate::{
    catalogue::Catalogue,
    html::escape,
    retold::{RETOLD_LIMIT, Retold, retold},
    source::Source,
};

/// How many words in a row make a repetition.
pub const SHINGLE: usize = 8;

/// The share of strategy words, in per cent, from which on the book repeats itself.
pub const LIMIT: f64 = 1.0;

/// What both parts say in the same words.
#[derive(Debug, Clone, PartialEq)]
pub struct Overlap {
    /// One row a method of the catalogue that strategy speaks of, the most repeated first.
    pub topics: Vec<TopicOverlap>,
    /// Everything, each word once.
    pub all: TopicOverlap,
    /// The repeated runs, in the order of the files.
    pub passages: Vec<Passage>,
    /// Sentences that both parts tell in other words, the likest first.
    pub retold: Vec<Retold>,
}

/// The words of one topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicOverlap {
    /// Name of the method.
    pub topic: String,
    /// Words of strategy in paragraphs that name it.
    pub strategy: usize,
    /// Words of tactics in paragraphs that name it.
    pub tactics: usize,
    /// Words of strategy, of those, that are repeated.
    pub repeated: usize,
}

/// One repeated run of words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// File of strategy, below `book/src`.
    pub strategy: String,
    /// A file of tactics that holds it too.
    pub tactics: String,
    /// The words.
    pub words: String,
}

impl TopicOverlap {
    /// Repeated words in per cent of those of strategy.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a book has fewer words than a float has digits")]
    pub fn percent(&self) -> f64 {
        if self.strategy == 0 { 0.0 } else { 100.0 * self.repeated as f64 / self.strategy as f64 }
    }

    /// `none`, `low` below the limit, `high` from there on.
    #[must_use]
    pub fn severity(&self) -> &'static str {
        match self.percent() {
            0.0 => "none",
            share if share < LIMIT => "low",
            _ => "high",
        }
    }
}

impl Overlap {
    /// Whether the book as a whole repeats too much.
    #[must_use]
    pub fn is_too_much(&self) -> bool {
        self.all.percent() >= LIMIT || self.retold.len() > RETOLD_LIMIT
    }

    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!("{:<52} {:>9} {:>9} {:>9}  severity\n", "topic", "strategy", "tactics", "overlap");
        for row in self.topics.iter().chain([&self.all]) {
            let _ = writeln!(
                out,
                "{:<52} {:>9} {:>9} {:>7.2} %  {}",
                row.topic,
                row.strategy,
                row.tactics,
                row.percent(),
                row.severity()
            );
        }
        for passage in &self.passages {
            let _ = writeln!(out, "\n{} and {}:\n  {}", passage.strategy, passage.tactics, passage.words);
        }
        for Retold { strategy, tactics, share } in &self.retold {
            let _ = writeln!(
                out,
                "\nTold twice ({:.0} % of what they say):\n  {}: {}\n  {}: {}",
                100.0 * share,
                strategy.0,
                strategy.1,
                tactics.0,
                tactics.1
            );
        }
        out
    }

    /// For the page that shows it.
    pub(crate) fn html(&self) -> String {
        let mut out = "<div class=\"table-wrapper\"><table><thead><tr><th scope=\"col\">Topic</th><th scope=\"col\" class=\"num\">Words in strategy</th><th scope=\"col\" class=\"num\">Words in tactics</th><th scope=\"col\" class=\"num\">In both, %</th><th scope=\"col\">Severity</th></tr></thead><tbody>".to_owned();
        for row in [&self.all].into_iter().chain(&self.topics) {
            let _ = write!(
                out,
                "<tr><th scope=\"row\">{}</th><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{:.2}</td><td>{}</td></tr>",
                escape(&row.topic),
                row.strategy,
                row.tactics,
                row.percent(),
                row.severity()
            );
        }
        out.push_str("</tbody></table></div>");
        for one in &self.retold {
            let _ = write!(
                out,
                "<p>Told twice: “{}” ({}) and “{}” ({}).</p>",
                escape(&one.strategy.1),
                escape(&one.strategy.0),
                escape(&one.tactics.1),
                escape(&one.tactics.0)
            );
        }
        out
    }

    /// The same for programs.
    #[must_use]
    pub fn json(&self) -> String {
        let row = |row: &TopicOverlap| {
            json!({
                "topic": row.topic,
                "strategy_words": row.strategy,
                "tactics_words": row.tactics,
                "repeated_words": row.repeated,
                "percent": row.percent(),
                "severity": row.severity(),
            })
        };
        let passages: Vec<_> = self
            .passages
            .iter()
            .map(|passage| json!({ "strategy": passage.strategy, "tactics": passage.tactics, "words": passage.words }))
            .collect();
        let retold: Vec<_> = self
            .retold
            .iter()
            .map(|one| json!({ "strategy": one.strategy, "tactics": one.tactics, "share": one.share }))
            .collect();
        let all = json!({
            "shingle": SHINGLE,
            "retold": retold,
            "limit_percent": LIMIT,
            "all": row(&self.all),
            "topics": self.topics.iter().map(row).collect::<Vec<_>>(),
            "passages": passages,
        });
        format!("{all:#}\n")
    }
}

/// Compares `book/src/strategy` with `book/src/tactics` of the project in `root`.
///
/// # Errors
/// A file that cannot be read, or a catalogue that does not parse.
pub fn overlap(root: &Path) -> std::io::Result<Overlap> {
    let mut topics = Vec::new();
    let catalogue = std::fs::read_to_string(root.join("book/data/methods.toml"))?;
    let catalogue = Catalogue::parse(&catalogue)
        .map_err(|(line, message)| std::io::Error::other(format!("book/data/methods.toml:{line}: {message}")))?;
    for method in &catalogue.methods {
        topics.push((method.name.clone(), terms(&method.id, &method.name)));
    }
    let src = root.join("book/src");
    Ok(compare(&chapters(&src, "strategy")?, &chapters(&src, "tactics")?, &topics))
}

/// Name and text of every chapter of a part.
pub(crate) fn chapters(src: &Path, part: &str) -> std::io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    read(&src.join(part), part, &mut files)?;
    files.sort();
    Ok(files)
}

fn read(folder: &Path, name: &str, files: &mut Vec<(String, String)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = format!("{name}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            read(&path, &name, files)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push((name, std::fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// What a method is called in running text: the words of its id, and the parts of its name.
pub(crate) fn terms(id: &str, name: &str) -> Vec<Vec<String>> {
    // Short parts, such as “cost” and “ZeRO”, are words of everyday as well.
    const LONG: usize = 6;
    let parts = name.split(['(', ')', ',', ':']).flat_map(|part| part.split(" and "));
    let parts = parts.map(str::trim).filter(|part| part.len() >= LONG);
    let mut terms: Vec<Vec<String>> = parts.chain([id]).map(words).filter(|term| !term.is_empty()).collect();
    terms.sort();
    terms.dedup();
    terms
}

static NOT_PROSE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{\{#[^}]*\}\}|\{[#.][^}]*\}|\[[^\[\]]*@[^\[\]]*\]|@[A-Za-z][\w:-]*|\[![A-Z]+\]")
        .expect("a constant pattern")
});

/// Lower-case words; a hyphen parts them, an apostrophe does not.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '’'))
        .map(|word| word.trim_matches(['\'', '’']).to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

/// The paragraphs of a chapter as words.
fn paragraphs(text: &str) -> Vec<Vec<String>> {
    texts(text).iter().map(|text| words(text)).filter(|words| !words.is_empty()).collect()
}

/// The paragraphs of a chapter, without what is no prose: also headings, cells, captions, and the texts of questions.
pub(crate) fn texts(text: &str) -> Vec<String> {
    let source = Source::new("", 1, text);
    let mut all = Vec::new();
    let mut current = String::new();
    // The language of the code that is being read.
    let mut code: Option<String> = None;
    for (event, _) in &source.events {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Fenced(info) => info.split([' ', '{']).next().unwrap_or_default().to_owned(),
                    CodeBlockKind::Indented => String::new(),
                };
                code = Some(language);
            }
            Event::End(TagEnd::CodeBlock) => code = None,
            Event::Text(text) if code.as_deref() == Some("quiz") => {
                if let Ok(quiz) = toml::from_str::<toml::Value>(text) {
                    question(&quiz, &mut all);
                }
            }
            Event::Text(text) if code.is_none() => current.push_str(text),
            Event::SoftBreak | Event::HardBreak => current.push(' '),
            Event::Code(_) | Event::InlineMath(_) | Event::DisplayMath(_) => current.push_str(" · "),
            Event::End(
                TagEnd::Paragraph
                | TagEnd::Heading(_)
                | TagEnd::TableCell
                | TagEnd::Item
                | TagEnd::FootnoteDefinition
                | TagEnd::DefinitionListDefinition,
            ) => all.push(plain(&std::mem::take(&mut current))),
            _ => {}
        }
    }
    all.push(plain(&current));
    all
}

/// Text without directives, labels, citations and marks of callouts.
pub(crate) fn plain(text: &str) -> String {
    NOT_PROSE.replace_all(text, " ").into_owned()
}

fn question(value: &toml::Value, all: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                match value {
                    toml::Value::String(text) if ["question", "text", "feedback", "wrong"].contains(&key.as_str()) => {
                        all.push(plain(text));
                    }
                    _ => question(value, all),
                }
            }
        }
        toml::Value::Array(values) => values.iter().for_each(|value| question(value, all)),
        _ => {}
    }
}

fn names(paragraph: &[String], terms: &[Vec<String>]) -> bool {
    terms.iter().any(|term| paragraph.windows(term.len()).any(|window| window == term.as_slice()))
}

/// Whether a paragraph of a chapter names what has these terms.
pub(crate) fn named_in(text: &str, terms: &[Vec<String>]) -> bool {
    paragraphs(text).iter().any(|paragraph| names(paragraph, terms))
}

/// Compares files `(name, text)`; a topic is a name and what it is called.
fn compare(
    strategy: &[(String, String)],
    tactics: &[(String, String)],
    topics: &[(String, Vec<Vec<String>>)],
) -> Overlap {
    let row = |topic: &str| TopicOverlap { topic: topic.to_owned(), strategy: 0, tactics: 0, repeated: 0 };
    let mut all = row("all of the book");
    let mut rows: BTreeMap<usize, TopicOverlap> = BTreeMap::new();
    let mut shingles: HashMap<Vec<String>, &str> = HashMap::new();
    for (file, text) in tactics {
        for paragraph in paragraphs(text) {
            all.tactics += paragraph.len();
            for (i, (topic, terms)) in topics.iter().enumerate() {
                if names(&paragraph, terms) {
                    rows.entry(i).or_insert_with(|| row(topic)).tactics += paragraph.len();
                }
            }
            for window in paragraph.windows(SHINGLE) {
                shingles.entry(window.to_vec()).or_insert(file);
            }
        }
    }
    let mut passages = Vec::new();
    for (file, text) in strategy {
        for paragraph in paragraphs(text) {
            let mut repeated = BTreeSet::new();
            let mut run: Option<(usize, usize, &str)> = None;
            let mut runs = Vec::new();
            for (at, window) in paragraph.windows(SHINGLE).enumerate() {
                let Some(tactics) = shingles.get(window) else { continue };
                repeated.extend(at..at + SHINGLE);
                run = match run {
                    Some((start, end, of)) if at <= end => Some((start, at + SHINGLE, of)),
                    before => {
                        runs.extend(before);
                        Some((at, at + SHINGLE, tactics))
                    }
                };
            }
            runs.extend(run);
            for (start, end, tactics) in runs {
                passages.push(Passage {
                    strategy: file.clone(),
                    tactics: tactics.to_owned(),
                    words: paragraph[start..end].join(" "),
                });
            }
            all.strategy += paragraph.len();
            all.repeated += repeated.len();
            for (i, (topic, terms)) in topics.iter().enumerate() {
                if names(&paragraph, terms) {
                    let row = rows.entry(i).or_insert_with(|| row(topic));
                    row.strategy += paragraph.len();
                    row.repeated += repeated.len();
                }
            }
        }
    }
    let mut rows: Vec<TopicOverlap> = rows.into_values().filter(|row| row.strategy > 0).collect();
    rows.sort_by(|a, b| b.percent().total_cmp(&a.percent()).then(b.strategy.cmp(&a.strategy)));
    Overlap { topics: rows, all, passages, retold: retold(strategy, tactics) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    fn pruning() -> Vec<(String, Vec<Vec<String>>)> {
        vec![
            ("Pruning".to_owned(), terms("pruning", "Pruning")),
            ("KV cache".to_owned(), terms("kv-cache", "KV cache")),
        ]
    }

    const TACTICS: &str = "# Pruning {#sec-pruning}\n\nThe pruning of whole channels leaves a dense network that every\nprogram runs as fast as it can.\n";

    #[test]
    fn a_topic_is_known_by_its_id_and_the_long_parts_of_its_name() {
        let found = terms("distributed-training", "Distributed training (data parallel, ZeRO, FSDP)");
        let joined: Vec<String> = found.iter().map(|term| term.join(" ")).collect();
        assert_eq!(joined, ["data parallel", "distributed training"]);
    }

    #[test]
    fn a_planted_copy_is_counted_and_shown() {
        // Nine words are copied, across a line end and with other capitals and marks.
        let strategy = "Why pruning? *Whole channels leaves a dense\nnetwork, that every* reader knows.\n\nNothing here is copied at all.\n";
        let found = compare(&[file("strategy/a.md", strategy)], &[file("tactics/b.md", TACTICS)], &pruning());
        assert_eq!((found.all.strategy, found.all.repeated), (18, 8));
        assert_eq!(
            found.passages,
            [Passage {
                strategy: "strategy/a.md".to_owned(),
                tactics: "tactics/b.md".to_owned(),
                words: "whole channels leaves a dense network that every".to_owned()
            }]
        );
        let [row] = &found.topics[..] else { panic!("{:?}", found.topics) };
        assert_eq!((row.topic.as_str(), row.strategy, row.tactics, row.repeated), ("Pruning", 12, 19, 8));
        assert_eq!((row.severity(), found.is_too_much()), ("high", true));
    }

    #[test]
    fn seven_words_in_a_row_are_no_repetition() {
        let strategy = "Here whole channels leaves a dense network that ends.\n";
        let found = compare(&[file("s.md", strategy)], &[file("t.md", TACTICS)], &pruning());
        assert_eq!((found.all.repeated, found.all.severity()), (0, "none"));
        assert!(found.passages.is_empty() && !found.is_too_much());
    }

    #[test]
    fn long_runs_are_one_passage_and_each_word_counts_once() {
        let strategy =
            "So: the pruning of whole channels leaves a dense network that every program runs as fast as it can.\n";
        let found = compare(&[file("s.md", strategy)], &[file("t.md", TACTICS)], &pruning());
        assert_eq!((found.all.strategy, found.all.repeated, found.passages.len()), (19, 18, 1));
    }

    #[test]
    fn what_is_cited_quoted_or_computed_is_left_out() {
        let same = "{{#lab a-b-c-d}}\n\n```rust\nlet one = two; let three = four; let five = six;\n```\n\n$$ a b c d e f g h i j $$\n\n[@one; @two; @three; @four; @five, p. 6 of the whole long book here]\n\n@sec-a @sec-b @sec-c @sec-d @sec-e @sec-f @sec-g @sec-h\n";
        let found = compare(&[file("s.md", same)], &[file("t.md", same)], &pruning());
        assert_eq!((found.all.strategy, found.all.repeated), (0, 0));
    }

    #[test]
    fn questions_and_tables_count() {
        let quiz =
            "```quiz\nid = \"a\"\nquestion = \"Which of these seven long words stand here twice?\"\nanswer = 1\n```\n";
        let table = "| a | b |\n|---|---|\n| which of these seven long words stand here | 2 |\n";
        let found = compare(&[file("s.md", quiz)], &[file("t.md", table)], &pruning());
        assert_eq!((found.all.strategy, found.all.repeated), (9, 8));
    }

    #[test]
    fn a_run_ends_with_its_paragraph() {
        let strategy = "Whole channels leaves a\n\ndense network that every program.\n";
        let found = compare(&[file("s.md", strategy)], &[file("t.md", TACTICS)], &pruning());
        assert_eq!(found.all.repeated, 0);
    }

    #[test]
    fn both_forms_tell_the_same() {
        let found = compare(&[file("s.md", TACTICS)], &[file("t.md", TACTICS)], &pruning());
        assert!(found.table().contains("all of the book"), "{}", found.table());
        let json: serde_json::Value = serde_json::from_str(&found.json()).expect("JSON");
        assert_eq!(json["all"]["repeated_words"], 18);
        assert_eq!(json["topics"][0]["severity"], "high");
    }

    #[test]
    fn the_shipped_book_repeats_little() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let found = overlap(&root).expect("reads");
        assert!(found.all.strategy > 1000 && found.all.tactics > 1000);
        assert!(!found.is_too_much(), "{}", found.table());
    }
}
