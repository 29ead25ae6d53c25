//! A pool of trainings that all went to the end, over which schedulers are replayed thousands of times; searches that were truly run;
//! noise, the ten best trained anew, a schedule that ends at the rung, seconds; and policies.

use std::{
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
};

use lab_api::{Axis, BarSeries, Cell, ChartBody, Family, Interval, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    data::Images,
    report::{MetricExt, metric},
    rng,
    search::{
        Asha, Decides, Done, Log, asynchronous, best_of_random, brackets, cost, expected_best, hyperband, kept,
        median_rule, propose, rank_of, rungs, search_full, spearman, successive_halving,
    },
    stats::{median, median_interval, percentile},
    testing::{FakeClock, context, ready},
};
use rand::seq::SliceRandom;

use super::{
    Method, Params, Resource,
    figures::{chart, cut, line, table},
    space::{BATCHES, Config, WIDTHS, draw},
    study_policy,
    training::{Counts, Training, breathing, images, speeds},
    training_run::{mean, search},
};

/// Of the pool, and images of each.
const POOL: usize = 120;
const WHOLE: usize = 54_000;
const ETA: usize = 3;
/// Draws from the pool.
const DRAWS: usize = 1000;
/// Trials of a draw for halving.
const TRIALS: usize = 27;
/// Searches that are truly run, and images of a training in them.
const LIVE: u64 = 6;
const LIVE_IMAGES: u32 = 27_000;

/// A training with what it showed at each rung.
#[derive(Debug, Clone, Default)]
struct Curve {
    point: Vec<f64>,
    config: Option<Config>,
    /// Right answers at each rung, families that choose, in per cent; 0 where the network was lost.
    right: Vec<f64>,
    /// On unseen families, in the end.
    test: f64,
    /// Milliseconds of training.
    ms: f64,
}

impl Curve {
    fn end(&self) -> f64 {
        self.right.last().copied().unwrap_or(0.0)
    }

    fn falls(&self) -> bool {
        self.config.is_some_and(|config| config.falls)
    }
}

/// What is trained: a configuration, steps in all, after how many of them it is judged, a seed.
struct Job {
    config: Config,
    steps: usize,
    marks: Vec<usize>,
    seed: u64,
}

impl Job {
    fn new(config: Config, whole: f64, shares: &[f64], seed: u64) -> Self {
        let steps = ((whole / config.batch as f64).round() as usize).max(1);
        let mark = |share: &f64| ((share * steps as f64).round() as usize).max(1);
        Self { config, steps, marks: shares.iter().map(mark).collect(), seed }
    }
}

/// Two at a time: each takes one core.
pub(super) fn two<T: Send>(
    count: usize,
    job: impl Fn(usize, &Context) -> Result<T, LabError> + Sync,
) -> Result<Vec<T>, LabError> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<(usize, T)>, LabError> {
        let cx = context(Rc::new(FakeClock::real()));
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                return Ok(done);
            }
            done.push((i, job(i, &cx)?));
        }
    };
    let both: Vec<_> = std::thread::scope(|scope| {
        let threads = [scope.spawn(worker), scope.spawn(worker)];
        threads.map(|thread| thread.join()).into_iter().collect()
    });
    let mut all = Vec::new();
    for found in both {
        all.extend(found.map_err(|_| LabError::Engine { why: "a thread of the study failed".into() })??);
    }
    all.sort_by_key(|one| one.0);
    Ok(all.into_iter().map(|one| one.1).collect())
}

fn train(jobs: &[Job], images: &[Images; 3]) -> Result<Vec<Curve>, LabError> {
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

fn marks() -> Vec<usize> {
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
fn parts(pool: &[Curve]) -> [(&'static str, &'static str, Vec<&Curve>); 3] {
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

/// Trials of a draw, as a search sees them.
struct Replay<'a> {
    drawn: Vec<&'a Curve>,
    at: Vec<usize>,
}

impl<'a> Replay<'a> {
    fn new(part: &[&'a Curve], draw: usize) -> Self {
        let mut drawn = part.to_vec();
        drawn.shuffle(&mut rng(draw as u64, "draw"));
        Self { at: vec![0; drawn.len()], drawn }
    }

    fn advance(&mut self, trial: usize, to: usize) -> Result<Done, LabError> {
        let rung = marks().iter().position(|mark| *mark == to).unwrap_or(3);
        let cost = to.saturating_sub(self.at[trial]) as f64 / WHOLE as f64;
        self.at[trial] = to;
        Ok(Done { score: 100.0 - self.drawn[trial].right[rung], cost })
    }

    /// Right answers of what a log ends with: where it chooses, and on unseen families.
    fn chosen(&self, log: &Log) -> Option<[f64; 2]> {
        let best = (0..4).rev().find_map(|rung| log.best(rung))?;
        // What stopped early is trained to the end: nothing else can be used.
        Some([self.drawn[best.trial].end(), self.drawn[best.trial].test])
    }
}

const METHODS: [(&str, &str); 12] = [
    ("random", "Random, 3 whole"),
    ("halving", "Halving, 27 trials"),
    ("nine", "Halving, 9 trials from 1/9"),
    ("asha", "ASHA, promotion"),
    ("arrival", "ASHA, on arrival"),
    ("median", "Median rule"),
    ("random_long", "Random, 13 whole"),
    ("hyperband", "Hyperband, one round"),
    ("halving_long", "Halving, 81 trials"),
    ("asha_long", "ASHA, promotion"),
    ("median_long", "Median rule"),
    ("model_long", "Model (TPE), 13 whole"),
];

fn replayed(id: &str, replay: &mut Replay<'_>) -> Result<Log, LabError> {
    let (rungs, most) = (marks(), replay.drawn.len());
    if id == "model_long" {
        return modelled(replay, 13);
    }
    let mut advance = async |trial: usize, to: usize| replay.advance(trial, to);
    let budget = if id.ends_with("long") { 13.0 } else { 3.0 };
    ready(async {
        match id.trim_end_matches("_long") {
            "random" => search_full(0..budget as usize, &rungs, &mut advance).await,
            "halving" => {
                successive_halving(0..if budget > 3.0 { 81.min(most) } else { TRIALS }, &rungs, ETA, &mut advance).await
            }
            "nine" => successive_halving(0..9, &rungs[1..], ETA, &mut advance).await.map(|mut log| {
                log.reached.iter_mut().for_each(|one| one.rung += 1);
                log
            }),
            "median" => median_rule(0..most, &rungs, (2, budget), &mut advance).await,
            "hyperband" => hyperband(&rungs, ETA, &mut advance).await,
            kind => {
                let decides = if kind == "arrival" { Decides::Arrival } else { Decides::Promotion };
                let mut asha = Asha::new(rungs.len(), ETA, most, decides);
                asynchronous(&mut asha, &rungs, (1, budget), &mut advance).await
            }
        }
    })
}

/// Whole trainings, each proposed by a model of those before; the proposals are the pool itself.
fn modelled(replay: &mut Replay<'_>, budget: usize) -> Result<Log, LabError> {
    let (mut log, mut seen) = (Log::default(), Vec::new());
    let mut left: Vec<usize> = (0..replay.drawn.len()).collect();
    for _ in 0..budget.min(left.len()) {
        let candidates: Vec<Vec<f64>> = left.iter().map(|i| replay.drawn[*i].point.clone()).collect();
        let trial = left.remove(propose(&seen, &candidates));
        let done = replay.advance(trial, WHOLE)?;
        seen.push((replay.drawn[trial].point.clone(), done.score));
        log.add(trial, 3, done);
    }
    Ok(log)
}

fn replays(report: &mut Report, pool: &[Curve]) -> Result<(), LabError> {
    let mut rows = Vec::new();
    for (part, words, curves) in &parts(pool)[..2] {
        let enough = |id: &str| match id {
            "halving_long" => curves.len() >= 81,
            "asha_long" | "hyperband" => curves.len() >= 50,
            _ => true,
        };
        for (id, name) in METHODS.into_iter().filter(|one| enough(one.0)) {
            let (mut found, mut test, mut spent) = (Vec::new(), Vec::new(), Vec::new());
            for draw in 0..DRAWS {
                let mut replay = Replay::new(curves, draw);
                let log = replayed(id, &mut replay)?;
                if let Some([choosing, judging]) = replay.chosen(&log) {
                    found.push(choosing);
                    test.push(judging);
                    spent.push(log.spent());
                }
            }
            let values: Vec<f32> = found.iter().map(|x| *x as f32).collect();
            let at = |percent| f64::from(percentile(&values, percent));
            let label = format!("{name}, {words}: found");
            let (middle, low, high) = (at(50.0), at(10.0), at(90.0));
            report.metrics.push(
                number(Family::Quality, &format!("replay_{id}_{part}"), &label, middle, "%")
                    .higher()
                    .interval(Interval { low, high, level: 0.8 })
                    .help("Median over draws from the pool; the interval holds four fifths of the draws."),
            );
            report.metrics.push(
                number(
                    Family::Quality,
                    &format!("replay_test_{id}_{part}"),
                    &format!("{name}, {words}: on unseen families"),
                    mean(&test),
                    "%",
                )
                .higher(),
            );
            report.metrics.push(
                number(
                    Family::Time,
                    &format!("spent_{id}_{part}"),
                    &format!("{name}, {words}: spent"),
                    mean(&spent),
                    "whole trainings",
                )
                .lower(),
            );
            let text = |words: &str| Cell::Text(words.to_owned());
            let one = |x: f64| Cell::Number((10.0 * x).round() / 10.0);
            rows.push(vec![text(words), text(name), one(mean(&spent)), one(middle), one(low), one(mean(&test))]);
        }
    }
    report.tables.push(table(
        "replays",
        "Schedulers over the pool",
        &[
            "Space",
            "Method",
            "Spent (whole trainings)",
            "Found, median (%)",
            "Found, worst tenth (%)",
            "Unseen families, mean (%)",
        ],
        rows,
    ));
    found_best(report, pool)?;
    let ends: Vec<f64> = pool.iter().map(|one| -one.end()).collect();
    let random = |k: usize| [k as f64, -best_of_random(&ends, k)];
    let mut halving = Vec::new();
    for n in [3, 9, 27, 54, 81, 108] {
        let mut found = Vec::new();
        for draw in 0..DRAWS / 4 {
            let mut replay = Replay::new(&pool.iter().collect::<Vec<_>>(), draw);
            let log = ready(successive_halving(0..n, &marks(), ETA, async |i, to| replay.advance(i, to)))?;
            found.extend(replay.chosen(&log).map(|x| x[0]));
        }
        halving.push([cost(n, &marks(), ETA)[0], mean(&found)]);
    }
    report.charts.push(chart(
        "budget",
        "What does a budget buy?",
        "Mean of the best score found, over draws from the pool. Random search is a closed form; halving is replayed with 3 to 108 trials. How far to the left of the other line does halving reach the same height?",
        (Axis::log("Spent (whole trainings)"), Axis::linear("Right, families that choose (%)")),
        ChartBody::Line {
            series: vec![
                line("Random, each to the end", [1, 2, 3, 4, 6, 9, 13, 20, 30, 40].map(random).to_vec()),
                line("Successive halving", halving),
            ],
        },
    ));
    for k in [3, 6, 9, 13, 20] {
        report.metrics.push(
            number(
                Family::Scale,
                &format!("random_{k}"),
                &format!("Random search, {k} whole trainings: mean of the best"),
                random(k)[1],
                "%",
            )
            .higher(),
        );
    }
    for (n, first) in brackets(4, ETA) {
        report.metrics.push(
            metric(
                Family::Scale,
                &format!("bracket_{n}"),
                &format!("Hyperband's bracket of {n}"),
                cost(n, &marks()[first..], ETA)[0],
                "whole trainings",
            )
            .exact(1e-9, "counted"),
        );
    }
    for n in [5, 27, POOL] {
        report.metrics.push(
            metric(
                Family::Quality,
                &format!("luck_{n}"),
                &format!("Best of {n} equal ones above their mean"),
                expected_best(n),
                "σ",
            )
            .exact(1e-6, "counted"),
        );
    }
    Ok(())
}

/// How often halving finds the best of its draw, and where it is cut.
fn found_best(report: &mut Report, pool: &[Curve]) -> Result<(), LabError> {
    for (part, words, curves) in &parts(pool)[..2] {
        let mut lost = [0.0; 4];
        for draw in 0..DRAWS {
            let mut replay = Replay::new(curves, draw);
            let log = replayed("halving", &mut replay)?;
            let ends: Vec<f64> = replay.drawn[..TRIALS].iter().map(|one| -one.end()).collect();
            let best = (0..TRIALS).find(|i| rank_of(&ends, *i) == 1).unwrap_or(0);
            let last = log.reached.iter().filter(|one| one.trial == best).map(|one| one.rung).max().unwrap_or(0);
            lost[last] += 100.0 / DRAWS as f64;
        }
        for (rung, share) in lost.into_iter().enumerate() {
            let label = match rung {
                3 => format!("Halving of 27 finds the best of its draw, {words}"),
                _ => {
                    format!("Halving of 27 cuts the best of its draw after 1/{}, {words}", 3_usize.pow(3 - rung as u32))
                }
            };
            report.metrics.push(number(Family::Quality, &format!("best_{part}_{rung}"), &label, share, "% of draws"));
        }
    }
    Ok(())
}

/// THE picture, of the first draw in which the best two were cut; and of how many draws that is.
fn picture(report: &mut Report, pool: &[Curve]) -> Result<(), LabError> {
    let all: Vec<&Curve> = pool.iter().collect();
    for draw in 0..DRAWS {
        let mut replay = Replay::new(&all, draw);
        let log = replayed("halving", &mut replay)?;
        let reached = |trial: usize| {
            log.reached.iter().filter(|one| one.trial == trial).map(|one| one.rung + 1).max().unwrap_or(0)
        };
        let ends: Vec<f64> = replay.drawn[..TRIALS].iter().map(|one| -one.end()).collect();
        let cut_best = (0..TRIALS).filter(|i| rank_of(&ends, *i) <= 2).all(|i| reached(i) < 4);
        if cut_best {
            let curves: Vec<Vec<f64>> = replay.drawn[..TRIALS].iter().map(|one| one.right.clone()).collect();
            let found = replay.chosen(&log).map_or(0.0, |x| x[0]);
            let best = (0..TRIALS).find(|i| rank_of(&ends, *i) == 1).unwrap_or(0);
            let at = |rung: usize| {
                let early: Vec<f64> = curves.iter().map(|one| -one[rung]).collect();
                rank_of(&early, best) as f64
            };
            report.metrics.push(number(
                Family::Quality,
                "picture_missed",
                "The draw of the picture: best of all over the winner",
                -ends[best] - found,
                "points",
            ));
            for rung in 0..3 {
                let label =
                    format!("The draw of the picture: place of the best after 1/{}", 3_usize.pow(3 - rung as u32));
                report.metrics.push(number(Family::Scale, &format!("picture_place_{rung}"), &label, at(rung), ""));
            }
            report.charts.push(cut(&curves, &(0..TRIALS).map(reached).collect::<Vec<_>>(), 4));
            return Ok(());
        }
    }
    Ok(())
}

/// The ten best of the pool with fresh seeds, and others, for the noise of a seed.
fn again(report: &mut Report, pool: &[Curve], images: &[Images; 3], cx: &Context) -> Result<(), LabError> {
    const FRESH: u64 = 3;
    let ends: Vec<f64> = pool.iter().map(|one| -one.end()).collect();
    let mut order: Vec<usize> = (0..pool.len()).collect();
    order.sort_by_key(|i| rank_of(&ends, *i));
    let ten: Vec<&Curve> = order[..10].iter().map(|i| &pool[*i]).collect();
    let untuned = Config::untuned();
    let mut jobs = Vec::new();
    for config in ten.iter().filter_map(|one| one.config).chain([untuned]) {
        for seed in 0..FRESH {
            jobs.push(Job::new(config, WHOLE as f64, &[1.0], 1 + seed));
        }
    }
    let found = train(&jobs, images)?;
    let groups: Vec<&[Curve]> = found.chunks(FRESH as usize).collect();
    let choosing = |group: &[Curve]| mean(&group.iter().map(Curve::end).collect::<Vec<_>>());
    let judging = |group: &[Curve]| mean(&group.iter().map(|one| one.test).collect::<Vec<_>>());
    let squares = groups[..10].iter().map(|group| deviation(&group.iter().map(Curve::end).collect::<Vec<_>>()).powi(2));
    let noise = mean(&squares.collect::<Vec<_>>()).sqrt();
    let old: Vec<f64> = ten.iter().map(|one| one.end()).collect();
    let new: Vec<f64> = groups[..10].iter().map(|group| choosing(group)).collect();
    let test: Vec<f64> = groups[..10].iter().map(|group| judging(group)).collect();
    let tests: Vec<f64> = ten.iter().map(|one| one.test).collect();
    let mut add = |id: &str, label: &str, value: f64, unit: &str| {
        report.metrics.push(number(Family::Quality, id, label, value, unit));
    };
    add("noise", "Standard deviation of a seed, ten best, families that choose", noise, "points");
    add("spread", "Standard deviation between the ten best", deviation(&old), "points");
    add(
        "fell",
        "The ten best: from the search to fresh seeds, families that choose",
        mean(&old) - mean(&new),
        "points",
    );
    add("fell_first", "The best: from the search to fresh seeds, families that choose", old[0] - new[0], "points");
    let negative = |values: &[f64]| values.iter().map(|x| -x).collect::<Vec<_>>();
    add(
        "ten_order",
        "Order of the ten best in the search against fresh seeds (Spearman)",
        spearman(&negative(&old), &negative(&new)),
        "",
    );
    add(
        "ten_test_order",
        "Order of the ten best against unseen families (Spearman)",
        spearman(&negative(&old), &negative(&tests)),
        "",
    );
    add("ten_low", "Tenth of the pool, families that choose", old[9], "%");
    add("ten_high", "First of the pool, families that choose", old[0], "%");
    add(
        "ten_test_low",
        "Lowest of the ten best, unseen families",
        tests.iter().copied().fold(f64::INFINITY, f64::min),
        "%",
    );
    add("ten_test_high", "Highest of the ten best, unseen families", tests.iter().copied().fold(0.0, f64::max), "%");
    let values: Vec<f64> = groups[10].iter().map(|one| one.test).collect();
    report.metrics.push(over_seeds(Family::Quality, "untuned", "Untuned, unseen families", &values, "%", cx).higher());
    report.metrics.push(
        number(Family::Quality, "best_test", "Best of the pool with fresh seeds, unseen families", test[0], "%")
            .higher()
            .baseline(median(&values)),
    );
    let dots = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| [*x, *y]).collect::<Vec<_>>();
    report.charts.push(chart(
        "ten",
        "Do the ten best stay the ten best?",
        "Each of the ten best of the pool: across, its score in the search; up, its score on unseen families, of the same training and as the mean of three with fresh seeds. A line that rises would be an order that holds.",
        (Axis::linear("Right in the search, families that choose (%)"), Axis::linear("Right on unseen families (%)")),
        ChartBody::Scatter { series: vec![line("The same training", dots(&old, &tests)), line("Fresh seeds, mean of three", dots(&old, &test))] },
    ));
    let rows = ten.iter().zip(&groups).map(|(one, group)| {
        let number = |x: f64| Cell::Number((10.0 * x).round() / 10.0);
        let words = one.config.map_or(String::new(), |config| config.words());
        vec![Cell::Text(words), number(one.end()), number(choosing(group)), number(one.test), number(judging(group))]
    });
    report.tables.push(table(
        "ten",
        "The ten best of the pool",
        &[
            "Configuration",
            "In the search (%)",
            "Fresh seeds (%)",
            "Unseen families (%)",
            "Fresh seeds, unseen families (%)",
        ],
        rows.collect(),
    ));
    Ok(())
}

/// What if the rate falls to zero at each rung, as if that were the end?
fn tied(report: &mut Report, pool: &[Curve], images: &[Images; 3]) -> Result<(), LabError> {
    let falling: Vec<&Curve> = pool.iter().filter(|one| one.falls()).take(TRIALS).collect();
    let ends: Vec<f64> = falling.iter().map(|one| -one.end()).collect();
    for rung in 0..2 {
        let whole = marks()[rung] as f64;
        let jobs: Vec<Job> =
            falling.iter().filter_map(|one| one.config).map(|config| Job::new(config, whole, &[1.0], 0)).collect();
        let short: Vec<f64> = train(&jobs, images)?.iter().map(|one| -one.end()).collect();
        let early: Vec<f64> = falling.iter().map(|one| -one.right[rung]).collect();
        let share = 3_usize.pow(3 - rung as u32);
        for (id, words, values) in [("tied", "ends at the rung", &short), ("whole", "ends with the training", &early)] {
            report.metrics.push(number(
                Family::Scale,
                &format!("{id}_{rung}"),
                &format!("Order after 1/{share} against the end, the cosine {words} (Spearman)"),
                spearman(values, &ends),
                "",
            ));
            report.metrics.push(
                number(
                    Family::Quality,
                    &format!("{id}_right_{rung}"),
                    &format!("Right after 1/{share}, median of {TRIALS}, the cosine {words}"),
                    -median(values),
                    "%",
                )
                .higher(),
            );
        }
    }
    Ok(())
}

/// The same time instead of the same images.
async fn seconds(report: &mut Report, pool: &[Curve], images: &[Images; 3], cx: &Context) -> Result<(), LabError> {
    let ms = speeds(images, cx).await?;
    for batch in BATCHES {
        for width in [WIDTHS[0], WIDTHS[2]] {
            let us = 1e3 * ms.get(&(batch, width)).copied().unwrap_or(0.0);
            report.metrics.push(
                metric(
                    Family::Time,
                    &format!("us_{batch}_{width}"),
                    &format!("An image in training, batch {batch}, {width} units"),
                    us,
                    "µs",
                )
                .lower()
                .measured(vec![us]),
            );
        }
    }
    let of = |config: &Config| ms.get(&(config.batch, config.width)).copied().unwrap_or(1.0);
    let some: Vec<&Curve> = pool.iter().take(TRIALS).collect();
    let whole = |config: &Config| 0.5 * WHOLE as f64 * of(&Config::untuned()) / of(config).max(1e-9);
    let same = |config: &Config| Job::new(*config, 0.5 * WHOLE as f64, &[1.0], 0);
    let jobs: Vec<Job> = some
        .iter()
        .filter_map(|one| one.config)
        .flat_map(|config| [same(&config), Job::new(config, whole(&config), &[1.0], 0)])
        .collect();
    let found = train(&jobs, images)?;
    let pick = |offset: usize| -> Vec<f64> { found.iter().skip(offset).step_by(2).map(|one| -one.end()).collect() };
    let (by_images, by_seconds) = (pick(0), pick(1));
    report.metrics.push(number(
        Family::Scale,
        "seconds_order",
        "Order by equal images against order by equal time (Spearman)",
        spearman(&by_images, &by_seconds),
        "",
    ));
    for (id, words, scores) in [("images", "equal images", &by_images), ("seconds", "equal time", &by_seconds)] {
        let mut best: Vec<f64> = Vec::new();
        for (i, one) in some.iter().enumerate() {
            if rank_of(scores, i) <= TRIALS / 3
                && let Some(config) = one.config
            {
                best.push(config.width as f64);
            }
        }
        report.metrics.push(number(
            Family::Scale,
            &format!("width_{id}"),
            &format!("Units of the best third, mean, at {words}"),
            mean(&best),
            "units",
        ));
    }
    let (one, other): (Vec<&Curve>, Vec<&Curve>) =
        (found.iter().step_by(2).collect(), found.iter().skip(1).step_by(2).collect());
    let longest = |all: &[&Curve]| {
        let ms: Vec<f64> = all.iter().map(|one| one.ms).collect();
        ms.iter().copied().fold(0.0, f64::max) / ms.iter().copied().fold(f64::INFINITY, f64::min).max(1e-9)
    };
    for (id, words, all) in [("images", "equal images", &one), ("seconds", "equal time", &other)] {
        let value = longest(all);
        report.metrics.push(
            metric(
                Family::Time,
                &format!("uneven_{id}"),
                &format!("Longest training over the shortest, {words}"),
                value,
                "×",
            )
            .lower()
            .measured(vec![value]),
        );
    }
    Ok(())
}

/// Searches that are truly run, with seeds of their own.
fn live(report: &mut Report, images: &[Images; 3], cx: &Context) -> Result<(), LabError> {
    let methods = [
        (Method::Random, "random", "Random"),
        (Method::Halving, "halving", "Halving"),
        (Method::Asha, "asha", "ASHA"),
        (Method::Model, "model", "ASHA with a model"),
    ];
    let params = Params { images: LIVE_IMAGES, resource: Resource::Images, ..Params::default() };
    let found = two(methods.len() * LIVE as usize, |i, _| {
        let mut cx = context(Rc::new(FakeClock::real()));
        cx.seed = 100 + i as u64 % LIVE;
        let one = ready(search(methods[i / LIVE as usize].0, &params, images, &Counts::Images, &cx))?;
        let config = one.config();
        let mut training = one.bench.training(config, cx.seed + 1000);
        ready(training.until(one.bench.steps(&config), &images[0], breathing(&cx)))?;
        let right = training.right(&images[2]);
        Ok(if right.is_finite() { right } else { 0.0 })
    })?;
    let of = |i: usize| &found[i * LIVE as usize..][..LIVE as usize];
    for (i, (_, id, name)) in methods.iter().enumerate() {
        let label = format!("{name}, truly run: winner with a fresh seed, unseen families");
        report.metrics.push(over_seeds(Family::Quality, &format!("live_{id}"), &label, of(i), "%", cx).higher());
        if i > 0 {
            let gains: Vec<f64> = of(i).iter().zip(of(0)).map(|(a, b)| a - b).collect();
            report.metrics.push(
                over_seeds(
                    Family::Quality,
                    &format!("live_gain_{id}"),
                    &format!("{name} over random search, truly run, same seeds"),
                    &gains,
                    "points",
                    cx,
                )
                .higher()
                .baseline(0.0),
            );
        }
    }
    Ok(())
}
