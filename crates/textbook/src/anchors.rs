//! Parts of a source file, between `ANCHOR: name` and `ANCHOR_END: name`.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;

static MARK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s*(?://|#|--|;|/\*|<!--)\s*ANCHOR(_END)?:\s*([\w-]+)").expect("a constant pattern")
});

/// The named parts of a file, or what is wrong with its marks.
pub(crate) type Parts = BTreeMap<String, Result<String, String>>;

/// Cuts a file into its named parts: dedented, marks of other parts left out.
pub(crate) fn parts(text: &str) -> Parts {
    let mut done: Parts = BTreeMap::new();
    let mut open: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let Some(mark) = MARK.captures(line) else {
            open.values_mut().for_each(|lines| lines.push(line));
            continue;
        };
        let name = mark[2].to_owned();
        if mark.get(1).is_none() {
            if open.contains_key(&name) || done.contains_key(&name) {
                done.insert(name, Err("this anchor stands twice in the file".to_owned()));
            } else {
                open.insert(name, Vec::new());
            }
        } else if let Some(lines) = open.remove(&name) {
            let part = dedent(&lines);
            let result = if part.trim().is_empty() { Err("this anchor is empty".to_owned()) } else { Ok(part) };
            done.entry(name).or_insert(result);
        } else {
            done.entry(name).or_insert_with(|| Err("this anchor ends before it begins".to_owned()));
        }
    }
    for name in open.into_keys() {
        done.insert(name, Err("this anchor is never closed".to_owned()));
    }
    done
}

/// A whole file without its marks.
pub(crate) fn whole(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !MARK.is_match(line)).collect();
    dedent(&lines)
}

/// First and last line of a part within [`whole`], counted from 1.
pub(crate) fn place(text: &str, name: &str) -> Option<(usize, usize)> {
    // `whole` drops marks, and blank lines at the beginning.
    let (mut number, mut begun, mut first) = (0, false, None);
    for line in text.lines() {
        if let Some(mark) = MARK.captures(line) {
            match (&mark[2] == name, mark.get(1).is_some()) {
                (true, false) => first = Some(number + 1),
                (true, true) => return first.filter(|first| *first <= number).map(|first| (first, number)),
                _ => {}
            }
            continue;
        }
        begun |= !line.trim().is_empty();
        number += usize::from(begun);
    }
    None
}

/// First and last line, within [`whole`], of the function that a line begins with `head`: up to the brace as deep as its head.
pub(crate) fn function(text: &str, head: &str) -> Option<(usize, usize)> {
    let whole = whole(text);
    let lines: Vec<&str> = whole.lines().collect();
    let first = lines.iter().position(|line| line.trim_start().starts_with(head))?;
    let line = lines[first];
    let close = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
    let last = lines[first..].iter().position(|line| *line == close).map_or(first, |more| first + more);
    Some((first + 1, last + 1))
}

fn dedent(lines: &[&str]) -> String {
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let common = lines.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    let cut: Vec<&str> = lines.iter().map(|line| line.get(common..).unwrap_or_default().trim_end()).collect();
    let text = cut.join("\n");
    format!("{}\n", text.trim_matches('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_dedented_and_free_of_marks() {
        let text = "fn a() {\n    // ANCHOR: outer\n    let x = 1;\n    // ANCHOR: inner\n    if x {\n        y();\n    }\n    // ANCHOR_END: inner\n    // ANCHOR_END: outer\n}\n";
        let parts = parts(text);
        assert_eq!(parts["outer"], Ok("let x = 1;\nif x {\n    y();\n}\n".into()));
        assert_eq!(parts["inner"], Ok("if x {\n    y();\n}\n".into()));
        assert!(!whole(text).contains("ANCHOR"));
    }

    #[test]
    fn a_part_and_a_function_are_found_in_the_whole_file() {
        let text = "\n// ANCHOR: a\n\nfn one() {}\n// ANCHOR_END: a\nimpl X {\n    // ANCHOR: b\n    async fn run() {\n        two();\n    }\n    // ANCHOR_END: b\n}\n";
        let whole = whole(text);
        let lines: Vec<&str> = whole.lines().collect();
        let of = |place: Option<(usize, usize)>| place.map(|(first, last)| lines[first - 1..last].join("|"));
        assert_eq!(of(place(text, "a")).as_deref(), Some("fn one() {}"));
        assert_eq!(of(place(text, "b")).as_deref(), Some("    async fn run() {|        two();|    }"));
        assert_eq!(of(function(text, "async fn run(")), of(place(text, "b")));
        assert_eq!((place(text, "c"), function(text, "fn gone(")), (None, None));
    }

    #[test]
    fn wrong_marks_are_named() {
        let wrong = |text: &str| parts(text)["a"].clone().expect_err("wrong");
        assert!(wrong("// ANCHOR: a\nx\n").contains("never closed"));
        assert!(wrong("// ANCHOR: a\nx\n// ANCHOR_END: a\n// ANCHOR: a\nx\n// ANCHOR_END: a\n").contains("twice"));
        assert!(wrong("// ANCHOR_END: a\n").contains("before it begins"));
        assert!(wrong("// ANCHOR: a\n// ANCHOR_END: a\n").contains("empty"));
    }
}
