//! Images that choose, images that judge, and the networks.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::tensor::Tensor,
    choices::Dataset,
    data::Images,
    exits::{Cascade, ExitConfig, Heads, Lesson, MultiExit, Staged},
    fit::{batch, fit},
    mlp::read,
    models::{GlyphClassifier, StateDict},
    prune::{Architecture, Network},
    subject::Subject,
    train::Training,
};
use rand::seq::SliceRandom;

use super::{First, Model, Params, Sees, Teacher};

/// Share of the loss that comes from the last exit, and its temperature.
const SOFT: f32 = 0.7;
const TEMPERATURE: f32 = 4.0;
/// Rows of a pass.
const PORTION: usize = 64;

/// Everything that does not depend on who leaves.
pub(super) struct Material {
    /// The images that judge: every other family.
    pub(super) subject: Subject,
    /// The images that choose thresholds and temperatures: the families between.
    pub(super) choose: Images,
    /// The network of three blocks.
    pub(super) teacher: StateDict,
    pub(super) config: ExitConfig,
    pub(super) small: Network,
    pub(super) mlp: Network,
    /// Training images that were drawn for the heads.
    pub(super) learn: Vec<usize>,
}

/// A network that is asked stage by stage, before anything was asked.
pub(super) struct Asked {
    pub(super) network: Box<dyn Staged>,
    /// Multiplications until each exit.
    pub(super) costs: Vec<f64>,
    /// Numbers that the exits add.
    pub(super) added: usize,
    /// Logits of each exit for training images, and their labels.
    pub(super) training: (Vec<Vec<f32>>, Vec<u8>),
}

/// A small network on its own: its multiplications, and its logits for the images that judge.
pub(super) struct Rival {
    #[cfg_attr(not(feature = "schema"), allow(dead_code, reason = "the study alone tells rivals apart"))]
    pub(super) name: &'static str,
    pub(super) cost: f64,
    pub(super) logits: Vec<f32>,
}

pub(super) fn config(params: &Params) -> ExitConfig {
    let head_side = match params.sees {
        Sees::Four => 4,
        Sees::Two => 2,
        Sees::One => 1,
    };
    ExitConfig { cnn: GlyphClassifier::teacher().config, head_side }
}

impl Material {
    pub(super) async fn load(params: &Params, cx: &Context) -> Result<Self, LabError> {
        let mut subject = Subject::to_train(Dataset::Glyphs, cx).await?;
        let mlp = Network::of_mlp(subject.network(0));
        let all = &subject.images;
        let every = (all.len() / params.images.max(1) as usize).max(1);
        let families = |odd: usize| -> Vec<usize> {
            (0..all.len()).step_by(every).filter(|i| all.groups.get(*i).is_some_and(|g| g % 2 == odd)).collect()
        };
        let (choose, judge) = (some(all, &families(0)), some(all, &families(1)));
        subject.models.fold = vec![0; judge.len()];
        subject.images = judge;
        let (_, mut images) = subject.training(0);
        images.shuffle(&mut cx.rng("learn"));
        images.truncate(params.learn as usize);
        let load =
            async |which: &GlyphClassifier| StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?);
        let (teacher, small) = (GlyphClassifier::teacher(), GlyphClassifier::small());
        let small_state = load(&small).await?;
        Ok(Self {
            subject,
            choose,
            teacher: load(&teacher).await?,
            config: config(params),
            small: Network { architecture: Architecture::Cnn(small.config), state: small_state },
            mlp,
            learn: images,
        })
    }

    /// Weights that the reader's choice adds to the large network.
    pub(super) fn added(&self, params: &Params) -> usize {
        match params.model {
            Model::Cascade => self.first(params.first).architecture.parameters(),
            _ => self.config.added_parameters(),
        }
    }

    /// The first network of a cascade.
    fn first(&self, first: First) -> &Network {
        if first == First::Small { &self.small } else { &self.mlp }
    }

    /// What the reader chose, trained where it has to be.
    pub(super) async fn network(&self, params: &Params, cx: &Context) -> Result<Asked, LabError> {
        match params.model {
            Model::Cascade => self.cascade(params.first, cx).await,
            _ => {
                let lesson = self.lesson(cx).await?;
                let rows: Vec<usize> = (0..lesson.rows.len()).collect();
                Ok(self.with_exits((&lesson, &rows), params.heads, params.epochs, cx).await?.0)
            }
        }
    }

    /// What new heads of the large network learn from.
    pub(super) async fn lesson(&self, cx: &Context) -> Result<Lesson, LabError> {
        let (all, _) = self.subject.training(0);
        Lesson::of(&self.untaught(cx)?, all, &self.learn, cx).await
    }

    /// The large network with heads that have learned nothing yet.
    pub(super) fn untaught(&self, cx: &Context) -> Result<MultiExit, LabError> {
        MultiExit::new(&self.config, &self.config.around(&self.teacher)?, "the network", &cx.device)
    }

    // ANCHOR: train
    /// The large network with new heads after its first two blocks.
    pub(super) async fn with_exits(
        &self,
        (lesson, rows): (&Lesson, &[usize]),
        teacher: Teacher,
        epochs: u32,
        cx: &Context,
    ) -> Result<(Asked, Heads), LabError> {
        let soft = if teacher == Teacher::LastExit { SOFT } else { 0.0 };
        let how = Training { epochs: epochs as usize, ..Training::default() };
        let start = lesson.heads(soft, TEMPERATURE, &cx.device);
        let watch = async |epoch: usize, _: f64, _: &_| {
            cx.progress("Training the exits", 0.15 + 0.1 * epoch as f64 / how.epochs.max(1) as f64);
            Ok(())
        };
        let heads = fit(start, (&lesson.rows, rows), &how, &mut cx.rng("order"), cx, watch).await?;
        let state = lesson.deploy(&heads, &self.config.around(&self.teacher)?).await?;
        let labels = rows.iter().map(|row| lesson.rows.labels[*row]).collect();
        let asked = Asked {
            network: Box::new(MultiExit::new(&self.config, &state, "the network with exits", &cx.device)?),
            costs: self.config.costs(),
            added: self.config.added_parameters(),
            training: (said(&heads, &lesson.rows, rows, cx).await?, labels),
        };
        Ok((asked, heads))
    }
    // ANCHOR_END: train

    /// A small network, then the large one.
    pub(super) async fn cascade(&self, first: First, cx: &Context) -> Result<Asked, LabError> {
        let small = self.first(first);
        let large = self.large();
        let [a, b] = [small, &large].map(|network| network.architecture.flops() as f64 / 2.0);
        let network = Cascade(vec![small.on(&cx.device)?, large.on(&cx.device)?]);
        let (all, _) = self.subject.training(0);
        let learned = some(all, &self.learn);
        // The large network answers last anyhow: its training images say nothing about who leaves.
        let first = logits(&Cascade(vec![small.on(&cx.device)?]), &learned, cx).await?;
        Ok(Asked {
            network: Box::new(network),
            costs: vec![a, a + b],
            added: small.architecture.parameters(),
            training: (first, learned.labels),
        })
    }

    fn large(&self) -> Network {
        Network { architecture: Architecture::Cnn(self.config.cnn.clone()), state: self.teacher.clone() }
    }

    /// Multiplications of the large network without exits.
    pub(super) fn full(&self) -> f64 {
        self.config.cnn.flops() as f64 / 2.0
    }

    /// The shipped small networks on their own.
    pub(super) async fn rivals(&self, cx: &Context) -> Result<Vec<Rival>, LabError> {
        let mut rivals = Vec::new();
        for (name, network) in [("Small convolutional", &self.small), ("Fully connected", &self.mlp)] {
            let mut logits = logits(&Cascade(vec![network.on(&cx.device)?]), &self.subject.images, cx).await?;
            let cost = network.architecture.flops() as f64 / 2.0;
            rivals.push(Rival { name, cost, logits: logits.pop().unwrap_or_default() });
        }
        Ok(rivals)
    }
}

/// Logits of every exit for rows of a lesson, `[exits][rows · classes]`.
pub(super) async fn said(heads: &Heads, all: &Images, rows: &[usize], cx: &Context) -> Result<Vec<Vec<f32>>, LabError> {
    let mut found: Vec<Vec<f32>> = Vec::new();
    for portion in rows.chunks(512) {
        let (seen, _) = batch(all, portion, cx);
        for (exit, logits) in heads.all(&seen.inner()).into_iter().enumerate() {
            found.resize(found.len().max(exit + 1), Vec::new());
            found[exit].extend(read(logits).await?);
        }
        cx.checkpoint().await?;
    }
    Ok(found)
}

/// Logits of every exit for all images, `[exits][images · classes]`.
pub(super) async fn logits(network: &dyn Staged, images: &Images, cx: &Context) -> Result<Vec<Vec<f32>>, LabError> {
    let mut all = vec![Vec::new(); network.exits()];
    let indices: Vec<usize> = (0..images.len()).collect();
    for portion in indices.chunks(PORTION) {
        let mut state: Tensor<2> = batch(images, portion, cx).0.inner();
        let mut given = Vec::new();
        for exit in 0..network.exits() {
            let (next, logits) = network.stage(exit, state);
            state = next;
            given.push(logits);
        }
        for (all, logits) in all.iter_mut().zip(given) {
            all.extend(read(logits).await?);
        }
        cx.checkpoint().await?;
    }
    Ok(all)
}

/// Some of the images.
pub(super) fn some(all: &Images, indices: &[usize]) -> Images {
    Images {
        pixels: all.gather(indices),
        labels: indices.iter().map(|i| all.labels[*i]).collect(),
        side: all.side,
        classes: all.classes,
        groups: indices.iter().filter_map(|i| all.groups.get(*i).copied()).collect(),
    }
}
