//! What steps make of the classifier.

use lab_api::LabError;

use super::{
    steps::EntryStep,
    stored::{CodedMatrix, EntrySizes, ScoredEntry, StoredWeights},
};
use crate::{
    Context,
    data::Images,
    models::{CnnConfig, GlyphClassifier, StateDict},
    prune::{Architecture, FilterScore, Masked, Network, Tuning, filter_scores, keep_channels, tune},
};

/// Images of a step of training, and its learning rate.
const TOGETHER: usize = 64;
const RATE: f64 = 1e-3;

/// The shipped classifiers, and the images of a step that trains.
pub struct GlyphMaterial {
    /// The classifier to be compressed.
    pub teacher: StateDict,
    /// The small one.
    pub small: StateDict,
    /// Images that judge nobody.
    pub images: Images,
}

impl ScoredEntry {
    /// The classifier before any step.
    #[must_use]
    pub fn glyphs(material: &GlyphMaterial) -> Self {
        let sizes = EntrySizes::Glyphs(GlyphClassifier::teacher().config);
        Self { sizes, stored: StoredWeights::plain(material.teacher.clone()), steps: Vec::new() }
    }

    /// Its sizes, where it is a classifier.
    ///
    /// # Errors
    /// [`LabError::Refused`] where it is none.
    pub fn cnn(&self) -> Result<&CnnConfig, LabError> {
        match &self.sizes {
            EntrySizes::Glyphs(config) => Ok(config),
            EntrySizes::Language(_) => Err(LabError::Refused { why: "a language model is no classifier".into() }),
        }
    }

    /// The network as floats.
    ///
    /// # Errors
    /// As [`ScoredEntry::cnn`].
    pub fn network(&self) -> Result<Network, LabError> {
        Ok(Network { architecture: Architecture::Cnn(self.cnn()?.clone()), state: self.stored.state.clone() })
    }

    /// Takes a step of the classifier. Steps that change no weights are noted alone.
    ///
    /// # Errors
    /// What the network and the checkpoints return.
    pub async fn step_glyphs(
        mut self,
        step: EntryStep,
        material: &GlyphMaterial,
        cx: &Context,
    ) -> Result<Self, LabError> {
        match step {
            EntryStep::Student => {
                self.sizes = EntrySizes::Glyphs(GlyphClassifier::small().config);
                self.stored = StoredWeights::plain(material.small.clone());
            }
            EntryStep::Prune { percent } => self.thin(percent, cx)?,
            EntryStep::Recover { steps } => {
                let network = Masked::new(&self.network()?, cx)?;
                let images: Vec<usize> = (0..material.images.len()).collect();
                let rate = |i: usize| RATE * (1.0 - i as f64 / steps as f64);
                let how = Tuning { steps, batch: TOGETHER };
                let order = &mut cx.rng("recover");
                let trained =
                    tune(network, (&material.images, &images), how, rate, order, cx, async |_, net| Ok(net)).await?;
                self.stored = StoredWeights::plain(trained.read().await?.state);
            }
            EntryStep::Quantize { levels, group, .. } => {
                let matrices: Vec<(String, usize)> = self
                    .stored
                    .state
                    .iter()
                    .filter(|(_, weight)| weight.shape.len() > 1)
                    .map(|(name, weight)| (name.to_owned(), weight.shape[1..].iter().product()))
                    .collect();
                for (name, columns) in matrices {
                    let Some(weight) = self.stored.state.get(&name) else { continue };
                    let matrix = CodedMatrix::quantize(&weight.values, columns, (levels, group), None);
                    self.stored.put(&name, matrix);
                    cx.checkpoint().await?;
                }
            }
            _ => {}
        }
        self.steps.push(step);
        Ok(self)
    }

    /// Removes the channels of every convolution whose weights are smallest in sum.
    fn thin(&mut self, percent: u32, cx: &Context) -> Result<(), LabError> {
        let network = self.network()?;
        let choose = |scores: Vec<f32>| -> Vec<usize> {
            let kept = (scores.len() * (100 - percent.min(99) as usize)).div_ceil(100);
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
            order.truncate(kept);
            order.sort_unstable();
            order
        };
        let scores = filter_scores(&network, FilterScore::L1, &mut cx.rng("filters"));
        let keep: Vec<Vec<usize>> = scores.into_iter().map(choose).collect();
        let small = keep_channels(&network, &keep)?;
        for (name, rows) in network.architecture.layers().iter().zip(keep.iter().map(Some).chain([None])) {
            let name = format!("{name}.weight");
            if let (Some(coded), Some(weight)) = (self.stored.coded.get_mut(&name), small.state.get(&name)) {
                let all: Vec<usize> = (0..coded.rows).collect();
                let columns = weight.shape[1..].iter().product();
                *coded = coded.part(&weight.values, columns, rows.unwrap_or(&all));
            }
        }
        if let Architecture::Cnn(config) = small.architecture {
            self.sizes = EntrySizes::Glyphs(config);
        }
        self.stored.state = small.state;
        Ok(())
    }
}
