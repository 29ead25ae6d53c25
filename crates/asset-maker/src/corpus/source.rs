//! Where the corpus comes from, and which part a document belongs to.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use asset_manifest::checksum;
use lab_data::Part;

use super::{
    pages::{self, Document, Layout},
    toolchain_docs,
};

/// A book of the toolchain's documentation.
struct Book {
    folder: &'static str,
    title: &'static str,
    layout: Layout,
    /// Folders of other editions and languages.
    without: &'static [&'static str],
}

const fn book(folder: &'static str, title: &'static str, without: &'static [&'static str]) -> Book {
    Book { folder, title, layout: Layout::Book, without }
}

/// Each is licensed MIT OR Apache-2.0, as its repository and the toolchain's COPYRIGHT file say. The Embedded Rust Book
/// is left out: its prose is CC BY-SA 4.0. So are core and alloc, which std shows again.
const BOOKS: &[Book] = &[
    book("book", "The Rust Programming Language", &["first-edition", "second-edition", "2018-edition"]),
    book("reference", "The Rust Reference", &[]),
    book("nomicon", "The Rustonomicon", &[]),
    book("cargo", "The Cargo Book", &[]),
    book("rust-by-example", "Rust by Example", &["es", "ja", "ko", "zh"]),
    book("rustc", "The rustc book", &[]),
    book("rustdoc", "The rustdoc book", &[]),
    book("edition-guide", "The Edition Guide", &[]),
    book("unstable-book", "The Unstable Book", &[]),
    book("style-guide", "The Rust Style Guide", &[]),
    book("clippy", "The Clippy book", &[]),
    book("error_codes", "Error codes", &[]),
    Book {
        folder: "std",
        title: "The standard library",
        layout: Layout::Api,
        // Descriptions of processor instructions, thousands of the same form.
        without: &["arch", "simd", "intrinsics"],
    },
];

/// The licence of all of it.
pub(super) const LICENCE: &str =
    "MIT OR Apache-2.0 (The Rust Project Developers and the authors of each book; the reader's choice of the two)";
/// Release whose documentation the corpus is made of.
const RELEASE: &str = "1.95.0";
/// Characters below which a document is not worth its title.
pub(super) const SHORTEST: usize = 200;
/// Characters dealt to test, and as many to validation; some are lost again as near-duplicates.
const HELD_OUT: usize = 300_000;

/// Where the text comes from, in words.
pub(super) fn description() -> String {
    let titles: Vec<&str> = BOOKS.iter().map(|book| book.title).collect();
    format!(
        "component rust-docs of Rust {RELEASE}: {}. Prose without code blocks and tables, in ASCII, near-duplicates \
         removed; split by page (library: by module)",
        titles.join("; ")
    )
}

/// Which groups are held out: in the order of the hash of their names, until there are enough. A group larger than a
/// tenth of a part is for training, so that no module makes up what is judged.
pub(super) fn deal<'a>(sizes: &BTreeMap<&'a str, usize>) -> BTreeMap<&'a str, Part> {
    let mut groups: Vec<(String, &str, usize)> = sizes
        .iter()
        .map(|(group, size)| (checksum(format!("corpus version 1: {group}").as_bytes()), *group, *size))
        .collect();
    groups.sort_unstable();
    let mut full = [0, 0];
    let mut parts = BTreeMap::new();
    for (_, group, size) in groups {
        let open = full.iter().position(|characters| *characters < HELD_OUT).filter(|_| size <= HELD_OUT / 10);
        if let Some(part) = open {
            full[part] += size;
        }
        parts.insert(
            group,
            match open {
                Some(0) => Part::Test,
                Some(_) => Part::Validation,
                None => Part::Train,
            },
        );
    }
    parts
}

/// Every document, in the order of books and paths.
///
/// # Errors
/// The documentation is not installed, is of another release, or a page cannot be read.
pub(super) fn documents() -> anyhow::Result<Vec<Document>> {
    let docs = toolchain_docs()?;
    let version =
        std::fs::read_to_string(docs.join("version_info.html")).context("version_info.html cannot be read")?;
    anyhow::ensure!(
        version.contains(&format!(" {RELEASE}")),
        "the documentation is not that of Rust {RELEASE}, which the corpus is made of; `rustup component add rust-docs \
         --toolchain {RELEASE}` fetches it"
    );
    let mut documents = Vec::new();
    for book in BOOKS {
        let mut files = Vec::new();
        collect(&docs.join(book.folder), book.without, &mut files)
            .with_context(|| format!("the documentation lacks {}", book.title))?;
        // Parents before their children.
        files.sort_by_key(|file| file.with_extension(""));
        let before = documents.len();
        for file in files {
            let html = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            let group = group(book, file.strip_prefix(&docs).unwrap_or(&file));
            documents.extend(pages::read(&html, book.layout, group));
        }
        println!("{}: {} documents", book.title, documents.len() - before);
    }
    Ok(documents)
}

/// What is dealt as one: a page; of the library a module with all in it, since its pages repeat each other.
fn group(book: &Book, file: &Path) -> String {
    let name = file.with_extension("").to_string_lossy().replace('\\', "/");
    match book.layout {
        Layout::Book => name,
        Layout::Api => name.split('/').take(2).collect::<Vec<_>>().join("/"),
    }
}

fn collect(folder: &Path, without: &[&str], files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() {
            if !without.contains(&name.as_str()) {
                collect(&path, without, files)?;
            }
        } else if name.ends_with(".html")
            && !["print.html", "toc.html", "all.html", "SUMMARY.html"].contains(&name.as_str())
        {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_is_held_out_and_no_large_group() {
        let names: Vec<String> = (0..2000).map(|i| format!("book/page-{i}")).collect();
        let mut sizes: BTreeMap<&str, usize> = names.iter().map(|name| (name.as_str(), 2_500)).collect();
        sizes.insert("std/large", HELD_OUT / 10 + 1);
        let parts = deal(&sizes);
        for part in [Part::Test, Part::Validation] {
            assert_eq!(parts.values().filter(|known| **known == part).count(), HELD_OUT / 2_500);
        }
        assert_eq!(parts["std/large"], Part::Train);
    }

    #[test]
    fn a_module_of_the_library_is_dealt_whole() {
        let library = BOOKS.iter().find(|book| book.layout == Layout::Api).expect("there");
        for page in ["std/vec/struct.Vec.html", "std/vec/index.html"] {
            assert_eq!(group(library, Path::new(page)), "std/vec");
        }
        assert_eq!(group(&BOOKS[0], Path::new("book/ch01-00.html")), "book/ch01-00");
    }
}
