//! Bits for each matrix of the language model: packed, swapped into the model, and judged by text.

use lab_api::{BadParam, LabError};
use lab_kit::{
    Context,
    data::{Corpus, Part},
    language::{Sliding, text_loss},
    models::{LanguageModel, StateDict, Transformer},
    quant::{Granularity, PackedMatrix, Scheme, Settings},
    rng,
    search::{Done, knapsack},
    tokenizer::Tokenizer,
};
use rand::Rng;

use super::Grid;

/// Widths that a matrix may have.
pub(super) const BITS: [u32; 4] = [2, 3, 4, 8];
/// Tokens of a window.
pub(super) const WINDOW: usize = 128;
/// Weights that share a scale.
const GROUP: usize = 64;
/// Swaps of a drawn policy, at most.
const SWAPS: usize = 3;

/// For each matrix the place of its width in [`BITS`].
pub(crate) type Policy = Vec<usize>;

/// The model, its matrices in every width, and the text.
pub(crate) struct Model {
    which: LanguageModel,
    weights: StateDict,
    pub(super) names: Vec<String>,
    /// By matrix and width: what the packed integers stand for.
    rounded: Vec<Vec<Vec<f32>>>,
    /// The same: bytes of the packed integers with their scales.
    pub(super) bytes: Vec<Vec<usize>>,
    /// Windows of one token more than [`WINDOW`], from the text that chooses and from the one that judges.
    pub(super) choosing: Vec<Vec<u32>>,
    pub(super) judging: Vec<Vec<u32>>,
}

impl Model {
    pub(super) async fn load(grid: Grid, choosing: usize, judging: usize, cx: &Context) -> Result<Self, LabError> {
        let which = LanguageModel::full();
        let weights = StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?)?;
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        let mut texts = Vec::new();
        for (part, count) in [(Part::Validation, choosing), (Part::Test, judging)] {
            let tokens = tokenizer.encode(&Corpus::read(part, &cx.asset(part.asset()).await?)?.text);
            let room = tokens.len().saturating_sub(WINDOW + 1);
            let window = |i: usize| tokens.get(i * room / count.max(1)..).unwrap_or(&[]);
            texts.push((0..count).map(|i| window(i).iter().take(WINDOW + 1).copied().collect()).collect::<Vec<_>>());
            cx.checkpoint().await?;
        }
        let scheme = if grid == Grid::Affine { Scheme::Affine } else { Scheme::Symmetric };
        let is_matrix = |name: &str| name.contains(".layers.") && name.contains("_proj");
        let names: Vec<String> = weights.iter().map(|one| one.0.to_owned()).filter(|name| is_matrix(name)).collect();
        let [judging, choosing] = [texts.pop(), texts.pop()].map(Option::unwrap_or_default);
        let mut model = Self { which, weights, names, rounded: vec![], bytes: vec![], choosing, judging };
        for name in &model.names {
            let Some(weight) = model.weights.get(name) else { continue };
            let columns = weight.shape.last().copied().unwrap_or(1);
            let (mut values, mut bytes) = (Vec::new(), Vec::new());
            for bits in BITS {
                let settings = Settings::weight_only(bits, scheme, Granularity::Group(GROUP));
                let packed = PackedMatrix::quantize(&weight.values, columns, &settings);
                bytes.push(packed.bytes());
                values.push(packed.dequantize());
            }
            model.rounded.push(values);
            model.bytes.push(bytes);
            cx.checkpoint().await?;
        }
        Ok(model)
    }

    pub(super) fn uniform(&self, width: usize) -> Policy {
        vec![width; self.names.len()]
    }

    pub(super) fn bytes_of(&self, policy: &[usize]) -> usize {
        self.bytes.iter().zip(policy).map(|(bytes, width)| bytes[*width]).sum()
    }

    /// Bytes on the way from 2 bits each to 4.
    pub(super) fn budget(&self, percent: f64) -> usize {
        let [low, high] = [0, 2].map(|width| self.bytes_of(&self.uniform(width)));
        low + ((high - low) as f64 * percent / 100.0).round() as usize
    }

    /// Mean loss of a token in each window, in nats: with these widths, or in FP32.
    pub(super) async fn losses(
        &self,
        policy: Option<&Policy>,
        windows: &[Vec<u32>],
        cx: &Context,
    ) -> Result<Vec<f64>, LabError> {
        let mut weights = self.weights.clone();
        if let Some(policy) = policy {
            for ((name, rounded), width) in self.names.iter().zip(&self.rounded).zip(policy) {
                if let Some(weight) = weights.get_mut(name) {
                    weight.values.clone_from(&rounded[*width]);
                }
            }
        }
        self.judge(&weights, windows, cx).await
    }

    /// The same with one matrix alone at a width, all others in FP32.
    pub(super) async fn alone(
        &self,
        matrix: usize,
        width: usize,
        windows: &[Vec<u32>],
        cx: &Context,
    ) -> Result<Vec<f64>, LabError> {
        let mut weights = self.weights.clone();
        if let Some(weight) = weights.get_mut(&self.names[matrix]) {
            weight.values.clone_from(&self.rounded[matrix][width]);
        }
        self.judge(&weights, windows, cx).await
    }

    async fn judge(&self, weights: &StateDict, windows: &[Vec<u32>], cx: &Context) -> Result<Vec<f64>, LabError> {
        let model = Transformer::new(&self.which.config, weights, self.which.asset, &cx.device)?;
        let mut losses = Vec::with_capacity(windows.len());
        for window in windows {
            let how = Sliding { window: WINDOW, stride: WINDOW, batch: 1 };
            losses.push(text_loss(&model, window, how, &cx.device, async |_| Ok(())).await?.mean());
            cx.checkpoint().await?;
        }
        Ok(losses)
    }
}

/// Loss above FP32 by matrix and width, if `two` is what each loses alone at 2 bits: the loss grows with the square of the error, and
/// the error with the step of the grid.
pub(super) fn by_width(two: &[f64], grid: Grid) -> Vec<Vec<f64>> {
    // Steps of a grid from end to end.
    let steps = |bits: u32| f64::from((1_u32 << bits) - if grid == Grid::Affine { 1 } else { 2 });
    let share = |bits: u32| (steps(BITS[0]) / steps(bits)).powi(2);
    two.iter().map(|loss| BITS.iter().map(|bits| loss.max(0.0) * share(*bits)).collect()).collect()
}

/// The policy that single losses lead to.
///
/// # Errors
/// [`LabError::BadParam`] where not even the smallest widths fit.
pub(super) fn packed_in(loss: &[Vec<f64>], model: &Model, budget: usize) -> Result<Policy, LabError> {
    let [low, high] = [0, BITS.len() - 1].map(|width| model.bytes_of(&model.uniform(width)));
    let why = || format!("{budget} bytes are too few: 2 bits everywhere take {low}, 8 bits {high}");
    knapsack(loss, &model.bytes, budget)
        .ok_or_else(|| LabError::BadParam(BadParam { name: "bytes".into(), why: why() }))
}

// ANCHOR: swap
/// One matrix up a width, and others down until the bytes fit again; the same policy where nothing is found.
pub(super) fn swap(policy: &Policy, bytes: &[Vec<usize>], budget: usize, rng: &mut impl Rng) -> Policy {
    let total = |policy: &[usize]| bytes.iter().zip(policy).map(|(bytes, width)| bytes[*width]).sum::<usize>();
    for _ in 0..100 {
        let mut next = policy.clone();
        let up = rng.random_range(0..next.len());
        if next[up] + 1 == bytes[up].len() {
            continue;
        }
        next[up] += 1;
        for _ in 0..4 {
            if total(&next) <= budget {
                return next;
            }
            let down = rng.random_range(0..next.len());
            if down != up && next[down] > 0 {
                next[down] -= 1;
            }
        }
    }
    policy.clone()
}
// ANCHOR_END: swap

/// Candidates around a policy.
pub(crate) struct Policies<'a> {
    pub(super) model: &'a Model,
    pub(super) budget: usize,
    /// The first is what single losses lead to.
    pub(super) candidates: Vec<Policy>,
    /// Losses of the FP32 model, and of each candidate, window by window.
    pub(super) fp32: Vec<f64>,
    pub(super) losses: Vec<Vec<f64>>,
    pub(super) seed: u64,
}

impl<'a> Policies<'a> {
    pub(super) async fn around(first: Policy, model: &'a Model, budget: usize, cx: &Context) -> Result<Self, LabError> {
        let fp32 = model.losses(None, &model.choosing, cx).await?;
        Ok(Self { model, budget, candidates: vec![first], fp32, losses: vec![vec![]], seed: cx.seed })
    }

    /// Loss above FP32 of a candidate on the first windows, in nats.
    pub(super) fn above(&self, trial: usize, windows: usize) -> f64 {
        let losses = &self.losses[trial][..windows.min(self.losses[trial].len())];
        losses.iter().zip(&self.fp32).map(|(loss, fp32)| loss - fp32).sum::<f64>() / losses.len().max(1) as f64
    }

    pub(super) fn add(&mut self, policy: Policy) {
        self.candidates.push(policy);
        self.losses.push(vec![]);
    }

    // ANCHOR: windows
    /// Judges a candidate by more windows: the same ones for all, so that what makes a window hard is taken off.
    pub(super) async fn advance(&mut self, trial: usize, to: usize, cx: &Context) -> Result<Done, LabError> {
        while self.candidates.len() <= trial {
            let mut rng = rng(self.seed, &format!("policy {}", self.candidates.len()));
            let mut policy = self.candidates[0].clone();
            for _ in 0..rng.random_range(1..=SWAPS) {
                policy = swap(&policy, &self.model.bytes, self.budget, &mut rng);
            }
            self.add(policy);
        }
        let (windows, before) = (&self.model.choosing, self.losses[trial].len());
        let more = windows.get(before..to.min(windows.len())).unwrap_or(&[]);
        let found = self.model.losses(Some(&self.candidates[trial]), more, cx).await?;
        self.losses[trial].extend(found);
        Ok(Done { score: self.above(trial, to), cost: more.len() as f64 / windows.len().max(1) as f64 })
    }
    // ANCHOR_END: windows
}
