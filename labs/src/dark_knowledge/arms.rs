//! Five students of the same images, whose answers differ in what they tell.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    distill::{
        Lesson, Lessons, Material, Plan, Student, Views, class_means, hidden, linear_cka, shuffled_rows, smoothed,
    },
    mlp::{Mlp, MlpWeights, read},
    prune::Network,
};

use super::Hide;

/// What a comparison is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) per_class: usize,
    pub(super) temperature: f64,
    pub(super) smoothing: f64,
    pub(super) hide: Hide,
    pub(super) steps: usize,
}

/// Widths of every student.
pub(super) const WIDTHS: [usize; 4] = [256, 64, 64, 47];
/// Classes.
pub(super) const CLASSES: usize = 47;
/// Images on which inner states are compared.
const PROBED: usize = 512;

/// The students, in the order of [`Outcome::students`].
pub(super) const ARMS: [(&str, &str); 5] = [
    ("labels", "Labels"),
    ("smoothed", "Smoothed labels"),
    ("shuffled", "Soft answers, wrong classes shuffled"),
    ("class_mean", "One soft answer for each class"),
    ("soft", "Soft answers"),
];

/// A network and what it says to the images that judge.
pub(super) struct Judged {
    pub(super) logits: Vec<f32>,
    pub(super) answers: Vec<u8>,
    /// How much its last hidden layer has of the teacher's geometry, 0 to 1.
    pub(super) alignment: f64,
}

/// What came out.
pub(super) struct Outcome {
    pub(super) teacher: Judged,
    /// One for each of [`ARMS`].
    pub(super) students: Vec<Judged>,
    /// The teacher's softened answers, averaged over each class: `[47, 47]`, one row a class.
    pub(super) likeness: Vec<Vec<f64>>,
    pub(super) seconds: f64,
}

impl Setting {
    pub(super) fn plan(&self) -> Plan {
        Plan { steps: self.steps, batch: 64, learning_rate: 3e-3, views: Views::Same }
    }
}

/// Students that begin alike.
pub(super) fn students(lessons: Vec<Lesson>, images: usize, cx: &Context) -> Result<Vec<Student>, LabError> {
    let start = MlpWeights::init(&WIDTHS, &mut cx.rng("student"));
    lessons.into_iter().map(|lesson| Student::new(&start, lesson, images, 0, cx)).collect()
}

pub(super) async fn run(
    material: &Material,
    setting: &Setting,
    cx: &Context,
    shown: impl Fn(f64),
) -> Result<Outcome, LabError> {
    let transfer = material.transfer(setting.per_class * CLASSES, &|_| true, cx);
    let table = material.table(&transfer, cx).await?;
    let labels: Vec<u8> = transfer.iter().map(|i| material.training().labels[*i]).collect();
    let t = setting.temperature;
    let means = class_means(&table, &labels, CLASSES, t);
    let likeness = likeness(&means, &labels, t);
    let lessons = vec![
        Lesson::labels(),
        Lesson::soft(smoothed(&labels, CLASSES, setting.smoothing), 1.0, 1.0),
        Lesson::soft(shuffled_rows(&table, CLASSES, &mut cx.rng("shuffled classes")), t, 1.0),
        Lesson::soft(means, t, 1.0),
        Lesson::soft(table, t, 1.0),
    ];
    let began = cx.now_ms();
    let net = material.teacher.on(&cx.device)?;
    let students = students(lessons, transfer.len(), cx)?;
    let mut class = Lessons::new(students, (material.training(), &transfer), &net, setting.plan(), cx);
    while class.done() < setting.steps {
        class.advance(setting.steps.div_ceil(10), cx).await?;
        shown(class.done() as f64 / setting.steps as f64);
    }
    let seconds = (cx.now_ms() - began) / 1e3;
    let teacher = judged(material, &material.teacher, cx).await?;
    let mut found = Vec::new();
    for student in class.students {
        let network = student.network().await?;
        found.push(judged(material, &network, cx).await?);
    }
    Ok(Outcome { teacher, students: found, likeness, seconds })
}

/// The softened row of each class.
fn likeness(means: &[f32], labels: &[u8], temperature: f64) -> Vec<Vec<f64>> {
    let row = |class: usize| {
        let at = labels.iter().position(|label| usize::from(*label) == class);
        let row = at.and_then(|at| means.get(at * CLASSES..(at + 1) * CLASSES)).unwrap_or(&[0.0; CLASSES]);
        lab_kit::distill::softmax(&row.iter().map(|z| f64::from(*z)).collect::<Vec<_>>(), temperature)
    };
    (0..CLASSES).map(row).collect()
}

async fn judged(material: &Material, network: &Network, cx: &Context) -> Result<Judged, LabError> {
    let (logits, answers) = material.judge(network, cx).await?;
    let images = &material.subject.images;
    let every = images.len().div_ceil(PROBED).max(1);
    let some: Vec<usize> = (0..images.len()).step_by(every).collect();
    let pixels = TensorData::new(images.gather(&some), [some.len(), images.pixels_each()]);
    let pixels = Tensor::<2>::from_data(pixels, &cx.device);
    let inside = |network: &Network| {
        network.as_mlp().map(|weights| hidden(&Mlp::new(&weights, &cx.device), pixels.clone()).features)
    };
    let alignment = match (inside(network), inside(&material.teacher)) {
        (Some(own), Some(teacher)) => read(linear_cka(own, teacher)).await?.first().copied().map_or(0.0, f64::from),
        _ => 0.0,
    };
    cx.checkpoint().await?;
    Ok(Judged { logits, answers, alignment })
}
