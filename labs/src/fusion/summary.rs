//! The numbers of a run.

use lab_api::{Family, Metric};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{Neighbours, Operation, Params, network::Counted, subject::Case, timing::Chains};

const COUNTED: &str = "counted";

/// A gain with its interval.
pub(super) fn gain(id: &str, label: &str, samples: Vec<f64>, cx: &Context) -> Metric {
    metric(Family::Time, id, label, median(&samples), "×")
        .higher()
        .baseline(1.0)
        .interval(median_interval(&samples, 0.95, &mut cx.rng(id)))
        .measured(samples)
}

/// What is counted.
pub(super) fn counted(params: &Params, cases: &[Case], apart: f64, model: &Counted) -> Vec<Metric> {
    let case = &cases[params.pair as usize];
    let [separate, fused] = case.counts();
    let mb = |touches: usize| 4.0 * touches as f64 / 1e6;
    let name = case.which.words();
    let exact = |family, id: &str, label: &str, value: f64, unit: &str| {
        metric(family, id, label, value, unit).exact(0.0, COUNTED)
    };
    vec![
        exact(Family::Utilization, "launches", &format!("Launches: {name}, fused"), fused.launches as f64, "")
            .lower()
            .baseline(separate.launches as f64),
        exact(Family::Scale, "moved", &format!("Moved: {name}, fused"), mb(fused.touches), "MB")
            .lower()
            .baseline(mb(separate.touches))
            .help("Bytes that the passes read and write, as if nothing stayed in a cache."),
        exact(Family::Memory, "temporaries", "Results between operations", 0.0, "MB")
            .lower()
            .baseline(case.temporaries() as f64 / 1e6)
            .help("The fused pass keeps them in registers, or in one row."),
        metric(Family::Quality, "deviation", &format!("Difference of the two ways: {name}"), apart, "ulp")
            .exact(0.0, "the same additions and multiplications everywhere")
            .help(
                "The largest difference over the largest result, in the spacing of floats at one. Zero: the same bits.",
            ),
        exact(
            Family::Scale,
            "decode_share",
            "Writing a token: share of activations in the bytes moved",
            model.share(),
            "%",
        )
        .help("All others are weights, which no fusion saves."),
        exact(
            Family::Utilization,
            "decode_kernels",
            "Writing a token: kernels, all fusions",
            model.decode[3].kernels as f64,
            "",
        )
        .lower()
        .baseline(model.decode[0].kernels as f64),
        exact(
            Family::Utilization,
            "prefill_kernels",
            "Reading 128 tokens: kernels, all fusions",
            model.prefill[3].kernels as f64,
            "",
        )
        .lower()
        .baseline(model.prefill[0].kernels as f64)
        .detail(),
        exact(
            Family::Scale,
            "prefill_moved",
            "Reading 128 tokens: activations moved, all fusions",
            model.prefill[3].moved as f64 / 1e6,
            "MB",
        )
        .lower()
        .baseline(model.prefill[0].moved as f64 / 1e6)
        .detail(),
    ]
}

/// Time, rate and gain of the chosen pair.
pub(super) fn pair(params: &Params, cases: &[Case], times: &[[Vec<f64>; 2]], cx: &Context) -> Vec<Metric> {
    let at = params.pair as usize;
    let [separate, fused] = &times[at];
    let gains = separate.iter().zip(fused).map(|(a, b)| a / b.max(1e-9)).collect();
    let name = cases[at].which.words();
    let bytes = cases[at].counts().map(|counts| 4.0 * counts.touches as f64);
    let rate = |ms: &[f64], bytes: f64| -> Vec<f64> { ms.iter().map(|ms| bytes / 1e6 / ms.max(1e-9)).collect() };
    let [before, after] = [rate(separate, bytes[0]), rate(fused, bytes[1])];
    let mut all = vec![
        gain("gain", &format!("Gain: {name}, fused"), gains, cx),
        metric(Family::Time, "pair_ms", &format!("Time: {name}, fused"), median(fused), "ms")
            .lower()
            .baseline(median(separate))
            .measured(fused.clone()),
        metric(Family::Utilization, "pair_rate", &format!("Rate of bytes: {name}, fused"), median(&after), "GB/s")
            .higher()
            .baseline(median(&before))
            .measured(after)
            .detail()
            .help("Bytes that the passes read and write over their time. The roof of this processor is in the lab Roofline."),
    ];
    all[0].help = "Time of separate operations over time of the fused pass, round by round.".into();
    all
}

/// Gains of the chain at its ends.
pub(super) fn chains(chains: &Chains, cx: &Context) -> Vec<Metric> {
    let last = chains.sizes.len() - 1;
    let small = chains.sizes.iter().position(|n| *n == 4096).unwrap_or(0);
    vec![
        gain("gain_large", "Cheap chain on the most numbers: gain", chains.gains(last, 0, 3), cx)
            .help("Time with a fresh buffer for each operation over time of the fused loop."),
        gain("gain_small", "Cheap chain on 4,096 numbers: gain", chains.gains(small, 0, 3), cx).detail(),
        gain(
            "gain_blocks",
            "Cheap chain on the most numbers, in blocks and not fused: gain",
            chains.gains(last, 0, 2),
            cx,
        )
        .help("The same separate passes, over a block that stays in the cache, then over the next."),
    ]
}

/// Gains of the exponential chain.
pub(super) fn lanes(times: &[Vec<f64>], cx: &Context) -> Vec<Metric> {
    let over = |i: usize| times[0].iter().zip(&times[i]).map(|(a, b)| a / b.max(1e-9)).collect();
    vec![
        gain("exp_one", "Exponentials fused one by one: gain", over(1), cx)
            .help("On 4,096 numbers. Below 1 the fused loop is slower."),
        gain("exp_all", "Exponentials fused, 32 side by side: gain", over(5), cx),
    ]
}

pub(super) fn notes(params: &Params) -> Vec<String> {
    let mut notes = Vec::new();
    if params.length == 1 && params.pair == Neighbours::Chain {
        notes.push(
            "A chain of one operation has nothing to fuse: both ways launch once and touch each number twice.".into(),
        );
    }
    if params.operation == Operation::Exp && params.pair == Neighbours::Chain && params.lanes.count() < 8 {
        notes.push("Few elements side by side: each operation of the fused loop waits for the one before it.".into());
    }
    if params.row as usize > 1 << params.numbers {
        notes.push("A row is longer than the numbers asked for: softmax and RMSNorm work on one row.".into());
    }
    notes
}
