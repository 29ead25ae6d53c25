//! Scores of a network that was not trained: one batch forward, or forward and backward.

use lab_layers::cells::{CellNet, SIDE};

use crate::{data::Images, rng};

/// Images of the batch.
const BATCH: usize = 64;

/// More should be better; whether it is, is the question.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CellProxies {
    /// Length of the gradient at initialization.
    pub gradient: f64,
    /// Sum of `|w · g|` over all weights: SNIP (Lee et al., 2019, arXiv:1810.02340), summed up over a network by Abdelfattah et
    /// al. (2021, arXiv:2101.08134).
    pub snip: f64,
    /// Logarithm of the determinant of how often two images open the same ReLUs (Mellor et al., 2021, arXiv:2006.04647).
    pub naswot: f64,
}

// ANCHOR: proxies
/// Scores fresh weights of a seed on the first images of the training set in a drawn order.
#[must_use]
pub fn cell_proxies(net: CellNet, images: &Images, seed: u64) -> CellProxies {
    let weights = net.init(&mut rng(seed, "weights"));
    let which = crate::training::Order::new(images.len(), BATCH, seed).indices(0).to_vec();
    let labels: Vec<u8> = which.iter().map(|i| images.labels[*i]).collect();
    let pass = net.pass(&weights, &images.gather(&which), &labels);
    let square: f64 = pass.gradient.iter().map(|g| f64::from(g * g)).sum();
    let snip: f64 = pass.gradient.iter().zip(&weights).map(|(g, w)| f64::from((g * w).abs())).sum();
    // Which ReLUs each image opens: those of the stem, then those of the slots.
    let mut open = vec![Vec::new(); which.len()];
    let layers = std::iter::once(&pass.trace.stem.data).chain(pass.trace.slots.iter().map(|slot| &slot.relu));
    for layer in layers.filter(|layer| !layer.is_empty()) {
        for (open, row) in open.iter_mut().zip(layer.chunks_exact(layer.len() / which.len().max(1))) {
            open.extend(row.iter().map(|x| *x > 0.0));
        }
    }
    CellProxies { gradient: square.sqrt(), snip, naswot: log_determinant(&open) }
}
// ANCHOR_END: proxies

/// Of the matrix that counts in how many places two rows agree.
fn log_determinant(rows: &[Vec<bool>]) -> f64 {
    let n = rows.len();
    let mut a = vec![0.0; n * n];
    let mut sum = 0.0;
    for i in 0..n {
        for j in 0..=i {
            let agree = rows[i].iter().zip(&rows[j]).filter(|(a, b)| a == b).count() as f64;
            let rest = agree - (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum::<f64>();
            // Two images that open the same ReLUs make it singular: they count as nearly so.
            a[i * n + j] = if i == j { rest.max(1e-6).sqrt() } else { rest / a[j * n + j] };
        }
        sum += 2.0 * f64::ln(a[i * n + i]);
    }
    sum
}

/// Pixels of so many images, the first ones; fewer where there are fewer.
#[must_use]
pub fn cell_batch(images: &Images, count: usize) -> Vec<f32> {
    images.pixels[..(count * SIDE * SIDE).min(images.pixels.len())].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_determinant_by_hand() {
        // Agreements 3, 1, 3: 9 - 1.
        let rows = [vec![true, false, true], vec![true, true, false]];
        assert!((log_determinant(&rows) - 8_f64.ln()).abs() < 1e-9);
        let same = [vec![true, false], vec![true, false]];
        assert!(log_determinant(&same) < -10.0);
    }
}
