//! The numbers of a run.

use std::ops::Range;

use lab_api::{Family, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    pipeline::expected_traffic,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    Clip, Params, Schedule, Split,
    arms::{Arm, CHANNELS, LAYERS, Ran, Setup},
    figures::{self, MB},
    measured::Costs,
};

pub(super) const COUNTED: &str = "counted";
pub(super) const SPREAD: &str = "products of matrices round otherwise on another processor, and a training carries that on: five standard deviations over the seeds of the study";
const LEVEL: f64 = 0.95;

/// A number with its samples.
pub(super) fn sampled(
    family: Family,
    (id, label): (&str, &str),
    samples: Vec<f64>,
    unit: &str,
    cx: &Context,
) -> Metric {
    metric(family, id, label, median(&samples), unit)
        .interval(median_interval(&samples, LEVEL, &mut cx.rng(id)))
        .measured(samples)
}

/// How many layers the output layer is worth.
pub(super) fn output_layers(costs: &Costs) -> Metric {
    let share = |head: [f64; 2], layer: [f64; 2]| (head[0] + head[1]) / (layer[0] + layer[1]).max(1e-9);
    let rounds = (0..costs.rounds()).map(|round| share(costs.unit(round, LAYERS + 1), costs.unit(round, 1)));
    let value = share(costs.usual(LAYERS + 1), costs.usual(1));
    metric(Family::Scale, "output_layers", "The output layer takes as long as", value, "layers")
        .measured(rounds.collect())
        .help("Forward and backward, the quickest of some rounds. Equal numbers of layers are equal times only where this is 0.")
}

/// The order that is drawn beside GPipe: the chosen one, or 1F1B where that is GPipe.
fn beside(params: &Params) -> Arm {
    Arm::of(if params.schedule == Schedule::Gpipe { Schedule::OneFOneB } else { params.schedule })
}

/// What was timed on one worker, and what is simulated from it for several.
pub(super) fn timed(
    report: &mut Report,
    params: &Params,
    (setup, costs): (&Setup, &Costs),
    (arms, cuts): (&[Arm], &[Vec<Range<usize>>]),
    cx: &Context,
) -> Result<(), LabError> {
    let (p, m) = (setup.workers, setup.micros);
    let (wire, rounds) = (costs.wire(params.link), 0..costs.rounds());
    let place = |id: &str| arms.iter().position(|arm| arm.id == id).unwrap_or(0);
    let (gpipe, drawn) = (place("gpipe"), place(beside(params).id));
    let order = |at: usize| arms[at].order(p, m);
    let step = |at: usize, round: usize| costs.step(round, (&order(at), &cuts[at]), wire, setup.message());
    let ends = |at: usize| -> Result<Vec<f64>, LabError> {
        rounds.clone().map(|round| step(at, round).map(|one| one.end.max(1e-9))).collect()
    };
    let base = ends(gpipe)?;
    let words = arms[drawn].name;
    let all = &mut report.metrics;
    let ratio: Vec<f64> = ends(drawn)?.iter().zip(&base).map(|(one, base)| 100.0 * one / base).collect();
    all.push(
        sampled(Family::Time, ("of_gpipe", &format!("{words}: time of a step, of GPipe's (simulated)")), ratio, "%", cx)
            .lower()
            .baseline(100.0)
            .help("For workers with a processor each, on the chosen link. Layers were timed on this device, the order of work is the one that is run here."),
    );
    for (at, arm) in arms.iter().enumerate().skip(1) {
        let speeds = figures::speed(costs, setup, (arm, &cuts[at]), (m, wire))?;
        let label = format!("{}: speed, of one worker's (simulated)", arm.name);
        let one = sampled(Family::Scale, (&format!("speed_{}", arm.id), &label), speeds, "×", cx)
            .higher()
            .baseline(p as f64)
            .help("The baseline is the number of workers.");
        all.push(if at == drawn { one } else { one.detail() });
    }
    for (at, arm) in arms.iter().enumerate().skip(1) {
        let idle = rounds.clone().map(|round| Ok(100.0 * step(at, round)?.line.bubble(p)));
        let label = format!("{}: time in which workers wait (simulated)", arm.name);
        let one = sampled(Family::Utilization, (&format!("idle_{}", arm.id), &label), idle.collect::<Result<_, LabError>>()?, "%", cx)
            .lower()
            .baseline(100.0 * (p - 1) as f64 / (m + p - 1) as f64)
            .help("Of the time of all workers, before they update their weights. The baseline is the formula for GPipe and 1F1B with equally long stages.");
        all.push(if at == drawn { one } else { one.detail() });
    }
    let (copy, alone) = (costs.copy(), rounds.clone().map(|round| costs.alone(round, m)).collect());
    all.push(sampled(Family::Time, ("step_one", "A step of one worker"), alone, "ms", cx).lower());
    all.push(sampled(Family::Time, ("step_gpipe", "GPipe: a step (simulated)"), base, "ms", cx).lower().detail());
    for (unit, id, label) in [(1, "layer", "A layer"), (LAYERS + 1, "output", "The output layer")] {
        for (way, words) in ["forward", "backward"].into_iter().enumerate() {
            let samples = rounds.clone().map(|round| costs.unit(round, unit)[way]).collect();
            let label = format!("{label}, {words}, one micro-batch");
            all.push(sampled(Family::Time, (&format!("{id}_{words}"), &label), samples, "ms", cx).lower().detail());
        }
    }
    all.push(output_layers(costs));
    let one = |id, label, value: f64, unit| metric(Family::Time, id, label, value, unit).measured(vec![value]).detail();
    all.push(one("latency", "A message in this thread: of any size", 1e3 * copy.latency_ms, "µs").lower());
    all.push(one("bandwidth", "A message in this thread: bytes a second", 1e-6 * copy.bytes_per_ms, "GB/s").higher());

    let middle = costs.rounds() / 2;
    let both = [step(gpipe, middle)?, step(drawn, middle)?];
    report.charts.push(figures::steps([(arms[gpipe].name, &both[0]), (words, &both[1])]));
    report.charts.push(figures::speeds(costs, setup, wire)?);
    report.charts.push(figures::cuts(costs, p));
    report.tables.push(figures::links(costs, setup, params)?);
    report.notes.push("The workers took turns in one thread: their weights, bytes, messages and the order of work are real. Times of several workers are simulated from layers that were timed here, for a processor each; real workers would also get into each other's way at memory and caches. The zero-bubble order is simulated alone, with a way back that is taken to split into two equal halves.".into());
    Ok(())
}

/// What was counted and trained.
pub(super) fn counted(report: &mut Report, params: &Params, setup: &Setup, arms: &[Arm], ran: &[Ran]) {
    let place = |id: &str| arms.iter().position(|arm| arm.id == id).unwrap_or(0);
    let (gpipe, drawn) = (place("gpipe"), place(beside(params).id));
    let one = &ran[0];
    // Where layers are dealt by what they took, what a worker holds differs from device to device.
    let counted = |one: Metric| {
        let value = one.value;
        if params.split == Split::ByTime { one.measured(vec![value]) } else { one.exact(0.0, COUNTED) }
    };
    let all = &mut report.metrics;
    for (at, (arm, ran)) in arms.iter().zip(ran).enumerate() {
        let label = format!("{}: held by the fullest worker", arm.name);
        let found = metric(Family::Memory, &format!("held_{}", arm.id), &label, ran.fullest() / MB, "MB")
            .lower()
            .baseline(one.fullest() / MB)
            .help("The most bytes at once of weights, gradients, moments and activations, counted from the worker's buffers. In FP32. The baseline is one worker that does it all.");
        let found = counted(found);
        all.push(if [0, gpipe, drawn].contains(&at) { found } else { found.detail() });
    }
    for (arm, ran) in arms.iter().zip(ran) {
        let v = arm.schedule.map_or(1, Schedule::chunks) as f64;
        let most = ran.held.iter().map(|held| held[2]).max().unwrap_or(0) as f64 / v;
        let label = format!("{}: micro-batches kept by the fullest worker", arm.name);
        all.push(
            metric(Family::Memory, &format!("live_{}", arm.id), &label, most, "micro-batches")
                .lower()
                .exact(0.0, COUNTED)
                .detail(),
        );
    }
    let states = ran[gpipe].held.iter().map(|held| held[0]).max().unwrap_or(0) as f64;
    all.push(counted(
        metric(Family::Memory, "states", "Weights, gradients and moments of the fullest worker", states / MB, "MB")
            .lower()
            .baseline(one.held[0][0] as f64 / MB),
    ));
    let rows = vec![setup.rows(); setup.micros];
    let places = (setup.workers, arms[drawn].chunks(setup.workers));
    let paper = expected_traffic(&rows, CHANNELS, LAYERS + 2, places);
    let sent = ran[drawn].sent;
    for (id, value, paper, unit) in [
        ("bytes", sent.bytes as f64 / MB, paper.bytes as f64 / MB, "MB"),
        ("messages", sent.messages as f64, paper.messages as f64, "messages"),
    ] {
        let label = format!("{}: {id} that all workers send in a step", arms[drawn].name);
        all.push(
            metric(Family::Scale, id, &label, value, unit)
                .lower()
                .baseline(paper)
                .exact(0.0, COUNTED)
                .help("Counted at the links. The baseline is the formula."),
        );
    }
    let equal = ran[1..].iter().filter(|ran| ran.weights == one.weights).count();
    let of = ran.len() - 1;
    all.push(
        metric(
            Family::Quality,
            "weights_equal",
            "Orders that end in the very weights of one worker",
            equal as f64,
            &format!("of {of}"),
        )
        .higher()
        .baseline(of as f64)
        .exact(0.0, "the same sums in the same order"),
    );
    let last = |ran: &Ran| ran.losses[ran.losses.len() - 1];
    let loss = metric(
        Family::Quality,
        "loss",
        &format!("{}: loss in the last step", arms[drawn].name),
        last(&ran[drawn]),
        "nats",
    )
    .lower()
    .baseline(last(one))
    .exact(0.2, SPREAD)
    .detail();
    all.push(Metric { kind: Kind::Trained, ..loss });
    report.charts.insert(1, figures::held_of(arms, ran, &[0, gpipe, drawn]));
    report.tables.push(figures::counts(arms, ran));
    if setup.workers == 1 {
        report.notes.push(
            "A single worker has nobody to pass anything on to, so there is nothing to wait for and nothing to cut."
                .into(),
        );
    } else if params.clip == Clip::Alone {
        report.notes.push(format!("Each stage shortened its gradient by its own length: {equal} of {of} orders end in the weights of one worker."));
    }
    if setup.workers > 1 && !Arm::of(Schedule::Interleaved).fits(setup.workers, setup.micros) {
        report.notes.push(format!(
            "Interleaved orders are missing: they need {} chunks of a network with {LAYERS} layers, and micro-batches in a multiple of {}.",
            2 * setup.workers, setup.workers
        ));
    }
}
