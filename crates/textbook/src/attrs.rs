//! Attribute blocks in Quarto's and Pandoc's manner: `#id .class key="value"`.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;

/// What stands between the braces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attrs {
    pub(crate) id: Option<String>,
    pub(crate) classes: Vec<String>,
    pub(crate) pairs: BTreeMap<String, String>,
}

static PART: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^(?:#(?<id>[A-Za-z][\w-]*)|\.(?<class>[\w-]+)|(?<key>[\w-]+)=(?:"(?<quoted>[^"]*)"|(?<bare>[^\s"]+)))(?:\s+|$)"#)
        .expect("a constant pattern")
});

impl Attrs {
    /// Reads the text between braces.
    ///
    /// # Errors
    /// The part that is none of `#id`, `.class`, `key="value"`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut attrs = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let found = PART.captures(rest).ok_or_else(|| rest.to_owned())?;
            if let Some(id) = found.name("id") {
                attrs.id = Some(id.as_str().to_owned());
            } else if let Some(class) = found.name("class") {
                attrs.classes.push(class.as_str().to_owned());
            } else if let Some(key) = found.name("key") {
                let value = found.name("quoted").or_else(|| found.name("bare")).map_or("", |m| m.as_str());
                attrs.pairs.insert(key.as_str().to_owned(), value.to_owned());
            }
            rest = &rest[found.get(0).map_or(rest.len(), |all| all.end())..];
        }
        Ok(attrs)
    }

    pub(crate) fn has_class(&self, class: &str) -> bool {
        self.classes.iter().any(|c| c == class)
    }
}

#[cfg(test)]
mod tests {
    use super::Attrs;

    #[test]
    fn ids_classes_and_pairs() {
        let attrs = Attrs::parse(r#"#fig-x .wide fig-alt="Two words" n=3"#).expect("parses");
        assert_eq!(attrs.id.as_deref(), Some("fig-x"));
        assert!(attrs.has_class("wide"));
        assert_eq!(attrs.pairs["fig-alt"], "Two words");
        assert_eq!(attrs.pairs["n"], "3");
        assert_eq!(Attrs::parse("fig-alt=\"open"), Err("fig-alt=\"open".to_owned()));
    }
}
