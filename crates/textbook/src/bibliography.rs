//! Citations: keys, short forms in the text, and the list of what is cited. Formatting is hayagriva's.

use std::{collections::BTreeMap, fmt::Write as _, sync::Mutex};

use hayagriva::{
    BibliographyDriver, BibliographyRequest, BufWriteFormat, CitationItem, CitationRequest, Entry, Library,
    archive::{ArchivedStyle, locales},
    citationberg::{IndependentStyle, Style},
};

use crate::problem::near;

/// Used where book.toml names no `citation-style`: author and year say more in a text than a number. (Chicago and Turabian come out with
/// “Special issue” before the proceedings of a conference.)
pub(crate) const DEFAULT_STYLE: &str = "harvard-cite-them-right";

/// One work as the book shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Work {
    /// `Jacob et al., 2018`.
    pub(crate) short: String,
    /// The full reference as HTML, links included.
    pub(crate) full: String,
    /// Where it stands in the list.
    pub(crate) position: usize,
}

/// The style and the keys that were asked for, and their works.
type Formatted = (String, Vec<String>, BTreeMap<String, Work>);

/// The data file, read.
#[derive(Debug, Default)]
pub(crate) struct Bibliography {
    library: Library,
    /// Works of `library` as last formatted.
    formatted: Mutex<Option<Formatted>>,
}

impl Bibliography {
    /// Reads BibLaTeX.
    ///
    /// # Errors
    /// One `(line, message)` for each mistake.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<(usize, String)>> {
        let line = |at: usize| 1 + text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count();
        let library = hayagriva::io::from_biblatex_str(text).map_err(|errors| {
            errors
                .into_iter()
                .map(|error| match error {
                    hayagriva::io::BibLaTeXError::Parse(e) => (line(e.span.start), e.to_string()),
                    hayagriva::io::BibLaTeXError::Type(e) => (line(e.span.start), e.to_string()),
                })
                .collect::<Vec<_>>()
        })?;
        Ok(Self { library, formatted: Mutex::default() })
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.library.get(key).is_some()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.library.keys()
    }

    /// Formats the works of these keys (unknown ones are left out); the years of works that would look alike get letters.
    pub(crate) fn works(&self, keys: &[String], style: &str) -> Result<BTreeMap<String, Work>, String> {
        if let Ok(known) = self.formatted.lock()
            && let Some((in_style, of, works)) = &*known
            && in_style == style
            && of == keys
        {
            return Ok(works.clone());
        }
        let works = self.format(keys, style)?;
        if let Ok(mut known) = self.formatted.lock() {
            *known = Some((style.to_owned(), keys.to_vec(), works.clone()));
        }
        Ok(works)
    }

    fn format(&self, keys: &[String], style: &str) -> Result<BTreeMap<String, Work>, String> {
        let style = style_of(style)?;
        let locales = locales();
        let entries: Vec<&Entry> = keys.iter().filter_map(|key| self.library.get(key)).collect();
        let mut driver = BibliographyDriver::new();
        for entry in &entries {
            driver.citation(CitationRequest::from_items(vec![CitationItem::with_entry(*entry)], &style, &locales));
        }
        let rendered = driver.finish(BibliographyRequest { style: &style, locale: None, locale_files: &locales });
        let mut works = BTreeMap::new();
        for (entry, citation) in entries.iter().zip(&rendered.citations) {
            let short = plain(&citation.citation);
            let short = short.trim_start_matches(['(', '[']).trim_end_matches([')', ']']).to_owned();
            works.insert(entry.key().to_owned(), Work { short, full: String::new(), position: usize::MAX });
        }
        for (position, item) in rendered.bibliography.iter().flat_map(|b| &b.items).enumerate() {
            if let Some(work) = works.get_mut(&item.key) {
                let mut full = String::new();
                let written = item.content.write_buf(&mut full, BufWriteFormat::Html);
                work.full = written.map(|()| full).map_err(|error| error.to_string())?;
                work.position = position;
                add_arxiv(work, self.library.get(&item.key));
            }
        }
        Ok(works)
    }
}

/// Where a work has no address of its own, none is printed; a reader wants the free text, so it follows the reference.
fn add_arxiv(work: &mut Work, entry: Option<&Entry>) {
    let Some(id) = entry.and_then(Entry::arxiv) else { return };
    let id = id.trim_start_matches("arXiv:");
    if !work.full.contains(id) {
        let _ = write!(work.full, " <a href=\"https://arxiv.org/abs/{id}\">arXiv:{id}</a>.");
    }
}

fn plain(children: &hayagriva::ElemChildren) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = children.write_buf(&mut out, BufWriteFormat::Plain);
    out
}

/// The nearest name of a citation style.
pub(crate) fn nearest_style(name: &str) -> Option<String> {
    near(name, ArchivedStyle::all().iter().flat_map(|style| style.names()).copied())
}

fn style_of(name: &str) -> Result<IndependentStyle, String> {
    let found = ArchivedStyle::by_name(name).map(ArchivedStyle::get);
    match found {
        Some(Style::Independent(style)) => Ok(style),
        _ => Err(format!("there is no citation style “{name}”")),
    }
}

/// One citation in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cited {
    /// Words before, such as `see`.
    pub(crate) before: String,
    pub(crate) key: String,
    /// Words after the comma, such as `p. 3`.
    pub(crate) locator: String,
}

/// Reads `@a, p. 3; see @b`, the inside of the brackets. `None` where a part names no key.
pub(crate) fn citations(inside: &str) -> Option<Vec<Cited>> {
    inside
        .split(';')
        .map(|part| {
            let (before, rest) = part.split_once('@')?;
            let (key, locator) = rest.split_once(',').unwrap_or((rest, ""));
            let key = key.trim().to_owned();
            let trimmed = |text: &str| text.trim().to_owned();
            (!key.is_empty()).then(|| Cited { before: trimmed(before), key, locator: trimmed(locator) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIB: &str = "@inproceedings{jacob2018,\n title={Quantization and Training},\n author={Jacob, Benoit and Kligys, Skirmantas and Chen, Bo and Zhu, Menglong},\n booktitle={CVPR},\n year={2018}, eprint={1712.05877}, eprinttype={arxiv}\n}\n@article{a2020, title={One}, author={Doe, Jane}, journaltitle={J}, date={2020}}\n@article{b2020, title={Two}, author={Doe, Jane}, journaltitle={J}, date={2020}}\n";

    #[test]
    fn works_have_a_short_and_a_full_form() {
        let bibliography = Bibliography::parse(BIB).expect("parses");
        let keys = ["jacob2018", "a2020", "b2020"].map(str::to_owned);
        let works = bibliography.works(&keys, DEFAULT_STYLE).expect("formats");
        assert_eq!(works["jacob2018"].short, "Jacob et al., 2018");
        assert_eq!(works["a2020"].short, "Doe, 2020a");
        assert_eq!(works["b2020"].short, "Doe, 2020b");
        assert!(works["jacob2018"].full.contains("https://arxiv.org/abs/1712.05877"), "{}", works["jacob2018"].full);
        assert!(works["a2020"].full.contains("One"));
    }

    #[test]
    fn another_style_is_another_form_at_once() {
        let bibliography = Bibliography::parse(BIB).expect("parses");
        let keys = ["jacob2018".to_owned()];
        let full = |style: &str| bibliography.works(&keys, style).map(|works| works["jacob2018"].full.clone());
        let harvard = full(DEFAULT_STYLE).expect("formats");
        assert_ne!(full("ieee").expect("formats"), harvard);
        assert_eq!(full(DEFAULT_STYLE).expect("formats"), harvard);
        assert!(full("harvard-cite-them-rigth").is_err());
        assert_eq!(nearest_style("harvard-cite-them-rigth").as_deref(), Some(DEFAULT_STYLE));
    }

    #[test]
    fn a_broken_file_is_named_with_its_line() {
        let errors = Bibliography::parse("\n@article{x, title={A\n").expect_err("broken");
        assert!(errors[0].0 >= 2, "{errors:?}");
        assert!(style_of("nosuch").is_err());
    }

    #[test]
    fn brackets_are_read() {
        let all = citations("see @a, sec. 2; @b").expect("keys");
        assert_eq!(all[0], Cited { before: "see".into(), key: "a".into(), locator: "sec. 2".into() });
        assert_eq!(all[1].key, "b");
        assert_eq!(citations("@a; b"), None);
    }
}
