//! The numbers of a run.

use lab_api::{Family, Kind, Metric, Report};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    sharding::{Bytes, Stage, state_bytes},
    stats::{median, median_interval},
};

use super::{
    Exchange, LinkChoice, Params,
    arms::{ARRIVAL, FIRST, GATHER, IDS, LETTERS, ONE, Ran, STAGES, Setup},
    figures::{self, Named, weights},
    measured::{self, Costs},
};

const COUNTED: &str = "counted";
const SPREAD: &str = "sums in another order lead a training elsewhere, as other first weights do: five standard deviations over the seeds of the study";
const LEVEL: f64 = 0.95;

/// A number that was trained.
fn learned(family: Family, id: &str, label: &str, value: f64, unit: &str, within: f64) -> Metric {
    let one = metric(family, id, label, value, unit).exact(within, SPREAD).lower();
    Metric { kind: Kind::Trained, ..one }
}

/// What follows from sizes alone.
pub(super) fn calculated(report: &mut Report, params: &Params) {
    let (count, n) = (weights(params.model), f64::from(params.devices));
    for (i, (stage, name)) in Stage::ALL.into_iter().zip(STAGES).enumerate() {
        let held = state_bytes(count, Bytes::MIXED, stage, n) / 1e9;
        let label = format!("{name}: {} billion weights on {} devices, each holds", count / 1e9, params.devices);
        let one = metric(Family::Memory, &format!("real_{}", IDS[i]), &label, held, "GB")
            .lower()
            .baseline(16e-9 * count)
            .exact(1e-9, COUNTED)
            .help("Weights and gradients in 16 bits, both moments and a copy of the weights in 32. Activations come on top.");
        report.metrics.push(if stage == Stage::Zero3 { one } else { one.detail() });
    }
    report.tables.push(figures::real(params));
}

fn stages(ran: &[Named]) -> &[Named] {
    &ran[FIRST..FIRST + STAGES.len()]
}

/// What was counted and trained.
pub(super) fn counted(report: &mut Report, params: &Params, setup: &Setup, ran: &[Named]) {
    let ddp = &ran[FIRST].1;
    let all = &mut report.metrics;
    for (id, (name, one)) in IDS.iter().zip(stages(ran)) {
        let held = one.most[0] as f64;
        all.push(
            metric(Family::Memory, &format!("held_{id}"), &format!("{name}: states on a worker"), held / 1e6, "MB")
                .lower()
                .baseline(ddp.most[0] as f64 / 1e6)
                .exact(0.0, COUNTED)
                .help("The most bytes at once of weights, gradients and moments, counted from the worker's buffers, with what only passes through. In FP32."),
        );
    }
    let sent = |one: &Ran| one.sent_in_a_step();
    let whole = sent(ddp).bytes as f64;
    if whole > 0.0 {
        for (id, (name, one)) in IDS.iter().zip(stages(ran)).skip(1) {
            let share = 100.0 * sent(one).bytes as f64 / whole;
            let found = metric(
                Family::Scale,
                &format!("sent_{id}"),
                &format!("{name}: bytes sent in a step, of plain data parallel"),
                share,
                "%",
            )
            .lower()
            .baseline(100.0)
            .exact(0.0, COUNTED);
            all.push(if *id == "zero1" { found.detail() } else { found });
        }
    }
    for (id, (name, one)) in IDS.iter().zip(stages(ran)) {
        let counts =
            [("bytes", sent(one).bytes as f64 / 1e6, "MB"), ("messages", sent(one).messages as f64, "messages")];
        for (what, value, unit) in counts {
            let label = format!("{name}: {what} sent by a worker in a step");
            all.push(
                metric(Family::Scale, &format!("{what}_{id}"), &label, value, unit)
                    .lower()
                    .exact(0.0, COUNTED)
                    .detail(),
            );
        }
    }
    all.push(
        metric(
            Family::Memory,
            "activations",
            "Activations on a worker, at any stage",
            ddp.peak.activations as f64 / 1e6,
            "MB",
        )
        .lower()
        .exact(0.0, COUNTED)
        .help("What the way back through the network needs of the worker's own text. Cutting states does not cut it."),
    );
    let equal = stages(ran)[1..].iter().filter(|(_, one)| one.weights == ddp.weights).count();
    all.push(
        metric(
            Family::Quality,
            "equal_bits",
            "Stages that end in the very bits of plain data parallel",
            equal as f64,
            "of 3",
        )
        .higher()
        .baseline(3.0)
        .exact(0.0, "the same sums in the same order"),
    );
    all.push(
        learned(Family::Quality, "arrival", "Sums by arrival: workers end apart by", 1e9 * ran[ARRIVAL].1.marks.last().map_or(0.0, |mark| mark.apart), "billionths", 1000.0)
            .baseline(0.0)
            .help("Of the length of the weights. Each worker adds the same gradients in another order. The baseline is the ring, where all hold the same bits."),
    );
    let from_one = 1e9 * ddp.from(&ran[ONE].1).last().map_or(0.0, |point| point[1]);
    all.push(
        learned(
            Family::Quality,
            "from_one",
            "Data parallel: from one worker with all windows",
            from_one,
            "billionths",
            5000.0,
        )
        .detail()
        .help("Of the length of the weights. The mathematics is the same, sums are made in another order."),
    );
    all.push(
        learned(Family::Quality, "loss_ddp", "Data parallel: loss of an unseen letter", ddp.judged, "nats", 0.5)
            .baseline(ran[ONE].1.judged)
            .detail(),
    );
    if let Some((name, one)) = ran.get(ARRIVAL + 1) {
        all.push(
            learned(
                Family::Quality,
                "loss_other",
                &format!("{name}: loss of an unseen letter"),
                one.judged,
                "nats",
                0.5,
            )
            .baseline(ddp.judged),
        );
        if whole > 0.0 {
            all.push(
                metric(
                    Family::Scale,
                    "sent_other",
                    &format!("{name}: bytes sent, of plain data parallel"),
                    100.0 * sent(one).bytes as f64 / whole,
                    "%",
                )
                .lower()
                .baseline(100.0)
                .exact(0.0, COUNTED),
            );
        }
    }
    if setup.shares.iter().any(|share| *share != setup.shares[0]) {
        all.push(
            learned(Family::Quality, "means_apart", "Mean of the workers' means: its gradient is off by", 100.0 * setup.mean_of_means(), "%", 20.0)
                .help("Of the gradient's length, in the first step, where workers have read unequally many letters and their means count alike."),
        );
    }
    report.charts.push(figures::held_of_run(ran));
    report.charts.extend(figures::apart(ran));
    report.charts.push(figures::losses(ran, setup.shares.iter().sum::<usize>() * LETTERS));
    report.tables.push(figures::counts(ran));
    if params.exchange != Exchange::Every && params.steps < 64 {
        report.notes.push(
            "After so few steps all ways are still near their first weights: take 100 steps or more to compare losses."
                .into(),
        );
    }
    if setup.workers() == 1 {
        report.notes.push("A single worker has nobody to send anything to, and there is nothing to cut.".into());
    }
}

/// What was timed on one worker, and what is simulated from it for several.
pub(super) fn timed(
    report: &mut Report,
    params: &Params,
    (setup, costs): (&Setup, &Costs),
    ran: &[Named],
    cx: &Context,
) {
    let n = setup.workers() as f64;
    let windows = setup.shares.iter().copied().max().unwrap_or(1) as f64;
    let rounds: Vec<usize> = (0..costs.rounds()).collect();
    let over = |of: &dyn Fn(usize) -> f64| rounds.iter().map(|round| of(*round)).collect::<Vec<f64>>();
    let sampled = |family, id: &str, label: &str, samples: Vec<f64>, unit: &str| {
        metric(family, id, label, median(&samples), unit)
            .interval(median_interval(&samples, LEVEL, &mut cx.rng(id)))
            .measured(samples)
    };
    let wire = costs.wire(params.link);
    let took =
        |one: &Ran, round: usize| costs.simulate(round, &one.events, (setup.workers(), wire), 1.0).end_ms.max(1e-9);
    let total: usize = setup.shares.iter().sum();
    // Text a second of all, over text a second of one.
    let speed = |one: &Ran, round: usize| total as f64 / windows * costs.step(round, windows) / took(one, round);
    let all = &mut report.metrics;
    for (id, (name, one)) in IDS.iter().zip(stages(ran)) {
        let label = format!("{name}: text a second, of one worker's (simulated)");
        let found = sampled(Family::Scale, &format!("speed_{id}"), &label, over(&|round| speed(one, round)), "×")
            .higher()
            .baseline(n)
            .help("For workers with a processor each, on the chosen link and without overlap: parts of a step were timed here, messages are those that were sent. The baseline is their number.");
        all.push(if *id == "ddp" { found } else { found.detail() });
    }
    let shown = &stages(ran)[params.stage as usize];
    all.push(
        sampled(
            Family::Utilization,
            "used",
            &format!("{}: share of the workers' time in arithmetic (simulated)", shown.0),
            over(&|round| 100.0 * speed(&shown.1, round) / n),
            "%",
        )
        .higher()
        .baseline(100.0),
    );
    all.push(
        sampled(Family::Time, "step_ms", "A step of one worker alone", over(&|round| costs.step(round, windows)), "ms")
            .lower(),
    );
    let gather = over(&|round| took(&ran[GATHER].1, round) / took(&ran[FIRST].1, round));
    all.push(
        sampled(Family::Time, "gather", "Sums at worker 0: time of a step, of the ring's (simulated)", gather, "×")
            .lower()
            .baseline(1.0)
            .detail(),
    );
    let gflops = over(&|round| 1e-6 * measured::flops(setup, windows) / costs.step(round, windows).max(1e-9));
    let rate = median(&gflops);
    all.push(sampled(Family::Utilization, "gflops", "Arithmetic of one worker", gflops, "GFLOP/s").higher().detail());
    if n > 1.0 {
        let letters = measured::letters_to_hide(setup, rate, wire, figures::stage(params.stage));
        all.push(
            metric(Family::Scale, "letters_to_hide", "Letters a worker, to compute as long as it sends", letters, "letters")
                .lower()
                .measured(vec![letters])
                .detail()
                .help("For the drawn stage and the chosen link. Latency is left out, so that many short messages take longer than this says."),
        );
    }
    let copy = costs.copy();
    all.push(
        metric(Family::Time, "latency", "A message in this thread: of any size", 1e3 * copy.latency_ms, "µs")
            .lower()
            .measured(vec![1e3 * copy.latency_ms])
            .detail(),
    );
    all.push(
        metric(Family::Time, "bandwidth", "A message in this thread: bytes a second", 1e-6 * copy.bytes_per_ms, "GB/s")
            .higher()
            .measured(vec![1e-6 * copy.bytes_per_ms])
            .detail(),
    );
    report.charts.push(figures::speeds(costs, setup, &shown.1.events, shown.0));
    report.charts.push(figures::step(costs, setup, &shown.1.events, params));
    let link =
        if params.link == LinkChoice::Copy { "a copy within this thread, as measured" } else { "an assumed link" };
    report.notes.push(format!("The workers took turns in one thread: their weights, bytes, messages and the order of events are real. Times of several workers are simulated from parts that were timed here and from {link}; real workers would also get into each other's way, and could send while they compute."));
}
