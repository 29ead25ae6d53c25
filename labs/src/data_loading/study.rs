//! Workers, depth and augmentation by the clock; orders, echoing and cached versions over seeds; queues against their formula; losses
//! bit by bit.

use lab_api::{Axis, Cell, ChartBody, Family, LabError, Metric, Report};
use lab_kit::{
    Context,
    data::{Glyphs, Images, Split},
    loading::{
        Arrange, BatchMaker, BatchSequence, Feed, Jitter, KeptItems, LoadPlan, Replacement, Wanted, class_mix,
        exponential_queue, simulate_queue, steps_per_second,
    },
    report::{MetricExt, metric},
    stats::{median, median_interval},
    two_cores::jobs_on_two_cores,
};

use super::{
    Amount, Augment, Cached, Fed, HandOver, Params,
    arms::{self, Arm},
    bench::{Bench, Trainer},
    figures::{self, DEPTHS, JITTERS, SIMULATED, chart, line, table},
    summary::{COUNTED, MOST, SPREAD},
};

const LEVEL: f64 = 0.95;
const SEEDS: u64 = 3;
const BATCH: u32 = 64;
/// Steps of a training: five epochs of all images.
const STEPS: usize = 1085;
/// Steps of a training on versions.
const VERSION_STEPS: usize = 1500;

fn exact(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    metric(family, id, label, value, unit).exact(0.0, COUNTED)
}

/// Mean over seeds, with the range as samples.
fn trained(id: &str, label: &str, each: &[f64]) -> Metric {
    let mean = each.iter().sum::<f64>() / each.len().max(1) as f64;
    let mut one = super::summary::learned(metric(Family::Quality, id, label, mean, "%").higher(), 1e9);
    one.samples = each.to_vec();
    one.interval = Some(lab_api::Interval {
        low: each.iter().copied().fold(f64::INFINITY, f64::min),
        high: each.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        level: LEVEL,
    });
    one.help = format!("Mean over {} seeds; the interval is their range. {SPREAD}.", each.len());
    one
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    let glyphs = Glyphs::read(&cx.asset(Glyphs::ASSET).await?)?;
    let parts = [Split::Train, Split::Test].map(|split| Images::of_glyphs(&glyphs, &glyphs.indices(split)));
    let bench = |amount| Bench::of(&parts[0], parts[1].clone(), amount, 0.0);
    let all = bench(Amount::All);
    queues(&mut report);
    caches(&mut report);
    cx.progress("Bit by bit", 0.02);
    bits(&mut report, &all, cx).await?;
    cx.progress("Timing", 0.05);
    speeds(&mut report, &all, cx).await?;
    cx.progress("Orders", 0.45);
    orders(&mut report, &all)?;
    cx.progress("Echoing", 0.65);
    echoes(&mut report, &all)?;
    cx.progress("Versions", 0.8);
    versions(&mut report, [bench(Amount::Few), bench(Amount::Some), bench(Amount::All)])?;
    Ok(report)
}

fn queues(report: &mut Report) {
    let mut rows = Vec::new();
    for (load, workers, words) in
        [(1.0, 1, "equal, one worker"), (1.6, 2, "load 0.8, two workers"), (1.25, 1, "too slow, one worker")]
    {
        for (id, name, jitter) in JITTERS {
            let mut row = vec![Cell::from(words), Cell::from(name)];
            for depth in DEPTHS.into_iter().chain([32]) {
                let busy = 100.0 * simulate_queue(load, 1.0, workers, depth, jitter, 4 * SIMULATED).0;
                row.push(Cell::from((10.0 * busy).round() / 10.0));
                if workers == 1 && load < 1.1 || workers == 2 && depth > 1 && jitter == Jitter::Rare {
                    let id = format!("queue_{id}_{workers}_{depth}");
                    let label = format!("Trainer works, {words}, {name}, depth {depth}");
                    report.metrics.push(
                        metric(Family::Utilization, &id, &label, busy, "%")
                            .higher()
                            .exact(0.01, "logarithms may differ in their last bit"),
                    );
                }
            }
            rows.push(row);
        }
    }
    let heads =
        ["Loader", "Times", "Depth 1 (%)", "Depth 2 (%)", "Depth 4 (%)", "Depth 8 (%)", "Depth 16 (%)", "Depth 32 (%)"];
    report.tables.push(table("queues", "How much of its time the trainer works, simulated", &heads, rows));
    let mut worst = 0.0_f64;
    for ratio in [0.8, 1.0, 1.25] {
        for depth in [1_u32, 2, 4, 8] {
            let found = simulate_queue(1.0, ratio, 1, depth as usize, Jitter::Exponential, 20 * SIMULATED).0;
            worst = worst.max((found - exponential_queue(ratio, depth)).abs());
        }
    }
    report.metrics.push(
        metric(Family::Utilization, "formula_off", "Simulation and formula apart, at most", 100.0 * worst, "points")
            .lower()
            .exact(0.5, "logarithms may differ in their last bit"),
    );
    report.charts.push(figures::depths());
}

fn caches(report: &mut Report) {
    for (share, id) in [(0.25, "quarter"), (0.5, "half"), (0.9, "most")] {
        for (arrange, rule, what, words) in [
            (Arrange::AsTheyLie, Replacement::LeastRecent, "same", "least recently used, same order"),
            (Arrange::Full, Replacement::LeastRecent, "new", "least recently used, new order"),
            (Arrange::Full, Replacement::Never, "first", "first ones stay"),
        ] {
            let rate = figures::hit_rate(arrange, share, rule);
            let label = format!("Hits, {:.0} % of the data fits, {words}", 100.0 * share);
            report.metrics.push(exact(Family::Utilization, &format!("cache_{id}_{what}"), &label, rate, "%").higher());
        }
    }
    report.charts.push(figures::caches());
}

/// The same training with every number of workers and every depth, and one that is resumed.
async fn bits(report: &mut Report, bench: &Bench, cx: &Context) -> Result<(), LabError> {
    const RUN: u64 = 60;
    const RESUMED: u64 = 37;
    let params = Params { augment: Augment::Both, ..Params::default() };
    let pool = bench.pool(&params, MOST, cx).await;
    let (mut differ, mut tried) = (0, 0);
    let mut right = Vec::new();
    for workers in 0..=MOST {
        for depth in [1, 2, 3, 4, 8, 16] {
            let mut trainer = Trainer::new(bench, RUN as usize, 0);
            let mut sequence = bench.sequence(Arrange::Full, BATCH, 0);
            let mut feed = Feed::new(&pool, workers, depth, false, 0);
            let mut losses = Vec::new();
            for step in 0..RUN {
                if step == RESUMED && depth == 16 {
                    // As after a restart: a new feed that begins in the middle.
                    feed = Feed::new(&pool, workers, depth, false, step);
                    sequence = bench.sequence(Arrange::Full, BATCH, 0);
                }
                let (made, items) = feed.next(&mut sequence, cx).await?;
                losses.push(trainer.step(bench, &made.values, &items).to_bits());
                feed.give_back(made.values);
            }
            if right.is_empty() {
                right.clone_from(&losses);
            }
            differ += losses.iter().zip(&right).filter(|(a, b)| a != b).count();
            tried += losses.len();
        }
        cx.checkpoint().await?;
    }
    report.metrics.push(
        exact(Family::Quality, "bits_differ", "Losses that differ, over all workers and depths", differ as f64, "")
            .lower(),
    );
    report.metrics.push(exact(Family::Quality, "bits_tried", "Losses that were compared", tried as f64, ""));
    Ok(())
}

fn sampled(cx: &Context, family: Family, id: &str, label: &str, samples: &[f64], unit: &str) -> Metric {
    metric(family, id, label, median(samples), unit)
        .interval(median_interval(samples, LEVEL, &mut cx.rng(id)))
        .measured(samples.to_vec())
}

async fn speeds(report: &mut Report, bench: &Bench, cx: &Context) -> Result<(), LabError> {
    let cores = cx.environment().cores.max(1);
    let mut rows = Vec::new();
    let text = Bench::load(&Params { model: Fed::Lm, ..Params::default() }, cx).await?;
    let kinds = [
        ("shift", "shift", Augment::Shift, Fed::Mlp),
        ("affine", "affine", Augment::Affine, Fed::Mlp),
        ("elastic", "elastic", Augment::Elastic, Fed::Mlp),
        ("both", "elastic and affine", Augment::Both, Fed::Mlp),
        ("lm", "language model", Augment::None, Fed::Lm),
    ];
    for (id, name, augment, model) in kinds {
        let params = Params { augment, model, steps: 240, ..Params::default() };
        let bench = if model == Fed::Lm { &text } else { bench };
        let alone = arms::alone(&params, bench, cx).await?;
        let pool = bench.pool(&params, MOST, cx).await;
        let arms = arms::all(&params, bench, &pool, cx).await?;
        report.metrics.push(
            sampled(cx, Family::Time, &format!("load_{id}"), &format!("Loading a batch, {name}"), &alone.load, "ms")
                .lower(),
        );
        report.metrics.push(
            sampled(cx, Family::Time, &format!("train_{id}"), &format!("A step, {name}"), &alone.train, "ms").lower(),
        );
        let share = 100.0 * alone.load_ms() / (alone.load_ms() + alone.train_ms());
        report.metrics.push(
            metric(Family::Time, &format!("share_{id}"), &format!("Loading's share, in line, {name}"), share, "%")
                .measured(vec![share]),
        );
        let mut row = vec![Cell::from(name)];
        for arm in &arms {
            let told = steps_per_second(alone.load_ms(), alone.train_ms(), arm.workers as u32, cores, 1);
            let rates = arm.rates();
            row.push(Cell::from(median(&rates).round()));
            row.push(Cell::from(told.round()));
            let what = |what: &str| format!("{what}_{id}_{}", arm.workers);
            let with = format!("{name}, {} workers", arm.workers);
            report.metrics.push(
                sampled(cx, Family::Time, &what("rate"), &format!("Steps a second, {with}"), &rates, "steps/s")
                    .higher(),
            );
            report.metrics.push(
                metric(Family::Scale, &what("told"), &format!("Foretold, {with}"), told, "steps/s")
                    .measured(vec![told]),
            );
            let busy = arm.utilization();
            report.metrics.push(
                metric(Family::Utilization, &what("busy"), &format!("Trainer trains, {with}"), busy, "%")
                    .higher()
                    .measured(vec![busy]),
            );
        }
        rows.push(row);
        if id == "both" {
            report.charts.push(figures::stages(&alone));
            let mut one = figures::workers(&params, &alone, &arms, cx);
            one.id = "workers_both".into();
            report.charts.push(one);
            gantts(report, &arms);
        }
    }
    let heads = [
        "Augmentation",
        "0 workers (steps/s)",
        "foretold",
        "1 worker (steps/s)",
        "foretold",
        "2 workers (steps/s)",
        "foretold",
        "3 workers (steps/s)",
        "foretold",
        "4 workers (steps/s)",
        "foretold",
    ];
    report.tables.push(table("speeds", "Steps a second, measured and foretold", &heads, rows));
    depths(report, bench, cx).await?;
    handed(report, bench, cx).await
}

fn gantts(report: &mut Report, arms: &[Arm]) {
    for (workers, id) in [(0, "gantt_none"), (1, "gantt_one"), (2, "gantt_two")] {
        if let Some(arm) = arms.iter().find(|arm| arm.workers == workers) {
            report.charts.push(figures::gantt(id, arm));
        }
    }
}

async fn depths(report: &mut Report, bench: &Bench, cx: &Context) -> Result<(), LabError> {
    let mut rows = Vec::new();
    for (id, jitter) in [("even", super::Slow::None), ("slow", super::Slow::OnePercent)] {
        for depth in [1, 2, 4, 8, 16] {
            let params = Params { augment: Augment::Both, depth, jitter, steps: 240, ..Params::default() };
            let pool = bench.pool(&params, 2, cx).await;
            let arms = arms::all(&params, bench, &pool, cx).await?;
            let whole = |arm: &Arm| 1e3 * arm.losses.len() as f64 / arm.elapsed.max(1e-9);
            for arm in arms.iter().skip(1) {
                let rate = whole(arm);
                let label = format!("Steps a second, {} workers, depth {depth}, {id} reads", arm.workers);
                report.metrics.push(
                    metric(Family::Time, &format!("depth_{id}_{}_{depth}", arm.workers), &label, rate, "steps/s")
                        .higher()
                        .measured(vec![rate]),
                );
            }
            let words = if id == "even" { "even" } else { "one in a hundred slow" };
            let mut row = vec![Cell::from(words), Cell::from(f64::from(depth))];
            row.extend(arms.iter().map(|arm| Cell::from(whole(arm).round())));
            rows.push(row);
        }
    }
    let heads = ["Reads", "Depth", "0 workers (steps/s)", "1 worker (steps/s)", "2 workers (steps/s)"];
    report.tables.push(table("depths", "Depth, measured", &heads, rows));
    Ok(())
}

async fn handed(report: &mut Report, bench: &Bench, cx: &Context) -> Result<(), LabError> {
    let params = Params { hand_over: HandOver::Transfer, ..Params::default() };
    let pool = bench.pool(&params, 1, cx).await;
    super::summary::handed(report, &pool, cx).await
}

/// Trainings of a plan and an order, over seeds: right answers in per cent.
fn trainings(bench: &Bench, jobs: &[(Params, Arrange, usize)]) -> Result<Vec<Vec<f64>>, LabError> {
    let done = jobs_on_two_cores(jobs.len() * SEEDS as usize, |job| {
        let ((params, arrange, steps), seed) = (&jobs[job / SEEDS as usize], job as u64 % SEEDS);
        let mut sequence: BatchSequence = bench.sequence(*arrange, BATCH, seed);
        let plan = LoadPlan { kept: params.kept(), ..bench.plan(params, seed) };
        let (mut maker, mut trainer) = (BatchMaker::new(plan), Trainer::new(bench, *steps, seed));
        let (mut number, mut values, mut items) = (0, Vec::new(), Vec::new());
        for step in 0..*steps {
            if step % params.echo as usize == 0 {
                let (epoch, which) = sequence.batch(number);
                let mut wanted = Wanted { number, epoch, items: which.clone(), buffer: values, ..Wanted::default() };
                (values, _) = maker.make(&mut wanted).map_err(|why| LabError::Engine { why })?;
                (number, items) = (number + 1, which);
            }
            trainer.step(bench, &values, &items);
        }
        Ok(trainer.right(bench))
    })?;
    Ok(done.chunks(SEEDS as usize).map(<[f64]>::to_vec).collect())
}

fn mean(each: &[f64]) -> f64 {
    each.iter().sum::<f64>() / each.len().max(1) as f64
}

fn orders(report: &mut Report, bench: &Bench) -> Result<(), LabError> {
    let all = bench.items.len();
    let orders = [
        ("sorted", "As it lies", Arrange::AsTheyLie),
        ("b64", "Buffer of 64", Arrange::Buffer(64)),
        ("b512", "Buffer of 512", Arrange::Buffer(512)),
        ("b2048", "Buffer of 2,048", Arrange::Buffer(2048)),
        ("b4096", "Buffer of 4,096", Arrange::Buffer(4096)),
        ("b8192", "Buffer of 8,192", Arrange::Buffer(8192)),
        ("s64", "64 shards, buffer of 512", Arrange::Shards(64, 512)),
        ("s512", "512 shards, buffer of 512", Arrange::Shards(512, 512)),
        ("full", "Permutation, anew each epoch", Arrange::Full),
        ("fixed", "One permutation for ever", Arrange::Fixed),
        ("keyed", "Permutation without a list", Arrange::Keyed),
        ("replaced", "With replacement", Arrange::Replaced),
    ];
    let params = Params { augment: Augment::None, ..Params::default() };
    let jobs: Vec<_> = orders.iter().map(|order| (params.clone(), order.2, STEPS)).collect();
    let right = trainings(bench, &jobs)?;
    let (mut rows, mut by_buffer, mut by_classes) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    for ((id, name, arrange), right) in orders.into_iter().zip(&right) {
        let (classes, moved) = class_mix(&bench.sequence(arrange, BATCH, 0), &bench.labels, BATCH as usize);
        report.metrics.push(trained(&format!("order_{id}"), &format!("Right answers: {name}"), right));
        report.metrics.push(
            exact(Family::Quality, &format!("classes_{id}"), &format!("Classes in a batch: {name}"), classes, "")
                .higher(),
        );
        rows.push(vec![
            Cell::from(name),
            Cell::from((10.0 * classes).round() / 10.0),
            Cell::from(moved.round()),
            Cell::from((10.0 * mean(right)).round() / 10.0),
        ]);
        let kind = match arrange {
            Arrange::AsTheyLie => Some((0, 1)),
            Arrange::Buffer(size) => Some((0, size)),
            Arrange::Full => Some((0, all)),
            Arrange::Shards(..) => Some((1, 0)),
            _ => None,
        };
        if let Some((kind, size)) = kind {
            by_classes[kind].push([classes, mean(right)]);
            if kind == 0 {
                by_buffer.push([size as f64, mean(right)]);
            }
        } else {
            by_classes[2].push([classes, mean(right)]);
        }
    }
    let percent = || Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Right (%)") };
    report.charts.push(chart(
        "buffer",
        "How large must a shuffle buffer be?",
        "Sorted data through a buffer, five epochs, mean over seeds. The last point is a permutation of all.",
        (Axis::log("Buffer (items)"), percent()),
        ChartBody::Line { series: vec![line("Shuffle buffer", by_buffer)] },
    ));
    let [buffers, shards, others] = by_classes;
    report.charts.push(chart(
        "mix",
        "Does it matter how classes were mixed?",
        "Right answers by the classes that a batch holds. At the same number of classes shards are ahead of a buffer.",
        (Axis { min: Some(0.0), ..Axis::linear("Classes in a batch") }, percent()),
        ChartBody::Scatter {
            series: vec![
                line("Shuffle buffer", buffers),
                line("Shards and a buffer", shards),
                line("Other permutations", others),
            ],
        },
    ));
    report.tables.push(table(
        "orders",
        "Order and accuracy",
        &["Order", "Classes in a batch", "Places moved, on average", "Right, mean of seeds (%)"],
        rows,
    ));
    Ok(())
}

fn echoes(report: &mut Report, bench: &Bench) -> Result<(), LabError> {
    let cases: [(usize, u32); 8] = [(218, 1), (218, 2), (218, 4), (872, 1), (436, 1), (436, 2), (436, 4), (1744, 1)];
    let of = |(fresh, echo): &(usize, u32)| {
        let params = Params { augment: Augment::None, echo: *echo, ..Params::default() };
        (params, Arrange::Full, fresh * *echo as usize)
    };
    let right = trainings(bench, &cases.iter().map(of).collect::<Vec<_>>())?;
    let mut rows = Vec::new();
    for ((fresh, echo), right) in cases.iter().zip(&right) {
        let label = format!("Right answers: {fresh} fresh batches, each used {echo} times");
        report.metrics.push(trained(&format!("echo_{fresh}_{echo}"), &label, right));
        let number = |n: f64| Cell::from(n);
        rows.push(vec![
            number(*fresh as f64),
            number(f64::from(*echo)),
            number((fresh * *echo as usize) as f64),
            number((10.0 * mean(right)).round() / 10.0),
        ]);
    }
    report.tables.push(table(
        "echoes",
        "Echoing",
        &["Fresh batches", "Uses of each", "Steps", "Right, mean of seeds (%)"],
        rows,
    ));
    Ok(())
}

fn versions(report: &mut Report, benches: [Bench; 3]) -> Result<(), LabError> {
    let mut rows = Vec::new();
    let mut series = Vec::new();
    for (bench, (id, name)) in
        benches.iter().zip([("470", "470 images"), ("1410", "1,410 images"), ("all", "13,944 images")])
    {
        let with = |augment, cache, variants| {
            (Params { augment, cache, variants, ..Params::default() }, Arrange::Full, VERSION_STEPS)
        };
        let mut cases = vec![
            ("none", "not augmented", 0.0, with(Augment::None, Cached::None, 1)),
            ("v1", "one version", 1.0, with(Augment::Affine, Cached::Augmented, 1)),
        ];
        if id != "all" {
            cases.push(("v4", "four versions", 4.0, with(Augment::Affine, Cached::Augmented, 4)));
            cases.push(("v16", "sixteen versions", 16.0, with(Augment::Affine, Cached::Augmented, 16)));
        }
        cases.push(("fresh", "augmented anew", 64.0, with(Augment::Affine, Cached::None, 1)));
        let right = trainings(bench, &cases.iter().map(|case| case.3.clone()).collect::<Vec<_>>())?;
        let mut points = Vec::new();
        for ((what, words, versions, (params, ..)), right) in cases.iter().zip(&right) {
            report.metrics.push(trained(
                &format!("versions_{id}_{what}"),
                &format!("Right answers: {name}, {words}"),
                right,
            ));
            let kept = if let KeptItems::Altered(versions) = params.kept() {
                f64::from(versions) * bench.items.len() as f64 * 256.0 / 1e6
            } else {
                0.0
            };
            rows.push(vec![
                Cell::from(name),
                Cell::from(*words),
                Cell::from((100.0 * kept).round() / 100.0),
                Cell::from((10.0 * mean(right)).round() / 10.0),
            ]);
            if *versions > 0.0 {
                points.push([*versions, mean(right)]);
            }
        }
        series.push(line(name, points));
    }
    report.tables.push(table(
        "versions",
        "Cached versions",
        &["Images", "Loader", "Cache (MB)", "Right, mean of seeds (%)"],
        rows,
    ));
    report.charts.push(chart(
        "versions",
        "How many cached versions are enough?",
        "Right answers after 1,500 steps by the versions of each image that the cache keeps. The last point of each line, drawn at 64, augments anew each time.",
        (Axis::log("Versions kept"), Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Right (%)") }),
        ChartBody::Line { series },
    ));
    Ok(())
}
