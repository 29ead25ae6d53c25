//! What labs train by hand on plain slices: blocks of a network, mixers of tokens, and update rules, forward and backward.
//!
//! A crate of its own because it is compiled for size in a browser: it is much code, and its time passes in the products of
//! [`lab-kernels`](../lab_kernels/index.html), which are compiled for speed. Like that one it knows no tensor and no device.

pub mod blocks;
pub mod cells;
pub mod mixers;
pub mod moe;
pub mod optim;
