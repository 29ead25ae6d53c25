//! Eigenvalues and eigenvectors of symmetric matrices: Householder reflections to a tridiagonal matrix, then implicit QL steps
//! (Bowdler, Martin, Reinsch and Wilkinson, 1968, in the form of EISPACK's `tred2` and `tql2`).

use super::matrix::{Matrix, add, dot, rotate};
use crate::order::Ordered as _;

/// `a = vectorsᵀ · diag(values) · vectors`, values falling.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigen {
    /// Eigenvalues, the largest first.
    pub values: Vec<f64>,
    /// A row for each eigenvector.
    pub vectors: Matrix,
}

/// Steps for one eigenvalue: two or three are usual.
const STEPS: usize = 60;

/// Of a symmetric matrix; only its lower triangle is read. `None` for one that holds what is not a number.
#[must_use]
pub fn eigen(a: &Matrix) -> Option<Eigen> {
    if a.values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let (mut values, mut beside, mut vectors) = tridiagonal(a);
    let n = a.rows;
    for at in 0..n {
        for step in 0.. {
            // The block that begins here ends where an entry beside the diagonal has vanished.
            let small = |i: &usize| beside[*i].abs() <= f64::EPSILON * (values[*i].abs() + values[*i + 1].abs());
            let end = (at..n - 1).find(small).unwrap_or(n - 1);
            if end == at {
                break;
            }
            if step == STEPS {
                return None;
            }
            ql_step(&mut values, &mut beside, &mut vectors, at, end);
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.ordered_by(&|i, j| values[*j].total_cmp(&values[*i]));
    let rows = order.iter().flat_map(|i| vectors.row(*i)).copied().collect();
    Some(Eigen { values: order.iter().map(|i| values[*i]).collect(), vectors: Matrix::new(n, n, rows) })
}

/// One implicit QL step with Wilkinson's shift on rows `at..=end`.
fn ql_step(values: &mut [f64], beside: &mut [f64], vectors: &mut Matrix, at: usize, end: usize) {
    let shift = (values[at + 1] - values[at]) / (2.0 * beside[at]);
    let length = (shift * shift + 1.0).sqrt().copysign(shift);
    let mut g = values[end] - values[at] + beside[at] / (shift + length);
    let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
    for i in (at..end).rev() {
        let (f, b) = (s * beside[i], c * beside[i]);
        let r = (f * f + g * g).sqrt();
        beside[i + 1] = r;
        if r == 0.0 {
            // The matrix falls into two: go on with either later.
            values[i + 1] -= p;
            beside[end] = 0.0;
            return;
        }
        (s, c) = (f / r, g / r);
        g = values[i + 1] - p;
        let r = (values[i] - g) * s + 2.0 * c * b;
        p = s * r;
        values[i + 1] = g + p;
        g = c * r - b;
        rotate(vectors.two_rows(i, i + 1), c, s);
    }
    values[at] -= p;
    beside[at] = g;
    beside[end] = 0.0;
}

/// The diagonal, what stands beside it, and the product of all reflections, a row for each basis vector.
fn tridiagonal(a: &Matrix) -> (Vec<f64>, Vec<f64>, Matrix) {
    let n = a.rows;
    let mut t = a.clone();
    for i in 0..n {
        for j in i + 1..n {
            t.values[i * n + j] = t.values[j * n + i];
        }
    }
    let mut reflections = Vec::new();
    for k in 0..n.saturating_sub(2) {
        let mut v = t.row(k)[k + 1..].to_vec();
        let length = dot(&v, &v).sqrt();
        if length == 0.0 {
            continue;
        }
        v[0] += length.copysign(v[0]);
        let twice = 2.0 / dot(&v, &v);
        // The rest of the matrix becomes H T H, by a correction of rank two.
        let mut w: Vec<f64> = (k + 1..n).map(|i| twice * dot(&t.row(i)[k + 1..], &v)).collect();
        let half = 0.5 * twice * dot(&w, &v);
        add(&mut w, -half, &v);
        for i in k + 1..n {
            let (vi, wi) = (v[i - k - 1], w[i - k - 1]);
            let row = &mut t.row_mut(i)[k + 1..];
            add(row, -vi, &w);
            add(row, -wi, &v);
        }
        let first = -length.copysign(t.row(k)[k + 1]);
        t.row_mut(k)[k + 1] = first;
        reflections.push((k, v, twice));
    }
    let mut q = Matrix::identity(n);
    for (k, v, twice) in reflections.iter().rev() {
        let mut sums = vec![0.0; n];
        (k + 1..n).for_each(|i| add(&mut sums, v[i - k - 1], q.row(i)));
        (k + 1..n).for_each(|i| add(q.row_mut(i), -twice * v[i - k - 1], &sums));
    }
    let diagonal = (0..n).map(|i| t.values[i * n + i]).collect();
    let mut beside: Vec<f64> = (1..n).map(|i| t.row(i - 1)[i]).collect();
    beside.push(0.0);
    (diagonal, beside, q.transposed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::matrix::tests::{apart, random};

    fn check(a: &Matrix) -> Eigen {
        let n = a.rows;
        let found = eigen(a).expect("finite");
        let mut scaled = found.vectors.clone();
        for (i, value) in found.values.iter().enumerate() {
            scaled.row_mut(i).iter_mut().for_each(|x| *x *= value);
        }
        let size = a.frobenius().max(1.0);
        assert!(apart(&found.vectors.transposed().product(&scaled), a) < 1e-12 * size * n as f64);
        assert!(apart(&found.vectors.gram(), &Matrix::identity(n)) < 1e-12 * n as f64);
        assert!(found.values.is_sorted_by(|a, b| a >= b));
        found
    }

    #[test]
    fn vectors_and_values_multiply_back() {
        for n in 1..30 {
            check(&random(n, n + 3, n as u64).gram());
            // Not positive definite, and of a rank that is not full.
            let a = random(n, n, 100 + n as u64);
            let sum = Matrix::new(n, n, a.values.iter().zip(a.transposed().values).map(|(x, y)| x + y).collect());
            check(&sum);
            check(&random(n, n.div_ceil(3), n as u64).gram());
        }
        check(&random(192, 200, 7).gram());
    }

    #[test]
    fn known_values_are_found() {
        let found = check(&Matrix::new(2, 2, vec![2.0, 1.0, 1.0, 2.0]));
        assert!((found.values[0] - 3.0).abs() < 1e-14 && (found.values[1] - 1.0).abs() < 1e-14);
        assert_eq!(check(&Matrix::zeros(4, 4)).values, [0.0; 4]);
        assert_eq!(check(&Matrix::identity(5)).values, [1.0; 5]);
        // 2 on the diagonal, -1 beside it: 2 - 2 cos(k pi / (n + 1)).
        let n = 9;
        let mut a = Matrix::zeros(n, n);
        for i in 0..n {
            a.row_mut(i)[i] = 2.0;
            if i + 1 < n {
                a.row_mut(i)[i + 1] = -1.0;
                a.row_mut(i + 1)[i] = -1.0;
            }
        }
        for (i, value) in check(&a).values.iter().enumerate() {
            let k = (n - i) as f64;
            let expected = 2.0 - 2.0 * (std::f64::consts::PI * k / (n as f64 + 1.0)).cos();
            assert!((value - expected).abs() < 1e-13);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert_eq!(eigen(&Matrix::new(1, 1, vec![f64::NAN])), None);
        assert_eq!(eigen(&Matrix::new(2, 2, vec![1.0, 0.0, f64::INFINITY, 1.0])), None);
    }
}
