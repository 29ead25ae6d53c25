//! What all pages of a build share: the register, the data files, the caches, the problems.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::{
    bibliography::{Bibliography, Work, nearest_style},
    catalogue::Catalogue,
    diagram::Diagrams,
    glossary::Glossary,
    guide::{self, Guide, Scenario},
    highlight::Highlighter,
    labels::{Register, normal},
    labs::Labs,
    math::Formulas,
    problem::{Problem, Reporter},
};

/// Results that outlive a build, so that a server redoes only what changed.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    pub(crate) formulas: Formulas,
    pub(crate) highlighter: Highlighter,
    bibliography: Mutex<Option<(String, Arc<Bibliography>)>>,
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Chapters on disk: `book/src`.
    pub(crate) src: PathBuf,
    /// The same as authors name it.
    pub(crate) src_name: String,
    /// Data files: `book/data`.
    pub(crate) data: PathBuf,
    /// The same as authors name it.
    pub(crate) data_name: String,
    pub(crate) labs: Labs,
    pub(crate) diagrams: Diagrams,
}

/// One place where a work is cited.
#[derive(Debug, Clone)]
pub(crate) struct CitedAt {
    pub(crate) chapter: usize,
    pub(crate) anchor: String,
}

/// One build.
pub(crate) struct Book<'a> {
    pub(crate) places: &'a Places,
    pub(crate) register: &'a Register,
    pub(crate) reporter: &'a Reporter,
    pub(crate) caches: &'a Caches,
    pub(crate) bibliography: Arc<Bibliography>,
    pub(crate) works: BTreeMap<String, Work>,
    pub(crate) glossary: Glossary,
    pub(crate) catalogue: Catalogue,
    pub(crate) guide: Guide,
    /// `guide.toml` as it stands: where a problem is.
    pub(crate) guide_text: String,
    pub(crate) scenarios: Vec<Scenario>,
    /// The chapter that holds `{{#guide}}`.
    pub(crate) guide_page: Option<usize>,
    /// The chapter that holds `{{#bibliography}}`.
    pub(crate) bibliography_page: Option<usize>,
    /// The chapter that holds `{{#glossary}}`.
    pub(crate) glossary_page: Option<usize>,
    pub(crate) cited: RefCell<BTreeMap<String, Vec<CitedAt>>>,
    pub(crate) quizzes: RefCell<BTreeSet<String>>,
    pub(crate) lab_ids: Vec<String>,
    references: RefCell<BTreeMap<String, Result<Arc<lab_api::Reference>, String>>>,
}

impl<'a> Book<'a> {
    /// Reads the data files and formats the works that `register` cites.
    pub(crate) fn new(
        places: &'a Places,
        register: &'a Register,
        reporter: &'a Reporter,
        caches: &'a Caches,
        style: &str,
    ) -> Self {
        let data = |name: &str| places.data.join(name);
        let in_data = |file: &str, line: usize, message: String, text: &str| {
            let file = format!("{}/{file}", places.data_name);
            reporter.report(Problem { file, line, message, text: text.to_owned(), nearest: None });
        };
        let bibliography = caches.bibliography(&data("bibliography.bib"));
        for mistake in &bibliography.mistakes {
            in_data("bibliography.bib", mistake.line, mistake.message.clone(), &mistake.text);
        }
        // A book may do without these files; a directive that needs one says that it is missing.
        let read = |name: &str| match std::fs::read_to_string(data(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err((1, format!("it cannot be read ({error})")))
            }
            text => Ok(text.unwrap_or_default()),
        };
        let glossary =
            read("glossary.toml").and_then(|text| Glossary::parse(&text)).unwrap_or_else(|(line, message)| {
                in_data("glossary.toml", line, message, "glossary.toml");
                Glossary::default()
            });
        let catalogue =
            read("methods.toml").and_then(|text| Catalogue::parse(&text)).unwrap_or_else(|(line, message)| {
                in_data("methods.toml", line, message, "methods.toml");
                Catalogue::default()
            });
        let (guide_text, guide) = read("guide.toml")
            .and_then(|text| {
                let guide = if text.is_empty() { Guide::default() } else { Guide::parse(&text, &catalogue)? };
                Ok((text, guide))
            })
            .unwrap_or_else(|(line, message)| {
                in_data("guide.toml", line, message, "guide.toml");
                (String::new(), Guide::default())
            });
        let scenarios = read("guide-scenarios.toml")
            .and_then(|text| if guide.axes.is_empty() { Ok(Vec::new()) } else { guide::scenarios(&text, &guide) })
            .unwrap_or_else(|(line, message)| {
                in_data("guide-scenarios.toml", line, message, "guide-scenarios.toml");
                Vec::new()
            });
        let mut cited_in: Vec<String> = scenarios.iter().map(|scenario| format!("@{}", scenario.source)).collect();
        cited_in.push(guide_text.clone());
        let keys = cited_keys(register, &cited_in, &bibliography);
        let works = bibliography.works(&keys, style).unwrap_or_else(|message| {
            let file = normal(&format!("{}/../book.toml", places.data_name));
            let nearest = nearest_style(style);
            reporter.report(Problem { file, line: 1, message, text: style.to_owned(), nearest });
            BTreeMap::new()
        });
        let page_of = |directive: &str| register.chapters.iter().position(|c| c.source.text.contains(directive));
        Self {
            places,
            register,
            reporter,
            caches,
            bibliography,
            works,
            glossary,
            catalogue,
            guide,
            guide_text,
            scenarios,
            guide_page: page_of("{{#guide}}"),
            bibliography_page: page_of("{{#bibliography}}"),
            glossary_page: page_of("{{#glossary}}"),
            cited: RefCell::default(),
            quizzes: RefCell::default(),
            lab_ids: places.labs.ids(),
            references: RefCell::default(),
        }
    }

    /// The reference of a lab, read once a build.
    pub(crate) fn reference(&self, id: &str) -> Result<Arc<lab_api::Reference>, String> {
        let mut known = self.references.borrow_mut();
        known.entry(id.to_owned()).or_insert_with(|| self.places.labs.reference(id).map(Arc::new)).clone()
    }
}

impl Caches {
    fn bibliography(&self, path: &Path) -> Arc<Bibliography> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if let Ok(known) = self.bibliography.lock()
            && let Some((of, bibliography)) = &*known
            && *of == text
        {
            return Arc::clone(bibliography);
        }
        let bibliography = Arc::new(Bibliography::parse(&text));
        if let Ok(mut known) = self.bibliography.lock() {
            *known = Some((text, Arc::clone(&bibliography)));
        }
        bibliography
    }
}

/// Keys that stand after an `@` anywhere: what is cited, in the order of the data file.
fn cited_keys(register: &Register, data: &[String], bibliography: &Bibliography) -> Vec<String> {
    let mut words = BTreeSet::new();
    let chapters = register.chapters.iter().map(|chapter| chapter.source.text.as_str());
    for text in chapters.chain(data.iter().map(String::as_str)) {
        for after in text.split('@').skip(1) {
            let end = after.find(|c: char| !(c.is_alphanumeric() || "_-:+/.".contains(c))).unwrap_or(after.len());
            // A full stop may end the sentence or stand within the key.
            words.extend([
                &after[..end],
                after[..end].trim_end_matches('.'),
                &after[..after[..end].find('.').unwrap_or(end)],
            ]);
        }
    }
    bibliography.keys().filter(|key| words.contains(key)).map(str::to_owned).collect()
}
