//! Quantization-aware training of a classifier of digits or glyphs against rounding it afterwards, at the same width.

mod arms;
mod figures;
pub mod fit;
pub mod model;
#[cfg(feature = "schema")]
mod study;
mod summary;
mod timing;

use lab_api::{LabError, Report};
use lab_kit::{
    Context, Lab,
    choices::{CoarseShare, Dataset, Placement},
    quant::{Activations, Calibration, Rounding, Settings},
    subject::Subject,
    train::Training,
};
use serde::{Deserialize, Serialize};

use arms::Arm;
use figures::Curves;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Network
    ///
    /// What is trained on, and by which images it is judged. Training on glyphs takes several times as long.
    pub dataset: Dataset,
    /// Bits per weight
    ///
    /// Width of the integers that the weights are stored as. Activations have 8.
    pub bits: Bits,
    /// Grid
    ///
    /// Where the representable values lie.
    pub scheme: Placement,
    /// Scales
    ///
    /// How many weights share one scale.
    pub granularity: CoarseShare,
    /// Range
    ///
    /// What a weight's grid reaches, after training and during it.
    pub range: Observer,
    /// Epochs
    ///
    /// Passes over the training images after the FP32 network is there.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 20), extend("x-unit" = "epochs", "x-step" = 1)))]
    pub epochs: u32,
    /// Learning rate
    ///
    /// Of the first step; it falls to zero along a half cosine. The FP32 networks were trained with 0.003.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0001, max = 0.01), extend("x-step" = 0.0001)))]
    pub learning_rate: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            dataset: Dataset::Digits,
            bits: Bits::Two,
            scheme: Placement::Symmetric,
            granularity: CoarseShare::Channel,
            range: Observer::MinMax,
            epochs: 8,
            learning_rate: 0.002,
        }
    }
}

/// Width of the packed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Bits {
    /// 4 bits
    #[serde(rename = "4")]
    Four,
    /// 3 bits
    #[serde(rename = "3")]
    Three,
    /// 2 bits
    #[serde(rename = "2")]
    Two,
}

/// What a weight's grid reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Observer {
    /// Min-max
    ///
    /// The smallest and the largest weight, anew at every step of training.
    MinMax,
    /// Least squared error
    ///
    /// The range whose rounding and clipping errors together are smallest before training; then it stays.
    Mse,
    /// Learned
    ///
    /// Starts at the least squared error and is trained with the weights (learned step size).
    Learned,
}

impl Params {
    fn settings(&self) -> Settings {
        Settings {
            bits: match self.bits {
                Bits::Four => 4,
                Bits::Three => 3,
                Bits::Two => 2,
            },
            scheme: self.scheme.into(),
            granularity: self.granularity.into(),
            rounding: Rounding::Nearest,
            activations: Activations::Static(Calibration::MinMax),
        }
    }

    fn range(&self) -> model::Range {
        match self.range {
            Observer::MinMax => model::Range::MinMax,
            Observer::Mse => model::Range::Mse,
            Observer::Learned => model::Range::Learned,
        }
    }

    fn training(&self) -> Training {
        Training { epochs: self.epochs as usize, learning_rate: self.learning_rate, ..Training::default() }
    }
}

/// Widths of the comparison over bits.
const WIDTHS: [u32; 3] = [2, 3, 4];
/// Networks of that comparison: training all five at every width would take a reader too long.
const SWEEP_FOLDS: usize = 2;

/// The lab.
pub struct Qat;

impl Lab for Qat {
    const ID: &'static str = "qat";
    type Params = Params;

    fn smoke() -> Params {
        Params {
            bits: Bits::Three,
            epochs: 1,
            range: Observer::Learned,
            scheme: Placement::Affine,
            ..Params::default()
        }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let how = params.training();
        let arm = Arm { settings: params.settings(), range: params.range() };
        let mut report = Report::default();

        cx.progress("Loading images and trained networks", 0.0);
        let subject = Subject::to_train(params.dataset, cx).await?;
        let ptq = arm.post_training(&subject, cx).await?;
        report.metrics = summary::memory(&subject, &ptq.networks[0]);
        cx.publish(&report)?;

        cx.progress("Judging the FP32 and the rounded networks", 0.05);
        let fp32 = subject.baseline(cx).await?.answers;
        report.metrics.extend(summary::before(&subject, &fp32, &ptq, arm.first_loss(&subject, &how, cx).await?));
        let before = report.metrics.clone();
        cx.publish(&report)?;

        let mut curves = Curves::new(&subject, &fp32, &ptq);
        let folds = subject.folds();
        let (mut control, mut aware) = (Vec::new(), Vec::new());
        for fold in 0..folds {
            let part = |half: f64| 0.1 + 0.5 * (fold as f64 + half) / folds as f64;
            cx.progress(&format!("Training network {} of {folds} on in FP32", fold + 1), part(0.0));
            control.push(arms::train_plain(&subject, fold, &how, cx, &mut curves, &report).await?);
            cx.progress(&format!("Training network {} of {folds} through the rounding", fold + 1), part(0.4));
            aware.push(arm.train(&subject, fold, &how, cx, Some((&mut curves, &report))).await?);
        }
        let control = arms::control_answers(&subject, &control, cx).await?;
        let aware = arms::Outcome::of_trained(&subject, aware, cx).await?;
        report.metrics = summary::quality(&subject, &fp32, &control, &ptq, &aware);
        report.metrics.extend(before);
        report.tables = vec![figures::networks(&subject, &fp32, &control, &ptq, &aware)];
        report.charts = curves.charts();
        report.charts.push(figures::positions(&ptq, &aware));
        report.notes = summary::notes(&subject, &fp32, &control, &ptq, &aware);
        cx.publish(&report)?;

        let mut sweep = Vec::new();
        for (i, bits) in WIDTHS.into_iter().enumerate() {
            cx.progress("The same at the other widths", 0.6 + 0.2 * i as f64 / WIDTHS.len() as f64);
            let arm = Arm { settings: Settings { bits, ..arm.settings }, ..arm };
            sweep.push((bits, arm.compare_on(&subject, SWEEP_FOLDS, &how, &aware, cx).await?));
        }
        report.charts.insert(0, figures::sweep(&subject, &fp32, &sweep));
        cx.publish(&report)?;

        cx.progress("Timing a step of both", 0.8);
        let timing = timing::measure(&subject, &arm, &how, cx).await?;
        report.metrics.extend(timing.metrics(&subject, &aware, cx));
        report.charts.push(timing.chart(cx));
        report.notes.extend(timing.notes(cx));
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
