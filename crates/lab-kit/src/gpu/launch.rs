//! Launching WGSL through Burn: bindings declared from the tensors, words for the kernel, memory that a kernel can write.

use burn::{
    backend::{
        Cube, FloatDType,
        ops::FloatTensorOps,
        wgpu::{CubeDim, CubeTensor, KernelSource, SourceKernel, SourceTemplate, into_contiguous},
    },
    cubecl::{
        prelude::{CubeCount, KernelId},
        server::{KernelArguments, MetadataBindingInfo},
    },
    tensor::Shape,
};

/// How kernels see what they read. In a browser each tensor has a buffer of its own, and WebGPU refuses one buffer bound
/// twice for writing; natively tensors share buffers, which may be bound in one way only.
const INPUT: &str = if cfg!(target_family = "wasm") { "read" } else { "read_write" };

/// A kernel's text. The pipeline made of it is kept under name and variant.
pub(super) struct Kernel {
    /// Name, for the cache.
    pub(super) name: &'static str,
    /// Which of its texts.
    pub(super) variant: u32,
    /// The text after the bindings.
    pub(super) body: String,
    /// Threads of a workgroup, as the text says: x, y.
    pub(super) threads: (u32, u32),
}

/// A tensor as a kernel sees it.
pub(super) struct Operand<'a> {
    /// Its name in the text.
    pub(super) name: &'static str,
    /// What its array holds: `f32`, `i32`, `vec4<f32>`.
    pub(super) element: &'static str,
    /// The tensor.
    pub(super) tensor: &'a CubeTensor,
}

impl<'a> Operand<'a> {
    /// One of 32-bit floats.
    pub(super) fn new(name: &'static str, tensor: &'a CubeTensor) -> Self {
        Self { name, element: "f32", tensor }
    }
}

/// Starts a kernel on so many workgroups. `words` arrive as `info[i].x`; a float goes as its bits.
pub(super) fn launch(kernel: Kernel, inputs: &[Operand], outputs: &[Operand], words: &[u32], groups: [u32; 3]) {
    let Some(first) = outputs.first() else { return };
    let client = first.tensor.client.clone();
    let buffers = inputs.iter().chain(outputs).map(|operand| operand.tensor.handle.clone().binding()).collect();
    let arguments = KernelArguments::new()
        .with_buffers(buffers)
        .with_info(MetadataBindingInfo::custom(words.iter().map(|word| u64::from(*word)).collect()));
    let threads = CubeDim::new_2d(kernel.threads.0, kernel.threads.1);
    let source = Source { name: kernel.name, variant: kernel.variant, text: declare(inputs, outputs) + &kernel.body };
    let [x, y, z] = groups;
    client.launch(Box::new(SourceKernel::new(source, threads)), CubeCount::Static(x, y, z), arguments);
}

/// The declarations of all bindings: inputs, outputs, words.
fn declare(inputs: &[Operand], outputs: &[Operand]) -> String {
    let inputs = inputs.iter().map(|operand| (operand, INPUT));
    let outputs = outputs.iter().map(|operand| (operand, "read_write"));
    let mut text = String::new();
    let mut binding = 0;
    for (Operand { name, element, .. }, access) in inputs.chain(outputs) {
        text += &format!("@group(0) @binding({binding}) var<storage, {access}> {name}: array<{element}>;\n");
        binding += 1;
    }
    // Burn passes words of 64 bits; the lower half stands first.
    text + &format!("@group(0) @binding({binding}) var<storage, {INPUT}> info: array<vec2<u32>>;\n")
}

struct Source {
    name: &'static str,
    variant: u32,
    text: String,
}

impl KernelSource for Source {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.text.as_str())
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info((self.name, self.variant))
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// Memory for a result, not yet written.
pub(super) fn empty(shape: impl Into<Vec<usize>>, like: &CubeTensor) -> CubeTensor {
    Cube::float_empty(Shape::from(shape.into()), &like.device, FloatDType::F32)
}

/// The same values in row-major order without gaps.
pub(super) fn contiguous(tensor: CubeTensor) -> CubeTensor {
    if tensor.is_contiguous() { tensor } else { into_contiguous(tensor) }
}

/// Numbers in a tensor.
pub(super) fn numbers(tensor: &CubeTensor) -> usize {
    tensor.meta.shape().iter().product()
}

/// A size as a kernel takes it. WebGPU binds at most 2^31 bytes, so every index fits.
pub(super) fn word(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Workgroups for one thread per number, as many as may be started; kernels loop over the rest.
pub(super) fn groups_of_64(numbers: usize) -> [u32; 3] {
    [word(numbers.div_ceil(64)).clamp(1, 0xffff), 1, 1]
}
