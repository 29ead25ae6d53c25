//! A chain of elementwise operations in one launch, its text written by [`wgsl_of`](crate::fusion::wgsl_of).

use burn::{
    backend::{Backend, Cube, Dispatch, backend_extension, tensor::FloatTensor, wgpu::CubeTensor},
    tensor::{DType, Tensor},
};
use lab_kernels::fusion::ChainStep;

use super::{
    is_gpu,
    launch::{Kernel, Operand, contiguous, empty, groups_of_64, launch, numbers, word},
};
use crate::fusion::wgsl_of;

/// Most operations of a kernel: two bits of its variant for each.
const MOST: usize = 16;

/// The launch, as a backend extension of Burn.
#[backend_extension(Cube)]
pub(super) trait FusedChain: Backend {
    /// Each number through operations `steps[..length]`.
    fn fused_chain(x: FloatTensor<Self>, steps: [Option<ChainStep>; MOST]) -> FloatTensor<Self>;
}

impl FusedChain for Cube {
    fn fused_chain(x: CubeTensor, steps: [Option<ChainStep>; MOST]) -> CubeTensor {
        let x = contiguous(x);
        let y = empty(x.meta.shape().to_vec(), &x);
        let steps: Vec<ChainStep> = steps.into_iter().flatten().collect();
        let code = |code: u32, step: &ChainStep| code << 2 | if *step == ChainStep::Exp { 2 } else { 1 };
        let variant = steps.iter().fold(0, code);
        let kernel = Kernel { name: "chain", variant, body: wgsl_of(&steps), threads: (64, 1) };
        let n = numbers(&x);
        launch(kernel, &[Operand::new("x", &x)], &[Operand::new("y", &y)], &[word(n)], groups_of_64(n));
        y
    }
}

/// The chain in one launch; `None` where this is no GPU, nothing is to be done, or more than 16 operations are.
#[must_use]
pub fn chain(x: &Tensor<1>, steps: &[ChainStep]) -> Option<Tensor<1>> {
    let fits = (1..=MOST).contains(&steps.len()) && x.dims()[0] > 0 && x.dtype() == DType::F32;
    (fits && is_gpu(&x.device())).then(|| {
        let all = std::array::from_fn(|i| steps.get(i).copied());
        Tensor::from_dispatch(<Dispatch as FusedChain>::fused_chain(x.clone().into_dispatch(), all))
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use lab_api::DeviceChoice;

    use super::*;
    use crate::{mlp::read, open_device};

    /// Needs a driver, as `agreement` does.
    #[test]
    fn one_launch_gives_what_the_processor_gives() {
        let device = match pollster::block_on(open_device(DeviceChoice::Webgpu)) {
            Ok((device, _)) => device,
            Err(error) => return eprintln!("skipped: {error}"),
        };
        for n in [1, 63, 64, 65, 65_535 * 64 + 1] {
            let x: Vec<f32> = (0..n).map(|i| (i % 256) as f32 / 256.0).collect();
            let tensor = Tensor::<1>::from_data(TensorData::new(x.clone(), [n]), &device);
            for step in [ChainStep::Cheap, ChainStep::Exp] {
                let found = chain(&tensor, &[step; 8]).expect("a GPU");
                let found = pollster::block_on(read(found)).expect("the device works");
                let expected = crate::fusion::separate(step, 8, &x);
                let worst = found.iter().zip(&expected).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
                assert!(worst <= if step == ChainStep::Cheap { 0.0 } else { 2e-6 }, "{step:?} {n}: {worst}");
            }
        }
        assert!(chain(&Tensor::<1>::from_data([1.0], &device), &[]).is_none());
    }
}
