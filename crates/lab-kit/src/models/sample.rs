//! Choosing the next token, and writing text token by token.

use burn::tensor::Device;
use lab_api::LabError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{KvCache, Transformer};
use crate::mlp::read;

/// How the next token is chosen from its logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the largest (greedy).
    pub temperature: f64,
    /// Only the most likely so many are drawn from; all without it.
    pub top_k: Option<usize>,
}

impl Sampling {
    /// Always the most likely token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: None };

    /// Draws a token. The generator is asked for exactly one number, so that a sequence can be redone from its seed.
    ///
    /// # Errors
    /// [`LabError::Refused`] when there is no logit or one is not a number, or the temperature is negative.
    pub fn draw(&self, logits: &[f32], rng: &mut ChaCha8Rng) -> Result<u32, LabError> {
        let probabilities = self.probabilities(logits)?;
        let mut left = rng.random::<f64>();
        let mut chosen = 0;
        for (token, p) in probabilities.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            chosen = token;
            left -= p;
            if left < 0.0 {
                break;
            }
        }
        Ok(u32::try_from(chosen).unwrap_or(u32::MAX))
    }

    /// The distribution that [`Sampling::draw`] draws from, which sums to 1.
    ///
    /// # Errors
    /// As [`Sampling::draw`].
    pub fn probabilities(&self, logits: &[f32]) -> Result<Vec<f64>, LabError> {
        let refuse = |why: String| Err(LabError::Refused { why });
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) || self.top_k == Some(0) {
            return refuse(format!(
                "{self:?} draws nothing: take a temperature of 0 or more, and a top_k of 1 or more"
            ));
        }
        if logits.is_empty() || logits.iter().any(|logit| logit.is_nan()) {
            return refuse("the model's logits are not numbers, so that no token can be drawn".into());
        }
        let mut order: Vec<usize> = (0..logits.len()).collect();
        // Stable: of equals the first token stays first, on every platform.
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        order.truncate(if self.temperature == 0.0 { 1 } else { self.top_k.unwrap_or(logits.len()) });
        let largest = f64::from(logits[order[0]]);
        let mut probabilities = vec![0.0; logits.len()];
        for token in &order {
            let above = f64::from(logits[*token]) - largest;
            probabilities[*token] = if above == 0.0 { 1.0 } else { (above / self.temperature).exp() };
        }
        let sum: f64 = probabilities.iter().sum();
        probabilities.iter_mut().for_each(|p| *p /= sum);
        Ok(probabilities)
    }
}

/// Continues `prompt` by `count` tokens with a cache. `between` gets each new token as it comes: a place for progress
/// and checkpoints.
///
/// # Errors
/// [`LabError::Refused`] when prompt and continuation exceed the context or the prompt is empty, what `between` returns,
/// and [`LabError::Device`] when the device fails.
pub async fn generate(
    model: &Transformer,
    (prompt, count): (&[u32], usize),
    sampling: &Sampling,
    rng: &mut ChaCha8Rng,
    device: &Device,
    mut between: impl AsyncFnMut(u32) -> Result<(), LabError>,
) -> Result<Vec<u32>, LabError> {
    // The last token drawn is never read.
    let capacity = (prompt.len() + count).saturating_sub(1).max(1);
    let mut cache = KvCache::new(model.config(), 1, capacity, device)?;
    let mut logits = model.next(model.tokens(&[prompt], device)?, &mut cache)?;
    let mut written = Vec::with_capacity(count);
    while written.len() < count {
        let token = sampling.draw(&read(logits.clone()).await?, rng)?;
        written.push(token);
        between(token).await?;
        if written.len() < count {
            logits = model.next(model.tokens(&[&[token]], device)?, &mut cache)?;
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_logit_wins_at_temperature_zero_and_ties_go_to_the_first() {
        let p = Sampling::GREEDY.probabilities(&[1.0, 3.0, 3.0]).expect("fine");
        assert_eq!(p, [0.0, 1.0, 0.0]);
    }

    #[test]
    fn drawn_shares_follow_the_probabilities() {
        let sampling = Sampling { temperature: 2.0, top_k: Some(3) };
        let logits = [2.0 * 4_f32.ln(), 0.0, 2.0 * 2_f32.ln(), -1.0];
        let p = sampling.probabilities(&logits).expect("fine");
        for (a, b) in p.iter().zip([4.0 / 7.0, 1.0 / 7.0, 2.0 / 7.0, 0.0]) {
            assert!((a - b).abs() < 1e-6, "{p:?}");
        }
        let mut rng = crate::rng(0, "draw");
        let mut counts = [0; 4];
        for _ in 0..7000 {
            counts[sampling.draw(&logits, &mut rng).expect("fine") as usize] += 1;
        }
        assert_eq!(counts[3], 0);
        // Four standard deviations of a binomial count are below 170.
        for (count, expected) in counts.iter().zip([4000_i32, 1000, 2000]) {
            assert!(expected.abs_diff(*count) < 170, "{counts:?}");
        }
    }

    #[test]
    fn what_cannot_be_drawn_from_is_refused() {
        let mut rng = crate::rng(0, "draw");
        for (temperature, top_k, logits) in
            [(-1.0, None, [0.0]), (1.0, Some(0), [0.0]), (f64::NAN, None, [0.0]), (1.0, None, [f32::NAN])]
        {
            assert!(Sampling { temperature, top_k }.draw(&logits, &mut rng).is_err());
        }
        assert!(Sampling::GREEDY.draw(&[], &mut rng).is_err());
    }
}
