//! Facts that nobody can infer: what a network knows of them, it has stored.

use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// Values that a fact may have.
pub const VALUES: usize = 32;

/// Random facts: a pair of names, one of [`VALUES`] values. First names are numbered before second ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Both names of each.
    pub pairs: Vec<[u32; 2]>,
    /// Its value.
    pub values: Vec<u32>,
    /// First names, and as many second ones.
    pub names: usize,
}

impl Facts {
    // ANCHOR: facts
    /// So many different pairs, half of all that their names allow: a pair that is there tells nothing of another.
    #[must_use]
    pub fn draw(count: usize, rng: &mut ChaCha8Rng) -> Self {
        let names = ((2 * count) as f64).sqrt().ceil() as usize;
        let mut all: Vec<usize> = (0..names * names).collect();
        all.shuffle(rng);
        let pairs = all[..count].iter().map(|at| [(at / names) as u32, (names + at % names) as u32]).collect();
        let values = (0..count).map(|_| rng.random_range(0..VALUES as u32)).collect();
        Self { pairs, values, names }
    }

    /// Bits that a network has stored which says the right values at this mean loss, in nats: five a fact if it is sure of all.
    #[must_use]
    pub fn stored(&self, loss: f64) -> f64 {
        self.pairs.len() as f64 * ((VALUES as f64).log2() - loss / std::f64::consts::LN_2)
    }
    // ANCHOR_END: facts

    /// An embedding `[2 names, width]` of variance 1 about `common`: what all names have in common.
    #[must_use]
    pub fn embedding(&self, width: usize, common: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let (bound, common) = (3.0_f32.sqrt(), common as f32);
        (0..2 * self.names * width).map(|_| rng.random_range(-bound..bound) + common).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_different_and_guessing_stores_nothing() {
        let facts = Facts::draw(500, &mut crate::rng(0, "facts"));
        let mut pairs = facts.pairs.clone();
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!((pairs.len(), facts.values.len(), facts.names), (500, 500, 32));
        assert!(facts.pairs.iter().all(|[a, b]| *a < 32 && (32..64).contains(b)));
        assert!(facts.stored((VALUES as f64).ln()).abs() < 1e-9);
        assert!((facts.stored(0.0) - 2500.0).abs() < 1e-9);
        let table = facts.embedding(8, 1.0, &mut crate::rng(0, "names"));
        let mean = table.iter().sum::<f32>() / table.len() as f32;
        assert!(table.len() == 512 && (mean - 1.0).abs() < 0.15, "{mean}");
    }
}
