//! Charts and tables.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Series, Table};
use lab_kit::{
    fusion::{LANES, wgsl_of},
    stats::median,
};

use super::{
    Neighbours, Operation, Params,
    network::{Counted, LEVELS, Level},
    subject::Case,
    timing::{ARMS, Chains},
};

fn chart(id: &str, title: &str, caption: &str, (x, y): (Axis, Axis), body: ChartBody) -> Chart {
    Chart { id: id.into(), title: title.into(), caption: caption.into(), x, y, body }
}

fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: Vec::new() }
}

fn bars(name: &str, values: Vec<f64>) -> BarSeries {
    BarSeries { name: name.into(), values, intervals: Vec::new() }
}

/// The picture: gain over the number of elements.
pub(super) fn gain(chains: &Chains, params: &Params) -> Chart {
    let of = |step: usize, arm: usize| -> Vec<[f64; 2]> {
        let timed = chains.sizes.iter().enumerate().filter(|(i, _)| !chains.ns[*i][step][arm].is_empty());
        timed.map(|(i, n)| [*n as f64, median(&chains.gains(i, step, arm))]).collect()
    };
    let lanes = params.lanes.count();
    let mut series = vec![
        line("No gain", chains.sizes.iter().map(|n| [*n as f64, 1.0]).collect()),
        line("Cheap operations, fused", of(0, 3)),
        line("Cheap operations, blocks, not fused", of(0, 2)),
        line(&format!("Exponentials, fused, {lanes} side by side"), of(1, 3)),
    ];
    if lanes != 1 {
        series.push(line("Exponentials, fused one by one", of(1, 4)));
    }
    chart(
        "gain",
        "When does one pass pay?",
        "How many times as fast as a buffer for each operation; both axes are logarithmic. The cheap line climbs where buffers leave the caches. Below 1, fusing loses.",
        (Axis::log("Numbers"), Axis::log("Gain (×)")),
        ChartBody::Line { series },
    )
}

/// Time of each arm.
pub(super) fn arms(chains: &Chains, params: &Params) -> Chart {
    let step = usize::from(params.operation == Operation::Exp);
    let of = |(arm, name): (usize, &&str)| {
        let points = chains.sizes.iter().zip(&chains.ns).filter(|(_, ns)| !ns[step][arm].is_empty());
        line(name, points.map(|(n, ns)| [*n as f64, median(&ns[step][arm])]).collect())
    };
    chart(
        "arms",
        "Five ways of the same chain",
        "Time for all operations on one number. Compare blocks that run separate passes with the fused loop: how much of the gain is the cache's?",
        (Axis::log("Numbers"), Axis::log("Time (ns a number)")),
        ChartBody::Line { series: ARMS.iter().enumerate().map(of).collect() },
    )
}

/// Launches, bytes and time of each pair.
pub(super) fn pairs(params: &Params, cases: &[Case], times: &[[Vec<f64>; 2]]) -> Chart {
    let ratio = |of: &dyn Fn(&Case) -> [usize; 2]| {
        cases.iter().map(|case| of(case)[0] as f64 / of(case)[1].max(1) as f64).collect()
    };
    let time = times.iter().map(|[one, other]| median(one) / median(other).max(1e-9)).collect();
    chart(
        "pairs",
        "Launches, bytes, time",
        &format!(
            "Separate over fused, for each pair at 2^{} numbers. The first two bars are counted, the third is measured: which of the two does it follow?",
            params.numbers
        ),
        (Axis::linear("Pair"), Axis { min: Some(0.0), ..Axis::linear("Separate / fused (×)") }),
        ChartBody::Bar {
            categories: Neighbours::ALL.map(|which| which.words().to_owned()).into(),
            series: vec![
                bars("launches", ratio(&|case| case.counts().map(|counts| counts.launches))),
                bars("bytes", ratio(&|case| case.counts().map(|counts| counts.touches))),
                bars("time", time),
            ],
        },
    )
}

/// What pairs launch, touch and hold.
pub(super) fn pairs_table(params: &Params, cases: &[Case]) -> Table {
    let row = |case: &Case| {
        let [separate, fused] = case.counts();
        let touches = |touches: usize| Cell::from(touches as f64 / case.n as f64);
        vec![
            case.which.words().into(),
            Cell::from(separate.launches as f64),
            Cell::from(fused.launches as f64),
            touches(separate.touches),
            touches(fused.touches),
            Cell::from(case.temporaries() as f64 / 1e6),
        ]
    };
    Table {
        id: "counts".into(),
        title: format!("What each pair launches, touches and holds, at 2^{} numbers", params.numbers),
        columns: [
            "Pair",
            "Launches, separate",
            "Launches, fused",
            "Touches a number, separate",
            "Touches a number, fused",
            "Results between operations (MB)",
        ]
        .map(str::to_owned)
        .into(),
        rows: cases.iter().map(row).collect(),
    }
}

/// Time by elements side by side.
pub(super) fn lanes(times: &[Vec<f64>], params: &Params) -> Chart {
    let mut categories = vec!["separate".to_owned()];
    categories.extend(LANES.iter().map(|lanes| format!("fused, {lanes}")));
    chart(
        "lanes",
        "Why does a fused exponential lose?",
        &format!(
            "{} exponentials on 4,096 numbers, all in the nearest caches. The fused loop takes 1 to 32 numbers at once. With one, each operation waits for the last.",
            params.length
        ),
        (Axis::linear("Numbers side by side"), Axis { min: Some(0.0), ..Axis::linear("Time (ns a number)") }),
        ChartBody::Bar { categories, series: vec![bars("time", times.iter().map(|ns| median(ns)).collect())] },
    )
}

/// The language model at each level.
pub(super) fn model(model: &Counted) -> Chart {
    let share = |levels: &[Level; 4], of: &dyn Fn(&Level) -> usize| {
        levels.iter().map(|level| 100.0 * of(level) as f64 / of(&levels[0]).max(1) as f64).collect()
    };
    let weights = model.weights as f64;
    let all = |level: &Level| 100.0 * (level.moved as f64 + weights) / (model.decode[0].moved as f64 + weights);
    chart(
        "model",
        "The whole language model, fused step by step",
        "Left of separate operations, in per cent, when 128 tokens are read (prefill) and when one is written (decode). With its weights counted, decode moves nearly as much as before: there only launches fall.",
        (Axis::linear("What is fused"), Axis { min: Some(0.0), ..Axis::linear("Left (%)") }),
        ChartBody::Bar {
            categories: LEVELS.map(str::to_owned).into(),
            series: vec![
                bars("prefill: kernels", share(&model.prefill, &|level| level.kernels)),
                bars("prefill: activations moved", share(&model.prefill, &|level| level.moved)),
                bars("decode: kernels", share(&model.decode, &|level| level.kernels)),
                bars("decode: moved, with weights", model.decode.iter().map(all).collect()),
            ],
        },
    )
}

/// The kernel of the chain, line by line.
pub(super) fn kernel(params: &Params) -> Table {
    let text = wgsl_of(&vec![params.operation.step(); params.length as usize]);
    let row = |(i, line): (usize, &str)| vec![Cell::from((i + 1) as f64), line.replace("    ", "· ").as_str().into()];
    Table {
        id: "kernel".into(),
        title: "The fused chain as a kernel for the GPU, written by the lab".into(),
        columns: ["Line", "WGSL"].map(str::to_owned).into(),
        rows: text.lines().enumerate().map(row).collect(),
    }
}
