//! The digit classifiers that ship with the book: five networks, each trained without the images it is judged by.

use lab_api::LabError;

use crate::{
    data::Digits,
    mlp::MlpWeights,
    weights::{WeightFile, WeightWriter},
};

/// Five 64-128-128-10 classifiers and the fold of every image. Network `f` has never seen the images of fold `f`, so
/// its answers on them estimate how it does on new ones; together the five judge all images.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossValidated {
    /// The fold of each image.
    pub fold: Vec<u8>,
    /// One network for each fold.
    pub models: Vec<MlpWeights>,
}

impl CrossValidated {
    /// Name in the asset manifest. FP32, since the labs compare against its bytes and its accuracy as trained.
    pub const ASSET: &'static str = "digits/mlp.safetensors";
    /// Widths from pixels to logits.
    pub const WIDTHS: [usize; 4] = [Digits::PIXELS, 128, 128, Digits::CLASSES];
    /// How many networks.
    pub const FOLDS: u8 = 5;

    /// Reads the weight file for a data set of `images` images.
    ///
    /// # Errors
    /// [`LabError::Asset`] when it is cut short, lacks a tensor, or holds one of another shape.
    pub fn read(bytes: &[u8], images: usize) -> Result<Self, LabError> {
        let file = WeightFile::open(Self::ASSET, bytes)?;
        let fold = file.integers("fold", &[images])?;
        if let Some(bad) = fold.iter().find(|fold| **fold >= Self::FOLDS) {
            let why = format!("an image is in fold {bad}, but there are {}", Self::FOLDS);
            return Err(LabError::Asset { name: Self::ASSET.into(), why });
        }
        let model = |fold: u8| file.mlp(&format!("fold{fold}"), &Self::WIDTHS);
        Ok(Self { fold, models: (0..Self::FOLDS).map(model).collect::<Result<_, _>>()? })
    }

    /// The weight file.
    ///
    /// # Errors
    /// [`LabError::Engine`] when a shape does not fit its values.
    pub fn write(&self, made_by: &str) -> Result<Vec<u8>, LabError> {
        let mut writer = WeightWriter::default();
        writer.integers("fold", &[self.fold.len()], &self.fold);
        for (fold, model) in self.models.iter().enumerate() {
            writer.mlp(&format!("fold{fold}"), model);
        }
        writer.finish(made_by)
    }

    /// The images that network `fold` is judged by.
    #[must_use]
    pub fn held_out(&self, fold: usize) -> Vec<usize> {
        (0..self.fold.len()).filter(|i| usize::from(self.fold[*i]) == fold).collect()
    }

    /// The images that network `fold` was trained on.
    #[must_use]
    pub fn trained_on(&self, fold: usize) -> Vec<usize> {
        (0..self.fold.len()).filter(|i| usize::from(self.fold[*i]) != fold).collect()
    }
}
