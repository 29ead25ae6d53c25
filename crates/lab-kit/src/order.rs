//! Sorting by a rule, in little code: the standard library's sort is 4 KB for each rule, and labs have a rule each.

use std::cmp::Ordering;

/// Stable sorts of what is short, or sorted once: three times as slow as those of the standard library.
pub trait Ordered<T> {
    /// As [`slice::sort_by`].
    fn ordered_by(&mut self, compare: &dyn Fn(&T, &T) -> Ordering);

    /// As [`slice::sort_by_key`].
    fn ordered_by_key<K: Ord>(&mut self, key: &dyn Fn(&T) -> K) {
        self.ordered_by(&|a, b| key(a).cmp(&key(b)));
    }
}

impl<T> Ordered<T> for [T] {
    fn ordered_by(&mut self, compare: &dyn Fn(&T, &T) -> Ordering) {
        let mut from = permutation(self.len(), &|a, b| compare(&self[a], &self[b]));
        // Place `at` wants what lies at `from[at]`: each cycle is turned by swaps.
        for start in 0..from.len() {
            let mut at = start;
            while from[at] != start {
                let next = from[at];
                self.swap(at, next);
                from[at] = at;
                at = next;
            }
            from[at] = at;
        }
    }
}

/// The numbers `0..count` in the order of a rule; those that it calls equal stay as they are.
#[inline(never)]
fn permutation(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut all: Vec<usize> = (0..count).collect();
    all.sort_by(|a, b| compare(*a, *b));
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_stable_sort_of_the_standard_library(keys in prop::collection::vec(0_u8..9, 0..60)) {
            let items: Vec<(u8, usize)> = keys.iter().copied().zip(0..).collect();
            let (mut ours, mut by_key, mut theirs) = (items.clone(), items.clone(), items);
            ours.ordered_by(&|a, b| b.0.cmp(&a.0));
            by_key.ordered_by_key(&|item| std::cmp::Reverse(item.0));
            theirs.sort_by_key(|item| std::cmp::Reverse(item.0));
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(by_key, theirs);
        }
    }
}
