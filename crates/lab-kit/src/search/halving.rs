//! Searches in rounds: every trial to the end, successive halving, Hyperband.

use std::ops::Range;

use lab_api::LabError;

use super::{Done, Log};

/// So many rungs, the last at `last`, neighbours `eta` apart: rounded, and each 1 at least.
#[must_use]
pub fn rungs(count: usize, last: usize, eta: usize) -> Vec<usize> {
    let below = |k: usize| (last as f64 / (eta as f64).powi(k as i32)).round().max(1.0) as usize;
    (0..count.max(1)).rev().map(below).collect()
}

// ANCHOR: full
/// Every trial to the last rung.
///
/// # Errors
/// What `advance` returns.
pub async fn search_full(
    trials: Range<usize>,
    rungs: &[usize],
    mut advance: impl AsyncFnMut(usize, usize) -> Result<Done, LabError>,
) -> Result<Log, LabError> {
    let mut log = Log::default();
    let rung = rungs.len() - 1;
    for trial in trials {
        log.add(trial, rung, advance(trial, rungs[rung]).await?);
    }
    Ok(log)
}
// ANCHOR_END: full

// ANCHOR: halving
/// Successive halving (Jamieson and Talwalkar, 2016, arXiv:1502.07943): all trials to the first rung, the best of them to the
/// next, until one is left. `advance(trial, to)` goes on where the trial stopped.
///
/// # Errors
/// [`LabError::Refused`] where no score at a rung is finite; what `advance` returns.
pub async fn successive_halving(
    trials: Range<usize>,
    rungs: &[usize],
    eta: usize,
    mut advance: impl AsyncFnMut(usize, usize) -> Result<Done, LabError>,
) -> Result<Log, LabError> {
    let mut log = Log::default();
    let mut alive: Vec<usize> = trials.clone().collect();
    for (rung, to) in rungs.iter().enumerate() {
        for trial in &alive {
            log.add(*trial, rung, advance(*trial, *to).await?);
        }
        let keep = (trials.len() / eta.max(1).pow(rung as u32 + 1)).max(1);
        alive = log.at(rung).iter().take(keep).map(|one| one.trial).collect();
        finite(&log, rung)?;
    }
    Ok(log)
}
// ANCHOR_END: halving

fn finite(log: &Log, rung: usize) -> Result<(), LabError> {
    if log.best(rung).is_some() {
        return Ok(());
    }
    let count = log.at(rung).len();
    Err(LabError::Refused {
        why: format!("none of the {count} trials at rung {rung} has a finite score: narrow the space"),
    })
}

// ANCHOR: cost
/// What halving costs, in units of the last rung, if trials go on where they stopped, and if they begin anew at each rung.
#[must_use]
pub fn cost(trials: usize, rungs: &[usize], eta: usize) -> [f64; 2] {
    let (mut before, mut sums) = (0, [0; 2]);
    for (rung, to) in rungs.iter().enumerate() {
        let alive = (trials / eta.max(1).pow(rung as u32)).max(1);
        sums[0] += alive * (to - before);
        sums[1] += alive * to;
        before = *to;
    }
    sums.map(|sum| sum as f64 / before.max(1) as f64)
}
// ANCHOR_END: cost

// ANCHOR: hyperband
/// The brackets of Hyperband (Li et al., 2018, arXiv:1603.06560) for so many rungs: trials, and the rung that they begin at. From
/// many that are cut early to a few that are never cut.
#[must_use]
pub fn brackets(rungs: usize, eta: usize) -> Vec<(usize, usize)> {
    let bracket = |s: usize| ((rungs * eta.pow(s as u32)).div_ceil(s + 1), rungs - 1 - s);
    (0..rungs).rev().map(bracket).collect()
}

/// Halving in each bracket, with trials of its own.
///
/// # Errors
/// As [`successive_halving`].
pub async fn hyperband(
    rungs: &[usize],
    eta: usize,
    mut advance: impl AsyncFnMut(usize, usize) -> Result<Done, LabError>,
) -> Result<Log, LabError> {
    let (mut log, mut next) = (Log::default(), 0);
    for (trials, first) in brackets(rungs.len(), eta) {
        let found = successive_halving(next..next + trials, &rungs[first..], eta, &mut advance).await?;
        for one in found.reached {
            log.add(one.trial, first + one.rung, Done { score: one.score, cost: one.cost });
        }
        next += trials;
    }
    Ok(log)
}
// ANCHOR_END: hyperband
