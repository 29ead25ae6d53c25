//! Times over the length: mixers of one head on the processor, the whole model that they would stand in, and one token more.

use std::hint::black_box;

use lab_api::LabError;
use lab_kit::{
    Context,
    attention::{Blocks, Head, Inputs, Sight, Traffic, eager, tiled},
    measure::in_turns,
    mixing::{Selective, Ssd, View, convolve_by_fft, product, scan_associative, ssd_chunked, ssd_step},
    models::LanguageModel,
    stats::median,
};
use rand::Rng;

use super::Params;

/// Channels of a head, and numbers of a state for each in the state space of Mamba-2.
pub(super) const D: usize = 32;
/// Numbers of a state for each channel in Mamba's scan.
const N: usize = 16;
/// What is timed.
pub(super) const NAMES: [&str; 6] = [
    "Attention, tiles",
    "State space, chunks",
    "State space, step by step",
    "Mamba's scan, loop",
    "Mamba's scan, joined in pairs",
    "Fixed kernel, FFT",
];
pub(super) const ATTENTION: usize = 0;
pub(super) const CHUNKS: usize = 1;
pub(super) const STEPS: usize = 2;
pub(super) const LOOP: usize = 3;
pub(super) const JOINED: usize = 4;

/// Milliseconds a call, in rounds that may be compared.
pub(super) struct Times {
    pub(super) lengths: Vec<usize>,
    /// By length, then by mixer.
    cells: Vec<Vec<f64>>,
    /// One more token for attention, by length; then for the state space.
    decode: Vec<Vec<f64>>,
    /// All other matrices of the language model, for a token.
    rest: Vec<f64>,
    /// Heads of the model, in all layers.
    heads: usize,
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

    /// Milliseconds of the whole model for a token: its other matrices, and a mixer in each head of each layer.
    pub(super) fn model(&self, mixer: usize, length: usize) -> Vec<f64> {
        let of = |(ms, rest): (&f64, &f64)| rest + self.heads as f64 * ms / length as f64;
        self.of(mixer, length).iter().zip(&self.rest).map(of).collect()
    }

    /// The whole model with attention over that with the state space in chunks.
    pub(super) fn model_ratios(&self, length: usize) -> Vec<f64> {
        let [slow, fast] = [ATTENTION, CHUNKS].map(|mixer| self.model(mixer, length));
        slow.iter().zip(fast).map(|(a, b)| a / b.max(1e-9)).collect()
    }

    /// One more token after this many: milliseconds of attention.
    pub(super) fn attend(&self, length: usize) -> &[f64] {
        &self.decode[self.lengths.iter().position(|t| *t == length).unwrap_or(0)]
    }

    /// One more token for the state space.
    pub(super) fn step(&self) -> &[f64] {
        self.decode.last().map_or(&[], Vec::as_slice)
    }

    /// The first length from which on `fast` stays faster than `slow`, between the lengths that were timed; `None` where it never does.
    pub(super) fn crossing(&self, slow: usize, fast: usize) -> Option<f64> {
        let ratios: Vec<f64> = self.lengths.iter().map(|t| median(&self.ratios(slow, fast, *t))).collect();
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

    #[cfg(test)]
    pub(super) fn new(lengths: Vec<usize>, cells: Vec<Vec<f64>>) -> Self {
        Self { lengths, cells, decode: Vec::new(), rest: vec![1.0], heads: 2 }
    }
}

/// The length and its quarters, from 64 on.
fn lengths(longest: usize) -> Vec<usize> {
    let mut all: Vec<usize> = std::iter::successors(Some(longest), |t| Some(t / 2)).take_while(|t| *t >= 64).collect();
    all.reverse();
    all
}

pub(super) async fn measure(params: &Params, cx: &Context) -> Result<Times, LabError> {
    of(&lengths(params.longest as usize), params, if params.is_short() { 2 } else { 3 }, cx).await
}

pub(super) async fn of(lengths: &[usize], params: &Params, rounds: usize, cx: &Context) -> Result<Times, LabError> {
    let mut rng = cx.rng("timing");
    let longest = lengths.last().copied().unwrap_or(1);
    let mut draw =
        |count: usize, low: f32, high: f32| -> Vec<f32> { (0..count).map(|_| rng.random_range(low..high)).collect() };
    let [q, k, v] = std::array::from_fn(|_| draw(longest * D, -1.0, 1.0));
    let (keep, delta) = (draw(longest, 0.8, 1.0), draw(longest * D, 0.01, 0.1));
    let rates: Vec<f32> = (0..D * N).map(|i| -((i % N) as f32) - 1.0).collect();
    let chunk = params.chunk as usize;
    let blocks = Blocks { rows: 64, columns: 64, skip: true };
    let call = |mixer: usize, t: usize| -> Vec<f32> {
        let (q, k, v) = (&q[..t * D], &k[..t * D], &v[..t * D]);
        let ssd = Ssd { keep: &keep[..t], c: q, b: k, x: v, sizes: [D, D] };
        let scan = Selective { delta: &delta[..t * D], a: &rates, b: &k[..t * N], c: &q[..t * N], x: v, sizes: [N, D] };
        match mixer {
            ATTENTION => {
                tiled(Inputs { q, k, v }, Head::square(t, D), Sight::CAUSAL, blocks, &mut Traffic::default()).values
            }
            CHUNKS => ssd_chunked(ssd, chunk, &mut vec![0.0; D * D]),
            STEPS => {
                let (mut state, mut out) = (vec![0.0; D * D], vec![0.0; t * D]);
                for (i, y) in out.chunks_exact_mut(D).enumerate() {
                    let at = i * D..(i + 1) * D;
                    ssd_step(&mut state, keep[i], [&q[at.clone()], &k[at.clone()]], &v[at], y);
                }
                out
            }
            LOOP => scan.fused(&mut vec![0.0; D * N]),
            JOINED => scan.scanned(&vec![0.0; D * N], scan_associative),
            _ => convolve_by_fft(k, v, D),
        }
    };
    let cells = in_turns(cx, lengths.len() * NAMES.len(), rounds, |i| {
        drop(black_box(call(i % NAMES.len(), lengths[i / NAMES.len()])));
    })
    .await?;
    let mut state = vec![0.0; D * D];
    let decode = in_turns(cx, lengths.len() + 1, rounds, |i| {
        if let Some(t) = lengths.get(i) {
            let inputs = Inputs { q: &q[..D], k: &k[..t * D], v: &v[..t * D] };
            drop(black_box(eager(inputs, Head { queries: 1, keys: *t, channels: D }, Sight::FULL)));
        } else {
            let mut y = vec![0.0; D];
            ssd_step(&mut state, 0.9, [&q[..D], &k[..D]], &v[..D], &mut y);
            black_box(y);
        }
    })
    .await?;
    // All matrices of the language model but attention's products, for 64 tokens.
    let config = LanguageModel::full().config;
    let shapes: Vec<(usize, usize)> = config
        .shapes()
        .iter()
        .filter(|(name, shape)| shape.len() == 2 && !name.contains("embed"))
        .map(|(_, shape)| (shape[0], shape[1]))
        .collect();
    let most = shapes.iter().map(|(rows, columns)| rows * columns).max().unwrap_or(0);
    let weights = draw_more(most, cx);
    let rest = in_turns(cx, 1, rounds, |_| {
        for (rows, columns) in &shapes {
            let x = View::new(&weights, 64, *columns);
            black_box(product(x, View::new(&weights, *rows, *columns).transposed()));
        }
    })
    .await?;
    let rest = rest.into_iter().flatten().map(|ms| ms / 64.0).collect();
    Ok(Times { lengths: lengths.to_vec(), cells, decode, rest, heads: config.heads * config.layers })
}

fn draw_more(count: usize, cx: &Context) -> Vec<f32> {
    let mut rng = cx.rng("matrices");
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}
