//! `assets/manifest.toml`, as far as labs are offered files from it.

use std::path::Path;

use lab_api::{AssetRef, LabError, LabMeta, nearest};
use lab_kit::LabEntry;

/// The list of all assets.
#[derive(Debug)]
pub struct Manifest(asset_manifest::Manifest);

impl Manifest {
    /// Reads the manifest of a checkout.
    ///
    /// # Errors
    /// The file is missing or is not such a list.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        asset_manifest::Manifest::read(root).map(Self)
    }

    /// The files that the front matter of this lab's `lab.md` names.
    ///
    /// # Errors
    /// [`LabError::Asset`] for a name that the manifest lacks, [`LabError::Engine`] for unreadable front matter.
    pub fn offered(&self, entry: &LabEntry) -> Result<Vec<AssetRef>, LabError> {
        meta(entry)?.assets.iter().map(|name| self.find(name)).collect()
    }

    fn find(&self, name: &str) -> Result<AssetRef, LabError> {
        match self.0.get(name) {
            Some(asset) => Ok(AssetRef::new(&asset.name, &asset.sha256, asset.size_bytes)),
            None => {
                let near = nearest(name, self.0.asset.iter().map(|asset| asset.name.as_str()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_the_manifest_lacks_is_refused_with_the_nearest() {
        let folder = tempfile::tempdir().expect("temporary folder");
        asset_manifest::record(&prepared(folder.path()), "digits/a.csv", b"abc", &[]).expect("recorded");
        let manifest = Manifest::read(folder.path()).expect("reads");
        assert_eq!(manifest.find("digits/a.csv").expect("there").size_bytes, 3);
        let error = manifest.find("digits/b.csv").expect_err("absent").to_string();
        assert!(error.contains("does not list it") && error.contains("“digits/a.csv”"), "{error}");
    }

    fn prepared(root: &Path) -> std::path::PathBuf {
        std::fs::create_dir(root.join("assets")).expect("made");
        std::fs::write(root.join("assets/manifest.toml"), "").expect("written");
        root.to_owned()
    }
}
