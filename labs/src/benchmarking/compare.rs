//! Whole experiments: FP32 against itself, again and again, and FP32 against the candidate.

use lab_api::{Interval, LabError};
use lab_kit::{
    Context,
    bench::{Statistic, ratio_interval},
    measure::Pair,
};

use super::{Design, Params, disturb::Disturber, machine::Machine};

/// What one experiment says of FP32 against itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) ratio: f64,
    pub(super) interval: Interval,
}

impl Verdict {
    // ANCHOR: verdict
    /// The same samples under one of the designs, judged by one of the statistics.
    pub(super) fn of(
        series: &[f64],
        design: Design,
        statistic: Statistic,
        level: f64,
        (cx, purpose): (&Context, &str),
    ) -> Self {
        let Pair { first, second } = dealt(series, design);
        let of = |samples: &[f64]| statistic.of(&mut samples.to_vec());
        let ratio = of(&first) / of(&second).max(f64::MIN_POSITIVE);
        let paired = design == Design::Interleaved;
        Self { ratio, interval: ratio_interval(&first, &second, statistic, paired, level, &mut cx.rng(purpose)) }
    }

    /// A difference is claimed where there is none.
    pub(super) fn false_alarm(&self) -> bool {
        self.interval.low > 1.0 || self.interval.high < 1.0
    }
    // ANCHOR_END: verdict
}

/// Whether the sample at this place belongs to B.
fn second(at: usize, of_each: usize, design: Design) -> bool {
    match design {
        Design::Sequential => at >= of_each,
        // A B, B A, A B, ...
        Design::Interleaved => matches!(at % 4, 1 | 2),
    }
}

// ANCHOR: dealt
/// Deals a series out to A and B. Where both are the same code, the design is nothing but this: who is said to have been timed
/// when. So one series serves both designs, and a difference between them is the design's alone.
pub(super) fn dealt(series: &[f64], design: Design) -> Pair {
    let mut pair = Pair::default();
    for (at, ms) in series.iter().enumerate() {
        let side = if second(at, series.len() / 2, design) { &mut pair.second } else { &mut pair.first };
        side.push(*ms);
    }
    pair
}
// ANCHOR_END: dealt

/// Milliseconds of `2 n` queries in a row; `variant(at)` says whom to ask.
async fn series(
    machine: &Machine,
    n: usize,
    variant: &dyn Fn(usize) -> usize,
    disturber: &Disturber,
    cx: &Context,
) -> Result<Vec<f64>, LabError> {
    let mut all = Vec::with_capacity(2 * n);
    for at in 0..2 * n {
        let start = cx.now_ms();
        machine.query(variant(at), 1, cx).await?;
        disturber.pause(cx.now_ms() - start, at as f64 / (2 * n) as f64, cx).await?;
        all.push(cx.now_ms() - start);
        cx.checkpoint().await?;
    }
    Ok(all)
}

/// FP32 `n` times against itself.
pub(super) async fn same(
    machine: &Machine,
    n: usize,
    disturber: &Disturber,
    cx: &Context,
) -> Result<Vec<f64>, LabError> {
    series(machine, n, &|_| 0, disturber, cx).await
}

/// All experiments of FP32 against itself.
pub(super) struct Alarms {
    /// By [`Design`]: sequential, interleaved.
    pub(super) verdicts: [Vec<Verdict>; 2],
}

pub(super) const DESIGNS: [Design; 2] = [Design::Sequential, Design::Interleaved];

impl Alarms {
    pub(super) async fn measure(
        machine: &Machine,
        params: &Params,
        disturber: &Disturber,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let mut verdicts = [Vec::new(), Vec::new()];
        for experiment in 0..params.experiments {
            let series = same(machine, params.samples as usize, disturber, cx).await?;
            for (design, verdicts) in DESIGNS.into_iter().zip(&mut verdicts) {
                let (statistic, level) = (params.statistic.of_kit(), params.level.share());
                verdicts.push(Verdict::of(&series, design, statistic, level, (cx, &format!("alarms {experiment}"))));
            }
            let done = f64::from(experiment + 1) / f64::from(params.experiments);
            cx.progress("FP32 against FP32, again and again", 0.1 + 0.3 * done);
        }
        Ok(Self { verdicts })
    }

    pub(super) fn of(&self, design: Design) -> &[Verdict] {
        &self.verdicts[usize::from(design == Design::Interleaved)]
    }
}

/// Share of false alarms, in per cent.
pub(super) fn percent(verdicts: &[Verdict]) -> f64 {
    100.0 * verdicts.iter().filter(|verdict| verdict.false_alarm()).count() as f64 / verdicts.len().max(1) as f64
}

/// One variant against another by the chosen design, after three warm calls of each.
pub(super) async fn pair(
    machine: &Machine,
    (one, other): (usize, usize),
    params: &Params,
    disturber: &Disturber,
    cx: &Context,
) -> Result<Pair, LabError> {
    let n = params.samples as usize;
    for _ in 0..3 {
        machine.query(one, 1, cx).await?;
        machine.query(other, 1, cx).await?;
        cx.checkpoint().await?;
    }
    let whom = |at: usize| if second(at, n, params.design) { other } else { one };
    Ok(dealt(&series(machine, n, &whom, disturber, cx).await?, params.design))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::testing::{FakeClock, context};

    use super::*;

    #[test]
    fn a_series_is_dealt_out_whole_and_a_straight_drift_cancels() {
        let series: Vec<f64> = (0..24).map(|i| 1.0 + f64::from(i) / 100.0).collect();
        for design in DESIGNS {
            let Pair { first, second } = dealt(&series, design);
            assert_eq!((first.len(), second.len()), (12, 12));
            let sums = (first.iter().sum::<f64>(), second.iter().sum::<f64>());
            let apart = (sums.1 - sums.0).abs();
            assert!(if design == Design::Interleaved { apart < 1e-9 } else { apart > 1.0 }, "{sums:?}");
        }
        let cx = context(Rc::new(FakeClock::new(0.1)));
        let of = |design| Verdict::of(&series, design, Statistic::Mean, 0.95, (&cx, "t"));
        assert!(of(Design::Sequential).false_alarm() && !of(Design::Interleaved).false_alarm());
        assert_eq!(percent(&[of(Design::Sequential), of(Design::Interleaved)]), 50.0);
        // With an odd number of each the last pair is A B.
        assert_eq!(dealt(&series[..10], Design::Interleaved).second.len(), 5);
    }
}
