//! A language model that reads texts of unequal length, one in each piece: by tokens, and by a mean of means.

use lab_api::LabError;
use lab_kit::{
    Context,
    accumulate::{Distance, accumulate, distance, flat_gradient, naive::mean_of_means, noise_scale, squared_norm},
    burn::{optim::GradientsParams, tensor::Device},
    data::{Corpus, Part},
    language::windows_to_tensors,
    mlp::read,
    models::{LanguageModel, StateDict, Transformer},
    tokenizer::Tokenizer,
    training::{Order, cross_entropy},
};
use rand::Rng;

use super::Lengths;

/// Tokens of the longest text.
pub(super) const LONGEST: usize = 128;
/// Tokens of the shortest.
const SHORTEST: f64 = 8.0;
/// Characters that texts are cut from in a run.
const CHARACTERS: usize = 40_000;

/// The model, and what it reads.
pub(super) struct Texts {
    pub(super) model: Transformer,
    /// Texts, each with the token that follows.
    pub(super) windows: Vec<Vec<u32>>,
    device: Device,
}

/// What both ways make of the same gradients.
pub(super) struct Together {
    /// Of the mean of means from the mean over tokens.
    pub(super) apart: Distance,
    /// Loss by tokens, and as a mean of means.
    pub(super) losses: [f64; 2],
    pub(super) shortest: usize,
    pub(super) longest: usize,
    /// Noise scale in texts, where the estimate is one.
    pub(super) noise: Option<f64>,
}

/// So many lengths, drawn.
pub(super) fn lengths(kind: Lengths, count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let longest = LONGEST as f64;
    let draw = |i: usize| match kind {
        Lengths::Equal => LONGEST,
        Lengths::Double => LONGEST >> (i % 2),
        Lengths::LongTail => (SHORTEST * (longest / SHORTEST).powf(rng.random_range(0.0..=1.0))).round() as usize,
    };
    (0..count).map(draw).collect()
}

/// Tokens of the start of the text that no training saw.
pub(super) async fn tokens(characters: usize, cx: &Context) -> Result<Vec<u32>, LabError> {
    let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
    cx.checkpoint().await?;
    let text = Corpus::read(Part::Validation, &cx.asset(Part::Validation.asset()).await?)?.text;
    let end = (characters.min(text.len())..=text.len()).find(|at| text.is_char_boundary(*at));
    Ok(tokenizer.encode(&text[..end.unwrap_or(text.len())]))
}

/// Windows of these lengths at places of their own.
pub(super) fn windows(tokens: &[u32], lengths: &[usize], step: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut order = Order::new(tokens.len().saturating_sub(1) / LONGEST, lengths.len(), seed);
    let places = order.indices(step);
    let cut = |(place, length): (&usize, &usize)| tokens[place * LONGEST..=place * LONGEST + length].to_vec();
    places.iter().zip(lengths).map(cut).collect()
}

/// Mean loss of windows of one length, and its gradient as one vector.
pub(super) async fn gradient(
    model: &Transformer,
    windows: &[&[u32]],
    device: &Device,
) -> Result<(f64, Vec<f32>), LabError> {
    let (x, y) = windows_to_tensors(windows, device);
    let loss = cross_entropy(model.forward(x).flatten::<2>(0, 1), y);
    let value = loss.clone().inner();
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    let gradient = flat_gradient(model, gradients).await?;
    Ok((read(value).await?.first().copied().map_or(f64::NAN, f64::from), gradient))
}

impl Texts {
    pub(super) async fn load(kind: Lengths, count: usize, cx: &Context) -> Result<Self, LabError> {
        let LanguageModel { asset, config } = LanguageModel::draft();
        let weights = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
        let tokens = tokens(CHARACTERS, cx).await?;
        let device = cx.device.clone().autodiff();
        let model = Transformer::new(&config, &weights, asset, &device)?;
        let lengths = lengths(kind, count, &mut cx.rng("lengths"));
        Ok(Self { model, windows: windows(&tokens, &lengths, 0, cx.seed), device })
    }

    /// Mean loss of some windows of one length, and its gradient.
    pub(super) async fn gradient(&self, windows: &[&[u32]]) -> Result<(f64, Vec<f32>), LabError> {
        gradient(&self.model, windows, &self.device).await
    }

    // ANCHOR: joined
    /// The gradient of every text, joined in both ways.
    pub(super) async fn joined(&self, cx: &Context) -> Result<Together, LabError> {
        let (mut pieces, mut losses) = (Vec::new(), Vec::new());
        for window in &self.windows {
            let (loss, gradient) = self.gradient(&[window.as_slice()]).await?;
            let tokens = window.len() - 1;
            pieces.push((gradient, tokens));
            losses.push((vec![loss as f32], tokens));
            cx.checkpoint().await?;
        }
        let (right, wrong) = (accumulate(&pieces), mean_of_means(&pieces));
        // ANCHOR_END: joined
        let (Some(right), Some(wrong)) = (right, wrong) else {
            return Err(LabError::Refused { why: "no text has a token to foretell".into() });
        };
        let apart = distance(&wrong, &right);
        let apart = apart.ok_or_else(|| LabError::Refused { why: "the gradient of the texts is zero".into() })?;
        let loss = |all: Option<Vec<f32>>| all.map_or(f64::NAN, |loss| f64::from(loss[0]));
        let tokens = || losses.iter().map(|loss| loss.1);
        let equal = tokens().min() == tokens().max();
        let squares: Vec<f64> = pieces.iter().map(|piece| squared_norm(&piece.0)).collect();
        let noise = noise_scale(&squares, 1, squared_norm(&right), squares.len());
        Ok(Together {
            apart,
            losses: [loss(accumulate(&losses)), loss(mean_of_means(&losses))],
            shortest: tokens().min().unwrap_or(0),
            longest: tokens().max().unwrap_or(0),
            noise: noise.filter(|_| equal),
        })
    }
}
