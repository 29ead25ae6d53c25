//! The labs as the book sees them: words, parameters, reference results. Nothing is run here.

use std::path::{Component, Path, PathBuf};

use asset_manifest::Manifest;
use lab_api::{AssetRef, LabMeta, Reference};

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

/// Where labs lie in a project.
pub(crate) const FOLDER: &str = "labs/src";

/// Where the code that labs share lies, and what a quoted path of it begins with.
pub(crate) const SHARED: [(&str, &str); 3] = [
    ("lab-kit/", "crates/lab-kit/src"),
    ("lab-layers/", "crates/lab-layers/src"),
    ("lab-kernels/", "crates/lab-kernels/src"),
];

/// All labs of a project.
#[derive(Debug, Clone)]
pub(crate) struct Labs {
    /// The project: the folder that holds [`FOLDER`], [`SHARED`] and the assets.
    pub(crate) root: PathBuf,
}

impl Labs {
    /// Every lab id: folders that hold a `lab.md`.
    pub(crate) fn ids(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(FOLDER)).into_iter().flatten().flatten();
        let labs = entries.filter(|entry| entry.path().join("lab.md").is_file());
        let mut ids: Vec<String> = labs.map(|entry| entry.file_name().to_string_lossy().replace('_', "-")).collect();
        ids.sort();
        ids
    }

    fn path(&self, id: &str, file: &str) -> PathBuf {
        self.root.join(FOLDER).join(id.replace('-', "_")).join(file)
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
        let manifest = Manifest::read(&self.root).map_err(|error| format!("{error:#}"))?;
        names
            .iter()
            .map(|name| match manifest.get(name) {
                Some(asset) => Ok(AssetRef::new(name, &asset.sha256, asset.size_bytes)),
                None => {
                    let near = lab_api::nearest(name, manifest.asset.iter().map(|asset| asset.name.as_str()));
                    let hint = near.map_or_else(String::new, |near| format!("; did you mean “{near}”?"));
                    Err(format!("the asset “{name}” is not in {}{hint}", asset_manifest::PATH))
                }
            })
            .collect()
    }

    /// Names of the source files of labs, for suggestions.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        collect(&self.root.join(FOLDER), "", &mut files);
        for (prefix, folder) in SHARED {
            collect(&self.root.join(folder), prefix, &mut files);
        }
        files
    }

    /// Where a quoted file lies, from the project's root; `None` for a path that leaves the labs and what they share.
    pub(crate) fn quoted(file: &str) -> Option<PathBuf> {
        let shared = SHARED.iter().find_map(|(prefix, folder)| Some((*folder, file.strip_prefix(prefix)?)));
        let (folder, inside) = shared.unwrap_or((FOLDER, file));
        let stays = Path::new(inside).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        stays.then(|| Path::new(folder).join(inside))
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
