//! Policies of bits in two grids: what single losses lead to, what is drawn, what swaps find, and what is left on unseen text.

use std::rc::Rc;

use lab_api::{Axis, ChartBody, Family, LabError, Metric, Report};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    rng,
    search::{knapsack, sweep},
    testing::{FakeClock, context_with, ready},
};

use super::{
    Grid,
    figures::{self, chart, line},
    policy::{Model, Policies, Policy, by_width, packed_in, swap},
    policy_run::{alone, evolve, judge},
    study::{deviation, number, two},
    training_run::mean,
};

/// Windows that choose, that tell what a matrix alone costs, and that judge.
const CHOOSING: usize = 54;
const ALONE: usize = 6;
const JUDGING: usize = 32;
/// What an evolution may read, in whole judgements.
const BUDGET: f64 = 12.0;
const ASSETS: [&str; 4] =
    ["language/lm.safetensors", "corpus/tokenizer.json", "corpus/validation.txt.gz", "corpus/test.txt.gz"];
/// Policies that are drawn at random within the bytes.
const RANDOM: usize = 4;

/// What one grid gave.
struct Found {
    metrics: Vec<Metric>,
    charts: Vec<lab_api::Chart>,
    swaps: Vec<[f64; 2]>,
}

pub(super) fn run(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("Two grids", 0.72);
    let grids = [(Grid::Symmetric, "symmetric"), (Grid::Affine, "affine")];
    let found = two(2, |i, _| ready(one(grids[i].0, grids[i].1)))?;
    let mut series = Vec::new();
    for ((_, name), one) in grids.iter().zip(found) {
        report.metrics.extend(one.metrics);
        report.charts.extend(one.charts);
        series.push(line(&format!("{name} grid"), one.swaps));
    }
    report.charts.push(chart(
        "swaps",
        "What do swaps find that single losses do not know?",
        "Loss above FP32 of the best policy, on the first 18 windows of the text that chooses, by the windows that were read. Both begin at what single losses lead to, at a quarter of the way from 2 bits to 4.",
        (Axis::linear("Windows read"), Axis { min: Some(0.0), ..Axis::linear("Loss above FP32 (nats)") }),
        ChartBody::Line { series },
    ));
    Ok(())
}

fn nats(id: &str, label: &str, value: f64) -> Metric {
    number(Family::Quality, id, label, value, "nats").lower()
}

async fn one(grid: Grid, name: &str) -> Result<Found, LabError> {
    let cx = context_with(Rc::new(FakeClock::real()), &ASSETS);
    let model = Model::load(grid, CHOOSING, JUDGING, &cx).await?;
    let mut metrics = Vec::new();
    let single = alone(&model, ALONE, &cx).await?;
    let loss = by_width(&single, grid);
    let fp32 = model.losses(None, &model.judging, &cx).await?;
    let id = |what: &str| format!("{name}_{what}");
    let say = |what: &str| format!("{what}, {name} grid: loss above FP32, unseen text");
    let mut at = Vec::new();
    for (width, bits) in [(0, 2), (1, 3), (2, 4)] {
        let policy = model.uniform(width);
        let test = mean(&judge(&model, &policy, &fp32, &cx).await?);
        at.push(test);
        metrics.push(nats(&id(&format!("uniform_{bits}")), &say(&format!("{bits} bits everywhere")), test));
        let kib = model.bytes_of(&policy) as f64 / 1024.0;
        metrics.push(
            metric(
                Family::Memory,
                &id(&format!("bytes_{bits}")),
                &format!("{bits} bits everywhere, {name} grid"),
                kib,
                "KiB",
            )
            .lower()
            .exact(0.0, "counted"),
        );
    }
    let windows = &model.choosing[..ALONE];
    let base = mean(&model.losses(None, windows, &cx).await?);
    let together = mean(&model.losses(Some(&model.uniform(0)), windows, &cx).await?) - base;
    metrics.push(
        nats(
            &id("sum"),
            &format!("2 bits, {name} grid: sum of what each matrix loses alone"),
            single.iter().sum::<f64>(),
        )
        .baseline(together),
    );
    let most = single.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    metrics.push(nats(&id("most"), &format!("2 bits, {name} grid: the most that a matrix loses alone"), most));
    metrics.push(nats(
        &id("least"),
        &format!("2 bits, {name} grid: the median of what a matrix loses alone"),
        lab_kit::stats::median(&single),
    ));
    let mut firsts = Vec::new();
    for percent in [12.5, 25.0, 37.5, 50.0] {
        let budget = model.budget(percent);
        let policy = packed_in(&loss, &model, budget)?;
        let test = mean(&judge(&model, &policy, &fp32, &cx).await?);
        let words = format!("Knapsack at {percent} % of the way");
        metrics.push(nats(&id(&format!("knapsack_{}", (percent * 10.0) as u32)), &say(&words), test));
        firsts.push(policy);
        if percent == 25.0 {
            let sum = |policy: &Policy| policy.iter().zip(&loss).map(|(width, loss)| loss[*width]).sum::<f64>();
            if let (Some(exact), Some(swept)) =
                (knapsack(&loss, &model.bytes, budget), sweep(&loss, &model.bytes, budget))
            {
                metrics.push(
                    nats(
                        &id("sweep"),
                        &format!("By a price for bytes, {name} grid: sum of single losses"),
                        sum(&swept),
                    )
                    .baseline(sum(&exact)),
                );
            }
        }
    }
    // At the bytes of 3 bits everywhere: on the text that chooses, and on unseen text.
    let three = model.bytes_of(&model.uniform(1));
    let level = packed_in(&loss, &model, three)?;
    let seen = model.losses(None, &model.choosing, &cx).await?;
    for (what, words, policy) in
        [("level", "Knapsack", &level), ("level_uniform", "3 bits everywhere", &model.uniform(1))]
    {
        let choosing = mean(&model.losses(Some(policy), &model.choosing, &cx).await?) - mean(&seen);
        let test = judge(&model, policy, &fp32, &cx).await?;
        metrics.push(nats(
            &id(&format!("{what}_chosen")),
            &format!("{words} at the bytes of 3 bits, {name} grid: text that chooses"),
            choosing,
        ));
        metrics.push(nats(&id(&format!("{what}_test")), &say(&format!("{words} at the bytes of 3 bits")), mean(&test)));
    }
    let budget = model.budget(25.0);
    let mut random = rng(0, "random policies");
    let mut drawn = Vec::new();
    for _ in 0..RANDOM {
        let mut policy = model.uniform(0);
        for _ in 0..200 {
            policy = swap(&policy, &model.bytes, budget, &mut random);
        }
        drawn.push(mean(&judge(&model, &policy, &fp32, &cx).await?));
    }
    drawn.sort_by(f64::total_cmp);
    metrics.push(nats(&id("random_best"), &say("Best of four random policies at 25 %"), drawn[0]));
    metrics.push(nats(&id("random_worst"), &say("Worst of four random policies at 25 %"), drawn[RANDOM - 1]));
    for (what, words, backwards) in
        [("front", "First layers at 3 bits, at 25 %", false), ("back", "Last layers at 3 bits, at 25 %", true)]
    {
        let test = mean(&judge(&model, &filled(&model, budget, backwards), &fp32, &cx).await?);
        metrics.push(nats(&id(what), &say(words), test));
    }
    let mut policies = Policies::around(firsts[1].clone(), &model, budget, &cx).await?;
    let evolved = evolve(&mut policies, BUDGET, &cx).await?;
    let found = policies.candidates[evolved.parent].clone();
    let last = CHOOSING / 3;
    let before = judge(&model, &firsts[1], &fp32, &cx).await?;
    let after = judge(&model, &found, &fp32, &cx).await?;
    let sum = |policy: &Policy| policy.iter().zip(&loss).map(|(width, loss)| loss[*width]).sum::<f64>();
    let gain: Vec<f64> = before.iter().zip(&after).map(|(a, b)| a - b).collect();
    let error = deviation(&gain) / (gain.len() as f64).sqrt();
    let gained = mean(&gain);
    metrics.extend([
        nats(
            &id("evolved_chosen"),
            &format!("After swaps, {name} grid: text that chooses"),
            policies.above(evolved.parent, last),
        )
        .baseline(policies.above(0, last)),
        nats(&id("evolved_test"), &say("After swaps, at 25 %"), mean(&after)).baseline(mean(&before)),
        number(
            Family::Quality,
            &id("evolved_gain"),
            &format!("Swaps against the knapsack, {name} grid, unseen text"),
            gained,
            "nats",
        )
        .higher()
        .interval(lab_api::Interval { low: gained - 1.96 * error, high: gained + 1.96 * error, level: 0.95 }),
        nats(&id("evolved_sum"), &format!("After swaps, {name} grid: sum of single losses"), sum(&found))
            .baseline(sum(&firsts[1])),
        number(
            Family::Scale,
            &id("tried"),
            &format!("Swaps tried, {name} grid"),
            (policies.candidates.len() - 1) as f64,
            "swaps",
        ),
        number(Family::Scale, &id("accepted"), &format!("Swaps taken, {name} grid"), evolved.accepted as f64, "swaps"),
        number(
            Family::Quality,
            &id("scatter"),
            &format!("From window to window, {name} grid: difference of two policies"),
            deviation(&gain),
            "nats",
        )
        .baseline(deviation(&model.losses(Some(&found), &model.judging, &cx).await?)),
    ]);
    let reads = evolved.log.spent() * CHOOSING as f64 / evolved.losses.len().max(1) as f64;
    let mut swaps = vec![[0.0, policies.above(0, last)]];
    swaps.extend(evolved.losses.iter().enumerate().map(|(i, loss)| [(i + 1) as f64 * reads, *loss]));
    let mut charts = Vec::new();
    if grid == Grid::Symmetric {
        let mut one = figures::policy(&found, &model);
        one.caption = "Bits of each matrix after swaps, at a quarter of the way from 2 bits to 4, by layer (down) and kind (across). Symmetric grid.".into();
        charts.push(one);
    }
    Ok(Found { metrics, charts, swaps })
}

/// Matrices in their order from 2 bits to 3, until the bytes are used up.
fn filled(model: &Model, budget: usize, backwards: bool) -> Policy {
    let mut policy = model.uniform(0);
    let count = policy.len();
    for i in 0..count {
        let at = if backwards { count - 1 - i } else { i };
        policy[at] = 1;
        if model.bytes_of(&policy) > budget {
            policy[at] = 0;
            break;
        }
    }
    policy
}
