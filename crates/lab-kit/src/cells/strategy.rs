//! Strategies over the codes of the space: who is judged next.

use lab_api::LabError;
use lab_layers::cells::{CellCode, SLOTS, SlotOp};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::search::{SlotPolicy, aging, climb, thompson};

/// Who proposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellStrategy {
    /// Chance.
    Random,
    /// Neighbours of the best so far.
    Local,
    /// Children of good ones; the oldest die.
    Evolution,
    /// A policy that learns by reward; what is over the budget is a wasted proposal.
    Reinforce,
    /// A line through what was seen.
    Predictor,
}

/// Random candidates before a line is drawn through them.
const FIRST: usize = 8;
/// How far a point of accuracy moves a logit.
const RATE: f64 = 0.15;
/// Points below the mean that a proposal over the budget counts as.
const PENALTY: f64 = 60.0;
/// Of the line.
const SHRINK: f64 = 1.0;

/// A search: what may be proposed, and how often.
pub struct CellSearch<'a> {
    /// Who proposes.
    pub strategy: CellStrategy,
    /// Proposals.
    pub evaluations: usize,
    /// Of evolution: those that live, and those that a parent is the best of.
    pub population: (usize, usize),
    /// By the number of a code: whether it keeps the budget.
    pub allowed: &'a [bool],
}

impl CellSearch<'_> {
    /// All codes that may be proposed.
    fn open(&self) -> Vec<usize> {
        (0..CellCode::COUNT).filter(|i| self.allowed.get(*i).copied().unwrap_or(false)).collect()
    }

    fn neighbour(&self, code: CellCode, open: &[usize], rng: &mut ChaCha8Rng) -> CellCode {
        let near: Vec<CellCode> = code.neighbours().into_iter().filter(|near| self.allowed[near.index()]).collect();
        match near.len() {
            0 => CellCode::from_index(open[rng.random_range(0..open.len())]),
            count => near[rng.random_range(0..count)],
        }
    }

    // ANCHOR: run
    /// Asks `score` for what each proposal is worth (errors in per cent: less is better) and gives all proposals in their order. One
    /// over the budget, which only a policy makes, is not asked for and is worth infinity.
    ///
    /// # Errors
    /// What `score` returns; [`LabError::Refused`] where no code keeps the budget.
    pub async fn run(
        &self,
        rng: &mut ChaCha8Rng,
        mut score: impl AsyncFnMut(CellCode) -> Result<f64, LabError>,
    ) -> Result<Vec<(CellCode, f64)>, LabError> {
        let open = self.open();
        if open.is_empty() {
            return Err(LabError::Refused { why: "no network keeps the budget: raise it".into() });
        }
        let mut log: Vec<(CellCode, f64)> = Vec::with_capacity(self.evaluations);
        let mut judge = async |code: &CellCode| {
            let found = score(*code).await?;
            log.push((*code, found));
            Ok(found)
        };
        let n = self.evaluations.max(1);
        // Evolution may not begin with more than there are.
        let first = match self.strategy {
            CellStrategy::Random => n,
            CellStrategy::Local => 1,
            CellStrategy::Evolution => self.population.0.clamp(1, n),
            CellStrategy::Reinforce => 0,
            CellStrategy::Predictor => FIRST.min(n),
        };
        let mut seen = Vec::with_capacity(n);
        for _ in 0..first {
            let code = CellCode::from_index(open[rng.random_range(0..open.len())]);
            let found = judge(&code).await?;
            seen.push((code, found));
        }
        match self.strategy {
            CellStrategy::Random => {}
            CellStrategy::Local => {
                let mut own = rng.clone();
                climb(seen[0], n - 1, |code| self.neighbour(*code, &open, &mut own), judge).await?;
            }
            CellStrategy::Evolution => {
                let mutate = |code: &CellCode, rng: &mut ChaCha8Rng| self.neighbour(*code, &open, rng);
                aging(seen, (self.population.1, n - first), rng, mutate, judge).await?;
            }
            CellStrategy::Reinforce => return self.reinforce(rng, score).await,
            CellStrategy::Predictor => {
                let features: Vec<Vec<f64>> = open.iter().map(|i| features(CellCode::from_index(*i))).collect();
                let of = |code: CellCode| open.binary_search(&code.index()).unwrap_or(0);
                // Of each network the canonical code alone.
                let canonical = |i: &usize| CellCode::from_index(*i).canonical().index() == *i;
                let mut rest: Vec<usize> =
                    open.iter().copied().filter(canonical).map(|i| of(CellCode::from_index(i))).collect();
                for _ in first..n {
                    rest.retain(|at| !seen.iter().any(|one| one.0.canonical().index() == open[*at]));
                    let rows: Vec<(&[f64], f64)> = seen.iter().map(|one| (&features[of(one.0)][..], one.1)).collect();
                    let candidates: Vec<&[f64]> = rest.iter().map(|at| &features[*at][..]).collect();
                    if candidates.is_empty() {
                        break;
                    }
                    let code = CellCode::from_index(open[rest[thompson(&rows, &candidates, SHRINK, rng)]]);
                    let found = judge(&code).await?;
                    seen.push((code, found));
                }
            }
        }
        Ok(log)
    }
    // ANCHOR_END: run

    async fn reinforce(
        &self,
        rng: &mut ChaCha8Rng,
        mut score: impl AsyncFnMut(CellCode) -> Result<f64, LabError>,
    ) -> Result<Vec<(CellCode, f64)>, LabError> {
        let mut policy = SlotPolicy::new(SLOTS, SlotOp::ALL.len(), RATE);
        let mut log = Vec::with_capacity(self.evaluations);
        for _ in 0..self.evaluations.max(1) {
            let chosen = policy.draw(rng);
            let code = CellCode(std::array::from_fn(|slot| SlotOp::ALL[chosen[slot]]));
            let found = if self.allowed[code.index()] { score(code).await? } else { f64::INFINITY };
            policy.learn(&chosen, if found.is_finite() { 100.0 - found } else { 100.0 - PENALTY });
            log.push((code, found));
        }
        Ok(log)
    }
}

/// What a line sees of a code: which operation each slot of the canonical code holds, how often each occurs, and a 1.
fn features(code: CellCode) -> Vec<f64> {
    let ops = SlotOp::ALL.len();
    let mut row = vec![0.0; (SLOTS + 1) * ops + 1];
    for (slot, op) in code.canonical().0.iter().enumerate() {
        row[slot * ops + *op as usize] = 1.0;
        row[SLOTS * ops + *op as usize] += 0.5;
    }
    row[(SLOTS + 1) * ops] = 1.0;
    row
}

/// After each proposal, which of those so far looks best: its place in the log. None while nothing was worth anything.
#[must_use]
pub fn cell_incumbents(log: &[(CellCode, f64)]) -> Vec<Option<usize>> {
    let mut best: Option<usize> = None;
    let mut all = Vec::with_capacity(log.len());
    for (i, one) in log.iter().enumerate() {
        if one.1.is_finite() && best.is_none_or(|best| one.1 < log[best].1) {
            best = Some(i);
        }
        all.push(best);
    }
    all
}
