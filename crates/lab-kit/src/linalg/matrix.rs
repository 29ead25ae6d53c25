//! A matrix of doubles.

/// `[rows, columns]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// `rows * columns` numbers.
    pub values: Vec<f64>,
}

impl Matrix {
    /// All zeros.
    #[must_use]
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }

    /// Ones on the diagonal.
    #[must_use]
    pub fn identity(n: usize) -> Self {
        let mut all = Self::zeros(n, n);
        (0..n).for_each(|i| all.values[i * n + i] = 1.0);
        all
    }

    /// Of so many numbers for each row, or fewer in the last: what is missing is zero.
    #[must_use]
    pub fn new(rows: usize, columns: usize, mut values: Vec<f64>) -> Self {
        values.resize(rows * columns, 0.0);
        Self { rows, columns, values }
    }

    /// Of singles.
    #[must_use]
    pub fn from_singles(rows: usize, columns: usize, values: &[f32]) -> Self {
        Self::new(rows, columns, values.iter().map(|value| f64::from(*value)).collect())
    }

    /// As singles, row-major.
    #[must_use]
    pub fn to_singles(&self) -> Vec<f32> {
        self.values.iter().map(|value| *value as f32).collect()
    }

    /// One row.
    #[must_use]
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.columns..(i + 1) * self.columns]
    }

    /// One row, to be changed.
    pub fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.values[i * self.columns..(i + 1) * self.columns]
    }

    /// Two different rows, to be changed.
    pub(super) fn two_rows(&mut self, i: usize, j: usize) -> (&mut [f64], &mut [f64]) {
        let n = self.columns;
        let (low, high) = self.values.split_at_mut(i.max(j) * n);
        let (first, second) = (&mut low[i.min(j) * n..(i.min(j) + 1) * n], &mut high[..n]);
        if i < j { (first, second) } else { (second, first) }
    }

    /// `[columns, rows]`.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let mut to = Self::zeros(self.columns, self.rows);
        for (i, row) in self.values.chunks_exact(self.columns.max(1)).enumerate() {
            row.iter().enumerate().for_each(|(j, value)| to.values[j * self.rows + i] = *value);
        }
        to
    }

    /// `self · other`, `[rows, other.columns]`.
    #[must_use]
    pub fn product(&self, other: &Self) -> Self {
        let mut to = Self::zeros(self.rows, other.columns);
        for i in 0..self.rows {
            let out = &mut to.values[i * other.columns..(i + 1) * other.columns];
            for (k, a) in self.row(i).iter().enumerate().filter(|(_, a)| **a != 0.0) {
                add(out, *a, other.row(k));
            }
        }
        to
    }

    /// `self · selfᵀ`, `[rows, rows]`.
    #[must_use]
    pub fn gram(&self) -> Self {
        self.product(&self.transposed())
    }

    /// `self - other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let values = self.values.iter().zip(&other.values).map(|(a, b)| a - b).collect();
        Self { values, ..*self }
    }

    /// Root of the sum of squares.
    #[must_use]
    pub fn frobenius(&self) -> f64 {
        dot(&self.values, &self.values).sqrt()
    }

    /// The first rows.
    #[must_use]
    pub fn first_rows(&self, count: usize) -> Self {
        let rows = count.min(self.rows);
        Self { rows, columns: self.columns, values: self.values[..rows * self.columns].to_vec() }
    }

    /// These columns, in this order.
    #[must_use]
    pub fn select_columns(&self, which: &[usize]) -> Self {
        let values = (0..self.rows).flat_map(|i| which.iter().map(move |j| self.row(i)[*j])).collect();
        Self { rows: self.rows, columns: which.len(), values }
    }
}

/// Sum of products. Four sums at once, so that it runs as fast as the processor adds; their order is fixed.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (left, right) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in left.zip(right) {
        for i in 0..4 {
            sums[i] += a[i] * b[i];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// `to += factor * from`.
pub(super) fn add(to: &mut [f64], factor: f64, from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}

/// `(a, b)` becomes `(c a - s b, s a + c b)`.
pub(super) fn rotate((a, b): (&mut [f64], &mut [f64]), c: f64, s: f64) {
    for (a, b) in a.iter_mut().zip(b) {
        (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rand::Rng;

    use super::*;
    use crate::rng;

    /// Of numbers between -1 and 1.
    pub(crate) fn random(rows: usize, columns: usize, seed: u64) -> Matrix {
        let mut rng = rng(seed, "matrix");
        Matrix::new(rows, columns, (0..rows * columns).map(|_| rng.random_range(-1.0..1.0)).collect())
    }

    /// The largest difference of two entries.
    pub(crate) fn apart(a: &Matrix, b: &Matrix) -> f64 {
        assert_eq!((a.rows, a.columns), (b.rows, b.columns));
        a.minus(b).values.iter().fold(0.0, |most, x| if x.is_nan() { f64::NAN } else { x.abs().max(most) })
    }

    #[test]
    fn products_equal_their_formula() {
        let (a, b) = (random(5, 7, 0), random(7, 3, 1));
        let product = a.product(&b);
        for i in 0..5 {
            for j in 0..3 {
                let sum: f64 = (0..7).map(|k| a.values[i * 7 + k] * b.values[k * 3 + j]).sum();
                assert!((product.values[i * 3 + j] - sum).abs() < 1e-14);
            }
        }
        assert!(apart(&a.gram(), &a.product(&a.transposed())) == 0.0);
        assert_eq!(a.transposed().transposed(), a);
        assert_eq!(a.select_columns(&[6, 0]).row(1), [a.values[13], a.values[7]]);
        assert!((dot(&a.values, &a.values) - a.values.iter().map(|x| x * x).sum::<f64>()).abs() < 1e-12);
    }
}
