//! The convolutional classifier of glyphs: its largest kernel as a chain of smaller ones.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::{
        module::Module,
        tensor::{Tensor, TensorData, activation::relu, module::max_pool2d, ops::MaxPoolOptions},
    },
    data::{Glyphs, Images, Split},
    fit::{Plain, fit},
    linalg::{Cp, Factors, Kernel, Matrix, Root, Tucker, Weighted, weighted},
    mlp::read,
    models::{Cnn, GlyphClassifier, StateDict, Weight},
    train::Training,
};
use rand::seq::SliceRandom;

use super::{
    Form, Params,
    classifier::{judge, pixels},
    layer::{Flow, Layer, Piece, Stage},
    network::{Tail, convolve},
    task::Judged,
};

/// The kernel: outputs, inputs, and the side of its window.
const OUTPUTS: usize = 128;
const INPUTS: usize = 64;
const WINDOW: usize = 3;
/// Side of the feature maps that it reads.
const SIDE: usize = 4;
/// Images that judge, evenly spread over those that no training saw.
const JUDGED: usize = 2000;
/// Images in a step of training.
const STEP: usize = 64;
/// Learning rate of a network that has learned.
const AFTERWARDS: f64 = 5e-4;

/// The kernel, what comes before and after it, and the images.
pub(super) struct Convolving {
    pub(super) layers: Vec<Layer>,
    bias: Vec<f32>,
    head: (Matrix, Vec<f32>),
    weights: StateDict,
    /// Of the smaller network, read at once: a reader learns of a missing file before the work, not after.
    small: StateDict,
    glyphs: Glyphs,
    /// What the kernel reads of the images that judge, as if it were images of 32 x 32 pixels: 64 maps of 4 x 4.
    judged: Images,
}

impl Convolving {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let which = GlyphClassifier::teacher();
        let weights = StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?)?;
        let small = GlyphClassifier::small().asset;
        let small = StateDict::from_safetensors(small, &cx.asset(small).await?)?;
        let glyphs = Glyphs::read(&cx.asset(Glyphs::ASSET).await?)?;
        cx.checkpoint().await?;
        let tensor = |name: &str| -> Result<Weight, LabError> {
            let lacks =
                || LabError::Asset { name: which.asset.into(), why: format!("it lacks the tensor “{name}”") };
            weights.get(name).cloned().ok_or_else(lacks)
        };
        let kernel = tensor("conv.2.weight")?;
        let head = tensor("head.weight")?;
        let (bias, head_bias) = (tensor("conv.2.bias")?.values, tensor("head.bias")?.values);
        if kernel.shape != [OUTPUTS, INPUTS, WINDOW, WINDOW] || head.shape.len() != 2 {
            return Err(LabError::Asset {
                name: which.asset.into(),
                why: "its third kernel is of another shape".into(),
            });
        }
        let layers = vec![Layer::new("conv.2", OUTPUTS, INPUTS * WINDOW * WINDOW, &kernel.values)];
        let head = (Matrix::from_singles(head.shape[0], head.shape[1], &head.values), head_bias);
        let judged = Images { pixels: vec![], labels: vec![], side: 32, classes: Glyphs::CLASSES, groups: vec![] };
        let mut task = Self { layers, bias, head, weights, small, glyphs, judged };
        let unseen = task.glyphs.indices(Split::Test);
        let unseen: Vec<usize> = (0..JUDGED).map(|i| unseen[i * unseen.len() / JUDGED]).collect();
        task.judged = task.features(&unseen, cx).await?;
        Ok(task)
    }

    /// What the kernel reads of these images.
    async fn features(&self, which: &[usize], cx: &Context) -> Result<Images, LabError> {
        let tensor = |name: &str| self.weights.get(name).cloned().unwrap_or(Weight { shape: vec![], values: vec![] });
        let mut values = Vec::new();
        for part in which.chunks(128) {
            let data = TensorData::new(self.glyphs.gather(part), [part.len(), 1, Glyphs::SIDE, Glyphs::SIDE]);
            let mut x = Tensor::<4>::from_data(data, &cx.device);
            for block in 0..2 {
                let (kernel, bias) = (tensor(&format!("conv.{block}.weight")), tensor(&format!("conv.{block}.bias")));
                let shape: [usize; 4] = kernel.shape.try_into().unwrap_or([1; 4]);
                let (weight, bias) = (TensorData::new(kernel.values, shape), TensorData::new(bias.values, [shape[0]]));
                let bias = Tensor::from_data(bias, &cx.device);
                x = convolve(x, Tensor::from_data(weight, &cx.device), Some(bias), [WINDOW; 2], 1);
                x = max_pool2d(relu(x), MaxPoolOptions::new([2, 2]));
            }
            values.extend(read(x.flatten::<2>(1, 3)).await?);
            cx.checkpoint().await?;
        }
        let groups = which.iter().map(|i| self.glyphs.family_of(*i)).collect();
        Ok(Images { pixels: values, labels: self.glyphs.labels_of(which), side: 32, classes: Glyphs::CLASSES, groups })
    }

    /// So many training images, drawn under the run's seed.
    fn training(&self, purpose: &str, count: usize, cx: &Context) -> Vec<usize> {
        let mut seen = self.glyphs.indices(Split::Train);
        seen.shuffle(&mut cx.rng(purpose));
        seen.truncate(count);
        seen
    }

    /// What flows through the kernel: 16 patches of 64 x 3 x 3 numbers of each training image.
    pub(super) async fn flows(&self, params: &Params, cx: &Context) -> Result<Vec<Flow>, LabError> {
        let seen = self.training("calibration", (params.calibration as usize).div_ceil(SIDE * SIDE).max(64), cx);
        let mut flow = Flow::new(INPUTS * WINDOW * WINDOW);
        for part in seen.chunks(64) {
            let images = self.features(part, cx).await?;
            let x =
                Tensor::<1>::from_data(TensorData::new(images.pixels, [part.len() * INPUTS * SIDE * SIDE]), &cx.device);
            flow.add(patches(x.reshape([part.len(), INPUTS, SIDE, SIDE]))).await?;
            cx.checkpoint().await?;
        }
        Ok(vec![flow.finish()])
    }

    /// The kernel in a form, with at most this share of its numbers.
    pub(super) fn piece(&self, form: Form, share: f64, part: &Weighted, cx: &Context) -> Result<Piece, LabError> {
        let numbers = (share * self.layers[0].numbers() as f64) as usize;
        let kernel = Kernel { shape: [OUTPUTS, INPUTS, WINDOW * WINDOW], values: self.layers[0].weight.values.clone() };
        let broken = || LabError::Engine { why: "the kernel holds what is not a number".into() };
        let stages = match form {
            Form::Channel => channel(&part.truncate((numbers / (OUTPUTS + INPUTS * WINDOW * WINDOW)).max(1))),
            Form::Spatial => spatial(&kernel, (numbers / (WINDOW * (INPUTS + OUTPUTS))).max(1)).ok_or_else(broken)?,
            Form::Tucker => {
                let cost = |r: usize| INPUTS * r + WINDOW * WINDOW * 2 * r * r + 2 * r * OUTPUTS;
                let r = (1..=INPUTS).rev().find(|r| cost(*r) <= numbers).unwrap_or(1);
                tucker(&Tucker::of(&kernel, (2 * r, r)).ok_or_else(broken)?)
            }
            Form::Cp => {
                let rank = (numbers / (OUTPUTS + INPUTS + WINDOW * WINDOW)).max(1);
                depthwise(&Cp::of(&kernel, rank, &mut cx.rng("components")).ok_or_else(broken)?)
            }
        };
        Ok(Piece::Chain(stages))
    }

    pub(super) fn tail(&self, piece: &Piece, device: &lab_kit::burn::tensor::Device) -> Tail {
        let whole = |weight: &Matrix| {
            vec![Stage { shape: [OUTPUTS, INPUTS, WINDOW, WINDOW], values: weight.to_singles(), groups: 1 }]
        };
        let stages = match piece {
            Piece::Chain(stages) => stages.clone(),
            Piece::Whole(weight) => whole(weight),
            Piece::Dense => whole(&self.layers[0].weight),
            Piece::Pair(factors) => channel(factors),
        };
        Tail::new(&stages, &self.bias, (&self.head.0, &self.head.1), device)
    }

    /// Features of images that judge, in rows for [`Tail`].
    pub(super) fn rows(&self, count: usize, cx: &Context) -> Tensor<2> {
        let which: Vec<usize> = (0..count).map(|i| i % self.judged.len()).collect();
        pixels(&self.judged, &which, cx)
    }

    pub(super) async fn judge(&self, tail: &Tail, cx: &Context) -> Result<Judged, LabError> {
        judge(tail, &self.judged, cx).await
    }

    /// The chain and the output layer after so many steps of training; what comes before stays as it is.
    pub(super) async fn tune(&self, piece: &Piece, steps: usize, cx: &Context) -> Result<Judged, LabError> {
        let seen = self.training("order", steps * STEP, cx);
        let images = self.features(&seen, cx).await?;
        let all: Vec<usize> = (0..steps * STEP).map(|i| i % images.len()).collect();
        let tail = self.tail(piece, &cx.device.clone().autodiff());
        let how = Training { epochs: 1, batch: STEP, learning_rate: AFTERWARDS, ..Training::default() };
        let mut rng = cx.rng("batches");
        let trained = fit(Plain(tail), (&images, &all), &how, &mut rng, cx, async |_, _, _| Ok(())).await?;
        self.judge(&trained.0.valid(), cx).await
    }

    /// The small network that the book ships, on the same images, and the numbers in it.
    pub(super) async fn small(&self, cx: &Context) -> Result<(usize, Judged), LabError> {
        let which = GlyphClassifier::small();
        let network = Cnn::new(&which.config, &self.small, which.asset, &cx.device)?;
        let unseen = self.glyphs.indices(Split::Test);
        let unseen: Vec<usize> = (0..JUDGED).map(|i| unseen[i * unseen.len() / JUDGED]).collect();
        let images = Images::of_glyphs(&self.glyphs, &unseen);
        Ok((self.small.parameters(), judge(&network, &images, cx).await?))
    }

    /// Numbers of the whole network.
    pub(super) fn parameters(&self) -> usize {
        self.weights.parameters()
    }
}

/// The window around each place as a row: `[B · side · side, inputs · 9]`, in the order of a kernel's weights.
fn patches(x: Tensor<4>) -> Tensor<2> {
    let [b, c, side, _] = x.dims();
    let border = WINDOW / 2;
    let across = Tensor::zeros([b, c, border, side], &x.device());
    let x = Tensor::cat(vec![across.clone(), x, across], 2);
    let down = Tensor::zeros([b, c, side + 2 * border, border], &x.device());
    let x = Tensor::cat(vec![down.clone(), x, down], 3);
    let shifted = (0..WINDOW * WINDOW).map(|at| x.clone().narrow(2, at / WINDOW, side).narrow(3, at % WINDOW, side));
    let all: Tensor<5> = Tensor::stack(shifted.collect(), 2); // [B, C, 9, side, side]
    all.permute([0, 3, 4, 1, 2]).reshape([b * side * side, c * WINDOW * WINDOW])
}

fn stage(shape: [usize; 4], values: Vec<f32>, groups: usize) -> Stage {
    Stage { shape, values, groups }
}

// ANCHOR: chains
/// A window to fewer channels, then 1 x 1.
fn channel(Factors { a, b }: &Factors) -> Vec<Stage> {
    vec![stage([b.rows, INPUTS, WINDOW, WINDOW], b.to_singles(), 1), stage([OUTPUTS, b.rows, 1, 1], a.to_singles(), 1)]
}

/// A column, then a row (Jaderberg et al., 2014, arXiv:1405.3866): the decomposition of the kernel with inputs and vertical
/// places on one side, outputs and horizontal ones on the other.
fn spatial(kernel: &Kernel, rank: usize) -> Option<Vec<Stage>> {
    let at = |o: usize, i: usize, y: usize, x: usize| kernel.values[(o * INPUTS + i) * 9 + y * WINDOW + x];
    let (rows, columns) = (INPUTS * WINDOW, OUTPUTS * WINDOW);
    let values = (0..rows * columns).map(|p| {
        let (row, column) = (p / columns, p % columns);
        at(column / WINDOW, row / WINDOW, row % WINDOW, column % WINDOW)
    });
    let Factors { a, b } =
        weighted(&Matrix::new(rows, columns, values.collect()), &Root::None, &Root::None)?.truncate(rank);
    let rank = b.rows;
    let second = (0..OUTPUTS * rank * WINDOW).map(|p| {
        let (o, r, x) = (p / (rank * WINDOW), p / WINDOW % rank, p % WINDOW);
        b.row(r)[o * WINDOW + x] as f32
    });
    Some(vec![
        stage([rank, INPUTS, WINDOW, 1], a.transposed().to_singles(), 1),
        stage([OUTPUTS, rank, 1, WINDOW], second.collect(), 1),
    ])
}

/// 1 x 1, a window between fewer channels, 1 x 1.
fn tucker(found: &Tucker) -> Vec<Stage> {
    let [r1, r2, _] = found.core.shape;
    let core = found.core.values.iter().map(|value| *value as f32).collect();
    vec![
        stage([r2, INPUTS, 1, 1], found.inputs.transposed().to_singles(), 1),
        stage([r1, r2, WINDOW, WINDOW], core, 1),
        stage([OUTPUTS, r1, 1, 1], found.outputs.to_singles(), 1),
    ]
}

/// 1 x 1, a window for each channel, 1 x 1.
fn depthwise(found: &Cp) -> Vec<Stage> {
    let [outputs, inputs, places] = &found.factors;
    let rank = places.columns;
    vec![
        stage([rank, INPUTS, 1, 1], inputs.transposed().to_singles(), 1),
        stage([rank, 1, WINDOW, WINDOW], places.transposed().to_singles(), rank),
        stage([OUTPUTS, rank, 1, 1], outputs.to_singles(), 1),
    ]
}
// ANCHOR_END: chains

#[cfg(test)]
mod tests {
    use lab_kit::{
        burn::tensor::{Device, Tensor},
        rng,
        testing::ready,
    };
    use rand::Rng;

    use super::*;

    fn kernel(seed: u64) -> Kernel {
        let mut draw = rng(seed, "kernel");
        let values = (0..OUTPUTS * INPUTS * 9).map(|_| draw.random_range(-0.1..0.1)).collect();
        Kernel { shape: [OUTPUTS, INPUTS, 9], values }
    }

    fn run(stages: &[Stage], x: &Tensor<4>) -> Vec<f32> {
        let y = stages.iter().fold(x.clone(), |x, stage| {
            let weight = Tensor::from_data(TensorData::new(stage.values.clone(), stage.shape), &x.device());
            convolve(x, weight, None, [stage.shape[2], stage.shape[3]], stage.groups)
        });
        ready(read(y.flatten::<1>(0, 3))).expect("runs")
    }

    fn whole(values: &[f64]) -> Vec<Stage> {
        vec![stage([OUTPUTS, INPUTS, WINDOW, WINDOW], values.iter().map(|v| *v as f32).collect(), 1)]
    }

    #[test]
    fn every_chain_computes_the_convolution_that_it_stands_for_borders_too() {
        let kernel = kernel(1);
        let mut draw = rng(2, "features");
        // Five by five: a side that no pooling leaves, so that nothing rests on the shipped size.
        let features: Vec<f32> = (0..INPUTS * 25).map(|_| draw.random_range(0.0..1.0)).collect();
        let x = Tensor::from_data(TensorData::new(features, [1, INPUTS, 5, 5]), &Device::flex());
        let dense = run(&whole(&kernel.values), &x);
        let largest = dense.iter().fold(0.0_f32, |most, y| most.max(y.abs()));
        let same = |stages: &[Stage], expected: &[f32]| {
            for (one, other) in run(stages, &x).iter().zip(expected) {
                assert!((one - other).abs() < 1e-4 * largest, "{one} {other}");
            }
        };
        let matrix = Matrix::new(OUTPUTS, INPUTS * 9, kernel.values.clone());
        same(&channel(&weighted(&matrix, &Root::None, &Root::None).expect("finite").truncate(OUTPUTS)), &dense);
        same(&spatial(&kernel, INPUTS * WINDOW).expect("finite"), &dense);
        same(&tucker(&Tucker::of(&kernel, (OUTPUTS, INPUTS)).expect("finite")), &dense);
        // Components of low rank stand for another kernel: that is what their chain must compute.
        let cp = Cp::of(&kernel, 5, &mut rng(0, "cp")).expect("finite");
        same(&depthwise(&cp), &run(&whole(&cp.product().values), &x));
    }

    #[test]
    fn a_kernel_times_the_patches_is_the_convolution() {
        let kernel = kernel(3);
        let mut draw = rng(4, "features");
        let features: Vec<f32> = (0..2 * INPUTS * 16).map(|_| draw.random_range(0.0..1.0)).collect();
        let x = Tensor::<4>::from_data(TensorData::new(features, [2, INPUTS, 4, 4]), &Device::flex());
        let dense = run(&whole(&kernel.values), &x); // [2, O, 4, 4]
        let rows = ready(read(patches(x))).expect("runs");
        for (at, row) in rows.chunks_exact(INPUTS * 9).enumerate() {
            let (image, place) = (at / 16, at % 16);
            let weights = &kernel.values[7 * INPUTS * 9..8 * INPUTS * 9];
            let sum: f64 = row.iter().zip(weights).map(|(x, w)| f64::from(*x) * w).sum();
            assert!((sum - f64::from(dense[(image * OUTPUTS + 7) * 16 + place])).abs() < 1e-4);
        }
    }
}
