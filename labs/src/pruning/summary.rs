//! The numbers of a run, and the sentences it calls for.

use lab_api::{Family, Kind, LabError, Metric};
use lab_kit::{
    Context,
    prune::{Architecture, Network},
    report::{MetricExt, metric, thousands},
};

use super::{
    arms::{Path, Plan},
    material::Material,
    scan::Curve,
};

/// Confidence of every interval.
const LEVEL: f64 = 0.95;
/// Why a result without training may differ between devices.
const ROUNDING: &str =
    "sums in another order move scores and logits in their last bits, so a few images may change sides";
/// Why what training decides may differ between devices.
const SPREAD: &str = "sums in another order lead training elsewhere, as another order of the images does: five standard \
                      deviations over the seeds of the study";
/// Points of accuracy.
const POINTS: f64 = 2.0;

/// A trained network with its answers.
pub(super) struct Arm {
    pub(super) name: &'static str,
    pub(super) network: Network,
    /// The class of each image.
    pub(super) answers: Vec<u8>,
    /// Steps and accuracy in per cent on some of the images.
    pub(super) path: Vec<[f64; 2]>,
}

impl Arm {
    /// Judges the networks of a training.
    pub(super) async fn judge(
        name: &'static str,
        path: Path,
        material: &Material,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let mut points = Vec::new();
        for (step, network) in &path {
            points.push([*step as f64, material.accuracy(network, material.curve_images(), cx).await?]);
        }
        let Some((_, network)) = path.into_iter().last() else {
            return Err(LabError::Engine { why: "a training without an end".into() });
        };
        let answers = material.all_answers(&network, cx).await?;
        Ok(Self { name, network, answers, path: points })
    }
}

/// Bytes of a network: FP32 where no weight is zero by a mask, otherwise values with 16-bit columns and the starts of rows.
pub(super) fn bytes(network: &Network, whole: &Architecture) -> usize {
    let kept: usize = network.non_zero().iter().sum();
    let (weights, all) = (network.architecture.weights(), network.architecture.parameters());
    if network.architecture != *whole || kept == weights {
        return 4 * all;
    }
    let starts: usize = network.shapes().iter().map(|(rows, _)| rows + 1).sum();
    6 * kept + 4 * starts + 4 * (all - weights)
}

/// What is known without training.
pub(super) fn memory(material: &Material, cut: &Network) -> Vec<Metric> {
    let whole = &material.network.architecture;
    let kept = cut.non_zero().iter().sum::<usize>() as f64;
    vec![
        metric(Family::Memory, "weights_kept", "Weights kept", kept, "weights")
            .lower()
            .baseline(whole.weights() as f64)
            .exact(1.0, "a tie of two scores may be resolved the other way")
            .help("Numbers of all matrices and kernels that are not zero; biases are never pruned."),
        metric(Family::Memory, "sparse_bytes", "Bytes", bytes(cut, whole) as f64, "bytes")
            .lower()
            .baseline(4.0 * whole.parameters() as f64)
            .exact(6.0, "one weight more or less")
            .help(
                "Each weight that is left takes four bytes for its value and two for its column, each row four for its start; \
                 biases stay FP32. Where whole channels went, plain FP32 of what is left.",
            ),
    ]
}

/// What the cut does before any training.
pub(super) fn before(material: &Material, dense: &[u8], answers: &[u8], curve: &Curve) -> Vec<Metric> {
    let compared = material.subject.compare(dense, answers);
    vec![
        metric(Family::Quality, "accuracy_cut", "Accuracy without training", compared.percent(compared.after), "%")
            .higher()
            .baseline(compared.percent(compared.before))
            .interval(material.subject.accuracy_on(&all(answers), answers, LEVEL).1)
            .exact(1.0, ROUNDING)
            .help("Right after the cut; the baseline is the network as shipped."),
        metric(Family::Scale, "free_sparsity", "Can go for one point", curve.free(), "%")
            .higher()
            .exact(11.0, "the next tried sparsity, where the line passes close to one point")
            .detail()
            .help("The largest of the tried sparsities that costs no more than one point without any training, on every fifth image."),
    ]
}

fn all(answers: &[u8]) -> Vec<usize> {
    (0..answers.len()).collect()
}

fn trained(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

/// What training brings.
pub(super) fn after(material: &Material, shipped: &[u8], arms: &[Arm], plan: &Plan) -> Vec<Metric> {
    let [pruned, dense, random, small] = arms else { return Vec::new() };
    let subject = &material.subject;
    let accuracy = |id: &str, label: &str, answers: &[u8]| {
        let (percent, interval) = subject.accuracy_on(&all(answers), answers, LEVEL);
        trained(metric(Family::Quality, id, label, percent, "%").higher().interval(interval), POINTS)
    };
    let gap = |id: &str, label: &str, other: &Arm, help: &str| {
        let points = subject.compare(&other.answers, &pruned.answers).points();
        let interval = subject.change_interval(&other.answers, &pruned.answers, LEVEL);
        trained(
            metric(Family::Quality, id, label, points, "points").higher().interval(interval).help(help),
            2.0 * POINTS,
        )
    };
    let before = subject.compare(shipped, &pruned.answers);
    let quarter = |arm: &Arm| arm.path.iter().rfind(|p| p[0] <= plan.steps as f64 / 4.0).map_or(0.0, |p| p[1]);
    let flips = subject.compare(&dense.answers, &pruned.answers).flips as f64;
    let worst = worst_class(material, dense, pruned);
    vec![
        accuracy("accuracy", "Accuracy after training", &pruned.answers)
            .baseline(before.percent(before.before))
            .help("Of the pruned network on all images; the baseline is the network as shipped."),
        gap(
            "gap_dense",
            "Pruned minus dense",
            dense,
            "Both got the same steps on the same images in the same order: the fair comparison.",
        ),
        gap(
            "gap_random",
            "Pruned minus pruned at random",
            random,
            "What the choice of weights is worth once both are trained.",
        ),
        gap(
            "gap_small",
            "Pruned minus small and dense",
            small,
            "The control is a narrower network from new weights, trained for the same steps.",
        ),
        accuracy("accuracy_dense", "Accuracy, nothing pruned", &dense.answers)
            .detail()
            .help("The network as shipped, trained for the same steps."),
        accuracy("accuracy_random", "Accuracy, pruned at random", &random.answers).detail(),
        accuracy("accuracy_small", "Accuracy, small and dense", &small.answers).detail(),
        trained(
            metric(Family::Scale, "accuracy_quarter", "Accuracy after a quarter of the steps", quarter(pruned), "%")
                .higher()
                .baseline(quarter(small))
                .detail()
                .help("How soon accuracy is back, on every fifth image; the baseline is the small dense network."),
            3.0 * POINTS,
        ),
        trained(
            metric(Family::Quality, "flips", "Images that flipped", flips, "images")
                .lower()
                .detail()
                .help("Answered otherwise than by the dense network after the same training."),
            0.03 * before.images as f64,
        ),
        trained(
            metric(Family::Quality, "worst_class", "Lost in the worst class", worst.1, "points")
                .higher()
                .detail()
                .help(&format!("Pruned minus dense among the images of one class: here “{}”.", worst.0)),
            25.0,
        ),
    ]
}

/// For each class right answers of both and how many images there are.
pub(super) fn by_class(material: &Material, dense: &Arm, pruned: &Arm) -> Vec<(char, [usize; 3])> {
    let images = &material.subject.images;
    let mut classes: Vec<(char, [usize; 3])> =
        (0..images.class_count()).map(|c| (images.character(c as u8), [0; 3])).collect();
    for (i, label) in images.labels.iter().enumerate() {
        if let Some((_, [a, b, n])) = classes.get_mut(usize::from(*label)) {
            *a += usize::from(dense.answers[i] == *label);
            *b += usize::from(pruned.answers[i] == *label);
            *n += 1;
        }
    }
    classes
}

fn worst_class(material: &Material, dense: &Arm, pruned: &Arm) -> (char, f64) {
    let change = |(class, [a, b, n]): (char, [usize; 3])| (class, 100.0 * (b as f64 - a as f64) / n.max(1) as f64);
    let worst = |one: (char, f64), other: (char, f64)| if other.1 < one.1 { other } else { one };
    by_class(material, dense, pruned).into_iter().map(change).reduce(worst).unwrap_or(('?', 0.0))
}

/// A size and a quality that the reader's network must keep, and what it has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Walls {
    bytes: usize,
    percent: f64,
    /// Bytes at most, and per cent at least.
    walls: [f64; 2],
}

impl Walls {
    /// Of the pruned and trained network; `walls` in thousand bytes and in per cent.
    pub(super) fn of(material: &Material, arms: &[Arm], [size, quality]: [u32; 2]) -> Option<Self> {
        let pruned = arms.first()?;
        let percent = material.subject.accuracy_on(&all(&pruned.answers), &pruned.answers, LEVEL).0;
        let bytes = bytes(&pruned.network, &material.network.architecture);
        Some(Self { bytes, percent, walls: [1000.0 * f64::from(size), f64::from(quality)] })
    }

    fn met(&self) -> [bool; 2] {
        [self.bytes as f64 <= self.walls[0], self.percent >= self.walls[1]]
    }

    pub(super) fn metric(&self) -> Metric {
        let met = self.met().into_iter().filter(|met| *met).count();
        trained(metric(Family::Quality, "walls", "Walls that hold, of two", met as f64, "").higher(), 1.0)
            .help("The size and the quality that you set.")
    }

    pub(super) fn words(&self) -> String {
        let verdict = match self.met() {
            [true, true] => "Both walls hold",
            [true, false] => "The size holds and the quality does not",
            [false, true] => "The quality holds and the size does not",
            [false, false] => "Neither wall holds",
        };
        format!(
            "{verdict}: {} bytes of at most {}, and {:.1} % right where you ask for {:.0}.",
            thousands(self.bytes),
            thousands(self.walls[0] as usize),
            self.percent,
            self.walls[1]
        )
    }
}

/// Sentences for this very run.
pub(super) fn notes(material: &Material, arms: &[Arm]) -> Vec<String> {
    let [pruned, dense, random, small] = arms else { return Vec::new() };
    let subject = &material.subject;
    let lost = subject.compare(&dense.answers, &pruned.answers);
    let mut notes = vec![format!(
        "Against the dense network with the same training, {} of {} images turned from right to wrong and {} from wrong to right.",
        thousands(lost.lost),
        thousands(lost.images),
        thousands(lost.gained)
    )];
    for (control, better, worse, open) in [
        (
            random,
            "The chosen weights beat as many random ones, once both are trained.",
            "Random weights did better than the chosen ones here.",
            "Once both are trained, the chosen weights and as many random ones cannot be told apart by these images.",
        ),
        (
            small,
            "The pruned network beats the small dense one from new weights.",
            "The small dense network from new weights beats the pruned one.",
            "The pruned network and the small dense one from new weights cannot be told apart by these images.",
        ),
    ] {
        let interval = subject.change_interval(&control.answers, &pruned.answers, LEVEL);
        notes.push(
            if interval.low > 0.0 {
                better
            } else if interval.high < 0.0 {
                worse
            } else {
                open
            }
            .into(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_walls_must_hold() {
        let walls = |bytes, percent| Walls { bytes, percent, walls: [30_000.0, 85.0] };
        assert_eq!(walls(30_000, 85.0).met(), [true, true]);
        assert!(walls(30_000, 85.0).words().starts_with("Both walls hold: 30,000 bytes of at most 30,000"));
        assert!(walls(30_001, 85.0).words().starts_with("The quality holds and the size does not"));
        assert!(walls(10, 84.9).words().starts_with("The size holds and the quality does not"));
        assert!(walls(40_000, 3.0).words().starts_with("Neither"));
        assert_eq!((walls(10, 99.0).metric().value, walls(40_000, 3.0).metric().value), (2.0, 0.0));
    }
}
