//! A pool of trainings that all went to the end, over which schedulers are replayed thousands of times; searches that were truly run;
//! noise, the ten best trained anew, a schedule that ends at the rung, seconds; and policies.

use std::rc::Rc;

use lab_api::{Axis, BarSeries, ChartBody, Family, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    data::Images,
    report::{MetricExt, metric},
    rng,
    search::{kept, rank_of, rungs, spearman},
    stats::{median, median_interval, percentile},
    testing::{FakeClock, context, ready},
    two_cores::jobs_on_two_cores,
};

use super::{
    figures::{chart, line},
    space::{Config, draw},
    study_again::{again, live, seconds, tied},
    study_policy,
    study_replay::{picture, replays},
    training::{Training, breathing, images},
    training_run::mean,
};

/// Of the pool, and images of each.
pub(super) const POOL: usize = 120;
pub(super) const WHOLE: usize = 54_000;
pub(super) const ETA: usize = 3;
/// Trials of a draw for halving.
pub(super) const TRIALS: usize = 27;

/// A training with what it showed at each rung.
#[derive(Debug, Clone, Default)]
pub(crate) struct Curve {
    pub(super) point: Vec<f64>,
    pub(super) config: Option<Config>,
    /// Right answers at each rung, families that choose, in per cent; 0 where the network was lost.
    pub(super) right: Vec<f64>,
    /// On unseen families, in the end.
    pub(super) test: f64,
    /// Milliseconds of training.
    pub(super) ms: f64,
}

impl Curve {
    pub(super) fn end(&self) -> f64 {
        self.right.last().copied().unwrap_or(0.0)
    }

    pub(super) fn falls(&self) -> bool {
        self.config.is_some_and(|config| config.falls)
    }
}

/// What is trained: a configuration, steps in all, after how many of them it is judged, a seed.
pub(crate) struct Job {
    config: Config,
    steps: usize,
    marks: Vec<usize>,
    seed: u64,
}

impl Job {
    pub(super) fn new(config: Config, whole: f64, shares: &[f64], seed: u64) -> Self {
        let steps = ((whole / config.batch as f64).round() as usize).max(1);
        let mark = |share: &f64| ((share * steps as f64).round() as usize).max(1);
        Self { config, steps, marks: shares.iter().map(mark).collect(), seed }
    }
}

/// Two at a time: each takes one core, and has a clock.
pub(super) fn two<T: Send>(
    count: usize,
    job: impl Fn(usize, &Context) -> Result<T, LabError> + Sync,
) -> Result<Vec<T>, LabError> {
    jobs_on_two_cores(count, |i| job(i, &context(Rc::new(FakeClock::real()))))
}

pub(super) fn train(jobs: &[Job], images: &[Images; 3]) -> Result<Vec<Curve>, LabError> {
    two(jobs.len(), |i, cx| {
        let Job { config, steps, marks, seed } = &jobs[i];
        let mut training = Training::new(*config, *steps, images[0].len(), *seed);
        let (mut right, mut ms) = (Vec::new(), 0.0);
        let finite = |x: f64| if x.is_finite() { x } else { 0.0 };
        for mark in marks {
            let began = cx.now_ms();
            ready(training.until(*mark, &images[0], breathing(cx)))?;
            ms += cx.now_ms() - began;
            right.push(finite(training.right(&images[1])));
        }
        Ok(Curve { point: vec![], config: Some(*config), right, test: finite(training.right(&images[2])), ms })
    })
}

pub(super) fn marks() -> Vec<usize> {
    rungs(4, WHOLE, ETA)
}

fn shares() -> Vec<f64> {
    marks().into_iter().map(|to| to as f64 / WHOLE as f64).collect()
}

pub(super) fn number(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    Metric { kind: Kind::Trained, ..metric(family, id, label, value, unit).exact(1e9, "trained") }
}

pub(super) fn over_seeds(family: Family, id: &str, label: &str, values: &[f64], unit: &str, cx: &Context) -> Metric {
    let one = metric(family, id, label, median(values), unit)
        .interval(median_interval(values, 0.95, &mut cx.rng(id)))
        .measured(values.to_vec());
    Metric { kind: Kind::Trained, ..one }
}

pub(super) fn deviation(values: &[f64]) -> f64 {
    let middle = mean(values);
    (values.iter().map(|x| (x - middle).powi(2)).sum::<f64>() / (values.len().max(2) - 1) as f64).sqrt()
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    let images = images(cx).await?;
    cx.progress("The pool", 0.02);
    let points: Vec<Vec<f64>> = (0..POOL).map(|i| draw(&mut rng(0, &format!("pool {i}")))).collect();
    let jobs: Vec<Job> =
        points.iter().map(|point| Job::new(Config::at(point, false), WHOLE as f64, &shares(), 0)).collect();
    let mut pool = train(&jobs, &images)?;
    pool.iter_mut().zip(points).for_each(|(one, point)| one.point = point);
    described(&mut report, &pool);
    orders(&mut report, &pool);
    cx.progress("Replays", 0.35);
    replays(&mut report, &pool)?;
    picture(&mut report, &pool)?;
    cx.progress("The ten best again", 0.42);
    again(&mut report, &pool, &images, cx)?;
    cx.progress("A schedule that ends at the rung", 0.5);
    tied(&mut report, &pool, &images)?;
    cx.progress("Seconds", 0.55);
    seconds(&mut report, &pool, &images, cx).await?;
    cx.progress("Searches", 0.6);
    live(&mut report, &images, cx)?;
    cx.progress("Policies", 0.7);
    study_policy::run(&mut report, cx)?;
    Ok(report)
}

fn described(report: &mut Report, pool: &[Curve]) {
    let ends: Vec<f64> = pool.iter().map(Curve::end).collect();
    for (id, words, percent) in [
        ("quarter", "a quarter is below", 25.0),
        ("median", "half is below", 50.0),
        ("upper", "a quarter is above", 75.0),
        ("best", "best", 100.0),
    ] {
        let values: Vec<f32> = ends.iter().map(|x| *x as f32).collect();
        report.metrics.push(
            number(
                Family::Quality,
                &format!("pool_{id}"),
                &format!("Pool of {POOL}: {words}"),
                f64::from(percentile(&values, percent)),
                "%",
            )
            .higher(),
        );
    }
    // Share of the variance that lies between four bins of an axis.
    let middle = mean(&ends);
    let all: f64 = ends.iter().map(|x| (x - middle).powi(2)).sum();
    let names = ["rate", "decay", "batch", "width", "schedule", "labels"];
    let mut values = Vec::new();
    for (axis, name) in names.into_iter().enumerate() {
        let bins = [4, 4, 5, 3, 2, 2][axis];
        let of = |bin: usize| -> Vec<f64> {
            let inside = |one: &&Curve| ((one.point[axis] * f64::from(bins)) as usize).min(bins as usize - 1) == bin;
            pool.iter().filter(inside).map(Curve::end).collect()
        };
        let between =
            (0..bins as usize).map(of).map(|bin| bin.len() as f64 * (mean(&bin) - middle).powi(2)).sum::<f64>();
        let share = 100.0 * between / all.max(1e-9);
        values.push(share);
        report.metrics.push(number(
            Family::Quality,
            &format!("matters_{name}"),
            &format!("Variance of the final score between bins of the {name}"),
            share,
            "%",
        ));
    }
    report.charts.push(chart(
        "matters",
        "Which choices matter?",
        "Share of the variance of final scores that lies between bins of one choice, over the pool. The rest lies in interactions and in luck.",
        (Axis::linear("Choice"), Axis { min: Some(0.0), ..Axis::linear("Variance explained (%)") }),
        ChartBody::Bar {
            categories: names.map(String::from).to_vec(),
            series: vec![BarSeries { name: "Pool".into(), values, intervals: vec![] }],
        },
    ));
}

/// Parts of the pool: all, those whose rate falls, those whose rate stays.
pub(super) fn parts(pool: &[Curve]) -> [(&'static str, &'static str, Vec<&Curve>); 3] {
    [
        ("all", "all", pool.iter().collect()),
        ("falls", "rates that fall", pool.iter().filter(|one| one.falls()).collect()),
        ("constant", "constant rates", pool.iter().filter(|one| !one.falls()).collect()),
    ]
}

/// What a rung says of the end.
fn orders(report: &mut Report, pool: &[Curve]) {
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for (id, words, part) in parts(pool) {
        let ends: Vec<f64> = part.iter().map(|one| -one.end()).collect();
        let best = (0..ends.len()).find(|i| rank_of(&ends, *i) == 1).unwrap_or(0);
        let mut row = Vec::new();
        for rung in 0..3 {
            let early: Vec<f64> = part.iter().map(|one| -one.right[rung]).collect();
            let share = 3_usize.pow(3 - rung as u32);
            let order = spearman(&early, &ends);
            row.push(order);
            let mut add = |id: String, label: String, value: f64, unit: &str| {
                report.metrics.push(number(Family::Scale, &id, &label, value, unit));
            };
            add(
                format!("order_{id}_{rung}"),
                format!("Order after 1/{share} against the end, {words} (Spearman)"),
                order,
                "",
            );
            add(
                format!("kept_{id}_{rung}"),
                format!("Best third of the end in the best third after 1/{share}, {words}"),
                100.0 * kept(&early, &ends, ends.len().div_ceil(3)),
                "%",
            );
            add(
                format!("place_{id}_{rung}"),
                format!("Place of the final best after 1/{share}, {words}"),
                rank_of(&early, best) as f64,
                "",
            );
        }
        rows.push(format!("{words} ({})", part.len()));
        values.push(row);
    }
    report.charts.push(chart(
        "orders",
        "What does an early order say of the last one?",
        "Rank correlation (Spearman) of the scores at a rung with those of the end: 1 is the same order, 0 is none. Compare the rows.",
        (Axis::linear("Share of the training"), Axis::linear("")),
        ChartBody::Heatmap { rows, columns: ["1/27", "1/9", "1/3"].map(String::from).to_vec(), values },
    ));
    let dots =
        |falls: bool| pool.iter().filter(|one| one.falls() == falls).map(|one| [one.right[1], one.end()]).collect();
    report.charts.push(chart(
        "foretold",
        "Who overtakes whom?",
        "Each dot is a training: right answers after a ninth of it, across, and at its end, up. Dots at one height differ early and not in the end; dots over one place differ in the end alone.",
        (Axis::linear("Right after 1/9 (%)"), Axis::linear("Right at the end (%)")),
        ChartBody::Scatter { series: vec![line("Constant rate", dots(false)), line("Rate falls", dots(true))] },
    ));
}
