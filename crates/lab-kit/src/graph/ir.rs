//! The graph: operations in an order in which every one comes after its inputs, each result assigned once.

use std::rc::Rc;

use lab_kernels::graph::{Binary, Reduce, Unary};

/// Number of a node.
pub type Id = usize;
/// Four sizes; what has fewer begins with ones.
pub type Shape = [usize; 4];

// ANCHOR: op
/// What a node computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Given for each run.
    Input,
    /// Memory that outlives a run: a cache.
    State,
    /// Known before any run; its place in [`Graph::constants`].
    Constant(usize),
    /// Each number for itself.
    Unary(Unary),
    /// Two tensors, each number with its counterpart; sizes of 1 are repeated.
    Binary(Binary),
    /// The last axis becomes one number.
    Reduce(Reduce),
    /// The largest of each 2x2 square of the last two axes.
    Pool,
    /// `[.., M, K] · [.., K, N]`.
    Product,
    /// `[B, C, h, w]` with weights `[1, 1, O, 9 C]`: 3x3, padded with zeros to `[B, O, h, w]`.
    Convolution,
    /// Rows of a table `[1, 1, V, C]` by numbers `[1, 1, 1, T]`: `[1, 1, T, C]`.
    Gather,
    /// Side by side along the last axis.
    Concat,
    /// Overwrites rows of a state, from `at` on along axis 2; the result is the state.
    Write {
        /// The first row.
        at: usize,
    },
    /// A view: the same numbers in the same order.
    Reshape,
    /// A view with its axes in this order.
    Transpose([usize; 4]),
    /// A view of a part of an axis.
    Slice {
        /// Which axis.
        axis: usize,
        /// Its first element; the shape says how many.
        start: usize,
    },
}
// ANCHOR_END: op

impl Op {
    /// Whether nothing is computed or moved.
    #[must_use]
    pub fn is_view(&self) -> bool {
        matches!(self, Self::Reshape | Self::Transpose(_) | Self::Slice { .. })
    }

    /// Whether a kernel is launched for it.
    #[must_use]
    pub fn is_computed(&self) -> bool {
        !self.is_view() && !matches!(self, Self::Input | Self::State | Self::Constant(_))
    }

    /// Whether each number of the result depends on its counterparts alone.
    #[must_use]
    pub fn is_elementwise(&self) -> bool {
        matches!(self, Self::Unary(op) if *op != Unary::Copy) || matches!(self, Self::Binary(_))
    }

    /// Whether the inputs may be exchanged.
    #[must_use]
    pub fn is_commutative(&self) -> bool {
        matches!(self, Self::Binary(Binary::Add | Binary::Multiply))
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// With what; each number is below its own.
    pub inputs: Vec<Id>,
    /// Of its result.
    pub shape: Shape,
}

/// Where a constant's numbers come from: read, or made once before any run.
#[derive(Debug, Clone, PartialEq)]
pub enum Recipe {
    /// A weight of this name; `turned` where the file has `[outputs, inputs]`.
    Named {
        /// In the file.
        name: String,
        /// Whether it is transposed when it is read.
        turned: bool,
    },
    /// These.
    Values(Rc<[f32]>),
    /// Constant `of`, each row times a number of constant `by`.
    Rows {
        /// A matrix.
        of: usize,
        /// As many numbers as it has rows.
        by: usize,
    },
    /// Constant `of` times a number.
    Times {
        /// Which.
        of: usize,
        /// By what.
        by: f32,
    },
    /// Matrices side by side.
    Joined(Vec<usize>),
}

/// What is known before any run.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Its shape.
    pub shape: Shape,
    /// Its numbers.
    pub recipe: Recipe,
    /// A weight, rather than a table of the computation.
    pub learned: bool,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// In an order in which they may run.
    pub nodes: Vec<Node>,
    /// What is asked for.
    pub outputs: Vec<Id>,
    /// What is known before.
    pub constants: Vec<Constant>,
}

impl Graph {
    /// Adds a node.
    pub fn add(&mut self, op: Op, inputs: &[Id], shape: Shape) -> Id {
        self.nodes.push(Node { op, inputs: inputs.to_vec(), shape });
        self.nodes.len() - 1
    }

    /// Adds a constant that no node refers to yet.
    pub fn keep(&mut self, shape: Shape, recipe: Recipe, learned: bool) -> usize {
        self.constants.push(Constant { shape, recipe, learned });
        self.constants.len() - 1
    }

    /// Adds a constant and its node.
    pub fn constant(&mut self, shape: Shape, recipe: Recipe, learned: bool) -> Id {
        let constant = self.keep(shape, recipe, learned);
        self.add(Op::Constant(constant), &[], shape)
    }

    /// Shape of a node.
    #[must_use]
    pub fn shape(&self, id: Id) -> Shape {
        self.nodes[id].shape
    }

    /// Numbers in a node's result.
    #[must_use]
    pub fn numbers(&self, id: Id) -> usize {
        self.nodes[id].shape.iter().product()
    }

    /// `op(x)`.
    pub fn unary(&mut self, op: Unary, x: Id) -> Id {
        self.add(Op::Unary(op), &[x], self.shape(x))
    }

    /// `a op b`; sizes of 1 are repeated.
    pub fn binary(&mut self, op: Binary, a: Id, b: Id) -> Id {
        let (one, other) = (self.shape(a), self.shape(b));
        self.add(Op::Binary(op), &[a, b], std::array::from_fn(|i| one[i].max(other[i])))
    }

    /// One number a row.
    pub fn reduce(&mut self, op: Reduce, x: Id) -> Id {
        let [a, b, c, _] = self.shape(x);
        self.add(Op::Reduce(op), &[x], [a, b, c, 1])
    }

    /// `a · b`.
    pub fn product(&mut self, a: Id, b: Id) -> Id {
        let ([i, j, m, _], [.., n]) = (self.shape(a), self.shape(b));
        self.add(Op::Product, &[a, b], [i, j, m, n])
    }

    /// A view of this shape.
    pub fn reshape(&mut self, x: Id, shape: Shape) -> Id {
        self.add(Op::Reshape, &[x], shape)
    }

    /// A view with its axes in this order.
    pub fn transpose(&mut self, x: Id, axes: [usize; 4]) -> Id {
        let shape = self.shape(x);
        self.add(Op::Transpose(axes), &[x], axes.map(|axis| shape[axis]))
    }

    /// A view of `length` elements of an axis.
    pub fn slice(&mut self, x: Id, axis: usize, start: usize, length: usize) -> Id {
        let mut shape = self.shape(x);
        shape[axis] = length;
        self.add(Op::Slice { axis, start }, &[x], shape)
    }

    /// Who reads each node.
    #[must_use]
    pub fn readers(&self) -> Vec<Vec<Id>> {
        let mut readers = vec![Vec::new(); self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                if readers[*input].last() != Some(&id) {
                    readers[*input].push(id);
                }
            }
        }
        readers
    }

    /// Multiplications and additions of products and convolutions.
    #[must_use]
    pub fn flops(&self) -> usize {
        let of = |node: &Node| match node.op {
            Op::Product => 2 * node.shape.iter().product::<usize>() * self.shape(node.inputs[0])[3],
            Op::Convolution => 2 * node.shape.iter().product::<usize>() * self.shape(node.inputs[1])[3],
            _ => 0,
        };
        self.nodes.iter().map(of).sum()
    }
}
