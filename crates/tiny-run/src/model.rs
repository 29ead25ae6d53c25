//! A decoder-only transformer in the layout of Llama (arXiv:2302.13971), one token at a time, from packed weights.

use crate::{
    coder,
    file::{Tensors, half},
    json::Json,
};

/// Sizes of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// V: how many tokens there are.
    pub vocabulary: usize,
    /// C: channels of the residual stream.
    pub channels: usize,
    /// L: layers.
    pub layers: usize,
    /// H: query heads.
    pub heads: usize,
    /// K: heads of keys and values; H / K queries share one.
    pub key_value_heads: usize,
    /// F: width of the feed-forward network.
    pub feed_forward: usize,
    /// T: the longest text, in tokens.
    pub context: usize,
    /// Base of the rotary frequencies (arXiv:2104.09864).
    pub rope_base: f64,
    /// Added to the mean square before its root.
    pub norm_epsilon: f64,
    /// Whether the output layer is the embedding.
    pub tied: bool,
}

impl Config {
    /// Reads the note `config`.
    ///
    /// # Errors
    /// A size that is missing, or that makes no transformer.
    pub fn read(text: &str) -> Result<Self, String> {
        let json = Json::parse(text)?;
        let missing = |key: &str| format!("its config has no good “{key}”");
        let size = |key: &str| {
            json.get(key).and_then(Json::whole).filter(|n| (1..1 << 24).contains(n)).ok_or_else(|| missing(key))
        };
        let number = |key: &str| json.get(key).and_then(Json::number).filter(|n| *n > 0.0).ok_or_else(|| missing(key));
        let Some(Json::Bool(tied)) = json.get("tied") else { return Err(missing("tied")) };
        let config = Self {
            vocabulary: size("vocabulary")?,
            channels: size("channels")?,
            layers: size("layers")?,
            heads: size("heads")?,
            key_value_heads: size("key_value_heads")?,
            feed_forward: size("feed_forward")?,
            context: size("context")?,
            rope_base: number("rope_base")?,
            norm_epsilon: number("norm_epsilon")?,
            tied: *tied,
        };
        let (c, h, k) = (config.channels, config.heads, config.key_value_heads);
        if c % (2 * h) > 0 || h % k > 0 {
            return Err(format!("its config deals {c} channels to {h} heads, and these to {k}: that does not divide"));
        }
        Ok(config)
    }
}

/// A matrix `[rows, columns]` as it lies in the file: b-bit integers with their scales, or floats (bits 16 and 32) without.
struct Matrix {
    columns: usize,
    bits: usize,
    /// Columns that share a scale.
    group: usize,
    /// Bytes of a row.
    stride: usize,
    codes: Vec<u8>,
    /// One for each group of each row; none of floats.
    scales: Vec<f32>,
}

impl Matrix {
    /// Reads `NAME`, or else `NAME.codes` or `NAME.huffman` with `NAME.scales`.
    fn read(file: &mut Tensors, name: &str, rows: usize, columns: usize) -> Result<Self, String> {
        let named = |part: &str, why: String| format!("its tensor “{name}{part}” {why}");
        if let Some(tensor) = file.take(name) {
            tensor.floats(&[rows, columns]).map_err(|why| named("", why))?; // Are they finite, and as many?
            let bits = if tensor.kind == "F16" { 16 } else { 32 };
            let codes = tensor.bytes.to_vec();
            return Ok(Self { columns, bits, group: columns, stride: columns * bits / 8, codes, scales: Vec::new() });
        }
        // A matrix may differ from the others.
        let note = |part: &str| -> Result<usize, String> {
            let text = file.note(&format!("{name}.{part}")).or_else(|_| file.note(part))?;
            text.parse().map_err(|_| format!("its note “{part}” is “{text}”, no whole number"))
        };
        let (bits, group) = (note("bits")?, note("group")?);
        if !(2..=8).contains(&bits) {
            return Err(format!("its note “bits” is {bits}, and 2 to 8 can be read"));
        }
        let group = if group == 0 { columns } else { group.min(columns) };
        let stride = (columns * bits).div_ceil(8);
        let codes = if let Some(tensor) = file.take(&format!("{name}.codes")) {
            tensor.codes(&[rows, stride]).map_err(|why| named(".codes", why))?.to_vec()
        } else if let Some(tensor) = file.take(&format!("{name}.huffman")) {
            let bytes = tensor.codes(&[tensor.bytes.len()]).map_err(|why| named(".huffman", why))?;
            let codes = coder::decode(bytes, bits, rows * columns).map_err(|why| named(".huffman", why))?;
            codes.chunks(columns).flat_map(|row| pack(row, bits)).collect()
        } else {
            return Err(format!("it lacks the matrix “{name}”"));
        };
        let scales = file.take(&format!("{name}.scales")).ok_or_else(|| format!("it lacks “{name}.scales”"))?;
        let scales = scales.floats(&[rows, columns.div_ceil(group)]).map_err(|why| named(".scales", why))?;
        Ok(Self { columns, bits, group, stride, codes, scales })
    }

    /// Unpacks a row: floats as they are, integers less the middle of their grid, to be scaled group by group.
    fn unpack(&self, row: usize, out: &mut [f32]) {
        let bytes = &self.codes[row * self.stride..(row + 1) * self.stride];
        let (floats, halves) = (bytes.as_chunks::<4>().0, bytes.as_chunks::<2>().0);
        let (middle, mask) = ((1 << (self.bits.min(8) - 1)) as f32, (0xff_u16 >> (8 - self.bits.min(8))) as u8);
        match self.bits {
            32 => out.iter_mut().zip(floats).for_each(|(w, bytes)| *w = f32::from_le_bytes(*bytes)),
            16 => out.iter_mut().zip(halves).for_each(|(w, bytes)| *w = half(u16::from_le_bytes(*bytes))),
            8 => out.iter_mut().zip(bytes).for_each(|(w, byte)| *w = f32::from(*byte) - middle),
            4 => {
                let (pairs, last) = out.as_chunks_mut::<2>();
                for (pair, byte) in pairs.iter_mut().zip(bytes) {
                    *pair = [f32::from(byte & 15) - middle, f32::from(byte >> 4) - middle];
                }
                if let ([last], Some(byte)) = (last, bytes.last()) {
                    *last = f32::from(byte & 15) - middle;
                }
            }
            bits => {
                // Eight codes are as many bytes as a code has bits; the lowest come first.
                let code = |word: u64, i: usize| f32::from((word >> (i * bits)) as u8 & mask) - middle;
                let (eights, rest) = out.as_chunks_mut::<8>();
                let mut words =
                    bytes.chunks(bits).map(|part| part.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
                for (codes, word) in eights.iter_mut().zip(&mut words) {
                    *codes = std::array::from_fn(|i| code(word, i));
                }
                let last = words.next().unwrap_or_default();
                rest.iter_mut().enumerate().for_each(|(i, w)| *w = code(last, i));
            }
        }
    }

    /// One row as the numbers that it stands for.
    fn row(&self, row: usize, out: &mut [f32]) {
        self.unpack(row, out);
        let each = self.columns.div_ceil(self.group);
        if let Some(scales) = self.scales.get(row * each..(row + 1) * each) {
            for (out, scale) in out.chunks_mut(self.group).zip(scales) {
                out.iter_mut().for_each(|w| *w *= scale);
            }
        }
    }

    /// `y = W x`: each row is unpacked where it is needed, into `room`.
    fn multiply(&self, x: &[f32], y: &mut [f32], room: &mut Vec<f32>) {
        room.resize(self.columns, 0.0);
        for (row, y) in y.iter_mut().enumerate() {
            self.row(row, room);
            *y = dot(room, x);
        }
    }
}

/// Codes side by side without gaps, the least significant bit first.
fn pack(codes: &[u8], bits: usize) -> Vec<u8> {
    let mut bytes = vec![0; (codes.len() * bits).div_ceil(8)];
    for (i, code) in codes.iter().enumerate() {
        let (byte, shift) = (i * bits / 8, i * bits % 8);
        let [low, high] = (u16::from(*code) << shift).to_le_bytes();
        bytes[byte] |= low;
        if high > 0 {
            bytes[byte + 1] |= high;
        }
    }
    bytes
}

/// Sixteen sums side by side, so that the compiler may take vectors.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..16 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// A matrix, or the product of two: `….weight` `[outputs, rank]` and `….down` `[rank, inputs]`.
struct Linear {
    weight: Matrix,
    down: Option<Matrix>,
}

impl Linear {
    fn read(file: &mut Tensors, name: &str, outputs: usize, inputs: usize) -> Result<Self, String> {
        let down = format!("{name}.down");
        let rank = ["", ".codes", ".scales"].iter().find_map(|part| file.rows(&format!("{down}{part}")));
        Ok(Self {
            weight: Matrix::read(file, &format!("{name}.weight"), outputs, rank.unwrap_or(inputs))?,
            down: rank.map(|rank| Matrix::read(file, &down, rank, inputs)).transpose()?,
        })
    }

    /// `y = W x`, or `y = W (D x)`.
    fn multiply(&self, x: &[f32], y: &mut [f32], room: &mut Room) {
        match &self.down {
            Some(down) => {
                room.middle.resize(self.weight.columns, 0.0);
                down.multiply(x, &mut room.middle, &mut room.row);
                self.weight.multiply(&room.middle, y, &mut room.row);
            }
            None => self.weight.multiply(x, y, &mut room.row),
        }
    }
}

/// Scratch space: one unpacked row, and what stands between two factors.
struct Room {
    row: Vec<f32>,
    middle: Vec<f32>,
}

/// Each channel over the root of the mean square (RMSNorm, arXiv:1910.07467).
fn norm(x: &[f32], weight: &[f32], epsilon: f64, out: &mut [f32]) {
    let mean = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
    let scale = (mean + epsilon as f32).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x / scale * weight;
    }
}

struct Layer {
    attention_norm: Vec<f32>,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    feed_forward_norm: Vec<f32>,
    gate: Linear,
    up: Linear,
    down: Linear,
    /// `[T, K · D]` of the tokens that were read, written as they come.
    keys: Vec<f32>,
    /// Likewise.
    values: Vec<f32>,
}

/// The model, and what it remembers of the text so far.
pub struct Model {
    /// Its sizes.
    pub config: Config,
    embedding: Matrix,
    layers: Vec<Layer>,
    last_norm: Vec<f32>,
    head: Option<Matrix>,
    /// `[T, D / 2]`: cosine and sine of each position and pair of channels.
    turns: Vec<(f32, f32)>,
    length: usize,
    /// The residual stream, its normalized twin and what matrices are given and give.
    x: Vec<f32>,
    normed: Vec<f32>,
    query: Vec<f32>,
    mixed: Vec<f32>,
    inner: Vec<f32>,
    up: Vec<f32>,
    scores: Vec<f32>,
    room: Room,
    logits: Vec<f32>,
}

impl Model {
    /// Takes the model out of a file.
    ///
    /// # Errors
    /// What the file lacks, or holds in another shape; a tensor that the model has no place for.
    pub fn read(mut file: Tensors) -> Result<Self, String> {
        let version = file.note("format")?;
        if version != FORMAT {
            return Err(format!(
                "its format is “{version}”, not “{FORMAT}”: take the program that was exported with it"
            ));
        }
        let scheme = file.note("scheme")?;
        if scheme != "symmetric" {
            return Err(format!("its grids are “{scheme}”, and symmetric ones can be read"));
        }
        let config = Config::read(file.note("config")?)?;
        let (c, f, d) = (config.channels, config.feed_forward, config.channels / config.heads);
        let kv = config.key_value_heads * d;
        let embedding = Matrix::read(&mut file, "model.embed_tokens.weight", config.vocabulary, c)?;
        let mut layers = Vec::new();
        for number in 0..config.layers {
            let mut matrix = |name: &str, rows, columns| {
                Linear::read(&mut file, &format!("model.layers.{number}.{name}"), rows, columns)
            };
            layers.push(Layer {
                query: matrix("self_attn.q_proj", c, c)?,
                key: matrix("self_attn.k_proj", kv, c)?,
                value: matrix("self_attn.v_proj", kv, c)?,
                output: matrix("self_attn.o_proj", c, c)?,
                gate: matrix("mlp.gate_proj", f, c)?,
                up: matrix("mlp.up_proj", f, c)?,
                down: matrix("mlp.down_proj", c, f)?,
                attention_norm: vector(&mut file, &format!("model.layers.{number}.input_layernorm.weight"), c)?,
                feed_forward_norm: vector(
                    &mut file,
                    &format!("model.layers.{number}.post_attention_layernorm.weight"),
                    c,
                )?,
                keys: vec![0.0; config.context * kv],
                values: vec![0.0; config.context * kv],
            });
        }
        let last_norm = vector(&mut file, "model.norm.weight", c)?;
        let head =
            if config.tied { None } else { Some(Matrix::read(&mut file, "lm_head.weight", config.vocabulary, c)?) };
        if let Some(name) = file.left().next() {
            return Err(format!("the model has no place for its tensor “{name}”"));
        }
        let turn = |position: usize, pair: usize| {
            let angle = position as f64 / config.rope_base.powf(2.0 * pair as f64 / d as f64);
            (angle.cos() as f32, angle.sin() as f32)
        };
        let turns = (0..config.context).flat_map(|position| (0..d / 2).map(move |pair| turn(position, pair))).collect();
        let zeros = |length: usize| vec![0.0; length];
        Ok(Self {
            turns,
            embedding,
            layers,
            last_norm,
            head,
            length: 0,
            x: zeros(c),
            normed: zeros(c),
            query: zeros(c),
            mixed: zeros(c),
            inner: zeros(f),
            up: zeros(f),
            scores: zeros(config.context),
            room: Room { row: Vec::new(), middle: Vec::new() },
            logits: zeros(config.vocabulary),
            config,
        })
    }

    /// Forgets the text.
    pub fn forget(&mut self) {
        self.length = 0;
    }

    /// Tokens in memory.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Reads the next token of a text: its keys and values are kept. A token beyond the context is not read, nor is one that
    /// the vocabulary does not have.
    pub fn read_token(&mut self, token: u32) {
        let (config, token, position) = (&self.config, token as usize, self.length);
        if token >= config.vocabulary || position >= config.context {
            return;
        }
        let d = config.channels / config.heads;
        let (kv, shared) = (config.key_value_heads * d, config.heads / config.key_value_heads);
        let turns = &self.turns[position * d / 2..][..d / 2];
        self.embedding.row(token, &mut self.x);
        for layer in &mut self.layers {
            norm(&self.x, &layer.attention_norm, config.norm_epsilon, &mut self.normed);
            let (key, value) = (&mut layer.keys[position * kv..][..kv], &mut layer.values[position * kv..][..kv]);
            layer.query.multiply(&self.normed, &mut self.query, &mut self.room);
            layer.key.multiply(&self.normed, key, &mut self.room);
            layer.value.multiply(&self.normed, value, &mut self.room);
            self.query.chunks_mut(d).chain(key.chunks_mut(d)).for_each(|head| turn(head, turns));
            for (number, (query, mixed)) in self.query.chunks(d).zip(self.mixed.chunks_mut(d)).enumerate() {
                // Of the head of keys and values that this head of queries shares.
                let of = |at: usize| at * kv + number / shared * d..at * kv + number / shared * d + d;
                let scores = &mut self.scores[..=position];
                for (at, score) in scores.iter_mut().enumerate() {
                    *score = dot(query, &layer.keys[of(at)]) / (d as f32).sqrt();
                }
                softmax(scores);
                mixed.fill(0.0);
                for (at, score) in scores.iter().enumerate() {
                    for (mixed, value) in mixed.iter_mut().zip(&layer.values[of(at)]) {
                        *mixed += score * value;
                    }
                }
            }
            layer.output.multiply(&self.mixed, &mut self.normed, &mut self.room);
            self.x.iter_mut().zip(&self.normed).for_each(|(x, y)| *x += y);
            norm(&self.x, &layer.feed_forward_norm, config.norm_epsilon, &mut self.normed);
            layer.gate.multiply(&self.normed, &mut self.inner, &mut self.room);
            layer.up.multiply(&self.normed, &mut self.up, &mut self.room);
            // SwiGLU (arXiv:2002.05202).
            self.inner.iter_mut().zip(&self.up).for_each(|(gate, up)| *gate = *gate / (1.0 + (-*gate).exp()) * up);
            layer.down.multiply(&self.inner, &mut self.normed, &mut self.room);
            self.x.iter_mut().zip(&self.normed).for_each(|(x, y)| *x += y);
        }
        self.length += 1;
    }

    /// Reads the next token, and tells for each token how likely it follows: logits `[V]`.
    pub fn logits(&mut self, token: u32) -> &[f32] {
        self.read_token(token);
        norm(&self.x, &self.last_norm, self.config.norm_epsilon, &mut self.normed);
        self.head.as_ref().unwrap_or(&self.embedding).multiply(&self.normed, &mut self.logits, &mut self.room.row);
        &self.logits
    }
}

/// What the file says of itself; another edition may lay it out otherwise.
pub const FORMAT: &str = "efficient-ai tiny-run 1";

/// The numbers of a norm.
fn vector(file: &mut Tensors, name: &str, length: usize) -> Result<Vec<f32>, String> {
    let tensor = file.take(name).ok_or_else(|| format!("it lacks the tensor “{name}”"))?;
    tensor.floats(&[length]).map_err(|why| format!("its tensor “{name}” {why}"))
}

/// Turns one head by its position: channel `i` goes with channel `i + D/2`.
fn turn(head: &mut [f32], turns: &[(f32, f32)]) {
    let (first, second) = head.split_at_mut(turns.len());
    for ((a, b), (cosine, sine)) in first.iter_mut().zip(second).zip(turns) {
        (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
    }
}

fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}
