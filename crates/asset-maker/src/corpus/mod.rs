//! The corpus: pages of the toolchain's documentation, cleaned to text, without near-duplicates, split by page.

mod apart;
mod clean;
mod pages;
mod source;

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use asset_manifest::{Manifest, checksum, record, toml_edit};
use lab_data::{Corpus, Part};

use crate::pack;
use apart::Seen;
use pages::Document;

/// Version of the corpus: what is trained on one version is not compared with what is trained on another.
const VERSION: i64 = 1;

/// Makes the corpus. Where one is committed, it is replaced only if asked; otherwise the two are compared.
///
/// # Errors
/// The documentation is missing, or differs from what the committed corpus was made of.
pub(crate) fn make(root: &Path, replace: bool) -> anyhow::Result<()> {
    let documents = source::documents()?;
    let parts = split(documents);
    let texts: Vec<(Part, String)> = Part::ALL.into_iter().zip(parts.iter().map(|part| join(part))).collect();
    for ((part, text), documents) in texts.iter().zip(&parts) {
        println!("{}: {} characters in {} documents", part.asset(), text.len(), documents.len());
    }
    let frozen = Manifest::read(root)?.get(Part::Train.asset()).is_some();
    if frozen && !replace {
        for (part, text) in &texts {
            let committed = pack::corpus(root, *part)?;
            anyhow::ensure!(
                committed.text == *text,
                "assets/{} is frozen and differs from this. To keep it, do nothing. To replace it, and train everything \
                 that was trained on it again, run `cargo xtask data corpus --replace`",
                part.asset()
            );
        }
        println!("The committed corpus is this one, character by character.");
        return Ok(());
    }
    for (part, text) in &texts {
        let title = match part {
            Part::Train => "Corpus of technical English, for training",
            Part::Validation => "Corpus of technical English, held out for choices made while training",
            Part::Test => "Corpus of technical English, held out for reported figures",
        };
        let about = [
            ("title", title.to_owned()),
            ("source", source::description()),
            ("licence", source::LICENCE.to_owned()),
            ("command", "cargo xtask data corpus".to_owned()),
            ("text_sha256", checksum(text.as_bytes())),
        ];
        let mut about = about.map(|(key, words)| (key, toml_edit::value(words))).to_vec();
        about.push(("version", toml_edit::value(VERSION)));
        about.push(("characters", toml_edit::value(i64::try_from(text.len())?)));
        record(root, part.asset(), &pack::gzip(text.as_bytes())?, &about)?;
    }
    println!("Wrote them and their entries in assets/manifest.toml.");
    check(root)
}

/// Checks the committed corpus: its checksums, its characters, and that its parts are apart. Makes nothing.
///
/// # Errors
/// A file is missing or altered, or a held-out paragraph is nearly one of another part.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let parts: Vec<Corpus> =
        Part::ALL.into_iter().map(|part| pack::corpus(root, part)).collect::<anyhow::Result<_>>()?;
    let [train, validation, test] = parts.as_slice() else { anyhow::bail!("a part is missing") };
    for (held_out, others) in [(test, [train, validation]), (validation, [train, test])] {
        let mut seen = Seen::default();
        others.iter().flat_map(|corpus| corpus.text.lines()).for_each(|line| seen.remember(line));
        let mut paragraphs = held_out.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        if let Some(known) = paragraphs.find(|line| seen.share(line) >= apart::LEAK) {
            anyhow::bail!("a held-out paragraph stands almost as it is in another part: “{known}”");
        }
    }
    let list = Part::ALL.iter().zip(&parts).map(|(part, corpus)| format!("{} {}", part.asset(), corpus.text.len()));
    println!("The corpus is intact and its parts are apart: {} characters.", list.collect::<Vec<_>>().join(", "));
    Ok(())
}

/// Deals the documents to train, validation and test, and drops what stands nearly the same elsewhere.
fn split(documents: Vec<Document>) -> [Vec<Document>; 3] {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for document in &documents {
        *sizes.entry(&document.group).or_default() += document.characters();
    }
    let part_of: BTreeMap<String, Part> =
        source::deal(&sizes).into_iter().map(|(group, part)| (group.to_owned(), part)).collect();
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for document in documents {
        let at = match part_of.get(&document.group) {
            Some(Part::Test) => 2,
            Some(Part::Validation) => 1,
            _ => 0,
        };
        parts[at].push(document);
    }
    drop_doubles(&mut parts);
    drop_leaks(&mut parts);
    parts
}

/// Drops every paragraph that is a variant of one before it. The held-out parts are read first, so what is doubled is
/// lost to training.
fn drop_doubles(parts: &mut [Vec<Document>; 3]) {
    let mut seen = Seen::default();
    let mut elsewhere = Seen::default();
    for part in parts.iter_mut().rev() {
        let mut here = Vec::new();
        part.retain_mut(|document| {
            document.blocks.retain(|block| {
                let text = &block.text;
                let fresh = block.is_heading()
                    || (!seen.has_line(text)
                        && seen.share(text) < apart::DOUBLE
                        && elsewhere.share(text) < apart::LEAK);
                if fresh {
                    seen.remember(text);
                    here.push(text.clone());
                }
                fresh
            });
            document.drop_empty_sections();
            document.characters() >= source::SHORTEST
        });
        here.iter().for_each(|text| elsewhere.remember(text));
    }
}

/// Drops held-out paragraphs of which much stands in another part, as a short one may within a long one.
fn drop_leaks(parts: &mut [Vec<Document>; 3]) {
    for held_out in [2, 1] {
        let mut seen = Seen::default();
        let others = parts.iter().enumerate().filter(|(part, _)| *part != held_out).flat_map(|(_, part)| part);
        others.flat_map(|document| &document.blocks).for_each(|block| seen.remember(&block.text));
        parts[held_out].retain_mut(|document| {
            document.blocks.retain(|block| block.is_heading() || seen.share(&block.text) < apart::LEAK);
            document.drop_empty_sections();
            document.characters() >= source::SHORTEST
        });
    }
}

/// The text of a part: see [`Corpus`].
fn join(documents: &[Document]) -> String {
    let texts: Vec<String> = documents.iter().map(Document::text).collect();
    texts.join("\n\n") + "\n"
}

/// The documentation of the toolchain that compiles this book.
fn toolchain_docs() -> anyhow::Result<std::path::PathBuf> {
    let output =
        std::process::Command::new("rustc").args(["--print", "sysroot"]).output().context("rustc cannot be started")?;
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let docs = Path::new(&sysroot).join("share/doc/rust/html");
    anyhow::ensure!(
        docs.join("book").is_dir(),
        "the toolchain's documentation is not installed; `rustup component add rust-docs` fetches it"
    );
    Ok(docs)
}

#[cfg(test)]
mod tests {
    use super::{pages::tests::document, *};

    #[test]
    fn the_committed_corpus_is_intact_and_its_parts_are_apart() {
        check(&pack::checkout()).expect("as the manifest says");
    }

    #[test]
    fn a_paragraph_that_stands_in_two_parts_is_lost_to_training_alone() {
        let sentence = "Every value has one owner, and when the owner goes out of scope the value is dropped at once.";
        let own = "This paragraph stands in one document only, so that nothing else is known that looks like it does.";
        let long = |letter: &str| (0..60).map(|i| format!("{letter}{}", "x".repeat(i))).collect::<Vec<_>>().join(" ");
        let mut parts = [
            vec![document("a", &["# A", sentence, &format!("A train goes. {own}"), &long("a")])],
            vec![document("c", &["# C", own, &long("c")])],
            vec![document("b", &["# B", sentence, &long("b")])],
        ];
        drop_doubles(&mut parts);
        drop_leaks(&mut parts);
        assert!(parts[2][0].text().contains(sentence));
        assert!(!parts[0][0].text().contains(sentence) && !parts[0][0].text().contains(own));
        assert!(parts[1][0].text().contains(own));
    }
}
