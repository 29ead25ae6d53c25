//! Pipeline parallel training: a network cut by depth over workers, orders in which they compute (GPipe, Huang et al., 2019,
//! arXiv:1811.06965; 1F1B; interleaved, Narayanan et al., 2021, arXiv:2104.04473), one interpreter that runs any of them on any
//! [`Link`](crate::peers::Link), and the time that an order would take.

mod balance;
mod order;
mod simulate;
mod stage;
#[cfg(test)]
mod tests;

pub use balance::{balance, equal_layers};
pub use order::{Half, PipeOp, PipeOrder, gpipe, interleaved, naive, one_f_one_b, zero_bubble};
pub use simulate::{PipeSlot, PipeTimeline, PipeTimes, simulate, simulate_each};
pub use stage::{PipeBatch, PipeStage, expected_traffic, joined};
