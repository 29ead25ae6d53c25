//! The language model at four levels of fusion, counted.

use lab_api::LabError;
use lab_kit::{
    graph::{Fuse, Graph, Op, Passes, Recipe, Strategy, compile, decode, prefill},
    models::LanguageModel,
};

/// A level.
pub(super) const LEVELS: [&str; 4] = ["separate", "elementwise", "reductions", "epilogues"];

/// Kernels, and bytes of activations: moved, and of all results.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    pub(super) kernels: usize,
    pub(super) moved: usize,
    #[cfg(feature = "schema")]
    pub(super) results: usize,
}

/// What a pass over a text and a token written cost.
pub(super) struct Counted {
    /// Reading 128 tokens.
    pub(super) prefill: [Level; 4],
    /// Writing one behind 128.
    pub(super) decode: [Level; 4],
    /// Kernels of decoding with queries, keys and values in one product, gate and up in another.
    #[cfg(feature = "schema")]
    pub(super) merged: usize,
    /// Bytes of weights that products read.
    pub(super) weights: usize,
    /// Kernels of prefill by kind: products, elementwise, reductions, others.
    pub(super) kinds: [usize; 4],
}

impl Counted {
    /// The share of activations in what decoding moves, in per cent.
    pub(super) fn share(&self) -> f64 {
        let moved = self.decode[0].moved as f64;
        100.0 * moved / (moved + self.weights as f64)
    }
}

const TEXT: usize = 128;

fn level(graph: &Graph, fuse: Fuse, merge: bool) -> Result<Level, LabError> {
    let counts = compile(graph, Passes { fuse, merge, plan: Strategy::BySize, ..Passes::NONE })?.counts;
    Ok(Level {
        kernels: counts.kernels,
        moved: counts.traffic,
        #[cfg(feature = "schema")]
        results: counts.apart,
    })
}

pub(super) fn count() -> Result<Counted, LabError> {
    let config = LanguageModel::full().config;
    let [text, token] = [prefill(&config, TEXT), decode(&config, TEXT)];
    let mut found = Counted {
        prefill: Default::default(),
        decode: Default::default(),
        #[cfg(feature = "schema")]
        merged: level(&token, Fuse::Epilogues, true)?.kernels,
        weights: 0,
        kinds: [0; 4],
    };
    for (i, fuse) in Fuse::ALL.into_iter().enumerate() {
        found.prefill[i] = level(&text, fuse, false)?;
        found.decode[i] = level(&token, fuse, false)?;
    }
    for node in text.nodes.iter().filter(|node| node.op.is_computed()) {
        let kind = match node.op {
            Op::Product => 0,
            Op::Unary(lab_kit::graph::Unary::Copy) => 3,
            Op::Unary(_) | Op::Binary(_) => 1,
            Op::Reduce(_) => 2,
            _ => 3,
        };
        found.kinds[kind] += 1;
    }
    for node in token.nodes.iter().filter(|node| node.op == Op::Product) {
        for input in &node.inputs {
            if let Op::Constant(place) = token.nodes[*input].op
                && matches!(token.constants[place].recipe, Recipe::Named { .. })
            {
                found.weights += 4 * token.numbers(*input);
            }
        }
    }
    Ok(found)
}
