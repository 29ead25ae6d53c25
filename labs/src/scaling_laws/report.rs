//! Numbers, charts and sentences of a run.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Interval, Kind, Metric, Report, Series, Table};
use lab_kit::{
    report::{MetricExt, metric, thousands},
    scaling::{Law, Run},
};

use super::{
    laws::ENOUGH,
    network::{Plan, Trained, stored, weights},
    sweep::{NEXT, Sweep},
    text::SYMBOLS,
};
use lab_kit::order::Ordered as _;

/// Why what training decides may differ between devices.
const SPREAD: &str = "sums in another order lead training elsewhere, as another seed does: five standard deviations over the \
                      seeds of the study";

fn trained(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

fn between(metric: Metric, ends: Option<[f64; 2]>) -> Metric {
    match ends {
        Some([low, high]) => metric.interval(Interval { low, high, level: 0.95 }),
        None => metric,
    }
}

fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: Vec::new() }
}

fn gflop(flops: f64) -> String {
    format!("{} GFLOP", (flops / 1e7).round() / 100.0)
}

/// What the plan alone says.
pub(super) fn beforehand(plans: &[(f64, Vec<Plan>)], confirm: bool) -> Report {
    let all = || plans.iter().flat_map(|group| &group.1);
    let counted = "counted, not measured";
    let next = if confirm { 3.0 * NEXT * plans.last().map_or(0.0, |group| group.0) } else { 0.0 };
    let flops = all().map(Plan::flops).sum::<f64>() + next;
    let largest = all().map(|plan| stored(plan.h)).max().unwrap_or(0);
    let metrics = vec![
        metric(Family::Scale, "runs", "Trainings", (all().count() + 3 * usize::from(confirm)) as f64, "trainings")
            .exact(0.0, counted)
            .detail()
            .help("All budgets and sizes, and the three that confirm the forecast."),
        metric(Family::Scale, "flops", "Operations of all trainings", flops / 1e9, "GFLOP")
            .exact(0.5, "the size that is foretold decides how the last batches are rounded")
            .detail()
            .help("Six for each weight and character: what you pay for the law and its confirmation."),
        metric(Family::Memory, "state_bytes", "State of the largest training", 16.0 * largest as f64, "bytes")
            .exact(0.0, counted)
            .lower()
            .detail()
            .help("Weights, gradients and two moments of the optimizer, four bytes each, of the largest network of the three budgets."),
    ];
    Report { metrics, ..Report::default() }
}

/// The curves so far.
pub(super) fn partial(sweep: &Sweep) -> Report {
    Report { charts: vec![curves(sweep)], tables: vec![table(sweep)], ..Report::default() }
}

/// Everything.
pub(super) fn of(sweep: &Sweep, five_gram: f64, roof: f64, peak: Option<usize>) -> Report {
    let laws = &sweep.laws;
    let largest = sweep.groups.last().map_or(0.0, |group| group.0);
    let next = NEXT * largest;
    let mut metrics = Vec::new();
    let mut notes = Vec::new();
    let all = || sweep.groups.iter().flat_map(|group| &group.1);
    if let Some(best) = all().min_by(|a, b| a.loss.total_cmp(&b.loss)) {
        metrics.push(
            trained(
                metric(Family::Quality, "least_loss", "Least loss of the three budgets", best.loss, "nats").lower(),
                0.1,
            )
            .baseline((SYMBOLS as f64).ln())
            .detail()
            .help("On held-out text. The baseline is a network that knows nothing of the symbols."),
        );
    }
    if all().count() < ENOUGH {
        notes.push("So few runs draw curves, but no law: take four sizes or more.".into());
    } else if let (Some(size), Some((flops, least))) = (laws.size, laws.found().last()) {
        metrics.extend([
            trained(metric(Family::Scale, "exponent_size", "Exponent of the best size", size.exponent, ""), 0.55).help(
                "The best number of weights grows as this power of the operations; the characters get the rest of 1.",
            ),
            trained(
                metric(
                    Family::Scale,
                    "tokens_per_weight",
                    "Characters for each weight",
                    flops / 6.0 / least.n.powi(2),
                    "",
                ),
                25.0,
            )
            .help("At the best size of the largest budget."),
            trained(
                metric(Family::Scale, "next_size", "Best size foretold", size.at(next), "weights"),
                0.6 * size.at(next),
            )
            .baseline(least.n)
            .help("For three times the largest budget; the baseline is the best size of that largest budget."),
        ]);
        notes.push(format!(
            "For each factor of three in operations the best size grew by a factor of {:.2}, not of 3.",
            3_f64.powf(size.exponent)
        ));
    }
    for (flops, minimum) in &laws.minima {
        if let Err(edge) = minimum {
            notes.push(format!("At {} there is no minimum to use: {edge}.", gflop(*flops)));
        }
    }
    if let Some(surface) = laws.surface {
        let law = surface.law;
        metrics.extend([
            between(trained(metric(Family::Quality, "floor", "Floor of the fitted surface", law.e, "nats"), 2.5), laws.interval(&|law| law.e))
                .baseline(five_gram)
                .help(
                    "The loss that the law says no size and no text can beat. The baseline is what counting five characters \
                     reaches on the same text.",
                ),
            between(
                trained(metric(Family::Scale, "exponent_surface", "Exponent by the surface", law.exponent(), ""), 0.6).detail(),
                laws.interval(&Law::exponent),
            )
            .help("The same exponent, from the five numbers fitted to all runs. The interval is a bootstrap over the runs."),
        ]);
    }
    if let Some(confirmed) = sweep.confirmed.first() {
        let Run { n, d, loss } = confirmed.run();
        let before = laws.found().last().map_or(loss, |(_, minimum)| minimum.loss);
        metrics.push(
            trained(
                metric(Family::Quality, "confirm_loss", "Loss of the training that was foretold", loss, "nats").lower(),
                0.1,
            )
            .baseline(before)
            .help("At three times the largest budget. The baseline is the least loss of that largest budget."),
        );
        if let Some(straight) = laws.line {
            let error = loss - straight.at(next);
            metrics.push(
                trained(metric(Family::Quality, "error_line", "Measured minus foretold, by the line", error, "nats"), 0.15)
                    .help("The straight line through the logarithms of the least losses. Below zero the forecast was too high."),
            );
        }
        if let Some(surface) = laws.surface {
            let foretold = surface.law.loss(n, d);
            metrics.push(
                trained(
                    metric(
                        Family::Quality,
                        "error_surface",
                        "Measured minus foretold, by the surface",
                        loss - foretold,
                        "nats",
                    ),
                    0.3,
                )
                .help("The surface of five numbers. Below zero the forecast was too high."),
            );
            notes.push(format!(
                "The foretold training reached {loss:.3} nats; the surface had said {foretold:.3}, with a floor at {:.2}. Counting \
                 five characters reaches {five_gram:.3}.",
                surface.law.e
            ));
        }
        let best = sweep.confirmed.iter().min_by(|a, b| a.loss.total_cmp(&b.loss)).unwrap_or(confirmed);
        let cost = loss - best.loss;
        notes.push(if cost > 0.0 {
            format!(
                "A network of {} weights was better than the one foretold, by {cost:.3} nats.",
                thousands(weights(best.plan.h))
            )
        } else {
            "Neither half nor twice the size foretold was better.".into()
        });
    }
    if sweep.diverged > 0 {
        notes.push(format!("{} trainings diverged and were left out.", sweep.diverged));
    }
    metrics.extend(speed(sweep, roof, peak));
    let plans: Vec<(f64, Vec<Plan>)> =
        sweep.groups.iter().map(|group| (group.0, group.1.iter().map(|one| one.plan).collect())).collect();
    metrics.extend(beforehand(&plans, !sweep.confirmed.is_empty()).metrics);
    let charts = vec![curves(sweep), sizes(sweep), losses(sweep, five_gram), seconds(sweep)];
    Report { metrics, charts, tables: vec![table(sweep)], notes }
}

fn speed(sweep: &Sweep, roof: f64, peak: Option<usize>) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let Some((_, group)) = sweep.groups.last() else { return metrics };
    let by_time = |a: &&Trained, b: &&Trained| a.seconds.total_cmp(&b.seconds);
    if let (Some(fast), Some(slow)) = (group.iter().min_by(by_time), group.iter().max_by(by_time)) {
        metrics.push(
            metric(
                Family::Time,
                "seconds_spread",
                "Slowest over fastest training",
                slow.seconds / fast.seconds.max(1e-9),
                "×",
            )
            .lower()
            // Each was trained once.
            .measured(vec![slow.seconds / fast.seconds.max(1e-9)])
            .help("Of the largest budget: equal operations, unequal seconds on this device."),
        );
    }
    if let (Some(narrow), Some(wide)) = (group.first(), group.last()) {
        let share = |one: &Trained| 100.0 * one.plan.flops() / one.seconds.max(1e-9) / (1e9 * roof);
        metrics.push(
            metric(Family::Utilization, "share_of_peak", "Share of the roof, widest network", share(wide), "%")
                .higher()
                .baseline(share(narrow))
                .measured(vec![share(wide)])
                .help("Operations a second against this device's best matrix product; the baseline is the narrowest network of the same budget."),
        );
    }
    if let Some(peak) = peak {
        metrics.push(
            metric(Family::Memory, "peak_bytes", "Most memory held during the trainings", peak as f64, "bytes")
                .lower()
                .detail()
                .measured(vec![peak as f64])
                .help("Engine memory beyond what the text took before. The order of the text is the larger part."),
        );
    }
    metrics
}

/// Loss against size, one curve a budget.
fn curves(sweep: &Sweep) -> Chart {
    let points = |runs: &[Trained]| {
        let mut points: Vec<[f64; 2]> = runs.iter().map(|one| [weights(one.plan.h) as f64, one.loss]).collect();
        points.ordered_by(&|a, b| a[0].total_cmp(&b[0]));
        points
    };
    let mut series: Vec<Series> = sweep.groups.iter().map(|(flops, runs)| line(&gflop(*flops), points(runs))).collect();
    let minima: Vec<[f64; 2]> = sweep.laws.found().map(|(_, minimum)| [minimum.n, minimum.loss]).collect();
    if !minima.is_empty() {
        series.push(line("lowest places", minima));
    }
    if let Some((flops, _)) = sweep.groups.last()
        && !sweep.confirmed.is_empty()
    {
        series.push(line(&format!("{}, foretold", gflop(NEXT * flops)), points(&sweep.confirmed)));
    }
    Chart {
        id: "curves".into(),
        title: "Which size is best for a budget?".into(),
        caption: "Each curve spends the same operations on every size; small networks read more. The lowest places march to the \
                  right as the budget grows."
            .into(),
        x: Axis::log("Weights"),
        y: Axis::linear("Held-out loss (nats per character)"),
        body: ChartBody::Line { series },
    }
}

/// Best size and best data against operations.
fn sizes(sweep: &Sweep) -> Chart {
    let found: Vec<_> = sweep.laws.found().collect();
    let mut series = vec![
        line("characters at the best size", found.iter().map(|(c, m)| [*c / 1e9, c / 6.0 / m.n]).collect()),
        line("best size, measured", found.iter().map(|(c, m)| [*c / 1e9, m.n]).collect()),
    ];
    if let (Some(law), Some((first, _)), Some((last, _))) = (sweep.laws.size, found.first(), found.last()) {
        series.push(line("best size, the line", [*first, NEXT * last].map(|c| [c / 1e9, law.at(c)]).to_vec()));
    }
    Chart {
        id: "sizes".into(),
        title: "How should size and text grow together?".into(),
        caption: "Two straight lines in logarithms. The line of the sizes is drawn on to the budget at which it is put to the test.".into(),
        x: Axis::log("Budget (GFLOP)"),
        y: Axis::log("Weights, or characters"),
        body: ChartBody::Line { series },
    }
}

/// Least loss against operations, with what each law promises.
fn losses(sweep: &Sweep, five_gram: f64) -> Chart {
    let laws = &sweep.laws;
    let found: Vec<_> = laws.found().collect();
    let from = found.first().map_or(1.0_f64, |p| p.0);
    let to = 10.0 * found.last().map_or(1.0, |p| p.0);
    let at: Vec<f64> = (0..=12).map(|i| from * (to / from).powf(f64::from(i) / 12.0)).collect();
    let drawn = |of: &dyn Fn(f64) -> f64| -> Vec<[f64; 2]> { at.iter().map(|c| [c / 1e9, of(*c)]).collect() };
    let mut series = vec![line("counting five characters", drawn(&|_| five_gram))];
    series.push(line("least loss of each budget", found.iter().map(|(c, m)| [c / 1e9, m.loss]).collect()));
    if let Some(straight) = laws.line {
        series.push(line("straight line", drawn(&|c| straight.at(c))));
    }
    if let Some(surface) = laws.surface {
        series.push(line("surface, at its own best size", drawn(&|c| surface.law.optimal(c).loss)));
        series.push(line("floor of the surface", drawn(&|_| surface.law.e)));
    }
    if let Some(one) = sweep.confirmed.first() {
        series.push(line("foretold training", vec![[one.plan.flops() / 1e9, one.loss]]));
    }
    Chart {
        id: "losses".into(),
        title: "How good will ten times the budget be?".into(),
        caption: "Where the forecasts part, at most one of them is right. The single point is the training that was foretold.".into(),
        x: Axis::log("Budget (GFLOP)"),
        y: Axis::linear("Held-out loss (nats per character)"),
        body: ChartBody::Line { series },
    }
}

/// Loss against time on this device.
fn seconds(sweep: &Sweep) -> Chart {
    let groups = sweep.groups.iter().map(|(flops, runs)| {
        let points = runs.iter().map(|one| [one.seconds.max(1e-4), one.loss]).collect();
        line(&gflop(*flops), points)
    });
    Chart {
        id: "seconds".into(),
        title: "And if seconds are what you lack?".into(),
        caption: "The same trainings against their time on this device. From right to left on a curve the networks get wider.".into(),
        x: Axis::log("Seconds of training"),
        y: Axis::linear("Held-out loss (nats per character)"),
        body: ChartBody::Line { series: groups.collect() },
    }
}

fn table(sweep: &Sweep) -> Table {
    let columns = ["Budget (GFLOP)", "Width", "Weights", "Characters", "Loss (nats)", "Seconds"];
    let row = |flops: f64, one: &Trained| {
        let Run { n, d, loss } = one.run();
        [flops / 1e9, one.plan.h as f64, n, d, loss, one.seconds].map(Cell::from).to_vec()
    };
    let mut rows = Vec::new();
    for (flops, runs) in &sweep.groups {
        rows.extend(runs.iter().map(|one| row(*flops, one)));
    }
    let next = sweep.groups.last().map_or(0.0, |group| NEXT * group.0);
    rows.extend(sweep.confirmed.iter().map(|one| row(next, one)));
    Table { id: "trainings".into(), title: "Every training".into(), columns: columns.map(str::to_owned).to_vec(), rows }
}
