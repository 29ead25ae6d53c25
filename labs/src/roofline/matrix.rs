//! The comet: one matrix from memory, times one column, two, four. Operations grow, bytes hardly do.

use lab_api::{DeviceKind, LabError};
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    choices::Width,
    matmul,
    measure::{Work, roofs::columns as product, samples},
    mlp::read,
    quant::{Granularity, Inputs, PackedMatrix, PackedWeight, Scheme, Settings},
};
use rand::Rng;

use super::{point::Point, roofs::buffer};

/// Rows that are drawn; the matrix repeats them, which no kernel can tell.
pub(super) const DRAWN: usize = 64;
/// Weights that share a scale.
const GROUP: usize = 32;
/// Milliseconds for each number of columns.
const BUDGET_MS: f64 = 90.0;

/// A matrix with one point for each number of columns.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    /// `FP32`, `4 bits`.
    pub(super) name: String,
    pub(super) bytes: usize,
    pub(super) columns: Vec<usize>,
    pub(super) points: Vec<Point>,
}

/// 1, 2, 4 ... and the last.
fn counts(most: usize) -> Vec<usize> {
    let mut counts: Vec<usize> = std::iter::successors(Some(1), |c| Some(c * 2)).take_while(|c| *c < most).collect();
    counts.push(most.max(1));
    counts
}

fn drawn_rows(width: usize, cx: &Context) -> Vec<f32> {
    let mut rng = cx.rng("matrix");
    (0..DRAWN * width).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn inputs(count: usize, width: usize, cx: &Context) -> Vec<f32> {
    let mut rng = cx.rng("columns");
    (0..count * width).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn point(name: &str, columns: usize, width: usize, bytes: usize, ms: Vec<f64>) -> Point {
    let moved = bytes + 2 * columns * width * size_of::<f32>();
    Point {
        name: format!("{width}² × {columns}, {name}"),
        work: Work { flops: (2 * columns * width * width) as u64, bytes: moved as u64 },
        held_bytes: moved,
        overhead_ms: 0.0,
        ms,
    }
}

pub(super) async fn fp32(width: usize, most: usize, cx: &Context) -> Result<Matrix, LabError> {
    let bytes = width * width * size_of::<f32>();
    let mut weight = buffer(bytes, cx).await?;
    let drawn = drawn_rows(width, cx);
    for rows in weight.chunks_mut(DRAWN * width) {
        rows.copy_from_slice(&drawn[..rows.len()]);
        cx.checkpoint().await?;
    }
    let cpu = cx.device_info.kind == DeviceKind::Cpu;
    let on_device = (!cpu).then(|| {
        let tensor = Tensor::<2>::from_data(TensorData::new(std::mem::take(&mut weight), [width, width]), &cx.device);
        tensor.transpose().mul_scalar(1.0)
    });
    let mut matrix = Matrix { name: "FP32".into(), bytes, columns: counts(most), points: Vec::new() };
    for count in matrix.columns.clone() {
        let x = inputs(count, width, cx);
        let ms = if let Some(weight) = &on_device {
            let x = Tensor::<2>::from_data(TensorData::new(x, [count, width]), &cx.device);
            samples(cx, BUDGET_MS, async || settle(matmul(x.clone(), weight.clone())).await).await?
        } else {
            let mut y = vec![0.0; count * width];
            samples(cx, BUDGET_MS, async || {
                product(std::hint::black_box(&weight), width, &x, &mut y);
                std::hint::black_box(&y);
                Ok(())
            })
            .await?
        };
        matrix.points.push(point("FP32", count, width, bytes, ms));
    }
    Ok(matrix)
}

pub(super) async fn packed(width: usize, most: usize, bits: Width, cx: &Context) -> Result<Matrix, LabError> {
    let settings = Settings::weight_only(bits.bits(), Scheme::Symmetric, Granularity::Group(GROUP));
    let drawn = PackedMatrix::quantize(&drawn_rows(width, cx), width, &settings);
    let times = width / DRAWN;
    let whole =
        PackedMatrix { rows: width, codes: drawn.codes.repeat(times), scales: drawn.scales.repeat(times), ..drawn };
    let bytes = whole.bytes();
    let weight = PackedWeight::new(whole, Inputs::Float, &cx.device);
    let name = format!("{} bits", bits.bits());
    let mut matrix = Matrix { name: name.clone(), bytes, columns: counts(most), points: Vec::new() };
    for count in matrix.columns.clone() {
        cx.checkpoint().await?;
        let x = Tensor::<2>::from_data(TensorData::new(inputs(count, width, cx), [count, width]), &cx.device);
        let ms = samples(cx, BUDGET_MS, async || settle(weight.linear(x.clone())).await).await?;
        matrix.points.push(point(&name, count, width, bytes, ms));
    }
    Ok(matrix)
}

/// Waits for a result.
async fn settle(y: Tensor<2>) -> Result<(), LabError> {
    read(y.narrow(1, 0, 1)).await.map(|y| drop(std::hint::black_box(y)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_double_up_to_the_last() {
        assert_eq!(counts(1), [1]);
        assert_eq!(counts(16), [1, 2, 4, 8, 16]);
        assert_eq!(counts(20), [1, 2, 4, 8, 16, 20]);
    }

    #[test]
    fn intensity_of_a_wide_matrix_is_half_the_columns() {
        let one = point("FP32", 1, 4096, 4 * 4096 * 4096, vec![1.0]);
        assert!((one.work.intensity() - 0.5).abs() < 1e-3);
        let eight = point("FP32", 8, 4096, 4 * 4096 * 4096, vec![1.0]);
        assert!((eight.work.intensity() - 4.0).abs() < 0.05);
    }
}
