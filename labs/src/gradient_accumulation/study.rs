//! Every batch tuned, for two optimizers and over seeds; every wrong loop beside the right one; the noise scale while a network
//! learns; and a language model that is trained by the wrong mean.

use std::time::Instant;

use lab_api::{Axis, Cell, Family, Interval, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    accumulate::{Norm, Optimizer, RateRule, fit_tradeoff, noise_of_examples, scaled_rate, squared_norm},
    burn::tensor::{Device, Tensor},
    language::windows_to_tensors,
    measure::samples,
    mlp::read,
    models::{LanguageModel, StateDict, Transformer},
    report::{MetricExt, metric},
    rng,
    scaling::power_law,
    stats::{median, median_interval},
    testing::ready,
    training::{Order, Recipe, Trainer, cross_entropy},
    two_cores::jobs_on_two_cores,
};
use rand::Rng;

use super::{
    Choice, Joined, Lengths, Params,
    descent::{BASE, Descent, Reached},
    figures::{chart, line, steps_and_examples, table},
    memory,
    task::{Task, batch, shape},
    text::{Texts, lengths, tokens, windows},
    twins::{self, Plan, Trained},
};

const OPTIMIZERS: [(Choice, &str, &str); 2] = [(Choice::Adam, "adam", "Adam"), (Choice::Sgd, "sgd", "SGD")];
const BATCHES: [usize; 7] = [16, 32, 64, 128, 256, 512, 1024];
/// The loss that is tuned for, and one that is passed on the way.
const TARGET: f64 = 0.6;
const EARLY: f64 = 0.9;
/// Multiples of the expected rate at which a batch is tuned, and the seed that tunes: none of those that count.
const TRIED: [f64; 4] = [0.5, 1.0, 2.0, 4.0];
const TUNING: u64 = 100;
const SEEDS: u64 = 8;
/// Seeds of a loop and of a language model, and of a rule that scales the rate.
const FEW: u64 = 5;
const FEWER: u64 = 3;
const RULES: [(RateRule, &str, &str); 3] = [
    (RateRule::Fixed, "fixed", "kept"),
    (RateRule::Linear, "linear", "in proportion"),
    (RateRule::Root, "root", "with the root"),
];
const SCALED: [usize; 2] = [128, 512];
const LOOPS: [(Joined, &str, &str); 8] = [
    (Joined::Right, "right", "By examples"),
    (Joined::Means, "means", "Each piece counts alike"),
    (Joined::Sum, "sum", "Added up, not divided"),
    (Joined::ClippedEach, "clipped_each", "Each piece clipped"),
    (Joined::ScheduleEach, "schedule_each", "Schedule moved on by each piece"),
    (Joined::StepEach, "step_each", "Weights changed after each piece"),
    (Joined::Bf16, "bf16", "Sum kept in BF16"),
    (Joined::BatchNorm, "batch_norm", "Batch norm, right loop"),
];
/// Steps at which the noise scale is taken exactly, and the images that it is taken on.
const NOISE_AT: [usize; 7] = [0, 10, 30, 100, 300, 600, 1000];
const NOISE_IMAGES: usize = 1024;
const WRITTEN: [(Weights, &str, &str); 3] = [
    (Weights::Tokens, "lm_tokens", "By tokens"),
    (Weights::Means, "lm_means", "By a mean of means"),
    (Weights::Half, "lm_half", "By tokens, half of the texts"),
];
const LM_UPDATES: usize = 120;

/// How the texts of an update are weighted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Weights {
    Tokens,
    Means,
    Half,
}

enum Job {
    Descent(Descent, u64),
    Twin(Plan, u64),
    Noise(Choice, u64),
    Language(Weights, u64),
}

enum Done {
    Descent(Reached),
    Twin(Trained),
    Noise(Vec<f64>),
    Language(f64),
}

/// All jobs, two at a time: a training takes one core.
fn run_all(jobs: &[Job], task: &Task, text: &[u32]) -> Result<Vec<Done>, LabError> {
    let began = Instant::now();
    let now = || 1e3 * began.elapsed().as_secs_f64();
    jobs_on_two_cores(jobs.len(), |i| {
        Ok(match &jobs[i] {
            Job::Descent(descent, seed) => Done::Descent(ready(descent.run(task, *seed, now, async || Ok(())))?),
            Job::Twin(plan, seed) => Done::Twin(ready(twins::train(plan, task, *seed, async || Ok(())))?),
            Job::Noise(optimizer, seed) => Done::Noise(noise(*optimizer, task, *seed)),
            Job::Language(weights, seed) => Done::Language(ready(language(*weights, text, *seed))?),
        })
    })
}

/// The exact noise scale at [`NOISE_AT`], while a network learns from batches of 64.
fn noise(optimizer: Choice, task: &Task, seed: u64) -> Vec<f64> {
    let shape = shape(Norm::None);
    let mut weights = shape.init(&mut rng(seed, "weights"));
    let mut updates = Optimizer::new(optimizer.rule(), weights.len());
    let mut order = Order::new(task.train.len(), 64, seed);
    let judged = Order::new(task.train.len(), NOISE_IMAGES, seed + 1).indices(0).to_vec();
    let (pixels, labels) = batch(&task.train, &judged);
    let rate = if optimizer == Choice::Adam { 1e-3 } else { 0.1 };
    let mut found = Vec::new();
    for step in 0..=1000 {
        if NOISE_AT.contains(&step) {
            let pass = shape.pass(&weights, &pixels, &labels);
            found.push(noise_of_examples(&pass.squares, squared_norm(&pass.gradient)).unwrap_or(f64::NAN));
        }
        let (pixels, labels) = batch(&task.train, order.indices(step));
        let gradient = shape.pass(&weights, &pixels, &labels).gradient;
        updates.step(&mut weights, &gradient, rate);
    }
    found
}

/// The draft of the language model, trained from the start on eight texts of unequal length an update: its loss on unseen text.
async fn language(weights: Weights, text: &[u32], seed: u64) -> Result<f64, LabError> {
    let device = Device::flex().autodiff();
    let config = LanguageModel::draft().config;
    let state = config.init(&mut rng(seed, "weights"));
    let model = Transformer::new(&config, &state, "fresh weights", &device)?;
    let recipe = Recipe { steps: LM_UPDATES, warmup_steps: 10, learning_rate: 3e-3, ..Recipe::default() };
    let mut trainer = Trainer::new(model, recipe)?;
    let (taught, unseen) = text.split_at(text.len() * 9 / 10);
    let mut drawn = rng(seed, "lengths");
    let mut loss = |model: &Transformer, step: usize| {
        let lengths = lengths(Lengths::LongTail, 8, &mut drawn);
        let mut rows = windows(taught, &lengths, step, seed);
        if weights == Weights::Half {
            rows.truncate(4);
        }
        let all: usize = rows.iter().map(|row| row.len() - 1).sum();
        let mut sum: Option<Tensor<1>> = None;
        for row in &rows {
            let (x, y) = windows_to_tensors(&[row.as_slice()], &device);
            let share = match weights {
                Weights::Means => 1.0 / rows.len() as f64,
                _ => (row.len() - 1) as f64 / all as f64,
            };
            let loss = cross_entropy(model.forward(x).flatten::<2>(0, 1), y).mul_scalar(share);
            sum = Some(match sum {
                Some(sum) => sum + loss,
                None => loss,
            });
        }
        sum.ok_or_else(|| LabError::Refused { why: "no text".into() })
    };
    for _ in 0..LM_UPDATES {
        trainer.advance(&mut loss).await?;
    }
    let model = trainer.finish();
    let device = Device::flex();
    let (mut nats, mut count) = (0.0, 0.0);
    for rows in windows(unseen, &[128; 32], 0, 0).chunks(8) {
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let (x, y) = windows_to_tensors(&rows, &device);
        nats += f64::from(read(cross_entropy(model.forward(x).flatten::<2>(0, 1), y)).await?[0]);
        count += 1.0;
    }
    Ok(nats / count)
}

/// Where the best rate of a batch lies, within a factor of two or so.
fn expected(optimizer: Choice, batch: usize) -> f64 {
    let times = batch as f64 / BASE as f64;
    match optimizer {
        Choice::Adam => 1.7e-3 * times.sqrt(),
        Choice::Sgd => (0.12 * times.powf(0.7)).min(0.4),
    }
}

/// A number that every seed has: its median, with an interval.
fn over_seeds(family: Family, id: &str, label: &str, unit: &str, values: &[f64], cx: &Context) -> Metric {
    let one = metric(family, id, label, median(values), unit)
        .interval(median_interval(values, 0.95, &mut cx.rng(id)))
        .measured(values.to_vec());
    Metric { kind: Kind::Trained, ..one }
}

fn trained(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    Metric { kind: Kind::Trained, ..metric(family, id, label, value, unit) }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let task = Task::load(cx).await?;
    let text = tokens(usize::MAX, cx).await?;
    let mut report = Report::default();
    // Counted before a second thread asks for memory.
    costs(&mut report, &task, cx).await?;
    draws(&mut report, cx).await?;

    cx.progress("Tuning every batch", 0.1);
    let descent = |optimizer: Choice, batch: usize, rate: f64| {
        let params = Params { optimizer, target: TARGET, ..Params::default() };
        Descent { rate, ..Descent::planned(batch, &params) }
    };
    let mut jobs = Vec::new();
    for (optimizer, ..) in OPTIMIZERS {
        for batch in BATCHES {
            for times in TRIED {
                jobs.push(Job::Descent(descent(optimizer, batch, times * expected(optimizer, batch)), TUNING));
            }
        }
    }
    let tried = run_all(&jobs, &task, &text)?;
    let best = |group: &[Done]| {
        let steps = |done: &Done| match done {
            Done::Descent(one) => one.steps.unwrap_or(f64::INFINITY),
            _ => f64::INFINITY,
        };
        match group.iter().min_by(|a, b| steps(a).total_cmp(&steps(b))) {
            Some(Done::Descent(one)) => one.rate,
            _ => f64::NAN,
        }
    };
    let rates: Vec<f64> = tried.chunks_exact(TRIED.len()).map(best).collect();

    cx.progress("All seeds", 0.35);
    let mut jobs: Vec<Job> = Vec::new();
    for (weights, ..) in WRITTEN {
        jobs.extend((0..FEW).map(|seed| Job::Language(weights, seed)));
    }
    let language_to = jobs.len();
    for (o, (optimizer, ..)) in OPTIMIZERS.into_iter().enumerate() {
        for (batch, rate) in BATCHES.iter().zip(&rates[o * BATCHES.len()..]) {
            jobs.extend((0..SEEDS).map(|seed| Job::Descent(descent(optimizer, *batch, *rate), seed)));
        }
    }
    let descents_to = jobs.len();
    for (o, (optimizer, ..)) in OPTIMIZERS.into_iter().enumerate() {
        let base = BATCHES.iter().position(|b| *b == BASE).map_or(f64::NAN, |i| rates[o * BATCHES.len() + i]);
        for (rule, ..) in RULES {
            for to in SCALED {
                let rate = scaled_rate(base, BASE as f64, to as f64, rule);
                jobs.extend((0..FEWER).map(|seed| Job::Descent(descent(optimizer, to, rate), seed)));
            }
        }
    }
    let rules_to = jobs.len();
    for (optimizer, ..) in OPTIMIZERS {
        let plan = Plan::of(&Params { optimizer, piece: 16, ..Params::default() });
        // The two trainings in one piece, and then every loop.
        for joined in [Joined::Right, Joined::BatchNorm] {
            jobs.extend((0..FEW).map(|seed| Job::Twin(Plan { joined, ..plan }.whole(), seed)));
        }
        for (joined, ..) in LOOPS {
            // Three pieces of 84 and one of 4: of equal pieces each counts alike anyway.
            let piece = if joined == Joined::Means { 84 } else { 16 };
            jobs.extend((0..FEW).map(|seed| Job::Twin(Plan { joined, piece, ..plan }, seed)));
        }
    }
    let twins_to = jobs.len();
    for (optimizer, ..) in OPTIMIZERS {
        jobs.extend((0..3).map(|seed| Job::Noise(optimizer, seed)));
    }
    let done = run_all(&jobs, &task, &text)?;
    cx.progress("Fitting", 0.95);
    written(&mut report, &done[..language_to], cx);
    searches(&mut report, &done[language_to..descents_to], &rates, cx);
    rules(&mut report, &done[descents_to..rules_to]);
    loops(&mut report, &done[rules_to..twins_to], cx);
    over_time(&mut report, &done[twins_to..]);
    Ok(report)
}

/// Memory by size of the pieces, and time of an image by the same.
async fn costs(report: &mut Report, task: &Task, cx: &Context) -> Result<(), LabError> {
    cx.progress("Memory and time by size of the pieces", 0.02);
    for (id, label, LanguageModel { asset, config }) in
        [("draft", "small model", LanguageModel::draft()), ("full", "large model", LanguageModel::full())]
    {
        let mut texts = Texts::load(Lengths::Equal, 1, cx).await?;
        let weights = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
        texts.model = Transformer::new(&config, &weights, asset, &cx.device.clone().autodiff())?;
        for peak in memory::peaks(&texts, false, cx).await? {
            if let Some(bytes) = peak.bytes {
                let label = format!("Most memory of a gradient, {label}, {} texts in a piece", peak.texts);
                report.metrics.push(
                    metric(Family::Memory, &format!("peak_{id}_{}", peak.texts), &label, bytes as f64, "bytes")
                        .lower()
                        .measured(vec![bytes as f64]),
                );
            }
        }
    }
    let shape = shape(Norm::None);
    let weights = shape.init(&mut cx.rng("weights"));
    let mut points = Vec::new();
    for piece in [1_usize, 4, 16, 64, 256] {
        let (pixels, labels) = batch(&task.train, &(0..piece).collect::<Vec<_>>());
        let ms = samples(cx, 150.0, async || {
            std::hint::black_box(shape.pass(&weights, &pixels, &labels));
            Ok(())
        });
        let each: Vec<f64> = ms.await?.iter().map(|ms| 1e3 * ms / piece as f64).collect();
        points.push([piece as f64, median(&each)]);
        report.metrics.push(
            metric(
                Family::Time,
                &format!("image_us_{piece}"),
                &format!("Time of an image in a piece of {piece}"),
                median(&each),
                "µs",
            )
            .lower()
            .interval(median_interval(&each, 0.95, &mut cx.rng("us")))
            .measured(each),
        );
    }
    report.charts.push(chart(
        "image_time",
        "What does an image cost in a small piece?",
        "Forward and backward through the small network, one core.",
        (Axis::log("Images in a piece"), Axis::log("Microseconds for each image")),
        vec![line("time of an image", points)],
    ));
    Ok(())
}

/// The mean of means on eight draws of texts.
async fn draws(report: &mut Report, cx: &mut Context) -> Result<(), LabError> {
    cx.progress("Eight draws of texts", 0.06);
    let before = cx.seed;
    let mut rows = Vec::new();
    for (kind, id, label) in [
        (Lengths::Equal, "equal", "all 128"),
        (Lengths::Double, "double", "64 or 128"),
        (Lengths::LongTail, "long_tail", "8 to 128"),
    ] {
        let (mut apart, mut cosine, mut loss, mut length) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for seed in 0..SEEDS {
            cx.seed = before + seed;
            let joined = Texts::load(kind, 16, cx).await?.joined(cx).await?;
            apart.push(100.0 * joined.apart.relative);
            cosine.push(joined.apart.cosine);
            length.push(joined.apart.length);
            loss.push(100.0 * (joined.losses[1] / joined.losses[0] - 1.0).abs());
        }
        cx.seed = before;
        rows.push(vec![
            label.into(),
            median(&apart).into(),
            median(&cosine).into(),
            median(&length).into(),
            median(&loss).into(),
        ]);
        let told = format!("texts of {label}");
        report.metrics.extend([
            over_seeds(
                Family::Quality,
                &format!("apart_{id}"),
                &format!("A mean of means: gradient off by, {told}"),
                "%",
                &apart,
                cx,
            ),
            over_seeds(
                Family::Quality,
                &format!("cosine_{id}"),
                &format!("Cosine of the gradients, {told}"),
                "",
                &cosine,
                cx,
            ),
            over_seeds(
                Family::Quality,
                &format!("loss_off_{id}"),
                &format!("Reported loss off by, {told}"),
                "%",
                &loss,
                cx,
            ),
        ]);
    }
    let columns =
        ["Tokens of a text", "Gradient off by (%)", "Cosine", "Length, times the right one", "Loss off by (%)"];
    report.tables.push(table("means", "A mean of means: medians of eight draws of sixteen texts", &columns, rows));
    Ok(())
}

/// What the wrong mean does to a training.
fn written(report: &mut Report, done: &[Done], cx: &Context) {
    let loss = |done: &Done| if let Done::Language(loss) = done { *loss } else { f64::NAN };
    let arms: Vec<Vec<f64>> = done.chunks_exact(FEW as usize).map(|arm| arm.iter().map(loss).collect()).collect();
    for ((_, id, label), losses) in WRITTEN.iter().zip(&arms) {
        report.metrics.push(
            over_seeds(Family::Quality, id, &format!("{label}: loss on unseen text"), "nats", losses, cx).lower(),
        );
        let gaps: Vec<f64> = losses.iter().zip(&arms[0]).map(|(loss, right)| loss - right).collect();
        if *id != "lm_tokens" {
            let worse = gaps.iter().filter(|gap| **gap > 0.0).count();
            report.metrics.extend([
                over_seeds(
                    Family::Quality,
                    &format!("{id}_gap"),
                    &format!("{label}: beyond the right weights"),
                    "nats",
                    &gaps,
                    cx,
                ),
                trained(
                    Family::Quality,
                    &format!("{id}_worse"),
                    &format!("{label}: seeds that are worse, of {FEW}"),
                    worse as f64,
                    "seeds",
                ),
            ]);
        }
    }
}

/// A bootstrap over seeds of a number that all batches together give.
fn resampled(cells: &[Vec<f64>], cx: &Context, of: impl Fn(&[(f64, f64)]) -> Option<f64>) -> Option<(f64, Interval)> {
    let points = |pick: &mut dyn FnMut(usize) -> Vec<usize>| -> Vec<(f64, f64)> {
        let cells = BATCHES.iter().zip(cells).filter(|cell| !cell.1.is_empty());
        let mean = |values: &[f64], picked: Vec<usize>| {
            (picked.iter().map(|i| values[*i].ln()).sum::<f64>() / picked.len() as f64).exp()
        };
        cells.map(|(batch, steps)| (*batch as f64, mean(steps, pick(steps.len())))).collect()
    };
    let value = of(&points(&mut |count| (0..count).collect()))?;
    let mut rng = cx.rng("bootstrap");
    let mut draws: Vec<f64> = (0..400)
        .filter_map(|_| of(&points(&mut |count| (0..count).map(|_| rng.random_range(0..count)).collect())))
        .collect();
    draws.sort_by(f64::total_cmp);
    let last = draws.len().checked_sub(1)?;
    Some((value, Interval { low: draws[last / 40], high: draws[last - last / 40], level: 0.95 }))
}

fn searches(report: &mut Report, done: &[Done], rates: &[f64], cx: &Context) {
    let seeds = SEEDS as usize;
    let mut rows = Vec::new();
    for (o, (_, id, name)) in OPTIMIZERS.iter().enumerate() {
        let each = seeds * BATCHES.len();
        let cells: Vec<Vec<&Reached>> = done[o * each..(o + 1) * each]
            .chunks_exact(seeds)
            .map(|cell| {
                cell.iter().filter_map(|one| if let Done::Descent(one) = one { Some(one) } else { None }).collect()
            })
            .collect();
        let until = |target: f64| -> Vec<Vec<f64>> {
            cells.iter().map(|cell| cell.iter().filter_map(|one| one.until(target)).collect()).collect()
        };
        let steps = until(TARGET);
        for (b, ((batch, cell), steps)) in BATCHES.iter().zip(&cells).zip(&steps).enumerate() {
            let rate = rates[o * BATCHES.len() + b];
            if steps.is_empty() {
                rows.push(vec![
                    Cell::from(*name),
                    (*batch as f64).into(),
                    rate.into(),
                    "not reached".into(),
                    "".into(),
                    "".into(),
                    "".into(),
                ]);
                continue;
            }
            let noise: Vec<f64> = cell.iter().filter_map(|one| one.noise).collect();
            let accuracy: Vec<f64> = cell.iter().map(|one| one.accuracy).collect();
            rows.push(vec![
                Cell::from(*name),
                (*batch as f64).into(),
                rate.into(),
                median(steps).into(),
                (*batch as f64 * median(steps)).into(),
                if noise.is_empty() { "".into() } else { median(&noise).into() },
                median(&accuracy).into(),
            ]);
            report.metrics.extend([
                over_seeds(
                    Family::Scale,
                    &format!("steps_{id}_{batch}"),
                    &format!("{name}, batch {batch}: updates to the target"),
                    "updates",
                    steps,
                    cx,
                )
                .lower(),
                over_seeds(
                    Family::Quality,
                    &format!("accuracy_{id}_{batch}"),
                    &format!("{name}, batch {batch}: accuracy at the target"),
                    "%",
                    &accuracy,
                    cx,
                )
                .higher(),
                trained(
                    Family::Scale,
                    &format!("rate_{id}_{batch}"),
                    &format!("{name}, batch {batch}: best rate"),
                    rate,
                    "",
                ),
            ]);
            if !noise.is_empty() {
                report.metrics.push(over_seeds(
                    Family::Scale,
                    &format!("noise_{id}_{batch}"),
                    &format!("{name}, batch {batch}: noise scale near the target"),
                    "images",
                    &noise,
                    cx,
                ));
            }
        }
        for (what, words, target) in [("", "", TARGET), ("_early", ", to an easier target", EARLY)] {
            let steps = until(target);
            for (kind, label, unit, of) in [
                (
                    "critical",
                    "Critical batch",
                    "images",
                    (|points| Some(fit_tradeoff(points)?.critical)) as fn(&[(f64, f64)]) -> Option<f64>,
                ),
                ("least", "Least updates", "updates", |points| Some(fit_tradeoff(points)?.least_steps)),
                ("least_images", "Least images", "images", |points| {
                    fit_tradeoff(points).map(|fit| fit.least_steps * fit.critical)
                }),
            ] {
                if let Some((value, interval)) = resampled(&steps, cx, of) {
                    let id = format!("{kind}_{id}{what}");
                    report.metrics.push(
                        trained(Family::Scale, &id, &format!("{label}, {name}{words}"), value, unit).interval(interval),
                    );
                }
            }
        }
        let points: Vec<(f64, f64)> =
            BATCHES.iter().zip(&steps).filter(|cell| !cell.1.is_empty()).map(|(b, s)| (*b as f64, median(s))).collect();
        // Below the bend the best rate follows the batch; beyond it nothing pulls it up.
        let below: Vec<(f64, f64)> =
            BATCHES.iter().zip(&rates[o * BATCHES.len()..]).take(6).map(|(b, r)| (*b as f64, *r)).collect();
        if let Some(law) = power_law(&below) {
            report.metrics.push(trained(
                Family::Scale,
                &format!("rate_exponent_{id}"),
                &format!("Best rate grows as this power of the batch, {name}"),
                law.exponent,
                "",
            ));
        }
        let near = BATCHES
            .iter()
            .position(|b| *b == 128)
            .map(|b| cells[b].iter().filter_map(|one| one.noise).collect::<Vec<_>>());
        let near = near.filter(|noise| !noise.is_empty()).map(|noise| median(&noise));
        for mut chart in steps_and_examples(&points, fit_tradeoff(&points), near) {
            chart.id = format!("{}_{id}", chart.id);
            chart.title = format!("{name}: {}", chart.title);
            report.charts.push(chart);
        }
    }
    let columns = [
        "Optimizer",
        "Batch",
        "Best rate",
        "Updates",
        "Images read",
        "Noise scale (images)",
        "Accuracy, unseen fonts (%)",
    ];
    report.tables.push(table("searches", "Every batch at its best rate: medians of eight seeds", &columns, rows));
}

fn rules(report: &mut Report, done: &[Done]) {
    let mut rows = Vec::new();
    let mut groups = done.chunks_exact(FEWER as usize);
    for (_, id, name) in OPTIMIZERS {
        for (_, rule, words) in RULES {
            for to in SCALED {
                let Some(group) = groups.next() else { return };
                let all: Vec<&Reached> = group
                    .iter()
                    .filter_map(|one| if let Done::Descent(one) = one { Some(one) } else { None })
                    .collect();
                let steps: Vec<f64> = all.iter().filter_map(|one| one.steps).collect();
                let rate = all.first().map_or(f64::NAN, |one| one.rate);
                let told = if steps.is_empty() { Cell::from("not reached") } else { median(&steps).into() };
                rows.push(vec![
                    name.into(),
                    words.into(),
                    (to as f64).into(),
                    rate.into(),
                    told,
                    (steps.len() as f64).into(),
                ]);
                let label = format!("{name}, rate {words}, batch {to}: seeds that reach the target, of {FEWER}");
                report.metrics.push(trained(
                    Family::Scale,
                    &format!("reached_{id}_{rule}_{to}"),
                    &label,
                    steps.len() as f64,
                    "seeds",
                ));
                if !steps.is_empty() {
                    let label = format!("{name}, rate {words}, batch {to}: updates to the target");
                    report.metrics.push(
                        trained(Family::Scale, &format!("steps_{id}_{rule}_{to}"), &label, median(&steps), "updates")
                            .lower(),
                    );
                }
            }
        }
    }
    let columns =
        ["Optimizer", "Rate follows the batch", "Batch", "Rate", "Updates", "Seeds of 3 that reach the target"];
    report.tables.push(table("rules", "Three rules, from the best rate at 32 images", &columns, rows));
}

fn loops(report: &mut Report, done: &[Done], cx: &Context) {
    let mut rows = Vec::new();
    let mut groups = done.chunks_exact(FEW as usize);
    for (_, optimizer, name) in OPTIMIZERS {
        let (Some(plain), Some(normed)) = (groups.next(), groups.next()) else { return };
        for (joined, id, label) in LOOPS {
            let Some(group) = groups.next() else { return };
            let whole = if joined == Joined::BatchNorm { normed } else { plain };
            let both = |(whole, pieces): (&'_ Done, &'_ Done)| match (whole, pieces) {
                (Done::Twin(whole), Done::Twin(pieces)) => Some((whole.clone(), pieces.clone())),
                _ => None,
            };
            let pairs: Vec<(Trained, Trained)> = whole.iter().zip(group).filter_map(both).collect();
            let by = |of: &dyn Fn(&Trained, &Trained) -> f64| {
                pairs.iter().map(|pair| of(&pair.0, &pair.1)).collect::<Vec<f64>>()
            };
            let gap = |a: &Trained, b: &Trained| {
                a.losses.iter().zip(&b.losses).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
            };
            let (gaps, last) = (by(&gap), by(&|whole, pieces| pieces.last - whole.last));
            let points = by(&|whole, pieces| pieces.accuracy - whole.accuracy);
            rows.push(vec![
                name.into(),
                label.into(),
                median(&gaps).into(),
                median(&last).into(),
                median(&points).into(),
            ]);
            report.metrics.extend([
                over_seeds(
                    Family::Quality,
                    &format!("gap_{optimizer}_{id}"),
                    &format!("{name}, {label}: largest gap of the loss curves"),
                    "nats",
                    &gaps,
                    cx,
                )
                .lower(),
                over_seeds(
                    Family::Quality,
                    &format!("last_{optimizer}_{id}"),
                    &format!("{name}, {label}: final loss beyond one piece"),
                    "nats",
                    &last,
                    cx,
                )
                .lower(),
                over_seeds(
                    Family::Quality,
                    &format!("points_{optimizer}_{id}"),
                    &format!("{name}, {label}: accuracy beyond one piece"),
                    "points",
                    &points,
                    cx,
                )
                .higher(),
            ]);
        }
    }
    let columns = [
        "Optimizer",
        "Loop",
        "Largest gap of the curves (nats)",
        "Final loss, beyond one piece (nats)",
        "Accuracy, beyond one piece (points)",
    ];
    report.tables.push(table(
        "loops",
        "Batches of 256 in pieces of 16 against one piece, same images, same order: medians of five seeds",
        &columns,
        rows,
    ));
}

/// The noise scale while a network learns.
fn over_time(report: &mut Report, done: &[Done]) {
    let mut series = Vec::new();
    for ((_, id, name), group) in OPTIMIZERS.iter().zip(done.chunks_exact(3)) {
        let runs: Vec<&Vec<f64>> =
            group.iter().filter_map(|one| if let Done::Noise(found) = one { Some(found) } else { None }).collect();
        let at = |i: usize| {
            let found: Vec<f64> = runs.iter().filter_map(|run| run.get(i).copied()).filter(|v| v.is_finite()).collect();
            (!found.is_empty()).then(|| median(&found))
        };
        let mut points = Vec::new();
        for (i, step) in NOISE_AT.iter().enumerate() {
            let Some(noise) = at(i) else { continue };
            points.push([*step as f64 + 1.0, noise]);
            report.metrics.push(trained(
                Family::Scale,
                &format!("noise_at_{step}_{id}"),
                &format!("{name}, noise scale after {step} updates of 64"),
                noise,
                "images",
            ));
        }
        series.push(line(name, points));
    }
    report.charts.push(chart(
        "noise_over_time",
        "How does the noise scale change while a network learns?",
        "From the gradients of 1,024 single images, medians of three seeds. Batches of 64.",
        (Axis::log("Updates, and one"), Axis::log("Noise scale (images)")),
        series,
    ));
}
