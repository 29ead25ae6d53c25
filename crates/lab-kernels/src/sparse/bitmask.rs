//! A bit for every place, and the weights where it is set.

use lab_api::LabError;

use super::{Format, narrow, strip::along_batch};

// ANCHOR: bitmask
/// One bit a place, rows beginning on a word of 64; values follow one another, row after row.
#[derive(Debug, Clone, PartialEq)]
pub struct Bitmask {
    width: usize,
    bits: Vec<u64>,
    values: Vec<f32>,
}

impl Bitmask {
    /// Keeps what is not zero of `weights` `[rows, columns]`.
    ///
    /// # Errors
    /// [`LabError::Refused`] for a width of zero or above 65,536.
    pub fn new(weights: &[f32], columns: usize) -> Result<Self, LabError> {
        narrow(columns)?;
        let word = |part: &[f32]| part.iter().rev().fold(0, |word, w| word << 1 | u64::from(*w != 0.0));
        let rows = weights.chunks_exact(columns);
        Ok(Self {
            width: columns,
            bits: rows.clone().flat_map(|row| row.chunks(64).map(word)).collect(),
            values: rows.flatten().copied().filter(|w| *w != 0.0).collect(),
        })
    }
}

/// The places of the bits that are set, from the lowest on: one instruction finds the next, another clears it.
fn places(words: &[u64]) -> impl Iterator<Item = usize> + Clone {
    words.iter().enumerate().flat_map(|(i, word)| {
        let step = |word: &u64| Some(word & word.wrapping_sub(1));
        let left = std::iter::successors(Some(*word), step).take_while(|word| *word != 0);
        left.map(move |word| 64 * i + word.trailing_zeros() as usize)
    })
}
// ANCHOR_END: bitmask

impl Format for Bitmask {
    fn multiply(&self, x: &[f32], y: &mut [f32], n: usize) {
        let mut at = 0;
        for (words, y) in self.bits.chunks_exact(self.width.div_ceil(64)).zip(y.chunks_exact_mut(n)) {
            let count: u32 = words.iter().map(|word| word.count_ones()).sum();
            let values = &self.values[at..at + count as usize];
            at += values.len();
            if n > 1 {
                along_batch(values.iter().copied().zip(places(words)), x, n, y);
                continue;
            }
            let (mut sum, mut values) = (0.0, values.iter());
            for (word, x) in words.iter().zip(x.chunks(64)) {
                let mut word = *word;
                while let (true, Some(w)) = (word != 0, values.as_slice().first()) {
                    sum += w * x[word.trailing_zeros() as usize];
                    word &= word - 1;
                    values.next();
                }
            }
            y[0] = sum;
        }
    }

    fn rows(&self) -> usize {
        self.bits.len() / self.width.div_ceil(64)
    }

    fn columns(&self) -> usize {
        self.width
    }

    fn bytes(&self) -> usize {
        size_of_val(self.bits.as_slice()) + size_of_val(self.values.as_slice())
    }

    fn stored(&self) -> usize {
        self.values.len()
    }
}
