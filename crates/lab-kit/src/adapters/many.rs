//! Several adapters in one batch: each row belongs to one customer, and the frozen matrix serves them all at once.

/// The factors of one adapter of a matrix: `A` `[r, n]`, `B` `[m, r]` with the scale multiplied in.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// `A`.
    pub a: Vec<f32>,
    /// `s B`.
    pub b: Vec<f32>,
}

// ANCHOR: by_row
/// Adds `B (A x)` to each row of `y` `[rows, m]`, for `x` `[rows, n]`, with the adapter that `of_row` names: row after row.
pub fn by_row(adapters: &[Pair], of_row: &[usize], x: &[f32], y: &mut [f32], (m, n): (usize, usize)) {
    for ((x, y), number) in x.chunks_exact(n).zip(y.chunks_exact_mut(m)).zip(of_row) {
        if let Some(adapter) = adapters.get(*number) {
            add(adapter, x, y, n);
        }
    }
}
// ANCHOR_END: by_row

// ANCHOR: grouped
/// The same, adapter after adapter: its factors are read from memory once for all of its rows.
pub fn grouped(adapters: &[Pair], of_row: &[usize], x: &[f32], y: &mut [f32], (m, n): (usize, usize)) {
    for (number, adapter) in adapters.iter().enumerate() {
        for (row, _) in of_row.iter().enumerate().filter(|(_, of)| **of == number) {
            add(adapter, &x[row * n..(row + 1) * n], &mut y[row * m..(row + 1) * m], n);
        }
    }
}
// ANCHOR_END: grouped

fn add(adapter: &Pair, x: &[f32], y: &mut [f32], n: usize) {
    let dot = |u: &[f32], v: &[f32]| u.iter().zip(v).map(|(u, v)| u * v).sum::<f32>();
    let inner: Vec<f32> = adapter.a.chunks_exact(n).map(|row| dot(row, x)).collect();
    for (y, row) in y.iter_mut().zip(adapter.b.chunks_exact(inner.len().max(1))) {
        *y += dot(row, &inner);
    }
}

/// The same adapter with rows and columns of zeros up to a larger rank: what a server does whose adapters differ in rank.
#[must_use]
pub fn padded(adapter: &Pair, (m, n): (usize, usize), rank: usize) -> Pair {
    let own = adapter.a.len() / n.max(1);
    let mut a = adapter.a.clone();
    a.resize(rank.max(own) * n, 0.0);
    let b = adapter.b.chunks_exact(own.max(1)).take(m);
    let b = b.flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0.0, rank.saturating_sub(own)))).collect();
    Pair { a, b }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, seq::SliceRandom};

    use super::*;
    use crate::adapters::merge;

    /// One of the ways.
    type Way = fn(&[Pair], &[usize], &[f32], &mut [f32], (usize, usize));

    #[test]
    fn both_ways_equal_merged_matrices_whatever_the_order_and_the_padding() {
        let mut rng = crate::rng(0, "many");
        for (m, n, rows, count) in [(5, 7, 6, 3), (1, 4, 3, 1), (8, 2, 9, 4)] {
            let mut draw = |count: usize| (0..count).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
            let adapters: Vec<Pair> = (1..=count).map(|r| Pair { a: draw(r * n), b: draw(m * r) }).collect();
            let (w, x) = (draw(m * n), draw(rows * n));
            let of_row: Vec<usize> = (0..rows).map(|row| (row * 5 + 1) % count).collect();
            let apply = |w: &[f32], x: &[f32]| -> Vec<f32> {
                w.chunks_exact(n).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
            };
            let expected: Vec<f32> = x
                .chunks_exact(n)
                .zip(&of_row)
                .flat_map(|(x, of)| {
                    let Pair { a, b } = &adapters[*of];
                    apply(&merge(&w, a, b, 1.0, (m, n, of + 1)), x)
                })
                .collect();
            let base: Vec<f32> = x.chunks_exact(n).flat_map(|x| apply(&w, x)).collect();
            let near = |found: &[f32]| assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5));
            let run = |way: Way, adapters: &[Pair], of: &[usize]| {
                let mut y = base.clone();
                way(adapters, of, &x, &mut y, (m, n));
                y
            };
            near(&run(by_row, &adapters, &of_row));
            near(&run(grouped, &adapters, &of_row));
            let wide: Vec<Pair> = adapters.iter().map(|adapter| padded(adapter, (m, n), count)).collect();
            near(&run(grouped, &wide, &of_row));
            // Other numbers for the same adapters.
            let mut names: Vec<usize> = (0..count).collect();
            names.shuffle(&mut crate::rng(1, "names"));
            let mut moved = adapters.clone();
            names.iter().zip(&adapters).for_each(|(to, adapter)| moved[*to] = adapter.clone());
            let renamed: Vec<usize> = of_row.iter().map(|of| names[*of]).collect();
            assert_eq!(run(grouped, &moved, &renamed), run(grouped, &adapters, &of_row));
        }
    }
}
