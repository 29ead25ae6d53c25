//! Numbers and sentences of a run.

use lab_api::{Cell, Family, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    models::LanguageModel,
    report::{MetricExt, metric},
    stats::{median, median_interval},
    tuning::{
        Judged, Task,
        optim::{Decay, Optimizer, Part, Role, Rule},
    },
};

use super::{
    Params, Tuned,
    arms::{self, Arm},
    figures,
};

/// Why what training decides may differ between devices.
const SPREAD: &str = "sums in another order lead a training elsewhere, as another seed does: five standard deviations over the seeds of the study";
const COUNTED: &str = "counted from the buffers";
/// The rate that papers and libraries give for Adam.
const DEFAULT: f64 = 1e-3;

pub(super) fn trained(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

/// The tensors of the book's smallest language model.
pub(super) fn language_parts() -> Vec<Part> {
    let shapes = LanguageModel::draft().config.shapes();
    let part = |(name, shape): &(String, Vec<usize>)| match shape[..] {
        [rows, columns] => {
            let edge = name.contains("embed") || name.contains("head");
            Part { rows, columns, role: if edge { Role::Edge } else { Role::Hidden } }
        }
        _ => Part { rows: shape.iter().product(), columns: 1, role: Role::Vector },
    };
    shapes.iter().map(part).collect()
}

/// Bytes that a rule holds between steps.
pub(super) fn bytes(rule: Rule, parts: &[Part]) -> f64 {
    Optimizer::new(rule, Decay::Decoupled(0.0), parts).bytes() as f64
}

/// What the settings alone say.
pub(super) fn counted(report: &mut Report, params: &Params) {
    let parts = language_parts();
    let weights: usize = parts.iter().map(Part::len).sum();
    let each = |arm: &Arm| bytes(arm.rule, &parts) / weights as f64;
    let of = |id: &str| arms::arm(id, params.task).map_or(0.0, |arm| each(&arm));
    report.metrics.extend([
        metric(Family::Memory, "adamw_state", "AdamW remembers of each weight", of("adamw"), "bytes/weight")
            .lower()
            .exact(0.0, COUNTED)
            .help("Both moments in FP32. The weight itself takes 4 bytes."),
        metric(
            Family::Memory,
            "adafactor_state",
            "Adafactor remembers of each weight",
            of("adafactor"),
            "bytes/weight",
        )
        .lower()
        .baseline(of("adamw"))
        .exact(0.0, COUNTED)
        .help("A number for each row and each column of a matrix. The baseline is AdamW."),
        metric(Family::Memory, "eight_state", "8-bit Adam remembers of each weight", of("eight"), "bytes/weight")
            .lower()
            .baseline(of("adamw"))
            .exact(0.0, COUNTED)
            .detail(),
    ]);
    let arms: Vec<Arm> = arms::group(params.compare, params.task).collect();
    let names: Vec<&str> = arms.iter().map(|arm| arm.name).collect();
    report.charts.push(figures::state(&names, arms.iter().map(each).collect()));
}

/// Where each rule stands at a rate, if it tried it.
fn at(one: &Tuned, rate: f64) -> Option<&super::Trained> {
    one.tries.iter().find(|tried| (tried.rate / rate).ln().abs() < 0.05)
}

/// What all tries together say.
pub(super) async fn complete(
    report: &mut Report,
    params: &Params,
    task: &Task,
    all: &[Tuned],
    cx: &Context,
) -> Result<(), LabError> {
    let mut rows = Vec::new();
    let mut judged: Vec<Option<Judged>> = Vec::new();
    for one in all {
        let best = one.best();
        judged.push(best.map(|(best, _)| task.judge(&best.weights, 2)));
        cx.checkpoint().await?;
        let Some((best, edge)) = best else {
            report.notes.push(format!("{}: no rate survived.", one.arm.name));
            continue;
        };
        let lost = one.tries.iter().filter(|one| one.chosen.is_none()).count();
        if edge {
            report.notes.push(format!(
                "{} is best at the edge of what it tried ({}), so its own best may lie beyond.",
                one.arm.name,
                figures::rate(best.rate)
            ));
        }
        let Some(Some(found)) = judged.last() else { continue };
        let [_, update] = figures::times(one).map(|times| median(&times));
        let mut row: Vec<Cell> = vec![one.arm.name.into(), figures::rate(best.rate).into()];
        row.extend([one.tries.len() as f64, lost as f64, best.late(), found.loss].map(Cell::from));
        match found.by_rank {
            Some(by_rank) => row.extend(by_rank.map(Cell::from)),
            None => row.push(found.accuracy.unwrap_or(0.0).into()),
        }
        row.extend([bytes(one.arm.rule, &task.parts()).into(), update.into()]);
        rows.push(row);
    }
    let mut columns = vec!["Rule", "Best rate", "Tries", "Of them lost", "Training loss (nats)", "Unseen (nats)"];
    match task {
        Task::Glyphs(..) => columns.push("Right on unseen (%)"),
        Task::Tokens(..) => columns.extend(["Frequent tokens (nats)", "Rare tokens (nats)"]),
    }
    columns.extend(["State (bytes)", "Update (ms)"]);
    report.tables.push(figures::table("tuned", "Each rule at its own best rate", &columns, rows));
    quality(report, task, all, &judged);
    scale(report, all);
    times(report, params, task, all, cx);
    report.charts.insert(0, figures::rates(all, task));
    report.charts.extend(figures::races(all));
    report.charts.push(figures::step(all));
    Ok(())
}

fn quality(report: &mut Report, task: &Task, all: &[Tuned], judged: &[Option<Judged>]) {
    // Lion and AdamW at Adam's usual rate, and each at its best.
    let find = |id: &str| all.iter().position(|one| one.arm.id == id);
    let right = |judged: &Judged| judged.accuracy.unwrap_or(-100.0 * judged.loss);
    if let (Some(lion), Some(adam)) = (find("lion"), find("adamw"))
        && let (Some(one), Some(other)) = (at(&all[lion], DEFAULT), at(&all[adam], DEFAULT))
        && let (Some(best), Some(other_best)) = (&judged[lion], &judged[adam])
        && matches!(task, Task::Glyphs(..))
    {
        let [one, other] = [one, other].map(|one| right(&task.judge(&one.weights, 2)));
        report.metrics.insert(
            0,
            trained(
                metric(Family::Quality, "lion_ahead", "Lion ahead of AdamW, both at 0.001", one - other, "points"),
                10.0,
            )
            .baseline(right(best) - right(other_best))
            .help("Of accuracy on unseen fonts. The baseline is the same with each at its own best rate."),
        );
    }
    for (one, judged) in all.iter().zip(judged) {
        let (id, name) = (one.arm.id, one.arm.name);
        let Some(judged) = judged else { continue };
        let mut add = |what: &str, label: &str, value: f64, unit: &str, apart: f64, detail: bool| {
            let id = format!("{what}_{id}");
            let one = metric(Family::Quality, &id, &format!("{name}: {label}"), value, unit);
            let one = trained(if unit == "%" { one.higher() } else { one.lower() }, apart);
            report.metrics.push(if detail { one.detail() } else { one });
        };
        if let Some(accuracy) = judged.accuracy {
            add("accuracy", "right on unseen fonts", accuracy, "%", 10.0, false);
        }
        add("loss", "loss on what it has not seen", judged.loss, "nats", 0.5, judged.accuracy.is_some());
        if let Some([frequent, rare]) = judged.by_rank {
            add("frequent", "loss on the 32 most frequent tokens", frequent, "nats", 1.0, true);
            add("rare", "loss on tokens of rank 256 and beyond", rare, "nats", 1.0, true);
        }
    }
}

fn scale(report: &mut Report, all: &[Tuned]) {
    let best: Vec<(&Tuned, f64)> = all.iter().filter_map(|one| Some((one, one.best()?.0.rate))).collect();
    for (one, rate) in &best {
        let id = format!("rate_{}", one.arm.id);
        let label = format!("{}: best rate", one.arm.name);
        report.metrics.push(trained(metric(Family::Scale, &id, &label, *rate, ""), 31.0 * rate).detail());
    }
    let ends = best.iter().fold([f64::INFINITY, 0.0_f64], |ends, (_, rate)| [ends[0].min(*rate), ends[1].max(*rate)]);
    if best.len() > 1 {
        let apart = ends[1] / ends[0];
        report.metrics.push(
            trained(metric(Family::Scale, "rates_apart", "Largest over smallest best rate", apart, "×"), 31.0 * apart)
                .help("How far apart the bottoms of the curves stand."),
        );
    }
}

fn times(report: &mut Report, params: &Params, task: &Task, all: &[Tuned], cx: &Context) {
    let weights: usize = task.parts().iter().map(Part::len).sum();
    for one in all {
        let (id, name) = (one.arm.id, one.arm.name);
        let [gradient, update] = figures::times(one);
        if update.is_empty() {
            continue;
        }
        let interval = median_interval(&update, 0.95, &mut cx.rng(id));
        report.metrics.push(
            metric(Family::Time, &format!("update_{id}"), &format!("{name}: update"), median(&update), "ms")
                .lower()
                .baseline(median(&gradient))
                .interval(interval)
                .measured(update.clone())
                .detail()
                .help("Of one step, over stretches of all its trainings. The baseline is the gradient."),
        );
        if id == "adamw" {
            let rates: Vec<f64> = update.iter().map(|ms| 28e-6 * weights as f64 / ms.max(1e-6)).collect();
            report.metrics.push(
                metric(Family::Utilization, "adamw_bandwidth", "AdamW moves", median(&rates), "GB/s")
                    .higher()
                    .interval(median_interval(&rates, 0.95, &mut cx.rng("bandwidth")))
                    .measured(rates)
                    .help("28 bytes of each weight: it reads weight, gradient and two moments and writes all but the gradient. Here they fit into the processor's cache."),
            );
        }
    }
    // What a step of Muon takes beside one of AdamW.
    let find = |id: &str| all.iter().find(|one| one.arm.id == id).map(figures::times);
    if let (Some([gradient, muon]), Some([_, adam])) = (find("muon"), find("adamw"))
        && !muon.is_empty()
        && !adam.is_empty()
    {
        let gradient = median(&gradient);
        let all: Vec<f64> = muon.iter().map(|ms| (gradient + ms) / (gradient + median(&adam))).collect();
        report.metrics.push(
            metric(Family::Time, "muon_step", "A step of Muon takes, of one of AdamW", median(&all), "×")
                .lower()
                .baseline(1.0)
                .interval(median_interval(&all, 0.95, &mut cx.rng("muon")))
                .measured(all)
                .help(&format!("Gradient and update together, with {} examples a step.", params.batch)),
        );
    }
}
