//! Tables and charts of a run.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Image, Marker, Series, Table};
use lab_kit::{
    quant::{Activations, Calibration, Grid, InputGrid, QuantizedLayer, Settings, calibrate, min_max, naive},
    report::thousands,
    subject::{Baseline, Subject},
};

use super::{
    evaluate::{Outcome, Summary},
    summary::LayerError,
};
use lab_kit::order::Ordered as _;

/// Pictures shown when fewer flipped, and at most.
const PICTURES: (usize, usize) = (12, 24);
/// Bins of the histogram.
const BINS: usize = 64;

/// Names of the layers: `64 → 128`.
fn layer_names(outcome: &Outcome) -> Vec<String> {
    let layers = &outcome.networks[0].layers;
    layers.iter().map(|layer| format!("{} → {}", layer.weight.columns, layer.weight.rows)).collect()
}

/// What each layer costs and loses.
pub(super) fn layers(outcome: &Outcome, errors: &[LayerError]) -> Table {
    let columns = [
        "Layer",
        "Weights",
        "FP32 (bytes)",
        "Integers (bytes)",
        "Scales and zero points (bytes)",
        "SQNR of weights (dB)",
        "SQNR of output (dB)",
    ];
    let row = |((name, layer), error): ((String, &QuantizedLayer), &LayerError)| {
        let weights = layer.weight.rows * layer.weight.columns;
        let integers = layer.weight.codes.len();
        let numbers = [weights, 4 * weights, integers, layer.weight.bytes() - integers].map(|n| Cell::from(n as f64));
        let errors = [error.weight_sqnr_db, error.output_sqnr_db].map(Cell::from);
        std::iter::once(Cell::from(name)).chain(numbers).chain(errors).collect()
    };
    let layers = layer_names(outcome).into_iter().zip(&outcome.networks[0].layers);
    Table {
        id: "layers".into(),
        title: "What each layer costs and loses".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: layers.zip(errors).map(row).collect(),
    }
}

/// Accuracy against bytes, at every width.
pub(super) fn sweep(subject: &Subject, baseline: &Baseline, arms: &[(u32, Summary)]) -> Chart {
    let images = subject.images.len();
    let percent = |right: usize| 100.0 * right as f64 / images as f64;
    let fp32 = (subject.network(0).bytes() as f64, percent(subject.right(&baseline.answers)));
    let mut arms: Vec<&(u32, Summary)> = arms.iter().collect();
    arms.ordered_by_key(&|(bits, _)| *bits);
    let least = arms.iter().map(|(_, arm)| arm.bytes as f64).fold(fp32.0, f64::min);
    let words: Vec<String> =
        arms.iter().map(|(bits, arm)| format!("{bits} bits {:.1} %", percent(arm.right))).collect();
    Chart {
        id: "sweep".into(),
        title: "What does each bit buy?".into(),
        caption: format!(
            "Accuracy against bytes with the other settings as chosen: {}. The band is the 95 % interval over {} images.",
            words.join(", "),
            thousands(images)
        ),
        x: Axis::log("Weights (bytes)"),
        y: Axis { max: Some(100.0), ..Axis::linear("Accuracy (%)") },
        body: ChartBody::Line {
            series: vec![
                Series { name: "FP32".into(), points: vec![[least, fp32.1], [fp32.0, fp32.1]], band: vec![] },
                Series {
                    name: "Packed, 2 to 16 bits".into(),
                    points: arms.iter().map(|(_, arm)| [arm.bytes as f64, percent(arm.right)]).collect(),
                    band: arms.iter().map(|(_, arm)| [100.0 * arm.interval.low, 100.0 * arm.interval.high]).collect(),
                },
            ],
        },
    }
}

/// The weights of the largest layer, before and after.
pub(super) fn histogram(subject: &Subject, outcome: &Outcome) -> Chart {
    let layers = &subject.network(0).layers;
    let largest = (0..layers.len()).max_by_key(|i| layers[*i].weight.len()).unwrap_or(0);
    let before = &layers[largest].weight;
    let after = outcome.networks[0].layers[largest].weight.dequantize();
    let reach = f64::from(before.iter().fold(f32::MIN_POSITIVE, |reach, w| reach.max(w.abs())));
    let edges: Vec<f64> = (0..=BINS).map(|i| reach * (2.0 * i as f64 / BINS as f64 - 1.0)).collect();
    let count = |weights: &[f32]| {
        let mut counts = vec![0.0; BINS];
        for weight in weights {
            let bin = (f64::from(*weight) / reach + 1.0) / 2.0 * BINS as f64;
            counts[(bin.max(0.0) as usize).min(BINS - 1)] += 1.0;
        }
        counts
    };
    let mut levels: Vec<u32> = after.iter().map(|w| w.to_bits()).collect();
    levels.sort_unstable();
    levels.dedup();
    let ends = after.iter().fold((0.0_f32, 0.0_f32), |(min, max), w| (min.min(*w), max.max(*w)));
    let marker = |at: f32, label: &str| Marker { at: f64::from(at), label: label.into() };
    Chart {
        id: "histogram".into(),
        title: "What happens to the weights?".into(),
        caption: format!(
            "The {} weights of layer {} in the first network. In FP32 they take any value; quantized they take {}, \
             counted over all of the layer's scales.",
            thousands(before.len()),
            layer_names(outcome)[largest],
            thousands(levels.len())
        ),
        x: Axis::linear("Weight"),
        y: Axis::linear("Weights"),
        body: ChartBody::Histogram {
            edges,
            series: vec![
                BarSeries { name: "FP32".into(), values: count(before), intervals: vec![] },
                BarSeries { name: "Quantized".into(), values: count(&after), intervals: vec![] },
            ],
            markers: vec![marker(ends.0, "smallest"), marker(ends.1, "largest")],
        },
    }
}

/// What flows into the largest layer while the network looks at the calibration images, and how far the range reaches.
pub(super) fn activations(subject: &Subject, settings: &Settings, outcome: &Outcome) -> Chart {
    let layers = &subject.network(0).layers;
    let largest = (0..layers.len()).max_by_key(|i| layers[*i].weight.len()).unwrap_or(0);
    let inputs: Vec<f32> = match largest.checked_sub(1) {
        None => subject.examples[0].clone(),
        Some(before) => {
            let outputs = naive::layer_outputs(&layers[..largest], &subject.examples[0]);
            outputs[before].iter().map(|y| y.max(0.0)).collect()
        }
    };
    let (min, max) = min_max(&inputs);
    let (low, high) = (f64::from(min), f64::from(max).max(f64::from(min) + f64::from(f32::MIN_POSITIVE)));
    let edges: Vec<f64> = (0..=BINS).map(|i| low + (high - low) * i as f64 / BINS as f64).collect();
    let ends = |grid: &Grid| (grid.value(grid.lowest), grid.value(grid.highest));
    let chosen = match &outcome.networks[0].layers[largest].input {
        InputGrid::Static(grid) => Some(ends(grid)),
        InputGrid::Fp32 | InputGrid::Dynamic => None,
    };
    let (mut kept, mut clipped) = (vec![0.0; BINS], vec![0.0; BINS]);
    // Half of what a rectified layer gives is zero, and would dwarf the rest.
    for value in inputs.iter().filter(|value| **value != 0.0) {
        let bin = ((f64::from(*value) - low) / (high - low) * BINS as f64).max(0.0) as usize;
        let beyond = chosen.is_some_and(|(from, to)| *value < from || *value > to);
        let counts = if beyond { &mut clipped } else { &mut kept };
        counts[bin.min(BINS - 1)] += 1.0;
    }
    let percent = match settings.activations {
        Activations::Static(Calibration::Percentile { percent }) => percent,
        _ => 99.9,
    };
    let rules = [
        ("min-max".to_owned(), Calibration::MinMax),
        (format!("{percent} %"), Calibration::Percentile { percent }),
        ("least squared error".to_owned(), Calibration::Mse),
        ("entropy".to_owned(), Calibration::Entropy),
    ];
    let reach = rules.map(|(name, rule)| {
        let (from, to) = ends(&calibrate(rule, 8, &inputs));
        if from < 0.0 { format!("{name} from {from:.2} to {to:.2}") } else { format!("{name} {to:.2}") }
    });
    let bars = |name: &str, values: Vec<f64>| BarSeries { name: name.into(), values, intervals: vec![] };
    let mut series = vec![bars(if chosen.is_some() { "Within the range" } else { "Activations" }, kept)];
    series.extend(chosen.map(|_| bars("Clipped", clipped)));
    let marker = |at: f32| Marker { at: f64::from(at), label: "range".into() };
    Chart {
        id: "activations".into(),
        title: "How far must the range reach?".into(),
        caption: format!(
            "What flows into layer {} of the first network from {} training images; zeros are left out. Each rule would let \
             the range reach: {}.",
            layer_names(outcome)[largest],
            subject.examples[0].len() / subject.images.pixels_each(),
            reach.join(", ")
        ),
        x: Axis::linear("Activation"),
        y: Axis::log("Activations"),
        body: ChartBody::Histogram {
            edges,
            series,
            markers: chosen.iter().flat_map(|(from, to)| [*from, *to]).filter(|end| *end != 0.0).map(marker).collect(),
        },
    }
}

/// Error of every layer.
pub(super) fn sqnr(errors: &[LayerError]) -> Chart {
    let bars = |name: &str, value: fn(&LayerError) -> f64| BarSeries {
        name: name.into(),
        values: errors.iter().map(value).collect(),
        intervals: vec![],
    };
    Chart {
        id: "sqnr".into(),
        title: "Which layer suffers?".into(),
        caption:
            "Signal over quantization noise, higher is better. The output of a layer carries its own error and that \
                  of all layers before it."
                .into(),
        x: Axis::linear("Layer"),
        y: Axis { min: Some(0.0), ..Axis::linear("SQNR (dB)") },
        body: ChartBody::Bar {
            categories: (1..=errors.len()).map(|i| i.to_string()).collect(),
            series: vec![
                bars("Weights", |error| error.weight_sqnr_db.max(0.0)),
                bars("Output", |error| error.output_sqnr_db.max(0.0)),
            ],
        },
    }
}

/// The images that flipped; where they are few, also those nearest to it.
pub(super) fn images(subject: &Subject, baseline: &Baseline, outcome: &Outcome) -> Chart {
    let classes = subject.images.class_count();
    let row = |i: usize| &outcome.logits[i * classes..(i + 1) * classes];
    let second = |i: usize| {
        let first = usize::from(outcome.answers[i]);
        (0..classes)
            .filter(|class| *class != first)
            .fold(usize::from(first == 0), |best, class| if row(i)[class] > row(i)[best] { class } else { best })
    };
    let margin = |i: usize| row(i)[usize::from(outcome.answers[i])] - row(i)[second(i)];
    let flipped = |i: &usize| baseline.answers[*i] != outcome.answers[*i];
    let flips = (0..subject.images.len()).filter(flipped).count();
    let mut order: Vec<usize> = (0..subject.images.len()).collect();
    order.ordered_by(&|a, b| flipped(b).cmp(&flipped(a)).then(margin(*a).total_cmp(&margin(*b))));
    order.truncate(flips.clamp(PICTURES.0, PICTURES.1));
    let picture = |i: usize| {
        let (fp32, quantized) = (baseline.answers[i], outcome.answers[i]);
        let name = |class: u8| subject.images.character(class);
        let answer = if fp32 == quantized {
            format!("{} ({})", name(quantized), name(u8::try_from(second(i)).unwrap_or(u8::MAX)))
        } else {
            format!("{} → {}", name(fp32), name(quantized))
        };
        Image {
            label: format!("{}: {answer}", name(subject.images.labels[i])),
            pixels: subject.images.image(i).iter().map(|pixel| (255.0 * pixel) as u8).collect(),
            marked: fp32 == subject.images.labels[i] && quantized != fp32,
        }
    };
    let caption = match flips {
        0 => "No image flipped: these came nearest to it, in brackets the class they nearly became.".to_owned(),
        n if n > PICTURES.1 => {
            format!("{} of the {} images that flipped. Marked: right in FP32, wrong now.", PICTURES.1, thousands(n))
        }
        n if n < PICTURES.0 => format!(
            "First all {n} that flipped, marked where FP32 was right; then those that came nearest to it, in brackets the class they nearly became."
        ),
        n => format!("All {n} images that flipped. Marked: right in FP32, wrong now."),
    };
    Chart {
        id: "flips".into(),
        title: "Which images change their answer?".into(),
        caption: format!("{caption} Under each: the truth, then what FP32 and the quantized network say."),
        x: Axis::default(),
        y: Axis::default(),
        body: ChartBody::ImageGrid {
            width: subject.images.side as u32,
            height: subject.images.side as u32,
            images: order.into_iter().map(picture).collect(),
        },
    }
}
