//! Packed weights times inputs that are rounded to 8 bits on the way: two launches, whatever the shapes.
//!
//! Where WGSL has `packed_4x8_integer_dot_product`, products are of integers, four in an instruction. With codes `c` and zero
//! points `z` of weights (`w`, one grid a group) and inputs (`x`, one grid a row or for all), an output is
//!
//! `scale_x * (sum over groups of scale_w * (sum of c_w * c_x - z_w * sum of c_x) - z_x * sum of w)`
//!
//! where the last sum, of the weights themselves, is known when they are packed. Elsewhere, and where a chunk of 32 neighbours
//! does not share a scale, the rounded inputs go as floats into the product of packed weights.

use burn::backend::{Cube, wgpu::CubeTensor};

use super::{
    launch::{Kernel, Operand, contiguous, empty, launch, word},
    packed::{CHUNK, InputCodes, PackedForm, THREADS, TILE, Weights, code, linear},
};
use crate::quant::Grid;

/// Words that the 8-bit codes of a chunk fill.
const WORDS: usize = CHUNK / 4;

/// Rounds the inputs and multiplies. `dots`: whether the shader language has integer dot products.
pub(super) fn linear_int8(x: CubeTensor, weights: &Weights<Cube>, form: PackedForm, how: InputCodes) -> CubeTensor {
    let x = contiguous(x);
    if !how.dots || !form.one_scale_a_chunk() {
        return linear(rounded(&x, how.grid), weights, form);
    }
    let [n, chunks] = [x.meta.shape()[0], form.columns.div_ceil(CHUNK)];
    let (codes, facts) = (empty([n, chunks * WORDS], &x), empty([n, 2 + chunks], &x));
    let phases = phases(form.bits);
    round(
        &x,
        how.grid,
        Kernel {
            name: "round_to_codes",
            variant: phases,
            body: format!("const PHASES: u32 = {phases}u;\n{}", include_str!("put_codes.wgsl")),
            threads: (64, 1),
        },
        &[Operand { name: "codes", element: "u32", tensor: &codes }, Operand::new("facts", &facts)],
    );
    let y = empty([n, form.rows], &x);
    let tile = if n == 1 { 1 } else { TILE };
    let kernel = Kernel {
        name: "packed_integer_linear",
        variant: form.variant() << 1 | u32::from(tile > 1),
        body: text(form, tile),
        threads: (word(THREADS), 1),
    };
    let inputs = vec![
        Operand { name: "codes", element: "vec4<u32>", tensor: &codes },
        Operand::new("facts", &facts),
        Operand::new("sums", &weights.sums),
    ];
    form.launch(kernel, inputs, weights, &y, n, [word(form.rows.div_ceil(THREADS)), word(n.div_ceil(tile)), 1]);
    y
}

/// The values that 8-bit inputs stand for, `[n, columns]`.
fn rounded(x: &CubeTensor, grid: Option<Grid>) -> CubeTensor {
    let y = empty(x.meta.shape().to_vec(), x);
    let body = include_str!("put_floats.wgsl").to_owned();
    let kernel = Kernel { name: "round_to_floats", variant: 0, body, threads: (64, 1) };
    round(x, grid, kernel, &[Operand::new("y", &y)]);
    y
}

fn round(x: &CubeTensor, grid: Option<Grid>, kernel: Kernel, outputs: &[Operand]) {
    // No grid has a scale of zero: such a one is to be measured.
    let (scale, zero_point) = grid.map_or((0.0, 0), |grid| (grid.scale, grid.zero_point));
    let [n, columns] = [x.meta.shape()[0], x.meta.shape()[1]];
    let across = word(n).clamp(1, 0xffff);
    let groups = [across, word(n).div_ceil(across).max(1), 1];
    let body = include_str!("round_rows.wgsl").to_owned() + &kernel.body;
    let words = [word(n), word(columns), scale.to_bits(), u32::from(zero_point)];
    launch(Kernel { body, ..kernel }, &[Operand::new("x", x)], outputs, &words, groups);
}

/// How many codes apart the four stand that a mask leaves of a word: with 4 bits every other one.
fn phases(bits: u32) -> u32 {
    match bits {
        4 => 2,
        2 => 4,
        // Whole bytes; and widths that do not divide a byte, whose codes are gathered one by one.
        _ => 1,
    }
}

/// Word `k` of a chunk's weights as four codes of 8 bits, in the order of the inputs.
fn quad(k: usize, bits: u32) -> String {
    let phases = phases(bits) as usize;
    match bits {
        8 => format!("w{k}"),
        2 | 4 => {
            let mask = u32::MAX / 255 * ((1 << bits) - 1);
            format!("((w{} >> {}u) & {mask}u)", k / phases, k % phases * bits as usize)
        }
        _ => {
            let codes = (0..4).map(|lane| format!("({} << {}u)", code(4 * k + lane, bits as usize), 8 * lane));
            format!("({})", codes.collect::<Vec<_>>().join(" | "))
        }
    }
}

/// The text of the product: a thread computes one output of `tile` rows of inputs.
fn text(form: PackedForm, tile: usize) -> String {
    let lines = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let dots: Vec<String> = (0..WORDS)
        .map(|k| format!("dot4U8Packed(q{k}, {}.{})", ["low", "high"][k / 4], ["x", "y", "z", "w"][k % 4]))
        .collect();
    format!(
        "{constants}\n@compute @workgroup_size({THREADS}, 1, 1)\nfn main(@builtin(global_invocation_id) id: vec3<u32>) {{\n\
         \x20   let row = id.x;\n    if (row >= info[1].x) {{ return; }}\n    let chunks = (info[2].x + 31u) / 32u;\n\
         {ats}{starts}    for (var chunk = 0u; chunk < chunks; chunk++) {{\n{load}{quads}\
         \x20       let zero = i32(zero_at(row, chunk * 32u));\n        let scale = scales[scale_at(row, chunk * 32u)];\n\
         {adds}    }}\n{ends}}}\n",
        constants = form.constants(),
        ats = lines(tile, &|b| format!("    let at{b} = min(id.y * {tile}u + {b}u, info[0].x - 1u);\n")),
        starts = lines(tile, &|b| format!("    var sum{b} = 0.0;\n")),
        load = lines(form.bits as usize, &|i| format!(
            "        let w{i} = words[(chunk * BITS + {i}u) * info[1].x + row];\n"
        )),
        quads = lines(WORDS, &|k| format!("        let q{k} = {};\n", quad(k, form.bits))),
        adds = lines(tile, &|b| format!(
            "        {{\n        let low = codes[(at{b} * chunks + chunk) * 2u];\n        let high = codes[(at{b} * chunks + chunk) * 2u + 1u];\n\
             \x20       let found = i32({});\n\
             \x20       sum{b} += scale * f32(found - zero * i32(facts[at{b} * (chunks + 2u) + 2u + chunk]));\n        }}\n",
            dots.join(" + ")
        )),
        ends = lines(tile, &|b| format!(
            "    if (id.y * {tile}u + {b}u < info[0].x) {{\n        let at = at{b} * (chunks + 2u);\n\
             \x20       y[at{b} * info[1].x + row] = facts[at] * (sum{b} - facts[at + 1u] * sums[row]);\n    }}\n"
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the shader does with a word, done here: each mask must leave the codes that `put_codes.wgsl` puts there.
    #[test]
    fn masks_leave_the_codes_that_inputs_are_ordered_by() {
        for bits in [2_u32, 4, 8] {
            let phases = phases(bits) as usize;
            let per_word = 32 / bits as usize;
            for k in 0..WORDS {
                for lane in 0..4 {
                    let column = 4 * phases * (k / phases) + k % phases + phases * lane;
                    let (word, bit) = (column / per_word, column % per_word * bits as usize);
                    assert_eq!(word, if bits == 8 { k } else { k / phases }, "{bits} bits, word {k}");
                    assert_eq!(bit, k % phases * bits as usize + 8 * lane, "{bits} bits, word {k}, lane {lane}");
                }
            }
        }
        assert_eq!(quad(5, 4), format!("((w2 >> 4u) & {}u)", 0x0f0f_0f0f_u32));
        assert_eq!(quad(5, 2), format!("((w1 >> 2u) & {}u)", 0x0303_0303_u32));
    }
}
