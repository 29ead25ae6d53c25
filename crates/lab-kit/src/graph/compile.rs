//! From a graph to a program: passes, kernels, their order, and places in memory.

use lab_api::LabError;
use rand::RngCore;

use super::{
    Fuse, Graph, Id, Life, Op, Order, Place, Strategy, bound, cse, dead, deal, fold, fuse, height, last_rows, merge,
    places, plan, plan::MOST,
};

/// What the compiler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passes {
    /// Factors go into weights.
    pub fold: bool,
    /// Equal nodes are computed once.
    pub cse: bool,
    /// What no output needs goes, rows too.
    pub dead: bool,
    /// Products of the same rows become one.
    pub merge: bool,
    /// Which operations share a kernel.
    pub fuse: Fuse,
    /// In which order kernels run.
    pub order: Order,
    /// Where buffers lie.
    pub plan: Strategy,
    /// A result may take the place of an input that dies with it.
    pub in_place: bool,
}

impl Passes {
    /// A kernel and a buffer for each operation.
    pub const NONE: Self = Self {
        fold: false,
        cse: false,
        dead: false,
        merge: false,
        fuse: Fuse::None,
        order: Order::Given,
        plan: Strategy::None,
        in_place: false,
    };
}

/// Operations that run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// In order.
    pub nodes: Vec<Id>,
    /// Those that are read elsewhere, and so are written to memory.
    pub outputs: Vec<Id>,
}

/// A place in memory for the result of a node, or of several that follow each other in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// Whose.
    pub roots: Vec<Id>,
    /// In kernels; its size in bytes.
    pub life: Life,
    /// In bytes.
    pub offset: usize,
}

/// What can be counted of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Nodes of the graph.
    pub nodes: usize,
    /// Kernels that are launched.
    pub kernels: usize,
    /// Different ones among them: each is compiled once.
    pub distinct: usize,
    /// Operations of products.
    pub flops: usize,
    /// Bytes of activations that kernels read and write.
    pub traffic: usize,
    /// Bytes of all buffers side by side.
    pub apart: usize,
    /// Bytes of the arena.
    pub arena: usize,
    /// Bytes of the most that lives at once.
    pub bound: usize,
}

/// A compiled graph.
#[derive(Debug, Clone)]
pub struct Program {
    /// After all passes.
    pub graph: Graph,
    /// Where nodes lie.
    pub places: Vec<Place>,
    /// In the order in which they run.
    pub kernels: Vec<Kernel>,
    /// Buffers in the order of their births.
    pub buffers: Vec<Buffer>,
    /// What it comes to.
    pub counts: Counts,
}

/// Bytes of a number.
const WIDTH: usize = 4;

/// Compiles.
///
/// # Errors
/// [`LabError::Refused`] when all orders of more than nine buffers are asked for; [`LabError::Engine`] when a view would need a copy.
pub fn compile(graph: &Graph, setting: Passes) -> Result<Program, LabError> {
    ordered(graph, setting, None)
}

/// The same in an order that is drawn: any that respects what kernels wait for.
///
/// # Errors
/// As [`compile`].
pub fn shuffled(graph: &Graph, setting: Passes, rng: &mut dyn RngCore) -> Result<Program, LabError> {
    ordered(graph, setting, Some(rng))
}

fn ordered(graph: &Graph, setting: Passes, rng: Option<&mut dyn RngCore>) -> Result<Program, LabError> {
    let graph = passes(graph, setting);
    let view =
        |id| LabError::Engine { why: format!("node {id} of a graph is a view that needs a copy: put one before it") };
    let places = places(&graph).map_err(view)?;
    let groups = fuse(&graph, setting.fuse);
    let order = deal(&graph, &places, &groups, setting.order, rng);
    let groups = order.iter().map(|i| groups[*i].clone()).collect();
    arrange(graph, places, groups, setting)
}

// ANCHOR: passes
/// The passes that rewrite the graph, in this order: what folds makes nodes dead, and what is equal is merged before what is alike.
fn passes(graph: &Graph, setting: Passes) -> Graph {
    let mut graph = graph.clone();
    if setting.fold {
        graph = fold(&graph);
    }
    if setting.cse {
        graph = cse(&graph);
    }
    if setting.dead {
        graph = dead(&last_rows(&graph));
    }
    if setting.merge {
        graph = dead(&merge(&graph));
    }
    graph
}
// ANCHOR_END: passes

/// The program of these kernels in this order.
///
/// # Errors
/// As [`compile`].
fn arrange(graph: Graph, places: Vec<Place>, groups: Vec<Vec<Id>>, setting: Passes) -> Result<Program, LabError> {
    let readers = graph.readers();
    let mut asked = vec![false; graph.nodes.len()];
    graph.outputs.iter().for_each(|id| asked[places[*id].root] = true);
    let outputs = |nodes: &Vec<Id>| {
        let outside = |id: &&Id| asked[**id] || readers[**id].iter().any(|reader| !nodes.contains(reader));
        // What is written into a state lies there.
        nodes.iter().filter(outside).filter(|id| places[**id].root == **id).copied().collect()
    };
    let kernels: Vec<Kernel> = groups.into_iter().map(|nodes| Kernel { outputs: outputs(&nodes), nodes }).collect();
    let mut program = Program { graph, places, kernels, buffers: Vec::new(), counts: Counts::default() };
    program.give_births(&asked, setting.in_place);
    let lives: Vec<Life> = program.buffers.iter().map(|buffer| buffer.life).collect();
    if setting.plan == Strategy::Exact && lives.len() > MOST {
        let why = format!("all orders of {} buffers are too many: {MOST} at most, or plan by size", lives.len());
        return Err(LabError::Refused { why });
    }
    let offsets = plan(&lives, setting.plan);
    program.buffers.iter_mut().zip(&offsets).for_each(|(buffer, offset)| buffer.offset = *offset);
    let written = program.kernels.iter().flat_map(|kernel| &kernel.outputs);
    program.counts = Counts {
        nodes: program.graph.nodes.len(),
        kernels: program.kernels.len(),
        distinct: program.distinct(),
        flops: program.graph.flops(),
        traffic: (0..program.kernels.len()).map(|kernel| program.moved(kernel)).sum(),
        apart: WIDTH * written.map(|id| program.graph.numbers(*id)).sum::<usize>(),
        arena: height(&lives, &offsets),
        bound: bound(&lives),
    };
    Ok(program)
}

impl Program {
    /// Finds the life of each buffer, and who may follow whom in its place.
    fn give_births(&mut self, asked: &[bool], in_place: bool) {
        let mut last = vec![0; self.graph.nodes.len()];
        for (step, kernel) in self.kernels.iter().enumerate() {
            for input in kernel.nodes.iter().flat_map(|id| &self.graph.nodes[*id].inputs) {
                last[self.places[*input].root] = step;
            }
        }
        let end = self.kernels.len().saturating_sub(1);
        let mut of: Vec<Option<usize>> = vec![None; self.graph.nodes.len()];
        for (step, kernel) in self.kernels.iter().enumerate() {
            let mut taken: Vec<Id> = Vec::new();
            for id in &kernel.outputs {
                let until = if asked[*id] { end } else { last[*id].max(step) };
                let heir = |root: &Id| {
                    in_place
                        && last[*root] == step
                        && !asked[*root]
                        && !taken.contains(root)
                        && self.gives_way(kernel, *root, *id)
                };
                let roots = kernel.nodes.iter().flat_map(|node| &self.graph.nodes[*node].inputs);
                let before = roots.map(|input| self.places[*input].root).find(|root| of[*root].is_some() && heir(root));
                let buffer = match before.and_then(|root| Some((root, of[root]?))) {
                    Some((root, buffer)) => {
                        taken.push(root);
                        buffer
                    }
                    None => {
                        let size = WIDTH * self.graph.numbers(*id);
                        let life = Life { first: step, last: until, size };
                        self.buffers.push(Buffer { roots: Vec::new(), life, offset: 0 });
                        self.buffers.len() - 1
                    }
                };
                self.buffers[buffer].roots.push(*id);
                self.buffers[buffer].life.last = until;
                of[*id] = Some(buffer);
            }
        }
    }

    // ANCHOR: gives_way
    /// Whether a kernel may write the result of `id` over `root`: all that it reads of it, it reads number by number or row by row,
    /// where the result will lie.
    fn gives_way(&self, kernel: &Kernel, root: Id, id: Id) -> bool {
        let shape = self.graph.shape(id);
        kernel.nodes.iter().all(|node| {
            let node = &self.graph.nodes[*node];
            node.inputs.iter().filter(|input| self.places[**input].root == root).all(|input| {
                let whole = Place { root, offset: 0, strides: super::layout::strides_of(shape) };
                let rows = node.op.is_elementwise() || matches!(node.op, Op::Reduce(_));
                rows && self.graph.shape(*input) == shape && self.places[*input] == whole
            })
        })
    }
    // ANCHOR_END: gives_way

    /// Nodes that a kernel reads and does not make itself; each once.
    pub(super) fn reads(&self, kernel: usize) -> Vec<Id> {
        let nodes = &self.kernels[kernel].nodes;
        let mut all: Vec<Id> = nodes.iter().flat_map(|id| &self.graph.nodes[*id].inputs).copied().collect();
        all.retain(|id| !nodes.contains(id));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Bytes of activations that a kernel reads and writes.
    fn moved(&self, kernel: usize) -> usize {
        let is_write = |id: &Id| matches!(self.graph.nodes[*id].op, Op::Write { .. });
        let state = |id: &Id| matches!(self.graph.nodes[*id].op, Op::State);
        let known = |id: &Id| matches!(self.graph.nodes[self.places[*id].root].op, Op::Constant(_));
        let one = &self.kernels[kernel];
        let read: usize =
            self.reads(kernel).iter().filter(|id| !known(id) && !state(id)).map(|id| self.graph.numbers(*id)).sum();
        let written: usize = one.outputs.iter().map(|id| self.graph.numbers(*id)).sum();
        // A write moves what is new alone.
        let kept = if one.nodes.iter().any(is_write) { read } else { written };
        WIDTH * (read + kept)
    }

    /// Kernels that differ in what they do, or in the shapes that they are made for.
    fn distinct(&self) -> usize {
        let sign = |kernel: &Kernel| {
            let part = |id: &Id| {
                let node = &self.graph.nodes[*id];
                let from = |input: &Id| {
                    (
                        kernel.nodes.iter().position(|other| other == input),
                        self.graph.shape(*input),
                        self.places[*input].strides,
                    )
                };
                let op = if let Op::Write { .. } = node.op { Op::Write { at: 0 } } else { node.op.clone() };
                (op, node.inputs.iter().map(from).collect::<Vec<_>>(), node.shape, kernel.outputs.contains(id))
            };
            kernel.nodes.iter().map(part).collect::<Vec<_>>()
        };
        let mut seen = Vec::new();
        for kernel in &self.kernels {
            let one = sign(kernel);
            if !seen.contains(&one) {
                seen.push(one);
            }
        }
        seen.len()
    }
}
