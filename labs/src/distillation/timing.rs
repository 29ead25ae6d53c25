//! What the small network saves each time it answers, and what its teacher costs at each step.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    distill::{Lessons, Material, Views},
    fit::Classifier,
    measure::{Pair, peak_gflops, side_by_side},
    mlp::read,
};

use super::arms::{BATCH, Outcome, Setting, students};

/// Times in milliseconds: of the teacher first, of the student second.
pub(super) struct Times {
    pub(super) many: Pair,
    pub(super) one: Pair,
    /// A step that asks the teacher, and one that looks its answers up.
    pub(super) step: Pair,
    /// Best GFLOP/s of this device's matrix products.
    pub(super) peak: f64,
}

/// Milliseconds for each comparison.
const BUDGET_MS: f64 = 120.0;

pub(super) async fn measure(
    material: &Material,
    setting: &Setting,
    outcome: &Outcome,
    cx: &Context,
) -> Result<Times, LabError> {
    let images = &material.subject.images;
    let teacher = material.teacher.on(&cx.device)?;
    let student = outcome.arms[1].network.on(&cx.device)?;
    let mut pairs = Vec::new();
    for count in [BATCH, 1] {
        let some: Vec<usize> = (0..count).collect();
        let pixels = TensorData::new(images.gather(&some), [count, images.pixels_each()]);
        let pixels = Tensor::<2>::from_data(pixels, &cx.device);
        let first = async || read(teacher.logits(pixels.clone())).await.map(drop);
        let second = async || read(student.logits(pixels.clone())).await.map(drop);
        pairs.push(side_by_side(cx, BUDGET_MS, first, second).await?);
    }
    let class = |views: Views| -> Result<Lessons, LabError> {
        let lesson = setting.lesson(outcome.table.clone());
        let students = students(vec![lesson], outcome.transfer.len(), setting, material, cx)?;
        // Steps without end, at a rate that changes nothing.
        let plan = lab_kit::distill::Plan { views, steps: usize::MAX, learning_rate: 0.0, ..setting.plan() };
        Ok(Lessons::new(students, (material.training(), &outcome.transfer), &teacher, plan, cx))
    };
    let (mut asking, mut looking) = (class(Views::Asked)?, class(Views::Same)?);
    let step =
        side_by_side(cx, 2.0 * BUDGET_MS, async || asking.advance(1, cx).await, async || looking.advance(1, cx).await)
            .await?;
    let peak = peak_gflops(cx, BUDGET_MS).await?;
    let one = pairs.pop().unwrap_or_default();
    Ok(Times { many: pairs.pop().unwrap_or_default(), one, step, peak })
}
