//! A byte-pair tokenizer (Sennrich, Haddow and Birch, arXiv:1508.07909) over bytes, as GPT-2's (Radford et al., 2019):
//! every text can be encoded, and decodes to itself.
//!
//! Our own, because the `tokenizers` crate adds more than 1 MB to the WASM that readers download.

use std::collections::{BinaryHeap, HashMap};

use lab_api::LabError;
use serde::{Deserialize, Serialize};

/// Tokens 0 to 255 are the bytes; token 256 + i is what merge i made of two earlier tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenizer {
    /// Pair of neighbours to the token that replaces it. A lower token was learned earlier and is merged first.
    merges: HashMap<(u32, u32), u32>,
    /// The bytes that each token stands for.
    bytes: Vec<Vec<u8>>,
}

/// The file: the merges in the order in which they were learned.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    merges: Vec<(u32, u32)>,
}

const FORMAT: &str = "byte-pair merges, tokens 0 to 255 are the bytes";

impl Tokenizer {
    /// Name in the asset manifest.
    pub const ASSET: &'static str = "corpus/tokenizer.json";
    /// Tokens that are single bytes.
    pub const BYTES: u32 = 256;

    /// A tokenizer with these merges, in the order in which they were learned.
    ///
    /// # Errors
    /// [`LabError::Asset`] for a merge of tokens that do not exist yet, or one that is there twice.
    pub fn new(pairs: &[(u32, u32)]) -> Result<Self, LabError> {
        let fail = |why: String| LabError::Asset { name: Self::ASSET.into(), why };
        let mut bytes: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
        let mut merges = HashMap::with_capacity(pairs.len());
        for (i, pair) in pairs.iter().enumerate() {
            let (Some(left), Some(right)) = (bytes.get(pair.0 as usize), bytes.get(pair.1 as usize)) else {
                return Err(fail(format!("merge {i} joins {pair:?}, but there are only {} tokens yet", bytes.len())));
            };
            let joined = [left.as_slice(), right.as_slice()].concat();
            let token = u32::try_from(bytes.len()).map_err(|_| fail("it has too many merges".into()))?;
            if merges.insert(*pair, token).is_some() {
                return Err(fail(format!("merge {i}, {pair:?}, is there twice")));
            }
            bytes.push(joined);
        }
        Ok(Self { merges, bytes })
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`LabError::Asset`] when it is not such a file, or for what [`Tokenizer::new`] refuses.
    pub fn read(json: &[u8]) -> Result<Self, LabError> {
        let fail = |why: String| LabError::Asset { name: Self::ASSET.into(), why };
        let file: File =
            serde_json::from_slice(json).map_err(|error| fail(format!("it is not a tokenizer ({error})")))?;
        if file.format != FORMAT {
            return Err(fail(format!("its format is “{}”, not “{FORMAT}”", file.format)));
        }
        Self::new(&file.merges)
    }

    /// The file, one merge a line.
    #[must_use]
    pub fn write(&self) -> String {
        let mut pairs: Vec<((u32, u32), u32)> = self.merges.iter().map(|(pair, token)| (*pair, *token)).collect();
        pairs.sort_unstable_by_key(|(_, token)| *token);
        let lines: Vec<String> = pairs.iter().map(|((left, right), _)| format!("[{left},{right}]")).collect();
        format!("{{\"format\":\"{FORMAT}\",\"merges\":[\n{}\n]}}\n", lines.join(",\n"))
    }

    /// How many tokens there are.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes a token stands for; in the corpus these are characters. 0 for a token that does not exist.
    #[must_use]
    pub fn bytes_of(&self, token: u32) -> usize {
        self.bytes.get(token as usize).map_or(0, Vec::len)
    }

    /// The tokens of a text. Every text has some: what was never seen in training is spelled in bytes.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        // Most words of a text stand in it many times.
        let mut known: HashMap<&[u8], std::ops::Range<usize>> = HashMap::new();
        let mut tokens = Vec::with_capacity(text.len() / 2);
        for piece in pieces(text.as_bytes()) {
            if let Some(range) = known.get(piece) {
                tokens.extend_from_within(range.clone());
                continue;
            }
            let start = tokens.len();
            self.merge_into(piece, &mut tokens);
            known.insert(piece, start..tokens.len());
        }
        tokens
    }

    /// Merges one piece with a queue of candidate pairs, O(n log n) for n bytes.
    fn merge_into(&self, piece: &[u8], tokens: &mut Vec<u32>) {
        const GONE: u32 = u32::MAX;
        let mut token: Vec<u32> = piece.iter().map(|byte| u32::from(*byte)).collect();
        let end = token.len();
        let mut next: Vec<usize> = (1..=end).collect();
        let mut previous: Vec<usize> = (0..end).map(|i| i.wrapping_sub(1)).collect();
        // Lowest merge first, and of equal ones the leftmost: hence the order reversed.
        let mut queue = BinaryHeap::new();
        let candidate = |token: &[u32], left: usize, right: usize| {
            let (a, b) = (*token.get(left)?, *token.get(right)?);
            let merged = *self.merges.get(&(a, b))?;
            Some(std::cmp::Reverse((merged, left, a, b)))
        };
        queue.extend((0..end).filter_map(|i| candidate(&token, i, i + 1)));
        while let Some(std::cmp::Reverse((merged, left, a, b))) = queue.pop() {
            let right = next[left];
            // Stale: one of the two has been merged since.
            if right >= end || token[left] != a || token[right] != b {
                continue;
            }
            token[left] = merged;
            token[right] = GONE;
            next[left] = next[right];
            if next[left] < end {
                previous[next[left]] = left;
                queue.extend(candidate(&token, left, next[left]));
            }
            queue.extend(candidate(&token, previous[left], left));
        }
        tokens.extend(token.into_iter().filter(|token| *token != GONE));
    }

    /// The same by the definition: of all pairs of neighbours merge the one learned first, everywhere, until none is
    /// left.
    #[must_use]
    pub fn encode_naive(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        for piece in pieces(text.as_bytes()) {
            let mut word: Vec<u32> = piece.iter().map(|byte| u32::from(*byte)).collect();
            while let Some(token) = word.windows(2).filter_map(|pair| self.merges.get(&(pair[0], pair[1]))).min() {
                word = self.merge_everywhere(&word, *token);
            }
            tokens.extend(word);
        }
        tokens
    }

    fn merge_everywhere(&self, word: &[u32], token: u32) -> Vec<u32> {
        let mut merged = Vec::with_capacity(word.len());
        let mut i = 0;
        while i < word.len() {
            let pair = word.get(i + 1).map(|right| (word[i], *right));
            if pair.and_then(|pair| self.merges.get(&pair)) == Some(&token) {
                merged.push(token);
                i += 2;
            } else {
                merged.push(word[i]);
                i += 1;
            }
        }
        merged
    }

    /// The text of tokens. What is not UTF-8 (a character of several bytes, cut) and tokens that do not exist become
    /// U+FFFD, the replacement character.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        // A byte that never stands in UTF-8.
        const UNKNOWN: &[u8] = &[0xFF];
        let bytes_of = |token: &u32| self.bytes.get(*token as usize).map_or(UNKNOWN, Vec::as_slice);
        let bytes: Vec<u8> = tokens.iter().flat_map(bytes_of).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What kind of byte may stand together in one token.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Class {
    Space,
    Letter,
    Digit,
    Sign,
}

fn class(byte: u8) -> Class {
    match byte {
        b' ' | b'\n' | b'\t' | b'\r' => Class::Space,
        // Bytes of other alphabets count as letters.
        b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => Class::Letter,
        b'0'..=b'9' => Class::Digit,
        _ => Class::Sign,
    }
}

/// Cuts a text into the pieces that no merge crosses: letters, digits or signs with the one space before them, and
/// white space (all but a space that belongs to the piece after it). In the manner of GPT-2, simplified.
pub fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let led = first == b' ' && rest.get(1).is_some_and(|byte| class(*byte) != Class::Space);
        let kind = class(rest[usize::from(led)]);
        let start = usize::from(led);
        let run = rest[start..].iter().take_while(|byte| class(**byte) == kind).count();
        let mut end = start + run;
        // "\n\n Word": the space goes with the word.
        if kind == Class::Space && end < rest.len() && end > 1 && rest[end - 1] == b' ' {
            end -= 1;
        }
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shipped() -> Tokenizer {
        Tokenizer::read(include_bytes!("../../../assets/corpus/tokenizer.json")).expect("shipped")
    }

    fn cut(text: &str) -> Vec<&str> {
        pieces(text.as_bytes()).map(|piece| std::str::from_utf8(piece).expect("whole")).collect()
    }

    #[test]
    fn pieces_are_words_with_their_space() {
        assert_eq!(
            cut("The cat's 12  lives.\n\n So"),
            ["The", " cat", "'", "s", " 12", " ", " lives", ".", "\n\n", " So"]
        );
        assert_eq!(cut(" "), [" "]);
        assert_eq!(cut("a  "), ["a", "  "]);
        assert_eq!(cut("  a"), [" ", " a"]);
        assert_eq!(cut(""), [""; 0]);
    }

    #[test]
    fn merges_are_applied_in_the_order_they_were_learned() {
        let (a, b, c) = (97, 98, 99);
        // bc before ab: "abc" is a + bc, though ab comes first in the text.
        let tokenizer = Tokenizer::new(&[(b, c), (a, b), (256, 256)]).expect("valid");
        assert_eq!(tokenizer.encode("abc"), [a, 256]);
        assert_eq!(tokenizer.encode("abbcbc"), [257, 258]);
        assert_eq!(tokenizer.encode("aba"), [257, a]);
        assert_eq!((tokenizer.vocabulary(), tokenizer.bytes_of(258), tokenizer.bytes_of(259)), (259, 4, 0));
    }

    #[test]
    fn overlapping_pairs_are_merged_from_the_left() {
        let tokenizer = Tokenizer::new(&[(97, 97), (256, 256)]).expect("valid");
        for length in 0..40 {
            let text = "a".repeat(length);
            assert_eq!(tokenizer.encode(&text), tokenizer.encode_naive(&text), "{length}");
        }
        assert_eq!(tokenizer.encode("aaaaaaa"), [257, 256, 97]);
    }

    #[test]
    fn the_file_is_read_back_and_wrong_ones_are_refused() {
        let tokenizer = shipped();
        assert_eq!(tokenizer.vocabulary(), 1024);
        let text = tokenizer.write();
        assert_eq!(Tokenizer::read(text.as_bytes()).expect("own file"), tokenizer);
        for (broken, why) in [
            (text[..text.len() / 2].to_owned(), "not a tokenizer"),
            (text.replace("byte-pair", "word-piece"), "its format is"),
            (format!("{{\"format\":\"{FORMAT}\",\"merges\":[[97,256]]}}"), "only 256 tokens yet"),
            (format!("{{\"format\":\"{FORMAT}\",\"merges\":[[97,98],[97,98]]}}"), "twice"),
        ] {
            let error = Tokenizer::read(broken.as_bytes()).expect_err(why).to_string();
            assert!(error.contains(why) && error.contains(Tokenizer::ASSET), "{error}");
        }
    }

    #[test]
    fn technical_english_takes_few_tokens() {
        let text = "The borrow checker makes sure that references are always valid.\n\n";
        let tokens = shipped().encode(text);
        assert!(tokens.len() * 5 < text.len() * 2, "{} tokens for {} characters", tokens.len(), text.len());
        assert_eq!(tokens.iter().map(|token| shipped().bytes_of(*token)).sum::<usize>(), text.len());
    }

    #[test]
    fn what_is_no_text_becomes_the_replacement_character() {
        let tokenizer = shipped();
        assert_eq!(tokenizer.decode(&[72, 105, 9999]), "Hi\u{FFFD}");
        assert_eq!(tokenizer.decode(&[0xC3]), "\u{FFFD}");
    }

    #[test]
    fn a_long_run_is_encoded_at_once() {
        // 500,000 bytes in one piece: the naive way would take hours.
        let text = "ab".repeat(250_000);
        assert_eq!(shipped().decode(&shipped().encode(&text)), text);
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in any::<String>()) {
            let tokenizer = shipped();
            let tokens = tokenizer.encode(&text);
            prop_assert_eq!(tokenizer.decode(&tokens), text);
        }

        #[test]
        fn the_fast_way_agrees_with_the_naive_one(text in "[a-e \n]{0,80}|[ -~\n]{0,120}", merges in 0_u32..40, seed: u64) {
            let tokenizer = shipped();
            prop_assert_eq!(tokenizer.encode(&text), tokenizer.encode_naive(&text));
            // Merges that no training would learn: any two tokens there are.
            let mut state = seed | 1;
            let mut pairs: Vec<(u32, u32)> = Vec::new();
            for made in 0..merges {
                let mut draw = || {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let pick = u32::try_from(state >> 40).unwrap_or(0) % (5 + made);
                    if pick < 5 { 97 + pick } else { 256 + pick - 5 }
                };
                let pair = (draw(), draw());
                if pairs.contains(&pair) { break }
                pairs.push(pair);
            }
            let random = Tokenizer::new(&pairs).expect("valid");
            prop_assert_eq!(random.encode(&text), random.encode_naive(&text));
            prop_assert_eq!(random.decode(&random.encode(&text)), text);
        }
    }
}
