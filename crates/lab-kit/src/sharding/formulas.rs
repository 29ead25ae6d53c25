//! Bytes on paper.

use super::Stage;
use crate::peers::Traffic;

/// Bytes of a weight, of its gradient, and of what the optimizer holds for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bytes {
    /// Of a weight.
    pub weight: f64,
    /// Of its gradient.
    pub gradient: f64,
    /// Of moments, and of a copy of the weight in more bits.
    pub optimizer: f64,
}

impl Bytes {
    /// All in 32 bits.
    pub const FP32: Self = Self { weight: 4.0, gradient: 4.0, optimizer: 8.0 };
    /// Weights and gradients in 16 bits, moments and a copy of the weights in 32.
    pub const MIXED: Self = Self { weight: 2.0, gradient: 2.0, optimizer: 12.0 };

    /// All together.
    #[must_use]
    pub fn all(self) -> f64 {
        self.weight + self.gradient + self.optimizer
    }
}

// ANCHOR: state_bytes
/// Bytes of states on each of `n` devices for a model of so many weights (Rajbhandari et al., 2020, figure 1).
#[must_use]
pub fn state_bytes(weights: f64, bytes: Bytes, stage: Stage, n: f64) -> f64 {
    let cut = |from: Stage, bytes: f64| if stage >= from { bytes / n } else { bytes };
    let each = cut(Stage::Zero3, bytes.weight) + cut(Stage::Zero2, bytes.gradient) + cut(Stage::Zero1, bytes.optimizer);
    weights * each
}
// ANCHOR_END: state_bytes

// ANCHOR: expected
/// What each of `n` workers sends in a step with rings: of every unit, each collective operation sends `n - 1` parts. Loss and count
/// are exchanged beside, and where gradients are cut the length of the gradient, 8 and 4 bytes a message.
#[must_use]
pub fn expected(sizes: &[usize], stage: Stage, n: usize) -> Traffic {
    let rings = if stage == Stage::Zero3 { 3 } else { 2 };
    let parts: usize = sizes.iter().map(|size| size.div_ceil(n)).sum();
    let (small, bytes) = if stage == Stage::Ddp { (1, 8) } else { (2, 12) };
    Traffic { messages: (n - 1) * (rings * sizes.len() + small), bytes: (n - 1) * (rings * 4 * parts + bytes) }
}
// ANCHOR_END: expected

/// Tokens that a device must read in a step so that arithmetic at `flops` a second takes as long as its messages at `bandwidth` bytes a
/// second: a step takes 6 operations a weight and token, and sends so many bytes a weight.
#[must_use]
pub fn tokens_to_hide(bytes: Bytes, stage: Stage, n: f64, flops: f64, bandwidth: f64) -> f64 {
    // A gradient is summed once. Weights are gathered twice where they are cut, once where only their updates are, and a summed
    // gradient goes back to all where nothing is.
    let sent = match stage {
        Stage::Ddp => 2.0 * bytes.gradient,
        Stage::Zero1 | Stage::Zero2 => bytes.gradient + bytes.weight,
        Stage::Zero3 => bytes.gradient + 2.0 * bytes.weight,
    };
    (n - 1.0) / n * sent / bandwidth * flops / 6.0
}
