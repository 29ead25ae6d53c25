//! Datasets and weights: checked against their manifest, addressed by their content. Published is what a lab reads;
//! what only training needs stays in the repository.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use lab_api::{LabMeta, asset_path};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::paths::{Paths, copy};

#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(default)]
    asset: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    sha256: String,
    size_bytes: u64,
}

/// One asset: where it lies and where the site shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asset {
    /// The file in `assets/`.
    pub(crate) file: PathBuf,
    /// Its address relative to the book's root: see [`asset_path`].
    pub(crate) address: String,
    name: String,
    sha256: String,
    size_bytes: u64,
}

/// Everything `assets/manifest.toml` lists; nothing where there is no manifest.
///
/// # Errors
/// The manifest cannot be read.
fn list(paths: &Paths) -> Result<Vec<Asset>> {
    let file = paths.assets.join("manifest.toml");
    if !file.is_file() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let manifest: Manifest = toml::from_str(&text).with_context(|| format!("{} is not valid", file.display()))?;
    let assets = manifest.asset.into_iter().map(|entry| Asset {
        file: paths.assets.join(&entry.name),
        address: asset_path(&entry.name, &entry.sha256),
        name: entry.name,
        sha256: entry.sha256,
        size_bytes: entry.size_bytes,
    });
    Ok(assets.collect())
}

/// Every asset, compared with the manifest; all that differ are refused at once.
///
/// # Errors
/// Files that are missing or altered, each named with its remedy.
pub(crate) fn check(paths: &Paths) -> Result<Vec<Asset>> {
    let assets = list(paths)?;
    let problems: Vec<String> = assets.iter().filter_map(|asset| asset.check().err()).collect();
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(assets)
}

/// Copies into the site every asset that a lab names. All are checked.
///
/// # Errors
/// See [`check`]; or a file cannot be copied, or a `lab.md` cannot be read.
pub(crate) fn install(paths: &Paths, out: &Path) -> Result<()> {
    let read_by_labs = read_by_labs(paths)?;
    for asset in check(paths)?.into_iter().filter(|asset| read_by_labs.contains(&asset.name)) {
        copy(&asset.file, &out.join(&asset.address))?;
    }
    Ok(())
}

/// Names in the `assets` of every `lab.md`.
fn read_by_labs(paths: &Paths) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    if !paths.labs.is_dir() {
        return Ok(names);
    }
    for folder in std::fs::read_dir(&paths.labs).with_context(|| format!("cannot read {}", paths.labs.display()))? {
        let file = folder?.path().join("lab.md");
        if !file.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let (front, _) = LabMeta::split(&text)
            .with_context(|| format!("{} does not begin with TOML between two lines of +++", file.display()))?;
        let meta: LabMeta = toml::from_str(front).with_context(|| format!("front matter of {}", file.display()))?;
        names.extend(meta.assets);
    }
    Ok(names)
}

impl Asset {
    fn check(&self) -> Result<(), String> {
        let Self { file, name, sha256, size_bytes, .. } = self;
        let remedy = "restore the file (git checkout), or, if the change is meant, run the command that its entry in \
                      assets/manifest.toml names and record the new sha256 and size_bytes";
        let content = std::fs::read(file).map_err(|error| format!("assets/{name}: {error}; {remedy}"))?;
        if content.len() as u64 != *size_bytes {
            return Err(format!("assets/{name} has {} bytes, not {size_bytes}; {remedy}", content.len()));
        }
        let actual: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        if actual != *sha256 {
            return Err(format!("assets/{name} has the SHA-256 {actual}, not {sha256}; {remedy}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn workspace(content: &str, sha256: &str) -> (tempfile::TempDir, Paths) {
        let folder = tempfile::tempdir().expect("temporary folder");
        for sub in ["book", "assets/x", "labs/src/one"] {
            std::fs::create_dir_all(folder.path().join(sub)).expect("made");
        }
        std::fs::write(folder.path().join("book/book.toml"), "").expect("written");
        std::fs::write(folder.path().join("assets/x/a.bin"), content).expect("written");
        let manifest = format!("[[asset]]\nname = \"x/a.bin\"\nsha256 = \"{sha256}\"\nsize_bytes = 3\n");
        std::fs::write(folder.path().join("assets/manifest.toml"), manifest).expect("written");
        let lab = "+++\ntitle = \"T\"\nsummary = \"S\"\nminutes = 1\nlevel = \"beginner\"\nfamilies = []\nassets = [\"x/a.bin\"]\n+++\n";
        std::fs::write(folder.path().join("labs/src/one/lab.md"), lab).expect("written");
        let paths = Paths::new(folder.path()).expect("a workspace");
        (folder, paths)
    }

    #[test]
    fn what_no_lab_reads_is_checked_but_not_published() {
        let (_folder, paths) = workspace("abc", SHA_OF_ABC);
        let lab = paths.labs.join("one/lab.md");
        let text = std::fs::read_to_string(&lab).expect("there");
        std::fs::write(&lab, text.replace("\"x/a.bin\"", "")).expect("written");
        let out = tempfile::tempdir().expect("temporary folder");
        install(&paths, out.path()).expect("installs");
        assert!(!out.path().join("assets").exists());
        std::fs::write(paths.assets.join("x/a.bin"), "abd").expect("written");
        assert!(install(&paths, out.path()).is_err());
        std::fs::write(&lab, "no front matter").expect("written");
        assert!(install(&paths, out.path()).expect_err("refused").to_string().contains("lab.md"));
    }

    #[test]
    fn an_intact_asset_stands_under_its_hash() {
        let (_folder, paths) = workspace("abc", SHA_OF_ABC);
        let out = tempfile::tempdir().expect("temporary folder");
        install(&paths, out.path()).expect("installs");
        assert_eq!(std::fs::read(out.path().join("assets/x/a.ba7816bf8f01.bin")).expect("there"), b"abc");
    }

    #[test]
    fn an_altered_truncated_or_missing_asset_stops_the_build_by_name() {
        for content in ["abd", "ab"] {
            let (_folder, paths) = workspace(content, SHA_OF_ABC);
            let error = install(&paths, &paths.root.join("out")).expect_err("refused").to_string();
            assert!(error.contains("assets/x/a.bin") && error.contains("git checkout"), "{error}");
        }
        let (_folder, paths) = workspace("abc", SHA_OF_ABC);
        std::fs::remove_file(paths.assets.join("x/a.bin")).expect("removed");
        assert!(install(&paths, &paths.root.join("out")).is_err());
    }
}
