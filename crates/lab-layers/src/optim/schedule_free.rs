//! Averaging in the place of a falling rate: of weights on the side, and of the weights that answer (Defazio et al., 2024,
//! arXiv:2405.15682).

use super::Adam;

/// A running average of weights: keeps a share of what it was, and takes the rest from where the weights are now.
pub fn average(average: &mut [f32], weights: &[f32], keep: f64) {
    let (keep, take) = (keep as f32, (1.0 - keep) as f32);
    average.iter_mut().zip(weights).for_each(|(a, w)| *a = keep * *a + take * w);
}

/// What is kept: where the steps go (`z`), their average (`x`, which answers), and Adam's second moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleFree {
    z: Vec<f32>,
    x: Vec<f32>,
    second: Vec<f32>,
    /// Share of the average in the point whose gradient is taken; the place of momentum.
    beta: f64,
    /// Sum of squared rates so far, by which steps weigh in the average.
    weight: f64,
    steps: u32,
}

impl ScheduleFree {
    /// Before the first step, from these weights.
    #[must_use]
    pub fn new(weights: &[f32], beta: f64) -> Self {
        let second = vec![0.0; weights.len()];
        Self { z: weights.to_vec(), x: weights.to_vec(), second, beta, weight: 0.0, steps: 0 }
    }

    /// The weights that answer. The loss in training is that of another point, [`Self::point`].
    #[must_use]
    pub fn answer(&self) -> &[f32] {
        &self.x
    }

    /// Where the steps have led, without any average.
    #[must_use]
    pub fn walker(&self) -> &[f32] {
        &self.z
    }

    /// Bytes that are held between steps, the weights themselves among them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * (self.z.capacity() + self.x.capacity() + self.second.capacity())
    }

    // ANCHOR: step
    /// Where the next gradient is to be taken: between walker and average.
    #[must_use]
    pub fn point(&self) -> Vec<f32> {
        let b = self.beta as f32;
        self.z.iter().zip(&self.x).map(|(z, x)| (1.0 - b) * z + b * x).collect()
    }

    /// A step with the gradient at `y`, that [`Self::point`] has given; of Adam, or plain where there is none.
    pub fn step(&mut self, y: &[f32], gradient: &[f32], rate: f64, adam: Option<&Adam>) {
        self.steps += 1;
        self.weight += rate * rate;
        let c = if self.weight > 0.0 { (rate * rate / self.weight) as f32 } else { 0.0 };
        let correction = adam.map_or(1.0, |set| 1.0 - set.beta_2.powi(self.steps as i32)) as f32;
        let step = rate as f32;
        let moving = self.z.iter_mut().zip(&mut self.x).zip(&mut self.second);
        for (((z, x), v), (y, g)) in moving.zip(y.iter().zip(gradient)) {
            let mut update = *g;
            if let Some(set) = adam {
                let b = set.beta_2 as f32;
                *v = b * *v + (1.0 - b) * g * g;
                update = g / ((*v / correction).sqrt() + set.epsilon as f32) + set.decay as f32 * y;
            }
            *z -= step * update;
            *x = (1.0 - c) * *x + c * *z;
        }
    }
    // ANCHOR_END: step
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On half a square, whose gradient is the place itself: places of y, z and x.
    fn walk(beta: f64, rate: f64, steps: usize) -> Vec<[f32; 3]> {
        let mut free = ScheduleFree::new(&[1.0], beta);
        let one = |_| {
            let y = free.point();
            free.step(&y, &y, rate, None);
            [y[0], free.walker()[0], free.answer()[0]]
        };
        (0..steps).map(one).collect()
    }

    #[test]
    fn five_steps_by_hand_and_the_answer_is_the_mean_of_the_walk() {
        let right = [
            [1.0, 0.5, 0.5],
            [0.5, 0.25, 0.375],
            [0.3625, 0.06875, 0.272_917],
            [0.2525, -0.0575, 0.190_312],
            [0.165_531, -0.140_266, 0.124_197],
        ];
        let found = walk(0.9, 0.5, 5);
        for (found, right) in found.iter().zip(right) {
            assert!(found.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {right:?}");
        }
        let mean = found.iter().map(|one| one[1]).sum::<f32>() / 5.0;
        assert!((mean - found[4][2]).abs() < 1e-6);
        // Without any share of the average in the point it is descent whose places are averaged, with nothing else the average itself.
        let plain = walk(0.0, 0.5, 4);
        assert!(plain.iter().enumerate().all(|(i, one)| (one[1] - 0.5_f32.powi(i as i32 + 1)).abs() < 1e-6));
        let whole = walk(1.0, 0.5, 4);
        assert!(whole.windows(2).all(|pair| (pair[1][0] - pair[0][2]).abs() < 1e-6));
    }

    #[test]
    fn a_running_average_of_what_stays_comes_to_it() {
        let mut mean = vec![0.0, 1.0];
        average(&mut mean, &[1.0, 1.0], 0.75);
        assert_eq!(mean, [0.25, 1.0]);
        (0..60).for_each(|_| average(&mut mean, &[1.0, 1.0], 0.75));
        assert!((mean[0] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn with_adam_the_first_step_is_the_rate_and_a_copy_goes_on() {
        let mut free = ScheduleFree::new(&[1.0, 1.0], 0.9);
        let set = Adam { epsilon: 1e-12, ..Adam::W };
        let y = free.point();
        free.step(&y, &[1e-3, -5.0], 0.01, Some(&set));
        assert!((free.answer()[0] - 0.99).abs() < 1e-6 && (free.answer()[1] - 1.01).abs() < 1e-6);
        let mut copy = free.clone();
        for one in [&mut free, &mut copy] {
            let y = one.point();
            one.step(&y, &[0.1, 0.2], 0.01, Some(&set));
        }
        assert_eq!(free, copy);
        assert_eq!(free.bytes(), 24);
    }
}
