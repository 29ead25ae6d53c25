//! Multiplying by packed weights. Every sum has one fixed order, or is of integers, where order does not matter: so
//! the same weights give the same bits in a browser and in a terminal.

use wide::{i16x8, i32x4};

use super::{Grid, PackedMatrix, calibrate::min_max, direct::Phases, grid::Scheme};

/// Products of a code of weights and one of inputs, 255 times 255 at most, whose sum cannot wrap.
pub(super) const MOST_IN_32_BITS: usize = 1 << 15;

// ANCHOR: integer_linear
/// One layer with 8-bit activations: outputs `[batch, rows]` of centred input codes `[batch, columns]`. `input_scales`
/// holds one scale for all inputs (static ranges) or one for each row of the batch (dynamic ones). A layer without bias
/// passes none.
///
/// Each row is unpacked once for the whole batch. The inner loop knows only integers; the scales come in once for
/// each group of columns.
#[must_use]
pub fn integer_linear(weight: &PackedMatrix, bias: &[f32], inputs: &[i16], input_scales: &[f32]) -> Vec<f32> {
    if let (true, Some(phases)) = (inputs.len() == weight.columns, Phases::of_integers(inputs, weight)) {
        return integer_vector(weight, bias, inputs, &phases, input_scales[0]);
    }
    let batch = inputs.len() / weight.columns;
    let mut outputs = vec![0.0; batch * weight.rows];
    let (mut codes, mut w) = (vec![0; weight.columns], vec![0; weight.columns]);
    for row in 0..weight.rows {
        weight.decode_row(row, &mut codes, &mut w);
        let scales = weight.row_scales(row);
        let batch = inputs.chunks_exact(weight.columns).zip(outputs.chunks_exact_mut(weight.rows));
        for (i, (x, outputs)) in batch.enumerate() {
            let input_scale = input_scales[i.min(input_scales.len() - 1)];
            let (mut sum, mut start) = (bias.get(row).copied().unwrap_or(0.0), 0);
            for scale in scales {
                let end = (start + weight.group_size).min(weight.columns);
                sum += input_scale * scale * integer_dot(&w[start..end], &x[start..end]) as f32;
                start = end;
            }
            outputs[row] = sum;
        }
    }
    outputs
}

/// Sum of products. Each is below 2^16, so 2^15 of them fit into 32 bits.
fn integer_dot(w: &[i16], x: &[i16]) -> i64 {
    w.chunks(MOST_IN_32_BITS).zip(x.chunks(MOST_IN_32_BITS)).map(|(w, x)| i64::from(short_dot(w, x))).sum()
}

/// The same, eight products at a time.
fn short_dot(w: &[i16], x: &[i16]) -> i32 {
    let (w, w_rest) = w.as_chunks::<8>();
    let (x, x_rest) = x.as_chunks::<8>();
    let lanes = w.iter().zip(x).fold(i32x4::ZERO, |lanes, (w, x)| lanes + i16x8::new(*w).dot(i16x8::new(*x)));
    let rest: i32 = w_rest.iter().zip(x_rest).map(|(w, x)| i32::from(*w) * i32::from(*x)).sum();
    lanes.reduce_add() + rest
}
// ANCHOR_END: integer_linear

// ANCHOR: quantize_activations
/// Activations to centred 8-bit codes: `code - zero_point`.
#[must_use]
pub fn quantize_activations(grid: &Grid, activations: &[f32]) -> Vec<i16> {
    activations.iter().map(|x| grid.centred(*x)).collect()
}
// ANCHOR_END: quantize_activations

// ANCHOR: quantize_rows
/// The same with a grid for every row of `columns` activations, made from that row's own extremes: the codes, and the
/// scale of each row.
#[must_use]
pub fn quantize_rows(activations: &[f32], columns: usize, bits: u32) -> (Vec<i16>, Vec<f32>) {
    let mut codes = Vec::with_capacity(activations.len());
    let mut scales = Vec::with_capacity(activations.len() / columns.max(1));
    for row in activations.chunks_exact(columns) {
        let (min, max) = min_max(row);
        let grid = Grid::fit(Scheme::Affine, bits, min, max);
        codes.extend(quantize_activations(&grid, row));
        scales.push(grid.scale);
    }
    (codes, scales)
}
// ANCHOR_END: quantize_rows

// ANCHOR: mixed_linear
/// One layer with FP32 activations: only the weights are integers, unpacked and scaled on the fly. A layer without bias
/// passes none.
#[must_use]
pub fn mixed_linear(weight: &PackedMatrix, bias: &[f32], inputs: &[f32]) -> Vec<f32> {
    if let (true, Some(phases)) = (inputs.len() == weight.columns, Phases::of_floats(inputs, weight)) {
        return mixed_vector(weight, bias, &phases);
    }
    let batch = inputs.len() / weight.columns;
    let mut outputs = vec![0.0; batch * weight.rows];
    let (mut codes, mut centred) = (vec![0; weight.columns], vec![0; weight.columns]);
    let mut w = vec![0.0; weight.columns];
    for row in 0..weight.rows {
        weight.dequantize_row(row, &mut codes, &mut centred, &mut w);
        for (x, outputs) in inputs.chunks_exact(weight.columns).zip(outputs.chunks_exact_mut(weight.rows)) {
            outputs[row] = bias.get(row).copied().unwrap_or(0.0) + float_dot(&w, x);
        }
    }
    outputs
}
// ANCHOR_END: mixed_linear

// ANCHOR: integer_vector
/// [`integer_linear`] of one row of inputs: the sums are taken from the packed bytes. The zero point is left out of the sum
/// and corrected afterwards, by the sum of the inputs.
fn integer_vector(
    weight: &PackedMatrix,
    bias: &[f32],
    inputs: &[i16],
    phases: &Phases<i16>,
    input_scale: f32,
) -> Vec<f32> {
    // What a zero point of 1 would take away, for each group; groups lie alike in every row.
    let size = if weight.scales.len() == 1 { weight.columns } else { weight.group_size };
    let total = |group: &[i16]| group.iter().map(|x| i32::from(*x)).sum::<i32>() as f32;
    let totals: Vec<f32> = inputs.chunks(size).map(total).collect();
    let output = |row: usize| {
        let grids = weight.row_grids(row).zip(&totals);
        let correction: f32 = grids.map(|((scale, zero_point), total)| scale * f32::from(zero_point) * total).sum();
        bias.get(row).copied().unwrap_or(0.0) + input_scale * (phases.dot(weight, row) - correction)
    };
    (0..weight.rows).map(output).collect()
}
// ANCHOR_END: integer_vector

/// [`mixed_linear`] of one row of inputs.
fn mixed_vector(weight: &PackedMatrix, bias: &[f32], phases: &Phases<f32>) -> Vec<f32> {
    let output = |row: usize| bias.get(row).copied().unwrap_or(0.0) + phases.dot(weight, row);
    (0..weight.rows).map(output).collect()
}

/// Sum of products in eight lanes that are added up at the end: an order that vector units and plain loops share.
fn float_dot(w: &[f32], x: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (w, x) = (w.chunks_exact(8), x.chunks_exact(8));
    let rest: f32 = w.remainder().iter().zip(x.remainder()).map(|(w, x)| w * x).sum();
    for (w, x) in w.zip(x) {
        for lane in 0..8 {
            lanes[lane] += w[lane] * x[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Dense,
        quant::{
            Calibration, Granularity, Settings, calibrate, naive,
            packed::tests::{matrix, settings},
        },
    };

    proptest! {
        /// One row of inputs takes another way than several: both must end at the same numbers.
        #[test]
        fn a_vector_gets_what_it_gets_among_others(
            settings in settings(),
            (rows, eighths) in (1_usize..5, 1_usize..20),
            raw in prop::collection::vec(-2.0_f32..2.0, 160 * 6),
            wide_groups in any::<bool>(),
        ) {
            let columns = 8 * eighths;
            let granularity = match settings.granularity {
                Granularity::Group(size) => Granularity::Group(if wide_groups { 32 } else { 8 * size.div_ceil(8) }),
                other => other,
            };
            let settings = Settings { granularity, ..settings };
            let packed = PackedMatrix::quantize(&raw[..rows * columns], columns, &settings);
            let input = &raw[160 * 5..160 * 5 + columns];
            let twice = [input, input].concat();
            let (one, two) = (mixed_linear(&packed, &[], input), mixed_linear(&packed, &[], &twice));
            for (alone, among) in one.iter().zip(&two) {
                prop_assert!((alone - among).abs() < 1e-3, "{} {} {:?}", alone, among, settings);
            }
            let (codes, scales) = quantize_rows(&twice, columns, 8);
            let one = integer_linear(&packed, &[], &codes[..columns], &scales[..1]);
            for (alone, among) in one.iter().zip(&integer_linear(&packed, &[], &codes, &scales)) {
                prop_assert!((alone - among).abs() < 1e-3, "{} {} {:?}", alone, among, settings);
            }
        }
    }

    proptest! {
        #[test]
        fn packed_layers_agree_with_the_naive_one(
            settings in settings(),
            (weight, columns) in matrix(),
            raw in prop::collection::vec(-1.0_f32..3.0, 120),
        ) {
            let rows = weight.len() / columns;
            let inputs = &raw[..raw.len() / columns * columns];
            let bias: Vec<f32> = (0..rows).map(|i| i as f32 * 0.1).collect();
            let packed = PackedMatrix::quantize(&weight, columns, &settings);
            let rounded = naive::fake_quantize(&weight, columns, &settings);
            let layer = Dense { inputs: columns, outputs: rows, weight: rounded, bias: bias.clone() };

            let grid = calibrate(Calibration::MinMax, 8, inputs);
            let codes = quantize_activations(&grid, inputs);
            let seen: Vec<f32> = inputs.iter().map(|x| grid.value(grid.code(*x))).collect();
            let integer = integer_linear(&packed, &bias, &codes, &[grid.scale]);
            for (fast, plain) in integer.iter().zip(naive::linear(&layer, &seen)) {
                prop_assert!((fast - plain).abs() < 1e-3, "{} {}", fast, plain);
            }
            for (fast, plain) in mixed_linear(&packed, &bias, inputs).iter().zip(naive::linear(&layer, inputs)) {
                prop_assert!((fast - plain).abs() < 1e-3, "{} {}", fast, plain);
            }

            let (codes, scales) = quantize_rows(inputs, columns, 8);
            let own = |row: &[f32]| {
                let grid = calibrate(Calibration::MinMax, 8, row);
                row.iter().map(|x| grid.value(grid.code(*x))).collect::<Vec<f32>>()
            };
            let seen: Vec<f32> = inputs.chunks_exact(columns).flat_map(own).collect();
            let dynamic = integer_linear(&packed, &bias, &codes, &scales);
            for (fast, plain) in dynamic.iter().zip(naive::linear(&layer, &seen)) {
                prop_assert!((fast - plain).abs() < 1e-3, "{} {}", fast, plain);
            }
        }
    }
}
