//! The selective scan of Mamba: a step of its own for each token and channel (Gu and Dao, 2023, arXiv:2312.00752).

use wide::f32x4;

/// What it reads. Each channel has a state of `n` numbers: `h = e^(Δ A) h + Δ B x`, `y = C · h`.
#[derive(Debug, Clone, Copy)]
pub struct Selective<'a> {
    /// `[T, p]`: steps Δ, positive.
    pub delta: &'a [f32],
    /// `[p, n]`: rates A, negative.
    pub a: &'a [f32],
    /// `[T, n]`: where a token is written, for all channels.
    pub b: &'a [f32],
    /// `[T, n]`: what reads.
    pub c: &'a [f32],
    /// `[T, p]`: inputs.
    pub x: &'a [f32],
    /// n and p.
    pub sizes: [usize; 2],
}

impl Selective<'_> {
    // ANCHOR: fused
    /// Token by token. Factors and states are made where they are used and never written out, as in Mamba's kernel: `[T, p, n]` of
    /// them would be `n` times the input. `state` `[p, n]` is continued.
    #[must_use]
    pub fn fused(self, state: &mut [f32]) -> Vec<f32> {
        let [n, p] = self.sizes;
        let (mut out, mut keep) = (vec![0.0; self.x.len()], vec![0.0; n]);
        for (t, y) in out.chunks_exact_mut(p).enumerate() {
            let (b, c) = (&self.b[t * n..][..n], &self.c[t * n..][..n]);
            for (channel, y) in y.iter_mut().enumerate() {
                let (delta, x) = (self.delta[t * p + channel], self.x[t * p + channel]);
                keep.copy_from_slice(&self.a[channel * n..][..n]);
                exponentials(&mut keep, delta);
                let write = delta * x;
                for ((h, keep), (b, c)) in state[channel * n..][..n].iter_mut().zip(&keep).zip(b.iter().zip(c)) {
                    *h = keep * *h + write * b;
                    *y += c * *h;
                }
            }
        }
        out
    }
    // ANCHOR_END: fused

    /// All factors and inputs written out, `[T, p n]` each, and `scan` over them: a function as [`sequential`](super::sequential).
    #[must_use]
    pub fn scanned(self, start: &[f32], scan: impl Fn(&[f32], &[f32], &[f32]) -> Vec<f32>) -> Vec<f32> {
        let [n, p] = self.sizes;
        let mut keep = Vec::with_capacity(self.x.len() * n);
        let mut write = Vec::with_capacity(self.x.len() * n);
        for (t, (deltas, xs)) in self.delta.chunks_exact(p).zip(self.x.chunks_exact(p)).enumerate() {
            for ((delta, x), rates) in deltas.iter().zip(xs).zip(self.a.chunks_exact(n)) {
                let from = keep.len();
                keep.extend_from_slice(rates);
                exponentials(&mut keep[from..], *delta);
                write.extend(self.b[t * n..][..n].iter().map(|b| delta * x * b));
            }
        }
        let states = scan(&keep, &write, start);
        let read = |(at, h): (usize, &[f32])| self.c[at / p * n..][..n].iter().zip(h).map(|(c, h)| c * h).sum();
        states.chunks_exact(n).enumerate().map(read).collect()
    }
}

/// `e^(factor x)` in place, the same bits natively and in a browser.
fn exponentials(row: &mut [f32], factor: f32) {
    let (fours, rest) = row.as_chunks_mut::<4>();
    for four in fours {
        *four = (f32x4::new(*four) * f32x4::splat(factor)).exp().to_array();
    }
    for x in rest {
        *x = f32x4::splat(*x * factor).exp().to_array()[0];
    }
}
