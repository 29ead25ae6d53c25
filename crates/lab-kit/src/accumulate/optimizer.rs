//! Two optimizers on one vector of weights.

/// What a gradient does to the weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Rate times gradient.
    Sgd,
    /// Adam (Kingma and Ba, 2015, arXiv:1412.6980) with these decays and this epsilon.
    Adam {
        /// Decay of the first moment.
        beta_1: f64,
        /// Decay of the second moment.
        beta_2: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
    },
}

impl Rule {
    /// Adam as its authors set it.
    pub const ADAM: Self = Self::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };
}

/// A rule with what it remembers.
#[derive(Debug, Clone)]
pub struct Optimizer {
    rule: Rule,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

impl Optimizer {
    /// One that remembers nothing yet of so many weights.
    #[must_use]
    pub fn new(rule: Rule, weights: usize) -> Self {
        let moments = if rule == Rule::Sgd { 0 } else { weights };
        Self { rule, first: vec![0.0; moments], second: vec![0.0; moments], steps: 0 }
    }

    /// One update.
    pub fn step(&mut self, weights: &mut [f32], gradient: &[f32], rate: f64) {
        self.steps += 1;
        let Rule::Adam { beta_1, beta_2, epsilon } = self.rule else {
            let rate = rate as f32;
            weights.iter_mut().zip(gradient).for_each(|(w, g)| *w -= rate * g);
            return;
        };
        // Both corrections of the beginning, drawn out of the loop.
        let root = (1.0 - beta_2.powi(self.steps)).sqrt();
        let rate = (rate * root / (1.0 - beta_1.powi(self.steps))) as f32;
        let (b1, b2, epsilon) = (beta_1 as f32, beta_2 as f32, (epsilon * root) as f32);
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((w, g), (m, v)) in weights.iter_mut().zip(gradient).zip(moments) {
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *w -= rate * *m / (v.sqrt() + epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updated(rule: Rule, factor: f32, rate: f64) -> Vec<f32> {
        let mut weights = vec![1.0, -1.0, 0.5];
        let mut optimizer = Optimizer::new(rule, 3);
        for step in 1..6_u8 {
            let gradient: Vec<f32> = [0.3, -0.02, 0.1].iter().map(|g| factor * g * f32::from(step)).collect();
            optimizer.step(&mut weights, &gradient, rate);
        }
        weights
    }

    #[test]
    fn the_first_step_of_adam_is_the_rate_and_sgd_is_rate_times_gradient() {
        let mut weights = vec![1.0, 1.0];
        Optimizer::new(Rule::ADAM, 2).step(&mut weights, &[0.5, -3.0], 0.01);
        assert!((weights[0] - 0.99).abs() < 1e-6 && (weights[1] - 1.01).abs() < 1e-6);
        Optimizer::new(Rule::Sgd, 2).step(&mut weights, &[1.0, 0.0], 0.09);
        assert!((weights[0] - 0.9).abs() < 1e-6);
    }

    #[test]
    fn a_sum_for_a_mean_is_a_rate_for_sgd_and_next_to_nothing_for_adam() {
        let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
        let close = apart(&updated(Rule::Sgd, 8.0, 0.01), &updated(Rule::Sgd, 1.0, 0.08));
        assert!(close < 1e-6, "{close}");
        assert!(apart(&updated(Rule::Sgd, 8.0, 0.01), &updated(Rule::Sgd, 1.0, 0.01)) > 0.1);
        assert!(apart(&updated(Rule::ADAM, 8.0, 0.01), &updated(Rule::ADAM, 1.0, 0.01)) < 1e-6);
        // Where epsilon is no longer small beside the gradient, Adam forgives no more.
        let coarse = Rule::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-2 };
        assert!(apart(&updated(coarse, 8.0, 0.01), &updated(coarse, 1.0, 0.01)) > 1e-3);
    }
}
