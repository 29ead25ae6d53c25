//! Telling each other less: only the largest numbers of a gradient, or weights after some steps alone.

use lab_api::LabError;

use super::Worker;
use crate::peers::{Link, all_reduce_ring, ring_pass};

// ANCHOR: largest
/// Places of the `k` numbers of largest size in ascending order; of equal ones the first.
#[must_use]
pub fn largest(x: &[f32], k: usize) -> Vec<usize> {
    let k = k.min(x.len());
    let mut sizes: Vec<f32> = x.iter().map(|x| x.abs()).collect();
    let Some(last) = k.checked_sub(1) else { return Vec::new() };
    let bound = *sizes.select_nth_unstable_by(last, |a, b| b.total_cmp(a)).1;
    let mut ties = k - x.iter().filter(|x| x.abs() > bound).count();
    let mut taken = |x: f32| {
        let tie = x.abs() == bound && ties > 0;
        ties -= usize::from(tie);
        tie || x.abs() > bound
    };
    x.iter().enumerate().filter(|(_, x)| taken(**x)).map(|(place, _)| place).collect()
}
// ANCHOR_END: largest

/// Sends the largest share of each gradient.
#[derive(Debug, Clone)]
pub struct Compressor {
    share: f64,
    /// What was not sent, by unit; `None`: it is forgotten.
    kept: Option<Vec<Vec<f32>>>,
}

impl Compressor {
    /// Sends this share, 0 to 1; with `feedback` it remembers what it did not send.
    #[must_use]
    pub fn new(share: f64, feedback: bool) -> Self {
        Self { share, kept: feedback.then(Vec::new) }
    }

    // ANCHOR: compressor
    /// Sums what all workers send of a unit's gradient, in the order of ranks. What stays here is added to the next gradient (Seide et
    /// al., 2014; Lin et al., 2018, arXiv:1712.01887).
    ///
    /// # Errors
    /// A lost peer.
    pub(super) async fn sum(&mut self, link: &dyn Link, unit: usize, gradient: &mut [f32]) -> Result<(), LabError> {
        if let Some(kept) = &mut self.kept {
            kept.resize(kept.len().max(unit + 1), Vec::new());
            kept[unit].resize(gradient.len(), 0.0);
            gradient.iter_mut().zip(&kept[unit]).for_each(|(g, kept)| *g += kept);
        }
        let places = largest(gradient, (self.share * gradient.len() as f64).ceil() as usize);
        let mut message = Vec::with_capacity(8 * places.len());
        for place in &places {
            message.extend_from_slice(&(*place as u32).to_le_bytes());
            message.extend_from_slice(&gradient[*place].to_le_bytes());
            gradient[*place] = 0.0;
        }
        if let Some(kept) = &mut self.kept {
            kept[unit].copy_from_slice(gradient);
        }
        gradient.fill(0.0);
        for message in ring_pass(link, message).await? {
            for [place, value] in message.as_chunks::<4>().0.as_chunks::<2>().0 {
                gradient[u32::from_le_bytes(*place) as usize] += f32::from_le_bytes(*value);
            }
        }
        Ok(())
    }
    // ANCHOR_END: compressor

    /// What was not sent yet of a unit.
    #[must_use]
    pub fn kept(&self, unit: usize) -> &[f32] {
        self.kept.as_ref().and_then(|kept| kept.get(unit)).map_or(&[], Vec::as_slice)
    }
}

/// What the outer optimizer of DiLoCo holds (Douillard et al., 2023, arXiv:2311.08105).
#[derive(Debug, Clone)]
pub struct Outer {
    /// Where the steps alone began, by unit.
    start: Vec<Vec<f32>>,
    momentum: Vec<Vec<f32>>,
    rate: f32,
    keep: f32,
}

impl Outer {
    /// For a worker that holds all weights, with an outer rate and the momentum's share that is kept. Rate 1 without momentum is plain
    /// averaging.
    #[must_use]
    pub fn new(worker: &Worker, rate: f64, keep: f64) -> Self {
        let momentum = worker.full.iter().map(|unit| vec![0.0; unit.len()]).collect();
        Self { start: worker.full.clone(), momentum, rate: rate as f32, keep: keep as f32 }
    }

    /// Bytes beyond the worker's own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.start.iter().chain(&self.momentum).map(|unit| 4 * unit.len()).sum()
    }
}

// ANCHOR: average
/// After some steps alone: all workers meet. How far they have gone on the mean is a gradient for the outer optimizer, momentum that
/// looks ahead (Nesterov); all go on from where it leads. Moments of the inner optimizer stay where they are.
///
/// # Errors
/// A lost peer.
pub async fn average(link: &dyn Link, worker: &mut Worker<'_>, outer: &mut Outer) -> Result<(), LabError> {
    let share = 1.0 / link.ranks() as f32;
    for ((w, start), m) in worker.full.iter_mut().zip(&mut outer.start).zip(&mut outer.momentum) {
        let mut moved: Vec<f32> = start.iter().zip(w.iter()).map(|(start, w)| start - w).collect();
        all_reduce_ring(link, &mut moved).await?;
        for ((w, d), (start, m)) in w.iter_mut().zip(moved).zip(start.iter_mut().zip(m)) {
            let d = share * d;
            *m = outer.keep * *m + d;
            *start -= outer.rate * if outer.keep > 0.0 { d + outer.keep * *m } else { d };
            *w = *start;
        }
    }
    Ok(())
}
// ANCHOR_END: average
