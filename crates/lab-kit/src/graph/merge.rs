//! Products that read the same rows become one: horizontal fusion.

use super::{Graph, Id, Node, Op, Recipe, places};

// ANCHOR: merge
/// The graph in which products of the same left side with weights are one product with the weights side by side; each old result
/// becomes a view of its columns. Where a view of such a part would need a copy, those products stay as they are.
#[must_use]
pub fn merge(graph: &Graph) -> Graph {
    let (mut found, mut tried) = (graph.clone(), Vec::new());
    while let Some(group) = candidates(&found, &tried) {
        let merged = joined(&found, &group);
        if places(&merged).is_ok() {
            found = merged;
        } else {
            tried.push(group[0]);
        }
    }
    found
}
// ANCHOR_END: merge

/// The first two or more products that share their left side.
fn candidates(graph: &Graph, tried: &[Id]) -> Option<Vec<Id>> {
    let is = |id: &Id| {
        let node = &graph.nodes[*id];
        let weight = |id: Id| matches!(graph.nodes[id].op, Op::Constant(_)) && graph.shape(id)[..2] == [1, 1];
        node.op == Op::Product && weight(node.inputs[1]) && !graph.outputs.contains(id)
    };
    let all: Vec<Id> = (0..graph.nodes.len()).filter(is).collect();
    let left = |id: Id| graph.nodes[id].inputs[0];
    all.iter().filter(|first| !tried.contains(first)).find_map(|first| {
        let group: Vec<Id> = all.iter().copied().filter(|id| *id >= *first && left(*id) == left(*first)).collect();
        (group.len() > 1).then_some(group)
    })
}

fn joined(graph: &Graph, group: &[Id]) -> Graph {
    let weight = |id: Id| graph.nodes[id].inputs[1];
    let parts: Vec<usize> = group
        .iter()
        .filter_map(|id| if let Op::Constant(constant) = graph.nodes[weight(*id)].op { Some(constant) } else { None })
        .collect();
    let columns: usize = group.iter().map(|id| graph.shape(*id)[3]).sum();
    let mut new = Graph { nodes: Vec::new(), outputs: Vec::new(), constants: graph.constants.clone() };
    let mut becomes: Vec<Id> = Vec::with_capacity(graph.nodes.len());
    let (mut whole, mut before) = (0, 0);
    for (id, node) in graph.nodes.iter().enumerate() {
        if id == group[0] {
            let [_, _, k, _] = graph.shape(weight(id));
            let constant = new.keep([1, 1, k, columns], Recipe::Joined(parts.clone()), true);
            let weight = new.add(Op::Constant(constant), &[], [1, 1, k, columns]);
            whole = new.product(becomes[node.inputs[0]], weight);
        }
        if group.contains(&id) {
            let width = node.shape[3];
            becomes.push(new.slice(whole, 3, before, width));
            before += width;
        } else {
            let inputs = node.inputs.iter().map(|input| becomes[*input]).collect();
            new.nodes.push(Node { inputs, ..node.clone() });
            becomes.push(new.nodes.len() - 1);
        }
    }
    new.outputs = graph.outputs.iter().map(|id| becomes[*id]).collect();
    new
}
