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
    fn wrong_marks_are_named() {
        let wrong = |text: &str| parts(text)["a"].clone().expect_err("wrong");
        assert!(wrong("// ANCHOR: a\nx\n").contains("never closed"));
        assert!(wrong("// ANCHOR: a\nx\n// ANCHOR_END: a\n// ANCHOR: a\nx\n// ANCHOR_END: a\n").contains("twice"));
        assert!(wrong("// ANCHOR_END: a\n").contains("before it begins"));
        assert!(wrong("// ANCHOR: a\n// ANCHOR_END: a\n").contains("empty"));
    }
}
