//! Many trainings, two at a time.

use lab_api::LabError;
use lab_kit::{
    testing::ready,
    tuning::{Judged, Task},
    two_cores::jobs_on_two_cores,
};

use super::super::{
    score,
    training::{Plan, Training},
};
use super::TUNING;

/// What a training led to.
pub(super) struct Done {
    /// Loss on what chooses the peak, of the weights and of their running average.
    pub(super) chosen: [f64; 2],
    /// On what judges; none of the tuning seed, or where the training was lost.
    pub(super) judged: [Option<Judged>; 2],
    /// Loss of the weights on the examples that they were trained on.
    pub(super) taught: f64,
    pub(super) curve: Vec<[f64; 2]>,
}

impl Done {
    /// Right in per cent, or minus hundredths of a nat.
    pub(super) fn right(&self, which: usize) -> f64 {
        self.judged[which].as_ref().map_or(0.0, super::super::summary::right)
    }

    pub(super) fn loss(&self, which: usize, chance: f64) -> f64 {
        self.judged[which].map_or(chance, |judged| judged.loss)
    }
}

/// All trainings, two at a time: each takes one core. Those of other seeds than the tuning one are judged.
pub(super) fn run_all(plans: &[(Plan, usize)], task: &Task) -> Result<Vec<Done>, LabError> {
    jobs_on_two_cores(plans.len(), |i| {
        let (plan, stop) = &plans[i];
        let judges = plan.seed != TUNING;
        let mut training = Training::new(task, plan.clone());
        ready(training.until(*stop, async || Ok(())))?;
        let chosen = [score(&training.judge(1)), score(&training.judge_average(1))];
        let judged = if judges { [training.judge(2), training.judge_average(2)] } else { [None; 2] };
        let taught = if judges { score(&training.judge(0)) } else { f64::NAN };
        Ok(Done { chosen, judged, taught, curve: training.curve })
    })
}
