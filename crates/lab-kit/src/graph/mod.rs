//! A small compiler of whole graphs: importers for the book's networks, passes that rewrite the graph, kernels that join its
//! operations, their order, a plan of the memory, and an interpreter that runs the result in one arena or, as its eager twin,
//! with a buffer for each result.

mod bind;
mod compile;
mod cse;
mod dead;
mod fold;
mod fuse;
mod import;
mod ir;
mod layout;
mod merge;
mod order;
mod plan;
#[cfg(any(test, feature = "schema"))]
mod random;
mod run;
#[cfg(test)]
mod tests;

pub use bind::Bound;
pub use compile::{Buffer, Counts, Kernel, Passes, Program, compile, shuffled};
pub use cse::cse;
pub use dead::{dead, last_rows};
pub use fold::fold;
pub use fuse::{Fuse, fuse};
pub use import::{cnn, decode, heads, mlp, prefill};
pub use ir::{Constant, Graph, Id, Node, Op, Recipe, Shape};
pub use lab_kernels::graph::{Binary, Reduce, Strided, TILES, Unary, pack, strip};
pub use layout::{Place, places};
pub use merge::merge;
pub use order::{Order, deal, depends};
pub use plan::{Life, Strategy, bound, height, plan};
#[cfg(any(test, feature = "schema"))]
pub use random::random;
pub use run::{Memory, Poison};
