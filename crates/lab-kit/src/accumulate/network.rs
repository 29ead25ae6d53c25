//! A multilayer perceptron whose weights are one vector, forward and backward by hand.

use lab_kernels::product::{View, product};

use crate::mlp::MlpWeights;

/// What stands between a hidden layer's product and its ReLU; without gain and bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// Nothing.
    None,
    /// Mean 0 and variance 1 over the units of each example (Ba et al., 2016, arXiv:1607.06450).
    Layer,
    /// Mean 0 and variance 1 of each unit over the examples of a piece (Ioffe and Szegedy, 2015, arXiv:1502.03167).
    Batch,
}

/// Added to a variance.
const EPSILON: f32 = 1e-5;

/// Widths from input to logits, and the normalization.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    widths: Vec<usize>,
    norm: Norm,
}

/// What a pass over a piece gives.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Mean loss, in nats.
    pub loss: f64,
    /// Its gradient: of each layer the matrix `[outputs, inputs]`, then the biases.
    pub gradient: Vec<f32>,
    /// Squared norm of each example's own gradient; empty with batch normalization, where examples have none of their own.
    pub squares: Vec<f64>,
}

impl Shape {
    /// Widths from input to logits: two or more, or there is no layer.
    #[must_use]
    pub fn new(widths: &[usize], norm: Norm) -> Self {
        Self { widths: widths.to_vec(), norm }
    }

    /// Widths from input to logits.
    #[must_use]
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// Numbers that are trained.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.widths.windows(2).map(|pair| pair[0] * pair[1] + pair[1]).sum()
    }

    /// Operations of a pass forward and backward over one example, two for each weight and direction.
    #[must_use]
    pub fn flops(&self) -> f64 {
        let products = |pairs: &mut dyn Iterator<Item = &[usize]>| pairs.map(|p| p[0] * p[1]).sum::<usize>() as f64;
        // The gradient of the pixels is never asked for.
        4.0 * products(&mut self.widths.windows(2)) + 2.0 * products(&mut self.widths.windows(2).skip(1))
    }

    /// Fresh weights, as of [`MlpWeights::init`].
    #[must_use]
    pub fn init(&self, rng: &mut rand_chacha::ChaCha8Rng) -> Vec<f32> {
        let layers = MlpWeights::init(&self.widths, rng).layers;
        layers.into_iter().flat_map(|layer| layer.weight.into_iter().chain(layer.bias)).collect()
    }

    /// Logits `[examples, classes]` of pixels `[examples, inputs]`.
    #[must_use]
    pub fn logits(&self, weights: &[f32], pixels: &[f32]) -> Vec<f32> {
        self.forward(weights, pixels).pop().map_or_else(Vec::new, |layer| layer.output)
    }

    /// Mean loss and share of right answers.
    #[must_use]
    pub fn judge(&self, weights: &[f32], pixels: &[f32], labels: &[u8]) -> (f64, f64) {
        let mut logits = self.logits(weights, pixels);
        let classes = self.widths.last().copied().unwrap_or(1);
        let answers = crate::train::argmax(&logits, classes);
        let right = answers.iter().zip(labels).filter(|(a, b)| a == b).count();
        (softmax(&mut logits, labels), right as f64 / labels.len().max(1) as f64)
    }

    // ANCHOR: pass
    /// Forward, loss and backward over pixels `[examples, inputs]`.
    #[must_use]
    pub fn pass(&self, weights: &[f32], pixels: &[f32], labels: &[u8]) -> Pass {
        let mut layers = self.forward(weights, pixels);
        let examples = labels.len();
        let mut delta = layers.pop().map_or_else(Vec::new, |layer| layer.output);
        let loss = softmax(&mut delta, labels);
        let mut gradient = vec![0.0; weights.len()];
        let mut squares = vec![0.0; if self.norm == Norm::Batch { 0 } else { examples }];
        let mut at = weights.len();
        for (l, pair) in self.widths.windows(2).enumerate().rev() {
            let (inputs, outputs) = (pair[0], pair[1]);
            at -= inputs * outputs + outputs;
            let input = if l == 0 { pixels } else { &layers[l - 1].output };
            let (matrix, bias) = gradient[at..].split_at_mut(inputs * outputs);
            let delta_view = View::new(&delta, examples, outputs);
            // dW = dYᵀ X
            matrix.copy_from_slice(&product(delta_view.transposed(), View::new(input, examples, inputs)));
            for row in delta.chunks_exact(outputs) {
                bias[..outputs].iter_mut().zip(row).for_each(|(b, d)| *b += d);
            }
            // The gradient of one example is δ xᵀ, whose norm is that of a product (Goodfellow, 2015, arXiv:1510.01799).
            let rows = delta.chunks_exact(outputs).zip(input.chunks_exact(inputs));
            for (square, (d, x)) in squares.iter_mut().zip(rows) {
                *square += sum_of_squares(d) * (1.0 + sum_of_squares(x));
            }
            if l > 0 {
                // dX = dY W, through the ReLU and the normalization
                let matrix = View::new(&weights[at..], outputs, inputs);
                delta = product(delta_view, matrix);
                layers[l - 1].backward(&mut delta, inputs, self.norm);
            }
        }
        // Each δ holds 1 / examples of an example's own.
        squares.iter_mut().for_each(|square| *square *= (examples * examples) as f64);
        Pass { loss, gradient, squares }
    }
    // ANCHOR_END: pass

    /// What each layer gives.
    fn forward(&self, weights: &[f32], pixels: &[f32]) -> Vec<Layer> {
        let examples = pixels.len() / self.widths.first().copied().unwrap_or(1).max(1);
        let (mut layers, mut at): (Vec<Layer>, usize) = (Vec::new(), 0);
        for (l, pair) in self.widths.windows(2).enumerate() {
            let (inputs, outputs) = (pair[0], pair[1]);
            let input = layers.last().map_or(pixels, |layer| &layer.output);
            let matrix = View::new(&weights[at..], outputs, inputs);
            let mut output = product(View::new(input, examples, inputs), matrix.transposed());
            at += inputs * outputs;
            for row in output.chunks_exact_mut(outputs) {
                row.iter_mut().zip(&weights[at..]).for_each(|(y, b)| *y += b);
            }
            at += outputs;
            let mut layer = Layer { output, normal: Vec::new(), scales: Vec::new() };
            if l + 2 < self.widths.len() {
                layer.normalize(outputs, self.norm);
                layer.output.iter_mut().for_each(|y| *y = y.max(0.0));
            }
            layers.push(layer);
        }
        layers
    }
}

fn sum_of_squares(values: &[f32]) -> f64 {
    f64::from(values.iter().map(|v| v * v).sum::<f32>())
}

/// Mean loss of logits, which become its gradient.
fn softmax(logits: &mut [f32], labels: &[u8]) -> f64 {
    let share = 1.0 / labels.len().max(1) as f32;
    let classes = logits.len() / labels.len().max(1);
    let mut loss = 0.0;
    for (row, label) in logits.chunks_exact_mut(classes.max(1)).zip(labels) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let own = row.get(usize::from(*label)).copied().unwrap_or(largest) - largest;
        row.iter_mut().for_each(|y| *y = (*y - largest).exp());
        let sum: f32 = row.iter().sum();
        loss += f64::from(sum.ln() - own);
        row.iter_mut().for_each(|y| *y *= share / sum);
        if let Some(y) = row.get_mut(usize::from(*label)) {
            *y -= share;
        }
    }
    loss * f64::from(share)
}

/// A layer's output, and what its normalization left for the way back.
struct Layer {
    output: Vec<f32>,
    normal: Vec<f32>,
    scales: Vec<f32>,
}

/// Groups over which a normalization takes its mean: how many, how large, and the strides from group to group and within.
fn groups(norm: Norm, examples: usize, units: usize) -> (usize, usize, usize, usize) {
    match norm {
        Norm::None => (0, 0, 0, 0),
        Norm::Layer => (examples, units, units, 1),
        Norm::Batch => (units, examples, 1, units),
    }
}

impl Layer {
    fn normalize(&mut self, units: usize, norm: Norm) {
        let (count, size, far, near) = groups(norm, self.output.len() / units.max(1), units);
        for group in 0..count {
            let at = |i: usize| group * far + i * near;
            let mean = (0..size).map(|i| self.output[at(i)]).sum::<f32>() / size as f32;
            let variance = (0..size).map(|i| (self.output[at(i)] - mean).powi(2)).sum::<f32>() / size as f32;
            let scale = (variance + EPSILON).sqrt().recip();
            (0..size).for_each(|i| self.output[at(i)] = (self.output[at(i)] - mean) * scale);
            self.scales.push(scale);
        }
        if count > 0 {
            self.normal = self.output.clone();
        }
    }

    /// Takes the gradient of the output back to that of the product.
    fn backward(&self, delta: &mut [f32], units: usize, norm: Norm) {
        delta.iter_mut().zip(&self.output).filter(|(_, y)| **y <= 0.0).for_each(|(d, _)| *d = 0.0);
        let (count, size, far, near) = groups(norm, delta.len() / units.max(1), units);
        for (group, scale) in (0..count).zip(&self.scales) {
            let at = |i: usize| group * far + i * near;
            let mean = (0..size).map(|i| delta[at(i)]).sum::<f32>() / size as f32;
            let along = (0..size).map(|i| delta[at(i)] * self.normal[at(i)]).sum::<f32>() / size as f32;
            (0..size).for_each(|i| delta[at(i)] = scale * (delta[at(i)] - mean - along * self.normal[at(i)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::{Module, ModuleVisitor, Param},
        optim::GradientsParams,
        tensor::{Device, Int, Tensor, TensorData},
    };
    use rand::Rng;

    use super::*;
    use crate::{
        accumulate::{accumulate, distance, naive::gradient_in_doubles, noise_of_examples, squared_norm},
        mlp::Mlp,
        rng,
    };

    const WIDTHS: [usize; 4] = [20, 12, 9, 5];

    fn case(norm: Norm, examples: usize) -> (Shape, Vec<f32>, Vec<f32>, Vec<u8>) {
        let shape = Shape::new(&WIDTHS, norm);
        let mut rng = rng(3, "network");
        let mut weights = shape.init(&mut rng);
        weights.iter_mut().for_each(|w| *w += rng.random_range(-0.1..0.1));
        let pixels = (0..examples * WIDTHS[0]).map(|_| rng.random_range(0.0..1.0)).collect();
        let labels = (0..examples).map(|_| rng.random_range(0..5)).collect();
        (shape, weights, pixels, labels)
    }

    struct Taken<'a>(&'a GradientsParams, Vec<Vec<f32>>);
    impl ModuleVisitor for Taken<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.0.get::<D>(param.id).expect("every weight has one");
            let gradient = if D == 2 { gradient.transpose() } else { gradient };
            self.1.push(gradient.into_data().try_to_vec().expect("singles"));
        }
    }

    #[test]
    fn the_gradient_is_that_of_automatic_differentiation_and_of_doubles() {
        let (shape, weights, pixels, labels) = case(Norm::None, 7);
        let pass = shape.pass(&weights, &pixels, &labels);
        let (loss, doubles) = gradient_in_doubles(&shape, &weights, &pixels, &labels);
        assert!((pass.loss - loss).abs() < 1e-5, "{} {loss}", pass.loss);
        let singles: Vec<f32> = doubles.iter().map(|g| *g as f32).collect();
        assert!(distance(&pass.gradient, &singles).expect("not zero").relative < 1e-6);

        let device = Device::flex().autodiff();
        let mut at = 0;
        let mut plain = MlpWeights::init(&WIDTHS, &mut rng(0, "w"));
        for layer in &mut plain.layers {
            layer.weight.copy_from_slice(&weights[at..at + layer.inputs * layer.outputs]);
            at += layer.weight.len();
            layer.bias.copy_from_slice(&weights[at..at + layer.outputs]);
            at += layer.outputs;
        }
        let model = Mlp::new(&plain, &device);
        let x = Tensor::from_data(TensorData::new(pixels, [7, WIDTHS[0]]), &device);
        let y: Vec<i32> = labels.iter().map(|y| i32::from(*y)).collect();
        let y = Tensor::<1, Int>::from_data(TensorData::new(y, [7]), &device);
        let loss = crate::training::cross_entropy(model.forward(x), y);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let mut taken = Taken(&gradients, Vec::new());
        model.visit(&mut taken);
        assert!(distance(&pass.gradient, &taken.1.concat()).expect("not zero").relative < 1e-6);
    }

    #[test]
    fn normalized_gradients_agree_with_differences() {
        for norm in [Norm::Layer, Norm::Batch] {
            let (shape, weights, pixels, labels) = case(norm, 6);
            let pass = shape.pass(&weights, &pixels, &labels);
            for i in (0..weights.len()).step_by(17) {
                let step = 3e-3;
                let loss = |by: f32| {
                    let mut moved = weights.clone();
                    moved[i] += by;
                    shape.pass(&moved, &pixels, &labels).loss
                };
                let slope = (loss(step) - loss(-step)) / (2.0 * f64::from(step));
                assert!(
                    (slope - f64::from(pass.gradient[i])).abs() < 2e-3,
                    "{norm:?} {i}: {slope} {}",
                    pass.gradient[i]
                );
            }
        }
    }

    #[test]
    fn examples_have_the_norms_of_their_own_gradients_and_pieces_add_up() {
        for norm in [Norm::None, Norm::Layer] {
            let (shape, weights, pixels, labels) = case(norm, 6);
            let whole = shape.pass(&weights, &pixels, &labels);
            let single = |i: usize| shape.pass(&weights, &pixels[20 * i..20 * (i + 1)], &labels[i..=i]);
            for (i, square) in whole.squares.iter().enumerate() {
                assert!((squared_norm(&single(i).gradient) / square - 1.0).abs() < 1e-4);
            }
            let pieces: Vec<(Vec<f32>, usize)> = [(0, 4), (4, 6)]
                .map(|(from, to)| {
                    let piece = shape.pass(&weights, &pixels[20 * from..20 * to], &labels[from..to]);
                    (piece.gradient, to - from)
                })
                .to_vec();
            let sum = accumulate(&pieces).expect("pieces");
            assert!(distance(&sum, &whole.gradient).expect("not zero").relative < 1e-6);
            // Equal examples have no noise.
            let twice = shape.pass(&weights, &pixels[..20].repeat(5), &labels[..1].repeat(5));
            let none = noise_of_examples(&twice.squares, squared_norm(&twice.gradient)).expect("a gradient");
            assert!(none < 1e-4, "{none}");
        }
    }

    #[test]
    fn batch_normalization_makes_another_network_of_a_piece() {
        let (shape, weights, pixels, labels) = case(Norm::Batch, 8);
        let whole = shape.pass(&weights, &pixels, &labels);
        assert!(whole.squares.is_empty());
        let halves = [0, 4].map(|from| {
            let piece = shape.pass(&weights, &pixels[20 * from..20 * (from + 4)], &labels[from..from + 4]);
            (piece.gradient, 4)
        });
        let sum = accumulate(&halves).expect("pieces");
        assert!(distance(&sum, &whole.gradient).expect("not zero").relative > 0.1);
    }
}
