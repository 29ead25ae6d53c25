//! What the weights of the trained model are like, and what a state of fixed size holds.

use lab_api::LabError;
use lab_kit::{
    Context,
    mixing::{Map, Reading, Rule, Way, associative, entropy, linformer, total_variation},
};

use super::{Params, ways::Arm};

/// Rows before this one see too few keys to compare.
pub(super) const FROM: usize = 32;

/// Of the trained model.
pub(super) struct Looked {
    /// Mean entropy of the rows of each layer, in nats.
    pub(super) entropy: Vec<f64>,
    /// What it would be if all of the past weighed the same.
    pub(super) flat: f64,
    /// Mean distance (total variation) of the reader's weights from softmax in each layer, where the method has weights.
    pub(super) apart: Vec<Option<f64>>,
    /// The same of uniform weights.
    pub(super) uniform: Vec<f64>,
    /// Median square length of the scaled sum of a query and a key of the first layer.
    pub(super) square: f64,
    /// Tokens before a changed one whose output in the first layer changed too: with a window of softmax, with Linformer.
    pub(super) leak: [usize; 2],
}

pub(super) async fn look(reading: &Reading, arms: &[Arm], params: &Params, cx: &Context) -> Result<Looked, LabError> {
    let (d, t) = (reading.channels, reading.length);
    let from = FROM.min(t / 2);
    let heads = reading.heads.len() / 4;
    let uniform = Way::Kernel(vec![Map::Uniform], 1.0);
    let way = arms.last().map_or(&uniform, |arm| &arm.way);
    let mut looked = Looked {
        entropy: vec![0.0; 4],
        flat: (from..t).map(|i| ((i + 1) as f64).ln()).sum::<f64>() / (t - from) as f64,
        apart: vec![Some(0.0); 4],
        uniform: vec![0.0; 4],
        square: 0.0,
        leak: [0, 0],
    };
    let mut squares = Vec::new();
    for (at, windows) in reading.heads.iter().enumerate() {
        let (layer, head) = (at / heads, &windows[0]);
        let Some(full) = Way::FULL.weights(&head.q, &head.k, d, at) else { continue };
        let share = 1.0 / heads as f64;
        looked.entropy[layer] += share * entropy(&full, t, from);
        let distance =
            |way: &Way| way.weights(&head.q, &head.k, d, at).map(|w| share * total_variation(&full, &w, t, from));
        looked.apart[layer] = looked.apart[layer].zip(distance(way)).map(|(sum, more)| sum + more);
        looked.uniform[layer] += distance(&uniform).unwrap_or(0.0);
        if layer == 0 {
            let root = (d as f64).sqrt();
            for (i, q) in head.q.chunks_exact(d).enumerate().skip(from).step_by(5) {
                let keys = head.k.chunks_exact(d).take(i + 1).step_by(3);
                squares
                    .extend(keys.map(|k| q.iter().zip(k).map(|(q, k)| f64::from(q + k).powi(2)).sum::<f64>() / root));
            }
        }
        cx.checkpoint().await?;
    }
    looked.square = lab_kit::stats::median(&squares);
    looked.leak = leak(reading, params);
    Ok(looked)
}

/// Changes the last key and value of one head and counts the earlier outputs that notice.
fn leak(reading: &Reading, params: &Params) -> [usize; 2] {
    let (d, t, head) = (reading.channels, reading.length, &reading.heads[0][0]);
    let (mut k, mut v) = (head.k.clone(), head.v.clone());
    k[(t - 1) * d..].iter_mut().chain(&mut v[(t - 1) * d..]).for_each(|x| *x = 1.0 - *x);
    let count =
        |a: &[f32], b: &[f32]| a.chunks_exact(d).zip(b.chunks_exact(d)).take(t - 1).filter(|(a, b)| a != b).count();
    let causal = |k: &[f32], v: &[f32]| {
        let weights = lab_kit::mixing::softmax_weights(&head.q, k, d, t);
        lab_kit::mixing::apply(&weights, v, d)
    };
    let slots = (params.rank as usize).min(t);
    let e: Vec<f32> =
        (0..slots * t).map(|i| if i % t * slots / t == i / t { slots as f32 / t as f32 } else { 0.0 }).collect();
    let pooled = |k: &[f32], v: &[f32]| linformer(&head.q, k, v, d, [&e, &e]);
    [count(&causal(&head.k, &head.v), &causal(&k, &v)), count(&pooled(&head.k, &head.v), &pooled(&k, &v))]
}

/// Dimensions of a key in the table of memories.
pub(super) const KEY: usize = 16;

/// Shares of pairs that are found.
pub(super) struct Held {
    pub(super) pairs: Vec<usize>,
    /// By rule: words, and shares when written once and twice.
    pub(super) rows: Vec<(String, Vec<f64>, Vec<f64>)>,
    /// Where the reader's number of pairs stands.
    pub(super) at: usize,
}

pub(super) async fn memory(params: &Params, trials: usize, cx: &Context) -> Result<Held, LabError> {
    let mine = params.pairs as usize;
    let mut pairs = vec![4, 8, 16, 32];
    if !pairs.contains(&mine) {
        pairs.push(mine);
        pairs.sort_unstable();
    }
    let rules = rules(params.decay as f32, params.beta as f32);
    let mut rows = Vec::new();
    for (words, rule) in rules {
        let mut shares = [Vec::new(), Vec::new()];
        for (shares, twice) in shares.iter_mut().zip([false, true]) {
            for count in &pairs {
                // The same keys and values for every rule.
                shares.push(100.0 * associative(rule, KEY, *count, twice, trials, &mut cx.rng("pairs")));
                cx.checkpoint().await?;
            }
        }
        let [once, twice] = shares;
        rows.push((words, once, twice));
    }
    let at = pairs.iter().position(|count| *count == mine).unwrap_or(0);
    Ok(Held { pairs, rows, at })
}

/// What is compared: the sum first, the reader's delta rule third.
pub(super) fn rules(decay: f32, beta: f32) -> Vec<(String, Rule)> {
    vec![
        ("Sum (linear attention)".into(), Rule::Sum),
        (format!("Sum, fading {decay}"), Rule::Decay(decay)),
        (format!("Delta rule, strength {beta}"), Rule::Delta(beta)),
        ("Softmax over all pairs".into(), Rule::Softmax { sharpness: 12.0, slope: 0.0 }),
        ("Softmax, newer pairs preferred".into(), Rule::Softmax { sharpness: 12.0, slope: 0.2 }),
    ]
}
