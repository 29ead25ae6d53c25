//! Activations on one static grid for a layer: what keeping or smoothing channels changes where none stands out by much.

use lab_api::{Cell, LabError, Report, Table};
use lab_kit::{
    Context,
    mlp::Dense,
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

/// What is rounded: whether weights are, to how many bits inputs are, and whether their ranges are those of the very images that
/// judge. No calibration can have those; they show what clipping costs.
#[derive(Debug, Clone, Copy)]
struct Rounded {
    name: &'static str,
    weights: bool,
    bits: Option<u32>,
    unclipped: bool,
}

const ROUNDED: [Rounded; 6] = [
    Rounded { name: "weights", weights: true, bits: None, unclipped: false },
    Rounded { name: "inputs_8", weights: false, bits: Some(8), unclipped: false },
    Rounded { name: "inputs_8_unclipped", weights: false, bits: Some(8), unclipped: true },
    Rounded { name: "inputs_4", weights: false, bits: Some(4), unclipped: false },
    Rounded { name: "both_8", weights: true, bits: Some(8), unclipped: false },
    Rounded { name: "both_4", weights: true, bits: Some(4), unclipped: false },
];

/// Weights of 8 bits per channel and activations of 8 and of 4 bits, each alone and together. `prefix` begins the names of what
/// is reported.
pub(super) async fn run(subject: &Subject, prefix: &str, cx: &Context, report: &mut Report) -> Result<(), LabError> {
    let mut rows = Vec::new();
    for what in ROUNDED {
        for (remedy, id, words) in REMEDIES {
            let layers = |fold: usize| treated(subject, fold, remedy, what);
            let networks: Vec<Vec<Treated>> = (0..subject.folds()).map(layers).collect();
            let found = Judged::of(subject, |fold, pixels| forward(&networks[fold], pixels), cx).await?;
            let of_weights = if what.weights { "8-bit weights" } else { "FP32 weights" };
            let of_inputs = match what.bits {
                None => "FP32 activations".to_owned(),
                Some(bits) if what.unclipped => format!("static {bits}-bit activations, nothing clipped"),
                Some(bits) => format!("static {bits}-bit activations"),
            };
            let label = format!("{of_weights}, {of_inputs}: {words}");
            report.metrics.extend(found.metrics(&format!("{prefix}remedy"), &format!("{}_{id}", what.name), &label));
            let words = [of_weights, &of_inputs, words].map(Cell::from);
            rows.push(words.into_iter().chain(found.cells()).collect());
        }
    }
    report.tables.push(Table {
        id: format!("{}remedies", prefix.replace('_', "-")),
        title: "Static activations, and what is done to channels that stand out".into(),
        columns: ["Weights", "Activations", "Against outliers", "Accuracy (%)", "SQNR of the logits (dB)"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    });
    Ok(())
}

/// A layer with what is done to its inputs.
struct Treated {
    /// Weights as FP32, rounded or not.
    layer: Dense,
    /// What multiplies the inputs before they are rounded.
    by: Vec<f32>,
    /// Where they are rounded.
    grid: Option<Grid>,
    /// The same layer with nothing but the channels that skip the rounding, and no bias.
    kept: Option<Dense>,
}

fn treated(subject: &Subject, fold: usize, remedy: Remedy, what: Rounded) -> Vec<Treated> {
    let network = subject.network(fold);
    let examples = inputs_of_layers(network, &subject.examples[fold]);
    let judged = || inputs_of_layers(network, &subject.images.gather(&subject.models.held_out(fold)));
    let reached = if what.unclipped { judged() } else { examples.clone() };
    let settings = Settings::weight_only(8, Scheme::Symmetric, Granularity::Channel);
    let one = |((layer, inputs), reached): ((&Dense, &Vec<f32>), &Vec<f32>)| {
        let columns = layer.inputs;
        let treatment = remedy.treat(&layer.weight, columns, inputs);
        let (by, of_weights) = (treatment.of_inputs(columns), treatment.of_weights(columns));
        let weight = scale_columns(&layer.weight, &of_weights);
        let kept = matches!(treatment, Treatment::Keep(_)).then(|| {
            let only: Vec<f32> = of_weights.iter().map(|rest| 1.0 - rest).collect();
            let bias = vec![0.0; layer.outputs];
            Dense { weight: scale_columns(&layer.weight, &only), bias, ..layer.clone() }
        });
        let rounded = || PackedMatrix::quantize(&weight, columns, &settings).dequantize();
        let weight = if what.weights { rounded() } else { weight };
        let grid = what.bits.map(|bits| calibrate(Calibration::MinMax, bits, &scale_columns(reached, &by)));
        Treated { layer: Dense { weight, ..layer.clone() }, by, grid, kept }
    };
    network.layers.iter().zip(&examples).zip(&reached).map(one).collect()
}

fn forward(layers: &[Treated], pixels: &[f32]) -> Vec<f32> {
    let mut x = pixels.to_vec();
    for (i, Treated { layer, by, grid, kept }) in layers.iter().enumerate() {
        if i > 0 {
            x.iter_mut().for_each(|x| *x = x.max(0.0));
        }
        let mut given = scale_columns(&x, by);
        if let Some(grid) = grid {
            given.iter_mut().for_each(|x| *x = grid.value(grid.code(*x)));
        }
        let mut y = naive::linear(layer, &given);
        if let Some(kept) = kept {
            y.iter_mut().zip(naive::linear(kept, &x)).for_each(|(y, kept)| *y += kept);
        }
        x = y;
    }
    x
}

/// What each remedy makes of a network in which nothing is rounded.
#[cfg(test)]
pub(super) fn unrounded(subject: &Subject, pixels: &[f32]) -> Vec<(&'static str, Vec<f32>)> {
    let nothing = Rounded { name: "nothing", weights: false, bits: None, unclipped: false };
    let answers = |remedy| forward(&treated(subject, 0, remedy, nothing), pixels);
    REMEDIES.into_iter().map(|(remedy, id, _)| (id, answers(remedy))).collect()
}
