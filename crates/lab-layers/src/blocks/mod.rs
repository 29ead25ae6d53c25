//! Small convolutional networks on plain slices, forward and backward: convolutions of any number of groups, batch
//! normalization, squeeze and excitation, shuffled channels, branches that are added or joined.
//!
//! Feature maps lie with their channels last, `[batch, height, width, channels]`, so that the innermost loop of every layer
//! runs over neighbours in memory.

mod convolution;
mod depthwise;
mod excite;
mod fold;
pub mod naive;
mod network;
mod norm;
mod panels;

pub use convolution::Conv;
pub use excite::Excite;
pub use fold::fold;
pub use network::{Network, Op, Trace, shuffle};
pub use norm::Norm;
pub use panels::Panels;

/// Feature maps `[batch, height, width, channels]`, row-major.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Maps {
    /// The numbers.
    pub data: Vec<f32>,
    /// Images.
    pub batch: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl Maps {
    /// All zero.
    #[must_use]
    pub fn zeros(batch: usize, height: usize, width: usize, channels: usize) -> Self {
        Self { data: vec![0.0; batch * height * width * channels], batch, height, width, channels }
    }

    /// Places of all images together.
    #[must_use]
    pub fn places(&self) -> usize {
        self.batch * self.height * self.width
    }
}

/// `to[i] += from[i]`.
fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// Rows of few channels that loops may treat as one long row: short rows cost more in starting the loop than in running it.
fn tiling(places: usize, channels: usize) -> usize {
    let mut tiles = 1;
    while 2 * tiles * channels <= 128 && places.is_multiple_of(2 * tiles) {
        tiles *= 2;
    }
    tiles
}

/// The sums of the tiles of a long row.
fn folded(sums: &[f32], channels: usize) -> Vec<f32> {
    let mut all = vec![0.0; channels];
    sums.chunks_exact(channels.max(1)).for_each(|tile| add(&mut all, tile));
    all
}

#[cfg(test)]
pub(super) mod samples {
    /// Numbers between -1 and 1 without a pattern, from a seed.
    pub(crate) fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1_u32 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }
}
