//! The same measurements again and again: what of a roof repeats, and what of the picture below it.

use std::collections::BTreeMap;

use lab_api::{Axis, Cell, Chart, ChartBody, Family, LabError, Report, Series, Table};
use lab_kit::{
    Context,
    choices::Width,
    measure::roofs::Pass,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    matrix, model,
    roofs::{Roofs, STEPS},
};

/// Rounds; each measures everything anew.
const ROUNDS: usize = 6;
const LEVEL: f64 = 0.95;
/// Columns of the widest matrix, and the widths that a single column is measured at.
const COLUMNS: usize = 32;
const WIDTH: usize = 4096;
const NEAR: usize = 512;

/// Values by name, one for each round, with what they are.
type Found = BTreeMap<String, (Family, String, &'static str, Vec<f64>)>;

fn add(found: &mut Found, family: Family, id: &str, label: &str, unit: &'static str, value: f64) {
    found.entry(id.into()).or_insert_with(|| (family, label.into(), unit, Vec::new())).3.push(value);
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut found = Found::new();
    for round in 0..ROUNDS {
        cx.progress("Measuring again", round as f64 / ROUNDS as f64);
        let roofs = Roofs::measure(64, cx).await?;
        of_roofs(&roofs, &mut found);
        let plain = matrix::fp32(WIDTH, COLUMNS, cx).await?;
        let near = matrix::fp32(NEAR, COLUMNS, cx).await?;
        for (matrix, place) in [(&plain, "memory"), (&near, "cache")] {
            let one = matrix.points.first().map_or(1.0, |point| point.time_ms());
            for (columns, point) in matrix.columns.iter().zip(&matrix.points) {
                let id = |what: &str| format!("{what}_{place}_{columns}");
                add(
                    &mut found,
                    Family::Scale,
                    &id("times"),
                    &format!("Time of {columns} columns over that of one, matrix in {place}"),
                    "×",
                    point.time_ms() / one,
                );
                add(
                    &mut found,
                    Family::Scale,
                    &id("rate"),
                    &format!("Rate at {columns} columns, matrix in {place}"),
                    "GFLOP/s",
                    point.gflops(),
                );
                add(
                    &mut found,
                    Family::Utilization,
                    &id("share"),
                    &format!("Share of the bound at {columns} columns, matrix in {place}"),
                    "%",
                    100.0 * point.share(&roofs),
                );
            }
        }
        for bits in [Width::Sixteen, Width::Eight, Width::Four] {
            let packed = matrix::packed(WIDTH, COLUMNS, bits, cx).await?;
            for columns in [1, COLUMNS] {
                if let (Some(fp32), Some(packed)) = (plain.at(columns), packed.at(columns)) {
                    let label = format!("Speed-up by {} bits at {columns} columns", bits.bits());
                    add(
                        &mut found,
                        Family::Time,
                        &format!("speedup_{}_{columns}", bits.bits()),
                        &label,
                        "×",
                        fp32.time_ms() / packed.time_ms(),
                    );
                }
            }
            add(
                &mut found,
                Family::Memory,
                &format!("bytes_{}", bits.bits()),
                &format!("FP32 bytes over those of {} bits", bits.bits()),
                "×",
                plain.bytes as f64 / packed.bytes as f64,
            );
        }
        let phases = model::phases(cx).await?;
        for (id, point) in ["decode", "prefill"].into_iter().zip(&phases.points) {
            let verdict = point.verdict(&roofs);
            let ms = verdict.seconds.map(|seconds| 1e3 * seconds);
            add(&mut found, Family::Time, &format!("{id}_ms"), &format!("Time of {id}"), "ms", point.time_ms());
            add(
                &mut found,
                Family::Time,
                &format!("{id}_arithmetic_ms"),
                &format!("Arithmetic alone: {id}"),
                "ms",
                ms[0],
            );
            add(&mut found, Family::Time, &format!("{id}_bytes_ms"), &format!("Bytes alone: {id}"), "ms", ms[1]);
            add(&mut found, Family::Time, &format!("{id}_overhead_ms"), &format!("Overhead alone: {id}"), "ms", ms[3]);
        }
        let operations = model::operations(cx).await?;
        for point in &operations {
            let id = point.name.replace(", ", "_").replace([' ', '-'], "_").to_lowercase();
            add(
                &mut found,
                Family::Utilization,
                &format!("op_share_{id}"),
                &format!("Share of the bound: {}", point.name),
                "%",
                100.0 * point.share(&roofs),
            );
            add(
                &mut found,
                Family::Utilization,
                &format!("op_intensity_{id}"),
                &format!("Operations per byte: {}", point.name),
                "FLOP/byte",
                point.work.intensity(),
            );
        }
        let all = plain.points.iter().chain(&operations).chain(&phases.points);
        let above = all.filter(|point| point.share(&roofs) > 1.1).count();
        add(&mut found, Family::Utilization, "above_roof", "Kernels above their roof", "", above as f64);
    }
    Ok(report(&found, cx))
}

fn of_roofs(roofs: &Roofs, found: &mut Found) {
    let utilization = Family::Utilization;
    add(found, utilization, "peak_gflops", "Arithmetic roof", "GFLOP/s", roofs.peak_gflops());
    add(found, utilization, "own_gflops", "Roof in vectors of 128 bits", "GFLOP/s", roofs.own_gflops().unwrap_or(0.0));
    add(found, utilization, "naive_gflops", "Three plain loops", "GFLOP/s", roofs.naive_gflops.unwrap_or(0.0));
    add(found, Family::Memory, "memory_gb_per_s", "Memory roof", "GB/s", roofs.memory_gb_per_s());
    add(found, Family::Memory, "cache_gb_per_s", "Nearest cache", "GB/s", roofs.cache_gb_per_s());
    add(found, utilization, "ridge", "Ridge", "FLOP/byte", roofs.ridge());
    let own_ridge = roofs.own_gflops().unwrap_or(0.0) / roofs.memory_gb_per_s().max(f64::MIN_POSITIVE);
    add(found, utilization, "own_ridge", "Ridge in vectors of 128 bits", "FLOP/byte", own_ridge);
    add(found, utilization, "levels", "Levels of memory that the update shows", "", roofs.levels().len() as f64);
    let launch: Vec<f64> = roofs.launch_ms.iter().map(|ms| 1e3 * ms).collect();
    add(found, Family::Time, "launch_us", "Starting an operation", "µs", median(&launch));
    for (k, rates) in &roofs.polynomials {
        add(
            found,
            utilization,
            &format!("polynomial_{k}"),
            &format!("Polynomial of {k} steps"),
            "GFLOP/s",
            median(rates),
        );
    }
    for stream in &roofs.streams {
        let word = stream.pass.split(' ').next().unwrap_or_default();
        let id = format!("{word}_{}", stream.held_bytes >> 10);
        let label = format!("{} over {} KiB", stream.pass, stream.held_bytes >> 10);
        add(found, Family::Memory, &id, &label, "GB/s", median(&stream.gb_per_s));
    }
}

fn report(found: &Found, cx: &Context) -> Report {
    let mut report = Report::default();
    let mut rows = Vec::new();
    for (id, (family, label, unit, values)) in found {
        let interval = median_interval(values, LEVEL, &mut cx.rng(id));
        report
            .metrics
            .push(metric(*family, id, label, median(values), unit).interval(interval).measured(values.clone()));
        rows.push(vec![
            Cell::from(label.as_str()),
            Cell::from(*unit),
            Cell::from(median(values)),
            Cell::from(interval.low),
            Cell::from(interval.high),
        ]);
    }
    report.tables.push(Table {
        id: "rounds".into(),
        title: format!("Median of {ROUNDS} rounds, with its 95 % interval"),
        columns: ["Quantity", "Unit", "Median", "From", "To"].map(str::to_owned).to_vec(),
        rows,
    });
    let value = |id: &str| found.get(id).map_or(0.0, |(.., values)| median(values));
    let passes = Pass::ALL.map(|pass| {
        let word = pass.name().split(' ').next().unwrap_or_default();
        let kib = found.keys().filter_map(|id| id.strip_prefix(&format!("{word}_"))?.parse::<f64>().ok());
        let mut points: Vec<[f64; 2]> = kib.map(|kib| [kib / 1024.0, value(&format!("{word}_{kib}"))]).collect();
        points.sort_by(|a, b| a[0].total_cmp(&b[0]));
        Series { name: pass.name().into(), points, band: vec![] }
    });
    report.charts.push(Chart {
        id: "levels".into(),
        title: "How far does the cache reach?".into(),
        caption: format!("Bandwidth of three passes against the size of their buffers, median of {ROUNDS} rounds."),
        x: Axis::log("All buffers (MiB)"),
        y: Axis::linear("GB/s"),
        body: ChartBody::Line { series: passes.to_vec() },
    });
    report.charts.push(Chart {
        id: "steps".into(),
        title: "Does more arithmetic per byte always run faster?".into(),
        caption: "Rate of the polynomial against its multiply-adds per number.".into(),
        x: Axis::log("Multiply-adds per number"),
        y: Axis::linear("GFLOP/s"),
        body: ChartBody::Line {
            series: vec![Series {
                name: "Polynomial".into(),
                points: STEPS.iter().map(|k| [*k as f64, value(&format!("polynomial_{k}"))]).collect(),
                band: vec![],
            }],
        },
    });
    report
}
