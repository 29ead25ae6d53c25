//! Supernets of several lengths, drawn in several ways, against the recorded truth; the best fifteen trained anew; networks without a
//! residual; and what mixtures find.

use lab_api::{Axis, ChartBody, Family, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    cells::{CellCode, CellNet, CellTable, CellTraining, cell_images},
    data::{Glyphs, Images},
    one_shot::{PathDraw, PathTraining, Supernet},
    report::{MetricExt, metric},
    rng,
    search::spearman,
    stats::{median, median_interval},
    testing::ready,
    two_cores::jobs_on_two_cores,
};

use super::{
    Params, figures,
    figures::{chart, line, one, table, text},
    run::{judged, spread},
    study_mixtures, summary,
    truth::{Said, TOP, Truth, mean},
};

/// Seeds of each arm.
pub(super) const SEEDS: u64 = 3;
/// Images that judge paths.
const JUDGES: usize = 384;
/// Steps of a short training alone, and of a long one.
pub(super) const SHORT: usize = 174;
pub(super) const LONG: usize = 348;
/// Seeds of whoever is trained anew are none of the table.
pub(super) const FRESH: u64 = 200;
/// Networks without a residual that are truly trained.
const POOL: usize = 30;

/// A way to train what all paths share.
struct Arm {
    id: &'static str,
    name: &'static str,
    draw: PathDraw,
    steps: usize,
    one_count: bool,
    residual: bool,
}

const fn arm(id: &'static str, name: &'static str, draw: PathDraw, steps: usize) -> Arm {
    Arm { id, name, draw, steps, one_count: false, residual: true }
}

const ARMS: [Arm; 7] = [
    arm("short", "uniform, 174 steps", PathDraw::Uniform, 174),
    arm("middle", "uniform, 522 steps", PathDraw::Uniform, 522),
    arm("long", "uniform, 1,500 steps", PathDraw::Uniform, 1500),
    arm("fair", "fair rounds, 1,500 steps", PathDraw::Fair, 1500),
    arm("collected", "fair rounds, one update each, 1,500 steps", PathDraw::Collected, 1500),
    Arm { one_count: true, ..arm("count", "uniform, one count of steps for all, 522 steps", PathDraw::Uniform, 522) },
    Arm { residual: false, ..arm("bare", "uniform without residual, 1,500 steps", PathDraw::Uniform, 1500) },
];

pub(super) fn number(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    Metric { kind: Kind::Trained, ..metric(family, id, label, value, unit) }
}

/// A number that every seed has: its median, with an interval.
pub(super) fn over_seeds(family: Family, id: &str, label: &str, values: &[f64], unit: &str, cx: &Context) -> Metric {
    let one = metric(family, id, label, median(values), unit)
        .interval(median_interval(values, 0.95, &mut cx.rng(id)))
        .measured(values.to_vec());
    Metric { kind: Kind::Trained, ..one }
}

/// Right answers in per cent on unseen families, of each job `(code, residual, steps, seed)`.
pub(super) fn trained_alone(jobs: &[(CellCode, bool, usize, u64)], images: &[Images; 3]) -> Result<Vec<f64>, LabError> {
    jobs_on_two_cores(jobs.len(), |i| {
        let (code, residual, steps, seed) = jobs[i];
        let net = CellNet { code, residual, classes: Glyphs::CLASSES.len() };
        let mut training = CellTraining::new(net, steps, images[0].len(), seed);
        (0..steps).for_each(|_| training.step(&images[0]));
        Ok(training.right(&images[2]))
    })
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    report.metrics.extend(summary::counted(&Params::default()));
    let images = cell_images(cx).await?;
    let table = CellTable::load(cx).await?;
    let truth = Truth::recorded(&table);
    cx.progress("The best fifteen anew", 0.02);
    let fresh = fresh(&mut report, &truth, &images)?;
    recorded(&mut report, &table, &truth, &fresh);
    cx.progress("Supernets", 0.15);
    let said = supernets(&images)?;
    ranks(&mut report, &said, &truth, &fresh, cx);
    cx.progress("Without residual", 0.45);
    bare(&mut report, &said[ARMS.len() - 1], &images)?;
    cx.progress("Mixtures", 0.5);
    study_mixtures::run(&mut report, &truth, &images, cx)?;
    Ok(report)
}

/// The best fifteen with two fresh seeds and twice the steps: what each is worth when nobody chose it for its score.
fn fresh(report: &mut Report, truth: &Truth, images: &[Images; 3]) -> Result<Vec<f64>, LabError> {
    let top = truth.top(TOP);
    let jobs: Vec<(CellCode, bool, usize, u64)> =
        top.iter().flat_map(|i| [0, 1].map(|seed| (truth.codes[*i], true, LONG, FRESH + seed))).collect();
    let right = trained_alone(&jobs, images)?;
    let each = |seed: usize| right.iter().skip(seed).step_by(2).copied().collect::<Vec<f64>>();
    let fresh: Vec<f64> = right.chunks(2).map(mean).collect();
    let recorded: Vec<f64> = top.iter().map(|i| truth.right[*i]).collect();
    for (id, label, value, unit) in [
        ("top_high", "Best fifteen: the best, as recorded", recorded[0], "%"),
        ("top_low", "Best fifteen: the last, as recorded", recorded[TOP - 1], "%"),
        (
            "top_fresh",
            "Best fifteen with fresh seeds, below what was recorded",
            mean(&recorded) - mean(&fresh),
            "points",
        ),
        ("top_seeds", "Order of the best fifteen, one fresh seed against the other", spearman(&each(0), &each(1)), ""),
        ("top_again", "Order of the best fifteen, recorded against fresh", spearman(&recorded, &fresh), ""),
    ] {
        report.metrics.push(number(Family::Quality, id, label, value, unit));
    }
    Ok(fresh)
}

/// What costs nothing, and what a short training alone says.
fn recorded(report: &mut Report, known: &CellTable, truth: &Truth, fresh: &[f64]) {
    let classes = Glyphs::CLASSES.len();
    let flops: Vec<f64> = truth.codes.iter().map(|code| code.flops(classes) as f64).collect();
    let weights: Vec<f64> = truth.codes.iter().map(|code| code.parameters(classes) as f64).collect();
    let top = truth.top(TOP);
    for (id, name, scores) in [
        ("flops", "FLOPs", flops),
        ("parameters", "weights", weights),
        ("alone_44", "44 steps alone", known.entries.iter().map(|entry| entry.chosen[0][0]).collect()),
        (
            "alone_174",
            "another training of 174 steps alone",
            known.entries.iter().map(|entry| entry.chosen[1][1]).collect(),
        ),
    ] {
        let [all, best] = truth.agreement(&scores);
        let some: Vec<f64> = top.iter().map(|i| scores[*i]).collect();
        let add = |id: String, label: String, value: f64| number(Family::Quality, &id, &label, value, "");
        report.metrics.extend([
            add(format!("order_{id}"), format!("Order of 781 networks by {name}"), all),
            add(format!("top_{id}"), format!("Order of the best fifteen by {name}"), best),
            add(format!("fresh_{id}"), format!("The same against fresh seeds, by {name}"), spearman(&some, fresh)),
        ]);
    }
}

/// What each arm says, seed after seed.
fn supernets(images: &[Images; 3]) -> Result<Vec<Vec<Said>>, LabError> {
    let judges = spread(&images[1], JUDGES);
    let all = jobs_on_two_cores(ARMS.len() * SEEDS as usize, |i| {
        // The long ones first.
        let i = ARMS.len() * SEEDS as usize - 1 - i;
        let (arm, seed) = (&ARMS[i / SEEDS as usize], i as u64 % SEEDS);
        let net = Supernet { residual: arm.residual, classes: Glyphs::CLASSES.len() };
        let mut training = PathTraining::new(net, arm.draw, arm.steps, images[0].len(), seed);
        training.one_count = arm.one_count;
        (0..arm.steps).for_each(|_| training.step(&images[0]));
        Ok(ready(judged(&net, &training.weights, &judges, async || Ok(())))?.0)
    })?;
    let mut all: Vec<Said> = all.into_iter().rev().collect();
    Ok((0..ARMS.len()).map(|_| all.drain(..SEEDS as usize).collect()).collect())
}

fn ranks(report: &mut Report, said: &[Vec<Said>], truth: &Truth, fresh: &[f64], cx: &Context) {
    let top = truth.top(TOP);
    let best: Vec<CellCode> = top.iter().map(|i| truth.codes[*i]).collect();
    let (mut rows, mut lines) = (Vec::new(), [Vec::new(), Vec::new()]);
    for (arm, said) in ARMS.iter().zip(said).filter(|(arm, _)| arm.residual) {
        let each = |of: &dyn Fn(&Said) -> f64| said.iter().map(of).collect::<Vec<f64>>();
        let order = each(&|one| truth.agreement(&one.scores(&truth.codes))[0]);
        let within = each(&|one| truth.agreement(&one.scores(&truth.codes))[1]);
        let anew = each(&|one| spearman(&one.scores(&best), fresh));
        let first = each(&|one| truth.of(one.order()[0]).unwrap_or(0.0));
        let place = each(&|one| truth.place(one.order()[0]).unwrap_or(0) as f64);
        let twenty = each(&|one| one.order().iter().take(20).filter_map(|code| truth.of(*code)).fold(0.0, f64::max));
        let apart = each(&|one| one.apart());
        let twice = spearman(&said[0].scores(&truth.codes), &said[1].scores(&truth.codes));
        let twice_top = spearman(&said[0].scores(&best), &said[1].scores(&best));
        for (id, words, values, unit) in [
            ("order", "order of 781 networks", &order, ""),
            ("top", "order of the best fifteen", &within, ""),
            ("fresh", "order of the best fifteen, against fresh seeds", &anew, ""),
            ("first", "its first, as recorded", &first, "%"),
            ("place", "true place of its first", &place, ""),
            ("twenty", "best of its first twenty, as recorded", &twenty, "%"),
            ("apart", "codes of one network apart", &apart, "points"),
        ] {
            let label = format!("Shared weights, {}: {words}", arm.name);
            report.metrics.push(over_seeds(Family::Quality, &format!("{id}_{}", arm.id), &label, values, unit, cx));
        }
        for (id, words, value) in [("twice", "of 781 networks", twice), ("twice_top", "of the best fifteen", twice_top)]
        {
            let label = format!("Shared weights, {}: one seed's order {words} against another's", arm.name);
            report.metrics.push(number(Family::Quality, &format!("{id}_{}", arm.id), &label, value, ""));
        }
        rows.push(vec![
            text(arm.name),
            two(median(&order)),
            two(median(&within)),
            one(median(&first)),
            one(median(&twenty)),
            one(median(&apart)),
        ]);
        if ["short", "middle", "long"].contains(&arm.id) {
            lines[0].push([arm.steps as f64, median(&order)]);
            lines[1].push([arm.steps as f64, median(&within)]);
        }
        if arm.id == "long" {
            report.charts.push(figures::scatter(&said[0], truth));
            report.charts.push(figures::twins(&said[0]));
        }
    }
    report.metrics.push(number(Family::Quality, "best", "Best of 781, as recorded", truth.best(), "%"));
    let columns = [
        "Shared weights",
        "Order of 781",
        "Order of the best 15",
        "Its first (%)",
        "Best of its first 20 (%)",
        "Codes of a network apart (points)",
    ];
    report.tables.push(table("supernets", "What shared weights say", &columns, rows));
    let [all, within] = lines;
    report.charts.push(chart(
        "lengths",
        "Does longer training mend the order?",
        "Rank correlation with the truth, by steps of the supernet; medians of three seeds. Compare what the two lines gain.",
        (Axis::linear("Steps"), Axis::linear("Rank correlation")),
        ChartBody::Line { series: vec![line("781 networks", all), line("Best fifteen", within)] },
    ));
}

fn two(x: f64) -> lab_api::Cell {
    lab_api::Cell::Number((100.0 * x).round() / 100.0)
}

/// Ranks without a residual, on a pool that is truly trained.
fn bare(report: &mut Report, said: &[Said], images: &[Images; 3]) -> Result<(), LabError> {
    let mut random = rng(0, "pool");
    let mut codes: Vec<CellCode> = Vec::new();
    while codes.len() < POOL {
        let code = CellCode::random(&mut random).canonical();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    let jobs: Vec<(CellCode, bool, usize, u64)> = codes.iter().map(|code| (*code, false, SHORT, FRESH)).collect();
    let right = trained_alone(&jobs, images)?;
    let order: Vec<f64> = said.iter().map(|one| spearman(&one.scores(&codes), &right)).collect();
    let apart: Vec<f64> = said.iter().map(Said::apart).collect();
    let values = |values: &[f64]| median(values);
    report.metrics.extend([
        number(
            Family::Quality,
            "order_bare",
            &format!("Without residual, 1,500 steps: order of {POOL} networks that were trained for {SHORT} steps"),
            values(&order),
            "",
        ),
        number(Family::Quality, "apart_bare", "Without residual: codes of one network apart", values(&apart), "points"),
    ]);
    Ok(())
}
