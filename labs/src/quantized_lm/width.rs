//! One vector times one square matrix, at growing widths: when do bytes decide?

use lab_api::{Axis, Chart, ChartBody, DeviceKind, Family, LabError, Metric, Series};
use lab_kit::{
    Context,
    burn::tensor::{
        Tensor, TensorData,
        quantization::{QuantScheme, QuantValue, ScaleDtype},
    },
    matmul,
    measure::{Pair, side_by_side},
    mlp::read,
    quant::{Activations, Grid, Inputs, PackedMatrix, PackedWeight, Scheme, Settings},
    report::{MetricExt, metric as number, thousands},
    stats::median,
};
use rand::Rng;

const WIDTHS: [usize; 4] = [256, 512, 1024, 2048];
/// Burn's block of weights that share a scale.
const BLOCK: u8 = 32;
const LEVEL: f64 = 0.95;

/// Times at one width.
pub(super) struct Width {
    width: usize,
    /// Milliseconds, FP32 and packed.
    pair: Pair,
    /// Milliseconds, FP32 and Burn's own 8-bit tensors, where they were tried.
    burn: Option<Pair>,
}

pub(super) async fn measure(settings: &Settings, cx: &Context) -> Result<Vec<Width>, LabError> {
    let mut rng = cx.rng("wide matrices");
    let inputs = match settings.activations {
        Activations::Fp32 => Inputs::Float,
        Activations::Dynamic => Inputs::Int8,
        // All inputs here are between -1 and 1.
        Activations::Static(_) => Inputs::Static(Grid::fit(Scheme::Affine, 8, -1.0, 1.0)),
    };
    let mut found = Vec::new();
    for width in WIDTHS {
        let mut draw = |count: usize| (0..count).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        let weight = draw(width * width);
        let x = Tensor::<2>::from_data(TensorData::new(draw(width), [1, width]), &cx.device);
        cx.checkpoint().await?;
        let packed = PackedWeight::new(PackedMatrix::quantize(&weight, width, settings), inputs, &cx.device);
        // As Burn keeps a layer: [inputs, outputs].
        let fp32 = Tensor::<2>::from_data(TensorData::new(weight, [width, width]), &cx.device).transpose();
        let fp32 = fp32.mul_scalar(1.0);
        let settle = async |y: Tensor<2>| read(y.narrow(1, 0, 1)).await.map(|y| drop(std::hint::black_box(y)));
        let pair = side_by_side(
            cx,
            120.0,
            async || settle(matmul(x.clone(), fp32.clone())).await,
            async || settle(packed.linear(x.clone())).await,
        )
        .await?;
        // On WebGPU a kernel of Burn's for them has not been seen to work everywhere.
        let burn = if cx.device_info.kind == DeviceKind::Cpu {
            let scheme = QuantScheme::default().with_value(QuantValue::Q8S).per_block([BLOCK], ScaleDtype::F32);
            let quantized = fp32.clone().quantize_dynamic(&scheme);
            let pair = side_by_side(
                cx,
                80.0,
                async || settle(matmul(x.clone(), fp32.clone())).await,
                async || settle(matmul(x.clone(), quantized.clone())).await,
            );
            Some(pair.await?)
        } else {
            None
        };
        found.push(Width { width, pair, burn });
    }
    Ok(found)
}

/// The speed-up of the widest, and that of Burn's own quantized tensors.
pub(super) fn metrics(widths: &[Width], cx: &Context) -> Vec<Metric> {
    let Some(Width { width, pair, burn }) = widths.last() else { return Vec::new() };
    let speedup = |id: &str, label: &str, pair: &Pair| {
        let (ratio, interval) = pair.ratio(LEVEL, &mut cx.rng("widest"));
        number(Family::Scale, id, &format!("{label} at width {}", thousands(*width)), ratio, "×")
            .higher()
            .baseline(1.0)
            .interval(interval)
            .measured(pair.ratios())
    };
    let mut metrics = vec![speedup("speedup_wide", "Speed-up", pair).help(
        "One vector times one square matrix, FP32 time over packed time: what a larger model's decode would see.",
    )];
    metrics.extend(burn.as_ref().map(|pair| {
        speedup("burn_speedup_wide", "Speed-up of Burn's 8-bit tensors", pair).detail().help(
            "The same product, FP32 time over that of Burn's own quantized tensors, one scale for every 32 weights.",
        )
    }));
    metrics
}

/// Time against width.
pub(super) fn chart(widths: &[Width]) -> Chart {
    let line = |name: &str, of: &dyn Fn(&Width) -> Option<f64>| Series {
        name: name.into(),
        points: widths.iter().filter_map(|w| of(w).map(|ms| [w.width as f64, 1e3 * ms])).collect(),
        band: vec![],
    };
    let mut series =
        vec![line("FP32", &|w| Some(median(&w.pair.first))), line("Packed", &|w| Some(median(&w.pair.second)))];
    if widths.iter().any(|w| w.burn.is_some()) {
        series.push(line("Burn's 8-bit tensors", &|w| w.burn.as_ref().map(|pair| median(&pair.second))));
    }
    Chart {
        id: "widths".into(),
        title: "When do bytes decide?".into(),
        caption: "Median time of one vector times one square matrix, which is what decoding one token does all day. \
                  Four times the weights take four times as long where arithmetic is the limit, and more where the matrix \
                  no longer fits the cache. Burn's own 8-bit tensors have one scale for every 32 weights."
            .into(),
        x: Axis::log("Width of the matrix"),
        y: Axis::log("Time (µs)"),
        body: ChartBody::Line { series },
    }
}
