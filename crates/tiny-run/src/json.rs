//! As much of JSON (RFC 8259) as the files need, read strictly: nothing is repaired, and no key may stand twice.

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number. Whole ones are exact up to 2^53.
    Number(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object, in the file's order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text that is one value and nothing else.
    ///
    /// # Errors
    /// What is wrong, and at which byte.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at < text.len() { Err(reader.wrong("something follows the end")) } else { Ok(value) }
    }

    /// What an object holds under this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(pairs) = self else { return None };
        pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// A string.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A list.
    #[must_use]
    pub fn list(&self) -> Option<&[Self]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// A number.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// A whole number, 0 or above.
    #[must_use]
    pub fn whole(&self) -> Option<usize> {
        self.number().filter(|n| n.fract() == 0.0 && (0.0..9e15).contains(n)).map(|n| n as usize)
    }
}

/// Objects and lists within each other: the files have three.
const DEEPEST: usize = 8;

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, why: &str) -> String {
        format!("it is no JSON at byte {}: {why}", self.at)
    }

    fn rest(&self) -> &[u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
    }

    /// Takes a word if it comes next.
    fn take(&mut self, word: &str) -> bool {
        let there = self.rest().starts_with(word.as_bytes());
        self.at += if there { word.len() } else { 0 };
        there
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > DEEPEST {
            return Err(self.wrong("it is nested too deep"));
        }
        self.space();
        match self.rest().first().copied() {
            None => Err(self.wrong("it ends too soon")),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'{') => {
                let mut pairs: Vec<(String, Json)> = Vec::new();
                self.items('}', |reader| {
                    let key = reader.string()?;
                    if pairs.iter().any(|(other, _)| *other == key) {
                        return Err(reader.wrong(&format!("the key “{key}” stands twice")));
                    }
                    reader.space();
                    if !reader.take(":") {
                        return Err(reader.wrong("a colon is missing"));
                    }
                    pairs.push((key, reader.value(depth + 1)?));
                    Ok(())
                })?;
                Ok(Json::Object(pairs))
            }
            Some(b'[') => {
                let mut list = Vec::new();
                self.items(']', |reader| {
                    list.push(reader.value(depth + 1)?);
                    Ok(())
                })?;
                Ok(Json::List(list))
            }
            Some(b'-' | b'0'..=b'9') => self.digits(),
            Some(_) if self.take("true") => Ok(Json::Bool(true)),
            Some(_) if self.take("false") => Ok(Json::Bool(false)),
            Some(_) if self.take("null") => Ok(Json::Null),
            Some(_) => Err(self.wrong("no value begins so")),
        }
    }

    /// What stands between brackets with commas between.
    fn items(&mut self, end: char, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        self.at += 1;
        self.space();
        let end = end.to_string();
        if self.take(&end) {
            return Ok(());
        }
        loop {
            self.space();
            item(self)?;
            self.space();
            if self.take(&end) {
                return Ok(());
            }
            if !self.take(",") {
                return Err(self.wrong(&format!("a comma or “{end}” is missing")));
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        if !self.take("\"") {
            return Err(self.wrong("a string is missing"));
        }
        let mut out = String::new();
        loop {
            let Some(letter) = self.text[self.at..].chars().next() else {
                return Err(self.wrong("a string has no end"));
            };
            self.at += letter.len_utf8();
            match letter {
                '"' => return Ok(out),
                '\\' => out.push(self.escaped()?),
                '\0'..='\x1f' => return Err(self.wrong("a control character stands in a string")),
                _ => out.push(letter),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        let letter = self.rest().first().copied().unwrap_or_default();
        self.at += usize::from(letter.is_ascii());
        match letter {
            b'"' | b'\\' | b'/' => Ok(char::from(letter)),
            b'n' => Ok('\n'),
            b't' => Ok('\t'),
            b'r' => Ok('\r'),
            b'b' => Ok('\x08'),
            b'f' => Ok('\x0c'),
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4).unwrap_or_default();
                let code = u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'));
                let Some(letter) = code.and_then(char::from_u32) else {
                    return Err(self.wrong("half of a character pair, or no four digits, stands after \\u"));
                };
                self.at += 4;
                Ok(letter)
            }
            _ => Err(self.wrong("no such escape")),
        }
    }

    fn digits(&mut self) -> Result<Json, String> {
        let rest = self.rest();
        let length = rest.iter().take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
        let word = &self.text[self.at..self.at + length];
        let bare = word.trim_start_matches('-');
        let whole = bare.split(['.', 'e', 'E']).next().unwrap_or_default();
        // Rust reads a little more than JSON allows: “01”, “1.”, “.5”.
        let strict = !whole.is_empty() && (whole == "0" || !whole.starts_with('0')) && !bare.contains(".e");
        match word.parse::<f64>() {
            Ok(number) if strict && number.is_finite() && !word.ends_with('.') && !bare.contains(".E") => {
                self.at += length;
                Ok(Json::Number(number))
            }
            _ => Err(self.wrong("that is no number")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_kinds_are_read() {
        let value = Json::parse("\n{\"a\": [1, -2.5e1, 0], \"b\":{\"c\":null,\"d\":true},\"e\\u0041\\n\":\"é“\"} ")
            .expect("JSON");
        let list = value.get("a").and_then(Json::list).expect("a list");
        assert_eq!(list.iter().map(Json::number).collect::<Vec<_>>(), [Some(1.0), Some(-25.0), Some(0.0)]);
        assert_eq!((list[0].whole(), list[1].whole()), (Some(1), None));
        assert_eq!(value.get("b").and_then(|b| b.get("d")), Some(&Json::Bool(true)));
        assert_eq!(value.get("eA\n").and_then(Json::text), Some("é“"));
        assert_eq!(Json::parse("[]").expect("a list").list().map(<[Json]>::len), Some(0));
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "[1 2]",
            "01",
            "1.",
            ".5",
            "-",
            "+1",
            "1e",
            "1.e3",
            "NaN",
            "tru",
            "\"a",
            "\"\\q\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\u+123\"",
            "\"\n\"",
            "[] []",
            "{\"a\":1,\"a\":2}",
            "1e999",
            "[[[[[[[[[[",
            "\"\\é\"",
            "\"\\",
        ] {
            let why = Json::parse(bad).expect_err(bad);
            assert!(why.contains("it is no JSON at byte"), "{bad}: {why}");
        }
    }
}
