//! One matrix product, its zeros stored and skipped in seven ways: bytes, times, and where each begins to pay.

mod cells;
mod figures;
mod matrix;
#[cfg(feature = "schema")]
mod study;
mod summary;

use lab_api::{DeviceKind, LabError, Report};
use lab_kit::{Context, Lab, measure::peak_gflops};
use serde::{Deserialize, Serialize};

use cells::Cells;
use matrix::Source;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Matrix
    ///
    /// Outputs times inputs.
    pub shape: Shape,
    /// Zeros
    ///
    /// Which weights are zero.
    pub zeros: Zeros,
    /// Sparsity
    ///
    /// Share of the weights that are zero: the one that the numbers are told for. The charts have others besides.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.99), extend("x-step" = 0.01)))]
    pub sparsity: f64,
    /// Batch
    ///
    /// Inputs that are multiplied together. A single one is timed as well.
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 256), extend("x-unit" = "inputs")))]
    pub batch: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { shape: Shape::Gate, zeros: Zeros::Fitted, sparsity: 0.9, batch: 64 }
    }
}

/// The matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// 576 × 192, the language model's gate
    Gate,
    /// 192 × 576, its down-projection
    Down,
    /// 128 × 256, the glyph network's first layer
    Glyphs,
    /// 256 × 256
    Small,
    /// 512 × 512
    Middle,
    /// 1,024 × 1,024
    Large,
}

impl Shape {
    /// Rows and columns: outputs and inputs.
    pub(crate) fn size(self) -> (usize, usize) {
        match self {
            Self::Gate => (576, 192),
            Self::Down => (192, 576),
            Self::Glyphs => (128, 256),
            Self::Small => (256, 256),
            Self::Middle => (512, 512),
            Self::Large => (1024, 1024),
        }
    }
}

/// Where the zeros lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Zeros {
    /// As each format wants them
    ///
    /// Whole blocks for the formats of blocks, two of every four for 2:4, scattered at random for the others.
    Fitted,
    /// Scattered
    ///
    /// The same random places for all formats. Blocks then store every block that holds a weight.
    Scattered,
    /// The smallest weights
    ///
    /// What pruning by magnitude leaves of the real layer (of random weights, where the matrix is none of the book's).
    Smallest,
}

/// The lab.
pub struct SparseSpeed;

impl Lab for SparseSpeed {
    const ID: &'static str = "sparse-speed";
    type Params = Params;

    fn smoke() -> Params {
        Params { shape: Shape::Glyphs, zeros: Zeros::Smallest, batch: 8, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        cx.progress("Making the matrices", 0.0);
        let source = Source::load(params.shape, params.zeros, cx).await?;
        let mut report = Report::default();
        report.metrics.extend(summary::bytes(&source, params.sparsity));
        report.charts.push(figures::bytes(&source));
        cx.publish(&report)?;

        let sparsities = cells::sparsities(params.sparsity);
        let cells = Cells::build(&source, &sparsities, &[1, params.batch as usize], true, cx).await?;
        report.metrics.push(summary::answers(&cells));
        cx.publish(&report)?;

        cx.progress("Timing every format in turn", 0.2);
        let times = cells.time(cells::ROUNDS, cx).await?;
        cx.progress("Measuring this device's best rate", 0.9);
        let peak = peak_gflops(cx, 100.0).await?;
        report.metrics.extend(summary::metrics(&times, &params, peak, cx));
        let mut charts = figures::times(&times, params.batch as usize);
        charts.append(&mut report.charts);
        report.charts = charts;
        report.tables.push(figures::table(&times));
        if cx.device_info.kind == DeviceKind::Webgpu {
            report.notes.push(
                "All products ran on the processor, whatever device was chosen: the formats are loops over short rows, and a \
                 GPU would read them uncoalesced. What a GPU makes of zeros is told in the chapter."
                    .into(),
            );
        }
        report.notes.extend(summary::note(&times, &params));
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::testing::{FakeClock, context_with, ready};

    use super::*;

    #[test]
    fn zeros_of_a_real_layer_lie_where_its_weights_are_small() {
        let mut cx = context_with(Rc::new(FakeClock::real()), &["language/lm.safetensors", "glyphs/mlp.safetensors"]);
        for shape in [Shape::Down, Shape::Glyphs] {
            let source = ready(Source::load(shape, Zeros::Smallest, &cx)).expect("shipped");
            let (rows, columns) = shape.size();
            let masked = source.masked(matrix::Format::Csr, 0.9).expect("fits");
            let left = masked.iter().filter(|w| **w != 0.0);
            assert_eq!(left.clone().count(), rows * columns - (0.9 * (rows * columns) as f64).round() as usize);
            let least = left.fold(f32::INFINITY, |least, w| least.min(w.abs()));
            let lost = source.weights.iter().zip(&masked).filter(|(_, kept)| **kept == 0.0);
            assert!(lost.clone().count() > 0 && lost.into_iter().all(|(w, _)| w.abs() <= least));
        }
        let params = Params { zeros: Zeros::Smallest, ..SparseSpeed::smoke() };
        let report = ready(SparseSpeed::run(params, &mut cx)).expect("runs");
        assert!(report.metric("answer_error").expect("checked").value < 1e-4);
    }
}
