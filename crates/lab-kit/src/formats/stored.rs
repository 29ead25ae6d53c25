//! Tensors that really take two bytes a number where the format has sixteen bits.

use super::{
    Format,
    layout::{Layout, power, round},
};

/// A tensor in storage. Of the formats with fewer than 16 bits the values are those of the format, and the bytes those of
/// singles.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    format: Format,
    halves: Vec<u16>,
    singles: Vec<f32>,
}

impl Stored {
    /// So many zeros.
    #[must_use]
    pub fn zeros(format: Format, count: usize) -> Self {
        match format {
            Format::Fp16 | Format::Bf16 => Self { format, halves: vec![0; count], singles: Vec::new() },
            _ => Self { format, halves: Vec::new(), singles: vec![0.0; count] },
        }
    }

    /// These numbers, rounded.
    #[must_use]
    pub fn of(format: Format, values: &[f32]) -> Self {
        let mut stored = Self::zeros(format, values.len());
        stored.write(0, values);
        stored
    }

    /// Numbers in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.halves.len() + self.singles.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // ANCHOR: store
    /// Rounds numbers and puts them at `at`.
    pub fn write(&mut self, at: usize, values: &[f32]) {
        match self.format {
            Format::Fp16 => {
                let places = &mut self.halves[at..at + values.len()];
                places.iter_mut().zip(values).for_each(|(place, x)| *place = to_half(*x));
            }
            Format::Bf16 => {
                let places = &mut self.halves[at..at + values.len()];
                let upper = |x: f32| (round(x, &Layout::BF16).to_bits() >> 16) as u16;
                places.iter_mut().zip(values).for_each(|(place, x)| *place = upper(*x));
            }
            format => {
                let places = &mut self.singles[at..at + values.len()];
                places.copy_from_slice(values);
                format.round_all(places);
            }
        }
    }

    /// Reads the numbers from `at` as singles, for arithmetic.
    pub fn read(&self, at: usize, to: &mut [f32]) {
        match self.format {
            Format::Fp16 => {
                to.iter_mut().zip(&self.halves[at..]).for_each(|(x, half)| *x = from_half(*half));
            }
            Format::Bf16 => {
                to.iter_mut().zip(&self.halves[at..]).for_each(|(x, half)| *x = f32::from_bits(u32::from(*half) << 16));
            }
            _ => to.copy_from_slice(&self.singles[at..at + to.len()]),
        }
    }
    // ANCHOR_END: store

    /// All numbers.
    #[must_use]
    pub fn values(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        self.read(0, &mut values);
        values
    }
}

// ANCHOR: half
/// The 16 bits of the nearest half.
fn to_half(x: f32) -> u16 {
    let bits = round(x, &Layout::FP16).to_bits();
    let size = f32::from_bits(bits & 0x7fff_ffff);
    let normal = (bits >> 13 & 0x3_ffff).wrapping_sub(112 << 10); // 112: the exponents' biases, 127 - 15
    let small = (size * 16_777_216.0) as u32; // in steps of 2^-24
    let code = if size < power(-14) { small } else { normal.min(0x7c00) };
    let code = if x.is_nan() { 0x7e00 } else { code };
    (bits >> 16 & 0x8000 | code) as u16
}

/// The half of these 16 bits: read as a single it is 2^112 times too small.
fn from_half(half: u16) -> f32 {
    let code = u32::from(half & 0x7fff);
    let size = f32::from_bits(code << 13) * power(112);
    let size = if code >= 0x7c00 { f32::from_bits(code << 13 | 0x7f80_0000) } else { size };
    f32::from_bits(size.to_bits() | u32::from(half & 0x8000) << 16)
}
// ANCHOR_END: half

#[cfg(test)]
mod tests {
    use half::f16;
    use rand::Rng;

    use super::*;

    #[test]
    fn every_half_comes_back_and_is_that_of_another_library() {
        for bits in 0..=u16::MAX {
            let (own, other) = (from_half(bits), f16::from_bits(bits).to_f32());
            assert!(own.to_bits() == other.to_bits() || (own.is_nan() && other.is_nan()), "{bits:04x}: {own} {other}");
            if !own.is_nan() {
                assert_eq!(to_half(own), bits);
            }
        }
        let mut rng = crate::rng(0, "halves");
        for _ in 0..200_000 {
            let x = f32::from_bits(rng.random());
            let (own, other) = (to_half(x), f16::from_f32(x));
            assert!(
                x.is_nan() || own == other.to_bits() || (own & 0x7fff, other.to_bits() & 0x7fff) == (0, 0),
                "{x:e}"
            );
        }
        assert!(from_half(to_half(f32::NAN)).is_nan());
    }

    #[test]
    fn storage_rounds_as_the_format_does_and_takes_its_bytes() {
        let mut rng = crate::rng(1, "stored");
        let values: Vec<f32> = (0..77).map(|_| rng.random_range(-3.0..3.0)).collect();
        for format in
            [Format::Fp32, Format::Fp16, Format::Bf16, Format::E4m3, Format::E5m2, Format::Mxfp4, Format::Nvfp4]
        {
            let mut rounded = values.clone();
            format.round_all(&mut rounded);
            let stored = Stored::of(format, &values);
            assert_eq!(stored.values(), rounded, "{format:?}");
            assert_eq!(stored.len(), 77);
            let mut part = [0.0; 5];
            stored.read(70, &mut part);
            assert_eq!(part, rounded[70..75]);
            assert_eq!(stored.halves.is_empty(), !matches!(format, Format::Fp16 | Format::Bf16));
        }
        assert!(Stored::zeros(Format::Bf16, 0).is_empty());
    }
}
