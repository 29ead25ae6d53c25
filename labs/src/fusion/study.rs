//! Chains over sizes, lengths, blocks and lanes; pairs over sizes; what may lose; the language model; lines of source.

use std::hint::black_box;

use lab_api::{Family, LabError, Metric, Report};
use lab_kit::{
    Context,
    fusion::{ChainStep, LANES, blocked, fused, separate},
    measure::{IN_MEMORY_BYTES, bandwidth, in_turns, peak_bytes},
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{Neighbours, Operation, Params, burn_arms, figures, network, study_losing, subject, summary, timing};

const COUNTED: &str = "counted";
const STEPS: [(ChainStep, &str); 2] = [(ChainStep::Cheap, "cheap"), (ChainStep::Exp, "exp")];

pub(super) fn exact(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    metric(family, id, label, value, unit).exact(0.0, COUNTED)
}

pub(super) fn ns(id: &str, label: &str, samples: &[f64], cx: &Context) -> Metric {
    metric(Family::Time, id, label, median(samples), "ns")
        .lower()
        .interval(median_interval(samples, 0.95, &mut cx.rng(id)))
        .measured(samples.to_vec())
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    let params = Params { numbers: 22, ..Params::default() };
    model(&mut report)?;
    sources(&mut report);
    chains(&mut report, &params, cx).await?;
    pairs(&mut report, &params, cx).await?;
    study_losing::run(&mut report, cx).await?;
    report.metrics.extend(burn_arms::run(&Params::default(), 15, cx).await?.into_iter().map(|mut metric| {
        metric.detail = false;
        metric
    }));
    Ok(report)
}

fn model(report: &mut Report) -> Result<(), LabError> {
    let model = network::count()?;
    for (kind, levels) in [("prefill", &model.prefill), ("decode", &model.decode)] {
        for (name, level) in network::LEVELS.iter().zip(levels) {
            let mut add = |family, what: &str, value: f64, unit: &str| {
                let label = format!("{kind}, {name}: {}", what.replace('_', " "));
                report.metrics.push(exact(family, &format!("{kind}_{name}_{what}"), &label, value, unit).lower());
            };
            add(Family::Utilization, "kernels", level.kernels as f64, "");
            add(Family::Scale, "moved", level.moved as f64 / 1e6, "MB");
            add(Family::Memory, "results", level.results as f64 / 1e6, "MB");
        }
    }
    for (kind, count) in ["products", "elementwise", "reductions", "copies"].iter().zip(model.kinds) {
        let label = format!("Reading 128 tokens: {kind}");
        report.metrics.push(exact(Family::Utilization, &format!("prefill_{kind}"), &label, count as f64, ""));
    }
    let weights = model.weights as f64 / 1e6;
    report.metrics.extend([
        exact(Family::Scale, "decode_weights", "Writing a token: weights read", weights, "MB"),
        exact(Family::Scale, "decode_share", "Writing a token: share of activations", model.share(), "%"),
        exact(
            Family::Utilization,
            "decode_merged",
            "Writing a token: kernels, all fusions and merged products",
            model.merged as f64,
            "",
        ),
    ]);
    report.charts.push(figures::model(&model));
    Ok(())
}

const SOURCES: [&str; 3] = [
    include_str!("../../../crates/lab-kernels/src/fusion/pairs.rs"),
    include_str!("../../../crates/lab-kernels/src/fusion/rows.rs"),
    include_str!("../../../crates/lab-kernels/src/fusion/dense.rs"),
];

/// Lines of a function, from its head to its end, without empty ones.
pub(super) fn lines(name: &str) -> usize {
    let head = format!("pub fn {name}(");
    let found = SOURCES.iter().find_map(|text| text.split_once(&head)).and_then(|(_, rest)| rest.split_once("\n}"));
    found.map_or(0, |(body, _)| body.lines().filter(|line| !line.trim().is_empty()).count() + 1)
}

fn sources(report: &mut Report) {
    for name in ["swiglu", "softmax", "rms_norm", "norm", "gelu", "adamw"] {
        let [separate, fused] = ["separate", "fused"].map(|way| lines(&format!("{name}_{way}")) as f64);
        let label = format!("Lines of source: {}, fused", name.replace('_', " "));
        report.metrics.push(exact(Family::Utilization, &format!("lines_{name}"), &label, fused, "").baseline(separate));
    }
}

async fn chains(report: &mut Report, params: &Params, cx: &Context) -> Result<(), LabError> {
    cx.progress("Timing chains", 0.1);
    let sizes: Vec<usize> = (8..=22).step_by(2).map(|power| 1 << power).collect();
    let found = timing::chains(params, &sizes, 15, true, cx).await?;
    for (i, n) in sizes.iter().enumerate() {
        let power = n.ilog2();
        for (s, (_, step)) in STEPS.iter().enumerate() {
            for (arm, (id, name)) in timing::ARM_IDS.iter().zip(timing::ARMS).enumerate() {
                let label = format!("{step}, 2^{power}: {}", name.to_lowercase());
                report.metrics.push(ns(&format!("{step}_{id}_{power}"), &label, &found.ns[i][s][arm], cx));
                if arm > 0 {
                    let id = format!("gain_{step}_{id}_{power}");
                    report.metrics.push(summary::gain(&id, &format!("{label}, gain"), found.gains(i, s, arm), cx));
                }
            }
        }
    }
    report.charts.insert(0, figures::gain(&found, params));
    report.charts.push(figures::arms(&found, params));
    let mut other = figures::arms(&found, &Params { operation: Operation::Exp, ..params.clone() });
    other.id = "arms_exp".into();
    report.charts.push(other);
    roof(report, &found, cx).await?;
    lengths(report, cx).await?;
    blocks(report, cx).await?;
    let lanes = timing::lanes(params, 31, cx).await?;
    for (i, ways) in lanes.iter().enumerate() {
        let name = if i == 0 { "separate".to_owned() } else { LANES[i - 1].to_string() };
        report.metrics.push(ns(&format!("lanes_{name}"), &format!("Eight exponentials, {name}: time"), ways, cx));
        if i > 0 {
            let gains = lanes[0].iter().zip(ways).map(|(a, b)| a / b.max(1e-9)).collect();
            let label = format!("Eight exponentials, {name} side by side: gain");
            report.metrics.push(summary::gain(&format!("lanes_{name}_gain"), &label, gains, cx));
        }
    }
    report.charts.push(figures::lanes(&lanes, params));
    memory(report, cx).await
}

/// Rates of the chain beside what this machine's memory gives.
async fn roof(report: &mut Report, found: &timing::Chains, cx: &Context) -> Result<(), LabError> {
    let roof = bandwidth(cx, IN_MEMORY_BYTES, 1500.0).await?;
    let one = |id: &str, label: &str, value: f64, unit: &str| {
        metric(Family::Utilization, id, label, value, unit).higher().measured(vec![value])
    };
    let last = found.ns.len() - 1;
    report.metrics.push(one("roof", "Bandwidth of memory", roof, "GB/s"));
    for (arm, bytes) in [(0, 64.0), (2, 8.0), (3, 8.0)] {
        let rate = bytes / median(&found.ns[last][0][arm]);
        let (id, name) = (timing::ARM_IDS[arm], timing::ARMS[arm]);
        report.metrics.push(one(&format!("rate_{id}"), &format!("Cheap chain, most numbers: {name}"), rate, "GB/s"));
        let share = 100.0 * rate / roof;
        report.metrics.push(one(&format!("share_{id}"), &format!("Share of the bandwidth: {name}"), share, "%"));
    }
    Ok(())
}

async fn lengths(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    for power in [12_u32, 20] {
        let x = subject::dyadic(1 << power, &mut cx.rng("lengths"));
        let mut y = vec![0.0; 1 << power];
        for (step, name) in STEPS {
            for length in [1, 2, 4, 8, 16] {
                let ms = in_turns(cx, 2, 9, |i| match i {
                    0 => y = separate(step, length, black_box(&x)),
                    _ => fused(step, length, 32, black_box(&x), &mut y),
                })
                .await?;
                let gains = ms[0].iter().zip(&ms[1]).map(|(a, b)| a / b.max(1e-9)).collect();
                let label = format!("{length} × {name} on 2^{power}: gain");
                report.metrics.push(summary::gain(&format!("length_{name}_{length}_{power}"), &label, gains, cx));
            }
        }
    }
    Ok(())
}

/// Sizes of blocks on the most numbers.
const BLOCKS: [usize; 7] = [64, 512, 4096, 32_768, 262_144, 1_048_576, 4_194_304];

async fn blocks(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    let x = subject::dyadic(1 << 22, &mut cx.rng("blocks"));
    let mut y = vec![0.0; x.len()];
    let ms = in_turns(cx, BLOCKS.len(), 9, |i| blocked(ChainStep::Cheap, 8, BLOCKS[i], black_box(&x), &mut y)).await?;
    for (block, ms) in BLOCKS.iter().zip(ms) {
        let each: Vec<f64> = ms.iter().map(|ms| 1e6 * ms / x.len() as f64).collect();
        report.metrics.push(ns(
            &format!("block_{block}"),
            &format!("Separate passes over blocks of {block}"),
            &each,
            cx,
        ));
    }
    Ok(())
}

/// Bytes that live at once in a chain of eight on 2^20 numbers, counted in the allocator.
async fn memory(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    let x = subject::dyadic(1 << 20, &mut cx.rng("memory"));
    let mut y = vec![0.0; x.len()];
    let apart = peak_bytes(cx, async || {
        black_box(separate(ChainStep::Cheap, 8, &x));
        Ok(())
    })
    .await?;
    let joined = peak_bytes(cx, async || {
        fused(ChainStep::Cheap, 8, 32, &x, &mut y);
        Ok(())
    })
    .await?;
    if let (Some(apart), Some(joined)) = (apart.1, joined.1) {
        let mb = |bytes: usize| bytes as f64 / 1e6;
        report.metrics.push(
            metric(Family::Memory, "peak", "Peak of a fused chain on 2^20 numbers", mb(joined), "MB")
                .lower()
                .baseline(mb(apart))
                .measured(vec![mb(joined)])
                .help("Beside input and result; the baseline, separate, holds two results at once, of which one is the answer."),
        );
    }
    Ok(())
}

async fn pairs(report: &mut Report, params: &Params, cx: &Context) -> Result<(), LabError> {
    let mut shown = Vec::new();
    for power in [10, 16, 20, 22] {
        let mut found = Vec::new();
        let mut cases = Vec::new();
        let params = Params { numbers: power, ..params.clone() };
        for which in Neighbours::ALL {
            cx.progress(&format!("Timing pairs: {}, 2^{power}", which.words()), 0.6);
            let mut one = [subject::Case::new(which, &params, cx)];
            let id = which.id();
            let name = which.words();
            if power == 20 {
                let [separate, joined] = one[0].counts();
                let n = one[0].n as f64;
                let deviation = subject::deviation(&mut one[0]);
                let (ways, touches) = (separate.launches as f64, separate.touches as f64);
                report.metrics.extend([
                    exact(
                        Family::Utilization,
                        &format!("{id}_launches"),
                        &format!("{name}: launches"),
                        joined.launches as f64,
                        "",
                    )
                    .lower()
                    .baseline(ways),
                    exact(
                        Family::Scale,
                        &format!("{id}_touches"),
                        &format!("{name}: touches a number"),
                        joined.touches as f64 / n,
                        "",
                    )
                    .lower()
                    .baseline(touches / n),
                    exact(
                        Family::Scale,
                        &format!("{id}_bytes"),
                        &format!("{name}: bytes, separate over fused"),
                        touches / joined.touches as f64,
                        "×",
                    ),
                    exact(
                        Family::Quality,
                        &format!("{id}_deviation"),
                        &format!("{name}: difference of the two ways"),
                        deviation,
                        "ulp",
                    ),
                ]);
            }
            let times = timing::pairs(&mut one, 15, cx).await?.remove(0);
            let gains: Vec<f64> = times[0].iter().zip(&times[1]).map(|(a, b)| a / b.max(1e-9)).collect();
            let label = format!("{name}, 2^{power}: gain");
            report.metrics.push(summary::gain(&format!("{id}_gain_{power}"), &label, gains, cx));
            for (way, ms) in ["separate", "fused"].iter().zip(&times) {
                let each: Vec<f64> = ms.iter().map(|ms| 1e6 * ms / one[0].n as f64).collect();
                report.metrics.push(ns(
                    &format!("{id}_{way}_{power}"),
                    &format!("{name}, 2^{power}, {way}: time a number"),
                    &each,
                    cx,
                ));
            }
            found.push(times);
            // Of the largest only counts are asked for later.
            cases.push(one);
            if power == 22 {
                cases.clear();
            }
        }
        if [10, 20].contains(&power) {
            let cases: Vec<subject::Case> = cases.into_iter().flatten().collect();
            let mut chart = figures::pairs(&params, &cases, &found);
            chart.id = format!("pairs_{power}");
            shown.push(chart);
        }
    }
    report.charts.extend(shown);
    Ok(())
}
