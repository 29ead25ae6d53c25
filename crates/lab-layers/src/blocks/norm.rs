//! Batch normalization (Ioffe and Szegedy, 2015, arXiv:1502.03167), with the ReLU that follows it.

use super::{Maps, add, folded, tiling};

/// Added to the variance.
const EPSILON: f32 = 1e-5;

/// A normalization of each channel over all places of a batch: to mean 0 and variance 1, then scaled and shifted. Its weights
/// are the scales `[channels]`, then the shifts `[channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Norm {
    /// Channels.
    pub channels: usize,
    /// Whether what is below zero becomes zero.
    pub relu: bool,
}

impl Norm {
    /// Normalizes in place, by the statistics of this batch. Returns the result, and for each channel the mean and one over
    /// the standard deviation; `x` holds the normalized numbers before scale and shift.
    #[must_use]
    pub fn forward(&self, weights: &[f32], x: &mut Maps) -> (Maps, [Vec<f32>; 2]) {
        let count = x.places().max(1) as f32;
        let tiles = tiling(x.places(), self.channels);
        let long = (tiles * self.channels).max(1);
        let mut sums = vec![0.0; long];
        x.data.chunks_exact(long).for_each(|row| add(&mut sums, row));
        let mean: Vec<f32> = folded(&sums, self.channels).iter().map(|sum| sum / count).collect();
        let (means, mut squares) = (mean.repeat(tiles), vec![0.0; long]);
        for row in x.data.chunks_exact(long) {
            for ((sum, x), mean) in squares.iter_mut().zip(row).zip(&means) {
                *sum += (x - mean) * (x - mean);
            }
        }
        let squares = folded(&squares, self.channels);
        let inverse: Vec<f32> = squares.iter().map(|sum| 1.0 / (sum / count + EPSILON).sqrt()).collect();
        let inverses = inverse.repeat(tiles);
        let (scale, shift) = weights.split_at(self.channels);
        let (scale, shift) = (scale.repeat(tiles), shift.repeat(tiles));
        let least = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        let mut y = Maps::zeros(x.batch, x.height, x.width, x.channels);
        for (row, out) in x.data.chunks_exact_mut(long).zip(y.data.chunks_exact_mut(long)) {
            let of = means.iter().zip(&inverses).zip(&scale).zip(&shift);
            for ((x, y), (((mean, inverse), scale), shift)) in row.iter_mut().zip(out).zip(of) {
                *x = (*x - mean) * inverse;
                *y = (*x * scale + shift).max(least);
            }
        }
        (y, [mean, inverse])
    }

    /// The gradient of the input, in place of that of the output; those of the weights are added to `gradient`. `normalized`
    /// is what [`forward`](Self::forward) left, `inverse` one over the standard deviations.
    pub fn backward(&self, weights: &[f32], normalized: &Maps, inverse: &[f32], dy: &mut Maps, gradient: &mut [f32]) {
        let tiles = tiling(normalized.places(), self.channels);
        let long = (tiles * self.channels).max(1);
        let (scale, shift) = weights.split_at(self.channels);
        let (long_scale, long_shift) = (scale.repeat(tiles), shift.repeat(tiles));
        let (mut scales, mut shifts) = (vec![0.0; long], vec![0.0; long]);
        let least = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        for (dy, x) in dy.data.chunks_exact_mut(long).zip(normalized.data.chunks_exact(long)) {
            let sums = scales.iter_mut().zip(&mut shifts).zip(long_scale.iter().zip(&long_shift));
            for ((dy, x), ((to_scale, to_shift), (scale, shift))) in dy.iter_mut().zip(x).zip(sums) {
                *dy = if x * scale + shift > least { *dy } else { 0.0 };
                *to_scale += *dy * x;
                *to_shift += *dy;
            }
        }
        let (scales, shifts) = (folded(&scales, self.channels), folded(&shifts, self.channels));
        add(&mut gradient[..self.channels], &scales);
        add(&mut gradient[self.channels..], &shifts);
        let count = normalized.places().max(1) as f32;
        let means = |sums: &[f32]| sums.iter().map(|sum| sum / count).collect::<Vec<f32>>().repeat(tiles);
        let (scales, shifts) = (means(&scales), means(&shifts));
        let factor: Vec<f32> = scale.iter().zip(inverse).map(|(scale, inverse)| scale * inverse).collect();
        let factor = factor.repeat(tiles);
        for (dy, x) in dy.data.chunks_exact_mut(long).zip(normalized.data.chunks_exact(long)) {
            let of = factor.iter().zip(scales.iter().zip(&shifts));
            for ((dy, x), (factor, (by_scale, by_shift))) in dy.iter_mut().zip(x).zip(of) {
                *dy = factor * (*dy - by_shift - x * by_scale);
            }
        }
    }
}
