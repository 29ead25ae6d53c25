//! One layer around a mixer, small enough to be trained by hand: embedding, norm, projections, a short convolution, the mixer,
//! an output matrix added to the stream, norm, and logits. Its gradient is written out, and tests hold it against differences.

pub(super) mod layers;
mod mix;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{add, dot, exponentials};
use lab_kernels::product::{View, product};
use layers::{convolve, convolve_backward, mean, norm, norm_backward};
use mix::Mixed;

/// What mixes the tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mixer {
    /// Softmax attention; causal or not.
    Softmax {
        /// Whether a token sees only what came before.
        causal: bool,
    },
    /// Softmax over so many slots that mix all tokens; never causal.
    Linformer(usize),
    /// A sum with features `elu(x) + 1`, divided by the sum of weights.
    Kernel,
    /// The same, fading by a fixed factor a token (as RetNet, Sun et al., 2023, arXiv:2307.08621).
    Decay(f32),
    /// The same, its fading and writing computed from each token.
    Gated,
    /// The delta rule with keys and queries of length 1, its strength computed from each token; outputs are brought to one size.
    Delta,
    /// Both.
    GatedDelta,
}

/// Sizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Tokens of an example, `T`.
    pub tokens: usize,
    /// Channels of the stream and of a value, `C`.
    pub channels: usize,
    /// Channels of a query and a key, `n`.
    pub keys: usize,
    /// Taps of the convolution over time, 1 for none.
    pub taps: usize,
    /// Different tokens; 0 where inputs are rows of numbers with a place of their own.
    pub vocabulary: usize,
    /// Numbers of an input row, where there is no vocabulary.
    pub inputs: usize,
    /// Logits.
    pub outputs: usize,
    /// The mixer.
    pub mixer: Mixer,
}

/// Examples.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Token of each place, `[B T]`; empty where inputs are numbers.
    pub tokens: Vec<usize>,
    /// Inputs `[B T, inputs]`; empty where there are tokens.
    pub rows: Vec<f32>,
    /// Row of `B T` and class: what is to be said there. Where inputs are numbers: one class an example, said of the mean.
    pub targets: Vec<(usize, usize)>,
}

/// Where a part of the weights lies.
struct Parts {
    starts: [usize; 9],
}

/// What a pass gives.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Mean loss in nats.
    pub loss: f64,
    /// Whether each target was the most likely class.
    pub right: Vec<bool>,
    /// Of all weights; empty where not asked for.
    pub gradient: Vec<f32>,
}

const EMBED: usize = 0;
const PLACES: usize = 1;
const QKV: usize = 2;
const CONV: usize = 3;
const GATES: usize = 4;
const SLOTS: usize = 5;
const OUT: usize = 6;
const HEAD: usize = 7;

impl Shape {
    fn wide(&self) -> usize {
        2 * self.keys + self.channels
    }

    fn parts(&self) -> Parts {
        let (c, slots) = (self.channels, if let Mixer::Linformer(slots) = self.mixer { slots } else { 0 });
        let places = if self.vocabulary == 0 { self.tokens * c } else { 0 };
        let sizes = [
            if self.vocabulary == 0 { c * self.inputs } else { self.vocabulary * c },
            places,
            self.wide() * c,
            self.taps * self.wide(),
            2 * (c + 1),
            2 * slots * self.tokens,
            c * c,
            self.outputs * c,
        ];
        let mut starts = [0; 9];
        for (i, size) in sizes.iter().enumerate() {
            starts[i + 1] = starts[i] + size;
        }
        Parts { starts }
    }

    /// How many weights.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.parts().starts[8]
    }

    /// Numbers that a head remembers while it reads, whatever the length; `None` where that grows with it.
    #[must_use]
    pub fn state(&self) -> Option<usize> {
        match self.mixer {
            Mixer::Softmax { .. } | Mixer::Linformer(_) => None,
            Mixer::Kernel | Mixer::Decay(_) | Mixer::Gated => Some(self.keys * (self.channels + 1)),
            _ => Some(self.keys * self.channels),
        }
    }

    /// First weights.
    #[must_use]
    pub fn init(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let parts = self.parts();
        let mut all = vec![0.0; self.parameters()];
        let inverse = |n: usize| (3.0 / n.max(1) as f32).sqrt();
        let inputs = if self.vocabulary == 0 { inverse(self.inputs) } else { 3_f32.sqrt() };
        let bounds = [
            (EMBED, inputs),
            (PLACES, 0.5),
            (QKV, inverse(self.channels)),
            (CONV, 0.3),
            (GATES, 0.1),
            (SLOTS, inverse(self.tokens)),
            (OUT, inverse(self.channels)),
            (HEAD, inverse(self.channels)),
        ];
        for (part, bound) in bounds {
            parts.of_mut(&mut all, part).iter_mut().for_each(|w| *w = rng.random_range(-bound..bound));
        }
        parts.of_mut(&mut all, CONV)[..self.wide()].fill(1.0);
        let gates = parts.of_mut(&mut all, GATES);
        gates[self.channels] = 5.0;
        gates[2 * self.channels + 1] = 0.0;
        all
    }

    /// Loss and answers of a batch; with `learn`, the gradient.
    #[must_use]
    pub fn pass(&self, weights: &[f32], batch: &Batch, learn: bool) -> Pass {
        let (parts, c, n, wide, t) = (self.parts(), self.channels, self.keys, self.wide(), self.tokens);
        let of = |part| parts.of(weights, part);
        let examples = batch.tokens.len().max(batch.rows.len() / self.inputs.max(1)) / t;
        let rows = examples * t;
        let mut x = if self.vocabulary == 0 {
            product(View::new(&batch.rows, rows, self.inputs), View::new(of(EMBED), c, self.inputs).transposed())
        } else {
            batch.tokens.iter().flat_map(|token| of(EMBED)[token * c..(token + 1) * c].iter().copied()).collect()
        };
        if self.vocabulary == 0 {
            x.chunks_exact_mut(t * c).for_each(|x| add(x, 1.0, of(PLACES)));
        }
        let mut u = x.clone();
        let sizes = norm(&mut u, c);
        let a = product(View::new(&u, rows, c), View::new(of(QKV), wide, c).transposed());
        let mut mixed = vec![0.0; rows * wide];
        for (to, from) in mixed.chunks_exact_mut(t * wide).zip(a.chunks_exact(t * wide)) {
            convolve(to, from, of(CONV), wide, self.taps);
        }
        let gates = self.gates(&u, of(GATES));
        let mut y = Vec::with_capacity(rows * c);
        let mut memories = Vec::with_capacity(examples);
        for (example, mixed) in mixed.chunks_exact(t * wide).enumerate() {
            let one = |from: usize, to: usize| -> Vec<f32> {
                mixed.chunks_exact(wide).flat_map(|r| r[from..to].iter().copied()).collect()
            };
            let [keep, write] = [0, 1].map(|i| &gates[i][example * t..(example + 1) * t]);
            let mix = Mixed::new(self, [one(0, n), one(n, 2 * n), one(2 * n, wide)], of(SLOTS), [keep, write]);
            y.extend_from_slice(&mix.y);
            memories.push(mix);
        }
        let o = product(View::new(&y, rows, c), View::new(of(OUT), c, c).transposed());
        let mut g = x;
        add(&mut g, 1.0, &o);
        let stream = norm(&mut g, c);
        let seen: Vec<f32> = if self.vocabulary == 0 {
            g.chunks_exact(t * c).flat_map(|g| mean(g, c)).collect()
        } else {
            batch.targets.iter().flat_map(|(row, _)| g[row * c..(row + 1) * c].iter().copied()).collect()
        };
        let count = batch.targets.len();
        let mut logits = product(View::new(&seen, count, c), View::new(of(HEAD), self.outputs, c).transposed());
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
        // Backwards, part by part.
        let mut gradient = vec![0.0; weights.len()];
        let slope = View::new(&logits, count, self.outputs);
        parts.put(&mut gradient, HEAD, &product(slope.transposed(), View::new(&seen, count, c)));
        let dseen = product(slope, View::new(of(HEAD), self.outputs, c));
        let mut dg = vec![0.0; rows * c];
        if self.vocabulary == 0 {
            for (dg, d) in dg.chunks_exact_mut(t * c).zip(dseen.chunks_exact(c)) {
                dg.chunks_exact_mut(c).for_each(|row| add(row, 1.0 / t as f32, d));
            }
        } else {
            batch
                .targets
                .iter()
                .zip(dseen.chunks_exact(c))
                .for_each(|((row, _), d)| add(&mut dg[row * c..(row + 1) * c], 1.0, d));
        }
        let mut dx = norm_backward(&g, &stream, &dg, c);
        let do_ = View::new(&dx, rows, c);
        parts.put(&mut gradient, OUT, &product(do_.transposed(), View::new(&y, rows, c)));
        let dy = product(do_, View::new(of(OUT), c, c));
        let mut da = vec![0.0; rows * wide];
        let mut dgates = [vec![0.0; rows], vec![0.0; rows]];
        for (example, mix) in memories.iter().enumerate() {
            let rows = example * t..(example + 1) * t;
            let [keep, write] = [0, 1].map(|i| &gates[i][rows.clone()]);
            let ([dq, dk, dv], dkeep, dwrite) = mix.backward(
                self,
                &dy[rows.start * c..rows.end * c],
                of(SLOTS),
                [keep, write],
                parts.of_mut(&mut gradient, SLOTS),
            );
            dgates[0][rows.clone()].copy_from_slice(&dkeep);
            dgates[1][rows.clone()].copy_from_slice(&dwrite);
            let mut dmixed = Vec::with_capacity(t * wide);
            for i in 0..t {
                dmixed.extend_from_slice(&dq[i * n..(i + 1) * n]);
                dmixed.extend_from_slice(&dk[i * n..(i + 1) * n]);
                dmixed.extend_from_slice(&dv[i * c..(i + 1) * c]);
            }
            let span = rows.start * wide..rows.end * wide;
            convolve_backward(
                &mut da[span.clone()],
                &a[span],
                &dmixed,
                (of(CONV), parts.of_mut(&mut gradient, CONV)),
                wide,
                self.taps,
            );
        }
        let slope = View::new(&da, rows, wide);
        parts.put(&mut gradient, QKV, &product(slope.transposed(), View::new(&u, rows, c)));
        let mut du = product(slope, View::new(of(QKV), wide, c));
        for (i, dgate) in dgates.iter().enumerate() {
            let at = i * (c + 1);
            for (row, d) in dgate.iter().enumerate() {
                let d = d * gates[i][row] * (1.0 - gates[i][row]);
                if d != 0.0 {
                    add(&mut du[row * c..(row + 1) * c], d, &of(GATES)[at..at + c]);
                    let own = parts.of_mut(&mut gradient, GATES);
                    add(&mut own[at..at + c], d, &u[row * c..(row + 1) * c]);
                    own[at + c] += d;
                }
            }
        }
        add(&mut dx, 1.0, &norm_backward(&u, &sizes, &du, c));
        if self.vocabulary == 0 {
            parts.put(
                &mut gradient,
                EMBED,
                &product(View::new(&dx, rows, c).transposed(), View::new(&batch.rows, rows, self.inputs)),
            );
            dx.chunks_exact(t * c).for_each(|dx| add(parts.of_mut(&mut gradient, PLACES), 1.0, dx));
        } else {
            let embed = parts.of_mut(&mut gradient, EMBED);
            batch
                .tokens
                .iter()
                .zip(dx.chunks_exact(c))
                .for_each(|(token, d)| add(&mut embed[token * c..(token + 1) * c], 1.0, d));
        }
        pass.gradient = gradient;
        pass
    }

    /// Share kept and strength of writing of each row.
    fn gates(&self, u: &[f32], weights: &[f32]) -> [Vec<f32>; 2] {
        let c = self.channels;
        [0, 1].map(|i| {
            let at = i * (c + 1);
            u.chunks_exact(c).map(|u| 1.0 / (1.0 + (-dot(u, &weights[at..at + c]) - weights[at + c]).exp())).collect()
        })
    }
}

impl Parts {
    fn of<'a>(&self, all: &'a [f32], part: usize) -> &'a [f32] {
        &all[self.starts[part]..self.starts[part + 1]]
    }

    fn of_mut<'a>(&self, all: &'a mut [f32], part: usize) -> &'a mut [f32] {
        &mut all[self.starts[part]..self.starts[part + 1]]
    }

    fn put(&self, all: &mut [f32], part: usize, values: &[f32]) {
        self.of_mut(all, part).copy_from_slice(values);
    }
}
