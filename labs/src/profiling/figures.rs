//! Shares of operations and of time, one block in its order, memory along a pass, time against length.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Series, Span, Table};
use lab_kit::{
    measure::EnergyAssumptions,
    profile::{Part, mean_interval},
    stats::median,
};

use super::{
    experiment::{Memory, Watched},
    settings::{Params, Phase},
    subject::Plan,
    summary::{fitted, resolved},
};

/// Operations of one kind.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) flops: f64,
    /// Milliseconds a pass.
    pub(super) ms: f64,
    /// Of them, what starting takes.
    start_ms: f64,
}

/// All kinds that the spans tell apart, in the order of a pass.
pub(super) fn kinds(watched: &Watched, plan: &Plan) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for spent in &watched.profile.parts {
        let flops = plan.work(spent.part).flops as f64;
        let ms = mean_interval(&spent.ms).0;
        let start_ms = mean_interval(&watched.hollow.ms(&|part| part == spent.part)).0.min(ms);
        match kinds.iter_mut().find(|kind| kind.name == spent.part.kind()) {
            Some(kind) => {
                kind.flops += flops;
                kind.ms += ms;
                kind.start_ms += start_ms;
            }
            None => kinds.push(Kind { name: spent.part.kind(), flops, ms, start_ms }),
        }
    }
    kinds
}

/// The picture of the lab.
pub(super) fn shares(watched: &Watched, plan: &Plan) -> Chart {
    let kinds = kinds(watched, plan);
    let pass = mean_interval(&watched.profile.pass_ms).0.max(f64::MIN_POSITIVE);
    let all = plan.work(Part::Pass).flops as f64;
    let mut rows: Vec<(&str, f64, f64)> =
        kinds.iter().map(|kind| (kind.name, kind.flops / all, (kind.ms - kind.start_ms) / pass)).collect();
    let (spans, start) = kinds.iter().fold((0.0, 0.0), |sum, kind| (sum.0 + kind.ms, sum.1 + kind.start_ms));
    rows.push(("Starting operations", 0.0, start / pass));
    rows.push(("Between the spans", 0.0, (pass - spans).max(0.0) / pass));
    let series = |name: &str, of: fn(&(&str, f64, f64)) -> f64| BarSeries {
        name: name.into(),
        values: rows.iter().map(|row| 100.0 * of(row)).collect(),
        intervals: vec![],
    };
    Chart {
        id: "shares".into(),
        title: "Do operations foretell the time?".into(),
        caption: "For each kind of operation its share of all that is counted, and its share of the time of a pass without what starting takes. The last two are in no count.".into(),
        x: Axis::linear("Kind of operation"),
        y: Axis::linear("Share (%)"),
        body: ChartBody::Bar {
            categories: rows.iter().map(|row| row.0.to_owned()).collect(),
            series: vec![series("Share of the operations", |row| row.1), series("Share of the time", |row| row.2)],
        },
    }
}

/// One block in its order, each operation as long as its mean. `None` where operations are not told apart.
pub(super) fn block(watched: &Watched) -> Option<Chart> {
    let parts = &watched.profile.parts;
    let mean = |part: Part| {
        let spent = parts.iter().find(|spent| spent.part == part)?;
        Some(1e3 * mean_interval(&spent.ms).0 / spent.calls.max(1) as f64)
    };
    let first = watched.order.iter().skip_while(|part| **part != Part::Block).skip(1);
    let mut lanes: Vec<String> = Vec::new();
    let (mut spans, mut now) = (Vec::new(), 0.0);
    for part in first.take_while(|part| **part != Part::Block) {
        let Some(us) = mean(*part) else { continue };
        let lane = lanes.iter().position(|lane| lane == part.kind()).unwrap_or(lanes.len());
        if lane == lanes.len() {
            lanes.push(part.kind().into());
        }
        spans.push(Span { lane, start: now, end: now + us, label: part.name().into(), colour: lane });
        now += us;
    }
    parts.iter().any(|spent| spent.part == Part::Scores).then(|| Chart {
        id: "block".into(),
        title: "One block, operation by operation".into(),
        caption: "Every operation of a block in its order, as long as it takes on average. Count times length makes a hotspot: many short spans in one lane weigh as much as a long one.".into(),
        x: Axis::linear("Time (µs)"),
        y: Axis::linear("Kind of operation"),
        body: ChartBody::Gantt { lanes, spans },
    })
}

/// What lives along a pass.
pub(super) fn timeline(memory: &Memory) -> Chart {
    let points = memory.points.iter().enumerate().map(|(i, (_, bytes))| [i as f64, bytes / 1024.0]).collect();
    let most = memory.points.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or("", |(part, _)| part.name());
    Chart {
        id: "timeline".into(),
        title: "What lives in memory along a pass?".into(),
        caption: format!(
            "Bytes held beyond those before the pass, read where every part begins and ends. The most is seen at “{most}”; between two looks {:.0} KiB were reached.",
            memory.peak_bytes as f64 / 1024.0
        ),
        x: Axis::linear("Looks, in their order"),
        y: Axis::linear("Live (KiB)"),
        body: ChartBody::Line { series: vec![Series { name: "Live".into(), points, band: vec![] }] },
    }
}

/// Time against length, and the fit.
pub(super) fn scale(sweep: &[(usize, Vec<f64>)], params: &Params) -> Chart {
    let points: Vec<[f64; 2]> = sweep.iter().map(|(n, ms)| [*n as f64, median(ms)]).collect();
    let mut series = vec![];
    if let Some([a, b, c]) = fitted(sweep) {
        let fit = points.iter().map(|[n, _]| [*n, (a + b * n + c * n * n).max(1e-6)]).collect();
        series.push(Series { name: "a + b n + c n²".into(), points: fit, band: vec![] });
    }
    series.push(Series { name: "Measured".into(), points, band: vec![] });
    let x = if params.phase == Phase::Prefill { "Tokens of the prompt" } else { "Tokens that the new one looks at" };
    Chart {
        id: "scale".into(),
        title: "How does a pass grow with its tokens?".into(),
        caption: "A pass that nobody watches at several lengths, median.".into(),
        x: Axis::log(x),
        y: Axis::log("Time of a pass (ms)"),
        body: ChartBody::Line { series },
    }
}

/// Every part with its work and its time.
pub(super) fn operations(watched: &Watched, plan: &Plan, alone: Option<&[(Part, Vec<f64>)]>) -> Table {
    let mut columns = vec![
        "Operation",
        "Calls",
        "Millions of operations",
        "Share of them (%)",
        "Time (µs)",
        "± (µs)",
        "Share of the time (%)",
        "Starting (µs)",
        "GFLOP/s",
        "FLOP/byte",
        "Energy if all comes from DRAM (µJ)",
    ];
    if alone.is_some() {
        columns.push("Alone (µs)");
    }
    let all = plan.work(Part::Pass).flops as f64;
    let row = |spent: &lab_kit::profile::Spent| {
        let work = plan.work(spent.part);
        let (ms, interval) = mean_interval(&spent.ms);
        let start = mean_interval(&watched.hollow.ms(&|part| part == spent.part)).0;
        let share = mean_interval(&watched.profile.share(&|part| part == spent.part)).0;
        let known = resolved(&spent.ms);
        let told = |number: f64| if known { Cell::from(number) } else { Cell::from("not resolved") };
        let mut row = vec![
            Cell::from(spent.part.name()),
            Cell::from(spent.calls as f64),
            Cell::from(1e-6 * work.flops as f64),
            Cell::from(100.0 * work.flops as f64 / all),
            told(1e3 * ms),
            Cell::from(1e3 * (interval.high - ms)),
            told(100.0 * share),
            Cell::from(1e3 * start),
            told(work.gflops(1e-3 * ms)),
            Cell::from(work.intensity()),
            Cell::from(1e6 * EnergyAssumptions::FP32_DRAM.energy(work).joules()),
        ];
        if let Some(alone) = alone {
            let found = alone.iter().find(|(part, _)| *part == spent.part);
            row.push(found.map_or(Cell::from("in place only"), |(_, ms)| Cell::from(1e3 * median(ms))));
        }
        row
    };
    Table {
        id: "operations".into(),
        title: "Every part that was watched, all its calls in a pass together".into(),
        columns: columns.into_iter().map(str::to_owned).collect(),
        rows: watched.profile.parts.iter().map(row).collect(),
    }
}
