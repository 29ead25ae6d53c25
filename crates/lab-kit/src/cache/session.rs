//! A decoder with the caches of all its heads.

use burn::tensor::{Tensor, TensorData, activation::log_softmax};
use lab_api::LabError;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::{Decoder, HeadCache, Setting, Turns};
use crate::{Context, mlp::read};

/// Rows of attention between two looks at the clock.
const STRIDE: usize = 32;

/// Sees the cache of a layer and a head right after each attention.
pub type Watch<'a> = dyn FnMut(usize, usize, &HeadCache) + 'a;

/// One text that is being read or written.
pub struct Session<'a> {
    decoder: &'a Decoder,
    heads: Vec<Vec<HeadCache>>,
    turns: Vec<Turns>,
    length: usize,
    longest: usize,
}

impl<'a> Session<'a> {
    /// Empty caches for a text of `longest` tokens. Layer `i` takes the i-th setting; the last one holds for all that follow.
    ///
    /// # Errors
    /// What [`Setting::check`] refuses.
    pub fn new(
        decoder: &'a Decoder,
        settings: &[Setting],
        longest: usize,
        mut lots: ChaCha8Rng,
    ) -> Result<Self, LabError> {
        settings.iter().try_for_each(Setting::check)?;
        let config = decoder.config();
        let of = |layer: usize| settings.get(layer).or(settings.last()).copied().unwrap_or(Setting::FULL);
        let all: Vec<Setting> = (0..config.layers).map(of).collect();
        // Every head has lots of its own, so that they fall alike however the text is cut.
        let mut one =
            |setting: &Setting| HeadCache::new(*setting, config.head_channels(), ChaCha8Rng::from_rng(&mut lots));
        let head = |setting: &Setting| (0..config.key_value_heads).map(|_| one(setting)).collect();
        Ok(Self {
            decoder,
            heads: all.iter().map(head).collect(),
            turns: all.iter().map(|setting| Turns::new(config, longest, setting.base)).collect(),
            length: 0,
            longest,
        })
    }

    /// Bytes in all caches now, and the most that each ever held, summed.
    #[must_use]
    pub fn bytes(&self) -> [usize; 2] {
        let all = || self.heads.iter().flatten();
        [all().map(HeadCache::bytes).sum(), all().map(HeadCache::most_bytes).sum()]
    }

    // ANCHOR: feed
    /// Reads tokens that continue the text; logits `[T, V]` of what follows each. One token or many: the caches see
    /// one after the other, so that a prompt meets what a text that is written meets.
    ///
    /// # Errors
    /// [`LabError::Refused`] for a text that is too long or unknown tokens, and what the device and the checkpoints return.
    pub async fn feed(&mut self, tokens: &[u32], cx: &Context, watch: &mut Watch<'_>) -> Result<Tensor<2>, LabError> {
        if self.length + tokens.len() > self.longest {
            let why = format!("the text was to have {} tokens at most", self.longest);
            return Err(LabError::Refused { why });
        }
        let config = self.decoder.config();
        let (c, kd) = (config.channels, config.key_value_heads * config.head_channels());
        let (d, group) = (config.head_channels(), c / config.key_value_heads);
        let mut x = self.decoder.embed(tokens)?;
        for (layer, heads) in self.heads.iter_mut().enumerate() {
            let rows = read(self.decoder.project(layer, &x)).await?;
            let mut y = vec![0.0; tokens.len() * c];
            for (t, (row, y)) in rows.chunks_exact(c + 2 * kd).zip(y.chunks_exact_mut(c)).enumerate() {
                let (queries, rest) = row.split_at(c);
                let (keys, values) = rest.split_at(kd);
                for (h, head) in heads.iter_mut().enumerate() {
                    let (own, shared) = (h * d..(h + 1) * d, h * group..(h + 1) * group);
                    let (key, value) = (&keys[own.clone()], &values[own]);
                    head.push(self.length + t, key, value, &self.turns[layer]);
                    head.attend(&queries[shared.clone()], &mut y[shared], &self.turns[layer]);
                    watch(layer, h, head);
                }
                if t % STRIDE == STRIDE - 1 {
                    cx.checkpoint().await?;
                }
            }
            let y = Tensor::from_data(TensorData::new(y, [tokens.len(), c]), &cx.device);
            x = self.decoder.finish(layer, x, y);
        }
        self.length += tokens.len();
        Ok(self.decoder.logits(x))
    }
    // ANCHOR_END: feed

    /// Reads a whole text: `-ln p` of each token but the first.
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub async fn judge(&mut self, text: &[u32], cx: &Context, watch: &mut Watch<'_>) -> Result<Vec<f64>, LabError> {
        let (seen, told) = (&text[..text.len().saturating_sub(1)], &text[text.len().min(1)..]);
        let logits = self.feed(seen, cx, watch).await?;
        let told: Vec<i32> = told.iter().map(|id| i32::try_from(*id).unwrap_or(0)).collect();
        let told = Tensor::from_data(TensorData::new(told, [seen.len(), 1]), &cx.device);
        let nats = read(log_softmax(logits, 1).gather(1, told).neg()).await?;
        Ok(nats.into_iter().map(f64::from).collect())
    }
}

#[cfg(test)]
mod tests;
