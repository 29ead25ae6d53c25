//! The engine inside the page's worker: takes [`lab_api::Request`]s, answers with [`lab_api::Event`]s, both as JSON text.
//!
//! Built twice from this source: the cpu engine, and with the feature `webgpu` the gpu engine. Outside a browser the crate is
//! empty: natively, `lab-cli` is the engine.

#[cfg(target_family = "wasm")]
mod device;
#[cfg(target_family = "wasm")]
mod host;
#[cfg(target_family = "wasm")]
mod hot_paths;
#[cfg(target_family = "wasm")]
mod loader;
#[cfg(target_family = "wasm")]
mod trouble;
#[cfg(target_family = "wasm")]
mod worker;

#[cfg(all(target_family = "wasm", feature = "webgpu"))]
pub use hot_paths::{kernel_agreement, wide_product};
#[cfg(target_family = "wasm")]
pub use hot_paths::{repeat_hot_path, time_hot_path};
#[cfg(target_family = "wasm")]
pub use loader::serve_loader;
#[cfg(target_family = "wasm")]
pub use worker::start;
