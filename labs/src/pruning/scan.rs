//! What can be known before training: accuracy against sparsity, of the whole network and of each layer alone.

use lab_api::{Axis, Chart, ChartBody, LabError, Series};
use lab_kit::Context;

use super::{Scores, Unit, choose::Choice, cut, material::Material};

/// Shares that are tried on each layer.
const TRIED: [f64; 8] = [0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98];
/// Shares that are tried on the whole network.
pub(super) const SPARSITIES: [f64; 9] = [0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Accuracy on the examples, in per cent, when a single layer is pruned.
pub(super) struct Scan {
    layers: Vec<(String, Vec<f64>)>,
}

/// Prunes each layer alone. Judged on the shifted training images: the images that judge must not choose.
pub(super) async fn run(choice: &Choice, material: &Material, cx: &Context) -> Result<Scan, LabError> {
    let network = &material.network;
    let names = network.architecture.layers();
    let own = Choice { budget: vec![0.0; names.len()], threshold: super::Thresholds::Scan, ..choice.clone() };
    let mut layers = Vec::new();
    for (l, name) in names.iter().enumerate() {
        let mut right = Vec::new();
        for share in TRIED {
            let mut one = own.clone();
            one.budget[l] = share;
            let masks = one.masks(network, material, share, cx)?;
            right.push(material.on_examples(&network.clone().masked(&masks), cx).await?);
        }
        layers.push((name.clone(), right));
    }
    Ok(Scan { layers })
}

impl Scan {
    /// Accuracy when this share of a layer goes, between the tried shares along a line.
    fn accuracy(&self, layer: usize, share: f64) -> f64 {
        let tried = &self.layers[layer].1;
        let after = TRIED.iter().position(|t| *t >= share).unwrap_or(TRIED.len() - 1).max(1);
        let part = (share - TRIED[after - 1]) / (TRIED[after] - TRIED[after - 1]);
        tried[after - 1] + part.min(1.0) * (tried[after] - tried[after - 1])
    }

    // ANCHOR: budget
    /// Sparsity of each layer that loses least in sum and removes this share of all weights: all combinations of the tried
    /// shares, the largest layer taking what is left. `shapes` are rows and columns of each layer.
    pub(super) fn budget(&self, shapes: &[(usize, usize)], sparsity: f64) -> Vec<f64> {
        let counts: Vec<f64> = shapes.iter().map(|(rows, columns)| (rows * columns) as f64).collect();
        let largest = (0..counts.len()).fold(0, |best, l| if counts[l] > counts[best] { l } else { best });
        let mut best = (f64::NEG_INFINITY, vec![sparsity; counts.len()]);
        for combination in 0..TRIED.len().pow(counts.len() as u32 - 1) {
            let (mut shares, mut rest) = (vec![0.0; counts.len()], combination);
            for l in (0..counts.len()).filter(|l| *l != largest) {
                shares[l] = TRIED[rest % TRIED.len()];
                rest /= TRIED.len();
            }
            let gone: f64 = shares.iter().zip(&counts).map(|(share, count)| share * count).sum();
            shares[largest] = (sparsity * counts.iter().sum::<f64>() - gone) / counts[largest];
            let last = TRIED[TRIED.len() - 1];
            if !(0.0..=last).contains(&shares[largest]) {
                continue;
            }
            let value: f64 = (0..counts.len()).map(|l| self.accuracy(l, shares[l])).sum();
            if value > best.0 {
                best = (value, shares);
            }
        }
        best.1
    }
    // ANCHOR_END: budget

    /// One line a layer.
    pub(super) fn chart(&self) -> Chart {
        let line = |(name, right): &(String, Vec<f64>)| Series {
            name: name.clone(),
            points: TRIED.iter().zip(right).map(|(share, right)| [100.0 * share, *right]).collect(),
            band: vec![],
        };
        Chart {
            id: "scan".into(),
            title: "Which layer can spare most?".into(),
            caption: "Accuracy on shifted training images when a single layer is pruned and all others are left as \
                      they are, without training. The images that judge have no part in it."
                .into(),
            x: Axis::linear("Weights of the layer that go (%)"),
            y: Axis { max: Some(100.0), ..Axis::linear("Accuracy (%)") },
            body: ChartBody::Line { series: self.layers.iter().map(line).collect() },
        }
    }
}

/// Accuracy without training, by score.
pub(super) struct Curve {
    /// Name, and for each sparsity weights kept and accuracy, both in per cent.
    pub(super) lines: Vec<(String, Vec<[f64; 2]>)>,
}

/// The reader's score beside random and magnitude.
pub(super) async fn curve(choice: &Choice, material: &Material, cx: &Context) -> Result<Curve, LabError> {
    let mut scores = vec![Scores::Random, Scores::Magnitude];
    if !scores.contains(&choice.score) {
        scores.push(choice.score);
    }
    let global = match choice.threshold {
        super::Thresholds::Scan => super::Thresholds::Global,
        other => other,
    };
    let whole = material.network.architecture.weights() as f64;
    let mut lines = Vec::new();
    for score in scores {
        let one = Choice { score, threshold: global, ..choice.clone() };
        let mut points: Vec<[f64; 2]> = Vec::new();
        for sparsity in SPARSITIES {
            let only_half = choice.unit == Unit::TwoOfFour && sparsity != 0.0 && sparsity != 0.5;
            // A layer that a threshold empties has no answers to judge; the line ends there.
            let Ok((network, _)) =
                cut(&if sparsity == 0.0 { nothing(&one) } else { one.clone() }, material, sparsity, cx).await
            else {
                break;
            };
            if !only_half {
                let kept = network.non_zero().iter().sum::<usize>() as f64;
                points.push([100.0 * kept / whole, material.accuracy(&network, material.curve_images(), cx).await?]);
            }
        }
        lines.push((name(score).to_owned(), points));
    }
    Ok(Curve { lines })
}

/// Removes nothing, whatever the pattern.
fn nothing(choice: &Choice) -> Choice {
    Choice { unit: Unit::Weights, ..choice.clone() }
}

impl Curve {
    pub(super) fn chart(&self) -> Chart {
        Chart {
            id: "curve".into(),
            title: "How many weights can go without training?".into(),
            caption: "Accuracy on every fifth image of unseen font families when nothing is trained after the cut, against the \
                      share of weights that is left."
                .into(),
            x: Axis::log("Weights kept (%)"),
            y: Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Accuracy (%)") },
            body: ChartBody::Line {
                series: self
                    .lines
                    .iter()
                    .map(|(name, points)| Series { name: name.clone(), points: points.clone(), band: vec![] })
                    .collect(),
            },
        }
    }

    /// The largest tried sparsity, in per cent, up to which the reader's score loses no more than a point.
    pub(super) fn free(&self) -> f64 {
        let Some((_, points)) = self.lines.last() else { return 0.0 };
        let first = points.first().map_or(0.0, |point| point[1]);
        let within = points.iter().take_while(|point| point[1] >= first - 1.0);
        within.last().map_or(0.0, |point| 100.0 - point[0])
    }
}

pub(super) fn name(score: Scores) -> &'static str {
    match score {
        Scores::Random => "Random",
        Scores::Magnitude => "Magnitude",
        Scores::Gradient => "Weight × gradient",
        Scores::Fisher => "Weight² × gradient²",
        Scores::Activation => "Weight × input",
        Scores::Median => "Geometric median",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_met_and_spares_the_layer_that_suffers() {
        let tough = vec![90.0, 90.0, 90.0, 90.0, 89.0, 88.0, 87.0, 86.0];
        let tender = vec![90.0, 80.0, 60.0, 40.0, 30.0, 20.0, 10.0, 5.0];
        let layers = vec![("a".to_owned(), tough.clone()), ("b".to_owned(), tough), ("c".to_owned(), tender)];
        let scan = Scan { layers };
        let shapes = [(128, 256), (128, 128), (47, 128)];
        let budget = scan.budget(&shapes, 0.8);
        let gone: f64 = budget.iter().zip(shapes).map(|(share, (r, c))| share * (r * c) as f64).sum();
        assert!((gone - 0.8 * 55_168.0).abs() < 1e-6, "{budget:?}");
        assert_eq!(budget[2], 0.0, "{budget:?}");
        // More than the tough layers can give: the tender one must give as well.
        assert!(scan.budget(&shapes, 0.96)[2] > 0.0);
        assert!((scan.accuracy(0, 0.85) - 88.5).abs() < 1e-9 && scan.accuracy(2, 0.0) == 90.0);
    }
}
