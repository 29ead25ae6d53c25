//! Sums of products straight from packed bytes, with nothing unpacked in between: for one row of inputs, where unpacking a
//! row of weights first costs more than it serves.
//!
//! Lanes are words of 16 bits (integers) or 32 (floats), and a word holds several codes. Instead of spreading the codes out,
//! the inputs are dealt to as many phases beforehand, once for all rows of weights: phase `p` has the inputs that meet the
//! codes at bit `p * bits` of each word. What is left to do for a vector of codes is a shift and a mask.

use bytemuck::must_cast;
use wide::{f32x4, i16x8, i32x4};

use super::{PackedMatrix, kernel::MOST_IN_32_BITS};

/// Bytes of a vector, and of the half that a group may end with.
const VECTOR: usize = 16;
const HALF_VECTOR: usize = 8;

/// Inputs dealt to phases, each with a vector of zeros at its end.
pub(super) struct Phases<T> {
    bits: usize,
    phases: Vec<Vec<T>>,
}

impl<T: Copy + Default> Phases<T> {
    /// Deals one row of inputs to words of `size_of_word` bytes, if every group of this matrix ends with half a vector or a
    /// whole one.
    fn deal(inputs: &[T], weight: &PackedMatrix, size_of_word: usize) -> Option<Self> {
        let bits = weight.bits as usize;
        let even = |columns: usize| (columns * bits).is_multiple_of(8 * HALF_VECTOR);
        if !matches!(bits, 2 | 4 | 8) || !even(weight.columns) || !(weight.scales.len() == 1 || even(weight.group_size))
        {
            return None;
        }
        let count = 8 * size_of_word / bits;
        let phase = |first: usize| {
            let dealt = inputs.iter().skip(first).step_by(count).copied();
            dealt.chain([T::default(); VECTOR / 2]).collect()
        };
        Some(Self { bits, phases: (0..count).map(phase).collect() })
    }
}

/// The bytes of a group as vectors; half a vector is filled up.
fn vectors(bytes: &[u8], fill: u64) -> impl Iterator<Item = [u8; VECTOR]> {
    let (whole, rest) = bytes.as_chunks::<VECTOR>();
    let half = rest.first_chunk::<HALF_VECTOR>().map(|half| must_cast([u64::from_ne_bytes(*half), fill]));
    whole.iter().copied().chain(half)
}

/// Bytes by which the vectors of a group reach beyond it: what fills them meets the next group's inputs.
fn unused(group: &[u8]) -> usize {
    group.len().next_multiple_of(VECTOR) - group.len()
}

fn group_columns(weight: &PackedMatrix) -> usize {
    if weight.scales.len() == 1 { weight.columns } else { weight.group_size.min(weight.columns) }
}

/// The columns of a group as bytes of its row.
fn group_bytes(weight: &PackedMatrix) -> usize {
    group_columns(weight) * weight.bits as usize / 8
}

impl Phases<i16> {
    /// For products of integers. Groups whose sum might not fit into 32 bits take the other way.
    pub(super) fn of_integers(inputs: &[i16], weight: &PackedMatrix) -> Option<Self> {
        if group_columns(weight) > MOST_IN_32_BITS {
            return None;
        }
        Self::deal(inputs, weight, size_of::<i16>())
    }

    /// Sum over a row of weights of scale times code times input: zero points are still to be corrected.
    pub(super) fn dot(&self, weight: &PackedMatrix, row: usize) -> f32 {
        match self.bits {
            8 => self.dot_of::<2>(weight, row),
            4 => self.dot_of::<4>(weight, row),
            _ => self.dot_of::<8>(weight, row),
        }
    }

    /// With `N` codes in a word. Each product is below 2^16 and a lane adds a quarter of a group's.
    fn dot_of<const N: usize>(&self, weight: &PackedMatrix, row: usize) -> f32 {
        let keep = i16x8::splat(((1_u32 << (16 / N)) - 1) as i16);
        let (mut sum, mut at) = (f32x4::ZERO, 0);
        for (group, scale) in weight.row_codes(row).chunks(group_bytes(weight)).zip(weight.row_scales(row)) {
            let mut lanes = i32x4::ZERO;
            for vector in vectors(group, 0) {
                let codes: i16x8 = must_cast(vector);
                for (p, phase) in self.phases.iter().enumerate().take(N) {
                    let Some(inputs) = phase[at..].first_chunk::<8>() else { break };
                    lanes += ((codes >> (p * 16 / N) as i32) & keep).dot(i16x8::new(*inputs));
                }
                at += VECTOR / size_of::<i16>();
            }
            at -= unused(group) / size_of::<i16>();
            sum += lanes.round_float() * f32x4::splat(*scale);
        }
        // One order on all machines, whatever their vectors.
        sum.to_array().iter().sum()
    }
}

impl Phases<f32> {
    /// For products of floats.
    pub(super) fn of_floats(inputs: &[f32], weight: &PackedMatrix) -> Option<Self> {
        Self::deal(inputs, weight, size_of::<f32>())
    }

    /// Sum over a row of weights of scale times (code - zero_point) times input.
    pub(super) fn dot(&self, weight: &PackedMatrix, row: usize) -> f32 {
        match self.bits {
            8 => self.dot_of::<4>(weight, row),
            4 => self.dot_of::<8>(weight, row),
            _ => self.dot_of::<16>(weight, row),
        }
    }

    /// With `N` codes in a word.
    fn dot_of<const N: usize>(&self, weight: &PackedMatrix, row: usize) -> f32 {
        let keep = i32x4::splat((1 << (32 / N)) - 1);
        let (mut sum, mut at) = (f32x4::ZERO, 0);
        for (group, (scale, zero_point)) in weight.row_codes(row).chunks(group_bytes(weight)).zip(weight.row_grids(row))
        {
            // Eight bytes of codes of zero.
            let fill = u64::from(zero_point) * (u64::MAX / ((1 << self.bits) - 1));
            let (mut lanes, zero_point) = (f32x4::ZERO, f32x4::splat(f32::from(zero_point)));
            for vector in vectors(group, fill) {
                let codes: i32x4 = must_cast(vector);
                for (p, phase) in self.phases.iter().enumerate().take(N) {
                    let Some(inputs) = phase[at..].first_chunk::<4>() else { break };
                    let codes = ((codes >> (p * 32 / N) as i32) & keep).round_float();
                    lanes += (codes - zero_point) * f32x4::new(*inputs);
                }
                at += VECTOR / size_of::<f32>();
            }
            at -= unused(group) / size_of::<f32>();
            sum += lanes * f32x4::splat(scale);
        }
        sum.to_array().iter().sum()
    }
}
