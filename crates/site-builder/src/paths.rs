//! Where things stand in the workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The folders the site is made of.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The workspace.
    pub root: PathBuf,
    /// Holds `book.toml`.
    pub book: PathBuf,
    /// Template, styles, scripts, fonts.
    pub site: PathBuf,
    /// Datasets, weights and their manifest.
    pub assets: PathBuf,
}

impl Paths {
    /// The folders under a workspace.
    ///
    /// # Errors
    /// There is no `book/book.toml` below `root`.
    pub fn new(root: &Path) -> Result<Self> {
        let root = root.canonicalize().with_context(|| format!("there is no folder {}", root.display()))?;
        let book = root.join("book");
        if !book.join("book.toml").is_file() {
            bail!("{} holds no book/book.toml: name the workspace with --root", root.display());
        }
        let (site, assets) = (root.join("site"), root.join("assets"));
        Ok(Self { root, book, site, assets })
    }

    /// Looks for the workspace from `start` upwards.
    ///
    /// # Errors
    /// No folder above holds `book/book.toml`.
    pub fn find(start: &Path) -> Result<Self> {
        match start.ancestors().find(|folder| folder.join("book/book.toml").is_file()) {
            Some(root) => Self::new(root),
            None => bail!(
                "neither {} nor a folder above it holds book/book.toml: go there, or name it with --root",
                start.display()
            ),
        }
    }
}

/// Every file below `folder`, in no order; a folder that is not there has none.
///
/// # Errors
/// A folder cannot be listed.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        if !next.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&next).with_context(|| format!("cannot list {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    Ok(found)
}

/// Copies a file and makes the folders it needs.
///
/// # Errors
/// One of the two cannot be read or written.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    std::fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
