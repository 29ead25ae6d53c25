//! What steps make of the language model.

use lab_api::LabError;

use super::{
    gram::EntryGram,
    steps::EntryStep,
    stored::{CodedMatrix, EntrySizes, ScoredEntry, StoredWeights},
};
use crate::{
    Context,
    language::windows_to_tensors,
    linalg::{Matrix, Root, weighted},
    models::{LanguageModel, StateDict, Transformer, TransformerConfig, pack},
    quant::{Inputs, PackedWeight},
    training::{Recipe, Trainer, Windows, cross_entropy},
};

/// Tokens of a window that shows what flows.
pub const CALIBRATION: usize = 256;
/// Tokens of a window that trains.
const TRAINED: usize = 128;
/// Windows of a step of training, and its learning rate: more harms a model that has converged.
const TOGETHER: usize = 2;
const RATE: f64 = 3e-4;

/// The shipped models, and text that judges nobody.
pub struct LanguageMaterial {
    /// The model to be compressed.
    pub full: StateDict,
    /// The small one.
    pub draft: StateDict,
    /// Windows that show what flows through the matrices.
    pub calibration: Vec<Vec<u32>>,
    /// Text for a step that trains.
    pub text: Vec<u32>,
}

/// What goes into matrices that share it.
struct EntryFlow {
    names: Vec<String>,
    gram: EntryGram,
}

impl ScoredEntry {
    /// The language model before any step.
    #[must_use]
    pub fn language(material: &LanguageMaterial) -> Self {
        let sizes = EntrySizes::Language(LanguageModel::full().config);
        Self { sizes, stored: StoredWeights::plain(material.full.clone()), steps: Vec::new() }
    }

    /// Its sizes, where it is a language model.
    ///
    /// # Errors
    /// [`LabError::Refused`] where it is none.
    pub fn transformer(&self) -> Result<&TransformerConfig, LabError> {
        match &self.sizes {
            EntrySizes::Language(config) => Ok(config),
            EntrySizes::Glyphs(_) => Err(LabError::Refused { why: "a classifier is no language model".into() }),
        }
    }

    /// The model on the device: from packed codes where the engine has products for them, else from the floats that they stand for.
    ///
    /// # Errors
    /// What [`Transformer::new`] returns.
    pub fn model(&self, cx: &Context) -> Result<Transformer, LabError> {
        let config = self.transformer()?;
        let source = "the entry";
        if !self.stored.is_packed() {
            return Transformer::new(config, &self.stored.state, source, &cx.device);
        }
        let of = |name: &str| self.stored.coded.get(name).map(CodedMatrix::packed);
        // Every matrix is coded: the other arm is never taken.
        let (matrices, rest) = pack(&self.stored.state, |name, weight| {
            of(name).unwrap_or_else(|| CodedMatrix::quantize(&weight.values, weight.shape[1], (255, 0), None).packed())
        })?;
        let place = |_: &str, matrix| PackedWeight::new(matrix, Inputs::Float, &cx.device);
        Transformer::packed(config, matrices, &rest, (source, place), &cx.device)
    }

    /// Takes a step of the language model. Steps that change no weights are noted alone.
    ///
    /// # Errors
    /// What the model and the checkpoints return.
    pub async fn step_language(
        mut self,
        step: EntryStep,
        material: &LanguageMaterial,
        cx: &Context,
    ) -> Result<Self, LabError> {
        match step {
            EntryStep::Student => {
                self.sizes = EntrySizes::Language(LanguageModel::draft().config);
                self.stored = StoredWeights::plain(material.draft.clone());
            }
            EntryStep::Prune { percent } => self.narrow(percent, material, cx).await?,
            EntryStep::LowRank { rank } => self.factor(rank, material, cx).await?,
            EntryStep::Recover { steps } => self.recover(steps, material, cx).await?,
            EntryStep::Quantize { levels, group, compensated } => {
                let flows = if compensated { self.flows(material, cx).await? } else { Vec::new() };
                self.quantize((levels, group), &flows, cx).await?;
            }
            _ => {}
        }
        self.steps.push(step);
        Ok(self)
    }

    /// Lets the model, as it is now, read the calibration text.
    async fn flows(&self, material: &LanguageMaterial, cx: &Context) -> Result<Vec<EntryFlow>, LabError> {
        let model = Transformer::new(self.transformer()?, &self.stored.state, "the entry", &cx.device)?;
        let mut flows: Vec<EntryFlow> = Vec::new();
        for window in &material.calibration {
            for (i, (names, input)) in
                model.inputs_of_matrices(model.tokens(&[window], &cx.device)?).into_iter().enumerate()
            {
                if flows.len() == i {
                    flows.push(EntryFlow { names, gram: EntryGram::new(input.dims()[1]) });
                }
                flows[i].gram.add(input).await?;
                cx.checkpoint().await?;
            }
        }
        Ok(flows)
    }

    async fn quantize(&mut self, grid: (usize, usize), flows: &[EntryFlow], cx: &Context) -> Result<(), LabError> {
        let names: Vec<String> =
            self.stored.state.iter().filter(|(_, w)| w.shape.len() == 2).map(|(name, _)| name.to_owned()).collect();
        let factored: Vec<String> =
            names.iter().filter(|name| name.ends_with(".down")).map(|name| name.replace(".down", ".weight")).collect();
        // Of two factors the inner one meets the inputs; what meets the outer one is not recorded.
        let inputs = |name: &str| match name.strip_suffix(".down") {
            Some(stem) => format!("{stem}.weight"),
            None if factored.iter().any(|other| other == name) => String::new(),
            None => name.to_owned(),
        };
        let (mut upper, mut at): (Option<Vec<f64>>, usize) = (None, usize::MAX);
        for name in names {
            let flow = flows.iter().position(|flow| flow.names.contains(&inputs(&name)));
            if let Some(flow) = flow.filter(|flow| *flow != at) {
                upper = flows[flow].gram.upper();
                at = flow;
                cx.checkpoint().await?;
            }
            let Some(weight) = self.stored.state.get(&name) else { continue };
            let matrix = CodedMatrix::quantize(&weight.values, weight.shape[1], grid, flow.and(upper.as_deref()));
            self.stored.put(&name, matrix);
            cx.checkpoint().await?;
        }
        Ok(())
    }

    /// Removes the units of every feed-forward network that add least on the calibration text: the length of the unit's output times
    /// that of its column.
    async fn narrow(&mut self, percent: u32, material: &LanguageMaterial, cx: &Context) -> Result<(), LabError> {
        let (flows, mut config) = (self.flows(material, cx).await?, self.transformer()?.clone());
        let units = config.feed_forward;
        let kept = (units * (100 - percent.min(99) as usize)).div_ceil(100);
        for layer in 0..config.layers {
            let named = |matrix: &str| format!("model.layers.{layer}.mlp.{matrix}_proj.weight");
            let down = self.stored.state.get(&named("down")).map_or(&[][..], |weight| &weight.values);
            let norms = flows.iter().find(|flow| flow.names.contains(&named("down"))).map(|flow| flow.gram.norms());
            let worth = |unit: usize| {
                let column = down.chunks_exact(units).map(|row| f64::from(row[unit]).powi(2)).sum::<f64>().sqrt();
                column * norms.as_ref().map_or(1.0, |norms| norms[unit])
            };
            let mut order: Vec<(f64, usize)> = (0..units).map(|unit| (worth(unit), unit)).collect();
            order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let mut chosen: Vec<usize> = order[..kept].iter().map(|(_, unit)| *unit).collect();
            chosen.sort_unstable();
            for matrix in ["gate", "up", "down"] {
                let Some(weight) = self.stored.state.get_mut(&named(matrix)) else { continue };
                let (columns, rows) = (weight.shape[1], weight.shape[0]);
                let old = std::mem::take(&mut weight.values);
                let (values, left, stay): (Vec<f32>, usize, Vec<usize>) = if matrix == "down" {
                    let few = old.chunks_exact(columns).flat_map(|row| chosen.iter().map(|unit| row[*unit]));
                    (few.collect(), kept, (0..rows).collect())
                } else {
                    let few = chosen.iter().flat_map(|unit| old[unit * columns..(unit + 1) * columns].iter().copied());
                    (few.collect(), columns, chosen.clone())
                };
                weight.shape[usize::from(matrix == "down")] = kept;
                weight.values.clone_from(&values);
                if let Some(coded) = self.stored.coded.get_mut(&named(matrix)) {
                    *coded = coded.part(&values, left, &stay);
                }
            }
        }
        config.feed_forward = kept;
        self.sizes = EntrySizes::Language(config);
        Ok(())
    }

    /// Puts two factors in the place of every matrix of the feed-forward networks: of that rank, the ones that change least of what
    /// the matrix makes of the calibration text.
    async fn factor(&mut self, rank: usize, material: &LanguageMaterial, cx: &Context) -> Result<(), LabError> {
        let flows = self.flows(material, cx).await?;
        let lost = |name: &str| LabError::Refused {
            why: format!("“{name}” cannot be factored: its numbers are not finite"),
        };
        for flow in &flows {
            let names: Vec<&String> = flow.names.iter().filter(|name| name.contains(".mlp.")).collect();
            if names.is_empty() {
                continue;
            }
            let root = flow.gram.root();
            for name in names {
                let Some(weight) = self.stored.state.get(name) else { continue };
                let [rows, columns] = [weight.shape[0], weight.shape[1]];
                let w = Matrix::from_singles(rows, columns, &weight.values);
                let factors = weighted(&w, &Root::None, &root).ok_or_else(|| lost(name))?.truncate(rank);
                self.stored.coded.remove(name);
                self.stored.state.insert(name, &[rows, factors.rank()], factors.a.to_singles())?;
                let down = name.replace(".weight", ".down");
                self.stored.state.insert(&down, &[factors.rank(), columns], factors.b.to_singles())?;
                cx.checkpoint().await?;
            }
        }
        Ok(())
    }

    /// Trains all weights as they are now; whatever grid they lay on is left.
    async fn recover(&mut self, steps: usize, material: &LanguageMaterial, cx: &Context) -> Result<(), LabError> {
        let device = cx.device.clone().autodiff();
        let config = self.transformer()?.clone();
        let model = Transformer::new(&config, &self.stored.state, "the entry", &device)?;
        let recipe =
            Recipe { steps, warmup_steps: steps / 10, learning_rate: RATE, weight_decay: 0.0, ..Recipe::default() };
        let mut rows = Windows::new(material.text.clone(), TRAINED, TOGETHER, cx.seed);
        let mut trainer = Trainer::new(model, recipe)?;
        let loss = |model: &Transformer, step: usize| {
            let (inputs, targets) = windows_to_tensors(&rows.rows(step), &device);
            let logits = model.forward(inputs).reshape([TOGETHER * TRAINED, config.vocabulary]);
            Ok(cross_entropy(logits, targets))
        };
        trainer.run(|| cx.now_ms(), loss, async |_, _| cx.checkpoint().await).await?;
        self.stored = StoredWeights::plain(trainer.finish().weights().await?);
        Ok(())
    }
}

/// So many stretches of `length` tokens, evenly spread over a text.
#[must_use]
pub fn spread_windows(tokens: &[u32], count: usize, length: usize) -> Vec<Vec<u32>> {
    let room = tokens.len().saturating_sub(length);
    (0..count).filter_map(|i| Some(tokens.get(i * room / count.max(1)..)?.get(..length)?.to_vec())).collect()
}
