//! Numbers and sentences of a run.

use lab_api::{Family, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    loading::{Arrange, Jitter, LoaderPool, Replacement, class_mix, padding, simulate_queue, steps_per_second},
    report::{MetricExt, metric, thousands},
    stats::{median, median_interval, percentile, ratio_interval},
};

use super::{
    Cached, Fed, Ordered, Params, Slow,
    arms::{Alone, Arm},
    bench::Bench,
    figures,
};

const LEVEL: f64 = 0.95;
pub(super) const COUNTED: &str = "counted, the same on every device";
const LOGARITHM: &str = "logarithms may differ in their last bit";
/// Why what training decides may differ between devices.
pub(super) const SPREAD: &str = "sums in another order lead a training elsewhere, as another seed does: five standard deviations over the seeds of the study";
/// Workers that are always tried.
pub(super) const MOST: usize = 4;
/// Numbers in the buffers that are moved: 64 KB and 1 MB.
const MOVED: [u32; 2] = [16_384, 262_144];
const MOVES: usize = 15;

pub(super) fn learned(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

pub(super) fn counted(params: &Params, bench: &Bench) -> Vec<Metric> {
    let batch = params.batch as usize;
    let mix = |arrange| class_mix(&bench.sequence(arrange, params.batch, 0), &bench.labels, batch);
    let ((classes, moved), (full, far)) = (mix(params.arrange()), mix(Arrange::Full));
    let one = (4 * batch * bench.width()) as f64 / 1e3;
    let ring = if params.workers == 0 { one } else { f64::from(params.depth + 1) * one };
    let versions = match params.cache {
        Cached::None => 0,
        Cached::Decoded => 1,
        Cached::Augmented => params.variants,
    };
    let busy = |depth| 100.0 * simulate_queue(1.0, 1.0, 1, depth, Jitter::Exponential, figures::SIMULATED).0;
    let rate = figures::hit_rate;
    let waste = |batch, bucketed| {
        let (used, cells) = padding(&[3, 9, 4, 16], batch, bucketed);
        100.0 * (1.0 - used as f64 / cells as f64)
    };
    let mut all = vec![
        metric(
            Family::Utilization,
            "lru_half",
            "Hits, half of the data fits, same order, least recently used stays",
            rate(Arrange::AsTheyLie, 0.5, Replacement::LeastRecent),
            "%",
        )
        .higher()
        .baseline(rate(Arrange::AsTheyLie, 0.5, Replacement::Never))
        .exact(0.0, COUNTED)
        .help("After the first epoch. The baseline lets the first ones stay and never evicts."),
        metric(
            Family::Utilization,
            "lru_random",
            "The same in a new order each epoch",
            rate(Arrange::Full, 0.5, Replacement::LeastRecent),
            "%",
        )
        .higher()
        .baseline(rate(Arrange::Full, 0.5, Replacement::Never))
        .exact(0.0, COUNTED)
        .detail(),
        metric(Family::Memory, "ring", "Batches in memory", ring, "kB")
            .lower()
            .baseline(one)
            .exact(0.0, COUNTED)
            .help("As many as may be under way, and the one that is trained on. The baseline is that one."),
        metric(
            Family::Memory,
            "kept",
            "A full cache, each worker's",
            (versions as usize * bench.items.len() * bench.width()) as f64 / 1e6,
            "MB",
        )
        .lower()
        .baseline(bench.data.len() as f64 / 1e6)
        .exact(0.0, COUNTED)
        .detail()
        .help("One byte a pixel. The baseline is the packed data that each worker holds in any case."),
        metric(
            Family::Utilization,
            "queue",
            "Trainer's share of the time, simulated: exponential times, your depth",
            busy(params.depth as usize),
            "%",
        )
        .higher()
        .baseline(busy(1))
        .exact(1e-6, LOGARITHM)
        .detail()
        .help("Loader and trainer take equally long on average. The baseline has a depth of 1."),
        metric(Family::Memory, "padding", "Cells wasted: rows of 3, 9, 4 and 16 in two buckets", waste(2, true), "%")
            .lower()
            .baseline(waste(4, false))
            .exact(0.0, COUNTED)
            .detail()
            .help("The baseline pads all four to the longest."),
    ];
    // A text has no classes.
    if bench.test.is_some() {
        all.extend([
            metric(Family::Quality, "classes", "Classes in a batch", classes, "")
                .higher()
                .baseline(full)
                .exact(0.0, COUNTED)
                .help("On average over an epoch in your order. The baseline is a permutation of all."),
            metric(Family::Scale, "moved", "Places that an item moves", moved, "")
                .baseline(far)
                .exact(0.0, COUNTED)
                .detail(),
        ]);
    }
    all
}

/// The 95th percentile.
fn late(waits: &[f64]) -> f64 {
    let waits: Vec<f32> = waits.iter().map(|ms| *ms as f32).collect();
    f64::from(percentile(&waits, 95.0))
}

pub(super) fn timed(
    report: &mut Report,
    params: &Params,
    alone: &Alone,
    arms: &[Arm],
    pool: &LoaderPool,
    cx: &Context,
) -> Result<(), LabError> {
    let cores = cx.environment().cores.max(1);
    let lost = || LabError::Engine { why: "no training was timed".into() };
    let line = arms.first().ok_or_else(lost)?;
    let yours = arms.iter().find(|arm| arm.workers == params.workers as usize).unwrap_or(line);
    let (before, after) = (line.rates(), yours.rates());
    let told = |workers| steps_per_second(alone.load_ms(), alone.train_ms(), workers, cores, params.echo);
    let sampled = |family, id: &str, label: &str, samples: &[f64], unit: &str| {
        metric(family, id, label, median(samples), unit)
            .interval(median_interval(samples, LEVEL, &mut cx.rng(id)))
            .measured(samples.to_vec())
    };
    let once = |family, id: &str, label: &str, value: f64, unit: &str| {
        metric(family, id, label, value, unit).measured(vec![value])
    };
    let gain = if yours.workers == 0 {
        vec![1.0]
    } else {
        line.step_ms.iter().zip(&yours.step_ms).map(|(a, b)| a / b.max(1e-9)).collect()
    };
    let ratio = median(&line.step_ms) / median(&yours.step_ms).max(1e-9);
    let differ = |arm: &&Arm| arm.losses.iter().zip(&line.losses).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    let needed = (alone.load_ms() / (f64::from(params.echo) * alone.train_ms()).max(1e-9)).ceil();
    let mut first = vec![
        metric(Family::Time, "gain", "Steps a second, against no worker", ratio, "×")
            .higher()
            .baseline(1.0)
            .interval(ratio_interval(&line.step_ms, &yours.step_ms, LEVEL, &mut cx.rng("gain")))
            .measured(gain)
            .help("The same training, with the same losses, by your workers and by none."),
        sampled(Family::Time, "rate", "Steps a second", &after, "steps/s").higher().baseline(median(&before)),
        once(Family::Scale, "told", "Steps a second, foretold", told(yours.workers as u32), "steps/s")
            .higher()
            .baseline(told(0))
            .help("Arithmetic from the two times below, for the cores that this device reports."),
        sampled(Family::Time, "load_ms", "Loading a batch, alone", &alone.load, "ms").lower(),
        sampled(Family::Time, "train_ms", "Training on a batch, alone", &alone.train, "ms").lower(),
        once(Family::Utilization, "busy", "Trainer trains", yours.utilization(), "%")
            .higher()
            .baseline(line.utilization()),
        once(Family::Scale, "needed", "Workers that two times ask for", needed, "").lower(),
        metric(
            Family::Quality,
            "differ",
            "Losses that differ from those without workers",
            arms.iter().map(|arm| differ(&arm)).sum::<usize>() as f64,
            "",
        )
        .lower()
        .baseline(0.0)
        .exact(0.0, "batches come by number, and each image's random numbers are its own")
        .help("Bit by bit, over all steps and all numbers of workers that were tried."),
        sampled(Family::Time, "wait", "Waiting before a step", &yours.waits, "ms")
            .lower()
            .baseline(median(&line.waits))
            .detail(),
        once(Family::Time, "wait_late", "Waiting before a step, 95th percentile", late(&yours.waits), "ms")
            .lower()
            .baseline(late(&line.waits))
            .detail(),
        once(Family::Scale, "flight", "Most batches under way", yours.flight as f64, "").detail(),
        once(Family::Time, "start_ms", "Starting the workers", pool.start_ms(), "ms").lower().detail(),
    ];
    if params.cache != Cached::None {
        let made = (yours.makes.len() * params.batch as usize).max(1);
        first.push(
            once(
                Family::Utilization,
                "hits",
                "Images that a worker had kept",
                100.0 * yours.hits as f64 / made as f64,
                "%",
            )
            .higher(),
        );
    }
    drop(report.metrics.splice(0..0, first));
    let charts =
        vec![figures::gantt("gantt", yours), figures::workers(params, alone, arms, cx), figures::stages(alone)];
    drop(report.charts.splice(0..0, charts));
    if let Some(why) = pool.why() {
        report.notes.push(format!("No worker could be started: {why}. The trainer loaded every batch itself."));
    } else if params.workers > 0 && params.depth < params.workers {
        report.notes.push(format!(
            "A depth of {} lets at most {} of your {} workers work at once.",
            params.depth, params.depth, params.workers
        ));
    }
    if needed > f64::from(cores.max(2) - 1) {
        report.notes.push(format!(
            "Two times ask for {needed:.0} workers beside the trainer, and this device reports {cores} cores: workers and trainer will take turns."
        ));
    }
    Ok(())
}

/// What moving a batch takes, transferred and copied.
pub(super) async fn handed(report: &mut Report, pool: &LoaderPool, cx: &Context) -> Result<(), LabError> {
    for (blank, id, label) in [(MOVED[0], "move_small", "64 KB"), (MOVED[1], "move_big", "1 MB")] {
        let mut times = [Vec::new(), Vec::new()];
        for turn in 0..MOVES + 1 {
            for (copied, times) in times.iter_mut().enumerate() {
                let Some(ms) = pool.round_trip(blank, copied == 1, cx).await? else { return Ok(()) };
                // The first one finds caches cold.
                if turn > 0 {
                    times.push(1e3 * ms);
                }
            }
        }
        let [moved, copied] = times;
        report.metrics.push(
            metric(Family::Time, id, &format!("A worker's answer of {label}"), median(&moved), "µs")
                .lower()
                .baseline(median(&copied))
                .interval(median_interval(&moved, LEVEL, &mut cx.rng(id)))
                .measured(moved)
                .detail()
                .help("Question and answer, the buffer handed over. The baseline copies it."),
        );
    }
    Ok(())
}

pub(super) fn trained(report: &mut Report, yours: f64, full: f64) {
    let one =
        metric(Family::Quality, "right", "Right answers after the training", yours, "%").higher().baseline(full).help(
            "On font families that nobody trained on. The baseline sees fresh batches of a permutation of all images.",
        );
    report.metrics.insert(4, learned(one, 12.0));
}

pub(super) fn notes(params: &Params, bench: &Bench) -> Vec<String> {
    let mut notes = Vec::new();
    let items = bench.items.len();
    if matches!(params.order, Ordered::Buffer | Ordered::Shards) && params.buffer as usize > items {
        notes.push(format!("There are {} items: the buffer is as large as that.", thousands(items)));
    }
    if params.batch as usize > items {
        notes.push(format!("There are {} items: a batch holds all of them.", thousands(items)));
    }
    if params.jitter == Slow::OnePercent {
        notes.push("One batch in a hundred is made twenty times over: slow reads here are artificial.".into());
    }
    if params.model == Fed::Lm {
        notes.push(
            "The language model's tokens lie ready in memory. What workers can win here is what loading takes.".into(),
        );
    }
    notes.push(format!("Reading and unzipping the data took {:.0} ms, once.", bench.read_ms));
    notes
}
