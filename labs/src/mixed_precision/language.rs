//! The language model: the gradients of one backward pass, and a fine-tuning whose stored weights are rounded.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::optim::GradientsParams,
    data::{Corpus, Part},
    formats::{Format, Keep, at_rest, random_bits, round_at_random},
    language::windows_to_tensors,
    mlp::read,
    models::{LanguageModel, StateDict, Transformer},
    tokenizer::Tokenizer,
    training::{Recipe, Trainer, Windows, cross_entropy, named_gradients},
};

use super::{Numbers, Params};

/// Tokens of a window, and characters of text for each.
const LENGTH: usize = 128;
const CHARACTERS: usize = 4 * LENGTH;
/// Tensors that are shown, and their names in the model. The first, of the logits, is no parameter's.
const SHOWN: [(&str, &str); 6] = [
    ("lm_head.weight", "Output matrix"),
    ("model.embed_tokens.weight", "Embedding"),
    ("model.layers.0.self_attn.q_proj.weight", "Queries, layer 1"),
    ("model.layers.3.self_attn.q_proj.weight", "Queries, layer 4"),
    ("model.layers.0.mlp.down_proj.weight", "Feed-forward, layer 1"),
    ("model.layers.3.mlp.down_proj.weight", "Feed-forward, layer 4"),
];

/// Step sizes at which weights are tried.
pub(super) const STEPS: [f32; 5] = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3];

/// Gradients of a backward pass, without any rounding.
pub(super) struct Found {
    /// Name and numbers. The first is that of the logits.
    pub(super) tensors: Vec<(&'static str, Vec<f32>)>,
    /// Tokens that the loss is a mean over.
    pub(super) tokens: usize,
    /// For BF16 and FP16, for each of [`STEPS`] the share of the matrices' weights that such a step leaves at rest, 0 to 1.
    pub(super) at_rest: [[f64; STEPS.len()]; 2],
}

/// The model's weights and the tokens of the first characters of a text, each changed so.
async fn load(
    part: Part,
    (characters, change): (usize, fn(char) -> char),
    cx: &Context,
) -> Result<(StateDict, Vec<u32>), LabError> {
    let asset = LanguageModel::full().asset;
    let weights = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
    cx.checkpoint().await?;
    let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
    let text = Corpus::read(part, &cx.asset(part.asset()).await?)?.text;
    cx.checkpoint().await?;
    let text: String = text.chars().take(characters).map(change).collect();
    Ok((weights, tokenizer.encode(&text)))
}

impl Found {
    pub(super) async fn of(windows: usize, cx: &Context) -> Result<Self, LabError> {
        let LanguageModel { asset, config } = LanguageModel::full();
        let (weights, tokens) = load(Part::Test, (CHARACTERS * windows, |c| c), cx).await?;
        let rows: Vec<&[u32]> = tokens.windows(LENGTH + 1).step_by(LENGTH).take(windows).collect();
        if rows.is_empty() {
            let why = format!("{} tokens are fewer than a window of {LENGTH}", tokens.len());
            return Err(LabError::Asset { name: Part::Test.asset().into(), why });
        }
        let device = cx.device.clone().autodiff();
        let model = Transformer::new(&config, &weights, asset, &device)?;
        let (x, y) = windows_to_tensors(&rows, &device);
        let logits = model.forward(x).flatten::<2>(0, 1);
        let seen = read(logits.clone().inner()).await?;
        let gradients = GradientsParams::from_grads(cross_entropy(logits, y).backward(), &model);
        cx.checkpoint().await?;
        let shown = |name: &str| SHOWN.iter().position(|(shown, _)| *shown == name);
        let named = named_gradients(&model, &gradients, &|name| shown(name).is_some()).await?;
        let targets: Vec<u32> = rows.iter().flat_map(|row| &row[1..]).copied().collect();
        let mut tensors = vec![("Logits", of_logits(&seen, &targets))];
        for (place, (_, label)) in SHOWN.iter().enumerate() {
            tensors.extend(
                named.iter().filter(|(name, _)| shown(name) == Some(place)).map(|found| (*label, found.1.clone())),
            );
        }
        let matrices: Vec<f32> = weights
            .iter()
            .filter(|(name, _)| name.ends_with("_proj.weight"))
            .flat_map(|(_, w)| w.values.clone())
            .collect();
        cx.checkpoint().await?;
        let shares = |format| STEPS.map(|step| at_rest(format, &matrices, step));
        let at_rest = [shares(Format::Bf16), shares(Format::Fp16)];
        Ok(Self { tensors, tokens: targets.len(), at_rest })
    }
}

/// Gradients of the mean cross-entropy by logits `[N, V]`: softmax minus one for the target, over N.
fn of_logits(logits: &[f32], targets: &[u32]) -> Vec<f32> {
    let share = 1.0 / targets.len() as f32;
    let mut slope = logits.to_vec();
    for (row, target) in slope.chunks_exact_mut(logits.len() / targets.len().max(1)).zip(targets) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|x| *x = (*x - largest).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|x| *x *= share / sum);
        row[*target as usize] -= share;
    }
    slope
}

/// A fine-tuning.
pub(super) struct Run {
    pub(super) name: String,
    /// Step and loss of its batch.
    pub(super) losses: Vec<[f64; 2]>,
    /// Share of the weights that an average step left unchanged, 0 to 1.
    pub(super) still: f64,
}

impl Run {
    /// Mean loss of the last quarter of the steps.
    pub(super) fn last(&self) -> f64 {
        let last = &self.losses[self.losses.len() - self.losses.len().div_ceil(4)..];
        last.iter().map(|point| point[1]).sum::<f64>() / last.len().max(1) as f64
    }
}

/// Text with underscores for spaces is learned three times from the same start in the same order: with weights in FP32,
/// rounded to nearest, and rounded at random. Only stored weights are rounded.
pub(super) async fn fine_tune(params: &Params, cx: &Context, progress: impl Fn(f64)) -> Result<Vec<Run>, LabError> {
    let LanguageModel { asset, config } = LanguageModel::full();
    let (weights, text) = load(Part::Validation, (60_000, |c| if c == ' ' { '_' } else { c }), cx).await?;
    let device = cx.device.clone().autodiff();
    let format = if params.format == Numbers::Fp16 { Format::Fp16 } else { Format::Bf16 };
    let steps = (params.steps as usize / 10).max(2);
    let ways = [("FP32", None), ("rounded", Some(Keep::Rounded)), ("rounded at random", Some(Keep::Stochastic))];
    let mut runs = Vec::new();
    for (number, (way, keep)) in ways.into_iter().enumerate() {
        let name = if keep.is_some() { format!("{}, {way}", format.name()) } else { way.to_owned() };
        let recipe = Recipe {
            steps,
            warmup_steps: 0,
            learning_rate: params.learning_rate,
            final_share: 1.0,
            weight_decay: 0.0,
            ..Recipe::default()
        };
        let mut kept = weights.clone();
        if keep.is_some() {
            store(&mut kept, None, format, Keep::Rounded, 0);
        }
        let mut trainer = Trainer::new(Transformer::new(&config, &kept, asset, &device)?, recipe)?;
        let mut order = Windows::new(text.clone(), LENGTH / 2, 2, cx.seed);
        let mut loss = |model: &Transformer, step: usize| {
            let (x, y) = windows_to_tensors(&order.rows(step), &device);
            Ok(cross_entropy(model.forward(x).flatten::<2>(0, 1), y))
        };
        let mut run = Run { name, losses: Vec::new(), still: 0.0 };
        for step in 0..steps {
            let done = trainer.advance(&mut loss).await?;
            run.losses.push([done.step as f64, f64::from(done.loss)]);
            if let Some(keep) = keep {
                let mut next = trainer.model().weights().await?;
                run.still += store(&mut next, Some(&kept), format, keep, step as u32) / steps as f64;
                trainer.set_model(Transformer::new(&config, &next, asset, &device)?);
                kept = next;
            }
            progress((number as f64 + step as f64 / steps as f64) / 3.0);
            cx.checkpoint().await?;
        }
        runs.push(run);
    }
    Ok(runs)
}

/// Rounds all weights; the share that is as before.
fn store(weights: &mut StateDict, before: Option<&StateDict>, format: Format, keep: Keep, step: u32) -> f64 {
    let names: Vec<String> = weights.iter().map(|(name, _)| name.to_owned()).collect();
    let (mut still, mut place) = (0, 0);
    for name in &names {
        let Some(weight) = weights.get_mut(name) else { continue };
        match (keep, format.own_layout()) {
            (Keep::Stochastic, Some(layout)) => {
                for w in &mut weight.values {
                    *w = round_at_random(*w, &layout, random_bits(step, place));
                    place += 1;
                }
            }
            _ => format.round_all(&mut weight.values),
        }
        if let Some(before) = before.and_then(|before| before.get(name)) {
            still += weight.values.iter().zip(&before.values).filter(|(now, before)| now == before).count();
        }
    }
    still as f64 / weights.parameters().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_of_logits_add_up_to_nothing_and_point_at_the_target() {
        let slope = of_logits(&[1.0, 2.0, 3.0, 0.0, 0.0, 0.0], &[2, 0]);
        assert!(slope.chunks(3).all(|row| row.iter().sum::<f32>().abs() < 1e-6));
        assert!((slope[3] + 0.5 * 2.0 / 3.0).abs() < 1e-6 && (slope[4] - 0.5 / 3.0).abs() < 1e-6);
    }
}
