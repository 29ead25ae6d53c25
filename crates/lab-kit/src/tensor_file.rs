//! A safetensors file read tensor by tensor, a block of rows at a time: never more of it in memory than a block or the longest row, 16 MiB.

use burn::tensor::{bf16, f16};
use lab_api::LabError;
use safetensors::{Dtype, tensor::Metadata};

use crate::{Context, Input};

/// Bytes of the length that a file begins with.
const PREFIX: u64 = 8;
/// The format's own limit of a header, in bytes.
const HEADER: u64 = 100_000_000;
/// Numbers read at once, about.
const BLOCK: usize = 1 << 18;
/// Numbers of a row at most: rows are never parted.
const LONGEST_ROW: usize = 1 << 22;

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How its numbers are stored, in the format's words: `F16`.
    pub dtype: String,
    /// Bytes it takes in the file.
    pub bytes: u64,
    /// Bytes of one number, and how to read it; `None` for types that are no floats of 16 or 32 bits.
    float: Option<Float>,
    /// Where its first byte lies.
    start: u64,
}

/// A floating-point type that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Float {
    F32,
    F16,
    Bf16,
}

impl Float {
    fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Self::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Self::Bf16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        }
    }
}

impl TensorEntry {
    /// Numbers in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its numbers can be read: F32, F16 or BF16.
    #[must_use]
    pub fn is_float(&self) -> bool {
        self.float.is_some()
    }

    /// Numbers of a row: all dimensions after the first, as for a matrix `[outputs, inputs]` or a convolution
    /// `[outputs, inputs, height, width]`.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.shape.iter().skip(1).product()
    }
}

/// An opened file: what its header says.
pub struct TensorFile {
    input: Input,
    /// Tensors in the order of the file.
    pub tensors: Vec<TensorEntry>,
}

impl TensorFile {
    /// Reads the header and holds it against the length of the file.
    ///
    /// # Errors
    /// [`LabError::File`] (or [`LabError::Asset`]) when it is no safetensors file, or is cut short.
    pub async fn open(input: Input) -> Result<Self, LabError> {
        let no_header = || input.fail("it is no safetensors file: it does not begin with a header".to_owned());
        if input.size_bytes() < PREFIX + 2 {
            return Err(no_header());
        }
        let prefix = input.read(0..PREFIX).await?;
        let header = prefix.try_into().map(u64::from_le_bytes).map_err(|_| no_header())?;
        if header > HEADER || header > input.size_bytes() - PREFIX {
            return Err(no_header());
        }
        let data = PREFIX + header;
        let text = input.read(PREFIX..data).await?;
        if text.first() != Some(&b'{') {
            return Err(no_header());
        }
        let metadata: Metadata = serde_json::from_slice(&text)
            .map_err(|error| input.fail(format!("its header cannot be read ({error})")))?;
        let wanted = data + metadata.data_len() as u64;
        if wanted != input.size_bytes() {
            let how = if wanted > input.size_bytes() { "it is cut short" } else { "something follows its last tensor" };
            let why = format!("{how}: its header speaks of {wanted} bytes, and it has {}", input.size_bytes());
            return Err(input.fail(why));
        }
        let mut tensors = Vec::new();
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            tensors.push(TensorEntry {
                shape: info.shape.clone(),
                dtype: format!("{:?}", info.dtype),
                bytes: (info.data_offsets.1 - info.data_offsets.0) as u64,
                float: Float::of(info.dtype),
                start: data + info.data_offsets.0 as u64,
                name,
            });
        }
        Ok(Self { input, tensors })
    }

    /// The file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.input.name()
    }

    /// What is wrong with the file.
    #[must_use]
    pub fn fail(&self, why: String) -> LabError {
        self.input.fail(why)
    }

    /// Hands whole rows of a tensor to `block`, some at a time, in order; the last block may be smaller. A row is what
    /// [`TensorEntry::columns`] says. Asks between blocks whether to go on.
    ///
    /// # Errors
    /// [`LabError::File`] when the numbers are of a type that is not read, not finite, or cannot be had; what `block` fails
    /// with; [`LabError::Cancelled`].
    pub async fn rows(
        &self,
        tensor: &TensorEntry,
        cx: &Context,
        mut block: impl FnMut(&[f32]) -> Result<(), LabError>,
    ) -> Result<(), LabError> {
        let Some(float) = tensor.float else {
            let why = format!("tensor “{}” holds {}; F32, F16 and BF16 can be read", tensor.name, tensor.dtype);
            return Err(self.fail(why));
        };
        if tensor.columns() > LONGEST_ROW {
            let why = format!(
                "tensor “{}” has rows of {} numbers; rows of {LONGEST_ROW} at most can be read",
                tensor.name,
                tensor.columns()
            );
            return Err(self.fail(why));
        }
        let row = tensor.columns() * float.bytes();
        let rows = (BLOCK / tensor.columns().max(1)).max(1);
        let (mut at, end) = (tensor.start, tensor.start + tensor.bytes);
        while at < end {
            cx.checkpoint().await?;
            let next = end.min(at + (rows * row) as u64);
            let numbers = float.decode(&self.input.read(at..next).await?);
            if let Some(bad) = numbers.iter().find(|number| !number.is_finite()) {
                return Err(self.fail(format!("tensor “{}” holds {bad}", tensor.name)));
            }
            block(&numbers)?;
            at = next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        testing::{FakeClock, context, ready},
        weights::{Precision, WeightWriter},
    };

    fn bytes() -> Vec<u8> {
        let mut writer = WeightWriter::default();
        writer.floats("wide", &[300, 2000], &(0..600_000).map(|i| i as f32).collect::<Vec<_>>());
        writer.floats_as(Precision::Fp16, "half", &[2, 2], &[0.5, -1.0, 2.0, 4.0]).expect("fits");
        writer.integers("whole", &[3], &[1, 2, 3]);
        writer.finish("a test").expect("fits")
    }

    fn opened(bytes: Vec<u8>) -> Result<TensorFile, LabError> {
        ready(TensorFile::open(Input::of_asset("f", bytes)))
    }

    fn read(file: &TensorFile, name: &str, host: Rc<FakeClock>) -> Result<(Vec<f32>, usize), LabError> {
        let (mut all, mut blocks) = (Vec::new(), 0);
        let tensor = file.tensors.iter().find(|tensor| tensor.name == name).expect("there");
        ready(file.rows(tensor, &context(host), |block| {
            assert_eq!(block.len() % tensor.columns(), 0);
            all.extend_from_slice(block);
            blocks += 1;
            Ok(())
        }))?;
        Ok((all, blocks))
    }

    #[test]
    fn rows_come_whole_and_in_order() {
        let file = opened(bytes()).expect("whole");
        let host = || Rc::new(FakeClock::new(1.0));
        let (all, blocks) = read(&file, "wide", host()).expect("reads");
        assert_eq!(blocks, 3);
        assert!(all.iter().enumerate().all(|(i, value)| *value == i as f32));
        assert_eq!(read(&file, "half", host()).expect("reads").0, [0.5, -1.0, 2.0, 4.0]);
        let refused = read(&file, "whole", host()).expect_err("integers").to_string();
        assert!(refused.contains("“whole” holds U8"), "{refused}");
    }

    #[test]
    fn bf16_is_the_upper_half_of_a_single() {
        assert_eq!(Float::Bf16.decode(&[0x80, 0x3f, 0x00, 0xc0]), [1.0, -2.0]);
    }

    #[test]
    fn cancel_is_heard_between_blocks() {
        let host = Rc::new(FakeClock::new(1.0));
        host.cancel();
        let file = opened(bytes()).expect("whole");
        assert_eq!(read(&file, "wide", host).expect_err("cancelled"), LabError::Cancelled);
    }

    #[test]
    fn what_is_no_whole_file_is_told_from_what_is_cut() {
        let why = |bytes: Vec<u8>| opened(bytes).err().expect("refused").to_string();
        let whole = bytes();
        assert!(why(b"<html>not found</html>".to_vec()).contains("no safetensors file"));
        assert!(why(Vec::new()).contains("no safetensors file"));
        assert!(why(whole[..whole.len() - 5].to_vec()).contains("cut short"));
        assert!(why([whole.clone(), vec![0]].concat()).contains("follows its last tensor"));
        let mut garbled = whole;
        garbled[20] = b'!';
        assert!(why(garbled).contains("header cannot be read"));
    }

    #[test]
    fn a_number_that_is_none_is_named() {
        let mut writer = WeightWriter::default();
        writer.floats("x", &[2, 1], &[1.0, f32::NAN]);
        let file = opened(writer.finish("a test").expect("fits")).expect("whole");
        let error = read(&file, "x", Rc::new(FakeClock::new(1.0))).expect_err("refused").to_string();
        assert!(error.contains("“x” holds NaN"), "{error}");
    }
}
