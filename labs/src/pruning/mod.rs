//! Pruning a classifier of glyphs: which weights or channels can go, what training brings back, and against which controls.

mod arms;
mod choose;
mod figures;
mod material;
mod scan;
#[cfg(feature = "schema")]
mod study;
mod summary;
mod timing;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{Context, Lab, prune::Network};
use serde::{Deserialize, Serialize};

use arms::Plan;
use choose::Choice;
use material::Material;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Network
    ///
    /// What is pruned. All three know 47 letters and digits, and are judged by font families that they have never seen.
    pub model: Model,
    /// What goes together
    ///
    /// The pattern of the removal. Only whole channels make the matrices smaller; all others leave zeros in them.
    pub unit: Unit,
    /// Score
    ///
    /// By what weights are ranked; the lowest go.
    pub score: Scores,
    /// Images for scores
    ///
    /// Where gradients and inputs are taken from. Magnitude needs none.
    pub score_images: ScoreImages,
    /// Threshold
    ///
    /// Which weights compete with each other.
    pub threshold: Thresholds,
    /// Sparsity
    ///
    /// Share of the weights that goes; of whole channels, share of the channels of each layer.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.99), extend("x-step" = 0.01)))]
    pub sparsity: f64,
    /// Schedule
    ///
    /// When is cut. All schedules train for the same number of steps.
    pub schedule: Schedule,
    /// Rounds
    ///
    /// Of the schedule in rounds: each cuts, then trains.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 20), extend("x-unit" = "rounds", "x-step" = 1, "x-enabled-when" = {"param": "schedule", "is": ["iterative"]})))]
    pub rounds: u32,
    /// Steps of training
    ///
    /// Of 64 images each, for every arm.
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 2000), extend("x-unit" = "steps", "x-step" = 20)))]
    pub steps: u32,
    /// Learning rate
    ///
    /// Of the first step; it falls to zero along a half cosine. The networks as shipped were trained with 0.003.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0001, max = 0.03), extend("x-step" = 0.0001)))]
    pub learning_rate: f64,
    /// Rate over the rounds
    ///
    /// Whether the learning rate starts anew after each cut.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "schedule", "is": ["iterative"]})))]
    pub rate_schedule: RateSchedule,
    /// The small dense network has
    ///
    /// What the control from scratch has in common with the pruned network.
    pub equal: Equal,
    /// Size wall
    ///
    /// So many thousand bytes your pruned network may take. It changes nothing but the verdict.
    #[cfg_attr(feature = "schema", schemars(range(min = 5, max = 500), extend("x-unit" = "KB", "x-step" = 5)))]
    pub size_wall: u32,
    /// Quality wall
    ///
    /// So many of 100 letters it must name right after training. It changes nothing but the verdict.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100), extend("x-unit" = "%", "x-step" = 1)))]
    pub quality_wall: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            model: Model::Mlp,
            unit: Unit::Weights,
            score: Scores::Magnitude,
            score_images: ScoreImages::Shifted,
            threshold: Thresholds::Global,
            sparsity: 0.9,
            schedule: Schedule::OneShot,
            rounds: 5,
            steps: 400,
            learning_rate: 0.01,
            rate_schedule: RateSchedule::Restart,
            equal: Equal::Weights,
            size_wall: 30,
            quality_wall: 85,
        }
    }
}

/// What is pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Fully connected
    ///
    /// 256-128-128-47: 55,168 weights.
    Mlp,
    /// Small convolutional
    ///
    /// Two blocks of 8 and 16 channels.
    SmallCnn,
    /// Convolutional
    ///
    /// Three blocks of 32, 64 and 128 channels; a step takes a hundred times the arithmetic, so choose few steps.
    Cnn,
}

/// What is removed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Single weights
    Weights,
    /// Two of every four
    ///
    /// Of four consecutive inputs of an output, the two lower go: half of all, whatever the sparsity says.
    TwoOfFour,
    /// Blocks 1 × 16
    ///
    /// 16 consecutive inputs of one output.
    BlocksWide,
    /// Blocks 4 × 4
    BlocksSquare,
    /// Blocks 16 × 1
    ///
    /// One input of 16 outputs.
    BlocksTall,
    /// Whole channels
    ///
    /// Filters of a convolution, units of a hidden layer: really removed, in one cut.
    Filters,
}

/// By what weights are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scores {
    /// Random
    Random,
    /// Magnitude
    ///
    /// The absolute value; of a channel, the sum over its weights.
    Magnitude,
    /// Weight × gradient
    ///
    /// How much the loss would change, to first order, were the weight zero.
    Gradient,
    /// Weight² × gradient²
    ///
    /// To second order, with the mean squared gradient of single images (Fisher) for the curvature. Single weights only.
    Fisher,
    /// Weight × input
    ///
    /// Magnitude times the norm of the input that the weight meets. Single weights only.
    Activation,
    /// Geometric median
    ///
    /// Distance to the layer's other channels: one in the middle is replaceable. Whole channels only.
    Median,
}

/// Where gradients are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ScoreImages {
    /// As trained on
    ///
    /// 512 images that the network was trained on.
    Learned,
    /// Shifted by a pixel
    ///
    /// The same, each moved by one pixel: the network has not learned them by heart.
    Shifted,
}

/// Which weights compete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Thresholds {
    /// Global
    ///
    /// All of the network.
    Global,
    /// Layer by layer
    ///
    /// Each layer gives up the same share.
    Layerwise,
    /// By size (ERK)
    ///
    /// Small layers keep a larger share, by a formula that looks at nothing but their sizes.
    Erk,
    /// From the sensitivity scan
    ///
    /// Each layer gives up what the scan says that it can spare. Single weights in one cut only.
    Scan,
}

/// When is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// One cut
    ///
    /// Everything at once, then training.
    OneShot,
    /// In rounds
    ///
    /// Each round removes the same share of what is left.
    Iterative,
    /// Gradual
    ///
    /// Twenty cuts along a cubic in the first 70 % of the steps.
    Gradual,
}

/// The learning rate over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RateSchedule {
    /// Anew after each cut
    Restart,
    /// One cosine over all
    OneCosine,
}

/// What the small dense control has in common with the pruned network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Equal {
    /// As many weights
    Weights,
    /// As many bytes
    ///
    /// A weight of a sparse matrix needs a place: six bytes instead of four.
    Bytes,
}

impl Params {
    fn plan(&self) -> Plan {
        Plan {
            sparsity: self.sparsity,
            schedule: self.schedule,
            rounds: self.rounds.max(1) as usize,
            steps: self.steps as usize,
            learning_rate: self.learning_rate,
            rate_schedule: self.rate_schedule,
        }
    }

    /// Refuses settings that contradict each other.
    fn check(&self) -> Result<(), LabError> {
        let bad = |name: &str, why: &str| Err(LabError::BadParam(BadParam { name: name.into(), why: why.into() }));
        let once = matches!(self.unit, Unit::TwoOfFour | Unit::Filters) || self.threshold == Thresholds::Scan;
        if once && self.schedule != Schedule::OneShot {
            return bad("schedule", "two of four, whole channels and the scan's threshold are cut at once here");
        }
        if self.threshold == Thresholds::Scan && self.unit != Unit::Weights {
            return bad("threshold", "the scan tries single weights; choose them, or another threshold");
        }
        Ok(())
    }
}

/// The lab.
pub struct Pruning;

impl Lab for Pruning {
    const ID: &'static str = "pruning";
    type Params = Params;

    fn smoke() -> Params {
        Params { schedule: Schedule::Gradual, steps: 20, score: Scores::Activation, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        params.check()?;
        let plan = params.plan();
        let mut choice =
            Choice { unit: params.unit, score: params.score, threshold: params.threshold, budget: Vec::new() };
        let mut report = Report::default();

        cx.progress("Loading images and the trained network", 0.0);
        let material = Material::load(params.model, params.score_images, cx).await?;

        if params.unit == Unit::Weights {
            cx.progress("Pruning each layer alone", 0.05);
            let scan = scan::run(&choice, &material, cx).await?;
            choice.budget = scan.budget(&material.network.shapes(), params.sparsity);
            report.charts.push(scan.chart());
        }
        cx.progress("Pruning without training", 0.1);
        let (cut, once) = cut(&choice, &material, params.sparsity, cx).await?;
        report.metrics = summary::memory(&material, &cut);
        cx.publish(&report)?;
        let dense = material.all_answers(&material.network, cx).await?;
        let cut_answers = material.all_answers(&cut, cx).await?;
        let curve = scan::curve(&choice, &material, cx).await?;
        report.metrics.extend(summary::before(&material, &dense, &cut_answers, &curve));
        report.charts.insert(0, curve.chart());
        report.charts.push(figures::pixels(&cut));
        report.tables.push(figures::layers(&material.network, &cut));
        cx.publish(&report)?;

        let small = match params.unit {
            Unit::Filters => cut.architecture.clone(),
            _ => {
                let kept = cut.non_zero().iter().sum();
                arms::narrower(&material.network.architecture, arms::allowance(kept, params.equal))
            }
        };
        let random = match params.unit {
            Unit::Filters => choice.at_random().without_channels(&material, params.sparsity, cx).await?.0,
            _ => material.network.clone(),
        };
        let masked = (!once).then_some(&choice);
        let random_choice = choice.at_random();
        let starts = [
            ("Pruned, then trained", if once { &cut } else { &material.network }, masked),
            ("The same steps, nothing pruned", &material.network, None),
            ("Pruned at random, then trained", &random, (!once).then_some(&random_choice)),
            ("Small and dense, from new weights", &Network::init(&small, &mut cx.rng("new weights")), None),
        ];
        let mut arms = Vec::new();
        for (i, (name, start, choice)) in starts.into_iter().enumerate() {
            cx.progress(name, 0.2 + 0.15 * i as f64);
            let path = arms::train(start, choice, &plan, &material, cx).await?;
            arms.push(summary::Arm::judge(name, path, &material, cx).await?);
            let mut shown = report.clone();
            shown.charts.insert(1, figures::learning(&arms));
            cx.publish(&shown)?;
        }
        report.metrics = [summary::after(&material, &dense, &arms, &plan), report.metrics].concat();
        report.charts.insert(1, figures::learning(&arms));
        report.tables.insert(0, figures::arms(&material, &dense, &cut_answers, &arms));
        report.tables.push(figures::classes(&material, &arms));
        report.notes = summary::notes(&material, &arms);
        if let Some(walls) = summary::Walls::of(&material, &arms, [params.size_wall, params.quality_wall]) {
            report.metrics.push(walls.metric());
            report.notes.insert(0, walls.words());
        }
        cx.publish(&report)?;

        cx.progress("Timing dense, pruned and narrow", 0.85);
        let timing = timing::measure(&material, &arms, params.unit, cx).await?;
        report.metrics.extend(timing.metrics(cx));
        report.notes.extend(timing.notes(cx));
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}

/// The network cut to a sparsity without training, and whether it is smaller by that (so that no mask is needed).
async fn cut(choice: &Choice, material: &Material, sparsity: f64, cx: &Context) -> Result<(Network, bool), LabError> {
    if choice.unit == Unit::Filters {
        return Ok((choice.without_channels(material, sparsity, cx).await?.0, true));
    }
    let masks = choice.masks(&material.network, material, sparsity, cx)?;
    Ok((material.network.clone().masked(&masks), false))
}
