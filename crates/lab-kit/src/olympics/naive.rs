//! The baseline, and what it is compared with.

use burn::tensor::Device;
use lab_api::LabError;

use crate::{
    mlp::read,
    models::{KvCache, Transformer},
};

fn likeliest(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
    u32::try_from(best).unwrap_or(0)
}

// ANCHOR: naive
/// Writes the likeliest tokens after a prompt the way nobody should: for each of them the whole text is read again, and the
/// output layer asked about every position.
///
/// # Errors
/// [`LabError::Refused`] where prompt and tokens exceed the context; what the device and `between` return.
pub async fn naive_generate(
    model: &Transformer,
    (prompt, count): (&[u32], usize),
    device: &Device,
    mut between: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Vec<u32>, LabError> {
    let mut text = prompt.to_vec();
    for _ in 0..count {
        let logits = model.forward(model.tokens(&[&text], device)?); // [1, T, V]
        let last = logits.narrow(1, text.len() - 1, 1).flatten::<2>(0, 1);
        text.push(likeliest(&read(last).await?));
        between().await?;
    }
    Ok(text.split_off(prompt.len()))
}
// ANCHOR_END: naive

// ANCHOR: cached
/// The same tokens with keys and values of the past kept: each step reads one token.
///
/// # Errors
/// As [`naive_generate`].
pub async fn cached_generate(
    model: &Transformer,
    (prompt, count): (&[u32], usize),
    device: &Device,
    mut between: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Vec<u32>, LabError> {
    let mut cache = KvCache::new(model.config(), 1, prompt.len() + count, device)?;
    let (mut new, mut written) = (prompt.to_vec(), Vec::with_capacity(count));
    for _ in 0..count {
        let logits = model.next(model.tokens(&[&new], device)?, &mut cache)?; // [1, V]
        new = vec![likeliest(&read(logits).await?)];
        written.push(new[0]);
        between().await?;
    }
    Ok(written)
}
// ANCHOR_END: cached

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{models::TransformerConfig, testing::ready};

    #[test]
    fn both_write_the_same() {
        let device = Device::flex();
        let config = TransformerConfig {
            vocabulary: 17,
            channels: 16,
            layers: 2,
            heads: 4,
            key_value_heads: 2,
            feed_forward: 24,
            context: 16,
            rope_base: 10_000.0,
            norm_epsilon: 1e-5,
            tied: true,
        };
        for seed in 0..5 {
            let state = config.init(&mut crate::rng(seed, "weights"));
            let model = Transformer::new(&config, &state, "a test", &device).expect("fits");
            let prompt = [3, 1, 4, 1];
            let naive = ready(naive_generate(&model, (&prompt, 12), &device, async || Ok(()))).expect("writes");
            let cached = ready(cached_generate(&model, (&prompt, 12), &device, async || Ok(()))).expect("writes");
            assert_eq!((naive.len(), &naive), (12, &cached));
            assert!(ready(naive_generate(&model, (&prompt, 14), &device, async || Ok(()))).is_err());
        }
    }
}
