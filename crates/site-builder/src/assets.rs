//! Datasets and weights: checked against their manifest, addressed by their content. Published is what a lab reads;
//! what only training needs stays in the repository.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result, bail};
use asset_manifest::Manifest;
use lab_api::asset_path;
use textbook::Textbook;

use crate::paths::{Paths, copy};

/// One asset: where it lies and where the site shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asset {
    /// The file in `assets/`.
    pub(crate) file: PathBuf,
    /// Its address relative to the book's root: see [`asset_path`].
    pub(crate) address: String,
    name: String,
}

/// Every asset of the manifest, compared with it; all that differ are refused at once. Nothing where there is no manifest.
///
/// # Errors
/// The manifest cannot be read; or files that are missing or altered, each named with its remedy.
pub(crate) fn check(paths: &Paths) -> Result<Vec<Asset>> {
    if !paths.root.join(asset_manifest::PATH).is_file() {
        return Ok(Vec::new());
    }
    let manifest = Manifest::read(&paths.root)?;
    let problems: Vec<Error> = manifest.asset.iter().filter_map(|asset| asset.load(&paths.root).err()).collect();
    if !problems.is_empty() {
        let problems: Vec<String> = problems.iter().map(|problem| format!("{problem:#}")).collect();
        bail!("{}", problems.join("\n"));
    }
    let assets = manifest.asset.into_iter().map(|asset| Asset {
        file: paths.assets.join(&asset.name),
        address: asset_path(&asset.name, &asset.sha256),
        name: asset.name,
    });
    Ok(assets.collect())
}

/// Copies into the site every asset that a lab names. All are checked.
///
/// # Errors
/// See [`check`]; or a file cannot be copied, or a `lab.md` cannot be read.
pub(crate) fn install(paths: &Paths, textbook: &Textbook, out: &Path) -> Result<()> {
    let read_by_labs = textbook.assets_of_labs().map_err(Error::msg)?;
    for asset in check(paths)?.into_iter().filter(|asset| read_by_labs.contains(&asset.name)) {
        copy(&asset.file, &out.join(&asset.address))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn install(paths: &Paths, out: &Path) -> Result<()> {
        super::install(paths, &Textbook::new(&paths.root), out)
    }

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
        let lab = paths.root.join("labs/src/one/lab.md");
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
