//! The numbers of a run.

use lab_api::{Family, Metric};
use lab_kit::{
    Context,
    mixing::{Reading, features_for},
    report::{MetricExt, metric, thousands},
    stats::{median, median_interval},
};

use super::{
    Method, Params,
    looks::{Held, KEY, Looked},
    swaps::Swaps,
    timing::{D, Times, model_operations},
};

const SUMS: &str = "sums differ in their last bits between devices";
const COUNTED: &str = "counted";
const LEVEL: f64 = 0.95;
/// Bytes that the language model keeps of a token: keys and values of two heads in four layers.
const CACHED: usize = 2 * 4 * 2 * 32 * 4;

pub(super) fn counted(params: &Params) -> Vec<Metric> {
    let length = params.length as usize;
    let features = match params.method {
        Method::Uniform => 1,
        Method::Taylor => 1 + D + D * D,
        Method::Performer | Method::Learned => params.features as usize,
        Method::Sines => 2 * params.features as usize,
        _ => D,
    };
    // Six heads in each of four layers, sums and totals.
    let state = 4 * 6 * features * (D + 1) * 4;
    let [rest, softmax, linear] = model_operations(length);
    vec![
        metric(Family::Memory, "state_bytes", "State of the whole model", state as f64, "bytes")
            .lower()
            .baseline((length * CACHED) as f64)
            .exact(0.0, COUNTED)
            .help("Sums of features and values in FP32, for all layers and heads, at any length. The baseline is the cache of keys and values at your length."),
        metric(Family::Scale, "model_gain", "Whole model: operations saved", (rest + softmax) / (rest + linear), "×")
            .higher()
            .baseline(1.0)
            .exact(1e-6, COUNTED)
            .help("Operations of the language model a token with softmax over those with a state of D × D numbers, at your length. A bound for what a swap can gain."),
        metric(Family::Scale, "model_even", "Length at which attention is half of the model's operations", rest / (softmax / (length as f64 + 1.0)), "tokens")
            .exact(1.0, COUNTED)
            .detail()
            .help("Below this length the other matrices take more arithmetic than softmax attention."),
    ]
}

pub(super) fn memory(held: &Held) -> Vec<Metric> {
    let pairs = held.pairs[held.at];
    let one = |id: &str, label: &str, rule: usize, twice: bool| {
        let share = |rule: usize| if twice { held.rows[rule].2[held.at] } else { held.rows[rule].1[held.at] };
        metric(Family::Scale, id, label, share(rule), "%").higher().baseline(share(0)).exact(1.0, SUMS)
    };
    vec![
        one("delta_once", &format!("Delta rule: {pairs} pairs, written once"), 2, false)
            .help(&format!("Values found in a state of {KEY} numbers for each of 64 values. The baseline is the plain sum of linear attention.")),
        one("delta_twice", &format!("Delta rule: {pairs} pairs, written twice"), 2, true)
            .help("Each key gets a second value, which is asked for. The baseline is the plain sum."),
        one("softmax_twice", "Softmax, newer pairs preferred, written twice", 4, true).detail(),
    ]
}

pub(super) fn looks(looked: &Looked, params: &Params) -> Vec<Metric> {
    let mut all = vec![
        metric(Family::Scale, "features_needed", "Random features for weights within 10 %", features_for(looked.square, 0.1), "features")
            .lower()
            .exact(0.02 * features_for(looked.square, 0.1), "the norms of queries and keys differ in their last bits, and are exponentiated")
            .help("Of Performer, for a typical query and key of the first layer: the variance of its estimate, from their measured lengths."),
        metric(Family::Quality, "entropy_last", "Entropy of weights, last layer", looked.entropy[3], "nats")
            .baseline(looked.entropy[0])
            .exact(0.01, SUMS)
            .help(&format!("Of the rows of softmax from position 32 on. The baseline is the first layer; even weights have {:.2}.", looked.flat)),
        metric(Family::Quality, "leak", "Earlier outputs changed by the last token, Linformer", looked.leak[1] as f64, "tokens")
            .lower()
            .baseline(looked.leak[0] as f64)
            .exact(0.0, COUNTED)
            .help("One key and one value at the end of a text are changed. The baseline is causal softmax."),
    ];
    let names = ["first", "second", "third", "last"];
    for (i, name) in names.iter().enumerate() {
        if let Some(apart) = looked.apart[i] {
            let one = metric(Family::Quality, &format!("apart_{name}"), &format!("Weights moved by your method, {name} layer"), apart, "")
                .lower()
                .baseline(looked.uniform[i])
                .exact(0.01, SUMS)
                .help("Total variation from softmax on the same queries and keys, 0 to 1. The baseline ignores query and key.");
            all.push(if i == 0 && params.method != Method::Uniform { one } else { one.detail() });
        }
    }
    all
}

pub(super) fn swaps(swaps: &Swaps, reading: &Reading, params: &Params) -> Vec<Metric> {
    let tokens = reading.nats.len();
    let nats = |id: &str, label: &str, value: f64, baseline: f64| {
        metric(Family::Quality, id, label, value, "nats").lower().baseline(baseline).exact(0.02, SUMS)
    };
    let mine = match params.layers {
        super::Layers::All => "in all layers",
        _ => "in your layers",
    };
    let mut all = vec![
        nats("added", &format!("Loss added by your method {mine}"), swaps.mixture[0], swaps.mixture[1])
            .help(&format!("Nats a token beyond {:.3}, over {} tokens of the test text; nothing was trained for the exchange. The baseline is the mean of the past in the same layers: no query, no key.", swaps.original, thousands(tokens))),
        nats("blind_first", "Loss added by no queries and keys in the first two layers", swaps.blind[0], 0.0)
            .help("Each token takes the mean of all earlier values."),
        nats("blind_last", "The same in the last two layers", swaps.blind[1], 0.0),
    ];
    for (method, name, row) in &swaps.rows {
        if *method == Method::Window {
            all.push(
                nats("added_window", &format!("Loss added by: {name}, all layers"), row[0], 0.0)
                    .help("Softmax over the nearest keys only: linear in the length as well."),
            );
        }
    }
    all
}

pub(super) fn notes(swaps: &Swaps, params: &Params) -> Vec<String> {
    let mut notes = Vec::new();
    if params.method == Method::Linformer {
        notes.push("Linformer's slots hold the whole text, the tokens to be foretold among them: its loss is no loss of a language model.".into());
    }
    if params.method == Method::Performer && !params.features.is_multiple_of(32) && params.orthogonal {
        notes.push(
            "The last block of orthogonal rows is cut: your features are no multiple of the head's 32 channels.".into(),
        );
    }
    if swaps.mixture[0] > swaps.mixture[1] + 0.005 {
        notes.push(format!(
            "Your method adds {:.3} nats, the mean of the past {:.3}: here, looking at nothing is better.",
            swaps.mixture[0], swaps.mixture[1]
        ));
    }
    notes
}

pub(super) fn times(times: &Times, params: &Params, cx: &Context) -> Vec<Metric> {
    let longest = times.longest();
    let ratio = |id: &str, label: &str, slow: usize, fast: usize| {
        let samples = times.ratios(slow, fast, longest);
        metric(Family::Time, id, label, median(&samples), "×")
            .higher()
            .baseline(1.0)
            .interval(median_interval(&samples, LEVEL, &mut cx.rng(id)))
            .measured(samples)
    };
    let words = thousands(longest);
    let mut all = vec![
        ratio("speedup", &format!("elu + 1 against softmax in tiles, {words} tokens"), 1, 2).help(
            "One head on the processor: time of tiled softmax over that of the kernel in chunks. Both skip the future.",
        ),
        ratio("speedup_tables", &format!("elu + 1 against softmax in tables, {words} tokens"), 0, 2)
            .detail()
            .help("The opponent that many comparisons use. Tiles are the fairer one."),
        ratio("speedup_window", &format!("elu + 1 against a window of {}, {words} tokens", params.window), 5, 2)
            .detail(),
        ratio("speedup_performer", &format!("Performer 64 against softmax in tiles, {words} tokens"), 1, 3).detail(),
    ];
    if let Some(crossing) = times.crossing(1, 2) {
        all.push(
            metric(Family::Scale, "crossing", "elu + 1 is faster than tiled softmax from", crossing, "tokens")
                .lower()
                .measured(vec![crossing])
                .help("Where the two lines of the chart cross; the shortest length that was timed, if it is faster there already."),
        );
    }
    // Products of features and values, written and read.
    let rate =
        |ms: &[f64]| -> Vec<f64> { ms.iter().map(|ms| 1e-6 * (longest * 4 * D * D) as f64 / ms.max(1e-9)).collect() };
    let chunks = rate(times.of(2, longest));
    all.push(
        metric(Family::Utilization, "chunk_gflops", "Arithmetic of the state, in chunks", median(&chunks), "GFLOP/s")
            .higher()
            .baseline(median(&rate(&times.steps)))
            .measured(chunks)
            .help("Operations that the recurrence asks for, a second. The baseline computes token by token; what chunks compute beyond that is not counted."),
    );
    all
}
