//! A chain of layers `relu(x W)` on plain slices, forward and backward by hand, so that every activation is counted and none is
//! kept that the schedule has not asked for.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Action;
use crate::attention::products::{add_product, add_transposed, pack, scores};

/// Rows that the gradient of a weight takes at a time: a strip of both factors then stays in the first cache.
const ROWS: usize = 64;
/// Share of activations that dropout leaves out.
const DROPPED: f32 = 0.1;
/// What widths are multiples of.
pub(super) const LANES: usize = 8;

/// Layers `relu(x W)`, of no bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// Inputs of each layer, and outputs of the last: one more than layers. Multiples of 8.
    pub widths: Vec<usize>,
    /// For each layer `[inputs, outputs]`.
    pub weights: Vec<Vec<f32>>,
}

/// Dropout between layers in a step of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// None.
    None,
    /// A mask that depends on step, layer and place alone, so that a layer that is run again leaves out the same.
    Replayed(u32),
    /// A mask from a stream that goes on: a layer that is run again draws another one. This is wrong, and shown to be.
    Redrawn(u32),
}

impl Chain {
    /// A chain of these widths, each rounded up to a multiple of 8, with normal-sized activations (He et al., 2015).
    #[must_use]
    pub fn new(widths: &[usize], rng: &mut ChaCha8Rng) -> Self {
        let widths: Vec<usize> = widths.iter().map(|width| width.max(&1).next_multiple_of(LANES)).collect();
        let matrix = |pair: &[usize]| {
            // Uniform over ±a has the variance a² / 3; a ReLU halves what passes.
            let bound = (6.0 / pair[0] as f32).sqrt();
            (0..pair[0] * pair[1]).map(|_| rng.random_range(-bound..bound)).collect()
        };
        let weights = widths.windows(2).map(matrix).collect();
        Self { widths, weights }
    }

    /// Layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.weights.len()
    }

    /// Bytes of each activation of so many rows, the output too.
    #[must_use]
    pub fn bytes(&self, rows: usize) -> Vec<usize> {
        self.widths.iter().map(|width| 4 * rows * width).collect()
    }

    /// Operations of each layer's forward pass.
    #[must_use]
    pub fn operations(&self, rows: usize) -> Vec<f64> {
        self.weights.iter().map(|weight| 2.0 * (rows * weight.len()) as f64).collect()
    }

    /// Gradients of all weights, zero.
    #[must_use]
    pub fn zeros(&self) -> Vec<Vec<f32>> {
        self.weights.iter().map(|weight| vec![0.0; weight.len()]).collect()
    }

    // ANCHOR: layer
    /// What a layer makes of `x` `[rows, inputs]`.
    fn forward(&self, layer: usize, x: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (self.widths[layer], self.widths[layer + 1]);
        let mut y = vec![0.0; x.len() / inputs * outputs];
        add_product(&mut y, x, inputs, &self.weights[layer], outputs);
        y.iter_mut().for_each(|y| *y = y.max(0.0));
        y
    }

    /// Adds `xᵀ g` to the gradient of the weights and gives `g Wᵀ`, the gradient of `x`, where that is wanted; `g` is the
    /// gradient before the ReLU.
    fn backward(&self, layer: usize, x: &[f32], g: &[f32], gradient: &mut [f32], wanted: bool) -> Vec<f32> {
        let (inputs, outputs) = (self.widths[layer], self.widths[layer + 1]);
        for (x, g) in x.chunks(ROWS * inputs).zip(g.chunks(ROWS * outputs)) {
            add_transposed(gradient, x, inputs, g, outputs);
        }
        let mut dx = vec![0.0; if wanted { x.len() } else { 0 }];
        if wanted {
            scores(g, outputs, &pack(&self.weights[layer], outputs), 1.0, &mut dx, inputs);
        }
        dx
    }
    // ANCHOR_END: layer

    // ANCHOR: step
    /// One training step by a schedule, on `x` `[rows, inputs]`: adds to the gradients of a mean squared error over `total`
    /// rows and gives this part of it. `watch` is called after each action, with everything held that the next one finds.
    /// None where the schedule uses what it has forgotten.
    pub fn step(
        &self,
        (x, target, total): (&[f32], &[f32], usize),
        schedule: &[Action],
        noise: Noise,
        gradients: &mut [Vec<f32>],
        mut watch: impl FnMut(),
    ) -> Option<f64> {
        let layers = self.layers();
        let mut held: Vec<Option<Vec<f32>>> = vec![None; layers + 1];
        held[0] = Some(x.to_vec());
        let (mut g, mut loss, mut drawn) = (Vec::new(), None, 0);
        for action in schedule {
            match *action {
                Action::Forward(layer) => {
                    let mut y = self.forward(layer, held[layer].as_ref()?);
                    if layer + 1 < layers {
                        drawn += 1;
                        noise.apply(layer, drawn, &mut y);
                    }
                    held[layer + 1] = Some(y);
                }
                Action::Drop(activation) => held[activation] = None,
                Action::Loss => {
                    g = held[layers].take()?;
                    loss = Some(error(&mut g, target, total));
                }
                Action::Backward(layer) => {
                    let x = held[layer].take()?;
                    let mut dx = self.backward(layer, &x, &g, &mut gradients[layer], layer > 0);
                    // Through the ReLU that made x, and through its dropout.
                    let scale = noise.scale();
                    dx.iter_mut().zip(&x).for_each(|(d, x)| *d = if *x > 0.0 { *d * scale } else { 0.0 });
                    g = dx;
                }
            }
            watch();
        }
        loss
    }
    // ANCHOR_END: step

    /// Moves each matrix against its gradient by this share of its own length.
    pub fn descend(&mut self, gradients: &[Vec<f32>], share: f32) {
        for (weight, gradient) in self.weights.iter_mut().zip(gradients) {
            let length = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
            let rate = share * length(weight) / length(gradient).max(f32::MIN_POSITIVE);
            weight.iter_mut().zip(gradient).for_each(|(w, g)| *w -= rate * g);
        }
    }

    /// Outputs `[rows, outputs]`.
    #[must_use]
    pub fn outputs(&self, x: &[f32]) -> Vec<f32> {
        (0..self.layers()).fold(x.to_vec(), |x, layer| self.forward(layer, &x))
    }
}

/// Turns outputs into the gradient before their ReLU, and gives the part of the mean squared error.
fn error(outputs: &mut [f32], target: &[f32], total: usize) -> f64 {
    let scale = 1.0 / total.max(1) as f32;
    let mut sum = 0.0;
    for (y, target) in outputs.iter_mut().zip(target) {
        let apart = *y - target;
        sum += f64::from(apart * apart);
        *y = if *y > 0.0 { 2.0 * scale * apart } else { 0.0 };
    }
    sum * f64::from(scale)
}

impl Noise {
    /// What activations that stay are multiplied by.
    fn scale(self) -> f32 {
        if self == Self::None { 1.0 } else { 1.0 / (1.0 - DROPPED) }
    }

    // ANCHOR: noise
    /// Leaves out what the mask says; `drawn` counts the masks of this step.
    fn apply(self, layer: usize, drawn: u32, y: &mut [f32]) {
        let key = match self {
            Self::None => return,
            Self::Replayed(step) => hash(step) ^ layer as u32,
            Self::Redrawn(step) => hash(step) ^ drawn.wrapping_mul(0x9e37_79b9),
        };
        let limit = (f64::from(DROPPED) * f64::from(u32::MAX)) as u32;
        for (at, y) in (0_u32..).zip(y) {
            *y = if hash(hash(key) ^ at) < limit { 0.0 } else { *y * self.scale() };
        }
    }
    // ANCHOR_END: noise
}

/// Mixes the bits of a number (the finalizer of MurmurHash3).
fn hash(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData, activation::relu};

    use super::{
        super::{placed, revolved, uniform},
        *,
    };
    use crate::{
        measure::peak_bytes,
        rng,
        testing::{FakeClock, alone_in_memory, context, ready},
    };

    const WIDTHS: [usize; 7] = [16, 24, 8, 32, 16, 8, 8];

    fn numbers(count: usize, purpose: &str) -> Vec<f32> {
        let mut rng = rng(3, purpose);
        (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn run(chain: &Chain, rows: usize, schedule: &[Action], noise: Noise) -> Option<(f64, Vec<Vec<f32>>)> {
        let (x, target) = (numbers(rows * chain.widths[0], "x"), numbers(rows * 8, "y"));
        let mut gradients = chain.zeros();
        let loss = chain.step((&x, &target, rows), schedule, noise, &mut gradients, || ())?;
        Some((loss, gradients))
    }

    #[test]
    fn gradients_are_those_of_automatic_differentiation() {
        let (chain, rows, device) = (Chain::new(&WIDTHS, &mut rng(1, "w")), 70, Device::flex().autodiff());
        let (loss, gradients) = run(&chain, rows, &placed(&uniform(6, 1), false), Noise::None).expect("sound");
        let tensor = |x: Vec<f32>, shape: [usize; 2]| Tensor::<2>::from_data(TensorData::new(x, shape), &device);
        let weights: Vec<Tensor<2>> = (chain.weights.iter().zip(chain.widths.windows(2)))
            .map(|(w, size)| tensor(w.clone(), [size[0], size[1]]).require_grad())
            .collect();
        let x = tensor(numbers(rows * 16, "x"), [rows, 16]);
        let y = weights.iter().fold(x, |x, w| relu(x.matmul(w.clone())));
        let apart = y - tensor(numbers(rows * 8, "y"), [rows, 8]);
        let expected = (apart.clone() * apart).sum() / rows as f64;
        let all = expected.backward();
        let value: f32 = expected.into_scalar();
        assert!((f64::from(value) / loss - 1.0).abs() < 1e-5, "{value} {loss}");
        for (w, found) in weights.iter().zip(&gradients) {
            let truth = w.grad(&all).expect("tracked").into_data().try_to_vec::<f32>().expect("floats");
            let size = truth.iter().map(|g| g.abs()).fold(0.0, f32::max);
            assert!(size > 1e-3);
            assert!(truth.iter().zip(found).all(|(a, b)| (a - b).abs() < 1e-5 * size.max(1.0)));
        }
    }

    #[test]
    fn no_schedule_changes_one_bit_of_a_gradient() {
        let chain = Chain::new(&WIDTHS, &mut rng(1, "w"));
        for noise in [Noise::None, Noise::Replayed(5)] {
            let reference = run(&chain, 9, &placed(&uniform(6, 1), false), noise);
            assert!(reference.is_some());
            for bits in 0..32_usize {
                let keep: Vec<bool> = (0..6).map(|i| i == 0 || bits >> (i - 1) & 1 == 1).collect();
                for early in [false, true] {
                    assert_eq!(run(&chain, 9, &placed(&keep, early), noise), reference, "{keep:?}");
                }
            }
            for slots in 1..4 {
                assert_eq!(run(&chain, 9, &revolved(6, slots), noise), reference, "{slots} slots");
            }
        }
        // What must be noticed: a mask that is drawn anew, and a schedule that uses what it has dropped.
        let noise = Noise::Redrawn(5);
        let plain = run(&chain, 9, &placed(&uniform(6, 1), false), noise);
        assert_ne!(run(&chain, 9, &placed(&uniform(6, 3), false), noise), plain);
        let mut broken = placed(&uniform(6, 3), false);
        broken.insert(1, Action::Drop(1));
        assert_eq!(run(&chain, 9, &broken, Noise::None), None);
    }

    #[test]
    fn parts_of_a_batch_add_up_to_its_gradient() {
        let chain = Chain::new(&WIDTHS, &mut rng(1, "w"));
        let schedule = placed(&uniform(6, 1), false);
        let (x, target) = (numbers(12 * 16, "x"), numbers(12 * 8, "y"));
        let (mut parts, mut sum) = (chain.zeros(), 0.0);
        for (x, target) in x.chunks(4 * 16).zip(target.chunks(4 * 8)) {
            sum += chain.step((x, target, 12), &schedule, Noise::None, &mut parts, || ()).expect("sound");
        }
        let (loss, whole) = run(&chain, 12, &schedule, Noise::None).expect("sound");
        assert!((sum / loss - 1.0).abs() < 1e-6);
        assert!(whole.iter().flatten().zip(parts.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-5));
        assert!(whole != parts, "rounding has another order");
    }

    #[test]
    fn the_counted_peak_is_the_traced_one() {
        let _alone = alone_in_memory();
        let cx = context(std::rc::Rc::new(FakeClock::new(0.1)));
        // Activations of 64 MiB: what other tests hold meanwhile is small beside them.
        let (chain, rows) = (Chain::new(&[8; 5], &mut rng(1, "w")), 1 << 21);
        let x = vec![1.0; rows * 8];
        let unit = chain.bytes(rows)[0] as f64;
        for keep in [uniform(4, 1), uniform(4, 2)] {
            let schedule = placed(&keep, false);
            let mut gradients = chain.zeros();
            let peak = ready(peak_bytes(&cx, async || {
                Ok(chain.step((&x, &x, rows), &schedule, Noise::None, &mut gradients, || ()))
            }));
            let peak = peak.expect("runs").1.expect("counted") as f64 / unit;
            let traced = super::super::trace(&schedule, &chain.bytes(rows), &chain.operations(rows)).peak as f64 / unit;
            assert!((peak - traced).abs() < 0.45, "{keep:?}: {peak} {traced}");
        }
    }
}
