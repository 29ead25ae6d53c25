//! Code coloured when the book is built: spans with classes of few meanings, which `site/styles/code.css` colours in both themes.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use syntect::parsing::{ParseState, Scope, ScopeStack, SyntaxSet};

use crate::html::escape;

/// The languages a fence may name, with syntect's name for each; WGSL has no grammar there and is read as Rust, whose shape it has.
const LANGUAGES: [(&str, Option<&str>); 22] = [
    ("rust", Some("Rust")),
    ("python", Some("Python")),
    ("toml", Some("TOML")),
    ("bash", Some("Bourne Again Shell (bash)")),
    ("sh", Some("Bourne Again Shell (bash)")),
    ("json", Some("JSON")),
    ("yaml", Some("YAML")),
    ("wgsl", Some("Rust")),
    ("c", Some("C")),
    ("cpp", Some("C++")),
    ("cuda", Some("C++")),
    ("javascript", Some("JavaScript")),
    ("html", Some("HTML")),
    ("css", Some("CSS")),
    ("markdown", Some("Markdown")),
    ("diff", Some("Diff")),
    ("text", None),
    ("console", None),
    ("bibtex", None),
    ("latex", None),
    ("", None),
    ("mermaid-source", None),
];

static SYNTAXES: LazyLock<SyntaxSet> = LazyLock::new(two_face::syntax::extra_newlines);

/// From scopes to classes, most telling first. A scope matches by its beginning.
static CLASSES: LazyLock<Vec<(Scope, &'static str)>> = LazyLock::new(|| {
    let table = [
        ("comment", "hl-comment"),
        ("string", "hl-string"),
        ("constant.numeric", "hl-number"),
        ("constant.character.escape", "hl-string"),
        ("constant", "hl-constant"),
        ("keyword.operator", ""),
        ("keyword", "hl-keyword"),
        ("storage", "hl-keyword"),
        ("entity.name.function", "hl-function"),
        ("entity.name.macro", "hl-function"),
        ("support.function", "hl-function"),
        ("support.macro", "hl-function"),
        ("variable.function", "hl-function"),
        ("entity.name.tag", "hl-keyword"),
        ("entity.other.attribute-name", "hl-attribute"),
        ("variable.annotation", "hl-attribute"),
        ("support.type.property-name", "hl-attribute"),
        ("meta.mapping.key", "hl-attribute"),
        ("entity.name", "hl-type"),
        ("support.type", "hl-type"),
        ("support.class", "hl-type"),
        ("variable.language", "hl-keyword"),
    ];
    table.into_iter().filter_map(|(scope, class)| Some((Scope::new(scope).ok()?, class))).collect()
});

/// HTML of lines, shared.
type Lines = Arc<Vec<String>>;

/// Code already coloured, by language and text, line by line.
#[derive(Debug, Default)]
pub(crate) struct Highlighter(Mutex<HashMap<(String, String), Lines>>);

/// Whether a fence may name this language.
pub(crate) fn is_language(name: &str) -> bool {
    LANGUAGES.iter().any(|(language, _)| *language == name)
}

/// The languages a fence may name.
pub(crate) fn languages() -> impl Iterator<Item = &'static str> {
    LANGUAGES.iter().map(|(name, _)| *name).filter(|name| !name.is_empty())
}

impl Highlighter {
    /// Colours many pieces of code at once, on all processors: it is what a first build spends its time on.
    pub(crate) fn warm(&self, pieces: &[(&str, &str)]) {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(pieces.len().div_ceil(4)).max(1);
        std::thread::scope(|scope| {
            for first in 0..threads {
                // One in `threads`, so that long chapters are shared out too.
                scope.spawn(move || {
                    for (language, code) in pieces.iter().skip(first).step_by(threads) {
                        self.lines(language, code);
                    }
                });
            }
        });
    }

    /// HTML of each line, without its line end; every line's spans are closed on it.
    pub(crate) fn lines(&self, language: &str, code: &str) -> Lines {
        let key = (language.to_owned(), code.to_owned());
        if let Ok(known) = self.0.lock()
            && let Some(lines) = known.get(&key)
        {
            return Arc::clone(lines);
        }
        let lines = Arc::new(colour(language, code));
        if let Ok(mut known) = self.0.lock() {
            known.insert(key, Arc::clone(&lines));
        }
        lines
    }
}

fn colour(language: &str, code: &str) -> Vec<String> {
    let syntax = LANGUAGES.iter().find(|(name, _)| *name == language).and_then(|(_, syntax)| *syntax);
    let Some(syntax) = syntax.and_then(|name| SYNTAXES.find_syntax_by_name(name)) else {
        return code.lines().map(escape).collect();
    };
    let mut state = ParseState::new(syntax);
    let mut stack = ScopeStack::new();
    let mut lines = Vec::new();
    for line in code.lines() {
        let text = format!("{line}\n");
        // A grammar that fails on a line leaves it plain; the words stay.
        let Ok(parsed) = state.parse_line(&text, &SYNTAXES) else {
            lines.push(escape(line));
            continue;
        };
        let mut html = String::with_capacity(line.len() * 2);
        let (mut open, mut at) = ("", 0);
        for (offset, operation) in &parsed {
            push(&mut html, &mut open, class(&stack), &line[at.min(line.len())..(*offset).min(line.len())]);
            at = *offset;
            if stack.apply(operation).is_err() {
                break;
            }
        }
        push(&mut html, &mut open, class(&stack), &line[at.min(line.len())..]);
        if !open.is_empty() {
            html.push_str("</span>");
        }
        lines.push(html);
    }
    lines
}

fn push(html: &mut String, open: &mut &'static str, class: &'static str, text: &str) {
    if text.is_empty() {
        return;
    }
    // White space has no colour: it goes with what stands before it.
    if *open != class && !text.trim().is_empty() {
        if !open.is_empty() {
            html.push_str("</span>");
        }
        if !class.is_empty() {
            html.push_str("<span class=\"");
            html.push_str(class);
            html.push_str("\">");
        }
        *open = class;
    }
    html.push_str(&escape(text));
}

fn class(stack: &ScopeStack) -> &'static str {
    for scope in stack.as_slice().iter().rev() {
        if let Some((_, class)) = CLASSES.iter().find(|(prefix, _)| prefix.is_prefix_of(*scope)) {
            return class;
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_is_coloured_and_keeps_its_words() {
        let lines = Highlighter::default().lines("rust", "// a < b\nfn f(x: u8) -> u8 {\n    x + 1\n}\n");
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0], "<span class=\"hl-comment\">// a &lt; b</span>");
        assert!(
            lines[1].contains("<span class=\"hl-keyword\">fn </span><span class=\"hl-function\">f</span>"),
            "{}",
            lines[1]
        );
        assert_eq!(crate::html::text_of(&lines[2]), "x + 1");
    }

    #[test]
    fn every_language_with_a_grammar_has_it() {
        for (name, syntax) in LANGUAGES {
            if let Some(syntax) = syntax {
                assert!(SYNTAXES.find_syntax_by_name(syntax).is_some(), "{name}: {syntax}");
            }
        }
    }
}
