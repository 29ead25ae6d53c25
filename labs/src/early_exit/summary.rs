//! The numbers of a run, and the sentences it calls for.

use lab_api::{Family, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    exits::{cost_in_batch, mean_cost},
    measure::quality::calibration_error,
    report::{MetricExt, metric, thousands},
};

use super::{
    Model, Params,
    decide::{Judged, Outcome},
    figures,
    material::Material,
};
use lab_kit::order::Ordered as _;

/// Confidence of every interval.
const LEVEL: f64 = 0.95;
/// Bins of a calibration error, as in the paper.
const BINS: usize = 15;
/// Why devices may differ.
const SPREAD: &str = "sums in another order lead the training of the heads elsewhere, as another order of the images does: \
                      five standard deviations over the seeds of the study";
const ROUNDING: &str = "sums in another order move certainties in their last bits, so that a few images change sides";

/// Calibration error of each exit, in per cent.
pub(super) fn errors(own: &Judged, calibrated: bool, material: &Material, cx: &Context) -> Result<Vec<f64>, LabError> {
    let verdicts = if calibrated { &own.verdicts } else { &own.plain };
    let (labels, groups) = (&material.subject.images.labels, &material.subject.images.groups);
    let mut found = Vec::new();
    for (answers, certain) in verdicts.answers.iter().zip(&verdicts.confidences) {
        let certain: Vec<f64> = certain.iter().map(|c| f64::from(*c).clamp(0.0, 1.0)).collect();
        let right: Vec<bool> = answers.iter().zip(labels).map(|(a, label)| a == label).collect();
        found.push(100.0 * calibration_error(&certain, &right, BINS, groups, LEVEL, &mut cx.rng("bins"))?.value);
    }
    Ok(found)
}

/// What is known before anything is trained or asked.
pub(super) fn memory(added: usize, material: &Material) -> Metric {
    metric(Family::Memory, "added_bytes", "Bytes added", 4.0 * added as f64, "bytes")
        .lower()
        .baseline(4.0 * material.config.cnn.parameters() as f64)
        .exact(0.0, "weights are counted")
        .help("FP32 weights of the new heads, or of the first network; the baseline is the large network itself.")
}

/// Everything but times and rivals.
pub(super) fn report(
    own: &Judged,
    outcome: &Outcome,
    material: &Material,
    params: &Params,
    cx: &Context,
) -> Result<Report, LabError> {
    let subject = &material.subject;
    let labels = &subject.images.labels;
    let trained = params.model == Model::Exits;
    // The heads' training is convex, so that devices end close to each other; with a cascade nothing is trained at all.
    let may = |metric: Metric, apart: f64| {
        let metric = metric.exact(apart, if trained { SPREAD } else { ROUNDING });
        Metric { kind: if trained { Kind::Trained } else { Kind::Exact }, ..metric }
    };
    let last = own.asked.costs.len() - 1;
    let full = &own.verdicts.answers[last];
    let all: Vec<usize> = (0..labels.len()).collect();
    let compared = subject.compare(full, &outcome.answers);
    let each = figures::accuracies(&own.verdicts, material);
    let (accuracy, interval) = subject.accuracy_on(&all, &outcome.answers, LEVEL);
    let early: Vec<usize> = all.iter().copied().filter(|i| outcome.exits[*i] < last).collect();
    let wrong = |answers: &[u8]| {
        100.0 * early.iter().filter(|i| answers[**i] != labels[**i]).count() as f64 / early.len().max(1) as f64
    };
    let lot = mean_cost(&outcome.shares, &each);
    let errors_now = errors(own, true, material, cx)?;
    let errors_before = errors(own, false, material, cx)?;
    // Of the last exit's mistakes, those that an earlier exit had not made.
    let mistakes: Vec<usize> = all.iter().copied().filter(|i| full[*i] != labels[*i]).collect();
    let overthought =
        mistakes.iter().filter(|i| own.verdicts.answers[..last].iter().any(|a| a[**i] == labels[**i])).count();
    let mut order = all.clone();
    order.ordered_by(&|a, b| own.verdicts.confidences[0][*a].total_cmp(&own.verdicts.confidences[0][*b]));
    order.truncate(all.len() / 10);
    let hard = |answers: &[u8]| {
        100.0 * order.iter().filter(|i| answers[**i] == labels[**i]).count() as f64 / order.len().max(1) as f64
    };
    let oracle = subject.right(&own.verdicts.answers_at(&own.verdicts.first_right(labels)));
    let share = |cost: f64| 100.0 * cost / material.full();
    let counted = "multiplications are counted";
    let quality = |id: &str, label: &str, value: f64, unit: &str| metric(Family::Quality, id, label, value, unit);
    let metrics = vec![
        may(quality("accuracy", "Accuracy with exits", accuracy, "%").higher().interval(interval), 1.5)
            .baseline(each[last])
            .help("On images of families that neither trained nor chose a threshold; the baseline goes to the end with every image."),
        may(
            quality("change", "Accuracy won or lost", compared.points(), "points")
                .higher()
                .baseline(0.0)
                .interval(subject.change_interval(full, &outcome.answers, LEVEL)),
            1.0,
        )
        .help("With exits minus all to the end, in pairs on the same images."),
        may(metric(Family::Time, "mean_cost", "Multiplications, on average", share(outcome.cost), "%").lower(), 8.0)
            .baseline(100.0)
            .help("Of an image, exits that were asked in vain included, against the network without exits."),
        metric(Family::Time, "worst_cost", "Multiplications, worst case", share(own.asked.costs[last]), "%")
            .lower()
            .baseline(100.0)
            .exact(1e-9, counted)
            .help("Of an image that stays to the end: everything, and all exits."),
        may(metric(Family::Scale, "leave_early", "Leave before the end", 100.0 * early.len() as f64 / all.len().max(1) as f64, "%"), 10.0)
            .higher(),
        may(quality("error_early", "Wrong among those who leave early", wrong(&outcome.answers), "%").lower(), 3.0)
            .baseline(wrong(full))
            .help("The baseline is what the last exit would have made of the same images."),
        may(quality("over_lot", "What certainty is worth", accuracy - lot, "points").higher(), 2.0)
            .baseline(0.0)
            .help("Accuracy minus what is expected when as many images leave at each exit, drawn by lot."),
        memory(own.asked.added, material),
        may(
            metric(
                Family::Scale,
                "cost_in_64",
                "Multiplications in a batch of 64 that waits",
                share(cost_in_batch(&outcome.shares, &own.asked.costs, 64)),
                "%",
            )
            .lower()
            .detail(),
            5.0,
        )
        .baseline(share(outcome.cost))
        .help("Counted: the batch runs on until its last image has left. The baseline is one image at a time."),
        may(quality("accuracy_first", "Accuracy of exit 1, everybody", each[0], "%").higher().detail(), 2.5)
            .baseline(each[last]),
        may(quality("calibration_first", "Calibration error of exit 1", errors_now[0], "%").lower().detail(), 3.0)
            .baseline(errors_before[0])
            .help("How far certainty and accuracy are apart, 15 bins; the baseline is without temperature."),
        may(
            quality("overthought", "Mistakes that an earlier exit did not make", 100.0 * overthought as f64 / mistakes.len().max(1) as f64, "%")
                .detail(),
            15.0,
        )
        .help("Of the last exit's."),
        may(quality("accuracy_hard", "Accuracy on the hard tenth", hard(&outcome.answers), "%").higher().detail(), 8.0)
            .baseline(hard(full))
            .help("The tenth of the images about which exit 1 is least certain; the baseline goes to the end."),
        may(quality("accuracy_known", "Accuracy at the first right exit", 100.0 * oracle as f64 / all.len().max(1) as f64, "%").detail(), 1.5)
            .baseline(each[last])
            .help("What nobody can know: a bound for every rule."),
    ];
    let notes = vec![format!(
        "Against going to the end, {} of {} images turned from right to wrong and {} from wrong to right.",
        thousands(compared.lost),
        thousands(compared.images),
        thousands(compared.gained)
    )];
    Ok(Report {
        metrics,
        tables: vec![
            figures::exits(own, outcome, &errors_now, material),
            figures::ways(own, params.target_error, material),
        ],
        charts: vec![figures::shares(own), figures::pictures(own, outcome, material)],
        notes,
    })
}
