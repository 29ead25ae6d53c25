//! A weight matrix as packed integers.

use lab_kit::quant::{Grid, Scheme, pack, packed_len, unpack_into};

use crate::registry::quantization::{Granularity, Settings};

// ANCHOR: packed_matrix
/// A matrix `[rows, columns]` of b-bit integers with their scales: everything inference needs, and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedMatrix {
    /// Output channels.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Bits of a weight.
    pub bits: u32,
    /// Columns that share one scale.
    pub group_size: usize,
    /// Packed integers, row after row; each row begins with a fresh byte.
    pub codes: Vec<u8>,
    /// One for the matrix, for each row, or for each group of each row.
    pub scales: Vec<f32>,
    /// As many as scales where the scheme is affine, none where it is symmetric.
    pub zero_points: Vec<u8>,
}
// ANCHOR_END: packed_matrix

impl PackedMatrix {
    // ANCHOR: quantize
    /// Quantizes weights (`[rows, columns]`, row-major) and packs them.
    #[must_use]
    pub fn quantize(weight: &[f32], columns: usize, settings: &Settings) -> Self {
        let fit = |block: &[f32]| {
            let (min, max) = block.iter().fold((0.0_f32, 0.0_f32), |(min, max), w| (min.min(*w), max.max(*w)));
            Grid::fit(settings.scheme, settings.bits, min, max)
        };
        let group_size = match settings.granularity {
            Granularity::Group(size) => size.clamp(1, columns),
            Granularity::Tensor | Granularity::Channel => columns,
        };
        let grids: Vec<Grid> = match settings.granularity {
            Granularity::Tensor => vec![fit(weight)],
            _ => weight.chunks(columns).flat_map(|row| row.chunks(group_size)).map(fit).collect(),
        };
        let mut packed = Self {
            rows: weight.len() / columns,
            columns,
            bits: settings.bits,
            group_size,
            codes: Vec::with_capacity(weight.len() / columns * packed_len(columns, settings.bits)),
            scales: grids.iter().map(|grid| grid.scale).collect(),
            zero_points: match settings.scheme {
                Scheme::Symmetric => Vec::new(),
                Scheme::Affine => grids.iter().map(|grid| grid.zero_point).collect(),
            },
        };
        for (i, row) in weight.chunks(columns).enumerate() {
            let groups = row.chunks(group_size).enumerate();
            let codes: Vec<u8> = groups
                .flat_map(|(group, block)| {
                    let grid = grids[packed.grid_index(i, group)];
                    block.iter().map(move |w| grid.code(*w))
                })
                .collect();
            packed.codes.extend(pack(&codes, settings.bits));
        }
        packed
    }
    // ANCHOR_END: quantize

    // ANCHOR: decode_row
    /// Unpacks one row to integers around zero: `code - zero_point`, from -255 to 255. `codes` is scratch space.
    pub fn decode_row(&self, row: usize, codes: &mut [u8], centred: &mut [i16]) {
        let row_bytes = packed_len(self.columns, self.bits);
        unpack_into(&self.codes[row * row_bytes..(row + 1) * row_bytes], self.bits, 0, codes);
        let groups = codes.chunks(self.group_size).zip(centred.chunks_mut(self.group_size));
        for (group, (codes, centred)) in groups.enumerate() {
            let zero_point = i16::from(self.zero_point(self.grid_index(row, group)));
            for (code, out) in codes.iter().zip(centred) {
                *out = i16::from(*code) - zero_point;
            }
        }
    }
    // ANCHOR_END: decode_row

    // ANCHOR: bytes
    /// Bytes of integers, scales and zero points: the length of the buffers, not a formula.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.codes.len() + size_of_val(self.scales.as_slice()) + self.zero_points.len()
    }
    // ANCHOR_END: bytes

    /// The weights that the integers stand for: `[rows, columns]`.
    #[must_use]
    pub fn dequantize(&self) -> Vec<f32> {
        let (mut codes, mut centred) = (vec![0; self.columns], vec![0; self.columns]);
        let mut weight = Vec::with_capacity(self.rows * self.columns);
        for row in 0..self.rows {
            self.decode_row(row, &mut codes, &mut centred);
            for (group, block) in centred.chunks(self.group_size).enumerate() {
                weight.extend(block.iter().map(|w| self.scale(row, group) * f32::from(*w)));
            }
        }
        weight
    }

    /// The scales of a row, one for each group of columns.
    #[must_use]
    pub fn row_scales(&self, row: usize) -> &[f32] {
        let first = self.grid_index(row, 0);
        let groups = if self.scales.len() == 1 { 1 } else { self.columns.div_ceil(self.group_size) };
        &self.scales[first..first + groups]
    }

    /// The scale of a group of columns in a row.
    #[must_use]
    pub fn scale(&self, row: usize, group: usize) -> f32 {
        self.scales[self.grid_index(row, group)]
    }

    fn zero_point(&self, grid: usize) -> u8 {
        self.zero_points.get(grid).copied().unwrap_or(1 << (self.bits - 1))
    }

    fn grid_index(&self, row: usize, group: usize) -> usize {
        if self.scales.len() == 1 { 0 } else { row * self.columns.div_ceil(self.group_size) + group }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::quantization::naive::fake_quantize;

    /// Any setting of the lab.
    pub(crate) fn settings() -> impl Strategy<Value = Settings> {
        let granularity = prop_oneof![
            Just(Granularity::Tensor),
            Just(Granularity::Channel),
            (1_usize..20).prop_map(Granularity::Group)
        ];
        let scheme = prop_oneof![Just(Scheme::Symmetric), Just(Scheme::Affine)];
        (prop::sample::select(vec![8, 4, 3, 2]), scheme, granularity).prop_map(|(bits, scheme, granularity)| Settings {
            bits,
            scheme,
            granularity,
            activations: None,
        })
    }

    /// Weights of any shape: values and columns.
    pub(crate) fn matrix() -> impl Strategy<Value = (Vec<f32>, usize)> {
        (1_usize..6, 1_usize..40)
            .prop_flat_map(|(rows, columns)| (prop::collection::vec(-2.0_f32..2.0, rows * columns), Just(columns)))
    }

    proptest! {
        #[test]
        fn packed_weights_stand_for_what_the_naive_rounding_gives(
            settings in settings(),
            (weight, columns) in matrix(),
        ) {
            let packed = PackedMatrix::quantize(&weight, columns, &settings);
            let naive = fake_quantize(&weight, columns, &settings);
            for (a, b) in packed.dequantize().iter().zip(&naive) {
                prop_assert!((a - b).abs() < 1e-6, "{} {} {:?}", a, b, settings);
            }
            let bits = packed.rows * packed_len(columns, settings.bits);
            prop_assert_eq!(packed.bytes(), bits + 4 * packed.scales.len() + packed.zero_points.len());
        }
    }
}
