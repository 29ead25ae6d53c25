//! Networks that meet one budget and learn from the same images in the same order.

use lab_api::{Interval, LabError};
use lab_kit::{
    Context,
    blocks::{Budget, Family, Learner, Network, Options, Shape, Totals, Way, answers, resize, solve, totals},
    data::{Glyphs, Images, Split},
    measure::quality::{accuracy_by_group, mean_by_group},
    training::Order,
};
use rand::seq::SliceRandom;

use super::{Beside, Equal, Params, View};

/// Images of a step.
pub(super) const BATCH: usize = 32;
/// Every so many of the images of unseen fonts judge in a run.
pub(super) const EVERY: usize = 3;
/// Training images whose statistics the normalizations are fixed to.
const FIXED_BY: usize = 512;
/// Most multiply-adds of the view of sizes, in thousands.
const LARGEST: u32 = 800;
pub(super) const CLASSES: usize = Glyphs::CLASSES.len();

/// The images.
pub(super) struct Task {
    pub(super) train: Images,
    pub(super) test: Images,
    /// Training images that the normalizations are fixed by.
    fixed: Vec<f32>,
}

impl Task {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let glyphs = Glyphs::read(&cx.asset(Glyphs::ASSET).await?)?;
        cx.checkpoint().await?;
        let of = |split| Images::of_glyphs(&glyphs, &glyphs.indices(split));
        let (train, test) = (of(Split::Train), of(Split::Test));
        let mut which: Vec<usize> = (0..train.len()).collect();
        which.shuffle(&mut lab_kit::rng(0, "fixed"));
        which.truncate(FIXED_BY);
        let fixed = train.gather(&which);
        Ok(Self { train, test, fixed })
    }
}

/// A network to be trained.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) name: String,
    /// What it is drawn with: networks of one series differ in size alone.
    pub(super) series: String,
    pub(super) shape: Shape,
}

/// All networks of a run, which of them is the baseline, and which the reader's choice.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) all: Vec<Planned>,
    pub(super) baseline: usize,
    pub(super) chosen: usize,
}

fn planned(name: &str, shape: Shape) -> Planned {
    Planned { name: name.into(), series: name.into(), shape }
}

/// Who runs.
pub(super) fn plan(params: &Params) -> Result<Plan, LabError> {
    let (family, options) = (params.family.family(), params.options());
    let size = 1000 * params.size as usize;
    let name = |family: Family| {
        if family == Family::Plain { "plain, as set".to_owned() } else { family.name().to_owned() }
    };
    let shape = |family, options| Shape { blocks: [params.depth.max(1) as usize; 3], ..Shape::new(family, 2, options) };
    let plain = |size: usize| solve(shape(Family::Plain, Options::default()), Budget::Madds(size), CLASSES);
    let other = if family == Family::Grouped { Family::Separable } else { Family::Grouped };
    if params.view == View::Scaling {
        let mut all = vec![planned("before", solve(Shape::new(family, 2, options), Budget::Madds(size), CLASSES))];
        for way in Way::ALL {
            all.push(planned(way.name(), way.scale((family, options), size, f64::from(params.factor), CLASSES)));
        }
        return Ok(Plan { chosen: all.len() - 1, baseline: 1, all });
    }
    if params.view == View::Sizes {
        let sizes = [1, 2, 4, 8].map(|times| times * params.size).into_iter().filter(|size| *size <= LARGEST);
        let mut all = Vec::new();
        for thousand in sizes {
            let size = 1000 * thousand as usize;
            let mut add = |series: &str, shape: Shape| {
                let name = format!("{series}, {thousand} thousand");
                all.push(Planned { name, series: series.into(), shape });
            };
            add(Family::Plain.name(), plain(size));
            for family in [family, other] {
                add(&name(family), solve(shape(family, options), Budget::Madds(size), CLASSES));
            }
        }
        // At the smallest size the first two are the plain one and the choice.
        return Ok(Plan { all, baseline: 0, chosen: 1 });
    }
    let base = plain(size);
    let counted = totals(&base.ops(CLASSES), base.side);
    let meet = |family, options| {
        let shape = shape(family, options);
        match params.equal {
            Equal::Madds => solve(shape, Budget::Madds(size), CLASSES),
            Equal::Weights => solve(shape, Budget::Weights(counted.weights), CLASSES),
            Equal::Width => Shape { width: base.width, ..shape },
        }
    };
    let mut all = vec![planned(Family::Plain.name(), base), planned(&name(family), meet(family, options))];
    match params.beside {
        Beside::Few => all.push(planned(other.name(), meet(other, options))),
        Beside::All => {
            let others = Family::ALL.into_iter().filter(|other| ![Family::Plain, family].contains(other));
            all.extend(others.map(|family| planned(family.name(), meet(family, options))));
        }
        Beside::Switches => {
            let mut add = |words: &str, options| {
                all.push(planned(&format!("{}, {words}", name(family)), meet(family, options)));
            };
            let gates = if options.excite { "without squeeze-excite" } else { "with squeeze-excite" };
            add(gates, Options { excite: !options.excite, ..options });
            let (words, kernel) = if options.kernel == 3 { ("5 × 5", 5) } else { ("3 × 3", 3) };
            add(words, Options { kernel, ..options });
            if matches!(family, Family::Grouped | Family::ShuffleUnit) {
                let words = if options.shuffle { "not interleaved" } else { "interleaved" };
                add(words, Options { shuffle: !options.shuffle, ..options });
            }
            if family == Family::Inverted {
                let words = if options.linear { "with ReLU" } else { "linear" };
                add(words, Options { linear: !options.linear, ..options });
                add("widened twice", Options { expansion: 2, ..options });
            }
        }
    }
    Ok(Plan { all, baseline: 0, chosen: 1 })
}

/// A network that learns.
pub(super) struct Arm {
    pub(super) planned: Planned,
    pub(super) totals: Totals,
    pub(super) learner: Learner,
    pub(super) losses: Vec<f64>,
}

impl Arm {
    pub(super) fn new(planned: Planned, seed: u64) -> Self {
        let shape = planned.shape;
        let ops = shape.ops(CLASSES);
        let totals = totals(&ops, shape.side);
        let learner = Learner::new(ops, shape.side, &mut lab_kit::rng(seed, "start"));
        Self { planned, totals, learner, losses: Vec::new() }
    }

    pub(super) fn side(&self) -> usize {
        self.planned.shape.side
    }

    /// One step of so many; the rate falls linearly.
    pub(super) fn advance(&mut self, (pixels, labels): (&[f32], &[u8]), (step, steps): (usize, usize), rate: f64) {
        let rate = rate * (1.0 - step as f64 / steps.max(1) as f64);
        let pixels = resize(pixels, Glyphs::SIDE, self.side());
        self.losses.push(self.learner.step(pixels, labels, rate));
    }

    /// Training loss over the last fifth of the steps.
    pub(super) fn late(&self) -> f64 {
        let last = &self.losses[self.losses.len() - self.losses.len().div_ceil(5)..];
        last.iter().sum::<f64>() / last.len().max(1) as f64
    }

    /// The network for use.
    pub(super) fn finish(&self, task: &Task) -> Network {
        self.learner.finish(resize(&task.fixed, Glyphs::SIDE, self.side()))
    }

    /// Whether each of these images is read rightly by the finished network.
    pub(super) fn read(&self, network: &Network, images: &Images) -> Vec<f64> {
        let answers = answers(network, &resize(&images.pixels, Glyphs::SIDE, self.side()), self.side());
        answers.iter().zip(&images.labels).map(|(answer, label)| f64::from(u8::from(answer == label))).collect()
    }
}

/// Pixels and labels of the images of a step.
pub(super) fn batch(task: &Task, order: &mut Order, step: usize) -> (Vec<f32>, Vec<u8>) {
    let images = order.indices(step);
    (task.train.gather(images), images.iter().map(|i| task.train.labels[*i]).collect())
}

/// All of them.
pub(super) struct Race<'a> {
    pub(super) task: &'a Task,
    pub(super) arms: Vec<Arm>,
    pub(super) baseline: usize,
    pub(super) chosen: usize,
    order: Order,
}

/// What a network answers on fonts that it has not seen.
pub(super) struct Judged {
    pub(super) network: Network,
    /// Per cent.
    pub(super) accuracy: f64,
    pub(super) interval: Interval,
    /// Percentage points beyond the baseline, on the same images.
    pub(super) gap: f64,
    pub(super) gap_interval: Interval,
}

fn percent(interval: Interval) -> Interval {
    Interval { low: 100.0 * interval.low, high: 100.0 * interval.high, ..interval }
}

impl<'a> Race<'a> {
    pub(super) fn new(plan: Plan, task: &'a Task, cx: &Context) -> Result<Self, LabError> {
        let arms = plan.all.into_iter().map(|planned| Arm::new(planned, cx.seed)).collect();
        let order = Order::new(task.train.len(), BATCH, cx.seed);
        Ok(Self { task, arms, baseline: plan.baseline, chosen: plan.chosen, order })
    }

    /// One step of each.
    pub(super) fn advance(&mut self, step: usize, steps: usize, rate: f64) -> Result<(), LabError> {
        let (pixels, labels) = batch(self.task, &mut self.order, step);
        for arm in &mut self.arms {
            arm.advance((&pixels, &labels), (step, steps), rate);
            if arm.losses.last().is_some_and(|loss| !loss.is_finite()) {
                let why =
                    format!("{}: the loss is no number at step {step}; take a lower learning rate", arm.planned.name);
                return Err(LabError::Refused { why });
            }
        }
        Ok(())
    }

    /// Fixes the normalizations and lets each read every so many of the unseen images.
    pub(super) async fn judge(&self, every: usize, cx: &Context) -> Result<Vec<Judged>, LabError> {
        let some = thin(&self.task.test, every);
        let mut read = Vec::new();
        for arm in &self.arms {
            let network = arm.finish(self.task);
            let right = arm.read(&network, &some);
            read.push((network, right));
            cx.checkpoint().await?;
        }
        let base = read[self.baseline].1.clone();
        let judge = |(network, right): (Network, Vec<f64>)| {
            let wanted = vec![1.0; right.len()];
            let own = accuracy_by_group(&right, &wanted, &some.groups, 0.95, &mut cx.rng("fonts"))?;
            let apart: Vec<f64> = right.iter().zip(&base).map(|(right, base)| right - base).collect();
            let gap = mean_by_group(&apart, &some.groups, 0.95, &mut cx.rng("fonts"))?;
            Ok(Judged {
                network,
                accuracy: 100.0 * own.value,
                interval: percent(own.interval),
                gap: 100.0 * gap.value,
                gap_interval: percent(gap.interval),
            })
        };
        read.into_iter().map(judge).collect()
    }
}

/// Every so many of some images.
pub(super) fn thin(images: &Images, every: usize) -> Images {
    let which: Vec<usize> = (0..images.len()).step_by(every.max(1)).collect();
    Images {
        pixels: images.gather(&which),
        labels: which.iter().map(|i| images.labels[*i]).collect(),
        groups: which.iter().map(|i| images.groups[*i]).collect(),
        ..*images
    }
}
