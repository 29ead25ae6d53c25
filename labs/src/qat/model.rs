//! The digit network whose forward pass is quantized while its weights are not.

use lab_api::LabError;
use lab_kit::{
    // `Module`'s derive writes paths that begin with `burn`.
    burn::{
        self,
        module::{Module, Param},
        tensor::{Device, Tensor, activation::relu},
    },
    matmul,
    mlp::{Mlp, MlpWeights},
    quant::{
        Activations, Calibration, InputGrid, PackedMatrix, QuantizedLayer, QuantizedMlp, Settings,
        fake::{FakeGrid, MovingRange, fake_quantize},
        fit_grids, min_max, naive,
    },
};

/// Bits of an activation.
const ACTIVATION_BITS: u32 = 8;

/// How the range of a weight grid is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// It follows the extremes of the weights, anew at every step.
    MinMax,
    /// The one with the least squared error for the weights before training; then it stays.
    Mse,
    /// It starts there and is learned with the weights.
    Learned,
}

impl Range {
    /// How it is found without training.
    fn calibration(self) -> Calibration {
        match self {
            Self::MinMax => Calibration::MinMax,
            Self::Mse | Self::Learned => Calibration::Mse,
        }
    }
}

/// What the optimizer changes: weights and biases in FP32 and, where ranges are learned, one number for each scale.
#[derive(Module, Debug)]
pub struct Parameters {
    /// Master weights.
    network: Mlp,
    /// For each layer the natural logarithm of what its scales are multiplied by, `[1, scales]`: 0 at first. A logarithm
    /// cannot make a scale negative, and a step of the optimizer changes every scale in proportion.
    stretch: Vec<Param<Tensor<2>>>,
}

/// What a network needs besides its parameters to be quantized on the way forward.
#[derive(Debug, Clone)]
pub struct Quantizers {
    settings: Settings,
    range: Range,
    /// Grids of each layer's weights before training.
    start: Vec<FakeGrid>,
    /// Range of each layer's inputs.
    inputs: Vec<MovingRange>,
}

impl Quantizers {
    /// Grids for a trained network; `examples` (`[images, inputs]`) show its activations.
    #[must_use]
    pub fn new(network: &MlpWeights, settings: &Settings, range: Range, examples: &[f32], device: &Device) -> Self {
        let outputs = naive::layer_outputs(&network.layers, examples);
        let mut quantizers = Self { settings: *settings, range, start: Vec::new(), inputs: Vec::new() };
        for (i, layer) in network.layers.iter().enumerate() {
            let grids = fit_grids(&layer.weight, layer.inputs, settings, range.calibration());
            quantizers.start.push(FakeGrid::from_grids(settings.scheme, settings.bits, &grids, device));
            let (min, max) = min_max(if i == 0 { examples } else { &outputs[i - 1] });
            // Behind a ReLU nothing is negative.
            quantizers.inputs.push(MovingRange::new(if i == 0 { min } else { 0.0 }, max, device));
        }
        quantizers
    }
}

impl Parameters {
    /// The parameters of a trained network, as training finds them.
    #[must_use]
    pub fn new(network: &MlpWeights, quantizers: &Quantizers, device: &Device) -> Self {
        let stretch = |grid: &FakeGrid| Param::from_tensor(Tensor::zeros(grid.scale.dims(), device));
        let learned = quantizers.range == Range::Learned;
        Self {
            network: Mlp::new(network, device),
            stretch: if learned { quantizers.start.iter().map(stretch).collect() } else { Vec::new() },
        }
    }

    // ANCHOR: weight_grid
    /// The grid of a layer's weights as they are now.
    fn weight_grid(&self, i: usize, quantizers: &Quantizers) -> FakeGrid {
        let Settings { scheme, bits, .. } = quantizers.settings;
        let start = &quantizers.start[i];
        match quantizers.range {
            Range::MinMax => {
                let per_channel = start.scale.dims()[1] > 1;
                FakeGrid::of_weight(scheme, bits, self.network.layers()[i].weight.val(), per_channel)
            }
            Range::Mse => start.clone(),
            Range::Learned => {
                let scale = self.stretch[i].val().exp() * start.scale.clone();
                FakeGrid { scale, ..start.clone() }
            }
        }
    }
    // ANCHOR_END: weight_grid

    // ANCHOR: quantized_forward
    /// Logits `[batch, classes]` of pixels `[batch, pixels]`, with weights and activations rounded on the way.
    #[must_use]
    pub fn forward(&self, pixels: Tensor<2>, quantizers: &mut Quantizers, training: bool) -> Tensor<2> {
        let layers = self.network.layers();
        let mut x = pixels;
        for (i, layer) in layers.iter().enumerate() {
            if training {
                quantizers.inputs[i].observe(x.clone());
            }
            let x_hat = fake_quantize(x, &quantizers.inputs[i].grid(ACTIVATION_BITS)); // [batch, inputs]
            let w_hat = fake_quantize(layer.weight.val(), &self.weight_grid(i, quantizers)); // [inputs, outputs]
            let mut y = matmul(x_hat, w_hat); // [batch, outputs]
            if let Some(bias) = &layer.bias {
                y = y + bias.val().unsqueeze();
            }
            x = if i + 1 < layers.len() { relu(y) } else { y };
        }
        x
    }
    // ANCHOR_END: quantized_forward

    // ANCHOR: deploy
    /// The network that is shipped: weights packed on the grids they were trained for, activation ranges frozen.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails.
    pub async fn deploy(&self, quantizers: &Quantizers) -> Result<QuantizedMlp, LabError> {
        let mut layers = Vec::new();
        for (i, layer) in self.network.weights().await?.layers.into_iter().enumerate() {
            let grids = self.weight_grid(i, quantizers).grids().await?;
            let weight = PackedMatrix::with_grids(&layer.weight, layer.inputs, &quantizers.settings, &grids);
            let input = quantizers.inputs[i].grid(ACTIVATION_BITS).grids().await?;
            let input = input.first().map_or(InputGrid::Fp32, |grid| InputGrid::Static(*grid));
            layers.push(QuantizedLayer { weight, bias: layer.bias, input });
        }
        Ok(QuantizedMlp { layers })
    }
    // ANCHOR_END: deploy

    /// The master weights.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails.
    pub async fn master(&self) -> Result<MlpWeights, LabError> {
        self.network.weights().await
    }
}

// ANCHOR: plain_forward
/// Logits `[batch, classes]` of pixels `[batch, pixels]`, in FP32.
#[must_use]
pub fn plain_forward(network: &Mlp, pixels: Tensor<2>) -> Tensor<2> {
    let layers = network.layers();
    let mut x = pixels;
    for (i, layer) in layers.iter().enumerate() {
        let mut y = x.matmul(layer.weight.val()); // [batch, outputs]
        if let Some(bias) = &layer.bias {
            y = y + bias.val().unsqueeze();
        }
        x = if i + 1 < layers.len() { relu(y) } else { y };
    }
    x
}
// ANCHOR_END: plain_forward

/// The same network quantized after training: the same grids, no training through them.
#[must_use]
pub fn post_training(network: &MlpWeights, settings: &Settings, range: Range, examples: &[f32]) -> QuantizedMlp {
    let settings = Settings { activations: Activations::Static(Calibration::MinMax), ..*settings };
    let mut quantized = QuantizedMlp::quantize(network, &settings, examples);
    for (to, from) in quantized.layers.iter_mut().zip(&network.layers) {
        let grids = fit_grids(&from.weight, from.inputs, &settings, range.calibration());
        to.weight = PackedMatrix::with_grids(&from.weight, from.inputs, &settings, &grids);
    }
    quantized
}
