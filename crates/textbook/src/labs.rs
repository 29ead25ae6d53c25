//! The labs as the book sees them: words, parameters, reference results. Nothing is run here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use lab_api::{AssetRef, LabMeta, Reference};
use serde::Deserialize;

/// One lab, read from its folder.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) meta: LabMeta,
    /// The text of `lab.md` after the front matter.
    pub(crate) words: String,
    /// Line of `lab.md` on which `words` begins.
    pub(crate) words_line: usize,
    pub(crate) reference: Reference,
}

/// The folder of all labs.
#[derive(Debug, Clone)]
pub(crate) struct Labs {
    /// `labs/src`.
    pub(crate) folder: PathBuf,
    /// `crates/lab-kit/src`, whose code chapters quote under [`KIT_PREFIX`].
    pub(crate) kit: PathBuf,
    /// `assets/manifest.toml`.
    pub(crate) manifest: PathBuf,
}

/// What a quoted path of the kit begins with.
pub(crate) const KIT_PREFIX: &str = "lab-kit/";

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    asset: Vec<ManifestEntry>,
}

#[derive(Deserialize)]
struct ManifestEntry {
    name: String,
    sha256: String,
    size_bytes: u64,
}

impl Labs {
    /// Every lab id: folders that hold a `lab.md`.
    pub(crate) fn ids(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let labs = entries.filter(|entry| entry.path().join("lab.md").is_file());
        let mut ids: Vec<String> = labs.map(|entry| entry.file_name().to_string_lossy().replace('_', "-")).collect();
        ids.sort();
        ids
    }

    fn path(&self, id: &str, file: &str) -> PathBuf {
        self.folder.join(id.replace('-', "_")).join(file)
    }

    /// Reads the reference of a lab.
    ///
    /// # Errors
    /// The file is missing or broken: a sentence with the remedy.
    pub(crate) fn reference(&self, id: &str) -> Result<Reference, String> {
        let path = self.path(id, "reference.json");
        let text = std::fs::read_to_string(path)
            .map_err(|_| format!("the lab has no reference.json; make it with `cargo xtask reference {id}`"))?;
        serde_json::from_str(&text).map_err(|error| format!("its reference.json does not parse ({error})"))
    }

    /// Reads a lab.
    ///
    /// # Errors
    /// As [`Labs::reference`] and [`Labs::words`].
    pub(crate) fn lab(&self, id: &str) -> Result<Lab, String> {
        let (meta, words, words_line) = self.words(id)?;
        Ok(Lab { meta, words, words_line, reference: self.reference(id)? })
    }

    /// Reads `lab.md`: front matter, text, and the line on which the text begins.
    ///
    /// # Errors
    /// The file is missing or broken.
    pub(crate) fn words(&self, id: &str) -> Result<(LabMeta, String, usize), String> {
        let text = std::fs::read_to_string(self.path(id, "lab.md")).map_err(|error| format!("its lab.md: {error}"))?;
        let text = text.replace("\r\n", "\n");
        let (front, words) =
            LabMeta::split(&text).ok_or("its lab.md does not begin with front matter between +++ lines")?;
        let meta: LabMeta =
            toml::from_str(front).map_err(|error| format!("the front matter of its lab.md: {}", error.message()))?;
        let line = 1 + text[..text.len() - words.len()].matches('\n').count();
        Ok((meta, words.to_owned(), line))
    }

    /// The assets a lab names, as the page offers them.
    ///
    /// # Errors
    /// An asset that the manifest does not know.
    pub(crate) fn assets(&self, names: &[String]) -> Result<Vec<AssetRef>, String> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let text = std::fs::read_to_string(&self.manifest).map_err(|error| format!("the asset manifest: {error}"))?;
        let manifest: Manifest =
            toml::from_str(&text).map_err(|error| format!("the asset manifest: {}", error.message()))?;
        let known: BTreeMap<&str, &ManifestEntry> =
            manifest.asset.iter().map(|asset| (asset.name.as_str(), asset)).collect();
        names
            .iter()
            .map(|name| match known.get(name.as_str()) {
                Some(entry) => Ok(AssetRef::new(name, &entry.sha256, entry.size_bytes)),
                None => {
                    let near = lab_api::nearest(name, known.keys().copied());
                    let hint = near.map_or_else(String::new, |near| format!("; did you mean “{near}”?"));
                    Err(format!("the asset “{name}” is not in assets/manifest.toml{hint}"))
                }
            })
            .collect()
    }

    /// Names of the source files of labs, for suggestions.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        collect(&self.folder, "", &mut files);
        collect(&self.kit, KIT_PREFIX, &mut files);
        files
    }

    /// Where a quoted file lies.
    pub(crate) fn source(&self, file: &str) -> PathBuf {
        match file.strip_prefix(KIT_PREFIX) {
            Some(rest) => self.kit.join(rest),
            None => self.folder.join(file),
        }
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push(name);
        }
    }
}
