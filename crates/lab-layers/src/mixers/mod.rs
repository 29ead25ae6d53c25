//! What stands in the place of softmax attention: weights that are products of features, sums that forget or overwrite, keys
//! projected to a fixed number, windows. One head each, causal unless said otherwise, with the naive form beside the fast one.
//!
//! Letters: `T` tokens, `d` channels of a query, `m` features of it, `p` channels of a value.

pub mod block;
mod features;
mod kernel;
mod learned;
mod memory;
mod patterns;
pub mod stack;
pub mod states;
#[cfg(test)]
mod tests;

pub use features::{Map, random_rows};
pub use kernel::{State, attend_chunked, attend_quadratic, attend_step};
pub use learned::imitation;
pub use memory::{Gates, Gradients, Memory, delta_chunked, delta_step, recur, recur_backward};
pub use patterns::{apply, entropy, features_for, kernel_weights, linformer, softmax_weights, top, total_variation};

use wide::f32x4;

/// `e^x` in place, the same bits natively and in a browser.
fn exponentials(row: &mut [f32]) {
    let (fours, rest) = row.as_chunks_mut::<4>();
    for four in fours {
        *four = f32x4::new(*four).exp().to_array();
    }
    for x in rest {
        *x = f32x4::splat(*x).exp().to_array()[0];
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let ((a8, a), (b8, b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a8.iter().zip(b8) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()
}

fn add(to: &mut [f32], factor: f32, from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}
