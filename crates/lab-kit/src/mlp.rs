//! The multilayer perceptron of the digit labs: plain numbers that every platform shares, and the same as a Burn module.

use burn::{
    module::{Module, Param},
    nn::Linear,
    tensor::{Device, Tensor, TensorData},
};
use lab_api::LabError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

pub use lab_kernels::Dense;

use crate::ops::dense;

/// Layers with ReLU between them, as plain numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct MlpWeights {
    /// From input to logits.
    pub layers: Vec<Dense>,
}

impl MlpWeights {
    /// Fresh weights for the given widths (input first): uniform in `±sqrt(6 / inputs)` (He et al., 2015,
    /// arXiv:1502.01852), biases zero. Drawn on the CPU, so that every device starts from the same model.
    #[must_use]
    pub fn init(widths: &[usize], rng: &mut ChaCha8Rng) -> Self {
        let layer = |pair: &[usize]| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let bound = (6.0 / inputs as f32).sqrt();
            let weight = (0..inputs * outputs).map(|_| rng.random_range(-bound..bound)).collect();
            Dense { inputs, outputs, weight, bias: vec![0.0; outputs] }
        };
        Self { layers: widths.windows(2).map(layer).collect() }
    }

    /// Numbers in it, biases included.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.weight.len() + layer.bias.len()).sum()
    }

    /// Bytes of all weights and biases as FP32.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<f32>() * self.parameters()
    }

    /// Multiplications and additions of one image, two for each weight.
    #[must_use]
    pub fn flops(&self) -> usize {
        self.layers.iter().map(|layer| 2 * layer.weight.len()).sum()
    }
}

/// The same network on a device.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    /// Puts the weights on a device.
    #[must_use]
    pub fn new(weights: &MlpWeights, device: &Device) -> Self {
        let linear = |layer: &Dense| {
            // Burn keeps [inputs, outputs].
            let weight = transpose(&layer.weight, layer.outputs, layer.inputs);
            let weight = TensorData::new(weight, [layer.inputs, layer.outputs]);
            let bias = TensorData::new(layer.bias.clone(), [layer.outputs]);
            Linear {
                weight: Param::from_tensor(Tensor::from_data(weight, device)),
                bias: Some(Param::from_tensor(Tensor::from_data(bias, device))),
            }
        };
        Self { layers: weights.layers.iter().map(linear).collect() }
    }

    /// Logits `[batch, outputs]` of inputs `[batch, inputs]`.
    #[must_use]
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len().saturating_sub(1);
        self.layers.iter().enumerate().fold(input, |x, (i, layer)| dense(x, layer, i < last))
    }

    /// The layers, for labs that have a forward pass of their own.
    #[must_use]
    pub fn layers(&self) -> &[Linear] {
        &self.layers
    }

    /// Reads the weights back.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails.
    pub async fn weights(&self) -> Result<MlpWeights, LabError> {
        let mut layers = Vec::new();
        for layer in &self.layers {
            let [inputs, outputs] = layer.weight.dims();
            let weight = transpose(&read(layer.weight.val()).await?, inputs, outputs);
            let bias = match &layer.bias {
                Some(bias) => read(bias.val()).await?,
                None => vec![0.0; outputs],
            };
            layers.push(Dense { inputs, outputs, weight, bias });
        }
        Ok(MlpWeights { layers })
    }
}

/// Reads a tensor back without blocking: in a browser nothing else is allowed.
///
/// # Errors
/// [`LabError::Device`] when the device fails or the tensor does not hold 32-bit floats.
pub async fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, LabError> {
    let device = |why: String| LabError::Device { why };
    let data = tensor.into_data_async().await.map_err(|error| device(error.to_string()))?;
    data.try_into_vec().map_err(|error| device(format!("{error:?}")))
}

/// `[rows, columns]` to `[columns, rows]`.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect()
}
