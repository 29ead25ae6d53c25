//! The fully connected classifier of glyphs.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData, activation::softmax},
    choices::Dataset,
    data::Images,
    fit::{Classifier, Plain, fit},
    mlp::{Mlp, MlpWeights, read},
    ops::{cross_entropy, dense, matmul},
    subject::{GLYPH_MLP_WIDTHS, Subject},
    train::{Training, argmax},
};
use rand::{Rng, seq::SliceRandom};

use super::{
    Method, Params, Start,
    layer::{Flow, Layer, Piece},
    network::Network,
    task::Judged,
};

/// Images that are computed together.
const BATCH: usize = 512;
/// Images in a step of training.
const STEP: usize = 64;
/// Training images whose loss decides the measured choice.
const LOSS_IMAGES: usize = 1024;
/// Learning rate of a network that has learned.
const AFTERWARDS: f64 = 1e-3;
/// Of one that starts anew.
const ANEW: f64 = 3e-3;
/// Steps of a network that starts anew.
pub(super) const ANEW_STEPS: usize = 1000;

/// Images, network, and its layers as matrices.
pub(super) struct Classifying {
    subject: Subject,
    /// What is factored: the trained layers, or fresh ones.
    pub(super) layers: Vec<Layer>,
    biases: Vec<Vec<f32>>,
    from_scratch: bool,
}

impl Classifying {
    pub(super) async fn load(params: &Params, cx: &Context) -> Result<Self, LabError> {
        let subject = Subject::to_train(Dataset::Glyphs, cx).await?;
        let from_scratch = params.start == Start::Scratch;
        let fresh = from_scratch.then(|| MlpWeights::init(&GLYPH_MLP_WIDTHS, &mut cx.rng("fresh weights")));
        let weights = fresh.as_ref().unwrap_or(subject.network(0));
        let layer = |(i, dense): (usize, &lab_kit::mlp::Dense)| {
            Layer::new(&format!("layer {}", i + 1), dense.outputs, dense.inputs, &dense.weight)
        };
        let layers = weights.layers.iter().enumerate().map(layer).collect();
        let biases = weights.layers.iter().map(|layer| layer.bias.clone()).collect();
        Ok(Self { subject, layers, biases, from_scratch })
    }

    /// Numbers in the biases, which stay as they are.
    pub(super) fn biases(&self) -> usize {
        self.biases.iter().map(Vec::len).sum()
    }

    /// What flows through the layers for training images, drawn under the run's seed.
    pub(super) async fn flows(&self, params: &Params, cx: &Context) -> Result<Vec<Flow>, LabError> {
        let (images, mut seen) = self.subject.training(0);
        seen.shuffle(&mut cx.rng("calibration"));
        seen.truncate(params.calibration as usize);
        let mut labels = cx.rng("labels");
        let mut flows: Vec<Flow> = self.layers.iter().map(|layer| Flow::new(layer.weight.columns)).collect();
        let weights = self.weights();
        let network = Mlp::new(&weights, &cx.device);
        let layers = network.layers();
        for part in seen.chunks(BATCH) {
            let mut inputs = vec![pixels(images, part, cx)];
            for (i, layer) in layers.iter().enumerate() {
                let next = dense(inputs[i].clone(), layer, i + 1 < layers.len());
                inputs.push(next);
            }
            let logits = inputs.pop();
            for (flow, x) in flows.iter_mut().zip(&inputs) {
                flow.add(x.clone()).await?;
            }
            if let (Method::TwoSided, Some(logits)) = (params.method, logits) {
                // Labels are drawn from what the network believes, so that gradients measure its own curvature.
                let mut gradient = drawn_gradient(softmax(logits, 1), &mut labels, cx).await?;
                for (i, flow) in flows.iter_mut().enumerate().rev() {
                    flow.add_gradients(gradient.clone()).await?;
                    let back = matmul(gradient, layers[i].weight.val().transpose());
                    gradient = back * inputs[i].clone().greater_elem(0.0).float();
                }
            }
            cx.checkpoint().await?;
        }
        Ok(flows.into_iter().map(Flow::finish).collect())
    }

    fn weights(&self) -> MlpWeights {
        let layer = |(layer, bias): (&Layer, &Vec<f32>)| lab_kit::mlp::Dense {
            inputs: layer.weight.columns,
            outputs: layer.weight.rows,
            weight: layer.weight.to_singles(),
            bias: bias.clone(),
        };
        MlpWeights { layers: self.layers.iter().zip(&self.biases).map(layer).collect() }
    }

    pub(super) fn network(&self, pieces: &[Piece], params: &Params, cx: &Context) -> Network {
        Network::new(&self.layers, &self.biases, pieces, params.store, &cx.device)
    }

    /// Images that judge, in rows for [`Network`].
    pub(super) fn rows(&self, count: usize, cx: &Context) -> Tensor<2> {
        let which: Vec<usize> = (0..count).map(|i| i % self.subject.images.len()).collect();
        pixels(&self.subject.images, &which, cx)
    }

    pub(super) async fn judge(&self, network: &impl Classifier, cx: &Context) -> Result<Judged, LabError> {
        judge(network, &self.subject.images, cx).await
    }

    /// The trained network as it is, whatever the factors come from.
    pub(super) async fn dense(&self, cx: &Context) -> Result<Judged, LabError> {
        self.judge(&Mlp::new(self.subject.network(0), &cx.device), cx).await
    }

    /// Mean loss on training images.
    pub(super) async fn loss(&self, network: &impl Classifier, cx: &Context) -> Result<f64, LabError> {
        let (images, seen) = self.subject.training(0);
        let step = (seen.len() / LOSS_IMAGES).max(1);
        let seen: Vec<usize> = seen.into_iter().step_by(step).collect();
        let labels: Vec<i32> = seen.iter().map(|i| i32::from(images.labels[*i])).collect();
        let labels = Tensor::from_data(TensorData::new(labels, [seen.len()]), &cx.device);
        let loss = read(cross_entropy(network.logits(pixels(images, &seen, cx)), labels)).await?;
        Ok(loss.first().copied().map_or(f64::NAN, f64::from))
    }

    /// The pieces after so many steps of training, every number of them.
    pub(super) async fn tune(&self, pieces: &[Piece], steps: usize, cx: &Context) -> Result<Judged, LabError> {
        // In plain form: the numbers that a gauge leaves out are put back by the product's freedom, not by training.
        let device = cx.device.clone().autodiff();
        let network = Network::new(&self.layers, &self.biases, pieces, super::Store::Plain, &device);
        let (steps, rate) = if self.from_scratch { (ANEW_STEPS, ANEW) } else { (steps, AFTERWARDS) };
        self.train(network, steps, rate, cx).await
    }

    /// A dense network of about so many numbers in all, trained from scratch.
    pub(super) async fn narrow(&self, numbers: usize, steps: usize, cx: &Context) -> Result<(usize, Judged), LabError> {
        let [inputs, .., outputs] = GLYPH_MLP_WIDTHS;
        let count = |width: usize| width * (inputs + 1) + width * (width + 1) + outputs * (width + 1);
        let width = (1..=GLYPH_MLP_WIDTHS[1]).rev().find(|width| count(*width) <= numbers).unwrap_or(1);
        let weights = MlpWeights::init(&[inputs, width, width, outputs], &mut cx.rng("narrow weights"));
        let network = Mlp::new(&weights, &cx.device.clone().autodiff());
        Ok((width, self.train(network, steps, ANEW, cx).await?))
    }

    async fn train<M: Classifier>(
        &self,
        network: M,
        steps: usize,
        rate: f64,
        cx: &Context,
    ) -> Result<Judged, LabError> {
        let (images, seen) = self.subject.training(0);
        let mut rng = cx.rng("order");
        let mut order: Vec<usize> = Vec::new();
        while order.len() < steps * STEP {
            let mut all = seen.clone();
            all.shuffle(&mut rng);
            order.extend(all);
        }
        order.truncate(steps * STEP);
        let how = Training { epochs: 1, batch: STEP, learning_rate: rate, ..Training::default() };
        let trained = fit(Plain(network), (images, &order), &how, &mut rng, cx, async |_, _, _| Ok(())).await?;
        self.judge(&trained.0.valid(), cx).await
    }
}

/// Right or wrong for each image, in per cent.
pub(super) async fn judge(network: &impl Classifier, images: &Images, cx: &Context) -> Result<Judged, LabError> {
    let all: Vec<usize> = (0..images.len()).collect();
    let mut values = Vec::new();
    for part in all.chunks(BATCH) {
        let logits = read(network.logits(pixels(images, part, cx))).await?;
        let right = argmax(&logits, images.class_count()).into_iter().zip(part);
        values.extend(right.map(|(answer, i)| if answer == images.labels[*i] { 100.0 } else { 0.0 }));
        cx.checkpoint().await?;
    }
    Ok(Judged { values, groups: images.groups.clone() })
}

pub(super) fn pixels(images: &Images, which: &[usize], cx: &Context) -> Tensor<2> {
    Tensor::from_data(TensorData::new(images.gather(which), [which.len(), images.pixels_each()]), &cx.device)
}

/// The gradient of each row's loss by its logits, for labels drawn from its probabilities `[rows, classes]`.
async fn drawn_gradient(probabilities: Tensor<2>, rng: &mut impl Rng, cx: &Context) -> Result<Tensor<2>, LabError> {
    let shape = probabilities.dims();
    let mut values = read(probabilities).await?;
    for row in values.chunks_exact_mut(shape[1]) {
        row[draw(row, rng)] -= 1.0;
    }
    Ok(Tensor::from_data(TensorData::new(values, shape), &cx.device))
}

/// A class drawn from these probabilities.
pub(super) fn draw(probabilities: &[f32], rng: &mut impl Rng) -> usize {
    let mut left: f32 = rng.random_range(0.0..1.0);
    let found = probabilities.iter().position(|p| {
        left -= p;
        left < 0.0
    });
    found.unwrap_or(probabilities.len().saturating_sub(1))
}
