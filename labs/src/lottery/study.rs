//! Every start over ten seeds, two sparsities and two learning rates; a seed draws the weights and the order of the
//! images, and says which fifth of the digits judges.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Kind, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    stats::{median, median_interval},
    subject::Subject,
};

use super::{
    Params,
    arms::{self, ARMS, Outcome},
    tickets::Plan,
};

const SEEDS: u64 = 10;
const LEVEL: f64 = 0.95;
const RATES: [(f64, &str); 2] = [(1e-3, "slow"), (1e-2, "fast")];

struct Cells {
    id: String,
    plan: Plan,
    /// For each arm per cent over the seeds.
    accuracy: Vec<Vec<f64>>,
    same_signs: Vec<f64>,
    barriers: [Vec<f64>; 2],
}

fn cells() -> Result<Vec<Cells>, LabError> {
    let plan = Params::default().plan()?;
    let cell = |id: String, plan: Plan| Cells {
        id,
        plan,
        accuracy: vec![Vec::new(); ARMS.len()],
        same_signs: Vec::new(),
        barriers: [Vec::new(), Vec::new()],
    };
    let mut cells = Vec::new();
    for (learning_rate, word) in RATES {
        cells.push(cell(format!("95_{word}"), Plan { learning_rate, ..plan }));
    }
    cells.push(cell("90_slow".into(), Plan { sparsity: 0.9, ..plan }));
    cells.push(cell("95_slow_rewound".into(), Plan { rewind_to: 100, ..plan }));
    Ok(cells)
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut cells = cells()?;
    let (seed_before, count) = (cx.seed, cells.len());
    for seed in 0..SEEDS {
        cx.seed = seed;
        let subject = Subject::load(cx).await?;
        for (i, cell) in cells.iter_mut().enumerate() {
            let done = (seed as f64 + i as f64 / count as f64) / SEEDS as f64;
            cx.progress(&format!("Seed {seed}: {}", cell.id), done);
            let outcome = arms::run(&subject, &cell.plan, cx, |_, _| ()).await?;
            for (values, (_, answers)) in cell.accuracy.iter_mut().zip(&outcome.arms) {
                values.push(subject.accuracy_on(&outcome.held_out, answers, LEVEL).0);
            }
            cell.same_signs.push(outcome.same_signs);
            for (values, line) in cell.barriers.iter_mut().zip(&outcome.lines) {
                values.push(Outcome::barrier(line));
            }
        }
    }
    cx.seed = seed_before;
    Ok(report(&cells, cx))
}

fn over_seeds(id: &str, label: &str, unit: &str, values: &[f64], cx: &Context) -> Metric {
    let mut all = metric(Family::Quality, id, label, median(values), unit)
        .interval(median_interval(values, LEVEL, &mut cx.rng(id)))
        .measured(values.to_vec());
    all.kind = Kind::Trained;
    all
}

fn report(cells: &[Cells], cx: &Context) -> Report {
    let (mut metrics, mut rows) = (Vec::new(), Vec::new());
    for cell in cells {
        let of =
            |arm: &str| ARMS.iter().position(|(id, _)| *id == arm).map_or(&cell.accuracy[0], |i| &cell.accuracy[i]);
        let words = format!("{:.0} %, rate {}", 100.0 * cell.plan.sparsity, cell.plan.learning_rate);
        for ((arm, label), values) in ARMS.iter().zip(&cell.accuracy) {
            let id = format!("{arm}_{}", cell.id);
            metrics.push(over_seeds(&id, &format!("{label}: {words}"), "%", values, cx).higher());
        }
        let minus = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
        for (id, label, values) in [
            ("gap_new", "Ticket minus new weights", minus(of("ticket"), of("new"))),
            ("gap_signs", "Own signs minus new weights", minus(of("signs"), of("new"))),
            ("gap_size", "Own sizes and signs minus own signs alone", minus(of("ticket"), of("signs"))),
            ("gap_shuffled", "Ticket minus shuffled mask", minus(of("ticket"), of("shuffled"))),
            ("gap_dense", "Ticket minus dense", minus(of("ticket"), of("dense"))),
            ("gap_one_shot", "Mask of rounds minus mask of one cut", minus(of("ticket"), of("one_shot"))),
        ] {
            metrics.push(
                over_seeds(&format!("{id}_{}", cell.id), &format!("{label}: {words}"), "points", &values, cx).higher(),
            );
        }
        metrics.push(over_seeds(
            &format!("same_signs_{}", cell.id),
            &format!("Kept weights that keep their sign: {words}"),
            "%",
            &cell.same_signs,
            cx,
        ));
        for (values, who) in cell.barriers.iter().zip(["dense", "ticket"]) {
            let id = format!("barrier_{who}_{}", cell.id);
            metrics.push(
                over_seeds(&id, &format!("Loss between two trainings, {who}: {words}"), "nats", values, cx).lower(),
            );
        }
        for ((_, label), values) in ARMS.iter().zip(&cell.accuracy) {
            let interval = median_interval(values, LEVEL, &mut cx.rng(label));
            let numbers = [100.0 * cell.plan.sparsity, cell.plan.learning_rate, cell.plan.rewind_to as f64];
            let found = [median(values), interval.low, interval.high];
            rows.push(
                std::iter::once(Cell::from(*label)).chain(numbers.into_iter().chain(found).map(Cell::from)).collect(),
            );
        }
    }
    let columns = ["Start", "Sparsity (%)", "Learning rate", "Rewound to step", "Accuracy (%)", "95 % from", "95 % to"];
    let tables = vec![Table {
        id: "starts".into(),
        title: "Every start, medians of ten seeds".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    }];
    Report { metrics, tables, charts: vec![rates(cells, cx)], notes: Vec::new() }
}

/// Accuracy against the learning rate, one line a start.
fn rates(cells: &[Cells], cx: &Context) -> Chart {
    let shown = ["dense", "ticket", "signs", "new", "shuffled"];
    let line = |arm: &str| {
        let i = ARMS.iter().position(|(id, _)| *id == arm).unwrap_or(0);
        let own: Vec<&Cells> = cells.iter().filter(|c| c.plan.sparsity > 0.92 && c.plan.rewind_to == 0).collect();
        let band = |cell: &&Cells| {
            let interval = median_interval(&cell.accuracy[i], LEVEL, &mut cx.rng(arm));
            [interval.low, interval.high]
        };
        Series {
            name: ARMS[i].1.into(),
            points: own.iter().map(|cell| [cell.plan.learning_rate, median(&cell.accuracy[i])]).collect(),
            band: own.iter().map(band).collect(),
        }
    };
    Chart {
        id: "rates".into(),
        title: "What does a start need, at which learning rate?".into(),
        caption: "Median accuracy of ten seeds with 5 % of the weights, on digits that no training saw. Bands are 95 % intervals."
            .into(),
        x: Axis::log("Learning rate"),
        y: Axis { max: Some(100.0), ..Axis::linear("Accuracy (%)") },
        body: ChartBody::Line { series: shown.map(line).to_vec() },
    }
}
