//! From the reader's settings to masks, or to the channels that stay.

use lab_api::LabError;
use lab_kit::{
    Context,
    prune::{
        FilterScore, Network, Score, Threshold, block_masks, filter_scores, keep_channels, mask, masks, n_of_m, taylor,
    },
};

use super::{Scores, Thresholds, Unit, material::Material};

/// What is removed together, by which score, against which threshold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    pub(super) unit: Unit,
    pub(super) score: Scores,
    pub(super) threshold: Thresholds,
    /// Sparsity of each layer from the scan, where the threshold is that.
    pub(super) budget: Vec<f64>,
}

impl Choice {
    /// The control: the same, drawn at random.
    pub(super) fn at_random(&self) -> Self {
        Self { score: Scores::Random, ..self.clone() }
    }

    /// Masks of a network as it is now. Random scores are the same at every call, so that later cuts go on with earlier ones.
    pub(super) fn masks(
        &self,
        network: &Network,
        material: &Material,
        sparsity: f64,
        cx: &Context,
    ) -> Result<Vec<Vec<bool>>, LabError> {
        let score = self.of_weights(network)?;
        let names = network.architecture.layers();
        let mut rng = cx.rng("random mask");
        let layer = |(l, name): (usize, &String)| material.evidence.scores(score, l, network.weight(name), &mut rng);
        let scores: Vec<Vec<f32>> = names.iter().enumerate().map(layer).collect();
        let layers = network.matrices(&names, &scores);
        let threshold = match self.threshold {
            Thresholds::Global => Threshold::Global,
            Thresholds::Layerwise => Threshold::Layer,
            Thresholds::Erk => Threshold::Erk,
            Thresholds::Scan => {
                return scores.iter().zip(&self.budget).map(|(scores, sparsity)| mask(scores, *sparsity)).collect();
            }
        };
        let block = |shape| block_masks(&layers, shape, sparsity, threshold);
        match self.unit {
            Unit::TwoOfFour => layers.iter().map(|layer| n_of_m(*layer, 2, 4)).collect(),
            Unit::BlocksWide => block((1, 16)),
            Unit::BlocksSquare => block((4, 4)),
            Unit::BlocksTall => block((16, 1)),
            Unit::Weights | Unit::Filters => masks(&layers, sparsity, threshold),
        }
    }

    fn of_weights(&self, network: &Network) -> Result<Score, LabError> {
        let score = match self.score {
            Scores::Random => Score::Random,
            Scores::Magnitude => Score::Magnitude,
            Scores::Gradient => Score::Gradient,
            Scores::Fisher => Score::Fisher,
            Scores::Activation => Score::Activation,
            Scores::Median => return refuse("the geometric median ranks channels; choose filters, or another score"),
        };
        match (score, network.as_mlp()) {
            (Score::Gradient | Score::Fisher | Score::Activation, None) => {
                refuse("single weights of a convolutional network are ranked by magnitude or at random here")
            }
            _ => Ok(score),
        }
    }

    /// The network with a share of the channels of each layer removed, and which ones stay.
    pub(super) async fn without_channels(
        &self,
        material: &Material,
        sparsity: f64,
        cx: &Context,
    ) -> Result<(Network, Vec<Vec<usize>>), LabError> {
        let network = &material.network;
        let mut rng = cx.rng("random filters");
        let scores = match self.score {
            Scores::Random => filter_scores(network, FilterScore::Random, &mut rng),
            Scores::Magnitude => filter_scores(network, FilterScore::L1, &mut rng),
            Scores::Median => filter_scores(network, FilterScore::Median, &mut rng),
            Scores::Gradient => {
                let all: Vec<usize> = (0..material.examples.len()).collect();
                taylor(network, (&material.examples, &all), cx).await?
            }
            Scores::Fisher | Scores::Activation => {
                return refuse("whole channels are ranked by magnitude, gradient or median, or at random");
            }
        };
        let keep = |scores: &Vec<f32>| -> Result<Vec<usize>, LabError> {
            // One stays at least, or nothing would pass through the layer.
            let most = 1.0 - 1.0 / scores.len().max(1) as f64;
            let kept = mask(scores, sparsity.min(most))?;
            Ok((0..scores.len()).filter(|channel| kept[*channel]).collect())
        };
        let keep: Vec<Vec<usize>> = scores.iter().map(keep).collect::<Result<_, _>>()?;
        Ok((keep_channels(network, &keep)?, keep))
    }
}

fn refuse<T>(why: &str) -> Result<T, LabError> {
    Err(LabError::Refused { why: why.into() })
}
