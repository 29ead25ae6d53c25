//! Characters: documentation in the alphabet of the corpus, printable ASCII.

/// The text in printable ASCII, white space as single spaces; `None` when so much is of another alphabet that what
/// remained would be no sentence.
pub(super) fn ascii(text: &str) -> Option<String> {
    let (mut clean, mut dropped, mut total) = (String::with_capacity(text.len()), 0_usize, 0_usize);
    for c in text.chars() {
        total += 1;
        match c {
            ' '..='~' => clean.push(c),
            '\n' | '\t' | '\r' | '\u{a0}' | '\u{2009}' | '\u{202f}' => clean.push(' '),
            '\u{200b}' | '\u{feff}' | '\u{ad}' | '\u{2060}' => {}
            _ => match spelled(c) {
                Some(letters) => clean.push_str(letters),
                None => dropped += 1,
            },
        }
    }
    (dropped * 50 <= total).then(|| clean.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// How a sign is written on a typewriter.
fn spelled(c: char) -> Option<&'static str> {
    Some(match c {
        '‘' | '’' | '‛' | '′' => "'",
        '“' | '”' | '„' | '″' | '«' | '»' => "\"",
        '‐' | '‑' | '‒' | '–' | '−' => "-",
        '—' | '―' => " - ",
        '…' => "...",
        '×' => "x",
        '·' | '•' => "*",
        '→' | '⇒' => "->",
        '←' => "<-",
        '≤' => "<=",
        '≥' => ">=",
        '≠' => "!=",
        '≈' => "~",
        'µ' | 'μ' => "u",
        '½' => "1/2",
        '²' => "^2",
        '³' => "^3",
        '∞' => "infinity",
        'π' => "pi",
        'á' | 'à' | 'â' | 'ä' | 'å' | 'ã' => "a",
        'é' | 'è' | 'ê' | 'ë' => "e",
        'í' | 'ï' | 'î' => "i",
        'ó' | 'ö' | 'ô' | 'ø' => "o",
        'ú' | 'ü' | 'û' => "u",
        'ç' => "c",
        'ñ' => "n",
        'ß' => "ss",
        'æ' => "ae",
        'ﬁ' => "fi",
        _ => return None,
    })
}

/// Whether a paragraph reads as English: enough words, and mostly letters rather than paths, flags or numbers.
pub(super) fn is_prose(text: &str, least_words: usize) -> bool {
    let letters = text.chars().filter(|c| c.is_ascii_alphabetic() || *c == ' ').count();
    let words = text.split(' ').filter(|word| word.chars().any(|c| c.is_ascii_alphabetic())).count();
    let longest = text.split(' ').map(str::len).max().unwrap_or(0);
    words >= least_words && letters * 5 >= text.len() * 4 && longest <= 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typographers_signs_become_a_typists() {
        assert_eq!(ascii("It’s “so”\n  — 1 ≤ 2…").as_deref(), Some("It's \"so\" - 1 <= 2..."));
        assert_eq!(ascii("naïve\u{a0}café").as_deref(), Some("naive cafe"));
        assert_eq!(ascii("所有权 is ownership"), None);
        let long = "a sentence of plain words that goes on for quite a while ".repeat(2) + "🦀";
        assert_eq!(ascii(&long).as_deref(), Some(long.trim_end_matches('🦀').trim_end()));
    }

    #[test]
    fn prose_is_told_from_lists_of_code() {
        assert!(is_prose("This method takes `self` by value and drops it.", 4));
        assert!(!is_prose("0x00 0x01 0x02 0x03 0xFF a b c d", 4));
        assert!(!is_prose("See also", 4));
    }
}
