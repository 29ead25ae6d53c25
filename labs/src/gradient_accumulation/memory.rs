//! What pieces save in memory, and what they cost in time.

use lab_api::{DeviceKind, LabError};
use lab_kit::{
    Context,
    accumulate::{Accumulator, Format, Norm},
    measure::{Pair, peak_bytes, side_by_side},
    training::Order,
};

use super::{
    Params,
    task::{Task, shape},
    text::{LONGEST, Texts},
};

/// Texts of the batch whose memory is counted.
pub(super) const TEXTS: usize = 8;

/// Texts in a piece, most bytes held at once beyond the model, and milliseconds.
pub(super) struct Peak {
    pub(super) texts: usize,
    pub(super) bytes: Option<usize>,
    pub(super) ms: f64,
}

/// The gradient of one batch of texts of full length, in pieces of several sizes.
pub(super) async fn peaks(texts: &Texts, short: bool, cx: &Context) -> Result<Vec<Peak>, LabError> {
    let Some(longest) = texts.windows.iter().max_by_key(|window| window.len()) else { return Ok(Vec::new()) };
    let row: Vec<u32> = (0..=LONGEST).map(|i| longest[i % longest.len()]).collect();
    let batch = vec![row.as_slice(); if short { 2 } else { TEXTS }];
    let mut peaks = Vec::new();
    for each in [8, 4, 2, 1] {
        if each > batch.len() {
            continue;
        }
        let began = cx.now_ms();
        let ((), peak) = peak_bytes(cx, async || {
            let mut sum = Accumulator::new(Format::Fp32);
            for piece in batch.chunks(each) {
                let (_, gradient) = texts.gradient(piece).await?;
                sum.add(gradient, piece.len() * LONGEST);
                cx.checkpoint().await?;
            }
            std::hint::black_box(sum.take());
            Ok(())
        })
        .await?;
        // Of a GPU's tensors the allocator sees nothing.
        let bytes = peak.filter(|_| cx.device_info.kind == DeviceKind::Cpu);
        peaks.push(Peak { texts: each, bytes, ms: cx.now_ms() - began });
    }
    Ok(peaks)
}

/// Milliseconds of one gradient of the batch of images: in one piece, and in pieces.
pub(super) async fn timed(task: &Task, params: &Params, cx: &Context) -> Result<Pair, LabError> {
    let shape = shape(Norm::None);
    let weights = shape.init(&mut cx.rng("weights"));
    let images = Order::new(task.train.len(), params.batch as usize, cx.seed).indices(0).to_vec();
    let gradient = async |piece: usize| {
        let mut sum = Accumulator::new(Format::Fp32);
        std::hint::black_box(task.in_pieces(&shape, &weights, &images, piece, &mut sum).1);
        Ok(())
    };
    let (whole, piece) = (images.len(), params.piece as usize);
    side_by_side(cx, 120.0, async || gradient(whole).await, async || gradient(piece).await).await
}
