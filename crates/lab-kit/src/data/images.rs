//! Labelled images, whatever they show: what a lab that runs on several data sets sees of each.

use super::{Digits, Glyphs};

/// Square images of one size with their classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// Ink of each pixel, 0 to 1: `[images, side * side]`, row-major.
    pub pixels: Vec<f32>,
    /// The class of each image, an index into `classes`.
    pub labels: Vec<u8>,
    /// Width and height of an image.
    pub side: usize,
    /// One character for each class.
    pub classes: &'static str,
    /// Which images err together (those of a font family); empty where each stands for itself.
    pub groups: Vec<usize>,
}

impl Images {
    /// Some of the glyphs, with their font families as groups.
    #[must_use]
    pub fn of_glyphs(glyphs: &Glyphs, indices: &[usize]) -> Self {
        Self {
            pixels: glyphs.gather(indices),
            labels: glyphs.labels_of(indices),
            side: Glyphs::SIDE,
            classes: Glyphs::CLASSES,
            groups: indices.iter().map(|i| glyphs.family_of(*i)).collect(),
        }
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

    /// How many classes.
    #[must_use]
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// The character of a class; `?` for one that does not exist.
    #[must_use]
    pub fn character(&self, class: u8) -> char {
        self.classes.as_bytes().get(usize::from(class)).map_or('?', |byte| char::from(*byte))
    }

    /// Pixels of one image, in number.
    #[must_use]
    pub fn pixels_each(&self) -> usize {
        self.side * self.side
    }

    /// Pixels of image `i`.
    #[must_use]
    pub fn image(&self, i: usize) -> &[f32] {
        &self.pixels[i * self.pixels_each()..(i + 1) * self.pixels_each()]
    }

    /// Pixels of these images, one after the other: `[indices, side * side]`.
    #[must_use]
    pub fn gather(&self, indices: &[usize]) -> Vec<f32> {
        indices.iter().flat_map(|i| self.image(*i)).copied().collect()
    }
}

impl From<Digits> for Images {
    fn from(digits: Digits) -> Self {
        Self {
            pixels: digits.pixels,
            labels: digits.labels,
            side: Digits::SIDE,
            classes: "0123456789",
            groups: Vec::new(),
        }
    }
}
