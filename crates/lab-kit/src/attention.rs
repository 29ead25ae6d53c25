//! Attention of one head, computed in several ways on the processor, and in one on a GPU.

use burn::tensor::Tensor;

pub use lab_kernels::attention::{
    Blocks, Exact, Gradients, Head, Inputs, Output, Partial, Sight, Traffic, chunked, eager, exact, exact_gradients,
    merge, one_table, recomputed, saved, split, tiled,
};

/// The same on a GPU, by a kernel of ours whose tiles lie in workgroup memory: `[B, H, T, D]` over `[B, H, S, D]`, forward
/// only. `None` where there is no such kernel: on the CPU, or for operands that it does not take.
#[must_use]
pub fn on_gpu(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, causal: bool) -> Option<Tensor<4>> {
    #[cfg(feature = "webgpu")]
    return crate::gpu::attention(q, k, v, causal);
    #[cfg(not(feature = "webgpu"))]
    {
        let _ = (q, k, v, causal);
        None
    }
}
