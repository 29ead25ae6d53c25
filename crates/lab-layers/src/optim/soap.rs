//! SOAP (Vyas et al., 2024, arXiv:2409.11321): Adam in the eigenbasis of Shampoo's two matrices (Gupta et al., 2018,
//! arXiv:1802.09568).

use super::Adam;
use lab_kernels::product::{View, product};

/// What SOAP remembers of a matrix `[rows, columns]`.
#[derive(Debug, Clone)]
pub struct Soap {
    rows: usize,
    columns: usize,
    m: Vec<f32>,
    v: Vec<f32>,
    /// Means of `G Gᵀ` and `Gᵀ G`.
    moments: [Vec<f32>; 2],
    /// Their eigenvectors, in columns.
    bases: [Vec<f32>; 2],
}

/// How often the first basis is refined.
const FIRST: usize = 4;

impl Soap {
    /// Nothing is remembered yet; the basis is that of the weights themselves.
    #[must_use]
    pub fn new(rows: usize, columns: usize) -> Self {
        let identity = |n: usize| (0..n * n).map(|i| f32::from(i % (n + 1) == 0)).collect();
        let zeros = |n: usize| vec![0.0; n];
        Self {
            rows,
            columns,
            m: zeros(rows * columns),
            v: zeros(rows * columns),
            moments: [zeros(rows * rows), zeros(columns * columns)],
            bases: [identity(rows), identity(columns)],
        }
    }

    /// Bytes that are held between steps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let square = self.moments.iter().chain(&self.bases).map(Vec::capacity).sum::<usize>();
        4 * (self.m.capacity() + self.v.capacity() + square)
    }

    /// `Lᵀ x R`, or `L x Rᵀ` on the way back.
    fn turned(&self, x: &[f32], back: bool) -> Vec<f32> {
        let left = View::new(&self.bases[0], self.rows, self.rows);
        let right = View::new(&self.bases[1], self.columns, self.columns);
        let (left, right) = if back { (left, right.transposed()) } else { (left.transposed(), right) };
        let half = product(left, View::new(x, self.rows, self.columns));
        product(View::new(&half, self.rows, self.columns), right)
    }

    // ANCHOR: soap
    /// One update; the basis is refined once in `every` steps. The first step only finds the basis, as in the authors' code: a
    /// gradient has no component beside its own eigenvectors but rounding, and Adam would divide rounding by rounding.
    pub fn step(&mut self, w: &mut [f32], g: &[f32], t: u32, rate: f64, set: &Adam, every: u32) {
        let view = View::new(g, self.rows, self.columns);
        let squares = [product(view, view.transposed()), product(view.transposed(), view)];
        let keep = if t == 1 { 0.0 } else { set.beta_2 as f32 };
        for (moment, square) in self.moments.iter_mut().zip(&squares) {
            moment.iter_mut().zip(square).for_each(|(m, s)| *m = keep * *m + (1.0 - keep) * s);
        }
        if t % every.max(1) == 1 || every <= 1 {
            for _ in 0..if t == 1 { FIRST } else { 1 } {
                self.refine();
            }
        }
        if t == 1 {
            return;
        }
        // Adam, on the gradient as the basis sees it.
        let (b1, b2) = (set.beta_1 as f32, set.beta_2 as f32);
        self.m.iter_mut().zip(g).for_each(|(m, g)| *m = b1 * *m + (1.0 - b1) * g);
        let (seen, mut update) = (self.turned(g, false), self.turned(&self.m, false));
        let (c1, c2) = (1.0 - b1.powi(t as i32 - 1), 1.0 - b2.powi(t as i32 - 1));
        for ((u, v), g) in update.iter_mut().zip(&mut self.v).zip(&seen) {
            *v = b2 * *v + (1.0 - b2) * g * g;
            *u = *u / c1 / ((*v / c2).sqrt() + set.epsilon as f32);
        }
        super::sgd(w, &self.turned(&update, true), rate);
    }
    // ANCHOR_END: soap

    /// One step of orthogonal iteration: the basis becomes that of `moment · basis`.
    fn refine(&mut self) {
        for (moment, basis) in self.moments.iter().zip(&mut self.bases) {
            let n = if basis.len() == self.rows * self.rows { self.rows } else { self.columns };
            let next = product(View::new(moment, n, n), View::new(basis, n, n));
            *basis = orthonormal(next, n);
        }
    }
}

/// The orthogonal factor of a square matrix (Householder, 1958), whatever its rank; signs are such that a matrix that is
/// orthogonal already stays as it is.
#[must_use]
pub fn orthonormal(a: Vec<f32>, n: usize) -> Vec<f32> {
    // Columns lie as rows while they are worked on.
    let turn = |a: &[f32]| -> Vec<f32> { (0..n).flat_map(|c| a.iter().skip(c).step_by(n).copied()).collect() };
    let mut columns = turn(&a);
    let mut mirrors: Vec<(Vec<f32>, f32)> = Vec::with_capacity(n);
    for k in 0..n {
        let mut mirror = columns[k * n + k..(k + 1) * n].to_vec();
        let norm = mirror.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt() as f32;
        let sign = if mirror[0] < 0.0 { -1.0 } else { 1.0 };
        mirror[0] += sign * norm;
        let length = mirror.iter().map(|x| f64::from(x * x)).sum::<f64>() as f32;
        let by = if length > 0.0 { 2.0 / length } else { 0.0 };
        for column in columns.chunks_exact_mut(n).skip(k) {
            reflect(&mut column[k..], &mirror, by);
        }
        // The diagonal of the other factor is to be positive.
        mirrors.push((mirror, if by > 0.0 { by * -sign } else { 0.0 }));
    }
    let mut q: Vec<f32> = (0..n * n).map(|i| f32::from(i % (n + 1) == 0)).collect();
    for (c, column) in q.chunks_exact_mut(n).enumerate() {
        let flip = mirrors[c].1;
        if flip < 0.0 {
            column[c] = -1.0;
        }
        for (k, (mirror, by)) in mirrors.iter().enumerate().take(c + 1).rev() {
            reflect(&mut column[k..], mirror, by.abs());
        }
    }
    turn(&q)
}

/// `x - by (mirror · x) mirror`.
fn reflect(x: &mut [f32], mirror: &[f32], by: f32) {
    let mut sums = [0.0_f32; 8];
    let (xs, ms) = (x.as_chunks::<8>(), mirror.as_chunks::<8>());
    for (x, m) in xs.0.iter().zip(ms.0) {
        sums.iter_mut().zip(x.iter().zip(m)).for_each(|(sum, (x, m))| *sum += x * m);
    }
    let rest: f32 = xs.1.iter().zip(ms.1).map(|(x, m)| x * m).sum();
    let along = by * (sums.iter().sum::<f32>() + rest);
    x.iter_mut().zip(mirror).for_each(|(x, m)| *x -= along * m);
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::optim::{adamw, naive};

    fn drawn(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = lab_kernels::rng(seed, "soap");
        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn the_orthogonal_factor_is_orthogonal_and_leaves_an_upper_triangle() {
        for n in [1, 2, 7, 30] {
            let mut a = drawn(n * n, n as u64);
            if n > 2 {
                // A column and a row of zeros, as dead pixels make them.
                (0..n).for_each(|i| (a[i * n + 1], a[n + i]) = (0.0, 0.0));
            }
            let q: Vec<f64> = orthonormal(a.clone(), n).iter().map(|x| f64::from(*x)).collect();
            let square = naive::product(&naive::transposed(&q, n), &q, n);
            assert!(square.iter().enumerate().all(|(i, x)| (x - f64::from(i % (n + 1) == 0)).abs() < 1e-5), "{n}");
            let a: Vec<f64> = a.iter().map(|x| f64::from(*x)).collect();
            let r = naive::product(&naive::transposed(&q, n), &a, n);
            for i in 0..n {
                assert!(r[i * n + i] >= -1e-5, "{n} {i} {}", r[i * n + i]);
                assert!((0..i).all(|j| r[i * n + j].abs() < 1e-5), "{n} {i}");
            }
            let again = orthonormal(q.iter().map(|x| *x as f32).collect(), n);
            assert!(again.iter().zip(&q).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{n}");
        }
    }

    #[test]
    fn in_the_basis_of_the_weights_it_is_adam() {
        // Diagonal gradients have diagonal moments, whose eigenvectors are the axes.
        let (n, start) = (4, drawn(16, 1));
        let (mut w, mut soap) = (start.clone(), Soap::new(n, n));
        let (mut adam, mut m, mut v) = (start, vec![0.0; 16], vec![0.0; 16]);
        for t in 1..12 {
            let mut g = vec![0.0; 16];
            (0..n).for_each(|i| g[i * n + i] = drawn(4, 90 + u64::from(t))[i]);
            soap.step(&mut w, &g, t, 0.01, &Adam::W, 3);
            if t > 1 {
                adamw(&mut adam, &g, (&mut m, &mut v), t - 1, 0.01, &Adam::W);
            }
        }
        assert!(w.iter().zip(&adam).all(|(a, b)| (a - b).abs() < 1e-5), "{w:?} {adam:?}");
        assert_eq!(soap.bytes(), 4 * (2 * 16 + 4 * 16));
    }

    #[test]
    fn turning_there_and_back_changes_nothing() {
        let mut soap = Soap::new(5, 9);
        let mut w = vec![0.0; 45];
        for t in 1..9 {
            soap.step(&mut w, &drawn(45, u64::from(t)), t, 0.01, &Adam::W, 2);
        }
        let x = drawn(45, 77);
        let back = soap.turned(&soap.turned(&x, false), true);
        assert!(back.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
