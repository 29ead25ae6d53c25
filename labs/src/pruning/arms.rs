//! The arms of the comparison: pruned by the reader's choice, pruned at random, small from the start, dense; each trained
//! for the same steps.

use lab_api::LabError;
use lab_kit::{
    Context,
    prune::{Architecture, Masked, Network, Tuning, cubic, kept_after_round, tune},
    train::half_cosine,
};

use super::{Equal, RateSchedule, Schedule, choose::Choice, material::Material};

/// Images of a step.
pub(super) const BATCH: usize = 64;
/// Cuts of the gradual schedule, in the first part of the steps.
const GRADUAL_CUTS: usize = 20;
/// Which part that is.
const GRADUAL_PART: f64 = 0.7;

/// When is cut, and how is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plan {
    pub(super) sparsity: f64,
    pub(super) schedule: Schedule,
    pub(super) rounds: usize,
    pub(super) steps: usize,
    pub(super) learning_rate: f64,
    pub(super) rate_schedule: RateSchedule,
}

impl Plan {
    // ANCHOR: cuts
    /// Before which steps is cut, and to which sparsity.
    pub(super) fn cuts(&self) -> Vec<(usize, f64)> {
        match self.schedule {
            Schedule::OneShot => vec![(0, self.sparsity)],
            Schedule::Iterative => (0..self.rounds)
                .map(|r| (r * self.steps / self.rounds, 1.0 - kept_after_round(self.sparsity, r + 1, self.rounds)))
                .collect(),
            Schedule::Gradual => {
                let last = GRADUAL_PART * self.steps as f64;
                let cut = |c: usize| {
                    let done = c as f64 / GRADUAL_CUTS as f64;
                    ((done * last) as usize, cubic(self.sparsity, done))
                };
                (1..=GRADUAL_CUTS).map(cut).collect()
            }
        }
    }
    // ANCHOR_END: cuts

    /// The learning rate of a step: one half cosine over all, or one for each round.
    pub(super) fn rate(&self, step: usize) -> f64 {
        let of = if self.schedule == Schedule::Iterative && self.rate_schedule == RateSchedule::Restart {
            (self.steps / self.rounds).max(1)
        } else {
            self.steps.max(1)
        };
        self.learning_rate * half_cosine((step % of) as f64 / of as f64)
    }
}

/// A network on its way, at some steps.
pub(super) type Path = Vec<(usize, Network)>;

/// Trains; with a choice, cuts on the way by the plan. Gives the network at 0, an eighth, a quarter, half and all of the
/// steps.
pub(super) async fn train(
    start: &Network,
    choice: Option<&Choice>,
    plan: &Plan,
    material: &Material,
    cx: &Context,
) -> Result<Path, LabError> {
    let cuts = if choice.is_some() { plan.cuts() } else { Vec::new() };
    let shown = [0, plan.steps / 8, plan.steps / 4, plan.steps / 2, plan.steps];
    let (all, images) = material.subject.training(0);
    let mut path = Path::new();
    tune(
        Masked::new(start, cx)?,
        (all, &images),
        Tuning { steps: plan.steps, batch: BATCH },
        |step| plan.rate(step),
        &mut cx.rng("order"), // the same images in the same order for every arm
        cx,
        async |step, mut network: Masked| {
            // Of cuts that fall on the same step the last counts.
            if let Some((choice, (_, sparsity))) = choice.zip(cuts.iter().rev().find(|(at, _)| *at == step)) {
                let masks = choice.masks(&network.read().await?, material, *sparsity, cx)?;
                network = network.with_masks(&masks, cx)?;
            }
            if shown.contains(&step) {
                path.push((step, network.read().await?));
            }
            Ok(network)
        },
    )
    .await?;
    Ok(path)
}

/// Trains under masks that stay as they are, and gives the network at the end.
#[cfg(feature = "schema")]
pub(super) async fn train_masked(
    start: &Network,
    masks: &[Vec<bool>],
    plan: &Plan,
    material: &Material,
    cx: &Context,
) -> Result<Network, LabError> {
    let (all, images) = material.subject.training(0);
    let network = Masked::new(start, cx)?.with_masks(masks, cx)?;
    let how = Tuning { steps: plan.steps, batch: BATCH };
    let trained =
        tune(network, (all, &images), how, |step| plan.rate(step), &mut cx.rng("order"), cx, async |_, n| Ok(n))
            .await?;
    trained.read().await
}

/// The largest network of the same kind, narrower alike in all layers, that has no more weights than this.
pub(super) fn narrower(architecture: &Architecture, weights: usize) -> Architecture {
    let hidden = |share: f64| -> Vec<usize> {
        architecture.hidden().iter().map(|width| ((*width as f64 * share).round() as usize).max(1)).collect()
    };
    let mut share = 1.0;
    while share > 0.0 {
        let smaller = architecture.with_hidden(&hidden(share));
        if smaller.weights() <= weights {
            return smaller;
        }
        share -= 1.0 / 512.0;
    }
    architecture.with_hidden(&hidden(0.0))
}

/// Weights that a dense network may have against a sparse one with so many.
pub(super) fn allowance(kept: usize, equal: Equal) -> usize {
    match equal {
        Equal::Weights => kept,
        // Four bytes of value and two of column for each.
        Equal::Bytes => kept * 3 / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_grow_end_at_the_sparsity_and_lie_within_the_steps() {
        for schedule in [Schedule::OneShot, Schedule::Iterative, Schedule::Gradual] {
            for steps in [20, 400] {
                let plan = Plan {
                    sparsity: 0.9,
                    schedule,
                    rounds: 5,
                    steps,
                    learning_rate: 1e-2,
                    rate_schedule: RateSchedule::Restart,
                };
                let cuts = plan.cuts();
                assert!(cuts.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 < pair[1].1));
                assert!(cuts.iter().all(|(step, _)| *step < steps));
                assert!((cuts.last().expect("a cut").1 - 0.9).abs() < 1e-12);
                assert!((plan.rate(0) - 1e-2).abs() < 1e-12 && plan.rate(steps - 1) < 4e-3);
            }
        }
    }

    #[test]
    fn the_narrower_network_has_the_weights_it_may_have() {
        let architecture = Architecture::Mlp(vec![256, 128, 128, 47]);
        // 17² + 303 · 17 = 5,440 of 5,517; 25² + 303 · 25 = 8,200 of 8,275.
        assert_eq!(narrower(&architecture, 5_517), Architecture::Mlp(vec![256, 17, 17, 47]));
        let bytes = narrower(&architecture, allowance(5_517, Equal::Bytes));
        assert_eq!(bytes.hidden()[0], 25, "{bytes:?}");
        assert!(bytes.weights() <= 8_275 && architecture.with_hidden(&[26, 26]).weights() > 8_275);
        assert_eq!(narrower(&architecture, 0).hidden(), [1, 1]);
    }
}
