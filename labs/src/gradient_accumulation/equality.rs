//! One gradient in pieces of every size, against the same in double precision.

use std::cell::Cell;

use lab_api::LabError;
use lab_kit::{
    Context,
    accumulate::{Accumulator, Format, Norm, distance, naive::gradient_in_doubles},
    training::Order,
};

use super::{
    Params,
    task::{Task, batch, shape},
};
use lab_kit::order::Ordered as _;

/// A size of pieces, and how far the sum was from what it should be.
pub(super) struct Row {
    pub(super) piece: usize,
    /// Relative errors against FP64, with the sum in FP32, FP16, BF16.
    pub(super) errors: [f64; 3],
    /// Share of the numbers that have the same bits as in one piece.
    pub(super) same: f64,
    /// With layer norm: relative difference from one piece.
    pub(super) layer: f64,
    /// With batch norm, where pieces have two images or more: relative difference from one piece, and cosine.
    pub(super) batch: Option<(f64, f64)>,
}

pub(super) async fn run(task: &Task, params: &Params, cx: &Context) -> Result<Vec<Row>, LabError> {
    let size = params.batch as usize;
    let images = Order::new(task.train.len(), size, cx.seed).indices(0).to_vec();
    let weights = shape(Norm::None).init(&mut cx.rng("weights"));
    let (pixels, labels) = batch(&task.train, &images);
    let mut exact = vec![0.0_f64; weights.len()];
    // In turns, or the page would wait for a tenth of a second.
    for (x, y) in pixels.chunks(32 * task.train.pixels_each()).zip(labels.chunks(32)) {
        let (_, gradient) = gradient_in_doubles(&shape(Norm::None), &weights, x, y);
        exact.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g * y.len() as f64 / size as f64);
        cx.checkpoint().await?;
    }
    let exact: Vec<f32> = exact.into_iter().map(|g| g as f32).collect();
    let breath = Cell::new(cx.now_ms());
    // The same pieces into a sum in each of these formats.
    let gradients = async |norm, piece: usize, formats: &[Format]| {
        let mut sums: Vec<Accumulator> = formats.iter().map(|format| Accumulator::new(*format)).collect();
        for images in images.chunks(piece) {
            let (pixels, labels) = batch(&task.train, images);
            let gradient = shape(norm).pass(&weights, &pixels, &labels).gradient;
            sums.iter_mut().for_each(|sum| sum.add(gradient.clone(), labels.len()));
            if cx.now_ms() - breath.get() > 15.0 {
                cx.checkpoint().await?;
                breath.set(cx.now_ms());
            }
        }
        Ok::<_, LabError>(sums.iter_mut().filter_map(Accumulator::take).collect::<Vec<_>>())
    };
    let mut whole = Vec::new();
    for norm in [Norm::None, Norm::Layer, Norm::Batch] {
        whole.extend(gradients(norm, size, &[Format::Fp32]).await?);
    }
    let mut pieces: Vec<usize> =
        [size, 64, 16, 4, 2, 1, params.piece as usize].into_iter().filter(|p| *p <= size).collect();
    pieces.ordered_by(&|a, b| b.cmp(a));
    pieces.dedup();
    let mut rows = Vec::new();
    for piece in pieces {
        let sums = gradients(Norm::None, piece, &[Format::Fp32, Format::Fp16, Format::Bf16]).await?;
        let mut errors = [0.0; 3];
        for (error, sum) in errors.iter_mut().zip(&sums) {
            *error = distance(sum, &exact).map_or(0.0, |apart| apart.relative);
        }
        let same = sums.first().and_then(|sum| distance(sum, &whole[0])).map_or(0.0, |apart| apart.same);
        let mut normed = [None; 2];
        for (i, norm) in [Norm::Layer, Norm::Batch].into_iter().enumerate() {
            // The last piece may be a single image too, which has no variance.
            if norm == Norm::Layer || (piece > 1 && size % piece != 1) {
                let sum = gradients(norm, piece, &[Format::Fp32]).await?;
                normed[i] = sum.first().and_then(|sum| distance(sum, &whole[i + 1]));
            }
        }
        let [layer, apart] = normed;
        let layer = layer.map_or(0.0, |apart| apart.relative);
        rows.push(Row { piece, errors, same, layer, batch: apart.map(|apart| (apart.relative, apart.cosine)) });
    }
    Ok(rows)
}
