//! A run on the second problem.

use lab_api::{Axis, ChartBody, Family, LabError, Metric, Report};
use lab_kit::{
    Context,
    report::{MetricExt, metric, thousands},
    search::{Done, Log, Reached, rungs, successive_halving},
};

use super::{
    Method, Params,
    figures::{self, chart, line},
    policy::{BITS, Model, Policies, Policy, by_width, packed_in, swap},
    schedule::{self, Trials, budget, winner},
    summary,
    training_run::mean,
};

/// Windows that tell what a matrix alone costs, and those that judge, at most.
const ALONE: usize = 4;
const JUDGING: usize = 24;
/// Children of a generation.
const CHILDREN: usize = 8;
/// Sums of a model in FP32, in another order.
const SUMS: &str = "sums in FP32 differ in their last bits between devices, and a swap may be taken or left by them";

/// What an evolution led to.
pub(crate) struct Evolved {
    pub(super) log: Log,
    /// The last parent.
    pub(super) parent: usize,
    pub(super) accepted: usize,
    /// Loss above FP32 of the parent after each generation.
    pub(super) losses: Vec<f64>,
}

// ANCHOR: evolve
/// Swaps from the best so far: eight children on a few windows, the better of them on more, the best against its parent on all of
/// these (after EvoPress, Sieberling et al., 2025, arXiv:2410.14649).
pub(super) async fn evolve(policies: &mut Policies<'_>, budget: f64, cx: &Context) -> Result<Evolved, LabError> {
    let last = (policies.model.choosing.len() / 3).max(1);
    let mut rungs = rungs(3, last, 3);
    rungs.dedup();
    let mut rng = cx.rng("evolution");
    let mut found = Evolved { log: Log::default(), parent: 0, accepted: 0, losses: vec![] };
    let first = policies.advance(0, last, cx).await?;
    found.log.add(0, rungs.len() - 1, first);
    while found.log.spent() < budget {
        let base = policies.candidates.len();
        for _ in 0..CHILDREN {
            let child = swap(&policies.candidates[found.parent], &policies.model.bytes, policies.budget, &mut rng);
            policies.add(child);
        }
        let advance = async |trial: usize, to: usize| policies.advance(trial, to, cx).await;
        let born = successive_halving(base..base + CHILDREN, &rungs, 3, advance).await?;
        for one in &born.reached {
            found.log.add(one.trial, one.rung, Done { score: one.score, cost: one.cost });
        }
        if let Some(best) = born.best(rungs.len() - 1)
            && best.score < policies.above(found.parent, last)
        {
            found.parent = best.trial;
            found.accepted += 1;
        }
        found.losses.push(policies.above(found.parent, last));
        cx.progress(
            &format!("{} swaps tried", policies.candidates.len() - 1),
            0.5 + 0.2 * (found.log.spent() / budget).min(1.0),
        );
    }
    Ok(found)
}
// ANCHOR_END: evolve

/// What each matrix loses alone at 2 bits, in nats above FP32, on the first windows.
pub(super) async fn alone(model: &Model, windows: usize, cx: &Context) -> Result<Vec<f64>, LabError> {
    let windows = &model.choosing[..windows.min(model.choosing.len())];
    let fp32 = mean(&model.losses(None, windows, cx).await?);
    let mut all = Vec::new();
    for (matrix, name) in model.names.iter().enumerate() {
        cx.progress(name, 0.1 + 0.3 * matrix as f64 / model.names.len() as f64);
        all.push(mean(&model.alone(matrix, 0, windows, cx).await?) - fp32);
    }
    Ok(all)
}

/// Loss above FP32 on the text that judges, window by window.
pub(super) async fn judge(model: &Model, policy: &Policy, fp32: &[f64], cx: &Context) -> Result<Vec<f64>, LabError> {
    let losses = model.losses(Some(policy), &model.judging, cx).await?;
    Ok(losses.iter().zip(fp32).map(|(loss, fp32)| loss - fp32).collect())
}

fn nats(id: &str, label: &str, value: f64, within: f64) -> Metric {
    Metric {
        kind: lab_api::Kind::Trained,
        ..metric(Family::Quality, id, label, value, "nats").lower().exact(within, SUMS)
    }
}

pub(super) async fn run(params: &Params, cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    report.metrics.extend(summary::counted(params));
    cx.publish(&report)?;
    cx.progress("Loading", 0.0);
    let model = Model::load(params.grid, params.windows as usize, JUDGING.min(params.windows as usize), cx).await?;
    let bytes = model.budget(f64::from(params.bytes));
    let [two, three, four] = [0, 1, 2].map(|width| model.bytes_of(&model.uniform(width)) as f64);
    let began = cx.now_ms();
    let single = alone(&model, ALONE.min(params.windows as usize / 3).max(1), cx).await?;
    let first = packed_in(&by_width(&single, params.grid), &model, bytes)?;
    let mut policies = Policies::around(first.clone(), &model, bytes, cx).await?;
    let (best, log, accepted) = if params.method == Method::Evolution {
        let found = evolve(&mut policies, budget(params), cx).await?;
        (found.parent, found.log, Some(found.accepted))
    } else {
        let mut trials = Trials::Policies(policies);
        let log = schedule::run(params.method, params, &mut trials, cx).await?;
        let Reached { trial, .. } = winner(&log, params.rungs as usize)?;
        let Trials::Policies(searched) = trials else {
            return Err(LabError::Engine { why: "the policies became trainings".into() });
        };
        policies = searched;
        (trial, log, None)
    };
    let ms = cx.now_ms() - began;
    cx.progress("Judging on unseen text", 0.75);
    let fp32 = model.losses(None, &model.judging, cx).await?;
    let found = policies.candidates[best].clone();
    let mut test = Vec::new();
    for policy in [&model.uniform(0), &model.uniform(1), &first, &found] {
        test.push(mean(&judge(&model, policy, &fp32, cx).await?));
    }
    let seen = policies.losses[best].len();
    let chosen = policies.above(best, seen);
    if policies.losses[0].len() < seen {
        policies.advance(0, seen, cx).await?;
    }
    let kib = |bytes: f64| bytes / 1024.0;
    report.metrics.extend([
        nats("policy_test", "Found: loss above FP32, unseen text", test[3], 0.2).baseline(test[2]).help("The baseline is what single losses lead to, with the same bytes."),
        nats("policy_chosen", "Found: loss above FP32, text that chooses", chosen, 0.2)
            .baseline(policies.above(0, seen))
            .help("On the windows that it was chosen by. The baseline is what single losses lead to, on the same."),
        nats("policy_two", "2 bits everywhere: loss above FP32, unseen text", test[0], 0.05),
        nats("policy_three", "3 bits everywhere: loss above FP32, unseen text", test[1], 0.05),
        nats("policy_sum", "2 bits: sum of what each matrix loses alone", single.iter().sum(), 0.05)
            .help("On the first windows of the text that chooses. Were matrices independent, it would be the loss of 2 bits everywhere."),
        metric(Family::Memory, "policy_bytes", "Bytes of the policy", kib(model.bytes_of(&found) as f64), "KiB")
            .lower()
            .baseline(kib(three))
            .exact(kib(four - two), "a swap may be taken or left")
            .help(&format!("Allowed: {:.1} KiB, between {:.1} at 2 bits and {:.1} at 4. The baseline is 3 bits everywhere.", kib(bytes as f64), kib(two), kib(four))),
        metric(Family::Utilization, "policy_windows", "Windows read in the search", log.spent() * model.choosing.len() as f64, "windows")
            .lower()
            .exact(1e9, SUMS)
            .help("Beside those that tell what a matrix alone costs."),
        metric(Family::Time, "policy_s", "The search", ms / 1e3, "s").lower().measured(vec![ms / 1e3]),
        metric(Family::Scale, "policy_trials", "Policies tried", log.trials() as f64, "policies").higher().exact(1e9, SUMS),
    ]);
    report.metrics.extend(paired(&policies, best));
    if let Some(accepted) = accepted {
        report.notes.push(format!("Of {} swaps {accepted} were taken.", policies.candidates.len() - 1));
    }
    report.notes.push(format!("Bytes allowed: {}; taken: {}.", thousands(bytes), thousands(model.bytes_of(&found))));
    report.charts.push(figures::policy(&found, &model));
    report.charts.push(windows(&policies, best));
    report.charts.push(chart(
        "single",
        "What does each matrix cost alone?",
        "Loss above FP32 if this matrix alone has 2 bits, in the order of the layers.",
        (Axis::linear("Matrix"), Axis::linear("Loss above FP32 (nats)")),
        ChartBody::Bar {
            categories: model.names.iter().map(|name| short(name)).collect(),
            series: vec![lab_api::BarSeries { name: format!("{} bits", BITS[0]), values: single, intervals: vec![] }],
        },
    ));
    cx.progress("Done", 1.0);
    Ok(report)
}

/// `0.q_proj`.
pub(super) fn short(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    format!("{}.{}", parts.get(2).unwrap_or(&""), parts.get(4).unwrap_or(&"").trim_end_matches("_proj"))
}

/// How far windows scatter, and how far the difference of two policies on the same windows does.
fn paired(policies: &Policies<'_>, best: usize) -> Vec<Metric> {
    let other =
        if best == 0 { policies.losses.iter().skip(1).position(|all| all.len() > 3).map_or(0, |i| i + 1) } else { 0 };
    let (a, b) = (&policies.losses[best], &policies.losses[other]);
    let deviation = |values: &[f64]| {
        let middle = mean(values);
        (values.iter().map(|x| (x - middle).powi(2)).sum::<f64>() / (values.len().max(2) - 1) as f64).sqrt()
    };
    let apart: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    vec![
        nats("policy_scatter", "From window to window: difference of two policies", deviation(&apart), 1.0)
            .baseline(deviation(a))
            .help(
                "Standard deviation of the difference on the same windows. The baseline is that of one policy's loss.",
            ),
    ]
}

/// Candidates by the windows they were judged by.
fn windows(policies: &Policies<'_>, best: usize) -> lab_api::Chart {
    let dot = |trial: usize| [policies.losses[trial].len() as f64, policies.above(trial, policies.losses[trial].len())];
    let judged = |trial: &usize| !policies.losses[*trial].is_empty() && *trial != best && *trial > 0;
    let cut = (0..policies.candidates.len()).filter(judged).map(dot).collect();
    let mut series = vec![line("Cut", cut), line("What single losses lead to", vec![dot(0)])];
    series.push(line("Found", vec![dot(best)]));
    series.retain(|one| !one.points.is_empty());
    chart(
        "windows",
        "How much text did each policy get?",
        "Loss above FP32 on the windows that a policy was judged by. All are judged by the same windows, so heights over one place may be compared.",
        (Axis::linear("Windows"), Axis::linear("Loss above FP32 (nats)")),
        ChartBody::Scatter { series },
    )
}
