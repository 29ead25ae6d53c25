//! Near-duplicates, by shingles: runs of words that two texts share (Broder, 1997).

use std::collections::HashSet;

/// Words of a shingle.
const WORDS: usize = 6;
/// A paragraph with this share of known shingles is a variant of one that is there already.
pub(super) const DOUBLE: f64 = 0.5;
/// The same between parts of the corpus, where caution costs little.
pub(super) const LEAK: f64 = 0.25;

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    shingles: HashSet<u64>,
    lines: HashSet<u64>,
}

impl Seen {
    pub(super) fn remember(&mut self, text: &str) {
        let words = words(text);
        self.lines.insert(hash(&words));
        self.shingles.extend(words.windows(WORDS).map(hash));
    }

    /// Whether the very words stood somewhere.
    pub(super) fn has_line(&self, text: &str) -> bool {
        self.lines.contains(&hash(&words(text)))
    }

    /// The share of its shingles that are known, 0 to 1; a text shorter than a shingle is known or not.
    pub(super) fn share(&self, text: &str) -> f64 {
        let words = words(text);
        if words.len() < WORDS {
            return f64::from(u8::from(self.lines.contains(&hash(&words))));
        }
        let known = words.windows(WORDS).filter(|shingle| self.shingles.contains(&hash(shingle))).count();
        known as f64 / (words.len() + 1 - WORDS) as f64
    }
}

/// Words in lower case, without signs; numbers count as one word, since doubled prose often differs in them alone.
fn words(text: &str) -> Vec<String> {
    let split = text.split(|c: char| !c.is_ascii_alphanumeric());
    let word = |word: &str| word.to_ascii_lowercase().trim_matches(|c: char| c.is_ascii_digit()).to_owned();
    split.filter(|word| !word.is_empty()).map(word).collect()
}

/// FNV-1a: the same on every platform and in every release, unlike the standard library's hasher.
fn hash(words: &[String]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in words.iter().flat_map(|word| word.bytes().chain([b' '])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn variants_are_known_and_strangers_are_not() {
        let mut seen = Seen::default();
        seen.remember("Returns the number of leading zeros in the binary representation of a `u8`.");
        assert!(seen.share("Returns the number of leading zeros in the binary representation of a `u128`.") > 0.9);
        assert!(seen.share("A slice is a view into a block of memory, given as a pointer and a length.") < 0.1);
        assert!(!seen.has_line("Returns the number"));
        seen.remember("See also:");
        assert!(seen.has_line("see also") && seen.share("See also") > 0.9);
    }
}
