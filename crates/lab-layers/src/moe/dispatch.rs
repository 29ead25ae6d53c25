//! From assignments to rows that lie together, expert by expert.

/// The order in which assignments are computed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dispatch {
    /// Numbers of assignments, those of the first expert first.
    pub order: Vec<u32>,
    /// Where each expert's begin in `order`, and the end of all: `[E + 1]`.
    pub start: Vec<usize>,
    /// Assignments that found their expert full.
    pub dropped: usize,
}

/// Places of an expert: `factor` times the mean load of so many assignments, rounded up.
#[must_use]
pub fn capacity(assignments: usize, experts: usize, factor: f64) -> usize {
    // A product that is whole but for rounding must not cost one more place.
    (assignments as f64 / experts.max(1) as f64 * factor - 1e-9).ceil().max(0.0) as usize
}

// ANCHOR: dispatch
/// A counting sort: count, sum up, place. Who comes when an expert has its `capacity` is dropped; earlier tokens come first.
#[must_use]
pub fn dispatch(chosen: &[u32], experts: usize, capacity: Option<usize>) -> Dispatch {
    let most = capacity.unwrap_or(usize::MAX);
    let mut start = vec![0; experts + 1];
    chosen.iter().for_each(|i| start[*i as usize + 1] += 1);
    let kept = |count: &mut usize| *count = (*count).min(most);
    start.iter_mut().for_each(kept);
    for i in 0..experts {
        start[i + 1] += start[i];
    }
    let (mut next, mut order) = (start.clone(), vec![0; start[experts]]);
    for (assignment, expert) in chosen.iter().enumerate() {
        let expert = *expert as usize;
        if next[expert] < start[expert + 1] {
            order[next[expert]] = assignment as u32;
            next[expert] += 1;
        }
    }
    Dispatch { dropped: chosen.len() - order.len(), order, start }
}
// ANCHOR_END: dispatch

impl Dispatch {
    /// The assignments of one expert.
    #[must_use]
    pub fn of(&self, expert: usize) -> &[u32] {
        &self.order[self.start[expert]..self.start[expert + 1]]
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn every_assignment_lies_with_its_expert_and_in_order() {
        let mut rng = lab_kernels::rng(0, "dispatch");
        let chosen: Vec<u32> = (0..200).map(|_| rng.random_range(0..7)).collect();
        for limit in [None, Some(20), Some(0), Some(1000)] {
            let found = dispatch(&chosen, 8, limit);
            let counts = (0..8).map(|e| chosen.iter().filter(|i| **i == e).count());
            let over: usize = counts.map(|n| n.saturating_sub(limit.unwrap_or(n))).sum();
            assert_eq!(found.dropped, over);
            for expert in 0..8 {
                let all = (0..200_u32).filter(|i| chosen[*i as usize] == expert as u32);
                let right: Vec<u32> = all.take(limit.unwrap_or(200)).collect();
                assert_eq!(found.of(expert), right);
            }
        }
        assert_eq!(dispatch(&[], 3, Some(2)), Dispatch { order: vec![], start: vec![0; 4], dropped: 0 });
    }

    #[test]
    fn places_are_rounded_up_and_no_further() {
        assert_eq!(
            [(128, 8, 1.0), (128, 8, 1.25), (10, 4, 1.0), (3, 8, 0.5)].map(|(n, e, f)| capacity(n, e, f)),
            [16, 20, 3, 1]
        );
        assert_eq!(capacity(1280, 8, 1.1), 176);
    }
}
