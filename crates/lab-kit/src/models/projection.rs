//! The matrices of a language model, as floats or packed.

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor},
};

use crate::{adapters::Adapter, ops::matmul, quant::PackedWeight};

/// A linear layer without bias. Its weight is either floats, named `weight` in a file, or packed integers.
#[derive(Module, Debug)]
pub struct Projection {
    /// `[inputs, outputs]`; `[rank, outputs]` where the matrix is a product of two.
    weight: Option<Param<Tensor<2>>>,
    /// The first factor `[inputs, rank]` of such a product.
    down: Option<Param<Tensor<2>>>,
    /// Zeros `[rows, outputs]` that are added to what comes out, so that their gradient is that of the output.
    probe: Option<Param<Tensor<2>>>,
    /// What was attached to fine-tune it ([`adapt`](crate::adapters::adapt)).
    adapter: Option<Adapter>,
    #[module(skip)]
    packed: Option<PackedWeight>,
}

impl Projection {
    /// Floats, still to be loaded.
    pub(super) fn zeros(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self {
            weight: Some(Param::from_tensor(Tensor::zeros([inputs, outputs], device))),
            down: None,
            probe: None,
            adapter: None,
            packed: None,
        }
    }

    /// The same as two factors of this rank.
    pub(super) fn factored(inputs: usize, rank: usize, outputs: usize, device: &Device) -> Self {
        let down = Some(Param::from_tensor(Tensor::zeros([inputs, rank], device)));
        Self { down, ..Self::zeros(rank, outputs, device) }
    }

    /// The same with a probe for so many rows.
    pub(super) fn probed(self, rows: usize, outputs: usize, device: &Device) -> Self {
        Self { probe: Some(Param::from_tensor(Tensor::zeros([rows, outputs], device))), ..self }
    }

    /// Packed integers.
    pub(super) fn packed(weight: PackedWeight) -> Self {
        Self { weight: None, down: None, probe: None, adapter: None, packed: Some(weight) }
    }

    /// `[B, T, inputs]` to `[B, T, outputs]`.
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [b, t, inputs] = x.dims();
        let rows = x.reshape([b * t, inputs]);
        let mut y = match &self.adapter {
            Some(adapter) => {
                let whole = self.weight.as_ref().filter(|_| self.down.is_none()).map(Param::val);
                adapter.forward(rows, &|rows| self.product(rows), whole)
            }
            None => self.product(rows),
        };
        if let Some(probe) = &self.probe {
            y = y + probe.val();
        }
        let [_, outputs] = y.dims();
        y.reshape([b, t, outputs])
    }

    /// `[N, inputs]` to `[N, outputs]`.
    fn product(&self, mut rows: Tensor<2>) -> Tensor<2> {
        if let Some(down) = &self.down {
            rows = matmul(rows, down.val());
        }
        match (&self.weight, &self.packed) {
            (Some(weight), _) => matmul(rows, weight.val()),
            (None, Some(packed)) => packed.linear(rows),
            // No constructor leaves both out.
            (None, None) => rows,
        }
    }

    /// Attaches an adapter, or takes it off.
    pub(crate) fn set_adapter(&mut self, adapter: Option<Adapter>) {
        self.adapter = adapter;
    }

    /// Inputs and outputs; none of a packed matrix.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        let outer = self.weight.as_ref().map_or([0, 0], |weight| weight.val().dims());
        let inputs = self.down.as_ref().map_or(outer[0], |down| down.val().dims()[0]);
        [inputs, outer[1]]
    }

    /// Norm of what each output is computed from, `[outputs]`.
    pub(crate) fn column_norms(&self) -> Tensor<1> {
        match &self.weight {
            Some(weight) => weight.val().square().sum_dim(0).sqrt().flatten::<1>(0, 1).set_require_grad(false),
            None => Tensor::zeros([1], &Device::default()),
        }
    }
}

/// A vector for every token, likewise.
#[derive(Module, Debug)]
pub struct TokenEmbedding {
    /// `[V, C]`.
    weight: Option<Param<Tensor<2>>>,
    #[module(skip)]
    packed: Option<PackedWeight>,
}

impl TokenEmbedding {
    /// Floats, still to be loaded.
    pub(super) fn zeros(vocabulary: usize, channels: usize, device: &Device) -> Self {
        Self { weight: Some(Param::from_tensor(Tensor::zeros([vocabulary, channels], device))), packed: None }
    }

    /// Packed integers.
    pub(super) fn packed(weight: PackedWeight) -> Self {
        Self { weight: None, packed: Some(weight) }
    }

    /// Tokens `[B, T]` to `[B, T, C]`.
    pub(super) fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [b, t] = tokens.dims();
        let ids = tokens.reshape([b * t]);
        let rows = match (&self.weight, &self.packed) {
            (Some(weight), _) => weight.val().select(0, ids),
            (None, Some(packed)) => packed.rows(ids),
            (None, None) => Tensor::zeros([b * t, 1], &ids.device()),
        };
        let [_, channels] = rows.dims();
        rows.reshape([b, t, channels])
    }

    /// The embedding as output layer: `[B, T, C]` to logits `[B, T, V]`.
    pub(super) fn head(&self, x: Tensor<3>) -> Tensor<3> {
        let [b, t, c] = x.dims();
        let rows = x.reshape([b * t, c]);
        let y = match (&self.weight, &self.packed) {
            (Some(weight), _) => matmul(rows, weight.val().transpose()),
            (None, Some(packed)) => packed.linear(rows),
            (None, None) => rows,
        };
        let [_, vocabulary] = y.dims();
        y.reshape([b, t, vocabulary])
    }
}
