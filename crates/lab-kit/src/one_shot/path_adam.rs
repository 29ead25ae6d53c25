//! AdamW that counts the steps of each part by itself: a part that no path used stays as it was, moments and all.

use std::ops::Range;

use lab_layers::optim::{Adam, adamw};

/// What it remembers of weights that lie one after the other in parts.
#[derive(Debug, Clone)]
pub struct PathAdam {
    parts: Vec<Range<usize>>,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: Vec<u32>,
    set: Adam,
}

impl PathAdam {
    /// One that remembers nothing yet. `parts` cover all weights.
    #[must_use]
    pub fn new(parts: Vec<Range<usize>>, set: Adam) -> Self {
        let numbers = parts.iter().map(|part| part.end).max().unwrap_or(0);
        let steps = vec![0; parts.len()];
        Self { parts, first: vec![0.0; numbers], second: vec![0.0; numbers], steps, set }
    }

    /// Updates that each part has had.
    #[must_use]
    pub fn steps(&self) -> &[u32] {
        &self.steps
    }

    /// Both moments of a part.
    #[must_use]
    pub fn moments(&self, part: usize) -> [&[f32]; 2] {
        let range = self.parts[part].clone();
        [&self.first[range.clone()], &self.second[range]]
    }

    // ANCHOR: step
    /// One update of the parts that were used. With one count for all, a rare part would be corrected for steps that it never
    /// took, and its weights would shrink while nobody looks at them.
    pub fn step(&mut self, weights: &mut [f32], gradient: &[f32], used: &[bool], rate: f64) {
        for ((part, steps), _) in self.parts.iter().zip(&mut self.steps).zip(used).filter(|(_, used)| **used) {
            *steps += 1;
            let at = || part.clone();
            let moments = (&mut self.first[at()], &mut self.second[at()]);
            adamw(&mut weights[at()], &gradient[at()], moments, *steps, rate, &self.set);
        }
    }
    // ANCHOR_END: step
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: Adam = Adam { decay: 0.1, ..Adam::W };

    #[test]
    fn what_is_not_used_is_not_touched_and_counts_its_own_steps() {
        let mut adam = PathAdam::new(vec![0..2, 2..3, 3..5], SET);
        let mut weights = [1.0_f32, -2.0, 3.0, 0.5, 4.0];
        let gradient = [0.1, -0.2, 0.3, -0.4, 0.5];
        for _ in 0..3 {
            adam.step(&mut weights, &gradient, &[true, false, false], 0.01);
        }
        assert_eq!(weights[2..], [3.0, 0.5, 4.0]);
        assert!(adam.moments(1).concat().iter().chain(&adam.moments(2).concat()).all(|x| *x == 0.0));
        adam.step(&mut weights, &gradient, &[true, false, true], 0.01);
        assert_eq!(adam.steps(), [4, 0, 1]);
        // The first update of a part is the first of an optimizer of its own, bit by bit.
        let (mut alone, mut m, mut v) = ([0.5_f32, 4.0], [0.0; 2], [0.0; 2]);
        adamw(&mut alone, &gradient[3..], (&mut m, &mut v), 1, 0.01, &SET);
        assert_eq!(weights[3..], alone);
        assert_eq!(adam.moments(2), [&m[..], &v[..]]);
    }

    #[test]
    fn one_part_that_is_always_used_is_plain_adam() {
        let mut adam = PathAdam::new(vec![0..1, 1..3], SET);
        let (mut a, mut b, mut m, mut v) = ([1.0_f32, 2.0, 3.0], [1.0_f32, 2.0, 3.0], [0.0; 3], [0.0; 3]);
        for t in 1..6 {
            let gradient = [0.3 / t as f32, -0.1, 0.2 * t as f32];
            adam.step(&mut a, &gradient, &[true, true], 0.02);
            adamw(&mut b, &gradient, (&mut m, &mut v), t, 0.02, &SET);
        }
        assert_eq!(a, b);
    }
}
