//! Measuring: time under clocks as coarse as a browser's, memory, arithmetic against the device's roof, energy, quality.
//!
//! Everything takes the run's [`Context`](crate::Context), so the same code measures in a terminal and in a page.

mod compute;
pub mod counter;
mod energy;
pub mod footprint;
mod gate;
pub mod limits;
mod memory;
mod peaks;
pub mod quality;
mod time;
mod turns;

pub use lab_kernels::roofs;

pub use compute::{Mask, Work};
pub use energy::{Energy, EnergyAssumptions, UseAssumptions, joules_at};
pub(crate) use gate::NOTICEABLE;
pub use memory::{
    CountingAllocator, MemoryReading, counting_allocator, device_memory, memory_reading, peak_bytes, reset_peak,
};
pub use peaks::{Bandwidth, IN_CACHE_BYTES, IN_MEMORY_BYTES, Roofline, bandwidth, peak_gflops};
pub use time::{Pair, against_itself, samples, side_by_side};
pub use turns::in_turns;
