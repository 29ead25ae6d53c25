//! The command line of the labs: the same engine as in the page, without a browser.

mod again;
mod assets;
mod bench;
mod grade;
mod handed_in;
mod hash;
mod hot_paths;
mod lines;
mod list;
mod native;
mod new_lab;
mod output;
mod problem;
mod reach;
mod reference;
mod registry;
mod root;
mod run;
mod train;
mod verify;

pub use assets::Manifest;
pub use bench::{Bench, BenchOptions, Roof, bench};
pub use grade::{GradeOptions, grade};
pub use hash::{SourceHashes, source_hashes};
pub use hot_paths::time_hot_paths;
pub use list::list;
pub use native::{NativeHost, Show};
pub use new_lab::new_lab;
pub use problem::Problem;
pub use reference::{Task, folder, params_text, reference};
pub use registry::registry;
pub use root::root;
pub use run::{RunOptions, run, run_entry};
pub use train::{TrainOptions, train};
pub use verify::{VerifyOptions, verify};
