//! From Markdown to the folder of pages: mdBook with our preprocessor and template, less what mdBook adds for its own theme.

use std::path::Path;

use anyhow::{Context as _, Result};
use mdbook_driver::{MDBook, config::Config};

use textbook::Textbook;

use crate::{paths::Paths, scripts};

/// How much of the book to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Chapters only: what an author waits for.
    Chapters,
    /// Search index and print page as well.
    Everything,
}

/// Renders the book into `out`, whose content it replaces. `root_path` is where the book stands on its host; clones of one
/// `textbook` share their caches.
///
/// # Errors
/// Everything wrong with the book: the preprocessor names file, line and remedy of each problem.
pub(crate) fn render(paths: &Paths, textbook: &Textbook, out: &Path, root_path: &str, extent: Extent) -> Result<()> {
    let file = paths.book.join("book.toml");
    let mut config = Config::from_disk(&file).with_context(|| format!("cannot use {}", file.display()))?;
    config.build.build_dir = std::path::absolute(out)?;
    config.set("output.html.site-url", root_path)?;
    if extent == Extent::Chapters {
        config.set("output.html.search.enable", false)?;
        config.set("output.html.print.enable", false)?;
    }
    let mut book = MDBook::load_with_config(&paths.book, config)?;
    // Takes the place of the command of the same name in book.toml, which plain `mdbook build` starts.
    book.with_preprocessor(textbook.clone());
    book.build()?;
    prune(out)?;
    scripts::check(out)
}

/// Removes what mdBook writes for its own theme and our template never asks for.
fn prune(out: &Path) -> Result<()> {
    const STEMS: &[&str] = &[
        "book-",
        "highlight-",
        "tomorrow-night-",
        "ayu-highlight-",
        "clipboard-",
        "mark-",
        "searcher-",
        "css/general-",
        "css/chrome-",
        "css/print-",
        "css/variables-",
    ];
    for stem in STEMS {
        let (folder, prefix) = stem.rsplit_once('/').unwrap_or(("", stem));
        let folder = out.join(folder);
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = name.ends_with(".js") || name.ends_with(".css");
            if ours && name.starts_with(prefix) {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    let css = out.join("css");
    if css.is_dir() && std::fs::read_dir(&css)?.next().is_none() {
        std::fs::remove_dir(css)?;
    }
    Ok(())
}
