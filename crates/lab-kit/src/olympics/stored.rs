//! An entry: weights as an exported file and a running model hold them.

use std::collections::BTreeMap;

use half::f16;
use sha2::{Digest, Sha256};

use super::{
    coder::encode,
    steps::{EntryStep, format_line},
};
use crate::{
    data::hex,
    models::{CnnConfig, StateDict, TransformerConfig},
    quant::{PackedMatrix, pack, packed_len},
};

/// A matrix `[rows, columns]` of integers on symmetric grids: a weight is `scale · (code − 2^(bits−1))`.
#[derive(Debug, Clone, PartialEq)]
pub struct CodedMatrix {
    /// Output channels.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Bits of a code when it is packed: enough for all levels, which need not be a power of two.
    pub bits: u32,
    /// Columns of a row that share a scale.
    pub group: usize,
    /// One a byte, row after row.
    pub codes: Vec<u8>,
    /// One for each group of each row, as half precision holds them.
    pub scales: Vec<f32>,
}

impl CodedMatrix {
    // ANCHOR: quantize
    /// Rounds weights `[rows, columns]` to `levels` evenly spaced values around zero, an odd number; `group` weights of a row share
    /// a scale, all of them where it is 0. With the triangle of [`EntryGram::upper`](super::Gram::upper) the error of each column is made up
    /// for by the columns still to come (GPTQ: Frantar et al., arXiv:2210.17323).
    #[must_use]
    pub fn quantize(weight: &[f32], columns: usize, (levels, group): (usize, usize), upper: Option<&[f64]>) -> Self {
        let bits = (levels + 1).next_power_of_two().ilog2().clamp(2, 8);
        let (zero, half) = (1_i32 << (bits - 1), (levels / 2) as f32);
        let group = if group == 0 { columns } else { group };
        let reach = |part: &[f32]| part.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
        let fit = |part: &[f32]| f16::from_f32(reach(part) / half).max(f16::MIN_POSITIVE).to_f32();
        let scales: Vec<f32> = weight.chunks(columns).flat_map(|row| row.chunks(group)).map(fit).collect();
        let each = columns.div_ceil(group);
        let mut codes = Vec::with_capacity(weight.len());
        for (row, scales) in weight.chunks_exact(columns).zip(scales.chunks(each)) {
            let mut row: Vec<f64> = row.iter().map(|w| f64::from(*w)).collect();
            for j in 0..columns {
                let scale = f64::from(scales[j / group]);
                let step = (row[j] / scale).round_ties_even().clamp(-f64::from(half), f64::from(half));
                codes.push((step as i32 + zero) as u8);
                if let Some(upper) = upper {
                    let error = (row[j] - step * scale) / upper[j * columns + j];
                    let shares = &upper[j * columns + j + 1..(j + 1) * columns];
                    row[j + 1..].iter_mut().zip(shares).for_each(|(w, share)| *w -= error * share);
                }
            }
        }
        Self { rows: weight.len() / columns.max(1), columns, bits, group, codes, scales }
    }
    // ANCHOR_END: quantize

    /// The weights that the codes stand for.
    #[must_use]
    pub fn values(&self) -> Vec<f32> {
        let (zero, each) = (1_i16 << (self.bits - 1), self.columns.div_ceil(self.group));
        let row = |(codes, scales): (&[u8], &[f32])| -> Vec<f32> {
            codes
                .iter()
                .enumerate()
                .map(|(j, code)| scales[j / self.group] * f32::from(i16::from(*code) - zero))
                .collect()
        };
        self.codes.chunks(self.columns).zip(self.scales.chunks(each)).flat_map(row).collect()
    }

    /// The same matrix with these rows, and with columns taken out: `values` are what is left of [`CodedMatrix::values`]. Whole
    /// rows must share a scale.
    #[must_use]
    pub fn part(&self, values: &[f32], columns: usize, rows: &[usize]) -> Self {
        let scales: Vec<f32> = rows.iter().map(|row| self.scales[*row]).collect();
        let zero = f32::from(1_u8 << (self.bits - 1));
        let row = |(values, scale): (&[f32], &f32)| -> Vec<u8> {
            values.iter().map(|w| ((w / scale).round_ties_even() + zero) as u8).collect()
        };
        let codes = values.chunks(columns).zip(&scales).flat_map(row).collect();
        Self { rows: rows.len(), columns, bits: self.bits, group: columns, codes, scales }
    }

    /// As the products of the engine read it: codes packed row by row, scales in FP32.
    #[must_use]
    pub fn packed(&self) -> PackedMatrix {
        PackedMatrix {
            rows: self.rows,
            columns: self.columns,
            bits: self.bits,
            group_size: self.group,
            codes: self.codes.chunks(self.columns).flat_map(|row| pack(row, self.bits)).collect(),
            scales: self.scales.clone(),
            zero_points: Vec::new(),
        }
    }

    /// Its codes in a file, packed or with a Huffman code of their own.
    #[must_use]
    pub fn code_bytes(&self, entropy: bool) -> usize {
        if entropy { encode(&self.codes, self.bits).len() } else { packed_len(self.codes.len(), self.bits) }
    }

    /// All of it in a file: codes, and scales in FP16.
    #[must_use]
    pub fn file_bytes(&self, entropy: bool) -> usize {
        self.code_bytes(entropy) + 2 * self.scales.len()
    }
}

/// The weights of an entry.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoredWeights {
    /// All tensors as floats; of a matrix that is coded, what its codes stand for.
    pub state: StateDict,
    /// The matrices that are coded, by name.
    pub coded: BTreeMap<String, CodedMatrix>,
}

impl StoredWeights {
    /// Floats.
    #[must_use]
    pub fn plain(state: StateDict) -> Self {
        Self { state, coded: BTreeMap::new() }
    }

    /// Puts a coded matrix in the place of its floats.
    pub fn put(&mut self, name: &str, matrix: CodedMatrix) {
        if let Some(weight) = self.state.get_mut(name) {
            weight.values = matrix.values();
        }
        self.coded.insert(name.to_owned(), matrix);
    }

    fn floats(&self) -> usize {
        let left = self.state.iter().filter(|(name, _)| !self.coded.contains_key(*name));
        left.map(|(_, weight)| weight.values.len()).sum()
    }

    /// Bytes of an exported file without its head of names: codes (each matrix with a code of its own where `entropy`), scales in
    /// FP16, everything else in FP32.
    #[must_use]
    pub fn file_bytes(&self, entropy: bool) -> usize {
        self.coded.values().map(|matrix| matrix.file_bytes(entropy)).sum::<usize>() + 4 * self.floats()
    }

    /// Whether the engine's packed products can run it: every matrix is coded, and none is in factors.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        let mut matrices = self.state.iter().filter(|(_, weight)| weight.shape.len() == 2);
        !self.coded.is_empty() && matrices.all(|(name, _)| self.coded.contains_key(name) && !name.ends_with(".down"))
    }

    /// Bytes in memory while it runs: packed codes and scales where the engine reads them so, FP32 for everything else.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        if self.is_packed() {
            self.coded.values().map(|matrix| matrix.packed().bytes()).sum::<usize>() + 4 * self.floats()
        } else {
            4 * self.state.parameters()
        }
    }

    /// What tells these weights from all others: the SHA-256 of codes, scales and floats by name.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (name, weight) in self.state.iter() {
            hash.update(name.as_bytes());
            match self.coded.get(name) {
                Some(matrix) => {
                    hash.update(&matrix.codes);
                    matrix.scales.iter().for_each(|scale| hash.update(scale.to_le_bytes()));
                }
                None => weight.values.iter().for_each(|w| hash.update(w.to_le_bytes())),
            }
        }
        hex(&hash.finalize())
    }
}

/// What tells a text from all others: the SHA-256 of its tokens.
#[must_use]
pub fn text_hash(windows: &[Vec<u32>]) -> String {
    let mut hash = Sha256::new();
    windows.iter().flatten().for_each(|token| hash.update(token.to_le_bytes()));
    hex(&hash.finalize())
}

/// Sizes of what is entered.
#[derive(Debug, Clone, PartialEq)]
pub enum EntrySizes {
    /// A language model.
    Language(TransformerConfig),
    /// A classifier.
    Glyphs(CnnConfig),
}

/// Weights, their sizes, and the steps that were taken.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredEntry {
    /// Sizes, after the steps.
    pub sizes: EntrySizes,
    /// Weights, after the steps.
    pub stored: StoredWeights,
    /// What was done, in order.
    pub steps: Vec<EntryStep>,
}

impl ScoredEntry {
    /// The line of its steps.
    #[must_use]
    pub fn line(&self) -> String {
        format_line(&self.steps)
    }

    /// Whether its file is coded.
    #[must_use]
    pub fn entropy(&self) -> bool {
        self.steps.contains(&EntryStep::Entropy)
    }

    /// Bytes of its file.
    #[must_use]
    pub fn file_bytes(&self) -> usize {
        self.stored.file_bytes(self.entropy())
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::quant::{Granularity, Scheme, Settings};

    fn weights(seed: u64, count: usize) -> Vec<f32> {
        let mut rng = crate::rng(seed, "weights");
        (0..count).map(|_| (0..4).map(|_| rng.random_range(-0.1_f32..0.1)).sum()).collect()
    }

    #[test]
    fn with_as_many_levels_as_bits_hold_it_is_the_quantizer_of_the_book() {
        for (bits, group) in [(3, 0), (4, 0), (4, 8), (8, 0)] {
            let weight = weights(bits.into(), 6 * 24);
            let granularity = if group == 0 { Granularity::Channel } else { Granularity::Group(group) };
            let settings = Settings::weight_only(bits, Scheme::Symmetric, granularity);
            let book = PackedMatrix::quantize(&weight, 24, &settings);
            let own = CodedMatrix::quantize(&weight, 24, ((1 << bits) - 1, group), None);
            assert_eq!(own.bits, bits);
            // Scales are rounded to half precision: a step may differ, by one in 2,048 of itself.
            for ((a, b), scale) in own.values().iter().zip(book.dequantize()).zip(weight.chunks(1).map(|_| 0.2 / 7.0)) {
                assert!((a - b).abs() < 1.1 * scale, "{a} {b}");
            }
            assert_eq!(own.packed().dequantize(), own.values());
            let unit: Vec<f64> = (0..24 * 24).map(|at| f64::from(u8::from(at % 24 == at / 24))).collect();
            assert_eq!(CodedMatrix::quantize(&weight, 24, ((1 << bits) - 1, group), Some(&unit)), own);
        }
    }

    #[test]
    fn any_odd_number_of_levels_is_met_and_bytes_are_those_of_the_buffers() {
        let weight = weights(1, 32 * 64);
        for (levels, bits) in [(3, 2), (5, 3), (11, 4), (15, 4), (31, 5), (255, 8)] {
            let own = CodedMatrix::quantize(&weight, 64, (levels, 0), None);
            let seen: std::collections::BTreeSet<u8> = own.codes.iter().copied().collect();
            assert!(own.bits == bits && seen.len() <= levels);
            let zero = 1 << (bits - 1);
            assert_eq!(
                (seen.first(), seen.last()).0.map(|low| zero - low).max(seen.last().map(|high| high - zero)),
                Some((levels / 2) as u8)
            );
            assert_eq!(own.file_bytes(false), packed_len(32 * 64, bits) + 64);
            assert_eq!(own.file_bytes(true), encode(&own.codes, bits).len() + 64);
        }
        let mut state = StateDict::default();
        state.insert("a.weight", &[32, 64], weight.clone()).expect("fits");
        state.insert("norm.weight", &[64], vec![1.0; 64]).expect("fits");
        let mut stored = StoredWeights::plain(state);
        assert_eq!((stored.file_bytes(false), stored.memory_bytes(), stored.is_packed()), (8448, 8448, false));
        let before = stored.fingerprint();
        stored.put("a.weight", CodedMatrix::quantize(&weight, 64, (15, 0), None));
        assert_eq!(
            (stored.file_bytes(false), stored.memory_bytes(), stored.is_packed()),
            (1024 + 64 + 256, 1024 + 128 + 256, true)
        );
        assert!(before != stored.fingerprint() && before.len() == 64);
    }

    #[test]
    fn a_part_of_a_coded_matrix_keeps_its_codes() {
        let weight = weights(2, 6 * 8);
        let whole = CodedMatrix::quantize(&weight, 8, (11, 0), None);
        let values = whole.values();
        let kept: Vec<f32> = [1, 4].iter().flat_map(|row| [0, 2, 7].map(|column| values[row * 8 + column])).collect();
        let part = whole.part(&kept, 3, &[1, 4]);
        assert_eq!(part.values(), kept);
        assert_eq!(part.codes[..3], [8, 10, 15].map(|at| whole.codes[at]));
    }
}
