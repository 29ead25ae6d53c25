//! Adam with both moments in eight bits (Dettmers et al., 2022, arXiv:2110.02861).

use super::{
    Adam,
    codes::{Code, Spacing},
};

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EightBit {
    /// Of the update itself.
    pub adam: Adam,
    /// Which numbers the codes stand for.
    pub spacing: Spacing,
    /// Numbers that share a scale.
    pub block: usize,
    /// A second moment that is not zero is never stored as zero.
    pub never_zero: bool,
}

/// Both moments of a tensor in codes.
#[derive(Debug, Clone)]
pub struct Packed {
    m: Vec<u8>,
    v: Vec<u8>,
    scales: Vec<[f32; 2]>,
}

/// Both codes, once for all tensors.
#[derive(Debug, Clone)]
pub struct Codes {
    signed: Code,
    unsigned: Code,
}

impl Codes {
    /// Of this spacing.
    #[must_use]
    pub fn new(spacing: Spacing) -> Self {
        Self { signed: Code::new(spacing, true), unsigned: Code::new(spacing, false) }
    }
}

impl Packed {
    /// Moments of so many weights, all zero.
    #[must_use]
    pub fn new(weights: usize, block: usize, codes: &Codes) -> Self {
        let zero = |code: &Code| vec![code.zero(); weights];
        let scales = vec![[0.0; 2]; weights.div_ceil(block.max(1))];
        Self { m: zero(&codes.signed), v: zero(&codes.unsigned), scales }
    }

    /// Bytes that are held between steps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.m.capacity() + self.v.capacity() + 8 * self.scales.capacity()
    }

    // ANCHOR: step
    /// One update, block by block: a block's moments are decoded, updated and used in FP32, and stored again. So only one block
    /// is ever in FP32.
    pub fn step(&mut self, w: &mut [f32], g: &[f32], t: u32, rate: f64, set: &EightBit, codes: &Codes) {
        let (mut m, mut v) = (vec![0.0; set.block], vec![0.0; set.block]);
        let blocks = w.chunks_mut(set.block).zip(g.chunks(set.block));
        let stored = self.m.chunks_mut(set.block).zip(self.v.chunks_mut(set.block)).zip(&mut self.scales);
        for ((w, g), ((m_codes, v_codes), scales)) in blocks.zip(stored) {
            let (m, v) = (&mut m[..w.len()], &mut v[..w.len()]);
            read(m_codes, scales[0], &codes.signed, m);
            read(v_codes, scales[1], &codes.unsigned, v);
            super::adamw(w, g, (m, v), t, rate, &set.adam);
            scales[0] = write(m, &codes.signed, 0, m_codes);
            scales[1] = write(v, &codes.unsigned, u8::from(set.never_zero), v_codes);
        }
    }
    // ANCHOR_END: step
}

/// Numbers of a block.
fn read(stored: &[u8], scale: f32, code: &Code, out: &mut [f32]) {
    let values = code.values();
    out.iter_mut().zip(stored).for_each(|(out, code)| *out = scale * values[usize::from(*code)]);
}

/// Codes of a block, none below `least` but for what is zero; gives the scale.
fn write(values: &[f32], code: &Code, least: u8, out: &mut [u8]) -> f32 {
    let scale = values.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    let by = if scale > 0.0 { scale.recip() } else { 0.0 };
    for (v, out) in values.iter().zip(out) {
        let nearest = code.nearest(v * by);
        *out = if least > nearest && *v != 0.0 { least } else { nearest };
    }
    scale
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    const SET: EightBit = EightBit { adam: Adam::W, spacing: Spacing::Dynamic, block: 256, never_zero: true };

    #[test]
    fn a_small_weight_beside_a_large_one_moves_no_further_than_the_rate_if_its_second_moment_is_never_zero() {
        let gap = |never_zero, spacing, epsilon| {
            let set = EightBit { never_zero, spacing, adam: Adam { epsilon, ..Adam::W }, ..SET };
            let codes = Codes::new(spacing);
            let (mut w, mut packed) = (vec![0.0; 2], Packed::new(2, 256, &codes));
            // The second weight's gradient is 10,000 times smaller, then zero.
            packed.step(&mut w, &[1.0, 1e-4], 1, 0.01, &set, &codes);
            let before = w[1];
            packed.step(&mut w, &[1.0, 0.0], 2, 0.01, &set, &codes);
            (w[1] - before).abs()
        };
        assert!(gap(true, Spacing::Dynamic, 1e-8) <= 0.01);
        assert!(gap(false, Spacing::Dynamic, 1e-8) > 10.0, "{}", gap(false, Spacing::Dynamic, 1e-8));
        assert!(gap(false, Spacing::Dynamic, 1e-5) < 1.0);
    }

    #[test]
    fn eight_bits_follow_thirty_two_and_take_a_quarter() {
        let mut rng = lab_kernels::rng(0, "eight");
        for n in [1, 255, 257, 1000] {
            let start: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
            let codes = Codes::new(Spacing::Dynamic);
            let (mut w, mut packed) = (start.clone(), Packed::new(n, 256, &codes));
            let (mut exact, mut m, mut v) = (start.clone(), vec![0.0; n], vec![0.0; n]);
            for t in 1..30 {
                let g: Vec<f32> = (0..n).map(|_| rng.random_range(-0.5..1.0)).collect();
                packed.step(&mut w, &g, t, 0.01, &SET, &codes);
                super::super::adamw(&mut exact, &g, (&mut m, &mut v), t, 0.01, &SET.adam);
            }
            let moved = exact.iter().zip(&start).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
            let apart = exact.iter().zip(&w).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
            assert!(apart < 0.05 * moved, "{n}: {apart} of {moved}");
            assert_eq!(packed.bytes(), 2 * n + 8 * n.div_ceil(256));
        }
    }
}
