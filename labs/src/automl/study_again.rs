//! What is trained beyond the pool: the ten best again, a schedule that ends at the rung, equal time, and searches that are truly run.

use std::rc::Rc;

use lab_api::{Axis, Cell, ChartBody, Family, LabError, Report};
use lab_kit::{
    Context,
    data::Images,
    report::{MetricExt, metric},
    search::{rank_of, spearman},
    stats::median,
    testing::{FakeClock, context, ready},
};

use super::{
    Method, Params, Resource,
    figures::{chart, line, table},
    space::{BATCHES, Config, WIDTHS},
    study::{Curve, Job, TRIALS, WHOLE, deviation, marks, number, over_seeds, train, two},
    training::{Counts, breathing, speeds},
    training_run::{mean, search},
};

/// Searches that are truly run, and images of a training in them.
const LIVE: u64 = 6;
const LIVE_IMAGES: u32 = 27_000;

/// The ten best of the pool with fresh seeds, and others, for the noise of a seed.
pub(super) fn again(report: &mut Report, pool: &[Curve], images: &[Images; 3], cx: &Context) -> Result<(), LabError> {
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
pub(super) fn tied(report: &mut Report, pool: &[Curve], images: &[Images; 3]) -> Result<(), LabError> {
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
pub(super) async fn seconds(
    report: &mut Report,
    pool: &[Curve],
    images: &[Images; 3],
    cx: &Context,
) -> Result<(), LabError> {
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
pub(super) fn live(report: &mut Report, images: &[Images; 3], cx: &Context) -> Result<(), LabError> {
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
