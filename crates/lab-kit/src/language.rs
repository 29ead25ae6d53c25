//! How well a language model foretells a text.

use burn::tensor::{Device, Int, Tensor, TensorData, activation::log_softmax};
use lab_api::LabError;

use crate::{mlp::read, models::Transformer};

/// How a long text is cut for a model with a short context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sliding {
    /// Tokens that the model sees at once.
    pub window: usize,
    /// Tokens that are newly judged in each window but the first; the others are context. Smaller is slower and fairer.
    pub stride: usize,
    /// Windows computed together.
    pub batch: usize,
}

/// What a text cost a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TextLoss {
    /// `-ln p` of each token but the first, in the text's order.
    pub nats: Vec<f32>,
}

impl TextLoss {
    /// Mean nats per token.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.total() / self.nats.len().max(1) as f64
    }

    /// `exp` of the mean: as many tokens as if equally likely were to choose from.
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        self.mean().exp()
    }

    /// Bits for each of the `characters` that the judged tokens stand for: comparable between tokenizers, unlike
    /// perplexity.
    #[must_use]
    pub fn bits_per_character(&self, characters: usize) -> f64 {
        self.total() / std::f64::consts::LN_2 / characters.max(1) as f64
    }

    fn total(&self) -> f64 {
        self.nats.iter().map(|nats| f64::from(*nats)).sum()
    }
}

/// The loss of each token of a text, in sliding windows. `between` gets the share that is done: a place for progress and
/// checkpoints.
///
/// # Errors
/// [`LabError::Refused`] for fewer than two tokens, a token outside the vocabulary, or windows that make no sense; what
/// `between` returns; [`LabError::Device`] when the device fails.
pub async fn text_loss(
    model: &Transformer,
    tokens: &[u32],
    how: Sliding,
    device: &Device,
    mut between: impl AsyncFnMut(f64) -> Result<(), LabError>,
) -> Result<TextLoss, LabError> {
    if how.stride == 0 || how.stride > how.window || how.batch == 0 || how.window > model.config().context {
        let why = format!(
            "{how:?} cannot be: stride and batch must be 1 or more, the stride at most the window, the window at most {}",
            model.config().context
        );
        return Err(LabError::Refused { why });
    }
    let predicted = tokens.len().saturating_sub(1);
    if predicted == 0 {
        return Err(LabError::Refused { why: "a text of fewer than two tokens has nothing to predict".into() });
    }
    let window = how.window.min(predicted);
    // Where each window begins, and how many of its predictions are old.
    let mut windows = vec![(0, 0)];
    let mut judged = window;
    while judged < predicted {
        let end = (judged + how.stride).min(predicted);
        windows.push((end - window, window - (end - judged)));
        judged = end;
    }
    let mut loss = TextLoss { nats: Vec::with_capacity(predicted) };
    for batch in windows.chunks(how.batch) {
        let rows: Vec<&[u32]> = batch.iter().map(|(start, _)| &tokens[*start..start + window]).collect();
        let targets: Vec<&[u32]> = batch.iter().map(|(start, _)| &tokens[start + 1..start + 1 + window]).collect();
        // Checked like what is read: a target outside the vocabulary has no probability.
        let targets = model.tokens(&targets, device)?;
        let nats = token_nats(model, model.tokens(&rows, device)?, targets).await?;
        for ((_, old), row) in batch.iter().zip(nats.chunks_exact(window)) {
            loss.nats.extend(&row[*old..]);
        }
        between(loss.nats.len() as f64 / predicted as f64).await?;
    }
    if let Some(bad) = loss.nats.iter().find(|nats| !nats.is_finite()) {
        return Err(LabError::Refused { why: format!("the model's loss of a token is {bad}") });
    }
    Ok(loss)
}

/// `-ln p` of targets `[B, T]` given tokens `[B, T]`, row by row.
async fn token_nats(
    model: &Transformer,
    tokens: Tensor<2, Int>,
    targets: Tensor<2, Int>,
) -> Result<Vec<f32>, LabError> {
    let logits = model.forward(tokens); // [B, T, V]
    let [b, t, v] = logits.dims();
    let log_probabilities = log_softmax(logits.reshape([b * t, v]), 1);
    read(log_probabilities.gather(1, targets.reshape([b * t, 1])).neg()).await
}

/// Inputs `[N, T]` and targets `[N · T]` of windows of T + 1 tokens, for training.
#[must_use]
pub fn windows_to_tensors(rows: &[&[u32]], device: &Device) -> (Tensor<2, Int>, Tensor<1, Int>) {
    let length = rows.first().map_or(0, |row| row.len().saturating_sub(1));
    let ids = |first: usize| -> Vec<i32> {
        let all = rows.iter().flat_map(|row| &row[first..first + length]);
        all.map(|id| i32::try_from(*id).unwrap_or(i32::MAX)).collect()
    };
    let inputs = Tensor::from_data(TensorData::new(ids(0), [rows.len(), length]), device);
    let targets = Tensor::from_data(TensorData::new(ids(1), [rows.len() * length]), device);
    (inputs, targets)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::{
        models::{StateDict, TransformerConfig, config_tests::tiny},
        testing::ready,
    };

    fn model(device: &Device) -> (Transformer, StateDict, TransformerConfig) {
        let config = tiny();
        let state = config.init(&mut crate::rng(0, "weights"));
        (Transformer::new(&config, &state, "a test", device).expect("fits"), state, config)
    }

    #[test]
    fn each_token_is_judged_once_whatever_the_windows() {
        let device = Device::flex();
        let (model, ..) = model(&device);
        let mut rng = crate::rng(1, "text");
        let tokens: Vec<u32> = (0..37).map(|_| rng.random_range(0..17)).collect();
        let judge = |window, stride, batch| {
            let how = Sliding { window, stride, batch };
            ready(text_loss(&model, &tokens, how, &device, async |_| Ok(()))).expect("judged").nats
        };
        for (window, stride, batch) in [(8, 8, 1), (8, 3, 2), (16, 16, 4), (5, 1, 8)] {
            let nats = judge(window, stride, batch);
            assert_eq!(nats.len(), 36);
            // The first window's tokens have the whole text before them, in every cut.
            let whole = judge(16, 16, 1);
            for i in 0..window {
                assert!((nats[i] - whole[i]).abs() < 1e-5);
            }
            // Each later token equals a window that is cut by hand: the one it is judged in.
            let i = window;
            let end = (window + stride).min(36);
            let context = &tokens[end - window..=i + 1];
            let how = Sliding { window: context.len() - 1, stride: 1, batch: 1 };
            let alone = ready(text_loss(&model, context, how, &device, async |_| Ok(()))).expect("judged").nats;
            assert!((nats[i] - alone[alone.len() - 1]).abs() < 1e-5);
        }
    }

    #[test]
    fn bits_and_perplexity_of_a_fair_coin() {
        let loss = TextLoss { nats: vec![std::f32::consts::LN_2; 6] };
        assert!((loss.perplexity() - 2.0).abs() < 1e-6);
        assert!((loss.bits_per_character(12) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let device = Device::flex();
        let (model, ..) = model(&device);
        let judge = |tokens: &[u32], window, stride| {
            let how = Sliding { window, stride, batch: 1 };
            ready(text_loss(&model, tokens, how, &device, async |_| Ok(())))
        };
        assert!(judge(&[1], 4, 4).is_err());
        assert!(judge(&[1, 2, 3], 4, 5).is_err());
        assert!(judge(&[1, 2, 3], 17, 5).is_err());
        let why = judge(&[1, 2, 17], 4, 4).expect_err("refused").to_string();
        assert!(why.contains("no token 17"), "{why}");
    }
}
