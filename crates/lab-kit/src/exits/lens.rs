//! A linear map from what a layer puts out to what the last one does.

use crate::{linalg::Matrix, quant::linalg::inverse};

/// Ridge of the fit, as a share of the mean square.
const RIDGE: f64 = 1e-3;

/// The map `w` `[m, n]` with the least mean square of `y − w x`, from the sums `own = Σ x xᵀ` `[n, n]` and
/// `cross = Σ y xᵀ` `[m, n]`, with a small ridge. `None` where `x` has no spread at all.
#[must_use]
pub fn least_squares(own: &Matrix, cross: &Matrix) -> Option<Matrix> {
    let n = own.rows;
    let mut own = own.clone();
    let mean = (0..n).map(|i| own.row(i)[i]).sum::<f64>() / n.max(1) as f64;
    (0..n).for_each(|i| own.row_mut(i)[i] += RIDGE * mean);
    Some(cross.product(&Matrix::new(n, n, inverse(&own.values, n)?)))
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn a_planted_map_is_found_and_no_other_is_better() {
        let mut rng = crate::rng(0, "numbers");
        let mut random = |rows: usize, columns: usize| {
            Matrix::new(rows, columns, (0..rows * columns).map(|_| rng.random_range(-1.0..1.0)).collect())
        };
        let (x, w) = (random(5, 400), random(3, 5));
        let y = w.product(&x);
        let found = least_squares(&x.gram(), &y.product(&x.transposed())).expect("has spread");
        // The ridge shrinks the map by about a thousandth.
        assert!(found.minus(&w).frobenius() < 5e-3, "{}", found.minus(&w).frobenius());
        // With noise, moving the map in any direction makes it worse.
        let noisy = Matrix::new(3, 400, y.values.iter().zip(&random(3, 400).values).map(|(a, b)| a + b).collect());
        let found = least_squares(&x.gram(), &noisy.product(&x.transposed())).expect("has spread");
        let error = |w: &Matrix| noisy.minus(&w.product(&x)).frobenius();
        for _ in 0..20 {
            let step = random(3, 5);
            let moved = Matrix::new(3, 5, found.values.iter().zip(&step.values).map(|(a, b)| a + 0.05 * b).collect());
            assert!(error(&moved) > error(&found));
        }
        assert!(least_squares(&Matrix::zeros(2, 2), &Matrix::zeros(1, 2)).is_none());
    }
}
