//! A network of one mixture: two embeddings side by side, a residual layer of experts, the logits of what comes next. With one expert
//! and no router it is a dense network.

use lab_kernels::product::{View, product};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{
    Assignments, Dispatch, Experts, Gate, capacity, dispatch, expert_choice, gate_slopes, load, nudge, routing,
    sigmoid, softmax, token_choice,
};
use crate::optim::{Part, Role};

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Router {
    /// Nobody: the one expert takes every token.
    Dense,
    /// A matrix that learns.
    Learned,
    /// A matrix that stays as it was drawn.
    Frozen,
    /// A hash of the last token alone, or of both.
    Hash {
        /// Of both.
        both: bool,
    },
    /// A matrix that learns, by which experts choose tokens.
    ExpertChoice,
}

/// Shapes of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Tokens that there are.
    pub vocabulary: usize,
    /// Numbers of an embedding; a token of the layer has twice as many.
    pub embedding: usize,
    /// Answers that there are.
    pub outputs: usize,
    /// Hidden units of one expert.
    pub hidden: usize,
    /// Experts that are chosen from.
    pub experts: usize,
    /// Hidden units of what every token passes besides.
    pub shared: usize,
    /// Who decides.
    pub router: Router,
    /// Embeddings that do not learn, `[vocabulary, embedding]`; none where they do.
    pub frozen: Vec<f32>,
    /// The matrix of [`Router::Frozen`], `[E, C]`.
    pub drawn: Vec<f32>,
}

/// How it routes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Experts of a token.
    pub k: usize,
    /// What their outputs are multiplied by.
    pub gate: Gate,
    /// Places of an expert, times the mean load; none: no limit.
    pub capacity: Option<f64>,
    /// Weight of the auxiliary loss.
    pub auxiliary: f32,
    /// Weight of the z-loss.
    pub z: f32,
    /// How fast the bias moves after each step; 0: not at all.
    pub bias_rate: f32,
}

/// What one pass led to.
#[derive(Debug, Clone, Default)]
pub struct Pass {
    /// `-ln p` of each right answer.
    pub losses: Vec<f64>,
    /// Whether the right answer was the likeliest.
    pub right: Vec<bool>,
    /// Gradient of the mean loss, with what balancing adds.
    pub gradient: Vec<f32>,
    /// Who went where, whether there was a place or not.
    pub sent: Assignments,
    /// Assignments without a place.
    pub dropped: usize,
}

impl Pass {
    /// Mean loss.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len().max(1) as f64
    }
}

/// Numbers of the tensors.
const TENSORS: usize = 8;

impl Network {
    /// Numbers of a token in the layer.
    #[must_use]
    pub fn channels(&self) -> usize {
        2 * self.embedding
    }

    fn learns_routing(&self) -> bool {
        matches!(self.router, Router::Learned | Router::ExpertChoice)
    }

    /// Its tensors, in the order in which weights and gradients lie: router, the shared network, the experts, head, bias, embedding.
    #[must_use]
    pub fn parts(&self) -> [Part; TENSORS] {
        let c = self.channels();
        let part = |rows: usize, columns, role| Part { rows, columns, role };
        [
            part(if self.learns_routing() { self.experts } else { 0 }, c, Role::Edge),
            part(self.shared, c, Role::Hidden),
            part(self.shared, c, Role::Hidden),
            part(self.experts * self.hidden, c, Role::Hidden),
            part(self.experts * self.hidden, c, Role::Hidden),
            part(self.outputs, c, Role::Edge),
            part(self.outputs, 1, Role::Vector),
            part(if self.frozen.is_empty() { self.vocabulary } else { 0 }, self.embedding, Role::Edge),
        ]
    }

    fn starts(&self) -> [usize; TENSORS + 1] {
        let mut starts = [0; TENSORS + 1];
        for (i, part) in self.parts().iter().enumerate() {
            starts[i + 1] = starts[i] + part.len();
        }
        starts
    }

    /// Weights of the layer of experts, its router included.
    #[must_use]
    pub fn layer_weights(&self) -> usize {
        self.starts()[5] + self.drawn.len()
    }

    /// Multiplications with additions that the layer does for a token with `k` experts.
    #[must_use]
    pub fn layer_products(&self, k: usize) -> usize {
        let routing = if self.learns_routing() { self.experts * self.channels() } else { self.drawn.len() };
        routing + 2 * self.channels() * (self.shared + k * self.hidden)
    }

    /// Fresh weights that keep the size of what passes; logits of the router begin with a deviation of `router_start`.
    #[must_use]
    pub fn init(&self, router_start: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let root = |x: f64| x.sqrt() as f32;
        let (inputs, hidden) = (self.channels() as f64, (self.hidden + self.shared).max(1) as f64);
        let bounds = [
            router_start as f32 * root(3.0 / inputs),
            root(6.0 / inputs),
            root(3.0 / hidden),
            root(6.0 / inputs),
            root(3.0 / hidden),
            root(1.0 / inputs),
            0.0,
            0.3,
        ];
        let mut weights = Vec::with_capacity(self.starts()[TENSORS]);
        for (part, bound) in self.parts().iter().zip(bounds) {
            weights.extend((0..part.len()).map(|_| if bound > 0.0 { rng.random_range(-bound..bound) } else { 0.0 }));
        }
        weights
    }

    /// Scores of the router, `[N, E]`: logits, and what choices are made by.
    fn scores(&self, weights: &[f32], x: &[f32], rules: &Rules, noise: &[f32]) -> [Vec<f32>; 2] {
        let (c, e) = (self.channels(), self.experts);
        let matrix = if self.learns_routing() { weights } else { &self.drawn };
        let mut logits = product(View::new(x, x.len() / c, c), View::new(matrix, e, c).transposed());
        logits.iter_mut().zip(noise).for_each(|(z, more)| *z += more);
        let scores = if rules.gate == Gate::Sigmoid { sigmoid(&logits) } else { softmax(&logits, e) };
        [logits, scores]
    }

    fn choose(&self, scores: &[f32], before: &[[u32; 2]], rules: &Rules, bias: &[f32]) -> Assignments {
        let (e, k) = (self.experts, rules.k.min(self.experts).max(1));
        let places = capacity(before.len() * k, e, rules.capacity.unwrap_or(1.0));
        match self.router {
            Router::Learned => token_choice(scores, e, k, bias, rules.gate),
            Router::Frozen => token_choice(scores, e, k, &[], Gate::Even),
            Router::ExpertChoice => expert_choice(scores, e, places),
            Router::Dense | Router::Hash { .. } => {
                let both = self.router == Router::Hash { both: true };
                let of = |pair: &[u32; 2]| if both { hash(pair[0]) ^ hash(!pair[1]) } else { hash(pair[1]) };
                let expert: Vec<u32> = before
                    .iter()
                    .flat_map(|pair| (0..k).map(move |i| ((hash(of(pair)) as usize + i) % e) as u32))
                    .collect();
                let token = (0..expert.len()).map(|i| (i / k) as u32).collect();
                Assignments { token, gate: vec![1.0 / k as f32; expert.len()], expert }
            }
        }
    }

    // ANCHOR: pass
    /// Losses, routing, and where `learn` the gradient. `bias` sways the choice; `noise` `[N, E]` is added to the router's logits.
    #[must_use]
    pub fn pass(
        &self,
        weights: &[f32],
        (before, next): (&[[u32; 2]], &[u32]),
        rules: &Rules,
        (bias, noise): (&[f32], &[f32]),
        learn: bool,
    ) -> Pass {
        let (at, c, n) = (self.starts(), self.channels(), before.len());
        let part = |i: usize| &weights[at[i]..at[i + 1]];
        let table = if self.frozen.is_empty() { part(7) } else { &self.frozen };
        let row = |token: &u32| &table[*token as usize % self.vocabulary * self.embedding..][..self.embedding];
        let x: Vec<f32> = before.iter().flatten().flat_map(row).copied().collect();
        let routed = matches!(self.router, Router::Learned | Router::Frozen | Router::ExpertChoice);
        let [logits, scores] = if routed { self.scores(weights, &x, rules, noise) } else { Default::default() };
        let sent = self.choose(&scores, before, rules, bias);
        // Experts that choose have no more than they chose.
        let limit = rules.capacity.filter(|_| self.router != Router::ExpertChoice);
        let places = limit.map(|factor| capacity(sent.len(), self.experts, factor));
        let order = dispatch(&sent.expert, self.experts, places);
        let experts = Experts { channels: c, hidden: self.hidden, up: part(3), down: part(4) };
        let (mixed, trace) = experts.sorted(&x, &sent, &order);
        let mut y: Vec<f32> = x.iter().zip(&mixed).map(|(x, m)| x + m).collect();
        let shared = (self.shared > 0).then(|| {
            let all = Experts { channels: c, hidden: self.shared, up: part(1), down: part(2) };
            let (sent, order) = everybody(n);
            let (more, trace) = all.sorted(&x, &sent, &order);
            y.iter_mut().zip(more).for_each(|(y, more)| *y += more);
            (all, sent, order, trace)
        });
        let mut delta = product(View::new(&y, n, c), View::new(part(5), self.outputs, c).transposed());
        for row in delta.chunks_exact_mut(self.outputs) {
            row.iter_mut().zip(part(6)).for_each(|(z, b)| *z += b);
        }
        let (losses, right) = judge(&mut delta, next, self.outputs);
        let mut found = Pass { losses, right, dropped: order.dropped, ..Pass::default() };
        if learn {
            let mut gradient = vec![0.0; weights.len()];
            let view = View::new(&delta, n, self.outputs);
            gradient[at[5]..at[6]].copy_from_slice(&product(view.transposed(), View::new(&y, n, c)));
            for row in delta.chunks_exact(self.outputs) {
                gradient[at[6]..].iter_mut().zip(row).for_each(|(b, d)| *b += d);
            }
            let dy = product(view, View::new(part(5), self.outputs, c));
            let mut dx = dy.clone();
            let (head, tail) = gradient.split_at_mut(at[4]);
            let slopes = experts.back((&sent, &order, &trace), &dy, &mut dx, (&mut head[at[3]..], tail));
            if let Some((all, sent, order, trace)) = &shared {
                let (up, down) = head[at[1]..].split_at_mut(at[2] - at[1]);
                all.back((sent, order, trace), &dy, &mut dx, (up, down));
            }
            if self.learns_routing() {
                let mut dz = gate_slopes(&scores, self.experts, &sent, &slopes, rules.gate);
                self.balance(&mut dz, &logits, &sent, rules);
                let dz = View::new(&dz, n, self.experts);
                head[..at[1]].copy_from_slice(&product(dz.transposed(), View::new(&x, n, c)));
                let back = product(dz, View::new(part(0), self.experts, c));
                dx.iter_mut().zip(back).for_each(|(x, d)| *x += d);
            }
            if self.frozen.is_empty() {
                let e = self.embedding;
                for (token, d) in before.iter().flatten().zip(dx.chunks_exact(e)) {
                    let row = at[7] + *token as usize % self.vocabulary * e;
                    gradient[row..row + e].iter_mut().zip(d).for_each(|(g, d)| *g += d);
                }
            }
            found.gradient = gradient;
        }
        found.sent = sent;
        found
    }
    // ANCHOR_END: pass

    /// Adds the slopes of both losses of the router. Shares of the load are counted before any assignment is dropped, and carry no
    /// gradient.
    fn balance(&self, dz: &mut [f32], logits: &[f32], sent: &Assignments, rules: &Rules) {
        let e = self.experts;
        let n = (logits.len() / e.max(1)).max(1) as f32;
        let p = softmax(logits, e);
        let share = rules.auxiliary * e as f32 / (n * sent.len().max(1) as f32);
        let weight: Vec<f32> = load(e, &sent.expert).iter().map(|load| share * *load as f32).collect();
        let mut slopes: Vec<f32> = p.chunks_exact(e).flat_map(|p| p.iter().zip(&weight).map(|(p, w)| p * w)).collect();
        routing::through_softmax(&mut slopes, &p, e);
        dz.iter_mut().zip(slopes).for_each(|(d, more)| *d += more);
        if rules.z > 0.0 {
            for ((dz, z), p) in dz.chunks_exact_mut(e).zip(logits.chunks_exact(e)).zip(p.chunks_exact(e)) {
                let by = 2.0 * rules.z * routing::log_sum(z) / n;
                dz.iter_mut().zip(p).for_each(|(d, p)| *d += by * p);
            }
        }
    }

    /// Moves the bias by what a pass found, where the rules say so.
    pub fn settle(&self, bias: &mut [f32], pass: &Pass, rules: &Rules) {
        if rules.bias_rate > 0.0 {
            nudge(bias, &load(self.experts, &pass.sent.expert), rules.bias_rate);
        }
    }
}

/// All rows to one expert, with a gate of 1.
fn everybody(n: usize) -> (Assignments, Dispatch) {
    let order: Vec<u32> = (0..n as u32).collect();
    let sent = Assignments { token: order.clone(), expert: vec![0; n], gate: vec![1.0; n] };
    (sent, Dispatch { order, start: vec![0, n], dropped: 0 })
}

/// A number without pattern (the finalizer of MurmurHash3).
fn hash(token: u32) -> u32 {
    let mut x = token.wrapping_add(0x9e37_79b9);
    x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

/// Loss of each row of logits, which become the gradient of their mean; and whether each is right.
fn judge(logits: &mut [f32], next: &[u32], classes: usize) -> (Vec<f64>, Vec<bool>) {
    let share = 1.0 / next.len().max(1) as f32;
    let row = |(row, next): (&mut [f32], &u32)| {
        let wanted = *next as usize % classes;
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let own = row[wanted] - largest;
        row.iter_mut().for_each(|z| *z = (*z - largest).exp());
        let sum: f32 = row.iter().sum();
        let by = share / sum;
        row.iter_mut().for_each(|z| *z *= by);
        row[wanted] -= share;
        (f64::from(sum.ln() - own), own >= 0.0)
    };
    logits.chunks_exact_mut(classes.max(1)).zip(next).map(row).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moe::{balance_loss, z_loss};

    fn network(router: Router, shared: usize, frozen: bool) -> Network {
        let mut rng = lab_kernels::rng(3, "network");
        let mut draw = |count: usize| (0..count).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        let experts = if router == Router::Dense { 1 } else { 4 };
        Network {
            vocabulary: 11,
            embedding: 3,
            outputs: 5,
            hidden: 6,
            experts,
            shared,
            router,
            frozen: if frozen { draw(33) } else { Vec::new() },
            drawn: if router == Router::Frozen { draw(24) } else { Vec::new() },
        }
    }

    const RULES: Rules =
        Rules { k: 2, gate: Gate::Renormalized, capacity: None, auxiliary: 0.0, z: 0.0, bias_rate: 0.0 };

    fn examples() -> (Vec<[u32; 2]>, Vec<u32>) {
        let mut rng = lab_kernels::rng(4, "examples");
        (0..12).map(|_| ([rng.random_range(0..11), rng.random_range(0..11)], rng.random_range(0..5))).unzip()
    }

    #[test]
    fn gradients_of_all_routers_and_gates_agree_with_differences() {
        let (before, next) = examples();
        let cases = [
            (Router::Dense, RULES, 0, false),
            (Router::Learned, RULES, 0, false),
            (Router::Learned, Rules { k: 1, gate: Gate::Probability, ..RULES }, 4, true),
            (Router::Learned, Rules { gate: Gate::Sigmoid, auxiliary: 0.3, z: 0.1, ..RULES }, 0, false),
            (Router::Learned, Rules { k: 1, gate: Gate::Sigmoid, capacity: Some(0.7), ..RULES }, 0, false),
            (Router::Learned, Rules { gate: Gate::Probability, auxiliary: 0.3, z: 0.1, ..RULES }, 0, true),
            (Router::Frozen, RULES, 0, true),
            (Router::Hash { both: false }, Rules { k: 1, ..RULES }, 2, false),
            (Router::ExpertChoice, Rules { gate: Gate::Probability, ..RULES }, 0, false),
        ];
        for (case, (router, rules, shared, frozen)) in cases.into_iter().enumerate() {
            let net = network(router, shared, frozen);
            let weights = net.init(1.0, &mut lab_kernels::rng(case as u64, "weights"));
            let data = (&before[..], &next[..]);
            let first = net.pass(&weights, data, &rules, (&[], &[]), true);
            // What the router is told besides, by the loads of the unmoved weights.
            let besides = |weights: &[f32]| {
                if !net.learns_routing() {
                    return 0.0;
                }
                let table = if frozen { &net.frozen[..] } else { &weights[net.starts()[7]..] };
                let x: Vec<f32> =
                    before.iter().flatten().flat_map(|t| &table[*t as usize * 3..][..3]).copied().collect();
                let [logits, _] = net.scores(weights, &x, &rules, &[]);
                let p = softmax(&logits, net.experts);
                f64::from(
                    rules.auxiliary * balance_loss(&p, &first.sent.expert, net.experts)
                        + rules.z * z_loss(&logits, net.experts),
                )
            };
            let mut kinks = 0;
            for i in 0..weights.len() {
                let at = |by: f32| {
                    let mut moved = weights.clone();
                    moved[i] += by;
                    let pass = net.pass(&moved, data, &rules, (&[], &[]), false);
                    (pass.loss() + besides(&moved), pass.sent.expert == first.sent.expert)
                };
                let (up, down) = (at(2e-3), at(-2e-3));
                let slope = (up.0 - down.0) / 4e-3;
                let off = (slope - f64::from(first.gradient[i])).abs();
                // A choice that turns, or a unit that wakes within the step, is no slope.
                if off > 3e-3 || !(up.1 && down.1) {
                    kinks += 1;
                }
            }
            assert!(kinks * 25 < weights.len(), "{case}: {kinks} of {}", weights.len());
        }
    }

    #[test]
    fn one_expert_is_dense_and_a_copied_dense_network_answers_as_before() {
        let data = examples();
        let data = (&data.0[..], &data.1[..]);
        let dense = network(Router::Dense, 0, true);
        let weights = dense.init(1.0, &mut lab_kernels::rng(0, "weights"));
        let one = dense.pass(&weights, data, &RULES, (&[], &[]), false);
        // Upcycling: the same layer in every place, under a router that knows nothing.
        let many = Network { experts: 4, router: Router::Learned, ..dense.clone() };
        let (up, rest) = weights.split_at(36);
        let (down, head) = rest.split_at(36);
        let copied = [&[0.1_f32; 24][..], &up.repeat(4), &down.repeat(4), head].concat();
        assert_eq!(copied.len(), many.parts().iter().map(Part::len).sum::<usize>());
        let all = many.pass(&copied, data, &RULES, (&[], &[]), false);
        assert!(one.losses.iter().zip(&all.losses).all(|(a, b)| (a - b).abs() < 1e-5));
        // With a gate below 1 it does not.
        let gated = Rules { k: 1, gate: Gate::Probability, ..RULES };
        let all = many.pass(&copied, data, &gated, (&[], &[]), false);
        assert!(one.losses.iter().zip(&all.losses).any(|(a, b)| (a - b).abs() > 1e-2));
    }

    #[test]
    fn counts_are_those_of_the_formulas() {
        let net = network(Router::Learned, 4, false);
        assert_eq!(net.layer_weights(), 4 * 6 + 2 * 4 * 6 + 2 * 4 * 6 * 6);
        assert_eq!(net.layer_products(2), 24 + 2 * 6 * (4 + 12));
        assert_eq!(network(Router::Dense, 0, true).layer_products(1), 72);
        let (before, next) = examples();
        let cut = Rules { k: 1, capacity: Some(1.0), ..RULES };
        let weights = net.init(8.0, &mut lab_kernels::rng(1, "weights"));
        let pass = net.pass(&weights, (&before, &next), &cut, (&[9.0, 0.0, 0.0, 0.0], &[]), false);
        assert_eq!((pass.sent.expert, pass.dropped), (vec![0; 12], 9));
        let mut bias = vec![0.0; 4];
        let pass = net.pass(&weights, (&before, &next), &cut, (&[9.0, 0.0, 0.0, 0.0], &[]), false);
        net.settle(&mut bias, &pass, &Rules { bias_rate: 0.5, ..cut });
        assert_eq!(bias, [-0.5, 0.5, 0.5, 0.5]);
    }
}
