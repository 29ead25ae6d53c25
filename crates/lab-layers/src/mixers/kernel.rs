//! Attention whose weights are products of features: one function in three forms.

use super::{add, dot};
use lab_kernels::attention::products::{PANEL, add_product, add_transposed, pack, scores};

/// Below this a sum of weights counts as none, and the output is zero.
const NOTHING: f32 = 1e-30;

/// All that a head remembers of the past: `m (p + 1)` numbers, whatever the length.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// `[m, p]`: sum of `φ(k) vᵀ`.
    pub sums: Vec<f32>,
    /// `[m]`: sum of `φ(k)`.
    pub total: Vec<f32>,
    /// The exponent that is taken out of both.
    largest: f32,
}

impl State {
    /// Of an empty past.
    #[must_use]
    pub fn new(m: usize, p: usize) -> Self {
        Self { sums: vec![0.0; m * p], total: vec![0.0; m], largest: f32::NEG_INFINITY }
    }

    /// Bytes, at 4 a number.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * (self.sums.len() + self.total.len())
    }

    /// Brings state and new keys to one exponent: the factor by which the new keys are to be multiplied.
    fn meet(&mut self, largest: f32) -> f32 {
        if largest > self.largest {
            let factor = (self.largest - largest).exp(); // 0 for the first keys
            self.sums.iter_mut().chain(&mut self.total).for_each(|x| *x *= factor);
            self.largest = largest;
            return 1.0;
        }
        (largest - self.largest).exp()
    }
}

fn divide(row: &mut [f32], sum: f32) {
    if sum.abs() > NOTHING {
        row.iter_mut().for_each(|y| *y /= sum);
    } else {
        row.fill(0.0);
    }
}

// ANCHOR: quadratic
/// As the formula says: each query of `fq` `[T, m]` meets each earlier key of `fk` `[T, m]`, and a weight fades by `decay` with
/// every token between them. `v` is `[T, p]`.
#[must_use]
pub fn attend_quadratic(fq: &[f32], fk: &[f32], v: &[f32], [m, p]: [usize; 2], decay: f32) -> Vec<f32> {
    let mut out = vec![0.0; v.len()];
    for (i, (q, out)) in fq.chunks_exact(m).zip(out.chunks_exact_mut(p)).enumerate() {
        let mut sum = 0.0;
        for (j, (k, v)) in fk.chunks_exact(m).zip(v.chunks_exact(p)).enumerate().take(i + 1) {
            let weight = dot(q, k) * decay.powi((i - j) as i32);
            sum += weight;
            add(out, weight, v);
        }
        divide(out, sum);
    }
    out
}
// ANCHOR_END: quadratic

// ANCHOR: step
/// One token: it is added to the state, then its query reads the state. The form in which text is written. `largest` is the
/// exponent that was taken out of the key's features `fk` `[m]`.
pub fn attend_step(state: &mut State, fq: &[f32], (fk, largest): (&[f32], f32), v: &[f32], decay: f32) -> Vec<f32> {
    let factor = state.meet(largest);
    let mut out = vec![0.0; v.len()];
    let mut sum = 0.0;
    for ((q, k), (row, total)) in
        fq.iter().zip(fk).zip(state.sums.chunks_exact_mut(v.len().max(1)).zip(&mut state.total))
    {
        let k = k * factor;
        row.iter_mut().zip(v).for_each(|(s, v)| *s = decay * *s + k * v);
        *total = decay * *total + k;
        add(&mut out, *q, row);
        sum += q * *total;
    }
    divide(&mut out, sum);
    out
}
// ANCHOR_END: step

// ANCHOR: chunked
/// The same, a chunk of tokens at a time: within a chunk queries meet keys, and all that is earlier they read in the state.
pub fn attend_chunked(
    fq: &[f32],
    (fk, largest): (&[f32], f32),
    v: &[f32],
    [m, p]: [usize; 2],
    (chunk, decay): (usize, f32),
    state: &mut State,
) -> Vec<f32> {
    let (chunk, factor) = (chunk.max(1), state.meet(largest));
    let fades: Vec<f32> = (0..=chunk).map(|n| decay.powi(n as i32)).collect();
    let mut out = vec![0.0; v.len()];
    let parts = fq.chunks(chunk * m).zip(fk.chunks(chunk * m)).zip(v.chunks(chunk * p)).zip(out.chunks_mut(chunk * p));
    for (((fq, fk), v), out) in parts {
        let (t, mut sums) = (fq.len() / m, vec![0.0; fq.len() / m]);
        add_product(out, fq, m, &state.sums, p); // what is earlier, faded by i + 1 tokens
        for (i, (row, sum)) in out.chunks_exact_mut(p).zip(&mut sums).enumerate() {
            row.iter_mut().for_each(|y| *y *= fades[i + 1]);
            *sum = fades[i + 1] * dot(&fq[i * m..(i + 1) * m], &state.total);
        }
        let stride = t.next_multiple_of(PANEL);
        let mut table = vec![0.0; t * stride];
        scores(fq, m, &pack(fk, m), factor, &mut table, stride);
        for (i, row) in table.chunks_exact_mut(stride).enumerate() {
            row[i + 1..].fill(0.0);
            if decay != 1.0 {
                row[..=i].iter_mut().enumerate().for_each(|(j, w)| *w *= fades[i - j]);
            }
            sums[i] += row[..=i].iter().sum::<f32>();
        }
        add_product(out, &table, stride, v, p);
        out.chunks_exact_mut(p).zip(&sums).for_each(|(row, sum)| divide(row, *sum));
        let faded: Vec<f32> = fk
            .chunks_exact(m)
            .enumerate()
            .flat_map(|(j, k)| k.iter().map(move |k| (j, k)))
            .map(|(j, k)| factor * fades[t - 1 - j] * k)
            .collect();
        if decay != 1.0 {
            state.sums.iter_mut().chain(&mut state.total).for_each(|s| *s *= fades[t]);
        }
        add_transposed(&mut state.sums, &faded, m, v, p);
        faded.chunks_exact(m).for_each(|k| add(&mut state.total, 1.0, k));
    }
    out
}
// ANCHOR_END: chunked
