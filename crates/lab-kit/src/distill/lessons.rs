//! Several students side by side: one start, one order of images, one batch at a time for all of them, so that what differs
//! between two is what they are taught.

use std::collections::VecDeque;

use burn::{
    module::{Module, Param},
    nn::Linear,
    optim::ModuleOptimizer,
    tensor::{Device, Int, Tensor, TensorData},
};
use lab_api::LabError;
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{Hidden, distillation_loss, hidden, hint_loss, similarity_loss};
use crate::{
    Context,
    data::Images,
    fit::{Trainable, optimizer, step},
    mlp::{Mlp, MlpWeights, read},
    prune::{Net, Network},
    train::{Training, half_cosine},
};

/// What is asked of the last hidden layer, beside the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Features {
    /// Nothing.
    #[default]
    None,
    /// That a linear map turns it into the teacher's: [`hint_loss`].
    Hint,
    /// That the same images lie close together: [`similarity_loss`].
    Similarity,
}

/// How much the similarity loss counts. Its values are about a thousandth of the others'; published code takes 3,000
/// (RepDistiller's scripts; the loss is that of arXiv:1907.09682).
const SIMILARITY_WEIGHT: f64 = 3000.0;

/// How images are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Views {
    /// As they are. The teacher's answers are computed once.
    #[default]
    Same,
    /// As they are, and the teacher answers at every step all the same: what a table saves.
    Asked,
    /// Shifted by up to a pixel, anew each time; the teacher sees what the student sees.
    Shifted,
    /// The student sees a shifted image, the teacher's answer is to the image as it is.
    Stale,
}

/// What a student is taught.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// The teacher's logits `[N, K]` for the transfer images, or whatever stands for them; with nothing in it, labels are
    /// all there is.
    pub table: Vec<f32>,
    /// Temperature at the first and at the last step; between them it changes evenly.
    pub temperature: [f64; 2],
    /// Share of the soft part, 0 to 1.
    pub weight: f64,
    /// What else.
    pub features: Features,
    /// Whether the teacher is asked anew where images are [`Views::Shifted`] or the plan says [`Views::Asked`].
    pub asks: bool,
}

impl Lesson {
    /// The labels.
    #[must_use]
    pub fn labels() -> Self {
        Self { table: Vec::new(), temperature: [1.0; 2], weight: 0.0, features: Features::None, asks: false }
    }

    /// Answers at a temperature.
    #[must_use]
    pub fn soft(table: Vec<f32>, temperature: f64, weight: f64) -> Self {
        Self { table, temperature: [temperature; 2], weight, features: Features::None, asks: true }
    }
}

/// The network of a student and, for hints, the regressor that is trained along with it.
#[derive(Module, Debug)]
pub struct Pupil {
    /// What is kept.
    pub network: Mlp,
    regressor: Vec<Linear>,
}

/// A student in training.
#[derive(Debug, Clone)]
pub struct Student {
    /// What is trained.
    pub pupil: Pupil,
    lesson: Lesson,
    /// The table where the student lives: `[N, K]`.
    table: Option<Tensor<2>>,
    /// The teacher's answer to the batch at hand, and its features where they are asked for.
    answer: Option<(Tensor<2>, Option<Tensor<2>>)>,
    temperature: f64,
}

impl Student {
    /// A student that starts from these weights.
    ///
    /// # Errors
    /// [`LabError::Refused`] for a table that has not one row of logits for each image.
    pub fn new(
        start: &MlpWeights,
        lesson: Lesson,
        images: usize,
        teacher_width: usize,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let device = cx.device.clone().autodiff();
        let classes = start.layers.last().map_or(0, |layer| layer.outputs);
        if lesson.weight > 0.0 && lesson.table.len() != images * classes {
            let why = format!(
                "the teacher's table holds {} logits, but {images} images of {classes} classes need {}",
                lesson.table.len(),
                images * classes
            );
            return Err(LabError::Refused { why });
        }
        let table = (lesson.weight > 0.0)
            .then(|| Tensor::from_data(TensorData::new(lesson.table.clone(), [images, classes]), &cx.device));
        let width = start.layers.last().map_or(0, |layer| layer.inputs);
        let regressor = (lesson.features == Features::Hint).then(|| Linear {
            weight: Param::from_tensor(regressor_start(width, teacher_width, &device, cx)),
            bias: Some(Param::from_tensor(Tensor::zeros([teacher_width], &device))),
        });
        let pupil = Pupil { network: Mlp::new(start, &device), regressor: regressor.into_iter().collect() };
        Ok(Self { pupil, temperature: lesson.temperature[0], lesson, table, answer: None })
    }

    /// What it has become: the network alone, as plain numbers.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails.
    pub async fn network(&self) -> Result<Network, LabError> {
        Ok(Network::of_mlp(&self.pupil.network.valid().weights().await?))
    }
}

/// Small random numbers `[C_s, C_t]`.
fn regressor_start(inputs: usize, outputs: usize, device: &Device, cx: &Context) -> Tensor<2> {
    let mut rng = cx.rng("regressor");
    let bound = (3.0 / inputs.max(1) as f32).sqrt();
    let values: Vec<f32> = (0..inputs * outputs).map(|_| rng.random_range(-bound..bound)).collect();
    Tensor::from_data(TensorData::new(values, [inputs, outputs]), device)
}

impl Trainable for Student {
    type Parameters = Pupil;
    fn parameters(&self) -> &Pupil {
        &self.pupil
    }
    fn map(mut self, change: impl FnOnce(Pupil) -> Pupil) -> Self {
        self.pupil = change(self.pupil);
        self
    }
    fn forward(&mut self, pixels: Tensor<2>) -> Tensor<2> {
        self.pupil.network.forward(pixels)
    }
    fn judge(&self, pixels: Tensor<2>) -> Tensor<2> {
        self.pupil.network.valid().forward(pixels)
    }
    // ANCHOR: student_loss
    fn loss(&mut self, pixels: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let Hidden { features, logits } = hidden(&self.pupil.network, pixels);
        let Some((answer, inside)) = self.answer.take() else {
            return distillation_loss(logits.clone(), logits, labels, 1.0, 0.0);
        };
        let loss = distillation_loss(logits, answer, labels, self.temperature, self.lesson.weight);
        match (self.lesson.features, inside, self.pupil.regressor.first()) {
            (Features::Hint, Some(inside), Some(regressor)) => loss + hint_loss(features, inside, regressor),
            (Features::Similarity, Some(inside), _) => {
                loss + similarity_loss(features, inside).mul_scalar(SIMILARITY_WEIGHT)
            }
            _ => loss,
        }
    }
    // ANCHOR_END: student_loss
}

/// How long and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Steps in all: the learning rate falls to zero over them.
    pub steps: usize,
    /// Images of a step; fewer where there are not as many.
    pub batch: usize,
    /// Learning rate of the first step.
    pub learning_rate: f64,
    /// How images are shown.
    pub views: Views,
}

/// Students in training on the same images.
pub struct Lessons<'a> {
    /// Everybody who is taught.
    pub students: Vec<Student>,
    optimizers: Vec<ModuleOptimizer>,
    all: &'a Images,
    transfer: &'a [usize],
    teacher: &'a Net,
    plan: Plan,
    order: ChaCha8Rng,
    shifts: ChaCha8Rng,
    queue: VecDeque<usize>,
    unread: Vec<Tensor<1>>,
    done: usize,
}

/// Steps between two looks at whether losses are still numbers.
const READ_EVERY: usize = 16;
/// Milliseconds of work after which the page gets its turn.
const BREATHE_MS: f64 = 15.0;

impl<'a> Lessons<'a> {
    /// Students before their first step. `transfer` names the images that they learn from; row `i` of every table is the
    /// answer to `transfer[i]`.
    #[must_use]
    pub fn new(
        students: Vec<Student>,
        (all, transfer): (&'a Images, &'a [usize]),
        teacher: &'a Net,
        plan: Plan,
        cx: &Context,
    ) -> Self {
        let optimizers = students.iter().map(|_| optimizer(&Training::default())).collect();
        let (order, shifts) = (cx.rng("order of lessons"), cx.rng("shifts"));
        let (queue, unread) = (VecDeque::new(), Vec::new());
        Self { students, optimizers, all, transfer, teacher, plan, order, shifts, queue, unread, done: 0 }
    }

    /// Steps that are behind.
    #[must_use]
    pub fn done(&self) -> usize {
        self.done
    }

    /// Takes so many steps more, every student on the same images.
    ///
    /// # Errors
    /// [`LabError::Refused`] when a loss is no longer finite, [`LabError::Device`], [`LabError::Cancelled`].
    pub async fn advance(&mut self, steps: usize, cx: &Context) -> Result<(), LabError> {
        let mut last_breath = cx.now_ms();
        let last = (self.done + steps).min(self.plan.steps);
        while self.done < last {
            self.step(cx);
            self.done += 1;
            if self.done.is_multiple_of(READ_EVERY) || self.done == last {
                let losses = read(Tensor::cat(std::mem::take(&mut self.unread), 0)).await?;
                if !losses.iter().all(|loss| loss.is_finite()) {
                    let why = format!("a student diverged before step {}; choose a smaller learning rate", self.done);
                    return Err(LabError::Refused { why });
                }
            }
            if cx.now_ms() - last_breath > BREATHE_MS {
                cx.checkpoint().await?;
                last_breath = cx.now_ms();
            }
        }
        Ok(())
    }

    fn step(&mut self, cx: &Context) {
        let batch = self.plan.batch.min(self.transfer.len());
        while self.queue.len() < batch {
            let mut next: Vec<usize> = (0..self.transfer.len()).collect();
            next.shuffle(&mut self.order);
            self.queue.extend(next);
        }
        let rows: Vec<usize> = self.queue.drain(..batch).collect();
        let (pixels, labels) = self.batch(&rows, cx);
        let part = self.done as f64 / self.plan.steps.max(1) as f64;
        let rate = self.plan.learning_rate * half_cosine(part);
        let mut answers = self.answers(&rows, &pixels, cx).into_iter();
        for (mut student, optimizer) in std::mem::take(&mut self.students).into_iter().zip(&mut self.optimizers) {
            student.answer = answers.next().flatten();
            let [from, to] = student.lesson.temperature;
            student.temperature = from + part * (to - from);
            let (stepped, loss) = step(student, optimizer, (pixels.clone(), labels.clone()), rate);
            self.students.push(stepped);
            self.unread.push(loss);
        }
    }

    /// Pixels and labels of these rows, where training can follow them.
    fn batch(&mut self, rows: &[usize], cx: &Context) -> (Tensor<2>, Tensor<1, Int>) {
        let device = cx.device.clone().autodiff();
        let images: Vec<usize> = rows.iter().map(|row| self.transfer[*row]).collect();
        let pixels = match self.plan.views {
            Views::Same | Views::Asked => self.all.gather(&images),
            Views::Shifted | Views::Stale => {
                let side = self.all.side;
                images.iter().flat_map(|i| shifted(self.all.image(*i), side, &mut self.shifts)).collect()
            }
        };
        let pixels = TensorData::new(pixels, [rows.len(), self.all.pixels_each()]);
        let labels: Vec<i32> = images.iter().map(|i| i32::from(self.all.labels[*i])).collect();
        (Tensor::from_data(pixels, &device), Tensor::from_data(TensorData::new(labels, [rows.len()]), &device))
    }

    /// What the teacher says to each student about this batch: from the student's table, or asked anew.
    fn answers(&self, rows: &[usize], pixels: &Tensor<2>, cx: &Context) -> Vec<Option<(Tensor<2>, Option<Tensor<2>>)>> {
        let anew = matches!(self.plan.views, Views::Shifted | Views::Asked);
        let asked = |student: &&Student| anew && student.lesson.asks || student.lesson.features != Features::None;
        // ANCHOR: online
        let live =
            self.students.iter().any(|student| asked(&student)).then(|| inside(self.teacher, pixels.clone().inner()));
        // ANCHOR_END: online
        // ANCHOR: cached
        let numbers: Vec<i32> = rows.iter().map(|row| i32::try_from(*row).unwrap_or(0)).collect();
        let numbers = Tensor::<1, Int>::from_data(TensorData::new(numbers, [rows.len()]), &cx.device);
        let cached = |table: &Tensor<2>| table.clone().select(0, numbers.clone());
        // ANCHOR_END: cached
        let answer = |student: &Student| {
            let table = student.table.as_ref()?;
            let features = live.as_ref().filter(|_| student.lesson.features != Features::None);
            let features = features.and_then(|(_, features)| features.clone());
            Some(match &live {
                Some((logits, _)) if anew && student.lesson.asks => (logits.clone(), features),
                _ => (cached(table), features),
            })
        };
        self.students.iter().map(answer).collect()
    }
}

/// A teacher's logits and, of a fully connected one, its last hidden layer.
fn inside(teacher: &Net, pixels: Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
    match teacher {
        Net::Mlp(network) => {
            let Hidden { features, logits } = hidden(network, pixels);
            (logits, Some(features))
        }
        Net::Cnn(network) => (network.forward(pixels), None),
    }
}

/// An image moved by up to a pixel in each direction; what comes in from outside is blank.
#[must_use]
pub fn shifted(image: &[f32], side: usize, rng: &mut impl Rng) -> Vec<f32> {
    // 0, 1, 2 for -1, 0, 1: one more than the shift, so that no number is negative.
    let (down, right) = (rng.random_range(0..3_usize), rng.random_range(0..3_usize));
    let from = |place: usize, shift: usize| (place + 1).checked_sub(shift).filter(|place| *place < side);
    let pixel = |i: usize| match (from(i / side, down), from(i % side, right)) {
        (Some(y), Some(x)) => image[y * side + x],
        _ => 0.0,
    };
    (0..side * side).map(pixel).collect()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        data::Digits,
        prune::{Architecture, logits},
        testing::{FakeClock, context, ready},
        train::argmax,
    };

    const PLAN: Plan = Plan { steps: 24, batch: 16, learning_rate: 1e-2, views: Views::Same };

    fn digits() -> Images {
        Images::from(Digits::read(include_bytes!("../../../../assets/digits/digits.csv.gz")).expect("shipped"))
    }

    fn taught(lessons: Vec<Lesson>, plan: Plan, cx: &Context) -> Vec<MlpWeights> {
        let all = digits();
        let transfer: Vec<usize> = (100..160).collect();
        let teacher = Network::init(&Architecture::Mlp(vec![64, 12, 10]), &mut cx.rng("teacher"));
        let start = MlpWeights::init(&[64, 8, 10], &mut cx.rng("student"));
        let net = teacher.on(&cx.device).expect("fits");
        let table = ready(logits(&teacher, &all, &transfer, cx)).expect("runs");
        let students = lessons.into_iter().map(|lesson| {
            let table = if lesson.weight > 0.0 { table.clone() } else { Vec::new() };
            Student::new(&start, Lesson { table, ..lesson }, transfer.len(), 12, cx).expect("fits")
        });
        let mut lessons = Lessons::new(students.collect(), (&all, &transfer), &net, plan, cx);
        // In two parts, as labs do between which they look at the students.
        ready(lessons.advance(10, cx)).expect("trains");
        ready(lessons.advance(plan.steps, cx)).expect("trains");
        assert_eq!(lessons.done(), plan.steps);
        lessons.students.into_iter().map(|s| ready(s.pupil.network.valid().weights()).expect("read")).collect()
    }

    #[test]
    fn a_table_teaches_what_the_teacher_says_at_every_step_bit_by_bit() {
        let cx = context(Rc::new(FakeClock::new(0.1)));
        let soft = || Lesson::soft(Vec::new(), 4.0, 0.7);
        let asked = taught(vec![soft()], Plan { views: Views::Asked, ..PLAN }, &cx);
        assert_eq!(asked, taught(vec![soft()], PLAN, &cx));
    }

    #[test]
    fn students_side_by_side_learn_what_each_would_alone() {
        let cx = context(Rc::new(FakeClock::new(0.1)));
        let soft = || Lesson::soft(Vec::new(), 4.0, 1.0);
        let together = taught(vec![Lesson::labels(), soft()], PLAN, &cx);
        assert_eq!(together[0], taught(vec![Lesson::labels()], PLAN, &cx)[0]);
        assert_eq!(together[1], taught(vec![soft()], PLAN, &cx)[0]);
        assert_ne!(together[0], together[1]);
        // Half of each is neither; hints and similarities and shifts each teach something else.
        let half = Lesson { weight: 0.5, ..soft() };
        let hint = Lesson { features: Features::Hint, ..soft() };
        let alike = Lesson { features: Features::Similarity, ..soft() };
        let cooling = Lesson { temperature: [4.0, 1.0], ..soft() };
        let all = taught(vec![soft(), half, hint, alike, cooling], PLAN, &cx);
        let shifted =
            taught(vec![soft(), Lesson { asks: false, ..soft() }], Plan { views: Views::Shifted, ..PLAN }, &cx);
        let stale = taught(vec![soft()], Plan { views: Views::Stale, ..PLAN }, &cx);
        assert_eq!(shifted[1], stale[0], "who does not ask learns from stale answers");
        let each: Vec<&MlpWeights> = all.iter().chain(&shifted).collect();
        for (i, one) in each.iter().enumerate() {
            assert!(each[..i].iter().all(|other| one != other), "{i}");
        }
    }

    #[test]
    fn a_student_comes_to_answer_as_its_teacher() {
        let cx = context(Rc::new(FakeClock::new(0.1)));
        let all = digits();
        let plan = Plan { steps: 150, batch: 64, ..PLAN };
        let teacher = Network::init(&Architecture::Mlp(vec![64, 12, 10]), &mut cx.rng("teacher"));
        let answers = argmax(&ready(logits(&teacher, &all, &(0..500).collect::<Vec<_>>(), &cx)).expect("runs"), 10);
        let agreeing = |weights: &MlpWeights| {
            let own = ready(logits(&Network::of_mlp(weights), &all, &(0..500).collect::<Vec<_>>(), &cx)).expect("runs");
            argmax(&own, 10).iter().zip(&answers).filter(|(a, b)| a == b).count()
        };
        // An untrained teacher, so that only its answers can lead there, on 60 images of 500.
        let students = taught(vec![Lesson::soft(Vec::new(), 1.0, 1.0), Lesson::labels()], plan, &cx);
        let (soft, labels) = (agreeing(&students[0]), agreeing(&students[1]));
        assert!(soft > 300 && soft > labels + 100, "{soft} {labels}");
    }

    #[test]
    fn a_table_of_another_size_and_a_wild_rate_are_refused() {
        let cx = context(Rc::new(FakeClock::new(0.1)));
        let start = MlpWeights::init(&[64, 8, 10], &mut cx.rng("student"));
        let refused = Student::new(&start, Lesson::soft(vec![0.0; 30], 1.0, 1.0), 4, 0, &cx).expect_err("refused");
        assert!(refused.to_string().contains("30 logits") && refused.to_string().contains("40"), "{refused}");
    }

    #[test]
    fn shifts_move_whole_images_and_leave_no_ink_behind() {
        let image: Vec<f32> = (1..=16_u8).map(f32::from).collect();
        let mut rng = crate::rng(0, "shifts");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let moved = shifted(&image, 4, &mut rng);
            let at = moved.iter().position(|v| *v == 6.0).expect("the middle stays inside");
            seen.insert(at);
            for (i, value) in moved.iter().enumerate().filter(|(_, v)| **v > 0.0) {
                let (dy, dx) = (at as isize / 4 - 1, at as isize % 4 - 1);
                let from = (i as isize / 4 - dy) * 4 + i as isize % 4 - dx;
                assert_eq!(*value, image[usize::try_from(from).expect("inside")]);
            }
        }
        assert_eq!(seen.len(), 9);
    }
}
