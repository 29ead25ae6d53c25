//! What slows the device down, for real and by arrangement.

use std::cell::Cell;

use lab_api::LabError;
use lab_kit::Context;

use super::Disturbance;

/// Longest growth of a query by drift, as a share of its time.
pub(super) const DRIFT: f64 = 0.1;
/// A stall, the time from one to the next, and the time before the first, in milliseconds.
pub(super) const STALL_MS: f64 = 200.0;
const EVERY_MS: f64 = 2000.0;
const FIRST_MS: f64 = 150.0;

/// Pauses inside queries.
pub(super) struct Disturber {
    kind: Disturbance,
    next_stall_ms: Cell<f64>,
}

impl Disturber {
    pub(super) fn new(kind: Disturbance, cx: &Context) -> Self {
        Self { kind, next_stall_ms: Cell::new(cx.now_ms() + FIRST_MS) }
    }

    /// Belongs to a query that took `took_ms`, at this share of the experiment.
    pub(super) async fn pause(&self, took_ms: f64, share: f64, cx: &Context) -> Result<(), LabError> {
        let start = cx.now_ms();
        let pause = match self.kind {
            Disturbance::Drift => DRIFT * share * took_ms,
            Disturbance::Stalls if start >= self.next_stall_ms.get() => {
                self.next_stall_ms.set(start + EVERY_MS);
                STALL_MS
            }
            Disturbance::None | Disturbance::Stalls => return Ok(()),
        };
        let mut breath = start;
        while cx.now_ms() - start < pause {
            if cx.now_ms() - breath > 20.0 {
                cx.checkpoint().await?;
                breath = cx.now_ms();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::testing::{FakeClock, context, ready};

    use super::*;

    #[test]
    fn pauses_last_as_long_as_they_say() {
        let clock = Rc::new(FakeClock::new(0.01));
        let cx = context(clock.clone());
        let took = |disturber: &Disturber, share: f64| {
            let start = cx.now_ms();
            ready(disturber.pause(30.0, share, &cx)).expect("goes on");
            cx.now_ms() - start
        };
        let none = Disturber::new(Disturbance::None, &cx);
        assert!(took(&none, 1.0) < 0.02);
        let drift = Disturber::new(Disturbance::Drift, &cx);
        assert!((took(&drift, 0.5) - 1.5).abs() < 0.05 && took(&drift, 0.0) < 0.02);
        let stalls = Disturber::new(Disturbance::Stalls, &cx);
        assert!(took(&stalls, 0.0) < 0.02);
        clock.pass(FIRST_MS);
        assert!((took(&stalls, 0.0) - STALL_MS).abs() < 0.1 && took(&stalls, 0.0) < 0.02);
    }
}
