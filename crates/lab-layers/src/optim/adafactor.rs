//! Adafactor (Shazeer and Stern, 2018, arXiv:1804.04235): a second moment that is kept as one number a row and one a column.

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adafactor {
    /// Updates whose root mean square is beyond 1 are shortened to it.
    pub clip: bool,
    /// The rate is the paper's own, `min(0.01, 1 / √t)` times the root mean square of the weights: what is asked for is ignored.
    pub relative: bool,
}

/// Added to squares.
const LEAST: f32 = 1e-30;
/// Weights count as no smaller than this.
const LEAST_SCALE: f64 = 1e-3;

// ANCHOR: scale
/// Takes a gradient `[rows, columns]` into the means of its squares, `r` `[rows]` and `c` `[columns]`, and gives the gradient
/// over the root of what both together say. Dividing `r` by its mean first keeps columns that never had a gradient from
/// `0 / 0`.
pub fn scale(g: &[f32], r: &mut [f32], c: &mut [f32], beta: f64) -> Vec<f32> {
    let (rows, columns, beta) = (r.len(), c.len(), beta as f32);
    c.iter_mut().for_each(|c| *c *= beta);
    let share = (1.0 - beta) / rows as f32;
    for (row, r) in g.chunks_exact(columns).zip(&mut *r) {
        let mut sum = 0.0;
        for (g, c) in row.iter().zip(&mut *c) {
            let square = g * g + LEAST;
            sum += square;
            *c += share * square;
        }
        *r = beta * *r + (1.0 - beta) * sum / columns as f32;
    }
    let mean = r.iter().sum::<f32>() / rows as f32;
    let of_column: Vec<f32> = c.iter().map(|c| c.sqrt().recip()).collect();
    let mut u = Vec::with_capacity(g.len());
    for (row, r) in g.chunks_exact(columns).zip(&*r) {
        let of_row = (mean / r).sqrt();
        u.extend(row.iter().zip(&of_column).map(|(g, c)| g * of_row * c));
    }
    u
}
// ANCHOR_END: scale

/// One update of a matrix, or of a vector where `columns` is 1: then `c` is empty and `r` holds a number a weight.
pub fn adafactor(w: &mut [f32], g: &[f32], (r, c): (&mut [f32], &mut [f32]), t: u32, rate: f64, set: &Adafactor) {
    let beta = 1.0 - f64::from(t).powf(-0.8);
    let u = if c.is_empty() {
        let (b, a) = (beta as f32, (1.0 - beta) as f32);
        r.iter_mut().zip(g).for_each(|(v, g)| *v = b * *v + a * (g * g + LEAST));
        g.iter().zip(&*r).map(|(g, v)| g / v.sqrt()).collect()
    } else {
        scale(g, r, c, beta)
    };
    let mut rate = rate;
    if set.relative {
        rate = root_mean_square(w).max(LEAST_SCALE) * f64::from(t).sqrt().recip().min(1e-2);
    }
    if set.clip {
        rate /= root_mean_square(&u).max(1.0);
    }
    super::sgd(w, &u, rate);
}

/// Root of the mean square.
fn root_mean_square(values: &[f32]) -> f64 {
    (values.iter().map(|v| f64::from(v * v)).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::optim::naive;

    #[test]
    fn a_matrix_by_hand() {
        let g = [3.0, 1.0, 0.0, 1.0, 2.0, -1.0];
        let (mut r, mut c) = ([0.0; 2], [0.0; 3]);
        let u = scale(&g, &mut r, &mut c, 0.0);
        for (found, right) in r.iter().chain(&c).zip([10.0 / 3.0, 2.0, 5.0, 2.5, 0.5]) {
            assert!((found - right).abs() < 1e-5, "{found} {right}");
        }
        let right = [1.2, 0.565_685, 0.0, 0.516_398, 1.460_593, -1.632_993];
        assert!(u.iter().zip(right).all(|(u, right)| (u - right).abs() < 1e-5), "{u:?}");
        assert!((root_mean_square(&u) - 1.066_667).abs() < 1e-5);
        // Clipped to a root mean square of 1.
        let (mut w, mut r, mut c) = (vec![0.0; 6], [0.0; 2], [0.0; 3]);
        let set = Adafactor { clip: true, relative: false };
        adafactor(&mut w, &g, (&mut r, &mut c), 1, 0.1, &set);
        assert!((root_mean_square(&w) - 0.1).abs() < 1e-6);
    }

    #[test]
    fn the_short_way_is_the_full_matrix_and_dead_columns_stay_finite() {
        let mut rng = lab_kernels::rng(0, "adafactor");
        let (rows, columns) = (7, 11);
        let (mut r, mut c) = (vec![0.0; rows], vec![0.0; columns]);
        for t in 1..6 {
            let beta = 1.0 - f64::from(t).powf(-0.8);
            let dead = |i: usize| i % columns == 3 || i / columns == 5;
            let g: Vec<f32> =
                (0..rows * columns).map(|i| if dead(i) { 0.0 } else { rng.random_range(-1.0..1.0) }).collect();
            let u = scale(&g, &mut r, &mut c, beta);
            let doubles = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let full = naive::factored(&doubles(&r), &doubles(&c));
            for (i, (u, (g, v))) in u.iter().zip(g.iter().zip(full)).enumerate() {
                assert!(u.is_finite());
                assert!(dead(i) || (f64::from(*u) - f64::from(*g) / v.sqrt()).abs() < 1e-4, "{u} {g} {v}");
            }
        }
        // Squares of rank one are kept exactly.
        let (a, b) = ([1.0_f32, 2.0, 0.5], [3.0_f32, 0.1]);
        let g: Vec<f32> = a.iter().flat_map(|a| b.iter().map(move |b| a * b)).collect();
        let u = scale(&g, &mut [0.0; 3], &mut [0.0; 2], 0.0);
        assert!(u.iter().all(|u| (u - 1.0).abs() < 1e-5), "{u:?}");
    }

    #[test]
    fn the_papers_own_rate_ignores_what_was_asked_for() {
        let run = |rate, relative| {
            let (mut w, mut r) = (vec![0.5, -0.2], vec![0.0; 2]);
            for t in 1..4 {
                adafactor(&mut w, &[0.3, -0.1], (&mut r, &mut []), t, rate, &Adafactor { clip: true, relative });
            }
            w
        };
        assert_eq!(run(1e-4, true), run(1.0, true));
        assert_ne!(run(1e-4, false), run(1.0, false));
    }
}
