//! The reach of each input, the methods against each other, and what a batch shares.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Series, Table};
use lab_kit::{measure::EnergyAssumptions, stats::median};

use super::{
    Params,
    estimate::Band,
    subject::{Batch, Run},
    summary::{clock, count},
};

/// By which factor each input moves the carbon.
pub(super) fn tornado(band: &Band) -> Chart {
    let factor = |bar: &(&str, f64, f64)| bar.2 / bar.1.max(f64::MIN_POSITIVE);
    Chart {
        id: "tornado".into(),
        title: "Which input decides the carbon?".into(),
        caption: "Factor by which the grams of a reply change while one input goes from the low to the high end of its plausible range. A factor of 1 means that it does not matter. Only the time was measured.".into(),
        x: Axis::linear("Input"),
        y: Axis::linear("Largest over smallest (×)"),
        body: ChartBody::Bar {
            categories: band.bars.iter().map(|bar| bar.0.to_owned()).collect(),
            series: vec![BarSeries { name: "Reach".into(), values: band.bars.iter().map(factor).collect(), intervals: vec![] }],
        },
    }
}

/// Methods with their joules of a token, FP32 and packed.
fn methods_of(run: &Run, params: &Params) -> Vec<(&'static str, [f64; 2], &'static str)> {
    let mut methods = vec![
        ("Counting, small cache", count(run, &EnergyAssumptions::FP32_CACHE), "counted × 45 nm table"),
        ("Counting, DRAM", count(run, &EnergyAssumptions::FP32_DRAM), "counted × 45 nm table"),
        ("Clock", clock(run, params), "measured time × assumed watts"),
    ];
    methods.extend(run.counted.map(|joules| ("Counter", joules, "measured by the machine")));
    methods
}

/// What packing does to energy, by each method.
pub(super) fn methods(run: &Run, params: &Params) -> Chart {
    let methods = methods_of(run, params);
    Chart {
        id: "methods".into(),
        title: "Does packing save energy?".into(),
        caption: "Energy of a token with packed weights over that in FP32, by each method. Below 1 packing saves. Methods that disagree on the side of 1 disagree on the decision.".into(),
        x: Axis::linear("Method"),
        y: Axis::linear("Packed over FP32 (×)"),
        body: ChartBody::Bar {
            categories: methods.iter().map(|method| method.0.to_owned()).collect(),
            series: vec![
                BarSeries { name: "FP32".into(), values: vec![1.0; methods.len()], intervals: vec![] },
                BarSeries {
                    name: "Packed".into(),
                    values: methods.iter().map(|(_, joules, _)| joules[1] / joules[0].max(f64::MIN_POSITIVE)).collect(),
                    intervals: vec![],
                },
            ],
        },
    }
}

/// The same in joules.
pub(super) fn ledger(run: &Run, params: &Params) -> Table {
    let row = |(name, joules, rests): &(&str, [f64; 2], &str)| {
        vec![Cell::from(*name), Cell::from(1e3 * joules[0]), Cell::from(1e3 * joules[1]), Cell::from(*rests)]
    };
    let mut rows: Vec<Vec<Cell>> = methods_of(run, params).iter().map(row).collect();
    rows.push(vec![
        Cell::from("Time (ms)"),
        Cell::from(median(&run.pair.first)),
        Cell::from(median(&run.pair.second)),
        Cell::from("measured"),
    ]);
    Table {
        id: "ledger".into(),
        title: "Energy of a token, by each method".into(),
        columns: ["Method", "FP32 (mJ)", "Packed (mJ)", "Rests on"].map(str::to_owned).to_vec(),
        rows,
    }
}

/// Joules against requests.
pub(super) fn batches(batches: &[Batch], params: &Params) -> Chart {
    let of = |name: &str, which: usize| Series {
        name: name.into(),
        points: batches
            .iter()
            .map(|batch| [batch.requests as f64, batch.ms_per_token[which] * params.watts()[which]])
            .collect(),
        band: vec![],
    };
    Chart {
        id: "batches".into(),
        title: "What do requests save each other?".into(),
        caption: "Energy of a token against the number of requests that are written together, by the clock.".into(),
        x: Axis::log("Requests at once"),
        y: Axis::log("Energy of a token (mJ)"),
        body: ChartBody::Line { series: vec![of("FP32", 0), of("Packed", 1)] },
    }
}
