//! The loops that labs spend their time in, on plain slices: packed integers and their products, sparse formats, attention in
//! tiles, and what is made to reach a roof.
//!
//! A crate of its own because it is compiled for speed wherever it runs; what calls it, [`lab-kit`](../lab_kit/index.html), is
//! compiled for size in a browser. It knows no tensor and no device, so that a kernel is a function one can read and test.

pub mod attention;
pub mod augment;
pub mod cells;
pub mod fusion;
pub mod graph;
mod layer;
mod percentile;
pub mod product;
pub mod quant;
mod random;
pub mod roofs;
pub mod scan;
pub mod sparse;

pub use layer::Dense;
pub use percentile::percentile;
pub use random::rng;
