//! The fonts: Debian packages, fetched and unpacked without installing them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

/// A package of fonts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    /// As Debian numbers it.
    pub(super) version: String,
    /// Of its fonts.
    pub(super) licence: String,
    /// Where it is unpacked.
    pub(super) folder: PathBuf,
}

/// The committed list: a package and the licence of its fonts on each line.
const LIST: &str = include_str!("packages.txt");

fn list() -> impl Iterator<Item = (&'static str, &'static str)> {
    LIST.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
}

/// Fetches every package of the list that `folder` lacks, and unpacks it.
///
/// # Errors
/// This is no Debian, or a package cannot be had.
pub(super) fn fetch(folder: &Path) -> anyhow::Result<Vec<Package>> {
    let archives = folder.join("archives");
    std::fs::create_dir_all(&archives).with_context(|| format!("{} cannot be made", archives.display()))?;
    let known = versions(&archives)?;
    let missing: Vec<&str> = list().map(|(name, _)| name).filter(|name| !known.contains_key(*name)).collect();
    if !missing.is_empty() {
        println!("Fetching {} packages of fonts ...", missing.len());
        run(Command::new("apt-get").args(["download", "--quiet", "--quiet"]).args(&missing).current_dir(&archives))
            .context("fonts come from Debian's packages; on Debian, `apt-get update` first")?;
    }
    let known = versions(&archives)?;
    let mut packages = Vec::new();
    for (name, licence) in list() {
        let (version, archive) = known.get(name).with_context(|| format!("{name} was not fetched"))?;
        let package = Package {
            name: name.into(),
            version: version.clone(),
            licence: licence.into(),
            folder: folder.join("unpacked").join(name),
        };
        if !package.folder.is_dir() {
            run(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(&package.folder))?;
        }
        packages.push(package);
    }
    Ok(packages)
}

/// Version and file of each package in a folder of `NAME_VERSION_ARCHITECTURE.deb`.
fn versions(archives: &Path) -> anyhow::Result<BTreeMap<String, (String, PathBuf)>> {
    let mut versions = BTreeMap::new();
    for entry in std::fs::read_dir(archives)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut parts = name.strip_suffix(".deb").unwrap_or_default().split('_');
        if let (Some(package), Some(version)) = (parts.next(), parts.next()) {
            // apt writes an epoch's colon as %3a.
            versions.insert(package.to_owned(), (version.replace("%3a", ":"), path.clone()));
        }
    }
    Ok(versions)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{program} cannot be started"))?;
    anyhow::ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The fonts of a package, in the order of their paths.
pub(super) fn fonts(package: &Package) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = vec![package.folder.clone()];
    let mut fonts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let path = entry.path();
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && ["ttf", "otf"].contains(&extension.to_ascii_lowercase().as_str()) {
                fonts.push(path);
            }
        }
    }
    fonts.sort();
    Ok(fonts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_of_the_list_has_a_free_licence() {
        let free = [
            "OFL",
            "Apache",
            "MIT",
            "BSD",
            "CC0",
            "CC-BY-3",
            "public domain",
            "Bitstream",
            "GUST",
            "mplus",
            "Unlicense",
        ];
        let named = ["aenigma", "ParaType", "WITH Font-exception-2.0"];
        let mut names: Vec<&str> = Vec::new();
        for (name, licence) in list() {
            let known = free.iter().chain(&named).any(|word| licence.contains(word));
            assert!(known && name.starts_with("fonts-"), "{name}: {licence}");
            names.push(name);
        }
        assert!(names.len() > 150 && names.is_sorted() && names.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn versions_are_read_from_the_archives_names() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("fonts-x_1%3a2.0-1_all.deb"), "").expect("written");
        let versions = versions(folder.path()).expect("reads");
        assert_eq!(versions["fonts-x"].0, "1:2.0-1");
    }
}
