//! Selective recomputation: what a transformer's layer keeps for its backward pass, by kind, and what making it again costs.

use crate::models::TransformerConfig;
use crate::order::Ordered as _;

/// A kind of activation that a layer keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// What it is.
    pub name: &'static str,
    /// Numbers for each token.
    pub numbers: u64,
    /// Operations that make one of them again from what stands before it: twice the inner dimension of a product, a few for
    /// anything else.
    pub again: u64,
}

/// What an automatic differentiation has to keep of a layer for each token of texts of this length, every tensor once.
#[must_use]
pub fn saved_by_a_layer(config: &TransformerConfig, tokens: usize) -> Vec<Saved> {
    let [c, f, h, t, d] =
        [config.channels, config.feed_forward, config.heads, tokens, config.head_channels()].map(|size| size as u64);
    let kv = d * config.key_value_heads as u64;
    let saved = |name, numbers, again| Saved { name, numbers, again };
    vec![
        saved("gate · up", f, 1),
        saved("silu of the gate", f, 4),
        saved("outputs of both norms", 2 * c, 5),
        saved("attention weights", h * t, 2 * d + 5),
        saved("attention's output", c, 2 * t),
        saved("queries, keys, values", c + 2 * kv, 2 * c),
        saved("gate and up", 2 * f, 2 * c),
        saved("stream between the two halves", c, 2 * c),
        saved("stream before the layer", c, 2 * f),
    ]
}

// ANCHOR: selective
/// Which kinds are dropped so that what is left is within the budget: the cheapest to make again first. All of them where even
/// that does not suffice.
#[must_use]
pub fn selective(kinds: &[Saved], budget: u64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..kinds.len()).collect();
    order.ordered_by_key(&|kind| kinds[*kind].again);
    let mut held: u64 = kinds.iter().map(|kind| kind.numbers).sum();
    let mut dropped = vec![false; kinds.len()];
    for kind in order {
        if held <= budget {
            break;
        }
        dropped[kind] = true;
        held -= kinds[kind].numbers;
    }
    dropped
}
// ANCHOR_END: selective

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::LanguageModel;

    #[test]
    fn a_layer_of_the_language_model_by_hand() {
        let config = LanguageModel::full().config;
        for (tokens, numbers) in [(128, 4352), (256, 5120), (1024, 9728)] {
            let kinds = saved_by_a_layer(&config, tokens);
            let c = config.channels as u64;
            assert_eq!(kinds.iter().map(|kind| kind.numbers).sum::<u64>(), numbers);
            // 6 C + 2 · 64 + 4 F + H T.
            assert_eq!(numbers, 6 * c + 128 + 4 * 576 + 6 * tokens as u64);
        }
    }

    #[test]
    fn the_cheapest_go_first() {
        let kinds = saved_by_a_layer(&LanguageModel::full().config, 128);
        let names = |budget: u64| -> Vec<&str> {
            selective(&kinds, budget).iter().zip(&kinds).filter(|(gone, _)| **gone).map(|(_, kind)| kind.name).collect()
        };
        assert!(names(4352).is_empty());
        assert_eq!(names(4351), ["gate · up"]);
        assert_eq!(names(4352 - 2 * 576), ["gate · up", "silu of the gate"]);
        assert_eq!(
            names(4352 - 2 * 576 - 384 - 1),
            ["gate · up", "silu of the gate", "outputs of both norms", "attention weights"]
        );
        assert_eq!(names(0).len(), kinds.len());
    }
}
