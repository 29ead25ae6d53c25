//! Caches in blocks (vLLM, arXiv:2309.06180): a text holds a table of blocks instead of one long stretch, and texts that begin
//! alike share them. Bookkeeping only: which block holds which tokens.

use std::collections::BTreeMap;

use lab_api::LabError;

/// What a block is known by: the block before it, and its own tokens. The tokens themselves, not a hash of them, so that
/// no other text can pass for this one.
type Key = (Option<usize>, Vec<u32>);

/// Blocks that many texts share.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    size: usize,
    blocks: Vec<Block>,
    known: BTreeMap<Key, usize>,
    clock: u64,
}

#[derive(Debug, Clone, Default)]
struct Block {
    key: Option<Key>,
    users: usize,
    /// Known blocks that continue this one: while there are any, it cannot be given away.
    children: usize,
    used_at: u64,
}

/// The blocks of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Numbers of its blocks, in the text's order.
    pub table: Vec<usize>,
    /// Tokens whose keys and values were there already.
    pub reused: usize,
}

impl Pool {
    /// So many blocks of `size` tokens.
    #[must_use]
    pub fn new(size: usize, blocks: usize) -> Self {
        Self { size: size.max(1), blocks: vec![Block::default(); blocks], ..Self::default() }
    }

    /// Blocks that a text uses now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.blocks.iter().filter(|block| block.users > 0).count()
    }

    // ANCHOR: admit
    /// Room for a text. Whole blocks at its beginning that another text has filled with the same tokens, after the same
    /// blocks, are shared; the first that is not ends the search.
    ///
    /// # Errors
    /// [`LabError::Refused`] when the pool has too few blocks left.
    pub fn admit(&mut self, tokens: &[u32]) -> Result<Sequence, LabError> {
        let mut sequence = Sequence { table: Vec::new(), reused: 0 };
        let mut sharing = true;
        for part in tokens.chunks(self.size) {
            let parent = sequence.table.last().copied();
            let key: Option<Key> = (part.len() == self.size).then(|| (parent, part.to_vec()));
            let found = key.as_ref().and_then(|key| self.known.get(key)).copied();
            sharing &= found.is_some();
            let number = match found {
                Some(number) => {
                    sequence.reused += if sharing { part.len() } else { 0 };
                    number
                }
                None => match self.take(key, parent) {
                    Some(number) => number,
                    None => {
                        self.release(&sequence);
                        let why =
                            format!("all {} blocks are in use: end a text, or make the pool larger", self.blocks.len());
                        return Err(LabError::Refused { why });
                    }
                },
            };
            self.blocks[number].users += 1;
            sequence.table.push(number);
        }
        Ok(sequence)
    }
    // ANCHOR_END: admit

    /// Gives a text's blocks back. What they hold stays known until their room is needed.
    pub fn release(&mut self, sequence: &Sequence) {
        self.clock += 1;
        for number in &sequence.table {
            let block = &mut self.blocks[*number];
            block.users = block.users.saturating_sub(1);
            block.used_at = self.clock;
        }
    }

    /// A block that nobody uses, the longest unused first; one that others continue stays.
    fn take(&mut self, key: Option<Key>, parent: Option<usize>) -> Option<usize> {
        let open = |block: &&Block| block.users == 0 && block.children == 0;
        let free = self.blocks.iter().filter(open).map(|block| (block.key.is_some(), block.used_at)).min()?;
        let number = self.blocks.iter().position(|b| open(&b) && (b.key.is_some(), b.used_at) == free)?;
        if let Some(old) = self.blocks[number].key.take() {
            if let Some(parent) = old.0 {
                self.blocks[parent].children -= 1;
            }
            self.known.remove(&old);
        }
        if let Some(key) = key {
            if let Some(parent) = parent {
                self.blocks[parent].children += 1;
            }
            self.known.insert(key.clone(), number);
            self.blocks[number].key = Some(key);
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn only_a_common_beginning_is_shared() {
        let mut pool = Pool::new(2, 16);
        let first = pool.admit(&[1, 2, 3, 4, 5]).expect("room");
        assert_eq!((first.reused, first.table.len()), (0, 3));
        let second = pool.admit(&[1, 2, 3, 4, 6]).expect("room");
        // The incomplete block is nobody else's.
        assert_eq!((second.reused, &second.table[..2]), (4, &first.table[..2]));
        assert_ne!(second.table[2], first.table[2]);
        // The same second block after another first one is another block.
        let third = pool.admit(&[9, 2, 3, 4]).expect("room");
        assert_eq!(third.reused, 0);
        assert!(third.table.iter().all(|block| !first.table.contains(block)));
        assert_eq!(pool.used(), 6);
    }

    #[test]
    fn what_was_given_back_is_found_again_until_its_room_is_needed() {
        let mut pool = Pool::new(2, 4);
        let first = pool.admit(&[1, 2, 3, 4]).expect("room");
        pool.release(&first);
        assert_eq!(pool.used(), 0);
        assert_eq!(pool.admit(&[1, 2, 3, 4, 5, 6]).expect("room").reused, 4);
        assert!(pool.admit(&[7, 8, 9, 9]).expect_err("full").to_string().contains("in use"));
        // The one free block is still there.
        assert!(pool.admit(&[7, 8]).is_ok());
    }

    #[test]
    fn a_block_is_never_two_texts_at_once() {
        let (mut pool, mut rng) = (Pool::new(3, 20), crate::rng(0, "texts"));
        let mut live: Vec<(Vec<u32>, Sequence)> = Vec::new();
        for _ in 0..2000 {
            if live.len() > 3 || rng.random_bool(0.3) && !live.is_empty() {
                let (_, ended) = live.remove(rng.random_range(0..live.len()));
                pool.release(&ended);
            }
            let text: Vec<u32> = (0..rng.random_range(1..14)).map(|_| rng.random_range(0..2)).collect();
            if let Ok(sequence) = pool.admit(&text) {
                live.push((text, sequence));
            }
            // What every block holds, by all that use it.
            let mut holds: BTreeMap<usize, &[u32]> = BTreeMap::new();
            for (text, sequence) in &live {
                for (i, number) in sequence.table.iter().enumerate() {
                    let upto = &text[..((i + 1) * 3).min(text.len())];
                    assert!(upto.len() == (i + 1) * 3 || !holds.contains_key(number), "an incomplete block is shared");
                    assert_eq!(*holds.entry(*number).or_insert(upto), upto, "one block, two beginnings");
                }
            }
            assert_eq!(pool.used(), holds.len());
        }
    }
}
