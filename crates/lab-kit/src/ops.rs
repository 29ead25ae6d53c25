//! Operations that have kernels of our own on some devices and are Burn's everywhere else. On the CPU they are Burn's, bit by
//! bit.

use burn::{
    nn::{Linear, loss::CrossEntropyLossConfig},
    optim::{AdamWConfig, AdamWState, LearningRate, ModuleOptimizer, Optimizer},
    tensor::{Device, Int, Tensor, activation::relu},
};

/// `[.., m, k] x [.., k, n]`. Gradients flow through it.
///
/// # Panics
/// When the shapes do not fit, as [`Tensor::matmul`].
#[must_use]
pub fn matmul<const D: usize>(lhs: Tensor<D>, rhs: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "webgpu")]
    {
        let (a, b) = (lhs.dims(), rhs.dims());
        // One matrix for all of a batch is read again for each member, not copied.
        let shared = D > 2 && b[..D - 2].iter().all(|size| *size == 1) && crate::gpu::takes_own_kernels(&lhs.device());
        let rhs = if shared {
            let mut wide = b;
            wide[..D - 2].copy_from_slice(&a[..D - 2]);
            rhs.clone().expand(wide)
        } else {
            rhs.clone()
        };
        if crate::gpu::can_multiply(&lhs, &rhs) {
            return crate::gpu::product(lhs, rhs);
        }
    }
    lhs.matmul(rhs)
}

/// A fully connected layer: `[batch, inputs]` to `[batch, outputs]`, with ReLU after it if wanted.
///
/// # Panics
/// When the shapes do not fit, as [`Linear::forward`].
#[must_use]
pub fn dense(input: Tensor<2>, layer: &Linear, with_relu: bool) -> Tensor<2> {
    #[cfg(feature = "webgpu")]
    if crate::gpu::can_multiply(&input, &layer.weight.val()) {
        if let Some(bias) = &layer.bias {
            return crate::gpu::dense(input, layer.weight.val(), bias.val(), with_relu);
        }
        let output = crate::gpu::product(input, layer.weight.val());
        return if with_relu { relu(output) } else { output };
    }
    let output = layer.forward(input);
    if with_relu { relu(output) } else { output }
}

/// Mean cross-entropy `[1]` of logits `[rows, classes]` against class numbers `[rows]`.
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    #[cfg(feature = "webgpu")]
    if crate::gpu::can_judge(&logits, &targets) {
        return crate::gpu::cross_entropy(logits, targets);
    }
    CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, targets)
}

/// AdamW (Loshchilov and Hutter, arXiv:1711.05101) with Burn's defaults: momenta 0.9 and 0.999, epsilon 1e-5.
#[must_use]
pub fn adamw(weight_decay: f32) -> ModuleOptimizer {
    AdamW {
        #[cfg(feature = "webgpu")]
        weight_decay,
        burn: AdamWConfig::new().with_weight_decay(weight_decay).build(),
    }
    .into()
}

/// Burn's optimizer, in one launch for each parameter where we have a kernel instead of fourteen.
#[derive(Clone)]
struct AdamW {
    #[cfg(feature = "webgpu")]
    weight_decay: f32,
    burn: burn::optim::AdamW,
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        #[cfg(feature = "webgpu")]
        if crate::gpu::takes_own_kernels(&parameter.device()) {
            return self.step_in_one_launch(rate, parameter, gradient, state);
        }
        self.burn.step(rate, parameter, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        <burn::optim::AdamW as Optimizer>::to_device(state, device)
    }
}

#[cfg(feature = "webgpu")]
impl AdamW {
    fn step_in_one_launch<const D: usize>(
        &self,
        rate: LearningRate,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        // Burn's defaults, which its configuration keeps to itself; a test holds them equal.
        let (beta_1, beta_2, epsilon) = (0.9_f32, 0.999_f32, 1e-5_f32);
        let (time, moments) = match state.map(|state| state.momentum) {
            Some(momentum) => (momentum.time + 1, Some([momentum.moment_1, momentum.moment_2])),
            None => (1, None),
        };
        let power = i32::try_from(time).unwrap_or(i32::MAX);
        let step = crate::gpu::AdamWStep {
            rate: rate as f32,
            decay: (1.0 - rate * f64::from(self.weight_decay)) as f32,
            beta_1,
            beta_2,
            correction_1: 1.0 - beta_1.powi(power),
            correction_2: 1.0 - beta_2.powi(power),
            epsilon,
        };
        let (parameter, [moment_1, moment_2]) = crate::gpu::adamw(parameter, gradient, moments, step);
        let momentum = burn::optim::AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2: None };
        (parameter, Some(AdamWState { momentum }))
    }
}
