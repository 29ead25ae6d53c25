//! The rule that stops what is below the middle.

use std::ops::Range;

use lab_api::LabError;

use super::{Done, Log};
use crate::stats::median;

// ANCHOR: median
/// The median stopping rule (Golovin et al., 2017): one trial after the other; it is stopped at a rung if its best score so far is
/// worse than the median, over the trials that came to the end, of the mean of their scores up to that rung. The first `complete`
/// trials are never stopped. Ends with the trials or the budget.
///
/// # Errors
/// What `advance` returns.
pub async fn median_rule(
    trials: Range<usize>,
    rungs: &[usize],
    (complete, budget): (usize, f64),
    mut advance: impl AsyncFnMut(usize, usize) -> Result<Done, LabError>,
) -> Result<Log, LabError> {
    let mut log = Log::default();
    let mut means: Vec<Vec<f64>> = Vec::new();
    for (number, trial) in trials.enumerate() {
        let (mut best, mut sum, mut own) = (f64::INFINITY, 0.0, Vec::new());
        for (rung, to) in rungs.iter().enumerate() {
            if log.spent() > budget - 1e-9 {
                return Ok(log);
            }
            let done = advance(trial, *to).await?;
            log.add(trial, rung, done);
            sum += done.score;
            best = best.min(done.score);
            own.push(sum / (rung + 1) as f64);
            let others: Vec<f64> = means.iter().map(|mean| mean[rung]).collect();
            if number >= complete && !others.is_empty() && (best > median(&others) || best.is_nan()) {
                break;
            }
        }
        if own.len() == rungs.len() {
            means.push(own);
        }
    }
    Ok(log)
}
// ANCHOR_END: median
