//! Charts and the table of a run.

use lab_api::{Axis, Cell, Chart, ChartBody, Series, Table};
use lab_kit::stats::median;

use super::{
    measure::{COLUMNS, Errors, Moved, ROWS, Times},
    ways::{Case, Way},
};

fn line(name: impl Into<String>, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: vec![] }
}

fn chart(id: &str, title: &str, caption: &str, x: &str, y: Axis, series: Vec<Series>) -> Chart {
    Chart {
        id: id.into(),
        title: title.into(),
        caption: caption.into(),
        x: Axis::log(x),
        y,
        body: ChartBody::Line { series },
    }
}

/// Bytes held against the length.
pub(super) fn peaks(peaks: &[(usize, [f64; 6])]) -> Option<Chart> {
    if peaks.len() < 2 {
        return None;
    }
    let series = Way::ALL
        .iter()
        .enumerate()
        .filter(|(_, way)| **way != Way::AllTiles && **way != Way::Window)
        .map(|(i, way)| line(way.words(), peaks.iter().map(|(tokens, of)| [*tokens as f64, of[i]]).collect()));
    Some(chart(
        "peaks",
        "What does each way hold?",
        "The most bytes held at once beyond queries, keys and values, counted in the allocator. Both axes are logarithmic: a line that is twice as steep grows with the square.",
        "Tokens",
        Axis::log("Bytes held"),
        series.collect(),
    ))
}

/// Time against the length.
pub(super) fn times(times: &Times) -> Chart {
    chart(
        "times",
        "And what does it take?",
        "Median time of one head, forward, on this device. All ways share their products and their exponential.",
        "Tokens",
        Axis::log("Time (ms)"),
        Way::ALL.iter().map(|way| line(way.words(), times.line(*way))).collect(),
    )
}

/// Bytes moved against the rows of a tile.
pub(super) fn traffic(moved: &Moved, case: &Case) -> Chart {
    let flat = ROWS.iter().map(|rows| [*rows as f64, moved.table]).collect();
    let tiles = ROWS.iter().zip(&moved.by_rows).map(|(rows, bytes)| [*rows as f64, *bytes]).collect();
    chart(
        "traffic",
        "What do tiles move?",
        &format!(
            "Bytes between slow and fast memory for {} tokens, counted in the kernel, against the queries of a tile.",
            case.head.queries
        ),
        "Queries of a tile",
        Axis::log("Bytes moved"),
        vec![line(Way::OneTable.words(), flat), line(Way::Tiled.words(), tiles)],
    )
}

/// Time against the rows of a tile.
pub(super) fn tiles(ms: &[Vec<f64>]) -> Chart {
    let series = COLUMNS.iter().zip(ms).map(|(columns, ms)| {
        line(format!("{columns} keys"), ROWS.iter().zip(ms).map(|(rows, ms)| [*rows as f64, *ms]).collect())
    });
    chart(
        "tiles",
        "Which tile is best here?",
        "Median time of tiles of other sizes at the set length, 1,024 tokens at most.",
        "Queries of a tile",
        Axis::linear("Time (ms)"),
        series.collect(),
    )
}

/// Every way at the longest length.
pub(super) fn table(times: &Times, peaks: &[(usize, [f64; 6])], errors: &Errors) -> Table {
    let rows = Way::ALL.iter().enumerate().map(|(i, way)| {
        vec![
            Cell::from(way.words()),
            Cell::from(median(times.of(*way, times.longest()))),
            Cell::from(median(&times.ratios(Way::Eager, *way))),
            peaks.last().map_or(Cell::from("not counted"), |(_, of)| Cell::from(of[i])),
            Cell::from(errors.of[i]),
        ]
    });
    Table {
        id: "ways".into(),
        title: format!("Every way at {} tokens", times.longest()),
        columns: ["Way", "Time (ms)", "First over this (×)", "Bytes held", "Distance from the formula"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
    }
}
