//! Searches that change what they have.

use lab_api::LabError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::by_score;

/// A candidate, and its score.
pub type Scored<C> = (C, f64);

// ANCHOR: climb
/// Local search: a neighbour of the best one so far is judged, and takes its place if it is better. Gives the best, and the best
/// score after each try.
///
/// # Errors
/// What `score` returns.
pub async fn climb<C>(
    start: Scored<C>,
    tries: usize,
    mut neighbour: impl FnMut(&C) -> C,
    mut score: impl AsyncFnMut(&C) -> Result<f64, LabError>,
) -> Result<(Scored<C>, Vec<f64>), LabError> {
    let (mut best, mut seen) = (start, Vec::with_capacity(tries));
    for _ in 0..tries {
        let other = neighbour(&best.0);
        let found = score(&other).await?;
        if found < best.1 {
            best = (other, found);
        }
        seen.push(best.1);
    }
    Ok((best, seen))
}
// ANCHOR_END: climb

// ANCHOR: aging
/// Regularized evolution (Real et al., 2019, arXiv:1802.01548): the best of a random sample of the population has a child, and the
/// oldest dies, however good. Gives all that was judged, in order, the first population too.
///
/// # Errors
/// What `score` returns.
pub async fn aging<C: Clone>(
    first: Vec<Scored<C>>,
    (sample, children): (usize, usize),
    rng: &mut ChaCha8Rng,
    mut mutate: impl FnMut(&C, &mut ChaCha8Rng) -> C,
    mut score: impl AsyncFnMut(&C) -> Result<f64, LabError>,
) -> Result<Vec<Scored<C>>, LabError> {
    let (living, mut all) = (first.len(), first);
    for _ in 0..if living > 0 { children } else { 0 } {
        let oldest = all.len() - living;
        let drawn = (0..sample.max(1)).map(|_| oldest + rng.random_range(0..living));
        let parent = drawn.min_by(|a, b| by_score((all[*a].1, *a), (all[*b].1, *b))).unwrap_or(oldest);
        let child = mutate(&all[parent].0, rng);
        let found = score(&child).await?;
        all.push((child, found));
    }
    Ok(all)
}
// ANCHOR_END: aging
