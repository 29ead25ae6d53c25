//! Which items a cache still has when they are asked for again.

use std::collections::{BTreeMap, HashMap};

/// Who gives way when a cache is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// The one that was not asked for the longest.
    LeastRecent,
    /// Nobody: the first ones stay.
    Never,
}

// ANCHOR: hits
/// How many of `asked` are found in a cache of `capacity` items. The first `warm` are not counted.
#[must_use]
pub fn hits(asked: &[u32], capacity: usize, rule: Replacement, warm: usize) -> usize {
    let (mut last, mut by_time) = (HashMap::<u32, usize>::new(), BTreeMap::<usize, u32>::new());
    let mut found = 0;
    for (time, item) in asked.iter().enumerate() {
        let before = last.get(item).copied();
        found += usize::from(before.is_some() && time >= warm);
        match (rule, before) {
            (Replacement::Never, Some(_)) => continue,
            (Replacement::LeastRecent, Some(before)) => drop(by_time.remove(&before)),
            (_, None) if last.len() < capacity => {}
            (Replacement::LeastRecent, None) if capacity > 0 => {
                if let Some((_, oldest)) = by_time.pop_first() {
                    last.remove(&oldest);
                }
            }
            _ => continue,
        }
        last.insert(*item, time);
        by_time.insert(time, *item);
    }
    found
}
// ANCHOR_END: hits

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loading::{Arrange, BatchSequence};

    /// Per cent of hits after the first epoch.
    fn rate(arrange: Arrange, share: f64, rule: Replacement) -> f64 {
        let sequence = BatchSequence::new((0..2000).collect(), arrange, 1, 0);
        let asked: Vec<u32> = (0..21).flat_map(|epoch| sequence.arranged(epoch)).collect();
        let capacity = (2000.0 * share) as usize;
        100.0 * hits(&asked, capacity, rule, 2000) as f64 / 40_000.0
    }

    #[test]
    fn the_least_recent_rule_hits_never_in_a_scan_and_the_first_ones_hit_their_share() {
        for share in [0.25, 0.5, 0.9] {
            assert_eq!(rate(Arrange::AsTheyLie, share, Replacement::LeastRecent), 0.0);
            for arrange in [Arrange::AsTheyLie, Arrange::Full] {
                assert!((rate(arrange, share, Replacement::Never) - 100.0 * share).abs() < 1e-9);
            }
        }
        assert_eq!(rate(Arrange::AsTheyLie, 1.0, Replacement::LeastRecent), 100.0);
        assert_eq!(rate(Arrange::Full, 0.0, Replacement::LeastRecent), 0.0);
        for (share, percent) in [(0.25, 3.5), (0.5, 15.0), (0.9, 68.0)] {
            let found = rate(Arrange::Full, share, Replacement::LeastRecent);
            assert!((found - percent).abs() < 1.5, "{share}: {found}");
        }
    }

    #[test]
    fn a_slow_twin_finds_the_same() {
        use lab_kernels::augment::Dice;
        let mut dice = Dice::new(0, 0, 9);
        let asked: Vec<u32> = (0..3000).map(|_| dice.below(50) as u32).collect();
        let mut cache: Vec<u32> = Vec::new();
        let mut found = 0;
        for item in &asked {
            if let Some(place) = cache.iter().position(|one| one == item) {
                found += 1;
                cache.remove(place);
            } else if cache.len() == 12 {
                cache.remove(0);
            }
            cache.push(*item);
        }
        assert_eq!(hits(&asked, 12, Replacement::LeastRecent, 0), found);
    }
}
