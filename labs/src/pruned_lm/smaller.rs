//! Models that are really smaller: a layer less, or fewer units in every feed-forward network.

use lab_api::LabError;
use lab_kit::{
    Context,
    models::{StateDict, TransformerConfig},
};
use rand::Rng;

use super::{calibrate, model::Weights};
use lab_kit::order::Ordered as _;

/// By what feed-forward units are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Units {
    /// Length of the unit's output on the calibration text times that of its column in the down-projection: what it adds.
    Activation,
    /// That column's length alone.
    #[cfg_attr(not(feature = "schema"), expect(dead_code, reason = "the study compares it"))]
    Size,
    #[cfg_attr(not(feature = "schema"), expect(dead_code, reason = "the study compares it"))]
    Random,
}

impl Weights {
    /// Without one layer: the residual stream passes by. Later layers move up.
    pub(super) fn without_layer(&self, gone: usize) -> Result<Self, LabError> {
        let layers = self.config.layers;
        if gone >= layers || layers < 2 {
            let why = format!("there is no layer {} to remove and leave another: the model has {layers}", gone + 1);
            return Err(LabError::Refused { why });
        }
        let mut state = StateDict::default();
        for (name, weight) in self.state.iter() {
            let mut parts: Vec<String> = name.split('.').map(str::to_owned).collect();
            if let Some(number) = parts.get(2).and_then(|part| part.parse::<usize>().ok()) {
                if number == gone {
                    continue;
                }
                parts[2] = (number - usize::from(number > gone)).to_string();
            }
            state.insert(&parts.join("."), &weight.shape, weight.values.clone())?;
        }
        Ok(Self { config: TransformerConfig { layers: layers - 1, ..self.config.clone() }, state })
    }

    // ANCHOR: narrowed
    /// With this share of the units of every feed-forward network: rows of gate and up, columns of down. At least one stays.
    pub(super) async fn narrowed(
        &self,
        share: f64,
        by: Units,
        text: &[Vec<u32>],
        cx: &Context,
    ) -> Result<Self, LabError> {
        let units = self.config.feed_forward;
        let kept = ((share * units as f64).round() as usize).clamp(1, units);
        let mut narrow = self.clone();
        narrow.config.feed_forward = kept;
        let model = self.model(cx)?;
        let (mut streams, mut rng) = (calibrate::embed(&model, text, cx)?, cx.rng("random units"));
        for layer in 0..self.config.layers {
            let named = |matrix: &str| format!("model.layers.{layer}.mlp.{matrix}_proj.weight");
            let down = self.state.get(&named("down")).map_or(&[][..], |weight| &weight.values);
            let column =
                |unit: usize| down.chunks_exact(units).map(|row| f64::from(row[unit]).powi(2)).sum::<f64>().sqrt();
            let flows = calibrate::flows(&model, layer, &streams, false, cx).await?;
            let norms = flows.last().map_or(&[][..], |flow| &flow.norms);
            let mut order: Vec<(f64, usize)> = (0..units)
                .map(|unit| match by {
                    Units::Activation => (column(unit) * norms.get(unit).copied().unwrap_or(0.0), unit),
                    Units::Size => (column(unit), unit),
                    Units::Random => (rng.random(), unit),
                })
                .collect();
            order.ordered_by(&|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let mut chosen: Vec<usize> = order[..kept].iter().map(|(_, unit)| *unit).collect();
            chosen.sort_unstable();
            for matrix in ["gate", "up", "down"] {
                let Some(weight) = narrow.state.get_mut(&named(matrix)) else { continue };
                let columns = weight.shape[1];
                let old = std::mem::take(&mut weight.values);
                weight.values = if matrix == "down" {
                    old.chunks_exact(columns).flat_map(|row| chosen.iter().map(|unit| row[*unit])).collect()
                } else {
                    chosen.iter().flat_map(|unit| old[unit * columns..(unit + 1) * columns].iter().copied()).collect()
                };
                weight.shape[usize::from(matrix == "down")] = kept;
            }
            streams = calibrate::through(&model, layer, &streams, cx).await?;
        }
        Ok(narrow)
    }
    // ANCHOR_END: narrowed
}
