//! Keys and values of past tokens, kept so that a new token costs one row of work.

use burn::tensor::{Device, Tensor};
use lab_api::LabError;

use super::TransformerConfig;
use crate::weights::Precision;

/// The largest cache, in bytes: a quarter of what a browser's engine can address. One that cannot be had would abort it.
const LIMIT_BYTES: usize = 1 << 30;

/// Room for the keys and values of all layers, allocated once and written in place.
#[derive(Debug, Clone)]
pub struct KvCache {
    pub(super) layers: Vec<LayerCache>,
    pub(super) length: usize,
    batch: usize,
    capacity: usize,
}

impl KvCache {
    /// Room for `capacity` tokens of each of `batch` sequences.
    ///
    /// # Errors
    /// [`LabError::Refused`] when the capacity exceeds the model's context, beyond which it has no positions, and when the
    /// cache would exceed 1 GiB.
    pub fn new(config: &TransformerConfig, batch: usize, capacity: usize, device: &Device) -> Result<Self, LabError> {
        if capacity > config.context || capacity == 0 || batch == 0 {
            let why = format!(
                "a cache of {capacity} tokens for {batch} sequences: it must hold 1 to {} tokens of 1 or more sequences",
                config.context
            );
            return Err(LabError::Refused { why });
        }
        let bytes = (batch * capacity).saturating_mul(config.cache_bytes_per_token(Precision::Fp32));
        if bytes > LIMIT_BYTES {
            let why = format!(
                "a cache of {capacity} tokens for {batch} sequences takes {} MiB, more than the {} that a browser can be \
                 asked for: take fewer tokens or sequences, or fewer heads of keys and values",
                bytes >> 20,
                LIMIT_BYTES >> 20
            );
            return Err(LabError::Refused { why });
        }
        let shape = [batch, config.key_value_heads, capacity, config.head_channels()];
        let layer = |_| LayerCache { keys: Tensor::zeros(shape, device), values: Tensor::zeros(shape, device) };
        Ok(Self { layers: (0..config.layers).map(layer).collect(), length: 0, batch, capacity })
    }

    /// Tokens in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Tokens that fit in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets all tokens but the first `length`; the room stays. Nothing is copied: what lies beyond is overwritten.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Refuses tokens that do not fit.
    pub(super) fn admit(&self, batch: usize, tokens: usize) -> Result<(), LabError> {
        let why = if self.layers.is_empty() {
            "the cache was lost in a step that failed: make a new one".to_owned()
        } else if batch != self.batch {
            format!("the cache was made for {} sequences, not {batch}", self.batch)
        } else if self.length + tokens > self.capacity {
            format!(
                "the cache holds {} of {} tokens, so {tokens} more do not fit: ask for fewer, or make it larger",
                self.length, self.capacity
            )
        } else {
            return Ok(());
        };
        Err(LabError::Refused { why })
    }
}

/// One layer's share: `[B, K, capacity, D]` each.
#[derive(Debug, Clone)]
pub(super) struct LayerCache {
    keys: Tensor<4>,
    values: Tensor<4>,
}

impl LayerCache {
    /// Writes `[B, K, T, D]` from position `start` on: in place, since `self` holds the only reference.
    pub(super) fn write(self, start: usize, keys: Tensor<4>, values: Tensor<4>) -> Self {
        let [b, heads, t, d] = keys.dims();
        let place = [0..b, 0..heads, start..start + t, 0..d];
        Self { keys: self.keys.slice_assign(place.clone(), keys), values: self.values.slice_assign(place, values) }
    }

    /// The first `length` keys and values: `[B, K, length, D]`, views where the device has them.
    pub(super) fn read(&self, length: usize) -> (Tensor<4>, Tensor<4>) {
        (self.keys.clone().narrow(2, 0, length), self.values.clone().narrow(2, 0, length))
    }
}
