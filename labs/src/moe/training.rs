//! One training of one network.

use lab_api::LabError;
use lab_kit::{
    Context,
    experts::{Network, Pass, load},
    rng,
    training::Order,
    tuning::optim::{Adam, Decay, Optimizer, Rule},
};
use rand::Rng;

use super::{arms::Arm, task::Task};

/// Stretches of a training, for curves.
const STRETCHES: usize = 20;
/// Tokens that are judged at once.
const JUDGED: usize = 256;
/// Steps in which the rate rises.
const WARM: f64 = 20.0;

/// A piece of a training.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    /// Steps until its end.
    pub(super) until: usize,
    pub(super) loss: f64,
    /// Load of the busiest expert over the mean load.
    pub(super) busiest: f64,
    /// Share of assignments without a place.
    pub(super) dropped: f64,
    /// Milliseconds of a step.
    pub(super) ms: f64,
}

/// What it led to.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    pub(super) arm: Arm,
    /// Weights of the layer, and multiplications with additions for a token.
    pub(super) weights: usize,
    pub(super) products: usize,
    pub(super) stretches: Vec<Stretch>,
    /// Mean loss on what judges, and share that is right.
    pub(super) loss: f64,
    pub(super) right: f64,
    /// Share of each expert on what judges.
    pub(super) shares: Vec<f64>,
    /// Of the tokens that are shown: share of each expert.
    pub(super) map: Vec<Vec<f64>>,
    /// Share of assignments that go where most with the same last token go.
    pub(super) follows: f64,
}

impl Trained {
    /// The mean of the last fifth.
    pub(super) fn late(&self, of: impl Fn(&Stretch) -> f64) -> f64 {
        let last = &self.stretches[self.stretches.len().saturating_sub(STRETCHES / 5)..];
        last.iter().map(of).sum::<f64>() / last.len().max(1) as f64
    }
}

// ANCHOR: train
/// Trains; every network sees the same examples in the same order.
pub(super) async fn train(
    arm: &Arm,
    task: &Task,
    seed: u64,
    now_ms: impl Fn() -> f64,
    mut breathe: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Trained, LabError> {
    let (network, rules, p) = (arm.network(task, seed), arm.rules(), &arm.params);
    let mut weights = network.init(p.router_start, &mut rng(seed, "weights"));
    let mut optimizer = Optimizer::new(Rule::Adam(Adam::W), Decay::Decoupled(0.0), &network.parts());
    let (mut order, mut noise) = (Order::new(task.train.next.len(), p.batch as usize, seed), rng(seed, "noise"));
    let (mut bias, steps) = (vec![0.0; network.experts], p.steps as usize);
    let mut stretches = Vec::new();
    let mut sum = Stretch { until: 0, loss: 0.0, busiest: 0.0, dropped: 0.0, ms: 0.0 };
    let mut counted = 0.0;
    for step in 0..steps {
        let (before, next) = task.train.some(order.indices(step));
        let began = now_ms();
        let drawn = if p.noise > 0.0 && arm.routes() {
            normal(next.len() * network.experts, p.noise, &mut noise)
        } else {
            vec![]
        };
        let pass = network.pass(&weights, (&before, &next), &rules, (&bias, &drawn), true);
        let falls = 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos());
        optimizer.step(&mut weights, &pass.gradient, p.rate * falls * ((step + 1) as f64 / WARM).min(1.0));
        network.settle(&mut bias, &pass, &rules);
        sum.ms += now_ms() - began;
        sum.loss += pass.loss();
        sum.busiest += busiest(&network, &pass);
        sum.dropped += pass.dropped as f64 / pass.sent.len().max(1) as f64;
        counted += 1.0;
        breathe().await?;
        if (step + 1) * STRETCHES / steps > step * STRETCHES / steps {
            let [loss, busiest, dropped, ms] = [sum.loss, sum.busiest, sum.dropped, sum.ms].map(|x| x / counted);
            stretches.push(Stretch { until: step + 1, loss, busiest, dropped, ms });
            sum = Stretch { until: 0, loss: 0.0, busiest: 0.0, dropped: 0.0, ms: 0.0 };
            counted = 0.0;
        }
    }
    // ANCHOR_END: train
    let mut found = Trained {
        arm: arm.clone(),
        weights: network.layer_weights(),
        products: network.layer_products(rules.k),
        stretches,
        loss: 0.0,
        right: 0.0,
        shares: vec![0.0; network.experts],
        map: Vec::new(),
        follows: 0.0,
    };
    let (judged, e) = (task.judged(), network.experts);
    let mut by_token = vec![0_u32; task.vocabulary * e];
    let count = judged.next.len() as f64;
    for (before, next) in judged.before.chunks(JUDGED).zip(judged.next.chunks(JUDGED)) {
        let pass = network.pass(&weights, (before, next), &rules, (&bias, &[]), false);
        found.loss += pass.losses.iter().sum::<f64>() / count;
        found.right += 100.0 * pass.right.iter().filter(|right| **right).count() as f64 / count;
        for (token, expert) in pass.sent.token.iter().zip(&pass.sent.expert) {
            by_token[before[*token as usize][1] as usize % task.vocabulary * e + *expert as usize] += 1;
        }
        breathe().await?;
    }
    let all = f64::from(by_token.iter().sum::<u32>()).max(1.0);
    for row in by_token.chunks_exact(e) {
        found.follows += 100.0 * f64::from(row.iter().copied().max().unwrap_or(0)) / all;
        found.shares.iter_mut().zip(row).for_each(|(share, n)| *share += 100.0 * f64::from(*n) / all);
    }
    found.map = task
        .shown
        .iter()
        .map(|(token, _)| {
            let row = &by_token[*token as usize * e..][..e];
            let sum = f64::from(row.iter().sum::<u32>()).max(1.0);
            row.iter().map(|n| 100.0 * f64::from(*n) / sum).collect()
        })
        .collect();
    if !found.loss.is_finite() {
        let why = format!("“{}” was lost at a learning rate of {}: take a smaller one", arm.name, p.rate);
        return Err(LabError::Refused { why });
    }
    Ok(found)
}

fn busiest(network: &Network, pass: &Pass) -> f64 {
    let most = load(network.experts, &pass.sent.expert).into_iter().max().unwrap_or(0);
    f64::from(most) * network.experts as f64 / pass.sent.len().max(1) as f64
}

/// So many numbers about 0 (sums of twelve even ones, which is near enough to a bell curve for noise).
fn normal(count: usize, deviation: f64, rng: &mut impl Rng) -> Vec<f32> {
    let one = |_| (deviation as f32) * ((0..12).map(|_| rng.random_range(0.0..1.0_f32)).sum::<f32>() - 6.0);
    (0..count).map(one).collect()
}

/// What lets the page have its turn, at most every 15 ms.
pub(super) fn breathing(cx: &Context) -> impl AsyncFnMut() -> Result<(), LabError> {
    let mut breath = cx.now_ms();
    async move || {
        if cx.now_ms() - breath > 15.0 {
            cx.checkpoint().await?;
            breath = cx.now_ms();
        }
        Ok(())
    }
}
