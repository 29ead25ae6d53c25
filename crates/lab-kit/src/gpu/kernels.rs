//! The launches, as a backend extension of Burn: on the GPU, and with gradients.

use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Cube, TensorMetadata,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind, binary, unary},
    },
    backend_extension,
    tensor::{FloatTensor, IntTensor},
    wgpu::CubeTensor,
};

use super::{
    attention, integer,
    launch::{Kernel, Operand, contiguous, empty, groups_of_64, launch, numbers, word},
    packed::{self, InputCodes, PackedForm, Weights},
    product::{BIAS, RELU, SUMS, product},
};

/// What one step of AdamW needs besides tensors.
#[derive(Debug, Clone, Copy)]
pub struct AdamWStep {
    /// Learning rate.
    pub rate: f32,
    /// What is left of a parameter after weight decay.
    pub decay: f32,
    /// Share of the first moment that stays.
    pub beta_1: f32,
    /// Share of the second moment that stays.
    pub beta_2: f32,
    /// `1 - beta_1^t`.
    pub correction_1: f32,
    /// `1 - beta_2^t`.
    pub correction_2: f32,
    /// Keeps the division finite.
    pub epsilon: f32,
}

/// Operations with kernels of our own. Only the GPU has them; [`crate::ops`] asks no other device.
#[backend_extension(Cube, Autodiff)]
pub(super) trait Kernels: Backend {
    /// `[.., m, k] x [.., k, n]` with equal batch dimensions, two at most.
    fn product(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `[m, k] x [k, n] + [n]`, with ReLU after it if wanted.
    fn dense(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self>;

    /// `transpose([m, k]) x [m, n]` and the column sums of the second, which are the gradients of weight and bias.
    fn dense_backward(input: FloatTensor<Self>, gradient: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradient where the output of ReLU was above zero.
    fn relu_gradient(gradient: FloatTensor<Self>, output: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Mean cross-entropy `[1]` of `[rows, classes]` against `[rows]`.
    fn softmax_loss(logits: FloatTensor<Self>, targets: IntTensor<Self>) -> FloatTensor<Self>;

    /// The same, and its gradient `[rows, classes]`.
    fn softmax_loss_and_gradient(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Parameter and both moments after the first step of AdamW.
    fn first_adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The same after a later step.
    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// `[n, inputs]` times a packed matrix, transposed: `[n, outputs]`.
    fn packed_linear(
        x: FloatTensor<Self>,
        #[extension_type] weights: Weights<Self>,
        form: PackedForm,
    ) -> FloatTensor<Self>;

    /// The same with inputs rounded to 8 bits.
    fn packed_linear_int8(
        x: FloatTensor<Self>,
        #[extension_type] weights: Weights<Self>,
        form: PackedForm,
        codes: InputCodes,
    ) -> FloatTensor<Self>;

    /// Rows of a packed matrix: `[n]` to `[n, inputs]`.
    fn packed_rows(
        ids: IntTensor<Self>,
        #[extension_type] weights: Weights<Self>,
        form: PackedForm,
    ) -> FloatTensor<Self>;

    /// Attention of `[B, H, T, D]` over `[B, H, S, D]`, `T` at most `S`.
    fn tiled_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        causal: bool,
    ) -> FloatTensor<Self>;
}

impl Kernels for Cube {
    fn product(lhs: CubeTensor, rhs: CubeTensor) -> CubeTensor {
        product(&lhs, &rhs, None, 0).0
    }

    fn dense(input: CubeTensor, weight: CubeTensor, bias: CubeTensor, relu: bool) -> CubeTensor {
        product(&input, &weight, Some(&contiguous(bias)), BIAS | if relu { RELU } else { 0 }).0
    }

    fn dense_backward(input: CubeTensor, gradient: CubeTensor) -> (CubeTensor, CubeTensor) {
        let columns = gradient.meta.shape()[1];
        let (weight, bias) = product(&transposed::<Self>(input), &gradient, None, SUMS);
        (weight, bias.unwrap_or_else(|| empty([columns], &gradient)))
    }

    fn relu_gradient(gradient: CubeTensor, output: CubeTensor) -> CubeTensor {
        let (gradient, output) = (contiguous(gradient), contiguous(output));
        let passed = empty(gradient.meta.shape().to_vec(), &gradient);
        let body = include_str!("relu_backward.wgsl").to_owned();
        let kernel = Kernel { name: "relu_backward", variant: 0, body, threads: (64, 1) };
        let inputs = [Operand::new("gradient", &gradient), Operand::new("output", &output)];
        let n = numbers(&gradient);
        launch(kernel, &inputs, &[Operand::new("passed", &passed)], &[word(n)], groups_of_64(n));
        passed
    }

    fn softmax_loss(logits: CubeTensor, targets: CubeTensor) -> CubeTensor {
        Self::softmax_loss_and_gradient(logits, targets).0
    }

    fn softmax_loss_and_gradient(logits: CubeTensor, targets: CubeTensor) -> (CubeTensor, CubeTensor) {
        let (logits, targets) = (contiguous(logits), contiguous(targets));
        let shape = logits.meta.shape().to_vec();
        let (loss, gradient) = (empty([1], &logits), empty(shape.clone(), &logits));
        let body = include_str!("cross_entropy.wgsl").to_owned();
        let kernel = Kernel { name: "cross_entropy", variant: 0, body, threads: (64, 1) };
        let inputs = [Operand::new("logits", &logits), Operand { name: "targets", element: "i32", tensor: &targets }];
        let outputs = [Operand::new("loss", &loss), Operand::new("gradient", &gradient)];
        launch(kernel, &inputs, &outputs, &[word(shape[0]), word(shape[1])], [1, 1, 1]);
        (loss, gradient)
    }

    fn first_adamw(
        parameter: CubeTensor,
        gradient: CubeTensor,
        step: AdamWStep,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        adamw(parameter, gradient, None, step)
    }

    fn adamw(
        parameter: CubeTensor,
        gradient: CubeTensor,
        moment_1: CubeTensor,
        moment_2: CubeTensor,
        step: AdamWStep,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        adamw(parameter, gradient, Some([contiguous(moment_1), contiguous(moment_2)]), step)
    }

    fn packed_linear(x: CubeTensor, weights: Weights<Self>, form: PackedForm) -> CubeTensor {
        packed::linear(x, &weights, form)
    }

    fn packed_linear_int8(x: CubeTensor, weights: Weights<Self>, form: PackedForm, codes: InputCodes) -> CubeTensor {
        integer::linear_int8(x, &weights, form, codes)
    }

    fn packed_rows(ids: CubeTensor, weights: Weights<Self>, form: PackedForm) -> CubeTensor {
        packed::rows(ids, &weights, form)
    }

    fn tiled_attention(q: CubeTensor, k: CubeTensor, v: CubeTensor, causal: bool) -> CubeTensor {
        attention::start(q, k, v, causal)
    }
}

fn adamw(
    parameter: CubeTensor,
    gradient: CubeTensor,
    moments: Option<[CubeTensor; 2]>,
    step: AdamWStep,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let (parameter, gradient) = (contiguous(parameter), contiguous(gradient));
    let new = || empty(parameter.meta.shape().to_vec(), &parameter);
    let (new_parameter, new_1, new_2) = (new(), new(), new());
    let mut inputs = vec![Operand::new("parameter", &parameter), Operand::new("gradient", &gradient)];
    let read = match &moments {
        Some([first, second]) => {
            inputs.extend([Operand::new("old_moment_1", first), Operand::new("old_moment_2", second)]);
            ["old_moment_1[i]", "old_moment_2[i]"]
        }
        None => ["0.0", "0.0"],
    };
    let body = format!(
        "fn moment_1(i: u32) -> f32 {{ return {}; }}\nfn moment_2(i: u32) -> f32 {{ return {}; }}\n{}",
        read[0],
        read[1],
        include_str!("adamw.wgsl"),
    );
    let kernel = Kernel { name: "adamw", variant: u32::from(moments.is_none()), body, threads: (64, 1) };
    let outputs = [
        Operand::new("new_parameter", &new_parameter),
        Operand::new("new_moment_1", &new_1),
        Operand::new("new_moment_2", &new_2),
    ];
    let n = numbers(&parameter);
    let AdamWStep { rate, decay, beta_1, beta_2, correction_1, correction_2, epsilon } = step;
    let scalars = [rate, decay, beta_1, beta_2, correction_1, correction_2, epsilon].map(f32::to_bits);
    launch(kernel, &inputs, &outputs, &[&[word(n)], &scalars[..]].concat(), groups_of_64(n));
    (new_parameter, new_1, new_2)
}

/// The last two dimensions change places; nothing is moved.
fn transposed<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    let rank = tensor.rank();
    B::float_swap_dims(tensor, rank - 2, rank - 1)
}

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn product(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Product;
        impl<B: Kernels> Backward<B, 2> for Product {
            type State = (FloatTensor<B>, FloatTensor<B>);
            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (lhs, rhs) = ops.state;
                binary::<B, _, _>(
                    ops.parents,
                    ops.node,
                    grads,
                    |gradient| B::product(gradient, transposed::<B>(rhs)),
                    |gradient| B::product(transposed::<B>(lhs), gradient),
                );
            }
        }
        let prepared = Backward::<B, 2>::prepare::<C>(Product, [lhs.node(), rhs.node()]).compute_bound().stateful();
        let (lhs, rhs) = (lhs.into_primitive(), rhs.into_primitive());
        let output = B::product(lhs.clone(), rhs.clone());
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((lhs, rhs), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }

    fn dense(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Dense;
        impl<B: Kernels> Backward<B, 3> for Dense {
            /// Input, weight, and the output if ReLU came last.
            type State = (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>);
            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (input, weight, output) = ops.state;
                let mut gradient = grads.consume::<B>(&ops.node);
                if let Some(output) = output {
                    gradient = B::relu_gradient(gradient, output);
                }
                let [of_input, of_weight, of_bias] = ops.parents;
                if let Some(node) = of_input {
                    grads.register::<B>(node.id, B::product(gradient.clone(), transposed::<B>(weight)));
                }
                if of_weight.is_some() || of_bias.is_some() {
                    let (weight, bias) = B::dense_backward(input, gradient);
                    if let Some(node) = of_weight {
                        grads.register::<B>(node.id, weight);
                    }
                    if let Some(node) = of_bias {
                        grads.register::<B>(node.id, bias);
                    }
                }
            }
        }
        let prepared = Backward::<B, 3>::prepare::<C>(Dense, [input.node(), weight.node(), bias.node()])
            .compute_bound()
            .stateful();
        let (input, weight) = (input.into_primitive(), weight.into_primitive());
        let output = B::dense(input.clone(), weight.clone(), bias.into_primitive(), relu);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((input, weight, relu.then(|| output.clone())), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }

    fn dense_backward(input: FloatTensor<Self>, gradient: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (weight, bias) = B::dense_backward(input.into_primitive(), gradient.into_primitive());
        (Self::from_inner(weight), Self::from_inner(bias))
    }

    fn relu_gradient(gradient: FloatTensor<Self>, output: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::relu_gradient(gradient.into_primitive(), output.into_primitive()))
    }

    fn softmax_loss(logits: FloatTensor<Self>, targets: IntTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct SoftmaxLoss;
        impl<B: Kernels> Backward<B, 1> for SoftmaxLoss {
            /// The gradient for a loss that counts once.
            type State = FloatTensor<B>;
            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let of_logits = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
                    let gradient = B::float_reshape(gradient, [1, 1].into());
                    B::float_mul(of_logits, gradient)
                });
            }
        }
        let prepared = Backward::<B, 1>::prepare::<C>(SoftmaxLoss, [logits.node()]).compute_bound().stateful();
        let (loss, gradient) = B::softmax_loss_and_gradient(logits.into_primitive(), targets);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(gradient, loss),
            OpsKind::UnTracked(prepared) => prepared.finish(loss),
        }
    }

    fn softmax_loss_and_gradient(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (loss, gradient) = B::softmax_loss_and_gradient(logits.into_primitive(), targets);
        (Self::from_inner(loss), Self::from_inner(gradient))
    }

    // An optimizer's arithmetic is never differentiated.

    fn first_adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (parameter, moment_1, moment_2) =
            B::first_adamw(parameter.into_primitive(), gradient.into_primitive(), step);
        (Self::from_inner(parameter), Self::from_inner(moment_1), Self::from_inner(moment_2))
    }

    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let moments = (moment_1.into_primitive(), moment_2.into_primitive());
        let (parameter, moment_1, moment_2) =
            B::adamw(parameter.into_primitive(), gradient.into_primitive(), moments.0, moments.1, step);
        (Self::from_inner(parameter), Self::from_inner(moment_1), Self::from_inner(moment_2))
    }

    // Packed weights are not trained: what is rounded has no gradient.

    fn packed_linear(x: FloatTensor<Self>, weights: Weights<Self>, form: PackedForm) -> FloatTensor<Self> {
        Self::from_inner(B::packed_linear(x.into_primitive(), inner(weights), form))
    }

    fn packed_linear_int8(
        x: FloatTensor<Self>,
        weights: Weights<Self>,
        form: PackedForm,
        codes: InputCodes,
    ) -> FloatTensor<Self> {
        Self::from_inner(B::packed_linear_int8(x.into_primitive(), inner(weights), form, codes))
    }

    fn packed_rows(ids: IntTensor<Self>, weights: Weights<Self>, form: PackedForm) -> FloatTensor<Self> {
        Self::from_inner(B::packed_rows(ids, inner(weights), form))
    }

    // The kernel goes forward only; who trains takes `models::attend`.

    fn tiled_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        causal: bool,
    ) -> FloatTensor<Self> {
        Self::from_inner(B::tiled_attention(q.into_primitive(), k.into_primitive(), v.into_primitive(), causal))
    }
}

/// Packed weights without the trace of gradients that they never have.
fn inner<B: Kernels, C: CheckpointStrategy>(weights: Weights<Autodiff<B, C>>) -> Weights<B> {
    let Weights { words, scales, zero_points, sums } = weights;
    Weights {
        words,
        scales: scales.into_primitive(),
        zero_points: zero_points.into_primitive(),
        sums: sums.into_primitive(),
    }
}
