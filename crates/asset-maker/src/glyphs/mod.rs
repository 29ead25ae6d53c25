//! The glyphs: letters and digits of free fonts, drawn, sorted out, and split by family.

mod packages;
mod raster;
mod select;
mod sheet;

use std::{collections::BTreeSet, path::Path};

use anyhow::Context as _;
use asset_manifest::{Manifest, checksum, record, toml_edit};
use lab_data::{Family, Glyphs, Split};

use crate::pack;
use select::Candidate;

/// Of 100 groups of families, how many are for judging.
const TEST_PER_CENT: u64 = 30;
/// Fewest families that make a data set.
const FAMILIES: usize = 150;

/// Draws the glyphs from Debian's packages, which are fetched into `fonts`, and writes them; `sheet` is where a picture
/// of all of them goes.
///
/// # Errors
/// A package cannot be had, or too few families remain.
pub(crate) fn make(root: &Path, fonts: &Path, sheet: Option<&Path>) -> anyhow::Result<()> {
    let packages = packages::fetch(fonts)?;
    let mut drawn = Vec::new();
    for package in &packages {
        for file in packages::fonts(package)? {
            let Some(font) = raster::draw(&file)? else { continue };
            let mut candidate =
                Candidate { family: font.family, package: package.name.clone(), pictures: font.pictures };
            select::drop_twins(&mut candidate);
            if candidate.letters() >= select::LETTERS {
                drawn.push((font.distance, candidate));
            }
        }
    }
    println!("{} fonts of {} packages have the letters", drawn.len(), packages.len());
    let families = select::regular(drawn);
    println!("{} families", families.len());
    let (mut families, clones) = select::drop_clones(families);
    println!("without {} clones: {}", clones.len(), pairs(&clones));
    select::drop_wrong_case(&mut families);
    families.retain(|family| family.letters() >= select::LETTERS);
    let (families, illegible) = select::drop_illegible(families);
    println!("without {} that are not legible: {}", illegible.len(), illegible.join(", "));
    anyhow::ensure!(families.len() >= FAMILIES, "only {} families remain, fewer than {FAMILIES}", families.len());
    if let Some(sheet) = sheet {
        sheet::write(sheet, &families)?;
    }
    write(root, &packages, &families)
}

/// Checks the committed file against the manifest, and that no family stands in both parts. Makes nothing.
///
/// # Errors
/// The file is missing or altered.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let manifest = Manifest::read(root)?;
    let asset = manifest.get(Glyphs::ASSET).context("there are no glyphs; `cargo xtask data glyphs` makes them")?;
    let glyphs = Glyphs::read(&asset.load(root)?)?;
    let groups = |split| -> BTreeSet<String> {
        glyphs.families().iter().filter(|family| family.split == split).map(|family| group(&family.name)).collect()
    };
    let (train, test) = (groups(Split::Train), groups(Split::Test));
    if let Some(both) = train.intersection(&test).next() {
        anyhow::bail!("relatives named “{both}” stand in both parts");
    }
    let families = glyphs.families().len();
    println!("The glyphs are intact: {} images of {families} families.", glyphs.len());
    Ok(())
}

fn write(root: &Path, packages: &[packages::Package], candidates: &[Candidate]) -> anyhow::Result<()> {
    let mut images = Vec::new();
    let mut families = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let split = split_of(&candidate.family);
        families.push(Family { name: candidate.family.clone(), package: candidate.package.clone(), split });
        for (class, picture) in candidate.pictures.iter().enumerate() {
            if let Some(picture) = picture {
                images.push((picture.clone(), u8::try_from(class)?, u16::try_from(index)?));
            }
        }
    }
    let file = pack::gzip(&Glyphs::write(families.clone(), &images)?)?;
    let of = |split| families.iter().filter(|family| family.split == split).count();
    let (train, test) = (of(Split::Train), of(Split::Test));
    let used: BTreeSet<&str> = candidates.iter().map(|candidate| candidate.package.as_str()).collect();
    let mut list = toml_edit::Array::new();
    for package in packages.iter().filter(|package| used.contains(package.name.as_str())) {
        list.push(format!("{} {}: {}", package.name, package.version, package.licence));
    }
    list.iter_mut().for_each(|line| line.decor_mut().set_prefix("\n    "));
    list.set_trailing("\n");
    let title = format!(
        "{} letters and digits of {train} font families for training and {test} for judging, 16x16 in 16 levels of grey",
        images.len()
    );
    let about = [
        ("title", title),
        ("source", format!("drawn from the fonts of {} Debian packages, listed below with versions", used.len())),
        ("licence", "MIT OR Apache-2.0 (the images); each package's fonts as listed below".to_owned()),
        ("command", "cargo xtask data glyphs".to_owned()),
    ];
    let mut about = about.map(|(key, words)| (key, toml_edit::value(words))).to_vec();
    about.push(("fonts", toml_edit::value(list)));
    record(root, Glyphs::ASSET, &file, &about)?;
    println!(
        "Wrote assets/{} ({} bytes): {} images of {train} + {test} families",
        Glyphs::ASSET,
        file.len(),
        images.len()
    );
    Ok(())
}

/// Relatives share the first word of their names (Noto Sans, Noto Serif) and are dealt together.
fn group(family: &str) -> String {
    family.split_whitespace().next().unwrap_or(family).to_lowercase()
}

/// The part a family belongs to: fixed by its name, so that it stays where it is when others come or go.
fn split_of(family: &str) -> Split {
    let hash = checksum(format!("glyphs version 1: {}", group(family)).as_bytes());
    let share = u64::from_str_radix(&hash[..12], 16).unwrap_or(0) % 100;
    if share < TEST_PER_CENT { Split::Test } else { Split::Train }
}

fn pairs(clones: &[(String, String)]) -> String {
    clones.iter().map(|(clone, of)| format!("{clone} = {of}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_glyphs_are_intact() {
        check(&pack::checkout()).expect("as the manifest says");
    }

    #[test]
    fn relatives_are_dealt_together_and_a_third_is_for_judging() {
        assert_eq!(split_of("Noto Sans"), split_of("noto serif"));
        let test = (0..10_000).filter(|i| split_of(&format!("family{i}")) == Split::Test).count();
        assert!((2850..3150).contains(&test), "{test}");
    }
}
