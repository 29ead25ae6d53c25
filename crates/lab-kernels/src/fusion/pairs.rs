//! SwiGLU and AdamWSetting in two ways each, and what all pairs launch and touch.

use wide::f32x4;

use super::{
    pass::{binary, each_of_two, unary},
    vector::{part, sigmoid},
};

/// Operations that often follow each other in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FusionPair {
    /// Elementwise operations, so many.
    Chain(usize),
    /// `silu(a) · b`.
    SwiGlu,
    /// Softmax of rows.
    Softmax,
    /// RMSNorm of rows.
    Norm,
    /// RMSNorm and the product behind it, `[T, inputs]` to `[T, outputs]`.
    NormProduct {
        /// Channels before.
        inputs: usize,
        /// Channels after.
        outputs: usize,
    },
    /// A product, its bias and GELU.
    ProductGelu {
        /// Channels before.
        inputs: usize,
        /// Channels after.
        outputs: usize,
    },
    /// A step of AdamW.
    AdamW,
}

/// Launches, and touches: numbers read from memory or written to it. What is shorter than a row's share is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassCounts {
    /// Kernels.
    pub launches: usize,
    /// Numbers.
    pub touches: usize,
}

impl FusionPair {
    // ANCHOR: counts
    /// What `n` numbers (of a product: of its input) cost in separate operations, and fused.
    #[must_use]
    pub fn counts(self, n: usize) -> [PassCounts; 2] {
        let both = |launches: [usize; 2], touches: [usize; 2]| {
            [0, 1].map(|i| PassCounts { launches: launches[i], touches: touches[i] })
        };
        let of = |inputs: usize, outputs: usize| n / inputs.max(1) * outputs;
        match self {
            Self::Chain(length) => both([length, 1], [2 * length * n, 2 * n]),
            Self::SwiGlu => both([3, 1], [8 * n, 3 * n]),
            Self::Softmax => both([5, 1], [8 * n, 2 * n]),
            Self::Norm => both([6, 1], [7 * n, 2 * n]),
            Self::NormProduct { inputs, outputs } => {
                let out = of(inputs, outputs);
                both([7, 1], [8 * n + out, n + out])
            }
            Self::ProductGelu { inputs, outputs } => {
                let out = of(inputs, outputs);
                both([10, 1], [n + 21 * out, n + out])
            }
            Self::AdamW => both([15, 1], [34 * n, 7 * n]),
        }
    }
    // ANCHOR_END: counts
}

/// PassRoom for the results between operations: made once, so that nobody pays for asking.
#[derive(Debug, Clone, Default)]
pub struct PassRoom {
    pub(super) numbers: [Vec<f32>; 3],
    pub(super) rows: [Vec<f32>; 2],
}

impl PassRoom {
    /// For so many numbers, in so many rows.
    #[must_use]
    pub fn new(numbers: usize, rows: usize) -> Self {
        Self { numbers: [(); 3].map(|()| vec![0.0; numbers]), rows: [(); 2].map(|()| vec![0.0; rows]) }
    }
}

/// SwiGLU (Shazeer, arXiv:2002.05202), operation by operation.
pub fn swiglu_separate(a: &[f32], b: &[f32], room: &mut PassRoom, y: &mut [f32]) {
    let [s, t, _] = &mut room.numbers;
    unary(a, s, sigmoid);
    binary(a, s, t, |a, s| a * s);
    binary(t, b, y, |t, b| t * b);
}

/// The same in one pass.
pub fn swiglu_fused(a: &[f32], b: &[f32], y: &mut [f32]) {
    each_of_two(a, b, y, |a, b| a * sigmoid(a) * b);
}

/// What a step of AdamW (Loshchilov and Hutter, arXiv:1711.05101) is told.
#[derive(Debug, Clone, Copy)]
pub struct AdamWSetting {
    /// Learning rate.
    pub rate: f32,
    /// What is left of a parameter after weight decay.
    pub decay: f32,
    /// Shares of the moments that stay.
    pub betas: [f32; 2],
    /// `1 - beta^t` of both.
    pub corrections: [f32; 2],
    /// Keeps the division finite.
    pub epsilon: f32,
}

impl AdamWSetting {
    /// The first step, with the usual betas.
    #[must_use]
    pub fn first(rate: f32, decay: f32, epsilon: f32) -> Self {
        let betas = [0.9, 0.999];
        Self { rate, decay: 1.0 - rate * decay, betas, corrections: betas.map(|beta| 1.0 - beta), epsilon }
    }
}

// ANCHOR: adamw_separate
/// Parameters `p` and moments, operation by operation: fifteen passes.
pub fn adamw_separate(step: AdamWSetting, g: &[f32], [p, m, v]: [&mut [f32]; 3], room: &mut PassRoom) {
    let [a, b, c] = &mut room.numbers;
    let s = f32x4::splat;
    let ([b1, b2], [c1, c2]) = (step.betas, step.corrections);
    unary(m, a, |m| m * s(b1));
    unary(g, b, |g| g * s(1.0 - b1));
    binary(a, b, m, |a, b| a + b);
    unary(g, a, |g| g * g);
    unary(a, b, |a| a * s(1.0 - b2));
    unary(v, a, |v| v * s(b2));
    binary(a, b, v, |a, b| a + b);
    unary(m, a, |m| m / s(c1));
    unary(v, b, |v| v / s(c2));
    unary(b, c, |b| b.sqrt());
    unary(c, b, |c| c + s(step.epsilon));
    binary(a, b, c, |a, b| a / b);
    unary(c, a, |c| c * s(step.rate));
    unary(p, b, |p| p * s(step.decay));
    binary(b, a, p, |b, a| b - a);
}
// ANCHOR_END: adamw_separate

// ANCHOR: adamw_fused
/// The same in one pass: four numbers read, three written.
pub fn adamw_fused(step: AdamWSetting, g: &[f32], [p, m, v]: [&mut [f32]; 3]) {
    let s = f32x4::splat;
    let ([b1, b2], [c1, c2]) = (step.betas, step.corrections);
    let one = |g: f32x4, [p, m, v]: [f32x4; 3]| {
        let m = m * s(b1) + g * s(1.0 - b1);
        let v = v * s(b2) + g * g * s(1.0 - b2);
        let by = (m / s(c1)) / ((v / s(c2)).sqrt() + s(step.epsilon));
        [p * s(step.decay) - by * s(step.rate), m, v]
    };
    let ((g, g_rest), [p, m, v]) = (g.as_chunks::<4>(), [p, m, v].map(<[f32]>::as_chunks_mut::<4>));
    for (((g, p0), m0), v0) in g.iter().zip(p.0).zip(m.0).zip(v.0) {
        let next = one(f32x4::new(*g), [*p0, *m0, *v0].map(f32x4::new));
        [*p0, *m0, *v0] = next.map(f32x4::to_array);
    }
    let next = one(part(g_rest), [part(p.1), part(m.1), part(v.1)]).map(f32x4::to_array);
    for (rest, next) in [p.1, m.1, v.1].into_iter().zip(next) {
        let count = rest.len();
        rest.copy_from_slice(&next[..count]);
    }
}
// ANCHOR_END: adamw_fused
