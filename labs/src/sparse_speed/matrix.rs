//! The matrix, its zeros, and the formats that it is put into.

use lab_api::LabError;
use lab_kit::{
    Context,
    models::{LanguageModel, StateDict},
    sparse::{
        self, Bitmask, ColumnBlocks, Csr, Dense, Packed24, Pattern, RowBlocks, SIDE, Sharing, SkipZeros, UnrolledCsr,
        keep,
    },
};
use rand::Rng;

use super::{Shape, Zeros};

/// A way to store and multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Dense,
    Skip,
    Csr,
    Unrolled,
    Bitmask,
    TwoFour,
    RowBlocks,
    ColumnBlocks,
}

impl Format {
    pub(super) const ALL: [Self; 8] = [
        Self::Dense,
        Self::Skip,
        Self::Csr,
        Self::Unrolled,
        Self::Bitmask,
        Self::TwoFour,
        Self::RowBlocks,
        Self::ColumnBlocks,
    ];

    /// In tables and charts.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Dense => "Dense",
            Self::Skip => "Ask each weight",
            Self::Csr => "CSR",
            Self::Unrolled => "CSR, four sums",
            Self::Bitmask => "Bitmask",
            Self::TwoFour => "2:4 packed",
            Self::RowBlocks => "Blocks 1 × 16",
            Self::ColumnBlocks => "Blocks 16 × 1",
        }
    }

    /// In names of the study's metrics.
    #[cfg(feature = "schema")]
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Skip => "skip",
            Self::Csr => "csr",
            Self::Unrolled => "unrolled",
            Self::Bitmask => "bitmask",
            Self::TwoFour => "two_four",
            Self::RowBlocks => "row_blocks",
            Self::ColumnBlocks => "column_blocks",
        }
    }

    /// Whether it is another loop than that of the other formats, with so many inputs, and can hold this sparsity.
    pub(super) fn applies(self, batch: usize, sparsity: f64) -> bool {
        match self {
            // In a batch the index is read once anyway.
            Self::Unrolled => batch == 1,
            Self::TwoFour => (sparsity - 0.5).abs() < 1e-9,
            _ => true,
        }
    }
}

/// Weights, and the scores by which they go.
pub(super) struct Source {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) weights: Vec<f32>,
    zeros: Zeros,
    /// The smallest go first; one for each weight, and one for each block of either kind.
    scores: Vec<f32>,
    row_scores: Vec<f32>,
    column_scores: Vec<f32>,
}

impl Source {
    pub(super) async fn load(shape: Shape, zeros: Zeros, cx: &Context) -> Result<Self, LabError> {
        let (rows, columns) = shape.size();
        let mut weights = Self::random(rows * columns, "weights", cx);
        let (asset, name) = match shape {
            Shape::Gate => (LanguageModel::full().asset, "model.layers.1.mlp.gate_proj.weight"),
            Shape::Down => (LanguageModel::full().asset, "model.layers.1.mlp.down_proj.weight"),
            Shape::Glyphs => ("glyphs/mlp.safetensors", "mlp.0.weight"),
            Shape::Small | Shape::Middle | Shape::Large => ("", ""),
        };
        if zeros == Zeros::Smallest && !asset.is_empty() {
            let state = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
            let found = state.get(name).filter(|found| found.shape == [rows, columns]);
            let Some(found) = found else {
                let names: Vec<&str> = state.iter().map(|(name, _)| name).collect();
                let why = format!("it has no matrix “{name}” of {rows} by {columns}, only {}", names.join(", "));
                return Err(LabError::Asset { name: asset.into(), why });
            };
            weights.clone_from(&found.values);
        }
        Ok(Self::new(rows, columns, weights, zeros, cx))
    }

    /// Random weights of any shape.
    #[cfg(feature = "schema")]
    pub(super) fn of_shape((rows, columns): (usize, usize), zeros: Zeros, cx: &Context) -> Self {
        Self::new(rows, columns, Self::random(rows * columns, "weights", cx), zeros, cx)
    }

    fn random(count: usize, purpose: &str, cx: &Context) -> Vec<f32> {
        let mut rng = cx.rng(purpose);
        // Never zero, so that what is zero was made so.
        (0..count).map(|_| rng.random_range(0.01_f32..1.0) * if rng.random() { 1.0 } else { -1.0 }).collect()
    }

    fn new(rows: usize, columns: usize, weights: Vec<f32>, zeros: Zeros, cx: &Context) -> Self {
        let count = weights.len();
        let scores: Vec<f32> = match zeros {
            Zeros::Smallest => weights.iter().map(|w| w.abs()).collect(),
            Zeros::Fitted | Zeros::Scattered => Self::random(count, "places", cx).iter().map(|w| w.abs()).collect(),
        };
        let (mut row_scores, mut column_scores) =
            (vec![0.0; rows * columns.div_ceil(SIDE)], vec![0.0; rows.div_ceil(SIDE) * columns]);
        for (i, score) in scores.iter().enumerate() {
            let (row, column) = (i / columns, i % columns);
            row_scores[row * columns.div_ceil(SIDE) + column / SIDE] += score;
            column_scores[row / SIDE * columns + column] += score;
        }
        Self { rows, columns, weights, zeros, scores, row_scores, column_scores }
    }

    /// The weights with zeros for this format: whole blocks go, or two of four, or single weights.
    pub(super) fn masked(&self, format: Format, sparsity: f64) -> Result<Vec<f32>, LabError> {
        let free = Pattern::Free(sparsity);
        free.check(self.columns, "the matrix")?;
        let columns = self.columns;
        // Blocks take part in the same share of zeros where they may choose; 2:4 is no 2:4 otherwise.
        let fitted = self.zeros != Zeros::Scattered;
        let kept: Vec<bool> = match format {
            Format::TwoFour => keep(&self.scores, columns, Pattern::NOfM { keep: 2, of: 4 }, Sharing::Row),
            Format::RowBlocks if fitted => {
                let wide = columns.div_ceil(SIDE);
                let blocks = keep(&self.row_scores, wide, free, Sharing::Matrix);
                (0..self.weights.len()).map(|i| blocks[i / columns * wide + i % columns / SIDE]).collect()
            }
            Format::ColumnBlocks if fitted => {
                let blocks = keep(&self.column_scores, columns, free, Sharing::Matrix);
                (0..self.weights.len()).map(|i| blocks[i / columns / SIDE * columns + i % columns]).collect()
            }
            _ => keep(&self.scores, columns, free, Sharing::Matrix),
        };
        Ok(self.weights.iter().zip(kept).map(|(w, kept)| if kept { *w } else { 0.0 }).collect())
    }

    /// Masked weights in a format.
    pub(super) fn build(&self, format: Format, masked: &[f32]) -> Result<Box<dyn sparse::Format>, LabError> {
        let columns = self.columns;
        Ok(match format {
            Format::Dense => Box::new(Dense::new(masked, columns)),
            Format::Skip => Box::new(SkipZeros(Dense::new(masked, columns))),
            Format::Csr => Box::new(Csr::new(masked, columns)?),
            Format::Unrolled => Box::new(UnrolledCsr(Csr::new(masked, columns)?)),
            Format::Bitmask => Box::new(Bitmask::new(masked, columns)?),
            Format::TwoFour => Box::new(Packed24::new(masked, columns)?),
            Format::RowBlocks => Box::new(RowBlocks::new(masked, columns)?),
            Format::ColumnBlocks => Box::new(ColumnBlocks::new(masked, columns)?),
        })
    }
}
