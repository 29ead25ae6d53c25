//! Curves of equal compute, their minima, and the line that the minima march along.

use crate::order::Ordered as _;

/// `y = factor * x^exponent`: a straight line where both axes are logarithmic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerLaw {
    /// `y` at `x = 1`.
    pub factor: f64,
    /// Slope in logarithms.
    pub exponent: f64,
}

impl PowerLaw {
    /// `y` at `x`.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        self.factor * x.powf(self.exponent)
    }
}

// ANCHOR: line
/// The straight line through `(ln x, ln y)` of least squares. It has no floor: extended far enough, it foretells a loss of zero.
///
/// `None` for fewer than two different `x`, or a number that has no logarithm.
#[must_use]
pub fn power_law(points: &[(f64, f64)]) -> Option<PowerLaw> {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len().max(1) as f64;
    let mean = logs.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0 / count, sum.1 + p.1 / count));
    let spread: f64 = logs.iter().map(|p| (p.0 - mean.0).powi(2)).sum();
    let along: f64 = logs.iter().map(|p| (p.0 - mean.0) * (p.1 - mean.1)).sum();
    let exponent = along / spread;
    let factor = (mean.1 - exponent * mean.0).exp();
    (spread > 1e-12 && factor.is_finite()).then_some(PowerLaw { factor, exponent })
}
// ANCHOR_END: line

/// The lowest place of a curve of equal compute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Minimum {
    /// Weights there.
    pub n: f64,
    /// Loss there.
    pub loss: f64,
    /// Half the second derivative by `ln N`: how much a wrong size costs.
    pub curvature: f64,
}

/// Why a curve has no minimum that one may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Fewer than three sizes.
    TooFew,
    /// The smallest size is the best one.
    Smallest,
    /// The largest size is the best one.
    Largest,
    /// The parabola opens downwards, or its lowest place lies outside the sizes that were trained.
    NotConvex,
}

impl std::fmt::Display for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooFew => "a curve needs three sizes",
            Self::Smallest => "the smallest network is the best one: widen the family downwards",
            Self::Largest => "the largest network is the best one: widen the family upwards",
            Self::NotConvex => "the points do not lie on a curve with a lowest place between them",
        })
    }
}

// ANCHOR: isoflop
/// The minimum of the parabola of least squares, in `(ln N, L)`, through the five points nearest to the lowest (Hoffmann et
/// al., 2022, arXiv:2203.15556, approach 2). A minimum at an end is refused, never extrapolated. `points` are `(N, loss)`.
///
/// # Errors
/// [`Edge`], which says what to do.
pub fn isoflop_minimum(points: &[(f64, f64)]) -> Result<Minimum, Edge> {
    let mut sorted: Vec<(f64, f64)> = points.iter().map(|(n, loss)| (n.ln(), *loss)).collect();
    sorted.ordered_by(&|a, b| a.0.total_cmp(&b.0));
    let last = sorted.len().saturating_sub(1);
    let lowest = (0..sorted.len()).fold(0, |low, i| if sorted[i].1 < sorted[low].1 { i } else { low });
    match lowest {
        _ if last < 2 => return Err(Edge::TooFew),
        0 => return Err(Edge::Smallest),
        i if i == last => return Err(Edge::Largest),
        _ => (),
    }
    let (center, from) = (sorted[lowest].0, sorted[0].0);
    sorted.ordered_by(&|a, b| (a.0 - center).abs().total_cmp(&(b.0 - center).abs()));
    sorted.truncate(5);
    let [c, b, a] = parabola(&sorted, center).ok_or(Edge::NotConvex)?;
    let x = -b / (2.0 * a);
    let to = points.iter().fold(f64::NEG_INFINITY, |to, (n, _)| to.max(n.ln()));
    if a <= 0.0 || !(from..=to).contains(&(center + x)) {
        return Err(Edge::NotConvex);
    }
    Ok(Minimum { n: (center + x).exp(), loss: c - a * x * x, curvature: a })
}
// ANCHOR_END: isoflop

/// Coefficients `[c, b, a]` of `c + b x + a x^2` of least squares, `x` counted from `center`.
fn parabola(points: &[(f64, f64)], center: f64) -> Option<[f64; 3]> {
    let mut rows = [[0.0; 4]; 3];
    for (x, y) in points {
        let powers = [1.0, x - center, (x - center).powi(2)];
        for (row, p) in rows.iter_mut().zip(powers) {
            for (cell, q) in row.iter_mut().zip([powers[0], powers[1], powers[2], *y]) {
                *cell += p * q;
            }
        }
    }
    // Gauss and Jordan; the matrix is positive definite where three places differ.
    for i in 0..3 {
        let pivot = rows[i][i];
        if pivot.abs() < 1e-12 {
            return None;
        }
        rows[i].iter_mut().for_each(|cell| *cell /= pivot);
        let own = rows[i];
        for (j, row) in rows.iter_mut().enumerate() {
            let factor = row[i];
            if j != i {
                row.iter_mut().zip(own).for_each(|(cell, own)| *cell -= factor * own);
            }
        }
    }
    Some([rows[0][3], rows[1][3], rows[2][3]])
}
