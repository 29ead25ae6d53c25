//! Who proposes: a small model, a table of what follows what, the text itself, or chance.

use burn::tensor::Device;
use lab_api::LabError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::rule::{distribution, draw};
use crate::{
    mlp::read,
    models::{KvCache, Transformer},
};

/// Proposed tokens, and the distribution `[V]` that each was drawn from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Proposal {
    /// Tokens, in order.
    pub tokens: Vec<u32>,
    /// As many distributions.
    pub q: Vec<Vec<f64>>,
}

/// What proposes. The rule that judges a proposal asks for nothing but the distribution that it came from, so that anything may
/// propose; a proposer without chance has all of it on one token.
#[derive(Debug)]
pub enum Drafter<'a> {
    /// Nobody: plain decoding.
    Nobody,
    /// A model of its own, or a part of the model, with a cache of its own.
    Model(ModelDrafter<'a>),
    /// What came next when the last tokens, so many at most, stood in the text before (Saxena's prompt lookup).
    Lookup(usize),
    /// What followed most often in another text.
    Table(&'a Ngrams),
    /// A uniform token.
    Chance,
}

/// A language model that drafts.
#[derive(Debug)]
pub struct ModelDrafter<'a> {
    model: &'a Transformer,
    cache: KvCache,
    device: Device,
}

impl<'a> ModelDrafter<'a> {
    /// With room for `capacity` tokens.
    ///
    /// # Errors
    /// As [`KvCache::new`].
    pub fn new(model: &'a Transformer, capacity: usize, device: &Device) -> Result<Self, LabError> {
        Ok(Self { model, cache: KvCache::new(model.config(), 1, capacity, device)?, device: device.clone() })
    }

    /// Tokens that it has read.
    #[must_use]
    pub fn has_read(&self) -> usize {
        self.cache.len()
    }

    // ANCHOR: draft
    /// Reads what it has not read of the text, then its own tokens one by one. The last of them it does not read: if all are
    /// accepted, two tokens are new to it in the next round.
    async fn propose(
        &mut self,
        text: &[u32],
        count: usize,
        temperature: f64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Proposal, LabError> {
        let mut proposal = Proposal::default();
        let mut unread = text.get(self.cache.len()..).unwrap_or_default().to_vec();
        for _ in 0..count {
            let logits = self.model.next(self.model.tokens(&[&unread], &self.device)?, &mut self.cache)?;
            let q = distribution(&read(logits).await?, temperature)?;
            let token = draw(&q, rng);
            unread = vec![token];
            proposal.tokens.push(token);
            proposal.q.push(q);
        }
        Ok(proposal)
    }
    // ANCHOR_END: draft
}

impl Drafter<'_> {
    /// Proposes what follows the text: `count` tokens, or fewer, or none.
    ///
    /// # Errors
    /// What a model's pass returns.
    pub async fn propose(
        &mut self,
        text: &[u32],
        count: usize,
        temperature: f64,
        vocabulary: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Proposal, LabError> {
        let certain = |tokens: Vec<u32>| {
            let one = |token: &u32| {
                let mut q = vec![0.0; vocabulary];
                if let Some(q) = q.get_mut(*token as usize) {
                    *q = 1.0;
                }
                q
            };
            Proposal { q: tokens.iter().map(one).collect(), tokens }
        };
        Ok(match self {
            Self::Nobody => Proposal::default(),
            Self::Model(model) => model.propose(text, count, temperature, rng).await?,
            Self::Lookup(longest) => certain(look_up(text, *longest, count).to_vec()),
            Self::Table(ngrams) => certain(ngrams.continue_text(text, count)),
            Self::Chance => {
                let most = u32::try_from(vocabulary).unwrap_or(u32::MAX).max(1);
                let tokens = (0..count).map(|_| rng.random_range(0..most)).collect();
                Proposal { tokens, q: vec![vec![1.0 / f64::from(most); vocabulary]; count] }
            }
        })
    }

    /// Forgets all but the first `length` tokens of the text.
    pub fn keep(&mut self, length: usize) {
        if let Self::Model(model) = self {
            model.cache.truncate(length);
        }
    }
}

// ANCHOR: look_up
/// The tokens, `count` at most, that came after the latest earlier place where the last `n` tokens of the text stand, for the
/// largest `n` up to `longest` that has one; none where even the last token is new.
#[must_use]
pub fn look_up(text: &[u32], longest: usize, count: usize) -> &[u32] {
    for n in (1..=longest.min(text.len().saturating_sub(1))).rev() {
        let end = &text[text.len() - n..];
        // Latest first; the end itself does not count.
        if let Some(at) = (0..text.len() - n).rev().find(|at| &text[*at..at + n] == end) {
            return &text[at + n..(at + n + count).min(text.len())];
        }
    }
    &[]
}
// ANCHOR_END: look_up

/// For each two tokens and each one the token that followed most often in a text.
#[derive(Debug, Clone)]
pub struct Ngrams {
    /// Sorted by the two tokens.
    after_two: Vec<([u32; 2], u32)>,
    after_one: Vec<([u32; 1], u32)>,
}

impl Ngrams {
    /// Counts a text.
    #[must_use]
    pub fn count(text: &[u32]) -> Self {
        Self { after_two: most_frequent(text), after_one: most_frequent(text) }
    }

    /// Bytes of both tables.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * (3 * self.after_two.len() + 2 * self.after_one.len())
    }

    /// The token that followed the last two most often, else the last one; nothing for a token that the text does not hold.
    #[must_use]
    pub fn follower(&self, text: &[u32]) -> Option<u32> {
        let two = text.last_chunk::<2>().and_then(|last| find(&self.after_two, last));
        two.or_else(|| text.last_chunk::<1>().and_then(|last| find(&self.after_one, last)))
    }

    fn continue_text(&self, text: &[u32], count: usize) -> Vec<u32> {
        let mut last = text[text.len().saturating_sub(2)..].to_vec();
        let before = last.len();
        while last.len() < before + count
            && let Some(token) = self.follower(&last)
        {
            last.push(token);
        }
        last.split_off(before)
    }
}

fn find<const N: usize>(table: &[([u32; N], u32)], key: &[u32; N]) -> Option<u32> {
    table.binary_search_by(|(other, _)| other.cmp(key)).ok().map(|at| table[at].1)
}

/// Of equally frequent followers the smaller token.
fn most_frequent<const N: usize>(text: &[u32]) -> Vec<([u32; N], u32)> {
    let mut all: Vec<([u32; N], u32)> =
        text.windows(N + 1).filter_map(|window| Some((*window.first_chunk::<N>()?, window[N]))).collect();
    all.sort_unstable();
    let mut table = Vec::new();
    for same_key in all.chunk_by(|a, b| a.0 == b.0) {
        let runs = same_key.chunk_by(|a, b| a.1 == b.1);
        // The first of the longest.
        if let Some(run) = runs.reduce(|best, run| if run.len() > best.len() { run } else { best }) {
            table.push(run[0]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_searched_for_its_own_end() {
        let text = [7, 1, 2, 3, 9, 1, 2, 4, 1, 2];
        // “1 2” came last before 4.
        assert_eq!(look_up(&text, 3, 2), [4, 1]);
        assert_eq!(look_up(&text, 3, 9), [4, 1, 2]);
        // “2 3 9 1 2” is nowhere else, “3” is.
        assert_eq!(look_up(&[1, 2, 3, 4, 3], 3, 8), [4, 3]);
        assert!(
            look_up(&[1, 2, 3], 3, 4).is_empty() && look_up(&[1], 3, 4).is_empty() && look_up(&[], 3, 4).is_empty()
        );
        // Of a long match a longer stretch is used than of a short one that is nearer.
        assert_eq!(look_up(&[1, 2, 8, 2, 9, 1, 2], 2, 1), [8]);
    }

    #[test]
    fn the_most_frequent_follower_is_found_and_the_shorter_context_helps_out() {
        let ngrams = Ngrams::count(&[1, 2, 3, 1, 2, 4, 1, 2, 4, 5, 2, 3, 5, 2, 3]);
        assert_eq!(ngrams.follower(&[9, 1, 2]), Some(4));
        assert_eq!(ngrams.follower(&[5, 2]), Some(3));
        // “9 2” was never seen: after 2 came 3 three times, 4 twice.
        assert_eq!((ngrams.follower(&[9, 2]), ngrams.follower(&[2])), (Some(3), Some(3)));
        assert_eq!((ngrams.follower(&[8]), ngrams.follower(&[])), (None, None));
        assert_eq!(ngrams.continue_text(&[9, 1, 2], 3), [4, 1, 2]);
        assert!(ngrams.continue_text(&[8], 3).is_empty());
    }
}
