//! Singular value decompositions: `w = u · diag(s) · vt`.

use rand::Rng;

use super::{
    eigen,
    matrix::{Matrix, add, dot, rotate},
};
use crate::order::Ordered as _;

/// Of a matrix `[m, n]`, with `k = min(m, n)` or fewer.
#[derive(Debug, Clone, PartialEq)]
pub struct Svd {
    /// `[m, k]`, columns of length one at right angles.
    pub u: Matrix,
    /// Singular values, the largest first.
    pub s: Vec<f64>,
    /// `[k, n]`, rows of length one at right angles.
    pub vt: Matrix,
}

impl Svd {
    /// That of the transposed matrix.
    fn transposed(self) -> Self {
        Self { u: self.vt.transposed(), s: self.s, vt: self.u.transposed() }
    }
}

/// Passes over all pairs of columns: 6 to 10 are usual.
const SWEEPS: usize = 60;

// ANCHOR: naive
/// By turning pairs of columns until all stand at right angles (one-sided Jacobi; Hestenes, 1958). Slow and simple, and
/// exact for the smallest values too: the oracle of [`svd`]. `None` for what is not a number.
#[must_use]
pub fn svd_by_rotations(w: &Matrix) -> Option<Svd> {
    if w.rows < w.columns {
        return svd_by_rotations(&w.transposed()).map(Svd::transposed);
    }
    // Columns are kept as rows: those of w, and beside them those of v, turned alike.
    let (mut columns, mut v) = (w.transposed(), Matrix::identity(w.columns));
    for _ in 0..SWEEPS {
        let mut at_rest = true;
        for i in 0..w.columns {
            for j in i + 1..w.columns {
                let (a, b) = (columns.row(i), columns.row(j));
                let (aa, bb, ab) = (dot(a, a), dot(b, b), dot(a, b));
                if ab.abs() > 1e-14 * (aa * bb).sqrt() {
                    at_rest = false;
                    let zeta = (bb - aa) / (2.0 * ab);
                    let tangent = (zeta.abs() + (1.0 + zeta * zeta).sqrt()).recip().copysign(zeta);
                    let c = (1.0 + tangent * tangent).sqrt().recip();
                    rotate(columns.two_rows(i, j), c, c * tangent);
                    rotate(v.two_rows(i, j), c, c * tangent);
                } else if ab.is_nan() {
                    return None;
                }
            }
        }
        if at_rest {
            return Some(sorted(&columns, &v));
        }
    }
    None
}
// ANCHOR_END: naive

/// The decomposition of columns that stand at right angles.
fn sorted(columns: &Matrix, v: &Matrix) -> Svd {
    let length = |i: usize| dot(columns.row(i), columns.row(i)).sqrt();
    let mut order: Vec<(usize, f64)> = (0..columns.rows).map(|i| (i, length(i))).collect();
    order.ordered_by(&|a, b| b.1.total_cmp(&a.1));
    let of = |rows: &Matrix, scale: &dyn Fn(f64) -> f64| {
        let values = order.iter().flat_map(|(i, s)| rows.row(*i).iter().map(|x| x * scale(*s)));
        Matrix::new(order.len(), rows.columns, values.collect())
    };
    let u = of(columns, &|s| if s > 0.0 { s.recip() } else { 0.0 });
    Svd { u: u.transposed(), s: order.iter().map(|(_, s)| *s).collect(), vt: of(v, &|_| 1.0) }
}

/// Below this share of the largest, the values of [`svd`] are noise: squaring a matrix halves its digits.
const NOISE: f64 = 1e-7;

// ANCHOR: optimized
/// By the eigenvectors of the smaller of `w wᵀ` and `wᵀ w`: a fixed number of passes over a matrix that is no wider than
/// the shorter side. What lies below 1e-7 of the largest value is given as zero, with vectors of zeros on the longer
/// side, which is all that a truncation asks for. `None` for what is not a number.
#[must_use]
pub fn svd(w: &Matrix) -> Option<Svd> {
    if w.rows > w.columns {
        return svd(&w.transposed()).map(Svd::transposed);
    }
    let found = eigen(&w.gram())?;
    let largest = found.values.first().map_or(0.0, |value| value.max(0.0).sqrt());
    let mut s: Vec<f64> = found.values.iter().map(|value| value.max(0.0).sqrt()).collect();
    s.iter_mut().filter(|s| **s <= NOISE * largest).for_each(|s| *s = 0.0);
    let mut vt = found.vectors.product(w); // uᵀ w = diag(s) vt
    for (i, s) in s.iter().enumerate() {
        let scale = if *s > 0.0 { s.recip() } else { 0.0 };
        vt.row_mut(i).iter_mut().for_each(|x| *x *= scale);
    }
    Some(Svd { u: found.vectors.transposed(), s, vt })
}
// ANCHOR_END: optimized

/// Directions that are drawn beyond those that are wanted.
const OVERSAMPLING: usize = 8;

// ANCHOR: randomized
/// The first `rank` values and vectors, nearly: `w` and its transpose are multiplied with a few random columns, whose span
/// soon holds the directions that `w` stretches most (Halko, Martinsson and Tropp, 2011, arXiv:0909.4061, algorithms 4.4
/// and 5.1). `powers` is how often `w wᵀ` is applied: one or two. `None` for what is not a number.
#[must_use]
pub fn svd_randomized(w: &Matrix, rank: usize, powers: usize, rng: &mut impl Rng) -> Option<Svd> {
    let width = (rank + OVERSAMPLING).min(w.rows).min(w.columns);
    let draws = (0..w.columns * width).map(|_| normal(rng)).collect();
    let transposed = w.transposed();
    let mut basis = orthonormal_rows(&w.product(&Matrix::new(w.columns, width, draws)).transposed());
    for _ in 0..powers {
        let back = orthonormal_rows(&basis.product(w)); // [width, n]
        basis = orthonormal_rows(&back.product(&transposed)); // [width, m]
    }
    let small = svd(&basis.product(w))?;
    let u = basis.transposed().product(&small.u);
    let first: Vec<usize> = (0..rank.min(width)).collect();
    Some(Svd { u: u.select_columns(&first), s: small.s[..first.len()].to_vec(), vt: small.vt.first_rows(first.len()) })
}
// ANCHOR_END: randomized

/// Of mean 0 and variance 1, nearly: the sum of twelve uniform numbers. No logarithm, so that platforms agree to the bit.
pub(super) fn normal(rng: &mut impl Rng) -> f64 {
    (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0
}

/// The span of these rows as rows of length one at right angles (modified Gram-Schmidt, twice); a row that adds nothing
/// becomes zeros.
pub(super) fn orthonormal_rows(rows: &Matrix) -> Matrix {
    let mut q = rows.clone();
    for i in 0..q.rows {
        let before = dot(q.row(i), q.row(i)).sqrt();
        for _ in 0..2 {
            for j in 0..i {
                let (earlier, row) = q.two_rows(j, i);
                let along = dot(earlier, row);
                add(row, -along, earlier);
            }
        }
        let length = dot(q.row(i), q.row(i)).sqrt();
        let scale = if length > 1e-12 * before { length.recip() } else { 0.0 };
        q.row_mut(i).iter_mut().for_each(|x| *x *= scale);
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        linalg::matrix::tests::{apart, random},
        rng,
    };

    fn back(svd: &Svd) -> Matrix {
        let mut scaled = svd.vt.clone();
        for (i, s) in svd.s.iter().enumerate() {
            scaled.row_mut(i).iter_mut().for_each(|x| *x *= s);
        }
        svd.u.product(&scaled)
    }

    const SHAPES: [(usize, usize); 9] =
        [(1, 1), (1, 7), (7, 1), (2, 3), (8, 12), (12, 8), (13, 13), (40, 17), (64, 192)];

    #[test]
    fn both_ways_multiply_back_and_agree() {
        for (seed, (m, n)) in SHAPES.into_iter().enumerate() {
            let w = random(m, n, seed as u64);
            let (naive, fast) = (svd_by_rotations(&w).expect("finite"), svd(&w).expect("finite"));
            assert!(apart(&back(&naive), &w) < 1e-11);
            assert!(apart(&back(&fast), &w) < 1e-9);
            let k = m.min(n);
            for found in [&naive, &fast] {
                let one = Matrix::identity(k);
                assert!(apart(&found.u.transposed().gram(), &one) < 1e-9, "{m} x {n}");
                assert!(apart(&found.vt.gram(), &one) < 1e-7, "{m} x {n}");
                assert!(found.s.is_sorted_by(|a, b| a >= b));
            }
            for (a, b) in naive.s.iter().zip(&fast.s) {
                assert!((a - b).abs() < 1e-8 * naive.s[0], "{a} {b}");
            }
        }
    }

    #[test]
    fn a_case_by_hand() {
        // wᵀ w has trace 50 and determinant 400: values 40 and 10.
        let w = Matrix::new(2, 2, vec![4.0, 0.0, 3.0, -5.0]);
        for found in [svd_by_rotations(&w), svd(&w)] {
            let found = found.expect("finite");
            assert!((found.s[0] - 40.0_f64.sqrt()).abs() < 1e-12 && (found.s[1] - 10.0_f64.sqrt()).abs() < 1e-12);
            let first = Svd { u: found.u.select_columns(&[0]), s: vec![found.s[0]], vt: found.vt.first_rows(1) };
            assert!(apart(&back(&first), &Matrix::new(2, 2, vec![2.0, -2.0, 4.0, -4.0])) < 1e-12);
        }
    }

    #[test]
    fn singular_and_degenerate_matrices_give_numbers() {
        let outer = random(6, 1, 1).product(&random(1, 9, 2));
        for w in [Matrix::zeros(4, 6), Matrix::identity(5), outer, Matrix::new(1, 4, vec![0.0, 3.0, 0.0, 4.0])] {
            let (naive, fast) = (svd_by_rotations(&w).expect("finite"), svd(&w).expect("finite"));
            assert!(apart(&back(&naive), &w) < 1e-12 && apart(&back(&fast), &w) < 1e-8);
        }
        assert_eq!(svd(&Matrix::new(1, 4, vec![0.0, 3.0, 0.0, 4.0])).expect("finite").s, [5.0]);
        assert_eq!(svd(&Matrix::new(1, 2, vec![f64::NAN, 0.0])), None);
        assert_eq!(svd_by_rotations(&Matrix::new(2, 2, vec![f64::NAN, 0.0, 1.0, 1.0])), None);
    }

    #[test]
    fn random_columns_find_the_largest_values() {
        // Values 1, 0.8, 0.64, ...: what is left after ten has length 0.8^10 / sqrt(1 - 0.64).
        let (m, n, k) = (40, 60, 40);
        let u = orthonormal_rows(&random(k, m, 1)).transposed();
        let vt = orthonormal_rows(&random(k, n, 2));
        let s: Vec<f64> = (0..k).map(|i| 0.8_f64.powi(i32::try_from(i).expect("small"))).collect();
        let w = back(&Svd { u, s: s.clone(), vt });
        let optimal = s[10..].iter().map(|s| s * s).sum::<f64>().sqrt();
        let found = svd_randomized(&w, 10, 2, &mut rng(0, "test")).expect("finite");
        let error = w.minus(&back(&found)).frobenius();
        assert!(error >= optimal * (1.0 - 1e-9) && error < 1.1 * optimal, "{error} {optimal}");
        // Without powers it is worse, or the powers do nothing.
        let plain = svd_randomized(&w, 10, 0, &mut rng(0, "test")).expect("finite");
        assert!(w.minus(&back(&plain)).frobenius() > error);
    }
}
