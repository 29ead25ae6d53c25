//! One picture through a small convolutional network, in plain loops: for a single picture they take a few milliseconds, and the
//! engine's tensors would bring 150 KB of kernels into the reader's download for it.

use lab_api::LabError;
use lab_kit::models::{CnnConfig, StateDict};

/// Side of every kernel; the border is padded with zeros.
const KERNEL: usize = 3;

/// Logits of one image (`[side · side]`): blocks of convolution, ReLU and 2x2 max-pooling, then a linear layer, as
/// [`Cnn`](lab_kit::models::Cnn) has them.
///
/// # Errors
/// [`LabError::Asset`] where a weight is missing or of another shape.
pub(super) fn logits(
    config: &CnnConfig,
    weights: &StateDict,
    source: &str,
    image: &[f32],
) -> Result<Vec<f32>, LabError> {
    let get = |name: &str, shape: &[usize]| match weights.get(name) {
        Some(weight) if weight.shape == shape => Ok(weight.values.as_slice()),
        _ => Err(LabError::Asset {
            name: source.to_owned(),
            why: format!("its tensor “{name}” is missing or has not the shape {shape:?}"),
        }),
    };
    let (mut maps, mut side, mut inputs) = (image.to_vec(), config.side, 1);
    for (i, outputs) in config.channels.iter().enumerate() {
        let kernels = get(&format!("conv.{i}.weight"), &[*outputs, inputs, KERNEL, KERNEL])?;
        let bias = get(&format!("conv.{i}.bias"), &[*outputs])?;
        let kernels = kernels.chunks_exact(inputs * KERNEL * KERNEL).zip(bias);
        maps = kernels.flat_map(|(kernel, bias)| pooled(&convolved(&maps, side, kernel, *bias), side)).collect();
        (side, inputs) = (side / 2, *outputs);
    }
    let head = get("head.weight", &[config.classes, maps.len()])?;
    let bias = get("head.bias", &[config.classes])?;
    let class = |(row, bias): (&[f32], &f32)| bias + row.iter().zip(&maps).map(|(w, x)| w * x).sum::<f32>();
    Ok(head.chunks_exact(maps.len()).zip(bias).map(class).collect())
}

/// One output channel before pooling: `[side · side]` of maps `[inputs, side · side]` and a kernel `[inputs, 3, 3]`.
fn convolved(maps: &[f32], side: usize, kernel: &[f32], bias: f32) -> Vec<f32> {
    let mut output = vec![bias; side * side];
    for (map, kernel) in maps.chunks_exact(side * side).zip(kernel.chunks_exact(KERNEL * KERNEL)) {
        for (k, weight) in kernel.iter().enumerate() {
            // Rows and columns for which the place of this weight lies inside the picture.
            let ((from_y, to_y), (from_x, to_x)) = (inside(k / KERNEL, side), inside(k % KERNEL, side));
            for y in from_y..to_y {
                let read = (y + k / KERNEL - 1) * side + k % KERNEL;
                let (output, map) = (&mut output[y * side..(y + 1) * side], &map[read + from_x - 1..read + to_x - 1]);
                output[from_x..to_x].iter_mut().zip(map).for_each(|(sum, x)| *sum += weight * x);
            }
        }
    }
    output
}

/// Places that a row or column of the kernel can read from: not before the first, not beyond the last.
fn inside(offset: usize, side: usize) -> (usize, usize) {
    (usize::from(offset == 0), side - usize::from(offset == 2))
}

/// The largest of each two by two, at least 0: pooling and ReLU in one.
fn pooled(map: &[f32], side: usize) -> Vec<f32> {
    let half = side / 2;
    let largest = |i: usize| {
        let corner = i / half * 2 * side + i % half * 2;
        [0, 1, side, side + 1].into_iter().map(|step| map[corner + step]).fold(0.0, f32::max)
    };
    (0..half * half).map(largest).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use lab_kit::{
        burn::tensor::{Device, Tensor, TensorData},
        mlp::read,
        models::Cnn,
        rng,
    };
    use rand::Rng;

    use super::*;

    #[test]
    fn the_loops_agree_with_the_network_on_tensors() {
        let config = CnnConfig { side: 10, channels: vec![3, 5], classes: 7 };
        let weights = config.init(&mut rng(0, "weights"));
        let mut random = rng(0, "image");
        let image: Vec<f32> = (0..100).map(|_| random.random()).collect();
        let device = Device::flex();
        let model = Cnn::new(&config, &weights, "a test", &device).expect("fits");
        let input = Tensor::<2>::from_data(TensorData::new(image.clone(), [1, 100]), &device);
        let mut reading = pin!(read(model.forward(input)));
        let Poll::Ready(expected) = reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("the CPU device never waits")
        };
        let found = logits(&config, &weights, "a test", &image).expect("fits");
        for (a, b) in found.iter().zip(expected.expect("reads")) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        assert!(found.iter().any(|logit| logit.abs() > 1e-3));
        let short = CnnConfig { side: 10, channels: vec![3], classes: 7 };
        let why = logits(&short, &weights, "a test", &image).expect_err("another shape").to_string();
        assert!(why.contains("“head.weight”"), "{why}");
    }
}
