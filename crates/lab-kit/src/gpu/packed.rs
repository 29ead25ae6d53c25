//! Packed weights on the GPU: read as they are, 32 at a time, and turned into floats in registers only.

use burn::{
    backend::{
        Backend, Cube, Dispatch, ExtensionType,
        tensor::{FloatTensor, IntTensor},
        wgpu::CubeTensor,
    },
    tensor::{Device, Int, Tensor, TensorData},
};

use super::{
    kernels::Kernels,
    launch::{Kernel, Operand, contiguous, empty, groups_of_64, launch, word},
};
use crate::quant::{Grid, HALF, PackedMatrix, packed_len};

/// Columns that a thread reads at once: whole words at every width.
pub(super) const CHUNK: usize = 32;
/// Rows of inputs that share what a thread has unpacked.
pub(super) const TILE: usize = 4;
/// Threads of a workgroup.
pub(super) const THREADS: usize = 64;

/// What the kernels must know of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedForm {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) bits: u32,
    group_size: usize,
    /// Scales of a row; 0 where the whole matrix has one.
    groups: usize,
    affine: bool,
}

/// How inputs become integers of 8 bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputCodes {
    /// The affine grid of all inputs; without one each row has its own.
    pub(super) grid: Option<Grid>,
    /// Whether shaders have integer dot products.
    pub(super) dots: bool,
}

/// A packed matrix `[outputs, inputs]` in buffers.
#[derive(Debug, Clone)]
pub struct PackedBuffers {
    form: PackedForm,
    /// `[chunks, bits, rows]`: a row's 32 codes fill `bits` words, and neighbouring threads, which compute neighbouring
    /// rows, read neighbouring words.
    words: Tensor<1, Int>,
    /// `[rows * groups]`, or one.
    scales: Tensor<1>,
    /// As many as scales where the grid is affine, else one.
    zero_points: Tensor<1>,
    /// `[rows]`: the sum of each row's weights, by which a zero point of the inputs is made up for.
    sums: Tensor<1>,
}

/// The same tensors beyond Burn's dispatch.
#[derive(ExtensionType)]
pub(super) struct Weights<B: Backend> {
    pub(super) words: IntTensor<B>,
    pub(super) scales: FloatTensor<B>,
    pub(super) zero_points: FloatTensor<B>,
    pub(super) sums: FloatTensor<B>,
}

impl PackedBuffers {
    /// Copies a matrix to the GPU. A thread takes eight weights on one scale: groups that end within a row are of a multiple
    /// of eight, as every control of the labs steps.
    #[must_use]
    pub fn new(matrix: &PackedMatrix, device: &Device) -> Self {
        let PackedMatrix { rows, columns, bits, group_size, .. } = *matrix;
        debug_assert!(group_size >= columns || group_size.is_multiple_of(8), "groups of {group_size}");
        let row_bytes = if bits == HALF { 2 * columns } else { packed_len(columns, bits) };
        let (chunks, width) = (columns.div_ceil(CHUNK), bits as usize);
        let mut words = vec![0_i32; chunks * width * rows];
        for (row, bytes) in matrix.codes.chunks_exact(row_bytes.max(1)).enumerate() {
            for (at, four) in bytes.chunks(4).enumerate() {
                let mut whole = [0; 4];
                whole[..four.len()].copy_from_slice(four);
                words[at * rows + row] = i32::from_le_bytes(whole);
            }
        }
        let floats = |values: Vec<f32>| {
            let count = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [count]), device)
        };
        let or_one = |values: Vec<f32>| if values.is_empty() { vec![1.0] } else { values };
        let count = words.len();
        Self {
            form: PackedForm {
                rows,
                columns,
                bits,
                group_size,
                groups: if matrix.scales.len() <= 1 { 0 } else { columns.div_ceil(group_size) },
                affine: !matrix.zero_points.is_empty(),
            },
            words: Tensor::from_data(TensorData::new(words, [count]), device),
            scales: floats(or_one(matrix.scales.clone())),
            zero_points: floats(or_one(matrix.zero_points.iter().map(|zero| f32::from(*zero)).collect())),
            sums: floats(sums(matrix)),
        }
    }

    /// Inputs of a row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.form.columns
    }

    /// `[n, inputs]` to `[n, outputs]`.
    #[must_use]
    pub fn linear(&self, x: Tensor<2>) -> Tensor<2> {
        Tensor::from_dispatch(<Dispatch as Kernels>::packed_linear(x.into_dispatch(), self.weights(), self.form))
    }

    /// The same with inputs rounded to 8 bits, on this affine grid or, without one, each row on a grid of its own; [`HALF`]
    /// has no integers and rounds nothing.
    #[must_use]
    pub fn linear_int8(&self, x: Tensor<2>, grid: Option<Grid>) -> Tensor<2> {
        if self.form.bits == HALF {
            return self.linear(x);
        }
        let codes = InputCodes { grid, dots: super::has_integer_dots() };
        Tensor::from_dispatch(<Dispatch as Kernels>::packed_linear_int8(
            x.into_dispatch(),
            self.weights(),
            self.form,
            codes,
        ))
    }

    /// The rows with these numbers: `[n]` to `[n, inputs]`.
    #[must_use]
    pub fn rows(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        Tensor::from_dispatch(<Dispatch as Kernels>::packed_rows(ids.into_dispatch(), self.weights(), self.form))
    }

    fn weights(&self) -> Weights<Dispatch> {
        let Self { words, scales, zero_points, sums, .. } = self.clone();
        Weights {
            words: words.into_dispatch(),
            scales: scales.into_dispatch(),
            zero_points: zero_points.into_dispatch(),
            sums: sums.into_dispatch(),
        }
    }
}

/// The sum of each row's weights.
fn sums(matrix: &PackedMatrix) -> Vec<f32> {
    let (mut codes, mut centred) = (vec![0; matrix.columns], vec![0; matrix.columns]);
    let mut weights = vec![0.0; matrix.columns];
    let mut sum = |row| {
        matrix.dequantize_row(row, &mut codes, &mut centred, &mut weights);
        weights.iter().map(|w| f64::from(*w)).sum::<f64>() as f32
    };
    (0..matrix.rows).map(&mut sum).collect()
}

/// The launch of [`PackedBuffers::linear`].
pub(super) fn linear(x: CubeTensor, weights: &Weights<Cube>, form: PackedForm) -> CubeTensor {
    let x = contiguous(x);
    let n = x.meta.shape()[0];
    let y = empty([n, form.rows], &x);
    let tile = if n == 1 { 1 } else { TILE };
    let vectors = form.columns.is_multiple_of(CHUNK);
    let element = if vectors { "vec4<f32>" } else { "f32" };
    let variant = form.variant() << 2 | u32::from(vectors) << 1 | u32::from(tile > 1);
    let kernel =
        Kernel { name: "packed_linear", variant, body: linear_text(form, tile, vectors), threads: (word(THREADS), 1) };
    let inputs = vec![Operand { name: "x", element, tensor: &x }];
    let [groups_x, groups_y] = [word(form.rows.div_ceil(THREADS)), word(n.div_ceil(tile))];
    form.launch(kernel, inputs, weights, &y, n, [groups_x, groups_y, 1]);
    y
}

/// The launch of [`PackedBuffers::rows`].
pub(super) fn rows(ids: CubeTensor, weights: &Weights<Cube>, form: PackedForm) -> CubeTensor {
    let ids = contiguous(ids);
    let n = ids.meta.shape()[0];
    let y = empty([n, form.columns], &weights.scales);
    let body = format!("{}{}", form.constants(), include_str!("packed_rows.wgsl"));
    let kernel = Kernel { name: "packed_rows", variant: form.variant(), body, threads: (word(THREADS), 1) };
    let inputs = vec![Operand { name: "ids", element: "i32", tensor: &ids }];
    form.launch(kernel, inputs, weights, &y, n, groups_of_64(n * form.columns));
    y
}

impl PackedForm {
    /// Whether 32 neighbours always share a scale.
    pub(super) fn one_scale_a_chunk(self) -> bool {
        self.groups <= 1 || self.group_size.is_multiple_of(CHUNK)
    }

    /// Tells texts apart: width, grid, and how often scales change.
    pub(super) fn variant(self) -> u32 {
        self.bits << 2 | u32::from(self.affine) << 1 | u32::from(self.one_scale_a_chunk())
    }

    pub(super) fn constants(self) -> String {
        let zero = if self.affine { "zero_points[scale_at(row, column)]".to_owned() } else { self.middle() };
        format!(
            "const BITS: u32 = {}u;\nconst HALF: bool = {};\n\
             fn scale_at(row: u32, column: u32) -> u32 {{ return row * info[3].x + column / info[4].x * info[5].x; }}\n\
             fn zero_at(row: u32, column: u32) -> f32 {{ return {zero}; }}\n",
            self.bits,
            self.bits == HALF,
        )
    }

    /// The code of zero on a symmetric grid.
    fn middle(self) -> String {
        if self.bits == HALF { "0.0".to_owned() } else { format!("{}.0", 1 << (self.bits - 1)) }
    }

    /// Starts a kernel that reads `inputs` and these weights and writes `y` for `n` rows of inputs.
    pub(super) fn launch<'a>(
        self,
        kernel: Kernel,
        mut operands: Vec<Operand<'a>>,
        weights: &'a Weights<Cube>,
        y: &CubeTensor,
        n: usize,
        groups: [u32; 3],
    ) {
        operands.push(Operand { name: "words", element: "u32", tensor: &weights.words });
        operands.push(Operand::new("scales", &weights.scales));
        if self.affine {
            operands.push(Operand::new("zero_points", &weights.zero_points));
        }
        let step = usize::from(self.groups > 0);
        let numbers = [n, self.rows, self.columns, self.groups, self.group_size, step].map(word);
        launch(kernel, &operands, &[Operand::new("y", y)], &numbers, groups);
    }
}

/// The text of the product: 32 codes of one row are unpacked into eight vectors, which meet the inputs of `tile` rows.
fn linear_text(form: PackedForm, tile: usize, vectors: bool) -> String {
    let bits = form.bits as usize;
    let load: String =
        (0..bits).map(|i| format!("        let w{i} = words[(chunk * BITS + {i}u) * info[1].x + row];\n")).collect();
    // Blocks of codes that share scale and zero point: the whole chunk, or eight codes.
    let block = if form.one_scale_a_chunk() { CHUNK } else { 8 };
    let mut body = String::new();
    for start in (0..CHUNK).step_by(block) {
        body += &format!(
            "        {{\n        let column = chunk * 32u + {start}u;\n        let zero = vec4<f32>(zero_at(row, column));\n\
             \x20       let scale = scales[scale_at(row, column)];\n"
        );
        let quads: Vec<usize> = (start / 4..(start + block) / 4).collect();
        for quad in &quads {
            let codes: Vec<String> = (4 * quad..4 * quad + 4).map(|i| float_code(i, bits)).collect();
            body += &format!("        let q{quad} = vec4<f32>({}) - zero;\n", codes.join(", "));
        }
        for b in 0..tile {
            let terms: Vec<String> =
                quads.iter().map(|quad| format!("dot(q{quad}, x4(at{b}, chunk, {quad}u))")).collect();
            body += &format!("        sum{b} += scale * ({});\n", terms.join(" + "));
        }
        body += "        }\n";
    }
    let each = |line: &dyn Fn(usize) -> String| (0..tile).map(line).collect::<String>();
    let x4 = if vectors {
        "fn x4(at: u32, chunk: u32, quad: u32) -> vec4<f32> { return x[at * (info[2].x >> 2u) + chunk * 8u + quad]; }\n"
    } else {
        "fn x1(at: u32, column: u32) -> f32 {\n    if (column < info[2].x) { return x[at * info[2].x + column]; }\n    return 0.0;\n}\n\
         fn x4(at: u32, chunk: u32, quad: u32) -> vec4<f32> {\n    let column = chunk * 32u + quad * 4u;\n\
         \x20   return vec4<f32>(x1(at, column), x1(at, column + 1u), x1(at, column + 2u), x1(at, column + 3u));\n}\n"
    };
    format!(
        "{}{x4}\n@compute @workgroup_size({THREADS}, 1, 1)\nfn main(@builtin(global_invocation_id) id: vec3<u32>) {{\n    \
         let row = id.x;\n    if (row >= info[1].x) {{ return; }}\n    let chunks = (info[2].x + 31u) / 32u;\n\
         {}{}    for (var chunk = 0u; chunk < chunks; chunk++) {{\n{load}{body}    }}\n{}}}\n",
        form.constants(),
        each(&|b| format!("    let at{b} = min(id.y * {tile}u + {b}u, info[0].x - 1u);\n")),
        each(&|b| format!("    var sum{b} = 0.0;\n")),
        each(&|b| format!(
            "    if (id.y * {tile}u + {b}u < info[0].x) {{ y[(id.y * {tile}u + {b}u) * info[1].x + row] = sum{b}; }}\n"
        )),
    )
}

/// Code `i` of a chunk as a float, from the words that hold it.
fn float_code(i: usize, bits: usize) -> String {
    if bits == HALF as usize {
        return format!("unpack2x16float(w{})[{}]", i / 2, i % 2);
    }
    format!("f32({})", code(i, bits))
}

/// The same as an integer.
pub(super) fn code(i: usize, bits: usize) -> String {
    let (first, mask) = (i * bits, (1_u32 << bits) - 1);
    let (at, shift) = (first / 32, first % 32);
    let low = format!("(w{at} >> {shift}u)");
    let whole = if shift + bits > 32 { format!("({low} | (w{} << {}u))", at + 1, 32 - shift) } else { low };
    format!("({whole} & {mask}u)")
}
