//! Classifiers some of whose matrices and kernels are products.

// What `derive(Module)` writes names the crate `burn`.
use lab_kit::{
    burn::{
        self,
        module::{Module, Param},
        nn::Linear,
        tensor::{
            Device, Int, Tensor, TensorData,
            activation::relu,
            module::{conv2d, max_pool2d},
            ops::{ConvOptions, MaxPoolOptions},
        },
    },
    fit::Classifier,
    linalg::{Gauge, Matrix},
    ops::dense,
};

use super::{
    Store,
    layer::{Layer, Piece, Stage},
};

/// Fully connected layers with ReLU between them.
#[derive(Module, Debug)]
pub(super) struct Network {
    layers: Vec<Thin>,
}

/// `up(down(x))`, or `up` alone.
#[derive(Module, Debug)]
struct Thin {
    down: Option<Linear>,
    up: Linear,
    #[module(skip)]
    pick: Option<Pick>,
}

/// In gauge form: the inputs that pass as they are, and the others.
#[derive(Debug, Clone)]
struct Pick {
    kept: Tensor<1, Int>,
    rest: Tensor<1, Int>,
}

/// A linear layer of a matrix `[outputs, inputs]`; Burn keeps `[inputs, outputs]`.
fn linear(weight: &Matrix, bias: Option<&[f32]>, device: &Device) -> Linear {
    let data = TensorData::new(weight.transposed().to_singles(), [weight.columns, weight.rows]);
    let bias = bias.map(|bias| TensorData::new(bias.to_vec(), [weight.rows]));
    Linear {
        weight: Param::from_tensor(Tensor::from_data(data, device)),
        bias: bias.map(|bias| Param::from_tensor(Tensor::from_data(bias, device))),
    }
}

impl Network {
    /// The layers turned into these pieces, on a device.
    pub(super) fn new(layers: &[Layer], biases: &[Vec<f32>], pieces: &[Piece], store: Store, device: &Device) -> Self {
        let all = layers.iter().zip(biases).zip(pieces);
        Self { layers: all.map(|((layer, bias), piece)| Thin::new(layer, bias, piece, store, device)).collect() }
    }
}

impl Thin {
    fn new(layer: &Layer, bias: &[f32], piece: &Piece, store: Store, device: &Device) -> Self {
        let whole = |weight: &Matrix| Self { down: None, up: linear(weight, Some(bias), device), pick: None };
        match piece {
            Piece::Dense | Piece::Chain(_) => whole(&layer.weight),
            Piece::Whole(weight) => whole(weight),
            Piece::Pair(factors) => {
                let gauge = if store == Store::Gauge { Gauge::of(factors) } else { None };
                match gauge.filter(|gauge| !gauge.rest.is_empty()) {
                    Some(gauge) => Self {
                        down: Some(linear(&gauge.c, None, device)),
                        up: linear(&gauge.a, Some(bias), device),
                        pick: Some(Pick { kept: places(&gauge.kept, device), rest: places(&gauge.rest, device) }),
                    },
                    None => Self {
                        down: Some(linear(&factors.b, None, device)),
                        up: linear(&factors.a, Some(bias), device),
                        pick: None,
                    },
                }
            }
        }
    }
}

fn places(which: &[usize], device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i32> = which.iter().map(|i| i32::try_from(*i).unwrap_or(i32::MAX)).collect();
    Tensor::from_data(TensorData::new(ids, [which.len()]), device)
}

impl Classifier for Network {
    // ANCHOR: forward
    fn logits(&self, pixels: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len().saturating_sub(1);
        self.layers.iter().enumerate().fold(pixels, |x, (i, layer)| {
            let inner = match (&layer.down, &layer.pick) {
                (None, _) => x,
                (Some(down), None) => dense(x, down, false), // [B, rank]
                (Some(down), Some(pick)) => {
                    x.clone().select(1, pick.kept.clone()) + dense(x.select(1, pick.rest.clone()), down, false)
                }
            };
            dense(inner, &layer.up, i < last)
        })
    }
    // ANCHOR_END: forward
}

/// The end of a convolutional classifier: one block, perhaps as a chain of convolutions, and the output layer.
#[derive(Module, Debug)]
pub(super) struct Tail {
    stages: Vec<Window>,
    head: Linear,
    channels: usize,
}

#[derive(Module, Debug)]
struct Window {
    weight: Param<Tensor<4>>,
    bias: Option<Param<Tensor<1>>>,
    groups: usize,
}

impl Tail {
    /// A chain of which the last convolution has the bias, and the output layer `[classes, features]` with its own.
    pub(super) fn new(stages: &[Stage], bias: &[f32], head: (&Matrix, &[f32]), device: &Device) -> Self {
        let window = |(i, stage): (usize, &Stage)| Window {
            weight: Param::from_tensor(Tensor::from_data(TensorData::new(stage.values.clone(), stage.shape), device)),
            bias: (i + 1 == stages.len())
                .then(|| Param::from_tensor(Tensor::from_data(TensorData::new(bias.to_vec(), [bias.len()]), device))),
            groups: stage.groups,
        };
        Self {
            stages: stages.iter().enumerate().map(window).collect(),
            head: linear(head.0, Some(head.1), device),
            channels: stages.first().map_or(1, |stage| stage.shape[1] * stage.groups),
        }
    }
}

impl Classifier for Tail {
    /// Logits of features `[B, channels · side · side]`.
    fn logits(&self, features: Tensor<2>) -> Tensor<2> {
        let [b, all] = features.dims();
        let side = (all / self.channels).isqrt();
        let x = self.stages.iter().fold(features.reshape([b, self.channels, side, side]), |x, stage| {
            let [_, _, high, wide] = stage.weight.dims();
            convolve(x, stage.weight.val(), stage.bias.as_ref().map(Param::val), [high, wide], stage.groups)
        });
        self.head.forward(max_pool2d(relu(x), MaxPoolOptions::new([2, 2])).flatten::<2>(1, 3))
    }
}

/// A convolution of stride one whose border is padded with zeros, so that the image keeps its size.
pub(super) fn convolve(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    [high, wide]: [usize; 2],
    groups: usize,
) -> Tensor<4> {
    conv2d(x, weight, bias, ConvOptions::new([1, 1], [high / 2, wide / 2], [1, 1], groups))
}

#[cfg(test)]
mod tests {
    use lab_kit::{
        linalg::{Root, weighted},
        mlp::{MlpWeights, read},
        rng,
        testing::ready,
    };
    use rand::Rng;

    use super::*;

    #[test]
    fn plain_and_gauge_compute_what_the_product_computes() {
        let device = Device::flex();
        let weights = MlpWeights::init(&[12, 9, 5], &mut rng(0, "weights"));
        let layer = |i: usize| {
            let layer = &weights.layers[i];
            Layer::new("a test", layer.outputs, layer.inputs, &layer.weight)
        };
        let layers = [layer(0), layer(1)];
        let biases = vec![vec![0.1; 9], vec![-0.2; 5]];
        let factors =
            layers.iter().map(|layer| weighted(&layer.weight, &Root::None, &Root::None).expect("finite").truncate(3));
        let factors: Vec<_> = factors.collect();
        let pairs: Vec<Piece> = factors.iter().cloned().map(Piece::Pair).collect();
        let wholes: Vec<Piece> = factors.iter().map(|pair| Piece::Whole(pair.product())).collect();
        let mut draw = rng(1, "pixels");
        let pixels: Vec<f32> = (0..7 * 12).map(|_| draw.random()).collect();
        let run = |pieces: &[Piece], store| {
            let network = Network::new(&layers, &biases, pieces, store, &device);
            let x = Tensor::from_data(TensorData::new(pixels.clone(), [7, 12]), &device);
            ready(read(network.logits(x))).expect("runs")
        };
        let expected = run(&wholes, Store::Plain);
        let dense = run(&[Piece::Dense, Piece::Dense], Store::Plain);
        for store in [Store::Plain, Store::Gauge] {
            for (one, other) in run(&pairs, store).iter().zip(&expected) {
                assert!((one - other).abs() < 1e-5, "{one} {other}");
            }
        }
        assert!(dense.iter().zip(&expected).any(|(a, b)| (a - b).abs() > 1e-3));
        assert_eq!(pairs[0].numbers(&layers[0], Store::Plain), 3 * 21);
        assert_eq!(pairs[0].numbers(&layers[0], Store::Gauge), 3 * 18);
        let (rounded, bytes) = pairs[0].rounded(&layers[0]);
        // Nine rows of 3 integers of 4 bits in 2 bytes, three of 12 in 6, and a scale of 4 bytes for each row.
        assert_eq!(bytes, 9 * 2 + 3 * 6 + 12 * 4);
        assert!(matches!(rounded, Piece::Pair(_)));
    }
}
