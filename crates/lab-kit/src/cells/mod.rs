//! Networks of the small space of [`lab_layers::cells`]: training and judging them on letters from font families, proposing, timing,
//! and what was recorded of all of them.

mod hardware;
mod proxies;
mod strategy;
mod table;
#[cfg(test)]
mod tests;
mod train;

pub use hardware::{CellTimes, cell_times, network_times};
pub use lab_layers::cells::*;
pub use proxies::{CellProxies, cell_batch, cell_proxies};
pub use strategy::{CellSearch, CellStrategy, cell_incumbents};
pub use table::{CELL_TABLE, CellEntry, CellTable, TABLE_SEEDS, TABLE_STEPS};
#[cfg(any(test, feature = "schema"))]
pub use train::cell_parts;
pub use train::{CELL_RATE, CellTraining, cell_images};
