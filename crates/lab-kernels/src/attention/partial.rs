//! What is known of a softmax-weighted sum after some of its terms, and how two such pieces make one.

use super::{Head, Inputs, Sight};

// ANCHOR: merge
/// A query's attention over some of the keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Partial {
    /// The largest score; -∞ without any key.
    pub max: f64,
    /// The sum of `e^(score - max)`.
    pub sum: f64,
    /// The values, weighted by `e^(score - max)`: `[D]`.
    pub values: Vec<f64>,
}

/// Two pieces as one. Order and grouping do not matter, and a piece without keys changes nothing: so keys may be split over
/// tiles, threads or devices, and a cached prefix joined with what is new.
#[must_use]
pub fn merge(a: &Partial, b: &Partial) -> Partial {
    let max = a.max.max(b.max);
    // Two pieces without keys: -∞ - (-∞) is no number.
    let factor = |piece: &Partial| if piece.max == f64::NEG_INFINITY { 0.0 } else { (piece.max - max).exp() };
    let (of_a, of_b) = (factor(a), factor(b));
    let values = a.values.iter().zip(&b.values).map(|(a, b)| of_a * a + of_b * b).collect();
    Partial { max, sum: of_a * a.sum + of_b * b.sum, values }
}
// ANCHOR_END: merge

impl Partial {
    /// No key yet.
    #[must_use]
    pub fn empty(channels: usize) -> Self {
        Self { max: f64::NEG_INFINITY, sum: 0.0, values: vec![0.0; channels] }
    }

    /// The piece of one key: its score, and its value.
    #[must_use]
    pub fn of_key(score: f64, value: &[f32]) -> Self {
        Self { max: score, sum: 1.0, values: value.iter().map(|v| f64::from(*v)).collect() }
    }

    /// The weighted values; zeros without any key.
    #[must_use]
    pub fn finish(&self) -> Vec<f64> {
        let sum = if self.sum > 0.0 { self.sum } else { 1.0 };
        self.values.iter().map(|value| value / sum).collect()
    }
}

/// One query over keys that are dealt into so many pieces, each by [`tiled`](super::tiled) alone, merged at the end: how a
/// GPU reads a long cache for one token (Flash-Decoding, 2023).
#[must_use]
pub fn split(Inputs { q, k, v }: Inputs, channels: usize, pieces: usize, columns: usize) -> Vec<f32> {
    let d = channels.max(1);
    let part = (k.len() / d).div_ceil(pieces.max(1)).max(1) * d;
    let mut whole = Partial::empty(channels);
    for (k, v) in k.chunks(part).zip(v.chunks(part)) {
        let head = Head { queries: 1, keys: k.len() / d, channels };
        let blocks = super::Blocks { rows: 1, columns, skip: true };
        let one = super::tiled(Inputs { q, k, v }, head, Sight::FULL, blocks, &mut super::Traffic::default());
        // The logarithm of its sum is all that the merge needs: a piece whose largest score is that, and whose sum is one.
        let values = one.values.iter().map(|value| f64::from(*value)).collect();
        let piece = Partial { max: f64::from(one.log_sum[0]), sum: 1.0, values };
        whole = merge(&whole, &piece);
    }
    whole.finish().into_iter().map(|value| value as f32).collect()
}
