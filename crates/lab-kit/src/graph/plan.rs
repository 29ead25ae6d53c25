//! Where buffers lie in one arena: those that live at once must not overlap, others may share.

use crate::order::Ordered as _;
use serde::{Deserialize, Serialize};

/// A buffer: from the step that makes it to the last that reads it, both included, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The step that writes it.
    pub first: usize,
    /// The last that reads it.
    pub last: usize,
    /// Its size, in any unit.
    pub size: usize,
}

impl Life {
    /// Whether both are needed in some step.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Most buffers of which all orders are tried.
pub(super) const MOST: usize = 9;

/// How places are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// No reuse
    ///
    /// Each buffer has a place of its own.
    None,
    /// In time, first fit
    ///
    /// In the order of their births, the lowest gap that is large enough.
    InTime,
    /// By size, best fit
    ///
    /// The largest first, the smallest gap that is large enough.
    BySize,
    /// All orders (9 buffers at most)
    Exact,
}

// ANCHOR: bound
/// No plan is smaller: the most that lives in any one step.
#[must_use]
pub fn bound(lives: &[Life]) -> usize {
    let at =
        |step: usize| lives.iter().filter(|life| life.first <= step && step <= life.last).map(|life| life.size).sum();
    lives.iter().map(|life| at(life.first)).max().unwrap_or(0)
}
// ANCHOR_END: bound

/// Size of the arena of a plan.
#[must_use]
pub fn height(lives: &[Life], offsets: &[usize]) -> usize {
    lives.iter().zip(offsets).map(|(life, offset)| life.size + offset).max().unwrap_or(0)
}

// ANCHOR: none
/// Each at an address of its own.
fn apart(lives: &[Life]) -> Vec<usize> {
    let mut next = 0;
    let mut place = |life: &Life| {
        next += life.size;
        next - life.size
    };
    lives.iter().map(&mut place).collect()
}
// ANCHOR_END: none

// ANCHOR: fit
/// One after the other in this order, each into a gap between those placed before that live at the same time: the lowest that is
/// large enough, or the tightest.
fn fit(lives: &[Life], order: &[usize], tightest: bool) -> Vec<usize> {
    let mut offsets = vec![0; lives.len()];
    for (placed, at) in order.iter().enumerate() {
        let life = lives[*at];
        let mut taken: Vec<(usize, usize)> = order[..placed]
            .iter()
            .filter(|other| lives[**other].meets(&life))
            .map(|other| (offsets[*other], offsets[*other] + lives[*other].size))
            .collect();
        taken.sort_unstable();
        let (mut end, mut best) = (0, None);
        for (from, to) in taken {
            if from >= end + life.size {
                let gap = from - end;
                if best.is_none_or(|(smallest, _)| tightest && gap < smallest) {
                    best = Some((gap, end));
                }
            }
            end = end.max(to);
        }
        offsets[*at] = best.map_or(end, |(_, offset)| offset);
    }
    offsets
}
// ANCHOR_END: fit

// ANCHOR: plan
/// An offset for each buffer, such that no two that meet overlap.
#[must_use]
pub fn plan(lives: &[Life], strategy: Strategy) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    match strategy {
        Strategy::None => apart(lives),
        Strategy::InTime => {
            order.ordered_by_key(&|i| lives[*i].first);
            fit(lives, &order, false)
        }
        Strategy::BySize => {
            order.ordered_by_key(&|i| (std::cmp::Reverse(lives[*i].size), lives[*i].first));
            fit(lives, &order, true)
        }
        Strategy::Exact => exact(lives),
    }
}
// ANCHOR_END: plan

/// The best of first fit over all orders, which is the best there is; it ends early where it meets the bound.
fn exact(lives: &[Life]) -> Vec<usize> {
    let start = [Strategy::InTime, Strategy::BySize].map(|strategy| plan(lives, strategy));
    let mut best = start.into_iter().min_by_key(|offsets| height(lives, offsets)).unwrap_or_default();
    let mut search = Search { lives, least: bound(lives), most: height(lives, &best), order: Vec::new() };
    if search.most > search.least {
        search.deeper(&mut best);
    }
    best
}

struct Search<'a> {
    lives: &'a [Life],
    least: usize,
    most: usize,
    order: Vec<usize>,
}

impl Search<'_> {
    /// Whether the bound was met.
    fn deeper(&mut self, best: &mut Vec<usize>) -> bool {
        let offsets = fit(self.lives, &self.order, false);
        let reach = self.order.iter().map(|i| offsets[*i] + self.lives[*i].size).max().unwrap_or(0);
        // What is placed stays, so that no order below this one is better.
        if reach >= self.most {
            return false;
        }
        if self.order.len() == self.lives.len() {
            self.most = reach;
            *best = offsets;
            return reach <= self.least;
        }
        for i in 0..self.lives.len() {
            if !self.order.contains(&i) {
                self.order.push(i);
                if self.deeper(best) {
                    return true;
                }
                self.order.pop();
            }
        }
        false
    }
}
