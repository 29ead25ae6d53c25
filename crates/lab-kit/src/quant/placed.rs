//! Packed weights where a model uses them: bytes in memory for the CPU, words in a buffer for the GPU. Nowhere is a whole
//! matrix turned back into floats: the CPU unpacks one row at a time, the GPU 32 weights in registers.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{
    PackedMatrix,
    kernel::{integer_linear, mixed_linear, quantize_rows},
};

/// What becomes of the inputs of a packed layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inputs {
    /// They stay FP32: weights alone are quantized.
    Float,
    /// 8-bit integers on a grid of its own for every row (dynamic, affine, min-max). The products are of integers on the
    /// CPU, and on a GPU whose shaders have integer dot products; elsewhere they are of the same values as floats.
    Int8,
}

/// A packed matrix `[outputs, inputs]` on a device.
#[derive(Debug, Clone)]
pub struct PackedWeight {
    place: Place,
    inputs: Inputs,
}

#[derive(Debug, Clone)]
enum Place {
    Memory(Arc<PackedMatrix>),
    #[cfg(feature = "webgpu")]
    Gpu(Box<crate::gpu::PackedBuffers>),
}

impl PackedWeight {
    /// Puts a matrix on a device.
    #[must_use]
    pub fn new(matrix: PackedMatrix, inputs: Inputs, device: &Device) -> Self {
        #[cfg(feature = "webgpu")]
        if crate::gpu::is_gpu(device) {
            return Self { place: Place::Gpu(Box::new(crate::gpu::PackedBuffers::new(&matrix, device))), inputs };
        }
        let _ = device;
        Self { place: Place::Memory(Arc::new(matrix)), inputs }
    }

    /// `[n, inputs]` to `[n, outputs]`.
    #[must_use]
    pub fn linear(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.place {
            Place::Memory(matrix) => {
                let device = x.device();
                let values = numbers(x);
                let y = match self.inputs {
                    // Half-precision weights have no integers to multiply.
                    Inputs::Int8 if matrix.bits <= 8 => {
                        let (codes, scales) = quantize_rows(&values, matrix.columns, 8);
                        integer_linear(matrix, &[], &codes, &scales)
                    }
                    _ => mixed_linear(matrix, &[], &values),
                };
                let rows = values.len() / matrix.columns;
                Tensor::from_data(TensorData::new(y, [rows, matrix.rows]), &device)
            }
            #[cfg(feature = "webgpu")]
            Place::Gpu(buffers) => match self.inputs {
                Inputs::Int8 => buffers.linear_int8(x),
                Inputs::Float => buffers.linear(x),
            },
        }
    }

    /// The rows with these numbers: `[n]` to `[n, inputs]`.
    #[must_use]
    pub fn rows(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        match &self.place {
            Place::Memory(matrix) => {
                let device = ids.device();
                let ids: Vec<usize> =
                    ids.into_data().iter::<i64>().map(|id| usize::try_from(id).unwrap_or(0)).collect();
                let mut values = vec![0.0; ids.len() * matrix.columns];
                let (mut codes, mut centred) = (vec![0; matrix.columns], vec![0; matrix.columns]);
                for (id, row) in ids.iter().zip(values.chunks_exact_mut(matrix.columns)) {
                    matrix.dequantize_row(*id, &mut codes, &mut centred, row);
                }
                Tensor::from_data(TensorData::new(values, [ids.len(), matrix.columns]), &device)
            }
            #[cfg(feature = "webgpu")]
            Place::Gpu(buffers) => buffers.rows(ids),
        }
    }
}

/// The numbers of a tensor of the CPU, which is never waited for. One that does not hold FP32, which no model of ours makes,
/// reads as NaN, and every consumer refuses that.
fn numbers(x: Tensor<2>) -> Vec<f32> {
    let count = x.dims().iter().product();
    x.into_data().try_into_vec().unwrap_or_else(|_| vec![f32::NAN; count])
}
