//! What turns queries and keys into features whose products stand for the weights of attention.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{dot, exponentials};
use lab_kernels::attention::products::{PANEL, pack, scores};

/// A feature map φ: a weight is `φ(q) · φ(k)`.
#[derive(Debug, Clone, PartialEq)]
pub enum Map {
    /// One feature, always 1: no query and no key.
    Uniform,
    /// `elu(x) + 1` (Katharopoulos et al., 2020, arXiv:2006.16236).
    Elu,
    /// `max(x, 0)`.
    Relu,
    /// `1 + s + s²/2` of the scaled score, as features `1, u, u ⊗ u / √2` (Based, Arora et al., 2024, arXiv:2402.18668).
    Taylor,
    /// Positive random features (FAVOR+, Choromanski et al., 2020, arXiv:2009.14794): rows `[m, d]`.
    Positive(Vec<f32>),
    /// Sines and cosines of the same products, `2 m` features: unbiased as well, and of either sign.
    Sines(Vec<f32>),
    /// `e^(w · x)` with rows `[m, d]` for queries and for keys that were trained (after Hedgehog, Zhang et al., 2024,
    /// arXiv:2402.04347).
    Learned(Vec<f32>, Vec<f32>),
}

impl Map {
    /// m: features of a row of `d` channels.
    #[must_use]
    pub fn count(&self, d: usize) -> usize {
        match self {
            Self::Uniform => 1,
            Self::Elu | Self::Relu => d,
            Self::Taylor => 1 + d + d * d,
            Self::Positive(rows) | Self::Learned(rows, _) => rows.len() / d.max(1),
            Self::Sines(rows) => 2 * (rows.len() / d.max(1)),
        }
    }

    /// Features of queries `[T, d]`: `[T, m]`. A factor common to all features of a query cancels in the attention, so that the
    /// largest exponent of each query is taken out.
    #[must_use]
    pub fn queries(&self, q: &[f32], d: usize) -> Vec<f32> {
        match self {
            Self::Positive(rows) | Self::Learned(rows, _) => {
                let mut all = self.exponents(q, d, rows);
                for row in all.chunks_exact_mut(self.count(d).max(1)) {
                    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    row.iter_mut().for_each(|x| *x -= most);
                }
                exponentials(&mut all);
                all
            }
            other => other.plain(q, d),
        }
    }

    // ANCHOR: keys
    /// Features of keys `[T, d]`, and the exponent that was taken out of all of them. It must be *one* for all keys: a factor of
    /// each key's own would change the weights.
    #[must_use]
    pub fn keys(&self, k: &[f32], d: usize) -> (Vec<f32>, f32) {
        match self {
            Self::Positive(rows) | Self::Learned(_, rows) => {
                let mut all = self.exponents(k, d, rows);
                let most = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                all.iter_mut().for_each(|x| *x -= most);
                exponentials(&mut all);
                (all, most)
            }
            other => (other.plain(k, d), 0.0),
        }
    }
    // ANCHOR_END: keys

    // ANCHOR: exponents
    /// `ω · u - |u|² / 2` of each row, with `u = x / d^¼`, so that `E φ(q) · φ(k) = e^(q · k / √d)`; `w · x` of a learned map.
    fn exponents(&self, x: &[f32], d: usize, rows: &[f32]) -> Vec<f32> {
        let random = matches!(self, Self::Positive(_));
        let scale = if random { (d as f32).powf(-0.25) } else { 1.0 };
        let mut all = products(x, d, rows, scale);
        if random {
            let m = rows.len() / d.max(1);
            for (row, x) in all.chunks_exact_mut(m.max(1)).zip(x.chunks_exact(d)) {
                let half = 0.5 * scale * scale * dot(x, x);
                row.iter_mut().for_each(|e| *e -= half);
            }
        }
        all
    }
    // ANCHOR_END: exponents

    /// Maps without an exponent to take out.
    fn plain(&self, x: &[f32], d: usize) -> Vec<f32> {
        match self {
            Self::Uniform => vec![1.0; x.len() / d.max(1)],
            Self::Elu => {
                let mut all = x.to_vec();
                exponentials(&mut all);
                all.iter_mut().zip(x).for_each(|(e, x)| *e = if *x > 0.0 { x + 1.0 } else { *e });
                all
            }
            Self::Relu => x.iter().map(|x| x.max(0.0)).collect(),
            Self::Taylor => {
                let (scale, half) = ((d as f32).powf(-0.25), std::f32::consts::FRAC_1_SQRT_2);
                let mut all = Vec::with_capacity(x.len() / d.max(1) * self.count(d));
                for x in x.chunks_exact(d) {
                    all.push(1.0);
                    all.extend(x.iter().map(|x| scale * x));
                    all.extend(x.iter().flat_map(|a| x.iter().map(move |b| half * scale * scale * a * b)));
                }
                all
            }
            Self::Sines(rows) => {
                let scale = (d as f32).powf(-0.25);
                let m = (rows.len() / d.max(1)).max(1);
                let angles = products(x, d, rows, scale);
                let mut all = Vec::with_capacity(2 * angles.len());
                for (row, x) in angles.chunks_exact(m).zip(x.chunks_exact(d)) {
                    let size = (0.5 * scale * scale * dot(x, x)).exp();
                    all.extend(row.iter().flat_map(|angle| [size * angle.cos(), size * angle.sin()]));
                }
                all
            }
            Self::Positive(_) | Self::Learned(..) => Vec::new(),
        }
    }
}

/// `scale · x rowsᵀ`, `[T, m]`.
fn products(x: &[f32], d: usize, rows: &[f32], scale: f32) -> Vec<f32> {
    let m = rows.len() / d.max(1);
    let stride = m.next_multiple_of(PANEL).max(PANEL);
    let mut wide = vec![0.0; x.len() / d.max(1) * stride];
    scores(x, d, &pack(rows, d), scale, &mut wide, stride);
    if stride == m {
        return wide;
    }
    wide.chunks_exact(stride).flat_map(|row| row[..m].to_vec()).collect()
}

/// A number from the bell curve (Box and Muller, 1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (a, b): (f64, f64) = (rng.random_range(f64::MIN_POSITIVE..1.0), rng.random());
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

// ANCHOR: random_rows
/// Rows `[m, d]` from the bell curve. Orthogonal ones come in blocks of `d` at right angles, each with the length of an
/// independent draw; the last block is cut where `m` is no multiple of `d`.
#[must_use]
pub fn random_rows(m: usize, d: usize, orthogonal: bool, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut all: Vec<Vec<f64>> = Vec::with_capacity(m);
    while all.len() < m {
        let first = all.len() / d.max(1) * d;
        let mut row: Vec<f64> = (0..d).map(|_| normal(rng)).collect();
        if orthogonal {
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            for other in &all[first..] {
                let along = row.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
                let square = other.iter().map(|x| x * x).sum::<f64>();
                row.iter_mut().zip(other).for_each(|(a, b)| *a -= along / square * b);
            }
            let rest = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.iter_mut().for_each(|x| *x *= length / rest.max(1e-12));
        }
        all.push(row);
    }
    all.into_iter().flatten().map(|x| x as f32).collect()
}
// ANCHOR_END: random_rows
