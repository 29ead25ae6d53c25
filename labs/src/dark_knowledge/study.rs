//! All students over ten seeds, with three sets of hidden classes.

use lab_api::{Cell, Family, Kind, LabError, Metric, Report, Table};
use lab_kit::{
    Context,
    distill::{Material, Source},
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{Hide, Params, arms, arms::ARMS, hidden, summary};

const SEEDS: u64 = 10;
const LEVEL: f64 = 0.95;

/// Values of the seeds by name, in the order in which they came.
#[derive(Default)]
struct Found(Vec<(String, String, &'static str, Vec<f64>)>);

impl Found {
    fn push(&mut self, id: String, label: &str, unit: &'static str, value: f64) {
        match self.0.iter_mut().find(|(known, ..)| *known == id) {
            Some((.., values)) => values.push(value),
            None => self.0.push((id, label.to_owned(), unit, vec![value])),
        }
    }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let (seed_before, mut found) = (cx.seed, Found::default());
    for seed in 0..SEEDS {
        cx.seed = seed;
        cx.progress(&format!("Seed {seed}"), seed as f64 / SEEDS as f64);
        one(&mut found, cx).await?;
    }
    cx.seed = seed_before;
    let over_seeds = |(id, label, unit, values): &(String, String, &'static str, Vec<f64>)| -> Metric {
        let mut all = metric(Family::Quality, id, label, median(values), unit)
            .interval(median_interval(values, LEVEL, &mut cx.rng(id)))
            .measured(values.clone());
        all.kind = Kind::Trained;
        all
    };
    let metrics: Vec<Metric> = found.0.iter().map(over_seeds).collect();
    let row = |metric: &Metric| {
        let (low, high) = metric.interval.map_or((metric.value, metric.value), |i| (i.low, i.high));
        vec![Cell::from(metric.label.as_str()), metric.value.into(), low.into(), high.into()]
    };
    let tables = vec![Table {
        id: "arms".into(),
        title: "Every arm, medians of ten seeds".into(),
        columns: ["Arm", "Median", "95 % from", "95 % to"].map(str::to_owned).to_vec(),
        rows: metrics.iter().map(row).collect(),
    }];
    Ok(Report { metrics, tables, charts: Vec::new(), notes: Vec::new() })
}

async fn one(found: &mut Found, cx: &Context) -> Result<(), LabError> {
    let params = Params::default();
    let material = Material::load(Source::Trained(params.teacher_epochs as usize), cx, &|_| ()).await?;
    let outcome = arms::run(&material, &params.setting(), cx, |_| ()).await?;
    let all: Vec<usize> = (0..material.subject.images.len()).collect();
    let teacher = &outcome.teacher.answers;
    let names = ARMS.iter().copied().chain([("teacher", "Teacher")]);
    let mut accuracies = Vec::new();
    for ((id, label), judged) in names.zip(outcome.students.iter().chain([&outcome.teacher])) {
        let accuracy = material.subject.accuracy_on(&all, &judged.answers, LEVEL).0;
        accuracies.push(accuracy);
        for (what, words, unit, value) in [
            ("accuracy", "accuracy", "%", accuracy),
            ("agreement", "answers as the teacher", "%", summary::agreement(&material, teacher, &judged.answers)),
            (
                "mistakes",
                "the teacher's mistakes repeated",
                "%",
                summary::shared_mistakes(&material, teacher, &judged.answers),
            ),
            ("calibration", "calibration error", "points", summary::calibration(&material, judged)),
            ("alignment", "alignment", "", judged.alignment),
        ] {
            found.push(format!("{what}_{id}"), &format!("{label}: {words}"), unit, value);
        }
    }
    if let [labels, smoothed, shuffled, means, soft, _] = accuracies[..] {
        for (id, label, gap) in [
            ("from_likeness", "Mean answers minus labels", means - labels),
            ("from_image", "Soft answers minus mean answers", soft - means),
            ("gap_shuffled", "Shuffled answers minus labels", shuffled - labels),
            ("gap_smoothed", "Smoothed labels minus labels", smoothed - labels),
            ("gap_soft", "Soft answers minus labels", soft - labels),
        ] {
            found.push(id.into(), label, "points", gap);
        }
    }
    for (hide, word, label) in [
        (Hide::Digits, "digits", "Digits hidden"),
        (Hide::Vowels, "vowels", "Vowels hidden"),
        (Hide::OneLetter, "letter", "G hidden"),
    ] {
        let unseen = hidden::run(&material, &arms::Setting { hide, ..params.setting() }, cx).await?;
        found.push(format!("fitting_{word}"), &format!("{label}: fitting bias"), "", unseen.fitting);
        for (bias, id, words) in [
            (0.0, "plain", "no bias"),
            (unseen.fitting, "fitted", "fitting bias"),
            (1e3, "asked", "told that it is hidden"),
        ] {
            let [hidden, seen, all] = unseen.shares(&material, bias);
            for (part, of, value) in
                [("hidden", "hidden classes", hidden), ("seen", "other classes", seen), ("all", "all classes", all)]
            {
                if id != "asked" || part == "hidden" {
                    found.push(format!("{part}_{word}_{id}"), &format!("{label}, {words}: {of}"), "%", value);
                }
            }
        }
    }
    Ok(())
}
