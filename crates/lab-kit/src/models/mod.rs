//! Models, from plain numbers to a device: a decoder-only transformer and a convolutional classifier. The multilayer
//! perceptron stands in [`mlp`](crate::mlp).

mod attention;
mod cache;
mod cnn;
mod config;
mod pack;
mod probe;
mod projection;
mod rescale;
mod rope;
mod sample;
mod shipped;
mod state;
mod transformer;
mod write;

#[cfg(test)]
pub(crate) use config::tests as config_tests;

pub use attention::{Attention, attend, attend_by_head, causal_mask};
pub use cache::KvCache;
pub use cnn::{Cnn, CnnConfig};
pub use config::TransformerConfig;
pub use pack::{pack, packed_bytes};
pub use probe::output_gradients;
pub use projection::{Projection, TokenEmbedding};
pub use rescale::Site;
pub use rope::Rope;
pub use sample::{Sampling, generate};
pub use shipped::{GlyphClassifier, LanguageModel};
pub(crate) use state::file_name;
pub use state::{StateDict, Weight};
pub use transformer::Transformer;
pub use write::write_rows;
