//! `assets/manifest.toml`: what lies in `assets/`, where it came from, and the command that made it.

use std::{fmt::Write as _, path::Path};

use anyhow::Context as _;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

pub use toml_edit;

/// Where the list lies in a checkout.
pub const PATH: &str = "assets/manifest.toml";

/// The list of all assets.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// The entries, in the order of the file.
    #[serde(default)]
    pub asset: Vec<Asset>,
}

/// What a reader of the file needs of an entry.
#[derive(Debug, Clone, Deserialize)]
pub struct Asset {
    /// Path in `assets/`.
    pub name: String,
    /// Lower-case hexadecimal SHA-256 of the content.
    pub sha256: String,
    /// Size in bytes.
    pub size_bytes: u64,
}

impl Manifest {
    /// Reads the manifest of a checkout.
    ///
    /// # Errors
    /// The file is missing or is not such a list.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(root.join(PATH)).with_context(|| format!("{PATH} cannot be read"))?;
        toml::from_str(&text).with_context(|| format!("{PATH} is not a list of assets"))
    }

    /// The entry of this name, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Asset> {
        self.asset.iter().find(|asset| asset.name == name)
    }
}

impl Asset {
    /// The file's content, if it is what this entry describes.
    ///
    /// # Errors
    /// The file is missing or was altered; names it and the remedy.
    pub fn load(&self, root: &Path) -> anyhow::Result<Vec<u8>> {
        let Self { name, sha256, size_bytes } = self;
        let remedy = "restore it with `git checkout -- assets`, or, if the change is meant, run the command that its entry in \
                      the manifest names";
        let content =
            std::fs::read(root.join("assets").join(name)).with_context(|| format!("assets/{name}; {remedy}"))?;
        let actual = checksum(&content);
        anyhow::ensure!(
            actual == *sha256 && content.len() as u64 == *size_bytes,
            "assets/{name} has {} bytes and the SHA-256 {actual}, but the manifest says {size_bytes} and {sha256}; {remedy}",
            content.len()
        );
        Ok(content)
    }
}

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn checksum(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes an asset and its entry in the manifest. `about` are the entry's further keys.
///
/// # Errors
/// A file cannot be written, or the manifest is not a list of assets.
pub fn record(root: &Path, name: &str, content: &[u8], about: &[(&str, Item)]) -> anyhow::Result<()> {
    let file = root.join("assets").join(name);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    std::fs::write(&file, content).with_context(|| format!("{} cannot be written", file.display()))?;
    let path = root.join(PATH);
    let mut manifest: DocumentMut = std::fs::read_to_string(&path)?.parse()?;
    let assets = manifest
        .entry("asset")
        .or_insert(Item::ArrayOfTables(ArrayOfTables::new()))
        .as_array_of_tables_mut()
        .with_context(|| format!("`asset` in {PATH} is not a list of tables"))?;
    let is_it = |table: &Table| table.get("name").and_then(Item::as_str) == Some(name);
    if !assets.iter().any(is_it) {
        let mut table = Table::new();
        table.insert("name", toml_edit::value(name));
        assets.push(table);
    }
    let entry = assets.iter_mut().find(|table| is_it(table)).context("the entry was just added")?;
    entry.insert("sha256", toml_edit::value(checksum(content)));
    entry.insert("size_bytes", toml_edit::value(i64::try_from(content.len())?));
    for (key, item) in about {
        entry.insert(key, item.clone());
    }
    std::fs::write(&path, manifest.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recording_keeps_comments_and_replaces_the_entry() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir(folder.path().join("assets")).expect("made");
        let path = folder.path().join("assets/manifest.toml");
        std::fs::write(&path, "# words\n\n[[asset]]\nname = \"a\" # mine\nsha256 = \"00\"\nsize_bytes = 1\n")
            .expect("written");
        record(folder.path(), "a", b"abc", &[("seed", toml_edit::value(7))]).expect("recorded");
        record(folder.path(), "deep/b", b"", &[]).expect("recorded");
        let text = std::fs::read_to_string(&path).expect("there");
        assert!(text.starts_with("# words\n") && text.contains("# mine") && text.contains("seed = 7"), "{text}");
        let manifest = Manifest::read(folder.path()).expect("reads");
        assert_eq!((manifest.asset.len(), manifest.asset[0].size_bytes), (2, 3));
        assert!(manifest.get("c").is_none());
        assert_eq!(manifest.asset[0].load(folder.path()).expect("as recorded"), b"abc");
        for altered in [&b"abd"[..], b"ab"] {
            std::fs::write(folder.path().join("assets/a"), altered).expect("written");
            let error = format!("{:#}", manifest.asset[0].load(folder.path()).expect_err("altered"));
            assert!(error.contains("assets/a") && error.contains("git checkout"), "{error}");
        }
    }
}
