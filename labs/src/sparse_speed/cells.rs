//! Every format at every sparsity and batch: built, checked against the textbook's loop, timed in turn.

use std::hint::black_box;

use lab_api::LabError;
use lab_kit::{
    Context,
    measure::in_turns,
    sparse::{self, multiply_naive},
    stats::median,
};
use rand::Rng;

use super::matrix::{Format, Source};

/// Rounds in which every cell is timed once.
pub(super) const ROUNDS: usize = 7;
/// Sparsities of the charts.
pub(super) const SPARSITIES: [f64; 6] = [0.0, 0.5, 0.7, 0.8, 0.9, 0.95];

/// Those of the charts and one more.
pub(super) fn sparsities(and: f64) -> Vec<f64> {
    let mut all = SPARSITIES.to_vec();
    if all.iter().all(|s| (s - and).abs() > 1e-9) {
        all.push(and);
    }
    all.sort_by(f64::total_cmp);
    all
}

/// What a cell is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Key {
    pub(super) format: Format,
    pub(super) sparsity: f64,
    pub(super) batch: usize,
}

/// One format of one matrix with inputs of one batch.
struct Cell {
    key: Key,
    /// Index into the matrices.
    matrix: usize,
}

/// All of them.
pub(super) struct Cells {
    cells: Vec<Cell>,
    matrices: Vec<Box<dyn sparse::Format>>,
    /// Weights that are not zero, for each matrix.
    kept: Vec<usize>,
    /// Inputs `[columns, batch]` by batch.
    inputs: Vec<(usize, Vec<f32>)>,
    rows: usize,
    columns: usize,
    /// The largest difference from the textbook's loop, over the largest output of the cell.
    pub(super) worst_error: f64,
}

impl Cells {
    /// `checked`: whether every answer is compared with the textbook's, which takes longer than the timing.
    pub(super) async fn build(
        source: &Source,
        sparsities: &[f64],
        batches: &[usize],
        checked: bool,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let (rows, columns) = (source.rows, source.columns);
        let mut rng = cx.rng("inputs");
        let mut draw = |batch: usize| (0..columns * batch).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        let inputs = batches.iter().map(|batch| (*batch, draw(*batch))).collect();
        let mut cells = Self { cells: vec![], matrices: vec![], kept: vec![], inputs, rows, columns, worst_error: 0.0 };
        for sparsity in sparsities {
            for format in Format::ALL {
                cx.checkpoint().await?;
                if !batches.iter().any(|batch| format.applies(*batch, *sparsity)) {
                    continue;
                }
                let masked = source.masked(format, *sparsity)?;
                let matrix = source.build(format, &masked)?;
                for (batch, x) in &cells.inputs {
                    if format.applies(*batch, *sparsity) {
                        let key = Key { format, sparsity: *sparsity, batch: *batch };
                        cells.cells.push(Cell { key, matrix: cells.matrices.len() });
                        if !checked {
                            continue;
                        }
                        // A few of the batch's inputs say as much as all of them.
                        let few = (*batch).min(6);
                        let part: Vec<f32> = x.chunks(*batch).flat_map(|x| &x[..few]).copied().collect();
                        let error = error(matrix.as_ref(), &masked, (x, *batch), (&part, few));
                        cells.worst_error = cells.worst_error.max(error);
                    }
                }
                cells.kept.push(masked.iter().filter(|w| **w != 0.0).count());
                cells.matrices.push(matrix);
            }
        }
        Ok(cells)
    }

    /// Times all cells, one sample each in every round.
    pub(super) async fn time(&self, rounds: usize, cx: &Context) -> Result<Times, LabError> {
        let mut outputs: Vec<Vec<f32>> = self.inputs.iter().map(|(batch, _)| vec![0.0; self.rows * batch]).collect();
        let which: Vec<usize> = self
            .cells
            .iter()
            .map(|cell| self.inputs.iter().position(|(batch, _)| *batch == cell.key.batch).unwrap_or(0))
            .collect();
        let samples = in_turns(cx, self.cells.len(), rounds, |i| {
            let (cell, input) = (&self.cells[i], which[i]);
            let (batch, x) = &self.inputs[input];
            self.matrices[cell.matrix].multiply(black_box(x), &mut outputs[input], *batch);
            black_box(&outputs[input]);
        })
        .await?;
        let timed = self.cells.iter().zip(samples).map(|(cell, samples)| Timed {
            key: cell.key,
            bytes: self.matrices[cell.matrix].bytes(),
            kept: self.kept[cell.matrix],
            us: samples.iter().map(|ms| 1e3 * ms).collect(),
        });
        Ok(Times { all: timed.collect(), rows: self.rows, columns: self.columns })
    }
}

/// The largest difference between a format and the textbook's loop on the first inputs of a batch, over the largest output.
fn error(matrix: &dyn sparse::Format, masked: &[f32], (x, n): (&[f32], usize), (part, few): (&[f32], usize)) -> f64 {
    let (mut y, mut naive) = (vec![f32::NAN; matrix.rows() * n], vec![0.0; matrix.rows() * few]);
    matrix.multiply(x, &mut y, n);
    multiply_naive(masked, matrix.columns(), part, &mut naive, few);
    let largest = naive.iter().fold(0.0_f32, |most, y| most.max(y.abs()));
    let pairs = y.chunks(n).flat_map(|y| &y[..few]).zip(&naive);
    // A NaN counts as infinitely wrong.
    let apart = |(a, b): (&f32, &f32)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    f64::from(pairs.map(apart).fold(0.0, f32::max) / largest.max(f32::MIN_POSITIVE))
}

/// One cell, timed.
#[derive(Debug, Clone)]
pub(super) struct Timed {
    pub(super) key: Key,
    /// Bytes of its buffers.
    pub(super) bytes: usize,
    /// Weights that are not zero.
    pub(super) kept: usize,
    /// Microseconds a product, one of each round.
    pub(super) us: Vec<f64>,
}

/// All cells, timed.
pub(super) struct Times {
    pub(super) all: Vec<Timed>,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Times {
    pub(super) fn of(&self, format: Format, sparsity: f64, batch: usize) -> Option<&Timed> {
        self.all.iter().find(|timed| {
            timed.key.format == format && timed.key.batch == batch && (timed.key.sparsity - sparsity).abs() < 1e-9
        })
    }

    /// Dense time over this format's, round by round.
    pub(super) fn speedups(&self, format: Format, sparsity: f64, batch: usize) -> Vec<f64> {
        let (Some(dense), Some(other)) = (self.of(Format::Dense, sparsity, batch), self.of(format, sparsity, batch))
        else {
            return Vec::new();
        };
        dense.us.iter().zip(&other.us).map(|(dense, other)| dense / other.max(1e-9)).collect()
    }

    /// Sparsities at which a format was timed with this batch, and its median time.
    pub(super) fn line(&self, format: Format, batch: usize) -> Vec<[f64; 2]> {
        let own = self.all.iter().filter(|timed| timed.key.format == format && timed.key.batch == batch);
        own.map(|timed| [timed.key.sparsity, median(&timed.us)]).collect()
    }

    /// The sparsity from which on this format is faster than dense and stays so, in per cent, for each round; 100 where it
    /// never is. Between two sparsities the logarithm of the ratio is taken for a straight line.
    pub(super) fn break_even(&self, format: Format, batch: usize) -> Vec<f64> {
        let at: Vec<f64> = self.line(format, batch).iter().map(|point| point[0]).collect();
        let by_round: Vec<Vec<f64>> = at.iter().map(|s| self.speedups(format, *s, batch)).collect();
        let rounds = by_round.iter().map(Vec::len).min().unwrap_or(0);
        (0..rounds)
            .map(|round| crossing(&at, &by_round.iter().map(|all| all[round].ln()).collect::<Vec<f64>>()))
            .collect()
    }
}

/// Where `gain` becomes positive for good, in per cent.
fn crossing(at: &[f64], gain: &[f64]) -> f64 {
    let Some(last) = gain.iter().rposition(|gain| *gain <= 0.0) else { return 0.0 };
    match (gain.get(last + 1), at.get(last + 1)) {
        (Some(after), Some(to)) => {
            let part = -gain[last] / (after - gain[last]);
            100.0 * (at[last] + part * (to - at[last]))
        }
        _ => 100.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_crosses_where_it_says() {
        assert_eq!(crossing(&[0.0, 0.5, 1.0], &[-1.0, -1.0, 1.0]), 75.0);
        assert_eq!(crossing(&[0.0, 0.5], &[-1.0, -0.1]), 100.0);
        assert_eq!(crossing(&[0.0, 0.5], &[0.1, 1.0]), 0.0);
        // A dip after the first gain counts.
        assert_eq!(crossing(&[0.0, 0.5, 0.6, 0.7], &[-1.0, 1.0, -1.0, 1.0]).round(), 65.0);
        assert_eq!(sparsities(0.9).len(), 6);
        assert_eq!(sparsities(0.6)[2], 0.6);
    }
}
