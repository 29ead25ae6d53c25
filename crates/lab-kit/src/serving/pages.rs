//! Memory for keys and values in pages (Kwon et al., arXiv:2309.06180): a sequence holds a table of pages, and a page holds
//! the same few tokens in all layers.

/// The pages that nobody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    size: usize,
    total: usize,
    free: Vec<usize>,
}

impl Pages {
    /// So many pages of `size` tokens each, all free.
    #[must_use]
    pub fn new(total: usize, size: usize) -> Self {
        Self { size: size.max(1), total, free: (0..total).rev().collect() }
    }

    /// Tokens of a page.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Pages in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Pages that somebody holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.total - self.free.len()
    }

    /// Pages that nobody holds.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Pages that so many tokens take.
    #[must_use]
    pub fn needed(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.size)
    }

    // ANCHOR: grow
    /// Lets a sequence's table grow until it holds so many tokens. Where too few pages are free, nothing changes.
    pub fn grow(&mut self, table: &mut Vec<usize>, tokens: usize) -> bool {
        let more = self.needed(tokens).saturating_sub(table.len());
        if more > self.free.len() {
            return false;
        }
        table.extend(self.free.drain(self.free.len() - more..).rev());
        true
    }

    /// Takes a sequence's pages back. What lies in them is overwritten by whoever gets them next.
    pub fn release(&mut self, table: &mut Vec<usize>) {
        self.free.append(table);
    }
    // ANCHOR_END: grow
}

/// Where a sequence's token of this position lies in a pool of pages.
///
/// # Panics
/// When the table does not reach so far.
#[must_use]
pub fn slot(table: &[usize], size: usize, position: usize) -> usize {
    table[position / size] * size + position % size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_one_owner_and_comes_back() {
        let mut pages = Pages::new(5, 4);
        let (mut one, mut other) = (Vec::new(), Vec::new());
        assert!(pages.grow(&mut one, 5) && one == [0, 1]);
        assert!(pages.grow(&mut other, 4) && pages.grow(&mut other, 9));
        assert_eq!((other.clone(), pages.held()), (vec![2, 3, 4], 5));
        // Full: nothing changes, and a token that fits its last page needs none.
        assert!(!pages.grow(&mut one, 9) && one.len() == 2 && pages.grow(&mut one, 8));
        pages.release(&mut other);
        assert!(other.is_empty() && pages.held() == 2 && pages.grow(&mut one, 20));
        assert_eq!(slot(&one, 4, 7), one[1] * 4 + 3);
        let mut sorted = one.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4]);
    }
}
