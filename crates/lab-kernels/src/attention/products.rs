//! The three products of attention, for tiles: queries with keys, weights with values, and weights transposed with gradients.

use wide::f32x4;

/// Keys that lie side by side in a packed panel.
pub const PANEL: usize = 8;
/// Rows of a result that a pass keeps in registers, two vectors each.
const ROWS: usize = 4;

/// `[rows, d]` as panels `[rows / 8, d, 8]`, the last filled up with zeros: a product then reads eight keys at once.
pub fn pack(x: &[f32], d: usize) -> Vec<f32> {
    let d = d.max(1);
    let rows = x.len() / d;
    let mut packed = vec![0.0; rows.next_multiple_of(PANEL) * d];
    for (panel, rows) in packed.chunks_exact_mut(PANEL * d).zip(x.chunks(PANEL * d)) {
        for (at, row) in rows.chunks_exact(d).enumerate() {
            for (eight, x) in panel.chunks_exact_mut(PANEL).zip(row) {
                eight[at] = *x;
            }
        }
    }
    packed
}

/// `scale · q kᵀ` of `q` `[rows, d]` and the panels of `keys`, into `out` `[rows, stride]`; `stride` takes whole panels.
pub fn scores(q: &[f32], d: usize, keys: &[f32], scale: f32, out: &mut [f32], stride: usize) {
    let d = d.max(1);
    let (mut q, mut out) = (q, out);
    while q.len() >= ROWS * d {
        let (four, rest) = q.split_at(ROWS * d);
        let (rows, others) = std::mem::take(&mut out).split_at_mut(ROWS * stride);
        score_rows::<ROWS>(four, d, keys, scale, rows, stride);
        (q, out) = (rest, others);
    }
    for (q, out) in q.chunks_exact(d).zip(out.chunks_exact_mut(stride)) {
        score_rows::<1>(q, d, keys, scale, out, stride);
    }
}

fn score_rows<const R: usize>(q: &[f32], d: usize, keys: &[f32], scale: f32, out: &mut [f32], stride: usize) {
    let rows: [&[f32]; R] = std::array::from_fn(|r| &q[r * d..(r + 1) * d]);
    for (at, panel) in keys.chunks_exact(PANEL * d).enumerate() {
        let mut sums = [[f32x4::splat(0.0); 2]; R];
        let (eights, _) = panel.as_chunks::<PANEL>();
        for (c, eight) in eights.iter().enumerate().take(d) {
            let [low, high] = halves(eight);
            for (sum, row) in sums.iter_mut().zip(rows) {
                let q = f32x4::splat(row[c]);
                sum[0] += q * low;
                sum[1] += q * high;
            }
        }
        for (r, [low, high]) in sums.into_iter().enumerate() {
            let to = &mut out[r * stride + at * PANEL..][..PANEL];
            to[..4].copy_from_slice((low * scale).as_array());
            to[4..].copy_from_slice((high * scale).as_array());
        }
    }
}

fn halves(eight: &[f32; PANEL]) -> [f32x4; 2] {
    let [a, b, c, d, e, f, g, h] = *eight;
    [f32x4::new([a, b, c, d]), f32x4::new([e, f, g, h])]
}

/// `out += a b`: `a` `[rows, inner]` with rows `stride` apart, `b` `[inner, d]`, `out` `[rows, d]`.
pub fn add_product(out: &mut [f32], a: &[f32], stride: usize, b: &[f32], d: usize) {
    let rows = out.len() / d.max(1);
    blocks(out, rows, d, |out, r, four| {
        if four {
            add_rows::<ROWS, false>(out, &a[r * stride..], stride, b, d)
        } else {
            add_rows::<1, false>(out, &a[r * stride..], stride, b, d)
        }
    });
}

/// `out += aᵀ b`: `a` `[inner, rows]` with rows `stride` apart, `b` `[inner, d]`, `out` `[rows, d]`.
pub fn add_transposed(out: &mut [f32], a: &[f32], stride: usize, b: &[f32], d: usize) {
    let rows = out.len() / d.max(1);
    blocks(out, rows, d, |out, r, four| {
        if four {
            add_rows::<ROWS, true>(out, &a[r..], stride, b, d)
        } else {
            add_rows::<1, true>(out, &a[r..], stride, b, d)
        }
    });
}

/// Four rows of a result at a time, then one by one.
fn blocks(out: &mut [f32], rows: usize, d: usize, mut add: impl FnMut(&mut [f32], usize, bool)) {
    let mut r = 0;
    while r < rows {
        let taken = if r + ROWS <= rows { ROWS } else { 1 };
        add(&mut out[r * d..(r + taken) * d], r, taken == ROWS);
        r += taken;
    }
}

fn add_rows<const R: usize, const TRANSPOSED: bool>(out: &mut [f32], a: &[f32], stride: usize, b: &[f32], d: usize) {
    let inner = b.len() / d.max(1);
    // Row r's factor of step j.
    let rows: [&[f32]; R] = std::array::from_fn(|r| if TRANSPOSED { a } else { &a[r * stride..][..inner] });
    let factors = |j: usize| -> [f32; R] {
        if TRANSPOSED {
            let four = &a[j * stride..][..R];
            std::array::from_fn(|r| four[r])
        } else {
            rows.map(|row| row[j])
        }
    };
    let whole = d / PANEL * PANEL;
    for c in (0..whole).step_by(PANEL) {
        let mut sums = [[f32x4::splat(0.0); 2]; R];
        for (j, row) in b.chunks_exact(d).enumerate() {
            let Some(eight) = row[c..].first_chunk::<PANEL>() else { continue };
            let [low, high] = halves(eight);
            for (sum, a) in sums.iter_mut().zip(factors(j)) {
                let a = f32x4::splat(a);
                sum[0] += a * low;
                sum[1] += a * high;
            }
        }
        for (r, sum) in sums.iter().enumerate() {
            for (to, sum) in out[r * d + c..][..PANEL].iter_mut().zip(sum.iter().flat_map(|half| half.to_array())) {
                *to += sum;
            }
        }
    }
    for c in whole..d {
        for (j, row) in b.chunks_exact(d).enumerate() {
            for (r, a) in factors(j).into_iter().enumerate() {
                out[r * d + c] += a * row[c];
            }
        }
    }
}

/// `e^(x - max)` in place, and the sum.
pub(super) fn exponentials(row: &mut [f32], max: f32) -> f32 {
    let (fours, rest) = row.as_chunks_mut::<4>();
    let mut sum = f32x4::splat(0.0);
    for four in fours {
        let e = (f32x4::new(*four) - f32x4::splat(max)).exp();
        sum += e;
        *four = e.to_array();
    }
    let mut all = sum.reduce_add();
    for x in rest {
        *x = f32x4::splat(*x - max).exp().to_array()[0];
        all += *x;
    }
    all
}

/// The largest number of a row; -∞ of an empty one.
pub(super) fn largest(row: &[f32]) -> f32 {
    let (fours, rest) = row.as_chunks::<4>();
    let most = fours.iter().fold(f32x4::splat(f32::NEG_INFINITY), |most, four| most.fast_max(f32x4::new(*four)));
    most.to_array().into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, f32::max)
}
