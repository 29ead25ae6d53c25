//! Feed-forward networks that share an input: all on everything, or each on the rows that chose it.

use lab_kernels::product::{View, product};

use super::{Assignments, Dispatch};

/// So many networks of one hidden layer without biases: `O = relu(X Wᵀ) V`. Both matrices of all experts lie one after the other,
/// `[E F, C]`.
#[derive(Debug, Clone, Copy)]
pub struct Experts<'a> {
    /// Numbers of a token.
    pub channels: usize,
    /// Hidden units of one expert.
    pub hidden: usize,
    /// Into the hidden layer, `[E F, C]`.
    pub up: &'a [f32],
    /// Out of it, `[E F, C]`: a row is what one unit adds to a token.
    pub down: &'a [f32],
}

/// What the way back needs.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Inputs in the order of the dispatch, `[kept, C]`.
    inputs: Vec<f32>,
    /// Hidden units after the ReLU, `[kept, F]`.
    hidden: Vec<f32>,
    /// Outputs before the gate, `[kept, C]`.
    outputs: Vec<f32>,
}

impl<'a> Experts<'a> {
    fn matrix(&self, of: &'a [f32], expert: usize) -> View<'a> {
        let each = self.hidden * self.channels;
        View::new(&of[expert * each..], self.hidden, self.channels)
    }

    /// One expert on rows `[n, C]`: hidden units and outputs.
    fn one(&self, expert: usize, x: &[f32], n: usize) -> [Vec<f32>; 2] {
        let mut hidden = product(View::new(x, n, self.channels), self.matrix(self.up, expert).transposed());
        hidden.iter_mut().for_each(|h| *h = h.max(0.0));
        let outputs = product(View::new(&hidden, n, self.hidden), self.matrix(self.down, expert));
        [hidden, outputs]
    }

    /// A single network on all rows `[N, C]`, as a dense layer is.
    #[must_use]
    pub fn dense(&self, x: &[f32]) -> Vec<f32> {
        let [_, outputs] = self.one(0, x, x.len() / self.channels.max(1));
        outputs
    }

    // ANCHOR: masked
    /// Every expert on every token, and most of it multiplied by zero.
    #[must_use]
    pub fn masked(&self, x: &[f32], experts: usize, all: &Assignments) -> Vec<f32> {
        let (c, n) = (self.channels, x.len() / self.channels);
        let mut gates = vec![0.0; n * experts];
        for ((token, expert), gate) in all.token.iter().zip(&all.expert).zip(&all.gate) {
            gates[*token as usize * experts + *expert as usize] += gate;
        }
        let mut y = vec![0.0; x.len()];
        for expert in 0..experts {
            let [_, outputs] = self.one(expert, x, n);
            for (token, (y, o)) in y.chunks_exact_mut(c).zip(outputs.chunks_exact(c)).enumerate() {
                let gate = gates[token * experts + expert];
                y.iter_mut().zip(o).for_each(|(y, o)| *y += gate * o);
            }
        }
        y
    }
    // ANCHOR_END: masked

    // ANCHOR: sorted
    /// Each expert on the rows that chose it: gather, two products, add back.
    #[must_use]
    pub fn sorted(&self, x: &[f32], all: &Assignments, sent: &Dispatch) -> (Vec<f32>, Trace) {
        let c = self.channels;
        let mut y = vec![0.0; x.len()];
        let mut trace = Trace::default();
        for expert in 0..sent.start.len() - 1 {
            let mine = sent.of(expert);
            if mine.is_empty() {
                continue;
            }
            let first = trace.inputs.len();
            for i in mine {
                let row = all.token[*i as usize] as usize * c;
                trace.inputs.extend_from_slice(&x[row..row + c]);
            }
            let [hidden, outputs] = self.one(expert, &trace.inputs[first..], mine.len());
            for (i, o) in mine.iter().zip(outputs.chunks_exact(c)) {
                let (row, gate) = (all.token[*i as usize] as usize * c, all.gate[*i as usize]);
                y[row..row + c].iter_mut().zip(o).for_each(|(y, o)| *y += gate * o);
            }
            trace.hidden.extend(hidden);
            trace.outputs.extend(outputs);
        }
        (y, trace)
    }
    // ANCHOR_END: sorted

    /// Buffers of a fixed size, `[E, places, C]`, as hardware wants them whose programs know no other; what is not taken is zeros that
    /// are multiplied all the same.
    #[must_use]
    pub fn padded(&self, x: &[f32], all: &Assignments, sent: &Dispatch, places: usize) -> Vec<f32> {
        let c = self.channels;
        let mut y = vec![0.0; x.len()];
        for expert in 0..sent.start.len() - 1 {
            let (mine, mut buffer) = (sent.of(expert), vec![0.0; places * c]);
            for (i, place) in mine.iter().zip(buffer.chunks_exact_mut(c)) {
                let row = all.token[*i as usize] as usize * c;
                place.copy_from_slice(&x[row..row + c]);
            }
            let [_, outputs] = self.one(expert, &buffer, places);
            for (i, o) in mine.iter().zip(outputs.chunks_exact(c)) {
                let (row, gate) = (all.token[*i as usize] as usize * c, all.gate[*i as usize]);
                y[row..row + c].iter_mut().zip(o).for_each(|(y, o)| *y += gate * o);
            }
        }
        y
    }

    /// The way back of [`Experts::sorted`]: from `dy` `[N, C]` to gradients of both matrices (into slices as large), which are added
    /// to `dx`; and of each gate, 0 where the assignment was dropped.
    pub fn back(
        &self,
        (all, sent, trace): (&Assignments, &Dispatch, &Trace),
        dy: &[f32],
        dx: &mut [f32],
        (up, down): (&mut [f32], &mut [f32]),
    ) -> Vec<f32> {
        let (c, f) = (self.channels, self.hidden);
        let mut gates = vec![0.0; all.len()];
        let mut at = 0;
        for expert in 0..sent.start.len() - 1 {
            let (mine, each) = (sent.of(expert), expert * f * c..(expert + 1) * f * c);
            let n = mine.len();
            if n == 0 {
                continue;
            }
            let outputs = &trace.outputs[at * c..(at + n) * c];
            let mut delta = Vec::with_capacity(n * c);
            for (i, o) in mine.iter().zip(outputs.chunks_exact(c)) {
                let (row, gate) = (all.token[*i as usize] as usize * c, all.gate[*i as usize]);
                let dy = &dy[row..row + c];
                gates[*i as usize] = dy.iter().zip(o).map(|(d, o)| d * o).sum();
                delta.extend(dy.iter().map(|d| gate * d));
            }
            let (x, hidden) = (&trace.inputs[at * c..(at + n) * c], &trace.hidden[at * f..(at + n) * f]);
            let out = View::new(&delta, n, c);
            down[each.clone()].copy_from_slice(&product(View::new(hidden, n, f).transposed(), out));
            let mut inner = product(out, self.matrix(self.down, expert).transposed());
            inner.iter_mut().zip(hidden).for_each(|(d, h)| *d = if *h > 0.0 { *d } else { 0.0 });
            let inner = View::new(&inner, n, f);
            up[each].copy_from_slice(&product(inner.transposed(), View::new(x, n, c)));
            let back = product(inner, self.matrix(self.up, expert));
            for (i, d) in mine.iter().zip(back.chunks_exact(c)) {
                let row = all.token[*i as usize] as usize * c;
                dx[row..row + c].iter_mut().zip(d).for_each(|(x, d)| *x += d);
            }
            at += n;
        }
        gates
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::moe::{Gate, capacity, dispatch, softmax, token_choice};

    const C: usize = 5;
    const F: usize = 7;

    fn draw(count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn near(a: &[f32], b: &[f32]) {
        assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
    }

    #[test]
    fn all_three_ways_agree() {
        let mut rng = lab_kernels::rng(0, "experts");
        for (n, experts, k) in [(1, 1, 1), (13, 4, 1), (3, 8, 2), (40, 6, 6)] {
            let (up, down) = (draw(experts * F * C, &mut rng), draw(experts * F * C, &mut rng));
            let all = Experts { channels: C, hidden: F, up: &up, down: &down };
            let (x, p) = (draw(n * C, &mut rng), softmax(&draw(n * experts, &mut rng), experts));
            let chosen = token_choice(&p, experts, k, &[], Gate::Renormalized);
            let sent = dispatch(&chosen.expert, experts, None);
            let masked = all.masked(&x, experts, &chosen);
            near(&masked, &all.sorted(&x, &chosen, &sent).0);
            near(&masked, &all.padded(&x, &chosen, &sent, n));
            if experts == 1 {
                near(&masked, &all.dense(&x));
            }
        }
    }

    #[test]
    fn equal_experts_are_one_dense_layer() {
        let mut rng = lab_kernels::rng(1, "experts");
        let (up, down, x) = (draw(F * C, &mut rng), draw(F * C, &mut rng), draw(9 * C, &mut rng));
        let dense = Experts { channels: C, hidden: F, up: &up, down: &down }.dense(&x);
        let (up, down) = (up.repeat(4), down.repeat(4));
        let copies = Experts { channels: C, hidden: F, up: &up, down: &down };
        let chosen = token_choice(&softmax(&draw(36, &mut rng), 4), 4, 2, &[], Gate::Renormalized);
        near(&dense, &copies.sorted(&x, &chosen, &dispatch(&chosen.expert, 4, None)).0);
    }

    #[test]
    fn permuted_tokens_are_permuted_outputs_but_for_capacity_and_earlier_tokens_come_first() {
        let mut rng = lab_kernels::rng(2, "experts");
        let (up, down) = (draw(3 * F * C, &mut rng), draw(3 * F * C, &mut rng));
        let all = Experts { channels: C, hidden: F, up: &up, down: &down };
        let (x, z) = (draw(20 * C, &mut rng), draw(20 * 3, &mut rng));
        let turn = |x: &[f32], width: usize| x.chunks_exact(width).rev().flatten().copied().collect::<Vec<f32>>();
        let run = |x: &[f32], z: &[f32], factor: Option<f64>| {
            let chosen = token_choice(&softmax(z, 3), 3, 1, &[], Gate::Probability);
            let places = factor.map(|factor| capacity(chosen.len(), 3, factor));
            all.sorted(x, &chosen, &dispatch(&chosen.expert, 3, places)).0
        };
        near(&turn(&run(&x, &z, None), C), &run(&turn(&x, C), &turn(&z, 3), None));
        let (one, other) = (turn(&run(&x, &z, Some(0.5)), C), run(&turn(&x, C), &turn(&z, 3), Some(0.5)));
        assert!(one.iter().zip(&other).any(|(a, b)| (a - b).abs() > 1e-3));
        // Another last token changes no earlier output, with places as many as before.
        let mut other = x.clone();
        other[19 * C..].iter_mut().for_each(|x| *x += 1.0);
        let mut swayed = z.clone();
        swayed[19 * 3..].copy_from_slice(&[9.0, 0.0, 0.0]);
        near(&run(&x, &z, Some(0.5))[..19 * C], &run(&other, &swayed, Some(0.5))[..19 * C]);
    }
}
