//! What is held and sent by number of workers, bits, drift, ways to tell each other less over three seeds, and simulated speeds.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Kind, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context, LocalBoxFuture,
    peers::{Event, Mail, Wire, Work, all_reduce_ring, in_turn},
    report::{MetricExt, metric},
    sharding::{Stage, Sum},
    stats::{median, median_interval},
    testing::ready,
    two_cores::jobs_on_two_cores,
};

use super::{
    LinkChoice,
    arms::{self, IDS, JUDGED, LETTERS, OUTER, Ran, STAGES, Setup, Text, Way},
    figures::{self, line},
    measured::{self, Costs},
};

const LEVEL: f64 = 0.95;
const COUNTED: &str = "counted";
const SEEDS: u64 = 3;
const WORKERS: usize = 4;
const WINDOWS: usize = 2;
/// Steps of each training.
const STEPS: usize = 160;
const RATE: f64 = 0.01;
/// Of SGD.
const SGD_RATE: f64 = 2.0;
const LINKS: [(&str, &str, LinkChoice); 4] = [
    ("node", "NVLink", LinkChoice::Node),
    ("rack", "10 gigabit Ethernet", LinkChoice::Rack),
    ("office", "gigabit Ethernet", LinkChoice::Office),
    ("home", "between homes", LinkChoice::Home),
];

/// Ways to exchange, with ids; the first one is what others are compared with.
fn exchanges() -> Vec<(&'static str, String, Way)> {
    let local = |steps| Way::Local(steps, (1.0, 0.0));
    vec![
        ("every", "Gradients in every step".into(), Way::Sync(Stage::Ddp, Sum::Ring)),
        ("local_one", "Weights averaged in every step".into(), local(1)),
        ("local_four", "4 steps alone, averaged".into(), local(4)),
        ("local_sixteen", "16 steps alone, averaged".into(), local(16)),
        ("local_most", "64 steps alone, averaged".into(), local(64)),
        ("outer_four", "4 steps alone, outer step".into(), Way::Local(4, (OUTER, 0.9))),
        ("outer_sixteen", "16 steps alone, outer step".into(), Way::Local(16, (OUTER, 0.9))),
        ("gentle_sixteen", "16 steps alone, outer step with momentum 0.5".into(), Way::Local(16, (OUTER, 0.5))),
        ("tenth", "Largest 10 %, rest later".into(), Way::TopK(0.1, true)),
        ("hundredth", "Largest 1 %, rest later".into(), Way::TopK(0.01, true)),
        ("forgetful", "Largest 1 %, rest forgotten".into(), Way::TopK(0.01, false)),
        ("sgd", "SGD, gradients in every step".into(), Way::Sgd(None)),
        ("sgd_hundredth", "SGD, largest 1 %, rest later".into(), Way::Sgd(Some((0.01, true)))),
        ("sgd_forgetful", "SGD, largest 1 %, rest forgotten".into(), Way::Sgd(Some((0.01, false)))),
        ("arrival", "Sums by arrival".into(), Way::Sync(Stage::Ddp, Sum::Arrival)),
        ("one", "One worker".into(), Way::One),
    ]
}

/// Place of SGD among them.
const SGD: usize = 11;

/// All trainings, two at a time.
fn run_all(jobs: &[(Setup<'_>, Way)]) -> Result<Vec<Ran>, LabError> {
    jobs_on_two_cores(jobs.len(), |i| ready(arms::run(&jobs[i].0, jobs[i].1, async || Ok(()))))
}

fn over_seeds(family: Family, id: &str, label: &str, unit: &str, values: &[f64], cx: &Context) -> Metric {
    let one = metric(family, id, label, median(values), unit)
        .interval(median_interval(values, LEVEL, &mut cx.rng(id)))
        .measured(values.to_vec())
        .lower();
    Metric { kind: Kind::Trained, ..one }
}

fn chart(id: &str, title: &str, caption: &str, x: Axis, y: Axis, series: Vec<Series>) -> Chart {
    Chart { id: id.into(), title: title.into(), caption: caption.into(), x, y, body: ChartBody::Line { series } }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    let text = Text::load(cx).await?;
    cx.progress("Counting", 0.02);
    counts(&mut report, &text)?;
    cx.progress("Training", 0.1);
    trainings(&mut report, &text, cx)?;
    cx.progress("Timing", 0.9);
    times(&mut report, &text, cx).await?;
    Ok(report)
}

/// What is held, what is sent, and whether all stages end in the same bits.
fn counts(report: &mut Report, text: &Text) -> Result<(), LabError> {
    let numbers = [1, 2, 3, 4, 8];
    let jobs: Vec<(Setup, Way)> = numbers
        .iter()
        .flat_map(|n| Stage::ALL.map(|stage| (Setup::new(text, vec![1; *n], 20, RATE, 0), Way::Sync(stage, Sum::Ring))))
        .collect();
    let all = run_all(&jobs)?;
    let (mut held, mut sent) = (STAGES.map(|name| line(name, vec![])), STAGES.map(|name| line(name, vec![])));
    let mut equal = 0;
    for (n, group) in numbers.iter().zip(all.chunks_exact(4)) {
        for (i, (id, one)) in IDS.iter().zip(group).enumerate() {
            let (bytes, out) = (one.most[0] as f64 / 1e6, one.sent_in_a_step().bytes as f64 / 1e6);
            let words = format!("{}, {n} worker{}", STAGES[i], if *n == 1 { "" } else { "s" });
            let add = |family, what: &str, label: &str, value: f64| {
                metric(family, &format!("{what}_{id}_{n}"), &format!("{words}: {label}"), value, "MB")
                    .lower()
                    .exact(0.0, COUNTED)
            };
            report
                .metrics
                .push(add(Family::Memory, "held", "states on a worker", bytes).baseline(group[0].most[0] as f64 / 1e6));
            report.metrics.push(add(Family::Scale, "bytes", "sent in a step", out));
            held[i].points.push([*n as f64, bytes]);
            sent[i].points.push([*n as f64, out]);
            equal += usize::from(i > 0 && one.weights == group[0].weights);
        }
    }
    let of = 3 * numbers.len();
    report.metrics.push(
        metric(
            Family::Quality,
            "equal_bits",
            "Trainings of ZeRO that end in the very bits of plain data parallel, after 20 steps",
            equal as f64,
            &format!("of {of}"),
        )
        .higher()
        .baseline(of as f64)
        .exact(0.0, "the same sums in the same order"),
    );
    report.charts.push(chart(
        "held",
        "What does one worker hold?",
        "States of one worker, counted from its buffers, with what passes through. Plain data parallel stays where it is. The others fall towards what they do not cut.",
        Axis::linear("Workers"),
        Axis { min: Some(0.0), ..Axis::linear("States on a worker (MB)") },
        held.to_vec(),
    ));
    report.charts.push(chart(
        "sent",
        "What does one worker send in a step?",
        "Counted at the links. Three lines lie on each other, and all level off: from eight workers on hardly anything is added for each.",
        Axis::linear("Workers"),
        Axis { min: Some(0.0), ..Axis::linear("Sent in a step (MB)") },
        sent.to_vec(),
    ));
    let uneven = Setup::new(text, vec![4, 4, 4, 1], 1, RATE, 0).mean_of_means();
    let one = metric(
        Family::Quality,
        "means_apart",
        "Mean of the workers' means, 4, 4, 4 and 1 windows: its gradient is off by",
        100.0 * uneven,
        "%",
    )
    .lower()
    .exact(20.0, "gradients differ in their last bits between devices");
    report.metrics.push(Metric { kind: Kind::Trained, ..one });
    Ok(())
}

/// Ways to exchange over seeds, and how far weights go apart.
fn trainings(report: &mut Report, text: &Text, cx: &Context) -> Result<(), LabError> {
    let ways = exchanges();
    let setup = |seed, way: Way| {
        let rate = if matches!(way, Way::Sgd(_)) { SGD_RATE } else { RATE };
        let mut setup = Setup::new(text, vec![WINDOWS; WORKERS], STEPS, rate, seed);
        setup.judged = JUDGED;
        setup
    };
    let jobs: Vec<(Setup, Way)> =
        ways.iter().flat_map(|(_, _, way)| (0..SEEDS).map(|seed| (setup(seed, *way), *way))).collect();
    let all = run_all(&jobs)?;
    let groups: Vec<&[Ran]> = all.chunks_exact(SEEDS as usize).collect();
    let truth = groups[0];
    let (mut rows, mut curves, mut dots) = (Vec::new(), Vec::new(), Vec::new());
    for ((id, name, _), group) in ways.iter().zip(&groups) {
        let losses: Vec<f64> = group.iter().map(|one| one.judged).collect();
        let usual = if id.starts_with("sgd") { groups[SGD] } else { truth };
        let behind: Vec<f64> = group.iter().zip(usual).map(|(one, usual)| one.judged - usual.judged).collect();
        let sent = |one: &Ran| one.sent.iter().map(|sent| sent.bytes).max().unwrap_or(0) as f64;
        let share = 100.0 * sent(&group[0]) / sent(&truth[0]).max(1.0);
        report.metrics.push(over_seeds(
            Family::Quality,
            &format!("loss_{id}"),
            &format!("{name}: loss of an unseen letter"),
            "nats",
            &losses,
            cx,
        ));
        report.metrics.push(over_seeds(
            Family::Quality,
            &format!("behind_{id}"),
            &format!("{name}: above gradients in every step"),
            "nats",
            &behind,
            cx,
        ));
        report.metrics.push(
            metric(
                Family::Scale,
                &format!("sent_{id}"),
                &format!("{name}: bytes sent, of gradients in every step"),
                share,
                "%",
            )
            .lower()
            .baseline(100.0)
            .exact(0.0, COUNTED),
        );
        rows.push(vec![
            Cell::from(name.as_str()),
            Cell::from(share),
            Cell::from(median(&losses)),
            Cell::from(median(&behind)),
        ]);
        let each = STEPS / 32;
        let smooth = group[0].losses.chunks(each).enumerate().map(|(i, part)| {
            [((i + 1) * each * WORKERS * WINDOWS * LETTERS) as f64, part.iter().sum::<f64>() / part.len() as f64]
        });
        if !matches!(*id, "arrival" | "one" | "local_one") && !id.starts_with("sgd") {
            curves.push(line(name, smooth.collect()));
            dots.push(line(name, vec![[share.max(1e-3), median(&losses)]]));
        }
    }
    report.charts.push(chart(
        "curves",
        "What does each way learn from the same text?",
        "Loss of the training text of the first seed, against letters read by all four workers.",
        Axis::linear("Letters read by all workers"),
        Axis::linear("Loss (nats)"),
        curves,
    ));
    let mut tradeoff = chart(
        "exchanges",
        "What does silence cost?",
        "Loss on unseen text after training, medians of three seeds, against bytes sent. Down is better, left is quieter.",
        Axis::log("Bytes sent, of gradients in every step (%)"),
        Axis::linear("Loss of an unseen letter (nats)"),
        vec![],
    );
    tradeoff.body = ChartBody::Scatter { series: dots };
    report.charts.push(tradeoff);
    let columns = ["Way", "Bytes sent (%)", "Loss on unseen text (nats)", "Above gradients in every step (nats)"];
    report.tables.push(Table {
        id: "exchanges".into(),
        title: format!("Four workers, {STEPS} steps, medians of {SEEDS} seeds"),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    // How far the same training in another order of sums goes apart.
    let (arrival, one) = (groups[groups.len() - 2], groups[groups.len() - 1]);
    let billionths = |points: &[[f64; 2]]| points.iter().map(|[x, y]| [*x, 1e9 * y]).collect::<Vec<_>>();
    let drift = |one: &Ran| one.marks.iter().map(|mark| [mark.step as f64, mark.apart]).collect::<Vec<_>>();
    for step in [1, 16, STEPS] {
        let at = |points: Vec<[f64; 2]>| points.iter().find(|p| p[0] == step as f64).map_or(0.0, |p| 1e9 * p[1]);
        let drifts: Vec<f64> = arrival.iter().map(|one| at(drift(one))).collect();
        let far: Vec<f64> = truth.iter().zip(one).map(|(ring, one)| at(ring.from(one))).collect();
        let label = |who: &str| format!("{who} after {step} step{}", if step == 1 { "" } else { "s" });
        let (id, words) = (format!("arrival_{step}"), label("Sums by arrival: workers apart"));
        report.metrics.push(over_seeds(Family::Quality, &id, &words, "billionths", &drifts, cx));
        // At the end the distance can be seen with the naked eye.
        let (times, unit) = if step == STEPS { (1e-7, "%") } else { (1.0, "billionths") };
        let far: Vec<f64> = far.iter().map(|far| times * far).collect();
        let (id, words) = (format!("one_{step}"), label("Ring: from one worker with all windows"));
        report.metrics.push(over_seeds(Family::Quality, &id, &words, unit, &far, cx));
    }
    let agree = truth.iter().filter(|one| one.agree).count();
    report.metrics.push(
        metric(
            Family::Quality,
            "agree",
            "Trainings with a ring after which all workers hold the same bits",
            agree as f64,
            &format!("of {SEEDS}"),
        )
        .higher()
        .exact(0.0, "each part is summed on one way"),
    );
    report.charts.push(chart(
        "drift",
        "How far do weights go apart?",
        "First seed, both axes logarithmic. Workers that sum by arrival leave each other; workers of a ring never do, so they have no line. And a ring leaves the single worker that reads all text, because it sums in another order.",
        Axis::log("Steps"),
        Axis::log("Apart (billionths of the weights' length)"),
        vec![
            line("Sums by arrival, workers from each other", billionths(&drift(&arrival[0]))),
            line("Ring, from one worker", billionths(&truth[0].from(&one[0]))),
        ],
    ));
    Ok(())
}

/// A step of plain data parallel whose gradients go in one piece after the way back.
fn in_one_piece(events: &[Event], weights: usize, n: usize) -> Result<Vec<Event>, LabError> {
    let work = |update: bool| move |event: &&Event| matches!(event, Event::Work { work, .. } if matches!(work, Work::Update(_)) == update);
    let mut all: Vec<Event> = events.iter().filter(work(false)).copied().collect();
    let mail = Mail::new(n);
    let ports = mail.ports();
    let mut gradients = vec![vec![0.0; weights]; n];
    let calls = ports
        .iter()
        .zip(&mut gradients)
        .map(|(port, gradient)| -> LocalBoxFuture<'_, Result<(), LabError>> {
            Box::pin(all_reduce_ring(port, gradient))
        })
        .collect();
    ready(in_turn(&mail, calls, async || Ok(())))?;
    all.extend(mail.take_events());
    all.extend(events.iter().filter(work(true)));
    Ok(all)
}

/// Speeds that are simulated from what is timed.
async fn times(report: &mut Report, text: &Text, cx: &Context) -> Result<(), LabError> {
    let base = Setup::new(text, vec![WINDOWS; WORKERS], 2, RATE, 0);
    let costs = measured::measure(&base, 9, cx).await?;
    let rounds: Vec<usize> = (0..costs.rounds()).collect();
    let over = |of: &dyn Fn(usize) -> f64| rounds.iter().map(|round| of(*round)).collect::<Vec<f64>>();
    let sampled = |family, id: &str, label: &str, samples: Vec<f64>, unit: &str| {
        metric(family, id, label, median(&samples), unit)
            .interval(median_interval(&samples, LEVEL, &mut cx.rng(id)))
            .measured(samples)
    };
    let alone = |round: usize| costs.step(round, WINDOWS as f64);
    report
        .metrics
        .push(sampled(Family::Time, "step_ms", "A step of one worker on two windows", over(&alone), "ms").lower());
    let gflops = over(&|round| 1e-6 * measured::flops(&base, WINDOWS as f64) / alone(round).max(1e-9));
    report.metrics.push(sampled(Family::Utilization, "gflops", "Arithmetic of one worker", gflops, "GFLOP/s").higher());
    let copy = costs.copy();
    report.metrics.push(
        metric(Family::Time, "latency", "A message in this thread: of any size", 1e3 * copy.latency_ms, "µs")
            .lower()
            .measured(vec![1e3 * copy.latency_ms]),
    );
    report.metrics.push(
        metric(Family::Time, "bandwidth", "A message in this thread: bytes a second", 1e-6 * copy.bytes_per_ms, "GB/s")
            .higher()
            .measured(vec![1e-6 * copy.bytes_per_ms]),
    );
    let took = |costs: &Costs, round: usize, events: &[Event], n: usize, wire: Wire| {
        costs.simulate(round, events, (n, wire), 1.0).end_ms.max(1e-9)
    };
    let mut rows = Vec::new();
    for n in [2, 4, 8] {
        let setup = Setup::new(text, vec![WINDOWS; n], 1, RATE, 0);
        let ways =
            Stage::ALL.map(|stage| Way::Sync(stage, Sum::Ring)).into_iter().chain([Way::Sync(Stage::Ddp, Sum::Gather)]);
        let jobs: Vec<(Setup, Way)> = ways.map(|way| (Setup::new(text, vec![WINDOWS; n], 1, RATE, 0), way)).collect();
        let ran = run_all(&jobs)?;
        let joined = in_one_piece(&ran[0].events, setup.weights.len(), n)?;
        for (id, words, link) in LINKS {
            let wire = costs.wire(link);
            let speed =
                |events: &[Event]| over(&|round| n as f64 * alone(round) / took(&costs, round, events, n, wire));
            let mut row = vec![Cell::from(n as f64), Cell::from(words)];
            let mut add = |report: &mut Report, what: &str, name: &str, samples: Vec<f64>| {
                row.push(Cell::from(median(&samples)));
                let label = format!("{name}, {n} workers, {words}: text a second, of one worker's (simulated)");
                report.metrics.push(
                    sampled(Family::Scale, &format!("speed_{what}_{n}_{id}"), &label, samples, "×")
                        .higher()
                        .baseline(n as f64),
                );
            };
            add(report, "ddp", STAGES[0], speed(&ran[0].events));
            add(report, "zero2", STAGES[2], speed(&ran[2].events));
            add(report, "zero3", STAGES[3], speed(&ran[3].events));
            add(report, "gather", "Sums at worker 0", speed(&ran[4].events));
            add(report, "piece", "One message for all layers", speed(&joined));
            // Messages alone, and work alone: the longer one is what no overlap goes below.
            let messages: Vec<Event> =
                ran[0].events.iter().filter(|event| !matches!(event, Event::Work { .. })).copied().collect();
            let hidden =
                over(&|round| n as f64 * alone(round) / took(&costs, round, &messages, n, wire).max(alone(round)));
            add(report, "hidden", "Layer by layer, overlapped at best", hidden);
            rows.push(row);
        }
        if n == WORKERS {
            report.charts.push(figures::speeds(&costs, &setup, &ran[0].events, STAGES[0]));
        }
    }
    let columns = [
        "Workers",
        "Link",
        "Data parallel",
        "ZeRO-2",
        "ZeRO-3",
        "Sums at worker 0",
        "In one piece",
        "By layer, overlapped at best",
    ];
    report.tables.push(Table {
        id: "speeds".into(),
        title: "Text a second, of one worker's: two windows a worker, simulated".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    Ok(())
}
