//! The inner loop along a batch, shared by all formats.

use wide::f32x4;

// ANCHOR: along_batch
/// One row of outputs, `[n]`: the sum of `w · x[column]` over the row's entries. The vector runs along the batch: an entry is
/// read once and serves 32 products, so that finding it costs little.
#[inline(always)]
pub(super) fn along_batch(entries: impl Iterator<Item = (f32, usize)> + Clone, x: &[f32], n: usize, y: &mut [f32]) {
    let mut at = 0;
    while at + 32 <= n {
        strip::<8>(entries.clone(), x, n, at, y);
        at += 32;
    }
    while at + 4 <= n {
        strip::<1>(entries.clone(), x, n, at, y);
        at += 4;
    }
    for at in at..n {
        y[at] = entries.clone().map(|(w, column)| w * x[column * n + at]).sum();
    }
}

/// `4 V` neighbours of the batch, in `V` vectors that stay in registers.
#[inline(always)]
fn strip<const V: usize>(entries: impl Iterator<Item = (f32, usize)>, x: &[f32], n: usize, at: usize, y: &mut [f32]) {
    let mut sums = [f32x4::ZERO; V];
    for (w, column) in entries {
        let (w, x) = (f32x4::splat(w), x[column * n + at..][..4 * V].as_chunks::<4>().0);
        for v in 0..V {
            sums[v] += w * f32x4::new(x[v]);
        }
    }
    for (y, sum) in y[at..][..4 * V].as_chunks_mut::<4>().0.iter_mut().zip(sums) {
        *y = sum.to_array();
    }
}
// ANCHOR_END: along_batch
