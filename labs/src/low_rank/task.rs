//! What is factored and judged: one of three models, behind one face.

use lab_api::{Interval, LabError};
use lab_kit::{
    Context,
    burn::tensor::Tensor,
    fit::Classifier,
    linalg::{Rank, Weighted},
    measure::quality::mean_by_group,
    models::Transformer,
};

use super::{
    Choice, Form, Method, Model, Params,
    classifier::Classifying,
    convolution::Convolving,
    language::Language,
    layer::{Flow, Layer, Piece, decompose},
    network::{Network, Tail},
    ranks::{measured, ranks, sensitivities},
};

/// Confidence of every interval.
pub(super) const LEVEL: f64 = 0.95;

/// What a model did with each image or token.
#[derive(Debug, Clone, Default)]
pub(super) struct Judged {
    /// 100 or 0 for an image, nats for a token.
    pub(super) values: Vec<f64>,
    /// Which of them err together: font families, windows.
    pub(super) groups: Vec<usize>,
}

impl Judged {
    pub(super) fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len().max(1) as f64
    }

    pub(super) fn interval(&self, cx: &Context) -> Interval {
        let found = mean_by_group(&self.values, &self.groups, LEVEL, &mut cx.rng("quality"));
        let mean = self.mean();
        found.map_or(Interval { low: mean, high: mean, level: LEVEL }, |estimate| estimate.interval)
    }

    /// What became of each since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let values = self.values.iter().zip(&before.values).map(|(after, before)| after - before).collect();
        Self { values, groups: self.groups.clone() }
    }
}

/// A model with what judges it.
pub(super) enum Task {
    Mlp(Classifying),
    Cnn(Convolving),
    Language(Language),
}

/// A model on the device, ready to run.
pub(super) enum Ready {
    Mlp(Network),
    Cnn(Tail),
    Language(Box<Transformer>),
}

/// What is known of the matrices, and what they become.
pub(super) struct Plan {
    pub(super) flows: Vec<Flow>,
    /// The directions of each, by the method.
    pub(super) parts: Vec<Weighted>,
    /// By the weights alone.
    pub(super) plain: Vec<Weighted>,
    /// By the inputs, for the spectra.
    pub(super) aware: Vec<Weighted>,
    /// What cutting each alone costs, where that was asked for.
    rises: Option<Vec<[f64; 3]>>,
    pub(super) pieces: Vec<Piece>,
}

impl Task {
    pub(super) async fn load(params: &Params, cx: &Context) -> Result<Self, LabError> {
        Ok(match params.model {
            Model::Mlp => Self::Mlp(Classifying::load(params, cx).await?),
            Model::Cnn => Self::Cnn(Convolving::load(cx).await?),
            Model::Language => Self::Language(Language::load(params, cx).await?),
        })
    }

    pub(super) fn layers(&self) -> &[Layer] {
        match self {
            Self::Mlp(task) => &task.layers,
            Self::Cnn(task) => &task.layers,
            Self::Language(task) => &task.layers,
        }
    }

    /// Numbers of the layers that may be factored.
    pub(super) fn numbers(&self) -> usize {
        self.layers().iter().map(Layer::numbers).sum()
    }

    /// Numbers of the whole model.
    pub(super) fn parameters(&self) -> usize {
        match self {
            Self::Mlp(task) => self.numbers() + task.biases(),
            Self::Cnn(task) => task.parameters(),
            Self::Language(task) => task.parameters(),
        }
    }

    /// What a quality is called, its unit, and whether more of it is better.
    pub(super) fn quality(&self) -> (&'static str, &'static str, bool) {
        match self {
            Self::Language(_) => ("Loss per token", "nats", false),
            _ => ("Accuracy", "%", true),
        }
    }

    /// What flows through the layers.
    pub(super) async fn flows(&self, params: &Params, cx: &Context) -> Result<Vec<Flow>, LabError> {
        match self {
            Self::Mlp(task) => task.flows(params, cx).await,
            Self::Cnn(task) => task.flows(params, cx).await,
            Self::Language(task) => task.flows(params, cx).await,
        }
    }

    /// All that a run needs to know of the matrices, and the pieces at the share asked for.
    pub(super) async fn plan(&self, params: &Params, cx: &Context) -> Result<Plan, LabError> {
        let flows = self.flows(params, cx).await?;
        let parts = self.parts(&flows, params, cx).await?;
        let with = |method| Params { method, ..params.clone() };
        let plain = self.parts(&flows, &with(Method::Plain), cx).await?;
        let aware = match params.method {
            Method::Whitened => parts.clone(),
            _ => self.parts(&flows, &with(Method::Whitened), cx).await?,
        };
        let rises = match (params.choice, self) {
            (Choice::Sensitivity, Self::Mlp(_) | Self::Language(_)) => {
                cx.progress("Cutting each matrix alone", 0.15);
                Some(sensitivities(self, &parts, cx).await?)
            }
            _ => None,
        };
        let mut plan = Plan { flows, parts, plain, aware, rises, pieces: Vec::new() };
        plan.pieces = self.pieces(&plan, &plan.parts, params, params.share, cx)?;
        Ok(plan)
    }

    /// The directions of each layer by a method.
    pub(super) async fn parts(&self, flows: &[Flow], params: &Params, cx: &Context) -> Result<Vec<Weighted>, LabError> {
        let mut rng = cx.rng("random directions");
        let mut parts = Vec::new();
        for (layer, flow) in self.layers().iter().zip(flows) {
            parts.push(decompose(layer, flow, params, &mut rng)?);
            cx.checkpoint().await?;
        }
        Ok(parts)
    }

    /// What the layers become at a share of their numbers.
    pub(super) fn pieces(
        &self,
        plan: &Plan,
        parts: &[Weighted],
        params: &Params,
        share: f64,
        cx: &Context,
    ) -> Result<Vec<Piece>, LabError> {
        if let Self::Cnn(task) = self {
            return parts.iter().map(|part| task.piece(params.form, share, part, cx)).collect();
        }
        let ranks = match &plan.rises {
            Some(rises) => measured(self.layers(), rises, (share * self.numbers() as f64) as usize),
            None => ranks(self.layers(), parts, params, share),
        };
        let piece = |(rank, part): (&Rank, &Weighted)| match rank {
            Rank::Dense => Piece::Dense,
            Rank::Low(rank) => Piece::Pair(part.truncate(*rank)),
        };
        Ok(ranks.iter().zip(parts).map(piece).collect())
    }

    /// The kernel in the plainest form, for comparison with the others.
    pub(super) fn plain_pieces(
        &self,
        plan: &Plan,
        params: &Params,
        share: f64,
        cx: &Context,
    ) -> Result<Vec<Piece>, LabError> {
        self.pieces(plan, &plan.plain, &Params { form: Form::Channel, ..params.clone() }, share, cx)
    }

    pub(super) fn ready(&self, pieces: &[Piece], params: &Params, cx: &Context) -> Result<Ready, LabError> {
        Ok(match self {
            Self::Mlp(task) => Ready::Mlp(task.network(pieces, params, cx)),
            Self::Cnn(task) => Ready::Cnn(task.tail(pieces.first().unwrap_or(&Piece::Dense), &cx.device)),
            Self::Language(task) => Ready::Language(Box::new(task.model(pieces, params.store, cx)?)),
        })
    }

    /// The model as the book ships it.
    pub(super) async fn dense(&self, params: &Params, cx: &Context) -> Result<Judged, LabError> {
        match self {
            Self::Mlp(task) => task.dense(cx).await,
            _ => self.judge(&vec![Piece::Dense; self.layers().len()], params, cx).await,
        }
    }

    pub(super) async fn judge(&self, pieces: &[Piece], params: &Params, cx: &Context) -> Result<Judged, LabError> {
        match (self, self.ready(pieces, params, cx)?) {
            (Self::Mlp(task), Ready::Mlp(network)) => task.judge(&network, cx).await,
            (Self::Cnn(task), Ready::Cnn(tail)) => task.judge(&tail, cx).await,
            (Self::Language(task), Ready::Language(model)) => task.judge(&model, cx).await,
            _ => Ok(Judged::default()),
        }
    }

    /// Mean loss on examples that do not judge.
    pub(super) async fn loss(&self, pieces: &[Piece], cx: &Context) -> Result<f64, LabError> {
        match (self, self.ready(pieces, &Params::default(), cx)?) {
            (Self::Mlp(task), Ready::Mlp(network)) => task.loss(&network, cx).await,
            (Self::Language(task), Ready::Language(model)) => task.loss(&model, cx).await,
            _ => Ok(0.0),
        }
    }

    /// The pieces after training.
    pub(super) async fn tune(&self, pieces: &[Piece], steps: usize, cx: &Context) -> Result<Judged, LabError> {
        match self {
            Self::Mlp(task) => task.tune(pieces, steps, cx).await,
            Self::Cnn(task) => task.tune(pieces.first().unwrap_or(&Piece::Dense), steps, cx).await,
            Self::Language(task) => task.tune(pieces, steps, cx).await,
        }
    }

    /// A smaller dense model: trained here to the same numbers, or the one that the book ships. Its numbers come with it.
    pub(super) async fn small(&self, numbers: usize, cx: &Context) -> Result<(String, usize, Judged), LabError> {
        let steps = super::classifier::ANEW_STEPS;
        Ok(match self {
            Self::Mlp(task) => {
                let (width, judged) = task.narrow(numbers, steps, cx).await?;
                (format!("Dense, {width} wide, {steps} steps from scratch"), numbers, judged)
            }
            Self::Cnn(task) => {
                let (numbers, judged) = task.small(cx).await?;
                ("The small network that the book ships".to_owned(), numbers, judged)
            }
            Self::Language(task) => {
                let (numbers, judged) = task.small(cx).await?;
                ("The draft model that the book ships".to_owned(), numbers, judged)
            }
        })
    }

    /// Rows that are timed.
    pub(super) fn rows(&self) -> [usize; 4] {
        match self {
            Self::Mlp(_) => [1, 8, 64, 512],
            _ => [1, 8, 64, 256],
        }
    }

    /// One pass over so many images or tokens.
    pub(super) fn pass(
        &self,
        ready: &Ready,
        rows: usize,
        cx: &Context,
    ) -> Result<Box<dyn Fn() -> Tensor<2>>, LabError> {
        Ok(match (self, ready) {
            (Self::Mlp(task), Ready::Mlp(network)) => {
                let (network, x) = (network.clone(), task.rows(rows, cx));
                Box::new(move || network.logits(x.clone()))
            }
            (Self::Cnn(task), Ready::Cnn(tail)) => {
                let (tail, x) = (tail.clone(), task.rows(rows, cx));
                Box::new(move || tail.logits(x.clone()))
            }
            (Self::Language(task), Ready::Language(model)) => {
                let tokens = model.tokens(&[task.tokens(rows)], &cx.device)?;
                let model = model.clone();
                Box::new(move || {
                    let logits = model.forward(tokens.clone());
                    let [b, t, v] = logits.dims();
                    logits.reshape([b * t, v])
                })
            }
            _ => return Err(LabError::Engine { why: "a model of another task".into() }),
        })
    }
}
