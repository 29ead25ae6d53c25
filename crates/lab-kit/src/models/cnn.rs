//! A small convolutional classifier of square grey images.

use burn::{
    module::{Module, Param},
    nn::{
        Linear, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, activation::relu, module::max_pool2d, ops::MaxPoolOptions},
};
use lab_api::LabError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::StateDict;

/// Side of every kernel; the border is padded with zeros, so that a convolution keeps the image's size.
const KERNEL: usize = 3;

/// Sizes of the network: blocks of convolution, ReLU and 2x2 max-pooling, then one linear layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CnnConfig {
    /// Width and height of an image.
    pub side: usize,
    /// Channels of each block. Each block halves the side.
    pub channels: Vec<usize>,
    /// Kinds of image.
    pub classes: usize,
}

impl CnnConfig {
    /// Refuses sizes that make no network.
    ///
    /// # Errors
    /// [`LabError::Refused`] with the offending size.
    pub fn check(&self) -> Result<(), LabError> {
        let refuse = |why: String| Err(LabError::Refused { why });
        if self.classes == 0 || self.channels.is_empty() || self.channels.contains(&0) {
            return refuse(format!("{self:?} makes no network: blocks, channels and classes must be 1 or more"));
        }
        if self.pooled_side() == 0 {
            let most = self.side.checked_ilog2().unwrap_or(0);
            return refuse(format!(
                "{} blocks halve an image of {} pixels to nothing: {most} at most",
                self.channels.len(),
                self.side
            ));
        }
        Ok(())
    }

    /// Side of the last feature map.
    fn pooled_side(&self) -> usize {
        u32::try_from(self.channels.len()).ok().and_then(|blocks| self.side.checked_shr(blocks)).unwrap_or(0)
    }

    /// Numbers that the linear layer sees.
    fn features(&self) -> usize {
        self.channels.last().copied().unwrap_or(0) * self.pooled_side() * self.pooled_side()
    }

    /// Channels into and out of each block, and the side of its images.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.channels.iter().enumerate().map(|(i, outputs)| {
            let inputs = if i == 0 { 1 } else { self.channels[i - 1] };
            (inputs, *outputs, self.side >> i)
        })
    }

    /// Names and shapes of all weights, as PyTorch has them.
    #[must_use]
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Vec::new();
        for (i, (inputs, outputs, _)) in self.blocks().enumerate() {
            shapes.push((format!("conv.{i}.weight"), vec![outputs, inputs, KERNEL, KERNEL]));
            shapes.push((format!("conv.{i}.bias"), vec![outputs]));
        }
        shapes.push(("head.weight".to_owned(), vec![self.classes, self.features()]));
        shapes.push(("head.bias".to_owned(), vec![self.classes]));
        shapes
    }

    /// Numbers in it, biases included.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.shapes().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Multiplications and additions of one image, two for each weight at each place (the padded border included, as it
    /// is computed); biases, ReLU and pooling are left out.
    #[must_use]
    pub fn flops(&self) -> usize {
        let conv =
            |(inputs, outputs, side): (usize, usize, usize)| 2 * KERNEL * KERNEL * inputs * outputs * side * side;
        self.blocks().map(conv).sum::<usize>() + 2 * self.features() * self.classes
    }

    /// Fresh weights: uniform in `±sqrt(6 / inputs)` (He et al., arXiv:1502.01852), biases zero. Drawn on the CPU, so that
    /// every device starts from the same model.
    #[must_use]
    pub fn init(&self, rng: &mut ChaCha8Rng) -> StateDict {
        let mut state = StateDict::default();
        for (name, shape) in self.shapes() {
            let count = shape.iter().product();
            let inputs: usize = shape.iter().skip(1).product();
            let bound = (6.0 / inputs as f32).sqrt();
            let values = if shape.len() == 1 {
                vec![0.0; count]
            } else {
                (0..count).map(|_| rng.random_range(-bound..bound)).collect()
            };
            // The shape is the product's own, so that this cannot fail.
            let _ = state.insert(&name, &shape, values);
        }
        state
    }
}

/// The network on a device.
#[derive(Module, Debug)]
pub struct Cnn {
    conv: Vec<Conv2d>,
    head: Linear,
}

impl Cnn {
    /// Puts the weights on a device; one from [`Device::autodiff`] makes a network that can be trained.
    ///
    /// # Errors
    /// [`LabError::Refused`] for sizes that make no network, [`LabError::Asset`] when a weight is missing, left over or of
    /// another shape.
    pub fn new(config: &CnnConfig, weights: &StateDict, source: &str, device: &Device) -> Result<Self, LabError> {
        config.check()?;
        let conv = |(inputs, outputs, _)| {
            Conv2dConfig::new([inputs, outputs], [KERNEL, KERNEL]).with_padding(PaddingConfig2d::Same).init(device)
        };
        let head = Linear {
            weight: Param::from_tensor(Tensor::zeros([config.features(), config.classes], device)),
            bias: Some(Param::from_tensor(Tensor::zeros([config.classes], device))),
        };
        weights.load_into(Self { conv: config.blocks().map(conv).collect(), head }, source, device)
    }

    /// Logits `[B, classes]` of images `[B, side · side]`.
    #[must_use]
    pub fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let [b, pixels] = images.dims();
        let side = pixels.isqrt();
        let x = self.conv.iter().fold(images.reshape([b, 1, side, side]), |x, conv| {
            let x = relu(conv.forward(x)); // [B, channels, side, side]
            max_pool2d(x, MaxPoolOptions::new([2, 2])) // [B, channels, side / 2, side / 2]
        });
        self.head.forward(x.flatten::<2>(1, 3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mlp::read, testing::ready};

    fn tiny() -> CnnConfig {
        CnnConfig { side: 6, channels: vec![2, 3], classes: 4 }
    }

    #[test]
    fn counts_agree_with_a_count_by_hand() {
        // 9·1·2 + 2, 9·2·3 + 3, then 3 channels of 1x1 to 4 classes with 4 biases.
        assert_eq!(tiny().parameters(), 20 + 57 + 16);
        // 6x6 places of 9·1·2 weights, 3x3 places of 9·2·3, and 12.
        assert_eq!(tiny().flops(), 2 * (36 * 18 + 9 * 54 + 12));
        assert_eq!(tiny().init(&mut crate::rng(0, "w")).parameters(), tiny().parameters());
    }

    #[test]
    fn the_network_equals_its_formula() {
        let (config, device) = (tiny(), Device::flex());
        let state = config.init(&mut crate::rng(0, "weights"));
        let mut rng = crate::rng(0, "image");
        let image: Vec<f32> = (0..36).map(|_| rng.random()).collect();
        let model = Cnn::new(&config, &state, "a test", &device).expect("fits");
        let input = Tensor::<1>::from_floats(image.as_slice(), &device).reshape([1, 36]);
        let logits = ready(read(model.forward(input))).expect("runs");

        let mut maps = vec![image];
        for (i, (inputs, outputs, side)) in config.blocks().enumerate() {
            let weight = &state.get(&format!("conv.{i}.weight")).expect("there").values;
            let at = |map: &[f32], y: isize, x: isize| {
                let inside = |p: isize| usize::try_from(p).ok().filter(|p| *p < side);
                inside(y).zip(inside(x)).map_or(0.0, |(y, x)| map[y * side + x])
            };
            let pixel = |o: usize, y: usize, x: usize| {
                let mut sum = 0.0;
                for c in 0..inputs {
                    for k in 0..9 {
                        let (dy, dx) = (y as isize + k as isize / 3 - 1, x as isize + k as isize % 3 - 1);
                        sum += weight[(o * inputs + c) * 9 + k] * at(&maps[c], dy, dx);
                    }
                }
                sum.max(0.0)
            };
            let half = side / 2;
            let pooled = |o: usize, y: usize, x: usize| {
                let corner = |k: usize| pixel(o, 2 * y + k / 2, 2 * x + k % 2);
                (0..4).map(corner).fold(0.0, f32::max)
            };
            maps = (0..outputs).map(|o| (0..half * half).map(|p| pooled(o, p / half, p % half)).collect()).collect();
        }
        let head = &state.get("head.weight").expect("there").values;
        for (class, logit) in logits.iter().enumerate() {
            let expected: f32 = maps.iter().flatten().zip(&head[class * 3..]).map(|(x, w)| x * w).sum();
            // Sums of at most 18 terms of about 1, in another order.
            assert!((logit - expected).abs() < 1e-5, "{logit} {expected}");
        }
    }

    #[test]
    fn sizes_that_vanish_are_refused() {
        let why = CnnConfig { channels: vec![1; 3], ..tiny() }.check().expect_err("refused").to_string();
        assert!(why.contains("2 at most"), "{why}");
        assert!(CnnConfig { channels: vec![], ..tiny() }.check().is_err());
    }
}
