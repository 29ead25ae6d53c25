//! Which operations share a kernel.

use serde::{Deserialize, Serialize};

use super::{Graph, Id, Op};
use crate::order::Ordered as _;

/// How far operations are joined. Each level has those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Fuse {
    /// Nothing
    None,
    /// Elementwise operations
    Elementwise,
    /// And reductions along a row
    Reductions,
    /// And what follows a product
    Epilogues,
}

impl Fuse {
    /// From none to all.
    pub const ALL: [Self; 4] = [Self::None, Self::Elementwise, Self::Reductions, Self::Epilogues];
}

/// Kernels as they grow.
struct Groups<'a> {
    graph: &'a Graph,
    readers: Vec<Vec<Id>>,
    /// The group of each node; a view's is its own.
    of: Vec<usize>,
    members: Vec<Vec<Id>>,
}

// ANCHOR: fuse
/// The kernels of a graph, a product first in its own: which computed nodes run together. A producer and its reader join if they work on the same rows and no
/// path leaves the group and comes back.
#[must_use]
pub fn fuse(graph: &Graph, level: Fuse) -> Vec<Vec<Id>> {
    let count = graph.nodes.len();
    let members = (0..count).map(|id| vec![id]).collect();
    let mut groups = Groups { graph, readers: graph.readers(), of: (0..count).collect(), members };
    if level >= Fuse::Elementwise {
        groups.join_where(&|groups, a, b| groups.elementwise(a, b));
    }
    if level >= Fuse::Reductions {
        groups.join_where(&|groups, a, b| groups.by_rows(a, b));
    }
    if level >= Fuse::Epilogues {
        groups.join_where(&|groups, a, b| groups.epilogue(a, b));
    }
    let computed = |group: &Vec<Id>| group.first().is_some_and(|id| graph.nodes[*id].op.is_computed());
    let mut kernels: Vec<Vec<Id>> = groups.members.into_iter().filter(computed).collect();
    // A kernel's product comes first: what follows it, and what it is joined with, goes row by row.
    kernels.iter_mut().for_each(|kernel| kernel.ordered_by_key(&|id| (graph.nodes[*id].op != Op::Product, *id)));
    kernels
}

impl Groups<'_> {
    /// Joins the groups of each node and its inputs where `may` allows it and the group stays whole.
    fn join_where(&mut self, may: &dyn Fn(&Self, usize, usize) -> bool) {
        for id in 0..self.graph.nodes.len() {
            for input in &self.graph.nodes[id].inputs {
                let (from, to) = (self.of[*input], self.of[id]);
                if from != to && may(self, from, to) && !self.comes_back(from, to) {
                    let moved = std::mem::take(&mut self.members[to]);
                    moved.iter().for_each(|node| self.of[*node] = from);
                    self.members[from].extend(moved);
                    self.members[from].sort_unstable();
                }
            }
        }
    }

    /// Whether a path leaves `from` and reaches `to` through a third group: joined, each would wait for the other.
    fn comes_back(&self, from: usize, to: usize) -> bool {
        let mut seen = vec![false; self.graph.nodes.len()];
        let mut open = vec![from];
        while let Some(group) = open.pop() {
            for next in self.members[group].iter().flat_map(|node| &self.readers[*node]).map(|reader| self.of[*reader])
            {
                if next == to && group != from {
                    return true;
                }
                if next != from && next != to && !seen[next] {
                    seen[next] = true;
                    open.push(next);
                }
            }
        }
        false
    }
    // ANCHOR_END: fuse

    fn all(&self, group: usize, of: &dyn Fn(&Op) -> bool) -> bool {
        self.members[group].iter().all(|id| of(&self.graph.nodes[*id].op))
    }

    fn elementwise(&self, a: usize, b: usize) -> bool {
        let shape = self.graph.shape(self.members[a][0]);
        self.all(a, &Op::is_elementwise)
            && self.all(b, &Op::is_elementwise)
            && self.members[b].iter().all(|id| self.graph.shape(*id) == shape)
    }

    fn by_rows(&self, a: usize, b: usize) -> bool {
        let row = |op: &Op| op.is_elementwise() || matches!(op, Op::Reduce(_) | Op::Pool);
        if !self.all(a, &row) || !self.all(b, &row) {
            return false;
        }
        let has = |op: &dyn Fn(&Op) -> bool| [a, b].iter().any(|group| !self.all(*group, &|o| !op(o)));
        let pools = has(&|op| *op == Op::Pool);
        // A plane is the row of a pooling, the last axis that of a reduction.
        let lead = if pools { 2 } else { 3 };
        let shape = self.graph.shape(self.members[a][0]);
        let same = |id: &Id| self.graph.shape(*id)[..lead] == shape[..lead];
        let inside = |id: &Id| [a, b].contains(&self.of[*id]);
        // A plane that is held may be read as it is, or as one number, but not line by line.
        let fits = |id: &Id| {
            let node = &self.graph.nodes[*id];
            let held = node.inputs.iter().filter(|input| inside(input)).map(|input| self.graph.shape(*input));
            !node.op.is_elementwise() || held.into_iter().all(|s| s[lead..] == node.shape[lead..] || s[2..] == [1, 1])
        };
        let mut members = [a, b].into_iter().flat_map(|group| &self.members[group]);
        !(pools && has(&|op| matches!(op, Op::Reduce(_)))) && members.all(|id| same(id) && (!pools || fits(id)))
    }

    fn epilogue(&self, a: usize, b: usize) -> bool {
        let [product] = self.members[a][..] else { return false };
        let shape = self.graph.shape(product);
        self.graph.nodes[product].op == Op::Product
            && self.all(b, &Op::is_elementwise)
            && self.members[b].iter().all(|id| self.graph.shape(*id) == shape)
            && !self.graph.outputs.contains(&product)
            && self.readers[product].iter().all(|reader| self.of[*reader] == b)
    }
}
