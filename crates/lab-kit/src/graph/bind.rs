//! Numbers for the constants of a program: read, folded and packed once, before any run.

use std::rc::Rc;

use lab_api::LabError;
use lab_kernels::graph::{Strided, TILES, pack};

use super::{Graph, Op, Program, Recipe, Shape};

/// The constants of a program.
#[derive(Debug, Clone)]
pub struct Bound {
    /// By their numbers; what no node reads is empty.
    pub(super) constants: Vec<Rc<[f32]>>,
    /// Weights of products in panels, by kernel.
    pub(super) packed: Vec<Option<Vec<f32>>>,
    /// Of [`TILES`].
    pub(super) tile: usize,
}

impl Bound {
    /// Bytes of weights in panels, which are kept beside the others.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        4 * self.packed.iter().flatten().map(Vec::len).sum::<usize>()
    }
}

/// Fewest rows of a product that is worth packing.
pub(super) const ROWS: usize = 4;

impl Program {
    /// Reads the weights: `weight(name, numbers)` gives those of a name. With `pack_weights`, weights of products of four rows and
    /// more lie in panels for tiles of this kind.
    ///
    /// # Errors
    /// [`LabError::Engine`] with the name of a weight that is missing or too short.
    pub fn bind(
        &self,
        weight: &mut dyn FnMut(&str, usize) -> Option<Vec<f32>>,
        pack_weights: bool,
        tile: usize,
    ) -> Result<Bound, LabError> {
        let graph = &self.graph;
        let mut constants: Vec<Rc<[f32]>> = vec![Rc::from([]); graph.constants.len()];
        for node in &graph.nodes {
            if let Op::Constant(constant) = node.op {
                constants[constant] = make(graph, constant, weight)?;
            }
        }
        let panels = |kernel: &super::Kernel| {
            let node = &graph.nodes[*kernel.nodes.first()?];
            let (Op::Product, [_, b]) = (&node.op, &node.inputs[..]) else { return None };
            let Op::Constant(constant) = graph.nodes[*b].op else { return None };
            let [i, j, k, n] = graph.shape(*b);
            if !pack_weights || node.shape[2] < ROWS || [i, j] != [1, 1] {
                return None;
            }
            let mut packed = Vec::new();
            let matrix = Strided { data: &constants[constant], rows: k, columns: n, row: n, column: 1 };
            pack(matrix, TILES[tile.min(TILES.len() - 1)][1], &mut packed);
            Some(packed)
        };
        let packed = self.kernels.iter().map(panels).collect();
        Ok(Bound { constants, packed, tile: tile.min(TILES.len() - 1) })
    }
}

/// Numbers of a constant.
fn make(
    graph: &Graph,
    constant: usize,
    weight: &mut dyn FnMut(&str, usize) -> Option<Vec<f32>>,
) -> Result<Rc<[f32]>, LabError> {
    let one = &graph.constants[constant];
    let columns = |shape: Shape| shape[3].max(1);
    Ok(match &one.recipe {
        Recipe::Values(values) => values.clone(),
        Recipe::Named { name, turned } => {
            let count = one.shape.iter().product();
            let read = weight(name, count).filter(|values| values.len() == count);
            let values =
                read.ok_or_else(|| LabError::Engine { why: format!("the graph has no weight “{name}”") })?;
            if !turned {
                return Ok(Rc::from(values));
            }
            let (rows, columns) = (one.shape[2], columns(one.shape));
            (0..count).map(|i| values[i % columns * rows + i / columns]).collect()
        }
        Recipe::Times { of, by } => make(graph, *of, weight)?.iter().map(|x| x * by).collect(),
        Recipe::Rows { of, by } => {
            let (matrix, gains) = (make(graph, *of, weight)?, make(graph, *by, weight)?);
            let columns = columns(one.shape);
            matrix.iter().enumerate().map(|(i, x)| x * gains[i / columns]).collect()
        }
        Recipe::Joined(parts) => {
            let mut all = Vec::with_capacity(parts.len());
            for part in parts {
                all.push((make(graph, *part, weight)?, columns(graph.constants[*part].shape)));
            }
            let row = |row: usize| {
                all.iter().flat_map(move |(values, width)| values[row * width..(row + 1) * width].iter().copied())
            };
            (0..one.shape[2]).flat_map(row).collect()
        }
    })
}
