//! The sum as a training holds it: one buffer beside the newest gradient.

use half::{bf16, f16};

/// How the numbers of the sum are stored between two pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Four bytes.
    Fp32,
    /// IEEE half precision.
    Fp16,
    /// Two bytes with the exponent of FP32.
    Bf16,
}

impl Format {
    fn store(self, value: f32) -> f32 {
        match self {
            Self::Fp32 => value,
            Self::Fp16 => f16::from_f32(value).to_f32(),
            Self::Bf16 => bf16::from_f32(value).to_f32(),
        }
    }
}

// ANCHOR: accumulator
/// A mean in the making: `Σ n_j g_j`, and `Σ n_j` to divide by once all pieces are read.
#[derive(Debug, Clone)]
pub struct Accumulator {
    sum: Vec<f32>,
    count: usize,
    pieces: usize,
    format: Format,
}

impl Accumulator {
    /// An empty one.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { sum: Vec::new(), count: 0, pieces: 0, format }
    }

    /// Adds the mean gradient of a piece of `count` examples. The first one moves in and is copied nowhere; a piece of nothing
    /// adds nothing.
    pub fn add(&mut self, gradient: Vec<f32>, count: usize) {
        if count == 0 {
            return;
        }
        let (format, before, now) = (self.format, self.count as f32, count as f32);
        match self.pieces {
            0 => self.sum = gradient,
            // The first one waited as a mean, so that a batch of one piece keeps its bits.
            1 => {
                let pairs = self.sum.iter_mut().zip(gradient);
                pairs.for_each(|(sum, g)| *sum = format.store(before * format.store(*sum) + now * g));
            }
            _ => self.sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum = format.store(*sum + now * g)),
        }
        self.count += count;
        self.pieces += 1;
    }

    /// The mean over all examples that were added; `None` without any. The accumulator is empty afterwards.
    pub fn take(&mut self) -> Option<Vec<f32>> {
        let Self { mut sum, count, pieces, .. } = std::mem::replace(self, Self::new(self.format));
        if pieces > 1 {
            sum.iter_mut().for_each(|sum| *sum /= count as f32);
        }
        (pieces > 0).then_some(sum)
    }
}
// ANCHOR_END: accumulator

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::accumulate::{accumulate, distance};

    #[test]
    fn the_running_sum_is_the_sum_of_all_pieces_and_starts_anew_when_taken() {
        let mut rng = crate::rng(2, "buffer");
        let pieces: Vec<(Vec<f32>, usize)> =
            (0..9).map(|n| ((0..40).map(|_| rng.random_range(-1.0..1.0)).collect(), 3 * n % 7)).collect();
        let run = |format| {
            let mut sum = Accumulator::new(format);
            pieces.iter().for_each(|(gradient, count)| sum.add(gradient.clone(), *count));
            let found = sum.take().expect("examples");
            assert_eq!(sum.take(), None);
            distance(&found, &accumulate(&pieces).expect("examples")).expect("not zero").relative
        };
        let (fp32, fp16, bf16) = (run(Format::Fp32), run(Format::Fp16), run(Format::Bf16));
        assert!(fp32 < 1e-6 && (1e-5..3e-3).contains(&fp16), "{fp32} {fp16}");
        assert!(bf16 > 3.0 * fp16 && bf16 < 3e-2, "{bf16}");
    }

    #[test]
    fn one_piece_keeps_its_bits_and_an_empty_piece_adds_nothing() {
        let mut sum = Accumulator::new(Format::Fp32);
        sum.add(vec![f32::NAN], 0);
        sum.add(vec![0.1, 0.3], 7);
        assert_eq!(sum.take(), Some(vec![0.1, 0.3]));
        sum.add(vec![1.0], 0);
        assert_eq!(sum.take(), None);
    }
}
