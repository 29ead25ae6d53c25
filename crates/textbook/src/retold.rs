//! Sentences of strategy that tactics tells too, in other words: what runs of equal words ([`overlap`](crate::overlap())) do not see.
//!
//! Two sentences are compared by the words that carry them, without endings: the share of both that they have in common, each word weighed
//! by how rare it is in the book (the Dice coefficient of two bags of words, with weights ln(1 + N/n)). Numbers are words, and rare ones.

use std::collections::{BTreeSet, HashMap};

use crate::overlap::texts;
use crate::prose::sentences;

/// From this share on two sentences tell the same. Of what stands in `tests/planted` it must find 18 of 20 near copies and 12 of 20 paraphrases.
pub const RETOLD: f64 = 0.65;
/// How many such sentences the book may hold: one that is no repetition is to be expected.
pub const RETOLD_LIMIT: usize = 1;
/// Sentences of fewer carrying words say too little to be compared.
const FEWEST: usize = 7;

/// A sentence told twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Retold {
    /// File of strategy, below `book/src`, and the sentence.
    pub strategy: (String, String),
    /// The same of tactics.
    pub tactics: (String, String),
    /// Their common share, 0 to 1.
    pub share: f64,
}

struct Sentence<'a> {
    file: &'a str,
    text: String,
    stems: BTreeSet<String>,
}

/// Finds them in files `(name, text)`, the likest first.
pub(crate) fn retold(strategy: &[(String, String)], tactics: &[(String, String)]) -> Vec<Retold> {
    let (strategy, tactics) = (read(strategy), read(tactics));
    let mut known: HashMap<&str, f64> = HashMap::new();
    for stem in strategy.iter().chain(&tactics).flat_map(|sentence| &sentence.stems) {
        *known.entry(stem).or_default() += 1.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a book has fewer sentences than a float has digits")]
    let all = (strategy.len() + tactics.len()) as f64;
    // Never nothing, however often a word stands in the book.
    let weight = |stem: &String| (1.0 + all / (known.get(stem.as_str()).copied().unwrap_or_default() + 1.0)).ln();
    let weigh = |sentence: &Sentence| sentence.stems.iter().map(weight).sum::<f64>();
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, sentence) in tactics.iter().enumerate() {
        for stem in &sentence.stems {
            places.entry(stem).or_default().push(at);
        }
    }
    let weights: Vec<f64> = tactics.iter().map(weigh).collect();
    let mut found = Vec::new();
    for sentence in &strategy {
        let own = weigh(sentence);
        let mut common: HashMap<usize, f64> = HashMap::new();
        for stem in &sentence.stems {
            for at in places.get(stem.as_str()).into_iter().flatten() {
                *common.entry(*at).or_default() += weight(stem);
            }
        }
        let shares = common.into_iter().map(|(at, weight)| (2.0 * weight / (own + weights[at]), at));
        let best = shares.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        if let Some((share, at)) = best.filter(|(share, _)| *share >= RETOLD) {
            let words = |sentence: &Sentence| (sentence.file.to_owned(), sentence.text.clone());
            found.push(Retold { strategy: words(sentence), tactics: words(&tactics[at]), share });
        }
    }
    found.sort_by(|a, b| b.share.total_cmp(&a.share));
    found
}

fn read(files: &[(String, String)]) -> Vec<Sentence<'_>> {
    let mut all = Vec::new();
    for (file, text) in files {
        for paragraph in texts(text) {
            // Each page's line of level, time and prerequisites is alike, as it should be.
            if paragraph.starts_with("Level:") {
                continue;
            }
            for sentence in sentences(&paragraph) {
                let stems = stems(sentence);
                if stems.len() >= FEWEST {
                    let text = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
                    all.push(Sentence { file, text, stems });
                }
            }
        }
    }
    all
}

/// The words that carry a sentence, without endings. Coarse on purpose: both sides lose the same letters.
fn stems(sentence: &str) -> BTreeSet<String> {
    let lower = sentence.to_lowercase();
    let words = lower.split(|c: char| !(c.is_alphanumeric() || ['\'', '’', '.', ','].contains(&c)));
    let words =
        words.map(|word| word.trim_matches(['\'', '’', '.', ',']).split(['\'', '’']).next().unwrap_or_default());
    words.filter(|word| word.len() > 1 && !EMPTY.contains(word)).map(stem).collect()
}

fn stem(word: &str) -> String {
    const ENDINGS: [&str; 13] =
        ["ations", "ation", "ings", "ing", "edly", "ed", "ies", "ers", "er", "es", "s", "ly", "e"];
    let cut = ENDINGS.iter().filter_map(|ending| word.strip_suffix(ending)).find(|rest| rest.chars().count() >= 4);
    cut.unwrap_or(word).to_owned()
}

/// Words that stand in any sentence.
const EMPTY: &[&str] = &[
    "the", "an", "and", "or", "but", "of", "to", "in", "on", "at", "by", "for", "with", "from", "as", "is", "are",
    "was", "were", "be", "been", "it", "its", "this", "that", "these", "those", "you", "your", "we", "our", "they",
    "their", "he", "she", "not", "no", "so", "than", "then", "there", "here", "what", "which", "who", "how", "when",
    "where", "why", "if", "each", "every", "one", "two", "all", "more", "most", "less", "least", "can", "may", "must",
    "will", "would", "do", "does", "did", "has", "have", "had", "only", "also", "just", "very", "much", "many", "few",
    "some", "any", "both", "either", "into", "over", "under", "out", "up", "down", "about", "between", "after",
    "before", "such", "same", "other", "another", "own", "while", "because", "since", "until", "whether",
];

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::overlap::chapters;

    #[derive(Deserialize)]
    struct Planted {
        original: String,
        copy: Option<String>,
        paraphrase: Option<String>,
    }

    #[derive(Deserialize)]
    struct All {
        planted: Vec<Planted>,
    }

    /// How many of the planted sentences are found beside their originals, put into the book as it is.
    fn found(pick: impl Fn(&Planted) -> Option<&String>) -> (usize, usize) {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let all: All = toml::from_str(include_str!("../tests/planted/planted.toml")).expect("parses");
        let src = root.join("../../book/src");
        let mut tactics = chapters(&src, "tactics").expect("reads");
        let chosen: Vec<&Planted> = all.planted.iter().filter(|planted| pick(planted).is_some()).collect();
        let originals: Vec<&str> = chosen.iter().map(|planted| planted.original.as_str()).collect();
        tactics.push(("tactics/planted.md".to_owned(), originals.join("\n\n")));
        let told: Vec<&str> = chosen.iter().filter_map(|planted| pick(planted)).map(String::as_str).collect();
        let strategy = [("strategy/planted.md".to_owned(), told.join("\n\n"))];
        (retold(&strategy, &tactics).len(), told.len())
    }

    #[test]
    fn planted_copies_and_paraphrases_are_found() {
        let (copies, of) = found(|planted| planted.copy.as_ref());
        assert_eq!(of, 20);
        assert!(copies >= 18, "{copies} of 20 near copies");
        let (paraphrases, of) = found(|planted| planted.paraphrase.as_ref());
        assert_eq!(of, 20);
        assert!(paraphrases >= 12, "{paraphrases} of 20 paraphrases");
    }

    #[test]
    fn two_sentences_on_one_subject_are_not_one_sentence() {
        let file = |text: &str| [("a.md".to_owned(), text.to_owned())];
        let tactics = "A cache keeps the keys and values of all earlier tokens, so each step computes one row.\n";
        let other = "A cache of keys and values fills the memory of a card long before its arithmetic is busy.\n";
        assert!(retold(&file(other), &file(tactics)).is_empty());
        assert_eq!(retold(&file(tactics), &file(tactics)).len(), 1);
    }

    #[test]
    fn endings_do_not_hide_a_word() {
        assert_eq!(stems("Pruned networks, pruning a network's 1,024 weights"), stems("prune network 1,024 weight"));
    }
}
