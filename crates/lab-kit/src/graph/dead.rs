//! What nobody asks for: nodes that lead to no output, and rows that no output needs.

use super::{Graph, Id, Node, Op};

// ANCHOR: dead
/// The graph without what leads neither to an output nor into a state.
#[must_use]
pub fn dead(graph: &Graph) -> Graph {
    let mut wanted = vec![false; graph.nodes.len()];
    graph.outputs.iter().for_each(|id| wanted[*id] = true);
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        // What is written into a state is an effect: somebody may read it in the next run.
        if wanted[id] || matches!(node.op, Op::Write { .. }) {
            wanted[id] = true;
            node.inputs.iter().for_each(|input| wanted[*input] = true);
        }
    }
    let mut new = Graph { nodes: Vec::new(), outputs: Vec::new(), constants: graph.constants.clone() };
    let mut becomes: Vec<Id> = Vec::with_capacity(graph.nodes.len());
    for (node, wanted) in graph.nodes.iter().zip(wanted) {
        // A node that goes is never read.
        becomes.push(new.nodes.len());
        if wanted || node.op == Op::Input {
            let inputs = node.inputs.iter().map(|input| becomes[*input]).collect();
            new.nodes.push(Node { inputs, ..node.clone() });
        }
    }
    new.outputs = graph.outputs.iter().map(|id| becomes[*id]).collect();
    new
}
// ANCHOR_END: dead

/// A range of rows along axis 2.
type Rows = (usize, usize);

/// Whether rows of the result need the same rows of the inputs alone.
fn by_rows(node: &Node) -> bool {
    node.op.is_elementwise() || matches!(node.op, Op::Reduce(_) | Op::Product)
}

/// The graph in which operations that work row by row compute only the rows that are asked for: slices of rows are pushed up
/// through them, to where something mixes rows.
#[must_use]
pub fn last_rows(graph: &Graph) -> Graph {
    // What all readers of a node agree to need; `Some(None)` where it is all of it.
    let mut needs: Vec<Option<Option<Rows>>> = vec![None; graph.nodes.len()];
    let ask = |slot: &mut Option<Option<Rows>>, rows: Option<Rows>| match slot {
        None => *slot = Some(rows),
        Some(other) if *other != rows => *slot = Some(None),
        Some(_) => {}
    };
    graph.outputs.iter().for_each(|id| ask(&mut needs[*id], None));
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        let mine = needs[id].flatten();
        for (i, input) in node.inputs.iter().enumerate() {
            let rows = match node.op {
                Op::Slice { axis: 2, start } => Some((start, node.shape[2])),
                _ if by_rows(node) && mine.is_some() => {
                    // What has one row for all, or is the right side of a product, is read whole.
                    let whole = node.op == Op::Product && i == 1 || graph.shape(*input)[2] != node.shape[2];
                    if whole { None } else { mine }
                }
                _ => None,
            };
            ask(&mut needs[*input], rows);
        }
    }
    let cut: Vec<Option<Rows>> =
        graph.nodes.iter().zip(&needs).map(|(node, needs)| needs.flatten().filter(|_| by_rows(node))).collect();
    let mut new = Graph { nodes: Vec::new(), outputs: Vec::new(), constants: graph.constants.clone() };
    let mut becomes: Vec<Id> = Vec::with_capacity(graph.nodes.len());
    for (node, mine) in graph.nodes.iter().zip(&cut) {
        let mut node = node.clone();
        let slice = matches!(node.op, Op::Slice { axis: 2, .. });
        if slice && cut[node.inputs[0]].is_some() {
            // Its rows are all there is.
            becomes.push(becomes[node.inputs[0]]);
            continue;
        }
        for (i, input) in node.inputs.iter_mut().enumerate() {
            let from = *input;
            *input = becomes[from];
            let Some((start, rows)) = *mine else { continue };
            let whole = node.op == Op::Product && i == 1 || graph.shape(from)[2] != node.shape[2];
            if !whole && cut[from].is_none() {
                *input = new.slice(becomes[from], 2, start, rows);
            }
        }
        if let Some((_, rows)) = mine {
            node.shape[2] = *rows;
        }
        new.nodes.push(node);
        becomes.push(new.nodes.len() - 1);
    }
    new.outputs = graph.outputs.iter().map(|id| becomes[*id]).collect();
    new
}
