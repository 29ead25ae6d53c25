//! From runs to forecasts, in three ways.

use lab_api::LabError;
use lab_kit::scaling::{
    Edge, Fitted, Law, Minimum, PowerLaw, Run, STARTS, fit_from, isoflop_minimum, power_law, resample, start,
};
use rand::Rng;

/// Draws of the bootstrap.
const DRAWS: usize = 100;
/// Runs below which no law is reported, and no surface with five unknowns fitted.
pub(super) const ENOUGH: usize = 12;

/// What the runs say.
#[derive(Default)]
pub(super) struct Laws {
    /// For each budget the minimum of its curve, or why it has none.
    pub(super) minima: Vec<(f64, Result<Minimum, Edge>)>,
    /// The best size over operations.
    pub(super) size: Option<PowerLaw>,
    /// The least loss over operations: a line that has no floor.
    pub(super) line: Option<PowerLaw>,
    /// The surface through all runs.
    pub(super) surface: Option<Fitted>,
    /// Surfaces of the bootstrap.
    pub(super) draws: Vec<Law>,
}

impl Laws {
    /// Fits all three to runs by budget. `breathe` is called between descents.
    pub(super) async fn of(
        budgets: &[(f64, Vec<Run>)],
        rng: &mut impl Rng,
        mut breathe: impl AsyncFnMut() -> Result<(), LabError>,
    ) -> Result<Self, LabError> {
        let curve = |runs: &[Run]| -> Vec<(f64, f64)> { runs.iter().map(|run| (run.n, run.loss)).collect() };
        let minima: Vec<_> = budgets.iter().map(|(c, runs)| (*c, isoflop_minimum(&curve(runs)))).collect();
        let found = || minima.iter().filter_map(|(c, minimum)| Some((*c, minimum.ok()?)));
        let size = power_law(&found().map(|(c, minimum)| (c, minimum.n)).collect::<Vec<_>>());
        let line = power_law(&found().map(|(c, minimum)| (c, minimum.loss)).collect::<Vec<_>>());
        let groups: Vec<Vec<Run>> = budgets.iter().map(|group| group.1.clone()).collect();
        let (runs, mut surface, mut draws) = (groups.concat(), None::<Fitted>, Vec::new());
        if runs.len() >= ENOUGH {
            for i in 0..STARTS {
                let found = fit_from(&runs, &start(i));
                if found.is_some_and(|found| surface.is_none_or(|best| found.value < best.value)) {
                    surface = found;
                }
                if i % 8 == 7 {
                    breathe().await?;
                }
            }
        }
        if let Some(best) = surface {
            for i in 0..DRAWS {
                draws.extend(fit_from(&resample(&groups, rng), &best.at).map(|found| found.law));
                if i % 8 == 7 {
                    breathe().await?;
                }
            }
        }
        Ok(Self { minima, size, line, surface, draws })
    }

    /// The minima that there are.
    pub(super) fn found(&self) -> impl Iterator<Item = (f64, Minimum)> {
        self.minima.iter().filter_map(|(c, minimum)| Some((*c, minimum.ok()?)))
    }

    /// Where the middle 95 of 100 draws put a number.
    pub(super) fn interval(&self, of: &dyn Fn(&Law) -> f64) -> Option<[f64; 2]> {
        let mut values: Vec<f64> = self.draws.iter().map(of).filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        Some([values[last / 40], values[last - last / 40]])
    }
}

#[cfg(test)]
mod tests {
    use lab_kit::{rng, testing::ready};

    use super::*;

    const LAW: Law = Law { e: 1.5, a: 20.0, b: 30.0, alpha: 0.4, beta: 0.36 };

    fn budgets(sizes: &[f64]) -> Vec<(f64, Vec<Run>)> {
        let run = |c: f64, factor: f64| {
            let n = LAW.optimal(c).n * factor;
            Run { n, d: c / 6.0 / n, loss: LAW.loss(n, c / 6.0 / n) }
        };
        [3e8, 9e8, 2.7e9].iter().map(|c| (*c, sizes.iter().map(|f| run(*c, *f)).collect())).collect()
    }

    #[test]
    fn three_ways_agree_where_the_form_is_right() {
        let laws =
            ready(Laws::of(&budgets(&[0.3, 0.55, 1.0, 1.8, 3.2]), &mut rng(0, "t"), async || Ok(()))).expect("fits");
        let surface = laws.surface.expect("enough runs").law;
        assert!((surface.e - 1.5).abs() < 1e-2 && (surface.exponent() - LAW.exponent()).abs() < 1e-2, "{surface:?}");
        let size = laws.size.expect("three minima");
        assert!((size.exponent - LAW.exponent()).abs() < 0.02, "{size:?}");
        let ahead = 8.1e9;
        assert!((size.at(ahead) / LAW.optimal(ahead).n - 1.0).abs() < 0.1);
        // The line has no floor, so it promises too much.
        assert!(laws.line.expect("three minima").at(ahead) < LAW.optimal(ahead).loss);
        let [low, high] = laws.interval(&Law::exponent).expect("draws");
        assert!(low <= LAW.exponent() + 1e-3 && LAW.exponent() - 1e-3 <= high);
    }

    #[test]
    fn a_family_that_is_too_small_gives_no_law() {
        let laws = ready(Laws::of(&budgets(&[0.1, 0.2, 0.4]), &mut rng(0, "t"), async || Ok(()))).expect("runs");
        assert!(laws.minima.iter().all(|m| m.1 == Err(Edge::Largest)));
        assert!(laws.size.is_none() && laws.surface.is_none() && laws.interval(&Law::exponent).is_none());
    }
}
