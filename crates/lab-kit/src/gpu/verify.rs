//! Whether an adapter computes what it is told to: each kernel of ours that runs there, on a tiny input, against the processor.
//!
//! Drivers have been seen that take a shader, run it and give plausible numbers that are wrong. [`agreement`](super::agreement())
//! compares random shapes and gradients, for benchmarks and tests; this is for every reader's first run on an adapter, so it launches
//! nothing but the kernels themselves: on a software adapter each of Burn's would take seconds to compile.

use std::cell::Cell;

use burn::{
    backend::Dispatch,
    module::Param,
    nn::Linear,
    tensor::{Device, Int, Tensor, TensorData},
};
use lab_api::{DeviceInfo, LabError};

use super::{AdamWStep, adamw, agreement::deviation, attention, is_gpu, kernels::Kernels, takes_own_kernels};
use crate::{
    mlp::read,
    models::{attend, causal_mask},
    ops,
    quant::{Granularity, Inputs, PackedMatrix, PackedWeight, Scheme, Settings},
};

/// How far a kernel may differ from the processor, as a share of the largest number: sums in another order and the exponentials of
/// drivers differ by 1e-5 at most.
const TRUSTED: f64 = 1e-3;

/// What is checked, and how a reader is told of it.
const CHECKS: [(Check, &str); 7] = [
    (Check::Product, "matrix product"),
    (Check::Dense, "dense layer"),
    (Check::Loss, "softmax loss"),
    (Check::AdamW, "AdamW step"),
    (Check::Attention, "attention"),
    (Check::Packed(Inputs::Float), "product of packed weights"),
    (Check::Packed(Inputs::Int8), "product of packed weights and 8-bit inputs"),
];

/// Checks the kernels that run on this device, once in the life of a thread. On the CPU there are none.
///
/// # Errors
/// [`LabError::Device`] that names the adapter and the first kernel that is wrong; or the device fails.
pub async fn verify(device: &Device, info: &DeviceInfo) -> Result<(), LabError> {
    thread_local! {
        static VERIFIED: Cell<bool> = const { Cell::new(false) };
    }
    if VERIFIED.get() || !is_gpu(device) {
        return Ok(());
    }
    let all = takes_own_kernels(device);
    for (check, kernel) in CHECKS.into_iter().filter(|(check, _)| all || check.runs_everywhere()) {
        let wrong = deviation(&check.run(device).await?, &check.run(&Device::flex()).await?);
        // Infinite where a number is not finite.
        if wrong > TRUSTED {
            let by = if wrong.is_finite() { format!("by {:.2} %", 100.0 * wrong) } else { "beyond measure".to_owned() };
            let why = format!(
                "the adapter {} computes wrong numbers: its {kernel} differs from the processor's {by}, so no result of it can be trusted",
                name(info)
            );
            return Err(LabError::Device { why });
        }
    }
    VERIFIED.set(true);
    Ok(())
}

/// The adapter as far as the browser names it.
fn name(info: &DeviceInfo) -> String {
    let more: Vec<&str> =
        [&info.vendor, &info.architecture].into_iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    if more.is_empty() { format!("“{}”", info.name) } else { format!("“{}” ({})", info.name, more.join(", ")) }
}

/// A kernel on its tiny input.
#[derive(Debug, Clone, Copy)]
enum Check {
    Product,
    Dense,
    Loss,
    AdamW,
    Attention,
    Packed(Inputs),
}

impl Check {
    /// Whether the kernel runs on every adapter: Burn has no twin of it.
    fn runs_everywhere(self) -> bool {
        matches!(self, Self::Attention | Self::Packed(_))
    }

    /// The kernel's results on a GPU, and what stands for them on the processor.
    async fn run(self, device: &Device) -> Result<Vec<Vec<f32>>, LabError> {
        let here = |shape, salt| Tensor::<2>::from_data(TensorData::new(numbers(shape, salt), shape), device);
        match self {
            Self::Product => Ok(vec![read(ops::matmul(here([6, 8], 1), here([8, 12], 2))).await?]),
            Self::Dense => {
                let bias = Tensor::from_data(TensorData::new(numbers([1, 12], 3), [12]), device);
                let layer =
                    Linear { weight: Param::from_tensor(here([8, 12], 2)), bias: Some(Param::from_tensor(bias)) };
                Ok(vec![read(ops::dense(here([6, 8], 1), &layer, true)).await?])
            }
            Self::Loss => loss(device).await,
            Self::AdamW => two_steps(device).await,
            Self::Attention => {
                let [q, k, v] = [(5, 4), (9, 5), (9, 6)].map(|(rows, salt)| {
                    let values = numbers([2 * rows, 8], salt);
                    Tensor::<4>::from_data(TensorData::new(values, [1, 2, rows, 8]), device)
                });
                let y = match attention(&q, &k, &v, true) {
                    Some(y) => y,
                    None => attend(q, k, v, causal_mask(5, 4, device)),
                };
                Ok(vec![read(y).await?])
            }
            Self::Packed(inputs) => {
                let settings = Settings::weight_only(4, Scheme::Symmetric, Granularity::Channel);
                let matrix = PackedMatrix::quantize(&numbers([10, 64], 7), 64, &settings);
                Ok(vec![read(PackedWeight::new(matrix, inputs, device).linear(here([3, 64], 8))).await?])
            }
        }
    }
}

/// Numbers from -128 to 127 over 128, both ends among the first two of each row: they are the codes of its affine grid of 8 bits
/// themselves, so that no two adapters round one of them differently.
fn numbers([rows, columns]: [usize; 2], salt: usize) -> Vec<f32> {
    let number = |row: usize, column: usize| match column {
        0 => -1.0,
        1 => 127.0 / 128.0,
        _ => ((row * 101 + column * 37 + salt * 59) % 256) as f32 / 128.0 - 1.0,
    };
    (0..rows).flat_map(|row| (0..columns).map(move |column| number(row, column))).collect()
}

/// Mean cross-entropy of five rows of seven classes, and its gradient.
async fn loss(device: &Device) -> Result<Vec<Vec<f32>>, LabError> {
    const CLASSES: usize = 7;
    let (logits, targets) = (numbers([5, CLASSES], 9), [3, 0, 6, 1, 3]);
    if is_gpu(device) {
        let logits = Tensor::<2>::from_data(TensorData::new(logits, [5, CLASSES]), device);
        let targets = Tensor::<1, Int>::from_data(TensorData::new(targets.to_vec(), [5]), device);
        let (loss, gradient) =
            <Dispatch as Kernels>::softmax_loss_and_gradient(logits.into_dispatch(), targets.into_dispatch());
        return Ok(vec![
            read(Tensor::<1>::from_dispatch(loss)).await?,
            read(Tensor::<2>::from_dispatch(gradient)).await?,
        ]);
    }
    let (mut sum, mut gradient) = (0.0, Vec::new());
    for (row, target) in logits.chunks_exact(CLASSES).zip(targets) {
        let total: f32 = row.iter().map(|logit| logit.exp()).sum();
        for (class, logit) in (0..).zip(row) {
            let probability = logit.exp() / total;
            let wanted = if class == target { 1.0 } else { 0.0 };
            sum -= wanted * probability.ln();
            gradient.push((probability - wanted) / 5.0);
        }
    }
    Ok(vec![vec![sum / 5.0], gradient])
}

/// Parameter and moments after two steps of AdamW: the first has no moments to read.
async fn two_steps(device: &Device) -> Result<Vec<Vec<f32>>, LabError> {
    const SHAPE: [usize; 2] = [3, 8];
    // As step after step of `rate` 0.1 has them, with momenta of 0.9 and 0.999 and a decay of 0.01.
    let steps = [(0.1, 0.001), (0.19, 0.001_999)].map(|(correction_1, correction_2)| AdamWStep {
        rate: 0.1,
        decay: 0.999,
        beta_1: 0.9,
        beta_2: 0.999,
        correction_1,
        correction_2,
        epsilon: 1e-5,
    });
    let gradients = [numbers(SHAPE, 11), numbers(SHAPE, 12)];
    if is_gpu(device) {
        let there = |values| Tensor::<2>::from_data(TensorData::new(values, SHAPE), device);
        let (mut parameter, mut moments) = (there(numbers(SHAPE, 10)), None);
        for (step, gradient) in steps.into_iter().zip(gradients) {
            let (new, kept) = adamw(parameter, there(gradient), moments, step);
            (parameter, moments) = (new, Some(kept));
        }
        let mut found = vec![read(parameter).await?];
        for moment in moments.into_iter().flatten() {
            found.push(read(moment).await?);
        }
        return Ok(found);
    }
    let mut found = vec![numbers(SHAPE, 10), vec![0.0; 24], vec![0.0; 24]];
    for (step, gradient) in steps.into_iter().zip(gradients) {
        for (i, g) in gradient.into_iter().enumerate() {
            let first = step.beta_1 * found[1][i] + (1.0 - step.beta_1) * g;
            let second = step.beta_2 * found[2][i] + (1.0 - step.beta_2) * g * g;
            let by = first / step.correction_1 / ((second / step.correction_2).sqrt() + step.epsilon);
            found[0][i] = found[0][i] * step.decay - step.rate * by;
            (found[1][i], found[2][i]) = (first, second);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use lab_api::{DeviceChoice, DeviceKind};

    use super::*;
    use crate::{open_device, testing::ready};

    #[test]
    fn every_check_has_numbers_to_compare_and_nothing_is_asked_of_the_cpu() {
        for (check, kernel) in CHECKS {
            let found = ready(check.run(&Device::flex())).expect("the processor does it");
            assert!(found.iter().flatten().any(|value| value.abs() > 1e-3), "{kernel}: {found:?}");
            assert_eq!(deviation(&found, &found), 0.0, "{kernel}");
        }
        let (device, info) = ready(open_device(DeviceChoice::Cpu)).expect("the CPU is always there");
        assert_eq!(ready(verify(&device, &info)), Ok(()));
    }

    #[test]
    fn adapters_are_named_as_far_as_they_are_known() {
        let info = |vendor: &str| DeviceInfo {
            kind: DeviceKind::Webgpu,
            name: "GPU (WebGPU)".into(),
            vendor: vendor.into(),
            architecture: String::new(),
            software_adapter: false,
        };
        assert_eq!(name(&info("")), "“GPU (WebGPU)”");
        assert_eq!(name(&info("Intel")), "“GPU (WebGPU)” (Intel)");
    }

    /// Needs a driver, as `agreement` does.
    #[test]
    fn a_good_adapter_passes() {
        let (device, info) = match pollster::block_on(open_device(DeviceChoice::Webgpu)) {
            Ok(opened) => opened,
            Err(error) => return eprintln!("skipped: {error}"),
        };
        super::super::use_own_kernels(true);
        for (check, kernel) in CHECKS {
            let [here, there] = [&device, &Device::flex()].map(|on| pollster::block_on(check.run(on)));
            let wrong = deviation(&here.expect("the device works"), &there.expect("so does the processor"));
            assert!(wrong < 2e-5, "{kernel} on {}: {wrong:e}", info.name);
        }
    }
}
