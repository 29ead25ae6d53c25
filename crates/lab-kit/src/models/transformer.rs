//! A decoder-only transformer in the layout of Hugging Face's Llama (arXiv:2302.13971): RMSNorm, rotary positions,
//! SwiGLU, no biases. Its fields are named like the tensors of a checkpoint, so that its files are interchangeable.

use std::collections::BTreeMap;

use burn::{
    module::{Module, Param},
    nn::RmsNorm,
    tensor::{Device, Int, Tensor, TensorData, activation::silu},
};
use lab_api::LabError;

use super::{
    Attention, KvCache, Projection, Rope, StateDict, TokenEmbedding, TransformerConfig,
    attention::{Prefix, causal_mask},
    cache::LayerCache,
};
use crate::{
    profile::{NoProbe, Part, Probe, span},
    quant::{PackedMatrix, PackedWeight},
};

/// The model on a device.
#[derive(Module, Debug)]
pub struct Transformer {
    model: Decoder,
    lm_head: Option<Projection>,
    rope: Rope,
    #[module(skip)]
    config: TransformerConfig,
}

#[derive(Module, Debug)]
struct Decoder {
    embed_tokens: TokenEmbedding,
    /// Rows `[rows, C]` that stand before every text, trained to steer a model ([`adapt`](crate::adapters::adapt)).
    prompt_embedding: Option<Param<Tensor<2>>>,
    layers: Vec<Layer>,
    norm: RmsNorm,
}

#[derive(Module, Debug)]
struct Layer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: FeedForward,
}

/// `down(silu(gate(x)) · up(x))`: SwiGLU (Shazeer, arXiv:2002.05202).
#[derive(Module, Debug)]
struct FeedForward {
    gate_proj: Projection,
    up_proj: Projection,
    down_proj: Projection,
}

impl Transformer {
    /// Puts the weights on a device; one from [`Device::autodiff`] makes a model that can be trained. `source` names where
    /// the weights come from, for errors.
    ///
    /// A matrix may come as two factors: `….weight` `[outputs, rank]` and `….down` `[rank, inputs]`. With a `….probe`
    /// of zeros `[outputs, rows]` it tells the gradient of its outputs ([`output_gradients`](super::output_gradients)).
    ///
    /// # Errors
    /// [`LabError::Refused`] for sizes that make no transformer, [`LabError::Asset`] when a weight is missing, left over
    /// or of another shape.
    pub fn new(
        config: &TransformerConfig,
        weights: &StateDict,
        source: &str,
        device: &Device,
    ) -> Result<Self, LabError> {
        config.check()?;
        let (v, c) = (config.vocabulary, config.channels);
        let size = |name: &str, part: &str, axis: usize| {
            weights.get(&format!("{name}.{part}")).and_then(|weight| weight.shape.get(axis)).copied()
        };
        let floats = |name: &str, inputs: usize, outputs: usize| {
            let matrix = match size(name, "down", 0) {
                Some(rank) => Projection::factored(inputs, rank, outputs, device),
                None => Projection::zeros(inputs, outputs, device),
            };
            Ok(match size(name, "probe", 1) {
                Some(rows) => matrix.probed(rows, outputs, device),
                None => matrix,
            })
        };
        let model = Self::assemble(config, TokenEmbedding::zeros(v, c, device), floats, device)?;
        weights.load_into(model, source, device)
    }

    /// The model with every matrix packed, embedding and output layer too; what is left in `rest` (the norms) stays FP32.
    /// `place` gets each matrix with its name and puts it on the device. Such a model cannot be trained. See
    /// [`pack`](super::pack).
    ///
    /// # Errors
    /// As [`Transformer::new`].
    pub fn packed(
        config: &TransformerConfig,
        mut matrices: BTreeMap<String, PackedMatrix>,
        rest: &StateDict,
        (source, mut place): (&str, impl FnMut(&str, PackedMatrix) -> PackedWeight),
        device: &Device,
    ) -> Result<Self, LabError> {
        config.check()?;
        let fail = |why: String| LabError::Asset { name: source.to_owned(), why };
        let mut take = |name: &str, columns: usize, rows: usize| {
            let matrix = matrices.remove(name).ok_or_else(|| fail(format!("it lacks the tensor “{name}”")))?;
            if (matrix.rows, matrix.columns) != (rows, columns) {
                let (r, c) = (matrix.rows, matrix.columns);
                return Err(fail(format!("tensor “{name}” has shape [{r}, {c}], not [{rows}, {columns}]")));
            }
            Ok(place(name, matrix))
        };
        let embedding = take("model.embed_tokens.weight", config.channels, config.vocabulary)?;
        let packed = |name: &str, inputs: usize, outputs: usize| {
            take(&format!("{name}.weight"), inputs, outputs).map(Projection::packed)
        };
        let model = Self::assemble(config, TokenEmbedding::packed(embedding), packed, device)?;
        rest.load_into(model, source, device)
    }

    /// The model around its matrices: `matrix(name, inputs, outputs)` makes each.
    fn assemble(
        config: &TransformerConfig,
        embed_tokens: TokenEmbedding,
        mut matrix: impl FnMut(&str, usize, usize) -> Result<Projection, LabError>,
        device: &Device,
    ) -> Result<Self, LabError> {
        let norm = || RmsNorm {
            gamma: Param::from_tensor(Tensor::ones([config.channels], device)),
            epsilon: config.norm_epsilon,
        };
        let (c, f) = (config.channels, config.feed_forward);
        let kv = config.key_value_heads * config.head_channels();
        let mut layers = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let mut named =
                |name: &str, inputs, outputs| matrix(&format!("model.layers.{layer}.{name}"), inputs, outputs);
            layers.push(Layer {
                input_layernorm: norm(),
                self_attn: Attention {
                    q_proj: named("self_attn.q_proj", c, c)?,
                    k_proj: named("self_attn.k_proj", c, kv)?,
                    v_proj: named("self_attn.v_proj", c, kv)?,
                    o_proj: named("self_attn.o_proj", c, c)?,
                    prefix: None,
                    heads: config.heads,
                    key_value_heads: config.key_value_heads,
                },
                post_attention_layernorm: norm(),
                mlp: FeedForward {
                    gate_proj: named("mlp.gate_proj", c, f)?,
                    up_proj: named("mlp.up_proj", c, f)?,
                    down_proj: named("mlp.down_proj", f, c)?,
                },
            });
        }
        let lm_head = if config.tied { None } else { Some(matrix("lm_head", c, config.vocabulary)?) };
        Ok(Self {
            model: Decoder { embed_tokens, prompt_embedding: None, layers, norm: norm() },
            lm_head,
            // A constant: no gradient is ever wanted.
            rope: Rope::new(config, &device.clone().inner()),
            config: config.clone(),
        })
    }

    /// Its sizes.
    #[must_use]
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// Shows each matrix of the layers by its name in [`TransformerConfig::shapes`], so that something may be attached to it.
    pub(crate) fn for_each_matrix(&mut self, change: &mut dyn FnMut(&str, &mut Projection)) {
        for (number, layer) in self.model.layers.iter_mut().enumerate() {
            let (attention, mlp) = (&mut layer.self_attn, &mut layer.mlp);
            for (name, matrix) in [
                ("self_attn.q_proj", &mut attention.q_proj),
                ("self_attn.k_proj", &mut attention.k_proj),
                ("self_attn.v_proj", &mut attention.v_proj),
                ("self_attn.o_proj", &mut attention.o_proj),
                ("mlp.gate_proj", &mut mlp.gate_proj),
                ("mlp.up_proj", &mut mlp.up_proj),
                ("mlp.down_proj", &mut mlp.down_proj),
            ] {
                change(&format!("model.layers.{number}.{name}.weight"), matrix);
            }
        }
    }

    /// Puts rows `[rows, C]` before every text. Such a model reads texts whole, without a cache.
    pub(crate) fn set_prompt(&mut self, rows: Option<Tensor<2>>) {
        self.model.prompt_embedding = rows.map(Param::from_tensor);
    }

    /// Puts keys and values `[rows, K · D]` before every text in each layer.
    pub(crate) fn set_prefixes(&mut self, rows: &mut dyn FnMut(usize) -> (Tensor<2>, Tensor<2>)) {
        for (number, layer) in self.model.layers.iter_mut().enumerate() {
            let (keys, values) = rows(number);
            let param = Param::from_tensor;
            layer.self_attn.prefix = Some(Prefix { keys: param(keys), values: param(values) });
        }
    }

    /// Rows of its prompt.
    fn prompt_rows(&self) -> usize {
        self.model.prompt_embedding.as_ref().map_or(0, |rows| rows.val().dims()[0])
    }

    /// Reads the weights back.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails.
    pub async fn weights(&self) -> Result<StateDict, LabError> {
        StateDict::of(self).await
    }

    /// Rows of equal length as a tensor `[B, T]`.
    ///
    /// # Errors
    /// [`LabError::Refused`] for no token, rows of unequal or too great length, or a token outside the vocabulary.
    pub fn tokens(&self, rows: &[&[u32]], device: &Device) -> Result<Tensor<2, Int>, LabError> {
        let refuse = |why: String| Err(LabError::Refused { why });
        let length = rows.first().map_or(0, |row| row.len());
        if length == 0 || rows.iter().any(|row| row.len() != length) {
            return refuse("a batch needs rows of equal length, of one token at least".into());
        }
        let room = self.config.context.saturating_sub(self.prompt_rows());
        if length > room {
            return refuse(format!("{length} tokens exceed the model's context of {room}"));
        }
        let flat: Vec<i32> =
            rows.iter().flat_map(|row| row.iter().map(|id| i32::try_from(*id).unwrap_or(i32::MAX))).collect();
        if let Some(bad) = flat.iter().find(|id| usize::try_from(**id).is_ok_and(|id| id >= self.config.vocabulary)) {
            return refuse(format!("there is no token {bad}: the vocabulary has {}", self.config.vocabulary));
        }
        Ok(Tensor::from_data(TensorData::new(flat, [rows.len(), length]), device))
    }

    /// Logits `[B, T, V]` of tokens `[B, T]` that begin at position 0.
    #[must_use]
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.head(self.body(tokens, 0, None, &mut NoProbe).0)
    }

    /// Logits `[B, T, V]` as of [`Transformer::forward`] without a cache and as of [`Transformer::extend`] with one, the last
    /// row `[B, 1, V]` alone where `last` says so, under the eyes of a probe.
    ///
    /// # Errors
    /// As [`Transformer::extend`].
    pub fn probed(
        &self,
        tokens: Tensor<2, Int>,
        cache: Option<&mut KvCache>,
        last: bool,
        probe: &mut dyn Probe,
    ) -> Result<Tensor<3>, LabError> {
        let [_, t] = tokens.dims();
        let x = match cache {
            Some(cache) => self.cached(tokens, cache, probe)?,
            None => self.body(tokens, 0, None, probe).0,
        };
        Ok(span(probe, Part::Head, || self.head(if last { x.narrow(1, t - 1, 1) } else { x })))
    }

    /// What each matrix is multiplied with when the model reads tokens `[B, T]` from position 0: the matrices that share an
    /// input, by their names in [`TransformerConfig::shapes`], and that input, `[B · T, inputs]`. The embedding, of which
    /// rows are read, has none, unless it is the output layer too.
    #[must_use]
    pub fn inputs_of_matrices(&self, tokens: Tensor<2, Int>) -> Vec<(Vec<String>, Tensor<2>)> {
        let mut inputs = Inputs { layer: 0, seen: Vec::new() };
        let (last, _) = self.body(tokens, 0, None, &mut inputs);
        let head = if self.lm_head.is_some() { "lm_head.weight" } else { "model.embed_tokens.weight" };
        inputs.seen.push((vec![head.to_owned()], flat(&last)));
        inputs.seen
    }

    /// The residual stream `[B, T, C]` of tokens `[B, T]` before the first layer.
    #[must_use]
    pub fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.model.embed_tokens.forward(tokens)
    }

    /// What layer `number` makes of a residual stream `[B, T, C]` that begins at position 0, and what its matrices are given
    /// on the way, as in [`Transformer::inputs_of_matrices`]: for whoever changes a model layer by layer. A layer that is not
    /// there changes nothing.
    #[must_use]
    pub fn layer(&self, number: usize, mut x: Tensor<3>) -> (Tensor<3>, Vec<(Vec<String>, Tensor<2>)>) {
        let [_, t, _] = x.dims();
        let mask = causal_mask(t, 0, &x.device().inner());
        let mut inputs = Inputs { layer: number, seen: Vec::new() };
        if let Some(layer) = self.model.layers.get(number) {
            layer.forward(&mut x, &self.rope, (mask, 0), None, &mut inputs);
        }
        (x, inputs.seen)
    }

    /// Logits `[B, T, V]` of a residual stream `[B, T, C]`, as if no layer came after it: the last norm and the output layer
    /// alone (the logit lens).
    #[must_use]
    pub fn readout(&self, x: Tensor<3>) -> Tensor<3> {
        self.head(self.model.norm.forward(x))
    }

    /// Logits `[B, T, V]` of tokens `[B, T]` that continue what the cache holds; the cache then holds them too.
    ///
    /// # Errors
    /// [`LabError::Refused`] when they do not fit the cache.
    pub fn extend(&self, tokens: Tensor<2, Int>, cache: &mut KvCache) -> Result<Tensor<3>, LabError> {
        Ok(self.head(self.cached(tokens, cache, &mut NoProbe)?))
    }

    /// Logits `[B, V]` of what follows the last of the tokens `[B, T]`; else as [`Transformer::extend`]. The output layer
    /// sees one token alone.
    ///
    /// # Errors
    /// As [`Transformer::extend`].
    pub fn next(&self, tokens: Tensor<2, Int>, cache: &mut KvCache) -> Result<Tensor<2>, LabError> {
        let [b, t] = tokens.dims();
        let last = self.cached(tokens, cache, &mut NoProbe)?.narrow(1, t - 1, 1); // [B, 1, C]
        Ok(self.head(last).reshape([b, self.config.vocabulary]))
    }

    fn cached(
        &self,
        tokens: Tensor<2, Int>,
        cache: &mut KvCache,
        probe: &mut dyn Probe,
    ) -> Result<Tensor<3>, LabError> {
        let [b, t] = tokens.dims();
        cache.admit(b, t)?;
        if self.prompt_rows() > 0 {
            return Err(LabError::Refused { why: "a model with a trained prompt reads its text whole".into() });
        }
        // Taken out, so that no second reference forces a copy.
        let layers = std::mem::take(&mut cache.layers);
        let (y, layers) = self.body(tokens, cache.length, Some(layers), probe);
        cache.layers = layers;
        cache.length += t;
        Ok(y)
    }

    /// Normalized activations `[B, T, C]` before the output layer.
    fn body(
        &self,
        tokens: Tensor<2, Int>,
        start: usize,
        caches: Option<Vec<LayerCache>>,
        probe: &mut dyn Probe,
    ) -> (Tensor<3>, Vec<LayerCache>) {
        let [b, t] = tokens.dims();
        let device = tokens.device().inner();
        let prompt = self.prompt_rows();
        let prefix = self.model.layers.first().and_then(|layer| layer.self_attn.prefix.as_ref());
        let mask = span(probe, Part::Mask, || causal_mask(prompt + t, start + prefix.map_or(0, Prefix::rows), &device));
        let mut x = span(probe, Part::Embed, || self.model.embed_tokens.forward(tokens)); // [B, T, C]
        if let Some(rows) = &self.model.prompt_embedding {
            let rows = rows.val().unsqueeze::<3>().expand([b, prompt, self.config.channels]);
            x = Tensor::cat(vec![rows, x], 1);
        }
        let mut caches = caches.map(Vec::into_iter);
        let mut kept = Vec::new();
        for layer in &self.model.layers {
            let cache = caches.as_mut().and_then(Iterator::next);
            let cache = layer.forward(&mut x, &self.rope, (mask.clone(), start), cache, probe);
            kept.extend(cache);
        }
        if prompt > 0 {
            x = x.narrow(1, prompt, t);
        }
        (normed(&self.model.norm, x, Part::LastNorm, probe), kept)
    }

    fn head(&self, x: Tensor<3>) -> Tensor<3> {
        match &self.lm_head {
            Some(head) => head.forward(x),
            None => self.model.embed_tokens.head(x),
        }
    }
}

impl Layer {
    /// Adds what the layer computes to the residual stream `[B, T, C]`.
    fn forward(
        &self,
        x: &mut Tensor<3>,
        rope: &Rope,
        place: (Option<Tensor<4>>, usize),
        cache: Option<LayerCache>,
        probe: &mut dyn Probe,
    ) -> Option<LayerCache> {
        probe.enter(Part::Block);
        let input = normed(&self.input_layernorm, x.clone(), Part::Norm, probe);
        probe.enter(Part::Attention);
        let (y, cache) = self.self_attn.forward(input, rope, place, cache, probe);
        probe.leave(Part::Attention);
        span(probe, Part::Residual, || *x = x.clone() + y);
        let input = normed(&self.post_attention_layernorm, x.clone(), Part::Norm, probe);
        probe.enter(Part::FeedForward);
        let y = self.mlp.forward(input, probe);
        probe.leave(Part::FeedForward);
        span(probe, Part::Residual, || *x = x.clone() + y);
        probe.leave(Part::Block);
        cache
    }
}

impl FeedForward {
    /// `[B, T, C]` to `[B, T, C]`.
    fn forward(&self, x: Tensor<3>, probe: &mut dyn Probe) -> Tensor<3> {
        probe.given(&["mlp.gate_proj", "mlp.up_proj"], &x);
        let gate = span(probe, Part::Gate, || self.gate_proj.forward(x.clone()));
        let gate = if probe.runs(Part::Silu) { span(probe, Part::Silu, || silu(gate)) } else { gate };
        let up = span(probe, Part::Up, || self.up_proj.forward(x));
        let inner = span(probe, Part::Product, || gate * up);
        probe.given(&["mlp.down_proj"], &inner);
        span(probe, Part::Down, || self.down_proj.forward(inner))
    }
}

/// Normalized rows, if the norm is to run.
fn normed(norm: &RmsNorm, x: Tensor<3>, part: Part, probe: &mut dyn Probe) -> Tensor<3> {
    if probe.runs(part) { span(probe, part, || norm.forward(x)) } else { x }
}

/// `[B, T, C]` to `[B · T, C]`.
fn flat(x: &Tensor<3>) -> Tensor<2> {
    let [b, t, c] = x.dims();
    x.clone().reshape([b * t, c])
}

/// Keeps what the matrices are given.
struct Inputs {
    layer: usize,
    seen: Vec<(Vec<String>, Tensor<2>)>,
}

impl Probe for Inputs {
    fn leave(&mut self, part: Part) {
        self.layer += usize::from(part == Part::Block);
    }
    fn given(&mut self, names: &[&str], input: &Tensor<3>) {
        let names = names.iter().map(|name| format!("model.layers.{}.{name}.weight", self.layer));
        self.seen.push((names.collect(), flat(input)));
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use rand::Rng;

    use super::*;
    use crate::{
        measure::peak_bytes,
        mlp::read,
        models::{Sampling, Weight, config_tests::tiny, generate, pack},
        quant::{Granularity, Inputs, Scheme, Settings},
        testing::{FakeClock, alone_in_memory, context, ready},
        weights::{Precision, WeightFile},
    };

    fn random(config: &TransformerConfig, seed: u64, device: &Device) -> Transformer {
        let weights = config.init(&mut crate::rng(seed, "weights"));
        Transformer::new(config, &weights, "a test", device).expect("fits")
    }

    fn worst<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
        assert_eq!(a.dims(), b.dims());
        (a - b).abs().max().into_scalar()
    }

    #[test]
    fn logits_equal_those_of_hugging_face() {
        let device = Device::flex();
        let files: [(usize, &[u8]); 3] = [
            (4, include_bytes!("../../fixtures/llama-mha.safetensors")),
            (2, include_bytes!("../../fixtures/llama-gqa.safetensors")),
            (1, include_bytes!("../../fixtures/llama-mqa.safetensors")),
        ];
        for (key_value_heads, bytes) in files {
            let config = TransformerConfig { key_value_heads, ..tiny() };
            let file = WeightFile::open("fixture", bytes).expect("whole");
            let mut weights = StateDict::default();
            for (name, shape) in config.shapes() {
                weights.insert(&name, &shape, file.floats(&name, &shape).expect("there")).expect("fits");
            }
            let model = Transformer::new(&config, &weights, "fixture", &device).expect("fits");
            let tokens: Vec<u32> =
                file.integers("fixture.tokens", &[2, 9]).expect("there").into_iter().map(u32::from).collect();
            let logits = model.forward(model.tokens(&[&tokens[..9], &tokens[9..]], &device).expect("valid"));
            let expected = file.floats("fixture.logits", &[2, 9, 17]).expect("there");
            let logits = ready(read(logits)).expect("runs");
            let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            // Logits reach about 5; two layers of sums of at most 24 products in singles, and sines that PyTorch computes
            // in singles and we in doubles, leave a few units of 1e-6.
            for (ours, theirs) in logits.iter().zip(&expected) {
                assert!((ours - theirs).abs() < 2e-5, "{key_value_heads} heads: {ours} {theirs}");
            }
            assert!(largest > 1.0);
        }
    }

    #[test]
    fn layer_after_layer_and_read_out_is_the_model() {
        let (config, device) = (tiny(), Device::flex());
        let model = random(&config, 0, &device);
        let tokens = model.tokens(&[&[1, 5, 9, 2], &[3, 3, 0, 16]], &device).expect("valid");
        let mut x = model.embed(tokens.clone());
        for layer in 0..config.layers {
            assert!(worst(model.readout(x.clone()), model.forward(tokens.clone())) > 0.0, "not before the last layer");
            x = model.layer(layer, x).0;
        }
        assert!(worst(model.readout(x), model.forward(tokens)) == 0.0);
    }

    #[test]
    fn a_probe_changes_no_bit_and_every_part_that_begins_ends() {
        use crate::profile::{CountProbe, Depth, SpanProbe, Without, self_times};
        let device = Device::flex();
        let cx = context(Rc::new(FakeClock::new(0.1)));
        for (key_value_heads, tied) in [(4, false), (2, true)] {
            let config = TransformerConfig { key_value_heads, tied, ..tiny() };
            let model = random(&config, 0, &device);
            let tokens = || model.tokens(&[&[3, 1, 4, 1, 5], &[9, 2, 6, 5, 3]], &device).expect("valid");
            let plain = model.forward(tokens());
            for depth in [Depth::Pass, Depth::Block, Depth::Layer, Depth::Operation] {
                let mut probe = SpanProbe::new(&cx, depth, 0.0);
                probe.enter(Part::Pass);
                let watched = model.probed(tokens(), None, false, &mut probe).expect("fits");
                probe.leave(Part::Pass);
                assert_eq!(worst(watched, plain.clone()), 0.0);
                let times = self_times(&probe.events).expect("nested");
                assert_eq!(times[&Part::Pass].calls, 1);
                // Leaves do not lie in each other, so their own time is all of theirs.
                assert!(times.iter().all(|(part, t)| *part == Part::Pass || (t.self_ms - t.total_ms).abs() < 1e-9));
            }
            // With a cache the same, and the last row alone is the last row.
            let mut cache = KvCache::new(&config, 2, 5, &device).expect("fits");
            let last = model.probed(tokens(), Some(&mut cache), true, &mut CountProbe::default()).expect("fits");
            assert!(worst(last, plain.clone().narrow(1, 4, 1)) < 1e-5);
            // What is left out is left out.
            for part in [Part::Norm, Part::TurnQuery, Part::Softmax, Part::Silu] {
                let mut without = Without(match part {
                    Part::Norm => |part| part == Part::Norm,
                    Part::TurnQuery => |part| part == Part::TurnQuery,
                    Part::Softmax => |part| part == Part::Softmax,
                    _ => |part| part == Part::Silu,
                });
                let other = model.probed(tokens(), None, false, &mut without).expect("fits");
                assert!(worst(other, plain.clone()) > 1e-3, "{part:?}");
            }
        }
    }

    #[test]
    fn the_cache_changes_nothing_but_the_work() {
        let device = Device::flex();
        let mut rng = crate::rng(0, "cuts");
        for (seed, key_value_heads) in [(0, 4), (1, 2), (2, 1)] {
            let config = TransformerConfig { key_value_heads, tied: seed == 2, ..tiny() };
            let model = random(&config, seed, &device);
            let text: Vec<Vec<u32>> = (0..2).map(|_| (0..16).map(|_| rng.random_range(0..17)).collect()).collect();
            let part = |from: usize, to: usize| {
                model.tokens(&[&text[0][from..to], &text[1][from..to]], &device).expect("valid")
            };
            let whole = model.forward(part(0, 16));
            let mut cache = KvCache::new(&config, 2, 16, &device).expect("fits");
            let mut at = 0;
            while at < 16 {
                let to = (at + rng.random_range(1..5)).min(16);
                let logits = model.extend(part(at, to), &mut cache).expect("fits");
                // The same sums over keys, in another grouping of rows.
                assert!(worst(logits, whole.clone().narrow(1, at, to - at)) < 1e-5);
                at = to;
            }
            // Going back: what was beyond is forgotten.
            cache.truncate(7);
            let logits = model.next(part(7, 9), &mut cache).expect("fits");
            assert!(worst(logits.unsqueeze_dim::<3>(1), whole.narrow(1, 8, 1)) < 1e-5);
            assert_eq!(cache.len(), 9);
        }
    }

    #[test]
    fn a_step_writes_into_the_cache_and_does_not_copy_it() {
        let _alone = alone_in_memory();
        let cx = context(Rc::new(FakeClock::real()));
        let config = TransformerConfig { context: 1 << 14, layers: 1, ..tiny() };
        let model = random(&config, 0, &cx.device);
        let mut cache = KvCache::new(&config, 64, 1 << 14, &cx.device).expect("fits");
        let tokens = model.tokens(&[&[1_u32] as &[u32]; 64], &cx.device).expect("valid");
        // Tests on other threads may allocate meanwhile; a copy would stand in every one of these steps.
        let mut peaks = Vec::new();
        for _ in 0..8 {
            let step = async || model.next(tokens.clone(), &mut cache).map(drop);
            peaks.push(ready(peak_bytes(&cx, step)).expect("fits").1.expect("counted"));
        }
        let peak = peaks.into_iter().min().expect("eight steps");
        // A copy of the keys alone would take half of the cache.
        let whole = 64 * (1 << 14) * config.cache_bytes_per_token(Precision::Fp32);
        assert!(peak < whole / 4, "{peak} of {whole}");
    }

    #[test]
    fn the_future_is_hidden() {
        let device = Device::flex();
        let model = random(&tiny(), 3, &device);
        let logits = |last: u32| model.forward(model.tokens(&[&[1, 2, 3, last]], &device).expect("valid"));
        let (a, b) = (logits(4), logits(5));
        assert!(worst(a.clone().narrow(1, 0, 3), b.clone().narrow(1, 0, 3)) < 1e-6);
        assert!(worst(a.narrow(1, 3, 1), b.narrow(1, 3, 1)) > 1e-3);
    }

    #[test]
    fn generation_with_a_cache_writes_what_recomputation_writes() {
        let device = Device::flex();
        let model = random(&tiny(), 4, &device);
        let sampling = Sampling { temperature: 0.8, top_k: Some(5) };
        let prompt = [3, 1, 4];
        let mut seen = Vec::new();
        let written =
            ready(generate(&model, (&prompt, 13), &sampling, &mut crate::rng(9, "text"), &device, async |token| {
                seen.push(token);
                Ok(())
            }))
            .expect("fits");
        assert_eq!(seen, written);
        let mut rng = crate::rng(9, "text");
        let mut text = prompt.to_vec();
        for _ in 0..13 {
            let logits = model.forward(model.tokens(&[&text], &device).expect("valid"));
            let last = ready(read(logits.narrow(1, text.len() - 1, 1))).expect("runs");
            text.push(sampling.draw(&last, &mut rng).expect("numbers"));
        }
        assert_eq!(text[3..], written);
    }

    #[test]
    fn a_packed_model_computes_what_its_weights_say() {
        let device = Device::flex();
        let mut rng = crate::rng(0, "cuts");
        for (bits, tied) in [(16, false), (8, true), (4, false), (3, true), (2, false)] {
            let config = TransformerConfig { tied, ..tiny() };
            let weights = config.init(&mut rng);
            let settings = Settings::weight_only(bits, Scheme::Affine, Granularity::Group(8));
            let quantize =
                |_: &str, weight: &Weight| PackedMatrix::quantize(&weight.values, weight.shape[1], &settings);
            let (matrices, rest) = pack(&weights, quantize).expect("packs");
            let mut rounded = weights.clone();
            for (name, matrix) in &matrices {
                rounded.get_mut(name).expect("there").values = matrix.dequantize();
            }
            let numbers: usize = config.shapes().iter().filter(|(_, shape)| shape.len() == 2).count();
            assert_eq!(matrices.len(), numbers);
            let plain = Transformer::new(&config, &rounded, "rounded", &device).expect("fits");
            let packed = |inputs| {
                let place = |_: &str, matrix| PackedWeight::new(matrix, inputs, &device);
                Transformer::packed(&config, matrices.clone(), &rest, ("packed", place), &device).expect("fits")
            };
            let run = |model: &Transformer| model.forward(model.tokens(&[&[3, 1, 4, 1, 5]], &device).expect("valid"));
            // The same numbers, summed in another order.
            assert!(worst(run(&packed(Inputs::Float)), run(&plain)) < 1e-4, "{bits} bits");
            let apart = worst(run(&packed(Inputs::Int8)), run(&plain));
            // 256 levels cost something, and not much; half precision has no integers to multiply.
            assert!(if bits == 16 { apart < 1e-4 } else { (1e-5..0.3).contains(&apart) }, "{bits} bits: {apart}");
        }
    }

    #[test]
    fn every_matrix_shows_the_input_that_its_name_says() {
        let device = Device::flex();
        for tied in [false, true] {
            let config = TransformerConfig { tied, ..tiny() };
            let model = random(&config, 0, &device);
            let tokens = || model.tokens(&[&[3, 1, 4], &[1, 5, 9]], &device).expect("valid");
            let seen = model.inputs_of_matrices(tokens());
            let mut named: Vec<(String, usize)> = Vec::new();
            for (names, input) in &seen {
                let [rows, columns] = input.dims();
                assert_eq!(rows, 6);
                named.extend(names.iter().map(|name| (name.clone(), columns)));
            }
            let matrices = config.shapes().into_iter().filter(|(_, shape)| shape.len() == 2);
            let mut expected: Vec<(String, usize)> = matrices.map(|(name, shape)| (name, shape[1])).collect();
            expected.retain(|(name, _)| tied || !name.contains("embed_tokens"));
            named.sort();
            expected.sort();
            assert_eq!(named, expected);
            // Layer by layer the same.
            let (mut x, mut by_layer) = (model.embed(tokens()), Vec::new());
            for number in 0..=config.layers {
                let (y, inputs) = model.layer(number, x);
                by_layer.extend(inputs);
                x = y;
            }
            assert_eq!(by_layer.len() + 1, seen.len());
            for ((names, input), (expected, whole)) in by_layer.into_iter().zip(&seen) {
                assert_eq!(&names, expected);
                assert_eq!(worst(input, whole.clone()), 0.0);
            }
            // The last of them, given to the output layer, makes the logits.
            let (_, last) = &seen[seen.len() - 1];
            let logits = model.head(last.clone().reshape([2, 3, config.channels]));
            assert!(worst(logits, model.forward(tokens())) < 1e-6);
        }
    }

    #[test]
    fn a_packed_model_never_holds_a_matrix_of_floats() {
        let _alone = alone_in_memory();
        let cx = context(Rc::new(FakeClock::real()));
        let config = TransformerConfig { vocabulary: 8192, channels: 256, layers: 1, feed_forward: 4096, ..tiny() };
        let settings = Settings::weight_only(4, Scheme::Symmetric, Granularity::Group(32));
        let quantize = |_: &str, weight: &Weight| PackedMatrix::quantize(&weight.values, weight.shape[1], &settings);
        let (matrices, rest) = pack(&config.init(&mut crate::rng(0, "w")), quantize).expect("packs");
        let largest = 8192 * 256 * size_of::<f32>();
        let place = |_: &str, matrix| PackedWeight::new(matrix, Inputs::Int8, &cx.device);
        let model = Transformer::packed(&config, matrices, &rest, ("packed", place), &cx.device).expect("fits");
        let tokens = model.tokens(&[&[1, 2, 3, 4]], &cx.device).expect("valid");
        let mut cache = KvCache::new(&config, 1, 16, &cx.device).expect("fits");
        let step = async || model.extend(tokens, &mut cache).map(drop);
        let peak = ready(peak_bytes(&cx, step)).expect("fits").1.expect("counted");
        // Burn's product of small matrices, as attention's are, works in an area that grows with the processor's caches: one
        // megabyte on some, over two on others. It is measured here, on scores of the same shape.
        let queries = Tensor::<4>::ones([1, config.heads, 4, config.head_channels()], &cx.device);
        let scores = async || {
            let product = queries.clone().matmul(queries.clone().transpose());
            read(product.reshape([16 * config.heads])).await.map(drop)
        };
        let work_area = ready(peak_bytes(&cx, scores)).expect("fits").1.expect("counted");
        assert!(peak < work_area + largest / 4, "{peak} of {largest}, beside {work_area}");
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        let (device, config) = (Device::flex(), tiny());
        let model = random(&config, 0, &device);
        let tokens = |rows: &[&[u32]]| model.tokens(rows, &device).map(|_| ()).expect_err("refused").to_string();
        assert!(tokens(&[&[17]]).contains("no token 17"));
        assert!(tokens(&[&[1, 2], &[1]]).contains("equal length"));
        assert!(tokens(&[&[0; 17]]).contains("context of 16"));
        assert!(KvCache::new(&config, 1, 17, &device).is_err());
        let huge = KvCache::new(&config, 1 << 20, 16, &device).expect_err("refused").to_string();
        assert!(huge.contains("takes 2048 MiB, more than the 1024"), "{huge}");
        let mut cache = KvCache::new(&config, 1, 3, &device).expect("fits");
        let four = model.tokens(&[&[1, 2, 3, 4]], &device).expect("valid");
        let why = model.extend(four, &mut cache).expect_err("refused").to_string();
        assert!(why.contains("holds 0 of 3 tokens, so 4 more do not fit"), "{why}");

        let weights = config.init(&mut crate::rng(0, "weights"));
        let refused = |config: &TransformerConfig, weights: &StateDict| {
            Transformer::new(config, weights, "w", &device).map(|_| ()).expect_err("refused").to_string()
        };
        let more = TransformerConfig { layers: 3, ..config.clone() };
        assert!(refused(&more, &weights).contains("it lacks the tensor “model.layers.2."));
        let fewer = TransformerConfig { layers: 1, ..config.clone() };
        assert!(refused(&fewer, &weights).contains("no place for its tensor “model.layers.1."));
        let wider = TransformerConfig { feed_forward: 25, ..config.clone() };
        assert!(refused(&wider, &weights).contains("has shape [24, 16], not [25, 16]"));
    }

    #[test]
    fn weights_survive_a_trip_through_device_and_file() {
        let (device, config) = (Device::flex(), tiny());
        let weights = config.init(&mut crate::rng(0, "weights"));
        let model = Transformer::new(&config, &weights, "w", &device).expect("fits");
        assert_eq!(ready(model.weights()).expect("read"), weights);
        let bytes = weights.to_safetensors(Precision::Fp32, "a test").expect("fits");
        assert_eq!(StateDict::from_safetensors("w", &bytes).expect("whole"), weights);
    }
}
