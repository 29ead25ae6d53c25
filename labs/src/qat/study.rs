//! Every arm over ten seeds: a seed draws the calibration images and the order of the training images.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Interval, Kind, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    choices::Dataset,
    quant::{Granularity, Scheme, Settings},
    report::{MetricExt, metric},
    stats::{median, median_interval},
    subject::Subject,
    train::Training,
};

use super::{
    Params,
    arms::{self, Arm, Outcome},
    figures::Curves,
    model::Range,
};

/// Orders of the training images.
const SEEDS: u64 = 10;
const LEVEL: f64 = 0.95;
const RANGES: [(Range, &str); 3] = [(Range::MinMax, "min_max"), (Range::Mse, "mse"), (Range::Learned, "learned")];
/// Lengths of training that are compared, at the default setting.
const EPOCHS: [usize; 3] = [1, 2, 4];

/// One combination of settings.
#[derive(Debug, Clone)]
struct Studied {
    dataset: Dataset,
    arm: Arm,
    epochs: usize,
    id: String,
    words: String,
}

fn all() -> Vec<Studied> {
    let default = Params::default();
    let epochs = default.training().epochs;
    let arm = |bits, scheme, granularity, range| Arm {
        settings: Settings { bits, scheme, granularity, ..default.settings() },
        range,
    };
    let mut all = Vec::new();
    for (dataset, prefix, of) in [(Dataset::Digits, "", ""), (Dataset::Glyphs, "glyphs_", "glyphs, ")] {
        for bits in [2, 3, 4] {
            for (range, word) in RANGES {
                all.push(Studied {
                    dataset,
                    arm: arm(bits, Scheme::Symmetric, Granularity::Channel, range),
                    epochs,
                    id: format!("{prefix}{bits}_{word}"),
                    words: format!("{of}{bits} bits, per channel, range {}", word.replace('_', "-")),
                });
            }
        }
    }
    let dataset = Dataset::Digits;
    all.push(Studied {
        dataset,
        arm: arm(2, Scheme::Symmetric, Granularity::Tensor, Range::MinMax),
        epochs,
        id: "2_min_max_tensor".into(),
        words: "2 bits, per tensor, range min-max".into(),
    });
    all.push(Studied {
        dataset,
        arm: arm(2, Scheme::Affine, Granularity::Channel, Range::MinMax),
        epochs,
        id: "2_min_max_affine".into(),
        words: "2 bits, affine, per channel, range min-max".into(),
    });
    for epochs in EPOCHS {
        all.push(Studied {
            dataset,
            arm: arm(2, Scheme::Symmetric, Granularity::Channel, Range::MinMax),
            epochs,
            id: format!("2_min_max_epochs_{epochs}"),
            words: format!("2 bits, per channel, range min-max, {epochs} epochs"),
        });
    }
    all
}

/// Accuracies of one arm, per seed, in per cent.
#[derive(Debug, Clone, Default)]
struct Seeds {
    rounded: Vec<f64>,
    trained: Vec<f64>,
    control: Vec<f64>,
    flips: Vec<f64>,
    sqnr_db: (Vec<f64>, Vec<f64>),
    mismatches: usize,
}

impl Seeds {
    fn gain(&self) -> Vec<f64> {
        self.trained.iter().zip(&self.rounded).map(|(a, b)| a - b).collect()
    }

    fn gap(&self) -> Vec<f64> {
        self.trained.iter().zip(&self.control).map(|(a, b)| a - b).collect()
    }
}

/// The study.
pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let studied = all();
    let mut results = vec![Seeds::default(); studied.len()];
    let mut trained_on = [Dataset::Digits, Dataset::Glyphs].map(Control::new);
    let seed_before = cx.seed;
    for seed in 0..SEEDS {
        cx.seed = seed;
        for (half, control) in trained_on.iter_mut().enumerate() {
            let subject = Subject::to_train(control.dataset, cx).await?;
            let baseline = subject.baseline(cx).await?.answers;
            let percent = |answers: &[u8]| 100.0 * subject.right(answers) as f64 / subject.images.len() as f64;
            control.fp32 = percent(&baseline);
            let default = Params::default().training();
            let mut controls: Vec<(usize, f64)> = Vec::new();
            let own = studied.iter().zip(&mut results).filter(|(arm, _)| arm.dataset == control.dataset);
            for (i, (arm, result)) in own.enumerate() {
                let part = 0.5 * (half as f64 + i as f64 / studied.len() as f64);
                cx.progress(&format!("Seed {seed}: {}", arm.words), (seed as f64 + part) / SEEDS as f64);
                let how = Training { epochs: arm.epochs, ..default.clone() };
                let plain = match controls.iter().find(|(epochs, _)| *epochs == arm.epochs) {
                    Some((_, accuracy)) => *accuracy,
                    None => {
                        let accuracy = percent(&plain(&subject, &baseline, &how, cx).await?);
                        controls.push((arm.epochs, accuracy));
                        accuracy
                    }
                };
                let ptq = arm.arm.post_training(&subject, cx).await?;
                let mut trained = Vec::new();
                for fold in 0..subject.folds() {
                    trained.push(arm.arm.train(&subject, fold, &how, cx, None).await?);
                }
                let aware = Outcome::of_trained(&subject, trained, cx).await?;
                result.rounded.push(percent(&ptq.answers));
                result.trained.push(percent(&aware.answers));
                result.control.push(plain);
                result.flips.push(subject.compare(&baseline, &aware.answers).flips as f64);
                result.sqnr_db.0.push(super::summary::weight_sqnr(&ptq));
                result.sqnr_db.1.push(super::summary::weight_sqnr(&aware));
                result.mismatches += aware.mismatches;
            }
            control
                .accuracy
                .extend(controls.iter().find(|(epochs, _)| *epochs == default.epochs).map(|(_, percent)| *percent));
        }
    }
    cx.seed = seed_before;
    Ok(report(&studied, &results, &trained_on, cx))
}

/// FP32 networks, per cent.
struct Control {
    dataset: Dataset,
    /// As shipped.
    fp32: f64,
    /// After the default epochs, per seed.
    accuracy: Vec<f64>,
}

impl Control {
    fn new(dataset: Dataset) -> Self {
        Self { dataset, fp32: 0.0, accuracy: Vec::new() }
    }
}

/// FP32 with the same further training.
async fn plain(subject: &Subject, fp32: &[u8], how: &Training, cx: &Context) -> Result<Vec<u8>, LabError> {
    let nothing = Outcome { networks: vec![], answers: fp32.to_vec(), masters: vec![], mismatches: 0, seconds: vec![] };
    let mut curves = Curves::new(subject, fp32, &nothing);
    let mut networks = Vec::new();
    for fold in 0..subject.folds() {
        networks.push(arms::train_plain(subject, fold, how, cx, &mut curves, &Report::default()).await?);
    }
    arms::control_answers(subject, &networks, cx).await
}

/// The middle of the seeds with its interval, of a live training.
fn over_seeds(id: &str, label: &str, unit: &str, values: &[f64], cx: &Context) -> Metric {
    let mut all = metric(Family::Quality, id, label, median(values), unit)
        .interval(median_interval(values, LEVEL, &mut cx.rng(id)))
        .measured(values.to_vec());
    all.kind = Kind::Trained;
    all
}

fn report(studied: &[Studied], results: &[Seeds], controls: &[Control; 2], cx: &Context) -> Report {
    let mut report = Report::default();
    for (Control { fp32, accuracy, .. }, id, of) in controls
        .iter()
        .zip([("control", "digits"), ("control_glyphs", "glyphs")])
        .map(|(control, (id, of))| (control, id, of))
    {
        let label = format!("Accuracy of FP32 after the same training: {of}");
        report.metrics.push(over_seeds(id, &label, "%", accuracy, cx).higher().baseline(*fp32));
    }
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for (arm, seeds) in studied.iter().zip(results) {
        let (id, words) = (&arm.id, &arm.words);
        let (gain, gap) = (seeds.gain(), seeds.gap());
        let rounded = median(&seeds.rounded);
        let sqnr = median(&seeds.sqnr_db.1);
        report.metrics.push(
            over_seeds(&format!("qat_{id}"), &format!("QAT: {words}"), "%", &seeds.trained, cx)
                .higher()
                .baseline(rounded),
        );
        report
            .metrics
            .push(over_seeds(&format!("gain_{id}"), &format!("QAT minus PTQ: {words}"), "points", &gain, cx).higher());
        report.metrics.push(
            over_seeds(&format!("gap_{id}"), &format!("QAT minus FP32 trained further: {words}"), "points", &gap, cx)
                .higher(),
        );
        report.metrics.push(
            over_seeds(
                &format!("sqnr_{id}"),
                &format!("SQNR of the weights after QAT: {words}"),
                "dB",
                &seeds.sqnr_db.1,
                cx,
            )
            .higher()
            .baseline(median(&seeds.sqnr_db.0)),
        );
        let interval = median_interval(&seeds.trained, LEVEL, &mut cx.rng(&format!("qat_{id}")));
        let numbers = [
            arm.epochs as f64,
            rounded,
            median(&seeds.trained),
            interval.low,
            interval.high,
            median(&gap),
            median(&seeds.flips),
            median(&seeds.sqnr_db.0),
            sqnr,
        ];
        rows.push(std::iter::once(Cell::from(words.clone())).chain(numbers.map(Cell::from)).collect());
    }
    let mismatches: usize = results.iter().map(|seeds| seeds.mismatches).sum();
    let judged = results.iter().map(|seeds| seeds.trained.len()).sum::<usize>() as f64;
    report.metrics.push(
        metric(Family::Quality, "deployed_mismatches", "Images changed by packing", mismatches as f64 / judged.max(1.0), "images")
            .lower()
            .exact(0.5, "sums in another order may move an image on a boundary")
            .help("Images that the packed network answers otherwise than the fake-quantized one, mean over all arms and seeds (1,797 digits, 6,908 glyphs)."),
    );
    let columns = [
        "Arm",
        "Epochs",
        "PTQ (%)",
        "QAT (%)",
        "95 % from",
        "95 % to",
        "QAT minus FP32 trained further (points)",
        "Flips (images)",
        "SQNR before (dB)",
        "SQNR after (dB)",
    ];
    report.tables.push(Table {
        id: "arms".into(),
        title: "Every arm, median of ten seeds".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    for (control, prefix) in controls.iter().zip(["", "glyphs_"]) {
        report.charts.push(widths(studied, results, control, prefix, cx));
    }
    report.charts.push(lengths(studied, results, cx));
    report
}

/// Accuracy against bits, one line for each range.
fn widths(studied: &[Studied], results: &[Seeds], control: &Control, prefix: &str, cx: &Context) -> Chart {
    let of = |bits: u32, word: &str| {
        studied.iter().zip(results).find(|(arm, _)| arm.id == format!("{prefix}{bits}_{word}")).map(|(_, seeds)| seeds)
    };
    let line = |name: String, word: &str, values: fn(&Seeds) -> &Vec<f64>| {
        let found = [2, 3, 4].into_iter().filter_map(|bits| of(bits, word).map(|seeds| (bits, values(seeds))));
        let found: Vec<(u32, &Vec<f64>)> = found.collect();
        let band = |values: &[f64]| {
            let Interval { low, high, .. } = median_interval(values, LEVEL, &mut cx.rng(&name));
            [low, high]
        };
        Series {
            points: found.iter().map(|(bits, values)| [f64::from(*bits), median(values)]).collect(),
            band: found.iter().map(|(_, values)| band(values)).collect(),
            name,
        }
    };
    let mut series =
        vec![Series { name: "FP32".into(), points: vec![[2.0, control.fp32], [4.0, control.fp32]], band: vec![] }];
    for (_, word) in [RANGES[0], RANGES[1]] {
        series.push(line(format!("PTQ, {}", word.replace('_', "-")), word, |seeds| &seeds.rounded));
    }
    for (_, word) in RANGES {
        series.push(line(format!("QAT, {}", word.replace('_', "-")), word, |seeds| &seeds.trained));
    }
    Chart {
        id: format!("{prefix}widths"),
        title: format!(
            "Training against rounding, at every width: {}",
            if prefix.is_empty() { "digits" } else { "glyphs" }
        ),
        caption: "Median accuracy of ten seeds, symmetric grids, one scale for each channel. Bands are 95 % intervals."
            .into(),
        x: Axis::linear("Bits per weight"),
        y: Axis { max: Some(100.0), ..Axis::linear("Accuracy (%)") },
        body: ChartBody::Line { series },
    }
}

/// Accuracy against epochs.
fn lengths(studied: &[Studied], results: &[Seeds], cx: &Context) -> Chart {
    let mut found: Vec<(usize, &Seeds)> = studied
        .iter()
        .zip(results)
        .filter(|(arm, _)| arm.id == "2_min_max" || arm.id.contains("epochs"))
        .map(|(arm, seeds)| (arm.epochs, seeds))
        .collect();
    found.sort_by_key(|(epochs, _)| *epochs);
    let series = |name: &str, values: fn(&Seeds) -> &Vec<f64>| {
        let band = |values: &[f64]| {
            let Interval { low, high, .. } = median_interval(values, LEVEL, &mut cx.rng(name));
            [low, high]
        };
        Series {
            name: name.into(),
            points: found.iter().map(|(epochs, seeds)| [*epochs as f64, median(values(seeds))]).collect(),
            band: found.iter().map(|(_, seeds)| band(values(seeds))).collect(),
        }
    };
    Chart {
        id: "lengths".into(),
        title: "How much training does 2 bits take?".into(),
        caption:
            "Median accuracy of ten seeds at 2 bits, range min-max, against the epochs trained; the learning rate \
                  falls to zero over each. Bands are 95 % intervals."
                .into(),
        x: Axis::log("Epochs"),
        y: Axis { max: Some(100.0), ..Axis::linear("Accuracy (%)") },
        body: ChartBody::Line {
            series: vec![
                series("FP32, trained further", |seeds| &seeds.control),
                series("QAT", |seeds| &seeds.trained),
            ],
        },
    }
}

#[cfg(test)]
mod tests {
    use lab_api::Reference;

    use super::super::summary::Spread;

    /// The default run is the first seed of one of the study's arms: a training that went elsewhere shows in one of them.
    #[test]
    fn the_default_run_lies_among_the_seeds_of_the_study() {
        let reference: Reference = serde_json::from_str(include_str!("reference.json")).expect("a reference");
        let study = reference.study.expect("a study");
        for (shown, studied) in
            [("accuracy", "qat_2_min_max"), ("gain", "gain_2_min_max"), ("weight_sqnr", "sqnr_2_min_max")]
        {
            let value = reference.default_run.report.metric(shown).expect("reported").value;
            let seeds = &study.report.metric(studied).expect("studied").samples;
            let (low, high) =
                seeds.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), s| (low.min(*s), high.max(*s)));
            assert!((low - 1e-9..=high + 1e-9).contains(&value), "{shown} {value}, seeds {low} to {high}");
        }
    }

    /// What devices may be apart by comes from what seeds are apart by, and not from much more.
    #[test]
    fn the_spread_over_seeds_is_that_of_the_study() {
        let reference: Reference = serde_json::from_str(include_str!("reference.json")).expect("a reference");
        let study = reference.study.expect("a study").report;
        let widest = |starts: [&str; 3], glyphs: bool| {
            let of_arm = |id: &str| starts.iter().any(|start| id.starts_with(start)) && id.contains("glyphs") == glyphs;
            let arms = study.metrics.iter().filter(|metric| of_arm(&metric.id) && metric.samples.len() > 2);
            let deviation = |samples: &[f64]| {
                let mean = samples.iter().sum::<f64>() / samples.len() as f64;
                (samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (samples.len() - 1) as f64).sqrt()
            };
            arms.map(|metric| deviation(&metric.samples)).fold(0.0, f64::max)
        };
        for (spread, glyphs) in [(Spread::DIGITS, false), (Spread::GLYPHS, true)] {
            for (stated, starts) in
                [(spread.points, ["qat_", "gain_", "gap_"]), (spread.decibels, ["sqnr_", "sqnr_", "sqnr_"])]
            {
                let found = widest(starts, glyphs);
                assert!(found <= stated && stated < 1.5 * found, "{starts:?}: stated {stated}, found {found}");
            }
        }
    }
}
