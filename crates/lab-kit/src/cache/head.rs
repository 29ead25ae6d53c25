//! The cache of one head of keys and values, and attention over it.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{BLOCK, PackedRows, Policy, Positions, Setting, Turns};

/// Keys and values of one head: the newest in singles, older ones packed, all of them oldest first.
#[derive(Debug, Clone)]
pub struct HeadCache {
    setting: Setting,
    width: usize,
    old: [PackedRows; 2],
    recent: [Vec<f32>; 2],
    tokens: Vec<Token>,
    /// Weights of the last attention: `[queries, tokens]`.
    weights: Vec<f32>,
    most_bytes: usize,
    lots: ChaCha8Rng,
}

/// What is known of a token that is kept.
#[derive(Debug, Clone, Copy)]
struct Token {
    position: usize,
    /// Attention received, summed over steps and queries.
    received: f32,
    steps: f32,
}

impl HeadCache {
    /// An empty cache for rows of `width` numbers. `lots` decides where the policy leaves it to chance.
    #[must_use]
    pub fn new(setting: Setting, width: usize, lots: ChaCha8Rng) -> Self {
        Self {
            setting,
            width,
            old: [PackedRows::new(setting.keys, width), PackedRows::new(setting.values, width)],
            recent: [Vec::new(), Vec::new()],
            tokens: Vec::new(),
            weights: Vec::new(),
            most_bytes: 0,
            lots,
        }
    }

    /// Tokens in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Positions of the tokens in it, oldest first.
    pub fn positions(&self) -> impl Iterator<Item = usize> {
        self.tokens.iter().map(|token| token.position)
    }

    /// What the last attention gave to each token: `[queries, tokens]`.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Bytes of keys and values in it, counted in its buffers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.old.iter().map(PackedRows::bytes).sum::<usize>()
            + self.recent.iter().map(|rows| 4 * rows.len()).sum::<usize>()
    }

    /// The most that [`bytes`](Self::bytes) ever was.
    #[must_use]
    pub fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    // ANCHOR: push
    /// Takes in the key (unrotated) and the value of the token at `position`; whoever the policy names leaves first.
    pub fn push(&mut self, position: usize, key: &[f32], value: &[f32], turns: &Turns) {
        while self.setting.policy != Policy::All && self.tokens.len() >= self.setting.budget {
            self.evict();
        }
        let [keys, values] = &mut self.recent;
        keys.extend_from_slice(key);
        if self.setting.positions == Positions::Original {
            let start = keys.len() - self.width;
            turns.turn(&mut keys[start..], position);
        }
        values.extend_from_slice(value);
        self.tokens.push(Token { position, received: 0.0, steps: 0.0 });
        self.settle();
        self.most_bytes = self.most_bytes.max(self.bytes());
    }

    /// Packs what is no longer recent: one by one, or a block of tokens whose channels share a grid.
    fn settle(&mut self) {
        let Setting { keys, values, residual, .. } = self.setting;
        if keys.bits == 32 && values.bits == 32 {
            return;
        }
        let block = if keys.in_blocks() || values.in_blocks() { BLOCK } else { 1 };
        while self.tokens.len() - self.old[0].len() > residual.max(block - 1) {
            for (rows, old) in self.recent.iter_mut().zip(&mut self.old) {
                old.push(&rows[..block * self.width]);
                rows.drain(..block * self.width);
            }
        }
    }
    // ANCHOR_END: push

    // ANCHOR: evict
    /// Removes one token: never one of the first `sinks`; and unless age alone decides, none of the newer half.
    fn evict(&mut self) {
        let Setting { policy, budget, sinks, .. } = self.setting;
        // One place is for the token that comes.
        let open = sinks..self.tokens.len().saturating_sub((budget / 2).saturating_sub(1)).max(sinks + 1);
        let least = |score: fn(&Token) -> f32| {
            let tokens = self.tokens.get(open.clone()).unwrap_or_default().iter();
            // Of equals the older one leaves.
            tokens.map(score).enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(sinks, |(i, _)| sinks + i)
        };
        let victim = match policy {
            Policy::All | Policy::Window => sinks,
            Policy::HeavyHitters => least(|token| token.received),
            Policy::MeanScore => least(|token| token.received / token.steps.max(1.0)),
            Policy::Random => self.lots.random_range(open.clone()),
        };
        self.remove(victim.min(self.tokens.len() - 1));
    }
    // ANCHOR_END: evict

    fn remove(&mut self, index: usize) {
        self.tokens.remove(index);
        let old = self.old[0].len();
        if index < old {
            self.old.iter_mut().for_each(|rows| rows.remove(index));
        } else {
            let start = (index - old) * self.width;
            self.recent.iter_mut().for_each(|rows| drop(rows.drain(start..start + self.width)));
        }
    }

    // ANCHOR: attend
    /// Attention of the newest token's queries `[queries, width]` (unrotated) over all that is kept, into `out`.
    pub fn attend(&mut self, queries: &[f32], out: &mut [f32], turns: &Turns) {
        let (d, n) = (self.width, self.tokens.len());
        let in_cache = self.setting.positions == Positions::InCache;
        let place = if in_cache { n - 1 } else { self.tokens[n - 1].position };
        let scale = (d as f32).sqrt().recip();
        let mut turned = queries.to_vec();
        for query in turned.chunks_exact_mut(d) {
            turns.turn(query, place);
            query.iter_mut().for_each(|x| *x *= scale);
        }
        let mut weights = std::mem::take(&mut self.weights);
        weights.clear();
        weights.resize(queries.len() / d * n, 0.0);
        let mut turned_key = vec![0.0; d];
        // Unpacked once, for all queries that share the head.
        self.each_row(0, |i, stored| {
            let key = if in_cache {
                turned_key.copy_from_slice(stored);
                turns.turn(&mut turned_key, i);
                &turned_key
            } else {
                stored
            };
            for (query, weights) in turned.chunks_exact(d).zip(weights.chunks_exact_mut(n)) {
                weights[i] = dot(query, key);
            }
        });
        weights.chunks_exact_mut(n).for_each(softmax);
        out.fill(0.0);
        self.each_row(1, |i, value| {
            for (out, weights) in out.chunks_exact_mut(d).zip(weights.chunks_exact(n)) {
                let weight = weights[i];
                out.iter_mut().zip(value).for_each(|(y, x)| *y += weight * x);
            }
        });
        for (i, token) in self.tokens.iter_mut().enumerate() {
            token.received += weights.iter().skip(i).step_by(n).sum::<f32>();
            token.steps += 1.0;
        }
        self.weights = weights;
    }
    // ANCHOR_END: attend

    /// Keys (0) or values (1) of all tokens, oldest first; packed ones are unpacked a block at a time.
    fn each_row(&self, which: usize, mut each: impl FnMut(usize, &[f32])) {
        let (old, d) = (&self.old[which], self.width);
        let mut block = vec![0.0; BLOCK.min(old.len()) * d];
        for first in (0..old.len()).step_by(BLOCK) {
            let rows = &mut block[..BLOCK.min(old.len() - first) * d];
            old.rows(first, rows);
            (first..).zip(rows.chunks_exact(d)).for_each(|(i, row)| each(i, row));
        }
        (old.len()..).zip(self.recent[which].chunks_exact(d)).for_each(|(i, row)| each(i, row));
    }
}

/// In eight sums, which the processor adds at once.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}
