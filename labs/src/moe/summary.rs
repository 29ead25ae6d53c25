//! Numbers and sentences of a run.

use lab_api::{Cell, Family, Kind, Metric, Report};
use lab_kit::{
    Context,
    experts::{capacity, dropped_when_even, experts_read},
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    Params,
    arms::Arm,
    figures,
    task::Task,
    timing::{self, PADDED, SMALL, SORTED, Times, WIDE},
    training::Trained,
};

/// Why what training decides may differ between devices.
const SPREAD: &str = "sums in another order lead a training elsewhere, as another seed does: five standard deviations over the seeds of the study";
const COUNTED: &str = "counted from the shapes";
const CLOSED: &str = "a closed form";
/// Tokens of the question about capacity, and of the one about what is read.
const ROW: usize = 128;
const READ: usize = 16;

pub(super) fn trained_metric(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

/// What the settings alone say.
pub(super) fn counted(report: &mut Report, params: &Params) {
    let [small, yours, wide] =
        [Arm::dense(params, false), Arm::yours(params), Arm::dense(params, true)].map(|arm| arm.sizes());
    let (e, k) = (params.experts as usize, params.k as usize);
    let count = |family, id: &str, label: &str, at: usize, unit: &str| {
        metric(family, id, label, yours[at] as f64, unit).exact(0.0, COUNTED)
    };
    let dropped = 100.0 * dropped_when_even(ROW, e, capacity(ROW, e, 1.0));
    let read = 100.0 * experts_read(READ, e, k) / e as f64;
    report.metrics.extend([
        count(Family::Scale, "products", "Multiplications of your layer for a token", 1, "")
            .baseline(wide[1] as f64)
            .lower()
            .help("The router's included. The baseline is the dense layer of as many weights."),
        count(Family::Memory, "weights", "Weights of your layer", 0, "")
            .baseline(small[0] as f64)
            .help("All must be in memory. The baseline is the dense layer of as much arithmetic."),
        metric(Family::Quality, "dropped_even", "Dropped of 128 tokens at capacity 1, evenly routed", dropped, "%")
            .lower()
            .exact(1e-6, CLOSED)
            .help("If every token chooses one of your experts at random, each as likely, and each expert has just the mean load's places."),
        metric(Family::Memory, "read", "Of your experts' weights, 16 tokens read", read, "%")
            .lower()
            .baseline(100.0 * k as f64 / e as f64)
            .exact(1e-6, CLOSED)
            .help("Expected, where tokens choose evenly and independently. The baseline is a single token."),
    ]);
}

fn find<'a>(all: &'a [Trained], id: &str) -> Option<&'a Trained> {
    all.iter().find(|one| one.arm.id == id)
}

/// What the trainings say.
pub(super) fn trained(report: &mut Report, params: &Params, task: &Task, all: &[Trained], cx: &Context) {
    let mut found = quality(task, all);
    found.append(&mut report.metrics);
    report.metrics = found;
    report.metrics.extend(balance(params, all));
    report.metrics.extend(steps(all, cx));
    report.charts.push(figures::quality(all, task));
    report.charts.push(figures::loads(all));
    if let Some(yours) = find(all, "yours") {
        report.charts.push(figures::map(yours, task));
        let idle = yours.shares.iter().filter(|share| **share == 0.0).count();
        if idle > 0 {
            report.notes.push(format!("{idle} of {} experts get no token after training.", yours.shares.len()));
        }
    }
    report.charts.push(figures::shares(all));
    report.charts.push(figures::storage(all, task));
    let row = |one: &Trained| -> Vec<Cell> {
        vec![
            one.arm.name.as_str().into(),
            (one.products as f64).into(),
            (one.weights as f64).into(),
            task.quality(one.loss).into(),
            one.right.into(),
            one.late(|s| s.busiest).into(),
            median(&one.stretches.iter().map(|s| s.ms).collect::<Vec<_>>()).into(),
        ]
    };
    let columns = [
        "Layer",
        "Multiplications for a token",
        "Weights",
        figures::measure(task),
        "Right (%)",
        "Busiest expert (mean loads)",
        "Step (ms)",
    ];
    report.tables.push(figures::table("layers", "All layers", &columns, all.iter().map(row).collect()));
}

fn quality(task: &Task, all: &[Trained]) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let (Some(small), Some(yours), Some(wide)) = (find(all, "small"), find(all, "yours"), find(all, "wide")) else {
        return metrics;
    };
    let hash = find(all, "hash").unwrap_or(yours);
    let of = |one: &Trained| task.quality(one.loss);
    if task.stores() {
        let times = |a: &Trained, b: &Trained| of(a) / of(b).max(1.0);
        metrics.extend([
            trained_metric(
                metric(
                    Family::Quality,
                    "gain",
                    "Your experts store, of the dense layer of as much arithmetic",
                    times(yours, small),
                    "×",
                ),
                2.5,
            )
            .higher()
            .baseline(times(wide, small))
            .help("The baseline is the dense layer of as many weights."),
            trained_metric(
                metric(
                    Family::Quality,
                    "hash_gain",
                    "A hash in the router's place stores",
                    100.0 * (times(hash, yours) - 1.0),
                    "%",
                ),
                60.0,
            )
            .higher()
            .help("More than your experts. Negative: less."),
        ]);
    } else {
        metrics.extend([
            trained_metric(
                metric(
                    Family::Quality,
                    "below_small",
                    "Your experts' loss below the dense layer's of as much arithmetic",
                    small.loss - yours.loss,
                    "nats",
                ),
                0.3,
            )
            .higher()
            .baseline(small.loss - wide.loss)
            .help("The baseline is the dense layer of as many weights. Negative: above."),
            trained_metric(
                metric(
                    Family::Quality,
                    "below_yours",
                    "A hash in the router's place: loss below your experts'",
                    yours.loss - hash.loss,
                    "nats",
                ),
                0.3,
            )
            .higher(),
        ]);
    }
    for one in all {
        let (id, name) = (one.arm.id, &one.arm.name);
        metrics.push(if task.stores() {
            trained_metric(
                metric(Family::Quality, &format!("stored_{id}"), &format!("{name}: stored"), of(one), "bits"),
                1500.0,
            )
            .higher()
        } else {
            trained_metric(
                metric(Family::Quality, &format!("loss_{id}"), &format!("{name}: loss"), of(one), "nats"),
                0.3,
            )
            .lower()
        });
        metrics.push(
            trained_metric(
                metric(Family::Quality, &format!("right_{id}"), &format!("{name}: right"), one.right, "%"),
                20.0,
            )
            .higher()
            .detail(),
        );
    }
    metrics
}

fn balance(params: &Params, all: &[Trained]) -> Vec<Metric> {
    let (Some(yours), Some(other)) = (find(all, "yours"), find(all, "other")) else { return Vec::new() };
    let busiest = |one: &Trained| one.late(|s| s.busiest);
    let mut metrics = vec![
        trained_metric(metric(Family::Quality, "busiest", "Busiest of your experts", busiest(yours), "mean loads"), 2.0)
            .lower()
            .baseline(busiest(other))
            .help("In the last fifth of the training. The baseline is the other learned router: without balancing, or with the auxiliary loss where yours has none."),
        trained_metric(metric(Family::Quality, "follows", "Tokens that go where most of their kind go", yours.follows, "%"), 30.0)
            .help("Of the same last token or second name. 100: it alone decides."),
    ];
    if params.capacity > 0.0 {
        let dropped = |one: &Trained| 100.0 * one.late(|s| s.dropped);
        metrics.push(
            trained_metric(metric(Family::Quality, "dropped", "Dropped by your experts", dropped(yours), "%"), 20.0)
                .lower()
                .baseline(dropped(other))
                .help("Assignments that found no place, in the last fifth of the training."),
        );
    }
    metrics
}

fn steps(all: &[Trained], cx: &Context) -> Vec<Metric> {
    let ms = |one: &Trained| one.stretches.iter().map(|s| s.ms).collect::<Vec<f64>>();
    let baseline = find(all, "small").map_or(0.0, |one| median(&ms(one)));
    let of = |id: &str, label: &str| {
        let values = ms(find(all, id)?);
        let interval = median_interval(&values, 0.95, &mut cx.rng(id));
        Some(
            metric(Family::Time, &format!("step_{id}"), label, median(&values), "ms")
                .lower()
                .baseline(baseline)
                .interval(interval)
                .measured(values)
                .help("Gradient and update. The baseline is the dense layer of as much arithmetic."),
        )
    };
    [
        of("yours", "A step of training, your experts"),
        of("wide", "A step of training, dense, as many weights").map(MetricExt::detail),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A ratio of two times, round by round.
pub(super) fn ratio(id: &str, label: &str, values: Vec<f64>, cx: &Context) -> Metric {
    metric(Family::Time, id, label, median(&values), "×")
        .interval(median_interval(&values, 0.95, &mut cx.rng(id)))
        .measured(values)
}

/// What the timings say.
pub(super) fn times(report: &mut Report, times: &Times, cx: &Context) {
    let most = times.batches.iter().copied().max().unwrap_or(1);
    let gflops = times.rates(SORTED, most);
    let of_wide = median(&times.rates(WIDE, most));
    report.metrics.extend([
        ratio(
            "dispatch",
            &format!("Sorted experts take, of the dense layer of as much arithmetic, {most} tokens"),
            times.ratios(SORTED, SMALL, most),
            cx,
        )
        .lower()
        .baseline(1.0)
        .help(&format!(
            "One layer of {} numbers a token, experts of {} units, forward.",
            timing::CHANNELS,
            timing::HIDDEN
        )),
        ratio(
            "saves",
            &format!("The dense layer of as many weights takes, of sorted experts, {most} tokens"),
            times.ratios(WIDE, SORTED, most),
            cx,
        )
        .higher()
        .baseline(times.experts as f64 / times.k as f64)
        .help("The baseline is what the arithmetic promises."),
        ratio("saves_one", "The same for a single token", times.ratios(WIDE, SORTED, 1), cx)
            .higher()
            .baseline(times.experts as f64 / times.k as f64),
        ratio(
            "padding",
            &format!("Fixed buffers take, of sorted experts, {most} tokens"),
            times.ratios(PADDED, SORTED, most),
            cx,
        )
        .lower()
        .baseline(1.0)
        .detail(),
        metric(
            Family::Utilization,
            "gflops",
            &format!("Sorted experts compute, {most} tokens"),
            median(&gflops),
            "GFLOP/s",
        )
        .higher()
        .baseline(of_wide)
        .interval(median_interval(&gflops, 0.95, &mut cx.rng("gflops")))
        .measured(gflops)
        .help("The baseline is the dense layer of as many weights: one large product instead of many small ones."),
    ]);
    report.charts.push(figures::times(times));
}
