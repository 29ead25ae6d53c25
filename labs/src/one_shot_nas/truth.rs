//! What networks are worth that were trained alone, and how an order agrees with it.

use std::collections::BTreeMap;

use lab_kit::order::Ordered as _;
use lab_kit::{
    cells::{CellCode, CellTable},
    search::{rank_of, spearman},
};

/// The best by truth that are looked at apart.
pub(super) const TOP: usize = 15;

/// Networks with what they are worth: right answers in per cent on unseen families, trained alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    /// Canonical codes.
    pub(super) codes: Vec<CellCode>,
    pub(super) right: Vec<f64>,
}

impl Truth {
    /// Of the recorded table: the first seed of its longest trainings. The other seed is left to be compared with.
    pub(super) fn recorded(table: &CellTable) -> Self {
        let codes = table.entries.iter().map(|entry| entry.code).collect();
        let right = table.entries.iter().map(|entry| entry.judged).collect();
        Self { codes, right }
    }

    pub(super) fn of(&self, code: CellCode) -> Option<f64> {
        let canonical = code.canonical();
        self.codes.iter().position(|other| *other == canonical).map(|at| self.right[at])
    }

    /// 1 for the best.
    pub(super) fn place(&self, code: CellCode) -> Option<usize> {
        let canonical = code.canonical();
        let at = self.codes.iter().position(|other| *other == canonical)?;
        Some(rank_of(&less(&self.right), at))
    }

    pub(super) fn best(&self) -> f64 {
        self.right.iter().copied().fold(f64::MIN, f64::max)
    }

    /// Numbers of the best, best first.
    pub(super) fn top(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.right.len()).collect();
        order.ordered_by(&|a, b| self.right[*b].total_cmp(&self.right[*a]).then(a.cmp(b)));
        order.truncate(count);
        order
    }

    /// Rank correlation of some scores with the truth: over all, and within the best [`TOP`].
    pub(super) fn agreement(&self, scores: &[f64]) -> [f64; 2] {
        let top = self.top(TOP);
        let some = |values: &[f64]| top.iter().map(|i| values[*i]).collect::<Vec<f64>>();
        [spearman(&less(scores), &less(&self.right)), spearman(&less(&some(scores)), &less(&some(&self.right)))]
    }

    /// The middle of what networks of about so many FLOPs are worth: a quarter more or less.
    pub(super) fn typical(&self, flops: usize, classes: usize) -> Option<f64> {
        let near = |code: &CellCode| {
            let own = code.flops(classes) as f64;
            (0.75 * flops as f64..=1.25 * flops as f64).contains(&own)
        };
        let some: Vec<f64> =
            self.codes.iter().zip(&self.right).filter(|(code, _)| near(code)).map(|(_, right)| *right).collect();
        (!some.is_empty()).then(|| lab_kit::stats::median(&some))
    }
}

/// Less is better where ranks are made.
fn less(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| -value).collect()
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// What a supernet says of every code, and of every network: the mean over its codes.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// Right answers in per cent, by code.
    pub(super) codes: Vec<f64>,
    networks: BTreeMap<CellCode, Vec<f64>>,
}

impl Said {
    pub(super) fn new(right: &[usize], images: usize) -> Self {
        let codes: Vec<f64> = right.iter().map(|right| 100.0 * *right as f64 / images.max(1) as f64).collect();
        let mut networks = BTreeMap::<CellCode, Vec<f64>>::new();
        for (index, right) in codes.iter().enumerate() {
            networks.entry(CellCode::from_index(index).canonical()).or_default().push(*right);
        }
        Self { codes, networks }
    }

    /// Of a network.
    pub(super) fn of(&self, code: CellCode) -> f64 {
        self.networks.get(&code.canonical()).map_or(0.0, |all| mean(all))
    }

    /// Scores of these networks.
    pub(super) fn scores(&self, codes: &[CellCode]) -> Vec<f64> {
        codes.iter().map(|code| self.of(*code)).collect()
    }

    /// Networks from the best score down; of equals the one with the smaller number.
    pub(super) fn order(&self) -> Vec<CellCode> {
        let mut all: Vec<CellCode> = self.networks.keys().copied().collect();
        all.ordered_by(&|a, b| self.of(*b).total_cmp(&self.of(*a)).then(a.index().cmp(&b.index())));
        all
    }

    /// From the worst code of a network to its best: the mean over networks that have several codes.
    pub(super) fn apart(&self) -> f64 {
        let most = |all: &Vec<f64>| all.iter().copied().fold(f64::MIN, f64::max);
        let least = |all: &Vec<f64>| all.iter().copied().fold(f64::MAX, f64::min);
        let several: Vec<f64> =
            self.networks.values().filter(|all| all.len() > 1).map(|all| most(all) - least(all)).collect();
        mean(&several)
    }
}
