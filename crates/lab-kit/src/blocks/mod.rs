//! Convolutional networks of one plan and many kinds of block, made to meet one budget: what is counted of them, how they are
//! scaled, and how they learn. Their arithmetic is [`lab_layers::blocks`].

mod count;
mod family;
mod learn;
mod scale;

pub use count::{Kind, Layer, Totals, count, totals, traffic};
pub use family::{Family, Options, Shape};
pub use lab_layers::blocks::{Conv, Excite, Maps, Network, Norm, Op, Trace, fold, naive, shuffle};
pub use learn::{Learner, answers, start};
pub use scale::{BLOCKS, Budget, Way, compound, resize, solve};
