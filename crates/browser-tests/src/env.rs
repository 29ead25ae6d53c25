//! Where the tests find what they test; `cargo xtask test` sets all of it.

use std::path::PathBuf;

use anyhow::Context as _;

fn path(variable: &str, what: &str) -> anyhow::Result<PathBuf> {
    let value = std::env::var_os(variable);
    let path = PathBuf::from(
        value.with_context(|| format!("{variable} is not set; start these tests with `cargo xtask test`"))?,
    );
    anyhow::ensure!(path.exists(), "{what} is not at {}; start these tests with `cargo xtask test`", path.display());
    Ok(path)
}

/// The built site (`DIST`).
///
/// # Errors
/// The variable is not set or names nothing.
pub fn dist() -> anyhow::Result<PathBuf> {
    path("DIST", "the built site")
}

/// The labs' command line (`LAB_CLI`).
///
/// # Errors
/// The variable is not set or names nothing.
pub fn lab_cli() -> anyhow::Result<PathBuf> {
    path("LAB_CLI", "the labs' command line")
}

/// axe-core as one script (`AXE`).
///
/// # Errors
/// The variable is not set or names nothing.
pub fn axe() -> anyhow::Result<PathBuf> {
    path("AXE", "axe-core")
}

/// Part of the names of the pages and labs that are photographed (`SCREENSHOTS_OF`); empty for all.
#[must_use]
pub fn screenshots_of() -> String {
    std::env::var("SCREENSHOTS_OF").unwrap_or_default()
}

/// The folder for screenshots (`SCREENSHOTS`), made if it is missing.
///
/// # Errors
/// The variable is not set, or the folder cannot be made.
pub fn screenshots() -> anyhow::Result<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("SCREENSHOTS").context("start this with `cargo xtask screenshots`")?);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The workspace's root, for files that are not part of the site.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    here.ancestors().nth(2).map_or_else(|| PathBuf::from("."), std::path::Path::to_path_buf)
}
