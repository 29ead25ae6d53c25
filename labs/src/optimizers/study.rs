//! Every rule tuned with the same number of tries on a seed of its own, then judged over others: on images, on tokens at two
//! sizes of the batch; rates that are not tuned; and what a step takes by width.

use std::time::Instant;

use lab_api::{Axis, Cell, ChartBody, Family, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    stats::{median, median_interval},
    testing::ready,
    tuning::{self, Judged, Learned, Task, Try, optim::Part},
    two_cores::jobs_on_two_cores,
};

use super::{
    Params,
    arms::{self, Arm},
    figures::{self, chart, line, table},
    summary,
    training::Plan,
};

/// Units of a hidden layer on images, and on tokens.
const WIDTHS: [usize; 2] = [64, 64];
/// Four tries a decade.
const RATIO: f64 = 1.778_279_410_038_922_8;
/// More tries for all where a best one lies at the edge.
const EXTRA: usize = 1;
/// The seed that tunes, and those that count.
const TUNING: u64 = 100;
const SEEDS: u64 = 3;
const IMAGES: [&str; 17] = [
    "adamw",
    "sgd",
    "momentum",
    "nesterov",
    "adafactor",
    "lion",
    "sophia",
    "muon",
    "soap",
    "eight",
    "sign",
    "adam_still",
    "adafactor_free",
    "adafactor_paper",
    "eight_plain",
    "eight_epsilon",
    "eight_linear",
];
const TOKENS: [&str; 8] = ["adamw", "sgd", "momentum", "adam_long", "adam_still", "adafactor", "lion", "muon"];
const LARGE: [&str; 3] = ["adamw", "sgd", "momentum"];
/// Rules that are also judged at this rate, and after twice the steps.
const DEFAULT: f64 = 1e-3;
const AT_DEFAULT: [&str; 4] = ["sgd", "adamw", "lion", "sophia"];
const LONGER: [&str; 5] = ["sgd", "adamw", "lion", "muon", "soap"];

/// A set of trainings that is tuned by itself.
struct Field {
    /// In ids.
    id: &'static str,
    words: &'static str,
    task: Learned,
    rules: &'static [&'static str],
    tries: usize,
    steps: usize,
    batch: usize,
}

const FIELDS: [Field; 4] = [
    Field { id: "images", words: "images", task: Learned::Glyphs, rules: &IMAGES, tries: 5, steps: 200, batch: 64 },
    Field {
        id: "tokens",
        words: "tokens, batch 256",
        task: Learned::Tokens,
        rules: &TOKENS,
        tries: 5,
        steps: 150,
        batch: 256,
    },
    Field {
        id: "large",
        words: "tokens, batch 2,048",
        task: Learned::Tokens,
        rules: &LARGE,
        tries: 5,
        steps: 50,
        batch: 2048,
    },
    Field {
        id: "short",
        words: "tokens, batch 256, 50 steps",
        task: Learned::Tokens,
        rules: &LARGE,
        tries: 5,
        steps: 50,
        batch: 256,
    },
];

impl Field {
    fn arms(&self) -> Vec<Arm> {
        self.rules.iter().filter_map(|id| arms::arm(id, self.task)).collect()
    }

    fn plan(&self, arm: &Arm, rate: f64, seed: u64) -> Plan {
        let params =
            Params { steps: self.steps as u32, batch: self.batch as u32, task: self.task, ..Params::default() };
        params.plan(arm, rate, seed)
    }
}

/// What a training led to.
struct Done {
    score: f64,
    late: f64,
    judged: Option<Judged>,
    curve: Vec<[f64; 2]>,
}

/// All trainings, two at a time: each takes one core. Those of other seeds than the tuning one are judged.
fn run_all(plans: &[Plan], task: &Task) -> Result<Vec<Done>, LabError> {
    let began = Instant::now();
    let now = || 1e3 * began.elapsed().as_secs_f64();
    jobs_on_two_cores(plans.len(), |i| {
        let plan = &plans[i];
        let found = ready(plan.run(task, now, async || Ok(())))?;
        let judged = (plan.seed != TUNING && found.chosen.is_some()).then(|| task.judge(&found.weights, 2));
        Ok(Done { score: found.score(), late: found.late(), judged, curve: figures::curve(&found, false) })
    })
}

/// Tries of all rules of a field.
fn tune(field: &Field, task: &Task) -> Result<Vec<Vec<Try>>, LabError> {
    let arms = field.arms();
    let mut tries: Vec<Vec<Try>> = vec![Vec::new(); arms.len()];
    for round in 0..=EXTRA {
        let rates: Vec<(usize, f64)> = if round == 0 {
            let of =
                |(i, arm): (usize, &Arm)| tuning::grid(arm.middle, RATIO, field.tries).into_iter().map(move |r| (i, r));
            arms.iter().enumerate().flat_map(of).collect()
        } else if tries.iter().any(|tries| tuning::best(tries).is_some_and(|best| best.1)) {
            tries.iter().enumerate().filter_map(|(i, tries)| Some((i, tuning::next(tries, RATIO)?))).collect()
        } else {
            break;
        };
        let plans: Vec<Plan> = rates.iter().map(|(i, rate)| field.plan(&arms[*i], *rate, TUNING)).collect();
        for ((i, rate), done) in rates.into_iter().zip(run_all(&plans, task)?) {
            tries[i].push((rate, done.score));
        }
    }
    for tries in &mut tries {
        tries.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    Ok(tries)
}

/// A number that every seed has: its median, with an interval.
fn over_seeds(family: Family, id: &str, label: &str, unit: &str, values: &[f64], cx: &Context) -> Metric {
    let one = metric(family, id, label, median(values), unit)
        .interval(median_interval(values, 0.95, &mut cx.rng(id)))
        .measured(values.to_vec());
    Metric { kind: Kind::Trained, ..one }
}

fn trained(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    Metric { kind: Kind::Trained, ..metric(family, id, label, value, unit) }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    states(&mut report);
    let images = Task::load(Learned::Glyphs, WIDTHS[0], cx).await?;
    let tokens = Task::load(Learned::Tokens, WIDTHS[1], cx).await?;
    for (done, field) in FIELDS.iter().enumerate() {
        cx.progress(field.words, 0.02 + 0.22 * done as f64);
        let task = if field.task == Learned::Glyphs { &images } else { &tokens };
        let tries = tune(field, task)?;
        race(&mut report, field, task, &tries, cx)?;
        if field.id == "images" {
            others(&mut report, field, task, &tries, cx)?;
        }
    }
    cx.progress("Time by width", 0.92);
    widths(&mut report, cx).await?;
    Ok(report)
}

/// Bytes, by rule, on the smallest language model and on the network for images.
fn states(report: &mut Report) {
    let parts = summary::language_parts();
    let weights: usize = parts.iter().map(Part::len).sum();
    let arms: Vec<Arm> = IMAGES[..10].iter().filter_map(|id| arms::arm(id, Learned::Glyphs)).collect();
    let mut rows = Vec::new();
    for arm in &arms {
        let bytes = summary::bytes(arm.rule, &parts);
        let each = bytes / weights as f64;
        let label = format!("{}: state of the smallest language model", arm.name);
        report.metrics.extend([
            metric(Family::Memory, &format!("state_{}", arm.id), &label, bytes, "bytes").exact(0.0, "counted"),
            metric(
                Family::Memory,
                &format!("each_{}", arm.id),
                &format!("{}: for each weight", arm.name),
                each,
                "bytes/weight",
            )
            .exact(1e-9, "counted"),
        ]);
        rows.push(vec![Cell::from(arm.name), bytes.into(), each.into()]);
    }
    let columns = ["Rule", "State (bytes)", "For each weight (bytes)"];
    report.tables.push(table("states", "State on the smallest language model", &columns, rows));
    let names: Vec<&str> = arms.iter().map(|arm| arm.name).collect();
    report
        .charts
        .push(figures::state(&names, arms.iter().map(|a| summary::bytes(a.rule, &parts) / weights as f64).collect()));
}

/// All rules of a field at their best rates, over seeds.
fn race(report: &mut Report, field: &Field, task: &Task, tries: &[Vec<Try>], cx: &Context) -> Result<(), LabError> {
    let arms = field.arms();
    let bests: Vec<Option<(usize, bool)>> = tries.iter().map(|tries| tuning::best(tries)).collect();
    let mut plans = Vec::new();
    for ((arm, tries), best) in arms.iter().zip(tries).zip(&bests) {
        // Where no rate survived, the middle one shows how it ends with other seeds.
        let rate = best.map_or(arm.middle, |(at, _)| tries[at].0);
        plans.extend((0..SEEDS).map(|seed| field.plan(arm, rate, seed)));
    }
    let done = run_all(&plans, task)?;
    let groups: Vec<&[Done]> = done.chunks_exact(SEEDS as usize).collect();
    let loss = |done: &Done| done.judged.map_or(task.chance(), |judged| judged.loss);
    let of = |group: &[Done], of: &dyn Fn(&Done) -> f64| group.iter().map(of).collect::<Vec<f64>>();
    let (mut rows, mut curves) = (Vec::new(), Vec::new());
    for (((arm, tries), best), group) in arms.iter().zip(tries).zip(&bests).zip(&groups) {
        let id = |what: &str| format!("{}_{what}_{}", field.id, arm.id);
        let label = |what: &str| format!("{}, {}: {what}", field.words, arm.name);
        let rate = best.map_or(arm.middle, |(at, _)| tries[at].0);
        let lost = tries.iter().filter(|one| !one.1.is_finite()).count();
        let ended = group.iter().filter(|done| done.judged.is_none()).count();
        report.metrics.extend([
            trained(Family::Scale, &id("rate"), &label("best rate"), rate, ""),
            trained(Family::Scale, &id("lost"), &label("tries that were lost"), lost as f64, "tries"),
            trained(Family::Scale, &id("tries"), &label("tries"), tries.len() as f64, "tries"),
            trained(Family::Quality, &id("ended"), &label("seeds of 3 that were lost"), ended as f64, "seeds"),
            over_seeds(
                Family::Quality,
                &id("loss"),
                &label("loss on what it has not seen"),
                "nats",
                &of(group, &loss),
                cx,
            )
            .lower(),
            over_seeds(
                Family::Quality,
                &id("late"),
                &label("training loss, last fifth"),
                "nats",
                &of(group, &|d| if d.late.is_finite() { d.late } else { task.chance() }),
                cx,
            )
            .lower(),
        ]);
        let gaps: Vec<f64> = group.iter().zip(groups[0]).map(|(one, adam)| loss(one) - loss(adam)).collect();
        if arm.id != "adamw" {
            report.metrics.push(
                over_seeds(Family::Quality, &id("gap"), &label("loss beyond AdamW's"), "nats", &gaps, cx).lower(),
            );
        }
        let mut row = vec![Cell::from(arm.name), figures::rate(rate).into()];
        row.extend(
            [
                tries.len() as f64,
                lost as f64,
                median(&of(group, &|d| if d.late.is_finite() { d.late } else { task.chance() })),
                median(&of(group, &loss)),
            ]
            .map(Cell::from),
        );
        match task {
            Task::Glyphs(..) => {
                let right = |done: &Done| done.judged.and_then(|judged| judged.accuracy).unwrap_or(0.0);
                let values = of(group, &right);
                row.push(median(&values).into());
                report.metrics.push(
                    over_seeds(Family::Quality, &id("accuracy"), &label("right on unseen fonts"), "%", &values, cx)
                        .higher(),
                );
                if arm.id != "adamw" {
                    let points: Vec<f64> =
                        group.iter().zip(groups[0]).map(|(one, adam)| right(one) - right(adam)).collect();
                    report.metrics.push(
                        over_seeds(
                            Family::Quality,
                            &id("points"),
                            &label("accuracy beyond AdamW's"),
                            "points",
                            &points,
                            cx,
                        )
                        .higher(),
                    );
                }
            }
            Task::Tokens(..) => {
                for (which, what, words) in [
                    (0, "frequent", "loss on the 32 most frequent tokens"),
                    (1, "rare", "loss on tokens of rank 256 and beyond"),
                ] {
                    let part =
                        |done: &Done| done.judged.and_then(|j| j.by_rank).map_or(task.chance(), |ranks| ranks[which]);
                    let values = of(group, &part);
                    row.push(median(&values).into());
                    report
                        .metrics
                        .push(over_seeds(Family::Quality, &id(what), &label(words), "nats", &values, cx).lower());
                    if arm.id != "adamw" {
                        let gaps: Vec<f64> =
                            group.iter().zip(groups[0]).map(|(one, adam)| part(one) - part(adam)).collect();
                        report.metrics.push(
                            over_seeds(
                                Family::Quality,
                                &id(&format!("{what}_gap")),
                                &label(&format!("{words}, beyond AdamW's")),
                                "nats",
                                &gaps,
                                cx,
                            )
                            .lower(),
                        );
                    }
                }
            }
        }
        rows.push(row);
        if let Some(first) = group.first() {
            curves.push(line(arm.name, first.curve.clone()));
        }
    }
    let mut columns = vec!["Rule", "Best rate", "Tries", "Of them lost", "Training loss (nats)", "Unseen (nats)"];
    match task {
        Task::Glyphs(..) => columns.push("Right on unseen (%)"),
        Task::Tokens(..) => columns.extend(["Frequent tokens (nats)", "Rare tokens (nats)"]),
    }
    let title = format!("Every rule at its best rate, {}: medians of three seeds", field.words);
    report.tables.push(table(&format!("{}_tuned", field.id), &title, &columns, rows));
    let chance = task.chance();
    let shown =
        |tries: &[Try]| tries.iter().map(|(r, s)| [*r, if s.is_finite() { s.min(chance) } else { chance }]).collect();
    let us = arms.iter().zip(tries).take(10).map(|(arm, tries)| line(arm.name, shown(tries))).collect();
    report.charts.push(chart(
        &format!("{}_rates", field.id),
        &format!("Where does each rule have its bottom? ({})", field.words),
        "Loss on what chooses the rate, one seed. Draw a vertical line at any rate and read off who wins there.",
        (Axis::log("Learning rate"), Axis::linear("Loss (nats)")),
        ChartBody::Line { series: us },
    ));
    curves.truncate(10);
    report.charts.push(chart(
        &format!("{}_curves", field.id),
        &format!("Who is ahead on the way? ({})", field.words),
        "Training loss, each rule at its best rate, one seed.",
        (Axis::linear("Steps"), Axis::linear("Training loss (nats)")),
        ChartBody::Line { series: curves },
    ));
    Ok(())
}

/// Rules at a rate that was not tuned, after twice the steps, and with a loss that is multiplied.
fn others(report: &mut Report, field: &Field, task: &Task, tries: &[Vec<Try>], cx: &Context) -> Result<(), LabError> {
    let best = |id: &str| {
        let at = field.rules.iter().position(|rule| *rule == id)?;
        Some(tries[at][tuning::best(&tries[at])?.0].0)
    };
    let (mut plans, mut names) = (Vec::new(), Vec::new());
    for id in AT_DEFAULT {
        let Some(arm) = arms::arm(id, field.task) else { continue };
        names.push((format!("default_{id}"), format!("{} at 0.001: right on unseen fonts", arm.name)));
        plans.extend((0..SEEDS).map(|seed| field.plan(&arm, DEFAULT, seed)));
    }
    for id in LONGER {
        let (Some(arm), Some(rate)) = (arms::arm(id, field.task), best(id)) else { continue };
        names.push((format!("longer_{id}"), format!("{}, twice the steps: right on unseen fonts", arm.name)));
        plans.extend((0..SEEDS).map(|seed| Plan { steps: 2 * field.steps, ..field.plan(&arm, rate, seed) }));
    }
    for ((id, label), group) in names.iter().zip(run_all(&plans, task)?.chunks_exact(SEEDS as usize)) {
        let right: Vec<f64> = group.iter().map(|done| done.judged.and_then(|j| j.accuracy).unwrap_or(0.0)).collect();
        let loss: Vec<f64> = group.iter().map(|done| done.judged.map_or(task.chance(), |j| j.loss)).collect();
        report.metrics.extend([
            over_seeds(Family::Quality, id, label, "%", &right, cx).higher(),
            over_seeds(Family::Quality, &format!("{id}_loss"), &format!("{label}, loss"), "nats", &loss, cx).lower(),
        ]);
    }
    Ok(())
}

/// Gradient and update by the width of the hidden layers.
async fn widths(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    const SIDES: [usize; 3] = [32, 128, 256];
    const TIMED: [&str; 6] = ["sgd", "adamw", "adafactor", "eight", "muon", "soap"];
    let mut series: Vec<Vec<[f64; 2]>> = vec![Vec::new(); TIMED.len() + 1];
    for width in SIDES {
        let task = Task::load(Learned::Glyphs, width, cx).await?;
        for (i, id) in TIMED.iter().enumerate() {
            let Some(arm) = arms::arm(id, Learned::Glyphs) else { continue };
            let plan = Params { steps: 40, ..Params::default() }.plan(&arm, 1e-3, 0);
            let found = plan.run(&task, || cx.now_ms(), async || Ok(())).await?;
            let update: Vec<f64> = found.stretches.iter().map(|s| s.update_ms).collect();
            let gradient: Vec<f64> = found.stretches.iter().map(|s| s.gradient_ms).collect();
            let mut add = |what: &str, label: &str, values: &[f64]| {
                report.metrics.push(
                    metric(
                        Family::Time,
                        &format!("{what}_{width}"),
                        &format!("{label}, width {width}"),
                        median(values),
                        "ms",
                    )
                    .lower()
                    .interval(median_interval(values, 0.95, &mut cx.rng(what)))
                    .measured(values.to_vec()),
                );
            };
            add(&format!("update_{id}"), &format!("{}: update", arm.name), &update);
            if i == 0 {
                add("gradient", "Gradient of 64 images", &gradient);
                series[0].push([width as f64, median(&gradient)]);
            }
            series[i + 1].push([width as f64, median(&update)]);
        }
    }
    let named = TIMED.iter().filter_map(|id| arms::arm(id, Learned::Glyphs)).map(|arm| arm.name);
    let names = std::iter::once("gradient of 64 images").chain(named);
    report.charts.push(chart(
        "widths",
        "Which update costs more than the gradient?",
        "Milliseconds of one step. Rules that treat each weight by itself stay far below the gradient; rules on matrices do not.",
        (Axis::log("Units of a hidden layer"), Axis::log("Milliseconds")),
        ChartBody::Line { series: names.zip(series).map(|(name, points)| line(name, points)).collect() },
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_knows_its_rules_and_begins_with_adamw() {
        for field in &FIELDS {
            assert_eq!((field.arms().len(), field.rules[0]), (field.rules.len(), "adamw"), "{}", field.id);
        }
    }
}
