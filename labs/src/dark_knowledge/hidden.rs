//! A student that never sees an image of some classes, and hears of them from its teacher alone.

use lab_api::{Family, Interval, LabError, Metric};
use lab_kit::{
    Context,
    distill::{Lesson, Lessons, Material},
    report::{MetricExt, metric},
    train::argmax,
};

use super::{
    Hide,
    arms::{CLASSES, Setting, students},
    summary::{LEVEL, trained},
};

/// Images of each class that is not hidden, at most: nearly all there are of most.
const PER_CLASS: usize = 200;

/// What such a student answers.
pub(super) struct Unseen {
    /// Logits for the images that judge.
    pub(super) logits: Vec<f32>,
    pub(super) hide: Hide,
    /// Images it learned from.
    pub(super) images: usize,
    /// The bias at which hidden classes are named as often as the teacher names them on those images.
    pub(super) fitting: f64,
}

pub(super) async fn run(material: &Material, setting: &Setting, cx: &Context) -> Result<Unseen, LabError> {
    let seen = |class: u8| !setting.hide.hides(class);
    let classes = (0..CLASSES as u8).filter(|class| seen(*class)).count();
    let per_class = PER_CLASS.min(setting.per_class * 20);
    let transfer = material.transfer(per_class * classes, &seen, cx);
    let table = material.table(&transfer, cx).await?;
    let net = material.teacher.on(&cx.device)?;
    let students = students(vec![Lesson::soft(table, setting.temperature, 1.0)], transfer.len(), cx)?;
    let mut class = Lessons::new(students, (material.training(), &transfer), &net, setting.plan(), cx);
    class.advance(setting.steps, cx).await?;
    let student = class.students.pop().ok_or_else(|| LabError::Engine { why: "the student is gone".into() })?;
    let network = student.network().await?;
    let logits = material.judge(&network, cx).await?.0;
    let teacher = material.judge(&material.teacher, cx).await?.1;
    let mut unseen = Unseen { logits, hide: setting.hide, images: transfer.len(), fitting: 0.0 };
    // The teacher's frequencies, no label: the smallest bias that names hidden classes as often as the teacher does.
    let often = |answers: &[u8]| answers.iter().filter(|class| setting.hide.hides(**class)).count();
    let wanted = often(&teacher);
    unseen.fitting =
        (0..=40).map(|i| 0.25 * f64::from(i)).find(|bias| often(&unseen.answers(*bias)) >= wanted).unwrap_or(10.0);
    Ok(unseen)
}

impl Unseen {
    /// Answers among all classes with this bias on the hidden ones.
    pub(super) fn answers(&self, bias: f64) -> Vec<u8> {
        let biased = |(at, z): (usize, &f32)| {
            let hidden = self.hide.hides((at % CLASSES) as u8);
            if hidden { z + bias as f32 } else { *z }
        };
        argmax(&self.logits.iter().enumerate().map(biased).collect::<Vec<_>>(), CLASSES)
    }

    /// Accuracy in per cent on the images of hidden classes, of the others, and on all.
    pub(super) fn shares(&self, material: &Material, bias: f64) -> [f64; 3] {
        let (mut right, mut count) = ([0_u32; 3], [0_u32; 3]);
        for (label, answer) in material.subject.images.labels.iter().zip(self.answers(bias)) {
            for part in [usize::from(!self.hide.hides(*label)), 2] {
                right[part] += u32::from(*label == answer);
                count[part] += 1;
            }
        }
        [0, 1, 2].map(|part| 100.0 * f64::from(right[part]) / f64::from(count[part].max(1)))
    }

    /// The same with intervals over font families.
    pub(super) fn accuracies(&self, material: &Material, bias: f64) -> [(f64, Interval); 3] {
        let answers = self.answers(bias);
        let labels = &material.subject.images.labels;
        let of = |takes: &dyn Fn(u8) -> bool| {
            let images: Vec<usize> = (0..labels.len()).filter(|i| takes(labels[*i])).collect();
            let answers: Vec<u8> = images.iter().map(|i| answers[*i]).collect();
            material.subject.accuracy_on(&images, &answers, LEVEL)
        };
        [of(&|class| self.hide.hides(class)), of(&|class| !self.hide.hides(class)), of(&|_| true)]
    }
}

/// Numbers of this student.
pub(super) fn metrics(material: &Material, unseen: &Unseen, bias: f64) -> Vec<Metric> {
    let plain = unseen.shares(material, 0.0);
    let ([hidden, seen, all], asked) = (unseen.accuracies(material, bias), unseen.accuracies(material, 1e3)[0]);
    let quality = |id: &str, label: &str, (percent, interval): (f64, Interval), apart: f64| {
        trained(metric(Family::Quality, id, label, percent, "%").higher().interval(interval), apart)
    };
    vec![
        quality("hidden", "Hidden classes named right", hidden, 60.0)
            .baseline(plain[0])
            .help("Among all 47, with the bias; the baseline is without. A student from labels could not name one."),
        quality("hidden_asked", "The same, told that the class is hidden", asked, 40.0)
            .help("The likeliest of the hidden classes alone."),
        quality("seen", "The other classes named right", seen, 20.0).baseline(plain[1]).detail(),
        quality("overall", "All classes named right", all, 20.0).baseline(plain[2]).detail(),
        trained(
            metric(Family::Quality, "fitting_bias", "Bias that fits the teacher's frequencies", unseen.fitting, "")
                .detail(),
            5.0,
        )
        .help("With it the student names hidden classes as often as its teacher does. It needs no label."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_moves_answers_to_hidden_classes_and_keeps_their_order() {
        // One image that looks like an A, next like a 7, then like a 1.
        let mut logits = vec![0.0; CLASSES];
        (logits[10], logits[7], logits[1]) = (5.0, 3.0, 2.0);
        let unseen = Unseen { logits, hide: Hide::Digits, images: 0, fitting: 0.0 };
        assert_eq!([0.0, 1.9, 2.1, 1e3].map(|bias| unseen.answers(bias)), [[10], [10], [7], [7]]);
    }
}
