//! Attention of one head in four ways that give the same numbers: with tables as an eager framework makes them, with one
//! table, in chunks of queries, and in tiles whose softmax is put together piece by piece, so that no table ever exists.
//!
//! Plain Rust for one core, in vectors of four numbers, like the kit's other kernels. All ways share their products
//! ([`products`](self)) and their exponential, so that what differs between them is what they hold and what they skip.
//! Milakov and Gimelshein (2018, arXiv:1805.02867) have the softmax in pieces, Rabe and Staats (2021, arXiv:2112.05682) and
//! Dao et al. (2022, arXiv:2205.14135) the attention made of it.

mod backward;
mod exact;
mod forward;
mod partial;
pub mod products;
mod sight;
#[cfg(test)]
mod tests;

pub use backward::{Gradients, recomputed, saved};
pub use exact::{Exact, exact, exact_gradients};
pub use forward::{Blocks, Output, chunked, eager, one_table, tiled};
pub use partial::{Partial, merge, split};
pub use sight::{Head, Sight};

/// Numbers that a way moves between slow and fast memory, counted where it moves them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Read.
    pub read: u64,
    /// Written.
    pub written: u64,
}

impl Traffic {
    /// Bytes of both, at 4 a number.
    #[must_use]
    pub fn bytes(self) -> u64 {
        4 * (self.read + self.written)
    }

    fn read(&mut self, numbers: usize) {
        self.read += numbers as u64;
    }

    fn write(&mut self, numbers: usize) {
        self.written += numbers as u64;
    }
}

/// Queries `[T, D]`, keys and values `[S, D]` of one head.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Queries.
    pub q: &'a [f32],
    /// Keys.
    pub k: &'a [f32],
    /// Values.
    pub v: &'a [f32],
}
