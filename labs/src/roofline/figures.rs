//! The roofline, the levels of memory, the polynomials, and how far below its bound everything stands.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Marker, Series, Table};
use lab_kit::{measure::roofs::Pass, stats::median};

use super::{matrix::Matrix, model::Phases, point::Point, roofs::Roofs};

/// Operations per byte at the ends of the roofs that are drawn.
const FROM: f64 = 0.125;
const TO: f64 = 128.0;

fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: vec![] }
}

fn roof(name: &str, peak: f64, gb_per_s: f64) -> Series {
    let ridge = (peak / gb_per_s.max(f64::MIN_POSITIVE)).clamp(FROM, TO);
    line(name, vec![[FROM, peak.min(gb_per_s * FROM)], [ridge, peak.min(gb_per_s * ridge)], [TO, peak]])
}

fn place(point: &Point) -> [f64; 2] {
    [point.work.intensity(), point.gflops()]
}

/// Everything under its roofs.
pub(super) fn roofline(roofs: &Roofs, plain: &Matrix, packed: &Matrix, phases: &Phases) -> Chart {
    let comet = |matrix: &Matrix| line(&format!("Matrix, {}", matrix.name), matrix.points.iter().map(place).collect());
    let mut series = vec![
        roof("Roof: memory, best kernel", roofs.peak_gflops(), roofs.memory_gb_per_s()),
        comet(plain),
        comet(packed),
        roof("Roof: cache, 128-bit vectors", roofs.own_gflops().unwrap_or(roofs.peak_gflops()), roofs.cache_gb_per_s()),
    ];
    series.extend(phases.points.iter().map(|point| line(&format!("Model: {}", point.name), vec![place(point)])));
    Chart {
        id: "roofline".into(),
        title: "What limits what, on this device?".into(),
        caption: "Roofs from kernels measured a moment ago. One matrix times 1, 2, 4 columns climbs along the slope of memory and bends where arithmetic takes over; packed, it starts further right. The language model lies far below."
            .into(),
        x: Axis::log("Operations per byte"),
        y: Axis::log("GFLOP/s"),
        body: ChartBody::Line { series },
    }
}

/// Bandwidth against the size of the buffers.
pub(super) fn bandwidth(roofs: &Roofs) -> Chart {
    let of = |pass: Pass| {
        let streams = roofs.streams.iter().filter(|stream| stream.pass == pass.name());
        line(
            pass.name(),
            streams.map(|stream| [stream.held_bytes as f64 / f64::from(1 << 20), median(&stream.gb_per_s)]).collect(),
        )
    };
    let series = Pass::ALL.map(of).into_iter().filter(|series| !series.points.is_empty()).collect();
    Chart {
        id: "bandwidth".into(),
        title: "How far does the cache reach?".into(),
        caption: "Three passes over growing buffers, median. A step down is the end of a cache; where there is no step, the instructions are slower than the caches.".into(),
        x: Axis::log("All buffers (MiB)"),
        y: Axis::linear("GB/s"),
        body: ChartBody::Line { series },
    }
}

/// The rate of our own arithmetic against its intensity.
pub(super) fn polynomials(roofs: &Roofs) -> Option<Chart> {
    let points: Vec<[f64; 2]> = roofs.polynomials.iter().map(|(k, rates)| [*k as f64, median(rates)]).collect();
    (!points.is_empty()).then(|| Chart {
        id: "polynomials".into(),
        title: "Does more arithmetic per byte always run faster?".into(),
        caption: "A polynomial of k multiply-adds on numbers in the nearest cache. The number of operations per byte is k / 4.".into(),
        x: Axis::log("Multiply-adds per number"),
        y: Axis::linear("GFLOP/s"),
        body: ChartBody::Line { series: vec![line("Polynomial", points)] },
    })
}

/// How far below the bound.
pub(super) fn shares<'a>(points: impl Iterator<Item = &'a Point>, roofs: &Roofs) -> Chart {
    const BINS: usize = 12;
    let edges: Vec<f64> = (0..=BINS).map(|i| 10.0 * i as f64).collect();
    let mut counts = vec![0.0; BINS];
    for point in points {
        counts[((10.0 * point.share(roofs)) as usize).min(BINS - 1)] += 1.0;
    }
    Chart {
        id: "shares".into(),
        title: "How close does anything come to its bound?".into(),
        caption: "All kernels by their share of the bound: the time that arithmetic, bytes or overhead would take, over the time they took. Nothing may lie beyond 100 % by more than noise.".into(),
        x: Axis::linear("Share of the bound (%)"),
        y: Axis::linear("Kernels"),
        body: ChartBody::Histogram {
            edges,
            series: vec![BarSeries { name: "Kernels".into(), values: counts, intervals: vec![] }],
            markers: vec![Marker { at: 100.0, label: "the bound".into() }],
        },
    }
}

/// Every kernel with its limit.
pub(super) fn kernels<'a>(points: impl Iterator<Item = &'a Point>, roofs: &Roofs) -> Table {
    let columns = ["Kernel", "Operations per byte", "Time (ms)", "GFLOP/s", "Limit", "Share of the bound (%)"];
    let row = |point: &Point| {
        vec![
            Cell::from(point.name.as_str()),
            Cell::from(point.work.intensity()),
            Cell::from(point.time_ms()),
            Cell::from(point.gflops()),
            Cell::from(point.verdict(roofs).limit.name()),
            Cell::from(100.0 * point.share(roofs)),
        ]
    };
    Table {
        id: "kernels".into(),
        title: "Every kernel, its limit and its distance from it".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: points.map(row).collect(),
    }
}
