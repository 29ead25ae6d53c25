//! Squeeze and excitation (Hu et al., 2018, arXiv:1709.01507): each channel is scaled by what the means of all say.

use super::Maps;

/// Two small layers over the means of the channels. Weights: `[channels, inner]`, `[inner]`, `[inner, channels]`, `[channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excite {
    /// Channels.
    pub channels: usize,
    /// Width between the two layers.
    pub inner: usize,
}

/// What happens between an image's means and its factors.
struct Gate {
    means: Vec<f32>,
    hidden: Vec<f32>,
    factors: Vec<f32>,
}

impl Excite {
    /// All its weights.
    #[must_use]
    pub fn weights(&self) -> usize {
        2 * self.channels * self.inner + self.inner + self.channels
    }

    fn gate(&self, weights: &[f32], image: &[f32]) -> Gate {
        let (c, r) = (self.channels, self.inner);
        let mut means = vec![0.0; c];
        image.chunks_exact(c).for_each(|row| super::add(&mut means, row));
        let places = (image.len() / c.max(1)).max(1) as f32;
        means.iter_mut().for_each(|mean| *mean /= places);
        let layer = |from: &[f32], weight: &[f32], bias: &[f32]| {
            let mut to = bias.to_vec();
            for (x, row) in from.iter().zip(weight.chunks_exact(bias.len())) {
                to.iter_mut().zip(row).for_each(|(to, w)| *to += x * w);
            }
            to
        };
        let mut hidden = layer(&means, &weights[..c * r], &weights[c * r..c * r + r]);
        hidden.iter_mut().for_each(|x| *x = x.max(0.0));
        let mut factors = layer(&hidden, &weights[c * r + r..2 * c * r + r], &weights[2 * c * r + r..]);
        factors.iter_mut().for_each(|x| *x = 1.0 / (1.0 + (-*x).exp()));
        Gate { means, hidden, factors }
    }

    /// Scales in place.
    pub fn forward(&self, weights: &[f32], x: &mut Maps) {
        let each = x.height * x.width * self.channels;
        for image in x.data.chunks_exact_mut(each.max(1)) {
            let gate = self.gate(weights, image);
            for row in image.chunks_exact_mut(self.channels) {
                row.iter_mut().zip(&gate.factors).for_each(|(x, factor)| *x *= factor);
            }
        }
    }

    /// The gradient of the input, in place of that of the output; those of the weights are added to `gradient`.
    pub fn backward(&self, weights: &[f32], x: &Maps, dy: &mut Maps, gradient: &mut [f32]) {
        let (c, r) = (self.channels, self.inner);
        let each = (x.height * x.width * c).max(1);
        let places = (x.height * x.width).max(1) as f32;
        for (image, dy) in x.data.chunks_exact(each).zip(dy.data.chunks_exact_mut(each)) {
            let Gate { means, hidden, factors } = self.gate(weights, image);
            let mut outer = vec![0.0; c];
            for (x, dy) in image.chunks_exact(c).zip(dy.chunks_exact(c)) {
                outer.iter_mut().zip(x.iter().zip(dy)).for_each(|(sum, (x, dy))| *sum += x * dy);
            }
            outer.iter_mut().zip(&factors).for_each(|(d, s)| *d *= s * (1.0 - s));
            let mut inner = vec![0.0; r];
            let (second, first) = (c * r + r, &weights[..c * r]);
            for (k, (inner, hidden)) in inner.iter_mut().zip(&hidden).enumerate() {
                let row = second + k * c..second + (k + 1) * c;
                if *hidden > 0.0 {
                    *inner = weights[row.clone()].iter().zip(&outer).map(|(w, d)| w * d).sum();
                }
                gradient[row].iter_mut().zip(&outer).for_each(|(g, d)| *g += hidden * d);
            }
            super::add(&mut gradient[second + c * r..], &outer);
            super::add(&mut gradient[c * r..second], &inner);
            let mut to_means = vec![0.0; c];
            for (i, (to, mean)) in to_means.iter_mut().zip(&means).enumerate() {
                let row = i * r..(i + 1) * r;
                *to = first[row.clone()].iter().zip(&inner).map(|(w, d)| w * d).sum::<f32>() / places;
                gradient[row].iter_mut().zip(&inner).for_each(|(g, d)| *g += mean * d);
            }
            for dy in dy.chunks_exact_mut(c) {
                for ((dy, factor), to) in dy.iter_mut().zip(&factors).zip(&to_means) {
                    *dy = *dy * factor + to;
                }
            }
        }
    }
}
