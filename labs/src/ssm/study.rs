//! Sizes of the state, longer trainings, what a token may choose, hybrids, no convolution, copying, lengths that were never trained,
//! and text, over three seeds; times to 8,192 tokens.

use lab_api::{Family, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    mixing::{Mix, Rule, Task, associative},
    report::{MetricExt, metric, thousands},
    stats::{median, median_interval},
};

use super::{
    Params, TaskChoice,
    arms::{self, Arm, KINDS, Raced, arm},
    figures, summary, timing,
};

const LEVEL: f64 = 0.95;
/// Of what is trained.
const SEEDS: u64 = 3;
const STEPS: u32 = 400;
const RATE: f64 = 0.04;

fn over_seeds(id: &str, label: &str, values: &[f64], unit: &str, cx: &Context) -> Metric {
    let mut all = metric(Family::Quality, id, label, median(values), unit)
        .interval(median_interval(values, LEVEL, &mut cx.rng(id)))
        .measured(values.to_vec());
    all.kind = Kind::Trained;
    if unit == "nats" { all.lower() } else { all.higher() }
}

/// A line of a chart: what is recalled, by pairs.
type Line = (String, Vec<(usize, f64)>);

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    let seed = cx.seed;
    recall(&mut report, cx).await?;
    others(&mut report, cx).await?;
    lengths(&mut report, cx).await?;
    cx.seed = seed;
    held(&mut report, cx);
    times(&mut report, cx).await?;
    Ok(report)
}

/// Trains an arm with each seed.
async fn each(arm: &Arm, task: &[Task; 2], params: &Params, cx: &mut Context) -> Result<Vec<Raced>, LabError> {
    let mut all = Vec::new();
    for seed in 0..SEEDS {
        cx.seed = seed;
        all.push(arms::train(arm.clone(), task, params, cx).await?);
    }
    Ok(all)
}

async fn recall(report: &mut Report, cx: &mut Context) -> Result<(), LabError> {
    use Mix::{Attention, Invariant, Selective, Steady, Sum};
    let usual = Params { steps: STEPS, rate: RATE, ..Params::default() };
    let (longer, bare) = (Params { steps: 3 * STEPS, ..usual.clone() }, Params { convolution: 0, ..usual.clone() });
    let arms = [
        (arm("attention", "Attention", vec![Attention], 8), &usual),
        (arm("invariant_8", "Fixed (S4D), N 8", vec![Invariant], 8), &usual),
        (arm("invariant_32", "Fixed (S4D), N 32", vec![Invariant], 32), &usual),
        (arm("selective_4", "Selective, N 4", vec![Selective], 4), &usual),
        (arm("selective_8", "Selective, N 8", vec![Selective], 8), &usual),
        (arm("selective_16", "Selective, N 16", vec![Selective], 16), &usual),
        (arm("selective_32", "Selective, N 32", vec![Selective], 32), &usual),
        (arm("longer_4", "Selective, N 4, three times the steps", vec![Selective], 4), &longer),
        (arm("longer_8", "Selective, N 8, three times the steps", vec![Selective], 8), &longer),
        (arm("sum_8", "Sum, N 8", vec![Sum], 8), &usual),
        (arm("steady_8", "All fade alike, N 8", vec![Steady], 8), &usual),
        (arm("bare_attention", "Attention without convolution", vec![Attention], 8), &bare),
        (arm("bare_selective", "Selective, N 8, without convolution", vec![Selective], 8), &bare),
        (arm("two_selective", "Selective twice, N 8", vec![Selective; 2], 8), &usual),
        (arm("first", "Attention, then selective, N 8", vec![Attention, Selective], 8), &usual),
        (arm("last", "Selective, then attention, N 8", vec![Selective, Attention], 8), &usual),
    ];
    let task = arms::task(&usual, cx).await?;
    let mut lines: Vec<Line> = Vec::new();
    for (i, (arm, params)) in arms.iter().enumerate() {
        cx.progress(&format!("Recall: {}", arm.name), 0.6 * i as f64 / arms.len() as f64);
        let raced = each(arm, &task, params, cx).await?;
        let mut line = Vec::new();
        for (place, (pairs, _)) in raced[0].right.iter().enumerate() {
            let values: Vec<f64> = raced.iter().map(|one| one.right[place].1).collect();
            let (id, label) = (
                format!("recall_{}_{pairs}", arm.id),
                format!("{}: recalled of {}", arm.name, summary::of_pairs(*pairs)),
            );
            report.metrics.push(over_seeds(&id, &label, &values, "%", cx));
            line.push((*pairs, median(&values)));
        }
        if ["attention", "invariant_8", "selective_4", "selective_8", "selective_16", "selective_32"].contains(&arm.id)
        {
            lines.push((arm.name.clone(), line));
        }
        if arm.id == "attention" || arm.id == "selective_8" || arm.id == "selective_32" {
            // The first step from which on the loss stays below two thirds of that of guessing.
            let begin = |one: &Raced| {
                let means: Vec<f64> = one.losses.windows(10).map(|part| part.iter().sum::<f64>() / 10.0).collect();
                means.iter().rposition(|loss| *loss > (KINDS as f64).ln() * 2.0 / 3.0).unwrap_or(0) as f64
            };
            let values: Vec<f64> = raced.iter().map(begin).collect();
            report.metrics.push(over_seeds(
                &format!("begins_{}", arm.id),
                &format!("{}: last step with a loss above two thirds of guessing", arm.name),
                &values,
                "steps",
                cx,
            ));
        }
    }
    report.charts.push(figures::by_pairs(&lines));
    Ok(())
}

/// Copying and text.
async fn others(report: &mut Report, cx: &mut Context) -> Result<(), LabError> {
    use Mix::{Attention, Invariant, Selective};
    let two = |id: &'static str, name: &str, layers: [Mix; 2], n: usize| arm(id, name, layers.to_vec(), n);
    for (id, choice, words) in
        [("copy", TaskChoice::Copy, "from any place"), ("fixed", TaskChoice::Fixed, "from fixed places")]
    {
        let params = Params { task: choice, steps: 800, rate: 0.02, ..Params::default() };
        let task = arms::task(&params, cx).await?;
        for arm in [
            two("attention", "Attention twice", [Attention; 2], 8),
            two("selective", "Selective twice", [Selective; 2], 8),
            two("invariant", "Fixed (S4D) twice", [Invariant; 2], 8),
        ] {
            cx.progress(&format!("Copying: {}", arm.name), 0.65);
            let raced = each(&arm, &task, &params, cx).await?;
            let values: Vec<f64> = raced.iter().map(|one| one.right[0].1).collect();
            let label = format!("{}: four tokens copied {words}", arm.name);
            report.metrics.push(over_seeds(&format!("{id}_{}", arm.id), &label, &values, "%", cx));
        }
    }
    let params = Params { task: TaskChoice::Text, steps: 300, rate: 0.02, ..Params::default() };
    let task = arms::task(&params, cx).await?;
    for arm in [
        two("attention", "Attention twice", [Attention; 2], 16),
        two("selective", "Selective twice", [Selective; 2], 16),
        two("hybrid", "Selective, then attention", [Selective, Attention], 16),
        two("invariant", "Fixed (S4D) twice", [Invariant; 2], 16),
    ] {
        cx.progress(&format!("Text: {}", arm.name), 0.75);
        let losses: Vec<f64> = each(&arm, &task, &params, cx).await?.iter().map(|one| one.loss).collect();
        let label = format!("{}: loss of a letter", arm.name);
        report.metrics.push(over_seeds(&format!("text_{}", arm.id), &label, &losses, "nats", cx));
    }
    Ok(())
}

/// Trained on 32 tokens, asked at more.
async fn lengths(report: &mut Report, cx: &mut Context) -> Result<(), LabError> {
    let params = Params { task: TaskChoice::Induction, steps: STEPS, rate: RATE, ..Params::default() };
    let task = arms::task(&params, cx).await?;
    for arm in [
        arm("attention", "Attention", vec![Mix::Attention], 8),
        arm("selective", "Selective, N 8", vec![Mix::Selective], 8),
        arm("steady", "All fade alike, N 8", vec![Mix::Steady], 8),
    ] {
        cx.progress(&format!("Induction: {}", arm.name), 0.85);
        let raced = each(&arm, &task, &params, cx).await?;
        for tokens in [32, 128, 512] {
            let mut values = Vec::new();
            for one in &raced {
                let (right, _) = arms::judge(one, &Task::Induction { tokens, kinds: KINDS }, 6, cx).await?;
                values.push(right[0].1);
            }
            let label = format!("{}: induction over {tokens} tokens, trained on 32", arm.name);
            report.metrics.push(over_seeds(&format!("induction_{}_{tokens}", arm.id), &label, &values, "%", cx));
        }
    }
    Ok(())
}

/// What untrained states hold.
fn held(report: &mut Report, cx: &Context) {
    for n in [4, 8, 16, 32] {
        for pairs in [4, 8, 16] {
            let share = 100.0 * associative(Rule::Sum, n, pairs, false, 200, &mut cx.rng("held"));
            let label = format!("Untrained state, N {n}: found of {pairs} pairs under random keys");
            report.metrics.push(
                metric(Family::Scale, &format!("held_{n}_{pairs}"), &label, share, "%")
                    .higher()
                    .exact(1.0, "sums differ in their last bits between devices"),
            );
        }
    }
}

async fn times(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("Timing", 0.92);
    let params = Params::default();
    let lengths = [64, 128, 256, 512, 1024, 2048, 4096, 8192];
    let times = timing::of(&lengths, &params, 5, cx).await?;
    let ids = ["attention", "chunks", "steps", "loop", "joined", "fft"];
    for length in lengths {
        let words = thousands(length);
        for (mixer, (id, name)) in ids.iter().zip(timing::NAMES).enumerate() {
            let us: Vec<f64> = times.of(mixer, length).iter().map(|ms| 1000.0 * ms / length as f64).collect();
            report.metrics.push(
                metric(
                    Family::Time,
                    &format!("us_{id}_{length}"),
                    &format!("{name}: a token of {words}"),
                    median(&us),
                    "µs",
                )
                .lower()
                .interval(median_interval(&us, LEVEL, &mut cx.rng(id)))
                .measured(us),
            );
        }
        let mut ratio = |id: String, label: String, samples: Vec<f64>| {
            report
                .metrics
                .push(metric(Family::Time, &id, &label, median(&samples), "×").baseline(1.0).measured(samples));
        };
        ratio(
            format!("gain_{length}"),
            format!("State space in chunks against attention in tiles, {words} tokens"),
            times.ratios(timing::ATTENTION, timing::CHUNKS, length),
        );
        ratio(
            format!("model_gain_{length}"),
            format!("The same in a whole model, {words} tokens"),
            times.model_ratios(length),
        );
        ratio(
            format!("scan_gain_{length}"),
            format!("Scan joined in pairs against the loop, {words} tokens"),
            times.ratios(timing::LOOP, timing::JOINED, length),
        );
        let decode = times.attend(length).iter().zip(times.step()).map(|(a, b)| a / b.max(1e-9)).collect();
        ratio(format!("decode_gain_{length}"), format!("One more token after {words}: state against cache"), decode);
    }
    for chunk in [8, 16, 64, 128, 256] {
        let found = timing::of(&[2048], &Params { chunk, ..Params::default() }, 3, cx).await?;
        let us: Vec<f64> = found.of(timing::CHUNKS, 2048).iter().map(|ms| 1000.0 * ms / 2048.0).collect();
        report.metrics.push(
            metric(
                Family::Time,
                &format!("us_chunk_{chunk}"),
                &format!("Chunks of {chunk}: a token of 2,048"),
                median(&us),
                "µs",
            )
            .lower()
            .measured(us),
        );
    }
    report.charts.extend(figures::times(&times));
    report.charts.push(figures::bytes(8192));
    let kept = ["crossing", "gflops"];
    report.metrics.extend(summary::times(&times, cx).into_iter().filter(|one| kept.contains(&one.id.as_str())));
    Ok(())
}
