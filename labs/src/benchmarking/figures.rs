//! The strip of experiments, the first calls, latency against load, what a stall does to percentiles, and the one table.

use lab_api::{Axis, Cell, Chart, ChartBody, Series, Table};
use lab_kit::{bench::Served, measure::EnergyAssumptions, serving::quantile, stats::median};

use super::{
    Design, Params,
    compare::Alarms,
    machine::{Machine, Quality},
    scenarios::{IN_TIME, Scenarios, told},
};

fn series(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: vec![] }
}

/// Every experiment's interval, under both designs.
pub(super) fn strip(alarms: &Alarms, params: &Params) -> Chart {
    let of = |name: &str, design: Design| {
        let all = alarms.of(design);
        // The two designs stand side by side in each experiment.
        let shift = if design == Design::Interleaved { 0.4 } else { 0.0 };
        let points = all.iter().enumerate().map(|(i, v)| [i as f64 + 1.0 + shift, v.ratio]).collect();
        Series { name: name.into(), points, band: all.iter().map(|v| [v.interval.low, v.interval.high]).collect() }
    };
    Chart {
        id: "strip".into(),
        title: "Is FP32 faster than itself?".into(),
        caption: format!(
            "Each whisker is the interval of a whole experiment with {} samples of each. The truth is 1. The same samples, dealt out in two ways.",
            params.samples
        ),
        x: Axis::linear("Experiment"),
        y: Axis::linear("First over second"),
        body: ChartBody::Scatter {
            series: vec![of("One after the other", Design::Sequential), of("Interleaved", Design::Interleaved)],
        },
    }
}

pub(super) fn first_calls(first: &[f64]) -> Chart {
    let points = first.iter().enumerate().map(|(i, ms)| [i as f64 + 1.0, *ms]).collect();
    Chart {
        id: "first_calls".into(),
        title: "How fast are the first fifty calls?".into(),
        caption: "One by one, from the very first call after loading. How many would you leave out?".into(),
        x: Axis::linear("Call"),
        y: Axis::log("Milliseconds"),
        body: ChartBody::Scatter { series: vec![series("A call", points)] },
    }
}

/// Latency against load with the four scenarios, and percentiles by where they count from.
pub(super) fn scenarios(all: &[Scenarios], params: &Params) -> [Chart; 2] {
    let chosen = &all[all.len() - 1];
    let [batch, rate] = chosen.best_offline();
    let bound = params.bound * median(&chosen.single);
    let marks = [
        ("One user (90 of 100)", chosen.capacity(), quantile(&chosen.single, 0.9)),
        ("Rig of eight (middle)", 8e3 / median(&chosen.rig).max(f64::MIN_POSITIVE), median(&chosen.rig)),
        ("Crowd, within the bound", chosen.peak * chosen.capacity(), bound),
        ("Batch job (the whole batch)", rate, 1e3 * batch / rate.max(f64::MIN_POSITIVE)),
    ];
    let mut lines = vec![series("Crowd: 99 of 100, by the recursion", chosen.curve.clone())];
    lines.extend(marks.map(|(name, x, y)| series(name, vec![[x, y.max(1e-3)]])));
    let load = Chart {
        id: "load".into(),
        title: "What is the speed?".into(),
        caption: "One model on one device. The line is what 99 of 100 of a crowd wait at most; four points are the four scenarios.".into(),
        x: Axis::linear("Samples a second"),
        y: Axis::log("Latency (ms)"),
        body: ChartBody::Line { series: lines },
    };
    let shares = [0.5, 0.75, 0.9, 0.95, 0.99];
    let line = |name: &str, values: Vec<f64>| {
        series(name, shares.map(|share| [100.0 * share, quantile(&values, share).max(1e-3)]).to_vec())
    };
    let of = |which: fn(&Served) -> f64| chosen.live.iter().map(which).collect::<Vec<f64>>();
    let percentiles = Chart {
        id: "percentiles".into(),
        title: "From when does a latency count?".into(),
        caption: format!(
            "{} queries of one user, and {} of a crowd at {} % load, really served. The right end rests on very few queries.",
            chosen.single.len(),
            chosen.live.len(),
            params.load
        ),
        x: Axis::linear("Percentile"),
        y: Axis::log("Latency (ms)"),
        body: ChartBody::Line {
            series: vec![
                line("One user: the next when the last is done", chosen.single.clone()),
                line("Crowd, from the sending", of(Served::from_sent_ms)),
                line("Crowd, from the schedule", of(Served::latency_ms)),
            ],
        },
    };
    [load, percentiles]
}

/// Everything about each variant in one row.
pub(super) fn table(machine: &Machine, all: &[Scenarios], qualities: &[Quality]) -> Table {
    let percentile = |scenarios: &Scenarios, p: f64| told(&scenarios.single, p).map_or_else(Cell::from, Cell::from);
    let row = |i: usize| {
        let (variant, scenarios, quality) = (&machine.variants[i], &all[i], qualities[i]);
        let work = machine.work(i);
        vec![
            Cell::from(variant.name),
            quality.value.into(),
            quality.interval.low.into(),
            quality.interval.high.into(),
            median(&scenarios.single).into(),
            percentile(scenarios, 0.9),
            percentile(scenarios, IN_TIME),
            (scenarios.peak * scenarios.capacity()).into(),
            scenarios.best_offline()[1].into(),
            (variant.stored_bytes as f64).into(),
            (machine.flops(machine.items) as f64).into(),
            (1e3 * EnergyAssumptions::FP32_DRAM.energy(work).joules()).into(),
        ]
    };
    let columns = [
        "Variant",
        if machine.unit() == "tokens" { "Bits per character" } else { "Accuracy (%)" },
        "from",
        "to",
        "p50 (ms)",
        "p90 (ms)",
        "p99 (ms)",
        "Crowd within the bound (samples/s)",
        "Batch job (samples/s)",
        "Weights (bytes)",
        "Operations of a sample",
        "Energy of 16, by counting (mJ)",
    ];
    Table {
        id: "all".into(),
        title: "Everything in one table".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: (0..all.len()).map(row).collect(),
    }
}
