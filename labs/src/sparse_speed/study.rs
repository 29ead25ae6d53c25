//! Three matrices, seven batches, seven draws of weights and zeros: times, and where each format begins to pay.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Interval, LabError, Report, Series, Table};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    Shape, Zeros,
    cells::{Cells, SPARSITIES, Times},
    matrix::{Format, Source},
};

const SHAPES: [(Shape, &str, &str); 3] = [
    (Shape::Small, "small", "256 × 256"),
    (Shape::Gate, "gate", "576 × 192"),
    (Shape::Large, "large", "1,024 × 1,024"),
];
const BATCHES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Draws, each with buffers of its own: where they come to lie decides as much as all else.
const DRAWS: u64 = 7;
/// Samples of each cell in a draw.
const ROUNDS: usize = 5;
const LEVEL: f64 = 0.95;
const FORMATS: [Format; 5] = [Format::Unrolled, Format::Csr, Format::Bitmask, Format::RowBlocks, Format::ColumnBlocks];

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut found: Vec<Vec<Times>> = SHAPES.iter().map(|_| Vec::new()).collect();
    let before = cx.seed;
    for draw in 0..DRAWS {
        cx.seed = draw;
        for ((shape, id, _), found) in SHAPES.iter().zip(&mut found) {
            cx.progress(&format!("Draw {draw}: {id}"), draw as f64 / DRAWS as f64);
            let source = Source::of_shape(shape.size(), Zeros::Fitted, cx);
            let cells = Cells::build(&source, &SPARSITIES, &BATCHES, draw == 0, cx).await?;
            if cells.worst_error > 1e-4 {
                let why = format!("a format of “{id}” is off by {}", cells.worst_error);
                return Err(LabError::Refused { why });
            }
            found.push(cells.time(ROUNDS, cx).await?);
        }
    }
    cx.seed = before;
    Ok(report(&found, cx))
}

/// The middle over draws of what each draw's rounds have for their middle.
fn over_draws(draws: &[Times], cx: &Context, purpose: &str, of: impl Fn(&Times) -> Vec<f64>) -> (Vec<f64>, Interval) {
    let values: Vec<f64> = draws.iter().map(|times| median(&of(times))).collect();
    let interval = median_interval(&values, LEVEL, &mut cx.rng(purpose));
    (values, interval)
}

fn report(found: &[Vec<Times>], cx: &Context) -> Report {
    let mut report = Report::default();
    let mut rows = Vec::new();
    for ((_, shape, words), draws) in SHAPES.iter().zip(found) {
        for format in Format::ALL {
            for sparsity in SPARSITIES {
                let percent = (100.0 * sparsity).round();
                for batch in [1, 64] {
                    if !format.applies(batch, sparsity) {
                        continue;
                    }
                    let id = format!("{shape}_{}_{percent}_{batch}", format.id());
                    let of = |times: &Times| times.of(format, sparsity, batch).map_or_else(Vec::new, |t| t.us.clone());
                    let (us, interval) = over_draws(draws, cx, &id, of);
                    let label = format!("{words}, {}, {percent} % zeros, batch {batch}", format.words());
                    report.metrics.push(
                        metric(Family::Time, &format!("us_{id}"), &label, median(&us), "µs")
                            .lower()
                            .interval(interval)
                            .measured(us.clone()),
                    );
                    let (gain, interval) = over_draws(draws, cx, &id, |times| times.speedups(format, sparsity, batch));
                    report.metrics.push(
                        metric(
                            Family::Time,
                            &format!("speedup_{id}"),
                            &format!("Dense over this: {label}"),
                            median(&gain),
                            "×",
                        )
                        .higher()
                        .baseline(1.0)
                        .interval(interval)
                        .measured(gain.clone()),
                    );
                    let numbers = [percent, batch as f64, median(&us), median(&gain)];
                    let head = [Cell::from(*words), Cell::from(format.words())];
                    rows.push(head.into_iter().chain(numbers.map(Cell::from)).collect());
                }
            }
        }
        for format in FORMATS {
            for batch in BATCHES {
                if !format.applies(batch, 0.0) {
                    continue;
                }
                let id = format!("break_even_{shape}_{}_{batch}", format.id());
                let (at, interval) = over_draws(draws, cx, &id, |times| times.break_even(format, batch));
                let label = format!("{words}, {}: pays from, batch {batch}", format.words());
                report.metrics.push(
                    metric(Family::Scale, &id, &label, median(&at), "% zeros").lower().interval(interval).measured(at),
                );
            }
        }
    }
    let columns = ["Matrix", "Format", "Zeros (%)", "Inputs", "Time (µs)", "Dense over this (×)"];
    report.tables.push(Table {
        id: "times".into(),
        title: "Times of one input and of 64, medians over seven draws".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    let charts: Vec<Chart> = SHAPES.iter().map(|(_, shape, words)| break_even(&report, shape, words)).collect();
    report.charts.extend(charts);
    report
}

/// From which sparsity on each format pays, against the batch.
fn break_even(report: &Report, shape: &str, words: &str) -> Chart {
    let line = |format: Format| {
        let at = |batch: &usize| {
            // With one input the better of the two loops stands for CSR.
            let own = if format == Format::Csr && *batch == 1 { Format::Unrolled } else { format };
            let metric = report.metric(&format!("break_even_{shape}_{}_{batch}", own.id()))?;
            let band = metric.interval.map_or([metric.value; 2], |i| [i.low, i.high]);
            Some(([*batch as f64, metric.value], band))
        };
        let (points, band) = BATCHES.iter().filter_map(at).unzip();
        Series { name: format.words().into(), points, band }
    };
    Chart {
        id: format!("break-even-{shape}"),
        title: format!("From how many zeros on does it pay? {words}"),
        caption: "The sparsity from which on a format is faster than dense, against the inputs multiplied together; 100 where \
                  it never is. Medians over seven draws, bands are 95 % intervals."
            .into(),
        x: Axis::log("Inputs at once"),
        y: Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Zeros (%)") },
        body: ChartBody::Line {
            series: [Format::Csr, Format::Bitmask, Format::RowBlocks, Format::ColumnBlocks].map(line).to_vec(),
        },
    }
}
