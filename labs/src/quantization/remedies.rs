//! Activations on one static grid for a layer: what keeping or smoothing a few channels changes where none stands out by much.

use lab_api::{Cell, LabError, Report, Table};
use lab_kit::{
    Context,
    mlp::{Dense, MlpWeights},
    quant::{
        Calibration, Granularity, Grid, PackedMatrix, Remedy, Scheme, Settings, Treatment, calibrate, naive,
        remedy::scale_columns,
    },
    subject::Subject,
};

use super::judged::{Judged, inputs_of_layers};

const REMEDIES: [(Remedy, &str, &str); 3] = [
    (Remedy::Nothing, "nothing", "Nothing"),
    (Remedy::Keep { share: 0.01 }, "keep", "Keep 1 % of channels in FP32"),
    (Remedy::Smooth { alpha: 0.5 }, "smooth", "Smooth, exponent 0.5"),
];

/// Weights of 8 bits per channel, activations of 8 and of 4 bits. `prefix` begins the names of what is reported.
pub(super) async fn run(subject: &Subject, prefix: &str, cx: &Context, report: &mut Report) -> Result<(), LabError> {
    let mut rows = Vec::new();
    for bits in [8, 4] {
        for (remedy, id, words) in REMEDIES {
            let layers = |fold: usize| treated(subject.network(fold), &subject.examples[fold], remedy, bits);
            let networks: Vec<Vec<Treated>> = (0..subject.folds()).map(layers).collect();
            let found = Judged::of(subject, |fold, pixels| forward(&networks[fold], pixels), cx).await?;
            let label = format!("8-bit weights, static {bits}-bit activations: {words}");
            report.metrics.extend(found.metrics(&format!("{prefix}remedy"), &format!("{bits}_{id}"), &label));
            rows.push([Cell::from(f64::from(bits)), Cell::from(words)].into_iter().chain(found.cells()).collect());
        }
    }
    report.tables.push(Table {
        id: format!("{}remedies", prefix.replace('_', "-")),
        title: "Static activations, and what is done to channels that stand out".into(),
        columns: ["Bits of activations", "Against outliers", "Accuracy (%)", "SQNR of the logits (dB)"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    });
    Ok(())
}

/// A layer whose inputs are rounded.
struct Treated {
    /// Rounded weights, as FP32.
    layer: Dense,
    /// What multiplies the inputs before they are rounded.
    by: Vec<f32>,
    grid: Grid,
    /// The same layer with nothing but the channels that skip the rounding, and no bias.
    kept: Option<Dense>,
}

fn treated(network: &MlpWeights, examples: &[f32], remedy: Remedy, bits: u32) -> Vec<Treated> {
    let settings = Settings::weight_only(8, Scheme::Symmetric, Granularity::Channel);
    let one = |(layer, inputs): (&Dense, Vec<f32>)| {
        let columns = layer.inputs;
        let treatment = remedy.treat(&layer.weight, columns, &inputs);
        let (by, of_weights) = (treatment.of_inputs(columns), treatment.of_weights(columns));
        let weight = scale_columns(&layer.weight, &of_weights);
        let kept = matches!(treatment, Treatment::Keep(_)).then(|| {
            let only: Vec<f32> = of_weights.iter().map(|rest| 1.0 - rest).collect();
            let bias = vec![0.0; layer.outputs];
            Dense { weight: scale_columns(&layer.weight, &only), bias, ..layer.clone() }
        });
        let weight = PackedMatrix::quantize(&weight, columns, &settings).dequantize();
        let grid = calibrate(Calibration::MinMax, bits, &scale_columns(&inputs, &by));
        Treated { layer: Dense { weight, ..layer.clone() }, by, grid, kept }
    };
    network.layers.iter().zip(inputs_of_layers(network, examples)).map(one).collect()
}

fn forward(layers: &[Treated], pixels: &[f32]) -> Vec<f32> {
    let mut x = pixels.to_vec();
    for (i, Treated { layer, by, grid, kept }) in layers.iter().enumerate() {
        if i > 0 {
            x.iter_mut().for_each(|x| *x = x.max(0.0));
        }
        let rounded: Vec<f32> = scale_columns(&x, by).iter().map(|x| grid.value(grid.code(*x))).collect();
        let mut y = naive::linear(layer, &rounded);
        if let Some(kept) = kept {
            y.iter_mut().zip(naive::linear(kept, &x)).for_each(|(y, kept)| *y += kept);
        }
        x = y;
    }
    x
}
