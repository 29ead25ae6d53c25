//! What a matrix carries beside its frozen weights.

use burn::{
    module::{Module, Param},
    tensor::{Tensor, activation::silu},
};

use crate::ops::matmul;

/// How an adapter changes what its matrix puts out. `W` is `[inputs, outputs]`, as Burn keeps it, `A` `[inputs, rank]`, `B`
/// `[rank, outputs]`, `s` the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `x W + s (x A) B`: LoRA (Hu et al., arXiv:2106.09685), by factors.
    Factored,
    /// `x (W + s A B)`: the same, with the sum built at each step. The naive twin.
    Composed,
    /// `(x W + s (x A) B) ⊙ m / ‖W + s A B‖`, a norm and a magnitude for each output: DoRA (Liu et al., arXiv:2402.09353).
    /// No gradient flows through the norm.
    Decomposed,
    /// `x W + b` (BitFit, Ben Zaken et al., arXiv:2106.10199).
    Bias,
    /// `y + silu(y D) U` of the matrix's output `y`, `D` in the place of `A` and `U` in that of `B` (Houlsby et al.,
    /// arXiv:1902.00751). Not linear, so it cannot be merged.
    Bottleneck,
}

/// An adapter of one matrix. Its tensors are `adapter.a` `[rank, inputs]`, `adapter.b` `[outputs, rank]`, `adapter.bias` and
/// `adapter.magnitude` `[outputs]` in a [`StateDict`](crate::models::StateDict).
#[derive(Module, Debug)]
pub struct Adapter {
    a: Option<Param<Tensor<2>>>,
    b: Option<Param<Tensor<2>>>,
    bias: Option<Param<Tensor<1>>>,
    magnitude: Option<Param<Tensor<1>>>,
    #[module(skip)]
    scale: f32,
    #[module(skip)]
    kind: Kind,
}

impl Adapter {
    /// Two factors.
    #[must_use]
    pub fn pair(kind: Kind, a: Tensor<2>, b: Tensor<2>, scale: f32) -> Self {
        let param = |tensor| Some(Param::from_tensor(tensor));
        Self { a: param(a), b: param(b), bias: None, magnitude: None, scale, kind }
    }

    /// Two factors and a magnitude `[outputs]`: [`Kind::Decomposed`].
    #[must_use]
    pub fn decomposed(a: Tensor<2>, b: Tensor<2>, magnitude: Tensor<1>, scale: f32) -> Self {
        Self { magnitude: Some(Param::from_tensor(magnitude)), ..Self::pair(Kind::Decomposed, a, b, scale) }
    }

    /// A bias `[outputs]`.
    #[must_use]
    pub fn bias(bias: Tensor<1>) -> Self {
        let bias = Some(Param::from_tensor(bias));
        Self { a: None, b: None, bias, magnitude: None, scale: 1.0, kind: Kind::Bias }
    }

    /// What a matrix with this adapter makes of `rows` `[N, inputs]`: `[N, outputs]`. `product` multiplies with the frozen
    /// weights, which `weight` `[inputs, outputs]` shows where they are floats.
    pub(crate) fn forward(
        &self,
        rows: Tensor<2>,
        product: &dyn Fn(Tensor<2>) -> Tensor<2>,
        weight: Option<Tensor<2>>,
    ) -> Tensor<2> {
        if let Some(bias) = &self.bias {
            return product(rows) + bias.val().unsqueeze::<2>();
        }
        let (Some(a), Some(b)) = (&self.a, &self.b) else { return product(rows) };
        let (a, b) = (a.val(), b.val());
        match (self.kind, weight) {
            (Kind::Composed, Some(weight)) => composed(rows, weight, a, b, self.scale),
            (Kind::Bottleneck, _) => {
                let y = product(rows);
                y.clone() + matmul(silu(matmul(y, a)), b)
            }
            (Kind::Decomposed, Some(weight)) => {
                let norm = column_norms(weight, a.clone(), b.clone(), self.scale);
                let y = factored(rows, product, a, b, self.scale);
                match &self.magnitude {
                    Some(magnitude) => y * (magnitude.val().unsqueeze::<2>() / norm),
                    None => y,
                }
            }
            _ => factored(rows, product, a, b, self.scale),
        }
    }
}

// ANCHOR: composed
/// `x (W + s A B)`. The sum is a matrix of the size of `W`, and so is its gradient: both are made anew at each step.
fn composed(x: Tensor<2>, w: Tensor<2>, a: Tensor<2>, b: Tensor<2>, scale: f32) -> Tensor<2> {
    let change = matmul(a, b).mul_scalar(scale); // [inputs, outputs]
    matmul(x, w + change)
}
// ANCHOR_END: composed

// ANCHOR: factored
/// `x W + s (x A) B`. Nothing is larger than the outputs, and `W` needs no gradient.
fn factored(
    x: Tensor<2>,
    product: &dyn Fn(Tensor<2>) -> Tensor<2>,
    a: Tensor<2>,
    b: Tensor<2>,
    scale: f32,
) -> Tensor<2> {
    let change = matmul(matmul(x.clone(), a), b).mul_scalar(scale); // [N, outputs]
    product(x) + change
}
// ANCHOR_END: factored

/// Norm `[1, outputs]` of each column of `W + s A B`, a constant for the gradient.
fn column_norms(w: Tensor<2>, a: Tensor<2>, b: Tensor<2>, scale: f32) -> Tensor<2> {
    let constant = |tensor: Tensor<2>| tensor.set_require_grad(false);
    let whole = constant(w) + matmul(constant(a), constant(b)).mul_scalar(scale);
    constant(whole.square().sum_dim(0).sqrt().add_scalar(f32::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{mlp::read, testing::ready};

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        ready(read(tensor)).expect("the CPU reads")
    }

    fn near(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{found:?}, not {expected:?}");
        }
    }

    /// `W = [[1, 2], [3, 4], [5, 6]]`, `A = [[0.5, -1]]`, `B = [1, 0, 2]`, `s = 2`, `x = [3, 1]`, as `[inputs, outputs]`.
    fn example(device: &Device) -> [Tensor<2>; 4] {
        [
            Tensor::from_data([[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]], device),
            Tensor::from_data([[0.5], [-1.0]], device),
            Tensor::from_data([[1.0, 0.0, 2.0]], device),
            Tensor::from_data([[3.0, 1.0]], device),
        ]
    }

    #[test]
    fn the_worked_example_comes_out_in_every_way() {
        let device = Device::flex().autodiff();
        for kind in [Kind::Factored, Kind::Composed] {
            let [w, a, b, x] = example(&device);
            let x = x.require_grad();
            let adapter = Adapter::pair(kind, a, b, 2.0);
            let frozen = w.clone();
            let product = move |rows: Tensor<2>| rows.matmul(frozen.clone());
            let y = adapter.forward(x.clone(), &product, Some(w));
            near(&values(y.clone()), &[6.0, 13.0, 23.0]);
            let dy = Tensor::<2>::from_data([[1.0, -1.0, 0.5]], &device);
            let gradients = (y * dy).sum().backward();
            let of = |param: &Option<Param<Tensor<2>>>| {
                values(param.as_ref().expect("a pair").val().grad(&gradients).expect("trained"))
            };
            near(&of(&adapter.b), &[1.0, -1.0, 0.5]);
            near(&of(&adapter.a), &[12.0, 4.0]);
            near(&values(x.grad(&gradients).expect("asked for")), &[2.5, -3.0]);
        }
    }

    #[test]
    fn decomposed_rows_keep_their_length() {
        let device = Device::flex();
        let [w, a, b, _] = example(&device);
        let magnitude = Tensor::<1>::from_data([5.0_f32.sqrt(), 5.0, 61.0_f32.sqrt()], &device);
        let adapter = Adapter::decomposed(a.clone(), b.clone(), magnitude.clone(), 2.0);
        let frozen = w.clone();
        let product = move |rows: Tensor<2>| rows.matmul(frozen.clone());
        // The identity as input shows the matrix that is in effect.
        let eye = || Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0]], &device);
        let found = values(adapter.forward(eye(), &product, Some(w.clone())));
        near(&found, &[2.236_068, 3.0, 7.509_742, 0.0, 4.0, 2.145_641]);
        // At the start B is zero, and nothing is changed.
        let start = Adapter::decomposed(a, b.zeros_like(), magnitude, 2.0);
        near(&values(start.forward(eye(), &product, Some(w.clone()))), &values(w));
    }

    #[test]
    fn a_bias_is_added_and_an_empty_bottleneck_changes_nothing() {
        let device = Device::flex();
        let [w, _, _, x] = example(&device);
        let product = move |rows: Tensor<2>| rows.matmul(w.clone());
        let bias = Adapter::bias(Tensor::from_data([1.0, -1.0, 0.5], &device));
        near(&values(bias.forward(x.clone(), &product, None)), &[6.0, 12.0, 21.5]);
        let down = Tensor::<2>::ones([3, 2], &device);
        let none = Adapter::pair(Kind::Bottleneck, down.clone(), Tensor::zeros([2, 3], &device), 1.0);
        near(&values(none.forward(x.clone(), &product, None)), &[5.0, 13.0, 21.0]);
        // silu(39) is 39, so that each output gets twice that.
        let some = Adapter::pair(Kind::Bottleneck, down, Tensor::ones([2, 3], &device), 1.0);
        near(&values(some.forward(x, &product, None)), &[83.0, 91.0, 99.0]);
    }
}
