//! The language model with its attention left open: whoever drives it decides what a query sees.

use burn::tensor::{Device, Int, Tensor, TensorData, activation::silu};
use lab_api::LabError;

use crate::{
    models::{StateDict, TransformerConfig},
    ops::matmul,
};

/// A [`Transformer`](crate::models::Transformer) in three parts a layer: projections, whatever attention, the rest.
#[derive(Debug, Clone)]
pub struct Decoder {
    config: TransformerConfig,
    embedding: Tensor<2>,
    layers: Vec<Layer>,
    norm: Tensor<2>,
    head: Tensor<2>,
}

#[derive(Debug, Clone)]
struct Layer {
    norms: [Tensor<2>; 2],
    /// `[C, C + 2 K D]`: queries, keys and values of a token in one product.
    qkv: Tensor<2>,
    /// `[C, C]`.
    output: Tensor<2>,
    /// `[C, 2 F]`.
    gate_up: Tensor<2>,
    /// `[F, C]`.
    down: Tensor<2>,
}

impl Decoder {
    /// Puts the weights on a device.
    ///
    /// # Errors
    /// [`LabError::Refused`] for sizes that make no transformer, [`LabError::Asset`] for a weight that is not there.
    pub fn new(config: &TransformerConfig, state: &StateDict, device: &Device) -> Result<Self, LabError> {
        config.check()?;
        // Matrices side by side, each turned from `[outputs, inputs]`.
        let beside = |names: &[String]| -> Result<Tensor<2>, LabError> {
            let mut found = Vec::new();
            for name in names {
                let fail = || LabError::Asset { name: name.clone(), why: "the model lacks this tensor".into() };
                found.push(state.get(&format!("{name}.weight")).ok_or_else(fail)?);
            }
            let inputs = found.first().and_then(|first| first.shape.last()).copied().unwrap_or(1);
            let rows: Vec<&[f32]> = found.iter().flat_map(|weight| weight.values.chunks(inputs)).collect();
            let turned: Vec<f32> = (0..inputs).flat_map(|i| rows.iter().map(move |row| row[i])).collect();
            Ok(Tensor::from_data(TensorData::new(turned, [inputs, rows.len()]), device))
        };
        let one = |name: &str| beside(&[name.to_owned()]);
        let norm = |name: &str| one(name).map(|gain| gain.reshape([1, config.channels]));
        let mut layers = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let named = |name: &str| format!("model.layers.{layer}.{name}");
            layers.push(Layer {
                norms: [norm(&named("input_layernorm"))?, norm(&named("post_attention_layernorm"))?],
                qkv: beside(&["q", "k", "v"].map(|part| named(&format!("self_attn.{part}_proj"))))?,
                output: one(&named("self_attn.o_proj"))?,
                gate_up: beside(&["gate", "up"].map(|part| named(&format!("mlp.{part}_proj"))))?,
                down: one(&named("mlp.down_proj"))?,
            });
        }
        let embedding = one("model.embed_tokens")?; // [C, V]
        let head = if config.tied { embedding.clone() } else { one("lm_head")? };
        Ok(Self { config: config.clone(), embedding: embedding.transpose(), layers, norm: norm("model.norm")?, head })
    }

    /// Its sizes.
    #[must_use]
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// The residual stream `[T, C]` before the first layer.
    ///
    /// # Errors
    /// [`LabError::Refused`] for no token and for one outside the vocabulary.
    pub fn embed(&self, tokens: &[u32]) -> Result<Tensor<2>, LabError> {
        if tokens.is_empty() || tokens.iter().any(|token| *token as usize >= self.config.vocabulary) {
            let why = format!("tokens must be one at least, each below {}", self.config.vocabulary);
            return Err(LabError::Refused { why });
        }
        let ids: Vec<i32> = tokens.iter().map(|id| i32::try_from(*id).unwrap_or(0)).collect();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [tokens.len()]), &self.embedding.device());
        Ok(self.embedding.clone().select(0, ids))
    }

    /// Queries, keys and values of a layer, `[T, C + 2 K D]`, not rotated.
    #[must_use]
    pub fn project(&self, layer: usize, x: &Tensor<2>) -> Tensor<2> {
        let layer = &self.layers[layer];
        matmul(self.normed(x.clone(), &layer.norms[0]), layer.qkv.clone())
    }

    /// The residual stream after a layer whose attention gave `y` `[T, C]`.
    #[must_use]
    pub fn finish(&self, layer: usize, x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
        let (layer, f) = (&self.layers[layer], self.config.feed_forward);
        let x = x + matmul(y, layer.output.clone());
        let wide = matmul(self.normed(x.clone(), &layer.norms[1]), layer.gate_up.clone());
        let inner = silu(wide.clone().narrow(1, 0, f)) * wide.narrow(1, f, f);
        x + matmul(inner, layer.down.clone())
    }

    /// Logits `[T, V]`.
    #[must_use]
    pub fn logits(&self, x: Tensor<2>) -> Tensor<2> {
        matmul(self.normed(x, &self.norm), self.head.clone())
    }

    fn normed(&self, x: Tensor<2>, gain: &Tensor<2>) -> Tensor<2> {
        let square = (x.clone() * x.clone()).mean_dim(1);
        x / square.add_scalar(self.config.norm_epsilon as f32).sqrt() * gain.clone()
    }
}

/// Rotary positions (arXiv:2104.09864) of plain rows: channel `i` turns with channel `i + D/2`.
#[derive(Debug, Clone)]
pub struct Turns {
    /// Cosine and sine, `[positions, D/2]`.
    table: Vec<[f32; 2]>,
    half: usize,
}

impl Turns {
    /// Tables for so many positions, beyond the model's context if wanted, with the base of its frequencies multiplied.
    #[must_use]
    pub fn new(config: &TransformerConfig, positions: usize, base: f64) -> Self {
        let half = config.head_channels() / 2;
        let angle = |i: usize| {
            let (position, channel) = (i / half, i % half);
            position as f64 / (config.rope_base * base).powf(channel as f64 / half as f64)
        };
        let table = (0..positions * half).map(angle).map(|a| [a.cos() as f32, a.sin() as f32]).collect();
        Self { table, half }
    }

    /// Turns a row to a position.
    pub fn turn(&self, row: &mut [f32], position: usize) {
        let (first, second) = row.split_at_mut(self.half);
        for ((a, b), [cosine, sine]) in first.iter_mut().zip(second).zip(&self.table[position * self.half..]) {
            (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
        }
    }
}
