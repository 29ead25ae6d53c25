//! What a network costs on paper, layer by layer: exact, and the same on every device.

use lab_layers::blocks::{Conv, Op};

/// What a layer's arithmetic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A window over all channels.
    Plain,
    /// A mix of channels, place by place; the classifier is one.
    Pointwise,
    /// Either of them in groups.
    Grouped,
    /// A window over each channel alone.
    Depthwise,
    /// Squeeze and excitation.
    Gate,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Plain, Self::Pointwise, Self::Grouped, Self::Depthwise, Self::Gate];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "3×3",
            Self::Pointwise => "1×1",
            Self::Grouped => "in groups",
            Self::Depthwise => "depthwise",
            Self::Gate => "squeeze-excite",
        }
    }

    /// Of a convolution.
    #[must_use]
    pub fn of(conv: &Conv) -> Self {
        if conv.is_depthwise() {
            Self::Depthwise
        } else if conv.groups > 1 {
            Self::Grouped
        } else if conv.taps() == 1 {
            Self::Pointwise
        } else {
            Self::Plain
        }
    }
}

/// A layer with weights, for one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layer {
    /// Its arithmetic.
    pub kind: Kind,
    /// The convolution, where it is one.
    pub conv: Option<Conv>,
    /// Height and width of what comes in.
    pub size: [usize; 2],
    /// Multiply-adds; those with the padding are counted, as is usual.
    pub madds: usize,
    /// Weights, with the two of each channel's normalization.
    pub weights: usize,
    /// Numbers that come in.
    pub read: usize,
    /// Numbers that go out.
    pub written: usize,
}

impl Layer {
    /// Operations for each byte that has to move, in FP32, for one image.
    #[must_use]
    pub fn intensity(&self) -> f64 {
        2.0 * self.madds as f64 / (4 * (self.read + self.written + self.weights)).max(1) as f64
    }
}

/// Sums over layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Multiply-adds for one image.
    pub madds: usize,
    /// Weights.
    pub weights: usize,
    /// Numbers that convolutions put out for one image, without the classifier's.
    pub activations: usize,
    /// Layers with weights, one after the other: each waits for the one before.
    pub layers: usize,
}

// ANCHOR: count
/// The layers of a network on images of `side` × `side`, in order.
#[must_use]
pub fn count(ops: &[Op], side: usize) -> Vec<Layer> {
    let mut layers = Vec::new();
    walk(ops, [side; 2], &mut layers);
    layers
}

fn walk(ops: &[Op], mut size: [usize; 2], layers: &mut Vec<Layer>) -> [usize; 2] {
    for op in ops {
        match op {
            Op::Conv(conv) => {
                let [height, width] = conv.size(size[0], size[1]);
                layers.push(Layer {
                    kind: Kind::of(conv),
                    conv: Some(*conv),
                    size,
                    // Each output is a sum over the window and the channels of its group.
                    madds: height * width * conv.kernel_len(),
                    weights: conv.weights(),
                    read: size[0] * size[1] * conv.inputs,
                    written: height * width * conv.outputs,
                });
                size = [height, width];
            }
            Op::Norm(norm) => {
                if let Some(layer) = layers.last_mut() {
                    layer.weights += 2 * norm.channels;
                }
            }
            Op::Excite(excite) => layers.push(Layer {
                kind: Kind::Gate,
                conv: None,
                size,
                madds: 2 * excite.channels * excite.inner,
                weights: excite.weights(),
                read: size[0] * size[1] * excite.channels,
                written: size[0] * size[1] * excite.channels,
            }),
            Op::Shuffle(_) => {}
            Op::Mean => size = [1, 1],
            Op::Skip(ops) => size = walk(ops, size, layers),
            Op::Join(one, other) => {
                walk(one, size, layers);
                size = walk(other, size, layers);
            }
        }
    }
    size
}
// ANCHOR_END: count

/// All of a network.
#[must_use]
pub fn totals(ops: &[Op], side: usize) -> Totals {
    let layers = count(ops, side);
    let before_last = &layers[..layers.len().saturating_sub(1)];
    Totals {
        madds: layers.iter().map(|layer| layer.madds).sum(),
        weights: layers.iter().map(|layer| layer.weights).sum(),
        activations: before_last.iter().filter(|layer| layer.conv.is_some()).map(|layer| layer.written).sum(),
        layers: layers.len(),
    }
}

/// Numbers that a mix of `c` channels to `n` in `places` places moves at least, in groups (Ma et al., 2018, arXiv:1807.11164):
/// inputs, outputs and weights.
#[must_use]
pub fn traffic(places: usize, c: usize, n: usize, groups: usize) -> usize {
    places * (c + n) + c * n / groups.max(1)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Family, Options, Shape, naive},
        *,
    };

    fn of(conv: Conv, side: usize) -> Layer {
        count(&[Op::Conv(conv)], side)[0]
    }

    #[test]
    fn published_and_hand_made_counts() {
        let plain = of(Conv::plain(32, 64, 3, 1), 16);
        let (each, mix) = (of(Conv::depthwise(32, 3, 1), 16), of(Conv::plain(32, 64, 1, 1), 16));
        assert_eq!((plain.madds, plain.weights), (4_718_592, 18_432));
        assert_eq!((each.madds, mix.madds, each.weights + mix.weights), (73_728, 524_288, 288 + 2_048));
        // 1 / N + 1 / 9, exactly.
        assert_eq!((each.madds + mix.madds) * 64 * 9, plain.madds * (64 + 9));
        // SqueezeNet's fire2, with biases.
        let with = |c, n, kernel| Conv { bias: true, ..Conv::plain(c, n, kernel, 1) }.weights();
        assert_eq!(with(96, 16, 1) + with(16, 64, 1) + with(16, 64, 3), 11_920);
        assert_eq!(with(96, 128, 3), 110_720);
        // An inverted bottleneck of MobileNetV2: 24 channels, six times as wide between.
        let options = Options { expansion: 6, ..Options::default() };
        let block = Shape::new(Family::Inverted, 24, options).block(24, 24, 1);
        let weights: usize = count(&block, 8).iter().map(|layer| layer.conv.map_or(0, |conv| conv.weights())).sum();
        assert_eq!(weights, 3_456 + 1_296 + 3_456);
    }

    #[test]
    fn the_worked_networks() {
        let of = |family, width| totals(&Shape::new(family, width, Options::default()).ops(47), 16);
        let plain = of(Family::Plain, 18);
        assert_eq!((plain.madds, plain.weights, plain.activations), (211_932, 16_895, 3_792));
        let separable = of(Family::Separable, 60);
        assert_eq!((separable.madds, separable.weights, separable.activations), (200_880, 24_733, 9_640));
        let grouped = of(Family::Grouped, 40);
        assert_eq!((grouped.madds, grouped.weights, grouped.activations), (197_872, 21_175, 5_888));
        assert_eq!(of(Family::Plain, 42).madds, 796_524);
        assert_eq!(of(Family::Separable, 42).madds, 121_356);
    }

    #[test]
    fn intensities_of_four_kinds_of_layer() {
        let grouped = Conv { groups: 4, ..Conv::plain(32, 32, 3, 1) };
        let near = |conv, expected: f64| {
            let found = of(conv, 16).intensity();
            assert!((found - expected).abs() < 0.005, "{found} {expected}");
        };
        near(Conv::plain(32, 32, 3, 1), 46.08);
        near(grouped, 15.78);
        near(Conv::plain(32, 32, 1, 1), 7.53);
        near(Conv::depthwise(32, 3, 1), 2.21);
    }

    #[test]
    fn balanced_widths_move_least() {
        let all = [(64, 64), (32, 128), (16, 256)].map(|(c, n)| traffic(256, c, n, 1));
        assert_eq!(all, [36_864, 45_056, 73_728]);
        // 2 sqrt(h B) + B / h of B = h c n multiply-adds.
        let madds = 256.0 * 4096.0_f64;
        assert!((2.0 * (256.0 * madds).sqrt() + madds / 256.0 - 36_864.0).abs() < 1e-6);
        assert!(traffic(256, 64, 64, 4) < traffic(256, 64, 64, 1));
    }

    #[test]
    fn layers_add_up_and_loops_that_count_agree() {
        for family in Family::ALL {
            let shape = Shape { blocks: [2, 1, 1], ..Shape::new(family, 16, Options::default()) };
            let ops = shape.ops(47);
            let weights: usize = ops.iter().map(Op::weights).sum();
            assert_eq!(totals(&ops, 16).weights, weights, "{family:?}");
            for layer in count(&ops, 16) {
                let conv = layer.conv.expect("no gates here");
                // A kernel of ones on ones counts, away from the padding.
                let x = super::super::Maps {
                    data: vec![1.0; layer.size[0] * layer.size[1] * conv.inputs],
                    ..super::super::Maps::zeros(1, layer.size[0], layer.size[1], conv.inputs)
                };
                let bare = Conv { bias: false, relu: false, ..conv };
                let y = naive::convolve(&bare, &vec![1.0; bare.kernel_len()], &x);
                let most = y.data.iter().copied().fold(0.0, f32::max) as usize;
                if layer.size[0] >= 3 {
                    assert_eq!(layer.madds, most * y.data.len(), "{family:?} {conv:?}");
                }
            }
        }
    }
}
