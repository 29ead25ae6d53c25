//! A weight matrix as packed integers.

use half::f16;

use super::{Calibration, Granularity, Grid, Scheme, Settings, fit_range, pack, packed_len, unpack_into};

/// Bits of half precision.
pub const HALF: u32 = 16;

// ANCHOR: packed_matrix
/// A matrix `[rows, columns]` of b-bit integers with their scales: everything inference needs, and nothing else. At 16
/// bits the codes are half-precision floats (IEEE 754 binary16, little-endian), which need no scale.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedMatrix {
    /// Output channels.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Bits of a weight: 2 to 8, or 16.
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

// ANCHOR: fit_grids
/// A grid for each block of weights (`[rows, columns]`) that shares a scale: one in all, one a row, or one a group.
#[must_use]
pub fn fit_grids(weight: &[f32], columns: usize, settings: &Settings, how: Calibration) -> Vec<Grid> {
    let fit = |block: &[f32]| fit_range(how, settings.scheme, settings.bits, block);
    let group_size = settings.granularity.group_size(columns);
    match settings.granularity {
        Granularity::Tensor => vec![fit(weight)],
        _ => weight.chunks(columns).flat_map(|row| row.chunks(group_size)).map(fit).collect(),
    }
}
// ANCHOR_END: fit_grids

impl PackedMatrix {
    // ANCHOR: quantize
    /// Quantizes weights (`[rows, columns]`, row-major) and packs them: every block of weights that shares a scale gets
    /// the grid that just reaches its extremes, every weight the nearest code.
    #[must_use]
    pub fn quantize(weight: &[f32], columns: usize, settings: &Settings) -> Self {
        if settings.bits == HALF {
            return Self::halved(weight, columns);
        }
        let grids = fit_grids(weight, columns, settings, Calibration::MinMax);
        Self::with_grids(weight, columns, settings, &grids)
    }

    /// The same on grids chosen before, one for each block of weights that shares a scale, row after row.
    #[must_use]
    pub fn with_grids(weight: &[f32], columns: usize, settings: &Settings, grids: &[Grid]) -> Self {
        let group_size = settings.granularity.group_size(columns);
        let groups = columns.div_ceil(group_size);
        let grid = |i: usize| grids[if grids.len() == 1 { 0 } else { i / columns * groups + i % columns / group_size }];
        let codes: Vec<u8> = weight.iter().enumerate().map(|(i, w)| grid(i).code(*w)).collect();
        Self::from_codes(&codes, columns, settings, grids)
    }

    /// Packs codes that were chosen before, `[rows, columns]`, with their grids.
    #[must_use]
    pub fn from_codes(codes: &[u8], columns: usize, settings: &Settings, grids: &[Grid]) -> Self {
        Self {
            rows: codes.len() / columns,
            columns,
            bits: settings.bits,
            group_size: settings.granularity.group_size(columns),
            codes: codes.chunks(columns).flat_map(|row| pack(row, settings.bits)).collect(),
            scales: grids.iter().map(|grid| grid.scale).collect(),
            zero_points: match settings.scheme {
                Scheme::Symmetric => Vec::new(),
                Scheme::Affine => grids.iter().map(|grid| grid.zero_point).collect(),
            },
        }
    }
    // ANCHOR_END: quantize

    /// Rounds weights to half precision.
    fn halved(weight: &[f32], columns: usize) -> Self {
        Self {
            rows: weight.len() / columns,
            columns,
            bits: HALF,
            group_size: columns,
            codes: weight.iter().flat_map(|w| f16::from_f32(*w).to_le_bytes()).collect(),
            scales: Vec::new(),
            zero_points: Vec::new(),
        }
    }

    // ANCHOR: decode_row
    /// Unpacks one row to integers around zero: `code - zero_point`, from -255 to 255. `codes` is scratch space.
    pub fn decode_row(&self, row: usize, codes: &mut [u8], centred: &mut [i16]) {
        unpack_into(self.row_codes(row), self.bits, 0, codes);
        let groups = codes.chunks(self.group_size).zip(centred.chunks_mut(self.group_size));
        for (group, (codes, centred)) in groups.enumerate() {
            let zero_point = i16::from(self.zero_point(self.grid_index(row, group)));
            for (code, out) in codes.iter().zip(centred) {
                *out = i16::from(*code) - zero_point;
            }
        }
    }
    // ANCHOR_END: decode_row

    /// One row as the floats it stands for. `codes` and `centred` are scratch space, all three `columns` long.
    pub fn dequantize_row(&self, row: usize, codes: &mut [u8], centred: &mut [i16], weight: &mut [f32]) {
        if self.bits == HALF {
            let bytes = &self.codes[row * 2 * self.columns..(row + 1) * 2 * self.columns];
            for (w, pair) in weight.iter_mut().zip(bytes.chunks_exact(2)) {
                *w = f16::from_le_bytes([pair[0], pair[1]]).to_f32();
            }
            return;
        }
        self.decode_row(row, codes, centred);
        let groups = centred.chunks(self.group_size).zip(weight.chunks_mut(self.group_size));
        for (group, (centred, weight)) in groups.enumerate() {
            let scale = self.scale(row, group);
            weight.iter_mut().zip(centred).for_each(|(w, code)| *w = scale * f32::from(*code));
        }
    }

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
        let mut weight = vec![0.0; self.rows * self.columns];
        for (row, weight) in weight.chunks_exact_mut(self.columns.max(1)).enumerate() {
            self.dequantize_row(row, &mut codes, &mut centred, weight);
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

    /// The bytes of a row.
    #[must_use]
    pub fn row_codes(&self, row: usize) -> &[u8] {
        let row_bytes = packed_len(self.columns, self.bits);
        &self.codes[row * row_bytes..(row + 1) * row_bytes]
    }

    /// Scale and zero point of each group of a row.
    pub(super) fn row_grids(&self, row: usize) -> impl Iterator<Item = (f32, u8)> {
        let first = self.grid_index(row, 0);
        self.row_scales(row).iter().enumerate().map(move |(group, scale)| (*scale, self.zero_point(first + group)))
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
    use crate::quant::naive::fake_quantize;

    /// Any setting of the weights.
    pub(crate) fn settings() -> impl Strategy<Value = Settings> {
        let granularity = prop_oneof![
            Just(Granularity::Tensor),
            Just(Granularity::Channel),
            (1_usize..20).prop_map(Granularity::Group)
        ];
        let scheme = prop_oneof![Just(Scheme::Symmetric), Just(Scheme::Affine)];
        (prop::sample::select(vec![8, 4, 3, 2]), scheme, granularity)
            .prop_map(|(bits, scheme, granularity)| Settings::weight_only(bits, scheme, granularity))
    }

    /// Weights of any shape: values and columns.
    pub(crate) fn matrix() -> impl Strategy<Value = (Vec<f32>, usize)> {
        (1_usize..6, 1_usize..40)
            .prop_flat_map(|(rows, columns)| (prop::collection::vec(-2.0_f32..2.0, rows * columns), Just(columns)))
    }

    #[test]
    fn half_precision_takes_two_bytes_and_errs_by_its_eleventh_bit() {
        let weight: Vec<f32> = (0..60).map(|i| (i as f32 - 30.0) * 0.123).collect();
        let settings = Settings::weight_only(HALF, Scheme::Affine, Granularity::Group(4));
        let packed = PackedMatrix::quantize(&weight, 12, &settings);
        assert_eq!((packed.rows, packed.bytes()), (5, 120));
        for (half, w) in packed.dequantize().iter().zip(&weight) {
            assert!((half - w).abs() <= w.abs() / 2048.0, "{half} {w}");
        }
        assert_eq!(PackedMatrix::quantize(&[1.0, -0.5], 2, &settings).codes, [0x00, 0x3c, 0x00, 0xb8]);
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
