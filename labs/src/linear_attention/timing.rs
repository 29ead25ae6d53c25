//! Times of mixers over the length, one head of 32 channels on the processor, and what that is worth in a whole model.

use std::hint::black_box;

use lab_api::LabError;
use lab_kit::{
    Context,
    attention::{Blocks, Head, Inputs, Sight, Traffic, eager, tiled},
    measure::in_turns,
    mixing::{Map, Memory, State, attend_chunked, attend_step, delta_chunked, random_rows},
    models::LanguageModel,
    stats::median,
};
use rand::Rng;

use super::Params;

/// Channels of a head.
pub(super) const D: usize = 32;
/// What is timed.
pub(super) const NAMES: [&str; 6] = [
    "Softmax, tables",
    "Softmax, tiles",
    "elu + 1, chunks",
    "Performer 64, chunks",
    "Delta rule, chunks",
    "Window, tiles",
];

/// Milliseconds by length and mixer.
pub(super) struct Times {
    pub(super) lengths: Vec<usize>,
    /// By length, then by mixer.
    pub(super) cells: Vec<Vec<f64>>,
    /// Of elu + 1 at the longest length, token by token.
    pub(super) steps: Vec<f64>,
}

impl Times {
    pub(super) fn of(&self, mixer: usize, length: usize) -> &[f64] {
        let at = self.lengths.iter().position(|t| *t == length).unwrap_or(0);
        &self.cells[at * NAMES.len() + mixer]
    }

    pub(super) fn longest(&self) -> usize {
        self.lengths.last().copied().unwrap_or(1)
    }

    /// Time of one mixer over another's at a length, round by round.
    pub(super) fn ratios(&self, slow: usize, fast: usize, length: usize) -> Vec<f64> {
        self.of(slow, length).iter().zip(self.of(fast, length)).map(|(a, b)| a / b.max(1e-9)).collect()
    }

    /// Where two lines cross: the first length from which on `fast` stays faster, between the lengths that were timed; `None` where it
    /// never does.
    pub(super) fn crossing(&self, slow: usize, fast: usize) -> Option<f64> {
        let ratio = |t: &usize| median(&self.ratios(slow, fast, *t));
        let ratios: Vec<f64> = self.lengths.iter().map(ratio).collect();
        let first = ratios.iter().rposition(|ratio| *ratio < 1.0).map_or(0, |last| last + 1);
        if first >= ratios.len() {
            return None;
        }
        if first == 0 {
            return Some(self.lengths[0] as f64);
        }
        let (a, b) = (ratios[first - 1].ln(), ratios[first].ln());
        let [low, high] = [first - 1, first].map(|i| (self.lengths[i] as f64).ln());
        Some((low + (high - low) * -a / (b - a).max(1e-9)).exp())
    }
}

struct Case {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    unit: Vec<f32>,
    beta: Vec<f32>,
}

/// The length and its halves, five at most.
pub(super) fn lengths(longest: usize) -> Vec<usize> {
    let mut all: Vec<usize> =
        std::iter::successors(Some(longest), |t| Some(t / 2)).take_while(|t| *t >= 16).take(6).collect();
    all.reverse();
    all
}

pub(super) async fn measure(params: &Params, cx: &Context) -> Result<Times, LabError> {
    of(&lengths(params.length as usize), params, if params.is_short() { 2 } else { 5 }, cx).await
}

pub(super) async fn of(lengths: &[usize], params: &Params, rounds: usize, cx: &Context) -> Result<Times, LabError> {
    let mut rng = cx.rng("timing");
    let longest = lengths.last().copied().unwrap_or(1);
    let mut draw = || -> Vec<f32> { (0..longest * D).map(|_| rng.random_range(-1.7..1.7)).collect() };
    let (q, k, v) = (draw(), draw(), draw());
    let root = (D as f32).sqrt();
    let case = Case { unit: k.iter().map(|x| x / root).collect(), beta: vec![0.5; longest], q, k, v };
    let performer = Map::Positive(random_rows(64, D, true, &mut cx.rng("features")));
    let chunk = params.chunk as usize;
    let call = |mixer: usize, t: usize| {
        let (q, k, v) = (&case.q[..t * D], &case.k[..t * D], &case.v[..t * D]);
        let (inputs, head) = (Inputs { q, k, v }, Head::square(t, D));
        let blocks = Blocks { rows: 64, columns: 64, skip: true };
        let kernel = |map: &Map| {
            let (m, fq, (fk, largest)) = (map.count(D), map.queries(q, D), map.keys(k, D));
            attend_chunked(&fq, (&fk, largest), v, [m, D], (chunk, 1.0), &mut State::new(m, D))
        };
        match mixer {
            0 => eager(inputs, head, Sight::CAUSAL).values,
            1 => tiled(inputs, head, Sight::CAUSAL, blocks, &mut Traffic::default()).values,
            2 => kernel(&Map::Elu),
            3 => kernel(&performer),
            4 => delta_chunked(
                Memory { q, k: &case.unit[..t * D], v, sizes: [D, D] },
                &case.beta[..t],
                chunk,
                &mut vec![0.0; D * D],
            ),
            _ => {
                tiled(
                    inputs,
                    head,
                    Sight { causal: true, window: Some(params.window as usize) },
                    blocks,
                    &mut Traffic::default(),
                )
                .values
            }
        }
    };
    let cells = in_turns(cx, lengths.len() * NAMES.len(), rounds, |i| {
        drop(black_box(call(i % NAMES.len(), lengths[i / NAMES.len()])));
    })
    .await?;
    let mut steps = in_turns(cx, 1, rounds, |_| {
        let mut state = State::new(D, D);
        for i in 0..longest {
            let at = i * D..(i + 1) * D;
            let (fq, (fk, largest)) = (Map::Elu.queries(&case.q[at.clone()], D), Map::Elu.keys(&case.k[at.clone()], D));
            black_box(attend_step(&mut state, &fq, (&fk, largest), &case.v[at], 1.0));
        }
    })
    .await?;
    Ok(Times { lengths: lengths.to_vec(), cells, steps: steps.pop().unwrap_or_default() })
}

/// Operations of the language model a token, but for attention's two products; and those of attention at this length: softmax (the mean
/// of causal rows), and a state of `D · D` numbers with its features.
pub(super) fn model_operations(length: usize) -> [f64; 3] {
    let config = LanguageModel::full().config;
    let (heads, layers, d) = (config.heads as f64, config.layers as f64, config.head_channels() as f64);
    let matrices: usize = config
        .shapes()
        .iter()
        .filter(|(name, shape)| shape.len() == 2 && !name.contains("embed"))
        .map(|(_, s)| s[0] * s[1])
        .sum();
    let softmax = layers * heads * 2.0 * d * (length as f64 + 1.0);
    [2.0 * matrices as f64, softmax, layers * heads * 4.0 * d * d]
}
