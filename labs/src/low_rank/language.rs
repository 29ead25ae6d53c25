//! The language model.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::tensor::{Int, Tensor, TensorData, activation::softmax},
    data::{Corpus, Part},
    language::{Sliding, text_loss, windows_to_tensors},
    linalg::{Factors, Gauge},
    mlp::read,
    models::{LanguageModel, StateDict, Transformer, output_gradients},
    tokenizer::Tokenizer,
    training::{Recipe, Trainer, Windows, cross_entropy},
};

use super::{
    Layers, Method, Params, Store,
    classifier::draw,
    layer::{Flow, Layer, Piece},
    task::Judged,
};

/// Tokens that the model reads at once.
const WINDOW: usize = 128;
/// Windows of the text that judges.
const JUDGED: usize = 24;
/// Windows of the other text whose loss decides the measured choice.
const MEASURED: usize = 4;
/// Windows of a step of training, and its learning rate: three times as much harms a model that has converged.
const STEP: usize = 2;
const AFTERWARDS: f64 = 3e-4;

/// Model, matrices and texts.
pub(super) struct Language {
    which: LanguageModel,
    weights: StateDict,
    /// Of the smaller dense model, read at once: a reader learns of a missing file before the work, not after.
    draft: StateDict,
    pub(super) layers: Vec<Layer>,
    /// Tokens of the text that judges, and of the one that shows what flows, measures and trains.
    test: Vec<u32>,
    other: Vec<u32>,
    /// Windows that judge: more in the study.
    pub(super) windows: usize,
}

impl Language {
    pub(super) async fn load(params: &Params, cx: &Context) -> Result<Self, LabError> {
        let which = LanguageModel::full();
        let weights = StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?)?;
        let draft = LanguageModel::draft().asset;
        let draft = StateDict::from_safetensors(draft, &cx.asset(draft).await?)?;
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        let mut texts = Vec::new();
        for part in [Part::Test, Part::Validation] {
            texts.push(tokenizer.encode(&Corpus::read(part, &cx.asset(part.asset()).await?)?.text));
            cx.checkpoint().await?;
        }
        let other = texts.pop().unwrap_or_default();
        let test = texts.pop().unwrap_or_default();
        let wanted = |name: &str| match params.layers {
            Layers::All => true,
            Layers::Attention => name.contains("self_attn"),
            Layers::Keys => name.contains("k_proj"),
            Layers::Mlp => name.contains(".mlp."),
            Layers::Head => name.starts_with("lm_head"),
        };
        let layers = weights
            .iter()
            .filter(|(name, weight)| weight.shape.len() == 2 && !name.contains("embed") && wanted(name))
            .map(|(name, weight)| Layer::new(name, weight.shape[0], weight.shape[1], &weight.values))
            .collect();
        Ok(Self { which, weights, draft, layers, test, other, windows: JUDGED })
    }

    /// What flows through the matrices when the model reads the other text.
    pub(super) async fn flows(&self, params: &Params, cx: &Context) -> Result<Vec<Flow>, LabError> {
        let model = self.model(&vec![Piece::Dense; self.layers.len()], Store::Plain, cx)?;
        let windows = windows(&self.other, (params.calibration as usize).div_ceil(WINDOW), cx.seed);
        let mut labels = cx.rng("labels");
        let mut shared: Vec<(Vec<String>, Flow)> = Vec::new();
        let mut own: Vec<Flow> = Vec::new();
        for window in windows {
            let seen = &window[..WINDOW];
            for (i, (names, input)) in
                model.inputs_of_matrices(model.tokens(&[seen], &cx.device)?).into_iter().enumerate()
            {
                if shared.len() == i {
                    shared.push((names, Flow::new(input.dims()[1])));
                }
                if shared[i].0.iter().any(|name| self.layers.iter().any(|layer| layer.name == *name)) {
                    shared[i].1.add(input).await?;
                }
                cx.checkpoint().await?;
            }
            if params.method == Method::TwoSided {
                own.resize(self.layers.len(), Flow::new(0));
                self.add_gradients(&model, seen, &mut labels, &mut own, cx).await?;
            }
        }
        let shared: Vec<(Vec<String>, Flow)> = shared.into_iter().map(|(names, flow)| (names, flow.finish())).collect();
        let of = |(i, layer): (usize, &Layer)| {
            let found = shared.iter().find(|(names, _)| names.contains(&layer.name));
            let flow = found.map_or_else(|| Flow::new(layer.weight.columns), |(_, flow)| flow.clone());
            flow.with_gradients(own.get(i).cloned())
        };
        Ok(self.layers.iter().enumerate().map(of).collect())
    }

    /// Gradients of the outputs of all matrices, for tokens drawn from what the model believes.
    async fn add_gradients(
        &self,
        model: &Transformer,
        seen: &[u32],
        labels: &mut impl rand::Rng,
        own: &mut [Flow],
        cx: &Context,
    ) -> Result<(), LabError> {
        let vocabulary = self.which.config.vocabulary;
        let logits = model.forward(model.tokens(&[seen], &cx.device)?).reshape([WINDOW, vocabulary]);
        let believed = read(softmax(logits, 1)).await?;
        let drawn: Vec<i32> =
            believed.chunks_exact(vocabulary).map(|row| i32::try_from(draw(row, labels)).unwrap_or(0)).collect();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(drawn, [WINDOW]), &cx.device);
        let source = (&self.which.config, &self.weights, self.which.asset);
        for (name, gradient) in output_gradients(source, &[seen], targets, &cx.device).await? {
            if let Some(i) = self.layers.iter().position(|layer| layer.name == name) {
                let shape = [WINDOW, self.layers[i].weight.rows];
                own[i].add_gradients(Tensor::from_data(TensorData::new(gradient, shape), &cx.device)).await?;
            }
            cx.checkpoint().await?;
        }
        Ok(())
    }

    fn state(&self, pieces: &[Piece], store: Store) -> Result<StateDict, LabError> {
        let mut state = self.weights.clone();
        for (layer, piece) in self.layers.iter().zip(pieces) {
            let shape = [layer.weight.rows, layer.weight.columns];
            match piece {
                Piece::Dense | Piece::Chain(_) => {}
                Piece::Whole(weight) => state.insert(&layer.name, &shape, weight.to_singles())?,
                Piece::Pair(factors @ Factors { a, b }) => match (store, Gauge::of(factors)) {
                    // Judged as what is stored stands for.
                    (Store::Gauge, Some(gauge)) => state.insert(&layer.name, &shape, gauge.product().to_singles())?,
                    _ => {
                        state.insert(&layer.name, &[a.rows, a.columns], a.to_singles())?;
                        let down = layer.name.replace(".weight", ".down");
                        state.insert(&down, &[b.rows, b.columns], b.to_singles())?;
                    }
                },
            }
        }
        Ok(state)
    }

    pub(super) fn model(&self, pieces: &[Piece], store: Store, cx: &Context) -> Result<Transformer, LabError> {
        Transformer::new(&self.which.config, &self.state(pieces, store)?, self.which.asset, &cx.device)
    }

    /// Tokens that judge.
    pub(super) fn tokens(&self, count: usize) -> &[u32] {
        &self.test[..count.min(self.test.len())]
    }

    pub(super) async fn judge(&self, model: &Transformer, cx: &Context) -> Result<Judged, LabError> {
        judge(model, &self.test, self.windows, cx).await
    }

    /// Mean loss on a little of the other text.
    pub(super) async fn loss(&self, model: &Transformer, cx: &Context) -> Result<f64, LabError> {
        Ok(judge(model, &self.other, MEASURED, cx).await?.mean())
    }

    /// The pieces after so many steps of training on the other text, every number of the model.
    pub(super) async fn tune(&self, pieces: &[Piece], steps: usize, cx: &Context) -> Result<Judged, LabError> {
        let state = self.state(pieces, Store::Plain)?;
        let device = cx.device.clone().autodiff();
        let model = Transformer::new(&self.which.config, &state, self.which.asset, &device)?;
        let recipe = Recipe {
            steps,
            warmup_steps: steps / 10,
            learning_rate: AFTERWARDS,
            weight_decay: 0.0,
            ..Recipe::default()
        };
        let mut rows = Windows::new(self.other.clone(), WINDOW, STEP, cx.seed);
        let vocabulary = self.which.config.vocabulary;
        let mut trainer = Trainer::new(model, recipe)?;
        let loss = |model: &Transformer, step: usize| {
            let (inputs, targets) = windows_to_tensors(&rows.rows(step), &device);
            Ok(cross_entropy(model.forward(inputs).reshape([STEP * WINDOW, vocabulary]), targets))
        };
        trainer.run(|| cx.now_ms(), loss, async |_, _| cx.checkpoint().await).await?;
        self.judge(&trainer.finish(), cx).await
    }

    /// The small model that the book ships, on the same text, and the numbers in it.
    pub(super) async fn small(&self, cx: &Context) -> Result<(usize, Judged), LabError> {
        let which = LanguageModel::draft();
        let model = Transformer::new(&which.config, &self.draft, which.asset, &cx.device)?;
        Ok((self.draft.parameters(), self.judge(&model, cx).await?))
    }

    /// Numbers of the whole model.
    pub(super) fn parameters(&self) -> usize {
        self.weights.parameters()
    }
}

/// The loss of each token of so many windows, evenly spread over a text.
async fn judge(model: &Transformer, text: &[u32], count: usize, cx: &Context) -> Result<Judged, LabError> {
    let mut judged = Judged::default();
    let how = Sliding { window: WINDOW, stride: WINDOW, batch: 1 };
    for (number, window) in windows(text, count, 0).into_iter().enumerate() {
        cx.checkpoint().await?;
        let loss = text_loss(model, window, how, &cx.device, async |_| Ok(())).await?;
        judged.groups.extend(std::iter::repeat_n(number, loss.nats.len()));
        judged.values.extend(loss.nats.into_iter().map(f64::from));
    }
    Ok(judged)
}

/// Stretches of 129 tokens, evenly spread; another number begins them elsewhere.
fn windows(text: &[u32], count: usize, shift: u64) -> Vec<&[u32]> {
    let room = text.len().saturating_sub(WINDOW + 1);
    let shift = usize::try_from(shift).unwrap_or(0) * 37;
    let start = |i: usize| (i * room / count.max(1) + shift) % room.max(1);
    (0..count).map(start).filter_map(|start| text.get(start..start + WINDOW + 1)).collect()
}
