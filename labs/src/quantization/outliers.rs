//! The outlier experiment: a few input channels of each layer stay in FP32, chosen in three ways; or are scaled into reach.

use lab_api::{Cell, Family, LabError, Report, Table};
use lab_kit::{
    Context,
    mlp::{Dense, MlpWeights},
    quant::{
        Granularity, Scheme, Settings, naive,
        outlier::{Method, Salience},
        signal_and_noise, sqnr_db,
    },
    report::{MetricExt, metric},
    stats::{median, proportion},
    subject::Subject,
    train::argmax,
};

/// Share of the input channels that stay in FP32: one of 64, two of 128.
const SHARE: f64 = 0.01;
/// Draws of the random channels.
const DRAWS: u64 = 10;

/// Every method at 3 bits with one scale for a layer and with one for each channel; activations stay FP32.
pub(super) async fn run(subject: &Subject, cx: &Context, report: &mut Report) -> Result<(), LabError> {
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
        let middle = |pick: fn(&(f64, f64)) -> f64| median(&draws.iter().map(pick).collect::<Vec<f64>>());
        let words = format!("Keep 1 % of channels, at random (median of {DRAWS})");
        results.push(("random", words, (middle(|draw| draw.0), middle(|draw| draw.1))));
        for (id, words, (right, sqnr)) in results {
            let images = subject.images.len();
            let accuracy = 100.0 * right / images as f64;
            let interval = super::summary::scaled(proportion(right.round() as usize, images, 0.95), 100.0);
            rows.push(vec![Cell::from(word), Cell::from(words.clone()), Cell::from(accuracy), Cell::from(sqnr)]);
            report.metrics.push(
                metric(
                    Family::Quality,
                    &format!("outlier_{word}_{id}"),
                    &format!("3 bits per {word}: {words}"),
                    accuracy,
                    "%",
                )
                .higher()
                .interval(interval),
            );
            report.metrics.push(
                metric(
                    Family::Quality,
                    &format!("outlier_sqnr_{word}_{id}"),
                    &format!("SQNR of logits, 3 bits per {word}: {words}"),
                    sqnr,
                    "dB",
                )
                .higher(),
            );
        }
    }
    report.tables.push(Table {
        id: "outliers".into(),
        title: "Keep a few channels, or scale them: 3 bits, weights only".into(),
        columns: ["Scales", "Method", "Accuracy (%)", "SQNR of the logits (dB)"].map(str::to_owned).to_vec(),
        rows,
    });
    Ok(())
}

/// Right answers over all images, and the SQNR of the logits.
async fn judge(subject: &Subject, method: Method, settings: &Settings, cx: &Context) -> Result<(f64, f64), LabError> {
    let (mut right, mut signal, mut noise) = (0_usize, 0.0, 0.0);
    for fold in 0..subject.folds() {
        let network = subject.network(fold);
        let rounded = round(network, &subject.examples[fold], method, settings);
        let held_out = subject.models.held_out(fold);
        let pixels = subject.images.gather(&held_out);
        let logits = |network: &MlpWeights| naive::layer_outputs(&network.layers, &pixels).pop().unwrap_or_default();
        let (plain, given) = (logits(network), logits(&rounded));
        let (s, n) = signal_and_noise(&plain, &given);
        signal += s;
        noise += n;
        let answers = argmax(&given, subject.images.class_count());
        right += held_out.iter().zip(&answers).filter(|(i, answer)| subject.images.labels[**i] == **answer).count();
        cx.checkpoint().await?;
    }
    Ok((right as f64, sqnr_db(signal, noise)))
}

/// A network with the weights that a method leaves it, as FP32.
fn round(network: &MlpWeights, examples: &[f32], method: Method, settings: &Settings) -> MlpWeights {
    let outputs = naive::layer_outputs(&network.layers, examples);
    let layer = |(i, layer): (usize, &Dense)| {
        let inputs: Vec<f32> = match i.checked_sub(1) {
            None => examples.to_vec(),
            Some(before) => outputs[before].iter().map(|y| y.max(0.0)).collect(),
        };
        let (weight, columns) = (&layer.weight, layer.inputs);
        let weight = method.round(weight, columns, &inputs, SHARE, settings);
        Dense { weight, ..layer.clone() }
    };
    MlpWeights { layers: network.layers.iter().enumerate().map(layer).collect() }
}
