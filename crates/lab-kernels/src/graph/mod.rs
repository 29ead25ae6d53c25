//! What a compiled graph spends its time in: loops over rows, and products in tiles of any shape.

mod rows;
mod tile;

pub use rows::{Binary, Reduce, Row, Unary, binary, pool, reduce, unary};
pub use tile::{Strided, TILES, few_rows, pack, strip};
