//! Words used in a fixed sense: the first use of each in a chapter links to its meaning.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

/// One term of `glossary.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Term {
    /// How it stands in the list; the first form where it is not given.
    pub(crate) title: Option<String>,
    pub(crate) forms: Vec<String>,
    pub(crate) definition: String,
}

/// All terms, and the pattern that finds them.
#[derive(Debug, Default)]
pub(crate) struct Glossary {
    pub(crate) terms: BTreeMap<String, Term>,
    keys: BTreeMap<String, String>,
    pattern: Option<Regex>,
}

impl Glossary {
    /// Reads what stands in the file; nothing is a glossary without terms.
    ///
    /// # Errors
    /// `(line, message)` where it does not parse, or where a form belongs to two terms.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let line = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
        let terms: BTreeMap<String, Term> = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(1, |span| line(span.start));
            (at, format!("the glossary does not parse ({})", error.message().lines().next().unwrap_or_default()))
        })?;
        let mut keys: BTreeMap<String, String> = BTreeMap::new();
        for (key, term) in &terms {
            let at = line(text.find(&format!("[{key}]")).unwrap_or(0));
            if term.forms.is_empty() || term.definition.trim().is_empty() {
                return Err((at, format!("the term “{key}” needs forms and a definition")));
            }
            for form in &term.forms {
                if let Some(other) = keys.insert(form.to_lowercase(), key.clone()) {
                    return Err((at, format!("“{form}” belongs to “{other}” and to “{key}”")));
                }
            }
        }
        let mut forms: Vec<String> = keys.keys().map(|form| regex::escape(form)).collect();
        // The longest form wins: “per-channel scale” before “scale”.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        let pattern = (!forms.is_empty())
            .then(|| RegexBuilder::new(&format!(r"\b(?:{})\b", forms.join("|"))).case_insensitive(true).build())
            .transpose()
            .map_err(|error| (1, error.to_string()))?;
        Ok(Self { terms, keys, pattern })
    }

    /// Places of terms in a text: start, end, key.
    pub(crate) fn find(&self, text: &str) -> Vec<(usize, usize, &str)> {
        let Some(pattern) = &self.pattern else { return Vec::new() };
        pattern
            .find_iter(text)
            // A part of a compound (“group-scale”, “scale_x”) is another word.
            .filter(|m| !text[..m.start()].ends_with('-') && !text[m.end()..].starts_with('-'))
            .filter_map(|m| Some((m.start(), m.end(), self.keys.get(&m.as_str().to_lowercase())?.as_str())))
            .collect()
    }

    /// How a term stands in the list.
    pub(crate) fn title(&self, key: &str) -> String {
        self.terms.get(key).map_or_else(String::new, |term| {
            term.title.clone().or_else(|| term.forms.first().cloned()).unwrap_or_else(|| key.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_form_wins_and_parts_of_words_do_not_count() {
        let glossary = Glossary::parse("[scale]\nforms=[\"scale\",\"scales\"]\ndefinition=\"d\"\n[pcs]\nforms=[\"per-channel scale\"]\ndefinition=\"e\"\n").expect("parses");
        let found: Vec<_> =
            glossary.find("A per-channel scale, Scales; rescale, scale-up.").into_iter().map(|f| f.2).collect();
        assert_eq!(found, ["pcs", "scale"]);
        assert_eq!(glossary.title("scale"), "scale");
    }

    #[test]
    fn wrong_files_are_named_with_their_line() {
        assert_eq!(
            Glossary::parse("[a]\nforms=[\"x\"]\ndefinition=\"d\"\n[b]\nforms=[\"X\"]\ndefinition=\"d\"\n")
                .err()
                .map(|e| e.0),
            Some(4)
        );
        assert!(Glossary::parse("[a]\nforms=[]\ndefinition=\"d\"\n").is_err());
        assert!(Glossary::parse("[a]\nform=[]\n").is_err());
    }
}
