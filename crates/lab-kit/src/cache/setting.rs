//! What a cache may give up.

use lab_api::LabError;

/// What shares one grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// The channels of one token's row.
    Token,
    /// One channel of a block of tokens: for keys, whose channels differ in size (KIVI, arXiv:2402.02750).
    Channel,
}

/// How the numbers of a row are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// 32: as they are. 16: half precision. 1 to 8: integers between a minimum and a maximum.
    pub bits: usize,
    /// What shares minimum and step.
    pub axis: Axis,
}

impl Grid {
    /// Singles.
    pub const FP32: Self = Self { bits: 32, axis: Axis::Token };

    /// Whether rows can only be stored in blocks.
    #[must_use]
    pub fn in_blocks(self) -> bool {
        self.bits < 16 && self.axis == Axis::Channel
    }
}

/// Who leaves when the budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nobody: there is no budget.
    All,
    /// The oldest.
    Window,
    /// Whoever received the least attention in sum (H2O, arXiv:2306.14048), the newer half excepted.
    HeavyHitters,
    /// Whoever received the least attention a step, the newer half excepted.
    MeanScore,
    /// Whoever the lot falls on, the newer half excepted: the control.
    Random,
}

/// Which positions the rotation of keys is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// Those of the text; keys are stored rotated.
    Original,
    /// The places in the cache, counted without gaps (StreamingLLM, arXiv:2309.17453); keys are stored unrotated and
    /// rotated at every reading.
    InCache,
}

/// One layer's cache.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Of keys.
    pub keys: Grid,
    /// Of values.
    pub values: Grid,
    /// The newest so many tokens stay in singles where the grids are coarser.
    pub residual: usize,
    /// Who leaves.
    pub policy: Policy,
    /// Tokens kept at most, the newest included.
    pub budget: usize,
    /// The first so many tokens never leave.
    pub sinks: usize,
    /// What keys are rotated by.
    pub positions: Positions,
    /// The base of the rotary frequencies is multiplied by this.
    pub base: f64,
}

impl Setting {
    /// Everything, in singles: what a plain cache holds.
    pub const FULL: Self = Self {
        keys: Grid::FP32,
        values: Grid::FP32,
        residual: 0,
        policy: Policy::All,
        budget: usize::MAX,
        sinks: 0,
        positions: Positions::Original,
        base: 1.0,
    };

    /// The newest `budget` tokens.
    #[must_use]
    pub fn window(budget: usize) -> Self {
        Self { policy: Policy::Window, budget, ..Self::FULL }
    }

    /// Keys on a grid for each channel, values on one for each token, the newest `residual` tokens in singles (KIVI).
    #[must_use]
    pub fn kivi(bits: usize, residual: usize) -> Self {
        let keys = Grid { bits, axis: Axis::Channel };
        Self { keys, values: Grid { bits, axis: Axis::Token }, residual, ..Self::FULL }
    }

    /// Refuses what cannot be.
    ///
    /// # Errors
    /// [`LabError::Refused`] with the remedy.
    pub fn check(&self) -> Result<(), LabError> {
        let refuse = |why: &str| Err(LabError::Refused { why: why.to_owned() });
        if self.policy == Policy::All {
            return Ok(());
        }
        if self.budget <= self.sinks {
            return refuse(
                "the first tokens, which never leave, fill the whole budget: raise it, or keep fewer of them",
            );
        }
        if self.keys.in_blocks() || self.values.in_blocks() {
            return refuse(
                "tokens that share a grid with their neighbours cannot leave one by one: quantize for each token, or keep all",
            );
        }
        Ok(())
    }
}

// ANCHOR: slot
/// Where the token at `position` is written in a ring of `capacity` places whose first `sinks` are never overwritten.
#[must_use]
pub fn slot(position: usize, sinks: usize, capacity: usize) -> usize {
    if position < sinks { position } else { sinks + (position - sinks) % (capacity - sinks).max(1) }
}

/// The positions that are in the ring after `length` tokens, oldest first.
#[must_use]
pub fn kept(length: usize, sinks: usize, capacity: usize) -> Vec<usize> {
    let newest = length.saturating_sub(capacity.saturating_sub(sinks)).max(sinks);
    (0..sinks.min(length)).chain(newest..length).collect()
}
// ANCHOR_END: slot

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_overwrites_the_oldest_and_never_a_sink() {
        let slots: Vec<usize> = (0..10).map(|position| slot(position, 2, 5)).collect();
        assert_eq!(slots, [0, 1, 2, 3, 4, 2, 3, 4, 2, 3]);
        assert_eq!(kept(10, 2, 5), [0, 1, 7, 8, 9]);
        // What is kept is what was not overwritten, for every size.
        for (sinks, capacity) in [(0, 1), (0, 4), (1, 2), (3, 4), (4, 9)] {
            let mut ring = vec![None; capacity];
            for length in 1..40 {
                ring[slot(length - 1, sinks, capacity)] = Some(length - 1);
                let mut there: Vec<usize> = ring.iter().copied().flatten().collect();
                there.sort_unstable();
                assert_eq!(kept(length, sinks, capacity), there, "{sinks} of {capacity} after {length}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_remedy() {
        let why = |setting: Setting| setting.check().expect_err("refused").to_string();
        assert!(why(Setting { sinks: 8, ..Setting::window(8) }).contains("keep fewer"));
        assert!(why(Setting { keys: Setting::kivi(4, 32).keys, ..Setting::window(8) }).contains("one by one"));
        assert_eq!(Setting::kivi(2, 0).check(), Ok(()));
    }
}
