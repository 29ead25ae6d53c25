//! Searches on the recorded table, with and without the noise of one training.

use lab_api::LabError;
use lab_kit::{
    Context,
    cells::{CellCode, CellSearch, CellStrategy, cell_incumbents},
    rng,
};
use rand::Rng;

use super::{Params, judge::Allowed, record::Record};

/// Proposals of a replay.
pub(super) const LENGTH: usize = 40;

/// All strategies, as they are named.
pub(super) const STRATEGIES: [(CellStrategy, &str, &str); 5] = [
    (CellStrategy::Random, "random", "Random"),
    (CellStrategy::Local, "local", "Local search"),
    (CellStrategy::Evolution, "evolution", "Evolution"),
    (CellStrategy::Reinforce, "reinforce", "REINFORCE"),
    (CellStrategy::Predictor, "predictor", "Predictor"),
];

/// Mean regret in points after each proposal, by strategy: without noise, then with it.
pub(crate) struct Replays {
    pub(super) curves: [Vec<Vec<f64>>; 2],
}

/// A normal number (Box and Muller, 1958).
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0_f64 - rng.random_range(0.0..1.0_f64)).ln()).sqrt();
    radius * (2.0 * std::f64::consts::PI * rng.random_range(0.0..1.0_f64)).cos()
}

// ANCHOR: regret
/// Mean regret of a strategy after each proposal: how many points the network that looks best by then is truly worse than the best
/// that keeps the budget. A trial shows a network's recorded mean, and noise of a standard deviation; of one network always the same.
pub(super) async fn regret(
    search: &CellSearch<'_>,
    record: &Record,
    noise: f64,
    replays: usize,
    cx: &Context,
) -> Result<Vec<f64>, LabError> {
    let open = (0..CellCode::COUNT).filter(|i| search.allowed[*i]);
    let best = open.map(|i| record.truth[record.place[i]]).fold(f64::INFINITY, f64::min);
    let mut sums = vec![0.0; search.evaluations];
    for replay in 0..replays {
        let mut rng = rng(replay as u64, "replay");
        let luck: Vec<f64> = record.truth.iter().map(|_| noise * normal(&mut rng)).collect();
        let show = async |code: CellCode| Ok(record.error(code) + luck[record.place[code.index()]]);
        let log = search.run(&mut rng, show).await?;
        // Before anything fits there is only the worst to lose.
        let worst = record.truth.iter().copied().fold(0.0, f64::max);
        let found = cell_incumbents(&log);
        for (at, sum) in sums.iter_mut().enumerate() {
            // A search that has seen all there is stops early.
            let best_so_far = found.get(at).or(found.last()).copied().flatten();
            *sum += best_so_far.map_or(worst, |at| record.error(log[at].0)) - best;
        }
        if replay % 8 == 0 {
            cx.checkpoint().await?;
        }
    }
    sums.iter_mut().for_each(|sum| *sum /= replays.max(1) as f64);
    Ok(sums)
}
// ANCHOR_END: regret

pub(super) async fn curves(
    record: &Record,
    allowed: &Allowed,
    params: &Params,
    cx: &Context,
) -> Result<Replays, LabError> {
    let noise = record.noise / f64::from(params.seeds_each).sqrt();
    let population = (params.population as usize, params.sample as usize);
    let mut curves: [Vec<Vec<f64>>; 2] = Default::default();
    for (at, noise) in [0.0, noise].into_iter().enumerate() {
        for (strategy, ..) in STRATEGIES {
            let search = CellSearch { strategy, evaluations: LENGTH, population, allowed: &allowed.codes };
            curves[at].push(regret(&search, record, noise, params.replays as usize, cx).await?);
        }
    }
    Ok(Replays { curves })
}
