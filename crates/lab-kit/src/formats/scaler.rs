//! A loss scale that looks after itself.

/// What to do with the gradients of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Divide them by this and update. It is the scale that the backward pass used, not the next one.
    Take {
        /// The divisor.
        unscale_by: f32,
    },
    /// Touch nothing: weights, moments and the count of steps stay.
    Skip,
}

/// Dynamic loss scaling: half the scale when a gradient is not finite, twice the scale after so many clean steps
/// (Micikevicius et al., 2018, arXiv:1710.03740).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaler {
    scale: f32,
    clean: u32,
    interval: u32,
}

impl Scaler {
    /// A scale to start from, and the clean steps after which it is doubled.
    #[must_use]
    pub fn new(scale: f32, interval: u32) -> Self {
        Self { scale, clean: 0, interval: interval.max(1) }
    }

    /// The factor of the next loss.
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.scale
    }

    // ANCHOR: update
    /// After a backward pass: were all gradients finite?
    pub fn update(&mut self, finite: bool) -> Action {
        let used = self.scale;
        if !finite {
            self.scale = used / 2.0;
            self.clean = 0;
            return Action::Skip;
        }
        self.clean += 1;
        if self.clean == self.interval {
            self.scale = used * 2.0;
            self.clean = 0;
        }
        Action::Take { unscale_by: used }
    }
    // ANCHOR_END: update
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_largest_scale_that_fits_and_tries_one_step_in_a_hundred_and_one() {
        let mut scaler = Scaler::new(2_f32.powi(24), 100);
        let mut skipped = Vec::new();
        for step in 0..1000 {
            let used = scaler.scale();
            match scaler.update(used <= 2_f32.powi(19)) {
                Action::Skip => skipped.push(step),
                // The divisor is the scale of this backward pass, also where it has just been doubled.
                Action::Take { unscale_by } => assert_eq!(unscale_by, used),
            }
        }
        assert_eq!(skipped[..5], [0, 1, 2, 3, 4]);
        assert_eq!(skipped[5], 105);
        assert!(skipped[5..].windows(2).all(|pair| pair[1] - pair[0] == 101));
    }
}
