//! The preprocessor of this book: numbers and references, citations, maths, diagrams, callouts, code, quizzes, glossary,
//! the catalogue, and the labs with their static results. `docs/directives.md` shows every directive by example.
//!
//! [`Textbook`] is an mdBook preprocessor, for `MDBook::with_preprocessor` and, as the program `mdbook-textbook`, for plain
//! `mdbook build`; both give the same chapters. A build with mistakes fails with [`Problems`]: all of them, each with file, line,
//! offending text and the nearest valid name.

mod anchors;
mod attrs;
mod bibliography;
mod bibtex;
mod book;
mod callout;
mod catalogue;
mod chart;
mod charts;
mod crosslinks;
mod diagram;
mod glossary;
mod guide;
mod guide_page;
mod highlight;
mod html;
mod inline;
mod labels;
mod labs;
mod lighter;
mod links;
mod listing;
mod math;
mod miniature;
mod outline;
mod overlap;
mod page;
mod predict;
mod problem;
mod prose;
mod quiz;
mod references;
mod retold;
mod section;
mod slips;
mod source;
mod svg;
mod tex;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use mdbook_preprocessor::{
    Preprocessor, PreprocessorContext,
    book::{Book as MdBook, BookItem},
    errors::Result,
};
use serde::Deserialize;

pub use crosslinks::crosslinks;
pub use diagram::{Inventory as DiagramInventory, inventory as diagram_inventory};
pub use overlap::{LIMIT as OVERLAP_LIMIT, Overlap, Passage, SHINGLE, TopicOverlap, overlap};
pub use problem::{Problem, Problems};
pub use prose::{PageProse, prose, prose_json, prose_table};
pub use retold::{RETOLD, RETOLD_LIMIT, Retold};

use book::{Book, Caches, Places};
use diagram::Diagrams;
use highlight::is_language;
use labels::{Register, slashes};
use labs::Labs;
use outline::BlockKind;
use page::Page;
use problem::Reporter;

/// `[preprocessor.textbook]` in `book.toml`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Settings {
    /// A citation style by its CSL name.
    citation_style: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { citation_style: bibliography::DEFAULT_STYLE.to_owned() }
    }
}

/// The preprocessor. A clone shares the caches: a server that keeps one and hands out clones redoes only what changed.
#[derive(Debug, Clone)]
pub struct Textbook {
    root: PathBuf,
    caches: Arc<Caches>,
    draws: bool,
}

impl Textbook {
    /// A preprocessor for the project in `root`: the folder that holds `book/`, `labs/` and `assets/`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), caches: Arc::default(), draws: true }
    }

    /// The same, but a diagram without a committed picture is a problem and is not drawn: for checks and tests.
    #[must_use]
    pub fn without_drawing(self) -> Self {
        Self { draws: false, ..self }
    }

    /// The files and folders outside `book/src` that chapters are made from: a server watches them.
    #[must_use]
    pub fn watched(&self) -> Vec<PathBuf> {
        let shared = labs::SHARED.iter().map(|(_, folder)| *folder);
        let all = ["book/data", labs::FOLDER, asset_manifest::PATH].into_iter().chain(shared);
        all.map(|path| self.root.join(path)).collect()
    }

    /// Names of the assets that labs read: those in the front matter of every `lab.md`.
    ///
    /// # Errors
    /// A sentence that names the lab whose `lab.md` cannot be read.
    pub fn assets_of_labs(&self) -> std::result::Result<BTreeSet<String>, String> {
        let labs = Labs { root: self.root.clone() };
        let mut names = BTreeSet::new();
        for id in labs.ids() {
            names.extend(labs.words(&id).map_err(|message| format!("the lab {id}: {message}"))?.0.assets);
        }
        Ok(names)
    }

    /// A source file that the book quotes, without its marks: HTML of each line, coloured.
    ///
    /// # Errors
    /// A sentence: the file is none of those that a page may quote, or it cannot be read.
    pub fn source_lines(&self, file: &str) -> std::result::Result<Vec<String>, String> {
        let folders = [labs::FOLDER].into_iter().chain(labs::SHARED.map(|(_, folder)| folder));
        let inside = folders.filter_map(|folder| file.strip_prefix(folder)?.strip_prefix('/')).next();
        // As an address of a lab: it leaves no folder.
        if inside.and_then(Labs::quoted).is_none() {
            return Err(format!("{file} is no source file of a lab or of what labs share"));
        }
        let text = std::fs::read_to_string(self.root.join(file)).map_err(|error| format!("{file}: {error}"))?;
        Ok(self.caches.highlighter.lines(listing::language_of(file), &anchors::whole(&text)).to_vec())
    }

    /// Colours many source files at once, for [`Self::source_lines`]; what cannot be read is told there.
    pub fn warm_sources<'a>(&self, files: impl IntoIterator<Item = &'a str>) {
        let texts: Vec<(&str, String)> = files
            .into_iter()
            .filter_map(|file| {
                let text = std::fs::read_to_string(self.root.join(file)).ok()?;
                Some((listing::language_of(file), anchors::whole(&text)))
            })
            .collect();
        let pieces: Vec<(&str, &str)> = texts.iter().map(|(language, text)| (*language, text.as_str())).collect();
        self.caches.highlighter.warm(&pieces);
    }

    fn places(&self, ctx: &PreprocessorContext) -> Places {
        let src = ctx.root.join(&ctx.config.book.src);
        let data = ctx.root.join("data");
        let name = |path: &Path| slashes(path.strip_prefix(&self.root).unwrap_or(path));
        Places {
            src_name: name(&src),
            data_name: name(&data),
            labs: Labs { root: self.root.clone() },
            diagrams: Diagrams { folder: data.join("diagrams"), workspace: self.draws.then(|| self.root.clone()) },
            src,
            data,
        }
    }
}

impl Preprocessor for Textbook {
    fn name(&self) -> &str {
        "textbook"
    }

    fn run(&self, ctx: &PreprocessorContext, mut book: MdBook) -> Result<MdBook> {
        let settings: Settings = ctx.config.get("preprocessor.textbook")?.unwrap_or_default();
        let places = self.places(ctx);
        let reporter = Reporter::default();
        let named = book.items.iter().filter_map(|item| match item {
            BookItem::PartTitle(title) => Some(title.as_str()),
            _ => None,
        });
        let drafts_too = book.iter().filter_map(|item| match item {
            BookItem::Chapter(chapter) => Some(chapter.name.as_str()),
            _ => None,
        });
        let summary = std::fs::read_to_string(places.src.join("SUMMARY.md")).unwrap_or_default();
        slips::names(named.chain(drafts_too), &summary, &format!("{}/SUMMARY.md", places.src_name), &reporter);
        let mut register = Register::default();
        for chapter in book.chapters() {
            register.add(chapter, &places.src_name, &reporter);
        }
        self.caches.highlighter.warm(&fences(&register));
        let rendered = {
            let build = Book::new(&places, &register, &reporter, &self.caches, &settings.citation_style);
            let mut pages: Vec<String> = (0..register.chapters.len()).map(|i| Page::new(&build, i).render()).collect();
            if let Some(at) = build.bibliography_page {
                pages[at] = pages[at].replace(page::BIBLIOGRAPHY_MARK, &references::list(&build, at));
            }
            pages
        };
        if let Some(problems) = reporter.finish() {
            return Err(problems.into());
        }
        let mut by_path: BTreeMap<&str, String> =
            register.chapters.iter().map(|chapter| chapter.path.as_str()).zip(rendered).collect();
        book.for_each_mut(|item| {
            if let BookItem::Chapter(chapter) = item
                && let Some(text) = chapter.path.as_deref().map(slashes).and_then(|path| by_path.remove(path.as_str()))
            {
                chapter.content = text;
            }
        });
        Ok(book)
    }

    fn supports_renderer(&self, renderer: &str) -> Result<bool> {
        Ok(renderer == "html")
    }
}

/// All code blocks of the book: language and text.
fn fences(register: &Register) -> Vec<(&str, &str)> {
    let blocks = register.chapters.iter().flat_map(|chapter| &chapter.blocks);
    blocks
        .filter_map(|block| match &block.kind {
            BlockKind::Fence { language, code, .. } if is_language(language) => {
                Some((language.as_str(), code.as_str()))
            }
            _ => None,
        })
        .collect()
}
