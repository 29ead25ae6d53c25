//! A run on the first problem.

use lab_api::{LabError, Report};
use lab_kit::{
    Context,
    data::Images,
    search::{Log, Reached},
};

use super::{
    Method, Params, Resource, Space, figures,
    schedule::{self, Trials, budget, winner},
    space::Config,
    summary,
    training::{Bench, Counts, breathing, images, speeds},
};

/// What trains a winner anew is no seed of a search.
const FRESH: u64 = 1000;

/// A search that is over.
pub(crate) struct Searched<'a> {
    pub(super) bench: Bench<'a>,
    pub(super) log: Log,
    pub(super) winner: Reached,
}

impl Searched<'_> {
    pub(super) fn config(&self) -> Config {
        self.bench.trials[self.winner.trial].config
    }
}

/// Right answers of one configuration with fresh seeds, in per cent: on the families that choose, and on those that judge.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fresh {
    pub(super) choosing: Vec<f64>,
    pub(super) judging: Vec<f64>,
}

impl Fresh {
    pub(super) async fn train(bench: &Bench<'_>, config: Config, seeds: u32, cx: &Context) -> Result<Self, LabError> {
        let mut fresh = Self::default();
        for seed in 0..u64::from(seeds) {
            let mut training = bench.training(config, cx.seed + FRESH + seed);
            training.until(bench.steps(&config), &bench.images[0], breathing(cx)).await?;
            // What is lost answers nothing.
            let right = |images: &Images| Some(training.right(images)).filter(|x| x.is_finite()).unwrap_or(0.0);
            fresh.choosing.push(right(&bench.images[1]));
            fresh.judging.push(right(&bench.images[2]));
            cx.checkpoint().await?;
        }
        Ok(fresh)
    }
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

pub(super) async fn search<'a>(
    method: Method,
    params: &Params,
    images: &'a [Images; 3],
    counts: &Counts,
    cx: &Context,
) -> Result<Searched<'a>, LabError> {
    let mut bench = Bench::new(images, params.images as usize, params.space == Space::Trimmed, cx.seed);
    bench.models = method == Method::Model;
    bench.counts = counts.clone();
    let mut trials = Trials::Training(bench);
    let log = schedule::run(method, params, &mut trials, cx).await?;
    let winner = winner(&log, params.rungs as usize)?;
    let Trials::Training(bench) = trials else {
        return Err(LabError::Engine { why: "the trainings became policies".into() });
    };
    Ok(Searched { bench, log, winner })
}

pub(super) async fn run(params: &Params, cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    report.metrics.extend(summary::counted(params));
    cx.publish(&report)?;
    cx.progress("Loading", 0.0);
    let images = images(cx).await?;
    let counts = match params.resource {
        Resource::Images => Counts::Images,
        Resource::Seconds => Counts::Seconds(speeds(&images, cx).await?),
    };
    let mut found = search(params.method, params, &images, &counts, cx).await?;
    let mut so_far = report.clone();
    so_far.charts.push(figures::rungs(&found.bench, params, &found.log));
    cx.publish(&so_far)?;
    let random = search(Method::Random, params, &images, &counts, cx).await?;
    let mut winners = Vec::new();
    let untuned = Config::untuned();
    for (i, config) in [found.config(), random.config(), untuned].into_iter().enumerate() {
        cx.progress("Training winners anew", 0.6 + 0.1 * i as f64);
        winners.push(Fresh::train(&found.bench, config, params.seeds_each, cx).await?);
    }
    report.metrics.extend(summary::searched(params, [&found, &random], &winners));
    report.notes.extend(summary::notes(params, &found, budget(params)));
    if params.finish {
        let count = found.bench.trials.len();
        for trial in 0..count {
            cx.progress("Finishing what was cut", 0.9 + 0.1 * trial as f64 / count as f64);
            let last = found.bench.marks[trial].last().map_or(0, |mark| mark.at);
            for to in params.rungs().into_iter().filter(|to| *to > last) {
                found.bench.advance(trial, to, cx).await?;
            }
        }
        report.metrics.extend(summary::finished(params, &found));
    }
    report.charts.push(figures::rungs(&found.bench, params, &found.log));
    report.charts.push(figures::spent(params, [&found, &random]));
    report.charts.push(figures::space(&found, params));
    report.tables.push(figures::winners(&[found.config(), random.config(), untuned], &winners));
    cx.progress("Done", 1.0);
    Ok(report)
}
