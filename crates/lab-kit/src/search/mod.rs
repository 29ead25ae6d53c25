//! Search over candidates that are costly to judge, whatever they are: which of them to judge, and how far. A trial is a number;
//! whoever calls keeps what belongs to it (a configuration, a paused training) and says what it scored at a rung.

mod asynchronous;
mod evolve;
mod front;
mod halving;
mod knapsack;
mod median;
mod predictor;
mod rank;
mod reinforce;
mod tpe;

use crate::order::Ordered as _;
use std::cmp::Ordering;

pub use asynchronous::{Asha, Decides, asynchronous};
pub use evolve::{Scored, aging, climb};
pub use front::pareto;
pub use halving::{brackets, cost, hyperband, rungs, search_full, successive_halving};
pub use knapsack::{knapsack, sweep};
pub use median::median_rule;
pub use predictor::{ridge, thompson};
pub use rank::{best_of_random, expected_best, kept, rank_of, spearman};
pub use reinforce::SlotPolicy;
pub use tpe::propose;

/// What a trial gave on its way to a rung.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Done {
    /// Less is better; what is not finite counts as the worst.
    pub score: f64,
    /// Of this stretch alone, in what budgets are counted in.
    pub cost: f64,
}

/// A trial at a rung.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reached {
    /// The trial's number: its age.
    pub trial: usize,
    /// The rung, counted from 0.
    pub rung: usize,
    /// As of [`Done`].
    pub score: f64,
    /// As of [`Done`].
    pub cost: f64,
    /// When: what the whole search had spent, or the clock of several workers.
    pub until: f64,
}

/// All that a search saw, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Log {
    /// In the order of time.
    pub reached: Vec<Reached>,
}

/// Better scores first, what is not finite last, and of equals the older trial.
#[must_use]
pub fn by_score(a: (f64, usize), b: (f64, usize)) -> Ordering {
    let worst = |x: f64| if x.is_finite() { x } else { f64::INFINITY };
    worst(a.0).total_cmp(&worst(b.0)).then(a.1.cmp(&b.1))
}

impl Log {
    /// What has been spent.
    #[must_use]
    pub fn spent(&self) -> f64 {
        self.reached.iter().map(|one| one.cost).sum()
    }

    /// Notes what one worker did.
    pub fn add(&mut self, trial: usize, rung: usize, done: Done) {
        let until = self.spent() + done.cost;
        self.reached.push(Reached { trial, rung, score: done.score, cost: done.cost, until });
    }

    /// Those at a rung, best first.
    #[must_use]
    pub fn at(&self, rung: usize) -> Vec<Reached> {
        let mut all: Vec<Reached> = self.reached.iter().filter(|one| one.rung == rung).copied().collect();
        all.ordered_by(&|a, b| by_score((a.score, a.trial), (b.score, b.trial)));
        all
    }

    /// The best at a rung, if any score there is finite.
    #[must_use]
    pub fn best(&self, rung: usize) -> Option<Reached> {
        self.at(rung).first().filter(|one| one.score.is_finite()).copied()
    }

    /// Trials that were begun.
    #[must_use]
    pub fn trials(&self) -> usize {
        let mut all: Vec<usize> = self.reached.iter().map(|one| one.trial).collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }

    /// The best score at a rung so far, whenever it fell: `[spent, score]`. Less the best there is, it is the regret.
    #[must_use]
    pub fn incumbent(&self, rung: usize) -> Vec<[f64; 2]> {
        let (mut best, mut all) = (f64::INFINITY, Vec::new());
        for one in self.reached.iter().filter(|one| one.rung == rung && one.score.is_finite()) {
            if one.score < best {
                best = one.score;
                all.push([one.until, best]);
            }
        }
        all
    }

    /// Share of the cost that went to trials that never came to a rung.
    #[must_use]
    pub fn on_the_cut(&self, rung: usize) -> f64 {
        let ended = |trial: usize| self.reached.iter().any(|one| one.trial == trial && one.rung >= rung);
        let cut: f64 = self.reached.iter().filter(|one| !ended(one.trial)).map(|one| one.cost).sum();
        // The sum of nothing is -0.
        cut.abs() / self.spent().max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests;
