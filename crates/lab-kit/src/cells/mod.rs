//! Training and judging networks of the small space of [`lab_layers::cells`], on letters from font families.

mod table;
mod train;

pub use lab_layers::cells::*;
pub use table::{CELL_TABLE, CellEntry, CellTable, TABLE_SEEDS, TABLE_STEPS};
pub use train::{CELL_RATE, CellTraining, cell_images};
