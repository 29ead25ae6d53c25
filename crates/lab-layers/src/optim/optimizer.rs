//! One rule for all tensors of a network, whose weights lie one after the other.

use super::{
    Adafactor, Adam, Codes, EightBit, Packed, Soap, Sophia, adafactor, adamw, lion, momentum, muon, sgd, sign,
};

/// What a tensor is for: some rules are for hidden matrices only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A matrix between hidden layers.
    Hidden,
    /// The matrix of embeddings, or the one that gives logits.
    Edge,
    /// Biases and the like.
    Vector,
}

/// A tensor of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Rows.
    pub rows: usize,
    /// Columns; 1 for a vector.
    pub columns: usize,
    /// What it is for.
    pub role: Role,
}

impl Part {
    /// Numbers in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a gradient does to the weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Rate times gradient.
    Sgd,
    /// The sign of the gradient.
    Sign,
    /// Heavy ball.
    Momentum {
        /// Share of the momentum that a step keeps.
        keep: f64,
        /// Looks one gradient ahead.
        nesterov: bool,
    },
    /// AdamW.
    Adam(Adam),
    /// AdamW in eight bits. Vectors, edges where so told, and tensors below 4,096 numbers stay in 32.
    EightBit(EightBit),
    /// Adafactor without momentum.
    Adafactor(Adafactor),
    /// Lion with its two decays.
    Lion(f64, f64),
    /// Sophia; its curvature is fed by [`Optimizer::curvature`].
    Sophia(Sophia),
    /// Muon for hidden matrices with this share of momentum, AdamW for the rest.
    Muon(f64),
    /// SOAP for matrices of up to 512 rows and columns, its basis refined once in so many steps; AdamW for the rest.
    Soap(u32),
}

/// How weights are pulled to zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decay {
    /// Beside the rule: each step takes away this times the rate.
    Decoupled(f64),
    /// Within the gradient, as the derivative of a penalty.
    Penalty(f64),
}

/// Tensors below this stay in 32 bits.
const SMALL: usize = 4096;
/// Largest side of a matrix that SOAP turns.
const LARGEST: usize = 512;

/// What is remembered of a tensor.
#[derive(Debug, Clone, Default)]
struct Memory {
    first: Vec<f32>,
    second: Vec<f32>,
    packed: Option<Packed>,
    soap: Option<Box<Soap>>,
}

/// A rule with all that it remembers.
#[derive(Debug, Clone)]
pub struct Optimizer {
    rule: Rule,
    decay: Decay,
    parts: Vec<Part>,
    memories: Vec<Memory>,
    codes: Option<Codes>,
    steps: u32,
}

impl Optimizer {
    /// One that remembers nothing yet.
    #[must_use]
    pub fn new(rule: Rule, decay: Decay, parts: &[Part]) -> Self {
        let codes = if let Rule::EightBit(set) = rule { Some(Codes::new(set.spacing)) } else { None };
        let memory = |part: &Part| {
            let (n, mut memory) = (part.len(), Memory::default());
            let [mut first, mut second] = [0, 0];
            match rule {
                Rule::Sgd | Rule::Sign => {}
                Rule::Momentum { .. } | Rule::Lion(..) => first = n,
                Rule::Adam(_) | Rule::Sophia(_) => [first, second] = [n, n],
                Rule::EightBit(set) => match &codes {
                    Some(codes) if part.role != Role::Vector && n >= SMALL => {
                        memory.packed = Some(Packed::new(n, set.block.max(1), codes));
                    }
                    _ => [first, second] = [n, n],
                },
                Rule::Adafactor(_) if part.role == Role::Vector => first = n,
                Rule::Adafactor(_) => [first, second] = [part.rows, part.columns],
                Rule::Muon(_) if part.role == Role::Hidden => first = n,
                Rule::Soap(_) if part.role != Role::Vector && part.rows.max(part.columns) <= LARGEST => {
                    memory.soap = Some(Box::new(Soap::new(part.rows, part.columns)));
                }
                Rule::Muon(_) | Rule::Soap(_) => [first, second] = [n, n],
            }
            (memory.first, memory.second) = (vec![0.0; first], vec![0.0; second]);
            memory
        };
        let memories = parts.iter().map(memory).collect();
        Self { rule, decay, parts: parts.to_vec(), memories, codes, steps: 0 }
    }

    /// Bytes that are held between steps, counted from the buffers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of = |memory: &Memory| {
            4 * (memory.first.capacity() + memory.second.capacity())
                + memory.packed.as_ref().map_or(0, Packed::bytes)
                + memory.soap.as_ref().map_or(0, |soap| soap.bytes())
        };
        self.memories.iter().map(of).sum()
    }

    /// Whether the rule wants the curvature before its next step: Sophia does at every tenth.
    #[must_use]
    pub fn wants_curvature(&self) -> bool {
        matches!(self.rule, Rule::Sophia(_)) && self.steps.is_multiple_of(10)
    }

    /// Takes in the mean gradient of a batch whose labels were drawn from the model's own answers.
    pub fn curvature(&mut self, gradient: &[f32], batch: usize) {
        let Rule::Sophia(set) = self.rule else { return };
        let mut at = 0;
        for (part, memory) in self.parts.iter().zip(&mut self.memories) {
            super::sophia_curvature(&mut memory.second, &gradient[at..at + part.len()], batch, &set);
            at += part.len();
        }
    }

    // ANCHOR: step
    /// One update of all tensors.
    pub fn step(&mut self, weights: &mut [f32], gradient: &[f32], rate: f64) {
        self.steps += 1;
        let (t, decay) = (self.steps, self.decay);
        let mut at = 0;
        for (part, memory) in self.parts.iter().zip(&mut self.memories) {
            let w = &mut weights[at..at + part.len()];
            let mut g = &gradient[at..at + part.len()];
            at += part.len();
            let penalized: Vec<f32>;
            match decay {
                Decay::Decoupled(decay) if decay > 0.0 => {
                    let keep = (1.0 - rate * decay) as f32;
                    w.iter_mut().for_each(|w| *w *= keep);
                }
                Decay::Penalty(decay) if decay > 0.0 => {
                    penalized = w.iter().zip(g).map(|(w, g)| g + decay as f32 * w).collect();
                    g = &penalized;
                }
                _ => {}
            }
            let Memory { first, second, packed, soap } = memory;
            match self.rule {
                Rule::Sgd => sgd(w, g, rate),
                Rule::Sign => sign(w, g, rate),
                Rule::Momentum { keep, nesterov } => momentum(w, g, first, rate, keep, nesterov),
                Rule::Lion(beta_1, beta_2) => lion(w, g, first, rate, (beta_1, beta_2)),
                Rule::Adam(set) => adamw(w, g, (first, second), t, rate, &set),
                Rule::Sophia(set) => super::sophia(w, g, (first, second), rate, &set),
                Rule::Adafactor(set) => adafactor(w, g, (first, second), t, rate, &set),
                Rule::Muon(keep) if part.role == Role::Hidden => {
                    muon(w, g, first, (part.rows, part.columns), rate, keep);
                }
                Rule::EightBit(set) => match (packed, &self.codes) {
                    (Some(packed), Some(codes)) => packed.step(w, g, t, rate, &set, codes),
                    _ => adamw(w, g, (first, second), t, rate, &set.adam),
                },
                Rule::Soap(every) => match soap {
                    Some(soap) => soap.step(w, g, t, rate, &Adam { beta_1: 0.95, ..Adam::W }, every),
                    None => adamw(w, g, (first, second), t, rate, &Adam::W),
                },
                Rule::Muon(_) => adamw(w, g, (first, second), t, rate, &Adam::W),
            }
        }
    }
    // ANCHOR_END: step
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::optim::codes::Spacing;

    const EIGHT: EightBit = EightBit { adam: Adam::W, spacing: Spacing::Dynamic, block: 256, never_zero: true };
    const RULES: [Rule; 11] = [
        Rule::Sgd,
        Rule::Sign,
        Rule::Momentum { keep: 0.9, nesterov: false },
        Rule::Momentum { keep: 0.9, nesterov: true },
        Rule::Adam(Adam::W),
        Rule::EightBit(EIGHT),
        Rule::Adafactor(Adafactor { clip: true, relative: false }),
        Rule::Lion(0.9, 0.99),
        Rule::Sophia(Sophia::G),
        Rule::Muon(0.95),
        Rule::Soap(10),
    ];

    fn part(rows: usize, columns: usize, role: Role) -> Part {
        Part { rows, columns, role }
    }

    #[test]
    fn bytes_are_those_of_the_formulas() {
        for (rows, columns) in [(1, 1), (7, 3), (192, 576)] {
            let n = rows * columns;
            let bytes = |rule, role| Optimizer::new(rule, Decay::Decoupled(0.0), &[part(rows, columns, role)]).bytes();
            let right = [0, 0, 4 * n, 4 * n, 8 * n, 0, 4 * (rows + columns), 4 * n, 8 * n, 4 * n];
            for (rule, right) in RULES.into_iter().zip(right) {
                let eight = if n < 4096 { 8 * n } else { 2 * n + 8 * n.div_ceil(256) };
                let right = if matches!(rule, Rule::EightBit(_)) { eight } else { right };
                assert_eq!(bytes(rule, Role::Hidden), right, "{rule:?} {rows} {columns}");
            }
            assert_eq!(bytes(Rule::Muon(0.9), Role::Edge), 8 * n);
        }
        let vector = [part(5, 1, Role::Vector)];
        let bytes = |rule| Optimizer::new(rule, Decay::Decoupled(0.0), &vector).bytes();
        assert_eq!((bytes(RULES[6]), bytes(RULES[9]), bytes(RULES[10])), (20, 40, 40));
    }

    /// A bowl of unlike steepness, and its gradient.
    fn bowl(w: &[f32]) -> (f64, Vec<f32>) {
        let steep = |i: usize| 0.1 + (i % 7) as f32;
        let loss = w.iter().enumerate().map(|(i, w)| f64::from(0.5 * steep(i) * (w - 1.0).powi(2))).sum();
        (loss, w.iter().enumerate().map(|(i, w)| steep(i) * (w - 1.0)).collect())
    }

    const PARTS: [Part; 3] = [
        Part { rows: 48, columns: 96, role: Role::Hidden },
        Part { rows: 48, columns: 1, role: Role::Vector },
        Part { rows: 10, columns: 48, role: Role::Edge },
    ];

    fn descended(rule: Rule, times: f32, steps: usize) -> (f64, f64, Vec<f32>) {
        let mut rng = lab_kernels::rng(0, "descent");
        let n = PARTS.iter().map(Part::len).sum();
        let mut w: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let before = bowl(&w).0;
        let mut optimizer = Optimizer::new(rule, Decay::Decoupled(0.0), &PARTS);
        for _ in 0..steps {
            // With the noise of a batch: SOAP divides directions that never have a gradient by next to nothing.
            let g: Vec<f32> = bowl(&w).1.iter().map(|g| times * (g + rng.random_range(-0.5..0.5))).collect();
            if optimizer.wants_curvature() {
                optimizer.curvature(&g, 1);
            }
            optimizer.step(&mut w, &g, 0.01);
        }
        (before, bowl(&w).0, w)
    }

    #[test]
    fn all_rules_go_down_and_some_do_not_see_the_scale_of_the_loss() {
        for rule in RULES {
            let (before, after, w) = descended(rule, 1.0, 60);
            assert!(after < 0.85 * before, "{rule:?}: {before} {after}");
            let (_, _, scaled) = descended(rule, 1024.0, 60);
            let gap = |(a, b): (&f32, &f32)| if b.is_finite() { (a - b).abs() } else { f32::INFINITY };
            let apart = w.iter().zip(&scaled).map(gap).fold(0.0, f32::max);
            let sees = matches!(rule, Rule::Sgd | Rule::Momentum { .. } | Rule::Sophia(_));
            assert_eq!(sees, apart > 0.01, "{rule:?}: {apart}");
        }
    }

    #[test]
    fn the_order_of_tensors_does_not_matter_and_a_copy_goes_on_bit_by_bit() {
        for rule in RULES {
            let (a, b) = (part(64, 80, Role::Hidden), part(9, 1, Role::Vector));
            let mut rng = lab_kernels::rng(1, "order");
            let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
            let (wa, wb) = (draw(a.len()), draw(b.len()));
            let gs: Vec<(Vec<f32>, Vec<f32>)> = (0..6).map(|_| (draw(a.len()), draw(b.len()))).collect();
            let (mut one, mut other) = ([wa.clone(), wb.clone()].concat(), [wb, wa].concat());
            let mut first = Optimizer::new(rule, Decay::Penalty(0.1), &[a, b]);
            let mut second = Optimizer::new(rule, Decay::Penalty(0.1), &[b, a]);
            let mut copy = None;
            for (i, (ga, gb)) in gs.iter().enumerate() {
                if i == 3 {
                    copy = Some((first.clone(), one.clone()));
                }
                first.step(&mut one, &[ga.clone(), gb.clone()].concat(), 0.01);
                second.step(&mut other, &[gb.clone(), ga.clone()].concat(), 0.01);
                if let Some((copy, w)) = &mut copy {
                    copy.step(w, &[ga.clone(), gb.clone()].concat(), 0.01);
                }
            }
            assert_eq!(one[..a.len()], other[b.len()..], "{rule:?}");
            assert_eq!(copy.map(|copy| copy.1), Some(one), "{rule:?}");
        }
    }

    #[test]
    fn decay_beside_the_rule_is_the_rates_share_and_a_penalty_is_no_decay_for_adam() {
        let after = |decay| {
            let mut w = vec![1.0];
            let mut optimizer = Optimizer::new(Rule::Adam(Adam::W), decay, &[part(1, 1, Role::Vector)]);
            for _ in 0..10 {
                optimizer.step(&mut w, &[0.0], 0.01);
            }
            w[0]
        };
        assert!((after(Decay::Decoupled(0.1)) - 0.999_f32.powi(10)).abs() < 1e-6);
        // Without another gradient, Adam makes full steps of a penalty however small it is.
        assert!((after(Decay::Penalty(0.1)) - 0.9).abs() < 1e-3, "{}", after(Decay::Penalty(0.1)));
    }
}
