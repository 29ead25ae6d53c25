//! Weights as safetensors files: named tensors behind a small header.

use std::collections::HashMap;

use burn::tensor::f16;
use lab_api::{LabError, nearest};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::mlp::{Dense, MlpWeights};

/// How a floating-point number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 4 bytes.
    Fp32,
    /// 2 bytes: 11 significant bits, up to 65,504.
    Fp16,
}

impl Precision {
    /// Bytes of one number.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Fp32 => 4,
            Self::Fp16 => 2,
        }
    }
}

/// An opened weight file.
pub struct WeightFile<'a> {
    name: String,
    tensors: SafeTensors<'a>,
}

impl<'a> WeightFile<'a> {
    /// Opens the content of the asset `name`.
    ///
    /// # Errors
    /// [`LabError::Asset`] when it is cut short or no safetensors file.
    pub fn open(name: &str, bytes: &'a [u8]) -> Result<Self, LabError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| LabError::Asset {
            name: name.to_owned(),
            why: format!("it is no whole safetensors file ({error})"),
        })?;
        Ok(Self { name: name.to_owned(), tensors })
    }

    /// Names and shapes of all tensors, by name.
    #[must_use]
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let tensors = self.tensors.tensors();
        let mut shapes: Vec<_> = tensors.into_iter().map(|(name, view)| (name, view.shape().to_vec())).collect();
        shapes.sort();
        shapes
    }

    /// The floats of a tensor, row-major; halves become singles, since not every device computes in halves.
    ///
    /// # Errors
    /// [`LabError::Asset`] when the tensor is missing, of another shape or type, or holds a number that is not finite.
    pub fn floats(&self, tensor: &str, shape: &[usize]) -> Result<Vec<f32>, LabError> {
        let numbers: Vec<f32> = match self.dtype(tensor) {
            Some(Dtype::F16) => {
                let bytes = self.chunk(tensor, Dtype::F16, shape)?;
                bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            _ => {
                let bytes = self.chunk(tensor, Dtype::F32, shape)?;
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
        };
        if let Some(bad) = numbers.iter().find(|number| !number.is_finite()) {
            return Err(self.fail(format!("tensor “{tensor}” holds {bad}")));
        }
        Ok(numbers)
    }

    /// The bytes of a tensor of unsigned 8-bit integers.
    ///
    /// # Errors
    /// As [`WeightFile::floats`].
    pub fn integers(&self, tensor: &str, shape: &[usize]) -> Result<Vec<u8>, LabError> {
        self.chunk(tensor, Dtype::U8, shape).map(<[u8]>::to_vec)
    }

    /// Layers `{prefix}.{i}.weight` and `{prefix}.{i}.bias` for the given widths (input first).
    ///
    /// # Errors
    /// As [`WeightFile::floats`].
    pub fn mlp(&self, prefix: &str, widths: &[usize]) -> Result<MlpWeights, LabError> {
        let layer = |(i, pair): (usize, &[usize])| {
            let (inputs, outputs) = (pair[0], pair[1]);
            Ok(Dense {
                inputs,
                outputs,
                weight: self.floats(&format!("{prefix}.{i}.weight"), &[outputs, inputs])?,
                bias: self.floats(&format!("{prefix}.{i}.bias"), &[outputs])?,
            })
        };
        Ok(MlpWeights { layers: widths.windows(2).enumerate().map(layer).collect::<Result<_, LabError>>()? })
    }

    fn dtype(&self, tensor: &str) -> Option<Dtype> {
        self.tensors.tensor(tensor).ok().map(|view| view.dtype())
    }

    fn chunk(&self, tensor: &str, dtype: Dtype, shape: &[usize]) -> Result<&[u8], LabError> {
        let Ok(view) = self.tensors.tensor(tensor) else {
            let names = self.tensors.names();
            let near = nearest(tensor, names.iter().copied());
            let hint = near.map_or_else(String::new, |near| format!("; the nearest it has is “{near}”"));
            return Err(self.fail(format!("it lacks the tensor “{tensor}”{hint}")));
        };
        if view.dtype() != dtype {
            return Err(self.fail(format!("tensor “{tensor}” holds {:?}, not {dtype:?}", view.dtype())));
        }
        if view.shape() != shape {
            return Err(self.fail(format!("tensor “{tensor}” has shape {:?}, not {shape:?}", view.shape())));
        }
        Ok(view.data())
    }

    fn fail(&self, why: String) -> LabError {
        LabError::Asset { name: self.name.clone(), why }
    }
}

/// Tensors to be written, by name.
#[derive(Debug, Default)]
pub struct WeightWriter {
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl WeightWriter {
    /// Adds 32-bit floats.
    pub fn floats(&mut self, tensor: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push((tensor.to_owned(), Dtype::F32, shape.to_vec(), bytes));
    }

    /// Adds floats in the given precision.
    ///
    /// # Errors
    /// [`LabError::Refused`] when a number is not finite, or too large for the precision.
    pub fn floats_as(
        &mut self,
        precision: Precision,
        tensor: &str,
        shape: &[usize],
        values: &[f32],
    ) -> Result<(), LabError> {
        let fits = |value: f32| match precision {
            Precision::Fp32 => value.is_finite(),
            Precision::Fp16 => f16::from_f32(value).is_finite(),
        };
        if let Some(bad) = values.iter().find(|value| !fits(**value)) {
            let why = format!("tensor “{tensor}” holds {bad}, which {precision:?} cannot store");
            return Err(LabError::Refused { why });
        }
        match precision {
            Precision::Fp32 => self.floats(tensor, shape, values),
            Precision::Fp16 => {
                let bytes = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
                self.tensors.push((tensor.to_owned(), Dtype::F16, shape.to_vec(), bytes));
            }
        }
        Ok(())
    }

    /// Adds unsigned 8-bit integers.
    pub fn integers(&mut self, tensor: &str, shape: &[usize], values: &[u8]) {
        self.tensors.push((tensor.to_owned(), Dtype::U8, shape.to_vec(), values.to_vec()));
    }

    /// Adds the layers of a network as [`WeightFile::mlp`] reads them.
    pub fn mlp(&mut self, prefix: &str, weights: &MlpWeights) {
        for (i, layer) in weights.layers.iter().enumerate() {
            self.floats(&format!("{prefix}.{i}.weight"), &[layer.outputs, layer.inputs], &layer.weight);
            self.floats(&format!("{prefix}.{i}.bias"), &[layer.outputs], &layer.bias);
        }
    }

    /// The file. `made_by` is kept in its header: one word of metadata, so that equal content gives equal bytes.
    ///
    /// # Errors
    /// [`LabError::Engine`] when a shape does not fit its values.
    pub fn finish(&self, made_by: &str) -> Result<Vec<u8>, LabError> {
        let broken = |error: safetensors::SafeTensorError| LabError::Engine { why: error.to_string() };
        let mut views = Vec::new();
        for (name, dtype, shape, bytes) in &self.tensors {
            views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(broken)?));
        }
        let metadata = HashMap::from([("made_by".to_owned(), made_by.to_owned())]);
        safetensors::serialize(views, Some(metadata)).map_err(broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::rng;

    fn file() -> (MlpWeights, Vec<u8>) {
        let weights = MlpWeights::init(&[4, 3, 2], &mut rng(0, "weights"));
        let mut writer = WeightWriter::default();
        writer.mlp("net", &weights);
        writer.integers("fold", &[3], &[0, 1, 2]);
        (weights, writer.finish("a test").expect("fits"))
    }

    #[test]
    fn what_is_written_is_read() {
        let (weights, bytes) = file();
        let opened = WeightFile::open("w", &bytes).expect("whole");
        assert_eq!(opened.mlp("net", &[4, 3, 2]).expect("there"), weights);
        assert_eq!(opened.integers("fold", &[3]).expect("there"), [0, 1, 2]);
    }

    #[test]
    fn halves_are_read_as_the_nearest_singles() {
        let values = [1.0, -0.333_333_34, 6e-5, 65504.0];
        let mut writer = WeightWriter::default();
        writer.floats_as(Precision::Fp16, "x", &[2, 2], &values).expect("fits");
        let refused = writer.floats_as(Precision::Fp16, "y", &[1], &[65520.0]).expect_err("too large").to_string();
        assert!(refused.contains("“y” holds 65520"), "{refused}");
        let bytes = writer.finish("a test").expect("fits");
        let file = WeightFile::open("w", &bytes).expect("whole");
        assert_eq!(file.shapes(), [("x".to_owned(), vec![2, 2])]);
        let read = file.floats("x", &[2, 2]).expect("there");
        for (a, b) in read.iter().zip(values) {
            // 11 significant bits: half a unit in the last place.
            assert!((a - b).abs() <= b.abs() * f32::exp2(-11.0), "{a} {b}");
        }
        assert!(file.floats("x", &[4]).expect_err("shape").to_string().contains("has shape [2, 2], not [4]"));
    }

    #[test]
    fn every_defect_is_named() {
        let (_, bytes) = file();
        assert!(matches!(WeightFile::open("w", &bytes[..bytes.len() - 1]), Err(LabError::Asset { .. })));
        assert!(matches!(WeightFile::open("w", b"<html>not found"), Err(LabError::Asset { .. })));
        let opened = WeightFile::open("w", &bytes).expect("whole");
        let why = |result: Result<MlpWeights, LabError>| result.expect_err("refused").to_string();
        assert!(why(opened.mlp("net", &[4, 5, 2])).contains("shape [3, 4], not [5, 4]"));
        assert!(why(opened.mlp("nett", &[4, 3, 2])).contains("nearest it has is “net.0.weight”"));
        let mut writer = WeightWriter::default();
        writer.floats("x", &[1], &[f32::NAN]);
        let bytes = writer.finish("a test").expect("fits");
        let error = WeightFile::open("w", &bytes).expect("whole").floats("x", &[1]).expect_err("refused");
        assert!(error.to_string().contains("holds NaN"));
    }
}
