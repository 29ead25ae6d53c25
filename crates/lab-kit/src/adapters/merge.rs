//! Adapters on plain numbers, `[outputs, inputs]` as a file keeps them: their gradients, and merging.

use lab_api::LabError;

use super::{Method, Setting};
use crate::models::StateDict;

/// Outputs m, inputs n, rank r.
pub(super) type Sizes = (usize, usize, usize);

// ANCHOR: delta
/// `s B A`, `[m, n]`, of `A` `[r, n]` and `B` `[m, r]`.
#[must_use]
pub fn delta(a: &[f32], b: &[f32], scale: f32, (m, n, r): Sizes) -> Vec<f32> {
    let mut change = vec![0.0; m * n];
    for (row, b) in change.chunks_exact_mut(n).zip(b.chunks_exact(r)) {
        for (b, a) in b.iter().zip(a.chunks_exact(n)) {
            row.iter_mut().zip(a).for_each(|(sum, a)| *sum += scale * b * a);
        }
    }
    change
}

/// `W + s B A`: the adapter is gone, and costs nothing any more.
#[must_use]
pub fn merge(w: &[f32], a: &[f32], b: &[f32], scale: f32, sizes: Sizes) -> Vec<f32> {
    w.iter().zip(delta(a, b, scale, sizes)).map(|(w, change)| w + change).collect()
}
// ANCHOR_END: delta

/// The rows of `weights` `[m, n]` scaled to these lengths: DoRA's last step. A row of zeros stays.
pub fn rows_of_magnitude(weights: &mut [f32], magnitude: &[f32]) {
    let n = weights.len() / magnitude.len().max(1);
    for (row, magnitude) in weights.chunks_exact_mut(n.max(1)).zip(magnitude) {
        let norm = row.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>().sqrt();
        if norm > 0.0 {
            let factor = (f64::from(*magnitude) / norm) as f32;
            row.iter_mut().for_each(|w| *w *= factor);
        }
    }
}

// ANCHOR: backward
/// Gradients of `y = W x + s B (A x)` for one input `x` `[n]`, given that of the output `dy` `[m]`: of `A`, of `B` and of
/// `x`. No buffer has the size of `W`, and `W` gets none.
#[must_use]
pub fn backward(
    w: &[f32],
    (a, b, scale): (&[f32], &[f32], f32),
    (x, dy): (&[f32], &[f32]),
    (_, n, r): Sizes,
) -> [Vec<f32>; 3] {
    let dot = |u: &[f32], v: &[f32]| u.iter().zip(v).map(|(u, v)| u * v).sum::<f32>();
    let inner: Vec<f32> = a.chunks_exact(n).map(|row| dot(row, x)).collect(); // A x, [r]
    let db = dy.iter().flat_map(|dy| inner.iter().map(move |inner| scale * dy * inner)).collect();
    let back: Vec<f32> = // s Bᵀ dy, [r]
        (0..r).map(|k| scale * dy.iter().zip(b.chunks_exact(r)).map(|(dy, row)| dy * row[k]).sum::<f32>()).collect();
    let da = back.iter().flat_map(|back| x.iter().map(move |x| back * x)).collect();
    let mut dx = vec![0.0; n];
    for (row, factor) in w.chunks_exact(n).zip(dy).chain(a.chunks_exact(n).zip(&back)) {
        dx.iter_mut().zip(row).for_each(|(dx, w)| *dx += factor * w);
    }
    [da, db, dx]
}
// ANCHOR_END: backward

// ANCHOR: retained
/// Which share of a change survives when it is added to `weights` and the sum is rounded: the rounded change, projected onto
/// the wanted one. 1: all of it. 0: nothing. `round` stores a whole matrix.
#[must_use]
pub fn retained(weights: &[f32], change: &[f32], round: &dyn Fn(&[f32]) -> Vec<f32>) -> f64 {
    let sum: Vec<f32> = weights.iter().zip(change).map(|(w, d)| w + d).collect();
    let (before, after) = (round(weights), round(&sum));
    let (mut along, mut length) = (0.0, 0.0);
    for ((before, after), d) in before.iter().zip(&after).zip(change) {
        let d = f64::from(*d);
        along += (f64::from(*after) - f64::from(*before)) * d;
        length += d * d;
    }
    if length > 0.0 { along / length } else { 1.0 }
}
// ANCHOR_END: retained

/// The weights of a model whose adapters are merged, under the names of the plain model. `state` holds the weights of a model
/// that [`adapt`](super::adapt) made.
///
/// # Errors
/// [`LabError::Refused`] for what is no matrix beside a matrix: a prompt, a prefix, a bottleneck, or a bias, for which this
/// layout has no place. [`LabError::Asset`] when factors do not fit their matrix, with both shapes.
pub fn merged_weights(state: &StateDict, setting: &Setting) -> Result<StateDict, LabError> {
    let because = match setting.method {
        Method::Prompt | Method::Prefix => "it is something that the model reads, and no weight",
        Method::Bottleneck => "a bottleneck is not linear",
        Method::Bias => "this layout has no place for a bias",
        _ => "",
    };
    if !because.is_empty() {
        return Err(LabError::Refused { why: format!("this adapter cannot be merged: {because}") });
    }
    let mut merged = StateDict::default();
    for (name, weight) in state.iter().filter(|(name, _)| !name.contains(".adapter.")) {
        merged.insert(name, &weight.shape, weight.values.clone())?;
    }
    for (name, b) in state.iter().filter(|(name, _)| name.ends_with(".adapter.b")) {
        let matrix = name.trim_end_matches(".adapter.b");
        let (a, weight) = (state.get(&format!("{matrix}.adapter.a")), merged.get_mut(&format!("{matrix}.weight")));
        let (Some(a), Some(weight)) = (a, weight) else {
            return Err(LabError::Asset { name: matrix.into(), why: "it lacks a factor or its matrix".into() });
        };
        let (m, n, r) = (weight.shape[0], weight.shape[1], b.shape[1]);
        if a.shape != [r, n] || b.shape != [m, r] {
            let why =
                format!("factors of shapes {:?} and {:?} do not fit a matrix of shape [{m}, {n}]", b.shape, a.shape);
            return Err(LabError::Asset { name: matrix.into(), why });
        }
        weight.values = merge(&weight.values, &a.values, &b.values, setting.scale, (m, n, r));
        if let Some(magnitude) = state.get(&format!("{matrix}.adapter.magnitude")) {
            rows_of_magnitude(&mut weight.values, &magnitude.values);
        }
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::{adapters::Storage, linalg::Matrix};

    const W: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    const A: [f32; 2] = [0.5, -1.0];
    const B: [f32; 3] = [1.0, 0.0, 2.0];

    fn apply(w: &[f32], x: &[f32]) -> Vec<f32> {
        w.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    }

    #[test]
    fn the_worked_example() {
        let sizes = (3, 2, 1);
        let merged = merge(&W, &A, &B, 2.0, sizes);
        assert_eq!(merged, [2.0, 0.0, 3.0, 4.0, 7.0, 2.0]);
        assert_eq!(apply(&merged, &[3.0, 1.0]), [6.0, 13.0, 23.0]);
        let [da, db, dx] = backward(&W, (&A, &B, 2.0), (&[3.0, 1.0], &[1.0, -1.0, 0.5]), sizes);
        assert_eq!((da, db, dx), (vec![12.0, 4.0], vec![1.0, -1.0, 0.5], vec![2.5, -3.0]));
        let [da, ..] = backward(&W, (&A, &[0.0; 3], 2.0), (&[3.0, 1.0], &[1.0, -1.0, 0.5]), sizes);
        assert_eq!(da, [0.0, 0.0]);
        let mut rows = merged;
        rows_of_magnitude(&mut rows, &[5.0_f32.sqrt(), 5.0, 61.0_f32.sqrt()]);
        for (found, expected) in rows.iter().zip([2.236_068, 0.0, 3.0, 4.0, 7.509_742, 2.145_641]) {
            assert!((found - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn gradients_are_those_of_small_changes_and_a_merged_change_has_its_rank() {
        let mut rng = crate::rng(0, "adapters");
        for (m, n, r) in [(3, 2, 1), (1, 5, 1), (4, 3, 3), (5, 7, 2)] {
            let mut draw = |count: usize| (0..count).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
            let (w, a, b, x, dy) = (draw(m * n), draw(r * n), draw(m * r), draw(n), draw(m));
            let loss = |a: &[f32], b: &[f32], x: &[f32]| -> f32 {
                apply(&merge(&w, a, b, 0.7, (m, n, r)), x).iter().zip(&dy).map(|(y, dy)| y * dy).sum()
            };
            let found = backward(&w, (&a, &b, 0.7), (&x, &dy), (m, n, r));
            let slope = |which: usize, at: usize| {
                let moved = |by: f32| {
                    let mut all = [a.clone(), b.clone(), x.clone()];
                    all[which][at] += by;
                    loss(&all[0], &all[1], &all[2])
                };
                (moved(1e-2) - moved(-1e-2)) / 2e-2
            };
            for (which, gradient) in found.iter().enumerate() {
                for (at, value) in gradient.iter().enumerate() {
                    assert!((slope(which, at) - value).abs() < 1e-3 * (1.0 + value.abs()), "{which} {at}");
                }
            }
            let change = Matrix::new(m, n, delta(&a, &b, 0.7, (m, n, r)).iter().map(|x| f64::from(*x)).collect());
            let values = singular_values(change);
            assert!(values.iter().skip(r).all(|value| *value < 1e-5), "{values:?}");
        }
    }

    fn singular_values(matrix: Matrix) -> Vec<f64> {
        crate::linalg::svd(&matrix).expect("finite").s
    }

    #[test]
    fn factors_of_another_model_are_refused_with_both_shapes() {
        let mut state = StateDict::default();
        for (name, shape) in [("x.weight", [3, 2]), ("x.adapter.a", [1, 3]), ("x.adapter.b", [3, 1])] {
            state.insert(name, &shape, vec![0.0; shape.iter().product()]).expect("fits");
        }
        let setting = Setting { method: Method::LowRank, rank: 1, scale: 1.0, targets: crate::adapters::Targets::All };
        let why = merged_weights(&state, &setting).expect_err("refused").to_string();
        assert!(why.contains("[3, 1] and [1, 3]") && why.contains("[3, 2]"), "{why}");
    }

    #[test]
    fn a_small_change_of_weights_on_a_grid_vanishes_and_of_others_survives_on_average() {
        let mut rng = crate::rng(0, "merge");
        let weights: Vec<f32> = (0..64 * 256).map(|_| rng.random_range(-1.0_f32..1.0)).collect();
        let change: Vec<f32> = weights.iter().map(|_| rng.random_range(-0.02_f32..0.02)).collect();
        let round = |values: &[f32]| Storage::Int4.store(values, 256);
        let on_grid = round(&weights);
        // A step of four bits is a seventh of the largest weight: 0.02 is far below half of it.
        let lost = retained(&on_grid, &change, &round);
        let kept = retained(&weights, &change, &round);
        assert!(lost.abs() < 0.02, "{lost}");
        assert!((kept - 1.0).abs() < 0.2, "{kept}");
        assert!((retained(&weights, &change, &|values| values.to_vec()) - 1.0).abs() < 1e-3);
    }
}
