//! Attention on the GPU without its table: which tensors the kernel takes, and its launch.

use burn::{
    backend::{Dispatch, wgpu::CubeTensor},
    tensor::{DType, Tensor},
};

use super::{
    is_gpu,
    kernels::Kernels,
    launch::{Kernel, Operand, contiguous, empty, launch, word},
};

/// Threads of a workgroup, each with a query.
const ROWS: usize = 64;
/// Bytes of workgroup memory that WebGPU grants without being asked, less what the kernel needs besides its tiles.
const SHARED: usize = 16_384 - 64;

/// Keys of a tile: two tiles of so many rows fit workgroup memory.
fn tile(channels: usize) -> usize {
    (SHARED / (8 * channels)).min(64)
}

/// Attention of `[B, H, T, D]` over keys and values `[B, H, S, D]`, forward only; `None` where this is no GPU or the kernel
/// cannot take them: 32-bit floats, as many heads of keys as of queries, `T` at most `S`, `D` a multiple of four up to 128.
#[must_use]
pub fn attention(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, causal: bool) -> Option<Tensor<4>> {
    let ([b, h, t, d], keys) = (q.dims(), k.dims());
    let fits = keys[..2] == [b, h]
        && keys == v.dims()
        && keys[3] == d
        && (1..=keys[2]).contains(&t)
        && d.is_multiple_of(4)
        && (4..=128).contains(&d)
        && b * h <= 0xffff
        && t.div_ceil(ROWS) <= 0xffff
        && [q, k, v].iter().all(|x| x.dtype() == DType::F32 && is_gpu(&x.device()));
    fits.then(|| {
        let [q, k, v] = [q, k, v].map(|x| x.clone().into_dispatch());
        Tensor::from_dispatch(<Dispatch as Kernels>::tiled_attention(q, k, v, causal))
    })
}

/// The launch.
pub(super) fn start(q: CubeTensor, k: CubeTensor, v: CubeTensor, causal: bool) -> CubeTensor {
    let (q, k, v) = (contiguous(q), contiguous(k), contiguous(v));
    let (shape, keys) = (q.meta.shape().to_vec(), k.meta.shape()[2]);
    let [batch, heads, queries, channels] = [0, 1, 2, 3].map(|i| shape[i]);
    let y = empty(shape, &q);
    let body = format!(
        "const D4: u32 = {}u;\nconst KEYS: u32 = {}u;\nconst CAUSAL: bool = {causal};\n{}",
        channels / 4,
        tile(channels),
        include_str!("attention.wgsl"),
    );
    let variant = word(channels) << 1 | u32::from(causal);
    let kernel = Kernel { name: "attention", variant, body, threads: (word(ROWS), 1) };
    let operand = |name, tensor| Operand { name, element: "vec4<f32>", tensor };
    let inputs = [operand("q", &q), operand("k", &k), operand("v", &v)];
    let groups = [word(queries.div_ceil(ROWS)), word(batch * heads), 1];
    launch(kernel, &inputs, &[operand("y", &y)], &[word(queries), word(keys)], groups);
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_fit_what_webgpu_grants() {
        for channels in (4..=128).step_by(4) {
            let keys = tile(channels);
            assert!(keys >= 8 && 2 * keys * channels * 4 + 4 <= 16_384, "{channels} channels, {keys} keys");
        }
    }
}
