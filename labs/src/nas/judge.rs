//! Candidates that are truly trained, the budget that they keep, and the winner's second life.

use std::collections::BTreeMap;

use lab_api::{BadParam, LabError};
use lab_kit::{
    Context,
    cells::{CellCode, CellSearch, CellTimes, CellTraining, SlotOp, cell_incumbents},
    data::{Glyphs, Images},
    rng,
};

use super::{Cost, FRESH, Params, net};

/// What a search proposed, in order, each with its errors in per cent.
pub(crate) type Log = Vec<(CellCode, f64)>;

/// Which codes keep the budget.
pub(crate) struct Allowed {
    /// By the number of a code.
    pub(super) codes: Vec<bool>,
    /// What a code costs, likewise: FLOPs or microseconds.
    pub(super) cost: Vec<f64>,
    /// The budget itself.
    pub(super) budget: f64,
}

impl Allowed {
    pub(super) fn of(percent: f64, cost: impl Fn(CellCode) -> f64) -> Self {
        let cost: Vec<f64> = (0..CellCode::COUNT).map(|i| cost(CellCode::from_index(i))).collect();
        let most = cost[CellCode([SlotOp::Conv; 4]).index()];
        let budget = most * percent / 100.0;
        Self { codes: cost.iter().map(|cost| *cost <= budget).collect(), cost, budget }
    }

    pub(super) fn new(params: &Params, times: &CellTimes) -> Result<Self, LabError> {
        let percent = f64::from(params.budget);
        let found = match params.cost {
            Cost::Flops => Self::of(percent, |code| code.flops(Glyphs::CLASSES.len()) as f64),
            Cost::Time => Self::of(percent, |code| times.predict(code)),
        };
        if found.codes.contains(&true) {
            return Ok(found);
        }
        let least = found.cost.iter().copied().fold(f64::INFINITY, f64::min);
        let share = (100.0 * least / found.cost[CellCode([SlotOp::Conv; 4]).index()]).ceil();
        let why = format!("the smallest network costs {share} % of the largest already: take more");
        Err(LabError::BadParam(BadParam { name: "budget".into(), why }))
    }

    /// The dearest network that keeps it; of equals the first.
    pub(super) fn dearest(&self) -> CellCode {
        let open = (0..CellCode::COUNT).filter(|i| self.codes[*i]);
        let best = open.reduce(|best, i| if self.cost[i] > self.cost[best] { i } else { best });
        CellCode::from_index(best.unwrap_or(0)).canonical()
    }
}

/// Lets the page have its turn, at most every 15 ms.
pub(super) fn breathing(cx: &Context) -> impl AsyncFnMut() -> Result<(), LabError> {
    let mut breath = cx.now_ms();
    async move || {
        if cx.now_ms() - breath > 15.0 {
            cx.checkpoint().await?;
            breath = cx.now_ms();
        }
        Ok(())
    }
}

/// Trains candidates, each network once.
pub(crate) struct Judge<'a> {
    images: &'a [Images; 3],
    steps: usize,
    seeds: u64,
    residual: bool,
    /// Errors of the networks that were trained, canonical.
    pub(super) known: BTreeMap<CellCode, f64>,
    /// Milliseconds of training and judging.
    pub(super) ms: f64,
}

impl<'a> Judge<'a> {
    pub(super) fn new(images: &'a [Images; 3], params: &Params) -> Self {
        let (steps, seeds) = (params.steps(), u64::from(params.seeds_each));
        Self { images, steps, seeds, residual: params.residual, known: BTreeMap::new(), ms: 0.0 }
    }

    // ANCHOR: anew
    /// Trains whatever is proposed.
    pub(super) async fn score_anew(&self, code: CellCode, first_seed: u64, cx: &Context) -> Result<f64, LabError> {
        let mut sum = 0.0;
        for seed in 0..self.seeds {
            let net = net(code, self.residual);
            let mut training = CellTraining::new(net, self.steps, self.images[0].len(), first_seed + seed);
            training.finish(&self.images[0], breathing(cx)).await?;
            sum += 100.0 - training.right(&self.images[1]);
        }
        Ok(sum / self.seeds as f64)
    }
    // ANCHOR_END: anew

    // ANCHOR: once
    /// Trains a network the first time that one of its codes is proposed.
    pub(super) async fn score(&mut self, code: CellCode, first_seed: u64, cx: &Context) -> Result<f64, LabError> {
        let network = code.canonical();
        if let Some(found) = self.known.get(&network) {
            return Ok(*found);
        }
        let found = self.score_anew(network, first_seed, cx).await?;
        self.known.insert(network, found);
        Ok(found)
    }
    // ANCHOR_END: once

    pub(super) async fn search(&mut self, params: &Params, allowed: &Allowed, cx: &Context) -> Result<Log, LabError> {
        let evaluations = params.evaluations as usize;
        let population = (params.population as usize, params.sample as usize);
        let search = CellSearch { strategy: params.strategy(), evaluations, population, allowed: &allowed.codes };
        let (mut count, began) = (0, cx.now_ms());
        let judge = async |code: CellCode| {
            cx.progress(
                &format!("Network {} of {evaluations}", count + 1),
                0.35 + 0.4 * f64::from(count) / evaluations as f64,
            );
            count += 1;
            self.score(code, cx.seed, cx).await
        };
        let log = search.run(&mut rng(cx.seed, "search"), judge).await?;
        self.ms = cx.now_ms() - began;
        Ok(log)
    }
}

/// A network that was trained anew with a seed that no trial had.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    pub(super) name: &'static str,
    pub(super) code: CellCode,
    /// Errors in the search, if it was there.
    pub(super) claimed: Option<f64>,
    /// Right answers in per cent on the families that choose, and on unseen ones.
    pub(super) chosen: f64,
    pub(super) judged: f64,
}

impl Trained {
    pub(super) async fn new(
        (name, code, claimed): (&'static str, CellCode, Option<f64>),
        (steps, residual, seed): (usize, bool, u64),
        images: &[Images; 3],
        cx: &Context,
    ) -> Result<Self, LabError> {
        let mut training = CellTraining::new(net(code, residual), steps, images[0].len(), seed);
        training.finish(&images[0], breathing(cx)).await?;
        Ok(Self { name, code, claimed, chosen: training.right(&images[1]), judged: training.right(&images[2]) })
    }

    /// The winner, the reader's own network, and the dearest that keeps the budget.
    pub(super) async fn finals(
        log: &Log,
        params: &Params,
        allowed: &Allowed,
        images: &[Images; 3],
        cx: &Context,
    ) -> Result<Vec<Self>, LabError> {
        let best = cell_incumbents(log).last().copied().flatten();
        let all = [
            // A policy may have proposed nothing that fits: then there is no winner, and the dearest stands in.
            (
                "Winner of the search",
                best.map_or(allowed.dearest(), |at| log[at].0.canonical()),
                best.map(|at| log[at].1),
            ),
            ("Yours", params.by_hand(), None),
            ("Dearest within the budget", allowed.dearest(), None),
        ];
        let mut found = Vec::new();
        for (i, one) in all.into_iter().enumerate() {
            cx.progress(one.0, 0.75 + 0.08 * i as f64);
            found.push(
                Self::new(one, (params.final_steps as usize, params.residual, cx.seed + FRESH), images, cx).await?,
            );
        }
        Ok(found)
    }
}
