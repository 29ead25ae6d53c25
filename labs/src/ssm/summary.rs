//! The numbers of a run.

use lab_api::{Family, Kind, Metric};
use lab_kit::{
    Context,
    mixing::{Rule, associative, joins},
    report::{MetricExt, metric, thousands},
    stats::{median, median_interval},
};

use super::{
    Params, TaskChoice,
    arms::Raced,
    timing::{ATTENTION, CHUNKS, D, JOINED, LOOP, STEPS, Times},
};

const SPREAD: &str = "sums in another order lead a training elsewhere, as other first weights do: five standard deviations over the seeds of the study";
const COUNTED: &str = "counted";
const LEVEL: f64 = 0.95;
/// Bytes that the language model keeps of a token: keys and values of two heads in four layers.
pub(super) const CACHED: usize = 2 * 4 * 2 * 32 * 4;

/// Bytes of the language model's state, had it state spaces in its four layers: six heads of `n · 32` numbers, and the last three
/// inputs of convolutions over 192 values, `n` keys and `n` queries.
pub(super) fn model_state(n: usize) -> usize {
    4 * (6 * n * 32 + 3 * (192 + 2 * n)) * 4
}

pub(super) fn counted(params: &Params, cx: &Context) -> Vec<Metric> {
    let (longest, n) = (params.longest as usize, params.state as usize);
    let state = model_state(16);
    let (joined, rounds) = joins(longest);
    let held = |pairs: usize| 100.0 * associative(Rule::Sum, n, pairs, false, 200, &mut cx.rng("held"));
    vec![
        metric(Family::Memory, "state_bytes", "Held by a model of state spaces", state as f64, "bytes")
            .lower()
            .baseline((longest * CACHED) as f64)
            .exact(0.0, COUNTED)
            .help(&format!("At any length, with 16 numbers a channel, in FP32. The baseline is the cache of keys and values of the book's language model at {} tokens.", thousands(longest))),
        metric(Family::Memory, "even", "Cache and state take the same bytes at", (state as f64 / CACHED as f64).ceil(), "tokens")
            .lower()
            .exact(0.0, COUNTED),
        metric(Family::Utilization, "scan_work", "Operations of the joined scan", (3 * joined) as f64 / (2 * longest) as f64, "×")
            .lower()
            .baseline(1.0)
            .exact(1e-9, COUNTED)
            .help(&format!("Over those of the loop. They buy {rounds} rounds instead of {} steps.", thousands(longest))),
        metric(Family::Scale, "held", "Held by an untrained state of that size, 8 pairs", held(8), "%")
            .higher()
            .baseline(held(16))
            .exact(1.0, "sums differ in their last bits between devices")
            .detail()
            .help("Random keys of N numbers, values one of 64, written once and read back. The baseline is 16 pairs. What training does not reach of it is no limit of the state."),
    ]
}

/// `8 pairs`.
pub(super) fn of_pairs(pairs: usize) -> String {
    format!("{pairs} pair{}", if pairs == 1 { "" } else { "s" })
}

/// A number that was trained.
fn learned(id: &str, label: &str, value: f64, unit: &str, within: f64) -> Metric {
    let one = metric(Family::Quality, id, label, value, unit).exact(within, SPREAD);
    Metric { kind: Kind::Trained, ..one }
}

pub(super) fn trained(raced: &[Raced], params: &Params) -> Vec<Metric> {
    let mut all = Vec::new();
    let first = &raced[0];
    for one in raced {
        let (id, name) = (one.arm.id, &one.arm.name);
        if params.task == TaskChoice::Text {
            all.push(
                learned(&format!("loss_{id}"), &format!("{name}: loss of a letter"), one.loss, "nats", 0.3)
                    .lower()
                    .baseline(first.loss),
            );
            continue;
        }
        for (i, (pairs, share)) in one.right.iter().enumerate() {
            let (id, label) = match params.task {
                TaskChoice::Recall => {
                    (format!("recall_{id}_{pairs}"), format!("{name}: recalled of {}", of_pairs(*pairs)))
                }
                _ => (format!("right_{id}"), format!("{name}: right answers")),
            };
            let before = first.right.get(i).map_or(0.0, |(_, share)| *share);
            let found = learned(&id, &label, *share, "%", 60.0).higher().baseline(before);
            let shown = params.task != TaskChoice::Recall || *pairs == params.pairs as usize;
            all.push(if shown { found } else { found.detail() });
        }
    }
    all
}

pub(super) fn times(times: &Times, cx: &Context) -> Vec<Metric> {
    let longest = times.longest();
    let words = thousands(longest);
    let ratio = |id: &str, label: &str, samples: Vec<f64>| {
        metric(Family::Time, id, label, median(&samples), "×")
            .higher()
            .baseline(1.0)
            .interval(median_interval(&samples, LEVEL, &mut cx.rng(id)))
            .measured(samples)
    };
    let mut all = vec![
        ratio(
            "gain",
            &format!("State space in chunks against attention in tiles, {words} tokens"),
            times.ratios(ATTENTION, CHUNKS, longest),
        )
        .help("One head on one core, forward: time of attention over that of the state space."),
        ratio("model_gain", &format!("The same in a whole model, {words} tokens"), times.model_ratios(longest))
            .help("The book's language model on one core, put together of what was measured: its other matrices, and a mixer in each of its 24 heads."),
        ratio("scan_gain", &format!("Scan joined in pairs against the loop, {words} tokens"), times.ratios(LOOP, JOINED, longest))
            .help("Mamba's scan on one core: time of the loop over that of the scan that is made for parallel machines. Below 1 it is slower."),
    ];
    if let Some(crossing) = times.crossing(ATTENTION, CHUNKS) {
        all.push(
            metric(
                Family::Scale,
                "crossing",
                "State space in chunks is faster than attention from",
                crossing,
                "tokens",
            )
            .lower()
            .measured(vec![crossing])
            .help("The shortest length that was timed, if it is faster there already."),
        );
    }
    let rate =
        |ms: &[f64]| -> Vec<f64> { ms.iter().map(|ms| 1e-6 * (longest * 4 * D * D) as f64 / ms.max(1e-9)).collect() };
    let [chunks, steps] = [CHUNKS, STEPS].map(|mixer| rate(times.of(mixer, longest)));
    all.push(
        metric(Family::Utilization, "gflops", "Arithmetic of the state, in chunks", median(&chunks), "GFLOP/s")
            .higher()
            .baseline(median(&steps))
            .measured(chunks)
            .help("Operations that the recurrence asks for, a second. The baseline goes step by step; what chunks compute beyond that is not counted."),
    );
    let decode: Vec<f64> = times.attend(longest).iter().zip(times.step()).map(|(a, b)| a / b.max(1e-9)).collect();
    all.push(
        ratio("decode_gain", &format!("One more token after {words}: state against cache"), decode)
            .detail()
            .help("One head. The cache is read whole for each token, the state has always the same size."),
    );
    all
}

pub(super) fn notes(params: &Params) -> Vec<String> {
    let mut notes = Vec::new();
    if params.convolution < 2 && params.task == TaskChoice::Recall {
        notes.push("Without a convolution a single layer does not see a key beside its value: it cannot learn which belongs to which.".into());
    }
    if params.steps < 200 {
        notes.push(
            "With fewer than 200 steps some models have not begun to learn: what you see is patience, not memory."
                .into(),
        );
    }
    if params.chunk > params.longest {
        notes.push("The chunk is longer than every text: all is computed as one chunk, as attention would.".into());
    }
    notes
}
