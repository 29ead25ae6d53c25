//! Letters and digits drawn from free fonts, split by font family: the test part holds families never seen in training.

use std::ops::Range;

use lab_api::LabError;
use serde::{Deserialize, Serialize};

use crate::gunzip;

/// Whether images are for training or for judging. A family stands wholly in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For training.
    Train,
    /// Families never seen in training.
    Test,
}

/// A font family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// Its name, as the font says it.
    pub name: String,
    /// The Debian package it comes from.
    pub package: String,
    /// Where all its images belong.
    pub split: Split,
}

/// The data set, row-major, family by family.
#[derive(Debug, Clone, PartialEq)]
pub struct Glyphs {
    /// Ink of each pixel, 0 (none) to 1: `[images, 256]`.
    pub pixels: Vec<f32>,
    /// The class of each image, an index into [`Glyphs::CLASSES`].
    pub labels: Vec<u8>,
    family: Vec<u16>,
    families: Vec<Family>,
}

/// The header of the file: JSON between the magic line and the arrays.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    side: usize,
    levels: u8,
    classes: String,
    images: usize,
    families: Vec<Family>,
}

impl Glyphs {
    /// Name in the asset manifest.
    pub const ASSET: &'static str = "glyphs/glyphs.bin.gz";
    /// Width and height of an image.
    pub const SIDE: usize = 16;
    /// Pixels of an image.
    pub const PIXELS: usize = Self::SIDE * Self::SIDE;
    /// Levels of grey, white and black included.
    pub const LEVELS: u8 = 16;
    /// Digits, upper case, and the lower case that differs in shape: the 47 “balanced” classes of EMNIST (Cohen et al.,
    /// arXiv:1702.05373). Size is taken from the images, so c, o, s and the like are as their capitals.
    pub const CLASSES: &'static str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt";

    const MAGIC: &'static [u8] = b"glyphs 1\n";
    /// More than the file unpacks to, in bytes.
    const LIMIT_BYTES: usize = 64 << 20;

    /// The character of a class; `None` for a class that does not exist.
    #[must_use]
    pub fn character(class: u8) -> Option<char> {
        Self::CLASSES.as_bytes().get(usize::from(class)).map(|byte| char::from(*byte))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`LabError::Asset`] when it is cut off, altered, of another kind, or names a class or family that does not exist.
    pub fn read(gzip: &[u8]) -> Result<Self, LabError> {
        let fail = |why: String| LabError::Asset { name: Self::ASSET.into(), why };
        let cut = || fail("it ends too early".into());
        let content = gunzip(Self::ASSET, gzip, Self::LIMIT_BYTES)?;
        let rest = content.strip_prefix(Self::MAGIC).ok_or_else(|| fail("it is not a file of glyphs".into()))?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let (header, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?;
        let header: Header =
            serde_json::from_slice(header).map_err(|error| fail(format!("its header cannot be read ({error})")))?;
        if (header.side, header.levels, header.classes.as_str()) != (Self::SIDE, Self::LEVELS, Self::CLASSES) {
            let Header { side, levels, classes, .. } = header;
            return Err(fail(format!("it holds images of side {side} in {levels} levels of the classes {classes}")));
        }
        let sizes = [header.images.checked_mul(Self::PIXELS / 2), Some(header.images), header.images.checked_mul(2)];
        let [Some(pixels), Some(labels), Some(families)] = sizes else { return Err(cut()) };
        let (pixels, rest) = rest.split_at_checked(pixels).ok_or_else(cut)?;
        let (labels, rest) = rest.split_at_checked(labels).ok_or_else(cut)?;
        let (families, rest) = rest.split_at_checked(families).ok_or_else(cut)?;
        if !rest.is_empty() {
            return Err(fail(format!("{} bytes too many follow", rest.len())));
        }
        if labels.is_empty() {
            return Err(fail("it holds no image".into()));
        }
        if let Some(i) = labels.iter().position(|label| usize::from(*label) >= Self::CLASSES.len()) {
            return Err(fail(format!("image {i} is of class {}, but there are {}", labels[i], Self::CLASSES.len())));
        }
        let family: Vec<u16> = families.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect();
        if let Some(i) = family.iter().position(|family| usize::from(*family) >= header.families.len()) {
            return Err(fail(format!("image {i} is of family {}, but there are {}", family[i], header.families.len())));
        }
        let ink = |level: u8| f32::from(level) / f32::from(Self::LEVELS - 1);
        Ok(Self {
            // Two pixels a byte, the first in the high half.
            pixels: pixels.iter().flat_map(|two| [ink(two >> 4), ink(two & 15)]).collect(),
            labels: labels.to_vec(),
            family,
            families: header.families,
        })
    }

    /// The content of a file (to be gzipped) with these images: pixels as levels, class, and index of the family.
    ///
    /// # Errors
    /// [`LabError::Asset`] for an image of another size or with a level that does not exist.
    pub fn write(families: Vec<Family>, images: &[(Vec<u8>, u8, u16)]) -> Result<Vec<u8>, LabError> {
        let fail = |why: String| LabError::Asset { name: Self::ASSET.into(), why };
        if let Some((pixels, ..)) = images.iter().find(|(pixels, ..)| pixels.len() != Self::PIXELS) {
            return Err(fail(format!("an image has {} pixels, not {}", pixels.len(), Self::PIXELS)));
        }
        let mut all = images.iter().flat_map(|(pixels, ..)| pixels);
        if let Some(level) = all.find(|level| **level >= Self::LEVELS) {
            return Err(fail(format!("a pixel is {level}, but the levels end at {}", Self::LEVELS - 1)));
        }
        let (side, levels, classes) = (Self::SIDE, Self::LEVELS, Self::CLASSES.to_owned());
        let header = Header { side, levels, classes, images: images.len(), families };
        let header = serde_json::to_vec(&header).map_err(|error| fail(error.to_string()))?;
        let length = u32::try_from(header.len()).map_err(|error| fail(error.to_string()))?;
        let mut content = [Self::MAGIC, &length.to_le_bytes(), &header].concat();
        for (pixels, ..) in images {
            content.extend(pixels.chunks_exact(2).map(|two| two[0] << 4 | two[1]));
        }
        content.extend(images.iter().map(|(_, label, _)| label));
        images.iter().for_each(|(_, _, family)| content.extend(family.to_le_bytes()));
        Ok(content)
    }

    /// How many images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of image `i`.
    #[must_use]
    pub fn image(&self, i: usize) -> &[f32] {
        &self.pixels[i * Self::PIXELS..(i + 1) * Self::PIXELS]
    }

    /// Pixels of these images, one after the other: `[indices, 256]`.
    #[must_use]
    pub fn gather(&self, indices: &[usize]) -> Vec<f32> {
        indices.iter().flat_map(|i| self.image(*i)).copied().collect()
    }

    /// Classes of these images.
    #[must_use]
    pub fn labels_of(&self, indices: &[usize]) -> Vec<u8> {
        indices.iter().map(|i| self.labels[*i]).collect()
    }

    /// The family of image `i`, an index into [`Glyphs::families`]. Images of a family err together, so intervals draw
    /// families, not images.
    #[must_use]
    pub fn family_of(&self, i: usize) -> usize {
        usize::from(self.family[i])
    }

    /// All families.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// The images of a part.
    #[must_use]
    pub fn indices(&self, split: Split) -> Vec<usize> {
        let all: Range<usize> = 0..self.len();
        all.filter(|i| self.families[self.family_of(*i)].split == split).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn families() -> Vec<Family> {
        let family = |name: &str, split| Family { name: name.into(), package: "fonts-example".into(), split };
        vec![family("One", Split::Train), family("Two", Split::Test)]
    }

    fn image(level: u8) -> Vec<u8> {
        vec![level; Glyphs::PIXELS]
    }

    #[test]
    fn what_is_written_is_read() {
        let content = Glyphs::write(families(), &[(image(15), 10, 0), (image(3), 46, 1)]).expect("writes");
        let glyphs = Glyphs::read(&gzip(&content)).expect("reads");
        assert_eq!((glyphs.len(), glyphs.image(0)[7], glyphs.image(1)[0]), (2, 1.0, 0.2));
        assert_eq!(
            glyphs.labels.iter().map(|label| Glyphs::character(*label)).collect::<Vec<_>>(),
            [Some('A'), Some('t')]
        );
        assert_eq!((glyphs.indices(Split::Train), glyphs.indices(Split::Test)), (vec![0], vec![1]));
        assert_eq!(glyphs.families()[glyphs.family_of(1)].name, "Two");
        assert_eq!((glyphs.gather(&[1]).len(), glyphs.labels_of(&[1])), (Glyphs::PIXELS, vec![46]));
        assert_eq!(Glyphs::character(47), None);
    }

    #[test]
    fn the_shipped_file_holds_enough_unseen_families() {
        let glyphs = Glyphs::read(include_bytes!("../../../assets/glyphs/glyphs.bin.gz")).expect("shipped");
        let families = |split| glyphs.families().iter().filter(|family| family.split == split).count();
        assert!(families(Split::Train) >= 100 && families(Split::Test) >= 50);
        let test = glyphs.indices(Split::Test);
        for class in 0..u8::try_from(Glyphs::CLASSES.len()).expect("few") {
            assert!(
                test.iter().filter(|i| glyphs.labels[**i] == class).count() >= 30,
                "{:?}",
                Glyphs::character(class)
            );
        }
        // Centred: as much ink in the upper as in the lower half, on average.
        let half = Glyphs::PIXELS / 2;
        let upper: f32 = test.iter().map(|i| glyphs.image(*i)[..half].iter().sum::<f32>()).sum();
        let lower: f32 = test.iter().map(|i| glyphs.image(*i)[half..].iter().sum::<f32>()).sum();
        assert!((upper / lower - 1.0).abs() < 0.15, "{upper} {lower}");
    }

    #[test]
    fn files_that_are_cut_or_wrong_are_refused_with_the_reason() {
        let write = |images: &[(Vec<u8>, u8, u16)]| Glyphs::write(families(), images).expect("writes");
        let whole = write(&[(image(15), 10, 0), (image(3), 46, 1)]);
        for end in 0..whole.len() {
            assert!(Glyphs::read(&gzip(&whole[..end])).is_err(), "cut at {end}");
        }
        let renamed = |from: &str, to: &str| {
            let header = String::from_utf8_lossy(&whole[13..]).into_owned();
            let at = 13 + header.find(from).expect("there");
            let mut changed = whole.clone();
            changed.splice(at..at + from.len(), to.bytes());
            changed
        };
        for (content, why) in [
            (b"GIF89a".to_vec(), "not a file of glyphs"),
            ([whole.clone(), vec![0]].concat(), "1 bytes too many"),
            (write(&[(image(15), 47, 0)]), "of class 47"),
            (write(&[(image(15), 1, 2)]), "of family 2"),
            (write(&[]), "no image"),
            (renamed("0123456789", "1023456789"), "of the classes 1023"),
            (renamed("\"train\"", "\"valid\""), "header cannot be read"),
        ] {
            let error = Glyphs::read(&gzip(&content)).expect_err(why).to_string();
            assert!(error.contains(why) && error.contains(Glyphs::ASSET), "{error}");
        }
        assert!(Glyphs::read(&whole).is_err(), "not gzipped");
        assert!(Glyphs::write(families(), &[(vec![0; 10], 0, 0)]).is_err());
        assert!(Glyphs::write(families(), &[(image(16), 0, 0)]).expect_err("16").to_string().contains("a pixel is 16"));
    }
}
