//! Which examples belong to which step: a function of seed and step alone, so that a resumed training sees what an
//! uninterrupted one would have seen.

use rand::{Rng, seq::SliceRandom};

use crate::context::rng;

/// Batches of examples, each example once an epoch, shuffled anew for each; the rest of an epoch that fills no batch is
/// left out.
#[derive(Debug, Clone)]
pub struct Order {
    items: usize,
    batch: usize,
    seed: u64,
    epoch: Option<usize>,
    shuffled: Vec<usize>,
}

impl Order {
    /// Batches of `batch` out of `items` examples; of all where there are fewer.
    #[must_use]
    pub fn new(items: usize, batch: usize, seed: u64) -> Self {
        Self { items, batch: batch.clamp(1, items.max(1)), seed, epoch: None, shuffled: Vec::new() }
    }

    /// Steps in an epoch.
    #[must_use]
    pub fn steps(&self) -> usize {
        (self.items / self.batch).max(1)
    }

    /// The examples of step `step`, counted from 0.
    pub fn indices(&mut self, step: usize) -> &[usize] {
        let (epoch, place) = (step / self.steps(), step % self.steps());
        if self.epoch != Some(epoch) {
            self.shuffled = (0..self.items).collect();
            self.shuffled.shuffle(&mut rng(self.seed, &format!("order of epoch {epoch}")));
            self.epoch = Some(epoch);
        }
        &self.shuffled[place * self.batch..((place + 1) * self.batch).min(self.items)]
    }
}

/// Windows of a text of tokens: in each epoch the text is cut anew, beginning at another token.
#[derive(Debug, Clone)]
pub struct Windows {
    tokens: Vec<u32>,
    length: usize,
    order: Order,
    seed: u64,
}

impl Windows {
    /// Batches of `batch` windows of `length` tokens, each with the token that follows. A text of no more than `length`
    /// tokens has no window.
    #[must_use]
    pub fn new(tokens: Vec<u32>, length: usize, batch: usize, seed: u64) -> Self {
        // One window fewer than fit, so that a cut may begin anywhere in the first.
        let windows = (tokens.len().saturating_sub(1) / length.max(1)).saturating_sub(1);
        Self { order: Order::new(windows, batch, seed), tokens, length, seed }
    }

    /// Whether the text is too short for a single window.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.items == 0
    }

    /// Steps in an epoch.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.order.steps()
    }

    /// The windows of step `step`: each `length + 1` tokens, of which all but the last are read and all but the first are
    /// to be foretold.
    pub fn rows(&mut self, step: usize) -> Vec<&[u32]> {
        let epoch = step / self.order.steps();
        let first = rng(self.seed, &format!("cut of epoch {epoch}")).random_range(0..self.length.max(1));
        let (tokens, length) = (&self.tokens, self.length);
        let row = |window: &usize| {
            let start = first + window * length;
            &tokens[start..start + length + 1]
        };
        self.order.indices(step).iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_holds_each_example_once_and_any_step_can_be_had_first() {
        let mut order = Order::new(10, 3, 7);
        let mut seen: Vec<usize> = (0..order.steps()).flat_map(|step| order.indices(step).to_vec()).collect();
        let second = order.indices(4).to_vec();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 9);
        assert_eq!(Order::new(10, 3, 7).indices(4), second);
        assert_ne!(Order::new(10, 3, 8).indices(4), second);
        assert_eq!(Order::new(2, 64, 0).indices(5).len(), 2);
    }

    #[test]
    fn windows_are_runs_of_the_text_and_no_token_is_foretold_twice_in_an_epoch() {
        let mut windows = Windows::new((0..103).collect(), 10, 3, 1);
        let mut starts = Vec::new();
        for step in 0..windows.steps() {
            for row in windows.rows(step) {
                assert!(row.len() == 11 && row.windows(2).all(|pair| pair[1] == pair[0] + 1));
                starts.push(row[0]);
            }
        }
        starts.sort_unstable();
        assert_eq!(starts.len(), 9);
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == 10));
        assert!(Windows::new(vec![1; 10], 10, 3, 1).is_empty());
    }
}
