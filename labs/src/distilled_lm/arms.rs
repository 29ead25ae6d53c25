//! Students side by side: one start, one order of rows; what differs is the loss and who wrote the rows.

use lab_api::{Chart, LabError};
use lab_kit::{
    Context,
    burn::{module::Module, tensor::Tensor},
    distill::{Divergence, Tail, complete, token_loss},
    language::windows_to_tensors,
    models::Transformer,
    training::{Recipe, Trainer, cross_entropy},
};

use super::{
    Params, Text, figures,
    judge::Exam,
    material::{BATCH, Batch, Material, Setting, targets},
};

/// What a student minimizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Taught {
    Labels,
    Teacher(Divergence),
}

impl Taught {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Labels => "Labels",
            Self::Teacher(Divergence::Forward) => "Forward KL",
            Self::Teacher(Divergence::Reverse) => "Reverse KL",
            Self::Teacher(Divergence::Between(_)) => "Jensen-Shannon",
            Self::Teacher(Divergence::Variation) => "Total variation",
        }
    }
}

/// A student that learns.
pub(super) struct Arm {
    pub(super) name: String,
    taught: Taught,
    setting: Setting,
    trainer: Trainer<Transformer>,
    /// One lesson for each step of a pass.
    pub(super) lessons: Vec<(Batch, Option<Tensor<2>>)>,
    /// Steps and acceptance in per cent on some of the test text.
    pub(super) curve: Vec<[f64; 2]>,
    /// Milliseconds of all its steps.
    pub(super) ms: f64,
}

impl Arm {
    pub(super) fn new(
        name: &str,
        taught: Taught,
        setting: &Setting,
        material: &Material,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let recipe = Recipe {
            steps: setting.steps,
            warmup_steps: setting.steps / 10,
            learning_rate: setting.learning_rate,
            ..Recipe::default()
        };
        let trainer = Trainer::new(material.draft(&cx.device.clone().autodiff())?, recipe)?;
        let (name, setting) = (name.to_owned(), setting.clone());
        Ok(Self { name, taught, setting, trainer, lessons: Vec::new(), curve: Vec::new(), ms: 0.0 })
    }

    /// Gets these rows to learn from.
    pub(super) async fn prepare(&mut self, batches: &[Batch], purpose: &str, cx: &Context) -> Result<(), LabError> {
        self.lessons.clear();
        for (number, batch) in batches.iter().enumerate() {
            let told = match self.taught {
                Taught::Labels => None,
                Taught::Teacher(_) => Some(targets(batch, &self.setting, &format!("{purpose} {number}"), cx).await?),
            };
            self.lessons.push((batch.clone(), told));
            cx.checkpoint().await?;
        }
        Ok(())
    }

    /// The student as it is now, for use.
    pub(super) fn student(&self) -> Transformer {
        self.trainer.model().valid()
    }

    // ANCHOR: step
    /// One step: four rows, each of whose 128 tokens has a label and a distribution of the teacher's.
    pub(super) async fn advance(&mut self, cx: &Context) -> Result<(), LabError> {
        let Some((batch, told)) = self.lessons.get(self.trainer.step() % self.lessons.len().max(1)) else {
            return Ok(());
        };
        let (setting, taught, began) = (&self.setting, self.taught, cx.now_ms());
        let mut loss = |model: &Transformer, _: usize| {
            let (x, labels) = windows_to_tensors(&batch.rows(), &cx.device.clone().autodiff());
            let logits = model.forward(x).flatten::<2>(0, 1); // [N, V]
            let (Taught::Teacher(kind), Some(p)) = (taught, told.clone()) else {
                return Ok(cross_entropy(logits, labels));
            };
            let (t, weight) = (setting.temperature, setting.label_weight);
            let p = if setting.tail == Tail::Bucket && setting.kept < logits.dims()[1] {
                complete(p, logits.clone(), t)
            } else {
                p
            };
            let soft = token_loss(kind, logits.clone(), p, t);
            Ok(match weight {
                0.0 => soft,
                _ => soft.mul_scalar(1.0 - weight) + cross_entropy(logits, labels).mul_scalar(weight),
            })
        };
        self.trainer.advance(&mut loss).await?;
        self.ms += cx.now_ms() - began;
        cx.checkpoint().await
    }
    // ANCHOR_END: step
}

/// What came out.
pub(super) struct Outcome {
    /// Taught by labels, and as the reader wants.
    pub(super) students: Vec<Transformer>,
    pub(super) arms: Vec<Arm>,
    /// Milliseconds of the teacher's answers to one step's rows, of writing them too where they are written.
    pub(super) ask_ms: f64,
}

impl Outcome {
    pub(super) fn chart(&self) -> Chart {
        figures::curves(&self.arms)
    }
}

/// How often students are judged while they learn, and on how many windows.
const LOOKS: usize = 5;
const LOOKED_AT: usize = 1;

/// Trains both students.
pub(super) async fn run(
    material: &Material,
    setting: &Setting,
    params: &Params,
    exam: &Exam,
    cx: &Context,
    mut shown: impl FnMut(f64, Chart) -> Result<(), LabError>,
) -> Result<Outcome, LabError> {
    let corpus = material.corpus(params.rows as usize, cx);
    let taught = params.taught();
    let mut arms = vec![
        Arm::new("Labels of the corpus", Taught::Labels, setting, material, cx)?,
        Arm::new(&name(taught, params.text), taught, setting, material, cx)?,
    ];
    let began = cx.now_ms();
    let rows = match params.text {
        Text::Corpus => corpus.clone(),
        Text::Teacher => material.written(&material.teacher, &corpus, "text of the teacher", cx).await?,
        Text::Student => material.written(&arms[1].student(), &corpus, "text of the student", cx).await?,
    };
    let batches = material.ask(&rows, cx).await?;
    let ask_ms = (cx.now_ms() - began) / batches.len().max(1) as f64;
    arms[1].prepare(&batches, "answers", cx).await?;
    // The control needs no answers, so that those of other text may stand beside its rows unread.
    let plain = |(rows, batch): (&[Vec<u32>], &Batch)| Batch { rows: rows.to_vec(), logits: batch.logits.clone() };
    let control: Vec<Batch> = corpus.chunks(BATCH).zip(&batches).map(plain).collect();
    arms[0].prepare(&control, "labels", cx).await?;
    for step in 0..setting.steps {
        if params.text == Text::Student && step > 0 && step % batches.len().max(1) == 0 {
            let purpose = format!("text of the student after {step}");
            let rows = material.written(&arms[1].student(), &corpus, &purpose, cx).await?;
            let batches = material.ask(&rows, cx).await?;
            arms[1].prepare(&batches, &purpose, cx).await?;
        }
        if step % setting.steps.div_ceil(LOOKS).max(1) == 0 {
            look(&mut arms, exam, step, cx).await?;
            shown(step as f64 / setting.steps as f64, figures::curves(&arms))?;
        }
        for arm in &mut arms {
            arm.advance(cx).await?;
        }
    }
    look(&mut arms, exam, setting.steps, cx).await?;
    Ok(Outcome { students: arms.iter().map(Arm::student).collect(), arms, ask_ms })
}

async fn look(arms: &mut [Arm], exam: &Exam, step: usize, cx: &Context) -> Result<(), LabError> {
    for arm in arms {
        let judged = exam.sit(&arm.student(), LOOKED_AT, cx).await?;
        arm.curve.push([step as f64, 100.0 * judged.mean(judged.acceptance())]);
    }
    Ok(())
}

fn name(taught: Taught, text: Text) -> String {
    let text = match text {
        Text::Corpus => "the corpus",
        Text::Teacher => "the teacher's text",
        Text::Student => "its own text",
    };
    format!("{} on {text}", taught.words())
}
