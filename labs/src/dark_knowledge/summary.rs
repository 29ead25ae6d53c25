//! Numbers and sentences of a run.

use lab_api::{Family, Kind, Metric};
use lab_kit::{
    distill::{Material, softmax},
    measure::quality::reliability,
    report::{MetricExt, metric, thousands},
};

use super::{
    arms::{CLASSES, Judged, Outcome},
    hidden::Unseen,
};

/// Confidence of every interval.
pub(super) const LEVEL: f64 = 0.95;
const SPREAD: &str = "sums in another order lead training elsewhere, as another order of the images does: five standard deviations \
                      over the seeds of the study, and more after few steps";
const POINTS: f64 = 10.0;

pub(super) fn trained(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

/// What the sizes alone say.
pub(super) fn beforehand() -> Vec<Metric> {
    let student = lab_kit::prune::Architecture::Mlp(super::arms::WIDTHS.to_vec());
    let teacher = lab_kit::prune::Architecture::Mlp(lab_kit::distill::TEACHER_WIDTHS.to_vec()).parameters();
    vec![
        metric(Family::Memory, "weight_bytes", "Student's weights", 4.0 * student.parameters() as f64, "bytes")
            .baseline(4.0 * teacher as f64)
            .lower()
            .detail()
            .exact(0.0, "the lengths of the weights")
            .help("In FP32; the baseline is the teacher."),
    ]
}

/// Of the images on which the teacher errs: on how many a student gives the same wrong answer, in per cent.
pub(super) fn shared_mistakes(material: &Material, teacher: &[u8], student: &[u8]) -> f64 {
    let labels = &material.subject.images.labels;
    let wrong: Vec<usize> = (0..labels.len()).filter(|i| teacher[*i] != labels[*i]).collect();
    let same = wrong.iter().filter(|i| student[**i] == teacher[**i]).count();
    100.0 * same as f64 / wrong.len().max(1) as f64
}

/// Per cent of the images that are answered as the teacher does.
pub(super) fn agreement(material: &Material, teacher: &[u8], student: &[u8]) -> f64 {
    let compared = material.subject.compare(teacher, student);
    100.0 - compared.percent(compared.flips)
}

/// Expected calibration error in points, over 15 bins (Guo et al., arXiv:1706.04599). No interval: the study has one.
pub(super) fn calibration(material: &Material, judged: &Judged) -> f64 {
    let images = &material.subject.images;
    let sure = |row: &[f32]| {
        let row: Vec<f64> = row.iter().map(|z| f64::from(*z)).collect();
        softmax(&row, 1.0).into_iter().fold(0.0, f64::max).min(1.0)
    };
    let confidences: Vec<f64> = judged.logits.chunks_exact(CLASSES).map(sure).collect();
    let right: Vec<bool> = judged.answers.iter().zip(&images.labels).map(|(a, b)| a == b).collect();
    let bins = reliability(&confidences, &right, 15).unwrap_or_default();
    let off: f64 = bins.iter().map(|bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs()).sum();
    100.0 * off / right.len().max(1) as f64
}

/// What the five students are worth, and what they took on.
pub(super) fn quality(material: &Material, outcome: &Outcome) -> Vec<Metric> {
    let subject = &material.subject;
    let all: Vec<usize> = (0..subject.images.len()).collect();
    let [labels, smoothed, shuffled, means, soft] = outcome.students.as_slice() else { return Vec::new() };
    let accuracy = |judged: &Judged| subject.accuracy_on(&all, &judged.answers, LEVEL);
    let gap = |id: &str, label: &str, one: &Judged, other: &Judged| {
        let points = subject.compare(&other.answers, &one.answers).points();
        let interval = subject.change_interval(&other.answers, &one.answers, LEVEL);
        trained(metric(Family::Quality, id, label, points, "points").higher().interval(interval), 2.0 * POINTS)
    };
    let (percent, interval) = accuracy(soft);
    let teacher = &outcome.teacher.answers;
    let of = |id: &str, label: &str, unit: &str, value: f64, baseline: f64, apart: f64| {
        trained(metric(Family::Quality, id, label, value, unit).baseline(baseline), apart)
    };
    vec![
        trained(metric(Family::Quality, "accuracy", "Accuracy, taught by soft answers", percent, "%").higher().interval(interval), POINTS)
            .baseline(accuracy(labels).0)
            .help("On families that nobody trains on; the baseline learned from labels."),
        gap("from_likeness", "What likeness of classes is worth", means, labels)
            .help("One soft answer for each class, the mean of the teacher's, minus labels."),
        gap("from_image", "What the single answer adds", soft, means).help("Each image's own soft answer, minus the mean of its class."),
        gap("gap_shuffled", "Shuffled answers minus labels", shuffled, labels)
            .help("As soft as the teacher's, without saying which classes are alike."),
        gap("gap_smoothed", "Smoothed labels minus labels", smoothed, labels).detail(),
        of("agreement", "Answers as the teacher", "%", agreement(material, teacher, &soft.answers), agreement(material, teacher, &labels.answers), POINTS)
            .higher()
            .detail()
            .help("Right or wrong; the baseline is the student from labels."),
        of("mistakes", "The teacher's mistakes, repeated", "%", shared_mistakes(material, teacher, &soft.answers), shared_mistakes(material, teacher, &labels.answers), 20.0)
            .lower()
            .help("Of the images that the teacher gets wrong, those on which the student gives the same wrong answer; the baseline is the student from labels."),
        of("calibration", "Calibration error", "points", calibration(material, soft), calibration(material, labels), 15.0)
            .lower()
            .help("How far confidence and accuracy are apart, over 15 bins; the baseline is the student from labels."),
        of("calibration_teacher", "Calibration error of the teacher", "points", calibration(material, &outcome.teacher), calibration(material, labels), 15.0)
            .lower()
            .detail(),
        of("alignment", "Alignment with the teacher's hidden layer", "", soft.alignment, labels.alignment, 0.5)
            .higher()
            .detail()
            .help("Linear centred kernel alignment of the last hidden layers: 1 is the same geometry. The baseline is the student from labels."),
    ]
}

/// Seconds.
pub(super) fn times(material: &Material, outcome: &Outcome) -> Vec<Metric> {
    let seconds = |id: &str, label: &str, value: f64| {
        metric(Family::Time, id, label, value, "s").lower().measured(vec![value]).detail()
    };
    let mut found = vec![seconds("students_seconds", "Training of five students", outcome.seconds)];
    found.extend(material.seconds.map(|s| seconds("teacher_seconds", "Training of the teacher", s)));
    found
}

pub(super) fn notes(material: &Material, outcome: &Outcome, unseen: &Unseen, bias: f64) -> Vec<String> {
    let labels = &material.subject.images.labels;
    let wrong = outcome.teacher.answers.iter().zip(labels).filter(|(a, b)| a != b).count();
    vec![
        format!("The teacher errs on {} of {} images.", thousands(wrong), thousands(labels.len())),
        format!(
            "The last student saw {} images, none of a hidden class. With a bias of {bias} it names {:.0} of 100 hidden ones.",
            thousands(unseen.images),
            unseen.shares(material, bias)[0]
        ),
    ]
}
