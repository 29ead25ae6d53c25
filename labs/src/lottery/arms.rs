//! All arms of one comparison: trained, and judged on the images of the fold that nobody trained on.

use lab_api::LabError;
use lab_kit::{
    Context,
    prune::{Architecture, Network, logits},
    subject::Subject,
    train::argmax,
};

use super::tickets::{Data, Masks, Plan, Ticket, between, one_size, own_signs, same_signs, shuffled, smallest};

/// Widths of the network, as those that the book ships for digits.
const WIDTHS: [usize; 4] = [64, 128, 128, 10];
/// Points on the line between two trainings.
const POINTS: usize = 11;

/// The arms, in the order of [`Outcome::arms`].
pub(super) const ARMS: [(&str, &str); 9] = [
    ("dense", "Dense"),
    ("ticket", "Ticket: own mask, own initial weights"),
    ("untrained", "Ticket before any training"),
    ("new", "Own mask, new weights"),
    ("signs", "Own mask, own signs, new sizes"),
    ("one_size", "Own mask, own signs, all of one size"),
    ("shuffled", "Mask shuffled within layers, own weights"),
    ("one_shot", "Mask of one cut, own initial weights"),
    ("tuned", "Mask of one cut, trained weights trained on"),
];

/// What came out.
pub(super) struct Outcome {
    /// Images judged.
    pub(super) held_out: Vec<usize>,
    /// For each of [`ARMS`] the network and its answers.
    pub(super) arms: Vec<(Network, Vec<u8>)>,
    /// After each round of the search: weights left and accuracy in per cent.
    pub(super) rounds: Vec<[f64; 2]>,
    /// Per cent of the ticket's weights that end with the sign they began with.
    pub(super) same_signs: f64,
    /// Mean loss along the line between two trainings in different orders: of the dense network, and of the ticket.
    pub(super) lines: [Vec<f64>; 2],
    /// Seconds of the trainings.
    pub(super) seconds: Vec<f64>,
    pub(super) masks: Masks,
}

impl Outcome {
    /// Highest loss on the line above the mean of its ends.
    pub(super) fn barrier(line: &[f64]) -> f64 {
        let ends = line.first().zip(line.last()).map_or(0.0, |(a, b)| f64::midpoint(*a, *b));
        line.iter().copied().fold(f64::NEG_INFINITY, f64::max) - ends
    }
}

/// Trains and judges all arms. The fold that judges is the seed's.
pub(super) async fn run(
    subject: &Subject,
    plan: &Plan,
    cx: &Context,
    mut shown: impl FnMut(usize, usize),
) -> Result<Outcome, LabError> {
    let fold = (cx.seed % subject.folds() as u64) as usize;
    let (all, images) = subject.training(fold);
    let data = Data { all, images: &images };
    let held_out = subject.models.held_out(fold);
    let architecture = Architecture::Mlp(WIDTHS.to_vec());
    let initial = Network::init(&architecture, &mut cx.rng("weights"));
    let fresh = Network::init(&architecture, &mut cx.rng("other weights"));
    let classes = subject.images.class_count();

    let mut seconds = Vec::new();
    let began = cx.now_ms();
    let Ticket { masks, start, rounds } = plan.find(&initial, data, cx).await?;
    seconds.push((cx.now_ms() - began) / 1e3 / plan.rounds as f64);
    let dense = rounds[0].clone();
    let once = smallest(&dense, plan.sparsity)?;
    let mixed = shuffled(&masks, &mut cx.rng("shuffled mask"));
    let (signs, size) = (own_signs(&start, &fresh), one_size(&start));

    let from = plan.rewind_to;
    let ticket_untrained = start.clone().masked(&masks);
    let starts: [(&Network, &Masks, usize); 7] = [
        (&start, &masks, from),
        (&fresh, &masks, 0),
        (&signs, &masks, 0),
        (&size, &masks, 0),
        (&start, &mixed, from),
        (&start, &once, from),
        (&dense, &once, 0),
    ];
    let mut networks = vec![dense.clone()];
    for (i, (start, masks, from)) in starts.into_iter().enumerate() {
        shown(i, starts.len() + 2);
        let began = cx.now_ms();
        networks.push(plan.train((start, Some(masks)), from, data, "order", cx).await?.0);
        seconds.push((cx.now_ms() - began) / 1e3);
    }
    networks.insert(2, ticket_untrained);

    // The same starts, the images in another order: how far apart do they come to lie?
    shown(starts.len(), starts.len() + 2);
    let other_dense = plan.train((&start, None), from, data, "another order", cx).await?.0;
    let again = if from == 0 { dense } else { plan.train((&start, None), from, data, "order", cx).await?.0 };
    let other = plan.train((&start, Some(&masks)), from, data, "another order", cx).await?.0;
    let lines = [
        line(subject, &held_out, &again, &other_dense, cx).await?,
        line(subject, &held_out, &networks[1], &other, cx).await?,
    ];

    let mut arms = Vec::new();
    for network in networks {
        let answers = argmax(&logits(&network, &subject.images, &held_out, cx).await?, classes);
        arms.push((network, answers));
    }
    let mut after = Vec::new();
    for network in &rounds {
        let answers = argmax(&logits(network, &subject.images, &held_out, cx).await?, classes);
        let left = 100.0 * network.non_zero().iter().sum::<usize>() as f64 / architecture.weights() as f64;
        after.push([left, subject.accuracy_on(&held_out, &answers, 0.95).0]);
    }
    let (ticket, answers) = &arms[1];
    let left = 100.0 * ticket.non_zero().iter().sum::<usize>() as f64 / architecture.weights() as f64;
    after.push([left, subject.accuracy_on(&held_out, answers, 0.95).0]);
    let same_signs = same_signs(&start, ticket, &masks);
    Ok(Outcome { held_out, arms, rounds: after, same_signs, lines, seconds, masks })
}

/// Mean loss at points of the line between two networks, in nats.
async fn line(
    subject: &Subject,
    held_out: &[usize],
    one: &Network,
    other: &Network,
    cx: &Context,
) -> Result<Vec<f64>, LabError> {
    let classes = subject.images.class_count();
    let mut losses = Vec::new();
    for point in 0..POINTS {
        let network = between(one, other, point as f32 / (POINTS - 1) as f32);
        let logits = logits(&network, &subject.images, held_out, cx).await?;
        let loss = |(row, i): (&[f32], &usize)| {
            let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = row.iter().map(|z| (z - highest).exp()).sum();
            f64::from(sum.ln() + highest - row[usize::from(subject.images.labels[*i])])
        };
        let sum: f64 = logits.chunks_exact(classes).zip(held_out).map(loss).sum();
        losses.push(sum / held_out.len().max(1) as f64);
    }
    Ok(losses)
}
