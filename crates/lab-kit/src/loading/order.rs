//! In which order items come.

use lab_kernels::augment::Dice;

/// How items are arranged in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrange {
    /// As they lie.
    AsTheyLie,
    /// A shuffle buffer of so many.
    Buffer(usize),
    /// So many shards in random order, then a shuffle buffer of so many.
    Shards(usize, usize),
    /// A permutation, anew in each epoch.
    Full,
    /// One permutation for ever.
    Fixed,
    /// A permutation that is computed and never stored, anew in each epoch.
    Keyed,
    /// Each draw from all items.
    Replaced,
}

// ANCHOR: shuffle_buffer
/// Passes items through a buffer of `size`: it is filled, then each new item takes the place of a random one, which leaves.
#[must_use]
pub fn shuffle_buffer(items: &[u32], size: usize, dice: &mut Dice) -> Vec<u32> {
    let (first, rest) = items.split_at(size.clamp(1, items.len().max(1)).min(items.len()));
    let mut buffer = first.to_vec();
    let mut out = Vec::with_capacity(items.len());
    for item in rest {
        let place = dice.below(buffer.len());
        out.push(std::mem::replace(&mut buffer[place], *item));
    }
    while !buffer.is_empty() {
        let place = dice.below(buffer.len());
        out.push(buffer.swap_remove(place));
    }
    out
}
// ANCHOR_END: shuffle_buffer

// ANCHOR: keyed
/// Place `i` of a permutation of `0..items` that takes no memory: four rounds of a Feistel network on a square that holds them all,
/// walked until the result is among them (Black and Rogaway, 2002).
#[must_use]
pub fn keyed(i: u32, items: u32, key: u64) -> u32 {
    let side = (1_u64..).find(|side| side * side >= u64::from(items)).unwrap_or(1);
    let mut at = u64::from(i);
    loop {
        let (mut left, mut right) = (at / side, at % side);
        for round in 0..4 {
            let scrambled = Dice::new(key, round, right).word() % side;
            (left, right) = (right, (left + scrambled) % side);
        }
        at = left * side + right;
        if at < u64::from(items) {
            return at as u32;
        }
    }
}
// ANCHOR_END: keyed

/// The items of each batch: a function of seed and number alone, so that it can be entered anywhere.
#[derive(Debug, Clone)]
pub struct BatchSequence {
    items: Vec<u32>,
    arrange: Arrange,
    batch: usize,
    seed: u64,
    epoch: Option<u64>,
    list: Vec<u32>,
}

impl BatchSequence {
    /// Batches of `batch` (of all where there are fewer) out of `items`, which stand as they lie in the file.
    #[must_use]
    pub fn new(items: Vec<u32>, arrange: Arrange, batch: usize, seed: u64) -> Self {
        let batch = batch.clamp(1, items.len().max(1));
        Self { items, arrange, batch, seed, epoch: None, list: Vec::new() }
    }

    /// Batches of an epoch. What fills no batch is left out.
    #[must_use]
    pub fn batches(&self) -> usize {
        (self.items.len() / self.batch).max(1)
    }

    /// Epoch and items of a batch.
    pub fn batch(&mut self, number: u64) -> (u64, Vec<u32>) {
        let batches = self.batches() as u64;
        let epoch = number / batches;
        if self.epoch != Some(epoch) {
            self.list = self.arranged(epoch);
            self.epoch = Some(epoch);
        }
        let from = (number % batches) as usize * self.batch;
        (epoch, self.list[from..(from + self.batch).min(self.list.len())].to_vec())
    }

    /// All items of an epoch in their order.
    #[must_use]
    pub fn arranged(&self, epoch: u64) -> Vec<u32> {
        let epoch = if self.arrange == Arrange::Fixed { 0 } else { epoch };
        let (all, mut dice) = (&self.items, Dice::new(self.seed, epoch, u64::MAX));
        match self.arrange {
            Arrange::AsTheyLie => all.clone(),
            Arrange::Buffer(size) => shuffle_buffer(all, size, &mut dice),
            Arrange::Shards(shards, size) => {
                let shards: Vec<u32> = (0..shards.clamp(1, all.len().max(1)) as u32).collect();
                let part = |shard: u32| {
                    let end = |shard: usize| shard * all.len() / shards.len();
                    &all[end(shard as usize)..end(shard as usize + 1)]
                };
                let mixed = shuffle_buffer(&shards, shards.len(), &mut dice);
                let stream: Vec<u32> = mixed.into_iter().flat_map(|shard| part(shard).iter().copied()).collect();
                shuffle_buffer(&stream, size, &mut dice)
            }
            Arrange::Full | Arrange::Fixed => shuffle_buffer(all, all.len(), &mut dice),
            Arrange::Keyed => {
                let key = dice.word();
                (0..all.len() as u32).map(|i| all[keyed(i, all.len() as u32, key) as usize]).collect()
            }
            Arrange::Replaced => all.iter().map(|_| all[dice.below(all.len())]).collect(),
        }
    }
}

/// Of an epoch: how many classes a batch holds on average, and how far from its place an item comes out on average.
#[must_use]
pub fn class_mix(sequence: &BatchSequence, classes: &[u8], batch: usize) -> (f64, f64) {
    let order = sequence.arranged(0);
    let (mut sum, mut batches) = (0, 0);
    for items in order.chunks_exact(batch.clamp(1, order.len().max(1))) {
        let mut seen = [false; 256];
        items.iter().for_each(|item| seen[usize::from(classes[*item as usize])] = true);
        sum += seen.iter().filter(|seen| **seen).count();
        batches += 1;
    }
    let mut places = vec![0_usize; classes.len()];
    sequence.items.iter().enumerate().for_each(|(place, item)| places[*item as usize] = place);
    let moved: usize = order.iter().enumerate().map(|(place, item)| place.abs_diff(places[*item as usize])).sum();
    (f64::from(sum as u32) / f64::from(batches.max(1)), moved as f64 / order.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speculative::chi_square;

    const ALL: [Arrange; 6] =
        [Arrange::AsTheyLie, Arrange::Buffer(7), Arrange::Shards(9, 5), Arrange::Full, Arrange::Fixed, Arrange::Keyed];

    #[test]
    fn each_item_comes_once_an_epoch_and_any_batch_can_be_had_first() {
        for arrange in ALL {
            let sequence = BatchSequence::new((0..103).collect(), arrange, 10, 4);
            for epoch in 0..3 {
                let mut order = sequence.arranged(epoch);
                order.sort_unstable();
                assert!(order.into_iter().eq(0..103), "{arrange:?}");
            }
            let mut walked = sequence.clone();
            let all: Vec<_> = (0..25).map(|number| walked.batch(number)).collect();
            assert_eq!(sequence.clone().batch(24), all[24], "{arrange:?}");
            assert_eq!((all[24].0, all[24].1.len()), (2, 10));
            let again = sequence.arranged(0) == sequence.arranged(1);
            assert_eq!(again, matches!(arrange, Arrange::AsTheyLie | Arrange::Fixed), "{arrange:?}");
        }
    }

    #[test]
    fn a_buffer_of_one_is_the_identity_and_lets_nothing_out_more_than_its_size_early() {
        let items: Vec<u32> = (0..5000).collect();
        assert_eq!(shuffle_buffer(&items, 1, &mut Dice::new(0, 0, 0)), items);
        let out = shuffle_buffer(&items, 64, &mut Dice::new(0, 0, 0));
        let early = out.iter().enumerate().map(|(place, item)| i64::from(*item) - place as i64).max();
        let late = out.iter().enumerate().map(|(place, item)| place as i64 - i64::from(*item)).max();
        assert!(early == Some(63) && late > Some(300), "{early:?} {late:?}");
        assert!(shuffle_buffer(&[], 5, &mut Dice::new(0, 0, 0)).is_empty());
    }

    /// Where items come out; the wrong rule takes the oldest with probability one half.
    fn places(wrong: bool) -> Vec<usize> {
        let mut counts = vec![0; 64];
        for seed in 0..3000 {
            let mut dice = Dice::new(seed, 1, 1);
            let items: Vec<u32> = (0..8).collect();
            let order = if wrong {
                let mut left = items.clone();
                let mut take = || {
                    let place = if dice.below(2) == 0 { 0 } else { dice.below(left.len()) };
                    left.remove(place)
                };
                (0..8).map(|_| take()).collect()
            } else {
                shuffle_buffer(&items, 8, &mut dice)
            };
            order.iter().enumerate().for_each(|(place, item)| counts[8 * place + *item as usize] += 1);
        }
        counts
    }

    #[test]
    fn a_buffer_as_large_as_the_data_is_a_uniform_permutation_and_a_wrong_rule_is_found() {
        let p = |counts: &[usize]| chi_square(counts, &[1.0 / 64.0; 64], 5.0).p_value;
        assert!(p(&places(false)) > 0.001);
        assert!(p(&places(true)) < 1e-6);
    }

    #[test]
    fn a_keyed_permutation_moves_far_and_is_one_for_any_size() {
        for items in [1, 2, 3, 10, 257, 1000] {
            let mut seen: Vec<u32> = (0..items).map(|i| keyed(i, items, 9)).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..items));
        }
        let mut counts = vec![0; 100];
        for key in 0..20_000 {
            counts[keyed(3, 100, key) as usize] += 1;
        }
        assert!(chi_square(&counts, &[0.01; 100], 5.0).p_value > 0.001);
    }

    #[test]
    fn small_shards_mix_classes_as_a_large_buffer_does() {
        let classes: Vec<u8> = (0..4700).map(|i| (i / 100) as u8).collect();
        let mix = |arrange| class_mix(&BatchSequence::new((0..4700).collect(), arrange, 64, 0), &classes, 64);
        let (lies, moved) = mix(Arrange::AsTheyLie);
        assert!(lies < 1.7 && moved == 0.0, "{lies}");
        let full = mix(Arrange::Full).0;
        // A draw of 64 out of 47 classes holds 47 · (1 − (46/47)^64) of them.
        assert!((full - 35.1).abs() < 0.7, "{full}");
        assert!(mix(Arrange::Shards(470, 170)).0 > mix(Arrange::Buffer(170)).0 + 5.0);
    }
}
