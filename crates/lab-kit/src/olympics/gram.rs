//! How the inputs of a matrix vary together, summed up on the device.

use burn::tensor::Tensor;
use lab_api::LabError;

use crate::{
    linalg::{Matrix, Root},
    mlp::read,
    ops::matmul,
    quant::linalg::{cholesky, inverse},
};

/// Share of the mean diagonal that is added, as in GPTQ's paper: inputs that never vary would make the matrix singular.
const DAMPING: f64 = 0.01;

/// `Xᵀ X` of inputs `[tokens, n]`.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryGram {
    n: usize,
    values: Vec<f64>,
}

impl EntryGram {
    /// Of no inputs yet.
    #[must_use]
    pub fn new(n: usize) -> Self {
        Self { n, values: vec![0.0; n * n] }
    }

    /// Takes more inputs `[tokens, n]` into account: one product on the device, summed in double precision.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails.
    pub async fn add(&mut self, inputs: Tensor<2>) -> Result<(), LabError> {
        let product = read(matmul(inputs.clone().transpose(), inputs)).await?;
        self.values.iter_mut().zip(product).for_each(|(sum, x)| *sum += f64::from(x));
        Ok(())
    }

    /// The length of each channel over all tokens.
    #[must_use]
    pub fn norms(&self) -> Vec<f64> {
        (0..self.n).map(|i| self.values[i * self.n + i].sqrt()).collect()
    }

    fn damped(&self) -> Vec<f64> {
        let n = self.n;
        let mean = (0..n).map(|i| self.values[i * n + i]).sum::<f64>() / n.max(1) as f64;
        let damping = if mean > 0.0 { DAMPING * mean } else { 1.0 };
        // Symmetric to the last bit, whatever the order of the device's sums.
        let cell = |i: usize, j: usize| 0.5 * (self.values[i * n + j] + self.values[j * n + i]);
        (0..n * n).map(|at| cell(at / n, at % n) + if at / n == at % n { damping } else { 0.0 }).collect()
    }

    /// The upper triangle `U` with `(Xᵀ X)⁻¹ = Uᵀ U`: its row `j` says how the error of column `j` is made up for by those after
    /// it. `None` where inputs are not finite.
    #[must_use]
    pub fn upper(&self) -> Option<Vec<f64>> {
        let n = self.n;
        let lower = inverse(&self.damped(), n).and_then(|inverse| cholesky(&inverse, n))?;
        Some((0..n * n).map(|at| lower[at % n * n + at / n]).collect())
    }

    /// Its root, for factors that change least of what a matrix makes of the inputs.
    #[must_use]
    pub fn root(&self) -> Root {
        Root::of(&Matrix::new(self.n, self.n, self.damped()), 0.0).unwrap_or(Root::None)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use rand::Rng;

    use super::*;
    use crate::{
        quant::{Hessian, Spread},
        testing::ready,
    };

    #[test]
    fn it_is_the_hessian_of_the_book() {
        let (device, mut rng) = (Device::flex(), crate::rng(0, "inputs"));
        let inputs: Vec<f32> = (0..60 * 12).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut hessian = Hessian::new(12);
        hessian.add(&inputs);
        let mut gram = EntryGram::new(12);
        for part in inputs.chunks(20 * 12) {
            let part = Tensor::from_data(TensorData::new(part.to_vec(), [20, 12]), &device);
            ready(gram.add(part)).expect("runs");
        }
        assert!(gram.norms().iter().zip(hessian.norms()).all(|(a, b)| (a - b).abs() < 1e-4));
        // The book's is twice as large, so its triangle is smaller by a root of two; what is spread is a ratio.
        let (own, book) = (gram.upper().expect("finite"), Spread::new(&hessian));
        let by = 2.0_f64.sqrt();
        assert!(own.iter().zip(book.upper()).all(|(a, b)| (a / by - b).abs() < 1e-4));
        assert!(EntryGram::new(3).upper().is_some());
    }
}
