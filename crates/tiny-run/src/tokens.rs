//! Byte-pair tokens (Sennrich, Haddow and Birch, arXiv:1508.07909): the twin of the book's own tokenizer.

use std::collections::HashMap;

use crate::json::Json;

/// What the tokenizer's file says of itself.
const FORMAT: &str = "byte-pair merges, tokens 0 to 255 are the bytes";

/// Text to tokens and back. Tokens 0 to 255 are the bytes; token 256 + i is what merge i made of two earlier ones.
pub struct Tokens {
    merges: HashMap<(u32, u32), u32>,
    bytes: Vec<Vec<u8>>,
}

impl Tokens {
    /// Reads `tokenizer.json`: `{"format": "...", "merges": [[left, right], ...]}`, merges in the order they were learned.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(file: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(file).map_err(|_| "it is no text")?;
        let json = Json::parse(text)?;
        let found = json.get("format").and_then(Json::text).unwrap_or_default();
        if found != FORMAT {
            return Err(format!("its format is “{found}”, not “{FORMAT}”"));
        }
        let list = json.get("merges").and_then(Json::list).ok_or("it holds no list of merges")?;
        let mut bytes: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
        let mut merges = HashMap::new();
        for (i, pair) in list.iter().enumerate() {
            let pair: Option<Vec<usize>> = pair.list().unwrap_or_default().iter().map(Json::whole).collect();
            let Some([left, right]) = pair.as_deref().filter(|pair| pair.iter().all(|token| *token < bytes.len()))
            else {
                return Err(format!("merge {i} is no pair of earlier tokens"));
            };
            if merges.insert((*left as u32, *right as u32), bytes.len() as u32).is_some() {
                return Err(format!("merge {i} is there twice"));
            }
            bytes.push([bytes[*left].as_slice(), &bytes[*right]].concat());
        }
        Ok(Self { merges, bytes })
    }

    /// How many tokens there are.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the longest token.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.bytes.iter().map(Vec::len).max().unwrap_or_default()
    }

    /// The tokens of a text: of all pairs of neighbours the one learned first is merged, everywhere, until none is left.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        for piece in pieces(text.as_bytes()) {
            let mut word: Vec<u32> = piece.iter().map(|byte| u32::from(*byte)).collect();
            while let Some(merged) = word.windows(2).filter_map(|pair| self.merges.get(&(pair[0], pair[1]))).min() {
                let mut i = 0;
                while i + 1 < word.len() {
                    if self.merges.get(&(word[i], word[i + 1])) == Some(merged) {
                        word[i] = *merged;
                        word.remove(i + 1);
                    }
                    i += 1;
                }
            }
            tokens.extend(word);
        }
        tokens
    }

    /// The text of tokens; what is no UTF-8 becomes the replacement character, and unknown tokens too.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        let of = |token: &u32| self.bytes.get(*token as usize).map_or(&[0xff][..], Vec::as_slice);
        let bytes: Vec<u8> = tokens.iter().flat_map(of).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Space, letter, digit or sign: what may stand together in one token. Bytes of other alphabets count as letters.
fn class(byte: u8) -> u8 {
    match byte {
        b' ' | b'\n' | b'\t' | b'\r' => 0,
        b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    }
}

/// Pieces that no merge crosses: letters, digits or signs with the one space before them, and other white space.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let start = usize::from(first == b' ' && rest.get(1).is_some_and(|byte| class(*byte) != 0));
        let kind = class(rest[start]);
        let mut end = start + rest[start..].iter().take_while(|byte| class(**byte) == kind).count();
        // "\n\n Word": the space goes with the word.
        if kind == 0 && end < rest.len() && end > 1 && rest[end - 1] == b' ' {
            end -= 1;
        }
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_are_applied_in_the_order_they_were_learned() {
        // bc before ab: "abc" is a + bc, though ab comes first in the text.
        let file = format!("{{\"format\":\"{FORMAT}\",\"merges\":[[98,99],[97,98],[256,256],[97,97]]}}");
        let tokens = Tokens::read(file.as_bytes()).expect("a tokenizer");
        assert_eq!((tokens.vocabulary(), tokens.longest()), (260, 4));
        assert_eq!(tokens.encode("abc"), [97, 256]);
        assert_eq!(tokens.encode("abbcbc aaa"), [257, 258, 32, 259, 97]);
        assert_eq!(tokens.decode(&[258, 9999]), "bcbc\u{fffd}");
    }

    #[test]
    fn other_files_are_refused_in_words() {
        let why = |file: String| Tokens::read(file.as_bytes()).err().expect("refused");
        assert!(why("{".to_owned()).contains("no JSON"));
        assert!(why("{\"model\":{}}".to_owned()).contains("its format is"));
        let merges = |list: &str| why(format!("{{\"format\":\"{FORMAT}\",\"merges\":{list}}}"));
        assert!(merges("7").contains("no list"));
        assert!(merges("[[97,256]]").contains("merge 0 is no pair"));
        assert!(merges("[[97,98,99]]").contains("merge 0 is no pair"));
        assert!(merges("[[97,98],[97,98]]").contains("merge 1 is there twice"));
    }
}
