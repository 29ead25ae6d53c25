//! The 1,797 handwritten digits of the UCI repository, 8x8 pixels each.

use std::io::Read;

use lab_api::LabError;
use rand::seq::SliceRandom;

use crate::context::rng;
use crate::order::Ordered as _;

/// The data set, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Digits {
    /// Brightness 0 to 1 of each pixel: `[images, 64]`.
    pub pixels: Vec<f32>,
    /// The digit 0 to 9 of each image.
    pub labels: Vec<u8>,
}

impl Digits {
    /// Name in the asset manifest.
    pub const ASSET: &'static str = "digits/digits.csv.gz";
    /// Pixels of an image.
    pub const PIXELS: usize = 64;
    /// Width and height of an image.
    pub const SIDE: usize = 8;
    /// Kinds of digit.
    pub const CLASSES: usize = 10;

    /// Reads the gzipped table: per row 64 whole numbers 0 to 16 and the label.
    ///
    /// # Errors
    /// [`LabError::Asset`] with the line, when it is not such a table.
    pub fn read(gzip: &[u8]) -> Result<Self, LabError> {
        let fail = |why: String| LabError::Asset { name: Self::ASSET.into(), why };
        let mut text = String::new();
        flate2::read::GzDecoder::new(gzip)
            .read_to_string(&mut text)
            .map_err(|error| fail(format!("it is not gzipped text ({error})")))?;
        let mut digits = Self { pixels: Vec::new(), labels: Vec::new() };
        for (i, line) in text.lines().enumerate() {
            let bad = || fail(format!("line {} is not 64 numbers from 0 to 16 and a digit", i + 1));
            let row: Vec<u8> = line.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| bad())?;
            let [pixels @ .., label] = row.as_slice() else { return Err(bad()) };
            if pixels.len() != Self::PIXELS || pixels.iter().any(|p| *p > 16) || usize::from(*label) >= Self::CLASSES {
                return Err(bad());
            }
            digits.pixels.extend(pixels.iter().map(|p| f32::from(*p) / 16.0));
            digits.labels.push(*label);
        }
        if digits.labels.is_empty() {
            return Err(fail("it holds no image".into()));
        }
        Ok(digits)
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

    /// Pixels of these images, one after the other: `[indices, 64]`.
    #[must_use]
    pub fn gather(&self, indices: &[usize]) -> Vec<f32> {
        indices.iter().flat_map(|i| self.image(*i)).copied().collect()
    }
}

/// Deals the images into `count` folds, each with the same share of every class: the fold of each image.
#[must_use]
pub fn folds(labels: &[u8], count: u8, seed: u64) -> Vec<u8> {
    let mut rng = rng(seed, "folds");
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.shuffle(&mut rng);
    // Stable: within a class the shuffled order stays.
    order.ordered_by_key(&|i| labels[*i]);
    let mut fold = vec![0; labels.len()];
    for (position, i) in order.into_iter().enumerate() {
        fold[i] = u8::try_from(position % usize::from(count)).unwrap_or(0);
    }
    fold
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_read_whole() {
        let digits = Digits::read(include_bytes!("../../../../assets/digits/digits.csv.gz")).expect("shipped");
        assert_eq!((digits.len(), digits.pixels.len()), (1797, 1797 * 64));
        assert_eq!(digits.labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(digits.image(0)[2..5], [5.0 / 16.0, 13.0 / 16.0, 9.0 / 16.0]);
    }

    #[test]
    fn what_is_not_the_table_is_refused_with_its_line() {
        let whole = include_bytes!("../../../../assets/digits/digits.csv.gz");
        assert!(Digits::read(&whole[..whole.len() / 2]).is_err());
        assert!(Digits::read(b"0,1,2").is_err());
    }

    #[test]
    fn folds_share_every_class_evenly() {
        let labels: Vec<u8> = (0..100).map(|i| i % 10).collect();
        let fold = folds(&labels, 5, 0);
        for class in 0..10 {
            for f in 0..5 {
                let count = (0..100).filter(|i| labels[*i] == class && fold[*i] == f).count();
                assert_eq!(count, 2);
            }
        }
        assert_ne!(fold, folds(&labels, 5, 1));
    }
}
