//! Finding a ticket, and the starts that it is compared with.

use lab_api::LabError;
use lab_kit::{
    Context,
    data::Images,
    prune::{Masked, Network, Threshold, Tuning, kept_after_round, masks, tune},
    train::half_cosine,
};
use rand::{Rng, seq::SliceRandom};

/// Masks of all layers; `true` stays.
pub(super) type Masks = Vec<Vec<bool>>;

/// How each training goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plan {
    pub(super) sparsity: f64,
    pub(super) rounds: usize,
    /// Step of the first training to whose weights every later one goes back.
    pub(super) rewind_to: usize,
    pub(super) steps: usize,
    pub(super) learning_rate: f64,
}

/// Images of a step.
const BATCH: usize = 64;

/// What a network is trained on.
#[derive(Clone, Copy)]
pub(super) struct Data<'a> {
    pub(super) all: &'a Images,
    pub(super) images: &'a [usize],
}

/// A mask with the weights it was found for, and what was trained on the way.
pub(super) struct Ticket {
    pub(super) masks: Masks,
    /// The weights that training goes back to.
    pub(super) start: Network,
    /// The networks of all rounds, the first of them dense.
    pub(super) rounds: Vec<Network>,
}

impl Plan {
    /// One training from step `from` of the schedule on, in the order that `order` draws.
    pub(super) async fn train(
        &self,
        (start, masks): (&Network, Option<&Masks>),
        from: usize,
        data: Data<'_>,
        order: &str,
        cx: &Context,
    ) -> Result<(Network, Network), LabError> {
        let mut network = Masked::new(start, cx)?;
        if let Some(masks) = masks {
            network = network.with_masks(masks, cx)?;
        }
        let mut early = start.clone();
        let how = Tuning { steps: self.steps - from, batch: BATCH };
        let rate = |step: usize| self.learning_rate * half_cosine((from + step) as f64 / self.steps as f64);
        let data = (data.all, data.images);
        let trained = tune(network, data, how, rate, &mut cx.rng(order), cx, async |step, network: Masked| {
            if from == 0 && step == self.rewind_to {
                early = network.read().await?;
            }
            Ok(network)
        })
        .await?;
        Ok((trained.read().await?, early))
    }

    // ANCHOR: imp
    /// Iterative magnitude pruning (Frankle and Carbin, arXiv:1803.03635; with rewinding arXiv:1912.05671): train, cut the
    /// smallest, go back to the early weights of those that are left, and again.
    pub(super) async fn find(&self, initial: &Network, data: Data<'_>, cx: &Context) -> Result<Ticket, LabError> {
        let (dense, start) = self.train((initial, None), 0, data, "order", cx).await?;
        let (mut rounds, mut found) = (vec![dense], Masks::new());
        for round in 1..=self.rounds {
            let sparsity = 1.0 - kept_after_round(self.sparsity, round, self.rounds);
            found = smallest(&rounds[round - 1], sparsity)?;
            if round < self.rounds {
                rounds.push(self.train((&start, Some(&found)), self.rewind_to, data, "order", cx).await?.0);
            }
        }
        Ok(Ticket { masks: found, start, rounds })
    }
    // ANCHOR_END: imp
}

/// Masks that remove the smallest weights of a network, all layers together. What is zero already goes first.
pub(super) fn smallest(network: &Network, sparsity: f64) -> Result<Masks, LabError> {
    let names = network.architecture.layers();
    let scores: Vec<Vec<f32>> =
        names.iter().map(|name| network.weight(name).iter().map(|w| w.abs()).collect()).collect();
    masks(&network.matrices(&names, &scores), sparsity, Threshold::Global)
}

/// The same number in every layer, at other places.
pub(super) fn shuffled(masks: &Masks, rng: &mut impl Rng) -> Masks {
    let mut shuffled = masks.clone();
    shuffled.iter_mut().for_each(|layer| layer.shuffle(rng));
    shuffled
}

// ANCHOR: starts
/// Changes every weight, given its own value and that of a fresh network.
fn blend(own: &Network, fresh: &Network, change: impl Fn(f32, f32, f32) -> f32) -> Network {
    let mut blended = own.clone();
    for layer in own.architecture.layers() {
        let mean = own.weight(&layer).iter().map(|w| w.abs()).sum::<f32>() / own.weight(&layer).len().max(1) as f32;
        if let Some(weight) = blended.state.get_mut(&format!("{layer}.weight")) {
            let pairs = weight.values.iter_mut().zip(fresh.weight(&layer));
            pairs.for_each(|(own, fresh)| *own = change(*own, *fresh, mean));
        }
    }
    blended
}

/// The sizes of a fresh network with the ticket's signs.
pub(super) fn own_signs(own: &Network, fresh: &Network) -> Network {
    blend(own, fresh, |own, fresh, _| fresh.abs().copysign(own))
}

/// All weights of a layer of one size, its mean, with the ticket's signs.
pub(super) fn one_size(own: &Network) -> Network {
    blend(own, own, |own, _, mean| mean.copysign(own))
}
// ANCHOR_END: starts

/// A point on the line between two networks: `part` of the way from one to the other.
pub(super) fn between(one: &Network, other: &Network, part: f32) -> Network {
    let mut point = one.clone();
    for layer in one.architecture.layers() {
        for name in [format!("{layer}.weight"), format!("{layer}.bias")] {
            if let (Some(to), Some(other)) = (point.state.get_mut(&name), other.state.get(&name)) {
                to.values.iter_mut().zip(&other.values).for_each(|(a, b)| *a += part * (b - *a));
            }
        }
    }
    point
}

/// Share of the weights that are left, in per cent, which end with the sign they began with.
pub(super) fn same_signs(start: &Network, end: &Network, masks: &Masks) -> f64 {
    let (mut same, mut all) = (0_usize, 0_usize);
    for (layer, mask) in start.architecture.layers().iter().zip(masks) {
        let pairs = start.weight(layer).iter().zip(end.weight(layer)).zip(mask).filter(|(_, kept)| **kept);
        for ((a, b), _) in pairs {
            same += usize::from((*a > 0.0) == (*b > 0.0));
            all += 1;
        }
    }
    100.0 * same as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::{
        data::Digits,
        prune::Architecture,
        testing::{FakeClock, context_with, ready},
    };

    use super::*;

    fn plan() -> Plan {
        Plan { sparsity: 0.8, rounds: 2, rewind_to: 0, steps: 16, learning_rate: 1e-2 }
    }

    fn with_digits(test: impl FnOnce(Data, &Network, &Context)) {
        let cx = context_with(Rc::new(FakeClock::new(0.1)), &[Digits::ASSET]);
        let digits = Images::from(Digits::read(&ready(cx.asset(Digits::ASSET)).expect("shipped")).expect("digits"));
        let images: Vec<usize> = (0..256).collect();
        let initial = Network::init(&Architecture::Mlp(vec![64, 16, 10]), &mut cx.rng("weights"));
        test(Data { all: &digits, images: &images }, &initial, &cx);
    }

    fn kept(masks: &Masks) -> Vec<usize> {
        masks.iter().map(|mask| mask.iter().filter(|kept| **kept).count()).collect()
    }

    #[test]
    fn a_ticket_that_keeps_all_trains_to_the_very_weights_of_the_dense_network() {
        with_digits(|data, initial, cx| {
            let all = Plan { sparsity: 0.0, rounds: 1, ..plan() };
            let ticket = ready(all.find(initial, data, cx)).expect("found");
            assert_eq!(&ticket.start, initial);
            let (trained, _) = ready(all.train((initial, Some(&ticket.masks)), 0, data, "order", cx)).expect("trains");
            assert_eq!(trained, ticket.rounds[0]);
        });
    }

    #[test]
    fn rewinding_to_the_end_is_cutting_once_after_training() {
        with_digits(|data, initial, cx| {
            let end = Plan { rounds: 1, rewind_to: plan().steps, ..plan() };
            let ticket = ready(end.find(initial, data, cx)).expect("found");
            let (trained, _) = ready(end.train((&ticket.start, Some(&ticket.masks)), end.rewind_to, data, "order", cx))
                .expect("trains");
            let dense = &ticket.rounds[0];
            assert_eq!(trained.non_zero(), dense.clone().masked(&smallest(dense, 0.8).expect("masks")).non_zero());
            assert_eq!(trained.clone().masked(&ticket.masks), dense.clone().masked(&ticket.masks));
        });
    }

    #[test]
    fn rounds_are_nested_and_starts_have_what_they_say() {
        with_digits(|data, initial, cx| {
            let ticket = ready(plan().find(initial, data, cx)).expect("found");
            let all: usize = kept(&ticket.masks).iter().sum();
            assert_eq!(all, (0.2_f64 * 1184.0).round() as usize);
            // What the second training had at zero stays out.
            let last = ticket.rounds.last().expect("two rounds");
            for (layer, mask) in initial.architecture.layers().iter().zip(&ticket.masks) {
                assert!(last.weight(layer).iter().zip(mask).all(|(w, kept)| !*kept || *w != 0.0));
            }
            let mixed = shuffled(&ticket.masks, &mut cx.rng("shuffle"));
            assert_ne!(mixed, ticket.masks);
            assert_eq!(kept(&mixed), kept(&ticket.masks));
            let fresh = Network::init(&initial.architecture, &mut cx.rng("other"));
            let signs = own_signs(initial, &fresh);
            let pairs = signs.weight("layers.0").iter().zip(initial.weight("layers.0")).zip(fresh.weight("layers.0"));
            for ((w, own), fresh) in pairs {
                assert!((*w > 0.0) == (*own > 0.0) && w.abs() == fresh.abs());
            }
            let sizes = one_size(initial);
            let first = sizes.weight("layers.1")[0].abs();
            assert!(sizes.weight("layers.1").iter().all(|w| w.abs() == first));
            assert_eq!(between(initial, &fresh, 0.0), *initial);
            assert!(
                (between(initial, &fresh, 0.5).weight("layers.0")[3]
                    - 0.5 * (initial.weight("layers.0")[3] + fresh.weight("layers.0")[3]))
                    .abs()
                    < 1e-6
            );
            assert_eq!(same_signs(initial, &signs, &ticket.masks), 100.0);
        });
    }
}
