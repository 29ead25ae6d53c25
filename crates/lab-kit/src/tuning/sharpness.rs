//! How steep a loss is where it is steepest.

use rand::Rng;

use crate::rng;

/// The largest curvature at some weights, by power iteration on differences of gradients: each round takes two gradients.
#[must_use]
pub fn sharpness(weights: &[f32], rounds: usize, seed: u64, gradient: impl Fn(&[f32]) -> Vec<f32>) -> f64 {
    let length = |v: &[f32]| v.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    // A thousandth of the weights' own length: far from rounding, near to the place.
    let reach = (1e-3 * length(weights)).max(1e-3);
    let mut rng = rng(seed, "direction");
    let mut direction: Vec<f32> = weights.iter().map(|_| rng.random_range(-1.0..1.0)).collect();
    let mut found = 0.0;
    for _ in 0..rounds {
        let step = (reach / length(&direction).max(1e-30)) as f32;
        let at = |sign: f32| {
            let moved: Vec<f32> = weights.iter().zip(&direction).map(|(w, d)| w + sign * step * d).collect();
            gradient(&moved)
        };
        let (above, below) = (at(1.0), at(-1.0));
        direction = above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * reach as f32)).collect();
        found = length(&direction);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_bowl_it_is_the_steepest_side() {
        let steep = [0.5, 7.0, 3.0, 1.0_f32];
        let found = sharpness(&[1.0, -2.0, 0.5, 4.0], 40, 0, |w| w.iter().zip(steep).map(|(w, h)| h * w).collect());
        assert!((found - 7.0).abs() < 0.01, "{found}");
    }
}
