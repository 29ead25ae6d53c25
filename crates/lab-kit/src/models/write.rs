//! Writing several texts at once.

use burn::tensor::Device;
use lab_api::LabError;
use rand_chacha::ChaCha8Rng;

use super::{KvCache, Sampling, Transformer};
use crate::mlp::read;

/// Continues prompts of equal length by `count` tokens each, all in one batch with a cache. A token of every row is drawn
/// before the next of any: what a row is given by the generator does not depend on what other rows say. `between` is called
/// after each token of all rows: a place for checkpoints.
///
/// # Errors
/// As [`generate`](super::generate).
pub async fn write_rows(
    model: &Transformer,
    (prompts, count): (&[&[u32]], usize),
    sampling: &Sampling,
    rng: &mut ChaCha8Rng,
    device: &Device,
    mut between: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Vec<Vec<u32>>, LabError> {
    let length = prompts.first().map_or(0, |prompt| prompt.len());
    let mut cache = KvCache::new(model.config(), prompts.len(), (length + count).saturating_sub(1).max(1), device)?;
    let mut logits = model.next(model.tokens(prompts, device)?, &mut cache)?;
    let mut written = vec![Vec::with_capacity(count); prompts.len()];
    for done in 0..count {
        let rows = read(logits.clone()).await?;
        for (row, text) in rows.chunks_exact(model.config().vocabulary).zip(&mut written) {
            text.push(sampling.draw(row, rng)?);
        }
        between().await?;
        if done + 1 < count {
            let last: Vec<&[u32]> = written.iter().map(|text| &text[text.len() - 1..]).collect();
            logits = model.next(model.tokens(&last, device)?, &mut cache)?;
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        models::{config_tests::tiny, generate},
        testing::ready,
    };

    #[test]
    fn rows_write_what_each_would_write_alone() {
        let device = Device::flex();
        let config = tiny();
        let state = config.init(&mut crate::rng(0, "weights"));
        let model = Transformer::new(&config, &state, "a test", &device).expect("fits");
        let prompts: [&[u32]; 3] = [&[1, 2], &[5, 0], &[16, 3]];
        let mut rng = crate::rng(1, "write");
        let together = ready(write_rows(&model, (&prompts, 6), &Sampling::GREEDY, &mut rng, &device, async || Ok(())));
        for (prompt, row) in prompts.iter().zip(together.expect("writes")) {
            let alone = generate(&model, (prompt, 6), &Sampling::GREEDY, &mut rng, &device, async |_| Ok(()));
            assert_eq!(ready(alone).expect("writes"), row);
        }
        let mut twice = Vec::new();
        for _ in 0..2 {
            let (sampling, mut rng) = (Sampling { temperature: 1.0, top_k: None }, crate::rng(2, "write"));
            let rows = write_rows(&model, (&prompts, 6), &sampling, &mut rng, &device, async || Ok(()));
            twice.push(ready(rows).expect("writes"));
        }
        assert_eq!(twice[0], twice[1]);
        let long = write_rows(&model, (&prompts, 99), &Sampling::GREEDY, &mut rng, &device, async || Ok(()));
        assert!(ready(long).is_err());
    }
}
