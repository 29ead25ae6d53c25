//! How large the numbers of a tensor are, and how many of them a format loses.

use super::{
    Format,
    layout::{power, round},
};

/// Numbers of a tensor by their exponent.
#[derive(Debug, Clone, PartialEq)]
pub struct Exponents {
    /// `counts[i]` numbers lie between `2^(lowest + i)` and twice that; smaller ones are in the first, larger ones in the last.
    pub counts: Vec<u64>,
    /// Exponent of the first count.
    pub lowest: i32,
    /// Numbers that are exactly zero.
    pub zeros: u64,
}

impl Exponents {
    /// Counts exponents from `lowest` to `highest`.
    #[must_use]
    pub fn of(values: &[f32], lowest: i32, highest: i32) -> Self {
        let mut found = Self { counts: vec![0; (highest - lowest).max(0) as usize + 1], lowest, zeros: 0 };
        for value in values {
            if *value == 0.0 {
                found.zeros += 1;
            } else {
                // Of a subnormal single this is -127: below anything that is asked for.
                let exponent = (value.to_bits() >> 23 & 0xff) as i32 - 127;
                found.counts[(exponent.clamp(lowest, highest) - lowest) as usize] += 1;
            }
        }
        found
    }

    /// Counts as shares of all numbers that are not zero, in per cent.
    #[must_use]
    pub fn percent(&self) -> Vec<f64> {
        let all = self.counts.iter().sum::<u64>().max(1) as f64;
        self.counts.iter().map(|count| 100.0 * *count as f64 / all).collect()
    }
}

/// Shares of the numbers that are not zero, 0 to 1, once they are multiplied by a scale and rounded.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Lost {
    /// Become zero: by count.
    pub count: f64,
    /// By their sum without signs.
    pub sum: f64,
    /// By their sum of squares.
    pub squares: f64,
    /// Keep fewer digits than others, since they lie below the smallest normal number.
    pub subnormal: f64,
    /// Become infinite, or are cut to the largest number.
    pub overflow: f64,
}

impl Lost {
    // ANCHOR: lost
    /// What a format makes of a tensor times `scale`.
    #[must_use]
    pub fn of(values: &[f32], format: Format, scale: f32) -> Self {
        let Some(layout) = format.layout() else { return Self::default() };
        let (mut all, mut lost) = ([0.0_f64; 3], Self::default());
        for value in values.iter().filter(|value| **value != 0.0) {
            let scaled = value * scale;
            let size = f64::from(value.abs());
            let rounded = round(scaled, &layout).abs();
            all = [all[0] + 1.0, all[1] + size, all[2] + size * size];
            if rounded == 0.0 {
                lost.count += 1.0;
                lost.sum += size;
                lost.squares += size * size;
            }
            lost.subnormal += f64::from(u8::from(rounded > 0.0 && rounded < power(layout.lowest)));
            lost.overflow += f64::from(u8::from(scaled.abs() > layout.largest && rounded >= layout.largest));
        }
        let [count, sum, squares] = all.map(|all| all.max(f64::MIN_POSITIVE));
        Self {
            count: lost.count / count,
            sum: lost.sum / sum,
            squares: lost.squares / squares,
            subnormal: lost.subnormal / count,
            overflow: lost.overflow / count,
        }
    }
    // ANCHOR_END: lost

    /// The largest power of two by which the tensor may be multiplied without overflow.
    #[must_use]
    pub fn largest_scale_log2(values: &[f32], format: Format) -> i32 {
        let most = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        match format.layout() {
            Some(layout) if most > 0.0 => (f64::from(layout.largest) / f64::from(most)).log2().floor() as i32,
            _ => 127,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_counted_once() {
        let values =
            [0.0, 1.0, -1.5, 2.0, 2_f32.powi(-24), 2_f32.powi(-25), 2_f32.powi(-60), 1e6, f32::MIN_POSITIVE / 8.0];
        let found = Exponents::of(&values, -30, 16);
        assert_eq!((found.zeros, found.counts.iter().sum::<u64>()), (1, 8));
        let at = |exponent: i32| found.counts[(exponent + 30) as usize];
        assert_eq!((at(0), at(1), at(-24), at(-25), at(-30), at(16)), (2, 1, 1, 1, 2, 1));
        assert!((found.percent().iter().sum::<f64>() - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_third_of_the_numbers_may_be_nothing_of_the_norm() {
        let values = [0.0, 1.0, 2_f32.powi(-20), 2_f32.powi(-30)];
        let lost = Lost::of(&values, Format::Fp16, 1.0);
        assert!((lost.count - 1.0 / 3.0).abs() < 1e-12 && (lost.subnormal - 1.0 / 3.0).abs() < 1e-12);
        assert!((lost.sum - 2_f64.powi(-30)).abs() < 1e-14 && lost.squares < 1e-17);
        assert_eq!(Lost::of(&values, Format::Fp16, 2_f32.powi(8)).count, 0.0);
        assert!((Lost::of(&values, Format::Fp16, 2_f32.powi(16)).overflow - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(Lost::largest_scale_log2(&values, Format::Fp16), 15);
        assert_eq!(Lost::of(&values, Format::Bf16, 1.0), Lost::default());
        assert_eq!((Lost::of(&[], Format::Fp16, 1.0), Lost::of(&[0.0], Format::E4m3, 1.0)), Default::default());
    }
}
