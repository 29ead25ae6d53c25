//! Our kernels against Burn on the CPU, on random shapes. Part of the engine, so that a browser can be asked as well as a
//! terminal: what a driver makes of a shader is seen only there.

use burn::{
    module::{Module, Param},
    nn::Linear,
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{Device, Int, Tensor, TensorData},
};
use lab_api::LabError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{has_integer_dots, is_gpu, takes_own_kernels, use_integer_dots, use_own_kernels};
use crate::{
    mlp::read,
    models::{attend, causal_mask},
    ops,
    quant::{Granularity, Grid, HALF, Inputs, PackedMatrix, PackedWeight, Scheme, Settings},
    rng,
};

/// One operation with its gradients, compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// The operation and its shapes.
    pub what: String,
    /// Largest deviation from the CPU, as a share of the largest number there.
    pub deviation: f64,
}

/// Compares every operation on `cases` random shapes each. Sums of at most 70 products in another order differ by about 1e-6.
///
/// # Errors
/// [`LabError::Device`] when the device fails, or has no kernels of ours.
pub async fn agreement(device: &Device, seed: u64, cases: usize) -> Result<Vec<Agreement>, LabError> {
    let before = takes_own_kernels(device);
    use_own_kernels(true);
    let found = if takes_own_kernels(device) {
        compare(device, &mut rng(seed, "agreement"), cases).await
    } else {
        Err(LabError::Device { why: "this device has no kernels of ours to compare".into() })
    };
    use_own_kernels(before);
    found
}

/// One row of inputs times a matrix of `width` by `width` packed weights of 4 bits; or, to compare with, all of its rows as
/// floats. For a caller that watches how large the buffers are that the GPU is handed.
///
/// # Errors
/// [`LabError::Device`] when the device fails.
pub async fn wide_product(device: &Device, width: usize, expand: bool) -> Result<(), LabError> {
    let mut rng = rng(0, "wide product");
    let weight: Vec<f32> = (0..width * width).map(|_| rng.random_range(-1.0..1.0)).collect();
    let settings = Settings::weight_only(4, Scheme::Symmetric, Granularity::Channel);
    let packed = PackedWeight::new(PackedMatrix::quantize(&weight, width, &settings), Inputs::Float, device);
    let y = if expand {
        packed.rows(Tensor::<1, Int>::arange(0..i64::try_from(width).unwrap_or(0), device))
    } else {
        packed.linear(random([1, width], &mut rng, device))
    };
    read(y.narrow(0, 0, 1)).await.map(drop)
}

async fn compare(device: &Device, rng: &mut ChaCha8Rng, cases: usize) -> Result<Vec<Agreement>, LabError> {
    let mut found = Vec::new();
    for _ in 0..cases {
        for case in [
            Case::product(rng),
            Case::dense(rng),
            Case::loss(rng),
            Case::optimizer(rng),
            Case::packed(rng, Inputs::Float),
            Case::packed(rng, Inputs::Int8),
            // Some inputs, which reach from -1 to 1, lie beyond this grid.
            Case::packed(rng, Inputs::Static(Grid::fit(Scheme::Affine, 8, -0.7, 0.9))),
            Case::attention(rng),
        ] {
            let (here, there) = (case.run(device).await?, case.run(&Device::flex()).await?);
            found.push(Agreement { what: format!("{case:?}"), deviation: deviation(&here, &there) });
        }
    }
    Ok(found)
}

/// Infinite where a number, here or there, is not finite or a shape differs.
pub(super) fn deviation(here: &[Vec<f32>], there: &[Vec<f32>]) -> f64 {
    let of = |(a, b): (&Vec<f32>, &Vec<f32>)| {
        if a.len() != b.len() || a.iter().chain(b).any(|value| !value.is_finite()) {
            return f64::INFINITY;
        }
        // Numbers that cancel to about zero have no share worth speaking of.
        let largest = b.iter().fold(1e-3_f32, |largest, value| largest.max(value.abs()));
        f64::from(a.iter().zip(b).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs())) / largest)
    };
    if here.len() == there.len() { here.iter().zip(there).map(of).fold(0.0, f64::max) } else { f64::INFINITY }
}

/// An operation with its shapes and the seed of its numbers.
#[derive(Debug)]
enum Case {
    /// Batch, m, k, n; which operand comes transposed.
    Product { batch: [usize; 2], size: [usize; 3], transposed: [bool; 2], seed: u64 },
    /// Rows, inputs, outputs.
    Dense { size: [usize; 3], relu: bool, seed: u64 },
    /// Rows, classes.
    Loss { size: [usize; 2], seed: u64 },
    /// Rows and columns of a parameter.
    Optimizer { size: [usize; 2], seed: u64 },
    /// Rows of inputs, inputs, outputs; how the weights are packed; with integer dot products where there are any.
    Packed { size: [usize; 3], settings: Settings, inputs: Inputs, dots: bool, seed: u64 },
    /// Heads, queries, keys before the first of them, channels.
    Attention { size: [usize; 4], causal: bool, seed: u64 },
}

/// Half of the sizes are multiples of four, for which kernels take other ways.
fn size(rng: &mut ChaCha8Rng) -> usize {
    if rng.random() { rng.random_range(1..=70) } else { 4 * rng.random_range(1..=17) }
}

impl Case {
    fn product(rng: &mut ChaCha8Rng) -> Self {
        let batch = [rng.random_range(1..=3), rng.random_range(1..=3)];
        let batch = if rng.random() { batch } else { [1, 1] };
        let size = [size(rng), size(rng), size(rng)];
        Self::Product { batch, size, transposed: [rng.random(), rng.random()], seed: rng.random() }
    }

    fn dense(rng: &mut ChaCha8Rng) -> Self {
        Self::Dense { size: [size(rng), size(rng), size(rng)], relu: rng.random(), seed: rng.random() }
    }

    fn loss(rng: &mut ChaCha8Rng) -> Self {
        Self::Loss { size: [rng.random_range(1..=200), rng.random_range(2..=40)], seed: rng.random() }
    }

    fn optimizer(rng: &mut ChaCha8Rng) -> Self {
        Self::Optimizer { size: [size(rng), size(rng)], seed: rng.random() }
    }

    fn packed(rng: &mut ChaCha8Rng, inputs: Inputs) -> Self {
        let bits = [2, 3, 4, 8, HALF][rng.random_range(0..5)];
        let scheme = if rng.random() { Scheme::Symmetric } else { Scheme::Affine };
        let granularity = match rng.random_range(0..3) {
            0 => Granularity::Tensor,
            1 => Granularity::Channel,
            // Groups that end within 32 neighbours, and others.
            _ => Granularity::Group(8 * rng.random_range(1..=8)),
        };
        let size = [if rng.random() { 1 } else { size(rng) }, 2 * size(rng), size(rng)];
        let settings = Settings::weight_only(bits, scheme, granularity);
        Self::Packed { size, settings, inputs, dots: rng.random_bool(0.75), seed: rng.random() }
    }

    fn attention(rng: &mut ChaCha8Rng) -> Self {
        // Up to two tiles of queries, and lengths that no tile divides.
        let before = if rng.random() { 0 } else { size(rng) };
        let size = [rng.random_range(1..=3), 2 * size(rng) - 1, before, 4 * rng.random_range(1..=32)];
        Self::Attention { size, causal: rng.random(), seed: rng.random() }
    }

    /// Results and gradients on a device.
    async fn run(&self, device: &Device) -> Result<Vec<Vec<f32>>, LabError> {
        let tracked = device.clone().autodiff();
        match *self {
            Self::Product { batch, size, transposed, seed } => product(batch, size, transposed, seed, &tracked).await,
            Self::Dense { size, relu, seed } => dense(size, relu, seed, &tracked).await,
            Self::Loss { size, seed } => loss(size, seed, &tracked).await,
            Self::Optimizer { size, seed } => optimizer(size, seed, &tracked).await,
            Self::Packed { size, settings, inputs, dots, seed } => {
                let before = has_integer_dots();
                use_integer_dots(before && dots);
                let found = packed(size, (settings, inputs), seed, device).await;
                use_integer_dots(before);
                found
            }
            Self::Attention { size, causal, seed } => attention(size, causal, seed, device).await,
        }
    }
}

/// Attention without its table where the device has that kernel, with it elsewhere.
async fn attention(
    [heads, queries, before, channels]: [usize; 4],
    causal: bool,
    seed: u64,
    device: &Device,
) -> Result<Vec<Vec<f32>>, LabError> {
    let mut rng = rng(seed, "numbers");
    let keys = before + queries;
    let q = random([1, heads, queries, channels], &mut rng, device) * 3.0;
    let [k, v] = [(); 2].map(|()| random([1, heads, keys, channels], &mut rng, device));
    let y = match super::attention(&q, &k, &v, causal) {
        Some(y) => y,
        None if is_gpu(device) => return Err(LabError::Device { why: "the kernel refused its operands".into() }),
        None => attend(q, k, v, if causal { causal_mask(queries, before, device) } else { None }),
    };
    Ok(vec![read(y).await?])
}

/// A layer of packed weights, and some of its rows.
async fn packed(
    [n, columns, rows]: [usize; 3],
    (settings, inputs): (Settings, Inputs),
    seed: u64,
    device: &Device,
) -> Result<Vec<Vec<f32>>, LabError> {
    let mut rng = rng(seed, "numbers");
    let weight: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-1.0..1.0)).collect();
    let matrix = PackedMatrix::quantize(&weight, columns, &settings);
    let packed = PackedWeight::new(matrix, inputs, device);
    let ids: Vec<i32> = (0..n).map(|_| rng.random_range(0..i32::try_from(rows).unwrap_or(1))).collect();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [n]), device);
    Ok(vec![read(packed.linear(random([n, columns], &mut rng, device))).await?, read(packed.rows(ids)).await?])
}

fn random<const D: usize>(shape: [usize; D], rng: &mut ChaCha8Rng, device: &Device) -> Tensor<D> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// What every result must have: the gradient, or an empty one, which differs from the CPU's.
async fn gradient<const D: usize>(gradient: Option<Tensor<D>>) -> Result<Vec<f32>, LabError> {
    match gradient {
        Some(gradient) => read(gradient).await,
        None => Ok(Vec::new()),
    }
}

async fn product(
    [outer, inner]: [usize; 2],
    [m, k, n]: [usize; 3],
    transposed: [bool; 2],
    seed: u64,
    device: &Device,
) -> Result<Vec<Vec<f32>>, LabError> {
    let mut rng = rng(seed, "product");
    let mut operand = |rows, columns, transposed: bool| {
        let shape = if transposed { [outer, inner, columns, rows] } else { [outer, inner, rows, columns] };
        random(shape, &mut rng, device).require_grad()
    };
    let (a, b) = (operand(m, k, transposed[0]), operand(k, n, transposed[1]));
    let as_asked = |x: Tensor<4>, swap: bool| if swap { x.swap_dims(2, 3) } else { x };
    let (lhs, rhs) = (as_asked(a.clone(), transposed[0]), as_asked(b.clone(), transposed[1]));
    // One matrix goes in as a matrix. [outer, inner, m, k] x [outer, inner, k, n]
    let c = if outer * inner == 1 {
        let flat = |x: Tensor<4>| x.squeeze_dims::<2>(&[0, 1]);
        ops::matmul(flat(lhs), flat(rhs)).reshape([1, 1, m, n])
    } else {
        ops::matmul(lhs, rhs)
    };
    let weights = random([outer, inner, m, n], &mut rng, device);
    let gradients = (c.clone() * weights).sum().backward();
    Ok(vec![read(c.inner()).await?, gradient(a.grad(&gradients)).await?, gradient(b.grad(&gradients)).await?])
}

async fn dense([m, k, n]: [usize; 3], relu: bool, seed: u64, device: &Device) -> Result<Vec<Vec<f32>>, LabError> {
    let mut rng = rng(seed, "dense");
    let x = random([m, k], &mut rng, device).require_grad();
    let layer = Linear {
        weight: Param::from_tensor(random([k, n], &mut rng, device)),
        bias: Some(Param::from_tensor(random([n], &mut rng, device))),
    };
    let y = ops::dense(x.clone(), &layer, relu);
    let gradients = (y.clone() * random([m, n], &mut rng, device)).sum().backward();
    let bias = layer.bias.as_ref().and_then(|bias| bias.val().grad(&gradients));
    Ok(vec![
        read(y.inner()).await?,
        gradient(x.grad(&gradients)).await?,
        gradient(layer.weight.val().grad(&gradients)).await?,
        gradient(bias).await?,
    ])
}

async fn loss([rows, classes]: [usize; 2], seed: u64, device: &Device) -> Result<Vec<Vec<f32>>, LabError> {
    let mut rng = rng(seed, "loss");
    let logits = random([rows, classes], &mut rng, device).require_grad();
    let targets: Vec<i32> = (0..rows).map(|_| rng.random_range(0..i32::try_from(classes).unwrap_or(1))).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [rows]), device);
    let loss = ops::cross_entropy(logits.clone() * 10.0, targets);
    // A factor, so that a gradient that ignores what comes after it shows.
    let gradients = (loss.clone() * 3.0).backward();
    Ok(vec![read(loss.inner()).await?, gradient(logits.grad(&gradients)).await?])
}

/// A module of one parameter.
#[derive(Module, Debug)]
struct One {
    parameter: Param<Tensor<2>>,
}

async fn optimizer(size: [usize; 2], seed: u64, device: &Device) -> Result<Vec<Vec<f32>>, LabError> {
    let mut rng = rng(seed, "optimizer");
    let mut one = One { parameter: Param::from_tensor(random(size, &mut rng, device)) };
    let mut optimizer: ModuleOptimizer = ops::adamw(0.1);
    for step in 0..3 {
        let loss = (one.parameter.val() * random(size, &mut rng, device)).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &one);
        one = optimizer.step(0.1 / f64::from(step + 1), one, gradients);
    }
    Ok(vec![read(one.parameter.val().inner()).await?])
}

#[cfg(test)]
mod tests {
    use lab_api::DeviceChoice;

    use super::*;
    use crate::open_device;

    /// Needs a driver for Vulkan, Metal or DirectX 12; Debian's mesa-vulkan-drivers emulates one.
    #[test]
    fn every_operation_agrees_with_the_cpu() {
        let device = match pollster::block_on(open_device(DeviceChoice::Webgpu)) {
            Ok((device, info)) => {
                eprintln!("on {}", info.name);
                device
            }
            Err(error) => return eprintln!("skipped: {error}"),
        };
        let found = pollster::block_on(agreement(&device, 0, 12)).expect("the device works");
        assert_eq!(found.len(), 96);
        for Agreement { what, deviation } in found {
            assert!(deviation < 2e-5, "{what}: {deviation:e}");
        }
    }

    #[test]
    fn a_wrong_or_missing_number_is_a_deviation() {
        let one = vec![vec![1.0_f32, -2.0]];
        assert_eq!(deviation(&one, &one), 0.0);
        assert_eq!(deviation(&[vec![1.0, -1.0]], &one), 0.5);
        assert_eq!(deviation(&[vec![1.0]], &one), f64::INFINITY);
        assert_eq!(deviation(&[vec![f32::NAN, -2.0]], &one), f64::INFINITY);
        assert_eq!(deviation(&one, &[vec![1.0, f32::INFINITY]]), f64::INFINITY);
        assert_eq!(deviation(&one, &[vec![f32::NAN, -2.0]]), f64::INFINITY);
        assert_eq!(deviation(&[], &one), f64::INFINITY);
    }
}
