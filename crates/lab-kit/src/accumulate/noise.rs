//! The gradient noise scale: the batch at which the noise of the gradient is as long as the gradient (McCandlish, Kaplan,
//! Amodei et al., 2018, arXiv:1812.06162, appendix A).

// ANCHOR: noise
/// The noise scale `tr Σ / |G|²` from squared norms of mean gradients: of each piece of `b` examples, and `total` of the whole
/// batch of `big`. Since `E|g_B|² = |G|² + tr Σ / B`, two sizes give both unknowns. `None` where the estimate of `|G|²` is not
/// positive, which a single batch often is by chance: see [`NoiseScale`].
#[must_use]
pub fn noise_scale(small: &[f64], b: usize, total: f64, big: usize) -> Option<f64> {
    let mut meter = NoiseScale::new(1.0);
    meter.see(small, b, total, big);
    meter.value()
}

/// The noise scale over many updates. Both estimates are averaged first and divided last: the ratio of a single update is
/// biased, and now and then negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseScale {
    keep: f64,
    gradient: f64,
    noise: f64,
}

impl NoiseScale {
    /// Each update leaves `keep` of what was before it: 1 for a plain mean.
    #[must_use]
    pub fn new(keep: f64) -> Self {
        Self { keep, gradient: 0.0, noise: 0.0 }
    }

    /// An update: squared norms of the mean gradients of its pieces, all of `b` examples, and of their mean over `big`. Pieces
    /// as large as the batch say nothing.
    pub fn see(&mut self, pieces: &[f64], b: usize, total: f64, big: usize) {
        if pieces.is_empty() || b >= big {
            return;
        }
        let small = pieces.iter().sum::<f64>() / pieces.len() as f64;
        let (b, big) = (b as f64, big as f64);
        self.gradient = self.keep * self.gradient + (big * total - b * small) / (big - b);
        self.noise = self.keep * self.noise + (small - total) / (1.0 / b - 1.0 / big);
    }

    /// The noise scale, in examples.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        (self.gradient > 0.0).then(|| self.noise.max(0.0) / self.gradient)
    }
}
// ANCHOR_END: noise

/// The exact twin: from the squared norm of every single example's gradient and that of their mean.
#[must_use]
pub fn noise_of_examples(each: &[f64], mean: f64) -> Option<f64> {
    noise_scale(each, 1, mean, each.len())
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::accumulate::squared_norm;

    #[test]
    fn two_sizes_by_hand() {
        let mut meter = NoiseScale::new(1.0);
        meter.see(&[10.0], 4, 4.0, 64);
        assert!((meter.gradient - 3.6).abs() < 1e-12 && (meter.noise - 25.6).abs() < 1e-12);
        assert!((meter.value().expect("positive") - 64.0 / 9.0).abs() < 1e-9);
        // (3, 0), (1, 2), (2, -2), (2, 4): mean (2, 1).
        let found = noise_of_examples(&[9.0, 5.0, 8.0, 20.0], 5.0).expect("positive");
        assert!((found - 22.0 / 9.5).abs() < 1e-9, "{found}");
        assert_eq!(noise_scale(&[10.0], 4, 0.1, 64), None);
        assert_eq!(noise_scale(&[10.0], 4, 10.0, 4), None);
        assert_eq!(noise_scale(&[4.0, 4.0], 1, 4.0, 2), Some(0.0));
    }

    fn normal(rng: &mut impl Rng) -> f64 {
        (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0
    }

    #[test]
    fn a_known_noise_is_found_if_one_averages_before_one_divides() {
        // |G|² = 0.5, tr Σ = 50: true noise scale 100. Batches of 64 in pieces of 8.
        let mut rng = crate::rng(0, "noise");
        let deviations: Vec<f64> = (0..50).map(|i| (0.5 + f64::from(i) / 49.0_f64).sqrt()).collect();
        let trace: f64 = deviations.iter().map(|d| d * d).sum();
        let (mut meter, mut ratios, mut negative) = (NoiseScale::new(1.0), 0.0, 0);
        let updates = 2000;
        for _ in 0..updates {
            let mut whole = vec![0.0_f64; 50];
            let mut pieces = Vec::new();
            for _ in 0..8 {
                let piece: Vec<f32> =
                    deviations.iter().map(|d| (0.1 + d * normal(&mut rng) / 8.0_f64.sqrt()) as f32).collect();
                whole.iter_mut().zip(&piece).for_each(|(w, g)| *w += f64::from(*g) / 8.0);
                pieces.push(squared_norm(&piece));
            }
            let total = whole.iter().map(|w| w * w).sum();
            meter.see(&pieces, 8, total, 64);
            match noise_scale(&pieces, 8, total, 64) {
                Some(ratio) => ratios += ratio / f64::from(updates),
                None => negative += 1,
            }
        }
        let found = meter.value().expect("positive");
        let right = trace / 0.5;
        // Three standard errors of the ratio of means: the deviation of |G|² is about half of it, over 2,000 updates.
        assert!((found / right - 1.0).abs() < 3.0 * 0.5 / f64::from(updates).sqrt(), "{found} {right}");
        assert!(ratios > 1.2 * right, "the wrong order passes: {ratios}");
        assert!((5..120).contains(&negative), "{negative}");
    }
}
