//! The numbers of a run.

use lab_api::{Family, Metric, Report};
use lab_kit::{
    Context,
    graph::{Program, Strategy, TILES, height, plan},
    report::{MetricExt, metric, thousands},
    stats::{median, median_interval},
};

use super::{
    Model, Params,
    figures::{bytes, six_lives},
    timing::{Times, Tuned},
};

const COUNTED: &str = "counted";
const LEVEL: f64 = 0.95;

pub(super) fn counted(none: &Program, yours: &Program) -> Vec<Metric> {
    let (before, after) = (none.counts, yours.counts);
    let count = |family, id: &str, label: &str, of: &dyn Fn(&lab_kit::graph::Counts) -> f64, unit: &str| {
        metric(family, id, label, of(&after), unit).lower().baseline(of(&before)).exact(0.0, COUNTED)
    };
    let lives = six_lives();
    let six = |strategy| height(&lives, &plan(&lives, strategy)) as f64;
    vec![
        count(Family::Memory, "arena", "Memory for all results", &|c| c.arena as f64 / 1e6, "MB")
            .help("The arena of your plan. The baseline gives each result of each operation a place of its own."),
        count(Family::Utilization, "kernels", "Kernels launched", &|c| c.kernels as f64, "")
            .help("The baseline has one for each operation that is not a view."),
        count(Family::Scale, "traffic", "Results read and written", &|c| c.traffic as f64 / 1e6, "MB")
            .help("Bytes of activations that kernels read from and write to memory in one run; weights are not counted."),
        count(Family::Scale, "flops", "Arithmetic of products", &|c| c.flops as f64 / 1e6, "MFLOP"),
        count(Family::Scale, "distinct", "Different kernels", &|c| c.distinct as f64, "")
            .help("Each is compiled once on a device that compiles kernels, for the shapes of this graph."),
        metric(Family::Memory, "live", "Most that is needed at once", after.bound as f64 / 1e6, "MB")
            .lower()
            .baseline(before.bound as f64 / 1e6)
            .exact(0.0, COUNTED)
            .detail()
            .help("No plan of these kernels in this order can be smaller. The baseline is what a program without a plan needs if it frees each result at once."),
        metric(Family::Memory, "six_by_size", "Six buffers: height of the plan, largest first", six(Strategy::BySize), "")
            .lower()
            .baseline(six(Strategy::None))
            .exact(0.0, COUNTED)
            .help("The example of the page. The baseline has no reuse."),
        metric(Family::Memory, "six_in_time", "Six buffers: height of the plan, in order of birth", six(Strategy::InTime), "")
            .lower()
            .baseline(six(Strategy::None))
            .exact(0.0, COUNTED)
            .detail(),
    ]
}

pub(super) fn timed(report: &mut Report, times: &Times, yours: &Program, cx: &Context) {
    let steps = &times.steps;
    let over = |slow: usize, fast: usize| -> Vec<f64> {
        steps[slow].iter().zip(&steps[fast]).map(|(slow, fast)| slow / fast.max(1e-9)).collect()
    };
    let ratio = |id: &str, label: &str, samples: Vec<f64>| {
        metric(Family::Time, id, label, median(&samples), "×")
            .higher()
            .baseline(1.0)
            .interval(median_interval(&samples, LEVEL, &mut cx.rng(id)))
            .measured(samples)
    };
    let ms = |id: &str, label: &str, samples: &[f64], before: &[f64]| {
        metric(Family::Time, id, label, median(samples), "ms")
            .lower()
            .baseline(median(before))
            .interval(median_interval(samples, LEVEL, &mut cx.rng(id)))
            .measured(samples.to_vec())
    };
    let rate =
        |i: usize, flops: f64| median(&steps[i].iter().map(|ms| 1e-6 * flops / ms.max(1e-9)).collect::<Vec<_>>());
    let mut all = vec![
        ratio("gain", "Your program against no compiler", over(0, 2))
            .help("Time of a run with a kernel and a fresh buffer for each operation, over that of your program."),
        ratio("plan_gain", "The plan alone: one arena against fresh buffers", over(0, 1)).detail(),
        ms("step_ms", "A run of your program", &steps[2], &steps[0]).help("The baseline has no compiler."),
        ms("compile_ms", "Compiling", &times.compiling[1], &times.compiling[0])
            .help("All passes, kernels, order and plan. The baseline only lists the operations."),
        ms("bind_ms", "Preparing weights", &times.binding[1], &times.binding[0])
            .detail()
            .help("Folded, merged and packed before the first run. The baseline reads and turns them."),
        metric(Family::Utilization, "gflops", "Arithmetic of your program", rate(2, yours.counts.flops as f64 ), "GFLOP/s")
            .higher()
            .baseline(rate(0, report.metric("flops").and_then(|m| m.baseline).unwrap_or(0.0) * 1e6))
            .measured(steps[2].iter().map(|ms| 1e-6 * yours.counts.flops as f64 / ms.max(1e-9)).collect()),
        metric(Family::Quality, "deviation", "Largest difference of the outputs", 1e6 * times.deviation, "ppm")
            .lower()
            .baseline(0.0)
            .measured(vec![1e6 * times.deviation])
            .help("Against the run without a compiler, in millionths of the largest output. Weights that were folded are other numbers in their last bits."),
        metric(Family::Quality, "agree", "Answers that stay", 100.0 * times.agree, "%")
            .higher()
            .baseline(100.0)
            .exact(0.0, "the largest output is ahead by far more than rounding"),
    ];
    match times.paid_after() {
        Some(runs) => all.push(
            metric(Family::Scale, "paid", "Compiling has paid after", runs.ceil(), "runs")
                .lower()
                .measured(vec![runs.ceil()]),
        ),
        None => report.notes.push(
            "A run of your program is not faster here, so that compiling never pays in time. What it saves is memory."
                .into(),
        ),
    }
    drop(report.metrics.splice(2..2, all));
}

pub(super) fn tuned(report: &mut Report, tuned: &Tuned, times: &Times, cx: &Context) {
    let [rows, columns] = TILES[tuned.winner];
    let confirmed = median(&tuned.confirmed);
    report.metrics.push(
        metric(Family::Time, "tuned", "The best tile against the usual one, measured again", confirmed, "×")
            .higher()
            .baseline(tuned.claimed)
            .interval(median_interval(&tuned.confirmed, LEVEL, &mut cx.rng("tuned")))
            .measured(tuned.confirmed.clone())
            .help("The baseline is what the search had found for the same tile: the winner of a race is lucky, too."),
    );
    report.metrics.push(
        metric(Family::Time, "tune_ms", "The search itself", tuned.spent, "ms").lower().measured(vec![tuned.spent]),
    );
    let step = median(&times.steps[2]);
    let saves = step - step / confirmed;
    let paid = if saves > 0.0 && tuned.winner > 0 {
        format!("It has paid after {} runs.", thousands((tuned.spent / saves).ceil() as usize))
    } else {
        "It never pays.".into()
    };
    report.notes.push(format!(
        "Tiles of {rows} × {columns} won: {:.2} times as fast as the usual ones in the search, {confirmed:.2} times when measured again. {paid}",
        tuned.claimed
    ));
}

pub(super) fn notes(params: &Params, yours: &Program) -> Vec<String> {
    let mut notes = Vec::new();
    let counts = yours.counts;
    if params.plan == Strategy::None {
        notes.push(format!(
            "Without a plan all {} results lie side by side, though at most {} is needed at once.",
            yours.buffers.len(),
            bytes(counts.bound)
        ));
    } else if counts.arena > counts.bound {
        notes.push(format!(
            "The plan takes {}; {} is needed at once. The rest is lost in gaps.",
            bytes(counts.arena),
            bytes(counts.bound)
        ));
    }
    if params.model == Model::LmDecode && params.length > 255 {
        notes.push("The model's context is 256 tokens: 255 of them lie before the one that is read.".into());
    }
    if params.order != lab_kit::graph::Order::Given && params.model != Model::Heads {
        notes.push(
            "This network is nearly a chain: its kernels have hardly any other order. Try attention head by head."
                .into(),
        );
    }
    notes
}
