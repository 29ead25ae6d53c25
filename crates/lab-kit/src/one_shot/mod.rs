//! Search with shared weights: a supernet that holds one set of weights for each operation of each slot, steps along one path of it,
//! a mixture of all paths whose shares have a gradient, and the judgement of every path at once.

mod darts;
mod mixture;
mod path_adam;
mod paths;
mod supernet;
#[cfg(test)]
mod tests;
mod training;
mod tree;

pub use darts::{
    ChoiceSlopes, ImageHalf, by_logits, first_order, gumbel, mixed_product, second_order, softmax_shares,
    strongest_choices,
};
pub use lab_layers::{
    cells::{self, CellCode, CellNet, SLOTS, SlotOp},
    optim::Adam,
};
pub use mixture::{COST_UNIT, MixedHow, MixedMark, MixedTraining, halves_of, some_of};
pub use path_adam::PathAdam;
pub use paths::{fair_round, uniform_path};
pub use supernet::{CHOICES, OPERATIONS, SuperPass, Supernet, code_of_choices, path_shares};
pub use training::{PathDraw, PathTraining, SHARED_BATCH, SHARED_RATE};
pub use tree::{CodeTree, judge_each, judge_tree};
