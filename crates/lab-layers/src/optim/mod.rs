//! Update rules as loops on plain slices, and an optimizer that applies one of them to all tensors of a network.

mod adafactor;
pub mod codes;
mod eight_bit;
mod elementwise;
mod muon;
pub mod naive;
mod optimizer;
mod pairs;
mod schedule_free;
mod soap;

pub use adafactor::{Adafactor, adafactor, scale};
pub use eight_bit::{Codes, EightBit, Packed};
pub use elementwise::{Adam, Sophia, adamw, lion, momentum, sgd, sign, sophia, sophia_curvature};
pub use muon::{flops as muon_flops, muon, orthogonalize};
pub use optimizer::{Decay, Optimizer, Part, Role, Rule};
pub use pairs::{Pairs, draw};
pub use schedule_free::{ScheduleFree, average};
pub use soap::{Soap, orthonormal};
