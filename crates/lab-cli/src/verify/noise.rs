//! A/A: how far an entry seems to differ from itself on this machine, now.

use lab_api::{Interval, Kind, RunRecord};
use lab_kit::{rng, stats::ratio_interval};

use super::{EVENTS, MOST_NOISE};

/// The level of its intervals.
const LEVEL: f64 = 0.95;

/// For each measured event the interval of one entry's ratio between two runs of it. Without noise all hold 1 and nothing else.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Noise {
    /// The event's metric and the interval.
    pub(super) events: Vec<(&'static str, Interval)>,
}

impl Noise {
    /// Runs an entry twice, after a run that warms up caches and clock and does not count.
    ///
    /// # Errors
    /// What a run fails with.
    pub(super) fn measure(mut run: impl FnMut() -> Result<RunRecord, String>) -> Result<Self, String> {
        run()?;
        let (first, second) = (run()?, run()?);
        Ok(Self::of(&first, &second))
    }

    fn of(first: &RunRecord, second: &RunRecord) -> Self {
        let event = |(_, id): &(&str, &'static str)| {
            let [a, b] = [first, second].map(|record| record.report.metric(id));
            let (a, b) = (a?, b?);
            if a.kind != Kind::Measured {
                return None;
            }
            let pairs = a.samples.len().min(b.samples.len());
            let interval = if pairs > 1 {
                ratio_interval(&b.samples[..pairs], &a.samples[..pairs], LEVEL, &mut rng(0, "a/a"))
            } else {
                // Two numbers have no spread: their ratio stands for both ends.
                let ratio = b.value / a.value;
                Interval { low: ratio, high: ratio, level: LEVEL }
            };
            Some((*id, interval))
        };
        Self { events: EVENTS.iter().filter_map(event).collect() }
    }

    /// How far an event's interval reaches from 1; 0 of what is exact.
    pub(super) fn reach(&self, id: &str) -> f64 {
        let of = |interval: &Interval| (interval.high - 1.0).max(1.0 - interval.low).max(0.0);
        self.events.iter().find(|(event, _)| *event == id).map_or(0.0, |(_, interval)| of(interval))
    }

    /// The largest reach of all events.
    pub(super) fn worst(&self) -> f64 {
        self.events.iter().map(|(id, _)| self.reach(id)).fold(0.0, f64::max)
    }

    /// Whether the machine is quiet enough for this event. An event whose noise nobody measured is not ranked either.
    pub(super) fn is_quiet(&self, id: &str, kind: Kind) -> bool {
        kind != Kind::Measured || (self.events.iter().any(|(event, _)| *event == id) && self.reach(id) <= MOST_NOISE)
    }
}
