//! Plain `mdbook build`, which starts the preprocessor as a program, gives the chapters that `site-builder` gives.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use mdbook_driver::{MDBook, config::Config};
use site_builder::{Build, Paths, build};

/// The program `mdbook-textbook`: what `cargo xtask test` has built and names in `MDBOOK_TEXTBOOK`, or, where this test is run
/// without it, built here with the profile of this test.
fn preprocessor() -> PathBuf {
    if let Some(program) = std::env::var_os("MDBOOK_TEXTBOOK") {
        return program.into();
    }
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests stand in target/<profile>/deps");
    let mut cargo = Command::new(env!("CARGO"));
    // Named together with this package, so that the features of what both depend on, and so what is compiled, are the same.
    cargo.args(["build", "--quiet", "--package", "textbook", "--package", "site-builder"]);
    cargo.args(["--bin", "mdbook-textbook", "--target-dir"]);
    cargo.arg(folder.parent().expect("target"));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo starts").success());
    folder.join(format!("mdbook-textbook{}", std::env::consts::EXE_SUFFIX))
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|extension| extension == "html") {
            found.push(path);
        }
    }
    found
}

#[test]
fn mdbook_build_gives_the_same_chapters() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace");
    let place = tempfile::tempdir().expect("temporary folder");
    let (ours, plain) = (place.path().join("ours"), place.path().join("plain"));

    let paths = Paths::new(root).expect("the workspace holds a book");
    build(&paths, &Build { out: ours.clone(), pkg: None, precompress: false, base_url: None }).expect("builds");

    let mut config = Config::from_disk(root.join("book/book.toml")).expect("book.toml is valid");
    config.build.build_dir = plain.clone();
    config.set("preprocessor.textbook.command", preprocessor().to_string_lossy()).expect("can be set");
    MDBook::load_with_config(root.join("book"), config).expect("loads").build().expect("builds");

    let chapters = pages(&plain);
    assert!(chapters.len() > 5, "{chapters:?}");
    for page in chapters {
        let address = page.strip_prefix(&plain).expect("below");
        let same = std::fs::read(&page).expect("there") == std::fs::read(ours.join(address)).expect("ours has it too");
        assert!(same, "{} differs between `mdbook build` and site-builder", address.display());
    }
}
