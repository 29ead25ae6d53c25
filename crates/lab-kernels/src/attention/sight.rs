//! Sizes of a head, and which keys a query sees.

use std::ops::Range;

/// Sizes of one head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Queries, `T`.
    pub queries: usize,
    /// Keys and values, `S`.
    pub keys: usize,
    /// Channels, `D`.
    pub channels: usize,
}

impl Head {
    /// As many keys as queries.
    #[must_use]
    pub fn square(tokens: usize, channels: usize) -> Self {
        Self { queries: tokens, keys: tokens, channels }
    }

    /// What scores are multiplied by.
    #[must_use]
    pub fn scale(&self) -> f32 {
        (self.channels.max(1) as f32).sqrt().recip()
    }
}

/// Which keys a query sees. The last query stands beside the last key (bottom-right), so that a query with a cache behind it
/// sees the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sight {
    /// Its own key and earlier ones only.
    pub causal: bool,
    /// Only keys that are fewer than so many places away.
    pub window: Option<usize>,
}

impl Sight {
    /// All keys.
    pub const FULL: Self = Self { causal: false, window: None };
    /// Its own and the earlier ones.
    pub const CAUSAL: Self = Self { causal: true, window: None };

    // ANCHOR: range
    /// The keys that query `i` sees; empty where it sees none.
    #[must_use]
    pub fn range(self, i: usize, head: Head) -> Range<usize> {
        let keys = head.keys as i64;
        let own = i as i64 + keys - head.queries as i64;
        let reach = self.window.map_or(i64::MAX / 4, |window| window as i64);
        let (first, end) = (own + 1 - reach, if self.causal { own + 1 } else { own + reach });
        let end = end.clamp(0, keys);
        first.clamp(0, end) as usize..end as usize
    }
    // ANCHOR_END: range

    /// The keys that any of these queries sees.
    pub(super) fn of_block(self, rows: Range<usize>, head: Head) -> Range<usize> {
        let (first, last) = (self.range(rows.start, head), self.range(rows.end.saturating_sub(1), head));
        first.start..last.end.max(first.end)
    }
}
