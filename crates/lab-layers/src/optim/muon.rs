//! Muon (Jordan et al., 2024): momentum whose matrix is brought near to an orthogonal one.

use lab_kernels::product::{View, product};

/// Newton and Schulz's polynomial, tuned to be steep at 0 rather than to end at 1.
const STEEP: [f32; 3] = [3.4445, -4.7750, 2.0315];
/// Its steps.
const STEPS: usize = 5;

// ANCHOR: orthogonalize
/// Near `U Vᵀ` of a matrix `U S Vᵀ`, `[rows, columns]`, by products alone: after five steps all singular values that were
/// not tiny lie about 1, between 0.68 and 1.14. A matrix of zeros stays one.
#[must_use]
pub fn orthogonalize(g: &[f32], rows: usize, columns: usize, steps: usize) -> Vec<f32> {
    let norm = g.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt().max(1e-30);
    let mut x: Vec<f32> = g.iter().map(|g| (f64::from(*g) / norm) as f32).collect();
    for _ in 0..steps {
        let view = View::new(&x, rows, columns);
        // The product of the short sides is the smaller one.
        let wide = rows <= columns;
        let n = rows.min(columns);
        let a = if wide { product(view, view.transposed()) } else { product(view.transposed(), view) };
        let square = product(View::new(&a, n, n), View::new(&a, n, n));
        let b: Vec<f32> = a.iter().zip(&square).map(|(a, aa)| STEEP[1] * a + STEEP[2] * aa).collect();
        let b = View::new(&b, n, n);
        let bx = if wide { product(b, view) } else { product(view, b) };
        x.iter_mut().zip(&bx).for_each(|(x, bx)| *x = STEEP[0] * *x + bx);
    }
    x
}
// ANCHOR_END: orthogonalize

// ANCHOR: muon
/// One update of a hidden matrix. The factor makes the update as long as one of AdamW, so that both can share a rate (Liu et
/// al., 2025, arXiv:2502.16982).
pub fn muon(w: &mut [f32], g: &[f32], m: &mut [f32], (rows, columns): (usize, usize), rate: f64, keep: f64) {
    let k = keep as f32;
    m.iter_mut().zip(g).for_each(|(m, g)| *m = k * *m + g);
    let ahead: Vec<f32> = g.iter().zip(&*m).map(|(g, m)| g + k * m).collect();
    let update = orthogonalize(&ahead, rows, columns, STEPS);
    super::sgd(w, &update, rate * 0.2 * (rows.max(columns) as f64).sqrt());
}
// ANCHOR_END: muon

/// Operations of one call of [`orthogonalize`].
#[must_use]
pub fn flops(rows: usize, columns: usize) -> f64 {
    let (a, b) = (rows.min(columns) as f64, rows.max(columns) as f64);
    STEPS as f64 * (4.0 * a * a * b + 2.0 * a * a * a)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::optim::naive;

    const G: [f32; 6] = [3.0, 1.0, 0.0, 1.0, 2.0, -1.0];

    fn near(found: &[f32], right: &[f64], within: f64) {
        for (found, right) in found.iter().zip(right) {
            assert!((f64::from(*found) - right).abs() < within, "{found} {right}");
        }
    }

    #[test]
    fn five_steps_by_hand_and_in_doubles() {
        let right = [0.806_894, -0.107_197, 0.225_697, -0.152_336, 0.823_812, -0.524_754];
        near(&orthogonalize(&G, 2, 3, 5), &right, 2e-5);
        // One number is the scalar map.
        for (steps, right) in [(1, 0.034_440), (2, 0.118_434), (3, 0.400_062), (4, 1.093_090), (5, 0.698_917)] {
            let x = orthogonalize(&[0.01, 0.0, 0.0, (1.0_f32 - 1e-4).sqrt()], 2, 2, steps);
            assert!((f64::from(x[0]) - right).abs() < 1e-4, "{steps}: {}", x[0]);
        }
        let mut rng = lab_kernels::rng(0, "muon");
        let g: Vec<f32> = (0..12 * 20).map(|_| rng.random_range(-1.0..1.0)).collect();
        near(&orthogonalize(&g, 12, 20, 5), &naive::orthogonalize(&g, 12, 20, 5), 1e-4);
    }

    #[test]
    fn scale_does_not_matter_and_a_tall_matrix_is_a_wide_one_turned() {
        let times: Vec<f32> = G.iter().map(|g| 1000.0 * g).collect();
        let one = orthogonalize(&G, 2, 3, 5);
        let right: Vec<f64> = one.iter().map(|x| f64::from(*x)).collect();
        near(&orthogonalize(&times, 2, 3, 5), &right, 1e-5);
        let turned = [3.0, 1.0, 1.0, 2.0, 0.0, -1.0];
        let tall = orthogonalize(&turned, 3, 2, 5);
        let back = [tall[0], tall[2], tall[4], tall[1], tall[3], tall[5]];
        near(&back, &right, 1e-5);
        assert_eq!(orthogonalize(&[0.0; 6], 2, 3, 5), [0.0; 6]);
        assert_eq!(flops(128, 256), flops(256, 128));
    }

    #[test]
    fn all_singular_values_end_in_a_band() {
        for i in 0..60 {
            let s = 0.01 * 100_f32.powf(i as f32 / 60.0);
            let other = (1.0 - s * s).max(0.0).sqrt();
            let x = orthogonalize(&[s, 0.0, 0.0, other], 2, 2, 5);
            assert!((0.65..1.25).contains(&x[0]), "{s}: {}", x[0]);
        }
    }
}
