//! Every arm: widths, grids, scales, activations.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, LabError, Report, Series, Table};
use lab_kit::{
    Context,
    quant::{Calibration, Scheme},
    report::{MetricExt, metric},
    stats::{median, paired_difference, proportion},
};

use super::{
    Granularity, Settings,
    evaluate::{Outcome, quantize},
    subject::Subject,
    summary::{Compared, compare, scaled},
};

const SCHEMES: [(Scheme, &str); 2] = [(Scheme::Symmetric, "symmetric"), (Scheme::Affine, "affine")];
const GRANULARITIES: [(Granularity, &str); 3] =
    [(Granularity::Tensor, "tensor"), (Granularity::Channel, "channel"), (Granularity::Group(32), "group")];
const ACTIVATIONS: [(Option<Calibration>, &str); 3] = [
    (Some(Calibration::MinMax), "min_max"),
    (Some(Calibration::Percentile { percent: 99.9 }), "percentile"),
    (None, "none"),
];
/// Draws of the calibration images.
const SEEDS: u64 = 20;

/// 72 arms, and what the choice of calibration images changes.
pub(super) async fn run(cx: &Context) -> Result<Report, LabError> {
    let subject = Subject::load(cx).await?;
    let baseline = subject.baseline(cx).await?;
    let mut report = Report::default();
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut lines: Vec<Series> = Vec::new();
    let fp32_bytes = subject.network(0).bytes() as f64;
    let mut done = 0.0;
    for (scheme, scheme_word) in SCHEMES {
        for (granularity, granularity_word) in GRANULARITIES {
            let (mut points, mut band) = (Vec::new(), Vec::new());
            for bits in [2, 3, 4, 8] {
                for (activations, activations_word) in ACTIVATIONS {
                    let settings = Settings { bits, scheme, granularity, activations };
                    let networks = quantize(&subject, &settings, cx).await?;
                    let outcome = Outcome::of(&subject, networks, cx).await?;
                    let bytes = outcome.summary(&subject).bytes as f64;
                    let compared = compare(&subject, &baseline, &outcome);
                    let Compared { images, before, after, gained, lost, flips } = compared;
                    let percent = |count: usize| 100.0 * count as f64 / images as f64;
                    let accuracy = scaled(proportion(after, images, 0.95), 100.0);
                    let change = scaled(paired_difference(gained, lost, images, 0.95), 100.0);
                    rows.push(vec![
                        f64::from(bits).into(),
                        scheme_word.into(),
                        granularity_word.into(),
                        activations_word.into(),
                        bytes.into(),
                        (fp32_bytes / bytes).into(),
                        percent(after).into(),
                        (percent(after) - percent(before)).into(),
                        change.low.into(),
                        change.high.into(),
                        (flips as f64).into(),
                    ]);
                    // The plain name is the default's activations; the others say theirs.
                    let arm = match activations_word {
                        "min_max" => format!("{bits}_{scheme_word}_{granularity_word}"),
                        other => format!("{bits}_{scheme_word}_{granularity_word}_{other}"),
                    };
                    let words = format!(
                        "{bits} bits, {scheme_word}, per {granularity_word}, activations {}",
                        activations_word.replace('_', "-")
                    );
                    report.metrics.push(
                        metric(Family::Quality, &format!("accuracy_{arm}"), &words, percent(after), "%")
                            .higher()
                            .baseline(percent(before))
                            .interval(accuracy),
                    );
                    let label = format!("Change of accuracy: {words}");
                    report.metrics.push(
                        metric(
                            Family::Quality,
                            &format!("change_{arm}"),
                            &label,
                            percent(after) - percent(before),
                            "points",
                        )
                        .higher()
                        .interval(change),
                    );
                    if activations_word == "min_max" {
                        let label = format!("Compression: {bits} bits, {scheme_word}, per {granularity_word}");
                        report.metrics.push(
                            metric(Family::Memory, &format!("compression_{arm}"), &label, fp32_bytes / bytes, "×")
                                .higher()
                                .baseline(1.0),
                        );
                        points.push([bytes, percent(after)]);
                        band.push([accuracy.low, accuracy.high]);
                    }
                    done += 1.0;
                    cx.progress("Every arm", 0.9 * done / 72.0);
                }
            }
            lines.push(Series { name: format!("{scheme_word}, per {granularity_word}"), points, band });
        }
    }
    report.tables.push(Table {
        id: "arms".into(),
        title: "Every arm".into(),
        columns: [
            "Bits",
            "Grid",
            "Scales",
            "Activations",
            "Weights (bytes)",
            "Compression (×)",
            "Accuracy (%)",
            "Change (points)",
            "95 % from",
            "95 % to",
            "Flips (images)",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows,
    });
    let fp32 = 100.0 * subject.right(&baseline.answers) as f64 / subject.digits.len() as f64;
    let least = lines.iter().flat_map(|line| &line.points).map(|point| point[0]).fold(fp32_bytes, f64::min);
    lines.insert(0, Series { name: "FP32".into(), points: vec![[least, fp32], [fp32_bytes, fp32]], band: vec![] });
    report.charts.push(Chart {
        id: "arms".into(),
        title: "Which setting is worth its bytes?".into(),
        caption: "Accuracy against bytes for 2, 3, 4 and 8 bits, activations at 8 bits calibrated by min-max. Bands are 95 % intervals.".into(),
        x: Axis::log("Weights (bytes)"),
        y: Axis::linear("Accuracy (%)"),
        body: ChartBody::Line { series: lines },
    });
    calibration(cx, &mut report).await?;
    Ok(report)
}

/// What the draw of the calibration images changes, at the default setting.
async fn calibration(cx: &Context, report: &mut Report) -> Result<(), LabError> {
    let settings = Settings {
        bits: 8,
        scheme: Scheme::Symmetric,
        granularity: Granularity::Channel,
        activations: Some(Calibration::MinMax),
    };
    let mut accuracies = Vec::new();
    for seed in 0..SEEDS {
        let subject = Subject::load_seeded(cx, seed).await?;
        let networks = quantize(&subject, &settings, cx).await?;
        let outcome = Outcome::of(&subject, networks, cx).await?;
        accuracies.push(100.0 * outcome.summary(&subject).right as f64 / subject.digits.len() as f64);
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
