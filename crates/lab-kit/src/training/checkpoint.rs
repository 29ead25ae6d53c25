//! Stopping and going on: a training that was resumed ends in the very numbers of one that was not.

use burn::{
    module::Module,
    optim::OptimizerRecord,
    tensor::{Bytes, Device},
};
use lab_api::LabError;

use super::{Recipe, Trainer};
use crate::{
    models::StateDict,
    weights::{Precision, WeightFile, WeightWriter},
};

/// A training at rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Steps done.
    pub step: usize,
    /// The weights, in full precision.
    pub weights: StateDict,
    /// Loss of the first step.
    first_loss: Option<f32>,
    /// State of the optimizer, in Burn's own format.
    optimizer: Vec<u8>,
}

/// Names of what is no weight.
const STEP: &str = "training.step";
const OPTIMIZER: &str = "training.optimizer";
const FIRST_LOSS: &str = "training.first_loss";

impl Checkpoint {
    /// The file of this checkpoint, a safetensors file.
    ///
    /// # Errors
    /// [`LabError::Refused`] when a weight is not finite.
    pub fn write(&self) -> Result<Vec<u8>, LabError> {
        let mut writer = WeightWriter::default();
        for (name, weight) in self.weights.iter() {
            writer.floats_as(Precision::Fp32, name, &weight.shape, &weight.values)?;
        }
        writer.integers(STEP, &[8], &(self.step as u64).to_le_bytes());
        writer.integers(OPTIMIZER, &[self.optimizer.len()], &self.optimizer);
        if let Some(loss) = self.first_loss {
            writer.floats(FIRST_LOSS, &[1], &[loss]);
        }
        writer.finish("a training that is not finished")
    }

    /// Reads such a file; `source` is its name, for errors.
    ///
    /// # Errors
    /// [`LabError::Asset`] when it is cut short or is no checkpoint.
    pub fn read(source: &str, bytes: &[u8]) -> Result<Self, LabError> {
        let file = WeightFile::open(source, bytes)?;
        let mut weights = StateDict::default();
        let (mut optimizer, mut first_loss) = (Vec::new(), None);
        for (name, shape) in file.shapes() {
            match name.as_str() {
                OPTIMIZER => optimizer = file.integers(&name, &shape)?,
                FIRST_LOSS => first_loss = file.floats(&name, &[1])?.first().copied(),
                STEP => {}
                _ => weights.insert(&name, &shape, file.floats(&name, &shape)?)?,
            }
        }
        let step = file.integers(STEP, &[8])?;
        let step = step.try_into().map(u64::from_le_bytes).ok().and_then(|step| usize::try_from(step).ok());
        let step = step.ok_or_else(|| LabError::Asset { name: source.into(), why: "its step is no number".into() })?;
        Ok(Self { step, weights, first_loss, optimizer })
    }
}

impl<M: Module> Trainer<M> {
    /// The training as it is now. Waits for the device, so not for a GPU in a browser.
    ///
    /// # Errors
    /// [`LabError::Engine`] when the optimizer's state cannot be written, [`LabError::Device`] when the device fails.
    pub async fn checkpoint(&self) -> Result<Checkpoint, LabError> {
        let optimizer = self.optimizer.to_record().into_bytes();
        let optimizer = optimizer.map_err(|error| LabError::Engine { why: error.to_string() })?;
        Ok(Checkpoint {
            step: self.step,
            weights: StateDict::of(&self.model).await?,
            first_loss: self.first_loss,
            optimizer: optimizer.to_vec(),
        })
    }

    /// Goes on from a checkpoint. `model` gives the structure alone, its weights come from the checkpoint; the recipe must
    /// be the one it was begun with.
    ///
    /// # Errors
    /// [`LabError::Asset`] when the checkpoint fits another model or its optimizer's state cannot be read.
    pub fn resume(model: M, recipe: Recipe, checkpoint: &Checkpoint, device: &Device) -> Result<Self, LabError> {
        const SOURCE: &str = "checkpoint";
        let model = checkpoint.weights.load_into(model, SOURCE, device)?;
        let mut trainer = Self::new(model, recipe)?;
        let record = OptimizerRecord::from_bytes(Bytes::from_bytes_vec(checkpoint.optimizer.clone()));
        let record = record.map_err(|error| LabError::Asset { name: SOURCE.into(), why: error.to_string() })?;
        trainer.optimizer = trainer.optimizer.load_record(record);
        trainer.step = checkpoint.step;
        trainer.first_loss = checkpoint.first_loss;
        Ok(trainer)
    }
}
