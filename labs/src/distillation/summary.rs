//! Numbers and sentences of a run.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Family, Interval, Kind, Metric, Report, Table};
use lab_kit::{
    Context,
    distill::Material,
    measure::Pair,
    prune::{Architecture, Network},
    report::{MetricExt, metric, thousands},
    stats::{median, median_interval},
    subject::Subject,
};

use super::{
    arms::{ARMS, BATCH, Outcome, Setting, TIMES},
    figures,
    timing::Times,
};

/// Confidence of every interval.
const LEVEL: f64 = 0.95;
/// Why what training decides may differ between devices, and by how much: points of accuracy.
const SPREAD: &str = "sums in another order lead training elsewhere, as another order of the images does: five standard deviations \
                      over the seeds of the study, and more after few steps";
const POINTS: f64 = 8.0;
const COUNTED: &str = "the lengths of the weights";

fn trained(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

/// What the sizes alone say.
pub(super) fn beforehand(subject: &Subject, teacher: &Architecture, setting: &Setting) -> Vec<Metric> {
    let student = Architecture::Mlp(setting.architecture());
    let images = subject.training(0).0.len().min(setting.images);
    let counted = |family, id: &str, label: &str, value: usize, baseline: usize, unit: &str| {
        metric(family, id, label, value as f64, unit).baseline(baseline as f64).lower().exact(0.0, COUNTED)
    };
    vec![
        counted(
            Family::Memory,
            "weight_bytes",
            "Student's weights",
            4 * student.parameters(),
            4 * teacher.parameters(),
            "bytes",
        )
        .help("In FP32; the baseline is the teacher."),
        counted(Family::Time, "flops", "Operations for an image", student.flops(), teacher.flops(), "FLOP").detail(),
        counted(
            Family::Memory,
            "table_bytes",
            "The teacher's answers, kept",
            4 * 47 * images,
            4 * teacher.parameters(),
            "bytes",
        )
        .detail()
        .help("47 logits for each transfer image in FP32; the baseline is the teacher's weights, which the training then does without."),
    ]
}

/// Everything.
pub(super) fn complete(
    report: &mut Report,
    material: &Material,
    setting: &Setting,
    outcome: &Outcome,
    times: &Times,
    cx: &Context,
) {
    let subject = &material.subject;
    let all: Vec<usize> = (0..subject.images.len()).collect();
    let [labels, soft, mixed, more] = outcome.arms.as_slice() else { return };
    let accuracy = |answers: &[u8]| subject.accuracy_on(&all, answers, LEVEL);
    let quality = |id: &str, label: &str, answers: &[u8]| {
        let (percent, interval) = accuracy(answers);
        trained(metric(Family::Quality, id, label, percent, "%").higher().interval(interval), POINTS)
    };
    let gap = |family, id: &str, label: &str, other: &[u8]| {
        let points = subject.compare(other, &soft.answers).points();
        let interval = subject.change_interval(other, &soft.answers, LEVEL);
        trained(metric(family, id, label, points, "points").higher().interval(interval), 2.0 * POINTS)
    };
    let agreeing = |answers: &[u8]| {
        let compared = subject.compare(answers, &outcome.teacher);
        100.0 - compared.percent(compared.flips)
    };
    let mut metrics = vec![
        quality("accuracy", "Accuracy, taught by soft answers", &soft.answers)
            .baseline(accuracy(&labels.answers).0)
            .help("On families that nobody trains on; the baseline is the twin that learned from labels."),
        gap(Family::Quality, "gain", "Soft answers minus labels", &labels.answers)
            .help("Paired on the images: the same start, the same transfer images in the same order."),
        quality("accuracy_shuffled", "Accuracy, wrong classes shuffled", &mixed.answers)
            .baseline(accuracy(&labels.answers).0)
            .help("Answers as soft as the teacher's, but without telling which classes are alike. The baseline is labels."),
        quality("accuracy_teacher", "Accuracy of the teacher", &outcome.teacher),
        gap(Family::Scale, "gap_more", "Soft answers minus labels on ten times the images", &more.answers)
            .help(&format!("The control learned from labels of {TIMES} times as many images, or of all there are, in as many steps.")),
        trained(
            metric(Family::Quality, "agreement", "Answers as the teacher", agreeing(&soft.answers), "%")
                .higher()
                .baseline(agreeing(&labels.answers)),
            POINTS,
        )
        .help("Right or wrong; the baseline is the student from labels."),
    ];
    metrics.append(&mut report.metrics);
    metrics.extend(measured(times, outcome, material, cx));
    metrics.extend([
        quality("accuracy_more", "Accuracy, labels of ten times the images", &more.answers).detail(),
        trained(
            metric(Family::Quality, "entropy", "Entropy of the teacher's answers", outcome.entropy, "nats").detail(),
            0.5,
        )
        .help("Mean over the transfer images at temperature 1. Near zero, the teacher says little more than a label does."),
    ]);
    report.metrics = metrics;
    report.charts.insert(
        0,
        figures::curves(
            &outcome.arms.iter().map(|arm| arm.curve.clone()).collect::<Vec<_>>(),
            accuracy(&outcome.teacher).0,
            setting.steps,
        ),
    );
    report.charts.insert(1, bars(&outcome.arms.iter().map(|arm| accuracy(&arm.answers)).collect::<Vec<_>>()));
    report.tables.push(table(material, setting, outcome, &|answers| accuracy(answers).0, &agreeing));
    let change = subject.compare(&labels.answers, &soft.answers);
    report.notes.push(format!(
        "Against the twin from labels, {} of {} images turned from wrong to right and {} from right to wrong.",
        thousands(change.gained),
        thousands(change.images),
        thousands(change.lost)
    ));
    if outcome.transfer.len() < BATCH {
        report
            .notes
            .push(format!("There are only {} transfer images, so that a step takes no more.", outcome.transfer.len()));
    }
}

fn measured(times: &Times, outcome: &Outcome, material: &Material, cx: &Context) -> Vec<Metric> {
    let ratio = |id: &str, label: &str, pair: &Pair| {
        let (ratio, interval) = pair.ratio(LEVEL, &mut cx.rng(id));
        metric(Family::Time, id, label, ratio, "×").higher().baseline(1.0).interval(interval).measured(pair.ratios())
    };
    let time = |id: &str, label: &str, pair: &Pair| {
        metric(Family::Time, id, label, median(&pair.second), "ms")
            .lower()
            .baseline(median(&pair.first))
            .interval(median_interval(&pair.second, LEVEL, &mut cx.rng(id)))
            .measured(pair.second.clone())
            .detail()
    };
    let share = |network: &Network, ms: f64| {
        100.0 * (BATCH * network.architecture.flops()) as f64 / ms.max(f64::MIN_POSITIVE) * 1e-6
            / times.peak.max(f64::MIN_POSITIVE)
    };
    let student = &outcome.arms[1].network;
    let mut metrics = vec![
        ratio("speedup", "Speed-up, 64 images", &times.many).help("Time of the teacher over that of the student, turn by turn."),
        ratio("speedup_one", "Speed-up, one image", &times.one),
        ratio("step_saving", "Step that asks the teacher, over one that looks up", &times.step)
            .help("A step of the student's training: with the teacher's forward pass in it, or with its answers in a table."),
        time("time", "64 images", &times.many).help("The baseline is the teacher."),
        time("step_time", "A step of the student's training", &times.step).help("With answers from a table; the baseline asks the teacher."),
        metric(Family::Utilization, "utilization", "Share of the device's best arithmetic", share(student, median(&times.many.second)), "%")
            .higher()
            .baseline(share(&material.teacher, median(&times.many.first)))
            .measured(times.many.second.iter().map(|ms| share(student, *ms)).collect())
            .detail()
            .help("Of 64 images, against large matrix products. A narrow network uses the device worse, so that it is less faster than smaller."),
        metric(Family::Time, "students_seconds", "Training of all four students", outcome.seconds, "s")
            .lower()
            .measured(vec![outcome.seconds])
            .detail(),
    ];
    if let Some(seconds) = material.seconds {
        metrics.push(
            metric(Family::Time, "teacher_seconds", "Training of the teacher", seconds, "s")
                .lower()
                .measured(vec![seconds])
                .detail(),
        );
    }
    metrics
}

fn bars(found: &[(f64, Interval)]) -> Chart {
    Chart {
        id: "arms".into(),
        title: "What were the answers worth?".into(),
        caption: "Accuracy after all steps, with 95 % intervals over font families.".into(),
        x: Axis::linear("Taught by"),
        y: Axis { max: Some(100.0), ..Axis::linear("Accuracy (%)") },
        body: ChartBody::Bar {
            categories: ARMS.iter().map(|arm| (*arm).to_owned()).collect(),
            series: vec![BarSeries {
                name: "Accuracy".into(),
                values: found.iter().map(|(percent, _)| *percent).collect(),
                intervals: found.iter().map(|(_, interval)| [interval.low, interval.high]).collect(),
            }],
        },
    }
}

fn table(
    material: &Material,
    setting: &Setting,
    outcome: &Outcome,
    accuracy: &dyn Fn(&[u8]) -> f64,
    agreeing: &dyn Fn(&[u8]) -> f64,
) -> Table {
    let rows = ARMS.iter().zip(&outcome.arms).enumerate().map(|(i, (name, arm))| {
        let images = outcome.transfer.len() * if i == 3 { TIMES } else { 1 };
        vec![
            Cell::from(*name),
            (images.min(material.training().len()) as f64).into(),
            (setting.steps as f64).into(),
            accuracy(&arm.answers).into(),
            agreeing(&arm.answers).into(),
        ]
    });
    Table {
        id: "students".into(),
        title: "The four students".into(),
        columns: ["Taught by", "Images", "Steps", "Accuracy (%)", "As the teacher (%)"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}
