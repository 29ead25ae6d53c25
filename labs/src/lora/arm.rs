//! A model that learns.

use lab_api::{DeviceKind, LabError};
use lab_kit::{
    Context,
    adapters::{Method as Kind, Setting, Storage, adapt},
    burn::module::Module,
    language::windows_to_tensors,
    measure::{Pair, peak_bytes, side_by_side},
    mlp::read,
    models::{KvCache, Transformer},
    training::{Recipe, Trainer, Windows, cross_entropy},
};

use super::{Params, material::Material};

/// Steps that run while memory is watched: they warm up, and are not timed.
pub(super) const FIRST: usize = 2;
/// Steps of the twin that is only timed.
pub(super) const TIMED: usize = 6;
/// Tokens in the cache while a further one is timed.
const CACHED: usize = 32;

/// A cautious learning rate for each method: far enough below the one that learns the new text best for the old one to
/// survive. For factors it falls with the root of the rank, whose terms add up at random.
pub(super) fn usual_rate(setting: &Setting) -> f64 {
    match setting.method {
        Kind::Full => 6e-4,
        Kind::Head => 3e-3,
        Kind::LowRank | Kind::Composed | Kind::Decomposed => 1e-2 / (setting.rank as f64).sqrt(),
        Kind::Bottleneck => 5e-3,
        Kind::Bias | Kind::Norms => 3e-2,
        Kind::Prompt | Kind::Prefix => 1e-1,
    }
}

pub(super) struct Arm {
    pub(super) name: String,
    pub(super) setting: Setting,
    pub(super) storage: Storage,
    pub(super) trainer: Trainer<Transformer>,
    order: Windows,
    /// Numbers that learn.
    pub(super) numbers: usize,
    /// Losses of the batches, step by step.
    pub(super) losses: Vec<[f64; 2]>,
    /// Milliseconds of each step after the first.
    pub(super) ms: Vec<f64>,
    /// Bytes that the model, its optimizer and two steps held at once, where the host counts.
    pub(super) peak: Option<usize>,
}

impl Arm {
    /// Puts the model on the device, and does the first steps while memory is watched.
    pub(super) async fn new(
        name: String,
        setting: Setting,
        rate: f64,
        storage: Storage,
        material: &Material,
        params: &Params,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let steps = params.steps as usize;
        let (arm, peak) = peak_bytes(cx, async || {
            let mut arm = Self::begin(name, setting, (rate, steps), storage, material, cx)?;
            for _ in 0..FIRST {
                arm.step(cx).await?;
            }
            Ok(arm)
        })
        .await?;
        // Of a GPU's tensors the allocator sees nothing.
        Ok(Self { peak: peak.filter(|_| cx.device_info.kind == DeviceKind::Cpu), ..arm })
    }

    // ANCHOR: begin
    /// A frozen base with something beside it that learns. The optimizer keeps moments of the latter alone.
    pub(super) fn begin(
        name: String,
        setting: Setting,
        (rate, steps): (f64, usize),
        storage: Storage,
        material: &Material,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let device = cx.device.clone().autodiff();
        let base = material.model(storage, &device)?;
        let (model, numbers) = adapt(base, &setting, &mut cx.rng("adapters"), &device)?;
        let recipe = Recipe {
            steps,
            warmup_steps: (steps / 8).min(5),
            learning_rate: rate,
            final_share: 0.05,
            weight_decay: 0.0,
            ..Recipe::default()
        };
        let trainer = Trainer::new(model, recipe)?;
        // ANCHOR_END: begin
        let order = material.order(cx);
        let (losses, ms) = (Vec::new(), Vec::new());
        Ok(Self { name, setting, storage, trainer, order, numbers, losses, ms, peak: None })
    }

    /// One step.
    async fn step(&mut self, cx: &Context) -> Result<(), LabError> {
        let order = &mut self.order;
        let mut loss = |model: &Transformer, step: usize| {
            let (x, y) = windows_to_tensors(&order.rows(step), &cx.device.clone().autodiff());
            Ok(cross_entropy(model.forward(x).flatten::<2>(0, 1), y))
        };
        let done = self.trainer.advance(&mut loss).await?;
        self.losses.push([done.step as f64, f64::from(done.loss)]);
        cx.checkpoint().await
    }

    /// One step, timed.
    pub(super) async fn advance(&mut self, cx: &Context) -> Result<(), LabError> {
        let began = cx.now_ms();
        self.step(cx).await?;
        self.ms.push(cx.now_ms() - began);
        Ok(())
    }

    /// The model as it is now, for use.
    pub(super) fn model(&self) -> Transformer {
        self.trainer.model().valid()
    }

    /// Times of one further token: of the base alone, and with what was learned beside it. Nothing where a cache cannot be
    /// used.
    pub(super) async fn decode(&self, material: &Material, cx: &Context) -> Result<Option<Pair>, LabError> {
        if self.setting.method == Kind::Prompt {
            return Ok(None);
        }
        let (plain, adapted) = (material.model(self.storage, &cx.device)?, self.model());
        let text = &material.new[0][..CACHED];
        let ready = async |model: &Transformer| {
            let mut cache = KvCache::new(&material.config, 1, CACHED + 1, &cx.device)?;
            read(model.next(model.tokens(&[text], &cx.device)?, &mut cache)?).await?;
            Ok::<_, LabError>(cache)
        };
        let (mut one, mut other) = (ready(&plain).await?, ready(&adapted).await?);
        let once = async |model: &Transformer, cache: &mut KvCache| {
            cache.truncate(CACHED);
            read(model.next(model.tokens(&[&text[..1]], &cx.device)?, cache)?).await.map(drop)
        };
        let pair =
            side_by_side(cx, 100.0, async || once(&plain, &mut one).await, async || once(&adapted, &mut other).await);
        pair.await.map(Some)
    }
}
