//! Every method over either problem.

use lab_api::LabError;
use lab_kit::{
    Context,
    search::{
        Asha, Decides, Done, Log, Reached, asynchronous, cost, hyperband, median_rule, search_full, successive_halving,
    },
};

use super::{Method, Params, policy::Policies, training::Bench};

/// Trials that the median rule brings to the end before it stops any.
const COMPLETE: usize = 2;
/// Trials of an asynchronous search at most, times those of halving.
const MOST: usize = 10;

/// What is searched, with all its trials.
pub(crate) enum Trials<'a> {
    /// Trainings, that go on.
    Training(Bench<'a>),
    /// Policies, that are judged by more text.
    Policies(Policies<'a>),
}

impl Trials<'_> {
    async fn advance(&mut self, trial: usize, to: usize, cx: &Context) -> Result<Done, LabError> {
        match self {
            Self::Training(bench) => bench.advance(trial, to, cx).await,
            Self::Policies(policies) => policies.advance(trial, to, cx).await,
        }
    }
}

/// What halving spends on so many trials, in whole trainings.
pub(super) fn budget(params: &Params) -> f64 {
    cost(params.configurations as usize, &params.rungs(), params.eta as usize)[0]
}

/// Runs a method.
pub(super) async fn run(
    method: Method,
    params: &Params,
    trials: &mut Trials<'_>,
    cx: &Context,
) -> Result<Log, LabError> {
    let (rungs, eta, n) = (params.rungs(), params.eta as usize, params.configurations as usize);
    let (budget, mut done) = (budget(params), 0.0);
    let advance = async |trial: usize, to: usize| {
        let found = trials.advance(trial, to, cx).await?;
        done += found.cost;
        cx.progress(&format!("Trial {}", trial + 1), 0.05 + 0.45 * (done / budget).min(1.0));
        Ok(found)
    };
    match method {
        Method::Halving => successive_halving(0..n, &rungs, eta, advance).await,
        Method::Hyperband => hyperband(&rungs, eta, advance).await,
        Method::Median => median_rule(0..MOST * n, &rungs, (COMPLETE, budget), advance).await,
        Method::Asha | Method::Arrival | Method::Model => {
            let decides = if method == Method::Arrival { Decides::Arrival } else { Decides::Promotion };
            let mut asha = Asha::new(rungs.len(), eta, MOST * n, decides);
            asynchronous(&mut asha, &rungs, (params.workers as usize, budget), advance).await
        }
        Method::Random | Method::Evolution => search_full(0..whole(budget), &rungs, advance).await,
    }
}

/// Whole trainings that a budget pays.
pub(super) fn whole(budget: f64) -> usize {
    (budget.round() as usize).max(1)
}

/// The best of those that came highest.
///
/// # Errors
/// [`LabError::Refused`] where all were lost.
pub(super) fn winner(log: &Log, rungs: usize) -> Result<Reached, LabError> {
    let lost = || LabError::Refused {
        why: "every trial was lost: rates from 0.0001 to 0.1 were tried, so take more trials or a trimmed space".into(),
    };
    (0..rungs).rev().find_map(|rung| log.best(rung)).ok_or_else(lost)
}
