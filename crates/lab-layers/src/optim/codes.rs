//! Numbers of eight bits with a scale for each block (Dettmers et al., 2022, arXiv:2110.02861).

/// Which 256 numbers a code stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// Seven decades, each twice as finely divided as the one below.
    Dynamic,
    /// Evenly.
    Linear,
}

/// A code: its numbers in ascending order, and how to find the nearest one.
#[derive(Debug, Clone)]
pub struct Code {
    values: Vec<f32>,
    /// Halfway between neighbours.
    borders: Vec<f32>,
    /// For the upper bits of a magnitude, borders that lie below all numbers that begin so; of positive numbers, then of
    /// negative ones.
    hints: [Vec<u8>; 2],
}

/// Bits of a single that a hint leaves out: what stays is the exponent and three bits of the fraction.
const LEFT_OUT: u32 = 20;

impl Code {
    /// The code of numbers from -1 to 1, or from 0 to 1.
    #[must_use]
    pub fn new(spacing: Spacing, signed: bool) -> Self {
        let mut values = match spacing {
            Spacing::Dynamic => dynamic(signed),
            Spacing::Linear if signed => (-127..=127_i16).map(|i| f32::from(i) / 127.0).collect(),
            Spacing::Linear => (0..=255_u8).map(|i| f32::from(i) / 255.0).collect(),
        };
        values.sort_by(f32::total_cmp);
        let borders: Vec<f32> = values.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
        let hint = |sign: f32| {
            let below = |i: u32| {
                // Of negative numbers those of the largest magnitude lie lowest.
                let bits = if sign > 0.0 { i << LEFT_OUT } else { (i + 1) << LEFT_OUT };
                borders.partition_point(|border| *border < sign * f32::from_bits(bits)) as u8
            };
            (0..=1.0_f32.to_bits() >> LEFT_OUT).map(below).collect()
        };
        let hints = [hint(1.0), hint(-1.0)];
        Self { values, borders, hints }
    }

    /// Its numbers in ascending order.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The code of 0.
    #[must_use]
    pub fn zero(&self) -> u8 {
        self.nearest(0.0)
    }

    /// The code that is nearest to a number of -1 to 1; what is no number counts as 0.
    #[must_use]
    pub fn nearest(&self, x: f32) -> u8 {
        let x = if x.is_nan() { 0.0 } else { x.clamp(-1.0, 1.0) };
        let hints = &self.hints[usize::from(x < 0.0)];
        let mut at = usize::from(hints[(x.abs().to_bits() >> LEFT_OUT) as usize]);
        while at < self.borders.len() && self.borders[at] < x {
            at += 1;
        }
        at as u8
    }
}

// ANCHOR: dynamic
/// The dynamic code: decade `i` of seven has `2^i` numbers of each sign, the middles of equal parts of 0.1 to 1.
fn dynamic(signed: bool) -> Vec<f32> {
    let mut values = vec![0.0, 1.0];
    for decade in 0..7 {
        let parts = if signed { 1 << decade } else { 2 << decade };
        for part in 0..parts {
            let x = (0.1 + 0.9 * (f64::from(part) + 0.5) / f64::from(parts)) * 10_f64.powi(decade - 6);
            values.push(x as f32);
            if signed {
                values.push(-x as f32);
            }
        }
    }
    values
}
// ANCHOR_END: dynamic

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn the_codes_are_those_of_the_paper() {
        let code = Code::new(Spacing::Dynamic, true);
        assert_eq!(code.values().len(), 256);
        let positive: Vec<f32> = code.values().iter().copied().filter(|v| *v > 0.0).collect();
        for (found, right) in positive.iter().zip([5.5e-7, 3.25e-6]) {
            assert!((found / right - 1.0).abs() < 1e-5, "{found}");
        }
        for (found, right) in positive.iter().rev().zip([1.0, 0.992_969, 0.978_906]) {
            assert!((found - right).abs() < 1e-6, "{found}");
        }
        let unsigned = Code::new(Spacing::Dynamic, false);
        assert_eq!(unsigned.values().len(), 256);
        for (found, right) in unsigned.values()[1..].iter().zip([3.25e-7, 7.75e-7, 2.125e-6]) {
            assert!((found / right - 1.0).abs() < 1e-5, "{found}");
        }
        let read = |code: &Code, x: f32| code.values()[usize::from(code.nearest(x))];
        for (x, right) in [(0.5, 0.500_781), (0.1, 0.098_594), (0.01, 0.009_719), (0.001, 0.000_944)] {
            assert!((read(&code, x) - right).abs() < 1e-6, "{x}: {}", read(&code, x));
        }
        let linear = Code::new(Spacing::Linear, true);
        for (x, right) in [(0.1, 0.102_362), (0.01, 0.007_874), (0.001, 0.0)] {
            assert!((read(&linear, x) - right).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn the_hinted_search_is_the_plain_one_and_codes_come_back() {
        let mut rng = lab_kernels::rng(0, "codes");
        for spacing in [Spacing::Dynamic, Spacing::Linear] {
            for signed in [true, false] {
                let code = Code::new(spacing, signed);
                for (i, value) in code.values().iter().enumerate() {
                    assert_eq!(usize::from(code.nearest(*value)), i);
                }
                for _ in 0..4000 {
                    let x = rng.random_range(-1.0_f32..1.0) * 10_f32.powi(rng.random_range(-9..1));
                    let x = if signed { x } else { x.abs() };
                    let found = code.values()[usize::from(code.nearest(x))];
                    let best = code.values().iter().map(|v| (v - x).abs()).fold(f32::INFINITY, f32::min);
                    assert!((found - x).abs() <= best * 1.000_01, "{spacing:?} {signed} {x}: {found}");
                }
                assert_eq!(code.values()[usize::from(code.zero())], 0.0);
                assert_eq!((code.nearest(f32::NAN), code.nearest(f32::INFINITY)), (code.zero(), code.nearest(1.0)));
            }
        }
    }

    #[test]
    fn in_the_top_decade_a_number_moves_by_half_a_step_at_most() {
        // 64 steps of 0.9 / 64, and the first number of the decade lies half a step above 0.1.
        let code = Code::new(Spacing::Dynamic, true);
        for i in 0..1000 {
            let x = 0.1 + 0.9 * i as f32 / 1000.0;
            let found = code.values()[usize::from(code.nearest(x))];
            assert!((found - x).abs() < 0.45 / 64.0 + 1e-5 && (found / x - 1.0).abs() < 0.065, "{x} {found}");
        }
    }
}
