//! The roofs of this device, found by kernels that are made to reach them, and what stands below them and why.

mod figures;
mod matrix;
mod model;
mod point;
mod roofs;
#[cfg(feature = "schema")]
mod study;
mod summary;

use lab_api::{DeviceKind, LabError, Report};
use lab_kit::{Context, Lab, choices::Width};
use serde::{Deserialize, Serialize};

use matrix::Matrix;
use roofs::Roofs;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Width of the matrix
    ///
    /// A square matrix times a few columns. At 4,096 it takes 64 MiB in FP32, more than most caches hold; at 512 it takes 1 MiB and stays in one.
    #[cfg_attr(feature = "schema", schemars(range(min = 128, max = 4096), extend("x-step" = 128)))]
    pub width: u32,
    /// Columns
    ///
    /// How many columns are multiplied at once: 1, 2, 4 and so on up to here. Requests of a batch, or tokens of a prompt.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 64), extend("x-unit" = "columns")))]
    pub columns: u32,
    /// Bits of the second matrix
    ///
    /// The same matrix packed into fewer bits, groups of 32 weights with one scale.
    pub bits: Width,
    /// Largest buffer
    ///
    /// Size of the buffers that the bandwidth of memory is taken from. It has to be several times the largest cache.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 128), extend("x-unit" = "MiB")))]
    pub buffer: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { width: 4096, columns: 16, bits: Width::Four, buffer: 64 }
    }
}

/// The lab.
pub struct Roofline;

impl Lab for Roofline {
    const ID: &'static str = "roofline";
    type Params = Params;

    fn smoke() -> Params {
        Params { width: 128, columns: 2, bits: Width::Eight, buffer: 1 }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        // The matrix repeats its first rows.
        let width = params.width as usize / matrix::DRAWN * matrix::DRAWN;
        let cpu = cx.device_info.kind == DeviceKind::Cpu;
        let mut report = Report::default();
        cx.progress("How fast can it compute?", 0.0);
        let roofs = Roofs::measure(params.buffer as usize, cx).await?;
        report.metrics.extend(summary::roofs(&roofs, cx));
        report.charts.push(figures::bandwidth(&roofs));
        report.charts.extend(figures::polynomials(&roofs));
        cx.publish(&report)?;

        cx.progress("One matrix, more and more columns", 0.4);
        let plain = matrix::fp32(width, params.columns as usize, cx).await?;
        cx.progress("The same matrix in fewer bits", 0.6);
        let packed = matrix::packed(width, params.columns as usize, params.bits, cx).await?;
        report.metrics.extend(summary::matrices(&plain, &packed, &roofs, cx));
        cx.publish(&report)?;

        cx.progress("The operations of a language model", 0.75);
        // Waiting for a result costs more than a small kernel takes where the device is a GPU.
        let operations = if cpu { model::operations(cx).await? } else { Vec::new() };
        let phases = model::phases(cx).await?;
        report.metrics.extend(summary::model(&phases, &roofs, cx));

        let points = || plain.points.iter().chain(&packed.points).chain(&operations).chain(&phases.points);
        report.metrics.extend(summary::validation(points(), &roofs));
        report.charts.insert(0, figures::roofline(&roofs, &plain, &packed, &phases));
        report.charts.push(figures::shares(points(), &roofs));
        report.tables.push(figures::kernels(points(), &roofs));
        report.notes = summary::notes(&roofs, &plain, &phases, cpu);
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}

impl Matrix {
    /// The point of this many columns.
    fn at(&self, columns: usize) -> Option<&point::Point> {
        self.columns.iter().position(|c| *c == columns).and_then(|i| self.points.get(i))
    }
}
