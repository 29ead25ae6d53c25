//! Makes a site of the book: pages by mdBook with our preprocessor and template, assets checked and addressed by content,
//! WASM bundles, and what a static host needs. [`build`] writes it to a folder; [`serve`] shows it while it is being written.

mod assets;
mod build;
mod compress;
mod extras;
mod paths;
mod pkg;
mod render;
mod scripts;
mod serve;
mod server;
mod sources;
mod watch;

pub use build::{Build, build};
pub use paths::Paths;
pub use serve::{Serve, serve, serve_static};
