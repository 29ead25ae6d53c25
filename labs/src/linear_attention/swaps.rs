//! Losses with the attention of some layers exchanged.

use lab_api::LabError;
use lab_kit::{
    Context,
    cache::Decoder,
    mixing::{Reading, Way},
};

use super::{Method, Params, Rest, ways::Arm};

/// Losses in nats a token.
pub(super) struct Swaps {
    /// Of the model as it is.
    pub(super) original: f64,
    /// By arm: its name, and what is added in all layers and in each alone.
    pub(super) rows: Vec<(Method, String, Vec<f64>)>,
    /// Added where nobody looks: in the first two layers, in the last two.
    pub(super) blind: [f64; 2],
    /// Added by the reader's mixture, and by the mean of the past in the same layers.
    pub(super) mixture: [f64; 2],
}

pub(super) fn mean(nats: &[f64]) -> f64 {
    nats.iter().sum::<f64>() / nats.len().max(1) as f64
}

impl Swaps {
    pub(super) async fn run(
        reading: &Reading,
        decoder: &Decoder,
        arms: &[Arm],
        params: &Params,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let original = mean(&reading.nats);
        let layers = decoder.config().layers;
        let uniform = Way::Kernel(vec![lab_kit::mixing::Map::Uniform], 1.0);
        let near = Way::Softmax { window: params.window as usize };
        let added =
            async |ways: &[Option<&Way>]| Ok::<f64, LabError>(mean(&reading.swap(decoder, ways, cx).await?) - original);
        let two = async |first: usize| {
            added(&(0..layers).map(|l| (l / 2 == first).then_some(&uniform)).collect::<Vec<_>>()).await
        };
        let blind = [two(0).await?, two(1).await?];
        let mut rows = Vec::new();
        for (i, arm) in arms.iter().enumerate() {
            cx.progress("Swapping attention", 0.1 + 0.5 * i as f64 / arms.len() as f64);
            let mut row = vec![added(&vec![Some(&arm.way); layers]).await?];
            for only in 0..layers {
                row.push(added(&(0..layers).map(|l| (l == only).then_some(&arm.way)).collect::<Vec<_>>()).await?);
            }
            rows.push((arm.method, arm.name.clone(), row));
        }
        let mine = arms.last().map_or(&uniform, |arm| &arm.way);
        let rest = (params.rest == Rest::Window).then_some(&near);
        let mix = async |way: &Way| {
            let ways: Vec<Option<&Way>> =
                (0..layers).map(|l| if params.layers.holds(l) { Some(way) } else { rest }).collect();
            added(&ways).await
        };
        let mixture = [mix(mine).await?, mix(&uniform).await?];
        Ok(Self { original, rows, blind, mixture })
    }
}
