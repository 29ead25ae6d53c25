//! Tables and charts of a run.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Interval, Report, Series, Table};
use lab_kit::{
    quant::{PackedMatrix, QuantizedMlp},
    report::thousands,
    subject::Subject,
};

use super::arms::{Outcome, Pair};

/// Confidence of every interval.
const LEVEL: f64 = 0.95;

/// One epoch of one arm, over the networks trained so far.
#[derive(Debug, Clone, Copy, Default)]
struct Epoch {
    /// Sum of the mean losses.
    loss: f64,
    /// How many.
    networks: usize,
    right: usize,
    images: usize,
}

/// Loss and accuracy while training.
#[derive(Debug, Clone)]
pub(super) struct Curves {
    /// Accuracy before training, FP32 and rounded, per cent.
    start: (f64, f64),
    plain: Vec<Epoch>,
    aware: Vec<Epoch>,
}

impl Curves {
    /// Before training.
    pub(super) fn new(subject: &Subject, fp32: &[u8], ptq: &Outcome) -> Self {
        let percent = |answers: &[u8]| 100.0 * subject.right(answers) as f64 / subject.images.len() as f64;
        Self { start: (percent(fp32), percent(&ptq.answers)), plain: Vec::new(), aware: Vec::new() }
    }

    /// An epoch of FP32 training.
    pub(super) fn plain(&mut self, epoch: usize, loss: f64, right: usize, images: usize) {
        add(&mut self.plain, epoch, loss, right, images);
    }

    /// An epoch of quantization-aware training.
    pub(super) fn aware(&mut self, epoch: usize, loss: f64, right: usize, images: usize) {
        add(&mut self.aware, epoch, loss, right, images);
    }

    /// A report with these charts.
    pub(super) fn on(&self, report: &Report) -> Report {
        Report { charts: self.charts(), ..report.clone() }
    }

    /// Both charts.
    pub(super) fn charts(&self) -> Vec<Chart> {
        let line = |name: &str, points: Vec<[f64; 2]>| Series { name: name.into(), points, band: vec![] };
        let losses = |epochs: &[Epoch]| points(epochs, |epoch| epoch.loss / epoch.networks.max(1) as f64);
        let accuracies = |start: f64, epochs: &[Epoch]| {
            let mut all = vec![[0.0, start]];
            all.extend(points(epochs, |epoch| 100.0 * epoch.right as f64 / epoch.images.max(1) as f64));
            all
        };
        let chart = |id: &str, title: &str, caption: &str, y: Axis, plain: Vec<[f64; 2]>, aware: Vec<[f64; 2]>| Chart {
            id: id.into(),
            title: title.into(),
            caption: caption.into(),
            x: Axis::linear("Epochs"),
            y,
            body: ChartBody::Line { series: vec![line("FP32, trained further", plain), line("QAT", aware)] },
        };
        vec![
            chart(
                "learning",
                "How fast do the networks recover?",
                "Accuracy on the images that each network has not seen, after every epoch and over the networks trained \
                 so far. Epoch 0 is the shipped FP32 network, and the same rounded without training.",
                Axis { max: Some(100.0), ..Axis::linear("Accuracy (%)") },
                accuracies(self.start.0, &self.plain),
                accuracies(self.start.1, &self.aware),
            ),
            chart(
                "loss",
                "What does training see?",
                "Mean loss on the training images in each epoch. The FP32 networks have seen these images many times; in \
                 the rounded ones a step shows only where it moves a weight to another level.",
                Axis { min: Some(0.0), ..Axis::linear("Loss (nats)") },
                losses(&self.plain),
                losses(&self.aware),
            ),
        ]
    }
}

fn add(epochs: &mut Vec<Epoch>, epoch: usize, loss: f64, right: usize, images: usize) {
    if epochs.len() < epoch {
        epochs.resize(epoch, Epoch::default());
    }
    let Some(at) = epoch.checked_sub(1).and_then(|i| epochs.get_mut(i)) else { return };
    at.loss += loss;
    at.networks += 1;
    at.right += right;
    at.images += images;
}

fn points(epochs: &[Epoch], value: impl Fn(&Epoch) -> f64) -> Vec<[f64; 2]> {
    epochs.iter().enumerate().map(|(i, epoch)| [(i + 1) as f64, value(epoch)]).collect()
}

/// The four networks side by side.
pub(super) fn networks(subject: &Subject, fp32: &[u8], control: &[u8], ptq: &Outcome, aware: &Outcome) -> Table {
    let bytes = subject.network(0).bytes();
    let packed = |outcome: &Outcome| outcome.networks.first().map_or(0, QuantizedMlp::bytes);
    let row = |name: &str, answers: &[u8], bytes: usize| {
        let all: Vec<usize> = (0..answers.len()).collect();
        let (percent, interval) = subject.accuracy_on(&all, answers, LEVEL);
        let flips = subject.compare(fp32, answers).flips;
        let numbers = [percent, interval.low, interval.high, bytes as f64, flips as f64];
        std::iter::once(Cell::from(name)).chain(numbers.map(Cell::from)).collect()
    };
    let columns = ["Network", "Accuracy (%)", "95 % from", "95 % to", "Weights (bytes)", "Flips against FP32 (images)"];
    Table {
        id: "networks".into(),
        title: "Four networks, the same images".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: vec![
            row("FP32", fp32, bytes),
            row("FP32, trained further", control, bytes),
            row("Rounded afterwards (PTQ)", &ptq.answers, packed(ptq)),
            row("Trained through the rounding (QAT)", &aware.answers, packed(aware)),
        ],
    }
}

/// Bins between two levels.
const BINS: usize = 40;

/// Where the weights lie between their levels, before training and after.
pub(super) fn positions(ptq: &Outcome, aware: &Outcome) -> Chart {
    let edges: Vec<f64> = (0..=BINS).map(|i| i as f64 / BINS as f64 - 0.5).collect();
    let shares = |outcome: &Outcome| {
        let (mut counts, mut all) = (vec![0.0; BINS], 0.0);
        for (master, packed) in outcome.masters.iter().zip(&outcome.networks) {
            for (layer, packed) in master.layers.iter().zip(&packed.layers) {
                for (position, weight) in offsets(&layer.weight, &packed.weight).into_iter().zip(&layer.weight) {
                    // A dead pixel's weights stay exactly where they started and say nothing.
                    if *weight != 0.0 && position.abs() <= 0.5 {
                        counts[(((position + 0.5) * BINS as f64) as usize).min(BINS - 1)] += 1.0;
                        all += 1.0;
                    }
                }
            }
        }
        counts.into_iter().map(|count| 100.0 * count / f64::max(all, 1.0)).collect()
    };
    let bars = |name: &str, values: Vec<f64>| BarSeries { name: name.into(), values, intervals: vec![] };
    Chart {
        id: "positions".into(),
        title: "Where do the weights lie between their levels?".into(),
        caption:
            "Distance of every FP32 weight from the level it is rounded to, in steps of its grid: 0 is on a level, \
                  0.5 and −0.5 are half way to the next. Clipped weights are left out."
                .into(),
        x: Axis::linear("Distance from the level (steps)"),
        y: Axis { min: Some(0.0), ..Axis::linear("Weights (%)") },
        body: ChartBody::Histogram {
            edges,
            series: vec![bars("Before training", shares(ptq)), bars("After QAT", shares(aware))],
            markers: vec![],
        },
    }
}

/// Distance of each weight from the level it was packed to, in steps.
fn offsets(weight: &[f32], packed: &PackedMatrix) -> Vec<f64> {
    let rounded = packed.dequantize();
    let scale = |i: usize| packed.scale(i / packed.columns, i % packed.columns / packed.group_size);
    weight.iter().zip(rounded).enumerate().map(|(i, (w, q))| f64::from((w - q) / scale(i))).collect()
}

/// Accuracy at every width.
pub(super) fn sweep(subject: &Subject, fp32: &[u8], pairs: &[(u32, Pair)]) -> Chart {
    let images: &[usize] = pairs.first().map_or(&[], |(_, pair)| &pair.images);
    let plain: Vec<u8> = images.iter().map(|i| fp32[*i]).collect();
    let (percent, _) = subject.accuracy_on(images, &plain, LEVEL);
    let line = |name: &str, answers: &dyn Fn(&Pair) -> Vec<u8>| {
        let all: Vec<(u32, (f64, Interval))> =
            pairs.iter().map(|(bits, pair)| (*bits, subject.accuracy_on(images, &answers(pair), LEVEL))).collect();
        Series {
            name: name.into(),
            points: all.iter().map(|(bits, (percent, _))| [f64::from(*bits), *percent]).collect(),
            band: all.iter().map(|(_, (_, Interval { low, high, .. }))| [*low, *high]).collect(),
        }
    };
    let flat = pairs.iter().map(|(bits, _)| [f64::from(*bits), percent]).collect();
    let of = if subject.folds() > super::SWEEP_FOLDS { " of the first two networks" } else { "" };
    Chart {
        id: "sweep".into(),
        title: "At which width does training pay?".into(),
        caption: format!(
            "Accuracy at 2, 3 and 4 bits with the other settings as chosen, on {} images{of}. Bands are \
             95 % intervals.",
            thousands(images.len())
        ),
        x: Axis::linear("Bits per weight"),
        y: Axis { max: Some(100.0), ..Axis::linear("Accuracy (%)") },
        body: ChartBody::Line {
            series: vec![
                Series { name: "FP32".into(), points: flat, band: vec![] },
                line("Rounded afterwards", &|pair| pair.rounded.clone()),
                line("QAT", &|pair| pair.trained.clone()),
            ],
        },
    }
}
