//! Post-training quantization of a trained classifier of digits or glyphs, judged on images that it has never seen.

mod evaluate;
mod figures;
#[cfg(feature = "schema")]
mod judged;
#[cfg(feature = "schema")]
mod outliers;
#[cfg(feature = "schema")]
mod remedies;
mod scale;
mod speed;
#[cfg(feature = "schema")]
mod study;
mod summary;
#[cfg(test)]
mod tests;

use lab_api::{LabError, Report};
use lab_kit::{
    Context, Lab,
    choices::{Dataset, Nearness, Placement, Share, Width},
    quant::{self, Calibration, Settings},
    subject::Subject,
};
use serde::{Deserialize, Serialize};

use evaluate::{Outcome, quantize};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Network
    ///
    /// What is quantized, and by which images it is judged.
    pub dataset: Dataset,
    /// Bits per weight
    ///
    /// Width of the numbers that the weights are stored as: integers up to 8 bits, floats at 16.
    pub bits: Width,
    /// Grid
    ///
    /// Where the representable values lie.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "bits", "is": ["8", "4", "3", "2"]})))]
    pub scheme: Placement,
    /// Scales
    ///
    /// How many weights share one scale. More scales follow the weights better and take more bytes.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "bits", "is": ["8", "4", "3", "2"]})))]
    pub granularity: Share,
    /// Group size
    ///
    /// Consecutive weights of one output channel that share a scale.
    #[cfg_attr(feature = "schema", schemars(range(min = 8, max = 64), extend("x-unit" = "weights", "x-step" = 8)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "granularity", "is": ["group"]})))]
    pub group_size: u32,
    /// Rounding
    ///
    /// How a weight finds its integer.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "bits", "is": ["8", "4", "3", "2"]})))]
    pub rounding: Nearness,
    /// Activations
    ///
    /// Whether what flows between the layers is quantized to 8 bits too, and how its range is found: from 256 training images, or anew for every image.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "bits", "is": ["8", "4", "3", "2"]})))]
    pub activations: Activations,
    /// Percentile
    ///
    /// Share of the activations that the range must cover; the rest is clipped.
    #[cfg_attr(feature = "schema", schemars(range(min = 90.0, max = 100.0), extend("x-unit" = "%", "x-step" = 0.1)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "activations", "is": ["percentile"]})))]
    pub percentile: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            dataset: Dataset::Digits,
            bits: Width::Eight,
            scheme: Placement::Symmetric,
            granularity: Share::Channel,
            group_size: 32,
            rounding: Nearness::Nearest,
            activations: Activations::MinMax,
            percentile: 99.9,
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
    /// Activations stay as they are.
    None,
    /// 8 bits, min-max
    ///
    /// The range reaches from the smallest to the largest value seen.
    MinMax,
    /// 8 bits, percentile
    ///
    /// The range leaves out the outermost values.
    Percentile,
    /// 8 bits, least squared error
    ///
    /// The range whose rounding and clipping errors together are smallest.
    Mse,
    /// 8 bits, relative entropy
    ///
    /// The range whose quantized histogram stays closest to the original.
    Entropy,
    /// 8 bits, dynamic
    ///
    /// The range of every image is measured when it comes: nothing to calibrate, a pass over the data on every call.
    Dynamic,
}

impl Params {
    fn settings(&self) -> Settings {
        Settings {
            bits: self.bits.bits(),
            scheme: self.scheme.into(),
            granularity: self.granularity.granularity(self.group_size),
            rounding: self.rounding.into(),
            activations: match self.activations {
                Activations::None => quant::Activations::Fp32,
                Activations::MinMax => quant::Activations::Static(Calibration::MinMax),
                Activations::Percentile => {
                    quant::Activations::Static(Calibration::Percentile { percent: self.percentile })
                }
                Activations::Mse => quant::Activations::Static(Calibration::Mse),
                Activations::Entropy => quant::Activations::Static(Calibration::Entropy),
                Activations::Dynamic => quant::Activations::Dynamic,
            },
        }
    }
}

/// The lab.
pub struct Quantization;

impl Lab for Quantization {
    const ID: &'static str = "quantization";
    type Params = Params;

    fn smoke() -> Params {
        Params { bits: Width::Three, granularity: Share::Group, scheme: Placement::Affine, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let settings = params.settings();
        let mut report = Report::default();

        cx.progress("Loading images and trained networks", 0.0);
        let subject = Subject::of(params.dataset, cx).await?;

        cx.progress("Quantizing", 0.1);
        let networks = quantize(&subject, &settings, cx).await?;
        report.metrics.extend(summary::memory(&subject, &networks[0]));
        cx.publish(&report)?;

        cx.progress("Judging every image in FP32 and quantized", 0.2);
        let baseline = subject.baseline(cx).await?;
        let outcome = Outcome::of(&subject, networks, cx).await?;
        report.metrics.extend(summary::quality(&subject, &baseline, &outcome));
        let errors = summary::layer_errors(&subject, &outcome, cx).await?;
        report.metrics.extend(summary::error_metrics(&errors));
        report.tables.push(figures::layers(&outcome, &errors));
        report.charts.push(figures::images(&subject, &baseline, &outcome));
        report.charts.push(figures::histogram(&subject, &outcome));
        report.charts.push(figures::activations(&subject, &settings, &outcome));
        report.charts.push(figures::sqnr(&errors));
        report.notes = summary::notes(&settings, &subject, &baseline, &outcome);
        cx.publish(&report)?;

        cx.progress("The same at every width", 0.4);
        let mut sweep = Vec::new();
        for bits in Width::ALL.map(Width::bits) {
            let arm = Settings { bits, ..settings };
            let networks = quantize(&subject, &arm, cx).await?;
            sweep.push((bits, Outcome::of(&subject, networks, cx).await?.summary(&subject)));
        }
        report.charts.insert(0, figures::sweep(&subject, &baseline, &sweep));
        cx.publish(&report)?;

        cx.progress("Packing wider networks", 0.6);
        let widths = scale::widths(&subject, &settings, cx).await?;
        report.metrics.push(scale::metric(&widths));
        report.charts.push(scale::chart(&widths));

        cx.progress("Timing both", 0.7);
        let speed = speed::measure(&subject, &outcome, cx).await?;
        report.metrics.extend(speed.metrics(cx));
        report.notes.extend(speed.notes(cx));
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
