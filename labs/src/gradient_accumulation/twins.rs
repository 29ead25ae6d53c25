//! Two trainings on the same images in the same order: each batch in one piece, and in pieces that are joined rightly or not.

use lab_api::LabError;
use lab_kit::{
    Context,
    accumulate::{Accumulator, Format, Norm, Optimizer, Rule, Shape, clip, naive::mean_of_means, scaled_beta},
    rng,
    train::half_cosine,
    training::Order,
};

use super::{
    Choice, Joined, Params,
    task::{Task, batch, breathing, shape},
};

/// Updates of both trainings.
const UPDATES: usize = 40;
/// Gradients longer than this are shortened.
const LONGEST: f64 = 1.0;

/// One of the two trainings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) batch: usize,
    pub(super) piece: usize,
    pub(super) joined: Joined,
    pub(super) rule: Rule,
    pub(super) rate: f64,
    pub(super) updates: usize,
}

impl Plan {
    pub(super) fn of(params: &Params) -> Self {
        let (rule, rate) = match params.optimizer {
            Choice::Adam => (Rule::ADAM, 3e-3),
            Choice::Sgd => (Rule::Sgd, 0.3),
        };
        let (batch, piece) = (params.batch as usize, params.piece as usize);
        Self { batch, piece, joined: params.joined, rule, rate, updates: UPDATES }
    }

    /// The training beside it.
    pub(super) fn whole(self) -> Self {
        let joined = if self.joined == Joined::BatchNorm { Joined::BatchNorm } else { Joined::Right };
        Self { piece: self.batch, joined, ..self }
    }

    pub(super) fn shape(&self) -> Shape {
        shape(if self.joined == Joined::BatchNorm { Norm::Batch } else { Norm::None })
    }
}

/// Losses of all updates, and what the weights are worth in the end.
#[derive(Debug, Clone)]
pub(super) struct Trained {
    pub(super) losses: Vec<f64>,
    pub(super) accuracy: f64,
    /// Loss on the training images that judge; the study alone asks for it.
    #[cfg_attr(not(feature = "schema"), allow(dead_code))]
    pub(super) last: f64,
}

/// Both.
pub(super) struct Twins {
    pub(super) whole: Trained,
    pub(super) pieces: Trained,
}

impl Twins {
    /// The largest difference of the two losses of an update.
    pub(super) fn apart(&self) -> f64 {
        let pairs = self.whole.losses.iter().zip(&self.pieces.losses);
        pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f64::max)
    }
}

pub(super) async fn run(task: &Task, params: &Params, cx: &Context) -> Result<Twins, LabError> {
    let plan = Plan::of(params);
    let whole = train(&plan.whole(), task, cx.seed, breathing(cx)).await?;
    Ok(Twins { whole, pieces: train(&plan, task, cx.seed, breathing(cx)).await? })
}

/// Trains.
pub(super) async fn train(
    plan: &Plan,
    task: &Task,
    seed: u64,
    mut breathe: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Trained, LabError> {
    let shape = plan.shape();
    let mut weights = shape.init(&mut rng(seed, "weights"));
    let mut optimizer = Optimizer::new(per_piece(plan), weights.len());
    let mut order = Order::new(task.train.len(), plan.batch, seed);
    let format = if plan.joined == Joined::Bf16 { Format::Bf16 } else { Format::Fp32 };
    let mut losses = Vec::new();
    let mut scheduled = 0;
    for update in 0..plan.updates {
        let images = order.indices(update).to_vec();
        let pieces = images.chunks(plan.piece);
        let count = pieces.len();
        let rate = plan.rate * half_cosine((scheduled as f64 / plan.updates as f64).min(1.0));
        scheduled += if plan.joined == Joined::ScheduleEach { count } else { 1 };
        let (mut sum, mut all, mut loss) = (Accumulator::new(format), Vec::new(), 0.0);
        for piece in pieces {
            let (pixels, labels) = batch(&task.train, piece);
            let mut pass = shape.pass(&weights, &pixels, &labels);
            loss += pass.loss * piece.len() as f64 / images.len() as f64;
            match plan.joined {
                Joined::StepEach => {
                    clip(&mut pass.gradient, LONGEST);
                    optimizer.step(&mut weights, &pass.gradient, rate / (count as f64).sqrt());
                }
                Joined::Means => all.push((pass.gradient, piece.len())),
                Joined::ClippedEach => {
                    clip(&mut pass.gradient, LONGEST);
                    sum.add(pass.gradient, piece.len());
                }
                _ => sum.add(pass.gradient, piece.len()),
            }
            breathe().await?;
        }
        let gradient = if plan.joined == Joined::Means { mean_of_means(&all) } else { sum.take() };
        // ANCHOR: order
        // Divided (in `take`), then clipped, then given to the optimizer, whose schedule has moved on by one.
        if let Some(mut gradient) = gradient {
            if plan.joined == Joined::Sum {
                gradient.iter_mut().for_each(|g| *g *= count as f32);
            }
            clip(&mut gradient, LONGEST);
            optimizer.step(&mut weights, &gradient, rate);
        }
        // ANCHOR_END: order
        losses.push(loss);
    }
    breathe().await?;
    let accuracy = task.accuracy(&shape, &weights);
    Ok(Trained { losses, accuracy, last: task.loss(&shape, &weights) })
}

/// Small batches get a rate by the root rule, and a second moment that forgets as fast in examples.
fn per_piece(plan: &Plan) -> Rule {
    match plan.rule {
        Rule::Adam { beta_1, beta_2, epsilon } if plan.joined == Joined::StepEach => {
            Rule::Adam { beta_1, beta_2: scaled_beta(beta_2, plan.batch as f64, plan.piece as f64), epsilon }
        }
        rule => rule,
    }
}
