//! The little linear algebra that GPTQ needs: square matrices of `f64`, row-major.

/// The lower triangle `L` with `L Lᵀ = a`, for a symmetric positive definite `a` of width `n`; `None` for any other.
#[must_use]
pub(crate) fn cholesky(a: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut lower = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| lower[i * n + k] * lower[j * n + k]).sum();
            let rest = a[i * n + j] - dot;
            lower[i * n + j] = if i == j {
                // Also refuses NaN.
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / lower[j * n + j]
            };
        }
    }
    Some(lower)
}

/// The inverse of a symmetric positive definite matrix of width `n`; `None` for any other.
#[must_use]
pub(crate) fn inverse(a: &[f64], n: usize) -> Option<Vec<f64>> {
    let lower = cholesky(a, n)?;
    // Columns of L⁻¹ by substitution from the top, each as a row of its own, so that sums run through neighbours; then
    // a⁻¹ = L⁻ᵀ L⁻¹.
    let mut solved = vec![0.0; n * n];
    for column in 0..n {
        for i in column..n {
            let unit = if i == column { 1.0 } else { 0.0 };
            let known = &solved[column * n + column..column * n + i];
            let dot: f64 = lower[i * n + column..i * n + i].iter().zip(known).map(|(l, s)| l * s).sum();
            solved[column * n + i] = (unit - dot) / lower[i * n + i];
        }
    }
    let mut inverse = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let both = solved[i * n + i..(i + 1) * n].iter().zip(&solved[j * n + i..(j + 1) * n]);
            let dot: f64 = both.map(|(a, b)| a * b).sum();
            inverse[i * n + j] = dot;
            inverse[j * n + i] = dot;
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::rng;

    fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
        let cell = |i: usize| (0..n).map(|k| a[i / n * n + k] * b[k * n + i % n]).sum();
        (0..n * n).map(cell).collect()
    }

    /// `X Xᵀ` of random numbers, a little more on the diagonal.
    fn positive(n: usize, seed: u64) -> Vec<f64> {
        let mut rng = rng(seed, "matrix");
        let x: Vec<f64> = (0..n * n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let transposed: Vec<f64> = (0..n * n).map(|i| x[i % n * n + i / n]).collect();
        let mut a = product(&x, &transposed, n);
        (0..n).for_each(|i| a[i * n + i] += 0.1);
        a
    }

    #[test]
    fn factors_and_inverses_multiply_back() {
        for n in 1..12 {
            let a = positive(n, n as u64);
            let lower = cholesky(&a, n).expect("positive definite");
            let transposed: Vec<f64> = (0..n * n).map(|i| lower[i % n * n + i / n]).collect();
            let back = product(&lower, &transposed, n);
            let unit = product(&a, &inverse(&a, n).expect("positive definite"), n);
            for i in 0..n * n {
                assert!((back[i] - a[i]).abs() < 1e-12);
                let expected = if i / n == i % n { 1.0 } else { 0.0 };
                assert!((unit[i] - expected).abs() < 1e-9, "{}", unit[i]);
            }
        }
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        assert_eq!(cholesky(&[1.0, 2.0, 2.0, 1.0], 2), None);
        assert_eq!(inverse(&[0.0], 1), None);
        assert_eq!(inverse(&[f64::NAN], 1), None);
        assert_eq!(cholesky(&[4.0], 1), Some(vec![2.0]));
    }
}
