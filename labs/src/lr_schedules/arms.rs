//! The schedules that are compared.

use lab_api::{BadParam, LabError, drawing};
use lab_kit::tuning::schedule::{Curve, Fall, Schedule, shuffled};

use super::{
    Compare, Optimizer, Params,
    training::{Moves, Plan},
};

/// What becomes of a list of rates.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Arrange {
    AsPlanned,
    Shuffled,
    Rising,
    /// Heights over the run, from 0 to 1.
    Drawn(Vec<f64>),
}

/// A schedule by name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Arm {
    /// In ids.
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) curve: Curve,
    /// Share of the peak.
    pub(super) floor: f64,
    pub(super) arrange: Arrange,
    /// Whether the average answers.
    pub(super) free: bool,
    /// Whether momentum falls where the rate rises.
    pub(super) cycles: bool,
}

/// The schedule of this id.
pub(super) fn arm(id: &'static str, params: &Params) -> Option<Arm> {
    let cool = |fall| Curve::CoolDown { share: params.cooldown, fall };
    let (name, curve) = match id {
        "constant" => ("constant", Curve::Constant),
        "linear" => ("linear", Curve::Linear),
        "cosine" => ("cosine", Curve::Cosine),
        "cosine_floor" => ("cosine to a tenth", Curve::Cosine),
        "polynomial" => ("polynomial", Curve::Polynomial(params.power)),
        "exponential" => ("exponential", Curve::Exponential),
        "step" => ("step", Curve::Step { milestones: [0.5, 0.75], gamma: params.gamma }),
        "inverse_sqrt" => ("inverse root", Curve::InverseRoot),
        "one_cycle" => ("one-cycle", Curve::OneCycle),
        "one_cycle_momentum" => ("one-cycle, momentum too", Curve::OneCycle),
        "wsd_linear" => ("cool-down, linear", cool(Fall::Linear)),
        "wsd_sqrt" => ("cool-down", cool(Fall::Root)),
        "wsd_halving" => ("cool-down, halving", cool(Fall::Halving)),
        "restarts" => ("restarts", Curve::Restarts(3)),
        "schedule_free" => ("schedule-free", Curve::Constant),
        "shuffled" => ("linear, shuffled", Curve::Linear),
        "rising" => ("linear, reversed", Curve::Linear),
        _ => return None,
    };
    let arrange = match id {
        "shuffled" => Arrange::Shuffled,
        "rising" => Arrange::Rising,
        _ => Arrange::AsPlanned,
    };
    let floor = if id == "cosine_floor" { 0.1 } else { params.floor };
    Some(Arm { id, name, curve, floor, arrange, free: id == "schedule_free", cycles: id == "one_cycle_momentum" })
}

/// Ids of a comparison.
pub(super) fn ids(compare: Compare) -> &'static [&'static str] {
    match compare {
        Compare::Usual => &["constant", "linear", "cosine", "wsd_sqrt", "schedule_free"],
        Compare::Falls => &["linear", "cosine", "cosine_floor", "polynomial", "exponential", "step"],
        Compare::CoolDowns => &["constant", "linear", "wsd_linear", "wsd_sqrt", "wsd_halving"],
        Compare::Older => &["linear", "inverse_sqrt", "restarts", "one_cycle", "one_cycle_momentum"],
        Compare::Order => &["constant", "linear", "shuffled", "rising"],
    }
}

/// The schedules of a comparison, and the reader's own if there is one.
pub(super) fn group(params: &Params) -> Result<Vec<Arm>, LabError> {
    let mut arms: Vec<Arm> = ids(params.compare).iter().filter_map(|id| arm(id, params)).collect();
    if let Some(heights) = drawn(&params.drawing)? {
        arms.push(Arm {
            id: "yours",
            name: "yours",
            curve: Curve::Constant,
            floor: 0.0,
            arrange: Arrange::Drawn(heights),
            free: false,
            cycles: false,
        });
    }
    Ok(arms)
}

/// Side of the drawing.
const SIDE: u32 = 28;

/// Heights of a drawn line from left to right; where there is no ink, as at the nearest column with some. None of a blank one.
pub(super) fn drawn(text: &str) -> Result<Option<Vec<f64>>, LabError> {
    let levels = drawing::levels(text, SIDE, SIDE)
        .map_err(|why| LabError::BadParam(BadParam { name: "drawing".into(), why }))?;
    let side = SIDE as usize;
    let height = |column: usize| {
        let ink = (0..side).map(|row| f64::from(levels[row * side + column]));
        let (sum, mean) =
            ink.enumerate().fold((0.0, 0.0), |(sum, mean), (row, ink)| (sum + ink, mean + ink * row as f64));
        (sum > 0.0).then(|| 1.0 - mean / sum / (side - 1) as f64)
    };
    let inked: Vec<(usize, f64)> = (0..side).filter_map(|column| Some((column, height(column)?))).collect();
    let nearest = |column: usize| inked.iter().min_by_key(|(at, _)| at.abs_diff(column)).map(|(_, height)| *height);
    Ok((0..side).map(nearest).collect())
}

impl Arm {
    /// Its schedule for a run.
    pub(super) fn schedule(&self, steps: usize, warmup: usize, peak: f64) -> Schedule {
        Schedule { curve: self.curve, peak, floor: self.floor, steps, warmup }
    }

    /// The rates of a run, in the order in which they are taken.
    pub(super) fn rates(&self, steps: usize, warmup: usize, peak: f64, seed: u64) -> Vec<f64> {
        let rates = self.schedule(steps, warmup, peak).rates();
        match &self.arrange {
            Arrange::AsPlanned => rates,
            Arrange::Shuffled => shuffled(rates, seed),
            Arrange::Rising => rates.into_iter().rev().collect(),
            Arrange::Drawn(heights) => {
                let last = heights.len().saturating_sub(1);
                let at = |step: usize| {
                    let place = step as f64 * last as f64 / steps.max(2).saturating_sub(1) as f64;
                    let (left, share) = (place as usize, place.fract());
                    let height = |i: usize| heights.get(i.min(last)).copied().unwrap_or(0.0);
                    peak * (height(left) * (1.0 - share) + height(left + 1) * share)
                };
                (0..steps).map(at).collect()
            }
        }
    }

    /// A training of so many steps.
    pub(super) fn plan(&self, params: &Params, (steps, warmup): (usize, usize), peak: f64, seed: u64) -> Plan {
        let moves = match params.optimizer {
            _ if self.free => Moves::Free,
            Optimizer::Adamw => Moves::Adam,
            Optimizer::Momentum => Moves::Momentum,
        };
        let momenta = if self.cycles { self.schedule(steps, warmup, peak).momenta() } else { Vec::new() };
        Plan {
            moves,
            rates: self.rates(steps, warmup, peak, seed),
            momenta,
            batch: params.batch as usize,
            seed,
            keep: params.keep(),
            every: (params.steps as usize / 20).max(1),
        }
    }
}
