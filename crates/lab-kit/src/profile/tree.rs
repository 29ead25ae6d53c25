//! From begin and end to times: total and self.

use std::collections::BTreeMap;

use lab_api::LabError;

use super::Part;

/// A part begins or ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// Which.
    pub part: Part,
    /// Whether it begins.
    pub enters: bool,
    /// What the clock showed, in milliseconds.
    pub at_ms: f64,
}

/// Time of a part.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Times {
    /// From begin to end; a part within itself counts once.
    pub total_ms: f64,
    /// The same without what ran within it.
    pub self_ms: f64,
    /// How often it began.
    pub calls: u64,
}

// ANCHOR: self_times
/// Times of all parts from events in their order. A part's own time is what is left of its total when its children are taken
/// out, so own times add up to the time of the outermost part.
///
/// # Errors
/// [`LabError::Refused`] where an end has no begin, or a begin no end.
pub fn self_times(events: &[Event]) -> Result<BTreeMap<Part, Times>, LabError> {
    let mut times = BTreeMap::<Part, Times>::new();
    // Open parts: which, when it began, what its children took.
    let mut open: Vec<(Part, f64, f64)> = Vec::new();
    for event in events {
        if event.enters {
            open.push((event.part, event.at_ms, 0.0));
            continue;
        }
        let Some((part, began, children)) = open.pop().filter(|(part, ..)| *part == event.part) else {
            return Err(LabError::Refused { why: format!("“{}” ends without having begun", event.part.name()) });
        };
        let took = event.at_ms - began;
        let within_itself = open.iter().any(|(outer, ..)| *outer == part);
        let entry = times.entry(part).or_default();
        entry.self_ms += took - children;
        entry.total_ms += if within_itself { 0.0 } else { took };
        entry.calls += 1;
        if let Some((_, _, children)) = open.last_mut() {
            *children += took;
        }
    }
    match open.pop() {
        Some((part, ..)) => Err(LabError::Refused { why: format!("“{}” never ends", part.name()) }),
        None => Ok(times),
    }
}
// ANCHOR_END: self_times

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    fn event(part: Part, enters: bool, at_ms: f64) -> Event {
        Event { part, enters, at_ms }
    }

    #[test]
    fn a_part_within_itself_counts_once_in_total_and_fully_in_self() {
        let events = [
            event(Part::Pass, true, 0.0),
            event(Part::Block, true, 1.0),
            event(Part::Block, true, 2.0),
            event(Part::Norm, true, 3.0),
            event(Part::Norm, false, 5.0),
            event(Part::Block, false, 6.0),
            event(Part::Block, false, 9.0),
            event(Part::Pass, false, 10.0),
        ];
        let times = self_times(&events).expect("nested");
        assert_eq!(times[&Part::Pass], Times { total_ms: 10.0, self_ms: 2.0, calls: 1 });
        assert_eq!(times[&Part::Block], Times { total_ms: 8.0, self_ms: 6.0, calls: 2 });
        assert_eq!(times[&Part::Norm], Times { total_ms: 2.0, self_ms: 2.0, calls: 1 });
        assert_eq!(self_times(&[]).expect("nothing").len(), 0);
    }

    #[test]
    fn what_is_not_nested_is_named() {
        let why = |events: &[Event]| self_times(events).expect_err("refused").to_string();
        assert!(why(&[event(Part::Norm, false, 0.0)]).contains("“Norms” ends without"));
        assert!(why(&[event(Part::Norm, true, 0.0)]).contains("“Norms” never ends"));
        let crossed = [event(Part::Norm, true, 0.0), event(Part::Block, true, 1.0), event(Part::Norm, false, 2.0)];
        assert!(why(&crossed).contains("“Norms” ends without"));
    }

    #[test]
    fn own_times_add_up_to_the_outermost_whatever_the_tree() {
        let mut rng = crate::rng(0, "trees");
        for _ in 0..200 {
            let (mut events, mut open, mut now) = (vec![event(Part::Pass, true, 0.0)], vec![Part::Pass], 0.0);
            while !open.is_empty() {
                now += rng.random_range(0.0..1.0);
                if open.len() < 6 && events.len() < 60 && rng.random_bool(0.5) {
                    let part = Part::ALL[rng.random_range(0..Part::ALL.len())];
                    open.push(part);
                    events.push(event(part, true, now));
                } else if let Some(part) = open.pop() {
                    events.push(event(part, false, now));
                }
            }
            let times = self_times(&events).expect("nested");
            let sum: f64 = times.values().map(|times| times.self_ms).sum();
            assert!((sum - now).abs() < 1e-9 && times.values().all(|times| times.self_ms >= -1e-9));
            assert!(times.values().all(|times| times.total_ms <= now + 1e-9));
        }
    }
}
