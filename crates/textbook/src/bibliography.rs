//! Citations: keys, short forms in the text, and the list of what is cited. Formatting is hayagriva's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Mutex,
};

use hayagriva::{
    BibliographyDriver, BibliographyRequest, BufWriteFormat, CitationItem, CitationRequest, CitePurpose, Entry,
    Library,
    archive::{ArchivedStyle, locales},
    citationberg::{IndependentStyle, Style},
};

use crate::{bibtex, problem::near};

/// Used where book.toml names no `citation-style`: author and year say more in a text than a number. (Chicago and Turabian come out with
/// “Special issue” before the proceedings of a conference.)
pub(crate) const DEFAULT_STYLE: &str = "harvard-cite-them-right";

/// One work as the book shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Work {
    /// `Jacob et al., 2018`.
    pub(crate) short: String,
    /// `Jacob et al.`, where the style names authors.
    pub(crate) names: String,
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
    /// Keys of entries that cannot be read: what is wrong with them is told once, not at every citation.
    broken: BTreeSet<String>,
    /// Whether every entry could be told from the next one.
    pub(crate) is_whole: bool,
    /// HTML that stands for the marks in titles.
    marks: bibtex::Marks,
    /// Keys of what is no preprint.
    published: BTreeSet<String>,
    /// What is wrong with the file.
    pub(crate) mistakes: Vec<bibtex::Mistake>,
    /// Works of `library` as last formatted.
    formatted: Mutex<Option<Formatted>>,
}

impl Bibliography {
    /// Reads BibLaTeX. What cannot be read is left out and told, the rest stays usable.
    pub(crate) fn parse(text: &str) -> Self {
        let read = bibtex::read(text);
        Self {
            library: read.entries.into_iter().collect(),
            broken: read.broken,
            is_whole: read.is_whole,
            marks: read.marks,
            published: read.published,
            mistakes: read.mistakes,
            formatted: Mutex::default(),
        }
    }

    /// Whether the file has such an entry, readable or not.
    pub(crate) fn names(&self, key: &str) -> bool {
        self.has(key) || self.broken.contains(key)
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
        let mut by_name = BibliographyDriver::new();
        for entry in &entries {
            let item = CitationItem::with_entry(*entry).kind(CitePurpose::Author);
            by_name.citation(CitationRequest::from_items(vec![item], &style, &locales));
        }
        let named = by_name.finish(BibliographyRequest { style: &style, locale: None, locale_files: &locales });
        let bare = |children: &hayagriva::ElemChildren| {
            let text = self.marks.plain(&plain(children));
            text.trim_start_matches(['(', '[']).trim_end_matches([')', ']']).to_owned()
        };
        for ((entry, citation), named) in entries.iter().zip(&rendered.citations).zip(&named.citations) {
            // Of a work without authors the style has the title in marks, and the comma within them.
            let short = bare(&citation.citation);
            let short =
                short.rsplit_once(",” ").map_or_else(|| short.clone(), |(title, year)| format!("{title}”, {year}"));
            let names = bare(&named.citation);
            works.insert(entry.key().to_owned(), Work { short, names, full: String::new(), position: usize::MAX });
        }
        for (position, item) in rendered.bibliography.iter().flat_map(|b| &b.items).enumerate() {
            if let Some(work) = works.get_mut(&item.key) {
                let mut full = String::new();
                let written = item.content.write_buf(&mut full, BufWriteFormat::Html);
                let full = written.map(|()| full).map_err(|error| error.to_string())?;
                work.full = self.marks.html(&full);
                // The style calls an article without volume, issue and pages a preprint; one that is on no server is none.
                if self.published.contains(&item.key) {
                    work.full = work.full.replace(" [Preprint]", "");
                }
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
    let id = bibtex::arxiv_id(id);
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

impl Work {
    /// Names and year as the style writes them: `2018a`, `no date`; `None` where it names no authors before the year.
    fn parts(&self) -> Option<(&str, &str)> {
        // Alone, the names of two works may be told apart by more of them than with their years.
        if let Some((names, year)) = self.short.rsplit_once(", ")
            && (year.starts_with(|c: char| c.is_ascii_digit()) || year.contains("date") || year.starts_with("n.d"))
        {
            return Some((names, year));
        }
        let year = self.short.strip_prefix(&self.names)?.trim_start_matches([',', ' ']);
        (!self.names.is_empty() && !year.is_empty()).then_some((&self.names, year))
    }

    /// The year alone.
    pub(crate) fn year(&self) -> Option<&str> {
        self.parts().map(|(_, year)| year)
    }

    /// As part of a sentence: `Jacob et al. (2018)`.
    pub(crate) fn in_prose(&self) -> String {
        self.parts().map_or_else(|| self.short.clone(), |(names, year)| format!("{names} ({year})"))
    }
}

/// One citation in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cited {
    /// Words before, such as `see`.
    pub(crate) before: String,
    /// `-@key`: the authors stand in the sentence already.
    pub(crate) year_only: bool,
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
            let (before, year_only) = match before.trim_end().strip_suffix('-') {
                Some(rest) if rest.is_empty() || rest.ends_with(' ') => (rest, true),
                _ => (before, false),
            };
            (!key.is_empty()).then(|| Cited { before: trimmed(before), year_only, key, locator: trimmed(locator) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIB: &str = "@inproceedings{jacob2018,\n title={Quantization and Training},\n author={Jacob, Benoit and Kligys, Skirmantas and Chen, Bo and Zhu, Menglong},\n booktitle={CVPR},\n year={2018}, eprint={1712.05877}, eprinttype={arxiv}\n}\n@article{a2020, title={One}, author={Doe, Jane}, journaltitle={J}, date={2020}}\n@article{b2020, title={Two}, author={Doe, Jane}, journaltitle={J}, date={2020}}\n";

    #[test]
    fn works_have_a_short_and_a_full_form() {
        let bibliography = Bibliography::parse(BIB);
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
        let bibliography = Bibliography::parse(BIB);
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
        let read = Bibliography::parse("\n@article{x, title={A\n");
        assert!(read.mistakes[0].line >= 2 && !read.is_whole && read.names("x"), "{:?}", read.mistakes);
        assert!(style_of("nosuch").is_err());
    }

    #[test]
    fn brackets_are_read() {
        let all = citations("see @a, sec. 2; @b").expect("keys");
        assert_eq!(all[0], Cited { before: "see".into(), year_only: false, key: "a".into(), locator: "sec. 2".into() });
        assert_eq!(all[1].key, "b");
        assert_eq!(citations("@a; b"), None);
        let year = &citations("see -@a, p. 3").expect("a key")[0];
        assert!(year.year_only && year.before == "see" && year.locator == "p. 3", "{year:?}");
        assert!(!citations("non-@a").expect("a key")[0].year_only);
    }

    fn works(text: &str) -> BTreeMap<String, Work> {
        let bibliography = Bibliography::parse(text);
        assert!(bibliography.mistakes.is_empty(), "{:?}", bibliography.mistakes);
        let keys: Vec<String> = bibliography.keys().map(str::to_owned).collect();
        bibliography.works(&keys, DEFAULT_STYLE).expect("formats")
    }

    #[test]
    fn a_work_stands_in_a_sentence_with_its_year_or_without_a_date() {
        let all = works(&format!(
            "{BIB}@online{{ggml, author = {{{{ggml authors}}}}, title = {{Quantize}}, url = {{https://example.org/q}}, urldate = {{2026-01-05}}}}
             @online{{nobody, title = {{A page}}, url = {{https://example.org}}, year = {{2024}}}}
             @misc{{old, author = {{Gauss, C. F.}}, title = {{T}}, year = {{1809}}}}
             @misc{{n1, author = {{Nagel, M. and Fournarakis, M. and Amjad, R. and Bondarenko, Y.}}, title = {{A}}, year = {{2021}}}}
             @misc{{n2, author = {{Nagel, M. and Fournarakis, M. and Bondarenko, Y. and Blankevoort, T.}}, title = {{B}}, year = {{2022}}}}
             @book{{dated, author = {{Knuth, Donald}}, title = {{T}}, date = {{1997-05-01}}, publisher = {{P}}}}
             @misc{{maaten, author = {{van der Maaten, Laurens and Hinton, Geoffrey}}, title = {{T}}, year = {{2008}}}}"
        ));
        assert!(all["maaten"].in_prose().starts_with("van der Maaten"), "{}", all["maaten"].in_prose());
        assert_eq!(all["ggml"].in_prose(), "ggml authors (no date)");
        assert_eq!(all["jacob2018"].in_prose(), "Jacob et al. (2018)");
        assert_eq!(all["a2020"].in_prose(), "Doe (2020a)");
        assert_eq!((all["b2020"].year(), all["old"].year()), (Some("2020b"), Some("1809")));
        assert_eq!(all["dated"].in_prose(), "Knuth (1997)");
        assert_eq!(
            (all["n1"].in_prose(), all["n2"].in_prose()),
            ("Nagel et al. (2021)".into(), "Nagel et al. (2022)".into())
        );
        assert!(all["nobody"].in_prose().contains("2024"), "{}", all["nobody"].in_prose());
    }

    #[test]
    fn others_are_et_al_and_bodies_are_names() {
        let all = works(
            "@misc{two, author = {OpenAI and {Gemini Team, Google} and others}, title = {Report}, year = {2024}}
             @misc{one, author = {Doe, Jane and others}, title = {R}, year = {2024}}
             @misc{many, author = {A, B and C, D and E, F and G, H and others}, title = {R}, year = {2024}}
             @techreport{corp, author = {{NVIDIA Corporation}}, title = {A {GPU} \\& Its Memory}, year = {2024}, institution = {NVIDIA}}
             @phdthesis{thesis, author = {Doe, Jane}, title = {On Rounding}, year = {2018}, school = {ETH}}
             @manual{manual, author = {Doe, Jane}, title = {How To}, year = {2018}, organization = {FSF}}",
        );
        assert_eq!(all["two"].in_prose(), "OpenAI, Gemini Team, Google et al. (2024)");
        assert!(all["two"].full.starts_with("OpenAI, Gemini Team, Google et al. (2024)"), "{}", all["two"].full);
        assert_eq!(all["one"].in_prose(), "Doe et al. (2024)");
        assert_eq!(all["many"].in_prose(), "A et al. (2024)");
        assert!(!all["many"].full.contains("others"), "{}", all["many"].full);
        let corp = &all["corp"].full;
        assert!(corp.starts_with("NVIDIA Corporation (2024)") && corp.contains("GPU & Its Memory"), "{corp}");
        assert!(corp.trim_end_matches('.').ends_with("NVIDIA"), "{corp}");
        assert!(all["thesis"].full.contains("ETH"), "{}", all["thesis"].full);
        assert!(all["manual"].full.contains("FSF"), "{}", all["manual"].full);
    }

    #[test]
    fn tex_in_a_title_is_set_and_an_article_on_no_server_is_no_preprint() {
        let all = works(
            "@article{erdos1959, author = {Erd{\\H{o}}s, P.}, title = {On $O(n \\log n)$ {\\emph{things}} and H$_2$O}, journal = {J}, year = {1959}}
             @misc{sen2023, title = {Preprint}, author = {{\\L}ukasz, A.}, year = {2023}, eprint = {2305.14314}, archivePrefix = {arXiv}}
             @article{arx, title = {P}, author = {A, B}, journal = {CoRR}, year = {2020}, eprint = {arXiv:2001.00001v2}}",
        );
        let full = &all["erdos1959"].full;
        assert!(full.contains("<math alttext=\"O(n \\log n)\"") && full.contains("<em>things</em>"), "{full}");
        assert!(!full.contains("[Preprint]") && full.contains("Erdős"), "{full}");
        assert!(all["sen2023"].full.contains("https://arxiv.org/abs/2305.14314"), "{}", all["sen2023"].full);
        assert!(all["arx"].full.contains("https://arxiv.org/abs/2001.00001v2"), "{}", all["arx"].full);
    }
}
