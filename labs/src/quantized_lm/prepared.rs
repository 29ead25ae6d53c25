//! The weights as they are to be rounded, and what is known of their inputs.

use std::collections::BTreeMap;

use lab_api::LabError;
use lab_kit::{
    Context,
    models::{Site, StateDict},
    quant::{GroupGrids, Remedy, Spread, Treatment, remedy::scale_columns},
};

use super::{flows::Flow, model::Source};

/// Weights after a remedy for outliers; any width and grid may follow.
pub(super) struct Prepared {
    /// Scaled where channels were scaled, and zero where channels are kept apart.
    pub(super) weights: StateDict,
    /// By matrix: the channels that skip the rounding.
    kept: BTreeMap<String, Vec<usize>>,
    /// What flows into the matrices: as it comes, as it reaches the rounding, and what that makes of errors.
    inputs: Vec<Input>,
    /// When the grids of groups are fitted.
    pub(super) grids: GroupGrids,
}

/// One input.
pub(super) struct Input {
    pub(super) before: Flow,
    pub(super) after: Flow,
    /// How errors are compensated, where that was asked for.
    pub(super) spread: Option<Spread>,
}

impl Prepared {
    /// As shipped, nothing known of the inputs.
    pub(super) fn plain(source: &Source) -> Self {
        let weights = source.weights.clone();
        Self { weights, kept: BTreeMap::new(), inputs: Vec::new(), grids: GroupGrids::Before }
    }

    /// Scaling is done where a norm or another matrix can take it up (see [`Site`]); channels are kept everywhere.
    pub(super) async fn new(source: &Source, flows: Vec<Flow>, remedy: Remedy, cx: &Context) -> Result<Self, LabError> {
        let mut prepared = Self::plain(source);
        let sites = Site::all(source.config());
        for before in flows {
            let rows: Vec<f32> = before.names.iter().flat_map(|name| prepared.values(name)).copied().collect();
            let columns = before.columns;
            let mut treatment = remedy.treat(&rows, columns, &before.rows);
            match &treatment {
                Treatment::Nothing => {}
                Treatment::Keep(channels) => {
                    let by = treatment.of_weights(columns);
                    for name in &before.names {
                        if let Some(weight) = prepared.weights.get_mut(name) {
                            weight.values = scale_columns(&weight.values, &by);
                        }
                        prepared.kept.insert(name.clone(), channels.clone());
                    }
                }
                Treatment::Smooth(factors) => match sites.iter().find(|site| site.readers == before.names) {
                    Some(site) => site.rescale(&mut prepared.weights, factors)?,
                    None => treatment = Treatment::Nothing,
                },
            }
            let after = before.scaled(&treatment.of_inputs(columns));
            let spread = after.hessian.as_ref().map(Spread::new);
            prepared.inputs.push(Input { before, after, spread });
            cx.checkpoint().await?;
        }
        Ok(prepared)
    }

    /// What is known of a matrix's input.
    pub(super) fn input(&self, matrix: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.before.names.iter().any(|name| name == matrix))
    }

    /// The channels of a matrix that skip the rounding.
    pub(super) fn kept(&self, matrix: &str) -> &[usize] {
        self.kept.get(matrix).map_or(&[], Vec::as_slice)
    }

    /// The input of which one channel stands out most.
    pub(super) fn loudest(&self) -> Option<&Input> {
        self.inputs.iter().max_by(|a, b| a.before.stands_out().total_cmp(&b.before.stands_out()))
    }

    /// Numbers of a tensor.
    pub(super) fn values(&self, name: &str) -> &[f32] {
        self.weights.get(name).map_or(&[], |weight| &weight.values)
    }
}
