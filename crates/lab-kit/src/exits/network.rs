//! A convolutional classifier with an answer after each block, and other things that can be run stage by stage.

use burn::{
    module::{Module, Param},
    nn::{
        Linear, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, activation::relu, module::max_pool2d, ops::MaxPoolOptions},
};
use lab_api::LabError;
use rand_chacha::ChaCha8Rng;

use crate::{
    fit::Classifier,
    models::{CnnConfig, StateDict},
    ops::dense,
    prune::Net,
};

/// What answers stage by stage. States and logits are rows, so that those who leave are rows that are not selected.
pub trait Staged {
    /// How many exits.
    fn exits(&self) -> usize;
    /// From the state `[B, ...]` before an exit (at the first, the pixels) to the state after it and its logits
    /// `[B, classes]`.
    fn stage(&self, exit: usize, state: Tensor<2>) -> (Tensor<2>, Tensor<2>);
    /// The last exit's logits of pixels `[B, pixels]`, with nothing asked on the way.
    fn whole(&self, pixels: Tensor<2>) -> Tensor<2>;
}

/// Sizes of a network with exits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitConfig {
    /// The network that the exits hang on; the last exit is its own head.
    pub cnn: CnnConfig,
    /// Width and height to which an exit's feature map is averaged before its linear layer; the last is left as it is.
    pub head_side: usize,
}

impl ExitConfig {
    /// Side of the map that an exit's linear layer sees.
    fn side(&self, exit: usize) -> usize {
        let side = self.cnn.side >> (exit + 1);
        if exit + 1 < self.cnn.channels.len() { side.min(self.head_side.max(1)) } else { side }
    }

    /// Numbers that an exit's linear layer sees.
    #[must_use]
    pub fn features(&self, exit: usize) -> usize {
        self.cnn.channels.get(exit).map_or(0, |channels| channels * self.side(exit) * self.side(exit))
    }

    /// Multiplications of an input that leaves at each exit: the blocks so far, and the heads that were asked.
    #[must_use]
    pub fn costs(&self) -> Vec<f64> {
        let mut sum = 0;
        let through = |(exit, (inputs, outputs, side)): (usize, (usize, usize, usize))| {
            sum += 9 * inputs * outputs * side * side + self.features(exit) * self.cnn.classes;
            sum as f64
        };
        self.cnn.blocks().enumerate().map(through).collect()
    }

    /// Numbers in the heads that the network would not have without exits, biases included.
    #[must_use]
    pub fn added_parameters(&self) -> usize {
        (0..self.cnn.channels.len().saturating_sub(1)).map(|exit| (self.features(exit) + 1) * self.cnn.classes).sum()
    }

    /// Fresh weights: blocks and last head as the network's own, zeros in the heads before it.
    ///
    /// # Errors
    /// None for sizes that make a network.
    pub fn init(&self, rng: &mut ChaCha8Rng) -> Result<StateDict, LabError> {
        self.around(&self.cnn.init(rng))
    }

    /// The weights of a network without exits, with zeros in the heads that it lacks.
    ///
    /// # Errors
    /// [`LabError::Asset`] for a network of other sizes.
    pub fn around(&self, weights: &StateDict) -> Result<StateDict, LabError> {
        let mut state = StateDict::default();
        let last = self.cnn.channels.len().saturating_sub(1);
        for (name, weight) in weights.iter() {
            let name = name.replace("head.", &format!("heads.{last}."));
            state.insert(&name, &weight.shape, weight.values.clone())?;
        }
        for exit in 0..last {
            let (features, classes) = (self.features(exit), self.cnn.classes);
            state.insert(&format!("heads.{exit}.weight"), &[classes, features], vec![0.0; classes * features])?;
            state.insert(&format!("heads.{exit}.bias"), &[classes], vec![0.0; classes])?;
        }
        Ok(state)
    }
}

/// The network on a device.
#[derive(Module, Debug)]
pub struct MultiExit {
    conv: Vec<Conv2d>,
    heads: Vec<Linear>,
    /// Side of the map that each head sees.
    #[module(skip)]
    sides: Vec<usize>,
    /// Channels into each block, and the side of its images.
    #[module(skip)]
    blocks: Vec<(usize, usize)>,
}

/// A linear layer of zeros.
pub(super) fn zeros(features: usize, classes: usize, device: &Device) -> Linear {
    Linear {
        weight: Param::from_tensor(Tensor::zeros([features, classes], device)),
        bias: Some(Param::from_tensor(Tensor::zeros([classes], device))),
    }
}

impl MultiExit {
    /// Puts the weights on a device; one from [`Device::autodiff`] makes a network that can be trained.
    ///
    /// # Errors
    /// As [`Cnn::new`](crate::models::Cnn::new).
    pub fn new(config: &ExitConfig, weights: &StateDict, source: &str, device: &Device) -> Result<Self, LabError> {
        config.cnn.check()?;
        let conv = |(inputs, outputs, _)| {
            Conv2dConfig::new([inputs, outputs], [3, 3]).with_padding(PaddingConfig2d::Same).init(device)
        };
        let exits = 0..config.cnn.channels.len();
        let network = Self {
            conv: config.cnn.blocks().map(conv).collect(),
            heads: exits.clone().map(|exit| zeros(config.features(exit), config.cnn.classes, device)).collect(),
            sides: exits.map(|exit| config.side(exit)).collect(),
            blocks: config.cnn.blocks().map(|(inputs, _, side)| (inputs, side)).collect(),
        };
        weights.load_into(network, source, device)
    }

    /// The map after a block `[B, channels · side / 2 · side / 2]`, of the map before it.
    fn block(&self, exit: usize, state: Tensor<2>) -> Tensor<4> {
        let ([b, _], (channels, side)) = (state.dims(), self.blocks[exit]);
        let x = relu(self.conv[exit].forward(state.reshape([b, channels, side, side])));
        max_pool2d(x, MaxPoolOptions::new([2, 2]))
    }

    /// What a head sees of a map: means over squares.
    fn pooled(&self, exit: usize, x: Tensor<4>) -> Tensor<2> {
        let ([b, c, h, _], side) = (x.dims(), self.sides[exit]);
        let f = h / side;
        if f <= 1 {
            return x.flatten::<2>(1, 3);
        }
        let x = x.reshape([b * c * side, f, side, f]); // rows and columns in squares of f x f
        x.mean_dim(1).mean_dim(3).reshape([b, c * side * side])
    }

    /// The network's own head.
    pub(super) fn last_head(&self) -> Option<&Linear> {
        self.heads.last()
    }

    // ANCHOR: features
    /// What every head sees of pixels `[B, pixels]`: `[B, features]` for each exit.
    #[must_use]
    pub fn features(&self, pixels: Tensor<2>) -> Vec<Tensor<2>> {
        let (mut state, mut seen) = (pixels, Vec::new());
        for exit in 0..self.conv.len() {
            let x = self.block(exit, state);
            seen.push(self.pooled(exit, x.clone()));
            state = x.flatten::<2>(1, 3);
        }
        seen
    }
    // ANCHOR_END: features

    /// Logits `[B, classes]` of every exit.
    #[must_use]
    pub fn all(&self, pixels: Tensor<2>) -> Vec<Tensor<2>> {
        let seen = self.features(pixels).into_iter();
        seen.zip(&self.heads).map(|(x, head)| dense(x, head, false)).collect()
    }
}

impl Staged for MultiExit {
    fn exits(&self) -> usize {
        self.heads.len()
    }

    fn stage(&self, exit: usize, state: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let x = self.block(exit, state);
        let logits = dense(self.pooled(exit, x.clone()), &self.heads[exit], false);
        (x.flatten::<2>(1, 3), logits)
    }

    fn whole(&self, pixels: Tensor<2>) -> Tensor<2> {
        let last = self.conv.len().saturating_sub(1);
        let mut state = pixels;
        for exit in 0..last {
            state = self.block(exit, state).flatten::<2>(1, 3);
        }
        self.stage(last, state).1
    }
}

impl Classifier for MultiExit {
    fn logits(&self, pixels: Tensor<2>) -> Tensor<2> {
        self.whole(pixels)
    }
}

/// Networks that know nothing of each other, asked one after the other.
#[derive(Debug)]
pub struct Cascade(pub Vec<Net>);

impl Staged for Cascade {
    fn exits(&self) -> usize {
        self.0.len()
    }

    fn stage(&self, exit: usize, state: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let logits = self.0[exit].logits(state.clone());
        (state, logits)
    }

    fn whole(&self, pixels: Tensor<2>) -> Tensor<2> {
        self.stage(self.0.len().saturating_sub(1), pixels).1
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rand::Rng;

    use super::*;
    use crate::{mlp::read, models::Cnn, rng, testing::ready};

    pub(crate) fn tiny() -> ExitConfig {
        ExitConfig { cnn: CnnConfig { side: 8, channels: vec![3, 4], classes: 5 }, head_side: 2 }
    }

    /// Weights with something in every head.
    pub(crate) fn filled(config: &ExitConfig) -> StateDict {
        let mut state = config.init(&mut rng(0, "weights")).expect("fits");
        let mut rng = rng(1, "heads");
        for name in ["heads.0.weight", "heads.0.bias"] {
            let values = &mut state.get_mut(name).expect("there").values;
            values.iter_mut().for_each(|w| *w = rng.random_range(-1.0..1.0));
        }
        state
    }

    pub(crate) fn pixels(count: usize, device: &Device) -> Tensor<2> {
        let mut rng = rng(2, "images");
        let values: Vec<f32> = (0..count * 64).map(|_| rng.random()).collect();
        Tensor::<1>::from_floats(values.as_slice(), device).reshape([count, 64])
    }

    #[test]
    fn costs_are_those_of_the_book() {
        let teacher = crate::models::GlyphClassifier::teacher().config;
        let config = ExitConfig { cnn: teacher, head_side: 4 };
        assert_eq!(config.costs(), [97_792.0, 1_325_568.0, 2_529_280.0]);
        assert_eq!(config.added_parameters(), 24_111 + 48_175);
        let small = ExitConfig { head_side: 2, ..config };
        assert_eq!((small.features(0) * 47, small.features(1) * 47, small.features(2)), (6_016, 12_032, 512));
    }

    #[test]
    fn the_last_exit_is_the_network_and_the_first_averages_squares() {
        let (config, device) = (tiny(), Device::flex());
        let state = filled(&config);
        let network = MultiExit::new(&config, &state, "a test", &device).expect("fits");
        let mut plain = StateDict::default();
        for (name, weight) in state.iter().filter(|(name, _)| !name.starts_with("heads.0")) {
            plain.insert(&name.replace("heads.1", "head"), &weight.shape, weight.values.clone()).expect("fits");
        }
        let cnn = Cnn::new(&config.cnn, &plain, "a test", &device).expect("fits");
        assert_eq!(config.around(&plain).expect("fits").parameters(), state.parameters());
        let images = pixels(7, &device);
        let own = ready(read(cnn.forward(images.clone()))).expect("runs");
        let all = network.all(images.clone());
        assert_eq!(ready(read(all[1].clone())).expect("runs"), own);
        assert_eq!(ready(read(network.whole(images.clone()))).expect("runs"), own);
        // Stage by stage the same.
        let (after, first) = network.stage(0, images.clone());
        let (_, second) = network.stage(1, after.clone());
        assert_eq!(ready(read(first)).expect("runs"), ready(read(all[0].clone())).expect("runs"));
        assert_eq!(ready(read(second)).expect("runs"), own);
        // Means over 2x2 of the 4x4 map, by hand.
        let map = ready(read(after)).expect("runs");
        let seen = ready(read(network.features(images)[0].clone())).expect("runs");
        for image in 0..7 {
            for channel in 0..3 {
                for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    let at = |dy: usize, dx: usize| map[image * 48 + channel * 16 + (2 * y + dy) * 4 + 2 * x + dx];
                    let mean = (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4.0;
                    assert!((mean - seen[image * 12 + channel * 4 + 2 * y + x]).abs() < 1e-6);
                }
            }
        }
    }
}
