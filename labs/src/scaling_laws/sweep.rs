//! All trainings of a run: budgets, sizes, and the larger training that was foretold.

use lab_api::{LabError, Report};
use lab_kit::{Context, scaling::Run};

use super::{
    laws::Laws,
    network::{Decay, Plan, Trained, weights, width},
    report,
    text::Text,
};

/// How far apart the smallest and the largest size of a budget lie from the middle one.
const SPREAD: f64 = 3.2;
/// By how much the foretold training exceeds the largest budget.
pub(super) const NEXT: f64 = 3.0;

/// Where earlier runs found the best size: only the place to search around.
fn expected(flops: f64) -> f64 {
    2600.0 * (flops / 5e8).powf(0.52)
}

/// The trainings of every budget.
pub(super) fn planned(budgets: &[f64], sizes: usize, steps: usize, decay: Decay, seed: u64) -> Vec<(f64, Vec<Plan>)> {
    let last = sizes.saturating_sub(1).max(1) as f64;
    let group = |flops: f64| {
        let size = |i: usize| width(expected(flops) * SPREAD.powf(2.0 * i as f64 / last - 1.0));
        let mut widths: Vec<usize> = (0..sizes).map(size).collect();
        widths.dedup();
        widths.into_iter().map(|h| Plan { decay, seed, ..Plan::spending(flops, h, steps) }).collect()
    };
    budgets.iter().map(|flops| (*flops, group(*flops))).collect()
}

/// What came out.
pub(super) struct Sweep {
    /// Budgets, each with its trainings.
    pub(super) groups: Vec<(f64, Vec<Trained>)>,
    /// Trainings that diverged, and are nowhere else.
    pub(super) diverged: usize,
    pub(super) laws: Laws,
    /// The trainings at the next budget: as foretold, half as large, twice as large.
    pub(super) confirmed: Vec<Trained>,
}

impl Sweep {
    /// Trains everything. `publish` gets what is known after each budget.
    pub(super) async fn run(
        plans: &[(f64, Vec<Plan>)],
        supply: Option<usize>,
        confirm: bool,
        text: &Text,
        cx: &Context,
        publish: impl Fn(Report) -> Result<(), LabError>,
    ) -> Result<Self, LabError> {
        let largest = plans.last().map_or(0.0, |group| group.0);
        let trainings: f64 = plans.iter().map(|group| group.0 * group.1.len() as f64).sum();
        let all = trainings + if confirm { 3.0 * NEXT * largest } else { 0.0 };
        let longest = plans.iter().flat_map(|group| &group.1).map(Plan::characters).max().unwrap_or(1);
        // The foretold trainings read more than any other: half the size at three times the budget.
        let wanted = supply.unwrap_or(4 * longest);
        let order = text.order(wanted, &mut cx.rng("order"));
        let mut sweep = Self { groups: Vec::new(), diverged: 0, laws: Laws::default(), confirmed: Vec::new() };
        let mut done = 0.0;
        for (flops, group) in plans {
            let mut trained = Vec::new();
            for plan in group {
                sweep.fits(plan, supply, text)?;
                cx.progress(&format!("Training {} weights", weights(plan.h)), 0.02 + 0.93 * done / all);
                let one = train(plan, text, &order, cx).await?;
                sweep.diverged += usize::from(one.is_none());
                trained.extend(one);
                done += plan.flops();
            }
            sweep.groups.push((*flops, trained));
            publish(report::partial(&sweep))?;
        }
        cx.progress("Fitting the laws", 0.02 + 0.93 * done / all);
        let runs: Vec<(f64, Vec<Run>)> =
            sweep.groups.iter().map(|group| (group.0, group.1.iter().map(Trained::run).collect())).collect();
        sweep.laws = Laws::of(&runs, &mut cx.rng("bootstrap"), async || cx.checkpoint().await).await?;
        if let (true, Some(size), Some((_, first))) = (confirm, sweep.laws.size, plans.first()) {
            let flops = NEXT * largest;
            for factor in [1.0, 0.5, 2.0] {
                let h = width(factor * size.at(flops));
                let Some(like) = first.first() else { continue };
                let plan = Plan { decay: like.decay, seed: like.seed, ..Plan::spending(flops, h, like.steps) };
                sweep.fits(&plan, supply, text)?;
                cx.progress("Training what was foretold", 0.02 + 0.93 * done / all);
                sweep.confirmed.extend(train(&plan, text, &order, cx).await?);
                done += plan.flops();
            }
        }
        Ok(sweep)
    }

    /// Refuses a run that is longer than the text, where nobody asked for repetition.
    fn fits(&self, plan: &Plan, supply: Option<usize>, text: &Text) -> Result<(), LabError> {
        if supply.is_none() && plan.characters() > text.characters() {
            let (wanted, there) = (plan.characters(), text.characters());
            let why = format!("{} weights would read {wanted} characters, but the text has {there}", weights(plan.h));
            return Err(LabError::Refused { why });
        }
        Ok(())
    }
}

async fn train(plan: &Plan, text: &Text, order: &[u32], cx: &Context) -> Result<Option<Trained>, LabError> {
    let mut breath = cx.now_ms();
    plan.train(
        text,
        order,
        &cx.device,
        || cx.now_ms(),
        async || {
            if cx.now_ms() - breath > 15.0 {
                cx.checkpoint().await?;
                breath = cx.now_ms();
            }
            Ok(())
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_lie_around_the_expected_one_and_spend_the_budget() {
        let groups = planned(&[5e8, 1.5e9, 4.5e9], 5, 400, Decay { period: 1.0 }, 7);
        assert_eq!(groups.len(), 3);
        for (flops, plans) in &groups {
            assert_eq!(plans.len(), 5);
            let sizes: Vec<f64> = plans.iter().map(|plan| weights(plan.h) as f64).collect();
            assert!(sizes.windows(2).all(|pair| pair[0] < pair[1]));
            assert!((sizes[2] / expected(*flops) - 1.0).abs() < 0.1, "{sizes:?}");
            assert!(plans.iter().all(|plan| (plan.flops() / flops - 1.0).abs() < 0.06 && plan.seed == 7));
        }
    }
}
