//! The book's networks as graphs, from their sizes.

use std::rc::Rc;

use lab_kernels::graph::{Binary, Reduce, Unary};

use super::{Graph, Id, Op, Recipe, Shape};
use crate::models::{CnnConfig, TransformerConfig};

/// Instead of -∞, as in [`attend`](crate::attention).
const HIDDEN: f32 = -1e9;

fn named(graph: &mut Graph, name: &str, shape: Shape, turned: bool) -> Id {
    graph.constant(shape, Recipe::Named { name: name.into(), turned }, true)
}

fn values(graph: &mut Graph, shape: Shape, values: Vec<f32>) -> Id {
    graph.constant(shape, Recipe::Values(Rc::from(values)), false)
}

/// The tables that every layer reads.
struct Tables {
    cosine: Id,
    sine: Id,
    swap: Id,
    mask: Option<Id>,
}

/// A language model on the way into a graph.
struct Importer<'a> {
    graph: Graph,
    config: &'a TransformerConfig,
    /// Tokens read at once, and those before them.
    tokens: usize,
    start: usize,
    tables: Tables,
}

impl<'a> Importer<'a> {
    fn new(config: &'a TransformerConfig, tokens: usize, start: usize) -> (Self, Id) {
        let mut graph = Graph::default();
        let ids = graph.add(Op::Input, &[], [1, 1, 1, tokens]);
        let embedding =
            named(&mut graph, "model.embed_tokens.weight", [1, 1, config.vocabulary, config.channels], false);
        let x = graph.add(Op::Gather, &[embedding, ids], [1, 1, tokens, config.channels]);
        let (positions, width) = (config.context, config.head_channels());
        let half = width / 2;
        let angle = |i: usize| {
            let exponent = 2.0 * (i % width % half) as f64 / width as f64;
            (i / width) as f64 / config.rope_base.powf(exponent)
        };
        let mut table = |of: fn(f64) -> f64| {
            let all = (0..positions * width).map(|i| of(angle(i)) as f32).collect();
            values(&mut graph, [1, 1, positions, width], all)
        };
        let (cosine, sine) = (table(f64::cos), table(f64::sin));
        let mut swap = vec![0.0; width * width];
        for i in 0..half {
            swap[(i + half) * width + i] = -1.0;
            swap[i * width + i + half] = 1.0;
        }
        let swap = values(&mut graph, [1, 1, width, width], swap);
        let seen = start + tokens;
        let mask = (tokens > 1).then(|| {
            let hidden = |i: usize| if i % seen > start + i / seen { HIDDEN } else { 0.0 };
            values(&mut graph, [1, 1, tokens, seen], (0..tokens * seen).map(hidden).collect())
        });
        (Self { graph, config, tokens, start, tables: Tables { cosine, sine, swap, mask } }, x)
    }

    /// RMSNorm: six operations.
    fn norm(&mut self, x: Id, name: &str) -> Id {
        let g = &mut self.graph;
        let square = g.unary(Unary::Square, x);
        let mean = g.reduce(Reduce::Mean, square);
        let shifted = g.unary(Unary::Offset(self.config.norm_epsilon as f32), mean);
        let root = g.unary(Unary::Rsqrt, shifted);
        let normed = g.binary(Binary::Multiply, x, root);
        let gamma = named(g, name, [1, 1, 1, self.config.channels], false);
        g.binary(Binary::Multiply, normed, gamma)
    }

    fn linear(&mut self, x: Id, name: &str, outputs: usize) -> Id {
        let inputs = self.graph.shape(x)[3];
        let weight = named(&mut self.graph, name, [1, 1, inputs, outputs], true);
        self.graph.product(x, weight)
    }

    /// Rotary positions: a product that swaps halves, and three operations.
    fn turn(&mut self, x: Id) -> Id {
        let (g, t) = (&mut self.graph, &self.tables);
        let cosine = g.slice(t.cosine, 2, self.start, self.tokens);
        let sine = g.slice(t.sine, 2, self.start, self.tokens);
        let swapped = g.product(x, t.swap);
        let one = g.binary(Binary::Multiply, x, cosine);
        let other = g.binary(Binary::Multiply, swapped, sine);
        g.binary(Binary::Add, one, other)
    }

    /// Scores, their softmax, and what they mix; `q` is `[1, K, rows, D]`, `k` and `v` `[1, K, S, D]`.
    fn attend(&mut self, q: Id, k: Id, v: Id) -> Id {
        let g = &mut self.graph;
        let ([_, heads, rows, _], [_, _, seen, _]) = (g.shape(q), g.shape(k));
        let k = g.transpose(k, [0, 1, 3, 2]);
        let mut scores = g.product(q, k);
        scores = g.reshape(scores, [1, heads * rows / self.tokens, self.tokens, seen]);
        if let Some(mask) = self.tables.mask {
            scores = g.binary(Binary::Add, scores, mask);
        }
        let largest = g.reduce(Reduce::Largest, scores);
        let below = g.binary(Binary::Subtract, scores, largest);
        let powers = g.unary(Unary::Exp, below);
        let sum = g.reduce(Reduce::Sum, powers);
        let weights = g.binary(Binary::Divide, powers, sum);
        let weights = g.reshape(weights, [1, heads, rows, seen]);
        g.product(weights, v)
    }

    fn heads(&mut self, x: Id, heads: usize) -> Id {
        let split = self.graph.reshape(x, [1, self.tokens, heads, self.config.head_channels()]);
        self.graph.transpose(split, [0, 2, 1, 3])
    }

    fn keep(&mut self, new: Id) -> Id {
        let (g, c) = (&mut self.graph, self.config);
        let state = g.add(Op::State, &[], [1, c.key_value_heads, c.context, c.head_channels()]);
        let shape = g.shape(state);
        let written = g.add(Op::Write { at: self.start }, &[state, new], shape);
        g.slice(written, 2, 0, self.start + self.tokens)
    }

    fn layer(&mut self, mut x: Id, layer: usize, cached: bool) -> Id {
        let c = self.config;
        let (t, d) = (self.tokens, c.head_channels());
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        let input = self.norm(x, &name("input_layernorm"));
        let q = self.linear(input, &name("self_attn.q_proj"), c.channels);
        let k = self.linear(input, &name("self_attn.k_proj"), c.key_value_heads * d);
        let v = self.linear(input, &name("self_attn.v_proj"), c.key_value_heads * d);
        let [q, k, mut v] =
            [(q, c.heads), (k, c.key_value_heads), (v, c.key_value_heads)].map(|(x, n)| self.heads(x, n));
        let q = self.turn(q);
        let mut k = self.turn(k);
        if cached {
            (k, v) = (self.keep(k), self.keep(v));
        }
        let q = self.graph.unary(Unary::Scale((d as f32).sqrt().recip()), q);
        let q = self.graph.reshape(q, [1, c.key_value_heads, c.heads / c.key_value_heads * t, d]);
        let y = self.attend(q, k, v);
        let g = &mut self.graph;
        let y = g.reshape(y, [1, c.heads, t, d]);
        let mut y = g.transpose(y, [0, 2, 1, 3]);
        if t > 1 {
            y = g.unary(Unary::Copy, y);
        }
        let y = g.reshape(y, [1, 1, t, c.channels]);
        let y = self.linear(y, &name("self_attn.o_proj"), c.channels);
        x = self.graph.binary(Binary::Add, x, y);
        let input = self.norm(x, &name("post_attention_layernorm"));
        let gate = self.linear(input, &name("mlp.gate_proj"), c.feed_forward);
        let up = self.linear(input, &name("mlp.up_proj"), c.feed_forward);
        let g = &mut self.graph;
        let share = g.unary(Unary::Sigmoid, gate);
        let gate = g.binary(Binary::Multiply, gate, share);
        let inner = g.binary(Binary::Multiply, gate, up);
        let down = self.linear(inner, &name("mlp.down_proj"), c.channels);
        self.graph.binary(Binary::Add, x, down)
    }

    fn finish(mut self, mut x: Id, cached: bool) -> Graph {
        let c = self.config;
        for layer in 0..c.layers {
            x = self.layer(x, layer, cached);
        }
        let x = self.norm(x, "model.norm.weight");
        let logits = self.linear(x, "lm_head.weight", c.vocabulary);
        let last = if self.tokens > 1 { self.graph.slice(logits, 2, self.tokens - 1, 1) } else { logits };
        self.graph.outputs.push(last);
        self.graph
    }
}

/// Reads so many tokens at once, and asks for the logits after the last: `[1, 1, 1, V]`. The output layer is a matrix of its own.
#[must_use]
pub fn prefill(config: &TransformerConfig, tokens: usize) -> Graph {
    let (importer, x) = Importer::new(config, tokens, 0);
    importer.finish(x, false)
}

/// Reads one token more, whose keys and values join those of `past` tokens in the states.
#[must_use]
pub fn decode(config: &TransformerConfig, past: usize) -> Graph {
    let (importer, x) = Importer::new(config, 1, past);
    importer.finish(x, true)
}

/// The first layer's attention with a product for each head, head after head, as a naive importer writes it.
#[must_use]
pub fn heads(config: &TransformerConfig, tokens: usize) -> Graph {
    let (mut importer, x) = Importer::new(config, tokens, 0);
    let (d, shared) = (config.head_channels(), config.heads / config.key_value_heads);
    let input = importer.norm(x, "model.layers.0.input_layernorm.weight");
    let part = |importer: &mut Importer, kind: &str, head: usize| {
        importer.linear(input, &format!("model.layers.0.self_attn.{kind}_proj.weight/{head}"), d)
    };
    let (mut keys, mut all) = (Vec::new(), Vec::new());
    for head in 0..config.heads {
        if head % shared == 0 {
            let k = part(&mut importer, "k", head / shared);
            let k = importer.turn(k);
            keys.push((k, part(&mut importer, "v", head / shared)));
        }
        let q = part(&mut importer, "q", head);
        let q = importer.turn(q);
        let q = importer.graph.unary(Unary::Scale((d as f32).sqrt().recip()), q);
        let (k, v) = keys[head / shared];
        all.push(importer.attend(q, k, v));
    }
    let joined = importer.graph.add(Op::Concat, &all, [1, 1, tokens, config.channels]);
    let y = importer.linear(joined, "model.layers.0.self_attn.o_proj.weight", config.channels);
    let y = importer.graph.binary(Binary::Add, x, y);
    importer.graph.outputs.push(y);
    importer.graph
}

/// Images `[B, 1, side, side]` to logits `[1, 1, B, classes]`.
#[must_use]
pub fn cnn(config: &CnnConfig, batch: usize) -> Graph {
    let mut g = Graph::default();
    let mut x = g.add(Op::Input, &[], [batch, 1, config.side, config.side]);
    let mut inputs = 1;
    for (i, outputs) in config.channels.iter().copied().enumerate() {
        let side = config.side >> i;
        let weight = named(&mut g, &format!("conv.{i}.weight"), [1, 1, outputs, 9 * inputs], false);
        x = g.add(Op::Convolution, &[x, weight], [batch, outputs, side, side]);
        let bias = named(&mut g, &format!("conv.{i}.bias"), [1, outputs, 1, 1], false);
        x = g.binary(Binary::Add, x, bias);
        x = g.unary(Unary::Relu, x);
        x = g.add(Op::Pool, &[x], [batch, outputs, side / 2, side / 2]);
        inputs = outputs;
    }
    let features = g.numbers(x) / batch.max(1);
    let x = g.reshape(x, [1, 1, batch, features]);
    let y = dense(&mut g, x, "head", config.classes);
    g.outputs.push(y);
    g
}

/// Rows `[1, 1, B, first width]` through layers with ReLU between them, named `layers.0`, `layers.1` and so on.
#[must_use]
pub fn mlp(widths: &[usize], batch: usize) -> Graph {
    let mut g = Graph::default();
    let mut x = g.add(Op::Input, &[], [1, 1, batch, widths.first().copied().unwrap_or(1)]);
    for (i, outputs) in widths.iter().enumerate().skip(1) {
        x = dense(&mut g, x, &format!("layers.{}", i - 1), *outputs);
        if i + 1 < widths.len() {
            x = g.unary(Unary::Relu, x);
        }
    }
    g.outputs.push(x);
    g
}

fn dense(g: &mut Graph, x: Id, name: &str, outputs: usize) -> Id {
    let inputs = g.shape(x)[3];
    let weight = named(g, &format!("{name}.weight"), [1, 1, inputs, outputs], true);
    let y = g.product(x, weight);
    let bias = named(g, &format!("{name}.bias"), [1, 1, 1, outputs], false);
    g.binary(Binary::Add, y, bias)
}
