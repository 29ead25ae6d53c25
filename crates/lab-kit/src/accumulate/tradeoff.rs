//! Updates against examples: what a larger batch buys, and what it costs.

/// The curve `S = S_min (1 + B_crit / B)`, which is `(S / S_min - 1)(E / E_min - 1) = 1` with `E = B S` (McCandlish et al.,
/// 2018, arXiv:1812.06162, section 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tradeoff {
    /// Updates that no batch goes below.
    pub least_steps: f64,
    /// The critical batch: twice the least updates, and twice the least examples.
    pub critical: f64,
}

// ANCHOR: tradeoff
impl Tradeoff {
    /// Updates that batches of `batch` examples need.
    #[must_use]
    pub fn steps(&self, batch: f64) -> f64 {
        self.least_steps * (1.0 + self.critical / batch)
    }

    /// Examples that they read.
    #[must_use]
    pub fn examples(&self, batch: f64) -> f64 {
        batch * self.steps(batch)
    }
}

/// The curve through `(batch, updates)` of least squares in logarithms, searched over the critical batch; `None` for fewer
/// than two different batches, or what is not positive. Where the points are a straight line, no bend is in sight and the
/// critical batch ends at a border of the search, a hundred times beyond the batches.
#[must_use]
pub fn fit_tradeoff(points: &[(f64, f64)]) -> Option<Tradeoff> {
    let valid = points.iter().all(|(b, s)| b.is_finite() && s.is_finite() && *b > 0.0 && *s > 0.0);
    let (low, high) = points.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), p| (low.min(p.0), high.max(p.0)));
    if !valid || low >= high {
        return None;
    }
    let fit = |critical: f64| {
        let logs = || points.iter().map(move |(b, s)| s.ln() - (1.0 + critical / b).ln());
        let mean = logs().sum::<f64>() / points.len() as f64;
        (logs().map(|log| (log - mean).powi(2)).sum::<f64>(), mean)
    };
    // The sum of squares has one valley in ln B: a coarse search, then ever finer ones around its best place.
    let (mut from, mut to) = ((0.01 * low).ln(), (100.0 * high).ln());
    for _ in 0..12 {
        let at = |i: i32| from + (to - from) * f64::from(i) / 40.0;
        let best = (0..=40).min_by(|i, j| fit(at(*i).exp()).0.total_cmp(&fit(at(*j).exp()).0)).unwrap_or(0);
        (from, to) = (at((best - 2).max(0)), at((best + 2).min(40)));
    }
    let critical = (0.5 * (from + to)).exp();
    Some(Tradeoff { least_steps: fit(critical).1.exp(), critical })
}
// ANCHOR_END: tradeoff

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Tradeoff = Tradeoff { least_steps: 91.0, critical: 132.0 };

    #[test]
    fn the_curve_by_hand() {
        assert!((KNOWN.steps(32.0) - 466.375).abs() < 1e-9 && (KNOWN.examples(32.0) - 14_924.0).abs() < 1e-9);
        assert_eq!((KNOWN.steps(132.0), KNOWN.examples(132.0)), (182.0, 24_024.0));
        assert!((KNOWN.steps(512.0) - 114.46).abs() < 0.01 && (KNOWN.examples(512.0) - 58_604.0).abs() < 1.0);
        for b in [3.0, 132.0, 5000.0] {
            let least_examples = KNOWN.least_steps * KNOWN.critical;
            let product = (KNOWN.steps(b) / KNOWN.least_steps - 1.0) * (KNOWN.examples(b) / least_examples - 1.0);
            assert!((product - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn the_fit_gives_a_curve_back_and_refuses_what_is_none() {
        let points: Vec<(f64, f64)> = [8.0, 32.0, 128.0, 512.0].iter().map(|b| (*b, KNOWN.steps(*b))).collect();
        let found = fit_tradeoff(&points).expect("four batches");
        assert!((found.critical / 132.0 - 1.0).abs() < 1e-6 && (found.least_steps / 91.0 - 1.0).abs() < 1e-6);
        assert_eq!(fit_tradeoff(&points[..1]), None);
        assert_eq!(fit_tradeoff(&[(8.0, 5.0), (16.0, 0.0)]), None);
        let flat = fit_tradeoff(&[(8.0, 50.0), (64.0, 50.0)]).expect("two batches");
        assert!(flat.critical < 0.1 && (flat.least_steps - 50.0).abs() < 1.0);
        let straight = fit_tradeoff(&[(8.0, 800.0), (64.0, 100.0)]).expect("two batches");
        assert!(straight.critical > 3000.0);
    }
}
