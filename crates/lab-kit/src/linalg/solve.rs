//! Triangular systems and a QR decomposition with column pivoting.

use super::matrix::{Matrix, add, dot};

/// `y · l⁻¹` for a lower triangle `l` `[n, n]` and rows `y` `[m, n]`.
#[must_use]
pub fn solve_lower_from_right(y: &Matrix, l: &Matrix) -> Matrix {
    let mut x = y.clone();
    for i in 0..x.rows {
        let row = x.row_mut(i);
        for j in (0..l.rows).rev() {
            let value = row[j] / l.row(j)[j];
            row[j] = value;
            add(&mut row[..j], -value, &l.row(j)[..j]);
        }
    }
    x
}

/// `l⁻ᵀ · y` for a lower triangle `l` `[m, m]` and columns `y` `[m, k]`.
#[must_use]
pub fn solve_upper_of_lower(l: &Matrix, y: &Matrix) -> Matrix {
    let mut x = y.clone();
    for i in (0..l.rows).rev() {
        let scale = l.row(i)[i].recip();
        x.row_mut(i).iter_mut().for_each(|x| *x *= scale);
        for j in 0..i {
            let (solved, row) = x.two_rows(i, j);
            add(row, -l.row(i)[j], solved);
        }
    }
    x
}

/// The columns of `b` `[r, n]`, `r <= n`, in an order in which the first `r` stand apart from each other as well as a greedy
/// choice finds: each is the one that is longest once the earlier ones are taken out (Businger and Golub, 1965); and the
/// triangle `[r, n]` that their QR decomposition leaves. Where `b` has a lower rank, trailing rows of it are zeros.
#[must_use]
pub fn pivoted_qr(b: &Matrix) -> (Vec<usize>, Matrix) {
    let (r, n) = (b.rows, b.columns);
    // Columns are kept as rows.
    let mut rest = b.transposed();
    let mut order: Vec<usize> = (0..n).collect();
    let mut triangle = Matrix::zeros(r, n);
    for k in 0..r.min(n) {
        let length = |i: usize| dot(rest.row(order[i]), rest.row(order[i]));
        let (best, _) = (k..n).map(|i| (i, length(i))).fold((k, -1.0), |a, b| if b.1 > a.1 { b } else { a });
        order.swap(k, best);
        triangle.values.chunks_exact_mut(n).take(k).for_each(|row| row.swap(k, best));
        let mut q = rest.row(order[k]).to_vec();
        let long = dot(&q, &q).sqrt();
        triangle.row_mut(k)[k] = long;
        if long == 0.0 {
            break;
        }
        q.iter_mut().for_each(|x| *x /= long);
        for (i, number) in order.iter().enumerate().skip(k + 1) {
            let row = rest.row_mut(*number);
            let along = dot(row, &q);
            add(row, -along, &q);
            triangle.row_mut(k)[i] = along;
        }
    }
    (order, triangle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        linalg::matrix::tests::{apart, random},
        quant::linalg::cholesky,
    };

    fn lower(n: usize, seed: u64) -> Matrix {
        Matrix::new(n, n, cholesky(&random(n, n + 2, seed).gram().values, n).expect("positive definite"))
    }

    #[test]
    fn solutions_multiply_back() {
        for n in 1..15 {
            let l = lower(n, n as u64);
            let y = random(4, n, 50 + n as u64);
            assert!(apart(&solve_lower_from_right(&y, &l).product(&l), &y) < 1e-6);
            let y = y.transposed();
            assert!(apart(&l.transposed().product(&solve_upper_of_lower(&l, &y)), &y) < 1e-6);
        }
    }

    #[test]
    fn pivots_are_a_bijection_and_the_triangle_keeps_all_inner_products() {
        for (r, n) in [(1, 1), (1, 5), (3, 7), (5, 5), (8, 20)] {
            let b = random(r, n, (r * n) as u64);
            let (order, triangle) = pivoted_qr(&b);
            let mut all = order.clone();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
            let (a, c) = (triangle.transposed().gram(), b.select_columns(&order).transposed().gram());
            assert!(apart(&a, &c) < 1e-12);
            assert!((1..r).all(|i| triangle.row(i)[..i].iter().all(|x| *x == 0.0)));
            let diagonal: Vec<f64> = (0..r).map(|i| triangle.row(i)[i]).collect();
            assert!(diagonal.is_sorted_by(|a, b| a >= b));
        }
    }
}
