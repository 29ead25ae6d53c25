//! Kernels of our own for WebGPU, launched through Burn.
//!
//! Burn chooses kernels for GPUs. On a software adapter (WebGPU emulated on the processor, as browsers have it where there is
//! no GPU) those pay for shared memory and barriers that do not exist there, and a training step of a hundred small launches
//! pays for each launch. So there, and only there, a few operations take the kernels of this folder: the matrix product, a
//! dense layer with bias and ReLU, the softmax loss with its gradient, and a step of AdamW. What that brings is written in
//! docs/benchmarks.md. On real GPUs neither has been measured, and Burn's kernels are left in place.
//!
//! The products of packed weights ([`packed`]) have no twin in Burn and run on every adapter, and so does [`attention()`]
//! without its table, which nothing but its lab calls.

mod agreement;
mod attention;
mod chain;
mod integer;
mod kernels;
mod launch;
mod packed;
mod product;
mod verify;

use std::sync::atomic::{AtomicBool, Ordering};

use burn::{
    backend::{Dispatch, DispatchDevice},
    tensor::{DType, Device, Int, Tensor},
};

pub use agreement::{Agreement, agreement, wide_product};
pub use attention::attention;
pub use chain::chain;
pub use kernels::AdamWStep;
use kernels::Kernels;
pub use packed::{InputCodes, PackedBuffers, PackedForm};
pub use verify::verify;

static OWN_KERNELS: AtomicBool = AtomicBool::new(false);

/// From now on, operations on the GPU take the kernels of this module (`true`) or Burn's. Opening a device decides it by the
/// adapter; benchmarks and tests compare both.
pub fn use_own_kernels(own: bool) {
    OWN_KERNELS.store(own, Ordering::Relaxed);
}

static INTEGER_DOTS: AtomicBool = AtomicBool::new(cfg!(not(target_family = "wasm")));

/// Tells whether shaders have `packed_4x8_integer_dot_product`. Natively they do (naga writes it for every driver); whoever
/// runs in a browser has to ask there.
pub fn use_integer_dots(there: bool) {
    INTEGER_DOTS.store(there, Ordering::Relaxed);
}

/// Whether products of packed weights and 8-bit inputs are of integers.
pub(crate) fn has_integer_dots() -> bool {
    INTEGER_DOTS.load(Ordering::Relaxed)
}

/// Whether operations on this device take the kernels of this module.
#[must_use]
pub fn takes_own_kernels(device: &Device) -> bool {
    OWN_KERNELS.load(Ordering::Relaxed) && is_gpu(device)
}

/// Whether this is a device of WebGPU.
#[must_use]
pub fn is_gpu(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Cube(_))
}

/// Whether [`product`] can multiply these: floats of 32 bits, two to four dimensions of which the last two fit and the others
/// are equal, none of them empty.
pub(crate) fn can_multiply<const D: usize>(lhs: &Tensor<D>, rhs: &Tensor<D>) -> bool {
    let (a, b) = (lhs.dims(), rhs.dims());
    (2..=4).contains(&D)
        && a[..D - 2] == b[..D - 2]
        && a[D - 1] == b[D - 2]
        && a.iter().chain(&b).all(|size| *size > 0)
        && a[..D - 2].iter().product::<usize>() <= 0xffff
        && [lhs.dtype(), rhs.dtype()] == [DType::F32; 2]
        && takes_own_kernels(&lhs.device())
}

/// `[.., m, k] x [.., k, n]`.
pub(crate) fn product<const D: usize>(lhs: Tensor<D>, rhs: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Kernels>::product(lhs.into_dispatch(), rhs.into_dispatch()))
}

/// `[m, k] x [k, n] + [n]`, with ReLU after it if wanted.
pub(crate) fn dense(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>, relu: bool) -> Tensor<2> {
    let (input, weight, bias) = (input.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Kernels>::dense(input, weight, bias, relu))
}

/// Whether [`cross_entropy`] can take these.
pub(crate) fn can_judge(logits: &Tensor<2>, targets: &Tensor<1, Int>) -> bool {
    logits.dtype() == DType::F32
        && targets.dtype() == DType::I32
        && logits.dims().into_iter().all(|size| size > 0)
        && takes_own_kernels(&logits.device())
}

/// Mean cross-entropy `[1]` of `[rows, classes]` against the class numbers `[rows]`.
pub(crate) fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as Kernels>::softmax_loss(logits.into_dispatch(), targets.into_dispatch()))
}

/// Parameter and moments after a step of AdamW; without moments it is the first.
pub(crate) fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: Option<[Tensor<D>; 2]>,
    step: AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let (parameter, gradient) = (parameter.into_dispatch(), gradient.into_dispatch());
    let (parameter, first, second) = match moments.map(|moments| moments.map(Tensor::into_dispatch)) {
        Some([first, second]) => <Dispatch as Kernels>::adamw(parameter, gradient, first, second, step),
        None => <Dispatch as Kernels>::first_adamw(parameter, gradient, step),
    };
    (Tensor::from_dispatch(parameter), [Tensor::from_dispatch(first), Tensor::from_dispatch(second)])
}
