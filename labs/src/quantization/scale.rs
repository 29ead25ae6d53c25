//! How the saving grows: the same settings on networks of other widths, really packed.

use lab_api::{Axis, Chart, ChartBody, Family, LabError, Metric, Series};
use lab_kit::{
    Context,
    mlp::MlpWeights,
    quant::{PackedMatrix, Settings},
    report::{MetricExt, metric as number, thousands},
    subject::Subject,
};

/// Widths of the two hidden layers.
const WIDTHS: [usize; 7] = [16, 32, 64, 128, 256, 512, 1024];

/// Width and compression of each network.
pub(super) async fn widths(
    subject: &Subject,
    settings: &Settings,
    cx: &Context,
) -> Result<Vec<(usize, f64)>, LabError> {
    let mut rng = cx.rng("wide networks");
    let mut points = Vec::new();
    let (inputs, outputs) = (subject.images.pixels_each(), subject.images.class_count());
    for width in WIDTHS {
        let network = MlpWeights::init(&[inputs, width, width, outputs], &mut rng);
        let mut packed = 0;
        for layer in &network.layers {
            packed += PackedMatrix::quantize(&layer.weight, layer.inputs, settings).bytes();
            packed += size_of_val(layer.bias.as_slice());
            cx.checkpoint().await?;
        }
        points.push((width, network.bytes() as f64 / packed as f64));
    }
    Ok(points)
}

/// Compression of the widest network.
pub(super) fn metric(widths: &[(usize, f64)]) -> Metric {
    let (width, ratio) = widths.last().copied().unwrap_or_default();
    number(Family::Scale, "compression_wide", &format!("Compression at width {}", thousands(width)), ratio, "×")
        .detail()
        .higher()
        .baseline(1.0)
        .exact(1e-9, "bytes are counted, and do not depend on the device")
        .help("The same settings on an untrained network with wider hidden layers: what scales and biases cost fades.")
}

/// Compression against width.
pub(super) fn chart(widths: &[(usize, f64)]) -> Chart {
    let line = |name: &str, points: Vec<[f64; 2]>| Series { name: name.into(), points, band: vec![] };
    let ends = [WIDTHS[0], WIDTHS[WIDTHS.len() - 1]];
    Chart {
        id: "width".into(),
        title: "Does the saving hold for larger networks?".into(),
        caption: "Bytes of FP32 over packed bytes, for hidden layers of other widths. Scales and biases grow with the \
                  width, weights with its square, so the ratio nears what the bits alone would give, unless every \
                  group of weights pays for a scale of its own."
            .into(),
        x: Axis::log("Width of the hidden layers"),
        y: Axis { min: Some(0.0), ..Axis::linear("Compression (×)") },
        body: ChartBody::Line {
            series: vec![
                line("FP32", ends.iter().map(|width| [*width as f64, 1.0]).collect()),
                line("Packed", widths.iter().map(|(width, ratio)| [*width as f64, *ratio]).collect()),
            ],
        },
    }
}
