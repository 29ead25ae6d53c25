//! A language model with all matrices packed: what that costs in bits per character, and what it brings in prefill and decode.

mod figures;
mod judge;
mod model;
#[cfg(feature = "schema")]
mod outliers;
mod speed;
#[cfg(feature = "schema")]
mod study;
mod width;

use lab_api::{LabError, Report};
use lab_kit::{
    Context, Lab,
    choices::{Nearness, Placement, Share, Width},
    quant::{Inputs, Settings},
};
use serde::{Deserialize, Serialize};

use judge::Judged;
use model::Source;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Bits per weight
    ///
    /// Width of the numbers that every matrix is stored as, embedding and output layer too.
    pub bits: Width,
    /// Grid
    ///
    /// Where the representable values lie.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "bits", "is": ["8", "4", "3", "2"]})))]
    pub scheme: Placement,
    /// Scales
    ///
    /// How many weights share one scale.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "bits", "is": ["8", "4", "3", "2"]})))]
    pub granularity: Share,
    /// Group size
    ///
    /// Consecutive weights of one output channel that share a scale.
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 192), extend("x-unit" = "weights", "x-step" = 16)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "granularity", "is": ["group"]})))]
    pub group_size: u32,
    /// Rounding
    ///
    /// How a weight finds its integer. Examples come from text that is neither trained on nor judged by.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "bits", "is": ["8", "4", "3", "2"]})))]
    pub rounding: Nearness,
    /// Activations
    ///
    /// What the packed weights are multiplied with.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "bits", "is": ["8", "4", "3", "2"]})))]
    pub activations: Activations,
    /// Text
    ///
    /// Windows of 256 tokens, spread over text that the model has never seen. More of them narrow the intervals.
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 64), extend("x-unit" = "windows", "x-step" = 2)))]
    pub windows: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            bits: Width::Four,
            scheme: Placement::Symmetric,
            granularity: Share::Group,
            group_size: 32,
            rounding: Nearness::Nearest,
            activations: Activations::Fp32,
            windows: 8,
        }
    }
}

/// What happens to activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Activations {
    /// FP32
    ///
    /// Weight-only quantization: each row of weights is unpacked and scaled just before it is multiplied.
    Fp32,
    /// 8 bits, dynamic
    ///
    /// The inputs of every layer are rounded to 256 levels between the extremes of each token; on the CPU the products are then of integers.
    Int8,
}

impl Params {
    fn settings(&self) -> Settings {
        let granularity = self.granularity.granularity(self.group_size);
        let rounding = self.rounding.into();
        Settings { rounding, ..Settings::weight_only(self.bits.bits(), self.scheme.into(), granularity) }
    }

    fn inputs(&self) -> Inputs {
        match self.activations {
            Activations::Fp32 => Inputs::Float,
            Activations::Int8 => Inputs::Int8,
        }
    }
}

/// The lab.
pub struct QuantizedLm;

impl Lab for QuantizedLm {
    const ID: &'static str = "quantized-lm";
    type Params = Params;

    fn smoke() -> Params {
        Params { windows: 2, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let (settings, inputs) = (params.settings(), params.inputs());
        let mut report = Report::default();

        cx.progress("Loading the language model and its text", 0.0);
        let source = Source::load(cx).await?;
        let windows = source.windows(params.windows as usize);

        cx.progress("Packing every matrix", 0.05);
        let examples = source.examples(&settings, cx).await?;
        let packed = source.pack(&settings, inputs, &examples, cx).await?;
        report.metrics.extend(packed.memory(&source));
        report.metrics.push(packed.worst_sqnr());
        report.tables.push(figures::matrices(&packed));
        cx.publish(&report)?;

        cx.progress("Reading the text in FP32", 0.1);
        let fp32 = source.fp32(cx)?;
        let before = Judged::of(&fp32, &source, &windows, cx).await?;
        cx.progress("Reading the text with packed weights", 0.25);
        let after = Judged::of(&packed.model, &source, &windows, cx).await?;
        report.metrics.extend(judge::metrics(&before, &after, cx)?);
        report.charts.push(figures::sqnr(&packed));
        report.charts.extend(figures::outputs(&packed));
        report.charts.extend(figures::texts(&fp32, &packed.model, &source, cx).await?);
        cx.publish(&report)?;

        cx.progress("Timing prefill and decode", 0.55);
        let speed = speed::Speed::measure(&fp32, &packed, &source, cx).await?;
        report.metrics.extend(speed.metrics(cx));
        report.notes.extend(speed.notes(cx));
        cx.publish(&report)?;

        cx.progress("Timing wider matrices", 0.75);
        let widths = width::measure(&settings, inputs, cx).await?;
        report.metrics.extend(width::metric(&widths, cx));
        report.charts.insert(0, width::chart(&widths));
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
