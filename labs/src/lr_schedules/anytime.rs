//! What one has at any time: a run at a constant rate from which cool-downs branch off, beside runs that were planned for one
//! length.

use lab_api::LabError;
use lab_kit::{
    Context,
    tuning::{Judged, Task},
};

use super::{
    Params, Tuned,
    arms::{self, Arm},
    training::{Dynamics, Training, breathing},
};

/// Ways to have an answer, in the order of the lines.
pub(super) const WAYS: [&str; 6] = [
    "constant, as it is",
    "constant, averaged",
    "constant, cooled down",
    "cosine, planned for this length",
    "cosine, planned for the longest",
    "schedule-free",
];

/// The peaks of the four schedules that it takes.
pub(super) struct Peaks {
    pub(super) constant: f64,
    pub(super) cooled: f64,
    pub(super) cosine: f64,
    pub(super) free: f64,
}

impl Peaks {
    /// The best that were found, or the middle one where a schedule did not compete.
    pub(super) fn of(all: &[Tuned], params: &Params) -> Self {
        let of = |id: &str| {
            let one = all.iter().find(|one| one.arm.id == id)?;
            Some(one.best()?.0.peak)
        };
        let middle = params.middle(false);
        let constant = of("constant").unwrap_or(middle);
        Self {
            constant,
            cooled: of("wsd_sqrt").unwrap_or(constant),
            cosine: of("cosine").unwrap_or(middle),
            free: of("schedule_free").unwrap_or(params.peak),
        }
    }
}

/// What was found.
pub(super) struct Anytime {
    /// Steps after which one may stop: half of the planned, all, twice as many.
    pub(super) stops: [usize; 3],
    /// By way and stop; none where a training was lost.
    pub(super) judged: [[Option<Judged>; 3]; 6],
    /// Training loss of the constant run, of the three branches, and of the longest cosine.
    pub(super) curves: [Vec<[f64; 2]>; 5],
    /// Per step: of the constant run, and of the longest branch.
    pub(super) dynamics: [Vec<Dynamics>; 2],
    /// First step of the longest branch.
    pub(super) branched: usize,
}

/// The schedules of this picture that competed or not.
fn arm(id: &'static str, params: &Params) -> Result<Arm, LabError> {
    arms::arm(id, params).ok_or_else(|| LabError::Engine { why: format!("there is no schedule {id}") })
}

impl Anytime {
    pub(super) async fn run(
        params: &Params,
        peaks: &Peaks,
        task: &Task,
        seed: u64,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let planned = params.planned();
        let stops = [planned / 2, planned, 2 * planned];
        // The same steps of warm-up for all, so that a branch has the trunk of the run it leaves.
        let warmup = params.warmup(stops[0]);
        let mut judged = [[None; 3]; 6];
        let mut curves: [Vec<[f64; 2]>; 5] = Default::default();
        let plan =
            |id, steps, peak| -> Result<_, LabError> { Ok(arm(id, params)?.plan(params, (steps, warmup), peak, seed)) };

        cx.progress("A constant rate, and branches", 0.7);
        let mut trunk = Training::new(task, plan("constant", stops[2], peaks.cooled)?).watch();
        let apart = (peaks.constant / peaks.cooled - 1.0).abs() > 1e-9;
        let mut dynamics: [Vec<Dynamics>; 2] = Default::default();
        let mut branched = 0;
        for (i, stop) in stops.into_iter().enumerate() {
            let cool = plan("wsd_sqrt", stop, peaks.cooled)?;
            branched = stop - arm("wsd_sqrt", params)?.schedule(stop, warmup, peaks.cooled).cooling();
            trunk.until(branched, breathing(cx)).await?;
            let mut branch = trunk.branch(cool.rates);
            let before = branch.curve.len();
            branch.until(stop, breathing(cx)).await?;
            judged[2][i] = branch.judge(2);
            curves[1 + i] = branch.curve.split_off(before.saturating_sub(1).min(branch.curve.len()));
            dynamics[1] = branch.dynamics;
            trunk.until(stop, breathing(cx)).await?;
            (judged[0][i], judged[1][i]) = (trunk.judge(2), trunk.judge_average(2));
        }
        curves[0] = trunk.curve;
        dynamics[0] = trunk.dynamics;
        // A constant rate that nobody will cool down has a better peak of its own.
        if apart {
            let mut alone = Training::new(task, plan("constant", stops[2], peaks.constant)?);
            for (i, stop) in stops.into_iter().enumerate() {
                alone.until(stop, breathing(cx)).await?;
                (judged[0][i], judged[1][i]) = (alone.judge(2), alone.judge_average(2));
            }
        }

        cx.progress("Cosines of three lengths", 0.82);
        for (i, length) in stops.into_iter().enumerate() {
            let mut cosine = Training::new(task, plan("cosine", length, peaks.cosine)?);
            for (j, stop) in stops.into_iter().enumerate().take(i + 1) {
                cosine.until(stop, breathing(cx)).await?;
                if length == stops[2] && j < i {
                    judged[4][j] = cosine.judge(2);
                }
            }
            judged[3][i] = cosine.judge(2);
            judged[4][2] = judged[3][i];
            curves[4] = cosine.curve;
        }

        cx.progress("Schedule-free", 0.92);
        let mut free = Training::new(task, plan("schedule_free", stops[2], peaks.free)?);
        for (i, stop) in stops.into_iter().enumerate() {
            free.until(stop, breathing(cx)).await?;
            judged[5][i] = free.judge(2);
        }
        Ok(Self { stops, judged, curves, dynamics, branched })
    }
}
