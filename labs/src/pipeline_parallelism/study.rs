//! Bits, bytes and live micro-batches for up to eight workers; two workers on real threads against the simulator; slower links; a
//! training over three seeds, and one whose stages clip alone.

use std::ops::Range;

use lab_api::{Axis, Cell, ChartBody, Family, Kind, LabError, Metric, Report, Span, Table};
use lab_kit::{
    Context,
    accumulate::distance,
    peers::{Wire, Work},
    pipeline::{PipeTimes, expected_traffic, simulate},
    report::{MetricExt, metric},
    stats::{median, median_interval},
    testing::ready,
    two_cores::jobs_on_two_cores,
};

use super::{
    Clip, Params, PipeLink, Schedule, Split,
    arms::{self, Arm, CHANNELS, LAYERS, Ran, Setup, Text},
    figures::{self, MB, chart, line},
    measured,
    summary::{COUNTED, output_layers, sampled},
    threads,
};

const LEVEL: f64 = 0.95;
const SEEDS: u64 = 3;
/// Steps of a training whose loss is compared.
const STEPS: u32 = 16;
/// Steps of the control, after one that warms up.
const CONTROL: u32 = 5;
const COUNTS: [u32; 4] = [1, 2, 4, 8];
const REAL: [Schedule; 4] = [Schedule::Naive, Schedule::Gpipe, Schedule::OneFOneB, Schedule::Interleaved];
const SPLITS: [(&str, &str, Split); 2] =
    [("equal", "equal layers", Split::EqualLayers), ("time", "cut by time", Split::ByTime)];

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    let text = Text::load(cx).await?;
    cx.progress("Timing layers", 0.01);
    let base = Setup::new(&text, &Params::default(), 0);
    let costs = measured::measure(&base, 15, cx).await?;
    links(&mut report, &text, &costs)?;
    cx.progress("Threads", 0.1);
    on_threads(&mut report, &text, &costs, cx)?;
    cx.progress("Counting", 0.6);
    counts(&mut report, &text, &costs)?;
    cx.progress("Training", 0.8);
    trainings(&mut report, &text, &costs, cx)?;
    Ok(report)
}

/// Jobs two at a time.
fn both<T: Send, J: Sync>(jobs: &[J], call: impl Fn(&J) -> Result<T, LabError> + Sync) -> Result<Vec<T>, LabError> {
    jobs_on_two_cores(jobs.len(), |i| call(&jobs[i]))
}

/// What is simulated from layers that were timed.
fn links(report: &mut Report, text: &Text, costs: &measured::Costs) -> Result<(), LabError> {
    report.metrics.push(output_layers(costs));
    let mut rows = Vec::new();
    for workers in [2, 4, 8] {
        for (split_id, split_words, split) in SPLITS {
            let setup = Setup::new(text, &Params { workers, micro_batches: 16, ..Params::default() }, 0);
            let one = median(&(0..costs.rounds()).map(|round| costs.alone(round, 16)).collect::<Vec<_>>());
            for (link_words, link) in figures::LINKS {
                let mut row = vec![Cell::from(f64::from(workers)), Cell::from(split_words), Cell::from(link_words)];
                for (id, name, ms) in figures::orders(costs, &setup, split, link)? {
                    let Some(ms) = ms else {
                        row.push(Cell::from("does not fit"));
                        continue;
                    };
                    row.push(Cell::from(ms));
                    if !matches!(link, PipeLink::Copy | PipeLink::Slower) {
                        continue;
                    }
                    let slow = if link == PipeLink::Slower { "_slow" } else { "" };
                    let words = format!(
                        "{name}, {workers} workers, {split_words}, {link_words}: speed, of one worker's (simulated)"
                    );
                    report.metrics.push(
                        metric(Family::Scale, &format!("sim_{id}_{workers}_{split_id}{slow}"), &words, one / ms, "×")
                            .higher()
                            .baseline(f64::from(workers))
                            .measured(vec![one / ms]),
                    );
                }
                rows.push(row);
            }
        }
        if workers == 4 {
            let setup = Setup::new(text, &Params { workers, ..Params::default() }, 0);
            let mut one = figures::speeds(costs, &setup, costs.wire(PipeLink::Copy))?;
            one.id = "speeds_four".into();
            report.charts.push(one);
            let mut one = figures::cuts(costs, 4);
            one.id = "cuts_four".into();
            report.charts.push(one);
        }
    }
    let columns = [
        "Workers",
        "Cut",
        "A message takes",
        "One micro-batch at a time (ms)",
        "GPipe (ms)",
        "1F1B (ms)",
        "Interleaved, 2 chunks (ms)",
        "Interleaved, 4 chunks (ms)",
        "Zero bubble, ZB-H1 (ms)",
    ];
    report.tables.push(Table {
        id: "orders".into(),
        title: "A step of 16 micro-batches, simulated".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    Ok(())
}

/// Milliseconds of a step that chunks of these times would take.
fn foretold(
    setup: &Setup,
    arm: &Arm,
    cut: &[Range<usize>],
    (alone, slower): (&threads::Alone, f64),
    wire: Wire,
) -> Result<f64, LabError> {
    let p = setup.workers;
    let order = arm.order(p, setup.micros);
    let slow = |times: &[f64]| times.iter().map(|ms| slower * ms).collect();
    let times =
        PipeTimes { forward: slow(&alone.times.forward), backward: slow(&alone.times.backward), weights: Vec::new() };
    let line = simulate(&order, &times, wire, setup.message())?;
    let sizes = setup.units.sizes();
    let own = |rank: usize| (rank..cut.len()).step_by(p).flat_map(|c| sizes[cut[c].clone()].iter()).sum::<usize>();
    let most = (0..p).map(own).max().unwrap_or(0) as f64 / sizes.iter().sum::<usize>() as f64;
    Ok(line.end + wire.latency_ms + slower * alone.update * most)
}

/// Two workers on two threads, against the simulator.
fn on_threads(report: &mut Report, text: &Text, costs: &measured::Costs, cx: &Context) -> Result<(), LabError> {
    let wire = threads::wire()?;
    let one = |family, id: &str, label: &str, value: f64, unit: &str| {
        metric(family, id, label, value, unit).measured(vec![value])
    };
    report.metrics.push(
        one(
            Family::Time,
            "thread_latency",
            "A message from thread to thread: of any size",
            1e3 * wire.latency_ms,
            "µs",
        )
        .lower(),
    );
    report.metrics.push(
        one(
            Family::Time,
            "thread_bandwidth",
            "A message from thread to thread: bytes a second",
            1e-6 * wire.bytes_per_ms,
            "GB/s",
        )
        .higher(),
    );
    // More steps where they are short.
    let setup = |m: u32, steps: u32| {
        let params = Params { micro_batches: m, steps: steps + 1, ..Params::default() };
        Setup::new(text, &params, 0)
    };
    let mut slower = Vec::new();
    let (mut errors, mut ideal_errors, mut replays, mut rows, mut equal, mut of) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0, 0);
    let mut dots: Vec<(&str, Vec<[f64; 2]>)> = REAL.map(|schedule| (Arm::of(schedule).name, Vec::new())).to_vec();
    let mut curves = Vec::new();
    let mut pictures: Vec<(&str, threads::OnThreads)> = Vec::new();
    for (split_id, split_words, split) in SPLITS {
        let mut real = Vec::new();
        for m in COUNTS {
            let control = setup(m, CONTROL * (4 / m).max(1));
            let setup = setup(m, (32 / m).clamp(6, 16));
            let truth = threads::train(&setup, &Arm::ONE, &costs.cut(split, 1))?;
            let single = truth.quickest().1;
            // By chunks a worker. What chunks take is timed next to what they are to foretell, so that both meet the same machine.
            let mut chunks: Vec<(usize, threads::Alone, f64)> = Vec::new();
            for (at, schedule) in REAL.into_iter().enumerate() {
                let arm = Arm::of(schedule);
                if !arm.fits(2, m as usize) {
                    continue;
                }
                let cut = costs.cut(split, arm.chunks(2));
                if chunks.last().is_none_or(|last| last.0 != cut.len()) {
                    let (quiet, busy) = (threads::alone(&control, &cut, 1)?, threads::alone(&control, &cut, 2)?);
                    let contention = busy.step / quiet.step.max(1e-9);
                    slower.push(contention);
                    chunks.push((cut.len(), quiet, contention));
                }
                let Some((_, quiet, contention)) = chunks.last() else { continue };
                let found = threads::train(&setup, &arm, &cut)?;
                let (best, took) = found.quickest();
                let with = foretold(&setup, &arm, &cut, (quiet, *contention), wire)?;
                let without = foretold(&setup, &arm, &cut, (quiet, 1.0), wire)?;
                errors.push(100.0 * (with / took - 1.0).abs());
                ideal_errors.push(100.0 * (without / took - 1.0).abs());
                let replayed = found.replayed(&arm.order(2, m as usize), wire, setup.message())?;
                let off: Vec<f64> = replayed.iter().map(|[real, told]| 100.0 * (told / real - 1.0).abs()).collect();
                replays.push(median(&off));
                dots[at].1.extend(replayed);
                equal += usize::from(found.ran.weights == truth.ran.weights);
                of += 1;
                let waits = 100.0 * found.waits()[best - 1];
                rows.push(vec![
                    Cell::from(arm.name),
                    Cell::from(split_words),
                    Cell::from(f64::from(m)),
                    Cell::from(single),
                    Cell::from(took),
                    Cell::from(with),
                    Cell::from(*contention),
                    Cell::from(waits),
                ]);
                if m == 8 || m == 1 {
                    let label = format!(
                        "{}, {split_words}, {m} micro-batch{}: speed of two threads, of one",
                        arm.name,
                        if m == 1 { "" } else { "es" }
                    );
                    let steps: Vec<f64> = found.steps().iter().map(|ms| single / ms).collect();
                    report.metrics.push(
                        metric(Family::Scale, &format!("real_{}_{split_id}_{m}", arm.id), &label, single / took, "×")
                            .measured(steps)
                            .higher()
                            .baseline(2.0),
                    );
                    let label = format!(
                        "{}, {split_words}, {m} micro-batch{}: time in which threads wait",
                        arm.name,
                        if m == 1 { "" } else { "es" }
                    );
                    let all: Vec<f64> = found.waits().iter().map(|share| 100.0 * share).collect();
                    report.metrics.push(
                        metric(Family::Utilization, &format!("waits_{}_{split_id}_{m}", arm.id), &label, waits, "%")
                            .measured(all)
                            .lower(),
                    );
                }
                if schedule == Schedule::OneFOneB {
                    real.push([f64::from(m), single / took]);
                }
                if split == Split::EqualLayers && m == 8 && matches!(schedule, Schedule::Gpipe | Schedule::OneFOneB) {
                    pictures.push((arm.name, found));
                }
            }
        }
        curves.push(line(&format!("1F1B on two threads, {split_words}"), real));
    }
    report.metrics.push(
        sampled(
            Family::Time,
            ("contention", "Two threads at once, of one alone: time of the same work"),
            slower,
            "×",
            cx,
        )
        .lower()
        .baseline(1.0),
    );
    report.metrics.push(
        sampled(
            Family::Quality,
            ("simulator_error", "Simulated from what its own pieces of work took: a step is off by"),
            replays.clone(),
            "%",
            cx,
        )
        .lower(),
    );
    report.metrics.push(
        one(
            Family::Quality,
            "simulator_worst",
            "The worst setting of them",
            replays.into_iter().fold(0.0, f64::max),
            "%",
        )
        .lower(),
    );
    report.metrics.push(
        sampled(
            Family::Quality,
            ("foretold_error", "Foretold from chunks timed alone, times the contention of the control: off by"),
            errors,
            "%",
            cx,
        )
        .lower(),
    );
    report.metrics.push(
        sampled(
            Family::Quality,
            ("foretold_quiet", "Foretold without the contention of the control: off by"),
            ideal_errors,
            "%",
            cx,
        )
        .lower(),
    );
    report.metrics.push(
        metric(
            Family::Quality,
            "threads_equal",
            "Trainings on two threads that end in the very weights of one worker",
            equal as f64,
            &format!("of {of}"),
        )
        .higher()
        .baseline(of as f64)
        .exact(0.0, "the same sums in the same order"),
    );
    if let [(first, a), (second, b)] = &pictures[..] {
        report.charts.push(stamped([(first, a), (second, b)]));
    }
    curves.insert(
        0,
        line("On paper, equal times", COUNTS.map(|m| [f64::from(m), f64::from(2 * m) / f64::from(m + 1)]).to_vec()),
    );
    report.charts.push(chart(
        "real_speeds",
        "How many times as fast are two real threads?",
        "The quickest of 6 to 16 steps, against one thread that does it all. Two threads get into each other's way at memory and caches, which the line on paper does not know.",
        (Axis::log("Micro-batches"), Axis { min: Some(0.0), ..Axis::linear("Times one worker") }),
        ChartBody::Line { series: curves },
    ));
    let ends = dots
        .iter()
        .flat_map(|(_, points)| points)
        .flatten()
        .copied()
        .fold([f64::INFINITY, 0.0], |[low, high], ms| [ms.min(low), ms.max(high)]);
    let mut series = vec![line("Equal", vec![[ends[0]; 2], [ends[1]; 2]])];
    series.extend(dots.iter().map(|(name, points)| line(name, points.clone())));
    report.charts.push(chart(
        "simulator",
        "Does the simulator tell the truth?",
        "Each dot is a step of an order with a number of micro-batches and a cut: what two threads took, and what was simulated from the times of its own pieces of work. The first group is the diagonal.",
        (Axis::log("Measured on two threads (ms)"), Axis::log("Simulated (ms)")),
        ChartBody::Scatter { series },
    ));
    let columns = [
        "Order",
        "Cut",
        "Micro-batches",
        "One thread (ms)",
        "Two threads (ms)",
        "Simulated (ms)",
        "Contention (times)",
        "Threads wait (%)",
    ];
    report.tables.push(Table {
        id: "threads".into(),
        title: "Two workers on two threads, the quickest of 6 to 16 steps".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    Ok(())
}

/// The picture of time stamps: the quickest step of each.
fn stamped(both: [(&str, &threads::OnThreads); 2]) -> lab_api::Chart {
    let (mut names, mut spans) = (Vec::new(), Vec::new());
    for (name, found) in both {
        let (step, usual) = found.quickest();
        let start = found.stamps.iter().map(|worker| worker[step][0].start).fold(f64::INFINITY, f64::min);
        for worker in &found.stamps {
            // Micro-batches come in order through each chunk.
            let mut seen = [0, 0];
            for stamp in &worker[step] {
                let (label, colour) = match stamp.work {
                    Some(Work::Forward(_)) => {
                        seen[0] += 1;
                        (format!("F{}", seen[0]), 1)
                    }
                    Some(Work::Backward(_)) => {
                        seen[1] += 1;
                        (format!("B{}", seen[1]), 2)
                    }
                    Some(Work::Update(_)) => ("update".into(), 3),
                    None => ("waits".into(), 0),
                };
                if stamp.work.is_some() || stamp.end - stamp.start > 0.005 * usual {
                    spans.push(Span {
                        lane: names.len(),
                        start: stamp.start - start,
                        end: stamp.end - start,
                        label,
                        colour,
                    });
                }
            }
            names.push(format!("{name}: worker {}", names.len() % 2));
        }
    }
    chart(
        "stamps",
        "What two real threads did",
        "Time stamps of the quickest step of each, eight micro-batches, equal numbers of layers. Pale pieces wait. Both orders end at nearly the same time.",
        (Axis { min: Some(0.0), ..Axis::linear("Time (ms, measured)") }, Axis::linear("Worker")),
        ChartBody::Gantt { lanes: names, spans },
    )
}

/// Bits, bytes held and sent, for up to eight workers that take turns.
fn counts(report: &mut Report, text: &Text, costs: &measured::Costs) -> Result<(), LabError> {
    let mut jobs = vec![(1, 8, Arm::ONE, Split::EqualLayers, false), (1, 16, Arm::ONE, Split::EqualLayers, false)];
    for workers in [2, 3, 4, 8] {
        for micros in [8, 16] {
            for schedule in REAL.into_iter().chain([Schedule::InterleavedFour]) {
                let arm = Arm::of(schedule);
                for (split, recompute) in
                    [(Split::EqualLayers, false), (Split::ByTime, false), (Split::EqualLayers, true)]
                {
                    if arm.fits(workers as usize, micros as usize) && (schedule != Schedule::Naive || micros == 8) {
                        jobs.push((workers, micros, arm, split, recompute));
                    }
                }
            }
        }
    }
    let ran = both(&jobs, |(workers, micro_batches, arm, split, recompute)| {
        let params = Params {
            workers: *workers,
            micro_batches: *micro_batches,
            recompute: *recompute,
            steps: 1,
            ..Params::default()
        };
        let setup = Setup::new(text, &params, 0);
        let cut = costs.cut(*split, arm.chunks(setup.workers));
        let ran = ready(arms::train(&setup, arm, &cut, async || Ok(())))?;
        let rows = vec![setup.rows(); setup.micros];
        let paper = expected_traffic(
            &rows,
            CHANNELS,
            LAYERS + 2,
            (if arm.schedule.is_some() { setup.workers } else { 1 }, cut.len()),
        );
        Ok((ran, paper))
    })?;
    let (mut equal, mut foretold) = (0, 0);
    let mut rows = Vec::new();
    for ((workers, micros, arm, split, recompute), (one, paper)) in jobs.iter().zip(&ran).skip(2) {
        equal += usize::from(one.weights == ran[usize::from(*micros == 16)].0.weights);
        foretold += usize::from(one.sent == *paper);
        let alone = ran[usize::from(*micros == 16)].0.fullest();
        if *split == Split::EqualLayers {
            let v = arm.chunks(*workers as usize) / *workers as usize;
            let again = if *recompute { "_again" } else { "" };
            let words = format!(
                "{}, {workers} workers, {micros} micro-batches{}",
                arm.name,
                if *recompute { ", activations computed again" } else { "" }
            );
            let id = format!("{}_{workers}_{micros}{again}", arm.id);
            let most = one.held.iter().map(|held| held[2]).max().unwrap_or(0) as f64 / v as f64;
            report.metrics.push(
                metric(
                    Family::Memory,
                    &format!("held_{id}"),
                    &format!("{words}: held by the fullest worker"),
                    one.fullest() / MB,
                    "MB",
                )
                .lower()
                .baseline(alone / MB)
                .exact(0.0, COUNTED),
            );
            if !recompute {
                report.metrics.push(
                    metric(
                        Family::Memory,
                        &format!("live_{id}"),
                        &format!("{words}: micro-batches kept by the fullest worker"),
                        most,
                        "micro-batches",
                    )
                    .lower()
                    .exact(0.0, COUNTED),
                );
                report.metrics.push(
                    metric(
                        Family::Scale,
                        &format!("bytes_{id}"),
                        &format!("{words}: sent by all in a step"),
                        one.sent.bytes as f64 / MB,
                        "MB",
                    )
                    .lower()
                    .exact(0.0, COUNTED),
                );
            }
            rows.push(vec![
                Cell::from(arm.name),
                Cell::from(f64::from(*workers)),
                Cell::from(f64::from(*micros)),
                Cell::from(if *recompute { "yes" } else { "no" }),
                Cell::from(one.fullest() / MB),
                Cell::from(most),
                Cell::from(one.sent.bytes as f64 / MB),
            ]);
        }
    }
    let of = jobs.len() - 2;
    for (id, label, value) in [
        ("weights_equal", "Trainings that end in the very weights of one worker", equal),
        ("bytes_foretold", "Trainings whose bytes and messages are those of the formula", foretold),
    ] {
        report.metrics.push(
            metric(Family::Quality, id, label, value as f64, &format!("of {of}"))
                .higher()
                .baseline(of as f64)
                .exact(0.0, "the same sums in the same order"),
        );
    }
    for (place, micros) in [(0, 8), (1, 16)] {
        let label = format!("One worker, {micros} micro-batches: held");
        report.metrics.push(
            metric(Family::Memory, &format!("held_one_{micros}"), &label, ran[place].0.fullest() / MB, "MB")
                .lower()
                .exact(0.0, COUNTED),
        );
    }
    let wanted = |workers: u32, micros: u32, id: &str| {
        jobs.iter()
            .position(|job| (job.0, job.1, job.2.id, job.3, job.4) == (workers, micros, id, Split::EqualLayers, false))
    };
    let shown: Vec<(String, [usize; 3])> = std::iter::once(("One worker".to_owned(), ran[0].0.held[0]))
        .chain(["gpipe", "one_f_one_b"].into_iter().filter_map(|id| wanted(4, 8, id)).flat_map(|at| {
            let (arm, one) = (jobs[at].2, &ran[at].0);
            one.held
                .iter()
                .enumerate()
                .map(move |(rank, held)| (format!("{}: worker {rank}", arm.name), *held))
                .collect::<Vec<_>>()
        }))
        .collect();
    report.charts.push(figures::held(&shown));
    let columns = [
        "Order",
        "Workers",
        "Micro-batches",
        "Activations computed again",
        "Held by the fullest worker (MB)",
        "Micro-batches it keeps",
        "Sent by all in a step (MB)",
    ];
    report.tables.push(Table {
        id: "counted".into(),
        title: "Counted, with equal numbers of layers".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    Ok(())
}

/// Losses over seeds, and what stages that clip alone make of the same text.
fn trainings(report: &mut Report, text: &Text, costs: &measured::Costs, cx: &Context) -> Result<(), LabError> {
    let pipe = Arm::of(Schedule::OneFOneB);
    let kinds = [(Arm::ONE, Clip::Together), (pipe, Clip::Together), (pipe, Clip::Alone)];
    let jobs: Vec<(u64, Arm, Clip)> =
        kinds.iter().flat_map(|(arm, clip)| (0..SEEDS).map(|seed| (seed, *arm, *clip))).collect();
    let ran: Vec<Ran> = both(&jobs, |(seed, arm, clip)| {
        let params = Params { workers: 4, clip: *clip, steps: STEPS, ..Params::default() };
        let setup = Setup::new(text, &params, *seed);
        let cut = costs.cut(Split::EqualLayers, arm.chunks(setup.workers));
        ready(arms::train(&setup, arm, &cut, async || Ok(())))
    })?;
    let groups: Vec<&[Ran]> = ran.chunks_exact(SEEDS as usize).collect();
    let mut add = |family, id: &str, label: &str, values: Vec<f64>, unit: &str| {
        let one = metric(family, id, label, median(&values), unit)
            .interval(median_interval(&values, LEVEL, &mut cx.rng(id)))
            .measured(values)
            .lower();
        report.metrics.push(Metric { kind: Kind::Trained, ..one });
    };
    let last = |one: &Ran| one.losses[one.losses.len() - 1];
    add(
        Family::Quality,
        "loss_first",
        "Loss of the first step",
        groups[0].iter().map(|one| one.losses[0]).collect(),
        "nats",
    );
    add(Family::Quality, "loss_one", "One worker: loss of the last step", groups[0].iter().map(last).collect(), "nats");
    add(
        Family::Quality,
        "loss_pipe",
        "1F1B, 4 workers: loss of the last step",
        groups[1].iter().map(last).collect(),
        "nats",
    );
    add(
        Family::Quality,
        "loss_alone",
        "Stages that clip alone: loss of the last step",
        groups[2].iter().map(last).collect(),
        "nats",
    );
    let apart = groups[2]
        .iter()
        .zip(groups[0])
        .map(|(wrong, right)| 100.0 * distance(&wrong.weights, &right.weights).map_or(0.0, |apart| apart.relative));
    add(
        Family::Quality,
        "alone_apart",
        "Stages that clip alone: weights from those of one worker",
        apart.collect(),
        "%",
    );
    let equal = groups[1].iter().zip(groups[0]).filter(|(a, b)| a.weights == b.weights).count();
    report.metrics.push(
        metric(
            Family::Quality,
            "seeds_equal",
            &format!("Seeds whose weights are those of one worker after {STEPS} steps"),
            equal as f64,
            &format!("of {SEEDS}"),
        )
        .higher()
        .baseline(SEEDS as f64)
        .exact(0.0, "the same sums in the same order"),
    );
    Ok(())
}
