//! The same year on ten grids, and ten years of growth.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Series, Table};
use lab_kit::measure::footprint::{GRIDS, rebound};

use super::Params;

/// Carbon of the year, place by place.
pub(super) fn moved(params: &Params) -> Chart {
    let years = GRIDS.map(|(_, grams)| params.year(grams));
    let bars = |name: &str, values: Vec<f64>| BarSeries { name: name.into(), values, intervals: vec![] };
    Chart {
        id: "moved".into(),
        title: "What if it ran elsewhere?".into(),
        caption:
            "Tonnes of CO2 equivalent of the same year on ten grids. What making the machines emitted does not move."
                .into(),
        x: Axis::linear("Grid"),
        y: Axis::linear("Tonnes a year"),
        body: ChartBody::Bar {
            categories: GRIDS.iter().map(|grid| grid.0.to_owned()).collect(),
            series: vec![
                bars("Machines", years.iter().map(|year| 1e-6 * year.embodied_grams).collect()),
                bars("Electricity", years.iter().map(|year| 1e-6 * year.operational_grams).collect()),
            ],
        },
    }
}

/// Energy over ten years, with the technique adopted once, with one as good every year, and without.
pub(super) fn years(params: &Params) -> Chart {
    let now = 1e-3 * params.year(params.grid().1).kwh;
    let line = |name: &str, of: &dyn Fn(f64) -> f64| Series {
        name: name.into(),
        points: (0..=10).map(f64::from).map(|year| [year, now * of(year)]).collect(),
        band: vec![],
    };
    let each = rebound(params.gain, params.growth);
    Chart {
        id: "years".into(),
        title: "What does growth make of a saving?".into(),
        caption: "Energy of a year if use grows as entered: without the technique, with it from now on, and with another as good every year.".into(),
        x: Axis::linear("Years from now"),
        y: Axis::log("MWh a year"),
        body: ChartBody::Line {
            series: vec![
                line("Without", &|year| params.growth.powf(year)),
                line("Once", &|year| params.growth.powf(year) / params.gain),
                line("Every year", &|year| each.powf(year)),
            ],
        },
    }
}

/// The grids with the year's carbon.
pub(super) fn grids(params: &Params) -> Table {
    let row = |(name, grams): (&str, f64)| {
        let year = params.year(grams);
        vec![
            Cell::from(name),
            Cell::from(grams),
            Cell::from(1e-6 * year.grams()),
            Cell::from(100.0 * year.embodied_grams / year.grams()),
        ]
    };
    Table {
        id: "grids".into(),
        title: "The same year on ten grids".into(),
        columns: ["Grid", "Grams per kWh", "Tonnes a year", "Share of machines (%)"].map(str::to_owned).to_vec(),
        rows: GRIDS.map(row).to_vec(),
    }
}
