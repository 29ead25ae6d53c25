//! One layer or two around mixers of every kind, small enough to be trained by hand: embedding; for each layer a norm, projections, a
//! short convolution over time, SiLU before a state space, the mixer, and an output matrix added to the stream; a norm, and logits. Its gradient is written out,
//! and tests hold it against differences.

mod mix;
#[cfg(test)]
mod tests;
mod units;

use lab_kernels::product::{View, product};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{
    add,
    block::{Batch, Pass, layers},
    dot, exponentials,
    states::Modes,
};
use layers::{convolve, convolve_backward, norm, norm_backward};
use mix::{Mixed, Steps};
pub use units::{Answers, Trail, Units};

/// What mixes the tokens of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Causal softmax attention of one head.
    Attention,
    /// Mamba-2's state space: each token says where it is written, what reads, and by its step Δ how much fades and how much is written.
    Selective,
    /// The same with one Δ for all tokens, which is learned (as RetNet fades).
    Steady,
    /// The same without fading: the sum of linear attention.
    Sum,
    /// A state space that is the same for every token: S4D, computed as a convolution.
    Invariant,
}

/// Sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Channels of the stream and of a value, `C`.
    pub channels: usize,
    /// Channels of a key, `N`: a state has `N C` numbers, whatever the mixer.
    pub keys: usize,
    /// Taps of the convolution over time, 0 for none.
    pub taps: usize,
    /// Different tokens.
    pub vocabulary: usize,
    /// Logits.
    pub outputs: usize,
    /// The mixer of each layer.
    pub layers: Vec<Mix>,
}

/// Where the parts of a layer lie.
#[derive(Clone, Copy)]
struct Parts {
    starts: [usize; 7],
}

const PROJECT: usize = 0;
const CONV: usize = 1;
/// Weights and bias of Δ, and the logarithm of its rate A.
const STEP: usize = 2;
const DELTA: usize = 3;
const READ: usize = 4;
const OUT: usize = 5;
/// What softplus makes Δ of before anything is learned, and the logarithm of its rate A: 2 % of the state fade with a token. The product
/// of both is as published for Mamba-2. Its steps are shorter and its rates larger, with which our short trainings do not begin to learn.
const FIRST_STEP: f32 = 0.5;
const FIRST_RATE: f32 = -4.0;

/// What a layer keeps for its way back.
struct Kept {
    u: Vec<f32>,
    sizes: Vec<f32>,
    projected: Vec<f32>,
    /// After the convolution, and the sigmoid of that; empty of attention.
    local: Vec<f32>,
    sigmoid: Vec<f32>,
    /// What softplus makes Δ of, Δ, and what is kept.
    z: Vec<f32>,
    delta: Vec<f32>,
    keep: Vec<f32>,
    kernel: Vec<f32>,
    mixed: Vec<Mixed>,
    y: Vec<f32>,
}

impl Stack {
    fn wide(&self, mix: Mix) -> usize {
        self.channels + if mix == Mix::Invariant { 0 } else { 2 * self.keys }
    }

    /// Of a layer, from `start` on.
    fn parts(&self, mix: Mix, start: usize) -> Parts {
        let (c, wide) = (self.channels, self.wide(mix));
        let fixed = mix == Mix::Invariant;
        let sizes = [
            wide * c,
            self.taps * wide,
            if matches!(mix, Mix::Selective | Mix::Steady) { c + 2 } else { 0 },
            if fixed { c } else { 0 },
            if fixed { c * (self.keys / 2).max(1) * 2 } else { 0 },
            c * c,
        ];
        let mut starts = [start; 7];
        for (i, size) in sizes.iter().enumerate() {
            starts[i + 1] = starts[i] + size;
        }
        Parts { starts }
    }

    /// The parts of all layers; before them lies the embedding, after them the head.
    fn all_parts(&self) -> Vec<Parts> {
        let mut start = self.vocabulary * self.channels;
        let of = |mix: &Mix| {
            let parts = self.parts(*mix, start);
            start = parts.starts[6];
            parts
        };
        self.layers.iter().map(of).collect()
    }

    fn head(&self) -> usize {
        self.all_parts().last().map_or(self.vocabulary * self.channels, |parts| parts.starts[6])
    }

    /// How many weights.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.head() + self.outputs * self.channels
    }

    /// Numbers that are remembered while it reads, in all layers, the last inputs of the convolutions among them; `None` where that
    /// grows with the text.
    #[must_use]
    pub fn state(&self) -> Option<usize> {
        let of = |mix: &Mix| match mix {
            Mix::Attention => None,
            mix => Some(self.keys * self.channels + self.taps.saturating_sub(1) * self.wide(*mix)),
        };
        self.layers.iter().map(of).sum()
    }

    /// First weights.
    #[must_use]
    pub fn init(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let (c, head) = (self.channels, self.head());
        let mut all = vec![0.0; self.parameters()];
        let inverse = (3.0 / c as f32).sqrt();
        let mut fill =
            |part: &mut [f32], bound: f32| part.iter_mut().for_each(|w| *w = rng.random_range(-bound..bound));
        fill(&mut all[..self.vocabulary * c], 3_f32.sqrt());
        fill(&mut all[head..], inverse);
        for (parts, mix) in self.all_parts().iter().zip(&self.layers) {
            for (part, bound) in [(PROJECT, inverse), (CONV, 0.3), (STEP, 0.1), (READ, 1.0), (OUT, inverse)] {
                fill(parts.of_mut(&mut all, part), bound);
            }
            let first = self.wide(*mix).min(parts.of(&all, CONV).len());
            parts.of_mut(&mut all, CONV)[..first].fill(1.0);
            if let [.., bias, rate] = parts.of_mut(&mut all, STEP) {
                (*bias, *rate) = (FIRST_STEP, FIRST_RATE);
            }
            // Steps from 0.001 to 0.1, as published.
            let deltas = parts.of_mut(&mut all, DELTA);
            let last = deltas.len().max(2) - 1;
            deltas.iter_mut().enumerate().for_each(|(i, d)| *d = -6.9 + 4.6 * i as f32 / last as f32);
        }
        all
    }

    /// Loss and answers of examples of `t` tokens each; with `learn`, the gradient.
    #[must_use]
    pub fn pass(&self, weights: &[f32], batch: &Batch, t: usize, learn: bool) -> Pass {
        let (c, rows, head, count) = (self.channels, batch.tokens.len(), self.head(), batch.targets.len());
        let mut x: Vec<f32> =
            batch.tokens.iter().flat_map(|token| weights[token * c..(token + 1) * c].iter().copied()).collect();
        let parts = self.all_parts();
        let mut kept = Vec::with_capacity(self.layers.len());
        for (mix, parts) in self.layers.iter().zip(&parts) {
            kept.push(self.layer(*mix, *parts, weights, &mut x, t));
        }
        let sizes = norm(&mut x, c);
        let seen: Vec<f32> =
            batch.targets.iter().flat_map(|(row, _)| x[row * c..(row + 1) * c].iter().copied()).collect();
        let out = View::new(&weights[head..], self.outputs, c);
        let mut logits = product(View::new(&seen, count, c), out.transposed());
        let mut pass = Pass { loss: 0.0, right: Vec::with_capacity(count), gradient: Vec::new() };
        for (row, (_, class)) in logits.chunks_exact_mut(self.outputs).zip(&batch.targets) {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i);
            pass.right.push(best == *class);
            let most = row[best];
            row.iter_mut().for_each(|l| *l -= most);
            exponentials(row);
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|p| *p /= sum);
            pass.loss -= f64::from(row[*class].max(1e-30)).ln() / count.max(1) as f64;
            row[*class] -= 1.0;
            row.iter_mut().for_each(|p| *p /= count.max(1) as f32);
        }
        if !learn {
            return pass;
        }
        let mut gradient = vec![0.0; weights.len()];
        let slope = View::new(&logits, count, self.outputs);
        gradient[head..].copy_from_slice(&product(slope.transposed(), View::new(&seen, count, c)));
        let dseen = product(slope, out);
        let mut dx = vec![0.0; rows * c];
        for ((row, _), d) in batch.targets.iter().zip(dseen.chunks_exact(c)) {
            add(&mut dx[row * c..(row + 1) * c], 1.0, d);
        }
        let mut dx = norm_backward(&x, &sizes, &dx, c);
        for ((mix, parts), kept) in self.layers.iter().zip(&parts).zip(&kept).rev() {
            self.layer_backward((*mix, *parts, kept), weights, &mut dx, &mut gradient, t);
        }
        for (token, d) in batch.tokens.iter().zip(dx.chunks_exact(c)) {
            add(&mut gradient[token * c..(token + 1) * c], 1.0, d);
        }
        pass.gradient = gradient;
        pass
    }

    fn layer(&self, mix: Mix, parts: Parts, weights: &[f32], x: &mut [f32], t: usize) -> Kept {
        let (c, n, wide) = (self.channels, self.keys, self.wide(mix));
        let (rows, of) = (x.len() / c, |part| parts.of(weights, part));
        let mut u = x.to_vec();
        let sizes = norm(&mut u, c);
        let projected = product(View::new(&u, rows, c), View::new(of(PROJECT), wide, c).transposed());
        let mut local = projected.clone();
        if self.taps > 0 {
            local.fill(0.0);
            for (to, from) in local.chunks_exact_mut(t * wide).zip(projected.chunks_exact(t * wide)) {
                convolve(to, from, of(CONV), wide, self.taps);
            }
        }
        let (before, mut sigmoid) = (local.clone(), Vec::new());
        if mix != Mix::Attention {
            // SiLU, x sigmoid(x), as in Mamba.
            sigmoid = local.iter().map(|x| -x).collect();
            exponentials(&mut sigmoid);
            sigmoid.iter_mut().for_each(|e| *e = 1.0 / (1.0 + *e));
            local.iter_mut().zip(&sigmoid).for_each(|(x, s)| *x *= s);
        }
        let (mut z, mut delta, mut keep) = (Vec::new(), vec![1.0; rows], vec![1.0; rows]);
        if let [w @ .., bias, rate] = of(STEP) {
            let from = |u: &[f32]| bias + if mix == Mix::Selective { dot(u, w) } else { 0.0 };
            z = u.chunks_exact(c).map(from).collect();
            delta = z.iter().map(|z| z.max(0.0) + (-z.abs()).exp().ln_1p()).collect();
            keep = delta.iter().map(|delta| (-rate.exp() * delta).exp()).collect();
        }
        let kernel = if mix == Mix::Invariant { self.modes(parts, weights).kernel(t) } else { Vec::new() };
        let (mut y, mut mixed) = (Vec::with_capacity(rows * c), Vec::with_capacity(rows / t));
        for (example, local) in local.chunks_exact(t * wide).enumerate() {
            let one = |from: usize, to: usize| -> Vec<f32> {
                local.chunks_exact(wide).flat_map(|row| row[from..to].iter().copied()).collect()
            };
            let qkv = if wide == c {
                [Vec::new(), Vec::new(), one(0, c)]
            } else {
                [one(0, n), one(n, 2 * n), one(2 * n, wide)]
            };
            let span = example * t..(example + 1) * t;
            let mix = Mixed::new(self, mix, qkv, Steps { delta: &delta[span.clone()], keep: &keep[span] }, &kernel);
            y.extend_from_slice(&mix.y);
            mixed.push(mix);
        }
        add(x, 1.0, &product(View::new(&y, rows, c), View::new(of(OUT), c, c).transposed()));
        Kept { u, sizes, projected, local: before, sigmoid, z, delta, keep, kernel, mixed, y }
    }

    /// Turns the gradient `dx` of a layer's output into that of its input.
    fn layer_backward(
        &self,
        (mix, parts, kept): (Mix, Parts, &Kept),
        weights: &[f32],
        dx: &mut [f32],
        gradient: &mut [f32],
        t: usize,
    ) {
        let (c, n, wide) = (self.channels, self.keys, self.wide(mix));
        let (rows, of) = (dx.len() / c, |part| parts.of(weights, part));
        let dout = View::new(dx, rows, c);
        parts.of_mut(gradient, OUT).copy_from_slice(&product(dout.transposed(), View::new(&kept.y, rows, c)));
        let dy = product(dout, View::new(of(OUT), c, c));
        let mut dprojected = vec![0.0; rows * wide];
        let mut dkernel = vec![0.0; kept.kernel.len()];
        let (mut dlog, mut ddelta) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for (example, mixed) in kept.mixed.iter().enumerate() {
            let span = example * t..(example + 1) * t;
            let steps = Steps { delta: &kept.delta[span.clone()], keep: &kept.keep[span.clone()] };
            let dy = &dy[span.start * c..span.end * c];
            let slopes = mixed.backward(self, mix, dy, steps, (&kept.kernel, &mut dkernel));
            dlog.extend(slopes.log_keep);
            ddelta.extend(slopes.delta);
            let [dq, dk, dv] = slopes.qkv;
            let mut dlocal = Vec::with_capacity(t * wide);
            for i in 0..t {
                if wide > c {
                    dlocal.extend_from_slice(&dq[i * n..(i + 1) * n]);
                    dlocal.extend_from_slice(&dk[i * n..(i + 1) * n]);
                }
                dlocal.extend_from_slice(&dv[i * c..(i + 1) * c]);
            }
            let to = span.start * wide..span.end * wide;
            if mix != Mix::Attention {
                let through = kept.local[to.clone()].iter().zip(&kept.sigmoid[to.clone()]);
                dlocal.iter_mut().zip(through).for_each(|(d, (x, s))| *d *= s * (1.0 + x * (1.0 - s)));
            }
            if self.taps == 0 {
                dprojected[to].copy_from_slice(&dlocal);
            } else {
                let taps = (of(CONV), parts.of_mut(gradient, CONV));
                convolve_backward(&mut dprojected[to.clone()], &kept.projected[to], &dlocal, taps, wide, self.taps);
            }
        }
        let slope = View::new(&dprojected, rows, wide);
        parts.of_mut(gradient, PROJECT).copy_from_slice(&product(slope.transposed(), View::new(&kept.u, rows, c)));
        let mut du = product(slope, View::new(of(PROJECT), wide, c));
        if let [w @ .., _, log_rate] = of(STEP) {
            let rate = log_rate.exp();
            let own = parts.of_mut(gradient, STEP);
            for (row, (dlog, ddelta)) in dlog.iter().zip(&ddelta).enumerate() {
                own[c + 1] -= rate * kept.delta[row] * dlog;
                let d = (ddelta - rate * dlog) / (1.0 + (-kept.z[row]).exp());
                own[c] += d;
                if mix == Mix::Selective {
                    add(&mut du[row * c..(row + 1) * c], d, w);
                    add(&mut own[..c], d, &kept.u[row * c..(row + 1) * c]);
                }
            }
        }
        if mix == Mix::Invariant {
            let [delta, read] = self.modes(parts, weights).kernel_backward(&dkernel);
            parts.of_mut(gradient, DELTA).copy_from_slice(&delta);
            parts.of_mut(gradient, READ).copy_from_slice(&read);
        }
        add(dx, 1.0, &norm_backward(&kept.u, &kept.sizes, &du, c));
    }

    fn modes<'a>(&self, parts: Parts, weights: &'a [f32]) -> Modes<'a> {
        Modes { delta: parts.of(weights, DELTA), c: parts.of(weights, READ) }
    }
}

impl Parts {
    fn of<'a>(&self, all: &'a [f32], part: usize) -> &'a [f32] {
        &all[self.starts[part]..self.starts[part + 1]]
    }

    fn of_mut<'a>(&self, all: &'a mut [f32], part: usize) -> &'a mut [f32] {
        &mut all[self.starts[part]..self.starts[part + 1]]
    }
}
