//! A book on disk, built as the site builder builds it.

#![allow(dead_code, unreachable_pub, reason = "each test file takes what it needs")]

use std::path::{Path, PathBuf};

use mdbook_driver::MDBook;
use mdbook_preprocessor::{Preprocessor, PreprocessorContext, book::Book};
use textbook::{Problem, Problems, Textbook};

/// The fixture project.
pub fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture")
}

/// Runs the preprocessor alone on the project in `root`.
pub fn preprocess(root: &Path, textbook: &Textbook) -> Result<Book, Vec<Problem>> {
    let book_root = root.join("book");
    let book = MDBook::load(&book_root).expect("the fixture loads");
    let context = PreprocessorContext::new(book_root, book.config.clone(), "html".to_owned());
    textbook.run(&context, book.book.clone()).map_err(|error| match error.downcast_ref::<Problems>() {
        Some(problems) => problems.0.clone(),
        None => panic!("not a list of problems: {error}"),
    })
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}
