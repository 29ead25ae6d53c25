//! A script that a browser cannot parse does nothing, on every page, and says so to nobody: what was built is read once.
//!
//! No whole grammar: what templates and names of chapters can break, which is strings, templates, escapes, comments, regular expressions and brackets.

use std::path::Path;

use anyhow::{Result, bail};

use crate::paths::files;

/// Reads every script below `out`.
///
/// # Errors
/// Those that do not parse, each with its line.
pub(crate) fn check(out: &Path) -> Result<()> {
    let mut broken = Vec::new();
    for file in files(out)? {
        if file.extension().is_some_and(|extension| extension == "js")
            && let Err((line, what)) = parse(&std::fs::read_to_string(&file)?)
        {
            broken.push(format!("{}:{line}: this script does not parse: {what}", file.strip_prefix(out)?.display()));
        }
    }
    if !broken.is_empty() {
        bail!(
            "{}\nA name of a chapter or a template may have put it there: see site/theme and book/src/SUMMARY.md.",
            broken.join("\n")
        );
    }
    Ok(())
}

/// Line, and what is wrong there.
type Fault = (usize, String);

struct Reader<'a> {
    chars: std::iter::Peekable<std::str::CharIndices<'a>>,
    text: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let (_, c) = self.chars.next()?;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, c)| *c)
    }

    fn fault<T>(&self, what: &str) -> Result<T, Fault> {
        Err((self.line, what.to_owned()))
    }

    fn hexadecimal(&mut self, count: usize) -> Result<(), Fault> {
        for _ in 0..count {
            if !self.next().is_some_and(|c| c.is_ascii_hexdigit()) {
                return self.fault("an escape of a character lacks its hexadecimal digits");
            }
        }
        Ok(())
    }

    /// What follows a backslash in a string.
    fn escape(&mut self) -> Result<(), Fault> {
        match self.next() {
            Some('x') => self.hexadecimal(2),
            Some('u') if self.peek() == Some('{') => {
                self.next();
                let mut digits = 0;
                while self.peek().is_some_and(|c| c.is_ascii_hexdigit()) {
                    self.next();
                    digits += 1;
                }
                if digits == 0 || self.next() != Some('}') {
                    return self.fault("an escape of a character lacks its hexadecimal digits");
                }
                Ok(())
            }
            Some('u') => self.hexadecimal(4),
            Some(_) => Ok(()),
            None => self.fault("the file ends within a string"),
        }
    }

    fn string(&mut self, quote: char) -> Result<(), Fault> {
        loop {
            match self.next() {
                Some('\\') => self.escape()?,
                Some('\n') | None => return self.fault("a string is not closed on its line"),
                Some(c) if c == quote => return Ok(()),
                Some(_) => {}
            }
        }
    }

    /// A template up to its end (`true`) or to `${`; a tagged one may hold any backslash.
    fn template(&mut self, tagged: bool) -> Result<bool, Fault> {
        loop {
            match self.next() {
                Some('\\') if tagged => {
                    self.next();
                }
                Some('\\') => self.escape()?,
                Some('`') => return Ok(true),
                Some('$') if self.peek() == Some('{') => {
                    self.next();
                    return Ok(false);
                }
                Some(_) => {}
                None => return self.fault("a template is not closed"),
            }
        }
    }

    fn expression(&mut self) -> Result<(), Fault> {
        let mut in_class = false;
        loop {
            match self.next() {
                Some('\\') => {
                    self.next();
                }
                Some('[') => in_class = true,
                Some(']') => in_class = false,
                Some('/') if !in_class => break,
                Some('\n') | None => return self.fault("a regular expression is not closed on its line"),
                Some(_) => {}
            }
        }
        while self.peek().is_some_and(char::is_alphanumeric) {
            self.next();
        }
        Ok(())
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// # Errors
/// The first place that no browser would read.
fn parse(text: &str) -> Result<(), Fault> {
    /// Keywords after which a slash begins a regular expression.
    const BEFORE: [&str; 12] =
        ["return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "else", "do", "instanceof"];
    let mut reader = Reader { chars: text.char_indices().peekable(), text, line: 1 };
    // Brackets that are open, with their lines; a template's `${` as `$` or, of a tagged one, `T`.
    let mut open: Vec<(char, usize)> = Vec::new();
    // Whether a slash here would divide.
    let mut value = false;
    let mut word = String::new();
    while let Some(c) = reader.next() {
        if is_name(c) {
            word.clear();
            word.push(c);
            while let Some(next) = reader.peek().filter(|next| is_name(*next)) {
                word.push(next);
                reader.next();
            }
            value = !BEFORE.contains(&word.as_str());
            continue;
        }
        match c {
            ' ' | '\t' | '\r' | '\n' | '\u{feff}' | '\u{a0}' => continue,
            '"' | '\'' => {
                reader.string(c)?;
                value = true;
            }
            '`' => {
                let tagged = value;
                if reader.template(tagged)? {
                    value = true;
                } else {
                    open.push((if tagged { 'T' } else { '$' }, reader.line));
                    value = false;
                }
            }
            '/' if reader.peek() == Some('/') => {
                while reader.peek().is_some_and(|c| c != '\n') {
                    reader.next();
                }
            }
            '/' if reader.peek() == Some('*') => {
                reader.next();
                let at = reader.chars.peek().map_or(text.len(), |(at, _)| *at);
                let Some(length) = reader.text[at..].find("*/") else {
                    return reader.fault("a comment is not closed");
                };
                while reader.chars.peek().is_some_and(|(now, _)| *now < at + length + 2) {
                    reader.next();
                }
            }
            '/' if !value => {
                reader.expression()?;
                value = true;
            }
            '(' | '[' | '{' => {
                open.push((c, reader.line));
                value = false;
            }
            ')' | ']' | '}' => {
                let wanted = match c {
                    ')' => "(",
                    ']' => "[",
                    _ => "{$T",
                };
                match open.pop() {
                    Some((bracket @ ('$' | 'T'), _)) if c == '}' => {
                        if reader.template(bracket == 'T')? {
                            value = true;
                        } else {
                            open.push((bracket, reader.line));
                            value = false;
                        }
                    }
                    // After a block a slash begins an expression, after an object it would divide: blocks are what scripts have.
                    Some((bracket, _)) if wanted.contains(bracket) => value = c != '}',
                    Some((bracket, line)) => {
                        return reader.fault(&format!("“{c}” closes the “{bracket}” of line {line}"));
                    }
                    None => return reader.fault(&format!("“{c}” closes nothing")),
                }
            }
            '\\' => return reader.fault("a backslash stands outside of strings"),
            _ => value = false,
        }
    }
    match open.pop() {
        None => Ok(()),
        Some((bracket, line)) => Err((line, format!("the “{bracket}” is never closed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_read_is_read() {
        for text in [
            "const a = 'x\\u00e9\\x41\\u{1f600}\\n\\\\';",
            "const a = String.raw`C:\\users\\x ${b + `in${'}'}side`} \\u`;",
            "x = a / b / c; y = /[/'\"]\\/`/gu.test(z) ? 1 : 2;",
            "return /'/.exec(x)",
            "/* ' */ // \"\nf(() => { if (a) { b[1] = {c: 'd'} } })",
            "const a = `line\n${x}\n`;",
        ] {
            assert_eq!(parse(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_names_of_chapters_can_break_is_told_with_its_line() {
        for text in [
            "\nnav.innerHTML = 'C:\\users';",
            "\nx = '\\xi';",
            "\nx = `\\unicode`;",
            "\nx = 'it's';",
            "\nx = \"a\nb\";",
            "\nf(a;",
            "\nx = `a ${b`;",
            "\nx = a \\ b;",
            "\n}",
            "\nx = /ab",
            "\n/* open",
        ] {
            let fault = parse(text).expect_err(text);
            assert!(fault.0 >= 2, "{text}: {fault:?}");
        }
    }

    /// The template of the contents, with a name of a chapter in it as mdBook puts it there.
    fn contents(name: &str) -> String {
        let mut script = include_str!("../../../site/theme/toc.js.hbs").replace("{{ name }}", name);
        while let Some((start, rest)) = script.split_once("{{").map(|(a, b)| (a.to_owned(), b.to_owned())) {
            script = start + rest.split_once("}}").map_or("", |(_, after)| after).trim_start_matches('}');
        }
        script
    }

    #[test]
    fn any_name_of_a_chapter_leaves_the_contents_a_script() {
        // Quotes and backticks come as entities of HTML.
        for name in [
            "C:\\users",
            "The \\xi rule",
            "\\u{",
            "\\x",
            "ends in \\",
            "it&#x27;s",
            "a &#x60;b&#x60;",
            "50 % of $5",
            "ξ\u{2028}",
            "// /* '",
            "\\\\",
        ] {
            assert_eq!(parse(&contents(name)), Ok(()), "{name}");
        }
        let quoted = contents("C:\\users").replace("String.raw`", "'").replace("</ol>`", "</ol>'");
        assert!(parse(&quoted).is_err(), "what was built before is seen");
    }

    #[test]
    fn a_broken_script_stops_the_build_by_name() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir(folder.path().join("site")).expect("made");
        std::fs::write(folder.path().join("site/toc-1.js"), "x = 'C:\\users';\n").expect("written");
        std::fs::write(folder.path().join("good.js"), "x = 1;\n").expect("written");
        let error = check(folder.path()).expect_err("broken").to_string().replace('\\', "/");
        assert!(error.starts_with("site/toc-1.js:1: this script does not parse"), "{error}");
    }
}
