//! Where things are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

/// The checkout and its build folder.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// `target/`, or what `CARGO_TARGET_DIR` says.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Walks up from the current folder.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let here = std::env::current_dir().context("the current folder cannot be read")?;
        let root = here
            .ancestors()
            .find(|folder| folder.join("xtask/Cargo.toml").is_file())
            .context("run this inside a checkout of the book: no folder above this one holds xtask/Cargo.toml")?
            .to_path_buf();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Ok(Self { root, target })
    }

    /// `cargo WORDS`, started in the root with the toolchain that runs us.
    pub(crate) fn cargo(&self, words: &[impl AsRef<std::ffi::OsStr>]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(words).current_dir(&self.root);
        command
    }

    /// `PROGRAM WORDS`, started in the root.
    pub(crate) fn program(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words).current_dir(&self.root);
        command
    }

    /// A file relative to the root, as messages name it.
    pub(crate) fn name_of<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// Every package of the workspace with its features, from `cargo metadata`.
    pub(crate) fn packages(&self) -> anyhow::Result<Vec<Package>> {
        let output = self.cargo(&["metadata", "--no-deps", "--format-version=1", "--quiet"]).output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let packages = metadata["packages"].as_array().context("cargo metadata lists packages")?;
        let package = |value: &serde_json::Value| {
            Some(Package {
                name: value["name"].as_str()?.to_owned(),
                features: value["features"].as_object()?.keys().cloned().collect(),
            })
        };
        Ok(packages.iter().filter_map(package).collect())
    }

    /// Whether a package of the workspace has this feature.
    pub(crate) fn has_feature(&self, package: &str, feature: &str) -> anyhow::Result<bool> {
        Ok(self.packages()?.iter().any(|p| p.name == package && p.features.iter().any(|f| f == feature)))
    }
}

/// A package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) features: Vec<String>,
}

/// Every file under `folder`, sorted; nothing if it does not exist.
pub(crate) fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Whether a path has this extension.
pub(crate) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}
