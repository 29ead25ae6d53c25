//! The language model with the attention of some of its layers exchanged.

use burn::tensor::{Device, Int, Tensor, TensorData, activation::log_softmax};
use lab_api::LabError;
use lab_layers::mixers::{
    Gates, Map, Memory, State, apply, attend_chunked, delta_chunked, kernel_weights, linformer, recur, softmax_weights,
    top,
};

use crate::{
    Context,
    cache::{Decoder, Turns},
    mlp::read,
};

/// Tokens of a chunk.
const CHUNK: usize = 64;

/// What mixes the tokens of a layer.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// As trained, over so many keys at most.
    Softmax {
        /// Keys that a query sees, its own among them.
        window: usize,
    },
    /// As trained, and only the largest weights of each row are left. It takes all scores: a control.
    Top(usize),
    /// Weights from features, which fade by a factor a token. One map for all heads, or one for each: `[layer · heads + head]`.
    Kernel(Vec<Map>, f32),
    /// The delta rule with keys and queries brought to length 1, and what is kept of the state at each token.
    Delta {
        /// Share by which an answer is moved.
        write: f32,
        /// What is kept.
        keep: f32,
    },
    /// Keys and values averaged in so many equal stretches of the whole text: Linformer with fixed projections. Not causal.
    Pooled(usize),
}

impl Way {
    /// The model's own.
    pub const FULL: Self = Self::Softmax { window: usize::MAX };

    fn map(maps: &[Map], at: usize) -> &Map {
        &maps[at % maps.len().max(1)]
    }

    /// Outputs `[T, D]` of a head; `at` is `layer · heads + head`.
    fn mix(&self, HeadInputs { q, k, v }: &HeadInputs, d: usize, at: usize) -> Vec<f32> {
        let t = q.len() / d;
        match self {
            Self::Kernel(maps, decay) => {
                let map = Self::map(maps, at);
                let (m, fq, (fk, largest)) = (map.count(d), map.queries(q, d), map.keys(k, d));
                attend_chunked(&fq, (&fk, largest), v, [m, d], (CHUNK, *decay), &mut State::new(m, d))
            }
            Self::Delta { write, keep } => {
                let unit = |x: &[f32]| -> Vec<f32> {
                    x.chunks_exact(d)
                        .flat_map(|row| {
                            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
                            row.iter().map(move |x| x / length)
                        })
                        .collect()
                };
                let (q, k, beta) = (unit(q), unit(k), vec![*write; t]);
                let (memory, mut state) = (Memory { q: &q, k: &k, v, sizes: [d, d] }, vec![0.0; d * d]);
                if *keep == 1.0 {
                    return delta_chunked(memory, &beta, CHUNK, &mut state);
                }
                recur(memory, Gates { keep: &vec![*keep; t], write: &beta, erase: true }, &mut state)
            }
            Self::Pooled(slots) => {
                let slots = (*slots).clamp(1, t);
                let mut e = vec![0.0; slots * t];
                for j in 0..t {
                    let slot = j * slots / t;
                    let count = (0..t).filter(|i| i * slots / t == slot).count();
                    e[slot * t + j] = 1.0 / count as f32;
                }
                linformer(q, k, v, d, [&e, &e])
            }
            _ => apply(&self.weights(q, k, d, at).unwrap_or_default(), v, d),
        }
    }

    /// The table of weights `[T, T]` of a head, where there is one.
    #[must_use]
    pub fn weights(&self, q: &[f32], k: &[f32], d: usize, at: usize) -> Option<Vec<f32>> {
        let t = q.len() / d;
        match self {
            Self::Softmax { window } => Some(softmax_weights(q, k, d, *window)),
            Self::Top(count) => {
                let mut weights = softmax_weights(q, k, d, t);
                top(&mut weights, t, *count);
                Some(weights)
            }
            Self::Kernel(maps, decay) => {
                let map = Self::map(maps, at);
                Some(kernel_weights(&map.queries(q, d), &map.keys(k, d).0, map.count(d), *decay))
            }
            Self::Delta { .. } | Self::Pooled(_) => None,
        }
    }
}

/// Queries, keys (both turned to their positions) and values of one head in one window, `[T, D]` each.
#[derive(Debug, Clone, Default)]
pub struct HeadInputs {
    /// Queries.
    pub q: Vec<f32>,
    /// Keys.
    pub k: Vec<f32>,
    /// Values.
    pub v: Vec<f32>,
}

/// Windows of text as the untouched model read them: what each layer was given, so that a swap of a later layer begins there.
pub struct Reading {
    /// Windows.
    pub windows: usize,
    /// Tokens of a window.
    pub length: usize,
    /// Channels of a head.
    pub channels: usize,
    /// By `layer · heads + head`, then by window.
    pub heads: Vec<Vec<HeadInputs>>,
    /// `-ln p` of every token that was to be foretold, window by window.
    pub nats: Vec<f64>,
    /// The stream `[windows · T, C]` before each layer.
    streams: Vec<Tensor<2>>,
    targets: Tensor<2, Int>,
    turns: Turns,
}

impl Reading {
    /// Reads windows of equal length, each of `T + 1` tokens.
    ///
    /// # Errors
    /// [`LabError::Refused`] for no window, windows of different length, longer than the model's context, or with a token outside
    /// the vocabulary; what the checkpoints return; [`LabError::Device`] when the device fails.
    pub async fn new(decoder: &Decoder, windows: &[&[u32]], device: &Device, cx: &Context) -> Result<Self, LabError> {
        let config = decoder.config();
        let length = windows.first().map_or(0, |window| window.len().saturating_sub(1));
        if length == 0 || length > config.context || windows.iter().any(|window| window.len() != length + 1) {
            let why = format!("windows must be of one length, of 2 to {} tokens", config.context + 1);
            return Err(LabError::Refused { why });
        }
        let inputs: Vec<u32> = windows.iter().flat_map(|window| window[..length].iter().copied()).collect();
        let targets: Vec<i32> =
            windows.iter().flat_map(|window| &window[1..]).map(|id| i32::try_from(*id).unwrap_or(0)).collect();
        let mut reading = Self {
            windows: windows.len(),
            length,
            channels: config.head_channels(),
            heads: Vec::new(),
            nats: Vec::new(),
            streams: vec![decoder.embed(&inputs)?],
            targets: Tensor::from_data(TensorData::new(targets, [inputs.len(), 1]), device),
            turns: Turns::new(config, length, 1.0),
        };
        for layer in 0..config.layers {
            let x = reading.streams[layer].clone();
            let heads = reading.open(decoder, layer, &x).await?;
            let y = reading.mixed(&heads, &Way::FULL, layer * config.heads, cx).await?;
            reading.streams.push(decoder.finish(layer, x, Tensor::from_data(y, device)));
            reading.heads.extend(heads);
        }
        let last = reading.streams[config.layers].clone();
        reading.nats = reading.judge(decoder, last).await?;
        Ok(reading)
    }

    // ANCHOR: swap
    /// `-ln p` of every token with the attention of some layers exchanged: `ways[layer]`, `None` for a layer as it is.
    ///
    /// # Errors
    /// What the checkpoints return; [`LabError::Device`] when the device fails.
    pub async fn swap(&self, decoder: &Decoder, ways: &[Option<&Way>], cx: &Context) -> Result<Vec<f64>, LabError> {
        let config = decoder.config();
        let first = ways.iter().position(Option::is_some).unwrap_or(config.layers);
        let mut x = self.streams[first].clone();
        for layer in first..config.layers {
            let heads = self.open(decoder, layer, &x).await?;
            let way = ways.get(layer).copied().flatten().unwrap_or(&Way::FULL);
            let y = self.mixed(&heads, way, layer * config.heads, cx).await?;
            let device = x.device();
            x = decoder.finish(layer, x, Tensor::from_data(y, &device));
        }
        self.judge(decoder, x).await
    }
    // ANCHOR_END: swap

    /// Queries, keys and values of a layer: by head, then by window.
    async fn open(&self, decoder: &Decoder, layer: usize, x: &Tensor<2>) -> Result<Vec<Vec<HeadInputs>>, LabError> {
        let (config, d, t) = (decoder.config(), self.channels, self.length);
        let all = read(decoder.project(layer, x)).await?;
        let (c, kv) = (config.channels, config.key_value_heads * d);
        let wide = c + 2 * kv;
        let group = config.heads / config.key_value_heads;
        let one = |window: usize, from: usize, turn: bool| -> Vec<f32> {
            let mut rows = Vec::with_capacity(t * d);
            for i in 0..t {
                rows.extend_from_slice(&all[(window * t + i) * wide + from..][..d]);
                if turn {
                    self.turns.turn(&mut rows[i * d..], i);
                }
            }
            rows
        };
        let head = |h: usize, window: usize| HeadInputs {
            q: one(window, h * d, true),
            k: one(window, c + h / group * d, true),
            v: one(window, c + kv + h / group * d, false),
        };
        Ok((0..config.heads).map(|h| (0..self.windows).map(|window| head(h, window)).collect()).collect())
    }

    /// Outputs of all heads beside each other, `[windows · T, C]`.
    async fn mixed(
        &self,
        heads: &[Vec<HeadInputs>],
        way: &Way,
        first: usize,
        cx: &Context,
    ) -> Result<TensorData, LabError> {
        let (t, d) = (self.length, self.channels);
        let c = heads.len() * d;
        let mut y = vec![0.0; self.windows * t * c];
        for (h, windows) in heads.iter().enumerate() {
            for (window, inputs) in windows.iter().enumerate() {
                let out = way.mix(inputs, d, first + h);
                for (i, row) in out.chunks_exact(d).enumerate() {
                    y[(window * t + i) * c + h * d..][..d].copy_from_slice(row);
                }
            }
            cx.checkpoint().await?;
        }
        Ok(TensorData::new(y, [self.windows * t, c]))
    }

    async fn judge(&self, decoder: &Decoder, x: Tensor<2>) -> Result<Vec<f64>, LabError> {
        let said = log_softmax(decoder.logits(x), 1).gather(1, self.targets.clone()).neg();
        Ok(read(said).await?.into_iter().map(f64::from).collect())
    }
}
