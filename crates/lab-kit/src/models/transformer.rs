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
mod tests;
