//! Caches of keys and values that give something up: bits, tokens or heads; and the bookkeeping of paged ones.
//!
//! [`KvCache`](crate::models::KvCache) keeps everything and lives on the device. What stands here holds the rows of one head in
//! plain memory, so that every byte is there to be counted, and computes attention row by row, on the processor.

mod bytes;
mod decoder;
mod head;
mod packed;
mod paged;
mod session;
mod setting;

pub use bytes::{Layout, fewer_heads, flops_with, flops_without};
pub use decoder::{Decoder, Turns};
pub use head::HeadCache;
pub use packed::{BLOCK, PackedRows};
pub use paged::{Pool, Sequence};
pub use session::{Session, Watch};
pub use setting::{Axis, Grid, Policy, Positions, Setting, kept, slot};
