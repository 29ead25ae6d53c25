//! Schedulers over recorded trainings, thousands of times.

use lab_api::{Axis, Cell, ChartBody, Family, Interval, LabError, Report};
use lab_kit::{
    report::{MetricExt, metric},
    rng,
    search::{
        Asha, Decides, Done, Log, asynchronous, best_of_random, brackets, cost, expected_best, hyperband, median_rule,
        propose, rank_of, search_full, successive_halving,
    },
    stats::percentile,
    testing::ready,
};
use rand::seq::SliceRandom;

use super::{
    figures::{chart, cut, line, table},
    study::{Curve, ETA, POOL, TRIALS, WHOLE, marks, number, parts},
    training_run::mean,
};

/// Draws from the pool.
const DRAWS: usize = 1000;

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

pub(super) fn replays(report: &mut Report, pool: &[Curve]) -> Result<(), LabError> {
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
pub(super) fn picture(report: &mut Report, pool: &[Curve]) -> Result<(), LabError> {
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
