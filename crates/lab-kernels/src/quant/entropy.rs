//! Calibration by relative entropy: clip where the quantized histogram still resembles the original one most.

/// Bins of the histogram, as in TensorRT.
const BINS: usize = 2048;
/// Bins between two thresholds that are tried. TensorRT tries every bin; every 16th comes within 2 % of the least divergence.
const STRIDE: usize = 16;
/// Count of a candidate's empty bin where the original has mass: without it the divergence would be infinite.
const HALF_AN_EXAMPLE: f64 = 0.5;

// ANCHOR: entropy_range
/// The range whose quantized histogram diverges least from the original one (Migacz, "8-bit Inference with TensorRT",
/// GTC 2017). Values of one sign have `2^bits` levels; values of both signs are counted by magnitude, with half of them.
#[must_use]
pub fn entropy_range(bits: u32, values: &[f32]) -> (f32, f32) {
    let (min, max) = super::calibrate::min_max(values);
    let one_sided = min >= 0.0 || max <= 0.0;
    let levels = 1_usize << if one_sided { bits } else { bits - 1 };
    let reach = max.max(-min);
    let width = reach / BINS as f32;
    if !width.is_normal() || !reach.is_finite() {
        return (min, max);
    }
    let mut counts = vec![0.0; BINS];
    for value in values.iter().filter(|value| value.is_finite()) {
        counts[((value.abs() / width) as usize).min(BINS - 1)] += 1.0;
    }
    let threshold = best_bins(&counts, levels, STRIDE) as f32 * width;
    (min.max(-threshold), max.min(threshold))
}

/// How many bins of `counts` to keep so that `levels` levels describe them best: of every `stride`-th number of bins.
fn best_bins(counts: &[f64], levels: usize, stride: usize) -> usize {
    let all = counts.len();
    let tries = (levels.min(all)..=all).step_by(stride).chain([all]);
    // Among equals the widest range, which clips least.
    let better = |best: (usize, f64), next: (usize, f64)| if next.1 <= best.1 { next } else { best };
    tries.map(|kept| (kept, divergence(counts, kept, levels))).fold((all, f64::INFINITY), better).0
}

/// How far `levels` levels over the first `kept` bins are from the whole histogram.
fn divergence(counts: &[f64], kept: usize, levels: usize) -> f64 {
    let inside = &counts[..kept];
    // What is clipped lands in the last bin of the original, and is missing in the candidate.
    let mut original = inside.to_vec();
    original[kept - 1] += counts[kept..].iter().sum::<f64>();
    relative_entropy(&original, &merged(inside, levels))
}

/// Bins merged into `levels` levels and spread again over those that were not empty: what quantization leaves of them.
fn merged(counts: &[f64], levels: usize) -> Vec<f64> {
    let mut spread = vec![0.0; counts.len()];
    for level in 0..levels {
        let (start, end) = (level * counts.len() / levels, (level + 1) * counts.len() / levels);
        let bins = &counts[start..end];
        let used = bins.iter().filter(|count| **count > 0.0).count();
        let share = bins.iter().sum::<f64>() / used.max(1) as f64;
        for (out, count) in spread[start..end].iter_mut().zip(bins) {
            *out = if *count > 0.0 { share } else { 0.0 };
        }
    }
    spread
}
// ANCHOR_END: entropy_range

/// Relative entropy (Kullback and Leibler, 1951) of `p` from `q` in nats, both counts that are scaled to sum to 1.
fn relative_entropy(p: &[f64], q: &[f64]) -> f64 {
    let (all_p, all_q) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    if all_p <= 0.0 || all_q <= 0.0 {
        return f64::INFINITY;
    }
    let pairs = p.iter().zip(q).filter(|(p, _)| **p > 0.0);
    let shares = pairs.map(|(p, q)| (p / all_p, if *q > 0.0 { *q } else { HALF_AN_EXAMPLE } / all_q));
    shares.map(|(p, q)| p * (p / q).ln()).sum()
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::rng;

    #[test]
    fn relative_entropy_of_known_pairs() {
        assert_eq!(relative_entropy(&[1.0, 2.0, 1.0], &[2.0, 4.0, 2.0]), 0.0);
        let expected = 0.5 * (0.5_f64 / 0.25).ln() + 0.5 * (0.5_f64 / 0.75).ln();
        assert!((relative_entropy(&[1.0, 1.0], &[1.0, 3.0]) - expected).abs() < 1e-12);
    }

    #[test]
    fn merging_keeps_mass_and_empty_bins() {
        assert_eq!(merged(&[1.0, 3.0, 0.0, 4.0], 2), [2.0, 2.0, 0.0, 4.0]);
        assert_eq!(merged(&[1.0, 2.0, 3.0], 3), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_flat_histogram_keeps_its_whole_range() {
        // Every number of levels describes equal bins without loss, and only the whole range clips nothing.
        assert_eq!(best_bins(&vec![5.0; BINS], 128, STRIDE), BINS);
        let flat: Vec<f32> = (0..BINS * 4).map(|i| i as f32 / (BINS * 4) as f32).collect();
        let (min, max) = entropy_range(8, &flat);
        assert_eq!(min, 0.0);
        assert!(max > 0.99);
    }

    #[test]
    fn every_sixteenth_bin_is_enough() {
        for (seed, power) in [(0, 1), (1, 3), (2, 5)] {
            let mut rng = rng(seed, "values");
            let mut counts = vec![0.0; BINS];
            for _ in 0..20_000 {
                let magnitude = (0..4).map(|_| rng.random_range(0.0_f64..0.25)).sum::<f64>().powi(power);
                counts[((magnitude * BINS as f64) as usize).min(BINS - 1)] += 1.0;
            }
            let (some, all) = (best_bins(&counts, 128, STRIDE), best_bins(&counts, 128, 1));
            let [some, all] = [some, all].map(|kept| divergence(&counts, kept, 128));
            assert!(some <= 1.02 * all, "{power}: {some} {all}");
        }
    }

    #[test]
    fn a_lonely_outlier_is_clipped() {
        let mut rng = rng(0, "values");
        // Sums of twelve uniform numbers: a bell.
        let mut bell = || (0..12).map(|_| rng.random_range(-0.5_f32..0.5)).sum::<f32>();
        let mut values: Vec<f32> = (0..20_000).map(|_| bell()).collect();
        values.push(60.0);
        let (min, max) = entropy_range(8, &values);
        assert!((2.0..20.0).contains(&max), "{max}");
        assert!((-6.0..-2.0).contains(&min), "{min}");
        // A fold of the same values over zero has one side, and all levels for it.
        let magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
        let (min, max) = entropy_range(8, &magnitudes);
        assert_eq!(min, 0.0);
        assert!((2.0..30.0).contains(&max), "{max}");
    }
}
