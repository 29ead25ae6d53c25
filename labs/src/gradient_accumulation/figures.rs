//! Charts and tables.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Series, Table};
use lab_kit::accumulate::{Tradeoff, fit_tradeoff};

use super::{descent::Reached, equality::Row, memory::Peak, twins::Twins};

pub(super) fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: Vec::new() }
}

pub(super) fn chart(id: &str, title: &str, caption: &str, (x, y): (Axis, Axis), series: Vec<Series>) -> Chart {
    let body = ChartBody::Line { series };
    Chart { id: id.into(), title: title.into(), caption: caption.into(), x, y, body }
}

pub(super) fn table(id: &str, title: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Table { id: id.into(), title: title.into(), columns, rows }
}

/// Points that a logarithm can show.
fn shown(points: impl Iterator<Item = [f64; 2]>) -> Vec<[f64; 2]> {
    points.filter(|point| point[1] > 0.0).collect()
}

/// Errors by size of the pieces.
pub(super) fn equality(rows: &[Row]) -> (Chart, Table) {
    let by = |of: &dyn Fn(&Row) -> f64| shown(rows.iter().map(|row| [row.piece as f64, of(row)]));
    let series = vec![
        line("sum in FP32", by(&|row| row.errors[0])),
        line("sum in FP16", by(&|row| row.errors[1])),
        line("sum in BF16", by(&|row| row.errors[2])),
        line("layer norm, against one piece", by(&|row| row.layer)),
        line("batch norm, against one piece", by(&|row| row.batch.map_or(0.0, |apart| apart.0))),
    ];
    let chart = chart(
        "equality",
        "Is the gradient the same?",
        "The first three lines are errors against a gradient in double precision, the others differences from the gradient of one piece. 1 is an error as long as the gradient.",
        (Axis::log("Images in a piece"), Axis::log("Relative error of the gradient")),
        series,
    );
    let row = |row: &Row| {
        let norm = row.batch.map_or([Cell::from(""), Cell::from("")], |(apart, cosine)| [apart.into(), cosine.into()]);
        let numbers = [row.piece as f64, row.errors[0], row.same, row.errors[1], row.errors[2], row.layer];
        numbers.map(Cell::from).into_iter().chain(norm).collect()
    };
    let columns = [
        "Images in a piece",
        "Error, FP32",
        "Share with the same bits",
        "Error, FP16",
        "Error, BF16",
        "Layer norm",
        "Batch norm",
        "Cosine with batch norm",
    ];
    (chart, table("equality", "One gradient in pieces", &columns, rows.iter().map(row).collect()))
}

/// Loss of both trainings.
pub(super) fn twins(twins: &Twins) -> Chart {
    let curve = |losses: &[f64]| losses.iter().enumerate().map(|(i, loss)| [i as f64 + 1.0, *loss]).collect();
    chart(
        "twins",
        "Does the training notice?",
        "Both trainings read the same images in the same order. Where you see one line, the other lies under it.",
        (Axis::linear("Updates"), Axis::linear("Loss of the batch (nats)")),
        vec![
            line("each batch in one piece", curve(&twins.whole.losses)),
            line("in pieces", curve(&twins.pieces.losses)),
        ],
    )
}

/// Most bytes held, by texts in a piece.
pub(super) fn memory(peaks: &[Peak]) -> Option<Chart> {
    let values: Option<Vec<f64>> = peaks.iter().map(|peak| peak.bytes.map(|bytes| bytes as f64 / 1e6)).collect();
    let series = vec![BarSeries { name: "most memory held".into(), values: values?, intervals: Vec::new() }];
    Some(Chart {
        id: "memory".into(),
        title: "What do pieces save?".into(),
        caption: "Counted in the allocator while the language model makes one gradient of a batch of full texts. The model itself is not in it.".into(),
        x: Axis::linear("Texts in a piece"),
        y: Axis::linear("Megabytes"),
        body: ChartBody::Bar { categories: peaks.iter().map(|peak| peak.texts.to_string()).collect(), series },
    })
}

/// Updates and examples to the target, by batch.
pub(super) fn search(reached: &[Reached], noise: Option<f64>) -> Vec<Chart> {
    let points: Vec<(f64, f64)> = reached.iter().filter_map(|one| Some((one.batch as f64, one.steps?))).collect();
    if points.is_empty() {
        return Vec::new();
    }
    steps_and_examples(&points, fit_tradeoff(&points).filter(|_| points.len() > 2), noise)
}

/// The same of any points `(batch, updates)`.
pub(super) fn steps_and_examples(points: &[(f64, f64)], fit: Option<Tradeoff>, noise: Option<f64>) -> Vec<Chart> {
    let measured = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|(b, s)| [*b, of(*b, *s)]).collect::<Vec<_>>();
    let ends = |of: fn([f64; 2]) -> f64, all: &[[f64; 2]]| {
        all.iter().map(|p| of(*p)).fold([f64::INFINITY, 0.0_f64], |e, v| [e[0].min(v), e[1].max(v)])
    };
    let draw =
        |id: &str, title: &str, caption: &str, y: &str, steps: Vec<[f64; 2]>, law: &dyn Fn(&Tradeoff, f64) -> f64| {
            let ([from, to], [low, high]) = (ends(|p| p[0], &steps), ends(|p| p[1], &steps));
            let mut series = vec![line("measured", steps)];
            if let Some(fit) = &fit {
                let at = (0..=24).map(|i| from * (to / from).powf(f64::from(i) / 24.0));
                series.push(line("fitted", at.map(|b| [b, law(fit, b)]).collect()));
                series.push(line("critical batch", [low, high].map(|y| [fit.critical, y]).to_vec()));
            }
            if let Some(noise) = noise {
                series.push(line("noise scale", [low, high].map(|y| [noise, y]).to_vec()));
            }
            chart(id, title, caption, (Axis::log("Batch (images)"), Axis::log(y)), series)
        };
    vec![
        draw(
            "steps",
            "How many updates does a larger batch save?",
            "Updates until the loss is below the target. At first twice the batch takes half the updates; then the line bends.",
            "Updates",
            measured(&|_, steps| steps),
            &|fit, b| fit.steps(b),
        ),
        draw(
            "examples",
            "And what does it cost?",
            "The same trainings, counted in images that they read.",
            "Images read",
            measured(&|b, steps| b * steps),
            &|fit, b| fit.examples(b),
        ),
    ]
}

pub(super) fn reached(reached: &[Reached]) -> Table {
    let row = |one: &Reached| {
        let mut row: Vec<Cell> = vec![(one.batch as f64).into(), one.rate.into()];
        match one.steps {
            Some(steps) => row.extend([steps, one.batch as f64 * steps].map(Cell::from)),
            None => row.extend([format!("more than {}", one.done), "not reached".into()].map(Cell::from)),
        }
        row.push(one.noise.map_or(Cell::from(""), Cell::from));
        row.extend([one.seconds, one.accuracy].map(Cell::from));
        row
    };
    let columns = [
        "Batch",
        "Learning rate",
        "Updates",
        "Images read",
        "Noise scale (images)",
        "Seconds",
        "Accuracy, unseen fonts (%)",
    ];
    table("search", "Trainings to the target", &columns, reached.iter().map(row).collect())
}
