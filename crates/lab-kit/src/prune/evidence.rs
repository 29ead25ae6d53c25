//! What examples say about single weights of a multilayer perceptron: gradients, their squares, and how loud inputs are.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{
    mlp::{Dense, MlpWeights},
    quant::naive::layer_outputs,
};

/// What a weight is worth by which measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Score {
    /// A number drawn at random: the control.
    Random,
    /// `|w|`.
    Magnitude,
    /// `|w · ḡ|` with the mean gradient ḡ: the first-order change of the loss if the weight goes.
    Gradient,
    /// `w² · mean(g²)` over the gradients of single images: the second-order change with the Fisher information as
    /// diagonal (LeCun et al., 1989, use the Hessian's).
    Fisher,
    /// `|w| · ‖x‖`: magnitude times the norm of the input that the weight meets (Sun et al., arXiv:2306.11695).
    Activation,
}

/// Sums over examples, for each layer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// Sum of the gradients of each weight, `[outputs, inputs]`.
    pub gradient: Vec<Vec<f32>>,
    /// Sum of their squares.
    pub squared: Vec<Vec<f32>>,
    /// Sum of the squares of each input, `[inputs]`.
    pub input: Vec<Vec<f32>>,
    /// Examples seen.
    pub examples: usize,
}

impl Evidence {
    /// Nothing yet, for a network of these layers.
    #[must_use]
    pub fn new(network: &MlpWeights) -> Self {
        let zeros = |count: fn(&Dense) -> usize| network.layers.iter().map(|l| vec![0.0; count(l)]).collect();
        Self {
            gradient: zeros(|l| l.weight.len()),
            squared: zeros(|l| l.weight.len()),
            input: zeros(|l| l.inputs),
            examples: 0,
        }
    }

    /// Adds examples: pixels `[labels.len(), inputs]`. The loss is cross-entropy, and the gradient that of each example.
    pub fn add(&mut self, network: &MlpWeights, pixels: &[f32], labels: &[u8]) {
        let Some(first) = network.layers.first() else { return };
        let outputs = layer_outputs(&network.layers, pixels);
        for (image, label) in labels.iter().enumerate() {
            let row = |l: usize| {
                let width = network.layers[l].outputs;
                &outputs[l][image * width..(image + 1) * width]
            };
            // Softmax minus one-hot: the gradient of the loss with respect to the logits.
            let logits = row(network.layers.len() - 1);
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut delta: Vec<f32> = logits.iter().map(|z| (z - highest).exp()).collect();
            let sum: f32 = delta.iter().sum();
            delta.iter_mut().for_each(|p| *p /= sum);
            if let Some(p) = delta.get_mut(usize::from(*label)) {
                *p -= 1.0;
            }
            for (l, layer) in network.layers.iter().enumerate().rev() {
                let input: Vec<f32> = match l.checked_sub(1) {
                    None => pixels[image * first.inputs..(image + 1) * first.inputs].to_vec(),
                    Some(before) => row(before).iter().map(|y| y.max(0.0)).collect(),
                };
                let mut back = vec![0.0; layer.inputs];
                for (o, d) in delta.iter().enumerate().filter(|(_, d)| **d != 0.0) {
                    let places = o * layer.inputs..(o + 1) * layer.inputs;
                    let sums = self.gradient[l][places.clone()].iter_mut().zip(&mut self.squared[l][places]);
                    for (((sum, square), (x, w)), b) in sums.zip(input.iter().zip(layer.row(o))).zip(&mut back) {
                        let gradient = d * x;
                        *sum += gradient;
                        *square += gradient * gradient;
                        *b += d * w;
                    }
                }
                self.input[l].iter_mut().zip(&input).for_each(|(sum, x)| *sum += x * x);
                delta = back.into_iter().zip(&input).map(|(b, x)| if *x > 0.0 { b } else { 0.0 }).collect();
            }
        }
        self.examples += labels.len();
    }

    // ANCHOR: scores
    /// Scores of the weights of layer `l`, as they are now: `[outputs, inputs]`.
    #[must_use]
    pub fn scores(&self, score: Score, l: usize, weights: &[f32], rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mean = 1.0 / self.examples.max(1) as f32;
        let each = |of: &dyn Fn(f32, usize) -> f32| weights.iter().enumerate().map(|(i, w)| of(*w, i)).collect();
        match score {
            Score::Random => weights.iter().map(|_| rng.random()).collect(),
            Score::Magnitude => each(&|w, _| w.abs()),
            Score::Gradient => each(&|w, i| (w * self.gradient[l][i] * mean).abs()),
            Score::Fisher => each(&|w, i| w * w * self.squared[l][i] * mean),
            Score::Activation => each(&|w, i| w.abs() * self.input[l][i % self.input[l].len()].sqrt()),
        }
    }
    // ANCHOR_END: scores
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Int, Tensor, TensorData};

    use super::*;
    use crate::{
        mlp::{Mlp, read, transpose},
        ops::cross_entropy,
        rng,
        testing::ready,
    };

    /// Gradients of the first layer and of the last by automatic differentiation, of the mean loss.
    fn by_autodiff(network: &MlpWeights, pixels: &[f32], labels: &[u8]) -> Vec<Vec<f32>> {
        let device = burn::tensor::Device::flex().autodiff();
        let model = Mlp::new(network, &device);
        let x = Tensor::<2>::from_data(TensorData::new(pixels.to_vec(), [labels.len(), 6]), &device);
        let y: Vec<i32> = labels.iter().map(|l| i32::from(*l)).collect();
        let y = Tensor::<1, Int>::from_data(TensorData::new(y, [labels.len()]), &device);
        let gradients = cross_entropy(model.forward(x), y).backward();
        let of = |layer: &burn::nn::Linear| {
            let [inputs, outputs] = layer.weight.dims();
            let flat = ready(read(layer.weight.val().grad(&gradients).expect("trained"))).expect("read");
            transpose(&flat, inputs, outputs)
        };
        model.layers().iter().map(of).collect()
    }

    #[test]
    fn gradients_are_those_of_automatic_differentiation() {
        let mut rng = rng(3, "a test");
        let network = MlpWeights::init(&[6, 5, 4, 3], &mut rng);
        let pixels: Vec<f32> = (0..6 * 7).map(|_| rng.random_range(-1.0..1.0)).collect();
        let labels = [0, 1, 2, 2, 1, 0, 1];
        let mut evidence = Evidence::new(&network);
        evidence.add(&network, &pixels[..18], &labels[..3]);
        evidence.add(&network, &pixels[18..], &labels[3..]);
        let near = |a: f32, b: f32| (a - b).abs() < 1e-5 * (1.0 + a.abs());
        for (ours, theirs) in evidence.gradient.iter().zip(by_autodiff(&network, &pixels, &labels)) {
            assert!(ours.iter().zip(&theirs).all(|(a, b)| near(*a / 7.0, *b)), "{ours:?} {theirs:?}");
        }
        // Squares of the gradients of single images, one at a time.
        let mut squared: Vec<Vec<f32>> = evidence.squared.iter().map(|layer| vec![0.0; layer.len()]).collect();
        for (i, label) in labels.iter().enumerate() {
            for (sums, gradient) in
                squared.iter_mut().zip(by_autodiff(&network, &pixels[6 * i..6 * (i + 1)], &[*label]))
            {
                sums.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g * g);
            }
        }
        for (ours, theirs) in evidence.squared.iter().zip(&squared) {
            assert!(ours.iter().zip(theirs).all(|(a, b)| near(*a, *b)), "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn magnitude_times_input_chooses_the_best_inputs_where_magnitude_does_not() {
        // Worked in the brief of the chapter: X of three examples, a row of W; norms 0.245, 3, 1.732, 0.866.
        let x = [0.1, 2.0, 1.0, 0.5, 0.2, -1.0, 1.0, -0.5, -0.1, 2.0, -1.0, 0.5];
        let layer = Dense { inputs: 4, outputs: 1, weight: vec![0.9, -0.3, 0.5, 0.4], bias: vec![0.0] };
        let network = MlpWeights { layers: vec![layer] };
        let mut evidence = Evidence::new(&network);
        evidence.add(&network, &x, &[0, 0, 0]);
        let scores = evidence.scores(Score::Activation, 0, &network.layers[0].weight, &mut rng(0, "none"));
        for (score, expected) in scores.iter().zip([0.9 * 0.244_949, 0.9, 0.5 * 1.732_051, 0.4 * 0.866_025]) {
            assert!((score - expected).abs() < 1e-5, "{scores:?}");
        }
        assert_eq!(crate::prune::mask(&scores, 0.5).expect("a mask"), [false, true, true, false]);
        let magnitudes = evidence.scores(Score::Magnitude, 0, &network.layers[0].weight, &mut rng(0, "none"));
        assert_eq!(crate::prune::mask(&magnitudes, 0.5).expect("a mask"), [true, false, true, false]);
    }
}
