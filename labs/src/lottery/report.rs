//! Numbers, charts and sentences of a run.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Kind, Metric, Report, Series, Table};
use lab_kit::{
    report::{MetricExt, metric, thousands},
    stats::median,
    subject::Subject,
};

use super::{
    arms::{ARMS, Outcome},
    tickets::Plan,
};

/// Confidence of every interval.
const LEVEL: f64 = 0.95;
/// Weights of the network.
const WEIGHTS: usize = 25_856;
/// Why what training decides may differ between devices.
const SPREAD: &str = "sums in another order lead training elsewhere, as another order of the images does: five standard \
                      deviations over the seeds of the study";
/// Points of accuracy of a network that learns, and of one that depends on luck: the seeds of a start that fails lie ten
/// points apart.
const POINTS: f64 = 8.0;
const LUCK: f64 = 50.0;

fn trained(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

/// What the settings alone say.
pub(super) fn beforehand(plan: &Plan) -> Report {
    let kept = WEIGHTS - (plan.sparsity * WEIGHTS as f64).round() as usize;
    let counted = "weights and trainings are counted";
    let metrics = vec![
        metric(Family::Memory, "weights_kept", "Weights of the ticket", kept as f64, "weights")
            .lower()
            .baseline(WEIGHTS as f64)
            .exact(0.0, counted)
            .help("Of all matrices; biases are never pruned."),
        metric(Family::Time, "search_trainings", "Trainings to find the ticket", plan.rounds as f64, "trainings")
            .lower()
            .baseline(1.0)
            .exact(0.0, counted)
            .help("Before the ticket's own; the baseline is the dense network's one training. A ticket is no way to train cheaper."),
    ];
    Report { metrics, ..Report::default() }
}

/// Everything.
pub(super) fn of(subject: &Subject, plan: &Plan, outcome: &Outcome) -> Report {
    let held_out = &outcome.held_out;
    let accuracy = |i: usize| subject.accuracy_on(held_out, &outcome.arms[i].1, LEVEL);
    let right = |i: usize| {
        let pairs = held_out.iter().zip(&outcome.arms[i].1);
        pairs.filter(|(image, answer)| subject.images.labels[**image] == **answer).count()
    };
    let quality = |id: &str, label: &str, i: usize, apart: f64| {
        let (percent, interval) = accuracy(i);
        trained(metric(Family::Quality, id, label, percent, "%").higher().interval(interval), apart)
    };
    let gap = |id: &str, label: &str, one: usize, other: usize| {
        let points = accuracy(one).0 - accuracy(other).0;
        trained(metric(Family::Quality, id, label, points, "points").higher(), LUCK)
    };
    let barriers = outcome.lines.each_ref().map(|line| Outcome::barrier(line));
    let good = outcome.rounds.iter().take_while(|round| round[1] >= outcome.rounds[0][1] - 1.0).last();
    let mut metrics = vec![
        quality("accuracy", "Accuracy of the ticket", 1, POINTS)
            .baseline(accuracy(0).0)
            .help("On the fifth of the digits that no training saw; the baseline is the dense network."),
        gap("gap_new", "Ticket minus new weights", 1, 3)
            .help("The same mask; only the initial weights differ. This is what the hypothesis is about."),
        gap("gap_signs", "Own signs minus new weights", 4, 3).help("Both with new sizes; only the signs differ."),
        gap("gap_shuffled", "Ticket minus shuffled mask", 1, 6)
            .help("The same weights before the cut and as many in each layer; the mask is at other places."),
        quality("accuracy_untrained", "Accuracy of the ticket before training", 2, LUCK)
            .baseline(10.0)
            .help("The mask on untrained weights; the baseline is guessing among ten classes."),
    ];
    metrics.extend(beforehand(plan).metrics);
    metrics.extend([
        trained(
            metric(Family::Quality, "same_signs", "Kept weights that keep their sign", outcome.same_signs, "%").detail(),
            10.0,
        )
        .help("Of the ticket's weights, from before its training to after."),
        trained(
            metric(Family::Quality, "barrier", "Loss between two trainings of the ticket", barriers[1], "nats")
                .lower()
                .baseline(barriers[0])
                .detail()
                .help(
                    "Trained twice in different orders of the images: the highest loss on the line between the two, above the mean \
                     of its ends. Near zero, both lie in one valley. The baseline is the dense network.",
                ),
            1.0,
        ),
        trained(
            metric(Family::Scale, "sparsest_good", "Weights at which a point is lost", good.map_or(100.0, |g| g[0]), "%")
                .lower()
                .baseline(100.0)
                .detail()
                .help("The fewest weights, of those that the rounds pass through, with which the network is within a point of dense."),
            60.0,
        ),
        metric(Family::Time, "training_time", "One training", median(&outcome.seconds), "s")
            .lower()
            .baseline(outcome.seconds.first().copied().unwrap_or(0.0))
            .measured(outcome.seconds.clone())
            .detail()
            .help("With a mask; the baseline is the mean of the search's trainings. Zeros are multiplied like any other number, so that a sparse training takes as long."),
    ]);

    let row = |(i, (_, words)): (usize, &(&str, &str))| {
        let (percent, interval) = accuracy(i);
        let left = outcome.arms[i].0.non_zero().iter().sum::<usize>() as f64;
        let numbers = [left, right(i) as f64, percent, interval.low, interval.high];
        std::iter::once(Cell::from(*words)).chain(numbers.map(Cell::from)).collect()
    };
    let columns = ["Start", "Weights", "Right (images)", "Accuracy (%)", "95 % from", "95 % to"];
    let tables = vec![Table {
        id: "starts".into(),
        title: format!("The same training from every start, {} images", held_out.len()),
        columns: columns.map(str::to_owned).to_vec(),
        rows: ARMS.iter().enumerate().map(row).collect(),
    }];
    let kept: usize = outcome.masks.iter().flatten().filter(|kept| **kept).count();
    let notes = vec![
        format!(
            "With {} of {} weights the ticket is right on {} of {} images, new weights under the same mask on {}.",
            thousands(kept),
            thousands(WEIGHTS),
            right(1),
            held_out.len(),
            right(3)
        ),
        format!(
            "Finding the mask took {}; the ticket's own comes on top.",
            if plan.rounds == 1 { "one training".to_owned() } else { format!("{} trainings", plan.rounds) }
        ),
    ];
    Report { metrics, tables, charts: charts(outcome), notes }
}

fn charts(outcome: &Outcome) -> Vec<Chart> {
    let points = |line: &[f64]| -> Vec<[f64; 2]> {
        let last = line.len().saturating_sub(1).max(1) as f64;
        line.iter().enumerate().map(|(i, loss)| [100.0 * i as f64 / last, *loss]).collect()
    };
    let series = |name: &str, points: Vec<[f64; 2]>| Series { name: name.into(), points, band: vec![] };
    vec![
        Chart {
            id: "rounds".into(),
            title: "How far down do the rounds lead?".into(),
            caption: "Accuracy after each training of the search, and of the ticket at its end, against the weights left. Every \
                      point was trained from the same initial weights."
                .into(),
            x: Axis::log("Weights kept (%)"),
            y: Axis { max: Some(100.0), ..Axis::linear("Accuracy (%)") },
            body: ChartBody::Line { series: vec![series("Own initial weights", outcome.rounds.clone())] },
        },
        Chart {
            id: "valley".into(),
            title: "Do two trainings end in the same valley?".into(),
            caption: "Loss on unseen digits along the straight line between two trainings from the same weights, whose images \
                      came in different orders. A hill between them means that the order of the data decided where training went."
                .into(),
            x: Axis::linear("Way from one training to the other (%)"),
            y: Axis { min: Some(0.0), ..Axis::linear("Loss (nats)") },
            body: ChartBody::Line {
                series: vec![series("Dense", points(&outcome.lines[0])), series("Ticket", points(&outcome.lines[1]))],
            },
        },
    ]
}
