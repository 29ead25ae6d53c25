//! The fast way: integers packed to the bit, and arithmetic that reads nothing else.

pub mod kernel;
pub mod network;
pub mod packed;
