//! Files of `assets/`, packed and unpacked.

use std::{io::Write as _, path::Path};

use anyhow::Context as _;
use asset_manifest::Manifest;
use flate2::{Compression, GzBuilder};
use lab_data::{Corpus, Part};

/// Gzip at its smallest, without a time or a name, so that the same content gives the same file.
pub(crate) fn gzip(content: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?)
}

/// The checkout that this crate stands in.
#[cfg(test)]
pub(crate) fn checkout() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A part of the committed corpus, checked against the manifest.
///
/// # Errors
/// It is not listed, missing or altered.
pub(crate) fn corpus(root: &Path, part: Part) -> anyhow::Result<Corpus> {
    let manifest = Manifest::read(root)?;
    let asset = manifest.get(part.asset()).with_context(|| {
        format!("assets/manifest.toml does not list {}; make it with `cargo xtask data corpus`", part.asset())
    })?;
    Ok(Corpus::read(part, &asset.load(root)?)?)
}
