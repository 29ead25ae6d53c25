//! HTML as mdBook's Markdown renderer lets it pass: blocks on one line, inline text without Markdown in it.

use std::fmt::Write as _;

pub(crate) use lab_charts::escape;

/// Code as the content of `<pre>`: a blank line would end the HTML block in Markdown, so line ends become entities.
pub(crate) fn pre_lines(html: &str) -> String {
    html.replace('\n', "&#10;")
}

/// A block on one line: Markdown ends an HTML block at a blank line.
pub(crate) fn one_line(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    for line in html.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(line);
    }
    out
}

/// Inline HTML whose text Markdown must not read: every character with a meaning there becomes an entity. In attributes only `|`, which
/// would split a table's cell.
pub(crate) fn inline_safe(html: &str) -> String {
    let mut out = String::with_capacity(html.len() * 2);
    let mut in_tag = false;
    for c in html.chars() {
        match c {
            '<' => {
                in_tag = true;
                out.push(c);
            }
            '>' => {
                in_tag = false;
                out.push(c);
            }
            '\n' => out.push(' '),
            '|' => out.push_str("&#124;"),
            // The number of a character, as `escape` writes some.
            '#' if out.ends_with('&') => out.push(c),
            '*' | '_' | '[' | ']' | '\\' | '`' | '~' | '!' | '(' | ')' | '"' | '\'' | '.' | '-' | '+' | '#' | ':'
            | '{' | '}' | '$' | '@' | '=' | '^'
                if !in_tag =>
            {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

/// The words of some HTML, for titles and labels.
pub(crate) fn text_of(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let tag = &rest[at..];
        let end = tag.find('>').map_or(tag.len(), |end| end + 1);
        // A formula speaks its TeX source; its elements' text would run together.
        if tag.starts_with("<math") {
            if let Some(alt) = attribute(&tag[..end], "alttext") {
                out.push_str(alt);
            }
            rest = tag.find("</math>").map_or("", |close| &tag[close + 7..]);
        } else {
            rest = &tag[end..];
        }
    }
    out.push_str(rest);
    let decoded = decode(&out);
    decoded.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let start = tag.find(&format!("{name}=\""))? + name.len() + 2;
    let end = tag[start..].find('"')?;
    Some(&tag[start..start + end])
}

fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let entity = &rest[at..];
        let known = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&#10;", ' ')];
        if let Some((name, c)) = known.into_iter().find(|(name, _)| entity.starts_with(name)) {
            out.push(c);
            rest = &entity[name.len()..];
        } else if let Some((number, tail)) = entity.strip_prefix("&#").and_then(|tail| tail.split_once(';'))
            && let Some(c) = number.parse().ok().and_then(char::from_u32)
        {
            out.push(c);
            rest = tail;
        } else {
            out.push('&');
            rest = &entity[1..];
        }
    }
    out.push_str(rest);
    out
}

/// The id mdBook would give a heading of these words.
pub(crate) fn slug(words: &str) -> String {
    let mut out = String::new();
    for c in words.trim().chars() {
        if c.is_alphanumeric() || c == '_' || c == '-' {
            out.extend(c.to_lowercase());
        } else if c.is_whitespace() {
            out.push('-');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_text_holds_no_markdown() {
        assert_eq!(inline_safe("<i a=\"*\">x*_\n</i>"), "<i a=\"*\">x&#42;&#95; </i>");
        assert_eq!(inline_safe(&escape("O'Brien & #1")), "O&#39;Brien &amp; &#35;1");
    }

    #[test]
    fn words_of_html() {
        assert_eq!(text_of("<p>A &lt; B <math alttext=\"x &amp; y\"><mi>x</mi></math>.</p>"), "A < B x & y.");
    }

    #[test]
    fn blocks_stand_on_one_line() {
        assert_eq!(one_line("<div>\n\n <p>a\n</div>\n"), "<div>  <p>a </div>");
    }
}
