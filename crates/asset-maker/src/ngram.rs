//! The baseline that a language model has to beat: interpolated modified Kneser-Ney smoothing (Chen and Goodman, 1998,
//! “An Empirical Study of Smoothing Techniques for Language Modeling”, Harvard TR-10-98, section 3).

use std::{collections::HashMap, path::Path};

use anyhow::Context as _;
use asset_manifest::{Manifest, record, toml_edit};
use lab_data::{Corpus, Part, Tokenizer};

use crate::pack;

/// Symbols of context and symbol predicted, together.
const ORDER: usize = 5;
/// Name of the results in the asset manifest.
const ASSET: &str = "corpus/baseline.json";
/// Characters that the corpus may hold: printable ASCII and the line feed.
const CHARACTERS: u32 = 96;

/// Counts on the training part and judges on the test part; writes the result, or with `check` compares it.
///
/// # Errors
/// Corpus or tokenizer are missing, or with `check` the committed result is another.
pub(crate) fn run(root: &Path, check: bool) -> anyhow::Result<()> {
    let (train, test) = (pack::corpus(root, Part::Train)?, pack::corpus(root, Part::Test)?);
    let manifest = Manifest::read(root)?;
    let tokenizer =
        manifest.get(Tokenizer::ASSET).context("there is no tokenizer; `cargo xtask data tokenizer` makes it")?;
    let tokenizer = Tokenizer::read(&tokenizer.load(root)?)?;
    let characters = |corpus: &Corpus| corpus.text.bytes().map(character).collect::<Vec<u32>>();
    let tokens = |corpus: &Corpus| tokenizer.encode(&corpus.text);
    let on_characters: f64 = bits(CHARACTERS, &characters(&train), &characters(&test)).iter().sum();
    let on_characters = on_characters / test.text.len() as f64;
    println!("{ORDER}-gram over characters: {on_characters:.4} bits per character on the test part");
    let vocabulary = u32::try_from(tokenizer.vocabulary())?;
    let judged = tokens(&test);
    let bits = bits(vocabulary, &tokens(&train), &judged);
    let on_tokens = bits.iter().sum::<f64>() / test.text.len() as f64;
    println!("{ORDER}-gram over tokens:     {on_tokens:.4} bits per character on the test part");
    // By document, so that a language model can be compared pair by pair.
    let lengths: Vec<usize> = judged.iter().map(|token| tokenizer.bytes_of(*token)).collect();
    let mut documents = vec![(0, 0.0); test.documents().count()];
    for ((document, length), bits) in test.document_of(lengths.iter().copied()).into_iter().zip(&lengths).zip(&bits) {
        let sum = &mut documents[document];
        *sum = (sum.0 + length, sum.1 + bits);
    }
    let documents: Vec<String> = documents.iter().map(|(length, bits)| format!("[{length},{bits:.2}]")).collect();
    let result = format!(
        "{{\n  \"order\": {ORDER},\n  \"characters_bits_per_character\": {on_characters:.4},\n  \
         \"tokens_bits_per_character\": {on_tokens:.4},\n  \"tokens_characters_and_bits_by_document\": [{}]\n}}\n",
        documents.join(",")
    );
    if check {
        let committed = Manifest::read(root)?.get(ASSET).map(|asset| asset.load(root)).transpose()?;
        anyhow::ensure!(
            committed.as_deref() == Some(result.as_bytes()),
            "assets/{ASSET} says something else; `cargo xtask data ngram` writes it anew"
        );
        println!("The committed result is this one.");
        return Ok(());
    }
    let about = [
        ("title", "Bits per character of interpolated modified Kneser-Ney 5-grams on the test part of the corpus"),
        ("source", "counted on corpus/train.txt.gz; the model to beat is the better of the two"),
        ("licence", "MIT OR Apache-2.0"),
        ("command", "cargo xtask data ngram"),
    ];
    let about = about.map(|(key, words)| (key, toml_edit::value(words)));
    record(root, ASSET, result.as_bytes(), &about)?;
    println!("Wrote assets/{ASSET} and its entry in assets/manifest.toml.");
    Ok(())
}

/// A character of the corpus as a symbol below [`CHARACTERS`].
fn character(byte: u8) -> u32 {
    if byte == b'\n' { 95 } else { u32::from(byte) - u32::from(b' ') }
}

/// Bits that the model counted on `train` needs for each symbol of `test`.
fn bits(vocabulary: u32, train: &[u32], test: &[u32]) -> Vec<f64> {
    let model = KneserNey::count(ORDER, vocabulary, train);
    (0..test.len()).map(|i| -model.probability(&test[i.saturating_sub(ORDER - 1)..i], test[i]).log2()).collect()
}

/// A model of some order, counted.
struct KneserNey {
    vocabulary: u32,
    /// From unigrams upwards.
    levels: Vec<Level>,
}

/// The n-grams of one length.
#[derive(Default)]
struct Level {
    /// How often each was seen; below the highest order, after how many different symbols (its continuation count).
    counts: HashMap<u64, u32>,
    /// What is known of each context: the n-gram without its last symbol.
    contexts: HashMap<u64, Context>,
    /// What is taken from counts of 1, 2, and 3 or more.
    discounts: [f64; 3],
}

/// Sum of the counts of what follows, and how many symbols follow once, twice, and more often.
#[derive(Default, Clone, Copy)]
struct Context {
    total: u64,
    followers: [u32; 3],
}

impl KneserNey {
    /// Bits of a symbol in a packed n-gram.
    const BITS: u32 = 12;

    /// Counts n-grams up to `order` symbols; symbols are below `vocabulary`.
    fn count(order: usize, vocabulary: u32, symbols: &[u32]) -> Self {
        assert!(vocabulary <= 1 << Self::BITS && order * Self::BITS as usize <= 64, "n-grams fit into 64 bits");
        let mut counts: HashMap<u64, u32> = HashMap::new();
        for ngram in symbols.windows(order) {
            *counts.entry(pack_ngram(ngram)).or_default() += 1;
        }
        let mut levels = Vec::new();
        for length in (1..=order).rev() {
            let level = Level::new(counts);
            // The n-gram one shorter, without the first symbol: one for each symbol that it follows.
            let mask = (1_u64 << (Self::BITS * u32::try_from(length - 1).unwrap_or(0))) - 1;
            counts = HashMap::new();
            for ngram in level.counts.keys() {
                *counts.entry(ngram & mask).or_default() += 1;
            }
            levels.push(level);
        }
        levels.reverse();
        Self { vocabulary, levels }
    }

    /// The probability of `symbol` after `context`, of which only the last symbols count. Positive for every symbol.
    fn probability(&self, context: &[u32], symbol: u32) -> f64 {
        let longest = context.len().min(self.levels.len() - 1);
        (0..=longest).fold(1.0 / f64::from(self.vocabulary), |shorter, length| {
            let history = pack_ngram(&context[context.len() - length..]);
            self.levels[length].interpolate(history, symbol, shorter)
        })
    }
}

impl Level {
    fn new(counts: HashMap<u64, u32>) -> Self {
        let mut contexts: HashMap<u64, Context> = HashMap::new();
        // How many n-grams have a count of 1, 2, 3, 4.
        let mut of_count = [0_u32; 4];
        for (ngram, count) in &counts {
            let context = contexts.entry(ngram >> KneserNey::BITS).or_default();
            context.total += u64::from(*count);
            context.followers[class(*count)] += 1;
            if let Some(known) = of_count.get_mut(*count as usize - 1) {
                *known += 1;
            }
        }
        Self { discounts: discounts(of_count), counts, contexts }
    }

    /// What this level says, mixed with what the shorter context says; that alone where this context is unknown.
    fn interpolate(&self, history: u64, symbol: u32, shorter: f64) -> f64 {
        let Some(context) = self.contexts.get(&history) else { return shorter };
        let total = context.total as f64;
        let count = self.counts.get(&(history << KneserNey::BITS | u64::from(symbol))).copied().unwrap_or(0);
        let seen = if count == 0 { 0.0 } else { f64::from(count) - self.discounts[class(count)] };
        let kept: f64 = context.followers.iter().zip(self.discounts).map(|(n, d)| f64::from(*n) * d).sum();
        (seen + kept * shorter) / total
    }
}

/// Which discount a count has.
fn class(count: u32) -> usize {
    (count as usize).clamp(1, 3) - 1
}

/// Chen and Goodman's estimates from how many n-grams have a count of 1, 2, 3, 4. Where these say nothing (as for so few
/// unigrams that none is rare), halves.
fn discounts(of_count: [u32; 4]) -> [f64; 3] {
    let [n1, n2, n3, n4] = of_count.map(f64::from);
    let y = n1 / (n1 + 2.0 * n2);
    let estimates = [1.0 - 2.0 * y * n2 / n1, 2.0 - 3.0 * y * n3 / n2, 3.0 - 4.0 * y * n4 / n3];
    let sound = of_count[..3].iter().all(|n| *n > 0)
        && estimates.iter().zip([1.0, 2.0, 3.0]).all(|(estimate, most)| *estimate > 0.0 && *estimate < most);
    if sound { estimates } else { [0.5, 1.0, 1.5] }
}

fn pack_ngram(symbols: &[u32]) -> u64 {
    symbols.iter().fold(0, |packed, symbol| packed << KneserNey::BITS | u64::from(*symbol))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_committed_figures_are_counted_again() {
        run(&pack::checkout(), true).expect("the same");
    }

    #[test]
    fn a_small_example_agrees_with_a_count_by_hand() {
        // a b a b a c over {a, b, c, d}. Bigrams: ab 2, ba 2, ac 1. So few that the discounts are 0.5, 1, 1.5.
        let model = KneserNey::count(2, 4, &[0, 1, 0, 1, 0, 2]);
        assert_eq!(model.levels[1].discounts, [0.5, 1.0, 1.5]);
        // Continuation counts: b after a, a after b, c after a: one each, three in all; 3 x 0.5 / 3 goes to 1/4 each.
        let unigram = |count: f64| (count * 0.5 + 1.5 / 4.0) / 3.0;
        for (symbol, count) in [(0, 1.0), (1, 1.0), (2, 1.0), (3, 0.0)] {
            assert!((model.probability(&[], symbol) - unigram(count)).abs() < 1e-12);
        }
        // After a: b twice, c once, total 3; kept back 1 + 0.5.
        let after_a = |seen: f64, count: f64| (seen + 1.5 * unigram(count)) / 3.0;
        for (symbol, expected) in
            [(0, after_a(0.0, 1.0)), (1, after_a(1.0, 1.0)), (2, after_a(0.5, 1.0)), (3, after_a(0.0, 0.0))]
        {
            assert!((model.probability(&[3, 0], symbol) - expected).abs() < 1e-12, "{symbol}");
        }
        // d was never seen: what comes after it is judged without context.
        assert!((model.probability(&[3], 1) - unigram(1.0)).abs() < 1e-12);
    }

    #[test]
    fn discounts_are_those_of_the_formula() {
        // Y = 100 / (100 + 2 x 40) = 5/9.
        let [one, two, more] = discounts([100, 40, 20, 10]);
        assert!((one - (1.0 - 2.0 * 5.0 / 9.0 * 0.4)).abs() < 1e-12);
        assert!((two - (2.0 - 3.0 * 5.0 / 9.0 * 0.5)).abs() < 1e-12);
        assert!((more - (3.0 - 4.0 * 5.0 / 9.0 * 0.5)).abs() < 1e-12);
    }

    #[test]
    fn more_context_predicts_better_and_the_uniform_bound_holds() {
        let text: Vec<u32> = (0..4000_u32).map(|i| (i * i / 7 + i % 5) % 6).collect();
        let (train, test) = text.split_at(3000);
        let cost = bits(6, train, test).iter().sum::<f64>() / test.len() as f64;
        assert!(cost < 0.9 * 6_f64.log2(), "{cost}");
    }

    #[test]
    fn every_character_of_the_corpus_is_a_symbol_of_its_own() {
        let mut symbols: Vec<u32> = (b' '..=b'~').chain([b'\n']).map(character).collect();
        symbols.sort_unstable();
        assert_eq!(symbols, (0..CHARACTERS).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn probabilities_sum_to_one_after_any_context(
            text in proptest::collection::vec(0_u32..7, 0..300),
            context in proptest::collection::vec(0_u32..8, 0..7),
            order in 1_usize..6,
        ) {
            let model = KneserNey::count(order, 8, &text);
            let probabilities: Vec<f64> = (0..8).map(|symbol| model.probability(&context, symbol)).collect();
            prop_assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{:?}", probabilities);
            prop_assert!(probabilities.iter().all(|p| *p > 0.0));
        }
    }
}
