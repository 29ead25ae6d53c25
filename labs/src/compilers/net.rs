//! The networks, their weights and what they are given.

use lab_api::LabError;
use lab_kit::{
    Context,
    graph::{Bound, Graph, Memory, Program, cnn, decode, heads, mlp, prefill},
    mlp::MlpWeights,
    models::{GlyphClassifier, LanguageModel, StateDict},
};
use rand::Rng;

use super::{Model, Params};

/// Widths of the digit classifier.
const WIDTHS: [usize; 4] = [64, 128, 128, 10];

/// A network with its numbers.
pub(super) struct Net {
    pub(super) graph: Graph,
    weights: StateDict,
    input: Vec<f32>,
    states: Vec<f32>,
}

/// The graph of a setting; it needs no weights.
pub(super) fn graph(params: &Params) -> Graph {
    let (config, tokens, batch) = (LanguageModel::full().config, params.length as usize, params.batch as usize);
    match params.model {
        Model::LmPrefill => prefill(&config, tokens.min(config.context)),
        Model::LmDecode => decode(&config, tokens.min(config.context - 1)),
        Model::Heads => heads(&config, tokens.min(config.context)),
        Model::Cnn => cnn(&GlyphClassifier::teacher().config, batch),
        Model::Mlp => mlp(&WIDTHS, batch),
    }
}

/// Weights and an input: shipped weights, random tokens or pixels.
pub(super) async fn read(params: &Params, graph: Graph, cx: &Context) -> Result<Net, LabError> {
    let mut rng = cx.rng("input");
    let count = graph.nodes.first().map_or(0, |node| node.shape.iter().product());
    let (weights, input) = match params.model {
        Model::Mlp => {
            let mut state = StateDict::default();
            let network = MlpWeights::init(&WIDTHS, &mut cx.rng("weights"));
            for (i, layer) in network.layers.into_iter().enumerate() {
                state.insert(&format!("layers.{i}.weight"), &[layer.outputs, layer.inputs], layer.weight)?;
                state.insert(&format!("layers.{i}.bias"), &[layer.outputs], layer.bias)?;
            }
            (state, (0..count).map(|_| rng.random_range(0.0..1.0)).collect())
        }
        Model::Cnn => {
            let asset = GlyphClassifier::teacher().asset;
            let state = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
            (state, (0..count).map(|_| rng.random_range(0.0..1.0)).collect())
        }
        Model::LmPrefill | Model::LmDecode | Model::Heads => {
            let which = LanguageModel::full();
            let state = StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?)?;
            let token = |_| rng.random_range(0..which.config.vocabulary) as f32;
            (state, (0..count).map(token).collect())
        }
    };
    cx.checkpoint().await?;
    // A cache of random keys and values: as many for each state.
    let mut rng = cx.rng("cache");
    let states = (0..if params.model == Model::LmDecode { 1 << 15 } else { 0 }).map(|_| rng.random_range(-1.0..1.0));
    Ok(Net { graph, weights, input, states: states.collect() })
}

impl Net {
    /// The constants of a program.
    pub(super) fn bind(&self, program: &Program, pack: bool, tile: usize) -> Result<Bound, LabError> {
        // A head's part of a matrix is named by a number behind it.
        let mut weight = |name: &str, count: usize| {
            let (name, head) = name.split_once('/').unwrap_or((name, "0"));
            let from = head.parse::<usize>().ok()? * count;
            Some(self.weights.get(name)?.values.get(from..from + count)?.to_vec())
        };
        program.bind(&mut weight, pack, tile)
    }

    /// What a program runs in, with its input in it.
    pub(super) fn memory(&self, program: &Program, eager: bool) -> Memory {
        let mut memory = Memory::new(program, eager);
        if let Some(input) = memory.inputs.first_mut() {
            input.copy_from_slice(&self.input);
        }
        for state in &mut memory.states {
            state.iter_mut().zip(&self.states).for_each(|(place, x)| *place = *x);
        }
        memory
    }
}
