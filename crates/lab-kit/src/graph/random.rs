//! Random graphs whose every result is a whole number that FP32 holds exactly, so that any correct rewriting gives the same bits.

use std::rc::Rc;

use lab_kernels::graph::{Binary, Reduce, Unary};
use rand::{Rng, RngCore};

use super::{Graph, Id, Op, Recipe, Shape, places};

/// Largest magnitude that sums may reach.
const LARGEST: f64 = 4_194_304.0;

struct Maker<'a> {
    graph: Graph,
    /// Of each node's numbers.
    most: Vec<f64>,
    rng: &'a mut dyn RngCore,
}

/// A graph of about `count` operations, and numbers for its inputs and its state. It has every kind of operation but convolutions,
/// means, roots and exponentials, whose results are no whole numbers.
pub fn random(rng: &mut dyn RngCore, count: usize) -> (Graph, Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let mut maker = Maker { graph: Graph::default(), most: Vec::new(), rng };
    let inputs = (0..maker.rng.random_range(1..3)).map(|_| maker.begin(Op::Input)).collect();
    let states = if maker.rng.random_bool(0.3) { vec![maker.begin(Op::State)] } else { Vec::new() };
    if !states.is_empty() {
        maker.write();
    }
    for _ in 0..count {
        maker.grow();
    }
    let last = maker.graph.nodes.len() - 1;
    maker.graph.outputs = vec![last];
    if maker.rng.random_bool(0.4) {
        let other = maker.any();
        maker.graph.outputs.push(other);
    }
    (maker.graph, inputs, states)
}

impl Maker<'_> {
    fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.rng.random_range(-4..=4) as f32).collect()
    }

    fn begin(&mut self, op: Op) -> Vec<f32> {
        let mut size = |most: usize| self.rng.random_range(1..=most);
        let shape = if op == Op::State { [1, 2, 6, size(5)] } else { [size(2), size(3), size(6), size(7)] };
        self.graph.add(op, &[], shape);
        self.most.push(4.0);
        self.numbers(shape.iter().product())
    }

    /// Writes into the state that was made last.
    fn write(&mut self) {
        let state = self.graph.nodes.len() - 1;
        let [_, heads, rows, width] = self.graph.shape(state);
        let new = self.constant([1, heads, 2, width], false);
        let at = self.rng.random_range(0..rows - 1);
        self.graph.add(Op::Write { at }, &[state, new], [1, heads, rows, width]);
        self.most.push(4.0);
    }

    fn constant(&mut self, shape: Shape, learned: bool) -> Id {
        let values = self.numbers(shape.iter().product());
        self.most.push(4.0);
        self.graph.constant(shape, Recipe::Values(Rc::from(values)), learned)
    }

    /// A node that may be read: not a state.
    fn any(&mut self) -> Id {
        loop {
            let id = self.rng.random_range(0..self.graph.nodes.len());
            if self.graph.nodes[id].op != Op::State {
                return id;
            }
        }
    }

    fn push(&mut self, op: Op, inputs: &[Id], shape: Shape, most: f64) {
        if most > LARGEST || shape.contains(&0) || shape.iter().product::<usize>() > 512 {
            return;
        }
        self.graph.add(op, inputs, shape);
        if places(&self.graph).is_err() {
            self.graph.nodes.pop();
        } else {
            self.most.push(most);
        }
    }

    fn grow(&mut self) {
        let x = self.any();
        let (shape, most) = (self.graph.shape(x), self.most[x]);
        let [a, b, c, d] = shape;
        match self.rng.random_range(0..12) {
            0 => {
                let (op, most) = [
                    (Unary::Relu, most),
                    (Unary::Square, most * most),
                    (Unary::Scale(2.0), 2.0 * most),
                    (Unary::Offset(1.0), most + 1.0),
                    (Unary::Copy, most),
                ][self.rng.random_range(0..5)];
                self.push(Op::Unary(op), &[x], shape, most);
            }
            1..=4 => {
                // Another that fits, or itself.
                let tried: Vec<Id> = (0..20).map(|_| self.any()).collect();
                let fits =
                    |y: &Id| self.graph.shape(*y).into_iter().zip(shape).all(|(a, b)| a == b || a == 1 || b == 1);
                let y = tried.into_iter().find(fits).unwrap_or(x);
                let (op, most) = [
                    (Binary::Add, most + self.most[y]),
                    (Binary::Subtract, most + self.most[y]),
                    (Binary::Multiply, most * self.most[y]),
                ][self.rng.random_range(0..3)];
                let other = self.graph.shape(y);
                self.push(Op::Binary(op), &[x, y], std::array::from_fn(|i| shape[i].max(other[i])), most);
            }
            5 => {
                let (op, most) = [(Reduce::Sum, most * d as f64), (Reduce::Largest, most)][self.rng.random_range(0..2)];
                self.push(Op::Reduce(op), &[x], [a, b, c, 1], most);
            }
            6 | 7 => {
                let columns = self.rng.random_range(1..6);
                let learned = self.rng.random_bool(0.7);
                // A gain before the product, for the pass that folds it.
                let mut left = x;
                if self.rng.random_bool(0.4) {
                    let gain = self.constant([1, 1, 1, d], true);
                    let before = self.graph.nodes.len();
                    self.push(Op::Binary(Binary::Multiply), &[x, gain], shape, 4.0 * most);
                    left = if self.graph.nodes.len() > before { before } else { x };
                }
                for _ in 0..self.rng.random_range(1..3) {
                    let weight = self.constant([1, 1, d, columns], learned);
                    self.push(Op::Product, &[left, weight], [a, b, c, columns], 4.0 * self.most[left] * d as f64);
                }
            }
            8 => {
                let turned = self.graph.transpose(x, [0, 1, 3, 2]);
                self.most.push(most);
                self.push(Op::Product, &[x, turned], [a, b, c, c], most * most * d as f64);
            }
            9 => {
                let axes = [[0, 2, 1, 3], [1, 0, 3, 2], [3, 1, 2, 0], [0, 1, 3, 2]][self.rng.random_range(0..4)];
                self.push(Op::Transpose(axes), &[x], axes.map(|axis| shape[axis]), most);
            }
            10 => {
                let axis = self.rng.random_range(0..4);
                let start = self.rng.random_range(0..shape[axis]);
                let mut part = shape;
                part[axis] = self.rng.random_range(1..=shape[axis] - start);
                self.push(Op::Slice { axis, start }, &[x], part, most);
            }
            _ => match self.rng.random_range(0..3) {
                0 => self.push(Op::Reshape, &[x], [1, a, b * c, d], most),
                1 => self.push(Op::Pool, &[x], [a, b, c / 2, d / 2], most),
                _ => self.push(Op::Concat, &[x, x], [a, b, c, 2 * d], most),
            },
        }
    }
}
