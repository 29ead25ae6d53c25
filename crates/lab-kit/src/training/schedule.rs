//! How fast to learn at which step.

use lab_api::LabError;

use crate::train::half_cosine;

/// How to train: AdamW (Loshchilov and Hutter, arXiv:1711.05101) under a learning rate that warms up linearly and falls
/// along a half cosine.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Steps in all.
    pub steps: usize,
    /// Steps until the full learning rate is reached.
    pub warmup_steps: usize,
    /// The full learning rate.
    pub learning_rate: f64,
    /// What is left of it at the last step, as a share.
    pub final_share: f64,
    /// Decoupled weight decay of matrices and kernels; norms and biases are never decayed.
    pub weight_decay: f32,
    /// Decay of the running mean of gradients.
    pub beta_1: f32,
    /// Decay of the running mean of their squares.
    pub beta_2: f32,
    /// The gradient of all parameters together is scaled down to this norm (Pascanu et al., arXiv:1211.5063).
    pub clip_norm: f64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            steps: 1000,
            warmup_steps: 50,
            learning_rate: 3e-3,
            final_share: 0.0,
            weight_decay: 0.1,
            beta_1: 0.9,
            beta_2: 0.95,
            clip_norm: 1.0,
        }
    }
}

impl Recipe {
    /// Refuses what trains nothing.
    ///
    /// # Errors
    /// [`LabError::Refused`] with the offending number.
    pub fn check(&self) -> Result<(), LabError> {
        let refuse = |why: String| Err(LabError::Refused { why });
        if self.steps == 0 || self.warmup_steps > self.steps {
            return refuse(format!(
                "{} steps with {} to warm up: it takes 1 or more, of which the warm-up is a part",
                self.steps, self.warmup_steps
            ));
        }
        for (name, value, most) in
            [("learning_rate", self.learning_rate, 10.0), ("clip_norm", self.clip_norm, f64::MAX)]
        {
            if !(value > 0.0 && value <= most) {
                return refuse(format!("the recipe's {name} is {value}; it must be above 0 and at most {most:e}"));
            }
        }
        for (name, value) in [
            ("final_share", self.final_share),
            ("beta_1", f64::from(self.beta_1)),
            ("beta_2", f64::from(self.beta_2)),
            ("weight_decay", f64::from(self.weight_decay)),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(format!("the recipe's {name} is {value}; it must be 0 to 1"));
            }
        }
        Ok(())
    }

    /// The learning rate of step `step`, counted from 0.
    #[must_use]
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let falling = (self.steps - self.warmup_steps).max(1) as f64;
        let done = ((step - self.warmup_steps) as f64 / falling).min(1.0);
        self.learning_rate * (self.final_share + (1.0 - self.final_share) * half_cosine(done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_warms_up_and_falls_along_a_half_cosine() {
        let recipe = Recipe { steps: 110, warmup_steps: 10, learning_rate: 2.0, final_share: 0.1, ..Recipe::default() };
        let near = |step, rate: f64| assert!((recipe.rate(step) - rate).abs() < 1e-12, "{step}: {}", recipe.rate(step));
        near(0, 0.2);
        near(9, 2.0);
        near(10, 2.0);
        near(60, 0.2 + 1.8 * 0.5);
        near(110, 0.2);
        assert!((1..110).all(|step| step < 10 || recipe.rate(step) <= recipe.rate(step - 1)));
    }

    #[test]
    fn a_recipe_that_trains_nothing_is_refused() {
        assert_eq!(Recipe::default().check(), Ok(()));
        for recipe in [
            Recipe { steps: 0, ..Recipe::default() },
            Recipe { warmup_steps: 2000, ..Recipe::default() },
            Recipe { learning_rate: f64::NAN, ..Recipe::default() },
            Recipe { beta_2: 1.5, ..Recipe::default() },
            Recipe { clip_norm: 0.0, ..Recipe::default() },
        ] {
            assert!(recipe.check().is_err(), "{recipe:?}");
        }
    }
}
