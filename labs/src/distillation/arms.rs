//! The students of one comparison, trained side by side and judged on families that nobody trains on.

use lab_api::{Chart, LabError};
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    distill::{Features, Lesson, Lessons, Material, Plan, Student, Views, entropy, shuffled_rows},
    fit::Trainable,
    mlp::{MlpWeights, read},
    prune::{Architecture, Network},
    train::argmax,
};

use super::figures;

/// What a comparison is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    /// Transfer images at most.
    pub(super) images: usize,
    /// Hidden widths of the student.
    pub(super) widths: Vec<usize>,
    /// At the first and at the last step.
    pub(super) temperature: [f64; 2],
    pub(super) weight: f64,
    pub(super) features: Features,
    pub(super) views: Views,
    pub(super) steps: usize,
}

/// Images of a step.
pub(super) const BATCH: usize = 64;
/// Classes of the glyphs.
pub(super) const CLASSES: usize = 47;
/// How often the students are judged while they learn, on every fifth image.
const LOOKS: usize = 10;
const EVERY: usize = 5;
/// How many times the images that the last control has.
pub(super) const TIMES: usize = 10;

/// The arms, in the order of [`Outcome::arms`].
pub(super) const ARMS: [&str; 4] =
    ["Labels", "Soft answers", "Soft answers, wrong classes shuffled", "Labels, ten times the images"];

impl Setting {
    pub(super) fn architecture(&self) -> Vec<usize> {
        [&[256], self.widths.as_slice(), &[CLASSES]].concat()
    }

    pub(super) fn start(&self, cx: &Context) -> MlpWeights {
        MlpWeights::init(&self.architecture(), &mut cx.rng("student"))
    }

    pub(super) fn plan(&self) -> Plan {
        Plan { steps: self.steps, batch: BATCH, learning_rate: 3e-3, views: self.views }
    }

    /// The reader's lesson on a table.
    pub(super) fn lesson(&self, table: Vec<f32>) -> Lesson {
        Lesson { temperature: self.temperature, features: self.features, ..Lesson::soft(table, 1.0, self.weight) }
    }
}

/// A student that has learned.
pub(super) struct Arm {
    pub(super) network: Network,
    pub(super) answers: Vec<u8>,
    /// Steps and accuracy in per cent on some of the images.
    pub(super) curve: Vec<[f64; 2]>,
}

/// What came out.
pub(super) struct Outcome {
    /// One for each of [`ARMS`].
    pub(super) arms: Vec<Arm>,
    /// What the teacher answers to the images that judge.
    pub(super) teacher: Vec<u8>,
    /// Numbers of the transfer images.
    pub(super) transfer: Vec<usize>,
    /// The teacher's logits for them.
    pub(super) table: Vec<f32>,
    /// Mean entropy of the soft answers at temperature 1, in nats.
    pub(super) entropy: f64,
    /// Seconds that all students took together.
    pub(super) seconds: f64,
}

/// Width of the teacher's last hidden layer; 0 where it has none like a student's.
pub(super) fn teacher_width(material: &Material) -> usize {
    match &material.teacher.architecture {
        Architecture::Mlp(widths) => widths.iter().rev().nth(1).copied().unwrap_or(0),
        Architecture::Cnn(_) => 0,
    }
}

/// Students before their first step, all from one start.
pub(super) fn students(
    lessons: Vec<Lesson>,
    images: usize,
    setting: &Setting,
    material: &Material,
    cx: &Context,
) -> Result<Vec<Student>, LabError> {
    let start = setting.start(cx);
    lessons.into_iter().map(|lesson| Student::new(&start, lesson, images, teacher_width(material), cx)).collect()
}

/// Trains all arms.
pub(super) async fn run(
    material: &Material,
    setting: &Setting,
    cx: &Context,
    mut shown: impl FnMut(f64, Chart) -> Result<(), LabError>,
) -> Result<Outcome, LabError> {
    let transfer = material.transfer(setting.images, &|_| true, cx);
    let more = material.transfer(transfer.len().saturating_mul(TIMES), &|_| true, cx);
    let table = material.table(&transfer, cx).await?;
    let (_, teacher) = material.judge(&material.teacher, cx).await?;
    let right = teacher.iter().zip(&material.subject.images.labels).filter(|(a, b)| a == b).count();
    let teacher_accuracy = 100.0 * right as f64 / teacher.len().max(1) as f64;

    let mixed = shuffled_rows(&table, CLASSES, &mut cx.rng("shuffled classes"));
    let control = Lesson { asks: false, features: Features::None, ..setting.lesson(mixed) };
    let side_by_side = vec![Lesson::labels(), setting.lesson(table.clone()), control];
    let (mut curves, mut arms) = (Vec::new(), Vec::new());
    let began = cx.now_ms();
    for (images, lessons, part) in [(&transfer, side_by_side, 0.0), (&more, vec![Lesson::labels()], 0.75)] {
        let first = curves.len();
        curves.resize_with(first + lessons.len(), Vec::new);
        let students = students(lessons, images.len(), setting, material, cx)?;
        let net = material.teacher.on(&cx.device)?;
        let mut class = Lessons::new(students, (material.training(), images), &net, setting.plan(), cx);
        while class.done() < setting.steps {
            class.advance(setting.steps.div_ceil(LOOKS), cx).await?;
            for (curve, student) in curves[first..].iter_mut().zip(&class.students) {
                curve.push([class.done() as f64, glance(material, student, cx).await?]);
            }
            let done = class.done() as f64 / setting.steps as f64;
            shown(part + done * (0.75 - part / 1.5), figures::curves(&curves, teacher_accuracy, setting.steps))?;
        }
        for (student, curve) in class.students.into_iter().zip(&curves[first..]) {
            let network = student.network().await?;
            let answers = material.judge(&network, cx).await?.1;
            arms.push(Arm { network, answers, curve: curve.clone() });
        }
    }
    let seconds = (cx.now_ms() - began) / 1e3;
    let entropy = entropy(&table, CLASSES, 1.0);
    Ok(Outcome { arms, teacher, transfer, table, entropy, seconds })
}

/// Accuracy on every fifth image, in per cent.
pub(super) async fn glance(material: &Material, student: &Student, cx: &Context) -> Result<f64, LabError> {
    let images = &material.subject.images;
    let some: Vec<usize> = (0..images.len()).step_by(EVERY).collect();
    let pixels = TensorData::new(images.gather(&some), [some.len(), images.pixels_each()]);
    let logits = read(student.judge(Tensor::from_data(pixels, &cx.device))).await?;
    cx.checkpoint().await?;
    let right = argmax(&logits, CLASSES).iter().zip(&some).filter(|(a, i)| **a == images.labels[**i]).count();
    Ok(100.0 * right as f64 / some.len().max(1) as f64)
}
