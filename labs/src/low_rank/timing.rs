//! How long the factored model takes, against the dense one; and one matrix at several ranks.

use lab_api::{Axis, Chart, ChartBody, Family, LabError, Metric, Series};
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    matmul,
    measure::{Pair, peak_gflops, side_by_side},
    mlp::read,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    Params, Store,
    layer::Piece,
    summary::stored,
    task::{LEVEL, Task},
};

/// Side of the square matrix whose break-even is measured, and the shares of its numbers.
const SIDE: usize = 192;
const SHARES: [f64; 4] = [0.25, 0.5, 0.75, 1.0];
/// Rows of inputs there.
const FEW_AND_MANY: [usize; 2] = [1, 128];

/// Milliseconds, factored first and dense second.
pub(super) struct Timing {
    /// The whole model, for each number of rows.
    passes: Vec<(usize, Pair)>,
    /// One square matrix: for each number of rows and each share.
    square: Vec<(usize, f64, Pair)>,
    /// Operations of one row, factored and dense, in the matrices that may be factored.
    operations: [f64; 2],
    peak: f64,
}

/// Runs a pass and waits for its end by reading one row of it.
async fn finish(y: Tensor<2>) -> Result<(), LabError> {
    read(y.narrow(0, 0, 1)).await.map(drop)
}

impl Timing {
    pub(super) async fn measure(task: &Task, pieces: &[Piece], cx: &Context) -> Result<Self, LabError> {
        let plain = Params { store: Store::Plain, ..Params::default() };
        let factored = task.ready(pieces, &plain, cx)?;
        let dense = task.ready(&vec![Piece::Dense; task.layers().len()], &plain, cx)?;
        let mut passes = Vec::new();
        for rows in task.rows() {
            let (thin, thick) = (task.pass(&factored, rows, cx)?, task.pass(&dense, rows, cx)?);
            passes.push((rows, both(cx, 150.0, &*thin, &*thick).await?));
        }
        let mut square = Vec::new();
        for rows in FEW_AND_MANY {
            for share in SHARES {
                square.push((rows, share, square_pair(rows, share, cx).await?));
            }
        }
        let places = if matches!(task, Task::Cnn(_)) { 16.0 } else { 1.0 };
        let numbers = [stored(task, pieces, Store::Plain), task.numbers()];
        Ok(Self {
            passes,
            square,
            operations: numbers.map(|numbers| 2.0 * places * numbers as f64),
            peak: peak_gflops(cx, 150.0).await?,
        })
    }

    pub(super) fn metrics(&self, task: &Task, cx: &Context) -> Vec<Metric> {
        let mut metrics = Vec::new();
        let what = if matches!(task, Task::Language(_)) { "tokens" } else { "images" };
        let Some(((_, one), (many_rows, many))) = self.passes.first().zip(self.passes.last()) else { return metrics };
        let ratio = |pair: &Pair, name: &str| pair.ratio(LEVEL, &mut cx.rng(name));
        let (few, few_interval) = ratio(one, "few");
        let (wide, wide_interval) = ratio(many, "many");
        metrics.push(
            metric(Family::Time, "time", "One at a time, factored", median(&one.first), "ms")
                .detail()
                .lower()
                .baseline(median(&one.second))
                .interval(median_interval(&one.first, LEVEL, &mut cx.rng("time")))
                .measured(one.first.clone())
                .help("One image or one token through the model (of the convolutional one, from the kernel on); the baseline is dense."),
        );
        metrics.push(
            metric(Family::Time, "time_ratio", "Time of one, factored over dense", few, "×")
                .lower()
                .baseline(1.0)
                .interval(few_interval)
                .measured(one.ratios())
                .help("Below 1 the factors are faster. Measured turn by turn."),
        );
        metrics.push(
            metric(
                Family::Scale,
                "time_ratio_many",
                &format!("Time of {many_rows} {what}, factored over dense"),
                wide,
                "×",
            )
            .lower()
            .baseline(1.0)
            .interval(wide_interval)
            .measured(many.ratios())
            .help("With one row the reading of weights and two launches count, with many the arithmetic, which thin matrices keep less busy."),
        );
        let share = |ms: f64, operations: f64| {
            100.0 * operations * *many_rows as f64 / ms.max(f64::MIN_POSITIVE) * 1e-6 / self.peak.max(f64::MIN_POSITIVE)
        };
        let [thin, thick] = self.operations;
        metrics.push(
            metric(Family::Utilization, "utilization", "Utilization with many", share(median(&many.first), thin), "%")
                .higher()
                .baseline(share(median(&many.second), thick))
                .measured(many.first.iter().map(|ms| share(*ms, thin)).collect())
                .help("Operations of these matrices per second of a whole pass, against this device's best matrix product. Thin matrices fill it less."),
        );
        metrics
    }

    pub(super) fn charts(&self, task: &Task, cx: &Context) -> Vec<Chart> {
        let what = if matches!(task, Task::Language(_)) { "Tokens at once" } else { "Images at once" };
        let series = |name: &str, points: &[(f64, &Pair)]| {
            let found: Vec<_> = points.iter().map(|(x, pair)| (*x, pair.ratio(LEVEL, &mut cx.rng(name)))).collect();
            Series {
                name: name.into(),
                points: found.iter().map(|(x, (ratio, _))| [*x, *ratio]).collect(),
                band: found.iter().map(|(_, (_, interval))| [interval.low, interval.high]).collect(),
            }
        };
        let level =
            |low: f64, high: f64| Series { name: "Dense".into(), points: vec![[low, 1.0], [high, 1.0]], band: vec![] };
        let passes: Vec<(f64, &Pair)> = self.passes.iter().map(|(rows, pair)| (*rows as f64, pair)).collect();
        let last = passes.last().map_or(1.0, |(rows, _)| *rows);
        let mut square = vec![level(25.0, 100.0)];
        for rows in FEW_AND_MANY {
            let points: Vec<(f64, &Pair)> =
                self.square.iter().filter(|one| one.0 == rows).map(|one| (100.0 * one.1, &one.2)).collect();
            square.push(series(&format!("{rows} {}", if rows == 1 { "row" } else { "rows" }), &points));
        }
        vec![
            Chart {
                id: "speed".into(),
                title: "Is it faster?".into(),
                caption: "Time of a pass through the factored model over the dense one. Bands are 95 % intervals."
                    .into(),
                x: Axis::log(what),
                y: Axis { min: Some(0.0), ..Axis::linear("Time (× dense)") },
                body: ChartBody::Line { series: vec![level(1.0, last), series("Factored", &passes)] },
            },
            Chart {
                id: "square".into(),
                title: "When do two thin products beat one square one?".into(),
                caption: format!(
                    "A matrix of {SIDE} x {SIDE} as two factors, timed on this device. At 100 % both hold as many numbers."
                ),
                x: Axis::linear("Numbers stored (% of the matrix)"),
                y: Axis { min: Some(0.0), ..Axis::linear("Time (× dense)") },
                body: ChartBody::Line { series: square },
            },
        ]
    }
}

async fn both(
    cx: &Context,
    budget_ms: f64,
    thin: &dyn Fn() -> Tensor<2>,
    thick: &dyn Fn() -> Tensor<2>,
) -> Result<Pair, LabError> {
    side_by_side(cx, budget_ms, async || finish(thin()).await, async || finish(thick()).await).await
}

/// Two products against one.
pub(super) async fn square_pair(rows: usize, share: f64, cx: &Context) -> Result<Pair, LabError> {
    let filled = |r: usize, c: usize| {
        let values: Vec<f32> = (0..r * c).map(|i| (i % 13) as f32 * 0.01).collect();
        Tensor::<2>::from_data(TensorData::new(values, [r, c]), &cx.device)
    };
    let rank = (share * SIDE as f64 / 2.0) as usize;
    let (x, w) = (filled(rows, SIDE), filled(SIDE, SIDE));
    let (down, up) = (filled(SIDE, rank), filled(rank, SIDE));
    // ANCHOR: two_products
    let thin = || matmul(matmul(x.clone(), down.clone()), up.clone());
    // ANCHOR_END: two_products
    // ANCHOR: one_product
    let thick = || matmul(x.clone(), w.clone());
    // ANCHOR_END: one_product
    both(cx, 80.0, &thin, &thick).await
}
