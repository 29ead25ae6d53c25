//! The outlier experiment, weights only: a few input channels of each layer stay in FP32, chosen in three ways; or are scaled
//! into reach.

use lab_api::{Cell, LabError, Report, Table};
use lab_kit::{
    Context,
    mlp::{Dense, MlpWeights},
    quant::{
        Granularity, Scheme, Settings, naive,
        outlier::{Method, Salience},
    },
    stats::median,
    subject::Subject,
};

use super::judged::{Judged, inputs_of_layers};

/// Share of the input channels that stay in FP32: one of 64, two of 128, three of 256.
const SHARE: f64 = 0.01;
/// Draws of the random channels.
const DRAWS: u64 = 10;

/// Every method at 3 bits with one scale for a layer and with one for each channel; activations stay FP32. `prefix` begins the
/// names of what is reported.
pub(super) async fn run(subject: &Subject, prefix: &str, cx: &Context, report: &mut Report) -> Result<(), LabError> {
    let mut rows = Vec::new();
    for (granularity, word) in [(Granularity::Tensor, "tensor"), (Granularity::Channel, "channel")] {
        let settings = Settings::weight_only(3, Scheme::Symmetric, granularity);
        let mut results = Vec::new();
        for (method, id, words) in Method::ALL {
            results.push((id, words.to_owned(), judge(subject, method, &settings, cx).await?));
        }
        let mut draws = Vec::new();
        for seed in 0..DRAWS {
            draws.push(judge(subject, Method::Keep(Salience::Random(seed)), &settings, cx).await?);
        }
        let middle = |of: fn(&Judged) -> f64| median(&draws.iter().map(of).collect::<Vec<f64>>());
        let random = Judged { accuracy: middle(|d| d.accuracy), sqnr_db: middle(|d| d.sqnr_db), interval: None };
        results.push(("random", format!("Keep 1 % of channels, at random (median of {DRAWS})"), random));
        for (id, words, found) in results {
            rows.push([word, &words].into_iter().map(Cell::from).chain(found.cells()).collect());
            let label = format!("3 bits per {word}: {words}");
            report.metrics.extend(found.metrics(&format!("{prefix}outlier"), &format!("{word}_{id}"), &label));
        }
    }
    report.tables.push(Table {
        id: format!("{}outliers", prefix.replace('_', "-")),
        title: "Keep a few channels, or scale them: 3 bits, weights only".into(),
        columns: ["Scales", "Method", "Accuracy (%)", "SQNR of the logits (dB)"].map(str::to_owned).to_vec(),
        rows,
    });
    Ok(())
}

async fn judge(subject: &Subject, method: Method, settings: &Settings, cx: &Context) -> Result<Judged, LabError> {
    let forward = |fold: usize, pixels: &[f32]| {
        let network = round(subject.network(fold), &subject.examples[fold], method, settings);
        naive::layer_outputs(&network.layers, pixels).pop().unwrap_or_default()
    };
    Judged::of(subject, forward, cx).await
}

/// A network with the weights that a method leaves it, as FP32.
fn round(network: &MlpWeights, examples: &[f32], method: Method, settings: &Settings) -> MlpWeights {
    let inputs = inputs_of_layers(network, examples);
    let layer = |(layer, inputs): (&Dense, &Vec<f32>)| {
        let weight = method.round(&layer.weight, layer.inputs, inputs, SHARE, settings);
        Dense { weight, ..layer.clone() }
    };
    MlpWeights { layers: network.layers.iter().zip(&inputs).map(layer).collect() }
}
