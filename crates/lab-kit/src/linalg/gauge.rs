//! Factors stored with fewer numbers: `a · b = (a m)(m⁻¹ b)` for every `m` `[rank, rank]`, so `rank²` numbers are free.

use super::{
    factors::Factors,
    matrix::{Matrix, add},
    solve::pivoted_qr,
};

/// `w x ≈ a (x[kept] + c x[rest])`: `m` is chosen so that `rank` columns of the inner factor are those of the identity,
/// which need not be stored (Rausch et al., 2025, arXiv:2512.03062).
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    /// The inputs that pass the inner factor as they are, `rank` of them.
    pub kept: Vec<usize>,
    /// The other inputs.
    pub rest: Vec<usize>,
    /// `[outputs, rank]`.
    pub a: Matrix,
    /// `[rank, inputs - rank]`.
    pub c: Matrix,
}

impl Gauge {
    // ANCHOR: gauge
    /// The same product with `rank²` numbers fewer. Which inputs are kept is chosen by a pivoted QR decomposition, which
    /// keeps the numbers of `c` small. `None` where the rows of `b` depend on each other: a lower rank says the same.
    #[must_use]
    pub fn of(factors: &Factors) -> Option<Self> {
        let (rank, inputs) = (factors.b.rows, factors.b.columns);
        let (order, triangle) = pivoted_qr(&factors.b);
        // The triangle's first columns, R₁ c = R₂, solved from the bottom.
        let mut c = Matrix::zeros(rank, inputs - rank);
        for i in (0..rank).rev() {
            let mut row = triangle.row(i)[rank..].to_vec();
            for j in i + 1..rank {
                add(&mut row, -triangle.row(i)[j], c.row(j));
            }
            let pivot = triangle.row(i)[i];
            if pivot <= 1e-12 * triangle.row(0)[0] {
                return None;
            }
            c.row_mut(i).iter_mut().zip(row).for_each(|(c, value)| *c = value / pivot);
        }
        let (kept, rest) = (order[..rank].to_vec(), order[rank..].to_vec());
        let a = factors.a.product(&factors.b.select_columns(&kept));
        Some(Self { kept, rest, a, c })
    }
    // ANCHOR_END: gauge

    /// Numbers stored, the order of the inputs left out.
    #[must_use]
    pub fn numbers(&self) -> usize {
        self.a.values.len() + self.c.values.len()
    }

    /// The matrix it stands for.
    #[must_use]
    pub fn product(&self) -> Matrix {
        let mut b = Matrix::zeros(self.c.rows, self.kept.len() + self.rest.len());
        for i in 0..b.rows {
            b.row_mut(i)[self.kept[i]] = 1.0;
            for (j, at) in self.rest.iter().enumerate() {
                b.row_mut(i)[*at] = self.c.row(i)[j];
            }
        }
        self.a.product(&b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{
        gauge_numbers,
        matrix::tests::{apart, random},
    };

    #[test]
    fn the_product_is_the_same_with_fewer_numbers() {
        for (m, r, n) in [(3, 1, 4), (8, 5, 12), (12, 8, 8), (64, 30, 48)] {
            let mut b = random(r, n, 1);
            // The leading columns depend on each other: without pivoting this would divide by zero.
            (0..r).for_each(|i| b.row_mut(i)[1] = 2.0 * b.row(i)[0]);
            let factors = Factors { a: random(m, r, 2), b };
            let Some(gauge) = Gauge::of(&factors) else {
                // As many directions as inputs, and two of those alike.
                assert_eq!(r, n);
                continue;
            };
            let whole = factors.product();
            assert!(apart(&gauge.product(), &whole) < 1e-9 * whole.frobenius());
            assert_eq!(gauge.numbers(), gauge_numbers(r, m, n));
            let largest = gauge.c.values.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            assert!(largest < 20.0, "{largest}");
            let mut all: Vec<usize> = gauge.kept.iter().chain(&gauge.rest).copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn rows_that_depend_on_each_other_are_refused() {
        let b = Matrix::new(2, 3, vec![1.0, 2.0, 3.0, 2.0, 4.0, 6.0]);
        assert_eq!(Gauge::of(&Factors { a: random(4, 2, 0), b }), None);
    }
}
