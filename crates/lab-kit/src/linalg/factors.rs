//! A matrix as a product of two thinner ones, and what weighs its errors.

use rand::Rng;

use super::{
    matrix::{Matrix, dot},
    solve::{solve_lower_from_right, solve_upper_of_lower},
    svd::{normal, orthonormal_rows, svd},
};
use crate::quant::linalg::cholesky;

/// `w ≈ a · b`: `a` is `[outputs, rank]`, `b` is `[rank, inputs]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// The output side.
    pub a: Matrix,
    /// The input side.
    pub b: Matrix,
}

impl Factors {
    /// `a · b`.
    #[must_use]
    pub fn product(&self) -> Matrix {
        self.a.product(&self.b)
    }

    /// Width of the middle.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.b.rows
    }
}

/// What weighs an error on one side: `root · rootᵀ` is the second moment of what flows there.
#[derive(Debug, Clone, PartialEq)]
pub enum Root {
    /// Every channel alike, for itself.
    None,
    /// Every channel for itself: a factor for each.
    Diagonal(Vec<f64>),
    /// A lower triangle `[n, n]`.
    Lower(Matrix),
}

impl Root {
    /// The Cholesky factor of a second moment `[n, n]` to whose diagonal `damping` times its mean was added. `None` where
    /// that is not positive definite: a channel that is always zero needs the damping.
    #[must_use]
    pub fn of(moment: &Matrix, damping: f64) -> Option<Self> {
        let n = moment.rows;
        let mean = (0..n).map(|i| moment.values[i * n + i]).sum::<f64>() / n.max(1) as f64;
        let mut damped = moment.values.clone();
        (0..n).for_each(|i| damped[i * n + i] += damping * mean);
        cholesky(&damped, n).map(|lower| Self::Lower(Matrix::new(n, n, lower)))
    }

    /// `w · root`.
    fn times_right(&self, w: &Matrix) -> Matrix {
        match self {
            Self::None => w.clone(),
            Self::Diagonal(by) => scaled_columns(w, |j| by[j]),
            Self::Lower(lower) => w.product(lower),
        }
    }

    /// `y · root⁻¹`.
    fn undo_right(&self, y: &Matrix) -> Matrix {
        match self {
            Self::None => y.clone(),
            Self::Diagonal(by) => scaled_columns(y, |j| by[j].recip()),
            Self::Lower(lower) => solve_lower_from_right(y, lower),
        }
    }

    /// `rootᵀ · w`.
    fn times_left(&self, w: &Matrix) -> Matrix {
        match self {
            Self::Lower(lower) => lower.transposed().product(w),
            _ => self.times_right(&w.transposed()).transposed(),
        }
    }

    /// `root⁻ᵀ · y`.
    fn undo_left(&self, y: &Matrix) -> Matrix {
        match self {
            Self::Lower(lower) => solve_upper_of_lower(lower, y),
            _ => self.undo_right(&y.transposed()).transposed(),
        }
    }
}

fn scaled_columns(w: &Matrix, by: impl Fn(usize) -> f64) -> Matrix {
    let values = w.values.iter().enumerate().map(|(at, value)| value * by(at % w.columns)).collect();
    Matrix { values, ..*w }
}

/// Factors of full width, best first, and what each of their directions is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighted {
    /// Of full width.
    factors: Factors,
    /// What is lost, in weighted squared error, by leaving out a direction: falling.
    pub gains: Vec<f64>,
}

// ANCHOR: weighted
/// The decomposition of `w` `[outputs, inputs]` whose first `r` directions are, for every `r`, the matrix of that rank with
/// the least weighted error `‖leftᵀ (w - w') right‖`.
///
/// Nothing weighed: the error of the weights (Eckart and Young, 1936). `right` from the inputs' second moment: that of the
/// outputs, as in SVD-LLM (Wang et al., 2024, arXiv:2403.07378). `left` from the outputs' gradients as well: the change of
/// the loss to second order, were gradients and inputs independent. `None` for what is not a number.
#[must_use]
pub fn weighted(w: &Matrix, left: &Root, right: &Root) -> Option<Weighted> {
    let found = svd(&left.times_left(&right.times_right(w)))?;
    let a = left.undo_left(&found.u);
    let mut b = right.undo_right(&found.vt);
    for (i, s) in found.s.iter().enumerate() {
        b.row_mut(i).iter_mut().for_each(|x| *x *= s);
    }
    Some(Weighted { factors: Factors { a, b }, gains: found.s.iter().map(|s| s * s).collect() })
}
// ANCHOR_END: weighted

/// A control: `w` seen through random directions of its inputs. Each gain is the energy that its direction happens to hold.
#[must_use]
pub fn random_subspace(w: &Matrix, rng: &mut impl Rng) -> Weighted {
    let rank = w.rows.min(w.columns);
    let draws = (0..rank * w.columns).map(|_| normal(rng)).collect();
    let b = orthonormal_rows(&Matrix::new(rank, w.columns, draws));
    let a = w.product(&b.transposed());
    let columns = a.transposed();
    let gains = (0..rank).map(|i| dot(columns.row(i), columns.row(i))).collect();
    Weighted { factors: Factors { a, b }, gains }
}

impl Weighted {
    // ANCHOR: truncate
    /// The first `rank` directions, the weight of each shared evenly between both factors (columns of `a` are as long as
    /// the rows of `b`), so that training moves both alike.
    #[must_use]
    pub fn truncate(&self, rank: usize) -> Factors {
        let rank = rank.clamp(1, self.factors.rank().max(1));
        let mut columns = self.factors.a.transposed().first_rows(rank);
        let mut b = self.factors.b.first_rows(rank);
        for i in 0..columns.rows {
            let (long_a, long_b) = (dot(columns.row(i), columns.row(i)).sqrt(), dot(b.row(i), b.row(i)).sqrt());
            if long_a > 0.0 && long_b > 0.0 {
                let even = (long_b / long_a).sqrt();
                columns.row_mut(i).iter_mut().for_each(|x| *x *= even);
                b.row_mut(i).iter_mut().for_each(|x| *x /= even);
            }
        }
        Factors { a: columns.transposed(), b }
    }
    // ANCHOR_END: truncate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        linalg::matrix::tests::{apart, random},
        rng,
    };

    fn moment(inputs: &Matrix) -> Matrix {
        let mut all = inputs.transposed().gram();
        all.values.iter_mut().for_each(|x| *x /= inputs.rows as f64);
        all
    }

    #[test]
    fn worse_weights_and_better_outputs() {
        let w = Matrix::new(2, 2, vec![4.0, 0.0, 3.0, -5.0]);
        let root = Root::of(&Matrix::new(2, 2, vec![1.0, 0.0, 0.0, 16.0]), 0.0).expect("positive definite");
        let found = weighted(&w, &Root::None, &root).expect("finite");
        assert!((found.gains[0].sqrt() - 20.232_797).abs() < 1e-6 && (found.gains[1].sqrt() - 3.953_976).abs() < 1e-6);
        let aware = found.truncate(1).product();
        let expected = Matrix::new(2, 2, vec![0.095_152, -0.152_388, 3.119_121, -4.995_351]);
        assert!(apart(&aware, &expected) < 1e-6);
        let plain = weighted(&w, &Root::None, &Root::None).expect("finite").truncate(1).product();
        let outputs = |w2: &Matrix| root.times_right(&w.minus(w2)).frobenius().powi(2);
        assert!((outputs(&aware) - 15.633_929).abs() < 1e-6 && (outputs(&plain) - 85.0).abs() < 1e-9);
        assert!((w.minus(&aware).frobenius().powi(2) - 15.285_274).abs() < 1e-6);
        assert!((w.minus(&plain).frobenius().powi(2) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn the_error_on_the_rows_seen_is_the_sum_of_the_gains_left_out() {
        for seed in 0..20_u64 {
            let (m, n) = (3 + seed as usize % 7, 2 + seed as usize % 5);
            let (w, x) = (random(m, n, seed), random(3 * n + 2, n, 100 + seed));
            let g = random(2 * m + 3, m, 200 + seed);
            let (right, left) =
                (Root::of(&moment(&x), 0.0).expect("full rank"), Root::of(&moment(&g), 0.0).expect("full"));
            let (aware, both) = (weighted(&w, &Root::None, &right), weighted(&w, &left, &right));
            let (aware, both) = (aware.expect("finite"), both.expect("finite"));
            let plain = weighted(&w, &Root::None, &Root::None).expect("finite");
            let scale = aware.gains.iter().sum::<f64>();
            for r in 1..=m.min(n) {
                let outputs = |w2: Matrix| x.product(&w.minus(&w2).transposed()).frobenius().powi(2) / x.rows as f64;
                let error = outputs(aware.truncate(r).product());
                assert!((error - aware.gains[r..].iter().sum::<f64>()).abs() < 1e-6 * scale);
                assert!(error <= outputs(plain.truncate(r).product()) + 1e-9);
                // Two-sided: tr(E[ggᵀ] d E[xxᵀ] dᵀ).
                let d = w.minus(&both.truncate(r).product());
                let curved = moment(&g).product(&d).product(&moment(&x)).product(&d.transposed());
                let trace: f64 = (0..m).map(|i| curved.values[i * m + i]).sum();
                assert!((trace - both.gains[r..].iter().sum::<f64>()).abs() < 1e-6 * both.gains.iter().sum::<f64>());
            }
            assert!(apart(&aware.truncate(m.min(n)).product(), &w) < 1e-6);
        }
    }

    #[test]
    fn any_root_of_a_moment_gives_the_same_matrix() {
        let (w, x) = (random(5, 6, 1), random(30, 6, 2));
        let g = moment(&x);
        let found = crate::linalg::eigen(&g).expect("finite");
        let mut scaled = found.vectors.clone();
        for (i, value) in found.values.iter().enumerate() {
            scaled.row_mut(i).iter_mut().for_each(|x| *x *= value.sqrt());
        }
        let symmetric = found.vectors.transposed().product(&scaled);
        let Root::Lower(lower) = Root::of(&g, 0.0).expect("positive definite") else { panic!("a triangle") };
        let by_cholesky = weighted(&w, &Root::None, &Root::Lower(lower)).expect("finite");
        let by_symmetric = svd(&w.product(&symmetric)).expect("finite");
        for (gain, s) in by_cholesky.gains.iter().zip(&by_symmetric.s) {
            assert!((gain.sqrt() - s).abs() < 1e-9);
        }
        // Twice as loud: the same matrix, four times the gains.
        let loud = Matrix { values: g.values.iter().map(|x| 4.0 * x).collect(), ..g };
        let louder = weighted(&w, &Root::None, &Root::of(&loud, 0.0).expect("positive definite")).expect("finite");
        assert!(apart(&louder.truncate(3).product(), &by_cholesky.truncate(3).product()) < 1e-9);
        assert!((louder.gains[0] - 4.0 * by_cholesky.gains[0]).abs() < 1e-9);
        // All channels alike and for themselves: nothing is weighed.
        let one = Root::of(&Matrix::identity(6), 0.0).expect("positive definite");
        let plain = weighted(&w, &Root::None, &Root::None).expect("finite").truncate(2).product();
        assert!(apart(&weighted(&w, &Root::None, &one).expect("finite").truncate(2).product(), &plain) < 1e-9);
        let diagonal = Root::Diagonal(vec![1.0; 6]);
        assert!(apart(&weighted(&w, &diagonal_of(5), &diagonal).expect("finite").truncate(2).product(), &plain) < 1e-9);
    }

    fn diagonal_of(n: usize) -> Root {
        Root::Diagonal(vec![3.0; n])
    }

    #[test]
    fn a_channel_that_is_always_silent_needs_damping() {
        let mut x = random(30, 4, 0);
        (0..30).for_each(|i| x.row_mut(i)[2] = 0.0);
        assert_eq!(Root::of(&moment(&x), 0.0), None);
        let root = Root::of(&moment(&x), 1e-6).expect("damped");
        let found = weighted(&random(3, 4, 1), &Root::None, &root).expect("finite").truncate(2);
        assert!(found.product().values.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn factors_are_balanced_and_a_random_subspace_keeps_less() {
        let w = random(9, 7, 3);
        let found = weighted(&w, &Root::None, &Root::None).expect("finite");
        let Factors { a, b } = found.truncate(4);
        let columns = a.transposed();
        for i in 0..4 {
            let (left, right) = (dot(columns.row(i), columns.row(i)), dot(b.row(i), b.row(i)));
            assert!((left - right).abs() < 1e-9 * left);
        }
        let random = random_subspace(&w, &mut rng(0, "subspace"));
        assert!(apart(&random.truncate(7).product(), &w) < 1e-9);
        let error = |r: usize, found: &Weighted| w.minus(&found.truncate(r).product()).frobenius();
        assert!((1..7).all(|r| error(r, &random) >= error(r, &found)));
        let kept = w.frobenius().powi(2) - random.gains[..3].iter().sum::<f64>();
        assert!((error(3, &random).powi(2) - kept).abs() < 1e-9);
        // Zeros stay zeros.
        let nothing = weighted(&Matrix::zeros(3, 2), &Root::None, &Root::None).expect("finite").truncate(1);
        assert_eq!(nothing.product(), Matrix::zeros(3, 2));
    }
}
