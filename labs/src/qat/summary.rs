//! The numbers of a run, and the sentences it calls for.

use lab_api::{Family, Kind, Metric};
use lab_kit::{
    quant::{QuantizedMlp, signal_and_noise, sqnr_db},
    report::{MetricExt, metric, thousands},
    subject::Subject,
};

use super::arms::Outcome;

/// Confidence of every interval.
const LEVEL: f64 = 0.95;
/// Why a comparison with FP32 may differ by an image.
const ONE_IMAGE: &str =
    "FP32 sums differ in their last bits between devices, so one image on a boundary may change sides";

/// Why what training decides may differ between devices.
const SPREAD: &str = "sums in another order lead training elsewhere, as another order of the images does: five standard \
                      deviations over the study's seeds, in its widest arm";

/// Standard deviations over seeds of what a training decides: the widest among the study's arms. A test holds those of points
/// and decibels to the study; flips are those of seeds 1 to 5 of the default setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    /// Of an accuracy or a difference of two, in percentage points.
    pub(super) points: f64,
    /// Of the weights' SQNR, in decibels.
    pub(super) decibels: f64,
    /// Of the images answered otherwise.
    pub(super) flips: f64,
}

impl Spread {
    pub(super) const DIGITS: Self = Self { points: 0.45, decibels: 0.02, flips: 8.0 };
    pub(super) const GLYPHS: Self = Self { points: 0.35, decibels: 0.04, flips: 42.0 };

    fn of(subject: &Subject) -> Self {
        // Digits come without groups, glyphs in families.
        if subject.images.groups.is_empty() { Self::DIGITS } else { Self::GLYPHS }
    }
}

/// A number that a live training decides; devices may be five of its standard deviations over seeds apart.
fn trained(metric: Metric, deviation: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(5.0 * deviation, SPREAD) }
}

/// What the packed network takes: the same after training as before.
pub(super) fn memory(subject: &Subject, network: &QuantizedMlp) -> Vec<Metric> {
    let (before, after) = (subject.network(0).bytes() as f64, network.bytes() as f64);
    let counted = "bytes of buffers are counted";
    vec![
        metric(Family::Memory, "weight_bytes", "Weights", after, "bytes")
            .lower()
            .baseline(before)
            .exact(0.0, counted)
            .help("Packed integers, their scales and zero points, and the FP32 biases: the same for PTQ and QAT."),
        metric(Family::Memory, "compression", "Compression", before / after, "×")
            .higher()
            .baseline(1.0)
            .exact(1e-9, counted)
            .help("FP32 bytes over packed bytes."),
    ]
}

/// What is known before any training: FP32 and rounded, and where training starts.
pub(super) fn before(subject: &Subject, fp32: &[u8], ptq: &Outcome, first_loss: f64) -> Vec<Metric> {
    let rounded = subject.compare(fp32, &ptq.answers);
    vec![
        metric(Family::Quality, "first_loss", "Loss at the start", first_loss, "nats")
            .detail()
            .lower()
            .exact(1e-4, "all devices start from the same network; sums in another order are all that parts them")
            .help(
                "Of the first network through the rounding, on the first images that it is shown, before any update.",
            ),
        metric(Family::Quality, "accuracy_ptq", "Accuracy, rounded afterwards", rounded.percent(rounded.after), "%")
            .detail()
            .higher()
            .baseline(rounded.percent(rounded.before))
            .interval(share(subject, &ptq.answers))
            .exact(0.0, "sums are of integers")
            .help("Post-training quantization on the same grids; the baseline is FP32."),
    ]
}

/// Of an accuracy, in per cent.
fn share(subject: &Subject, answers: &[u8]) -> lab_api::Interval {
    let all: Vec<usize> = (0..answers.len()).collect();
    subject.accuracy_on(&all, answers, LEVEL).1
}

/// Accuracies, differences, flips, errors.
pub(super) fn quality(subject: &Subject, fp32: &[u8], control: &[u8], ptq: &Outcome, aware: &Outcome) -> Vec<Metric> {
    let spread = Spread::of(subject);
    let gain = subject.compare(&ptq.answers, &aware.answers);
    let gap = subject.compare(fp32, &aware.answers);
    let further = subject.compare(fp32, control);
    let against_control = subject.compare(control, &aware.answers);
    let rounded = subject.compare(fp32, &ptq.answers);
    let mut metrics = vec![
        trained(
            metric(Family::Quality, "accuracy", "Accuracy with QAT", gain.percent(gain.after), "%")
                .higher()
                .baseline(gain.percent(gain.before))
                .interval(share(subject, &aware.answers))
                .help("Of the packed networks on the images they have not seen; the baseline is the same width rounded afterwards."),
            spread.points,
        ),
        trained(
            metric(Family::Quality, "gain", "Gained by training through the rounding", gain.points(), "points")
                .higher()
                .interval(subject.change_interval(&ptq.answers, &aware.answers, LEVEL))
                .help("QAT minus PTQ at equal bytes, paired on the same images."),
            spread.points,
        ),
        trained(
            metric(Family::Quality, "gap", "Gap to FP32", gap.points(), "points")
                .higher()
                .interval(subject.change_interval(fp32, &aware.answers, LEVEL))
                .help("QAT minus the FP32 networks as shipped, paired on the same images."),
            spread.points,
        ),
        trained(
            metric(Family::Quality, "gap_control", "Gap to FP32 with the same training", against_control.points(), "points").detail()
                .higher()
                .interval(subject.change_interval(control, &aware.answers, LEVEL))
                .help("The fair comparison: the FP32 networks got the same further epochs on the same images in the same order."),
            spread.points,
        ),
        trained(
            metric(Family::Quality, "accuracy_control", "Accuracy of FP32, trained further", further.percent(further.after), "%").detail()
                .higher()
                .baseline(further.percent(further.before))
                .interval(share(subject, control))
                .help("The control; the baseline is FP32 as shipped."),
            spread.points,
        ),
    ];
    metrics.push(
        metric(Family::Quality, "accuracy_fp32", "Accuracy of FP32", gap.percent(gap.before), "%")
            .higher()
            .interval(share(subject, fp32))
            .exact(gap.percent(1) + 1e-9, ONE_IMAGE)
            .help("The networks as shipped, on images they have not seen."),
    );
    metrics.push(trained(
        metric(Family::Quality, "flips", "Images that flipped", gap.flips as f64, "images")
            .detail()
            .lower()
            .baseline(rounded.flips as f64)
            .help("Images answered otherwise than by FP32; the baseline is PTQ."),
        spread.flips,
    ));
    let (qat, ptq) = (weight_sqnr(aware), weight_sqnr(ptq));
    metrics.push(trained(
        metric(Family::Quality, "weight_sqnr", "SQNR of the weights", qat, "dB")
            .detail()
            .higher()
            .baseline(ptq)
            .help("FP32 weights over the error of rounding them, all layers and networks; the baseline is PTQ."),
        spread.decibels,
    ));
    metrics.push(trained(
        metric(Family::Quality, "deployed_mismatches", "Changed by packing", aware.mismatches as f64, "images")
            .detail()
            .lower()
            .baseline(0.0)
            .help("Images that the packed integers answer otherwise than the fake-quantized network in training."),
        0.0004 * gap.images as f64,
    ));
    metrics
}

/// Of all weights, in decibels.
pub(super) fn weight_sqnr(outcome: &Outcome) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for (master, packed) in outcome.masters.iter().zip(&outcome.networks) {
        for (layer, packed) in master.layers.iter().zip(&packed.layers) {
            let (s, n) = signal_and_noise(&layer.weight, &packed.weight.dequantize());
            signal += s;
            noise += n;
        }
    }
    sqnr_db(signal, noise)
}

/// Sentences for this very run.
pub(super) fn notes(subject: &Subject, fp32: &[u8], control: &[u8], ptq: &Outcome, aware: &Outcome) -> Vec<String> {
    let gain = subject.compare(&ptq.answers, &aware.answers);
    let interval = subject.change_interval(&ptq.answers, &aware.answers, LEVEL);
    let mut notes = vec![format!(
        "Of {} images, training turned {} from wrong to right and {} from right to wrong.",
        thousands(gain.images),
        gain.gained,
        gain.lost
    )];
    if interval.low <= 0.0 && interval.high >= 0.0 {
        notes.push("The interval of the gain contains zero: at this width rounding afterwards does about as well, without any training.".into());
    }
    let further = subject.change_interval(fp32, control, LEVEL);
    if interval.low > 0.0 && further.low <= 0.0 && further.high >= 0.0 {
        notes.push("Training the FP32 networks on changed their accuracy by no more than chance, so the gain is not one of further training.".into());
    }
    let (qat, ptq) = (weight_sqnr(aware), weight_sqnr(ptq));
    if interval.low > 0.0 && qat < ptq + 1.0 {
        notes.push("The weights are rounded about as coarsely as before: training did not make the error small, it made the network right in spite of it.".into());
    }
    notes
}
