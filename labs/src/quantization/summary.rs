//! The numbers of a run, and the sentences it calls for.

use lab_api::{Family, Interval, LabError, Metric};
use lab_kit::{
    Context,
    quant::{Activations, Granularity, HALF, QuantizedMlp, Scheme, Settings, naive, signal_and_noise, sqnr_db},
    report::{MetricExt, metric, thousands},
    subject::{Baseline, Compared, Subject},
};

use super::evaluate::Outcome;

/// Confidence of every interval.
const LEVEL: f64 = 0.95;
/// Images of each fold on which the error of a layer's output is taken.
const ERROR_IMAGES: usize = 64;
/// Why the quantized network gives the same everywhere.
const FIXED: &str = "sums are of integers or have one fixed order";
/// Why a comparison with FP32 may differ by an image.
const ONE_IMAGE: &str =
    "FP32 sums differ in their last bits between devices, so one image on a boundary may change sides";

/// What the network takes.
pub(super) fn memory(subject: &Subject, network: &QuantizedMlp) -> Vec<Metric> {
    let (before, after) = (subject.network(0).bytes() as f64, network.bytes() as f64);
    let weights: usize = subject.network(0).layers.iter().map(|layer| layer.weight.len()).sum();
    let packed: usize = network.layers.iter().map(|layer| layer.weight.bytes()).sum();
    let counted = "bytes of buffers are counted";
    vec![
        metric(Family::Memory, "weight_bytes", "Weights", after, "bytes")
            .lower()
            .baseline(before)
            .exact(0.0, counted)
            .help("Packed integers, their scales and zero points, and the FP32 biases; biases count on both sides."),
        metric(Family::Memory, "compression", "Compression", before / after, "×")
            .higher()
            .baseline(1.0)
            .exact(1e-9, counted)
            .help("FP32 bytes over packed bytes."),
        metric(Family::Memory, "bits_per_weight", "Bits per weight", 8.0 * packed as f64 / weights as f64, "bits")
            .lower()
            .baseline(32.0)
            .exact(1e-9, counted)
            .help("Scales and zero points shared out over the weights, biases left aside."),
    ]
}

/// Accuracy, difference, flips.
pub(super) fn quality(subject: &Subject, baseline: &Baseline, outcome: &Outcome) -> Vec<Metric> {
    let compared = subject.compare(&baseline.answers, &outcome.answers);
    let Compared { images, before, after, flips, .. } = compared;
    let percent = |count: usize| 100.0 * count as f64 / images as f64;
    let one = percent(1);
    let count = thousands(images);
    let judged = if subject.folds() > 1 {
        format!(
            "Images named right, each by the network that has not seen it (5-fold cross-validation, {count} images)."
        )
    } else {
        format!(
            "Images named right, {count} in all, of font families that no training saw; intervals draw whole families."
        )
    };
    vec![
        metric(Family::Quality, "accuracy", "Accuracy", percent(after), "%")
            .higher()
            .baseline(percent(before))
            .interval(scaled(subject.share_interval(&|i| outcome.answers[i] == subject.images.labels[i], LEVEL), 100.0))
            .exact(0.0, FIXED)
            .help(&judged),
        metric(Family::Quality, "accuracy_change", "Change of accuracy", percent(after) - percent(before), "points")
            .higher()
            .interval(subject.change_interval(&baseline.answers, &outcome.answers, LEVEL))
            .exact(one + 1e-9, ONE_IMAGE)
            .help("Paired on the same images, so its exact interval is narrower than that of either accuracy."),
        metric(Family::Quality, "flips", "Images that flipped", flips as f64, "images")
            .lower()
            .baseline(0.0)
            .exact(1.0, ONE_IMAGE)
            .help("Images that FP32 and quantized network answer differently, whether right or wrong."),
        metric(Family::Quality, "agreement", "Agreement with FP32", percent(images - flips), "%")
            .detail()
            .higher()
            .baseline(100.0)
            .interval(scaled(subject.share_interval(&|i| baseline.answers[i] == outcome.answers[i], LEVEL), 100.0))
            .exact(one + 1e-9, ONE_IMAGE)
            .help("Share of images with the same answer."),
    ]
}

/// An interval in another unit.
pub(super) fn scaled(interval: Interval, factor: f64) -> Interval {
    Interval { low: factor * interval.low, high: factor * interval.high, level: interval.level }
}

/// What quantization does to one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LayerError {
    /// Of the weights, in decibels.
    pub(super) weight_sqnr_db: f64,
    /// Of what the layer gives, with all that went wrong before it.
    pub(super) output_sqnr_db: f64,
    /// Root mean square of the weights' error over that of the weights.
    pub(super) relative_error: f64,
}

/// The error of every layer, over all networks. The FP32 side is the plain loop of `naive`, so that it does not
/// depend on the device.
pub(super) async fn layer_errors(
    subject: &Subject,
    outcome: &Outcome,
    cx: &Context,
) -> Result<Vec<LayerError>, LabError> {
    let count = subject.network(0).layers.len();
    let (mut weights, mut outputs) = (vec![(0.0, 0.0); count], vec![(0.0, 0.0); count]);
    let add = |sum: &mut (f64, f64), (signal, noise): (f64, f64)| *sum = (sum.0 + signal, sum.1 + noise);
    for (fold, quantized) in outcome.networks.iter().enumerate() {
        let images: Vec<usize> = subject.models.held_out(fold).into_iter().take(ERROR_IMAGES).collect();
        let pixels = subject.images.gather(&images);
        let network = subject.network(fold);
        let plain = naive::layer_outputs(&network.layers, &pixels);
        let packed = quantized.layer_outputs(&pixels);
        for i in 0..count {
            let layer = &network.layers[i].weight;
            add(&mut weights[i], signal_and_noise(layer, &quantized.layers[i].weight.dequantize()));
            add(&mut outputs[i], signal_and_noise(&plain[i], &packed[i]));
        }
        cx.checkpoint().await?;
    }
    let error = |(weights, outputs): (&(f64, f64), &(f64, f64))| LayerError {
        weight_sqnr_db: sqnr_db(weights.0, weights.1),
        output_sqnr_db: sqnr_db(outputs.0, outputs.1),
        relative_error: (weights.1 / weights.0.max(f64::MIN_POSITIVE)).sqrt(),
    };
    Ok(weights.iter().zip(&outputs).map(error).collect())
}

/// The errors as numbers of the report.
pub(super) fn error_metrics(errors: &[LayerError]) -> Vec<Metric> {
    let worst = errors.iter().map(|error| error.weight_sqnr_db).fold(f64::INFINITY, f64::min);
    let largest = errors.iter().map(|error| error.relative_error).fold(0.0, f64::max);
    let logits = errors.last().map_or(0.0, |error| error.output_sqnr_db);
    let logarithm = "the logarithm's last digits differ between platforms";
    vec![
        metric(Family::Quality, "weight_sqnr", "SQNR of the worst layer's weights", worst, "dB")
            .detail()
            .higher()
            .exact(1e-6, logarithm)
            .help("Signal over quantization noise: 6 dB more for every bit, if the weights fill their grid."),
        metric(Family::Quality, "weight_error", "Error of the worst layer's weights", 100.0 * largest, "%")
            .detail()
            .lower()
            .exact(1e-9, FIXED)
            .help("Root mean square error relative to the weights themselves."),
        metric(Family::Quality, "logit_sqnr", "SQNR of the logits", logits, "dB")
            .detail()
            .higher()
            .exact(1e-6, logarithm)
            .help("The same for what the network gives, after all layers' errors have met."),
    ]
}

/// Sentences for this very run.
pub(super) fn notes(settings: &Settings, subject: &Subject, baseline: &Baseline, outcome: &Outcome) -> Vec<String> {
    let compared = subject.compare(&baseline.answers, &outcome.answers);
    let Compared { images, gained, lost, flips, .. } = compared;
    let mut notes = Vec::new();
    notes.push(match flips {
        0 => format!("None of the {} images changed its answer.", thousands(images)),
        _ => {
            let neither = flips - gained - lost;
            format!(
                "{} changed {} answer: {lost} from right to wrong, {gained} from wrong to right, {neither} from one wrong answer to another.",
                if flips == 1 { "1 image".to_owned() } else { format!("{} images", thousands(flips)) },
                if flips == 1 { "its" } else { "their" },
            )
        }
    });
    let interval = subject.change_interval(&baseline.answers, &outcome.answers, LEVEL);
    if flips > 0 && interval.low <= 0.0 && interval.high >= 0.0 {
        notes.push(
            "The interval of the change contains zero: so many images cannot tell these two networks apart.".to_owned(),
        );
    }
    if settings.bits == 2 && settings.scheme == Scheme::Symmetric {
        notes.push("Two symmetric bits leave three values, minus one, zero and one times the scale; the fourth code is unused.".to_owned());
    }
    if let Granularity::Group(size) = settings.granularity
        && subject.network(0).layers.iter().any(|layer| layer.inputs % size != 0)
    {
        notes.push(format!("Rows are not a multiple of {size} weights: the last group of each row is shorter."));
    }
    if settings.bits == HALF {
        notes.push(
            "Half precision has no grid: the settings of scales, rounding and activations do not matter.".to_owned(),
        );
    } else if settings.activations == Activations::Fp32 {
        notes.push("Activations stayed FP32: weights are unpacked and scaled before they are multiplied.".to_owned());
    }
    notes
}
