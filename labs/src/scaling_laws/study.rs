//! Six budgets, six sizes, several seeds: what a law fitted to the first budgets says of the later ones; text that is read
//! again; learning rates that do not come to rest; and an exponent that depends on who counts.

use std::time::Instant;

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Interval, Kind, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    rng,
    scaling::{
        Law, Minimum, PowerLaw, Run, effective, fit, fit_from, isoflop_minimum, power_law, recount,
        repetition_constant, resample,
    },
    stats::{median, median_interval},
    testing::ready,
    two_cores::jobs_on_two_cores,
};
use rand::Rng;

use super::{
    JUDGED, Params,
    network::{Decay, Plan, Trained},
    sweep::planned,
    text::Text,
};

/// Budgets, and the seeds that each is given.
const BUDGETS: [(f64, u64); 6] = [(3e8, 10), (9e8, 10), (2.7e9, 10), (8.1e9, 5), (2.43e10, 2), (7.29e10, 1)];
const SIZES: usize = 6;
/// Seeds of the other two arms.
const SEEDS: u64 = 5;
/// Different characters of the arm that repeats, the width of its network, and how often it reads them.
const UNIQUE: usize = 21_000;
const WIDTH: usize = 24;
const EPOCHS: [usize; 5] = [1, 2, 4, 8, 16];
/// Budget of the arm of the learning rates.
const SCHEDULED: f64 = 9e8;
const SCHEDULES: [(&str, &str, f64); 3] = [
    ("matched", "to zero at the end", 1.0),
    ("five_times", "as for five times the length", 5.0),
    ("constant", "not at all", f64::INFINITY),
];
/// Draws of a bootstrap.
const DRAWS: usize = 300;

/// A training, and how many different characters it may read.
struct Job {
    plan: Plan,
    unique: usize,
}

/// All jobs, two at a time: a training takes one core.
fn train_all(jobs: &[Job], text: &Text, cx: &Context) -> Result<Vec<Option<Trained>>, LabError> {
    let began = Instant::now();
    cx.progress("Training", 0.05);
    jobs_on_two_cores(jobs.len(), |i| {
        let Job { plan, unique } = &jobs[i];
        let order = text.order(*unique, &mut rng(plan.seed, "order"));
        let now = || 1e3 * began.elapsed().as_secs_f64();
        ready(plan.train(text, &order, &device(), now, async || Ok(())))
    })
}

fn device() -> lab_kit::burn::tensor::Device {
    lab_kit::burn::tensor::Device::flex()
}

/// Losses of one budget: for each size the runs of all seeds.
struct Group {
    flops: f64,
    cells: Vec<Vec<Trained>>,
}

impl Group {
    /// Mean loss of each size over the seeds that `pick` chooses among `count`.
    fn curve(&self, mut pick: impl FnMut(usize) -> Vec<usize>) -> Vec<Run> {
        let cell = |cell: &Vec<Trained>| {
            let picked = pick(cell.len());
            let loss = picked.iter().map(|i| cell[*i].loss).sum::<f64>() / picked.len().max(1) as f64;
            Run { loss, ..cell[0].run() }
        };
        self.cells.iter().filter(|cell| !cell.is_empty()).map(cell).collect()
    }

    fn mean(&self) -> Vec<Run> {
        self.curve(|count| (0..count).collect())
    }

    /// Seeds that every size has.
    fn seeds(&self) -> usize {
        self.cells.iter().map(Vec::len).min().unwrap_or(0)
    }
}

fn lowest(runs: &[Run]) -> Option<Minimum> {
    isoflop_minimum(&runs.iter().map(|run| (run.n, run.loss)).collect::<Vec<_>>()).ok()
}

/// The best sizes and the least losses over operations, from one curve a budget.
fn lines(groups: &[Group], curves: &[Vec<Run>]) -> Option<(PowerLaw, PowerLaw)> {
    let minima: Option<Vec<Minimum>> = curves.iter().map(|curve| lowest(curve)).collect();
    let pairs: Vec<(f64, Minimum)> = groups.iter().map(|g| g.flops).zip(minima?).collect();
    let sizes: Vec<(f64, f64)> = pairs.iter().map(|(c, m)| (*c, m.n)).collect();
    let losses: Vec<(f64, f64)> = pairs.iter().map(|(c, m)| (*c, m.loss)).collect();
    Some((power_law(&sizes)?, power_law(&losses)?))
}

fn interval(mut values: Vec<f64>) -> Interval {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = |i: usize| values.get(i).copied().unwrap_or(0.0);
    Interval { low: at(last / 40), high: at(last - last / 40), level: 0.95 }
}

fn trained(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    Metric { kind: Kind::Trained, ..metric(family, id, label, value, unit) }
}

/// A number that every seed has: its median, with an interval.
fn over_seeds(family: Family, id: &str, label: &str, unit: &str, values: &[f64], cx: &Context) -> Metric {
    let one = metric(family, id, label, median(values), unit)
        .interval(median_interval(values, 0.95, &mut cx.rng(id)))
        .measured(values.to_vec());
    Metric { kind: Kind::Trained, ..one }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let text = Text::load(JUDGED, cx).await?;
    let steps = Params::default().steps as usize;
    let rest = Decay { period: 1.0 };
    let mut jobs = Vec::new();
    // Where each cell's runs lie among the jobs.
    let mut cells = Vec::new();
    for (flops, seeds) in BUDGETS {
        for plan in planned(&[flops], SIZES, steps, rest, 0).into_iter().flat_map(|group| group.1) {
            cells.push((flops, jobs.len()..jobs.len() + seeds as usize));
            jobs.extend((0..seeds).map(|seed| Job { plan: Plan { seed, ..plan }, unique: usize::MAX }));
        }
    }
    let repeated_from = jobs.len();
    for seed in 0..SEEDS {
        for unique in [UNIQUE, usize::MAX] {
            for epochs in EPOCHS {
                let batch = UNIQUE * epochs / steps;
                let plan = Plan { h: WIDTH, batch, steps, decay: rest, seed };
                jobs.push(Job { plan, unique });
            }
        }
    }
    let scheduled_from = jobs.len();
    for seed in 0..SEEDS {
        for (.., period) in SCHEDULES {
            let plans = planned(&[SCHEDULED], SIZES, steps, Decay { period }, seed);
            jobs.extend(plans.into_iter().flat_map(|g| g.1).map(|plan| Job { plan, unique: usize::MAX }));
        }
    }
    // The longest first, so that no core is left alone with one.
    let mut by_length: Vec<usize> = (0..jobs.len()).collect();
    by_length.sort_by(|a, b| jobs[*b].plan.flops().total_cmp(&jobs[*a].plan.flops()));
    let sorted: Vec<Job> = by_length.iter().map(|i| Job { ..jobs[*i] }).collect();
    let mut results = vec![None; jobs.len()];
    let trained_all = train_all(&sorted, &text, cx)?;
    by_length.iter().zip(trained_all).for_each(|(i, one)| results[*i] = one);
    let diverged = results.iter().filter(|one| one.is_none()).count();

    let groups: Vec<Group> = BUDGETS
        .iter()
        .map(|(flops, _)| {
            let own = cells.iter().filter(|cell| cell.0 == *flops);
            Group {
                flops: *flops,
                cells: own.map(|cell| results[cell.1.clone()].iter().flatten().copied().collect()).collect(),
            }
        })
        .collect();
    cx.progress("Fitting", 0.9);
    let mut report = laws(&groups, cx);
    repetition(&results[repeated_from..scheduled_from], &mut report, cx);
    schedules(&results[scheduled_from..], &mut report, cx);
    counting(&mut report);
    report
        .metrics
        .push(trained(Family::Scale, "diverged", "Trainings that diverged", diverged as f64, "trainings").lower());
    report.metrics.push(trained(Family::Scale, "trainings", "Trainings of the study", jobs.len() as f64, "trainings"));
    Ok(report)
}

/// For each size of each budget the mean of as many seeds as it has, drawn with replacement.
fn drawn(groups: &[Group], rng: &mut impl Rng) -> Vec<Vec<Run>> {
    let mut curves = Vec::new();
    for group in groups {
        curves.push(group.curve(|count| (0..count).map(|_| rng.random_range(0..count)).collect()));
    }
    curves
}

/// The law over all budgets, and what laws fitted to fewer of them foretold.
fn laws(groups: &[Group], cx: &Context) -> Report {
    let mut report = Report::default();
    let means: Vec<Vec<Run>> = groups.iter().map(Group::mean).collect();
    let mut rng = cx.rng("bootstrap");
    if let Some((size, _)) = lines(groups, &means) {
        let exponents = (0..DRAWS).filter_map(|_| Some(lines(groups, &drawn(groups, &mut rng))?.0.exponent)).collect();
        report.metrics.push(
            trained(Family::Scale, "exponent_size", "Exponent of the best size", size.exponent, "")
                .interval(interval(exponents))
                .help("By the lowest places of all six budgets; the interval is a bootstrap over the seeds."),
        );
    }
    let (mut rows, mut floors) = (Vec::new(), Vec::new());
    for count in 3..=groups.len() {
        let (known, curves) = (&groups[..count], &means[..count]);
        let (Some((size, straight)), Some(found)) = (lines(known, curves), fit(&curves.concat())) else { continue };
        let draws: Vec<Law> = (0..DRAWS)
            .filter_map(|_| fit_from(&resample(curves, &mut rng), &found.at))
            .map(|fitted| fitted.law)
            .collect();
        let of = |what: &dyn Fn(&Law) -> f64| interval(draws.iter().map(what).collect());
        let (floor, exponent) = (of(&|law| law.e), of(&Law::exponent));
        let law = found.law;
        floors.push((known[count - 1].flops, law.e, floor));
        let id = |what: &str| format!("{what}_{count}");
        let told = format!("fitted to {count} budgets");
        report.metrics.push(
            trained(Family::Quality, &id("floor"), &format!("Floor of the surface, {told}"), law.e, "nats")
                .interval(floor),
        );
        report.metrics.push(
            trained(
                Family::Scale,
                &id("exponent_surface"),
                &format!("Exponent by the surface, {told}"),
                law.exponent(),
                "",
            )
            .interval(exponent),
        );
        let mut row =
            vec![Cell::from(known[count - 1].flops / 1e9), law.e.into(), law.exponent().into(), size.exponent.into()];
        if let (Some(next), Some(truth)) = (groups.get(count), means.get(count).and_then(|curve| lowest(curve))) {
            let foretold = size.at(next.flops);
            let by_surface = law.loss(truth.n, next.flops / 6.0 / truth.n) - truth.loss;
            let by_line = straight.at(next.flops) - truth.loss;
            let sizes = foretold / truth.n;
            report.metrics.push(
                trained(
                    Family::Scale,
                    &id("size_ratio"),
                    &format!("Size foretold over size found, {told}"),
                    sizes,
                    "×",
                )
                .help("At three times the largest budget that was known."),
            );
            for (what, words, error) in [("surface", "the surface", by_surface), ("line", "the line", by_line)] {
                report.metrics.push(trained(
                    Family::Quality,
                    &id(&format!("over_by_{what}")),
                    &format!("Loss foretold minus found, by {words}, {told}"),
                    error,
                    "nats",
                ));
            }
            row.extend([sizes, truth.loss, by_surface, by_line].map(Cell::from));
        } else {
            row.extend(["", "", "", ""].map(Cell::from));
        }
        rows.push(row);
    }
    for (i, (group, curve)) in groups.iter().zip(&means).enumerate() {
        if let Some(minimum) = lowest(curve) {
            let words = format!("{} GFLOP", group.flops / 1e9);
            let each = group.flops / 6.0 / minimum.n.powi(2);
            report.metrics.push(trained(
                Family::Scale,
                &format!("best_size_{}", i + 1),
                &format!("Best size at {words}"),
                minimum.n,
                "weights",
            ));
            report.metrics.push(trained(
                Family::Scale,
                &format!("tokens_per_weight_{}", i + 1),
                &format!("Characters for each weight at {words}"),
                each,
                "",
            ));
            report.metrics.push(
                trained(
                    Family::Quality,
                    &format!("least_loss_{}", i + 1),
                    &format!("Least loss at {words}"),
                    minimum.loss,
                    "nats",
                )
                .lower(),
            );
            // What a size that is wrong by a factor of two costs.
            let wrong = minimum.curvature * std::f64::consts::LN_2.powi(2);
            report.metrics.push(
                trained(
                    Family::Quality,
                    &format!("wrong_by_two_{}", i + 1),
                    &format!("Loss of half or twice the best size at {words}"),
                    wrong,
                    "nats",
                )
                .lower(),
            );
        }
    }
    live(groups, &mut report, cx);
    let columns = [
        "Fitted up to (GFLOP)",
        "Floor (nats)",
        "Exponent, surface",
        "Exponent, lowest places",
        "Size foretold / found",
        "Least loss found (nats)",
        "Surface too high by",
        "Line too high by",
    ];
    report.tables.push(Table {
        id: "forecasts".into(),
        title: "What laws fitted to fewer budgets said of the next".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    report.charts.extend([curves(groups, &means), floor_chart(groups, &means, &floors)]);
    report
}

/// What the live run's three budgets say, seed by seed: how far its numbers may move.
fn live(groups: &[Group], report: &mut Report, cx: &Context) {
    let seeds = groups[..4].iter().map(Group::seeds).min().unwrap_or(0);
    let mut found: [Vec<f64>; 6] = Default::default();
    for seed in 0..seeds {
        let curves: Vec<Vec<Run>> = groups[..3].iter().map(|group| group.curve(|_| vec![seed])).collect();
        let (Some((size, straight)), Some(surface)) = (lines(&groups[..3], &curves), fit(&curves.concat())) else {
            continue;
        };
        let next = groups[3].curve(|_| vec![seed]);
        let Some(truth) = lowest(&next) else { continue };
        let flops = groups[3].flops;
        let values = [
            size.exponent,
            surface.law.exponent(),
            surface.law.e,
            size.at(flops) / truth.n,
            truth.loss - straight.at(flops),
            truth.loss - surface.law.loss(truth.n, flops / 6.0 / truth.n),
        ];
        found.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
    }
    for ((id, label, unit), values) in [
        ("live_exponent", "Exponent of the best size, one seed", ""),
        ("live_exponent_surface", "Exponent by the surface, one seed", ""),
        ("live_floor", "Floor of the surface, one seed", "nats"),
        ("live_size_ratio", "Size foretold over size found, one seed", "×"),
        ("live_error_line", "Measured minus foretold by the line, one seed", "nats"),
        ("live_error_surface", "Measured minus foretold by the surface, one seed", "nats"),
    ]
    .into_iter()
    .zip(&found)
    {
        report.metrics.push(over_seeds(Family::Scale, id, label, unit, values, cx));
    }
}

fn curves(groups: &[Group], means: &[Vec<Run>]) -> Chart {
    let mut series: Vec<Series> = groups
        .iter()
        .zip(means)
        .map(|(group, runs)| Series {
            name: format!("{} GFLOP", group.flops / 1e9),
            points: runs.iter().map(|run| [run.n, run.loss]).collect(),
            band: Vec::new(),
        })
        .collect();
    let minima = means.iter().filter_map(|runs| lowest(runs)).map(|m| [m.n, m.loss]).collect();
    series.push(Series { name: "lowest places".into(), points: minima, band: Vec::new() });
    Chart {
        id: "study_curves".into(),
        title: "Six budgets, each three times the one before".into(),
        caption: "Mean held-out loss over the seeds. The lowest places march along a line.".into(),
        x: Axis::log("Weights"),
        y: Axis::linear("Held-out loss (nats per character)"),
        body: ChartBody::Line { series },
    }
}

fn floor_chart(groups: &[Group], means: &[Vec<Run>], floors: &[(f64, f64, Interval)]) -> Chart {
    let least = groups.iter().zip(means).filter_map(|(g, runs)| Some([g.flops / 1e9, lowest(runs)?.loss])).collect();
    Chart {
        id: "sinking_floor".into(),
        title: "Where does the fitted floor lie?".into(),
        caption: "The floor of a surface fitted to all budgets up to this one, with a bootstrap's interval, under the least loss that \
                  was reached."
            .into(),
        x: Axis::log("Largest budget in the fit (GFLOP)"),
        y: Axis::linear("Nats per character"),
        body: ChartBody::Line {
            series: vec![
                Series { name: "least loss reached".into(), points: least, band: Vec::new() },
                Series {
                    name: "fitted floor".into(),
                    points: floors.iter().map(|(c, e, _)| [c / 1e9, *e]).collect(),
                    band: floors.iter().map(|(.., interval)| [interval.low, interval.high]).collect(),
                },
            ],
        },
    }
}

/// What text is worth that is read again.
fn repetition(results: &[Option<Trained>], report: &mut Report, cx: &Context) {
    let arms = EPOCHS.len();
    let (mut constants, mut rows) = (Vec::new(), Vec::new());
    // Per epoch count: repeated, fresh.
    let mut losses = vec![[Vec::new(), Vec::new()]; arms];
    for seed in results.chunks_exact(2 * arms) {
        let points = |runs: &[Option<Trained>]| -> Vec<(f64, f64)> {
            runs.iter().flatten().map(|one| (one.plan.characters() as f64, one.loss)).collect()
        };
        let (repeated, fresh) = (points(&seed[..arms]), points(&seed[arms..]));
        constants.extend(repetition_constant(UNIQUE as f64, &fresh, &repeated));
        for (i, pair) in losses.iter_mut().enumerate() {
            pair[0].extend(seed[i].map(|one| one.loss));
            pair[1].extend(seed[arms + i].map(|one| one.loss));
        }
    }
    let r_star = median(&constants);
    report.metrics.push(
        over_seeds(Family::Scale, "r_star", "Decay constant of repeated text", "epochs", &constants, cx)
            .help("21,000 characters read up to 16 times by a network of 5,952 weights; language models had 15.4."),
    );
    for (epochs, [again, fresh]) in EPOCHS.iter().zip(&losses) {
        let (again, fresh) = (median(again), median(fresh));
        let worth = effective(UNIQUE as f64, (UNIQUE * epochs) as f64, r_star) / UNIQUE as f64;
        rows.push([*epochs as f64, again, fresh, worth].map(Cell::from).to_vec());
        report.metrics.push(
            trained(
                Family::Quality,
                &format!("repeated_{epochs}"),
                &format!("Loss after {epochs} epochs"),
                again,
                "nats",
            )
            .baseline(fresh)
            .lower()
            .help("The baseline read as many characters, all different."),
        );
        report.metrics.push(trained(
            Family::Scale,
            &format!("worth_{epochs}"),
            &format!("What {epochs} epochs are worth"),
            worth,
            "epochs",
        ));
    }
    let curve = |name: &str, which: usize| Series {
        name: name.into(),
        points: EPOCHS.iter().zip(&losses).map(|(e, pair)| [*e as f64, median(&pair[which])]).collect(),
        band: Vec::new(),
    };
    report.charts.push(Chart {
        id: "repetition".into(),
        title: "What is a text worth that you read again?".into(),
        caption:
            "Medians of five seeds. Both networks read as many characters; one of them sees only 21,000 different ones."
                .into(),
        x: Axis::log("Times 21,000 characters read"),
        y: Axis::linear("Held-out loss (nats per character)"),
        body: ChartBody::Line { series: vec![curve("all different", 1), curve("21,000 again and again", 0)] },
    });
    report.tables.push(Table {
        id: "repetition".into(),
        title: "Epochs, and what they were worth".into(),
        columns: ["Epochs", "Loss, repeated", "Loss, all different", "Worth, in epochs of fresh text"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    });
}

/// What a learning rate does to the best size that does not come to rest.
fn schedules(results: &[Option<Trained>], report: &mut Report, cx: &Context) {
    let mut minima: [(Vec<f64>, Vec<f64>); 3] = Default::default();
    for seed in results.chunks_exact(SCHEDULES.len() * SIZES) {
        for (runs, (sizes, losses)) in seed.chunks_exact(SIZES).zip(&mut minima) {
            let runs: Vec<Run> = runs.iter().flatten().map(Trained::run).collect();
            if let Some(minimum) = lowest(&runs) {
                sizes.push(minimum.n);
                losses.push(minimum.loss);
            }
        }
    }
    for ((id, words, _), (sizes, losses)) in SCHEDULES.iter().zip(&minima) {
        if sizes.is_empty() {
            continue;
        }
        report.metrics.push(over_seeds(
            Family::Scale,
            &format!("size_{id}"),
            &format!("Best size, rate falls {words}"),
            "weights",
            sizes,
            cx,
        ));
        report.metrics.push(
            over_seeds(
                Family::Quality,
                &format!("loss_{id}"),
                &format!("Least loss, rate falls {words}"),
                "nats",
                losses,
                cx,
            )
            .lower(),
        );
    }
}

/// The same surface, counted with and without embedding and output layer.
fn counting(report: &mut Report) {
    // Two layers in Llama's layout, 24 w^2, with a tied vocabulary of 1,024: widths from 16 to 96.
    fn body(w: f64) -> f64 {
        24.0 * w * w
    }
    fn all(w: f64) -> f64 {
        body(w) + 1024.0 * w
    }
    let budgets: Vec<f64> = (0..6).map(|i| 3e10 * 3_f64.powi(i)).collect();
    let by_formula = "computed from a published law, nothing is trained";
    for (id, label, shape) in [
        ("count_all", "Exponent where every weight counts", [all as fn(f64) -> f64, all]),
        ("count_body", "Exponent without embedding and output layer", [body as fn(f64) -> f64, all]),
    ] {
        let found = recount(&Law::REFIT, |w| shape.map(|count| count(w)), [4.0, 400.0], &budgets);
        report.metrics.push(metric(Family::Scale, id, label, found.exponent, "").exact(0.01, by_formula));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::scaling_laws::network::weights;

    #[test]
    fn leaving_the_vocabulary_out_makes_the_same_surface_look_like_kaplans() {
        let mut report = Report::default();
        counting(&mut report);
        let value = |id: &str| report.metric(id).expect("computed").value;
        assert!((value("count_all") - Law::REFIT.exponent()).abs() < 0.01, "{}", value("count_all"));
        assert!(value("count_body") > 0.62, "{}", value("count_body"));
    }

    #[test]
    fn a_group_averages_the_seeds_it_is_told_to() {
        let plan = Plan { h: 8, batch: 10, steps: 40, decay: Decay { period: 1.0 }, seed: 0 };
        let one = |loss| Trained { plan, loss, seconds: 1.0 };
        let group = Group { flops: 1.0, cells: vec![vec![one(2.0), one(3.0)], Vec::new()] };
        assert_eq!(group.mean().len(), 1);
        assert_eq!((group.mean()[0].loss, group.curve(|_| vec![1])[0].loss), (2.5, 3.0));
        assert_eq!(group.mean()[0].n, weights(8) as f64);
    }
}
