//! One setting at a time: warm-up, cool-down, floor, patience, the stop; and what is seen of the updates.

use lab_api::{Axis, Cell, Family, LabError, Report};
use lab_kit::{
    Context,
    report::MetricExt,
    stats::median,
    testing::ready,
    tuning::{Task, schedule::Plateau, sharpness},
};

use super::super::{
    Params,
    anytime::{Anytime, Peaks, WAYS},
    arms,
    figures::{chart, line, table},
    summary::right,
    training::{Dynamics, Training, breathing},
};
use super::{TUNING, fields::Tune, over_seeds, trained, trainings::run_all};

const SEEDS: u64 = 3;

fn params() -> Params {
    Params { steps: 300, batch: 64, ..Params::default() }
}

/// A schedule of 300 steps with some settings at a peak, over the seeds: right in per cent.
fn rights(sets: &[(&'static str, Params, f64)], task: &Task) -> Result<Vec<Vec<f64>>, LabError> {
    let mut plans = Vec::new();
    for (id, params, peak) in sets {
        let Some(arm) = arms::arm(id, params) else { continue };
        let (steps, stop) = (params.planned(), params.made());
        plans.extend((0..SEEDS).map(|seed| (arm.plan(params, (steps, params.warmup(steps)), *peak, seed), stop)));
    }
    let done = run_all(&plans, task)?;
    Ok(done.chunks_exact(SEEDS as usize).map(|group| group.iter().map(|done| done.right(0)).collect()).collect())
}

/// How long the warm-up is, by the peak.
pub(super) fn warmups(report: &mut Report, task: &Task, cx: &Context) -> Result<(), LabError> {
    const SHARES: [u32; 4] = [0, 1, 5, 20];
    const TIMES: [u32; 4] = [1, 2, 4, 8];
    let mut sets = Vec::new();
    for share in SHARES {
        for times in TIMES {
            sets.push(("linear", Params { warmup: 0.01 * f64::from(share), ..params() }, 0.01 * f64::from(times)));
        }
    }
    let found = rights(&sets, task)?;
    let mut series = Vec::new();
    for (share, group) in SHARES.into_iter().zip(found.chunks_exact(TIMES.len())) {
        for (times, values) in TIMES.into_iter().zip(group) {
            let label = format!("Warm-up of {share} %, peak {}: right on unseen fonts", 0.01 * f64::from(times));
            let id = format!("warm_{share}_times_{times}");
            report.metrics.push(over_seeds(Family::Quality, &id, &label, "%", values, cx).higher());
        }
        let points = TIMES.iter().zip(group).map(|(times, values)| [0.01 * f64::from(*times), median(values)]);
        series.push(line(&format!("{share} % of the steps"), points.collect()));
    }
    report.charts.push(chart(
        "warmups",
        [
            "What is a warm-up for?",
            "Linear schedule, 300 steps, medians of three seeds. Compare the lines at the left and at the right end.",
        ],
        (Axis::log("Peak of the rate"), Axis::linear("Right on unseen (%)")),
        series,
    ));
    Ok(())
}

/// How long and of which form the cool-down is.
pub(super) fn cooldowns(report: &mut Report, task: &Task, peak: f64, cx: &Context) -> Result<(), LabError> {
    const SHARES: [u32; 5] = [2, 5, 10, 20, 50];
    const FORMS: [(&str, &str); 3] = [("wsd_linear", "linear"), ("wsd_sqrt", "1 - root"), ("wsd_halving", "halving")];
    let mut sets = Vec::new();
    for (id, _) in FORMS {
        sets.extend(SHARES.map(|share| (id, Params { cooldown: 0.01 * f64::from(share), ..params() }, peak)));
    }
    sets.push(("constant", params(), peak));
    let found = rights(&sets, task)?;
    let mut series = Vec::new();
    for ((id, name), group) in FORMS.into_iter().zip(found.chunks_exact(SHARES.len())) {
        for (share, values) in SHARES.into_iter().zip(group) {
            let label = format!("Cool-down of {share} %, {name}: right on unseen fonts");
            let id = format!("cool_{share}_{id}");
            report.metrics.push(over_seeds(Family::Quality, &id, &label, "%", values, cx).higher());
        }
        series.push(line(
            name,
            SHARES.iter().zip(group).map(|(share, values)| [f64::from(*share), median(values)]).collect(),
        ));
    }
    if let Some(values) = found.last() {
        let label = "No cool-down at the same peak: right on unseen fonts";
        report.metrics.push(over_seeds(Family::Quality, "cool_none", label, "%", values, cx).higher());
    }
    report.charts.push(chart(
        "cooldowns",
        ["How long must a cool-down be?", "Of 300 steps, at one peak for all. Medians of three seeds."],
        (Axis::log("Cool-down (% of the steps)"), Axis::linear("Right on unseen (%)")),
        series,
    ));
    Ok(())
}

/// Where a schedule ends; and a line that was planned for twice the steps.
pub(super) fn floors(report: &mut Report, task: &Task, tune: &Tune, cx: &Context) -> Result<(), LabError> {
    const FLOORS: [u32; 4] = [0, 1, 10, 30];
    const IDS: [&str; 2] = ["linear", "cosine"];
    let mut sets = Vec::new();
    for id in IDS {
        sets.extend(FLOORS.map(|floor| (id, Params { floor: 0.01 * f64::from(floor), ..params() }, tune.peak(id))));
    }
    sets.push(("linear", Params { steps: 600, stop_at: 0.5, ..params() }, tune.peak("linear")));
    let found = rights(&sets, task)?;
    for (id, group) in IDS.into_iter().zip(found.chunks_exact(FLOORS.len())) {
        for (floor, values) in FLOORS.into_iter().zip(group) {
            let label = format!("{id} to {floor} % of the peak: right on unseen fonts");
            report
                .metrics
                .push(over_seeds(Family::Quality, &format!("floor_{floor}_{id}"), &label, "%", values, cx).higher());
        }
    }
    if let Some(values) = found.last() {
        let label = "Linear planned for 600 steps, stopped at 300: right on unseen fonts";
        report.metrics.push(over_seeds(Family::Quality, "planned_twice", label, "%", values, cx).higher());
    }
    Ok(())
}

/// A rate that halves when the loss on what chooses has not fallen at two looks.
pub(super) fn plateau(report: &mut Report, task: &Task, cx: &Context) -> Result<(), LabError> {
    const LOOK: usize = 15;
    let params = params();
    let steps = params.planned();
    let Some(arm) = arms::arm("constant", &params) else { return Ok(()) };
    let run = |peak: f64, seed: u64| -> Result<(f64, f64, f64), LabError> {
        let mut training = Training::new(task, arm.plan(&params, (steps, params.warmup(steps)), peak, seed));
        let mut plateau = Plateau::new(2);
        while training.state.step < steps && !training.lost {
            let at = training.state.step;
            training.plan.rates[at..].iter_mut().for_each(|rate| *rate = rate.min(plateau.factor * peak));
            ready(training.until((at + LOOK).min(steps), async || Ok(())))?;
            if let Some(judged) = training.judge(1) {
                plateau.look(judged.loss);
            }
        }
        let chosen = training.judge(1).map_or(f64::INFINITY, |judged| judged.loss);
        Ok((chosen, training.judge(2).as_ref().map_or(0.0, right), plateau.factor))
    };
    let mut best = (f64::INFINITY, params.peak);
    for peak in [0.005, 0.01, 0.02, 0.04] {
        let (chosen, ..) = run(peak, TUNING)?;
        if chosen < best.0 {
            best = (chosen, peak);
        }
    }
    let found = (0..SEEDS).map(|seed| run(best.1, seed)).collect::<Result<Vec<_>, _>>()?;
    let of = |of: &dyn Fn(&(f64, f64, f64)) -> f64| found.iter().map(of).collect::<Vec<f64>>();
    report.metrics.extend([
        over_seeds(
            Family::Quality,
            "plateau_right",
            "Halved on a plateau: right on unseen fonts",
            "%",
            &of(&|one| one.1),
            cx,
        ),
        over_seeds(
            Family::Scale,
            "plateau_factor",
            "Halved on a plateau: last rate over the first",
            "",
            &of(&|one| one.2),
            cx,
        ),
        trained(Family::Scale, "plateau_peak", "Halved on a plateau: best peak", best.1, ""),
    ]);
    Ok(())
}

/// What one has at any time, over the seeds.
pub(super) async fn stops(report: &mut Report, task: &Task, tune: &Tune, cx: &Context) -> Result<(), LabError> {
    let params = Params { steps: 600, batch: 64, ..Params::default() };
    let peaks = Peaks {
        constant: tune.peak("constant"),
        cooled: tune.peak("wsd_sqrt"),
        cosine: tune.peak("cosine"),
        free: tune.peak("schedule_free"),
    };
    let mut all = Vec::new();
    for seed in 0..SEEDS {
        all.push(Anytime::run(&params, &peaks, task, seed, cx).await?);
    }
    const IDS: [&str; 6] = ["constant", "averaged", "cooled", "planned", "cut", "free"];
    let (mut rows, mut series) = (Vec::new(), Vec::new());
    for (way, (id, name)) in IDS.into_iter().zip(WAYS).enumerate() {
        let (mut row, mut points) = (vec![Cell::from(name)], Vec::new());
        for (i, stop) in all[0].stops.into_iter().enumerate() {
            let of = |one: &Anytime, way: usize| one.judged[way][i].as_ref().map_or(0.0, right);
            let values: Vec<f64> = all.iter().map(|one| of(one, way)).collect();
            let behind: Vec<f64> = all.iter().map(|one| of(one, 3) - of(one, way)).collect();
            let label = format!("Stopped at {stop}, {name}");
            report.metrics.push(
                over_seeds(
                    Family::Quality,
                    &format!("stop_{stop}_{id}"),
                    &format!("{label}: right on unseen fonts"),
                    "%",
                    &values,
                    cx,
                )
                .higher(),
            );
            if id != "planned" {
                let label = format!("{label}: behind the cosine of this length");
                report.metrics.push(
                    over_seeds(Family::Quality, &format!("stop_{stop}_{id}_behind"), &label, "points", &behind, cx)
                        .lower(),
                );
            }
            row.push(median(&values).into());
            points.push([stop as f64, median(&values)]);
        }
        rows.push(row);
        series.push(line(name, points));
    }
    report.charts.push(chart(
        "stops",
        [
            "What have you got, if you must stop here?",
            "Medians of three seeds. Each point of the fourth line is a run of its own.",
        ],
        (Axis::log("Steps until the end"), Axis::linear("Right on unseen (%)")),
        series,
    ));
    let columns = ["If you must stop after", "300 steps", "600 steps", "1,200 steps"];
    report.tables.push(table("stops", "Right on unseen fonts, in per cent", &columns, rows));
    // How far the longest branch drops.
    let drops: Vec<f64> = all
        .iter()
        .filter_map(|one| {
            let (first, last) = (one.curves[3].first()?[1], one.curves[3].last()?[1]);
            Some(100.0 * (first - last) / first)
        })
        .collect();
    report.metrics.push(over_seeds(
        Family::Quality,
        "drop",
        "Training loss that the longest cool-down takes away",
        "%",
        &drops,
        cx,
    ));
    Ok(())
}

/// The updates of a run with a cool-down, and how steep the loss is at four points of it.
pub(super) async fn dynamics(report: &mut Report, task: &Task, peak: f64, cx: &Context) -> Result<(), LabError> {
    let params = params();
    let steps = params.planned();
    let Some(arm) = arms::arm("wsd_sqrt", &params) else { return Ok(()) };
    let warmup = params.warmup(steps);
    let cool = steps - arm.schedule(steps, warmup, peak).cooling();
    let which: Vec<usize> = (0..512).map(|i| i * task.examples() / 512).collect();
    let points = [0, warmup, cool, steps];
    let names = ["start", "after the warm-up", "before the cool-down", "end"];
    let mut by_seed: Vec<[f64; 4]> = Vec::new();
    let mut seen: Vec<Vec<Dynamics>> = Vec::new();
    for seed in 0..SEEDS {
        let mut training = Training::new(task, arm.plan(&params, (steps, warmup), peak, seed)).watch();
        let mut steep = [0.0; 4];
        for (steep, point) in steep.iter_mut().zip(points) {
            training.until(point, breathing(cx)).await?;
            *steep = sharpness(&training.state.weights, 15, seed, |weights| task.pass(weights, &which).1);
        }
        by_seed.push(steep);
        seen.push(training.dynamics);
    }
    const IDS: [&str; 4] = ["start", "warm", "before", "end"];
    for (i, (id, name)) in IDS.into_iter().zip(names).enumerate() {
        let values: Vec<f64> = by_seed.iter().map(|steep| steep[i]).collect();
        report.metrics.push(over_seeds(
            Family::Quality,
            &format!("sharpness_{id}"),
            &format!("Largest curvature, {name}"),
            "",
            &values,
            cx,
        ));
    }
    // The last steps before the cool-down, and its last ones.
    let span = (steps - cool) / 2;
    for (id, name, from) in [("before", "before the cool-down", cool - span), ("end", "at the end", steps - span)] {
        let mean = |of: &dyn Fn(&Dynamics) -> f64| -> Vec<f64> {
            let one = |seen: &Vec<Dynamics>| {
                let part = &seen[from.min(seen.len())..(from + span).min(seen.len())];
                part.iter().map(of).sum::<f64>() / part.len().max(1) as f64
            };
            seen.iter().map(one).collect()
        };
        let mut add = |what: &str, label: &str, unit: &str, values: &[f64]| {
            let (id, label) = (format!("{what}_{id}"), format!("{label}, {name}"));
            report.metrics.push(over_seeds(Family::Quality, &id, &label, unit, values, cx));
        };
        add("cosine", "Cosine of successive updates", "", &mean(&|d| d.cosine));
        add("turn", "Cosine of successive gradients", "", &mean(&|d| d.turn));
        add("update", "Length of an update over that of the weights", "%", &mean(&|d| 100.0 * d.update));
        add("gradient", "Length of the gradient", "", &mean(&|d| d.gradient));
    }
    Ok(())
}
