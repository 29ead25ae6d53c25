//! Charts and tables.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Series, Span, Table};
use lab_kit::{
    Context,
    loading::{Arrange, BatchSequence, Jitter, Replacement, class_mix, hits, simulate_queue, steps_per_second},
    stats::median,
};

use super::{
    Params,
    arms::{Alone, Arm},
    bench::Bench,
};

/// Steps of a Gantt chart.
const SHOWN: usize = 9;
/// Colours: making, training, waiting.
const MAKES: usize = 4;
const TRAINS: usize = 1;
const WAITS: usize = 5;
/// Batches of a simulation.
pub(super) const SIMULATED: usize = 20_000;
pub(super) const DEPTHS: [usize; 5] = [1, 2, 4, 8, 16];
pub(super) const JITTERS: [(&str, &str, Jitter); 4] = [
    ("none", "Constant times", Jitter::None),
    ("mild", "Mild scatter (gamma, 4)", Jitter::Mild),
    ("exponential", "Exponential times", Jitter::Exponential),
    ("rare", "One slow read in a hundred", Jitter::Rare),
];

pub(super) fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: Vec::new() }
}

pub(super) fn chart(id: &str, title: &str, caption: &str, (x, y): (Axis, Axis), body: ChartBody) -> Chart {
    Chart { id: id.into(), title: title.into(), caption: caption.into(), x, y, body }
}

pub(super) fn table(id: &str, title: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Table { id: id.into(), title: title.into(), columns, rows }
}

/// THE picture: who did what, by the clock, over some steps at the end of a training.
pub(super) fn gantt(id: &str, arm: &Arm) -> Chart {
    let shown = &arm.steps[arm.steps.len().saturating_sub(SHOWN)..];
    let (from, to) = (shown.first().map_or(0.0, |step| step[0]), shown.last().map_or(1.0, |step| step[2]));
    let mut lanes: Vec<String> = (1..=arm.workers).map(|worker| format!("Worker {worker}")).collect();
    lanes.push("Trainer".into());
    let trainer = lanes.len() - 1;
    let mut spans = Vec::new();
    let mut add = |lane: usize, start: f64, end: f64, label: &str, colour: usize| {
        let (start, end) = (start.max(from) - from, end.min(to) - from);
        if end > start {
            spans.push(Span { lane, start, end, label: label.into(), colour });
        }
    };
    for (worker, start, end) in &arm.makes {
        add(if *worker == 0 { trainer } else { worker - 1 }, *start, *end, "makes", MAKES);
    }
    for [began, got, ended] in shown {
        if arm.workers > 0 {
            add(trainer, *began, *got, "waits", WAITS);
        }
        add(trainer, *got, *ended, "trains", TRAINS);
    }
    chart(
        id,
        "Who works, and who waits?",
        "The last steps that were timed, by the clock. Each worker makes batches, the trainer trains on them. Where the trainer waits, its lane says so.",
        (Axis { min: Some(0.0), ..Axis::linear("Time (ms)") }, Axis::linear("")),
        ChartBody::Gantt { lanes, spans },
    )
}

/// Steps a second against workers, measured and foretold.
pub(super) fn workers(params: &Params, alone: &Alone, arms: &[Arm], cx: &Context) -> Chart {
    let told = |cores: u32| {
        let of = |arm: &Arm| {
            let rate = steps_per_second(alone.load_ms(), alone.train_ms(), arm.workers as u32, cores, params.echo);
            [arm.workers as f64, rate]
        };
        arms.iter().map(of).collect()
    };
    let cores = cx.environment().cores.max(1);
    let measured = arms.iter().map(|arm| [arm.workers as f64, median(&arm.rates())]).collect();
    chart(
        "workers",
        "How many workers does the trainer need?",
        "Steps a second. The thin lines are arithmetic from two times that were measured alone: with a core for everybody, and with the cores that there are. Look where the measured line stops rising.",
        (Axis::linear("Workers"), Axis { min: Some(0.0), ..Axis::linear("Steps a second") }),
        ChartBody::Line {
            series: vec![
                line("Foretold, a core each", told(64)),
                line(&format!("Foretold, cores here: {cores}"), told(cores)),
                line("Measured", measured),
            ],
        },
    )
}

/// Milliseconds of each stage, beside those of a step.
pub(super) fn stages(alone: &Alone) -> Chart {
    let mut parts: Vec<(&str, f64)> = alone.stages.clone();
    if parts.is_empty() {
        parts.push(("Load", alone.load_ms()));
    }
    parts.push(("Train", alone.train_ms()));
    chart(
        "stages",
        "What does a batch cost?",
        "Milliseconds for a batch, each stage alone on one core, beside a step of the trainer. A loader that takes longer than the last bar starves it.",
        (Axis::linear("Stage"), Axis { min: Some(0.0), ..Axis::linear("Milliseconds a batch") }),
        ChartBody::Bar {
            categories: parts.iter().map(|part| part.0.into()).collect(),
            series: vec![BarSeries {
                name: "Alone".into(),
                values: parts.iter().map(|part| part.1).collect(),
                intervals: vec![],
            }],
        },
    )
}

/// What a queue of each depth makes of each kind of jitter: simulated.
pub(super) fn depths() -> Chart {
    let of = |(_, name, jitter): &(&str, &str, Jitter)| {
        let points = DEPTHS.iter().map(|depth| {
            let (busy, _) = simulate_queue(1.0, 1.0, 1, *depth, *jitter, SIMULATED);
            [*depth as f64, 100.0 * busy]
        });
        line(name, points.collect())
    };
    chart(
        "depth",
        "What does a deeper queue buy?",
        "Simulated: a loader and a trainer that are equally fast on average. A deeper queue absorbs scatter. With constant times it has nothing to do.",
        (Axis::log("Depth (batches)"), Axis { max: Some(100.0), ..Axis::linear("Trainer works (% of the time)") }),
        ChartBody::Line { series: JITTERS.iter().map(of).collect() },
    )
}

/// Items, epochs, and the last epochs that are counted.
const CACHED: (u32, u64) = (1000, 9);

/// Per cent of hits after the first epoch.
pub(super) fn hit_rate(arrange: Arrange, share: f64, rule: Replacement) -> f64 {
    let (items, epochs) = CACHED;
    let sequence = BatchSequence::new((0..items).collect(), arrange, 1, 0);
    let asked: Vec<u32> = (0..epochs).flat_map(|epoch| sequence.arranged(epoch)).collect();
    let capacity = (share * f64::from(items)).round() as usize;
    100.0 * hits(&asked, capacity, rule, items as usize) as f64 / (asked.len() - items as usize) as f64
}

/// Hits of a cache by its size: counted.
pub(super) fn caches() -> Chart {
    let of = |name: &str, arrange: Arrange, rule: Replacement| {
        let points =
            (1..=10).map(|tenths| [10.0 * f64::from(tenths), hit_rate(arrange, f64::from(tenths) / 10.0, rule)]);
        line(name, points.collect())
    };
    chart(
        "caches",
        "What does a cache hit that is too small?",
        "Epochs over 1,000 items. Which rule is worst, and from which size on does it help at all?",
        (
            Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Cache (% of the data)") },
            Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Hits (%)") },
        ),
        ChartBody::Line {
            series: vec![
                of("Least recently used, same order", Arrange::AsTheyLie, Replacement::LeastRecent),
                of("Least recently used, new order", Arrange::Full, Replacement::LeastRecent),
                of("First ones stay, any order", Arrange::Full, Replacement::Never),
            ],
        },
    )
}

/// Classes in a batch under each order: counted.
pub(super) fn mixes(params: &Params, bench: &Bench) -> Table {
    let mut rows = Vec::new();
    let orders = [
        ("As it lies", Arrange::AsTheyLie),
        ("Buffer of 64", Arrange::Buffer(64)),
        ("Buffer of 512", Arrange::Buffer(512)),
        ("Buffer of 2,048", Arrange::Buffer(2048)),
        ("Buffer of 4,096", Arrange::Buffer(4096)),
        ("64 shards, buffer of 512", Arrange::Shards(64, 512)),
        ("512 shards, buffer of 512", Arrange::Shards(512, 512)),
        ("Permutation", Arrange::Full),
        ("Permutation without a list", Arrange::Keyed),
        ("With replacement", Arrange::Replaced),
        ("Yours", params.arrange()),
    ];
    for (name, arrange) in orders {
        let sequence = bench.sequence(arrange, params.batch, 0);
        let (classes, moved) = class_mix(&sequence, &bench.labels, params.batch as usize);
        let round = |x: f64| Cell::from((10.0 * x).round() / 10.0);
        rows.push(vec![Cell::from(name), round(classes), Cell::from(moved.round())]);
    }
    table("mixes", "What a batch holds", &["Order", "Classes in a batch", "Places moved, on average"], rows)
}
