//! In which order kernels run.

use std::collections::BTreeSet;

use rand::{Rng, RngCore};
use serde::{Deserialize, Serialize};

use super::{Graph, Id, Place};

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As written
    Given,
    /// Depth first
    ///
    /// What an output needs, one input after the other.
    Depth,
    /// Breadth first
    ///
    /// Level by level: whatever can run, runs.
    Breadth,
    /// Least memory
    ///
    /// Of what can run, what frees most.
    LeastMemory,
}

/// Which kernels each kernel waits for, by their places in the list.
#[must_use]
pub fn depends(graph: &Graph, kernels: &[Vec<Id>]) -> Vec<Vec<usize>> {
    let mut of = vec![usize::MAX; graph.nodes.len()];
    for (i, kernel) in kernels.iter().enumerate() {
        kernel.iter().for_each(|id| of[*id] = i);
    }
    let waits = |i: usize| {
        let mut found = BTreeSet::new();
        let mut open: Vec<Id> = kernels[i].iter().flat_map(|id| graph.nodes[*id].inputs.iter().copied()).collect();
        while let Some(id) = open.pop() {
            if of[id] == usize::MAX {
                open.extend(&graph.nodes[id].inputs);
            } else if of[id] != i {
                found.insert(of[id]);
            }
        }
        found.into_iter().collect()
    };
    (0..kernels.len()).map(waits).collect()
}

// ANCHOR: deal
/// An order of the kernels that respects what they wait for. With a generator of random numbers, any such order.
#[must_use]
pub fn deal(
    graph: &Graph,
    places: &[Place],
    kernels: &[Vec<Id>],
    order: Order,
    mut rng: Option<&mut dyn RngCore>,
) -> Vec<usize> {
    let waits = depends(graph, kernels);
    let mut level = vec![0_usize; kernels.len()];
    let mut memory = Held::new(graph, places, kernels);
    let (mut done, mut found) = (vec![false; kernels.len()], Vec::with_capacity(kernels.len()));
    if order == Order::Depth && rng.is_none() {
        let mut seen = vec![false; kernels.len()];
        (0..kernels.len()).filter(|i| memory.is_asked_for(*i)).for_each(|i| visit(i, &waits, &mut seen, &mut found));
        (0..kernels.len()).for_each(|i| visit(i, &waits, &mut seen, &mut found));
        return found;
    }
    while found.len() < kernels.len() {
        let ready = (0..kernels.len()).filter(|i| !done[*i] && waits[*i].iter().all(|other| done[*other]));
        let last = |i: &usize| kernels[*i].last().copied().unwrap_or(0);
        let next = match (&mut rng, order) {
            (Some(rng), _) => {
                let ready: Vec<usize> = ready.collect();
                ready.get(rng.random_range(0..ready.len().max(1))).copied()
            }
            (None, Order::Breadth) => ready.min_by_key(|i| (level[*i], last(i))),
            (None, Order::LeastMemory) => ready.min_by_key(|i| (memory.change(*i), last(i))),
            _ => ready.min_by_key(last),
        };
        // A graph without cycles always has one that is ready.
        let Some(next) = next else { break };
        memory.run(next);
        done[next] = true;
        found.push(next);
        for (i, waits) in waits.iter().enumerate().filter(|(_, waits)| waits.contains(&next)) {
            level[i] = waits.iter().map(|other| level[*other] + 1).max().unwrap_or(0);
        }
    }
    found
}
// ANCHOR_END: deal

fn visit(i: usize, waits: &[Vec<usize>], seen: &mut [bool], found: &mut Vec<usize>) {
    if std::mem::replace(&mut seen[i], true) {
        return;
    }
    waits[i].iter().for_each(|other| visit(*other, waits, seen, found));
    found.push(i);
}

/// What is held while kernels run one after the other.
struct Held {
    /// Numbers that each kernel leaves, and the roots it reads.
    leaves: Vec<usize>,
    reads: Vec<Vec<Id>>,
    /// Kernels that still read a root, and its numbers; none for what is no buffer, or is asked for at the end.
    left: Vec<Option<(usize, usize)>>,
    asked: Vec<bool>,
}

impl Held {
    fn new(graph: &Graph, places: &[Place], kernels: &[Vec<Id>]) -> Self {
        let mut asked_for = vec![false; graph.nodes.len()];
        graph.outputs.iter().for_each(|id| asked_for[places[*id].root] = true);
        let (mut leaves, mut reads) = (Vec::new(), Vec::new());
        let mut left = vec![None; graph.nodes.len()];
        let readers = graph.readers();
        for kernel in kernels {
            let inside = |id: &Id| kernel.contains(id);
            let roots: BTreeSet<Id> = kernel
                .iter()
                .flat_map(|id| &graph.nodes[*id].inputs)
                .map(|id| places[*id].root)
                .filter(|root| !inside(root))
                .collect();
            let out = kernel.iter().filter(|id| asked_for[**id] || readers[**id].iter().any(|reader| !inside(reader)));
            leaves.push(out.clone().map(|id| graph.numbers(*id)).sum());
            out.for_each(|id| left[*id] = (!asked_for[*id]).then(|| (0, graph.numbers(*id))));
            reads.push(roots.into_iter().collect::<Vec<Id>>());
        }
        for root in reads.iter().flatten() {
            if let Some((count, _)) = &mut left[*root] {
                *count += 1;
            }
        }
        let asked = kernels.iter().map(|kernel| kernel.iter().any(|id| asked_for[*id])).collect();
        Self { leaves, reads, left, asked }
    }

    fn is_asked_for(&self, kernel: usize) -> bool {
        self.asked[kernel]
    }

    /// Numbers held after a kernel, less those before it.
    fn change(&self, kernel: usize) -> i64 {
        let frees = |root: &Id| self.left[*root].filter(|(count, _)| *count == 1).map_or(0, |(_, numbers)| numbers);
        self.leaves[kernel] as i64 - self.reads[kernel].iter().map(frees).sum::<usize>() as i64
    }

    fn run(&mut self, kernel: usize) {
        for root in &self.reads[kernel] {
            if let Some((count, _)) = &mut self.left[*root] {
                *count -= 1;
            }
        }
    }
}
