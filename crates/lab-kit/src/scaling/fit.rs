//! Fitting the surface to runs: Huber's loss of the logarithms, its gradient, and BFGS from many starts.

use rand::Rng;

use super::{Law, Run};

/// Where a squared residual becomes an absolute one (Hoffmann et al., 2022, arXiv:2203.15556, equation 3).
const DELTA: f64 = 1e-3;
/// Steps of one descent at most.
const STEPS: usize = 400;
/// A descent has arrived where no component of the gradient, for each run, is larger.
const FLAT: f64 = 1e-8;

// ANCHOR: prediction
/// `ln L` at `[ln A, ln B, ln E, alpha, beta]` for `ln N` and `ln D`, and its gradient. The three terms are added as
/// logarithms, so that none can overflow, and their shares of the sum are the gradient.
#[must_use]
pub fn log_prediction(p: &[f64; 5], ln_n: f64, ln_d: f64) -> (f64, [f64; 5]) {
    let terms = [p[0] - p[3] * ln_n, p[1] - p[4] * ln_d, p[2]];
    let highest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let parts = terms.map(|term| (term - highest).exp());
    let sum: f64 = parts.iter().sum();
    let [size, data, floor] = parts.map(|part| part / sum);
    (highest + sum.ln(), [size, data, floor, -size * ln_n, -data * ln_d])
}
// ANCHOR_END: prediction

// ANCHOR: objective

/// The sum of Huber's loss over the residuals of the logarithms, and its gradient. A sum, not a mean: a mean of losses so
/// small let an optimizer stop early, and its result was published (Besiroglu et al., 2024, arXiv:2404.10102).
#[must_use]
pub fn objective(p: &[f64; 5], logs: &[[f64; 3]]) -> (f64, [f64; 5]) {
    let (mut value, mut gradient) = (0.0, [0.0; 5]);
    for [ln_n, ln_d, ln_loss] in logs {
        let (predicted, slopes) = log_prediction(p, *ln_n, *ln_d);
        let residual = predicted - ln_loss;
        let bounded = residual.clamp(-DELTA, DELTA);
        value += bounded * (residual - 0.5 * bounded);
        gradient.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += bounded * slope);
    }
    (value, gradient)
}
// ANCHOR_END: objective

/// What a descent found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    /// The law.
    pub law: Law,
    /// The objective there.
    pub value: f64,
    /// Starts of the grid that came to this value, within one in a thousand.
    pub agreeing: usize,
    /// The parameters that were descended in, to start another descent from.
    pub at: [f64; 5],
}

/// Starts of the grid.
pub const STARTS: usize = 108;

/// Start `i` of the grid over the five parameters. Sizes and data are counted in units of their geometric mean, which makes
/// the descent the same whatever they were given in.
#[must_use]
pub fn start(i: usize) -> [f64; 5] {
    let (exponents, floors, terms) = ([0.2, 0.5, 1.0], [-1.0, 0.0, 0.5], [-2.0, -0.5]);
    [terms[i % 2], terms[i / 2 % 2], floors[i / 4 % 3], exponents[i / 12 % 3], exponents[i / 36 % 3]]
}

/// The law that fits best over all starts of the grid. `None` for fewer than five runs, for runs whose sizes or data are all
/// equal, or where no start arrives.
#[must_use]
pub fn fit(runs: &[Run]) -> Option<Fitted> {
    let found: Vec<Fitted> = (0..STARTS).filter_map(|i| fit_from(runs, &start(i))).collect();
    let mut best = *found.iter().min_by(|a, b| a.value.total_cmp(&b.value))?;
    best.agreeing = found.iter().filter(|other| other.value <= best.value * 1.001 + 1e-12).count();
    Some(best)
}

// ANCHOR: bfgs
/// One descent by BFGS (Broyden, Fletcher, Goldfarb and Shanno, 1970) with halving steps.
#[must_use]
pub fn fit_from(runs: &[Run], start: &[f64; 5]) -> Option<Fitted> {
    let (logs, center) = centered(runs)?;
    let mut p = *start;
    let (mut value, mut gradient) = objective(&p, &logs);
    let mut inverse = identity();
    for _ in 0..STEPS {
        if gradient.iter().all(|g| g.abs() < FLAT * logs.len() as f64) {
            break;
        }
        let mut direction = times(&inverse, &gradient).map(|d| -d);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            inverse = identity();
            direction = gradient.map(|g| -g);
            slope = dot(&direction, &gradient);
        }
        // Never further than one in any logarithm or exponent.
        let longest = direction.iter().fold(0.0_f64, |long, d| long.max(d.abs()));
        let mut length = 1.0_f64.min(1.0 / longest.max(1e-300));
        let stepped = loop {
            let next: [f64; 5] = std::array::from_fn(|i| p[i] + length * direction[i]);
            let found = objective(&next, &logs);
            if found.0 <= value + 1e-4 * length * slope {
                break Some((next, found));
            }
            length *= 0.5;
            if length < 1e-12 {
                break None;
            }
        };
        let Some((next, (lower, slopes))) = stepped else { break };
        let s: [f64; 5] = std::array::from_fn(|i| next[i] - p[i]);
        let y: [f64; 5] = std::array::from_fn(|i| slopes[i] - gradient[i]);
        update(&mut inverse, &s, &y);
        (p, value, gradient) = (next, lower, slopes);
    }
    let law = Law {
        e: p[2].exp(),
        a: (p[0] + p[3] * center[0]).exp(),
        b: (p[1] + p[4] * center[1]).exp(),
        alpha: p[3],
        beta: p[4],
    };
    let usable = [law.e, law.a, law.b].iter().all(|x| x.is_finite()) && law.alpha > 0.0 && law.beta > 0.0;
    usable.then_some(Fitted { law, value, agreeing: 1, at: p })
}

/// The inverse of the second derivatives, brought up to date by a step `s` that changed the gradient by `y`.
fn update(inverse: &mut [[f64; 5]; 5], s: &[f64; 5], y: &[f64; 5]) {
    let curvature = dot(s, y);
    if curvature <= 1e-14 * dot(s, s) {
        return;
    }
    let hy = times(inverse, y);
    let factor = (1.0 + dot(y, &hy) / curvature) / curvature;
    for (i, row) in inverse.iter_mut().enumerate() {
        for (j, cell) in row.iter_mut().enumerate() {
            *cell += factor * s[i] * s[j] - (hy[i] * s[j] + s[i] * hy[j]) / curvature;
        }
    }
}
// ANCHOR_END: bfgs

/// `[ln N, ln D, ln L]` of each run, the first two from their means; and those means.
fn centered(runs: &[Run]) -> Option<(Vec<[f64; 3]>, [f64; 2])> {
    let mut logs: Vec<[f64; 3]> = runs.iter().map(|run| [run.n.ln(), run.d.ln(), run.loss.ln()]).collect();
    if logs.len() < 5 || logs.iter().flatten().any(|x| !x.is_finite()) {
        return None;
    }
    let center = [0, 1].map(|k| logs.iter().map(|row| row[k]).sum::<f64>() / logs.len() as f64);
    logs.iter_mut().for_each(|row| (0..2).for_each(|k| row[k] -= center[k]));
    let spread = |k: usize| logs.iter().any(|row| row[k].abs() > 1e-6);
    (spread(0) && spread(1) && spread_of_loss(&logs)).then_some((logs, center))
}

fn spread_of_loss(logs: &[[f64; 3]]) -> bool {
    logs.iter().any(|row| (row[2] - logs[0][2]).abs() > 1e-9)
}

/// Runs drawn with replacement within each budget, for a bootstrap (Efron, 1979): what a repetition of the study with as many
/// runs at each budget might have given.
#[must_use]
pub fn resample(budgets: &[Vec<Run>], rng: &mut impl Rng) -> Vec<Run> {
    let mut drawn = Vec::new();
    for runs in budgets {
        drawn.extend((0..runs.len()).map(|_| runs[rng.random_range(0..runs.len())]));
    }
    drawn
}

fn identity() -> [[f64; 5]; 5] {
    std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))))
}

fn dot(a: &[f64; 5], b: &[f64; 5]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn times(matrix: &[[f64; 5]; 5], vector: &[f64; 5]) -> [f64; 5] {
    std::array::from_fn(|i| dot(&matrix[i], vector))
}
