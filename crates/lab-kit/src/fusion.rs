//! Operations in one pass: the loops of [`lab_kernels::fusion`], and the kernel of a chain as a program writes it.

use burn::tensor::Tensor;
pub use lab_kernels::fusion::*;

// ANCHOR: wgsl_of
/// The text of a kernel that runs these operations on each number `x[i]` and writes `y[i]`, after the declarations of both. A thread takes
/// every so many numbers, so that no count of numbers is too large for the threads that may be started.
#[must_use]
pub fn wgsl_of(steps: &[ChainStep]) -> String {
    let mut lines = vec![
        "@compute @workgroup_size(64, 1, 1)".to_owned(),
        "fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {"
            .to_owned(),
        "    for (var i = id.x; i < info[0].x; i += groups.x * 64u) {".to_owned(),
        "        var now = x[i];".to_owned(),
    ];
    lines.extend(steps.iter().map(|step| {
        let value = match step {
            ChainStep::Cheap => "now * 0.5 + 0.25",
            ChainStep::Exp => "exp(-now)",
        };
        format!("        now = {value};")
    }));
    lines.extend(["        y[i] = now;", "    }", "}"].map(str::to_owned));
    lines.join("\n") + "\n"
}
// ANCHOR_END: wgsl_of

/// The chain in one launch of that kernel; `None` where this is no GPU, or nothing is to be done.
#[must_use]
pub fn chain_on_gpu(x: &Tensor<1>, steps: &[ChainStep]) -> Option<Tensor<1>> {
    #[cfg(feature = "webgpu")]
    return crate::gpu::chain(x, steps);
    #[cfg(not(feature = "webgpu"))]
    {
        let _ = (x, steps);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_has_a_line_for_each_operation_and_reads_and_writes_once() {
        let text = wgsl_of(&[ChainStep::Cheap, ChainStep::Exp, ChainStep::Cheap]);
        assert_eq!(text.matches("now = now * 0.5 + 0.25;").count(), 2);
        assert_eq!(text.matches("now = exp(-now);").count(), 1);
        assert_eq!((text.matches("x[i]").count(), text.matches("y[i]").count()), (1, 1));
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        // The chapter shows this one beside its twin for CUDA.
        let shown = include_str!("../../lab-kernels/src/fusion/chain.wgsl");
        assert_eq!(wgsl_of(&[ChainStep::Cheap, ChainStep::Exp]), shown);
    }
}
