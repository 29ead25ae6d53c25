//! The mixers of a layer, forward and backward.

use lab_kernels::product::{View, product};

use super::{
    Mixer, Shape,
    layers::{norm, norm_backward, softmax, softmax_backward},
};
use crate::mixers::{Gates, Memory, add, dot, recur, recur_backward};

/// What a mixer made of one example, and what its way back needs.
pub(super) struct Mixed {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    pub(super) y: Vec<f32>,
    /// Weights of softmax; sums of weights of a kernel; lengths of outputs.
    extra: Vec<f32>,
    /// Lengths of keys and queries, where they are brought to length 1.
    lengths: [Vec<f32>; 2],
}

impl Mixed {
    pub(super) fn new(shape: &Shape, [mut q, mut k, mut v]: [Vec<f32>; 3], slots: &[f32], gates: [&[f32]; 2]) -> Self {
        let (n, p, t) = (shape.keys, shape.channels, shape.tokens);
        let extra;
        let mut lengths = [Vec::new(), Vec::new()];
        let y = match shape.mixer {
            Mixer::Softmax { causal } => {
                extra = softmax(&q, &k, n, causal);
                product(View::new(&extra, t, t), View::new(&v, t, p))
            }
            Mixer::Linformer(count) => {
                let half = slots.len() / 2;
                let keys = product(View::new(&slots[..half], count, t), View::new(&k, t, n));
                let values = product(View::new(&slots[half..], count, t), View::new(&v, t, p));
                extra = softmax(&q, &keys, n, false);
                product(View::new(&extra, t, count), View::new(&values, count, p))
            }
            Mixer::Kernel | Mixer::Decay(_) | Mixer::Gated => {
                for x in [&mut q, &mut k] {
                    x.iter_mut().for_each(|x| *x = if *x > 0.0 { *x + 1.0 } else { x.exp() });
                }
                v = v.chunks_exact(p).flat_map(|row| row.iter().copied().chain([1.0])).collect();
                let (keep, write) = shape.rule(gates);
                let memory = Memory { q: &q, k: &k, v: &v, sizes: [n, p + 1] };
                let sums = recur(memory, shape.gates_of(&keep, &write), &mut vec![0.0; n * (p + 1)]);
                extra = sums.chunks_exact(p + 1).map(|row| row[p].max(1e-20)).collect();
                sums.chunks_exact(p + 1)
                    .zip(&extra)
                    .flat_map(|(row, sum)| row[..p].iter().map(move |y| y / sum))
                    .collect()
            }
            Mixer::Delta | Mixer::GatedDelta => {
                let root = (n as f32).sqrt().recip();
                lengths = [&mut q, &mut k].map(|x| {
                    let sizes = norm(x, n);
                    x.iter_mut().for_each(|x| *x *= root);
                    sizes
                });
                let (keep, write) = shape.rule(gates);
                let mut y = recur(
                    Memory { q: &q, k: &k, v: &v, sizes: [n, p] },
                    shape.gates_of(&keep, &write),
                    &mut vec![0.0; n * p],
                );
                extra = norm(&mut y, p);
                y
            }
        };
        Self { q, k, v, y, extra, lengths }
    }

    /// Gradients of queries, keys and values, and of both gates.
    pub(super) fn backward(
        &self,
        shape: &Shape,
        dy: &[f32],
        slots: &[f32],
        gates: [&[f32]; 2],
        dslots: &mut [f32],
    ) -> ([Vec<f32>; 3], Vec<f32>, Vec<f32>) {
        let (n, p, t, none) = (shape.keys, shape.channels, shape.tokens, vec![0.0; shape.tokens]);
        let Self { q, k, v, .. } = self;
        match shape.mixer {
            Mixer::Softmax { .. } => (softmax_backward(q, k, v, &self.extra, dy, [n, p]), none.clone(), none),
            Mixer::Linformer(count) => {
                let half = slots.len() / 2;
                let (e, f) = (View::new(&slots[..half], count, t), View::new(&slots[half..], count, t));
                let keys = product(e, View::new(k, t, n));
                let values = product(f, View::new(v, t, p));
                let [dq, dkeys, dvalues] = softmax_backward(q, &keys, &values, &self.extra, dy, [n, p]);
                let (dkeys, dvalues) = (View::new(&dkeys, count, n), View::new(&dvalues, count, p));
                add(&mut dslots[..half], 1.0, &product(dkeys, View::new(k, t, n).transposed()));
                add(&mut dslots[half..], 1.0, &product(dvalues, View::new(v, t, p).transposed()));
                ([dq, product(e.transposed(), dkeys), product(f.transposed(), dvalues)], none.clone(), none)
            }
            Mixer::Kernel | Mixer::Decay(_) | Mixer::Gated => {
                let mut dsums = Vec::with_capacity(t * (p + 1));
                for ((dy, y), sum) in dy.chunks_exact(p).zip(self.y.chunks_exact(p)).zip(&self.extra) {
                    dsums.extend(dy.iter().map(|d| d / sum));
                    dsums.push(-dot(dy, y) / sum);
                }
                let (keep, write) = shape.rule(gates);
                let mut g =
                    recur_backward(Memory { q, k, v, sizes: [n, p + 1] }, shape.gates_of(&keep, &write), &dsums);
                // The slope of elu is 1 above zero, and what it gives below.
                g.q.iter_mut().zip(q).for_each(|(d, f)| *d *= f.min(1.0));
                g.k.iter_mut().zip(k).for_each(|(d, f)| *d *= f.min(1.0));
                let dv = g.v.chunks_exact(p + 1).flat_map(|row| row[..p].iter().copied()).collect();
                let gated = shape.mixer == Mixer::Gated;
                ([g.q, g.k, dv], if gated { g.keep } else { none.clone() }, if gated { g.write } else { none })
            }
            mixer => {
                let dy = norm_backward(&self.y, &self.extra, dy, p);
                let (keep, write) = shape.rule(gates);
                let mut g = recur_backward(Memory { q, k, v, sizes: [n, p] }, shape.gates_of(&keep, &write), &dy);
                let root = (n as f32).sqrt().recip();
                for ((d, x), sizes) in [(&mut g.q, q), (&mut g.k, k)].into_iter().zip(&self.lengths) {
                    let whole: Vec<f32> = x.iter().map(|x| x / root).collect();
                    d.iter_mut().for_each(|d| *d *= root);
                    *d = norm_backward(&whole, sizes, d, n);
                }
                ([g.q, g.k, g.v], if mixer == Mixer::GatedDelta { g.keep } else { none }, g.write)
            }
        }
    }
}

impl Shape {
    /// What is kept and written at each token.
    fn rule(&self, [keep, write]: [&[f32]; 2]) -> (Vec<f32>, Vec<f32>) {
        let all = |x: f32| vec![x; keep.len()];
        match self.mixer {
            Mixer::Kernel => (all(1.0), all(1.0)),
            Mixer::Decay(keep) => (all(keep), all(1.0)),
            Mixer::Delta => (all(1.0), write.to_vec()),
            _ => (keep.to_vec(), write.to_vec()),
        }
    }

    fn gates_of<'a>(&self, keep: &'a [f32], write: &'a [f32]) -> Gates<'a> {
        Gates { keep, write, erase: matches!(self.mixer, Mixer::Delta | Mixer::GatedDelta) }
    }
}
