//! Pruning: which weights stay. Scores say what a weight is worth, masks turn scores into a choice, and training goes on
//! with what stayed; or whole channels are removed, and the network is really smaller.

#[cfg(test)]
mod against_torch;
mod evidence;
mod filters;
mod mask;
mod network;
mod schedule;
mod surgery;
mod tune;

pub use evidence::{Evidence, Score};
pub use filters::{FilterScore, filter_scores, taylor};
pub use mask::{
    Matrix, Threshold, block_masks, erk_densities, mask, mask_by_sorting, masks, n_of_m, per_row, pruned_count,
};
pub use network::{Architecture, Net, Network};
pub use schedule::{cubic, kept_after_round};
pub use surgery::{keep_channels, silence_channels};
pub use tune::{Masked, Tuning, logits, tune};
