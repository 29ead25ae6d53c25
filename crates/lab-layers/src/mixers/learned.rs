//! A feature map that learns to weigh as a given softmax attention does.

use super::{dot, exponentials};
use lab_kernels::product::{View, product};

// ANCHOR: imitation
/// How far weights of the map `e^(w · x)` are from `target` `[T, T]` (causal, rows sum to 1): mean cross-entropy of a row in nats
/// from row `first` on, and its gradient with respect to the rows `[m, d]` of queries and of keys, one after the other.
#[must_use]
pub fn imitation(q: &[f32], k: &[f32], d: usize, target: &[f32], rows: &[f32], first: usize) -> (f64, Vec<f32>) {
    let (t, half) = (q.len() / d.max(1), rows.len() / 2);
    let (m, [for_q, for_k]) = (half / d.max(1), [&rows[..half], &rows[half..]]);
    let features = |x: &[f32], rows: &[f32], each: bool| {
        let mut all = product(View::new(x, t, d), View::new(rows, m, d).transposed());
        let width = if each { m } else { all.len() };
        for part in all.chunks_exact_mut(width.max(1)) {
            let most = part.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            part.iter_mut().for_each(|x| *x -= most);
        }
        exponentials(&mut all);
        all
    };
    let (fq, fk) = (features(q, for_q, true), features(k, for_k, false));
    let (mut loss, mut slope) = (0.0, vec![0.0; t * t]);
    let share = 1.0 / (t - first.min(t - 1)) as f32;
    for i in first..t {
        let weights: Vec<f32> =
            fk.chunks_exact(m).take(i + 1).map(|k| dot(&fq[i * m..(i + 1) * m], k) + 1e-20).collect();
        let sum: f32 = weights.iter().sum();
        for (j, w) in weights.iter().enumerate() {
            let wanted = target[i * t + j];
            loss -= f64::from(wanted * (w / sum).ln()) * f64::from(share);
            slope[i * t + j] = share * (1.0 / sum - wanted / w);
        }
    }
    // Through the product of features, and through their exponents.
    let table = View::new(&slope, t, t);
    let mut dq = product(table, View::new(&fk, t, m));
    let mut dk = product(table.transposed(), View::new(&fq, t, m));
    dq.iter_mut().zip(&fq).for_each(|(d, f)| *d *= f);
    dk.iter_mut().zip(&fk).for_each(|(d, f)| *d *= f);
    let mut gradient = product(View::new(&dq, t, m).transposed(), View::new(q, t, d));
    gradient.extend(product(View::new(&dk, t, m).transposed(), View::new(k, t, d)));
    (loss, gradient)
}
// ANCHOR_END: imitation
