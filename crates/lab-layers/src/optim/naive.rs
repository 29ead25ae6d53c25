//! The twins in double precision that the rest of this folder is held against: one line of the paper after the other, over
//! all weights.

use super::Adam;

/// Weights and what a rule remembers of them.
#[derive(Debug, Clone)]
pub struct State {
    /// Weights.
    pub w: Vec<f64>,
    /// First moment.
    pub m: Vec<f64>,
    /// Second moment.
    pub v: Vec<f64>,
}

impl State {
    /// Nothing is remembered yet.
    #[must_use]
    pub fn new(w: &[f32]) -> Self {
        Self { w: w.iter().map(|w| f64::from(*w)).collect(), m: vec![0.0; w.len()], v: vec![0.0; w.len()] }
    }
}

// ANCHOR: adamw
/// AdamW as the paper writes it, line by line: each line is a pass over all weights, and three lines make a new vector.
pub fn adamw(state: &mut State, g: &[f32], t: i32, rate: f64, set: &Adam) {
    let State { w, m, v } = state;
    m.iter_mut().zip(g).for_each(|(m, g)| *m = set.beta_1 * *m + (1.0 - set.beta_1) * f64::from(*g));
    v.iter_mut().zip(g).for_each(|(v, g)| *v = set.beta_2 * *v + (1.0 - set.beta_2) * f64::from(*g).powi(2));
    let m_hat: Vec<f64> = m.iter().map(|m| m / (1.0 - set.beta_1.powi(t))).collect();
    let v_hat: Vec<f64> = v.iter().map(|v| v / (1.0 - set.beta_2.powi(t))).collect();
    let update: Vec<f64> = m_hat.iter().zip(&v_hat).map(|(m, v)| m / (v.sqrt() + set.epsilon)).collect();
    w.iter_mut().for_each(|w| *w *= 1.0 - rate * set.decay);
    w.iter_mut().zip(&update).for_each(|(w, u)| *w -= rate * u);
}
// ANCHOR_END: adamw

/// Lion, line by line.
pub fn lion(state: &mut State, g: &[f32], rate: f64, (beta_1, beta_2): (f64, f64)) {
    for ((w, m), g) in state.w.iter_mut().zip(&mut state.m).zip(g) {
        let g = f64::from(*g);
        let mixed = beta_1 * *m + (1.0 - beta_1) * g;
        *w -= if mixed == 0.0 { 0.0 } else { rate * mixed.signum() };
        *m = beta_2 * *m + (1.0 - beta_2) * g;
    }
}

// ANCHOR: factored
/// Adafactor's second moment in full: the product of a column of row means and a row of column means, `[rows, columns]`.
#[must_use]
pub fn factored(r: &[f64], c: &[f64]) -> Vec<f64> {
    let mean = r.iter().sum::<f64>() / r.len().max(1) as f64;
    r.iter().flat_map(|r| c.iter().map(move |c| r * c / mean)).collect()
}
// ANCHOR_END: factored

/// `a · b` of `[m, k]` and `[k, n]`.
#[must_use]
pub fn product(a: &[f64], b: &[f64], k: usize) -> Vec<f64> {
    let n = b.len() / k.max(1);
    let mut c = vec![0.0; a.len() / k.max(1) * n];
    for (a, c) in a.chunks_exact(k).zip(c.chunks_exact_mut(n)) {
        for (a, b) in a.iter().zip(b.chunks_exact(n)) {
            c.iter_mut().zip(b).for_each(|(c, b)| *c += a * b);
        }
    }
    c
}

/// `[columns, rows]` of `[rows, columns]`.
#[must_use]
pub fn transposed(a: &[f64], columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|c| a.iter().skip(c).step_by(columns).copied()).collect()
}

/// Newton and Schulz's five steps in doubles, on a matrix that is not taller than wide.
#[must_use]
pub fn orthogonalize(g: &[f32], rows: usize, columns: usize, steps: usize) -> Vec<f64> {
    let norm = g.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    let mut x: Vec<f64> = g.iter().map(|g| f64::from(*g) / norm).collect();
    for _ in 0..steps {
        let a = product(&x, &transposed(&x, columns), columns);
        let b: Vec<f64> = product(&a, &a, rows).iter().zip(&a).map(|(aa, a)| 2.0315 * aa - 4.7750 * a).collect();
        x = product(&b, &x, rows).iter().zip(&x).map(|(bx, x)| bx + 3.4445 * x).collect();
    }
    x
}
