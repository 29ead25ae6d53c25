//! What can be computed before any run: factors go into weights, and what changes nothing goes.

use lab_kernels::graph::{Binary, Unary};

use super::{Graph, Id, Op, Recipe, Shape, dead};
use crate::order::Ordered as _;

/// The constant of a node, if it is one.
fn constant(graph: &Graph, id: Id) -> Option<usize> {
    match graph.nodes[id].op {
        Op::Constant(constant) => Some(constant),
        _ => None,
    }
}

/// The graph with its factors in its weights. Products then sum other numbers: the result is the same on paper, and in its last
/// bits another.
#[must_use]
pub fn fold(graph: &Graph) -> Graph {
    let mut new = simplify(graph);
    let mut id = 0;
    // Grows while weights are added; what has been folded is met again and is no factor any more.
    while id < new.nodes.len() {
        gains(&mut new, id);
        scale(&mut new, id);
        id += 1;
    }
    dead(&new)
}

/// Views of views, and factors of one. Exact.
fn simplify(graph: &Graph) -> Graph {
    let mut new = graph.clone();
    let mut becomes: Vec<Id> = (0..new.nodes.len()).collect();
    for id in 0..new.nodes.len() {
        let inputs: Vec<Id> = new.nodes[id].inputs.iter().map(|input| becomes[*input]).collect();
        new.nodes[id].inputs.clone_from(&inputs);
        let Some(first) = inputs.first().copied() else { continue };
        match (new.nodes[id].op.clone(), new.nodes[first].op.clone()) {
            (Op::Unary(Unary::Scale(1.0)), _) => becomes[id] = first,
            (Op::Reshape, Op::Reshape) => new.nodes[id].inputs[0] = new.nodes[first].inputs[0],
            (Op::Transpose(outer), Op::Transpose(inner)) => {
                new.nodes[id].inputs[0] = new.nodes[first].inputs[0];
                new.nodes[id].op = Op::Transpose(outer.map(|axis| inner[axis]));
            }
            _ => {}
        }
    }
    new.outputs.iter_mut().for_each(|output| *output = becomes[*output]);
    new
}

// ANCHOR: gains
/// `(x · γ) W` becomes `x · (diag(γ) W)` where nothing else reads `x · γ`.
fn gains(graph: &mut Graph, id: Id) {
    let node = graph.nodes[id].clone();
    let [x, gamma] = node.inputs[..] else { return };
    let Some(by) = constant(graph, gamma).filter(|by| graph.constants[*by].learned) else { return };
    let channels: Shape = [1, 1, 1, node.shape[3]];
    let fits = graph.shape(gamma) == channels && graph.shape(x) == node.shape;
    if node.op != Op::Binary(Binary::Multiply) || !fits || graph.outputs.contains(&id) {
        return;
    }
    let readers: Vec<Id> = graph.readers().swap_remove(id);
    let weight = |reader: &Id| {
        let node = &graph.nodes[*reader];
        (node.op == Op::Product && node.inputs[0] == id).then(|| constant(graph, node.inputs[1])).flatten()
    };
    let Some(weights) = readers.iter().map(weight).collect::<Option<Vec<usize>>>() else { return };
    // From the back, so that what is inserted moves none that is still to come.
    for (reader, of) in readers.into_iter().zip(weights).rev() {
        graph.nodes[reader].inputs[0] = x;
        replace_weight(graph, reader, Recipe::Rows { of, by });
    }
}
// ANCHOR_END: gains

/// Gives a product another weight of the same shape: its old node becomes the new constant's, if nobody else reads it.
fn replace_weight(graph: &mut Graph, product: Id, recipe: Recipe) {
    let old = graph.nodes[product].inputs[1];
    let shape = graph.shape(old);
    let constant = graph.keep(shape, recipe, true);
    let read = graph.nodes.iter().enumerate().any(|(id, node)| id != product && node.inputs.contains(&old));
    if read || graph.outputs.contains(&old) {
        // A node of its own must come before the product: nodes are moved by one.
        insert(graph, product, Op::Constant(constant), shape);
    } else {
        graph.nodes[old].op = Op::Constant(constant);
    }
}

/// Puts a constant before the product at `at`, and makes it its weight.
fn insert(graph: &mut Graph, at: Id, op: Op, shape: Shape) {
    graph.nodes.insert(at, super::Node { op, inputs: Vec::new(), shape });
    let moved = |id: &mut Id| *id += usize::from(*id >= at);
    graph.nodes.iter_mut().skip(at + 1).for_each(|node| node.inputs.iter_mut().for_each(moved));
    graph.outputs.iter_mut().for_each(moved);
    graph.nodes[at + 1].inputs[1] = at;
}

/// `s · f(x W)` becomes `f(x (s W))` where `f` is linear: sums, products with tables, views.
fn scale(graph: &mut Graph, id: Id) {
    let node = &graph.nodes[id];
    let Op::Unary(Unary::Scale(by)) = node.op else { return };
    let (from, mut inside, mut weights) = (node.inputs[0], vec![id], Vec::new());
    if !linear(graph, from, &mut inside, &mut weights) {
        return;
    }
    // Nobody but these may see what is scaled now.
    let alone = |seen: &Id| *seen == id || !graph.outputs.contains(seen);
    let readers = graph.readers();
    let within =
        inside.iter().filter(|seen| **seen != id).all(|seen| readers[*seen].iter().all(|r| inside.contains(r)));
    if !within || !inside.iter().all(alone) {
        return;
    }
    let of = |product: Id| Some((product, constant(graph, graph.nodes[product].inputs[1])?));
    let mut weights: Vec<(Id, usize)> = weights.into_iter().filter_map(of).collect();
    // From the back, as above.
    weights.ordered_by(&|a, b| b.cmp(a));
    for node in graph.nodes.iter_mut().skip(id + 1) {
        node.inputs.iter_mut().filter(|input| **input == id).for_each(|input| *input = from);
    }
    graph.outputs.iter_mut().filter(|output| **output == id).for_each(|output| *output = from);
    // Nobody reads it any more.
    graph.nodes[id].op = Op::Unary(Unary::Copy);
    for (product, of) in weights {
        replace_weight(graph, product, Recipe::Times { of, by });
    }
}

/// Collects what lies between a factor and the products with weights that it may go into; false where the way is not linear.
fn linear(graph: &Graph, id: Id, inside: &mut Vec<Id>, weights: &mut Vec<Id>) -> bool {
    if inside.contains(&id) {
        return true;
    }
    inside.push(id);
    let node = &graph.nodes[id];
    let table = |id: Id| {
        let mut at = id;
        while graph.nodes[at].op.is_view() {
            at = graph.nodes[at].inputs[0];
        }
        constant(graph, at).map(|constant| graph.constants[constant].learned)
    };
    match node.op {
        Op::Reshape | Op::Transpose(_) => linear(graph, node.inputs[0], inside, weights),
        Op::Binary(Binary::Add | Binary::Subtract) => {
            node.inputs.iter().all(|input| linear(graph, *input, inside, weights))
        }
        Op::Binary(Binary::Multiply) | Op::Product if table(node.inputs[1]) == Some(false) => {
            linear(graph, node.inputs[0], inside, weights)
        }
        Op::Product if table(node.inputs[1]) == Some(true) && constant(graph, node.inputs[1]).is_some() => {
            weights.push(id);
            true
        }
        _ => false,
    }
}
