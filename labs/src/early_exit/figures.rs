//! Charts and tables of a run.

use lab_api::{Axis, Cell, Chart, ChartBody, Image, Series, StackSeries, Table};
use lab_kit::{
    Context,
    exits::{Policy, Verdicts, mean_cost},
};

use super::{
    Rule,
    decide::{Judged, Outcome, confidence},
    material::{Material, Rival},
};

/// Thresholds that are tried for the charts.
pub(super) const TRIED: [f32; 13] = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999];
/// Pictures of each exit.
const PICTURES: usize = 10;

fn percent(material: &Material, answers: &[u8]) -> f64 {
    100.0 * material.subject.right(answers) as f64 / answers.len().max(1) as f64
}

/// Accuracy of each exit on all images, in per cent.
pub(super) fn accuracies(verdicts: &Verdicts, material: &Material) -> Vec<f64> {
    verdicts.answers.iter().map(|answers| percent(material, answers)).collect()
}

/// Multiplications (in thousands) and accuracy for each threshold; with `random`, when as many leave, drawn by lot.
fn sweep(verdicts: &Verdicts, costs: &[f64], random: bool, material: &Material) -> Vec<[f64; 2]> {
    let each = accuracies(verdicts, material);
    let at = |threshold: &f32| {
        let exits = verdicts.leave(&Policy::Thresholds(vec![*threshold; costs.len() - 1]));
        let shares = verdicts.shares(&exits);
        let accuracy = if random { mean_cost(&shares, &each) } else { percent(material, &verdicts.answers_at(&exits)) };
        [mean_cost(&shares, costs) / 1e3, accuracy]
    };
    TRIED.iter().map(at).collect()
}

/// Accuracy against multiplications.
pub(super) fn trade_off(
    own: &Judged,
    outcome: &Outcome,
    material: &Material,
    rivals: &[Rival],
    rule: Rule,
    _cx: &Context,
) -> Chart {
    let (verdicts, costs) = (&own.verdicts, &own.asked.costs);
    let series = |name: &str, points: Vec<[f64; 2]>| Series { name: name.into(), points, band: Vec::new() };
    let labels = &material.subject.images.labels;
    let classes = material.subject.images.class_count();
    let mut alone = vec![[material.full() / 1e3, percent(material, &verdicts.answers[costs.len() - 1])]];
    let mut cascade = Vec::new();
    for (i, rival) in rivals.iter().enumerate() {
        let mut both = Verdicts::of(std::slice::from_ref(&rival.logits), classes, confidence(rule), &[]);
        alone.push([rival.cost / 1e3, percent(material, &both.answers[0])]);
        // The first rival, then the large network: what one network with exits has to beat.
        if i == 0 && costs.len() > 2 {
            both.answers.extend(verdicts.answers.last().cloned());
            both.confidences.extend(verdicts.confidences.last().cloned());
            cascade = sweep(&both, &[rival.cost, rival.cost + material.full()], false, material);
        }
    }
    let oracle = verdicts.first_right(labels);
    let known = [mean_cost(&verdicts.shares(&oracle), costs) / 1e3, percent(material, &verdicts.answers_at(&oracle))];
    let each = accuracies(verdicts, material);
    let mut all = vec![
        series("Networks without exits", alone),
        series("Leave when certain", sweep(verdicts, costs, false, material)),
        series("As many leave, by lot", sweep(verdicts, costs, true, material)),
        series("Everybody at one exit", costs.iter().zip(&each).map(|(cost, a)| [cost / 1e3, *a]).collect()),
        series("Your setting", vec![[outcome.cost / 1e3, percent(material, &outcome.answers)]]),
        series("First right exit (nobody can know)", vec![known]),
    ];
    if !cascade.is_empty() {
        all.push(series("Small network, then the large one", cascade));
    }
    Chart {
        id: "trade_off".into(),
        title: "What does an answer cost, and how often is it right?".into(),
        caption: "Each point is a threshold, judged on families that neither trained nor chose. Certainty is worth the distance \
                  between leaving when certain and leaving by lot."
            .into(),
        x: Axis::log("Multiplications of an image (thousand)"),
        y: Axis::linear("Accuracy (%)"),
        body: ChartBody::Scatter { series: all },
    }
}

/// Where images leave, over the threshold.
pub(super) fn shares(own: &Judged) -> Chart {
    let exits = own.asked.costs.len();
    let at =
        |threshold: &f32| own.verdicts.shares(&own.verdicts.leave(&Policy::Thresholds(vec![*threshold; exits - 1])));
    let found: Vec<Vec<f64>> = TRIED.iter().map(at).collect();
    let layer = |exit: usize| StackSeries {
        name: format!("Exit {}", exit + 1),
        values: found.iter().map(|shares| 100.0 * shares[exit]).collect(),
    };
    Chart {
        id: "shares".into(),
        title: "Who leaves where?".into(),
        caption: "Share of the images that leave at each exit, over one threshold for all of them.".into(),
        x: Axis::linear("Threshold"),
        y: Axis { max: Some(100.0), ..Axis::linear("Images (%)") },
        body: ChartBody::StackedArea {
            x: TRIED.iter().map(|t| f64::from(*t)).collect(),
            series: (0..exits).map(layer).collect(),
        },
    }
}

/// Images sorted by the exit they took.
pub(super) fn pictures(own: &Judged, outcome: &Outcome, material: &Material) -> Chart {
    let images = &material.subject.images;
    let mut shown = Vec::new();
    for exit in 0..own.asked.costs.len() {
        let here: Vec<usize> = (0..images.len()).filter(|i| outcome.exits[*i] == exit).collect();
        for i in here.iter().step_by((here.len() / PICTURES).max(1)).take(PICTURES) {
            let (truth, answer) = (images.labels[*i], outcome.answers[*i]);
            let said = match truth == answer {
                true => images.character(truth).to_string(),
                false => [images.character(truth), images.character(answer)].map(String::from).join(" → "),
            };
            shown.push(Image {
                label: format!("{}: {said}", exit + 1),
                pixels: images.image(*i).iter().map(|pixel| (255.0 * pixel) as u8).collect(),
                marked: truth != answer,
            });
        }
    }
    Chart {
        id: "left_at".into(),
        title: "Which images are easy?".into(),
        caption: "Some that left at each exit, sorted by it: the exit, then the truth, and where it was wrong (marked) what was answered."
            .into(),
        x: Axis::default(),
        y: Axis::default(),
        body: ChartBody::ImageGrid { width: images.side as u32, height: images.side as u32, images: shown },
    }
}

/// The exits one by one.
pub(super) fn exits(own: &Judged, outcome: &Outcome, errors: &[f64], material: &Material) -> Table {
    let each = accuracies(&own.verdicts, material);
    let row = |exit: usize| {
        let numbers = [
            own.asked.costs[exit] / 1e3,
            100.0 * own.asked.costs[exit] / material.full(),
            each[exit],
            100.0 * outcome.shares[exit],
            errors[exit],
            f64::from(own.temperatures[exit]),
        ];
        std::iter::once(Cell::from(format!("{}", exit + 1))).chain(numbers.map(Cell::from)).collect()
    };
    let columns = [
        "Exit",
        "Multiplications (thousand)",
        "Of the plain network (%)",
        "Accuracy, everybody (%)",
        "Leave here (%)",
        "Calibration error (%)",
        "Temperature",
    ];
    Table {
        id: "exits".into(),
        title: "The exits".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: (0..each.len()).map(row).collect(),
    }
}

/// What becomes of an error that was asked for.
pub(super) fn ways(own: &Judged, target: f64, material: &Material) -> Table {
    let row = |(name, found): (&str, Option<[f64; 3]>)| {
        let mut row = vec![Cell::from(name)];
        match found {
            Some([threshold, share, wrong]) => row.extend([threshold, 100.0 * share, 100.0 * wrong].map(Cell::from)),
            None => row.extend(["none will do", "", ""].map(Cell::from)),
        }
        row
    };
    let allowed = format!("Wrong among them (%), allowed {:.1}", 100.0 * target);
    let columns = ["Threshold chosen on", "Threshold of exit 1", "Leave there (%)", allowed.as_str()];
    Table {
        id: "ways".into(),
        title: "Is the promise kept?".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: own.ways(target, material).into_iter().map(row).collect(),
    }
}
