//! What labs stand on: the [`Lab`] trait and its [`Context`], models, data, quantizers and measurement, on Burn.
//!
//! A lab is written against this crate alone; what differs between a terminal and a browser sits behind [`Host`].

pub mod accumulate;
pub mod adapters;
pub mod attention;
pub mod bench;
pub mod blocks;
pub mod cache;
pub mod cells;
pub mod choices;
mod context;
mod counts;
mod cross_validated;
pub mod data;
mod device;
pub mod distill;
pub mod exits;
pub mod experts;
pub mod fit;
pub mod five_gram;
pub mod formats;
mod from_values;
pub mod fusion;
#[cfg(feature = "webgpu")]
pub mod gpu;
pub mod graph;
mod host;
pub mod hot_paths;
mod input;
mod lab;
pub mod language;
pub mod linalg;
pub mod loading;
pub mod measure;
pub mod mixing;
pub mod mlp;
pub mod models;
pub mod olympics;
pub mod one_shot;
pub mod ops;
pub mod order;
pub mod peers;
pub mod pipeline;
pub mod profile;
pub mod prune;
pub mod quant;
pub mod recompute;
pub mod report;
pub mod scaling;
pub mod search;
pub mod serving;
pub mod sharding;
pub mod sparse;
pub mod speculative;
pub mod stats;
pub mod subject;
pub mod tensor_file;
#[cfg(any(test, feature = "schema"))]
pub mod testing;
pub mod train;
pub mod training;
pub mod tuning;
pub mod two_cores;
pub mod weights;

pub use burn;
pub use context::{Context, rng};
pub use cross_validated::CrossValidated;
pub use device::open_device;
pub use host::{Host, HostInfo, LocalBoxFuture};
pub use input::Input;
pub use lab::{Lab, LabEntry, execute, find};
pub use lab_data::tokenizer;
pub use ops::matmul;
