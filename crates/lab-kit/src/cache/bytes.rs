//! What a cache takes and what it saves, by formula.

use lab_api::LabError;

use super::Setting;
use crate::models::{StateDict, TransformerConfig};

/// What decides how large a cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// L.
    pub layers: usize,
    /// K: heads of keys and values.
    pub key_value_heads: usize,
    /// D: channels of a head.
    pub head_channels: usize,
}

impl Layout {
    /// That of a model.
    #[must_use]
    pub fn of(config: &TransformerConfig) -> Self {
        Self { layers: config.layers, key_value_heads: config.key_value_heads, head_channels: config.head_channels() }
    }

    /// Numbers that one token leaves: `2 · L · K · D`.
    #[must_use]
    pub fn numbers_per_token(&self) -> usize {
        2 * self.layers * self.key_value_heads * self.head_channels
    }

    // ANCHOR: bytes
    /// Bytes after `tokens`, as `setting` keeps them: codes, a minimum and a step in half precision for each group of D (or
    /// of 32 tokens), and the recent ones in singles. In 64 bits: caches of large models pass what 32 hold in a browser.
    #[must_use]
    pub fn bytes(&self, tokens: usize, setting: &Setting) -> u64 {
        let held = tokens.min(setting.budget);
        let (keys, values) = (setting.keys, setting.values);
        let block = if keys.in_blocks() || values.in_blocks() { super::BLOCK } else { 1 };
        let float = keys.bits == 32 && values.bits == 32;
        let over = held.saturating_sub(setting.residual.max(block - 1));
        let packed = if float { 0 } else { over.div_ceil(block) * block };
        let d = self.head_channels;
        let rows = |grid: super::Grid| {
            let grids = match (grid.bits, grid.in_blocks()) {
                (16.., _) => 0,
                (_, true) => packed / block * d,
                (_, false) => packed,
            };
            let words = packed as u64 * (d * grid.bits).div_ceil(32) as u64 + grids as u64;
            4 * (words + (held - packed) as u64 * d as u64)
        };
        (self.layers * self.key_value_heads) as u64 * (rows(keys) + rows(values))
    }
    // ANCHOR_END: bytes
}

/// Operations of one token outside attention: two a weight of a matrix.
fn dense(config: &TransformerConfig) -> f64 {
    let matrices = config.shapes().into_iter().filter(|(name, shape)| shape.len() == 2 && !name.contains("embed"));
    2.0 * matrices.map(|(_, shape)| shape.iter().product::<usize>() as f64).sum::<f64>()
}

/// Operations that writing tokens up to position `n` takes with a cache: every token once, every pair once.
#[must_use]
pub fn flops_with(config: &TransformerConfig, n: usize) -> f64 {
    let pairs = 4.0 * (config.channels * config.layers) as f64;
    n as f64 * dense(config) + pairs * (n * (n + 1) / 2) as f64
}

/// The same without: the whole text is read again for each of its tokens.
#[must_use]
pub fn flops_without(config: &TransformerConfig, n: usize) -> f64 {
    (1..=n).map(|t| flops_with(config, t)).sum()
}

/// A model with fewer heads of keys and values: of each group that becomes one, the mean of the weights (as the paper of
/// grouped-query attention begins its training, arXiv:2305.13245), or the first head.
///
/// # Errors
/// [`LabError::Refused`] where the heads cannot be grouped so, [`LabError::Asset`] for a weight that is not there.
pub fn fewer_heads(
    config: &TransformerConfig,
    state: &StateDict,
    heads: usize,
    mean: bool,
) -> Result<(TransformerConfig, StateDict), LabError> {
    if heads == 0 || !config.key_value_heads.is_multiple_of(heads) {
        let why = format!("{} heads of keys and values cannot become {heads}", config.key_value_heads);
        return Err(LabError::Refused { why });
    }
    let group = config.key_value_heads / heads;
    let taken = if mean { group } else { 1 };
    let size = config.head_channels() * config.channels;
    let config = TransformerConfig { key_value_heads: heads, ..config.clone() };
    let mut changed = StateDict::default();
    for (name, shape) in config.shapes() {
        let fail = || LabError::Asset { name: name.clone(), why: "the model lacks this tensor".into() };
        let weight = state.get(&name).ok_or_else(fail)?;
        let values = if name.contains("k_proj") || name.contains("v_proj") {
            let of_group = |group: &[f32]| -> Vec<f32> {
                let at = |i: usize| group.chunks(size).take(taken).map(|head| head[i]).sum::<f32>() / taken as f32;
                (0..size).map(at).collect()
            };
            weight.values.chunks(group * size).flat_map(of_group).collect()
        } else {
            weight.values.clone()
        };
        changed.insert(&name, &shape, values)?;
    }
    Ok((config, changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cache::Grid, models::LanguageModel};

    #[test]
    fn the_formulas_give_what_a_pencil_gives() {
        let config = LanguageModel::full().config;
        let bytes = |heads: usize| {
            Layout::of(&TransformerConfig { key_value_heads: heads, ..config.clone() }).bytes(1, &Setting::FULL)
        };
        assert_eq!([6, 3, 2, 1].map(bytes), [6144, 3072, 2048, 1024]);
        let llama =
            |key_value_heads| Layout { layers: 32, key_value_heads, head_channels: 128 }.numbers_per_token() * 2;
        assert_eq!([llama(8), llama(32)], [131_072, 524_288]);
        let half = Setting {
            keys: Grid { bits: 16, ..Setting::FULL.keys },
            values: Grid { bits: 16, ..Setting::FULL.values },
            residual: 0,
            ..Setting::FULL
        };
        let llama = Layout { layers: 32, key_value_heads: 8, head_channels: 128 };
        assert_eq!(llama.bytes(131_072, &half), 17_179_869_184, "more than 32 bits hold");
        // 2 bits and halves of minimum and step for 32 numbers are 3 bits; 4 are 5.
        let ours = Layout::of(&config);
        let no_residual = |bits| Setting { keys: Setting::kivi(bits, 0).values, ..Setting::kivi(bits, 0) };
        assert_eq!([2, 4, 8].map(|bits| ours.bytes(1, &no_residual(bits))), [192, 320, 576]);
        for (n, ratio) in [(64, 32.233_502), (128, 63.459_810), (256, 124.532_510)] {
            let ours = flops_without(&config, n) / flops_with(&config, n);
            assert!((ours - ratio).abs() < 1e-5, "{n}: {ours}");
        }
    }

    #[test]
    fn equal_heads_become_one_without_a_change() {
        let config = crate::models::config_tests::tiny();
        let (one, state) = {
            let state = config.init(&mut crate::rng(0, "weights"));
            fewer_heads(&config, &state, 1, false).expect("groups")
        };
        // Two copies of it, averaged, are it again.
        let mut twice = StateDict::default();
        for (name, shape) in config.shapes() {
            let weight = state.get(&name).expect("there");
            let copies = if weight.shape == shape { 1 } else { 2 };
            twice.insert(&name, &shape, weight.values.repeat(copies)).expect("fits");
        }
        let (again, mean) = fewer_heads(&config, &twice, 1, true).expect("groups");
        assert_eq!((again, mean), (one, state));
        assert!(fewer_heads(&config, &twice, 3, true).is_err());
    }
}
