//! Packed weights where a model uses them: bytes in memory for the CPU, words in a buffer for the GPU. Nowhere is a whole
//! matrix turned back into floats: the CPU unpacks one row at a time, the GPU 32 weights in registers.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{
    Grid, PackedMatrix,
    kernel::{integer_linear, mixed_linear, quantize_activations, quantize_rows},
};
use crate::ops::matmul;

/// What becomes of the inputs of a packed layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Inputs {
    /// They stay FP32: weights alone are quantized.
    Float,
    /// 8-bit integers on a grid of its own for every row (dynamic, affine, min-max). The products are of integers on the
    /// CPU, and on a GPU whose shaders have integer dot products; elsewhere they are of the same values as floats.
    Int8,
    /// The same on one affine grid of 8 bits for all rows, found beforehand (static).
    Static(Grid),
}

/// A packed matrix `[outputs, inputs]` on a device.
#[derive(Debug, Clone)]
pub struct PackedWeight {
    place: Place,
    inputs: Inputs,
    kept: Option<Box<Kept>>,
}

/// Channels that skip all rounding.
#[derive(Debug, Clone)]
struct Kept {
    /// Which, `[kept]`.
    channels: Tensor<1, Int>,
    /// 0 for each of them and 1 for the others, `[1, inputs]`.
    others: Tensor<2>,
    /// Their weights in FP32, `[kept, outputs]`.
    weight: Tensor<2>,
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
            let place = Place::Gpu(Box::new(crate::gpu::PackedBuffers::new(&matrix, device)));
            return Self { place, inputs, kept: None };
        }
        let _ = device;
        Self { place: Place::Memory(Arc::new(matrix)), inputs, kept: None }
    }

    /// The same where some input channels are multiplied in FP32 by weights of their own, those of `original` (`[outputs,
    /// inputs]`, row-major). The packed matrix must hold zeros for them, and [`rows`](Self::rows) does not know them.
    #[must_use]
    pub fn keeping(mut self, channels: &[usize], original: &[f32], device: &Device) -> Self {
        let columns = match &self.place {
            Place::Memory(matrix) => matrix.columns,
            #[cfg(feature = "webgpu")]
            Place::Gpu(buffers) => buffers.columns(),
        };
        let numbers = |values: Vec<f32>, shape: [usize; 2]| Tensor::from_data(TensorData::new(values, shape), device);
        let weight: Vec<f32> =
            channels.iter().flat_map(|channel| original.iter().skip(*channel).step_by(columns).copied()).collect();
        let others = (0..columns).map(|column| f32::from(u8::from(!channels.contains(&column)))).collect();
        let ids: Vec<i32> = channels.iter().map(|channel| i32::try_from(*channel).unwrap_or(0)).collect();
        self.kept = (!channels.is_empty()).then(|| {
            Box::new(Kept {
                channels: Tensor::from_data(TensorData::new(ids, [channels.len()]), device),
                others: numbers(others, [1, columns]),
                weight: numbers(weight, [channels.len(), original.len() / columns.max(1)]),
            })
        });
        self
    }

    /// `[n, inputs]` to `[n, outputs]`.
    #[must_use]
    pub fn linear(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.kept {
            Some(kept) => {
                let apart = matmul(x.clone().select(1, kept.channels.clone()), kept.weight.clone());
                self.rounded(x * kept.others.clone()) + apart
            }
            None => self.rounded(x),
        }
    }

    fn rounded(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.place {
            Place::Memory(matrix) => {
                let device = x.device();
                let values = numbers(x);
                // Half-precision weights have no integers to multiply, and what is no number has no code: a product of
                // floats passes it on, so that somebody notices.
                let codes = matrix.bits <= 8 && values.iter().all(|value| value.is_finite());
                let y = match self.inputs {
                    Inputs::Int8 if codes => {
                        let (codes, scales) = quantize_rows(&values, matrix.columns, 8);
                        integer_linear(matrix, &[], &codes, &scales)
                    }
                    Inputs::Static(grid) if codes => {
                        integer_linear(matrix, &[], &quantize_activations(&grid, &values), &[grid.scale])
                    }
                    _ => mixed_linear(matrix, &[], &values),
                };
                let rows = values.len() / matrix.columns;
                Tensor::from_data(TensorData::new(y, [rows, matrix.rows]), &device)
            }
            #[cfg(feature = "webgpu")]
            Place::Gpu(buffers) => match self.inputs {
                Inputs::Int8 => buffers.linear_int8(x, None),
                Inputs::Static(grid) => buffers.linear_int8(x, Some(grid)),
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

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::{
        mlp::read,
        quant::{Granularity, Scheme, Settings, remedy::scale_columns},
        rng,
        testing::ready,
    };

    #[test]
    fn what_is_no_number_is_not_rounded_to_one() {
        let device = Device::flex();
        let settings = Settings::weight_only(4, Scheme::Symmetric, Granularity::Channel);
        let matrix = PackedMatrix::quantize(&[0.5, -0.25, 0.75, 1.0], 2, &settings);
        for inputs in [Inputs::Float, Inputs::Int8, Inputs::Static(Grid::fit(Scheme::Affine, 8, -1.0, 1.0))] {
            for stranger in [f32::NAN, f32::INFINITY] {
                let x = Tensor::<2>::from_data(TensorData::new(vec![stranger, 0.5], [1, 2]), &device);
                let y = ready(read(PackedWeight::new(matrix.clone(), inputs, &device).linear(x))).expect("runs");
                assert!(y.iter().all(|y| !y.is_finite()), "{inputs:?} {y:?}");
            }
        }
    }

    #[test]
    fn kept_channels_pass_unrounded_and_the_rest_as_without_them() {
        let device = Device::flex();
        let settings = Settings::weight_only(8, Scheme::Symmetric, Granularity::Channel);
        for (seed, n) in [(0, 1), (1, 5)] {
            let (mut rng, columns, rows) = (rng(seed, "kept"), 40, 12);
            let mut draw = |count: usize| (0..count).map(|_| rng.random_range(-1.0_f32..1.0)).collect::<Vec<f32>>();
            let (weight, mut x) = (draw(rows * columns), draw(n * columns));
            x.iter_mut().skip(7).step_by(columns).for_each(|x| *x *= 100.0);
            let only = |channel: usize| (0..columns).map(move |i| f32::from(u8::from(i == channel)));
            let (loud, rest): (Vec<f32>, Vec<f32>) = only(7).map(|one| (one, 1.0 - one)).unzip();
            let tensor =
                |values: &[f32]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [n, columns]), &device);
            let quiet = scale_columns(&x, &rest);
            for inputs in [Inputs::Float, Inputs::Int8, Inputs::Static(Grid::fit(Scheme::Affine, 8, -1.0, 1.0))] {
                let matrix = || PackedMatrix::quantize(&scale_columns(&weight, &rest), columns, &settings);
                let plain = PackedWeight::new(matrix(), inputs, &device);
                let kept = PackedWeight::new(matrix(), inputs, &device).keeping(&[7], &weight, &device);
                let found = ready(read(kept.linear(tensor(&x)))).expect("runs");
                let without = ready(read(plain.linear(tensor(&quiet)))).expect("runs");
                let alone = scale_columns(&x, &loud);
                for (i, (found, without)) in found.iter().zip(&without).enumerate() {
                    let (x, w) = (&alone[i / rows * columns..][..columns], &weight[i % rows * columns..][..columns]);
                    let apart: f32 = x.iter().zip(w).map(|(x, w)| x * w).sum();
                    assert!((found - without - apart).abs() < 1e-4, "{inputs:?}: {found} {without} {apart}");
                }
                let none = PackedWeight::new(matrix(), inputs, &device).keeping(&[], &weight, &device);
                assert_eq!(ready(read(none.linear(tensor(&quiet)))).expect("runs"), without);
            }
        }
    }
}
