//! Kernels of convolutions as sums and chains of smaller ones. A kernel `[outputs, inputs, places]` is a tensor of three
//! modes; `places` are the `k · k` positions of its window.

use rand::Rng;

use super::{Matrix, eigen, matrix::dot, svd::normal};
use crate::quant::linalg::inverse;

/// A tensor of three modes, the last running fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Outputs, inputs, places.
    pub shape: [usize; 3],
    /// All numbers.
    pub values: Vec<f64>,
}

impl Kernel {
    /// The mode's fibres as rows `[shape[mode], everything else]`, the other modes in their order.
    #[must_use]
    pub fn unfolded(&self, mode: usize) -> Matrix {
        let [o, i, k] = self.shape;
        let size = self.shape[mode];
        let mut to = Matrix::zeros(size, (o * i * k).checked_div(size).unwrap_or(0));
        for (at, value) in self.values.iter().enumerate() {
            let place = [at / (i * k), at / k % i, at % k];
            let column = match mode {
                0 => place[1] * k + place[2],
                1 => place[0] * k + place[2],
                _ => place[0] * i + place[1],
            };
            to.row_mut(place[mode])[column] = *value;
        }
        to
    }
}

/// `core` between two thin matrices: a 1 x 1 convolution, a smaller kernel, a 1 x 1 convolution (Kim et al., 2015,
/// arXiv:1511.06530).
#[derive(Debug, Clone, PartialEq)]
pub struct Tucker {
    /// `[outputs, r1]`.
    pub outputs: Matrix,
    /// `[r1, r2, places]`.
    pub core: Kernel,
    /// `[inputs, r2]`.
    pub inputs: Matrix,
}

/// Passes after the first choice of both bases.
const HOOI_SWEEPS: usize = 2;

impl Tucker {
    // ANCHOR: tucker
    /// Each mode's most used directions (HOSVD), then each again among what the other mode's directions leave (HOOI; De
    /// Lathauwer et al., 2000). `None` for what is not a number.
    #[must_use]
    pub fn of(kernel: &Kernel, (r1, r2): (usize, usize)) -> Option<Self> {
        let mut outputs = leading(&kernel.unfolded(0), r1)?; // [r1, outputs]
        let mut inputs = leading(&kernel.unfolded(1), r2)?; // [r2, inputs]
        for _ in 0..HOOI_SWEEPS {
            inputs = leading(&project(kernel, Some(&outputs), None).unfolded(1), r2)?;
            outputs = leading(&project(kernel, None, Some(&inputs)).unfolded(0), r1)?;
        }
        let core = project(kernel, Some(&outputs), Some(&inputs));
        Some(Self { outputs: outputs.transposed(), core, inputs: inputs.transposed() })
    }
    // ANCHOR_END: tucker

    /// Numbers in it.
    #[must_use]
    pub fn numbers(&self) -> usize {
        self.outputs.values.len() + self.core.values.len() + self.inputs.values.len()
    }

    /// The kernel it stands for.
    #[must_use]
    pub fn product(&self) -> Kernel {
        project(&self.core, Some(&self.outputs), Some(&self.inputs))
    }
}

/// The eigenvectors of the rows' inner products that belong to the largest values: `[count, rows]`.
fn leading(rows: &Matrix, count: usize) -> Option<Matrix> {
    Some(eigen(&rows.gram())?.vectors.first_rows(count.max(1)))
}

/// The kernel with its outputs and its inputs multiplied by a matrix each.
fn project(kernel: &Kernel, outputs: Option<&Matrix>, inputs: Option<&Matrix>) -> Kernel {
    let mut kernel = kernel.clone();
    if let Some(by) = outputs {
        let values = by.product(&kernel.unfolded(0)).values;
        kernel = Kernel { shape: [by.rows, kernel.shape[1], kernel.shape[2]], values };
    }
    if let Some(by) = inputs {
        let [o, _, k] = kernel.shape;
        let turned = by.product(&kernel.unfolded(1)); // [r, o · k]
        let at = |o_: usize, r: usize, p: usize| turned.row(r)[o_ * k + p];
        let values = (0..o * by.rows * k).map(|i| at(i / (by.rows * k), i / k % by.rows, i % k)).collect();
        kernel = Kernel { shape: [o, by.rows, k], values };
    }
    kernel
}

/// A sum of products of three vectors: a 1 x 1 convolution, a window for each channel, a 1 x 1 convolution (Lebedev et al.,
/// 2014, arXiv:1412.6553, with the window left whole).
#[derive(Debug, Clone, PartialEq)]
pub struct Cp {
    /// For each mode `[shape[mode], rank]`: outputs, inputs, places.
    pub factors: [Matrix; 3],
}

/// Passes over the three modes.
const ALS_SWEEPS: usize = 30;
/// Added to the diagonal of what is inverted, as a share of its mean: components that nearly cancel would make it singular.
const ALS_DAMPING: f64 = 1e-7;

impl Cp {
    // ANCHOR: cp
    /// By alternating least squares: with two modes fixed, the best third is the solution of a linear system. It starts from
    /// random numbers. `None` for what is not a number.
    #[must_use]
    pub fn of(kernel: &Kernel, rank: usize, rng: &mut impl Rng) -> Option<Self> {
        let unfolded = [0, 1, 2].map(|mode| kernel.unfolded(mode));
        let mut factors =
            kernel.shape.map(|size| Matrix::new(size, rank, (0..size * rank).map(|_| normal(rng)).collect()));
        for _ in 0..ALS_SWEEPS {
            for mode in [2, 0, 1] {
                let (first, second) = match mode {
                    0 => (&factors[1], &factors[2]),
                    1 => (&factors[0], &factors[2]),
                    _ => (&factors[0], &factors[1]),
                };
                let both = pairs(first, second); // every row of one with every row of the other
                let (one, other) = (first.transposed().gram(), second.transposed().gram());
                let mut gram: Vec<f64> = one.values.iter().zip(&other.values).map(|(a, b)| a * b).collect();
                let mean = (0..rank).map(|i| gram[i * rank + i]).sum::<f64>() / rank.max(1) as f64;
                (0..rank).for_each(|i| gram[i * rank + i] += ALS_DAMPING * mean);
                let inverse = Matrix::new(rank, rank, inverse(&gram, rank)?);
                factors[mode] = unfolded[mode].product(&both).product(&inverse);
            }
        }
        let found = Self { factors };
        Some(found.balanced())
    }
    // ANCHOR_END: cp

    /// The three vectors of a component made equally long.
    fn balanced(self) -> Self {
        let mut columns = self.factors.map(|factor| factor.transposed());
        for r in 0..columns[0].rows {
            let long = [0, 1, 2].map(|mode| dot(columns[mode].row(r), columns[mode].row(r)).sqrt());
            let all = long[0] * long[1] * long[2];
            if all > 0.0 {
                // The cube root by Newton's method: no function of the platform's.
                let mut even = all.sqrt();
                for _ in 0..60 {
                    even = (2.0 * even + all / (even * even)) / 3.0;
                }
                for (mode, long) in long.iter().enumerate() {
                    columns[mode].row_mut(r).iter_mut().for_each(|x| *x *= even / long);
                }
            }
        }
        Self { factors: columns.map(|columns| columns.transposed()) }
    }

    /// Numbers in it.
    #[must_use]
    pub fn numbers(&self) -> usize {
        self.factors.iter().map(|factor| factor.values.len()).sum()
    }

    /// The kernel it stands for.
    #[must_use]
    pub fn product(&self) -> Kernel {
        let [outputs, inputs, places] = &self.factors;
        let values = outputs.product(&pairs(inputs, places).transposed()).values;
        Kernel { shape: [outputs.rows, inputs.rows, places.rows], values }
    }

    /// Squares of all components over the square of their sum: far above 1 where large ones cancel (degeneracy; Phan et
    /// al., 2020).
    #[must_use]
    pub fn cancelling(&self) -> f64 {
        let columns = self.factors.each_ref().map(Matrix::transposed);
        let square = |r: usize| columns.iter().map(|c| dot(c.row(r), c.row(r))).product::<f64>();
        let sum = self.product();
        (0..columns[0].rows).map(square).sum::<f64>() / dot(&sum.values, &sum.values).max(f64::MIN_POSITIVE)
    }
}

/// Column by column the products of all rows of `first` with all rows of `second` (Khatri-Rao), the second running fastest.
fn pairs(first: &Matrix, second: &Matrix) -> Matrix {
    let mut to = Matrix::zeros(first.rows * second.rows, first.columns);
    for i in 0..first.rows {
        for j in 0..second.rows {
            let both = first.row(i).iter().zip(second.row(j)).map(|(a, b)| a * b);
            to.row_mut(i * second.rows + j).iter_mut().zip(both).for_each(|(to, value)| *to = value);
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{linalg::matrix::tests::random, rng};

    fn kernel(shape: [usize; 3], seed: u64) -> Kernel {
        Kernel { shape, values: random(1, shape.iter().product(), seed).values }
    }

    fn error(a: &Kernel, b: &Kernel) -> f64 {
        assert_eq!(a.shape, b.shape);
        let square: f64 = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).powi(2)).sum();
        (square / dot(&a.values, &a.values)).sqrt()
    }

    #[test]
    fn full_ranks_give_the_kernel_back_and_errors_fall_with_the_rank() {
        let all = kernel([6, 4, 9], 1);
        let whole = Tucker::of(&all, (6, 4)).expect("finite");
        assert!(error(&all, &whole.product()) < 1e-12);
        let errors: Vec<f64> =
            (1..=4).map(|r| error(&all, &Tucker::of(&all, (r + 2, r)).expect("finite").product())).collect();
        assert!(errors.is_sorted_by(|a, b| a > b), "{errors:?}");
        assert_eq!(Tucker::of(&kernel([128, 64, 9], 2), (32, 24)).expect("finite").numbers(), 12_544);
        let errors: Vec<f64> =
            [2, 8, 24].map(|r| error(&all, &Cp::of(&all, r, &mut rng(0, "cp")).expect("finite").product())).to_vec();
        // 24 = 6 · 4 components hold any kernel of this shape.
        assert!(errors.is_sorted_by(|a, b| a > b) && errors[2] < 0.05, "{errors:?}");
    }

    #[test]
    fn a_sum_of_three_products_is_found_again() {
        // At right angles: components that resemble each other take many more passes.
        let apart = |size, seed| crate::linalg::svd::orthonormal_rows(&random(3, size, seed)).transposed();
        let made = Cp { factors: [apart(7, 1), apart(5, 2), apart(9, 3)] };
        let found = Cp::of(&made.product(), 3, &mut rng(1, "cp")).expect("finite");
        assert!(error(&made.product(), &found.product()) < 1e-3);
        assert_eq!(found.numbers(), 3 * (7 + 5 + 9));
        let columns = found.factors.each_ref().map(Matrix::transposed);
        for r in 0..3 {
            let [a, b, c] = columns.each_ref().map(|columns| dot(columns.row(r), columns.row(r)));
            assert!((a - b).abs() < 1e-9 * a && (b - c).abs() < 1e-9 * a);
        }
        assert!(found.cancelling() > 0.2 && found.cancelling() < 20.0);
    }

    #[test]
    fn a_window_of_one_place_is_a_matrix() {
        let one = kernel([6, 5, 1], 4);
        let svd = crate::linalg::svd(&one.unfolded(0)).expect("finite");
        let best = (svd.s[2..].iter().map(|s| s * s).sum::<f64>() / dot(&one.values, &one.values)).sqrt();
        assert!((error(&one, &Tucker::of(&one, (2, 2)).expect("finite").product()) - best).abs() < 1e-9);
        assert!((error(&one, &Cp::of(&one, 2, &mut rng(0, "cp")).expect("finite").product()) - best).abs() < 1e-3);
    }

    #[test]
    fn unfolding_keeps_every_number_in_its_fibre() {
        let all = kernel([2, 3, 4], 5);
        let at = |o: usize, i: usize, k: usize| all.values[(o * 3 + i) * 4 + k];
        assert_eq!(all.unfolded(0).row(1)[2 * 4 + 3], at(1, 2, 3));
        assert_eq!(all.unfolded(1).row(2)[4 + 3], at(1, 2, 3));
        assert_eq!(all.unfolded(2).row(3)[3 + 2], at(1, 2, 3));
    }
}
