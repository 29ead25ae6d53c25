//! The surface `L(N, D) = E + A / N^alpha + B / D^beta`, and what follows from it in closed form.

use super::power_law;

/// One training: weights, tokens read, and the loss it ended at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Weights that multiply, `N`.
    pub n: f64,
    /// Tokens or characters read, `D`.
    pub d: f64,
    /// Cross-entropy in nats.
    pub loss: f64,
}

impl Run {
    /// Operations of the training, `6 N D`.
    #[must_use]
    pub fn flops(&self) -> f64 {
        6.0 * self.n * self.d
    }
}

/// The parametric law (Hoffmann et al., 2022, arXiv:2203.15556, equation 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Law {
    /// What no size and no amount of text takes away, in nats: extrapolated, never observed.
    pub e: f64,
    /// Factor of the term of size.
    pub a: f64,
    /// Factor of the term of data.
    pub b: f64,
    /// Exponent of the size.
    pub alpha: f64,
    /// Exponent of the data.
    pub beta: f64,
}

/// How a budget is spent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allocation {
    /// Weights.
    pub n: f64,
    /// Tokens.
    pub d: f64,
    /// The loss that the law foretells there.
    pub loss: f64,
}

impl Law {
    /// The constants of Hoffmann et al. (2022) as their paper prints them.
    pub const PRINTED: Self = Self { e: 1.69, a: 406.4, b: 410.7, alpha: 0.34, beta: 0.28 };
    /// The same before rounding, from the TeX source of the paper (Besiroglu et al., 2024, arXiv:2404.10102).
    pub const UNROUNDED: Self = Self { e: 1.693374, a: 406.4010, b: 410.7228, alpha: 0.339_170_84, beta: 0.284_908_3 };
    /// A later fit to the same runs (Besiroglu et al., 2024, arXiv:2404.10102).
    pub const REFIT: Self = Self { e: 1.8172, a: 482.01, b: 2085.43, alpha: 0.3478, beta: 0.3658 };

    /// The loss of `n` weights that read `d` tokens.
    #[must_use]
    pub fn loss(&self, n: f64, d: f64) -> f64 {
        self.e + self.a * n.powf(-self.alpha) + self.b * d.powf(-self.beta)
    }

    /// How fast the best size grows with compute: `N* ~ C^exponent`.
    #[must_use]
    pub fn exponent(&self) -> f64 {
        self.beta / (self.alpha + self.beta)
    }

    // ANCHOR: optimal
    /// The size and the data of least loss among all with `6 N D = flops` (equation 4 of the paper): the derivative along the
    /// curve of equal compute is zero where `alpha A / N^alpha = beta B / D^beta`.
    #[must_use]
    pub fn optimal(&self, flops: f64) -> Allocation {
        let g = (self.alpha * self.a / (self.beta * self.b)).powf(1.0 / (self.alpha + self.beta));
        let n = g * (flops / 6.0).powf(self.exponent());
        let d = flops / 6.0 / n;
        Allocation { n, d, loss: self.loss(n, d) }
    }
    // ANCHOR_END: optimal

    /// Tokens that `n` weights must read to reach this loss; `None` where no number is enough.
    #[must_use]
    pub fn tokens_for(&self, n: f64, loss: f64) -> Option<f64> {
        let left = loss - self.e - self.a * n.powf(-self.alpha);
        (left > 0.0).then(|| (self.b / left).powf(1.0 / self.beta))
    }
}

/// The size and the data that reach `loss` for the fewest operations in all, `6 N D` to train and `2 N` for each token served
/// afterwards (Sardana et al., 2024, arXiv:2401.00448), on a grid of 2,000 sizes over six orders around `near`. `None` where
/// no size on it reaches the loss.
#[must_use]
pub fn serve_aware(law: &Law, loss: f64, tokens_served: f64, near: f64) -> Option<(f64, f64)> {
    let mut best: Option<(f64, f64, f64)> = None;
    for i in 0..2000 {
        let n = near * 10_f64.powf(6.0 * f64::from(i) / 1999.0 - 3.0);
        let Some(d) = law.tokens_for(n, loss) else { continue };
        let cost = 6.0 * n * d + 2.0 * n * tokens_served;
        if best.is_none_or(|(least, ..)| cost < least) {
            best = Some((cost, n, d));
        }
    }
    best.map(|(_, n, d)| (n, d))
}

/// The exponent that a study finds on this very surface if it leaves the embedding and the output layer out of `N` and of
/// `6 N D` (Pearce and Song, 2024, arXiv:2406.12907). `shape` gives a width's weights without them and with them; budgets, in
/// operations so counted, lie between those at which the narrowest and the widest of `widths` are best.
#[must_use]
pub fn recount(law: &Law, shape: impl Fn(f64) -> [f64; 2], widths: [f64; 2], budgets: &[f64]) -> PowerOfCount {
    let best = |flops: f64| {
        let (mut least, mut found) = (f64::INFINITY, 0.0);
        for i in 0..4000 {
            let width = widths[0] * (widths[1] / widths[0]).powf(f64::from(i) / 3999.0);
            let [body, all] = shape(width);
            let loss = law.loss(all, flops / 6.0 / body);
            if loss < least {
                (least, found) = (loss, body);
            }
        }
        found
    };
    let points: Vec<(f64, f64)> = budgets.iter().map(|c| (*c, best(*c))).collect();
    PowerOfCount { exponent: power_law(&points).map_or(f64::NAN, |law| law.exponent), points }
}

/// What [`recount`] finds.
#[derive(Debug, Clone, PartialEq)]
pub struct PowerOfCount {
    /// The apparent exponent of the best size.
    pub exponent: f64,
    /// Budgets, and the best size at each, both without the layers that were left out.
    pub points: Vec<(f64, f64)>,
}
