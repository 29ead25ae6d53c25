//! `assets/manifest.toml`: reading it, offering files to labs, and recording what was made.

use std::path::Path;

use anyhow::Context as _;
use lab_api::{AssetRef, LabError, LabMeta, nearest};
use lab_kit::{LabEntry, data::hex};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

/// The list of all assets.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    asset: Vec<Asset>,
}

#[derive(Debug, Deserialize)]
struct Asset {
    name: String,
    sha256: String,
    size_bytes: u64,
}

impl Manifest {
    /// Reads the manifest of a checkout.
    ///
    /// # Errors
    /// The file is missing or is not such a list.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let path = root.join("assets/manifest.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a list of assets", path.display()))
    }

    /// The files that the front matter of this lab's `lab.md` names.
    ///
    /// # Errors
    /// [`LabError::Asset`] for a name that the manifest lacks, [`LabError::Engine`] for unreadable front matter.
    pub fn offered(&self, entry: &LabEntry) -> Result<Vec<AssetRef>, LabError> {
        meta(entry)?.assets.iter().map(|name| self.find(name)).collect()
    }

    fn find(&self, name: &str) -> Result<AssetRef, LabError> {
        match self.asset.iter().find(|asset| asset.name == name) {
            Some(asset) => Ok(AssetRef::new(&asset.name, &asset.sha256, asset.size_bytes)),
            None => {
                let near = nearest(name, self.asset.iter().map(|asset| asset.name.as_str()));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean “{near}”?"));
                Err(LabError::Asset { name: name.into(), why: format!("assets/manifest.toml does not list it{hint}") })
            }
        }
    }
}

/// The front matter of a lab's `lab.md`.
pub(crate) fn meta(entry: &LabEntry) -> Result<LabMeta, LabError> {
    let broken = |why: String| LabError::Engine { why: format!("lab.md of “{}”: {why}", entry.id) };
    let (front, _) = LabMeta::split(entry.lab_md)
        .ok_or_else(|| broken("it does not begin with TOML between two lines of +++".into()))?;
    toml::from_str(front).map_err(|error| broken(error.to_string()))
}

/// Writes an asset and its entry in the manifest. `about` are the entry's further keys.
pub(crate) fn record(root: &Path, name: &str, content: &[u8], about: &[(&str, Item)]) -> anyhow::Result<()> {
    let file = root.join("assets").join(name);
    std::fs::write(&file, content).with_context(|| format!("{} cannot be written", file.display()))?;
    let path = root.join("assets/manifest.toml");
    let mut manifest: DocumentMut = std::fs::read_to_string(&path)?.parse()?;
    let assets = manifest
        .entry("asset")
        .or_insert(Item::ArrayOfTables(ArrayOfTables::new()))
        .as_array_of_tables_mut()
        .context("`asset` in assets/manifest.toml is not a list of tables")?;
    let is_it = |table: &Table| table.get("name").and_then(Item::as_str) == Some(name);
    if !assets.iter().any(is_it) {
        let mut table = Table::new();
        table.insert("name", toml_edit::value(name));
        assets.push(table);
    }
    let entry = assets.iter_mut().find(|table| is_it(table)).context("the entry was just added")?;
    entry.insert("sha256", toml_edit::value(hex(&Sha256::digest(content))));
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
        record(folder.path(), "b", b"", &[]).expect("recorded");
        let text = std::fs::read_to_string(&path).expect("there");
        assert!(text.starts_with("# words\n") && text.contains("# mine") && text.contains("seed = 7"), "{text}");
        let manifest = Manifest::read(folder.path()).expect("reads");
        assert_eq!((manifest.asset.len(), manifest.asset[0].size_bytes), (2, 3));
        assert!(manifest.find("c").expect_err("absent").to_string().contains("does not list it"));
    }
}
