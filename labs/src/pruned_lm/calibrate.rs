//! What flows through a layer's matrices when the model reads the calibration text.

use lab_api::LabError;
use lab_kit::{Context, burn::tensor::Tensor, mlp::read, models::Transformer, quant::Hessian};

/// Windows that pass through a layer together.
const TOGETHER: usize = 4;

/// The residual streams of the text before some layer, `[B, T, C]` each.
pub(super) type Streams = Vec<Tensor<3>>;

/// The input of matrices that share one.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    /// The matrices, by name.
    pub(super) names: Vec<String>,
    /// Length of each channel over the text.
    pub(super) norms: Vec<f64>,
    /// How the channels vary together, where that was asked for.
    pub(super) hessian: Option<Hessian>,
}

/// What enters the first layer.
pub(super) fn embed(model: &Transformer, text: &[Vec<u32>], cx: &Context) -> Result<Streams, LabError> {
    let batch = |part: &[Vec<u32>]| {
        let rows: Vec<&[u32]> = part.iter().map(Vec::as_slice).collect();
        Ok(model.embed(model.tokens(&rows, &cx.device)?))
    };
    text.chunks(TOGETHER).map(batch).collect()
}

/// What a layer makes of the streams.
pub(super) async fn through(model: &Transformer, layer: usize, x: &Streams, cx: &Context) -> Result<Streams, LabError> {
    let mut y = Vec::with_capacity(x.len());
    for x in x {
        y.push(model.layer(layer, x.clone()).0);
        cx.checkpoint().await?;
    }
    Ok(y)
}

/// What its matrices are given. `hessians`: whether how channels vary together is recorded too, which takes longer.
pub(super) async fn flows(
    model: &Transformer,
    layer: usize,
    x: &Streams,
    hessians: bool,
    cx: &Context,
) -> Result<Vec<Flow>, LabError> {
    let mut flows: Vec<Flow> = Vec::new();
    for x in x {
        for (i, (names, input)) in model.layer(layer, x.clone()).1.into_iter().enumerate() {
            let [_, columns] = input.dims();
            if flows.len() == i {
                let hessian = hessians.then(|| Hessian::new(columns));
                flows.push(Flow { names, norms: vec![0.0; columns], hessian });
            }
            let (flow, input) = (&mut flows[i], read(input).await?);
            for row in input.chunks_exact(columns) {
                flow.norms.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x).powi(2));
            }
            // In parts, so that Cancel is heard.
            for part in input.chunks(64 * columns) {
                if let Some(hessian) = &mut flow.hessian {
                    hessian.add(part);
                }
                cx.checkpoint().await?;
            }
        }
    }
    for flow in &mut flows {
        flow.norms.iter_mut().for_each(|sum| *sum = sum.sqrt());
    }
    Ok(flows)
}

/// `1 − mean cos(in, out)` of a layer over all tokens: its block influence (Men et al., 2024, arXiv:2403.03853).
#[cfg(feature = "schema")]
pub(super) async fn influence(x: &Streams, y: &Streams) -> Result<f64, LabError> {
    let (mut sum, mut count) = (0.0, 0);
    for (x, y) in x.iter().zip(y) {
        let [b, t, c] = x.dims();
        let (x, y) = (read(x.clone().reshape([b * t, c])).await?, read(y.clone().reshape([b * t, c])).await?);
        for (x, y) in x.chunks_exact(c).zip(y.chunks_exact(c)) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            sum += dot(x, y) / (dot(x, x) * dot(y, y)).sqrt().max(f64::MIN_POSITIVE);
            count += 1;
        }
    }
    Ok(1.0 - sum / f64::from(count.max(1)))
}
