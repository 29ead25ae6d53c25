//! Learning the tokenizer: Sennrich, Haddow and Birch, arXiv:1508.07909, on bytes.

use std::{collections::HashMap, path::Path};

use asset_manifest::{Manifest, checksum, record, toml_edit};
use lab_data::{Part, Tokenizer, tokenizer::pieces};

use crate::pack;

/// Tokens of the shipped tokenizer: 256 bytes and 768 merges. Small, because the embedding of every token is weights
/// that a reader downloads.
const VOCABULARY: usize = 1024;

/// Learns the shipped tokenizer, or with `check` compares it with what the corpus gives.
///
/// # Errors
/// The corpus is not there, or with `check` the shipped file is another.
pub(crate) fn run(root: &Path, check: bool) -> anyhow::Result<()> {
    let corpus = pack::corpus(root, Part::Train)?;
    let tokenizer = Tokenizer::new(&learn(&corpus.text, VOCABULARY))?;
    let tokens = tokenizer.encode(&corpus.text).len();
    let per_token = corpus.text.len() as f64 / tokens as f64;
    println!("{} tokens; {per_token:.3} characters per token on the training part", tokenizer.vocabulary());
    let file = tokenizer.write();
    if check {
        let manifest = Manifest::read(root)?;
        let shipped = manifest.get(Tokenizer::ASSET).map(|asset| asset.load(root)).transpose()?;
        anyhow::ensure!(
            shipped.as_deref() == Some(file.as_bytes()),
            "assets/{} is not what the corpus gives; make it with `cargo xtask data tokenizer`",
            Tokenizer::ASSET
        );
        println!("The shipped tokenizer is this one.");
        return Ok(());
    }
    let source = format!("learned from {} ({})", Part::Train.asset(), checksum(corpus.text.as_bytes()));
    let about = [
        ("title", "Byte-pair tokenizer of 1,024 tokens: 256 bytes and 768 merges"),
        ("source", &source),
        ("licence", "MIT OR Apache-2.0"),
        ("command", "cargo xtask data tokenizer"),
    ];
    let mut about = about.map(|(key, words)| (key, toml_edit::value(words))).to_vec();
    about.push(("characters_per_token", toml_edit::value((per_token * 1000.0).round() / 1000.0)));
    record(root, Tokenizer::ASSET, file.as_bytes(), &about)?;
    println!("Wrote assets/{} ({} bytes) and its entry in assets/manifest.toml.", Tokenizer::ASSET, file.len());
    Ok(())
}

/// The merges that bring the 256 bytes to `vocabulary` tokens: again and again the commonest pair of neighbours within
/// a piece, of equally common ones the lowest. Ends early when no pair stands in the text twice.
pub(crate) fn learn(text: &str, vocabulary: usize) -> Vec<(u32, u32)> {
    // A text has few different words, so counting all pairs anew for every merge takes seconds: no index is needed.
    let mut counts: HashMap<&[u8], u64> = HashMap::new();
    for piece in pieces(text.as_bytes()) {
        *counts.entry(piece).or_default() += 1;
    }
    let mut words: Vec<(Vec<u32>, u64)> =
        counts.into_iter().map(|(piece, count)| (piece.iter().map(|byte| u32::from(*byte)).collect(), count)).collect();
    let mut merges = Vec::new();
    for token in Tokenizer::BYTES..u32::try_from(vocabulary).unwrap_or(u32::MAX) {
        let mut pairs: HashMap<(u32, u32), u64> = HashMap::new();
        for (word, count) in &words {
            for pair in word.windows(2) {
                *pairs.entry((pair[0], pair[1])).or_default() += count;
            }
        }
        let best = pairs.into_iter().max_by_key(|(pair, count)| (*count, std::cmp::Reverse(*pair)));
        let Some((pair, 2..)) = best else { break };
        merges.push(pair);
        for (word, _) in &mut words {
            merge(word, pair, token);
        }
    }
    merges
}

/// Replaces `pair` by `token`, from the left.
fn merge(word: &mut Vec<u32>, pair: (u32, u32), token: u32) {
    if !word.windows(2).any(|two| (two[0], two[1]) == pair) {
        return;
    }
    let mut merged = Vec::with_capacity(word.len());
    let mut rest = word.as_slice();
    while let [first, after @ ..] = rest {
        if after.first().is_some_and(|second| (*first, *second) == pair) {
            merged.push(token);
            rest = &after[1..];
        } else {
            merged.push(*first);
            rest = after;
        }
    }
    *word = merged;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_tokenizer_is_learned_again() {
        run(&pack::checkout(), true).expect("the same");
    }

    #[test]
    fn the_example_of_the_paper_is_learned() {
        // low x5, lower x2, newest x6, widest x3 (Sennrich et al., section 3.2): es, est and lo, low come first.
        let text =
            ["low\n"; 5].concat() + &["lower\n"; 2].concat() + &["newest\n"; 6].concat() + &["widest\n"; 3].concat();
        let [e, s, t, l, o, w] = b"estlow".map(u32::from);
        assert_eq!(learn(&text, 256 + 4), [(e, s), (256, t), (l, o), (258, w)]);
    }

    #[test]
    fn learning_ends_where_nothing_repeats() {
        assert_eq!(learn("abcdef", 1024), []);
        assert_eq!(learn("", 1024), []);
        assert_eq!(learn("aa aa", 1024).len(), 1);
    }

    #[test]
    fn no_merge_crosses_words() {
        let merges = learn(&"ab cd\n".repeat(50), 1024);
        let [b, space] = b"b ".map(u32::from);
        assert!(!merges.contains(&(b, space)) && !merges.is_empty());
    }
}
