//! Every arm: widths, grids, scales, activations.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, LabError, Report, Series, Table};
use lab_kit::{
    Context,
    quant::{Activations, Calibration, Granularity, HALF, Rounding, Scheme, Settings},
    report::{MetricExt, metric},
    stats::{median, proportion},
    subject::{Compared, Subject},
};

use super::{
    evaluate::{Outcome, quantize},
    outliers, remedies,
    summary::scaled,
};

const SCHEMES: [(Scheme, &str); 2] = [(Scheme::Symmetric, "symmetric"), (Scheme::Affine, "affine")];
const GRANULARITIES: [(Granularity, &str); 3] =
    [(Granularity::Tensor, "tensor"), (Granularity::Channel, "channel"), (Granularity::Group(32), "group")];
const ACTIVATIONS: [(Activations, &str); 6] = [
    (Activations::Static(Calibration::MinMax), "min_max"),
    (Activations::Static(Calibration::Percentile { percent: 99.9 }), "percentile"),
    (Activations::Static(Calibration::Mse), "mse"),
    (Activations::Static(Calibration::Entropy), "entropy"),
    (Activations::Dynamic, "dynamic"),
    (Activations::Fp32, "none"),
];
const ROUNDINGS: [(Rounding, &str); 2] = [(Rounding::Nearest, "nearest"), (Rounding::Gptq, "gptq")];
/// Treatments of activations that every grid and granularity is tried with; the others with the default ones.
const EVERYWHERE: [&str; 3] = ["min_max", "percentile", "none"];
/// The activations of the default run.
const DEFAULT_ACTIVATIONS: &str = "min_max";
/// Draws of the calibration images.
const SEEDS: u64 = 20;
/// The rounding of the default run.
const DEFAULT_ROUNDING: &str = "nearest";

/// One combination of settings, with the words for it.
#[derive(Debug, Clone, Copy)]
struct Arm {
    settings: Settings,
    scheme: &'static str,
    granularity: &'static str,
    rounding: &'static str,
    activations: &'static str,
}

impl Arm {
    fn all() -> Vec<Self> {
        let mut arms = Vec::new();
        for (scheme, scheme_word) in SCHEMES {
            for (granularity, granularity_word) in GRANULARITIES {
                for bits in [2, 3, 4, 8] {
                    for (activations, activations_word) in ACTIVATIONS {
                        for (rounding, rounding_word) in ROUNDINGS {
                            arms.push(Self {
                                settings: Settings { bits, scheme, granularity, rounding, activations },
                                scheme: scheme_word,
                                granularity: granularity_word,
                                rounding: rounding_word,
                                activations: activations_word,
                            });
                        }
                    }
                }
            }
        }
        arms.retain(Self::tried);
        arms.push(Self {
            settings: Settings::weight_only(HALF, Scheme::Symmetric, Granularity::Channel),
            scheme: "none",
            granularity: "weight",
            rounding: DEFAULT_ROUNDING,
            activations: "none",
        });
        arms
    }

    /// Not every combination says something new: error-compensated rounding is tried with the default activations,
    /// and the rarer ways to treat activations with the default weights.
    fn tried(&self) -> bool {
        let weights = (self.scheme, self.granularity) == ("symmetric", "channel");
        (self.rounding == DEFAULT_ROUNDING || self.activations == DEFAULT_ACTIVATIONS)
            && (weights || EVERYWHERE.contains(&self.activations))
    }

    /// Whether activations and rounding are those of the default run.
    fn is_plain(&self) -> bool {
        self.activations == DEFAULT_ACTIVATIONS && self.rounding == DEFAULT_ROUNDING
    }

    /// Part of metric names: the activations and the rounding of the default run go without saying.
    fn id(&self) -> String {
        if self.settings.bits == HALF {
            return "16".into();
        }
        let mut id = format!("{}_{}_{}", self.settings.bits, self.scheme, self.granularity);
        for (word, default) in [(self.activations, DEFAULT_ACTIVATIONS), (self.rounding, DEFAULT_ROUNDING)] {
            if word != default {
                id = format!("{id}_{word}");
            }
        }
        id
    }

    fn words(&self) -> String {
        if self.settings.bits == HALF {
            return "16 bits, half-precision floats".into();
        }
        let activations = self.activations.replace('_', "-");
        let weights = format!("{} bits, {}, per {}", self.settings.bits, self.scheme, self.granularity);
        format!("{weights}, {}, activations {activations}", self.rounding)
    }

    /// Its line in the chart.
    fn line(&self) -> String {
        format!("{}, per {}", self.scheme, self.granularity)
    }
}

/// Every arm, and what the choice of calibration images changes.
pub(super) async fn run(cx: &Context) -> Result<Report, LabError> {
    let subject = Subject::load(cx).await?;
    let baseline = subject.baseline(cx).await?;
    let fp32_bytes = subject.network(0).bytes() as f64;
    let mut report = Report::default();
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut lines: Vec<Series> = Vec::new();
    let arms = Arm::all();
    for (i, arm) in arms.iter().enumerate() {
        cx.progress("Every arm", 0.9 * i as f64 / arms.len() as f64);
        let outcome = Outcome::of(&subject, quantize(&subject, &arm.settings, cx).await?, cx).await?;
        let bytes = outcome.summary(&subject).bytes as f64;
        let compared = subject.compare(&baseline.answers, &outcome.answers);
        let Compared { images, before, after, flips, .. } = compared;
        let percent = |count: usize| 100.0 * count as f64 / images as f64;
        let accuracy = scaled(proportion(after, images, 0.95), 100.0);
        let change = compared.points_interval(0.95);
        let points = percent(after) - percent(before);
        let mut row = vec![Cell::from(f64::from(arm.settings.bits))];
        row.extend([arm.scheme, arm.granularity, arm.rounding, arm.activations].map(Cell::from));
        let numbers = [bytes, fp32_bytes / bytes, percent(after), points, change.low, change.high, flips as f64];
        row.extend(numbers.map(Cell::from));
        rows.push(row);

        let (id, words) = (arm.id(), arm.words());
        report.metrics.push(
            metric(Family::Quality, &format!("accuracy_{id}"), &format!("Accuracy: {words}"), percent(after), "%")
                .higher()
                .baseline(percent(before))
                .interval(accuracy),
        );
        report.metrics.push(
            metric(Family::Quality, &format!("change_{id}"), &format!("Change of accuracy: {words}"), points, "points")
                .higher()
                .interval(change),
        );
        if !arm.is_plain() {
            continue;
        }
        report.metrics.push(
            metric(
                Family::Memory,
                &format!("compression_{id}"),
                &format!("Compression: {words}"),
                fp32_bytes / bytes,
                "×",
            )
            .higher()
            .baseline(1.0),
        );
        if lines.last().is_none_or(|line| line.name != arm.line()) {
            lines.push(Series { name: arm.line(), points: Vec::new(), band: Vec::new() });
        }
        if let Some(line) = lines.last_mut() {
            line.points.push([bytes, percent(after)]);
            line.band.push([accuracy.low, accuracy.high]);
        }
    }
    let fp32 = 100.0 * subject.right(&baseline.answers) as f64 / subject.images.len() as f64;
    report.tables.push(table(rows));
    report.charts.push(chart(lines, (fp32_bytes, fp32)));
    outliers::run(&subject, "", cx, &mut report).await?;
    remedies::run(&subject, "", cx, &mut report).await?;
    glyphs(cx, &mut report).await?;
    calibration(cx, &mut report).await?;
    Ok(report)
}

/// The weights' widths on the harder task, the rest as in the default run.
async fn glyphs(cx: &Context, report: &mut Report) -> Result<(), LabError> {
    let subject = Subject::load_glyphs(cx).await?;
    let before = subject.baseline(cx).await?.answers;
    let percent = |answers: &[u8]| 100.0 * subject.right(answers) as f64 / subject.images.len() as f64;
    for (granularity, word) in GRANULARITIES {
        for bits in [8, 4, 3, 2] {
            let settings = Settings {
                bits,
                scheme: Scheme::Symmetric,
                granularity,
                rounding: Rounding::Nearest,
                activations: Activations::Static(Calibration::MinMax),
            };
            let after = Outcome::of(&subject, quantize(&subject, &settings, cx).await?, cx).await?.answers;
            let words = format!("{bits} bits, symmetric, per {word}, glyphs");
            let right = |i: usize| after[i] == subject.images.labels[i];
            report.metrics.push(
                metric(
                    Family::Quality,
                    &format!("glyphs_accuracy_{bits}_{word}"),
                    &format!("Accuracy: {words}"),
                    percent(&after),
                    "%",
                )
                .higher()
                .baseline(percent(&before))
                .interval(scaled(subject.share_interval(&right, 0.95), 100.0)),
            );
            report.metrics.push(
                metric(
                    Family::Quality,
                    &format!("glyphs_change_{bits}_{word}"),
                    &format!("Change of accuracy: {words}"),
                    percent(&after) - percent(&before),
                    "points",
                )
                .higher()
                .interval(subject.change_interval(&before, &after, 0.95)),
            );
        }
        cx.progress("Glyphs", 0.9);
    }
    outliers::run(&subject, "glyphs_", cx, report).await?;
    remedies::run(&subject, "glyphs_", cx, report).await
}

fn table(rows: Vec<Vec<Cell>>) -> Table {
    let columns = [
        "Bits",
        "Grid",
        "Scales",
        "Rounding",
        "Activations",
        "Weights (bytes)",
        "Compression (×)",
        "Accuracy (%)",
        "Change (points)",
        "95 % from",
        "95 % to",
        "Flips (images)",
    ];
    Table { id: "arms".into(), title: "Every arm".into(), columns: columns.map(str::to_owned).to_vec(), rows }
}

fn chart(mut lines: Vec<Series>, (bytes, accuracy): (f64, f64)) -> Chart {
    let least = lines.iter().flat_map(|line| &line.points).map(|point| point[0]).fold(bytes, f64::min);
    let fp32 = vec![[least, accuracy], [bytes, accuracy]];
    lines.insert(0, Series { name: "FP32".into(), points: fp32, band: vec![] });
    Chart {
        id: "arms".into(),
        title: "Which setting is worth its bytes?".into(),
        caption:
            "Accuracy against bytes for 2, 3, 4 and 8 bits, activations at 8 bits calibrated by min-max. Bands are \
                  95 % intervals."
                .into(),
        x: Axis::log("Weights (bytes)"),
        y: Axis::linear("Accuracy (%)"),
        body: ChartBody::Line { series: lines },
    }
}

/// What the draw of the calibration images changes, at the default setting.
async fn calibration(cx: &Context, report: &mut Report) -> Result<(), LabError> {
    let settings = Settings {
        bits: 8,
        scheme: Scheme::Symmetric,
        granularity: Granularity::Channel,
        rounding: Rounding::Nearest,
        activations: Activations::Static(Calibration::MinMax),
    };
    let mut accuracies = Vec::new();
    for seed in 0..SEEDS {
        let subject = Subject::load_seeded(cx, seed).await?;
        let networks = quantize(&subject, &settings, cx).await?;
        let outcome = Outcome::of(&subject, networks, cx).await?;
        accuracies.push(100.0 * outcome.summary(&subject).right as f64 / subject.images.len() as f64);
        cx.progress("Other calibration images", 0.9 + 0.1 * (seed + 1) as f64 / SEEDS as f64);
    }
    let (low, high) = accuracies.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), a| (low.min(*a), high.max(*a)));
    report.metrics.push(
        metric(Family::Quality, "calibration_spread", "Spread over calibration images", high - low, "points")
            .lower()
            .help("Largest minus smallest accuracy of the default setting over 20 draws of 256 calibration images."),
    );
    report.metrics.push(
        metric(Family::Quality, "calibration_median", "Median over calibration images", median(&accuracies), "%")
            .higher(),
    );
    Ok(())
}
