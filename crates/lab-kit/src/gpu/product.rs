//! The matrix product: which text of matmul.wgsl fits how two matrices lie in memory.

use burn::backend::wgpu::CubeTensor;

use super::launch::{Kernel, Operand, empty, launch, word};

/// A bias is added to each column.
pub(super) const BIAS: u32 = 1;
/// Then ReLU.
pub(super) const RELU: u32 = 2;
/// The column sums of B are wanted too.
pub(super) const SUMS: u32 = 4;
/// The depth is no multiple of four.
const TAIL: u32 = 8;
/// Where the way A lies begins, two bits; B's follow.
const LAYOUTS: u32 = 4;

/// How four by four numbers of a matrix are read. Four numbers at once where they lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// One by one.
    Scattered = 0,
    /// Side by side along k.
    AlongDepth = 1,
    /// Side by side along the rows of A or the columns of B.
    Across = 2,
}

impl Layout {
    /// Of a matrix whose batch, k and other dimension have these strides, where a block starts at multiples of four.
    fn of(batch: [usize; 2], depth_stride: usize, across_stride: usize, across: usize, depth: usize) -> Self {
        let aligned = |stride: usize| stride.is_multiple_of(4);
        if !batch.into_iter().all(aligned) {
            Self::Scattered
        } else if across_stride == 1 && across.is_multiple_of(4) && aligned(depth_stride) {
            Self::Across
        } else if depth_stride == 1 && depth.is_multiple_of(4) && aligned(across_stride) {
            Self::AlongDepth
        } else {
            Self::Scattered
        }
    }

    fn element(self) -> &'static str {
        if self == Self::Scattered { "f32" } else { "vec4<f32>" }
    }
}

/// Strides of batch (two), rows and columns, in numbers.
fn strides(tensor: &CubeTensor) -> [usize; 4] {
    let strides = tensor.meta.strides();
    let from_last = |i: usize| strides.len().checked_sub(i).map_or(0, |at| strides[at]);
    [from_last(4), from_last(3), from_last(2), from_last(1)]
}

/// The product with whatever `wanted` asks for; with [`SUMS`] also the column sums of `b`.
pub(super) fn product(
    a: &CubeTensor,
    b: &CubeTensor,
    bias: Option<&CubeTensor>,
    wanted: u32,
) -> (CubeTensor, Option<CubeTensor>) {
    let (mut shape, b_shape) = (a.meta.shape().to_vec(), b.meta.shape().to_vec());
    let rank = shape.len();
    let (m, k, n) = (shape[rank - 2], shape[rank - 1], b_shape[rank - 1]);
    let batch: usize = shape[..rank - 2].iter().product();
    let inner = if rank >= 3 { shape[rank - 3] } else { 1 };
    let ([a0, a1, a_row, a_step], [b0, b1, b_step, b_column]) = (strides(a), strides(b));
    let layouts = [Layout::of([a0, a1], a_step, a_row, m, k), Layout::of([b0, b1], b_step, b_column, n, k)];
    let tail = if k.is_multiple_of(4) { 0 } else { TAIL };
    let variant = wanted | tail | (layouts[0] as u32) << LAYOUTS | (layouts[1] as u32) << (LAYOUTS + 2);

    shape[rank - 1] = n;
    let c = empty(shape, a);
    let sums = (wanted & SUMS != 0).then(|| empty([n], a));
    let mut inputs = vec![
        Operand { name: "a", element: layouts[0].element(), tensor: a },
        Operand { name: "b", element: layouts[1].element(), tensor: b },
    ];
    inputs.extend(bias.map(|bias| Operand::new("bias", bias)));
    let mut outputs = vec![Operand::new("c", &c)];
    outputs.extend(sums.as_ref().map(|sums| Operand::new("column_sums", sums)));
    let words = [m, n, k, inner, a0, a1, a_row, a_step, b0, b1, b_step, b_column].map(word);
    let kernel = Kernel { name: "matmul", variant, body: text(variant, layouts), threads: (16, 4) };
    launch(kernel, &inputs, &outputs, &words, [word(n.div_ceil(64)), word(m.div_ceil(16)), word(batch)]);
    (c, sums)
}

fn text(variant: u32, layouts: [Layout; 2]) -> String {
    let has = |flag: u32| variant & flag != 0;
    let bias = if has(BIAS) { " + vec4<f32>(bias[at.x], bias[at.y], bias[at.z], bias[at.w])" } else { "" };
    let value = format!("values{bias}");
    let value = if has(RELU) { format!("max({value}, vec4<f32>(0.0))") } else { value };
    let sums = if has(SUMS) {
        "if (inside.x) { column_sums[at] = sums.x; }
    if (inside.y) { column_sums[at + 1u] = sums.y; }
    if (inside.z) { column_sums[at + 2u] = sums.z; }
    if (inside.w) { column_sums[at + 3u] = sums.w; }"
    } else {
        ""
    };
    format!(
        "const TAIL: bool = {};\nconst SUMS: bool = {};\n{}{}\
         fn number_a(at: u32) -> f32 {{ return {}; }}\n\
         fn numbers_b(at: vec4<u32>) -> vec4<f32> {{ return vec4<f32>({}, {}, {}, {}); }}\n\
         fn finish(values: vec4<f32>, at: vec4<u32>) -> vec4<f32> {{ return {value}; }}\n\
         fn store_sums(at: u32, sums: vec4<f32>, inside: vec4<bool>) {{ {sums} }}\n{}",
        has(TAIL),
        has(SUMS),
        block("a", layouts[0], Layout::AlongDepth),
        block("b", layouts[1], Layout::Across),
        number("a", layouts[0], "at"),
        number("b", layouts[1], "at.x"),
        number("b", layouts[1], "at.y"),
        number("b", layouts[1], "at.z"),
        number("b", layouts[1], "at.w"),
        include_str!("matmul.wgsl"),
    )
}

/// One number of a matrix.
fn number(name: &str, layout: Layout, at: &str) -> String {
    if layout == Layout::Scattered { format!("{name}[{at}]") } else { format!("{name}[({at}) >> 2u][({at}) & 3u]") }
}

/// The function that reads four by four numbers. `wanted` is the direction in which the matrix of WGSL has its columns.
fn block(name: &str, layout: Layout, wanted: Layout) -> String {
    let columns: Vec<String> = (0..4)
        .map(|i| {
            let of = ["x", "y", "z", "w"][i];
            match layout {
                Layout::AlongDepth => format!("{name}[at.{of} >> 2u]"),
                Layout::Across => format!("{name}[(at.x + {i}u * step) >> 2u]"),
                // The first of A's columns is a row of four k; the first of B's a k of four columns.
                Layout::Scattered if wanted == Layout::AlongDepth => format!(
                    "vec4<f32>({name}[at.{of}], {name}[at.{of} + step], {name}[at.{of} + 2u * step], {name}[at.{of} + 3u * step])"
                ),
                Layout::Scattered => {
                    let shift = format!(" + {i}u * step");
                    format!(
                        "vec4<f32>({name}[at.x{shift}], {name}[at.y{shift}], {name}[at.z{shift}], {name}[at.w{shift}])"
                    )
                }
            }
        })
        .collect();
    let matrix = format!("mat4x4<f32>({})", columns.join(", "));
    let matrix = if layout == Layout::Scattered || layout == wanted { matrix } else { format!("transpose({matrix})") };
    format!("fn block_{name}(at: vec4<u32>, step: u32) -> mat4x4<f32> {{ return {matrix}; }}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_numbers_are_read_at_once_only_where_they_lie_side_by_side() {
        // A row-major [8, 12], its transpose, and one whose rows start anywhere.
        assert_eq!(Layout::of([96, 96], 1, 12, 8, 12), Layout::AlongDepth);
        assert_eq!(Layout::of([96, 96], 12, 1, 8, 12), Layout::Across);
        assert_eq!(Layout::of([90, 90], 1, 10, 9, 10), Layout::Scattered);
        assert_eq!(Layout::of([0, 6], 1, 4, 8, 4), Layout::Scattered);
    }
}
