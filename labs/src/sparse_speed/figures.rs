//! Tables and charts of a run.

use lab_api::{Axis, Cell, Chart, ChartBody, Series, Table};
use lab_kit::{
    sparse::{bitmask_bytes, csr_bytes, mask_entropy_bits},
    stats::median,
};

use super::{
    cells::Times,
    matrix::{Format, Source},
};

/// Time against sparsity, for one input and for a batch.
pub(super) fn times(times: &Times, batch: usize) -> Vec<Chart> {
    let of = |batch: usize, id: &str, title: &str, caption: String| {
        let lines = Format::ALL.into_iter().map(|format| (format, times.line(format, batch)));
        let series = |(format, points): (Format, Vec<[f64; 2]>)| Series {
            name: format.words().into(),
            points: points.iter().map(|[s, us]| [100.0 * s, *us]).collect(),
            band: vec![],
        };
        Chart {
            id: id.into(),
            title: title.into(),
            caption,
            x: Axis::linear("Zeros (%)"),
            y: Axis::log("Time of a product (µs)"),
            // A single point is no line: 2:4 stands in the table.
            body: ChartBody::Line { series: lines.filter(|(_, points)| points.len() > 1).map(series).collect() },
        }
    };
    vec![
        of(
            1,
            "one",
            "When does a zero save time? One input",
            "Median time of one product on this device against the share of zeros. Dense multiplies them all, so its line is \
             flat. A format pays where its line is below."
                .into(),
        ),
        of(
            batch,
            "batch",
            &format!("The same weights, {batch} inputs at once"),
            "The vectors run along the batch, so that a column number that has been read serves all inputs.".into(),
        ),
    ]
}

/// Bytes against sparsity.
pub(super) fn bytes(source: &Source) -> Chart {
    let (rows, columns) = (source.rows, source.columns);
    let all = rows * columns;
    let at: Vec<f64> = (0..=19).map(|i| 0.05 * f64::from(i)).collect();
    let line = |name: &str, bytes: &dyn Fn(usize) -> f64| Series {
        name: name.into(),
        points: at.iter().map(|s| [100.0 * s, bytes(all - (s * all as f64).round() as usize)]).collect(),
        band: vec![],
    };
    Chart {
        id: "bytes".into(),
        title: "When does a zero save bytes?".into(),
        caption: "Bytes of the matrix against the share of zeros, values in 16 bits (FP16) but for the dense lines. The lowest \
                  line is what values and places take at least: the places at their entropy."
            .into(),
        x: Axis::linear("Zeros (%)"),
        y: Axis::linear("Bytes"),
        body: ChartBody::Line {
            series: vec![
                line("Dense, FP16", &|_| (2 * all) as f64),
                line("Dense, INT8", &|_| (all + 4 * rows) as f64),
                line("CSR", &|kept| csr_bytes(rows, kept, 2, 2) as f64),
                line("Bitmask", &|kept| bitmask_bytes(rows, columns, kept, 2) as f64),
                line("Least possible", &|kept| {
                    2.0 * kept as f64 + mask_entropy_bits(kept as f64 / all as f64) * all as f64 / 8.0
                }),
            ],
        },
    }
}

/// Every cell.
pub(super) fn table(times: &Times) -> Table {
    let columns =
        ["Format", "Zeros (%)", "Inputs", "Bytes (FP32)", "Time (µs)", "Dense over this (×)", "Useful (GFLOP/s)"];
    let rows = times.all.iter().map(|timed| {
        let (key, us) = (timed.key, median(&timed.us));
        vec![
            Cell::from(key.format.words()),
            Cell::from((1000.0 * key.sparsity).round() / 10.0),
            Cell::from(key.batch as f64),
            Cell::from(timed.bytes as f64),
            Cell::from(us),
            Cell::from(median(&times.speedups(key.format, key.sparsity, key.batch))),
            Cell::from(2e-3 * (timed.kept * key.batch) as f64 / us.max(1e-9)),
        ]
    });
    Table {
        id: "cells".into(),
        title: "Every format, sparsity and batch".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}
