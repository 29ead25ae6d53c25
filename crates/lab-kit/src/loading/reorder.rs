//! Batches by number.

use std::collections::BTreeMap;

use lab_api::LabError;

// ANCHOR: as_they_come
/// Hands out what came first: order, and with it every loss, depends on who was quicker.
#[derive(Debug)]
pub struct AsTheyCome<B> {
    waiting: std::collections::VecDeque<B>,
}

impl<B> AsTheyCome<B> {
    /// Takes in a batch.
    pub fn push(&mut self, batch: B) {
        self.waiting.push_back(batch);
    }

    /// The batch that came first.
    pub fn pop(&mut self) -> Option<B> {
        self.waiting.pop_front()
    }
}
// ANCHOR_END: as_they_come

impl<B> Default for AsTheyCome<B> {
    fn default() -> Self {
        Self { waiting: Default::default() }
    }
}

// ANCHOR: reorder
/// Hands out batches by their numbers, whoever made them, and whenever.
#[derive(Debug)]
pub struct Reorder<B> {
    next: u64,
    waiting: BTreeMap<u64, B>,
}

impl<B> Reorder<B> {
    /// Takes in a batch.
    ///
    /// # Errors
    /// [`LabError::Engine`] for a number that was here before.
    pub fn push(&mut self, number: u64, batch: B) -> Result<(), LabError> {
        if number < self.next || self.waiting.contains_key(&number) {
            return Err(LabError::Engine { why: format!("batch {number} came twice") });
        }
        self.waiting.insert(number, batch);
        Ok(())
    }

    /// The next batch by number, if it is here.
    pub fn pop(&mut self) -> Option<B> {
        let batch = self.waiting.remove(&self.next)?;
        self.next += 1;
        Some(batch)
    }
}
// ANCHOR_END: reorder

impl<B> Reorder<B> {
    /// Waits for batch `next` first.
    #[must_use]
    pub fn new(next: u64) -> Self {
        Self { next, waiting: BTreeMap::new() }
    }

    /// Batches that are here and were not handed out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use lab_kernels::augment::Dice;

    use super::*;

    #[test]
    fn any_arrival_leaves_by_number_and_the_naive_twin_does_not() {
        for seed in 0..200 {
            let mut dice = Dice::new(seed, 0, 0);
            let (mut left, mut reorder, mut naive) =
                ((0..20).collect::<Vec<u64>>(), Reorder::new(0), AsTheyCome::default());
            let (mut out, mut by_arrival) = (Vec::new(), Vec::new());
            while !left.is_empty() {
                let number = left.remove(dice.below(left.len()));
                reorder.push(number, number).expect("new");
                naive.push(number);
                out.extend(std::iter::from_fn(|| reorder.pop()));
                by_arrival.extend(naive.pop());
            }
            assert_eq!(out, (0..20).collect::<Vec<u64>>());
            assert_ne!(by_arrival, out);
            assert!(reorder.is_empty());
        }
    }

    #[test]
    fn gaps_wait_and_what_came_before_is_refused() {
        let mut reorder = Reorder::new(5);
        reorder.push(6, 'b').expect("early");
        assert_eq!((reorder.pop(), reorder.len()), (None, 1));
        assert!(reorder.push(6, 'x').is_err() && reorder.push(4, 'x').is_err());
        reorder.push(5, 'a').expect("the gap");
        assert_eq!([reorder.pop(), reorder.pop(), reorder.pop()], [Some('a'), Some('b'), None]);
        assert!(reorder.push(6, 'x').is_err());
    }
}
