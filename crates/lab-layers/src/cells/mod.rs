//! A small space of networks to search in: patches of an image, four slots that each hold one of six operations, the means of
//! four quadrants, logits. Every operation is a call of its own on its own weights, so that a network can hold one set of weights
//! for each slot, or for each slot and operation.
//!
//! Activations are maps `[B, 4, 4, C]`, channels last, C = 16.

mod code;
pub mod naive;
mod network;
mod op;
#[cfg(test)]
mod tests;

pub use code::CellCode;
pub use network::{
    CellNet, CellPass, CellTrace, head, head_backward, head_weights, init_head, init_stem, softmax_loss, stem,
    stem_backward, stem_weights,
};
pub use op::{SlotOp, SlotTrace};

/// Slots of a network.
pub const SLOTS: usize = 4;
/// Rows and columns of the grid of patches.
pub const GRID: usize = 4;
/// Patches of an image.
pub const POSITIONS: usize = GRID * GRID;
/// Pixels of a side of a patch.
pub const PATCH: usize = 4;
/// Pixels of a side of an image.
pub const SIDE: usize = GRID * PATCH;
/// Channels between two slots.
pub const CHANNELS: usize = 16;
/// Numbers that the classifier sees: the channels of four quadrants.
pub const FEATURES: usize = 4 * CHANNELS;
/// Taps of a window of 3 by 3.
const TAPS: usize = 9;

/// FLOPs of an image in stem and classifier: what every network of the space takes.
#[must_use]
pub fn base_flops(classes: usize) -> usize {
    2 * (POSITIONS * PATCH * PATCH * CHANNELS + FEATURES * classes)
}
