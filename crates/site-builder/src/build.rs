//! `build`: the whole site into one folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use textbook::Textbook;

use crate::{
    assets, compress, extras,
    paths::Paths,
    pkg,
    render::{Extent, render},
    sources,
};

/// What to build.
#[derive(Debug, Clone)]
pub struct Build {
    /// Where the site goes; replaced as a whole when everything has succeeded.
    pub out: PathBuf,
    /// Folder of WASM bundles; `None`: a site to read, whose labs show their reference results.
    pub pkg: Option<PathBuf>,
    /// Write `.gz` and `.br` beside the files.
    pub precompress: bool,
    /// Absolute address of the book's root: for the map of the site, social cards and the 404 page.
    pub base_url: Option<String>,
}

/// Builds the site.
///
/// # Errors
/// Everything wrong with the book, its assets or its bundles; the old site is left as it was.
pub fn build(paths: &Paths, job: &Build) -> Result<()> {
    let base_url = job.base_url.as_deref().map(normalize).transpose()?;
    let out = std::path::absolute(&job.out)?;
    if !may_replace(&out) {
        bail!(
            "{} is not empty and does not look like a site built before (it holds no .nojekyll): name another folder with --out",
            out.display()
        );
    }
    let name = out.file_name().context("--out must name a folder")?.to_string_lossy().into_owned();
    let draft = out.with_file_name(format!(".{name}-draft"));
    if draft.exists() {
        std::fs::remove_dir_all(&draft)?;
    }
    std::fs::create_dir_all(&draft).with_context(|| format!("cannot make {}", draft.display()))?;

    let textbook = Textbook::new(&paths.root);
    render(paths, &textbook, &draft, &root_path(base_url.as_deref()), Extent::Everything)?;
    sources::install(&textbook, &draft)?;
    assets::install(paths, &textbook, &draft)?;
    pkg::install(job.pkg.as_deref(), &draft)?;
    extras::install(paths, &draft, base_url.as_deref())?;
    if job.precompress {
        compress::compress(&draft)?;
    }
    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    std::fs::rename(&draft, &out).with_context(|| format!("cannot move the site to {}", out.display()))
}

/// Nothing is deleted that this program did not make.
fn may_replace(out: &Path) -> bool {
    match std::fs::read_dir(out) {
        Err(_) => !out.exists(),
        Ok(mut entries) => out.join(".nojekyll").is_file() || entries.next().is_none(),
    }
}

fn normalize(base_url: &str) -> Result<String> {
    if !base_url.starts_with("https://") && !base_url.starts_with("http://") {
        bail!("--base-url must be an absolute address such as https://example.org/book/, not “{base_url}”");
    }
    Ok(format!("{}/", base_url.trim_end_matches('/')))
}

/// The path of the root on its host: all that the 404 page, served at any depth, has to go by.
fn root_path(base_url: Option<&str>) -> String {
    let host_and_path = base_url.and_then(|url| url.split_once("://")).map_or("", |(_, rest)| rest);
    host_and_path.split_once('/').map_or("/".to_owned(), |(_, path)| format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_path_comes_from_the_base_address() {
        assert_eq!(root_path(Some("https://example.org/a/b/")), "/a/b/");
        assert_eq!(root_path(Some("https://example.org/")), "/");
        assert_eq!(root_path(None), "/");
        assert_eq!(normalize("https://example.org/a").expect("valid"), "https://example.org/a/");
        assert!(normalize("example.org").is_err());
    }

    #[test]
    fn a_folder_of_others_is_never_replaced() {
        let folder = tempfile::tempdir().expect("temporary folder");
        assert!(may_replace(folder.path()) && may_replace(&folder.path().join("new")));
        std::fs::write(folder.path().join("thesis.txt"), "x").expect("written");
        assert!(!may_replace(folder.path()));
        std::fs::write(folder.path().join(".nojekyll"), "").expect("written");
        assert!(may_replace(folder.path()));
    }
}
