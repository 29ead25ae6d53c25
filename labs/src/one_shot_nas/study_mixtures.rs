//! What mixtures find, at three seeds each; what the cut costs; and whether a skip that was chosen is right.

use std::collections::BTreeMap;

use lab_api::{Axis, BarSeries, ChartBody, Family, LabError, Report};
use lab_kit::{
    Context,
    cells::{CellCode, SlotOp},
    data::{Glyphs, Images},
    one_shot::{MixedHow, MixedMark, MixedTraining, OPERATIONS, Supernet, halves_of},
    stats::median,
    testing::ready,
    two_cores::jobs_on_two_cores,
};

use super::{
    figures,
    figures::{chart, one, table, text},
    run::{SEEN, spread},
    study::{FRESH, LONG, SEEDS, SHORT, number, over_seeds, trained_alone},
    truth::{Truth, mean},
};

/// Steps of a mixture; a sampled path takes five times as many, which is about as much arithmetic.
const STEPS: usize = 160;
const SAMPLED: usize = 5 * STEPS;

struct Arm {
    id: &'static str,
    name: &'static str,
    residual: bool,
    second: bool,
    sampled: bool,
    cost: f64,
}

const fn arm(id: &'static str, name: &'static str) -> Arm {
    Arm { id, name, residual: true, second: false, sampled: false, cost: 0.0 }
}

const ARMS: [Arm; 7] = [
    arm("darts", "DARTS"),
    Arm { cost: 0.3, ..arm("priced", "DARTS, price 0.3") },
    Arm { second: true, ..arm("ahead", "DARTS, second order") },
    Arm { sampled: true, ..arm("gumbel", "Gumbel, one path") },
    Arm { sampled: true, cost: 0.3, ..arm("gumbel_priced", "Gumbel, price 0.3") },
    Arm { residual: false, ..arm("bare_darts", "DARTS without residual") },
    Arm { residual: false, sampled: true, ..arm("bare_gumbel", "Gumbel without residual") },
];

/// A mixture that was trained.
struct Found {
    code: CellCode,
    /// The same, with the strongest other operation wherever skip was the strongest.
    other: CellCode,
    marks: Vec<MixedMark>,
}

fn search(arm: &Arm, seed: u64, halves: &[Images; 2], seen: &Images) -> Result<Found, LabError> {
    let how = MixedHow {
        net: Supernet { residual: arm.residual, classes: Glyphs::CLASSES.len() },
        steps: if arm.sampled { SAMPLED } else { STEPS },
        second: arm.second,
        sampled: arm.sampled,
        cost: arm.cost,
    };
    let mut training = MixedTraining::new(how, [halves[0].len(), halves[1].len()], seed);
    let marks = ready(training.finish((halves, seen), how.steps / 16, async || Ok(())))?;
    let shares = training.shares();
    let row = |slot: usize| &shares[slot * OPERATIONS..(slot + 1) * OPERATIONS];
    let other = std::array::from_fn(|slot| {
        let better = |a: usize, b: usize| if row(slot)[b] > row(slot)[a] { b } else { a };
        SlotOp::ALL[(1..OPERATIONS).fold(1, better)]
    });
    let code = training.found();
    let other = CellCode(std::array::from_fn(|slot| {
        if code.0[slot] == SlotOp::Skip { CellCode(other).0[slot] } else { code.0[slot] }
    }));
    Ok(Found { code, other, marks })
}

fn skips(code: CellCode) -> f64 {
    code.0.iter().filter(|op| **op == SlotOp::Skip).count() as f64
}

pub(super) fn run(report: &mut Report, truth: &Truth, images: &[Images; 3], cx: &Context) -> Result<(), LabError> {
    let halves = halves_of(&images[0]);
    let seen = spread(&halves[1], SEEN);
    let each = SEEDS as usize;
    let all = jobs_on_two_cores(ARMS.len() * each, |i| search(&ARMS[i / each], i as u64 % SEEDS, &halves, &seen))?;
    cx.progress("What was found, alone", 0.8);
    // Each network once, however many found it.
    let mut alone = BTreeMap::<(bool, CellCode), Vec<f64>>::new();
    for (i, found) in all.iter().enumerate() {
        alone.entry((ARMS[i / each].residual, found.code.canonical())).or_default();
    }
    let jobs: Vec<(CellCode, bool, usize, u64)> =
        alone.keys().flat_map(|(residual, code)| [0, 1].map(|seed| (*code, *residual, SHORT, FRESH + seed))).collect();
    let right = trained_alone(&jobs, images)?;
    alone.values_mut().zip(right.chunks(2)).for_each(|(to, right)| *to = right.to_vec());
    let classes = Glyphs::CLASSES.len();
    let mut rows = Vec::new();
    for (arm, found) in ARMS.iter().zip(all.chunks(each)) {
        let values = |of: &dyn Fn(&Found) -> f64| found.iter().map(of).collect::<Vec<f64>>();
        let last = |one: &Found| one.marks.last().map_or((0.0, 0.0), |mark| (mark.mixture, mark.cut));
        let right = values(&|one| mean(&alone[&(arm.residual, one.code.canonical())]));
        let gap = values(&|one| last(one).1 - last(one).0);
        let sure = values(&|one| {
            let shares = one.marks.last().map_or(&[][..], |mark| &mark.shares);
            100.0
                * mean(
                    &shares.chunks(OPERATIONS).map(|row| row.iter().copied().fold(0.0, f64::max)).collect::<Vec<_>>(),
                )
        });
        let mut all: Vec<(&str, &str, Vec<f64>, &str)> = vec![
            ("alone", "what was found, 174 steps alone", right.clone(), "%"),
            ("flops", "FLOPs of what was found", values(&|one| one.code.flops(classes) as f64), "FLOPs"),
            ("gap", "loss of the strongest path above the mixture's", gap.clone(), "nats"),
            ("mixture", "loss of the mixture", values(&|one| last(one).0), "nats"),
            ("sure", "mean share of the strongest operation", sure.clone(), "%"),
            ("skips", "slots that went to skip", values(&|one| skips(one.code)), "slots"),
        ];
        if arm.residual {
            all.push(("found", "what was found, as recorded", values(&|one| truth.of(one.code).unwrap_or(0.0)), "%"));
            all.push((
                "typical",
                "the middle of networks of as many FLOPs, as recorded",
                values(&|one| truth.typical(one.code.flops(classes), classes).unwrap_or(0.0)),
                "%",
            ));
            all.push((
                "rank",
                "true place of what was found",
                values(&|one| truth.place(one.code).unwrap_or(0) as f64),
                "",
            ));
        }
        for (id, words, values, unit) in all {
            let label = format!("{}: {words}", arm.name);
            report.metrics.push(over_seeds(Family::Quality, &format!("{}_{id}", arm.id), &label, &values, unit, cx));
        }
        for (seed, one_found) in found.iter().enumerate() {
            rows.push(vec![
                text(arm.name),
                lab_api::Cell::Number(seed as f64),
                text(&one_found.code.to_string()),
                lab_api::Cell::Number(one_found.code.flops(classes) as f64),
                one(sure[seed]),
                lab_api::Cell::Number((100.0 * gap[seed]).round() / 100.0),
                one(right[seed]),
            ]);
        }
    }
    let columns = ["Method", "Seed", "Found", "FLOPs", "Strongest share (%)", "Gap (nats)", "174 steps alone (%)"];
    report.tables.push(table("mixtures", "What mixtures found", &columns, rows));
    report.charts.push(figures::gap(&all[0].marks));
    let bare = ARMS.iter().position(|arm| arm.id == "bare_darts").unwrap_or(0) * each;
    report.charts.extend(figures::shares(&all[bare].marks));
    skip_story(report, &all, images)
}

/// Without a residual: is what went to skip worse than with something in its place?
fn skip_story(report: &mut Report, all: &[Found], images: &[Images; 3]) -> Result<(), LabError> {
    let each = SEEDS as usize;
    let chosen: Vec<&Found> = all
        .iter()
        .enumerate()
        .filter(|(i, found)| !ARMS[i / each].residual && skips(found.code) > 0.0)
        .map(|(_, found)| found)
        .collect();
    let conv = CellCode([SlotOp::Conv; 4]);
    let filled = |code: CellCode| CellCode(code.0.map(|op| if op == SlotOp::Skip { SlotOp::Conv } else { op }));
    let mut worth = BTreeMap::<CellCode, f64>::new();
    for found in &chosen {
        worth.extend([found.code, found.other, filled(found.code)].map(|code| (code.canonical(), 0.0)));
    }
    worth.insert(conv, 0.0);
    let jobs: Vec<(CellCode, bool, usize, u64)> =
        worth.keys().flat_map(|code| [0, 1].map(|seed| (*code, false, LONG, FRESH + seed))).collect();
    let right = trained_alone(&jobs, images)?;
    worth.values_mut().zip(right.chunks(2)).for_each(|(to, right)| *to = mean(right));
    let of = |code: CellCode| worth.get(&code.canonical()).copied().unwrap_or(0.0);
    let values = |code: &dyn Fn(&Found) -> CellCode| chosen.iter().map(|found| of(code(found))).collect::<Vec<f64>>();
    let (own, other, full) = (values(&|one| one.code), values(&|one| one.other), values(&|one| filled(one.code)));
    let gains: Vec<f64> = own.iter().zip(&other).map(|(own, other)| own - other).collect();
    let filled_gains: Vec<f64> = own.iter().zip(&full).map(|(own, full)| own - full).collect();
    let total = all.iter().enumerate().filter(|(i, _)| !ARMS[i / each].residual).count();
    for (id, label, value, unit) in [
        ("bare_total", "Searches without residual", total as f64, "searches"),
        ("bare_with_skip", "Of these, found a network with a skip", chosen.len() as f64, "searches"),
        (
            "skip_right",
            "Of these, better with the skip than with the next strongest operation",
            gains.iter().filter(|gain| **gain > 0.0).count() as f64,
            "searches",
        ),
        (
            "skip_over_conv",
            "Of these, better with the skip than with conv",
            filled_gains.iter().filter(|gain| **gain > 0.0).count() as f64,
            "searches",
        ),
        (
            "skip_gain",
            "With the skip over the next strongest operation, 348 steps alone, median",
            median(&gains),
            "points",
        ),
        (
            "skip_gain_conv",
            "With the skip over conv in its place, 348 steps alone, median",
            median(&filled_gains),
            "points",
        ),
        ("bare_conv", "conv-conv-conv-conv without residual, 348 steps alone", of(conv), "%"),
        ("bare_found", "What was found with skips, 348 steps alone, median", median(&own), "%"),
    ] {
        report.metrics.push(number(Family::Quality, id, label, value, unit));
    }
    let names: Vec<String> = chosen.iter().map(|found| found.code.to_string()).collect();
    if !names.is_empty() {
        let bars = |name: &str, values: Vec<f64>| BarSeries { name: name.into(), values, intervals: vec![] };
        report.charts.push(chart(
            "skips",
            "Is the skip a mistake?",
            "Networks without residual that searches found, trained alone for 348 steps, mean of two seeds: as found, with the next strongest operation in place of each skip, and with conv there.",
            (Axis::linear("Found"), Axis::linear("Right, unseen families (%)")),
            ChartBody::Bar {
                categories: names.clone(),
                series: vec![
                    bars("As found", own.clone()),
                    bars("Next strongest", other.clone()),
                    bars("Conv", full.clone()),
                ],
            },
        ));
    }
    let rows = chosen.iter().enumerate().map(|(i, found)| {
        vec![text(&found.code.to_string()), one(own[i]), text(&found.other.to_string()), one(other[i]), one(full[i])]
    });
    let columns = ["Found", "As found (%)", "Next strongest", "Next strongest (%)", "Conv for skip (%)"];
    report.tables.push(table("skip_rows", "Skips, and what else could stand there", &columns, rows.collect()));
    Ok(())
}
