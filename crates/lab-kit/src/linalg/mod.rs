//! Dense linear algebra on the processor, in `f64`: small matrices whose decompositions decide what a compressed layer keeps.
//!
//! Sums run in one order and use nothing but `+ - * /` and `sqrt`, so that every platform gets the same bits.

mod eigen;
mod factors;
mod gauge;
mod kernels;
mod matrix;
mod ranks;
mod solve;
mod svd;

pub use eigen::{Eigen, eigen};
pub use factors::{Factors, Root, Weighted, random_subspace, weighted};
pub use gauge::Gauge;
pub use kernels::{Cp, Kernel, Tucker};
pub use matrix::Matrix;
pub use ranks::{Rank, Spectrum, break_even, gauge_numbers, plain_numbers, rank_by_energy, ranks_by_budget};
pub use solve::{pivoted_qr, solve_lower_from_right, solve_upper_of_lower};
pub use svd::{Svd, svd, svd_by_rotations, svd_randomized};
