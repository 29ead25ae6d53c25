//! Trained matrices and kernels as products of thinner ones: how thin, who chooses, and whether the result is smaller and faster.

mod classifier;
mod convolution;
mod figures;
mod language;
mod layer;
mod network;
mod ranks;
#[cfg(feature = "schema")]
mod study;
mod summary;
mod task;
mod timing;

use lab_api::{LabError, Report};
use lab_kit::{Context, Lab};
use serde::{Deserialize, Serialize};

use task::Task;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Model
    ///
    /// What is factored, and on what it is judged.
    pub model: Model,
    /// Method
    ///
    /// Which directions of a matrix are kept.
    pub method: Method,
    /// Ranks
    ///
    /// Who decides how many directions each matrix keeps.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["mlp", "language"]})))]
    pub choice: Choice,
    /// Share
    ///
    /// Numbers that two factors may hold, as a share of those of the matrix. At 1 nothing is saved.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.05, max = 1.0), extend("x-step" = 0.05)))]
    pub share: f64,
    /// Energy
    ///
    /// Squares of the singular values that each matrix keeps, as a share of all.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.5, max = 0.9999), extend("x-step" = 0.0001)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "choice", "is": ["energy"]})))]
    pub energy: f64,
    /// Matrices
    ///
    /// Which matrices of the language model are factored.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["language"]})))]
    pub layers: Layers,
    /// Form
    ///
    /// Into which chain of smaller convolutions the largest kernel is taken apart.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["cnn"]})))]
    pub form: Form,
    /// Storage
    ///
    /// How two factors are written down.
    pub store: Store,
    /// Examples
    ///
    /// Rows of inputs (images, tokens, patches) that show what flows through each matrix. None of them judges.
    #[cfg_attr(feature = "schema", schemars(range(min = 64, max = 16384), extend("x-unit" = "rows", "x-step" = 64)))]
    pub calibration: u32,
    /// Damping
    ///
    /// Added to the power of every input, as a share of the mean. Inputs that are always zero need it.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.1), extend("x-step" = 0.00001)))]
    pub damping: f64,
    /// Exponent
    ///
    /// How much the mean size of an input counts, for the diagonal method: at 0 not at all.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0), extend("x-step" = 0.05)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["diagonal"]})))]
    pub alpha: f64,
    /// Steps of training afterwards
    ///
    /// Of 64 images, or of two windows of text, for the factors and for the dense control. A step of the language model takes a third of a second.
    ///
    /// The language model takes one step for every twenty of these: each costs as much.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 400), extend("x-unit" = "steps", "x-step" = 10)))]
    pub tune_steps: u32,
    /// Start
    ///
    /// What the factors come from.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["mlp"]})))]
    pub start: Start,
    /// Then round to 4 bits
    ///
    /// Whether the factors are rounded as well, in groups of 32.
    pub then_int4: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            model: Model::Mlp,
            method: Method::Whitened,
            choice: Choice::Share,
            share: 0.5,
            energy: 0.95,
            layers: Layers::All,
            form: Form::Channel,
            store: Store::Plain,
            calibration: 2048,
            damping: 1e-5,
            alpha: 0.5,
            tune_steps: 200,
            start: Start::Trained,
            then_int4: false,
        }
    }
}

/// A trained model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Glyph classifier
    ///
    /// Three fully connected layers, 256-128-128-47, on letters and digits of fonts that it has never seen.
    Mlp,
    /// Language model
    ///
    /// Two million parameters; 29 matrices, judged by text that it has never seen.
    Language,
    /// Convolutional classifier
    ///
    /// Its third kernel, 128 x 64 x 3 x 3, which holds 63 % of its weights.
    Cnn,
}

/// What decides which directions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Weights alone
    ///
    /// The singular value decomposition of the matrix: least squared error of the weights.
    Plain,
    /// Inputs, each for itself
    ///
    /// Columns are scaled by the mean size of their input before the decomposition (ASVD).
    Diagonal,
    /// Inputs, together
    ///
    /// Least squared error of the layer's outputs (SVD-LLM).
    Whitened,
    /// Inputs and gradients
    ///
    /// Errors of the outputs weighed by how much the loss feels them, too.
    TwoSided,
    /// Random directions
    ///
    /// The control: what any thin matrix does.
    Random,
}

/// Who chooses the rank of each matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The same share for all
    Share,
    /// The same energy for all
    Energy,
    /// One budget
    ///
    /// The direction that is worth most for each number it costs comes next, in whatever matrix it is.
    Budget,
    /// Measured
    ///
    /// Each matrix is cut alone at three ranks and the loss measured; the least harmful cut comes next.
    Sensitivity,
}

/// Parts of the language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Layers {
    /// All 29
    All,
    /// Attention
    Attention,
    /// Keys alone
    Keys,
    /// Feed-forward
    Mlp,
    /// Output layer
    Head,
}

/// Chains of convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Channel
    ///
    /// 3 x 3 to fewer channels, then 1 x 1. The one form that can look at the inputs.
    Channel,
    /// Spatial
    ///
    /// 3 x 1, then 1 x 3.
    Spatial,
    /// Tucker
    ///
    /// 1 x 1, 3 x 3 between fewer channels, 1 x 1.
    Tucker,
    /// CP
    ///
    /// 1 x 1, one 3 x 3 window for each channel, 1 x 1: the depthwise-separable block.
    Cp,
}

/// How factors are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// Two factors
    Plain,
    /// Gauge
    ///
    /// A square of the inner factor becomes the identity and is not stored. The product stays the same.
    Gauge,
}

/// Where factors come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The trained network
    Trained,
    /// Fresh weights
    ///
    /// Random matrices are decomposed, and the factors trained from there, 1,000 steps.
    Scratch,
}

impl Params {
    /// Steps of training afterwards. One of the language model takes as long as twenty of a classifier.
    fn steps_of_training(&self) -> usize {
        let steps = self.tune_steps as usize;
        if self.model == Model::Language { steps.div_ceil(20) } else { steps }
    }
}

/// The lab.
pub struct LowRank;

impl Lab for LowRank {
    const ID: &'static str = "low-rank";
    type Params = Params;

    fn smoke() -> Params {
        Params { calibration: 256, tune_steps: 10, store: Store::Gauge, choice: Choice::Budget, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let mut report = Report::default();
        cx.progress("Loading the model and what judges it", 0.0);
        let task = Task::load(&params, cx).await?;

        cx.progress("Looking at what flows through each matrix", 0.1);
        let plan = task.plan(&params, cx).await?;
        report.metrics = summary::memory(&task, &plan, &params);
        report.tables.push(figures::matrices(&task, &plan, &params)?);
        cx.publish(&report)?;

        cx.progress("Judging the factored model", 0.2);
        let outcome = summary::Outcome::measure(&task, &plan, &params, cx).await?;
        report.metrics = outcome.metrics(&task, &plan, &params, cx);
        report.notes = outcome.notes(&task, &plan, &params, cx);
        report.charts = vec![figures::curve(&task, &plan, &outcome, &params)];
        report.charts.extend(figures::spectra(&task, &plan)?);
        cx.publish(&report)?;

        cx.progress("Timing both", 0.8);
        let timing = timing::Timing::measure(&task, &plan.pieces, cx).await?;
        report.metrics.extend(timing.metrics(&task, cx));
        report.charts.extend(timing.charts(&task, cx));
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

    use super::{layer::Piece, *};

    const FILES: [&str; 4] =
        ["glyphs/glyphs.bin.gz", "glyphs/mlp.safetensors", "glyphs/teacher.safetensors", "glyphs/small.safetensors"];

    fn cx() -> Context {
        context_with(Rc::new(FakeClock::new(0.1)), &FILES)
    }

    #[test]
    fn the_gauge_answers_as_the_factors_do_and_full_factors_as_the_matrix() {
        let cx = cx();
        let params = Params { calibration: 512, ..Params::default() };
        let task = ready(Task::load(&params, &cx)).expect("loads");
        let plan = ready(task.plan(&params, &cx)).expect("plans");
        let judge = |pieces: &[Piece], store| {
            ready(task.judge(pieces, &Params { store, ..params.clone() }, &cx)).expect("judges").values
        };
        let unlike = |a: &[f64], b: &[f64]| a.iter().zip(b).filter(|(a, b)| a != b).count();
        let (plain, gauge) = (judge(&plan.pieces, Store::Plain), judge(&plan.pieces, Store::Gauge));
        assert!(unlike(&plain, &gauge) <= 10, "{}", unlike(&plain, &gauge));
        let whole: Vec<Piece> = plan.parts.iter().map(|part| Piece::Pair(part.truncate(usize::MAX))).collect();
        let dense = ready(task.dense(&params, &cx)).expect("judges").values;
        assert!(unlike(&judge(&whole, Store::Plain), &dense) <= 10);
        assert!(unlike(&plain, &dense) > 200, "half of the numbers are gone");
        // What looks at the inputs does better by far.
        let by_weights = ready(task.judge(&task.plain_pieces(&plan, &params, 0.5, &cx).expect("fits"), &params, &cx));
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        assert!(mean(&plain) > by_weights.expect("judges").mean() + 5.0);
    }

    #[test]
    fn a_budget_is_kept_by_every_choice() {
        let cx = cx();
        for (choice, method) in [
            (Choice::Share, Method::Plain),
            (Choice::Budget, Method::TwoSided),
            (Choice::Sensitivity, Method::Whitened),
        ] {
            let params = Params { choice, method, calibration: 512, ..Params::default() };
            let task = ready(Task::load(&params, &cx)).expect("loads");
            let plan = ready(task.plan(&params, &cx)).expect("plans");
            let held = summary::stored(&task, &plan.pieces, Store::Plain);
            let share = held as f64 / task.numbers() as f64;
            assert!(share <= 0.5 && share > 0.45, "{choice:?}: {share}");
        }
    }

    #[test]
    fn too_few_examples_without_damping_are_refused_with_a_remedy() {
        let cx = cx();
        let params = Params { damping: 0.0, calibration: 64, ..Params::default() };
        let task = ready(Task::load(&params, &cx)).expect("loads");
        let Err(error) = ready(task.plan(&params, &cx)) else { panic!("64 rows cannot show 256 inputs") };
        assert!(error.to_string().contains("more damping"), "{error}");
    }

    #[test]
    fn a_kernel_at_full_rank_answers_as_before() {
        let cx = cx();
        let params = Params { model: Model::Cnn, calibration: 1024, ..Params::default() };
        let task = ready(Task::load(&params, &cx)).expect("loads");
        let plan = ready(task.plan(&params, &cx)).expect("plans");
        let dense = ready(task.dense(&params, &cx)).expect("judges");
        assert!(dense.mean() > 90.0);
        // All 128 directions take more than the kernel, which a share of 1 does not allow.
        let whole = task.pieces(&plan, &plan.parts, &params, 2.0, &cx).expect("fits");
        let same = ready(task.judge(&whole, &params, &cx)).expect("judges");
        let unlike = same.values.iter().zip(&dense.values).filter(|(a, b)| a != b).count();
        assert!(unlike <= 4, "{unlike}");
    }
}
