//! Numbers and sentences of a run.

use lab_api::{Cell, Family, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    stats::{median, median_interval},
    tuning::{Judged, Task, schedule::in_a_bowl},
};

use super::{
    Params, Tuned,
    anytime::Anytime,
    arms::Arm,
    figures,
    training::{Dynamics, Moves, State},
};

/// Why what training decides may differ between devices.
const SPREAD: &str = "sums in another order lead a training elsewhere, as another seed does: five standard deviations over the seeds of the study";
const COUNTED: &str = "counted from the buffers";
const FORMULA: &str = "a formula in double precision";

pub(super) fn trained(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

/// Bytes beside the weights, for each weight: of the rule, and of the running average.
fn bytes(moves: Moves) -> [f64; 2] {
    const MANY: usize = 1000;
    State::new(vec![0.0; MANY], moves).bytes().map(|bytes| bytes as f64 / MANY as f64)
}

/// Mean rate over the peak, in per cent.
pub(super) fn mean_rate(arm: &Arm, steps: usize, warmup: usize) -> f64 {
    100.0 * arm.rates(steps, warmup, 1.0, 0).iter().sum::<f64>() / steps.max(1) as f64
}

/// Squared distance that a schedule leaves in the bowl, at the best of sixty peaks, from a distance of ten.
pub(super) fn bowl(arm: &Arm, steps: usize, warmup: usize) -> f64 {
    let unit = arm.rates(steps, warmup, 1.0, 0);
    let at = |peak: f64| in_a_bowl(&unit.iter().map(|rate| peak * rate).collect::<Vec<_>>(), 10.0);
    (0..60).map(|i| at(0.01 * 1.08_f64.powi(i))).fold(f64::INFINITY, f64::min)
}

/// What the settings alone say.
pub(super) fn counted(report: &mut Report, params: &Params, arms: &[Arm]) {
    let [[adam, average], [free, _]] = [Moves::Adam, Moves::Free].map(bytes);
    report.metrics.extend([
        metric(Family::Memory, "kept_adamw", "AdamW keeps of each weight, whatever the schedule", adam, "bytes/weight")
            .lower()
            .exact(0.0, COUNTED)
            .help("A schedule is a function of the step. It keeps nothing."),
        metric(Family::Memory, "kept_free", "Schedule-free AdamW keeps of each weight", free, "bytes/weight")
            .lower()
            .baseline(adam)
            .exact(0.0, COUNTED)
            .help("The walking weights in the place of momentum, and the second moment. The baseline is AdamW."),
        metric(Family::Memory, "kept_average", "A running average keeps of each weight", average, "bytes/weight")
            .lower()
            .baseline(0.0)
            .exact(0.0, COUNTED),
    ]);
    let steps = params.planned();
    for arm in arms.iter().filter(|arm| !arm.free) {
        let (name, warmup) = (arm.name, params.warmup(steps));
        let label = format!("Mean rate, {name}");
        report.metrics.push(
            metric(Family::Scale, &format!("mean_{}", arm.id), &label, mean_rate(arm, steps, warmup), "% of the peak")
                .exact(1e-6, FORMULA)
                .detail(),
        );
        let label = format!("Left in a bowl with noise, {name}");
        report.metrics.push(
            metric(Family::Quality, &format!("bowl_{}", arm.id), &label, bowl(arm, steps, warmup), "")
                .lower()
                .exact(1e-6, FORMULA)
                .detail()
                .help("Mean squared distance from the bottom of a bowl of steepness 1, from 10, with noise of variance 1, at the best of 60 peaks."),
        );
    }
}

/// Points of accuracy, or of hundredths of a nat where there is no accuracy.
pub(super) fn right(judged: &Judged) -> f64 {
    judged.accuracy.unwrap_or(-100.0 * judged.loss)
}

/// The unit of [`right`], and of a difference.
fn units(judged: &Judged) -> [&'static str; 2] {
    if judged.accuracy.is_some() { ["%", "points"] } else { ["nats/100", "nats/100"] }
}

/// What was found of a schedule on what nothing has seen.
struct Found {
    id: &'static str,
    judged: Judged,
    /// Of the running average, at its own best peak.
    averaged: Option<Judged>,
    falls: bool,
}

/// What all tries together say.
pub(super) async fn complete(
    report: &mut Report,
    params: &Params,
    task: &Task,
    all: &[Tuned],
    cx: &Context,
) -> Result<(), LabError> {
    cx.progress("Judging on what nothing has seen", 0.66);
    let steps = params.planned();
    let (mut rows, mut found): (Vec<Vec<Cell>>, Vec<Found>) = (Vec::new(), Vec::new());
    for one in all {
        let arm = &one.arm;
        let Some((best, edge)) = one.best() else {
            report.notes.push(format!("{}: no peak survived.", arm.name));
            continue;
        };
        if edge && one.tries.len() > 1 {
            report.notes.push(format!(
                "The best peak of “{}” lies at the edge of what it tried ({}), so its own best may lie beyond.",
                arm.name,
                figures::rate(best.peak)
            ));
        }
        let judged = task.judge(&best.weights, 2);
        cx.checkpoint().await?;
        let averaged = one.best_average().map(|best| task.judge(&best.average, 2));
        cx.checkpoint().await?;
        let last = arm.schedule(steps, params.warmup(steps), 1.0).rate(steps);
        let mut row: Vec<Cell> = vec![arm.name.into(), figures::rate(best.peak).into()];
        row.extend(
            [mean_rate(arm, steps, params.warmup(steps)), best.late, judged.loss, right(&judged)].map(Cell::from),
        );
        rows.push(row);
        found.push(Found { id: arm.id, judged, averaged, falls: last < 0.2 && !arm.free });
        quality(report, one, &judged, averaged.as_ref());
    }
    let unit = found.first().map_or("%", |one| units(&one.judged)[0]);
    let columns = [
        "Schedule",
        "Best peak",
        "Mean rate (% of the peak)",
        "Training loss (nats)",
        "Unseen (nats)",
        &format!("Right on unseen ({unit})"),
    ];
    report.tables.push(figures::table("tuned", "Each schedule at its own best peak", &columns, rows));
    gaps(report, params, task, all, &found);
    times(report, params, all, cx);
    report.charts = figures::tuned(all, params, task);
    Ok(())
}

fn quality(report: &mut Report, one: &Tuned, judged: &Judged, averaged: Option<&Judged>) {
    let (id, name) = (one.arm.id, one.arm.name);
    let unit = units(judged)[0];
    let mut add = |what: &str, label: &str, value: f64, unit: &str, apart: f64| {
        let one = metric(Family::Quality, &format!("{what}_{id}"), &format!("{name}: {label}"), value, unit);
        let one = if unit == "nats" { one.lower() } else { one.higher() };
        report.metrics.push(trained(if what == "right" { one } else { one.detail() }, apart));
    };
    add("right", "right on unseen fonts", right(judged), unit, 8.0);
    add("loss", "loss on what nothing has seen", judged.loss, "nats", 0.4);
    if let Some(averaged) = averaged {
        add("averaged", "right, with the running average of the weights", right(averaged), unit, 8.0);
    }
    if let Some((best, _)) = one.best() {
        let label = format!("{name}: best peak");
        let peak = metric(Family::Scale, &format!("peak_{id}"), &label, best.peak, "");
        report.metrics.push(trained(peak, 31.0 * best.peak).detail());
    }
}

/// How far schedules are apart.
fn gaps(report: &mut Report, params: &Params, task: &Task, all: &[Tuned], found: &[Found]) {
    let find = |id: &str| found.iter().find(|one| one.id == id);
    let mut first = Vec::new();
    if let (Some(constant), Some(linear)) = (find("constant"), find("linear")) {
        let unit = units(&linear.judged)[1];
        let behind = right(&linear.judged) - right(&constant.judged);
        // At one common peak, the middle one.
        let common = |id: &str| {
            let one = all.iter().find(|one| one.arm.id == id)?;
            let at = one.tries.iter().find(|tried| (tried.peak / params.middle(false)).ln().abs() < 0.05)?;
            // Where that is its best one, it has been judged.
            let best = one.best().is_some_and(|(best, _)| best.peak == at.peak);
            if best { find(id).map(|one| right(&one.judged)) } else { tried_right(at, task) }
        };
        let one = metric(Family::Quality, "constant_behind", "Constant rate behind linear", behind, unit).lower();
        let one = match (common("linear"), common("constant")) {
            (Some(linear), Some(constant)) => one.baseline(linear - constant),
            _ => one,
        };
        first.push(trained(one, 12.0).help(
            "Each at its own best peak, on unseen fonts. The baseline is the same with both at the middle peak.",
        ));
        if let Some(averaged) = &constant.averaged {
            let one = metric(
                Family::Quality,
                "averaged_behind",
                "Constant rate, weights averaged, behind linear",
                right(&linear.judged) - right(averaged),
                unit,
            );
            first.push(trained(one.lower().baseline(behind), 8.0).help(
                "The same training as of the constant rate, but the running average of its weights answers. The baseline is without the average.",
            ));
        }
        if let Some(shuffled) = find("shuffled") {
            let one = metric(
                Family::Quality,
                "shuffled_behind",
                "The linear rates in random order, behind linear",
                right(&linear.judged) - right(&shuffled.judged),
                unit,
            );
            first.push(trained(one.lower().baseline(behind), 12.0));
        }
    }
    let fall: Vec<&Found> = found.iter().filter(|one| one.falls).collect();
    if let (true, Some(one)) = (fall.len() > 1, fall.first()) {
        let all = fall.iter().map(|one| right(&one.judged));
        let ends = all.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], r| [low.min(r), high.max(r)]);
        let label = "Best ahead of worst, among schedules that come down";
        let apart = metric(Family::Quality, "shapes_apart", label, ends[1] - ends[0], units(&one.judged)[1]);
        first.push(
            trained(apart, 8.0).help("Each at its own best peak. One seed: differences below a point are noise."),
        );
    }
    first.append(&mut report.metrics);
    report.metrics = first;
}

fn tried_right(tried: &super::Tried, task: &Task) -> Option<f64> {
    tried.chosen.is_some().then(|| right(&task.judge(&tried.weights, 2)))
}

fn times(report: &mut Report, params: &Params, all: &[Tuned], cx: &Context) {
    let steps = params.planned();
    let each: Vec<f64> = all.iter().flat_map(|one| &one.tries).map(|tried| tried.step_ms).collect();
    let step_ms = median(&each);
    report.metrics.push(
        metric(Family::Time, "step_ms", "A step takes", step_ms, "ms")
            .lower()
            .interval(median_interval(&each, 0.95, &mut cx.rng("step")))
            .measured(each)
            .help("Gradient, update and running average, over all trainings."),
    );
    // How long the rates themselves take: enough of them for a coarse clock.
    let Some(one) = all.iter().find(|one| !one.arm.free) else { return };
    let schedule = one.arm.schedule(steps, params.warmup(steps), 1.0);
    let share = || {
        const MANY: usize = 100_000;
        let began = cx.now_ms();
        let sum: f64 = (0..MANY).map(|i| std::hint::black_box(schedule).rate(i % steps.max(1))).sum();
        std::hint::black_box(sum);
        100.0 * (cx.now_ms() - began) / MANY as f64 / step_ms.max(1e-6)
    };
    let shares: Vec<f64> = (0..5).map(|_| share()).collect();
    report.metrics.push(
        metric(Family::Utilization, "schedule_share", "Of a step, the schedule takes", median(&shares), "%")
            .lower()
            .interval(median_interval(&shares, 0.95, &mut cx.rng("schedule")))
            .measured(shares)
            .help("A rate is one formula a step."),
    );
}

/// What the trunk and its branches say.
pub(super) fn anytime(report: &mut Report, params: &Params, found: &Anytime) {
    let [half, planned, twice] = found.stops;
    let words = [half, planned, twice];
    let at = |way: usize, stop: usize| found.judged[way][stop].as_ref().map(right);
    let unit = found.judged.iter().flatten().flatten().next().map_or("points", |one| units(one)[1]);
    let mut first = Vec::new();
    let mut gap = |id: &str, label: String, value: Option<f64>, baseline: Option<f64>, help: &str| {
        let Some(value) = value else { return };
        let one = metric(Family::Quality, id, &label, value, unit).lower();
        let one = if let Some(baseline) = baseline { one.baseline(baseline) } else { one };
        first.push(trained(one, 12.0).help(help));
    };
    let behind = |way: usize, stop: usize| Some(at(3, stop)? - at(way, stop)?);
    gap(
        "cut_behind",
        format!("Planned for {twice} steps, stopped at {half}: behind a cosine of that length"),
        behind(4, 0),
        behind(2, 0),
        "The baseline is a constant rate that is cooled down in the last steps before the stop.",
    );
    gap(
        "twice_behind",
        format!("A constant rate after {twice} steps, behind a cosine of {planned}"),
        at(3, 1).zip(at(0, 2)).map(|(cosine, constant)| cosine - constant),
        behind(0, 1),
        "The baseline is the constant rate after as many steps as the cosine.",
    );
    gap(
        "cooled_behind",
        format!("Cooled down from a constant rate, behind a cosine, {twice} steps"),
        behind(2, 2),
        behind(0, 2),
        "The baseline is the constant rate as it is.",
    );
    gap(
        "free_behind",
        format!("Schedule-free behind a cosine, {twice} steps"),
        behind(5, 2),
        behind(5, 0),
        "The baseline is the shortest run.",
    );
    // Before the other numbers of quality, behind those that answer the questions.
    let place = report.metrics.iter().position(|one| one.id.starts_with("kept_")).unwrap_or(0);
    report.metrics.splice(place..place, first);

    let stretch = |seen: &[Dynamics]| {
        let mean = |of: &dyn Fn(&Dynamics) -> f64| seen.iter().map(of).sum::<f64>() / seen.len().max(1) as f64;
        [mean(&|d| d.gradient), 100.0 * mean(&|d| d.update), mean(&|d| d.cosine), mean(&|d| d.turn)]
    };
    let [trunk, branch] = &found.dynamics;
    let cooling = branch.len().saturating_sub(found.branched);
    let before = found.branched.saturating_sub(cooling);
    let parts: [(&str, &[Dynamics]); 4] = [
        ("warm-up", &trunk[..params.warmup(half).min(trunk.len())]),
        ("before the cool-down", &trunk[before.min(trunk.len())..found.branched.min(trunk.len())]),
        (
            "first half of the cool-down",
            &branch[found.branched.min(branch.len())..(found.branched + cooling / 2).min(branch.len())],
        ),
        ("second half of the cool-down", &branch[(found.branched + cooling / 2).min(branch.len())..]),
    ];
    let rows = parts.into_iter().filter(|(_, seen)| !seen.is_empty()).map(|(words, seen)| {
        let mut row = vec![Cell::from(words)];
        row.extend(stretch(seen).map(Cell::from));
        row
    });
    let columns = [
        "Steps",
        "Length of the gradient",
        "Update over weights (%)",
        "Cosine of successive updates",
        "Of successive gradients",
    ];
    report.tables.push(figures::table("dynamics", "What the updates do", &columns, rows.collect()));
    let mut rows = Vec::new();
    for (way, name) in super::anytime::WAYS.iter().enumerate() {
        let mut row = vec![Cell::from(*name)];
        row.extend((0..3).map(|stop| at(way, stop).map_or(Cell::from("lost"), Cell::from)));
        rows.push(row);
    }
    let heads: Vec<String> = words.iter().map(|steps| format!("{steps} steps")).collect();
    let mut columns = vec!["If you must stop after"];
    columns.extend(heads.iter().map(String::as_str));
    let title = "What have you got, if you must stop? Right on unseen, in per cent (or minus hundredths of a nat)";
    report.tables.push(figures::table("anytime", title, &columns, rows));
    report.charts.extend(figures::anytime(found));
}
