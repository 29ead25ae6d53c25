//! Common subexpressions: what is computed twice is computed once.

use super::{Graph, Id, Op};

// ANCHOR: cse
/// The graph with equal nodes merged: same operation, same inputs, in either order where that does not matter. Inputs, states and
/// writes stay as they are: two of them are two. A node is compared only with those that read the same first input.
#[must_use]
pub fn cse(graph: &Graph) -> Graph {
    let mut new = Graph { nodes: Vec::new(), outputs: Vec::new(), constants: graph.constants.clone() };
    let mut becomes: Vec<Id> = Vec::with_capacity(graph.nodes.len());
    let mut readers: Vec<Vec<Id>> = Vec::new();
    let mut constants: Vec<Id> = Vec::new();
    for node in &graph.nodes {
        let mut node = node.clone();
        node.inputs.iter_mut().for_each(|input| *input = becomes[*input]);
        if node.op.is_commutative() {
            node.inputs.sort_unstable();
        }
        let candidates = match (&node.op, node.inputs.first()) {
            (Op::Input | Op::State | Op::Write { .. }, _) => &[][..],
            (_, Some(first)) => &readers[*first][..],
            (_, None) => &constants[..],
        };
        let found = candidates.iter().copied().find(|id| alike(&new, &new.nodes[*id], &node));
        becomes.push(found.unwrap_or_else(|| {
            let id = new.nodes.len();
            match node.inputs.first() {
                Some(first) => readers[*first].push(id),
                None => constants.push(id),
            }
            readers.push(Vec::new());
            new.nodes.push(node);
            id
        }));
    }
    new.outputs = graph.outputs.iter().map(|id| becomes[*id]).collect();
    new
}
// ANCHOR_END: cse

fn alike(graph: &Graph, a: &super::Node, b: &super::Node) -> bool {
    match (&a.op, &b.op) {
        (Op::Constant(one), Op::Constant(other)) => {
            one == other || graph.constants[*one].recipe == graph.constants[*other].recipe && a.shape == b.shape
        }
        _ => a == b,
    }
}
