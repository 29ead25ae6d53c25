//! Which operations the slots hold: names, numbers, neighbours, costs.

use std::fmt;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{CHANNELS, FEATURES, PATCH, POSITIONS, SLOTS, SlotOp, base_flops};

/// The operations of all slots, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellCode(pub [SlotOp; SLOTS]);

impl fmt::Display for CellCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(SlotOp::name).join("-"))
    }
}

// ANCHOR: code
impl CellCode {
    /// How many codes there are.
    pub const COUNT: usize = SlotOp::ALL.len().pow(SLOTS as u32);

    /// The code of a number below [`COUNT`](Self::COUNT): the first slot is its last digit to base 6.
    #[must_use]
    pub fn from_index(index: usize) -> Self {
        let digit = |slot: usize| index / SlotOp::ALL.len().pow(slot as u32) % SlotOp::ALL.len();
        Self(std::array::from_fn(|slot| SlotOp::ALL[digit(slot)]))
    }

    /// Its number.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.iter().rev().fold(0, |sum, op| sum * SlotOp::ALL.len() + *op as usize)
    }

    /// The same network with its skips at the end: two codes are one network exactly if these are equal.
    #[must_use]
    pub fn canonical(self) -> Self {
        let mut slots = [SlotOp::Skip; SLOTS];
        let real = self.0.into_iter().filter(|op| *op != SlotOp::Skip);
        slots.iter_mut().zip(real).for_each(|(slot, op)| *slot = op);
        Self(slots)
    }

    /// All different networks, canonical, in the order of their numbers: 781.
    #[must_use]
    pub fn distinct() -> Vec<Self> {
        (0..Self::COUNT).map(Self::from_index).filter(|code| code.canonical() == *code).collect()
    }

    /// Its neighbours: one slot holds something else.
    #[must_use]
    pub fn neighbours(self) -> Vec<Self> {
        let other = |slot: usize| {
            SlotOp::ALL.into_iter().filter(move |op| *op != self.0[slot]).map(move |op| {
                let mut slots = self.0;
                slots[slot] = op;
                Self(slots)
            })
        };
        (0..SLOTS).flat_map(other).collect()
    }
    // ANCHOR_END: code

    /// A code by chance, all alike.
    pub fn random(rng: &mut ChaCha8Rng) -> Self {
        Self::from_index(rng.random_range(0..Self::COUNT))
    }

    /// One of its neighbours by chance.
    #[must_use]
    pub fn mutated(self, rng: &mut ChaCha8Rng) -> Self {
        let all = self.neighbours();
        all[rng.random_range(0..all.len())]
    }

    /// The code that is written so: four names with hyphens between; spaces and capitals do not matter.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names = || SlotOp::ALL.map(SlotOp::name);
        let mut slots = Vec::new();
        for word in text.split('-').map(|word| word.trim().to_lowercase()) {
            let found = SlotOp::ALL.into_iter().find(|op| op.name() == word);
            let why = || format!("“{word}” is no operation: take one of {}", names().join(", "));
            slots.push(found.ok_or_else(why)?);
        }
        let count = slots.len();
        let fixed =
            slots.try_into().map_err(|_| format!("{count} operations stand there, and {SLOTS} slots are to be filled"));
        fixed.map(Self)
    }

    /// FLOPs of an image.
    #[must_use]
    pub fn flops(self, classes: usize) -> usize {
        base_flops(classes) + self.0.into_iter().map(SlotOp::flops).sum::<usize>()
    }

    /// Numbers that it learns.
    #[must_use]
    pub fn parameters(self, classes: usize) -> usize {
        let fixed = PATCH * PATCH * CHANNELS + POSITIONS * CHANNELS + (FEATURES + 1) * classes;
        fixed + self.0.into_iter().map(SlotOp::weights).sum::<usize>()
    }

    /// Bytes of activations at its widest place, with so many images.
    #[must_use]
    pub fn peak_bytes(self, batch: usize) -> usize {
        self.0.into_iter().map(|op| op.bytes(batch)).max().unwrap_or(0)
    }
}
