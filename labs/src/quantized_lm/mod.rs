//! A language model with all matrices packed: what that costs in bits per character, and what it brings in prefill and decode.

mod figures;
mod flows;
mod judge;
mod model;
#[cfg(feature = "schema")]
mod outliers;
mod packed;
mod prepared;
#[cfg(feature = "schema")]
mod remedies;
mod speed;
#[cfg(feature = "schema")]
mod speeds;
#[cfg(feature = "schema")]
mod study;
#[cfg(test)]
mod tests;
mod width;

use lab_api::{LabError, Report};
use lab_kit::{
    Context, Lab,
    choices::{Nearness, Placement, Share, Width},
    quant::{self, Calibration, Remedy, Settings},
};
use serde::{Deserialize, Serialize};

use judge::Judged;
use model::Source;
use prepared::Prepared;

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
    /// Channels
    ///
    /// How large the channels of the activations are compared with each other.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "bits", "is": ["8", "4", "3", "2"]})))]
    pub channels: Channels,
    /// Against outliers
    ///
    /// What is done to channels that stand out. Which ones do is seen in text that is neither trained on nor judged by.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "bits", "is": ["8", "4", "3", "2"]})))]
    pub remedy: Against,
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
            channels: Channels::AsTrained,
            remedy: Against::Nothing,
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
    /// 8 bits, static
    ///
    /// The same between extremes that are found beforehand, one pair for all tokens: nothing is left to measure while the model runs.
    Static,
}

/// Whether channels stand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// As trained
    ///
    /// A model this small has no channel that stands out by much.
    AsTrained,
    /// Outliers planted
    ///
    /// After every norm two of 192 channels are made 64 times as large, and the weights that read them 64 times as small. In FP32 the model computes the same to the last bit, with outliers such as large models grow.
    Planted,
}

/// What is done to channels that stand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// Nothing
    Nothing,
    /// Keep 1 % in FP32
    ///
    /// The channels with the largest activations skip the rounding, and so do their weights: two of 192, six of 576 (LLM.int8()).
    Keep,
    /// Smooth
    ///
    /// Activations are divided, channel by channel, and the weights that read them multiplied, so that both reach equally far (SmoothQuant). Costs nothing when the model runs: what writes the activations takes up the division.
    Smooth,
}

/// Share of the channels that are kept.
const KEPT: f64 = 0.01;
/// Exponent of smoothing: half of the difficulty on either side, as in the paper.
const ALPHA: f32 = 0.5;

impl Params {
    fn settings(&self) -> Settings {
        let granularity = self.granularity.granularity(self.group_size);
        Settings {
            rounding: self.rounding.into(),
            activations: match self.activations {
                Activations::Fp32 => quant::Activations::Fp32,
                Activations::Int8 => quant::Activations::Dynamic,
                Activations::Static => quant::Activations::Static(Calibration::MinMax),
            },
            ..Settings::weight_only(self.bits.bits(), self.scheme.into(), granularity)
        }
    }

    fn remedy(&self) -> Remedy {
        match self.remedy {
            Against::Nothing => Remedy::Nothing,
            Against::Keep => Remedy::Keep { share: KEPT },
            Against::Smooth => Remedy::Smooth { alpha: ALPHA },
        }
    }

    /// The weights made ready. The model reads the example text only where something depends on it.
    async fn prepare(&self, source: &Source, cx: &Context) -> Result<Prepared, LabError> {
        let settings = self.settings();
        let asked = settings.compensates()
            || matches!(settings.activations, quant::Activations::Static(_))
            || self.channels == Channels::Planted
            || self.remedy != Against::Nothing;
        if settings.bits == quant::HALF || !asked {
            return Ok(Prepared::plain(source));
        }
        Prepared::new(source, source.flows(settings.compensates(), cx).await?, self.remedy(), cx).await
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
        let settings = params.settings();
        let mut report = Report::default();

        cx.progress("Loading the language model and its text", 0.0);
        let mut source = Source::load(cx).await?;
        if params.channels == Channels::Planted {
            source.plant_outliers()?;
        }
        let windows = source.windows(params.windows as usize);

        cx.progress("Packing every matrix", 0.05);
        let prepared = params.prepare(&source, cx).await?;
        let packed = source.pack(&settings, &prepared, cx).await?;
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
        report.charts.extend(prepared.loudest().map(figures::channels));
        report.charts.extend(figures::texts(&fp32, &packed.model, &source, cx).await?);
        cx.publish(&report)?;

        cx.progress("Timing prefill and decode", 0.55);
        let speed = speed::Speed::measure(&fp32, &packed, &source, cx).await?;
        report.metrics.extend(speed.metrics(cx));
        report.notes.extend(speed.notes(cx));
        cx.publish(&report)?;

        cx.progress("Timing wider matrices", 0.75);
        let widths = width::measure(&settings, cx).await?;
        report.metrics.extend(width::metrics(&widths, cx));
        report.charts.insert(0, width::chart(&widths));
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
